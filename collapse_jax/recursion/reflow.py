"""Reflow with trained networks: a flow retrained on its own pairs of noise and data, and what real pairs do about it.

Round 0 fits v on real images and fresh noise (the first rectification). Every later round makes ``pairs`` pairs with
the last network, the teacher, and fits the next one to them (algorithms RF-A1 to RF-A4):

- *synthetic* pairs (z, x^): z drawn from N(0, I), x^ = flow(z), times from 0 to 1;
- *real reverse* pairs (z', x): x a real image, z^ = flow back to noise by the ``inverter``, on the same grid turned
  round, and z' = sqrt(1 - tau^2) z^ + tau eps. Latents are not brought back to unit variance: that they lack it in a
  model that shrinks is the force that restores it (RF-12; derived).

The noise can also be that of an SDE run backwards (RF-17; derived), with one strength g in all directions. It needs the
score, which the velocity gives for independent pairs only: the inverter is then the first network. g is chosen for the
tau asked for in a direction of unit variance, g^2 = -(2/pi) ln(1 - tau^2).

Both kinds are joined by *union*, a share b of the pairs real; two pairs are never interpolated into one. An ``Arm``
says b, tau, the inverter and in how many portions the pairs of a round are made. All arms make equally many pairs with
one solver and grid, so each costs the same evaluations of a network: with tau = 1 the inverse is computed, not used.
All see the same real images: round 0 trains on every one of them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.generative.checkpoints import continued
from collapse_jax.generative.flows import Pairs, Points, independent_flow_loss, rectified_flow_loss
from collapse_jax.generative.samplers import evaluations, transport, transport_noisily, uniform
from collapse_jax.generative.training import adam, averaged, begin, train
from collapse_jax.specs.ground import whole_number


@dataclass(frozen=True)
class Arm:
    """What the pairs of a round are.

    Attributes:
        real_share: b in [0, 1], share of real reverse pairs.
        noise: tau in [0, 1], weight of fresh noise in reversed latents; 1 pairs real images with independent noise.
        inverter: model that takes real images back to noise: the ``current`` teacher, or the frozen ``first`` one.
        portions: the pairs of a round are made in so many parts, each when the last one has been trained on; 1 makes
            and stores all of them first.
        form: of the noise: ``latent`` mixes it into the latents, ``sde`` runs back along the SDE.

    Raises:
        SpecError: a value out of range; the SDE of another network than the first, or with noise 1, which it has not.

    >>> Arm(real_share=0.3, noise=0.6).counts(10)
    (7, 3)
    """

    real_share: float = 0.0
    noise: float = 0.0
    inverter: str = "current"
    portions: int = 1
    form: str = "latent"

    def __post_init__(self):
        for name in ("real_share", "noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise SpecError(f"{name} must be in [0, 1], got {getattr(self, name)}.")
        if self.inverter not in ("current", "first"):
            raise SpecError(f"inverter must be current or first, got {self.inverter!r}.")
        whole_number("portions", self.portions)
        if self.form not in ("latent", "sde"):
            raise SpecError(f"form must be latent or sde, got {self.form!r}.")
        if self.form == "sde" and (self.inverter != "first" or self.noise == 1):
            raise SpecError(
                "form sde needs the score of independent pairs and noise below 1: pass inverter first, noise < 1."
            )

    @property
    def diffusion(self) -> float:
        """g of the SDE whose noise in a direction of unit variance is ``noise``.

        >>> round(Arm(0.3, 0.6, "first", form="sde").diffusion, 4)
        0.533
        """
        return math.sqrt(-2 / math.pi * math.log1p(-(self.noise**2)))

    def counts(self, pairs: int) -> tuple[int, int]:
        """How many of ``pairs`` are synthetic and how many real."""
        real = round(self.real_share * pairs)
        return pairs - real, real


ARMS = {
    "Reflow": Arm(),
    "RA": Arm(real_share=0.3),
    "RA, first": Arm(real_share=0.3, inverter="first"),
    "ORA": Arm(real_share=0.3, portions=4),
    "ORAS 0.3": Arm(real_share=0.3, noise=0.3, portions=4),
    "ORAS 0.6": Arm(real_share=0.3, noise=0.6, portions=4),
    "ORAS 0.6, SDE": Arm(real_share=0.3, noise=0.6, inverter="first", portions=4, form="sde"),
    "independent": Arm(real_share=0.3, noise=1.0),
    "real only": Arm(real_share=1.0, noise=1.0),
}
"""The arms of a study by name; Reflow is the control without real pairs, the last two are those with fresh noise."""


@dataclass(frozen=True)
class Round:
    """Sizes of a round, the same in every arm.

    Attributes:
        pairs: made in a round, in all portions together.
        steps: of training, in all portions together.
        batch: pairs of a step.
        rate: largest step size of Adam.
        solver: ``euler`` or ``heun``, of the pairs.
        solver_steps: from noise to data, and back.
        dispatch: training steps of one program.
        decay: of the average of the parameters.
        at_once: points carried side by side on a device; None for all.
        mesh: devices to share batches and points, of ``distributed.data_mesh``; None for one device.

    Raises:
        SpecError: a size below 1, or an unknown solver.
    """

    pairs: int
    steps: int
    batch: int = 256
    rate: float = 1e-3
    solver: str = "heun"
    solver_steps: int = 20
    dispatch: int = 1
    decay: float = 0.99
    at_once: int | None = None
    mesh: Mesh | None = None

    def __post_init__(self):
        for name in ("pairs", "steps", "batch", "solver_steps", "dispatch"):
            whole_number(name, getattr(self, name))
        evaluations(self.solver, self.solver_steps)
        if self.solver == "euler-maruyama":
            raise SpecError("solver must be euler or heun: pairs lie on the paths of the flow.")

    @property
    def evaluations(self) -> int:
        """Evaluations of a network that make the pairs of a round, in every arm."""
        return self.pairs * evaluations(self.solver, self.solver_steps)

    def allows(self, arm: Arm) -> None:
        """Refuse an arm that does not fit the round.

        Raises:
            SpecError: pairs or dispatches cannot be shared equally between portions, or costs would differ.
        """
        synthetic, real = arm.counts(self.pairs)
        if synthetic % arm.portions or real % arm.portions or self.steps % (arm.portions * self.dispatch):
            raise SpecError(
                f"portions must divide the {synthetic} synthetic and {real} real pairs of a round, and its "
                f"{self.steps} steps into whole dispatches of {self.dispatch} steps, got {arm.portions}."
            )
        if arm.form == "sde" and self.solver != "heun":
            raise SpecError(f"solver must be heun beside an SDE, whose steps cost as much, got {self.solver!r}.")


class Made(NamedTuple):
    """Pairs, the synthetic ones first, and the evaluations of a network that they cost."""

    pairs: Pairs
    evaluations: int


def noisy_latents(key: PRNGKeyArray, latents: Float[Array, "n ..."], noise) -> Float[Array, "n ..."]:
    """sqrt(1 - tau^2) z + tau eps, eps from N(0, I) (RF-12; derived); z is taken as it is.

    >>> noisy_latents(jax.random.key(0), jnp.array([[2.0]]), 0.0).tolist()
    [[2.0]]
    """
    noise = jnp.asarray(noise, latents.dtype)
    return jnp.sqrt(1 - noise**2) * latents + noise * jax.random.normal(key, latents.shape, latents.dtype)


def chosen_images(key: PRNGKeyArray, images: int, count: int) -> np.ndarray:
    """``[count]`` places of real images in a random order, none again before all have had their turn.

    >>> sorted(chosen_images(jax.random.key(0), 3, 6).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    turns = jax.random.split(key, -(-count // images) or 1)
    return np.concatenate([np.asarray(jax.random.permutation(turn, images)) for turn in turns])[:count]


def make_pairs(
    arm: Arm, graph, teacher, first, real: Float[Array, "images ..."], key: PRNGKeyArray, plan: Round, portion: int = 0
) -> Made:
    """The pairs of a portion of a round; real images take turns over the whole round.

    Args:
        arm: share, noise and inverter.
        graph: structure of the networks.
        teacher: parameters of the last round's network, which makes the synthetic pairs.
        first: parameters of round 0, which take real images back if the inverter is ``first``.
        real: real images.
        key: of the round: draws latents, images and noise.
        plan: solver, steps and ``pairs``.
        portion: which one, from 0 to ``arm.portions - 1``.

    >>> from collapse_jax.generative.networks import MLP, fresh
    >>> graph, parameters = fresh(jax.random.key(0), MLP, 2, width=16)
    >>> made = make_pairs(ARMS["RA"], graph, parameters, parameters, jnp.ones((5, 2)), jax.random.key(1), Round(10, 1))
    >>> made.pairs.noise.shape, made.pairs.data[-3:].tolist(), made.evaluations
    ((10, 2), [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], 400)
    """
    synthetic, reverse = (count // arm.portions for count in arm.counts(plan.pairs))
    latent_key, _, noise_key = jax.random.split(jax.random.fold_in(key, portion), 3)
    image_key = jax.random.split(jax.random.fold_in(key, 0), 3)[1]
    grid, noise, data = uniform(plan.solver_steps), [], []

    def carried(parameters, points, grid):
        return transport(graph, parameters, points, grid, solver=plan.solver, at_once=plan.at_once, mesh=plan.mesh)

    if synthetic:
        z = jax.random.normal(latent_key, (synthetic, *real.shape[1:]), real.dtype)
        noise.append(z)
        data.append(carried(teacher, z, grid))
    if reverse:
        turns = chosen_images(image_key, len(real), reverse * arm.portions)
        x = real[turns[portion * reverse : (portion + 1) * reverse]]
        inverter = first if arm.inverter == "first" else teacher
        if arm.form == "sde":
            noise.append(
                transport_noisily(graph, inverter, noise_key, x, grid[::-1], arm.diffusion, at_once=plan.at_once)
            )
        else:
            noise.append(noisy_latents(noise_key, carried(inverter, x, grid[::-1]), arm.noise))
        data.append(x)
    spent = (synthetic + reverse) * evaluations(plan.solver, plan.solver_steps)
    return Made(Pairs(jnp.concatenate(noise), jnp.concatenate(data)), spent)


def first_rectification(
    graph,
    parameters,
    real: Float[Array, "images ..."],
    key: PRNGKeyArray,
    plan: Round,
    steps=None,
    *,
    folder: Path | None = None,
    settings: Mapping | None = None,
):
    """Round 0: parameters (averaged) of a flow fitted on real images and fresh noise, shared by all arms of a seed.

    Args:
        graph, parameters: an untrained network.
        real: real images.
        key: of the training.
        plan: sizes.
        steps: of training; None for ``plan.steps``.
        folder, settings: for checkpoints of a long training, and what it is made with; None keeps nothing.

    Raises:
        MeasurementError: the loss is not finite.
    """
    steps = plan.steps if steps is None else steps
    optimizer = adam(plan.rate, steps)
    training, keep = continued(folder, begin(parameters, optimizer), settings or {}, steps)
    try:
        done = train(
            graph,
            training,
            key,
            Points(real),
            independent_flow_loss,
            optimizer,
            steps=steps,
            batch=plan.batch,
            dispatch=plan.dispatch,
            decay=plan.decay,
            mesh=plan.mesh,
            callback=keep,
        )
    except MeasurementError as error:
        raise MeasurementError(f"generation 0: {error}") from None
    return averaged(done.state)


def start(parameters) -> dict[str, Any]:
    """The state of ``retrain`` before the first round of Reflow: the network of round 0, twice, and nothing spent.

    >>> sorted(start({"w": jnp.ones(1)}))
    ['current', 'evaluations', 'first', 'loss']
    """
    return {"current": parameters, "first": parameters, "evaluations": np.zeros(()), "loss": np.full((), np.nan)}


def generation(
    arm: Arm, graph, real: Float[Array, "images ..."], plan: Round, *, scratch: Callable | None = None
) -> Callable:
    """A round of an arm as ``retraining.retrain`` takes it: ``(number, key, state, folder) -> state``.

    The network starts from the averaged parameters of its teacher. Rounds after the first one compile nothing. A long
    training is kept in ``folder`` every minute and goes on from there, to the identical result.

    Args:
        arm: what the pairs are.
        graph: structure of the networks.
        real: real images, those of round 0.
        plan: sizes.
        scratch: ``key -> parameters``: start every round from an untrained network instead.

    Returns:
        The function. States are those of ``start``: ``current`` and ``first`` parameters, ``evaluations`` spent on
        pairs so far, and the mean ``loss`` of the last dispatch of the round.

    Raises:
        SpecError: portions that do not divide the round.
        MeasurementError: on call, if the loss is not finite.
    """
    plan.allows(arm)
    optimizer = adam(plan.rate, plan.steps)

    def step(number, key, state, folder):
        start_key, train_key, pair_key = jax.random.split(key, 3)
        teacher, losses, each = state["current"], np.full(1, np.nan), plan.steps // arm.portions
        training = begin(teacher if scratch is None else scratch(start_key), optimizer)
        training, keep = continued(folder, training, {"generation": number}, plan.steps)
        for portion in range(int(training.step) // each, arm.portions):
            made = make_pairs(
                arm,
                graph,
                teacher,
                state["first"],
                real,
                pair_key,
                plan,
                portion,
            )
            training, losses = train(
                graph,
                training,
                train_key,
                made.pairs,
                rectified_flow_loss,
                optimizer,
                steps=(portion + 1) * each,
                batch=plan.batch,
                dispatch=plan.dispatch,
                decay=plan.decay,
                mesh=plan.mesh,
                callback=keep,
            )
        # of the types they started with: a checkpoint is read back only into such
        spent = np.asarray(state["evaluations"] + plan.evaluations, float)
        numbers = {"evaluations": spent, "loss": np.asarray(losses[-1], float)}
        return state | {"current": averaged(training)} | numbers

    return step
