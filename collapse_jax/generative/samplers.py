"""From noise to data and back: fixed steps in one scan, adaptive steps by diffrax, diffusion down to its truncation.

``euler`` and ``heun`` integrate dx/dt = v(t, x) over any grid of times, rising (noise to data) or falling (data to
noise): the same grid turned round takes points back, up to the error of the steps, which ``round_trip_error`` measures.
Heun is the explicit trapezoid: v is evaluated at both ends of every step, the last one included. ``evaluations`` says
how often a network is asked for one point.

The VP samplers go backwards in time, from N(0, I) at the horizon to the truncation, where points are left as noisy as
they are. With the score -e/s of an epsilon model (``flows``), s the noise at time t, t falling:

- probability flow   dX/dt = -rate (X - e/s),
- reverse SDE        dX = -rate (X - 2 e/s) dt + sqrt(2 rate) dW.

``transport``, ``diffuse_back`` and ``diffuse_back_adaptive`` are compiled programs whose parameters are traced: models
of the next generation compile nothing. Many points are done in blocks of ``at_once``, so that memory stays bounded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from collapse_jax.distributed import by_parts, share
from collapse_jax.errors import SpecError
from collapse_jax.generative.flows import HORIZON, level, mean_square, vp_scales
from collapse_jax.specs.ground import check, concrete

_EACH = {"euler": 1, "heun": 2, "euler-maruyama": 1}


def evaluations(solver: str, steps: int) -> int:
    """Evaluations of the network for one point: ``steps`` for Euler, twice that for Heun.

    >>> evaluations("euler", 10), evaluations("heun", 10)
    (10, 20)
    """
    if solver not in _EACH:
        raise SpecError(f"solver must be one of {', '.join(_EACH)}, got {solver!r}.")
    return _EACH[solver] * steps


def uniform(steps: int, start=0.0, stop=1.0) -> Float[Array, " steps_and_one"]:
    """``[steps + 1]`` equally spaced times from ``start`` to ``stop``; from 1 to 0 it takes data back to noise.

    >>> uniform(4).tolist(), uniform(2, 1.0, 0.0).tolist()
    ([0.0, 0.25, 0.5, 0.75, 1.0], [1.0, 0.5, 0.0])
    """
    return jnp.asarray(np.linspace(start, stop, steps + 1), float)


def _asked(model: Callable, cond):
    """The model as a function of one time for all points."""
    return lambda t, x: model(jnp.full((x.shape[0],), t, x.dtype), x, cond)


def _scan(step, x, grid):
    grid = grid.astype(x.dtype)
    return jax.lax.scan(lambda x, ends: (step(x, *ends), None), x, (grid[:-1], grid[1:]))[0]


def euler(velocity: Callable, x: Float[Array, "n ..."], grid: Float[Array, " times"], cond=None):
    """x moved along dx/dt = v by Euler steps on a grid, in one scan (its gain on Gaussian data: RF-5; derived).

    Args:
        velocity: ``(t, x, cond) -> v``.
        x: points ``[n, ...]`` at the first time of the grid.
        grid: times, rising or falling.
        cond: classes ``[n]`` or None.

    >>> euler(lambda t, x, cond: x, jnp.ones((1, 1)), uniform(2)).tolist()
    [[2.25]]
    """
    asked = _asked(velocity, cond)
    return _scan(lambda x, t, following: x + (following - t) * asked(t, x), x, grid)


def heun(velocity: Callable, x: Float[Array, "n ..."], grid: Float[Array, " times"], cond=None):
    """x moved along dx/dt = v by steps of the explicit trapezoid (RF-18; derived); arguments as in ``euler``.

    >>> heun(lambda t, x, cond: x, jnp.ones((1, 1)), uniform(1)).tolist()
    [[2.5]]
    """
    asked = _asked(velocity, cond)

    def step(x, t, following):
        first = asked(t, x)
        return x + (following - t) / 2 * (first + asked(following, x + (following - t) * first))

    return _scan(step, x, grid)


_SOLVERS = {"euler": euler, "heun": heun}


def in_blocks(function: Callable, at_once: int | None, points, *rest):
    """``function(points, *rest)`` on blocks of ``at_once`` points, to bound its memory; None takes all at once.

    Args:
        function: maps pytrees of arrays ``[n, ...]`` to such a pytree.
        at_once: largest block; the last one is filled up with copies of the first point.
        points, rest: arrays ``[n, ...]``, or None.

    >>> in_blocks(lambda x: 2 * x, 2, jnp.arange(3.0)).tolist()
    [0.0, 2.0, 4.0]
    """
    count = points.shape[0]
    if at_once is None or count <= at_once:
        return function(points, *rest)
    blocks = -(-count // at_once)

    def fold(leaf):
        filled = jnp.concatenate([leaf, jnp.repeat(leaf[:1], blocks * at_once - count, axis=0)])
        return filled.reshape(blocks, at_once, *leaf.shape[1:])

    made = jax.lax.map(lambda block: function(*block), jax.tree.map(fold, (points, *rest)))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], made)


def _checked_grid(grid, falling: bool = False):
    if np.ndim(grid) != 1 or np.shape(grid)[0] < 2:
        raise SpecError(f"grid must list at least two times, got shape {np.shape(grid)}: take uniform(steps).")
    if concrete(grid):
        steps = np.diff(np.asarray(grid, float))
        if not np.isfinite(steps).all() or not ((steps < 0).all() or (not falling and (steps > 0).all())):
            raise SpecError(f"grid must {'fall' if falling else 'rise or fall'} strictly: take uniform(steps).")
    return jnp.asarray(grid)


@partial(jax.jit, static_argnames=("graph", "solver", "at_once", "mesh"))
def _transport(whole, parts, *, graph, solver, at_once, mesh):
    def carry(whole, parts):
        parameters, grid = whole
        model = nnx.merge(graph, parameters)
        return in_blocks(lambda x, cond: _SOLVERS[solver](model, x, grid, cond), at_once, *parts)

    return by_parts(carry, mesh)(whole, parts)


def transport(
    graph,
    parameters,
    x: Float[Array, "n ..."],
    grid,
    cond=None,
    *,
    solver: str = "heun",
    at_once: int | None = None,
    mesh: Mesh | None = None,
):
    """Points carried by a trained flow over a grid of times, as one compiled program.

    Args:
        graph, parameters: of a velocity network, from ``networks.fresh`` or ``training``.
        x: points ``[n, ...]`` at the first time of the grid.
        grid: times, rising or falling; ``uniform(steps)`` or any other.
        cond: classes ``[n]`` or None.
        solver: ``euler`` or ``heun``.
        at_once: points done side by side on a device; None for all.
        mesh: devices to share the points, of ``distributed.data_mesh``; None for one device.

    Returns:
        The points at the last time, after ``evaluations(solver, len(grid) - 1)`` evaluations for each.

    Raises:
        SpecError: an unknown solver, or a grid that is no grid.

    >>> from collapse_jax.generative.networks import MLP, fresh
    >>> transport(*fresh(jax.random.key(0), MLP, 2, width=16), jnp.ones((3, 2)), uniform(4), at_once=2).shape
    (3, 2)
    """
    if solver not in _SOLVERS:
        raise SpecError(f"solver must be one of {', '.join(_SOLVERS)}, got {solver!r}.")
    program = partial(_transport, graph=graph, solver=solver, at_once=at_once, mesh=mesh)
    return share(program, mesh, (parameters, _checked_grid(grid)), (x, cond))


class Solved(NamedTuple):
    """Points ``[n, ...]`` and how often the network was evaluated for each of them."""

    points: Array
    evaluations: Array


def adaptive(field: Callable, x: Float[Array, "n ..."], start, stop, *, tolerance: float = 1e-5) -> Solved:
    """x moved along dx/dt = field(t, x) from ``start`` to ``stop`` by diffrax's Tsit5, its steps chosen for all points.

    Args:
        field: ``(t, x) -> dx/dt``, t one number.
        x: points at ``start``.
        start, stop: times, in either order.
        tolerance: relative and absolute, of each step.

    >>> solved = adaptive(lambda t, x: x, jnp.ones((1, 1)), 0.0, 1.0)
    >>> round(float(solved.points[0, 0]), 3)
    2.718
    """
    import diffrax

    solved = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, x, _: field(t, x)),
        diffrax.Tsit5(),
        t0=jnp.asarray(start, x.dtype),
        t1=jnp.asarray(stop, x.dtype),
        dt0=None,
        y0=x,
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        saveat=diffrax.SaveAt(t1=True),
    )
    assert solved.ys is not None
    # six new stages a step, the seventh is the first of the next one; one goes into the choice of the first step
    return Solved(solved.ys[0], 6 * solved.stats["num_steps"] + 1)


@partial(jax.jit, static_argnames=("graph", "tolerance"))
def transport_adaptive(graph, parameters, x, start, stop, cond=None, *, tolerance: float = 1e-5) -> Solved:
    """``transport`` with steps of diffrax's choice, from time ``start`` to ``stop``, 0 to 1 or 1 to 0.

    >>> from collapse_jax.generative.networks import MLP, fresh
    >>> transport_adaptive(*fresh(jax.random.key(0), MLP, 2, width=16), jnp.ones((3, 2)), 0.0, 1.0).points.shape
    (3, 2)
    """
    return adaptive(_asked(nnx.merge(graph, parameters), cond), x, start, stop, tolerance=tolerance)


def noisy_reversal(
    velocity: Callable, key: PRNGKeyArray, x: Float[Array, "n ..."], grid, diffusion, cond=None
) -> Float[Array, "n ..."]:
    """Data taken back to noise along the SDE dX = [-v + g^2/2 score] ds + g dW, s = 1 - t (RF-17; derived).

    A step is Heun's along -v; the score is that of its second evaluation, so that it is never asked for at t = 1, where
    its formula is 0/0. Two evaluations a step, and ``heun`` itself if g = 0. On Gaussian data of variance lambda the
    noise is of order tau in RF-12 with sqrt(1 - tau^2) = exp(-pi g^2 / (4 sqrt(lambda))).

    Args:
        velocity: ``(t, x, cond) -> v`` of a flow with *independent* pairs: after Reflow, v does not give the score.
        key: draws the noise.
        x: data points ``[n, ...]``.
        grid: times falling from 1 to 0.
        diffusion: g, constant in time, >= 0.
        cond: classes ``[n]`` or None.

    >>> exact = lambda t, x, cond: (2 * t - 1)[:, None] / (t**2 + (1 - t) ** 2)[:, None] * x  # of data N(0, 1)
    >>> x = jax.random.normal(jax.random.key(1), (4000, 1))
    >>> back = noisy_reversal(exact, jax.random.key(0), x, uniform(50, 1.0, 0.0), 0.5)
    >>> bool(abs(jnp.mean(back * x) - jnp.exp(-jnp.pi / 16)) < 0.05)
    True
    """
    grid, asked = grid.astype(x.dtype), _asked(velocity, cond)
    diffusion = jnp.asarray(diffusion, x.dtype)

    def step(x, inputs):
        t, following, key = inputs
        first, size = asked(t, x), (t - following) * diffusion**2
        predicted = x + (following - t) * first
        second = asked(following, predicted)
        score = (following * second - predicted) / (1 - following)  # of independent pairs: RF-3
        noise = jax.random.normal(key, x.shape, x.dtype)
        moved = x + (following - t) / 2 * (first + second)
        return moved + size / 2 * score + jnp.sqrt(size) * noise, None

    return jax.lax.scan(step, x, (grid[:-1], grid[1:], jax.random.split(key, grid.shape[0] - 1)))[0]


@partial(jax.jit, static_argnames=("graph", "at_once"))
def _transport_noisily(graph, parameters, key, x, grid, diffusion, cond, *, at_once):
    model = nnx.merge(graph, parameters)

    def back(x, places, cond):
        # the block's first place names it: its noise is its own, and the same in every run
        return noisy_reversal(model, jax.random.fold_in(key, places[0]), x, grid, diffusion, cond)

    return in_blocks(back, at_once, x, jnp.arange(x.shape[0]), cond)


def transport_noisily(
    graph,
    parameters,
    key: PRNGKeyArray,
    x: Float[Array, "n ..."],
    grid,
    diffusion,
    cond=None,
    *,
    at_once: int | None = None,
):
    """``noisy_reversal`` of a trained flow as one compiled program.

    Args:
        graph, parameters: of a velocity network trained on independent pairs.
        key: draws the noise.
        x: data points ``[n, ...]``.
        grid: times falling from 1 to 0: ``uniform(steps, 1.0, 0.0)``.
        diffusion: g >= 0.
        cond: classes ``[n]`` or None.
        at_once: points done side by side; None for all.

    Raises:
        SpecError: a grid that does not fall, or a negative diffusion.

    >>> from collapse_jax.generative.networks import MLP, fresh
    >>> model, x = fresh(jax.random.key(0), MLP, 2, width=16), jnp.ones((3, 2))
    >>> transport_noisily(*model, jax.random.key(1), x, uniform(4, 1.0, 0.0), 0.5).shape
    (3, 2)
    """
    diffusion = jnp.asarray(diffusion, x.dtype)
    check("diffusion", diffusion, lambda v: v >= 0, "a number >= 0")
    return _transport_noisily(
        graph, parameters, key, x, _checked_grid(grid, falling=True), diffusion, cond, at_once=at_once
    )


def vp_grid(steps: int, truncation, horizon: Any = HORIZON, rate: Any = 1.0) -> Float[Array, " steps_and_one"]:
    """``[steps + 1]`` falling VP times from the horizon to the truncation, their square roots equally spaced.

    >>> vp_grid(2, 0.0, 4.0).tolist()
    [4.0, 1.0, 0.0]
    """
    share = jnp.asarray(np.linspace(0, 1, steps + 1), float)
    ends = jnp.sqrt(jnp.asarray(horizon, share.dtype)), jnp.sqrt(jnp.asarray(truncation, share.dtype))
    return (ends[0] * (1 - share) + ends[1] * share) ** 2


def probability_flow(epsilon: Callable, rate: Any = 1.0) -> Callable:
    """The velocity ``(t, x, cond) -> -rate (x - e / s)`` of a VP diffusion in its own, forward time t > 0.

    Integrated over a falling grid it turns noise into data. ``epsilon`` is ``(level, x, cond) -> e``.

    >>> float(probability_flow(lambda u, x, cond: 0 * x)(jnp.array([1.0]), jnp.array([[3.0]]))[0, 0])
    -3.0
    """

    def velocity(t, x, cond=None):
        noise = vp_scales(t, rate)[1].reshape(-1, *(1,) * (x.ndim - 1))
        return -jnp.asarray(rate, x.dtype) * (x - epsilon(level(t, rate), x, cond) / noise)

    return velocity


def reverse_sde(epsilon: Callable, key: PRNGKeyArray, x: Float[Array, "n ..."], grid, cond=None, rate: Any = 1.0):
    """x taken back along the reverse VP SDE by Euler-Maruyama steps on a falling grid.

    Args:
        epsilon: ``(level, x, cond) -> e``.
        key: draws the noise of the steps.
        x: points at the first time of the grid.
        grid: falling VP times, the last one the truncation.
        cond: classes ``[n]`` or None.
        rate: of the diffusion [1 / time].

    >>> exact = lambda u, x, cond: x * jnp.sin(jnp.pi / 2 * u)[:, None]  # of data N(0, 1)
    >>> made = reverse_sde(exact, jax.random.key(0), jax.random.normal(jax.random.key(1), (4000, 1)), vp_grid(50, 0.05))
    >>> bool(abs(made.std() - 1) < 0.05)
    True
    """
    grid, rate = grid.astype(x.dtype), jnp.asarray(rate, x.dtype)

    def step(x, inputs):
        t, following, key = inputs
        times = jnp.full((x.shape[0],), t, x.dtype)
        noise = vp_scales(t, rate)[1]
        size = rate * (t - following)
        drift = x - 2 * epsilon(level(times, rate), x, cond) / noise
        return x + size * drift + jnp.sqrt(2 * size) * jax.random.normal(key, x.shape, x.dtype), None

    keys = jax.random.split(key, grid.shape[0] - 1)
    return jax.lax.scan(step, x, (grid[:-1], grid[1:], keys))[0]


def reverse_sde_by_diffrax(
    epsilon: Callable, key: PRNGKeyArray, x: Float[Array, "n ..."], grid, cond=None, rate: Any = 1.0
):
    """``reverse_sde`` by diffrax's Euler solver on a Brownian path of diffrax's own: one law, other draws.

    >>> start = jax.random.normal(jax.random.key(1), (10, 1))
    >>> reverse_sde_by_diffrax(lambda u, x, cond: x, jax.random.key(0), start, vp_grid(5, 0.05)).shape
    (10, 1)
    """
    import diffrax
    import lineax

    grid, rate = grid.astype(x.dtype), jnp.asarray(rate, x.dtype)
    passed = grid[0] - grid  # the solver's time rises

    def drift(s, x, _):
        t = jnp.full((x.shape[0],), grid[0] - s, x.dtype)
        return rate * (x - 2 * epsilon(level(t, rate), x, cond) / vp_scales(grid[0] - s, rate)[1])

    noise = diffrax.UnsafeBrownianPath(jax.ShapeDtypeStruct(x.shape, x.dtype), key)

    def spread(s, x, _):
        # diagonal: the noise of every coordinate is its own
        return lineax.DiagonalLinearOperator(jnp.full_like(x, jnp.sqrt(2 * rate)))

    solved = diffrax.diffeqsolve(
        diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(spread, noise)),
        diffrax.Euler(),
        t0=passed[0],
        t1=passed[-1],
        dt0=None,
        y0=x,
        stepsize_controller=diffrax.StepTo(passed),
        saveat=diffrax.SaveAt(t1=True),
        max_steps=grid.shape[0] + 1,
        adjoint=diffrax.DirectAdjoint(),
    )
    assert solved.ys is not None
    return solved.ys[0]


@partial(jax.jit, static_argnames=("graph", "solver", "at_once", "prediction", "mesh"))
def _diffuse_back(whole, parts, *, graph, solver, at_once, prediction, mesh):
    def back(whole, parts):
        parameters, key, grid, rate = whole
        epsilon = prediction(nnx.merge(graph, parameters))
        if solver != "euler-maruyama":
            flow = probability_flow(epsilon, rate)
            return in_blocks(lambda x, cond: _SOLVERS[solver](flow, x, grid, cond), at_once, *parts)

        def noisily(x, cond, places):
            # the block's first place names it: its noise is its own, and the same in every run
            return reverse_sde(epsilon, jax.random.fold_in(key, places[0]), x, grid, cond, rate)

        return in_blocks(noisily, at_once, *parts, jnp.arange(parts[0].shape[0]))

    return by_parts(back, mesh)(whole, parts)


def same(model: Callable) -> Callable:
    """The model itself: the ``prediction`` of networks trained by ``flows.epsilon_loss``."""
    return model


def diffuse_back(
    graph,
    parameters,
    key: PRNGKeyArray,
    x: Float[Array, "n ..."],
    grid,
    cond=None,
    *,
    solver: str = "heun",
    rate: Any = 1.0,
    prediction: Callable = same,
    at_once: int | None = None,
    mesh: Mesh | None = None,
):
    """Points of a trained VP diffusion model, taken from the horizon back to the truncation, as one compiled program.

    Args:
        graph, parameters: of the network.
        key: draws the noise of the SDE; not used by the flow.
        x: points at the horizon, N(0, I) ``[n, ...]``.
        grid: falling VP times, of ``vp_grid``; the last one is the truncation.
        cond: classes ``[n]`` or None.
        solver: ``euler`` or ``heun`` (probability flow), ``euler-maruyama`` (SDE).
        rate: of the diffusion [1 / time].
        prediction: what makes an epsilon model of the network: ``same``, or ``flows.epsilon_of`` if it predicts v.
        at_once: points done side by side on a device; None for all.
        mesh: devices to share the points, of ``distributed.data_mesh``; None for one device. Not for the SDE: what
            noise a point meets must not hang on the devices.

    Raises:
        SpecError: an unknown solver, a grid that does not fall to a time above 0, or a mesh for the SDE.

    >>> from collapse_jax.generative.networks import MLP, fresh
    >>> model, x = fresh(jax.random.key(0), MLP, 2, width=16), jnp.ones((3, 2))
    >>> diffuse_back(*model, jax.random.key(1), x, vp_grid(4, 0.1), solver="euler-maruyama").shape
    (3, 2)
    """
    if solver not in _EACH:
        raise SpecError(f"solver must be one of {', '.join(_EACH)}, got {solver!r}.")
    grid = _checked_grid(grid, falling=True)
    check("grid", grid, lambda v: v > 0, "a list of times above 0: stop at a positive truncation")
    if mesh is not None and solver == "euler-maruyama":
        raise SpecError("mesh must be None for euler-maruyama, whose noise is drawn by blocks: leave it out.")
    program = partial(_diffuse_back, graph=graph, solver=solver, at_once=at_once, prediction=prediction, mesh=mesh)
    return share(program, mesh, (parameters, key, grid, jnp.asarray(rate, x.dtype)), (x, cond))


def straightness(velocity: Callable, x: Float[Array, "n ..."], grid, cond=None) -> Float[Array, " n"]:
    """Straightness of paths: mean over t and coordinates of (v - (X_1 - X_0))^2 along the ODE (RF-15; derived).

    Heun steps; the integral over t is the trapezoid rule on the grid. 0 for straight paths at constant speed.

    Args:
        velocity: ``(t, x, cond) -> v``.
        x: points at the first time of the grid.
        grid: times from 0 to 1.
        cond: classes ``[n]`` or None.

    Returns:
        One number for each point, in data^2.

    >>> straightness(lambda t, x, cond: 0 * x + 1, jnp.zeros((1, 2)), uniform(4)).tolist()
    [0.0]
    """
    grid, asked = grid.astype(x.dtype), _asked(velocity, cond)

    def step(x, ends):
        t, following = ends
        first = asked(t, x)
        moved = x + (following - t) / 2 * (first + asked(following, x + (following - t) * first))
        return moved, first

    end, speeds = jax.lax.scan(step, x, (grid[:-1], grid[1:]))
    speeds = jnp.concatenate([speeds, asked(grid[-1], end)[None]])
    errors = jax.vmap(mean_square)(speeds - (end - x)[None])
    return jnp.sum(jnp.diff(grid)[:, None] * (errors[1:] + errors[:-1]) / 2, axis=0)


def one_step_error(velocity: Callable, x: Float[Array, "n ..."], grid, cond=None) -> Float[Array, " n"]:
    """Mean over coordinates of (one Euler step - fine Heun solution on the grid)^2, for each point; in data^2.

    >>> one_step_error(lambda t, x, cond: 0 * x + 1, jnp.zeros((1, 2)), uniform(4)).tolist()
    [0.0]
    """
    ends = jnp.stack([grid[0], grid[-1]])
    return mean_square(euler(velocity, x, ends, cond) - heun(velocity, x, grid, cond))


def round_trip_error(
    velocity: Callable, x: Float[Array, "n ..."], grid, cond=None, *, solver: Callable = heun
) -> Float[Array, " n"]:
    """Mean over coordinates of (x - flow(back(x)))^2 for each point: back over the grid turned round, then over it.

    Args:
        velocity: ``(t, x, cond) -> v``.
        x: data points, at the last time of the grid.
        grid: times from noise to data.
        cond: classes ``[n]`` or None.
        solver: ``euler`` or ``heun``.

    >>> round_trip_error(lambda t, x, cond: 0 * x + 1, jnp.zeros((1, 2)), uniform(4)).tolist()
    [0.0]
    """
    back = solver(velocity, x, grid[::-1], cond)
    return mean_square(solver(velocity, back, grid, cond) - x)
