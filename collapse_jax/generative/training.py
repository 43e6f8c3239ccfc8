"""One train step for every network and objective: compiled once, sharded over a mesh, continued to the same result.

A step draws a batch of places of the data by their weights, evaluates ``objective(model, key, batch, *arguments)`` and
its gradient, lets optax move the parameters and moves the average of the parameters after them:
average <- d average + (1 - d) parameters, d = min(decay, (1 + step) / (10 + step)), so that the start is soon
forgotten.

What a step does hangs on the key and its own number only (``fold_in``), and ``State`` is everything it leaves behind:
a training that is interrupted after a dispatch and continued from its state ends in the identical result, bit for bit,
with the same number of steps per dispatch. Data stay on the device. On a mesh data and state are on every device and
the batch is split; the numbers drawn do not depend on the mesh, so results agree up to the order of sums.

Programs are kept by graph, objective, optimizer and sizes. Objective and optimizer are compared by identity: make them
once (``adam`` remembers its own) and hand changing numbers over as ``arguments``; then a model of the next generation,
also one from a fresh start, compiles nothing. Convolutions: see ``unet`` for why ``dispatch=1`` on CPUs.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray

from collapse_jax.distributed import local, replicate
from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.specs.ground import whole_number

DECAY = 0.999
"""Default decay of the average of the parameters."""


class State(NamedTuple):
    """All that a training leaves behind: a plain pytree of arrays.

    Attributes:
        parameters: of the network.
        average: their running average, what to sample from.
        optimizer: the state of the optax transformation.
        step: steps done so far, an integer.
    """

    parameters: Any
    average: Any
    optimizer: Any
    step: Any


class Trained(NamedTuple):
    """What ``train`` returns.

    Attributes:
        state: the ``State`` after the last step.
        losses: ``[dispatches]`` mean training loss of each dispatch of this call.
    """

    state: State
    losses: np.ndarray


@cache
def adam(rate: float, steps: int, warm_up: float = 0.05, clip: float = 1.0) -> optax.GradientTransformation:
    """Adam with clipped gradients; the step size warms up, then falls to a tenth of ``rate`` along a cosine.

    Args:
        rate: largest step size.
        steps: of the whole training.
        warm_up: share of the steps over which the step size grows from 0.
        clip: largest norm of a gradient.

    >>> adam(1e-3, 100) is adam(1e-3, 100)
    True
    """
    warm = max(1, int(warm_up * steps))
    schedule = optax.warmup_cosine_decay_schedule(0, rate, warm, max(steps, warm + 1), rate / 10)
    return optax.chain(optax.clip_by_global_norm(clip), optax.adam(schedule))


def begin(parameters, optimizer: optax.GradientTransformation) -> State:
    """The state before the first step. Its arrays are its own: training overwrites them.

    >>> int(begin({"w": jnp.ones(2)}, adam(1e-3, 10)).step)
    0
    """
    own, average = (jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), parameters) for _ in range(2))
    return State(own, average, optimizer.init(parameters), jnp.zeros((), jnp.int32))


def averaged(state: State):
    """The averaged parameters, what to sample from, on the first device of this process wherever they were trained.

    >>> averaged(begin({"w": jnp.ones(2)}, adam(1e-3, 10)))["w"].tolist()
    [1.0, 1.0]
    """
    return local(state.average)


def draw_places(key: PRNGKeyArray, above, count: int, places: int):
    """``[count]`` places drawn with replacement: all alike if ``above`` is None, else by cumulated weights [places].

    >>> set(draw_places(jax.random.key(0), jnp.array([0.0, 1.0, 1.0]), 50, 3).tolist())
    {1}
    """
    if above is None:
        return jax.random.randint(key, (count,), 0, places)
    drawn = jax.random.uniform(key, (count,), above.dtype) * above[-1]
    # rounding may reach the total: stay in front of the empty places at the end
    last = jnp.searchsorted(above, above[-1], side="left")
    return jnp.minimum(jnp.searchsorted(above, drawn, side="right"), last)


@partial(
    jax.jit,
    static_argnames=("graph", "objective", "optimizer", "batch", "steps", "mesh"),
    donate_argnames="state",
)
def _dispatch(graph, state, key, data, above, decay, arguments, *, objective, optimizer, batch, steps, mesh):
    """``steps`` steps as one program: the new state and the loss of each."""
    places = jax.tree.leaves(data)[0].shape[0]

    def split(leaf):
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, PartitionSpec(*mesh.axis_names)))

    def step(state, _):
        draw_key, loss_key = jax.random.split(jax.random.fold_in(key, state.step))
        chosen = draw_places(draw_key, above, batch, places)
        chosen = chosen if mesh is None else split(chosen)
        points = jax.tree.map(lambda leaf: leaf[chosen], data)

        def loss(parameters):
            return objective(nnx.merge(graph, parameters), loss_key, points, *arguments)

        value, slope = jax.value_and_grad(loss)(state.parameters)
        move, memory = optimizer.update(slope, state.optimizer, state.parameters)
        parameters = optax.apply_updates(state.parameters, move)
        share = jnp.minimum(decay, (1 + state.step) / (10 + state.step))

        def follow(old, new):
            return old + (1 - share).astype(old.dtype) * (new - old)

        return State(parameters, jax.tree.map(follow, state.average, parameters), memory, state.step + 1), value

    if steps == 1:  # no loop around a single step: convolutions in a loop are slow on CPUs
        state, value = step(state, None)
        return state, value[None]
    return jax.lax.scan(step, state, None, length=steps)


def _place(tree, mesh: Mesh | None):
    """Arrays on the default device, or copied to every device of the mesh."""
    if mesh is None:
        device = jax.local_devices()[0]
        return jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else jax.device_put(leaf, device), tree)
    return replicate(tree, mesh)


def train(
    graph,
    state: State,
    key: PRNGKeyArray,
    data,
    objective: Callable,
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    batch: int,
    weights=None,
    arguments: tuple = (),
    dispatch: int = 1,
    decay: float = DECAY,
    mesh: Mesh | None = None,
    callback: Callable[[int, np.ndarray, State], None] | None = None,
) -> Trained:
    """Train until ``steps`` steps are done in all, those already counted in the state included.

    Args:
        graph: structure of the network, from ``networks.fresh``.
        state: from ``begin`` or an earlier call; its arrays are overwritten: do not use them afterwards.
        key: decides every batch and all noise; the same key continues the same training.
        data: pytree of arrays ``[places, ...]``, ``flows.Points`` or ``flows.Pairs`` for the objectives there.
        objective: ``(model, key, batch, *arguments) -> scalar``, ``batch`` the data at the places drawn.
        optimizer: an optax transformation, the one given to ``begin``.
        steps: the number of steps at which training ends.
        batch: places of a step, drawn with replacement; a whole multiple of the devices of the mesh.
        weights: ``[places]`` >= 0, how often a place is drawn; None draws all alike. In float32 the chance of one place
            among n is right to n / 2^24 of itself.
        arguments: numbers and arrays handed on to the objective; they may change without a new program.
        dispatch: steps of one program; what is left to do must be a whole number of dispatches.
        decay: of the average of the parameters, in [0, 1).
        mesh: devices to share the batch, of ``distributed.data_mesh``; None for one device.
        callback: ``(step, losses, state)`` after every dispatch: steps done, the loss of each of its steps, and the
            state, to be copied or written before it returns.

    Returns:
        The state and the mean loss of each dispatch.

    Raises:
        SpecError: sizes that do not fit.
        MeasurementError: the loss is not finite; names the step.

    >>> from collapse_jax.generative.flows import Points, independent_flow_loss
    >>> from collapse_jax.generative.networks import MLP, fresh
    >>> graph, parameters = fresh(jax.random.key(0), MLP, 2, width=16)
    >>> optimizer = adam(1e-2, 20)
    >>> data, loss = Points(jnp.ones((50, 2))), independent_flow_loss
    >>> state = begin(parameters, optimizer)
    >>> done = train(graph, state, jax.random.key(1), data, loss, optimizer, steps=20, batch=32, dispatch=10)
    >>> int(done.state.step), done.losses.shape
    (20, (2,))
    """
    steps, batch, dispatch = (
        whole_number("steps", steps, 0),
        whole_number("batch", batch, 1),
        whole_number("dispatch", dispatch, 1),
    )
    if not 0 <= decay < 1:
        raise SpecError(f"decay must be in [0, 1), got {decay}.")
    if mesh is not None and batch % mesh.size:
        raise SpecError(f"batch must be a whole multiple of the {mesh.size} devices of the mesh, got {batch}.")
    start = int(state.step)
    if start > steps or (steps - start) % dispatch:
        raise SpecError(
            f"steps must be {start} (those done) and a whole number of dispatches of {dispatch} steps, got {steps}."
        )
    above = _above(weights, data)
    state, key, data, above, arguments = _place((state, key, data, above, arguments), mesh)
    losses = []
    for number in range(start, steps, dispatch):
        with jax.numpy_dtype_promotion("standard"):  # optax raises its counter to a float
            state, values = _dispatch(
                graph,
                state,
                key,
                data,
                above,
                decay,
                arguments,
                objective=objective,
                optimizer=optimizer,
                batch=batch,
                steps=dispatch,
                mesh=mesh,
            )
        values = np.asarray(values)
        if not np.isfinite(values).all():
            bad = int(np.argmin(np.isfinite(values)))
            raise MeasurementError(
                f"loss is {values[bad]} in step {number + bad + 1} of {steps}: lower the learning rate, or look at the "
                "data."
            )
        losses.append(values.mean())
        if callback is not None:
            callback(number + dispatch, values, state)
    return Trained(state, np.array(losses))


def _above(weights, data):
    """Cumulated weights, None for all alike."""
    counts = {np.shape(leaf)[0] for leaf in jax.tree.leaves(data)}
    if len(counts) != 1 or 0 in counts:
        raise SpecError(f"data must hold arrays of one number of places >= 1, got {sorted(counts)}.")
    if weights is None:
        return None
    values = np.asarray(weights, np.float64)
    if values.shape != (counts.pop(),) or not np.isfinite(values).all() or values.min() < 0 or values.sum() == 0:
        raise SpecError("weights must be one number >= 0 for each place of the data, not all of them 0.")
    return jnp.asarray(np.cumsum(values), float)
