"""Rectified flow refitted with fresh noise every round: collapse through the sampler (RF-6 to RF-8, RF-18; derived).

Independent coupling is the right angle ``theta = pi/2`` (RF-5). On the uniform grid the angles between neighbouring x_t
are ``theta_k ~ theta'(t_k)/N`` with ``theta' = sqrt(lambda)/m_t``, so that

    log(A_N^2/lambda) = 2 sum log cos theta_k ~ -(1/N) int theta'^2 dt = -k(lambda)/N,
    k(lambda) = 1 + pi/4 (sqrt lambda + 1/sqrt lambda);

the order N^-2 vanishes (RF-6). A chain that keeps only its own images has ``lambda' = A_N(lambda)^2``: in rounds over
N it follows ``d lambda/ds = -k(lambda) lambda``, solved by Phi (RF-7). n images a round and a relative loss eta add
``-1/n - 2 eta`` to the drift of the logarithm (RF-8). Heun's step adds ``h^3 (v''/12 - v^3/6)`` to the logarithm of
the gain; with ``int v^3 dt = (lambda^2 - 1)/(4 lambda)`` and ``v'_1 - v'_0 = 1/lambda - lambda`` the sum is of order
N^-2 and of either sign (RF-18).

Margins of asymptotic laws are envelopes of the next order, from sums evaluated for lambda in [0.01, 100].
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.theory.reflow import SAMPLES
from collapse_jax.theory.reflow_ground import covers, euler_variance, is_zero, known, path

ONE: dict[str, Any] = {"spectrum": (4.0, 1.0, 0.25), "coupling": "independent", "solver": "euler", "size": 1e6}
CHAIN: dict[str, Any] = {"spectrum": (4.0, 0.25), "coupling": "independent", "solver": "euler", "size": 1e8}


def _covers(spec: ReflowSpec, result: str, *, solver: str = "euler", grid: str = "", lossless: bool = True) -> None:
    covers(spec.coupling == "independent", result, "describes coupling independent; for reflow ask RF-10.")
    covers(is_zero(spec.correlation), result, "describes independent pairs: set correlation to 0.")
    covers(known(spec.latent_variance, lambda v: v == 1), result, "describes noise of variance 1: set latent_variance.")
    covers(is_zero(spec.ridge), result, "describes fits without a ridge: set ridge to 0.")
    ask = {"exact": "RF-4", "euler": "RF-6", "heun": "RF-18"}[spec.solver]
    covers(spec.solver == solver, result, f"describes solver {solver}; for {spec.solver} ask {ask}.")
    if grid:
        other = "RF-6/equal-angle" if spec.grid == "equal-angle" else "RF-6"
        covers(spec.grid == grid, result, f"describes grid {grid}; for {spec.grid} ask {other}.")
    if lossless:
        covers(is_zero(spec.fit_loss), result, "describes perfect fits: set fit_loss to 0.")


def _alone(spec: ReflowSpec, result: str) -> None:
    covers(is_zero(spec.real_fraction), result, "describes a chain without real images: set real_fraction to 0.")


def sampler_rate(variance):
    """``k(lambda)`` of RF-6."""
    return 1 + np.pi / 4 * _both(variance)


def _both(variance):
    root = jnp.sqrt(variance)
    return root + 1 / root


@register(
    "RF-6",
    statement="Uniform grid: A_N^2/l = exp(-k/N) + O(N^-3), k = 1 + pi/4 (sqrt l + 1/sqrt l).",
    kind="asymptotic",
    observable="variance_ratio",
    check="square of the gain of N Euler steps over the variance of the sampled images",
    example=ONE | {"steps": 20},
    generations=1,
    samples=SAMPLES,
)
def sampler_ratio(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Share of variance that N Euler steps on the uniform grid keep.

    Formula: ``exp(-k/N)``. RF-6 (derived), asymptotic; margin ``0.13 exp(-k/N) (sqrt l + 1/sqrt l)^3/N^3``, for l in
    [0.01, 100] and N >= 5.

    Args:
        spec: coupling independent, solver euler, grid uniform; ``l = start Lambda``.

    Returns:
        Prediction of ``variance_ratio``, ``[d]``, with its margin.

    Raises:
        RegimeError: another chain; names the result that describes it.

    >>> spec = ReflowSpec([1.0], coupling="independent", solver="euler", steps=10)
    >>> round(float(sampler_ratio(spec).values[0]), 4)  # the sum itself: 0.7726
    0.7733
    """
    _covers(spec, "RF-6", grid="uniform")
    value = jnp.exp(-sampler_rate(spec.variance) / spec.steps)
    return value, 0.13 * value * (_both(spec.variance) / spec.steps) ** 3


@register(
    "RF-6/equal-angle",
    statement="Equal-angle grid: A_N^2/l = exp(-pi^2/(4N)) + O(N^-3), for every l.",
    kind="asymptotic",
    observable="variance_ratio",
    check="square of the gain of N Euler steps over the variance of the sampled images",
    example=ONE | {"steps": 20, "grid": "equal-angle"},
    generations=1,
    samples=SAMPLES,
)
def equal_angle_ratio(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Share of variance that N Euler steps of equal angles keep.

    Formula: ``exp(-pi^2/(4 N))``; exactly ``cos(pi/(2 N))^(2 N)``. RF-6 (derived), asymptotic; margin ``1.2/N^3``.

    Returns:
        Prediction of ``variance_ratio``, ``[d]``, with its margin.

    Raises:
        RegimeError: another grid or chain.

    >>> spec = ReflowSpec([1.0], coupling="independent", solver="euler", steps=10, grid="equal-angle")
    >>> round(float(equal_angle_ratio(spec).values[0]), 4)
    0.7813
    """
    _covers(spec, "RF-6/equal-angle", grid="equal-angle")
    value = np.exp(-(np.pi**2) / (4 * spec.steps))
    return jnp.full_like(spec.variance, value), 1.2 / spec.steps**3


@register(
    "RF-6/two",
    statement="Two Euler steps: A_2 = l/(l+1), the denoiser fed with noise.",
    kind="exact",
    observable="gain",
    check="two Euler steps with velocities fitted to sampled images",
    example=ONE | {"steps": 2},
    generations=1,
    samples=SAMPLES,
)
def two_step_gain(spec: ReflowSpec) -> Float[Array, " d"]:
    """Endpoint gain of two uniform Euler steps.

    Formula: ``l/(l + 1)``. RF-6 (derived), exact: that of a denoising autoencoder fed with noise alone.

    Returns:
        Prediction of ``gain``, ``[d]``.

    Raises:
        RegimeError: another number of steps, grid or chain.

    >>> two_step_gain(ReflowSpec([3.0], coupling="independent", solver="euler", steps=2)).values.tolist()
    [0.75]
    """
    _covers(spec, "RF-6/two", grid="uniform")
    covers(spec.steps == 2, "RF-6/two", "describes steps 2; for others ask RF-5.")
    return spec.variance / (spec.variance + 1)


@register(
    "RF-6/symmetry",
    statement="A_N(l)/sqrt l = sqrt l A_N(1/l) on the uniform grid.",
    kind="exact",
    observable="gain",
    check="N Euler steps with velocities fitted to sampled images",
    example=ONE | {"steps": 6, "spectrum": (20.0, 4.0, 0.05)},
    generations=1,
    samples=SAMPLES,
)
def mirrored_gain(spec: ReflowSpec) -> Float[Array, " d"]:
    """Endpoint gain from that of data of the inverse variance.

    Formula: ``l A_N(1/l)``. RF-6 (derived), exact on the uniform grid: time reversed, the angles are the same.

    Returns:
        Prediction of ``gain``, ``[d]``.

    Raises:
        RegimeError: another grid or chain.

    >>> spec = ReflowSpec([3.0], coupling="independent", solver="euler", steps=2)
    >>> round(float(mirrored_gain(spec).values[0]), 6)
    0.75
    """
    _covers(spec, "RF-6/symmetry", grid="uniform")
    return spec.variance * jnp.sqrt(euler_variance(spec, 1 / spec.variance)) if spec.steps > 1 else 0 * spec.variance


@register(
    "RF-6/ends",
    statement="A_N ~ (N-1) l as l -> 0, A_N -> N-1 as l -> infinity.",
    kind="asymptotic",
    observable="gain",
    check="N Euler steps with velocities fitted to sampled images of very large and very small variance",
    example=ONE | {"steps": 6, "spectrum": (1e6, 1e-6)},
    generations=1,
    samples=SAMPLES,
)
def extreme_gain(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Endpoint gain for data of very small or very large variance.

    Formula: ``(N - 1) min(l, 1)``. RF-6 (derived), asymptotic; relative margin ``N^2 min(l, 1/l)``.

    Returns:
        Prediction of ``gain``, ``[d]``, with its margin.

    Raises:
        RegimeError: another grid or chain.

    >>> spec = ReflowSpec([1e9, 1e-9], coupling="independent", solver="euler", steps=5)
    >>> [f"{gain:.1g}" for gain in extreme_gain(spec).values]
    ['4', '4e-09']
    """
    _covers(spec, "RF-6/ends", grid="uniform")
    value = (spec.steps - 1) * jnp.minimum(spec.variance, 1)
    return value, value * spec.steps**2 * jnp.minimum(spec.variance, 1 / spec.variance)


def _mixed(spec: ReflowSpec, y):
    return spec.real_fraction * spec.spectrum + (1 - spec.real_fraction) * spec.kept * euler_variance(spec, y)


@register(
    "RF-7",
    statement="Fresh noise every round, N Euler steps, real share a: y' = a L + (1-a) A_N(y)^2.",
    kind="exact",
    observable="variance",
    check="variance of the images of each round, velocities refitted to samples of it",
    example=CHAIN | {"steps": 10, "real_fraction": 0.1},
    generations=30,
    samples=1,
)
def refitted_variance(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Variance of the images that each round is fitted on.

    Formula: ``y' = a Lambda + (1 - a) q A_N(y)^2`` with A_N of RF-5. RF-7 (derived), exact for many images.

    Args:
        spec: coupling independent, solver euler, any grid.

    Returns:
        Prediction of ``variance``, ``[generations + 1, d]`` [data^2].

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1.0], coupling="independent", solver="euler", steps=2)
    >>> [round(float(v), 4) for v in refitted_variance(spec, 2).values.ravel()]  # (y/(y + 1))^2
    [1.0, 0.25, 0.04]
    """
    _covers(spec, "RF-7", lossless=False)
    return path(lambda y: _mixed(spec, y), spec.variance, generations)


@register(
    "RF-7/bound",
    statement="Real images hold up the variance: y >= a L in every round.",
    kind="lower bound",
    observable="variance",
    check="variance of the images of each round, velocities refitted to samples of it",
    example=CHAIN | {"steps": 2, "real_fraction": 0.3},
    generations=15,
    samples=1,
)
def refitted_floor(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """What the variance of the images never falls below.

    Formula: ``min(a, start) Lambda``, from round 1 on ``a Lambda``. RF-7 (derived), lower bound.

    Returns:
        Prediction of ``variance``, ``[generations + 1, d]`` [data^2].

    Raises:
        RegimeError: coupling reflow.

    >>> spec = ReflowSpec([2.0], coupling="independent", real_fraction=0.5)
    >>> refitted_floor(spec, 1).values.ravel().tolist()
    [1.0, 1.0]
    """
    covers(spec.coupling == "independent", "RF-7/bound", "describes coupling independent; for reflow ask RF-13.")
    floor = jnp.broadcast_to(spec.real_fraction * spec.spectrum, (generations + 1, spec.dimension))
    return floor.at[0].min(spec.variance)


@register(
    "RF-7/limit",
    statement="With real images the limit is the only root of y = a L + (1-a) A_N(y)^2.",
    kind="exact",
    observable="final_variance",
    check="variance of the last round of a chain run to its limit",
    example=CHAIN | {"steps": 10, "real_fraction": 0.1},
    generations=80,
    samples=1,
)
def refitted_limit(spec: ReflowSpec) -> Float[Array, " d"]:
    """Variance of the images at the end of a chain with real images.

    The root is bisected between ``a Lambda`` and Lambda (N Euler steps never inflate); its derivative is that of the
    equation. RF-7 (derived), exact in the limit; unique as the slope of A_N^2 stays below 1. a = 0 gives 0.

    Args:
        spec: coupling independent, solver euler, any grid.

    Returns:
        Prediction of ``final_variance``, ``[d]`` [data^2].

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1.0], coupling="independent", solver="euler", steps=2, real_fraction=0.5)
    >>> round(float(refitted_limit(spec).values[0]), 4)
    0.5652
    """
    _covers(spec, "RF-7/limit", lossless=False)
    known_spec, wanted = jax.lax.stop_gradient(spec), spec.spectrum.dtype

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        above = _mixed(known_spec, middle) > middle
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    ends = known_spec.real_fraction * known_spec.spectrum, known_spec.spectrum
    low, high = jax.lax.fori_loop(0, 100 if jnp.finfo(wanted).bits == 64 else 60, halve, ends)
    root = (low + high) / 2
    # two steps of Newton: the last bits, and the derivatives
    for _ in range(2):
        root = jax.lax.stop_gradient(root)
        value, slope = jax.jvp(lambda y: _mixed(spec, y) - y, (root,), (jnp.ones_like(root),))
        root = root - value / jax.lax.stop_gradient(slope)
    return jnp.where(spec.real_fraction > 0, root, 0)


_OMEGA = np.sqrt(1 - 4 / np.pi**2)


def _between(high, low):
    """Phi(high) - Phi(low) of the roots of variances, without cancellation."""
    first, second = ((root + 2 / np.pi) / _OMEGA for root in (high, low))
    return 8 / (np.pi * _OMEGA) * jnp.arctan((first - second) / (1 + first * second))


def _ends(spec: ReflowSpec):
    return jnp.sqrt(spec.variance), jnp.sqrt(spec.level * spec.spectrum)


@register(
    "RF-7/lifetime",
    statement="Without real images l_0 falls to l_e in about N [Phi(l_0) - Phi(l_e)] rounds.",
    kind="asymptotic",
    observable="lifetime",
    check="rounds until the variance of the images has fallen to a level, interpolated in its logarithm",
    example=CHAIN | {"spectrum": (4.0, 1.0), "steps": 50, "level": 0.05},
    generations=120,
    samples=1,
    relevant=0.05,
)
def lifetime(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Rounds in which the variance falls from ``start Lambda`` to ``level Lambda``.

    Formula: ``N [Phi(l_0) - Phi(l_e)]``, ``Phi(l) = 8/(pi w) arctan((sqrt l + 2/pi)/w)``, ``w^2 = 1 - 4/pi^2``. RF-7
    (derived), asymptotic; margin one round, for variances ten times inside ``N^-2 << l << N^2``.

    Args:
        spec: coupling independent, solver euler, grid uniform, real_fraction 0, level below start.

    Returns:
        Prediction of ``lifetime``, ``[d]`` rounds, with its margin.

    Raises:
        RegimeError: another chain, or a level that is not below start.

    >>> spec = ReflowSpec([1.0], coupling="independent", solver="euler", steps=50, level=0.05)
    >>> round(float(lifetime(spec).values[0]), 1)
    48.0
    """
    _covers(spec, "RF-7/lifetime", grid="uniform")
    _alone(spec, "RF-7/lifetime")
    below = not concrete(spec.start) or known(spec.level, lambda v: np.all(v < np.asarray(spec.start)))
    covers(below, "RF-7/lifetime", "needs a level below start.")
    return spec.steps * _between(*_ends(spec)), 1.0


@register(
    "RF-7/extinction",
    statement="From any start the variance is gone after about 8 arccos(2/pi)/sqrt(pi^2-4) N = 2.91 N rounds.",
    kind="asymptotic",
    observable="lifetime",
    check="rounds until a huge variance has become tiny",
    example=CHAIN | {"spectrum": (1.0,), "start": 1e4, "level": 3e-4, "steps": 400},
    generations=1200,
    samples=1,
    relevant=0.1,
)
def extinction(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Rounds in which any variance vanishes.

    Formula: ``N [Phi(infinity) - Phi(0)] = 8 arccos(2/pi)/sqrt(pi^2 - 4) N``. RF-7 (derived), asymptotic; margin
    ``N 8/pi (sqrt l_e + 1/sqrt l_0) + 1``: what is left of Phi below the level and above the start.

    Returns:
        Prediction of ``lifetime``, ``[d]`` rounds, with its margin.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1.0], coupling="independent", solver="euler", steps=100)
    >>> round(float(extinction(spec).values[0]))
    291
    """
    _covers(spec, "RF-7/extinction", grid="uniform")
    _alone(spec, "RF-7/extinction")
    whole = 8 * np.arccos(2 / np.pi) / np.sqrt(np.pi**2 - 4) * spec.steps
    high, low = _ends(spec)
    return jnp.full_like(high, whole), spec.steps * 8 / np.pi * (low + 1 / high) + 1


@register(
    "RF-7/tail",
    statement="Below N^-2 decay is doubly exponential: l' = (N-1)^2 l^2.",
    kind="asymptotic",
    observable="variance",
    check="variance of the images of each round, from a tiny one",
    example=CHAIN | {"spectrum": (1e-4, 1e-5), "steps": 5},
    generations=2,
    samples=1,
    relevant=0.05,
)
def vanishing_variance(spec: ReflowSpec, generations: int) -> tuple[Float[Array, "generations_plus_1 d"], Any]:
    """Variance of the images of each round once it is far below ``N^-2``.

    Formula: ``l_j = ((N - 1)^2 l_0)^(2^j)/(N - 1)^2``. RF-7 (derived), asymptotic; relative margin ``2^(j+2) N^2 l_0``.

    Args:
        spec: coupling independent, solver euler, grid uniform, real_fraction 0, steps >= 2.

    Returns:
        Prediction of ``variance``, ``[generations + 1, d]`` [data^2], with its margin.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1e-4], coupling="independent", solver="euler", steps=11)
    >>> [f"{v:.1g}" for v in vanishing_variance(spec, 2).values[:, 0]]
    ['0.0001', '1e-06', '1e-10']
    """
    _covers(spec, "RF-7/tail", grid="uniform")
    _alone(spec, "RF-7/tail")
    covers(spec.steps > 1, "RF-7/tail", "describes steps 2 or more; one step gives 0 at once (RF-5/one-step).")
    scale = (spec.steps - 1) ** 2
    power = jnp.asarray(np.exp2(np.arange(generations + 1)), spec.spectrum.dtype)[:, None]
    value = jnp.exp(power * jnp.log(scale * spec.variance)[None]) / scale
    after = jnp.asarray(np.arange(generations + 1) > 0, spec.spectrum.dtype)[:, None]
    return value, value * after * 4 * power * spec.steps**2 * spec.variance[None]


DRIFT: dict[str, Any] = {"spectrum": (4.0, 1.0, 0.25), "coupling": "independent", "solver": "euler", "steps": 40}


@register(
    "RF-8",
    statement="Drift budget: E ln(l'/l) = -k/N - 1/n - 2 eta a round.",
    kind="asymptotic",
    observable="log_drift",
    check="mean logarithm of the variance after over before one round on n sampled images",
    example=DRIFT | {"size": 100, "fit_loss": 0.01},
    generations=1,
    samples=4000,
    relevant=0.05,
)
def log_drift(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Mean change of the logarithm of the variance in one round.

    Formula: ``-k(l)/N - 1/n - 2 eta``. RF-8 (derived), asymptotic; margin ``0.13 s^3/N^3 + (1 + s^2/N)/n^2
    + s/(n N) + 2 eta^2/(1 - eta)``, ``s = sqrt l + 1/sqrt l``. Exact integration, n infinite and eta = 0: no drift.

    Args:
        spec: coupling independent, solver euler or exact (then without k), grid uniform.

    Returns:
        Prediction of ``log_drift``, ``[d]``, with its margin.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1.0], coupling="independent", solver="exact", size=100, fit_loss=0.01)
    >>> round(float(log_drift(spec).values[0]), 6)
    -0.03
    """
    solver = "exact" if spec.solver == "exact" else "euler"
    _covers(spec, "RF-8", solver=solver, grid="uniform" if solver == "euler" else "", lossless=False)
    _alone(spec, "RF-8")
    both, lost = _both(spec.variance), -2 * spec.fit_loss
    inverse = 1 / spec.size
    margin = inverse**2 + 2 * spec.fit_loss**2 / (1 - spec.fit_loss)
    if solver == "exact":
        return jnp.broadcast_to(lost - inverse, both.shape), margin
    margin = margin + 0.13 * (both / spec.steps) ** 3 + inverse * both / spec.steps + (inverse * both) ** 2 / spec.steps
    return lost - inverse - sampler_rate(spec.variance) / spec.steps, margin


@register(
    "RF-8/variance",
    statement="The logarithm of the variance spreads by 2/n a round.",
    kind="asymptotic",
    observable="log_spread",
    check="variance over chains of the logarithm of the variance after over before one round",
    example=DRIFT | {"size": 500, "steps": 100},
    generations=1,
    samples=4000,
    relevant=0.05,
)
def log_spread(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Variance of the change of the logarithm of the variance in one round.

    Formula: ``2/n``. RF-8 (derived), asymptotic; relative margin ``3/n + s/N``: the next order, and ``k(l)`` moving.

    Returns:
        Prediction of ``log_spread``, ``[d]``, with its margin.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1.0], coupling="independent", solver="euler", size=100)
    >>> round(float(log_spread(spec).values[0]), 6)
    0.02
    """
    solver = "exact" if spec.solver == "exact" else "euler"
    _covers(spec, "RF-8/variance", solver=solver, lossless=False)
    _alone(spec, "RF-8/variance")
    value = 2 / spec.size
    moving = np.pi / 4 * jnp.abs(jnp.sqrt(spec.variance) - 1 / jnp.sqrt(spec.variance)) / spec.steps
    return jnp.broadcast_to(value, spec.variance.shape), value * (3 / spec.size + moving)


@register(
    "RF-8/exploding",
    statement="A variance-exploding flow started at N(0, s_max^2): 1/l_j = 1/l_0 + j/s_max^2.",
    kind="exact",
    observable="exploding_variance",
    check="variance of the images of each round, denoisers refitted to samples of it and integrated",
    example=CHAIN | {"largest_noise": 5.0},
    generations=30,
    samples=1,
)
def exploding_variance(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Variance along a chain of variance-exploding flows that start from noise alone.

    Formula: ``l' = l s^2/(l + s^2)``, so ``1/l_j = 1/l_0 + j/s_max^2``: a power law. RF-8 (derived), exact for many
    images and exact integration.

    Returns:
        Prediction of ``exploding_variance``, ``[generations + 1, d]`` [data^2].

    Raises:
        RegimeError: coupling reflow, or real images.

    >>> spec = ReflowSpec([1.0], coupling="independent", largest_noise=1.0)
    >>> [round(float(v), 4) for v in exploding_variance(spec, 3).values.ravel()]
    [1.0, 0.5, 0.3333, 0.25]
    """
    covers(spec.coupling == "independent", "RF-8/exploding", "describes coupling independent; for reflow ask RF-10.")
    _alone(spec, "RF-8/exploding")
    rounds = jnp.arange(generations + 1, dtype=spec.spectrum.dtype)[:, None]
    return spec.variance[None] / (1 + rounds * spec.variance[None] / spec.largest_noise**2)


@register(
    "RF-18",
    statement="Heun: A_N^2/l = 1 + (1/l - l)/(4 N^2) + O(N^-3): inflation below 1, shrinkage above.",
    kind="asymptotic",
    observable="variance_ratio",
    check="square of the gain of N Heun steps over the variance of the sampled images",
    example=ONE | {"solver": "heun", "steps": 20, "spectrum": (10.0, 4.0, 0.25, 0.1), "size": 1e8},
    generations=1,
    samples=SAMPLES,
)
def heun_ratio(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Share of variance that N Heun steps on the uniform grid keep.

    Formula: ``1 + (1/l - l)/(4 N^2)``. RF-18 (derived), asymptotic; margin ``0.18 (sqrt l + 1/sqrt l)^3/N^3``, for l in
    [0.01, 100] and N >= 5. That samplers shrink is a statement about Euler.

    Args:
        spec: coupling independent, solver heun, grid uniform.

    Returns:
        Prediction of ``variance_ratio``, ``[d]``, with its margin.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([0.25], coupling="independent", solver="heun", steps=10)
    >>> round(float(heun_ratio(spec).values[0]), 6)
    1.009375
    """
    _covers(spec, "RF-18", solver="heun", grid="uniform")
    value = 1 + (1 / spec.variance - spec.variance) / (4 * spec.steps**2)
    return value, 0.18 * (_both(spec.variance) / spec.steps) ** 3
