"""Samplers of truncated diffusion with the exact score of a Gaussian mixture: what is left is discretisation.

The VP process dX = -rate X dt + sqrt(2 rate) dW takes a mixture p to p_t, the mixture smoothed by ``exp(-rate t)`` and
``1 - exp(-2 rate t)``, whose score is known. Run from the horizon back to the truncation time, with many steps,

- the reverse SDE    dX = rate (X + 2 score) ds + sqrt(2 rate) dW   and
- the flow           dX/ds = rate (X + score),                      s the time that has gone backwards,

both end in the law of p at the truncation time. Euler-Maruyama and Euler are of first order in the step, Heun of
second. Fixed steps run in one compiled scan and evaluate the score a known number of times; ``adaptive`` hands the flow
to diffrax, which chooses the steps, and ``stochastic`` the SDE. The law is that of the pool of any round: pass its
mixture.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import check, concrete, whole_number
from collapse_jax.specs.mixture import Mixture

Method = Literal["euler-maruyama", "euler", "heun"]

EVALUATIONS = {"euler-maruyama": 1, "euler": 1, "heun": 2}
"""Evaluations of the score in one step of each method."""


_TABLE = 2**22  # numbers of a table of points, components and directions


class Sampled(NamedTuple):
    """Points ``[count, d]`` and how often the score was evaluated for them."""

    points: Any
    evaluations: Any


def times(steps: int, stop, horizon=6.0, *, power: int | float = 2):
    """Falling times ``[steps + 1]`` from ``horizon`` to ``stop``, uniform in their 1/power-th power.

    Args:
        steps: >= 1.
        stop: the truncation time, >= 0 and below ``horizon``.
        horizon: where the reverse process starts; what is left of the data there is exp(-rate horizon).
        power: 1 is uniform; larger ones put more steps near the truncation, where the score bends.

    Raises:
        SpecError: a value out of range.

    >>> times(2, 0.0, 4.0, power=1.0).tolist()
    [4.0, 2.0, 0.0]
    """
    steps = whole_number("steps", steps)
    check("power", power, lambda v: v > 0, "positive")
    check("stop", stop, lambda v: v >= 0, ">= 0")
    if concrete(stop) and concrete(horizon) and not float(stop) < float(horizon):
        raise SpecError(f"horizon must be larger than stop, got {float(horizon):g} and {float(stop):g}.")
    share = jnp.linspace(0.0, 1.0, steps + 1)
    stop, horizon = jnp.asarray(stop, share.dtype), jnp.asarray(horizon, share.dtype)
    return (horizon ** (1 / power) * (1 - share) + stop ** (1 / power) * share) ** power


def score_at(law: Mixture, t, x, rate):
    """Score of the law after a time ``t`` of the VP process, at ``x`` ``[count, d]``."""
    smooth = law.smooth(jnp.exp(-rate * t), -jnp.expm1(-2 * rate * t))
    if not law.isotropic or x.size * law.weights.size > _TABLE:
        return smooth.score(x)
    # the same number from a table of all points and components: compiled and run several times faster
    off = smooth.means[None] - x[:, None]
    logs = jnp.log(smooth.weights) - law.dimension / 2 * jnp.log(smooth.covariances)
    logs = logs[None] - jnp.sum(off**2, axis=2) / (2 * smooth.covariances)[None]
    shares = jax.nn.softmax(logs, axis=1) / smooth.covariances[None]
    return jnp.sum(shares[:, :, None] * off, axis=1)


def _start(key, law: Mixture, count: int, start):
    """The points at the horizon: given, or of the reference Gaussian."""
    if start is None:
        return jax.random.normal(key, (whole_number("count", count), law.dimension), law.means.dtype)
    start = jnp.asarray(start, law.means.dtype)
    if start.shape != (count, law.dimension):
        raise SpecError(f"start must have shape {(count, law.dimension)}, got {start.shape}.")
    return start


def _times_of(grid, law: Mixture):
    if np.ndim(grid) != 1 or np.shape(grid)[0] < 2:
        raise SpecError(f"grid must list at least two times, got shape {np.shape(grid)}: take times(steps, stop).")
    check("grid", grid, lambda v: v >= 0, "a list of times >= 0")
    if concrete(grid) and not (np.diff(np.asarray(grid, float)) < 0).all():
        raise SpecError("grid must fall strictly, from the horizon to the truncation: take times(steps, stop).")
    if not law.isotropic or not concrete(law.covariances) or not concrete(grid):
        return jnp.asarray(grid, law.means.dtype)
    if float(np.min(np.asarray(law.covariances))) == 0 and float(np.asarray(grid)[-1]) == 0:
        raise SpecError("grid must end above 0 for a law of points: it has no score at time 0.")
    return jnp.asarray(grid, law.means.dtype)


@partial(jax.jit, static_argnames=("method",))
def _fixed(law: Mixture, grid, start, key, rate, *, method: Method):
    def step(x, inputs):
        t, following, key = inputs
        size = rate * (t - following)
        score = score_at(law, t, x, rate)
        if method == "euler-maruyama":
            noise = jax.random.normal(key, x.shape, x.dtype)
            return x + size * (x + 2 * score) + jnp.sqrt(2 * size) * noise, None
        first = x + score
        euler = x + size * first
        if method == "euler":
            return euler, None
        return x + size / 2 * (first + euler + score_at(law, following, euler, rate)), None

    keys = jax.random.split(key, grid.shape[0] - 1)
    return jax.lax.scan(step, start, (grid[:-1], grid[1:], keys))[0]


def sample(law: Mixture, key, count: int, grid, *, method: Method = "heun", rate=1.0, start=None) -> Sampled:
    """Points of the reverse process with fixed steps and the exact score, in one compiled scan.

    Args:
        law: what the score is of, in any dimension: the law at time 0.
        key: random key of start and noise.
        count: points.
        grid: ``[steps + 1]`` falling times, of ``times``; the last one is the truncation.
        method: ``euler-maruyama`` (SDE), ``euler`` or ``heun`` (flow).
        rate: of the VP process [1 / time].
        start: ``[count, d]`` points at the horizon; None draws them from N(0, I), as a trained sampler would.

    Returns:
        Points and the number of score evaluations.

    Raises:
        SpecError: an unknown method, a grid that does not fall, or shapes that do not fit.

    >>> law = Mixture([1.0], [0.5], [0.04])
    >>> made = sample(law, jax.random.key(0), 2000, times(32, 0.01))
    >>> made.evaluations, bool(abs(made.points.mean() - 0.5) < 0.05)
    (64, True)
    """
    if method not in EVALUATIONS:
        raise SpecError(f"method must be one of {', '.join(EVALUATIONS)}, got {method!r}.")
    check("rate", rate, lambda v: v > 0, "positive")
    start_key, noise_key = jax.random.split(key)
    grid = _times_of(grid, law)
    rate = jnp.asarray(rate, grid.dtype)
    points = _fixed(law, grid, _start(start_key, law, count, start), noise_key, rate, method=method)
    return Sampled(points, EVALUATIONS[method] * (grid.shape[0] - 1))


def adaptive(
    law: Mixture, key, count: int, stop, horizon=6.0, *, tolerance: int | float = 1e-5, rate=1.0, start=None
) -> Sampled:
    """Points of the flow by diffrax's Tsit5 with steps of its own choice, one sequence for all points.

    Args:
        law, key, count, rate, start: as in ``sample``.
        stop, horizon: truncation and start of the reverse process.
        tolerance: relative and absolute, of each step.

    Returns:
        Points and the number of score evaluations, rejected steps included.

    Raises:
        SpecError: a bad argument.

    >>> made = adaptive(Mixture([1.0], [0.5], [0.04]), jax.random.key(0), 500, 0.01)
    >>> bool(abs(made.points.std() - 0.24) < 0.03)
    True
    """
    import diffrax

    grid = _times_of(times(1, stop, horizon), law)
    check("tolerance", tolerance, lambda v: v > 0, "positive")
    check("rate", rate, lambda v: v > 0, "positive")
    rate = jnp.asarray(rate, grid.dtype)
    start = _start(jax.random.split(key)[0], law, count, start)

    def field(t, x, law):
        return -rate * (x + score_at(law, t, x, rate))

    solved = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0=grid[0],
        t1=grid[1],
        dt0=None,
        y0=start,
        args=law,
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        saveat=diffrax.SaveAt(t1=True),
    )
    assert solved.ys is not None
    # six new stages a step, the seventh is the first of the next one; two go into the choice of the first step
    return Sampled(solved.ys[0], 6 * solved.stats["num_steps"] + 2)


def stochastic(law: Mixture, key, count: int, grid, *, rate=1.0, start=None) -> Sampled:
    """Points of the reverse SDE by diffrax's Euler solver on a Brownian path of diffrax's own.

    An independent implementation of ``sample(..., method="euler-maruyama")``: one law at the same ``grid``.

    Args:
        law, key, count, grid, rate, start: as in ``sample``.

    Returns:
        Points and the number of score evaluations.

    Raises:
        SpecError: a bad argument.

    >>> made = stochastic(Mixture([1.0], [0.5], [0.04]), jax.random.key(0), 500, times(64, 0.01))
    >>> made.evaluations, bool(abs(made.points.mean() - 0.5) < 0.05)
    (64, True)
    """
    import diffrax
    import lineax

    grid = _times_of(grid, law)
    check("rate", rate, lambda v: v > 0, "positive")
    rate = jnp.asarray(rate, grid.dtype)
    start_key, noise_key = jax.random.split(key)
    start = _start(start_key, law, count, start)
    passed = grid[0] - grid  # the solver's time rises

    def drift(s, x, law):
        return rate * (x + 2 * score_at(law, grid[0] - s, x, rate))

    noise = diffrax.UnsafeBrownianPath(jax.ShapeDtypeStruct(start.shape, start.dtype), noise_key)

    def spread(s, x, law):
        # diagonal: the noise of every coordinate is its own
        return lineax.DiagonalLinearOperator(jnp.full_like(x, jnp.sqrt(2 * rate)))

    solved = diffrax.diffeqsolve(
        diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(spread, noise)),
        diffrax.Euler(),
        t0=passed[0],
        t1=passed[-1],
        dt0=None,
        y0=start,
        args=law,
        stepsize_controller=diffrax.StepTo(passed),
        saveat=diffrax.SaveAt(t1=True),
        max_steps=grid.shape[0] + 1,
        adjoint=diffrax.DirectAdjoint(),
    )
    assert solved.ys is not None
    return Sampled(solved.ys[0], grid.shape[0] - 1)
