"""Consistent families that collapse although every batch is kept (MLE-18 ... MLE-21).

*jump* (MLE-19). With all points in [0, 1] the log likelihood at ``alpha = (1 - x_(k))/2``, x_(k) the k-th largest
point, is to leading order ``n alpha/2 - (k - 1) ln 2 = G_k/4 - (k - 1) ln 2`` above that at 0: a point outside [0, 1 -
2 alpha] costs ln 2, each point inside gains alpha/2. Scaled gaps ``n (1 - x_(k)) -> G_k`` are arrival times of a unit
Poisson process, so that 2 n alpha(1) tends to G at the maximum of a random walk with steps ``E/4 - ln 2``. Its ladder
heights are exponential with rate 4 (no memory), and ``E z^(steps of a ladder) = 1 - theta/4`` with theta the larger
root of ``2^-theta/(1 - theta/4) = 1/z`` (Wald's martingale). The batch of model 1 has no point in [2, 3] with chance
``E exp(-n alpha(1)/2)``.

*fuse* (MLE-21). alpha_1 = (1 - M)/2, M the largest real point, 2 n alpha_1 exponential; each synthetic point passes
into [1, 2] with chance alpha_1. When the second type is looked at, one point in its window of width f(J) is worth -ln
f(J), against at most ln(3J) for each other point.

The families and the theorems (MLE-18, MLE-20) are those of arXiv 2505.19046; every number here was derived.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.mle import MLESpec
from collapse_jax.theory.mle_ground import family_in, one_batch

JUMP = {"family": "jump", "batch": 50.0, "regime": "accumulate"}
FIRST = JUMP | {"batch": 200.0}
FUSE = {"family": "fuse", "batch": 50.0, "regime": "accumulate"}
RUNS = 150


def _root(of, low: float, high: float) -> float:
    """Zero of an increasing function, by bisection."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if of(middle) < 0 else (low, middle)
    return (low + high) / 2


def _passage(log_z: float) -> float:
    """E z^(steps of a ladder of the walk E/4 - ln 2), for log z up to ``RATE`` times ln 16."""
    least = 4 * (1 - 1 / (4 * np.log(2)))
    return 1 - _root(lambda theta: -theta * np.log(2) - np.log1p(-theta / 4) + log_z, least, 4 - 1e-15) / 4


STAYS = 1 - _passage(0.0)
"""R of MLE-19: the walk never rises above its start; 1 - R = 16^-R."""

_B = 4 * np.log(2)
GAMMA = 2 * (_B - 1 - np.log(_B)) / _B
"""gamma of MLE-19: exponent of the tail of alpha(1)."""

TAIL = STAYS / (1 - GAMMA / 2) / (1 - 1 / (1 - GAMMA / 2) / _B)
"""E exp((gamma/2) G), G the limit of 2 n alpha(1)."""

SEEN = 1 - 0.8 * STAYS / (1 - 0.8 * _passage(-np.log(2)))
"""Limit of the chance that the batch of model 1 has a point in [2, 3]: 1 - E exp(-G/4)."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def _jump(spec: MLESpec, result: str) -> None:
    family_in(spec, result, "jump")
    one_batch(spec, result)


def _fuse(spec: MLESpec, result: str) -> None:
    family_in(spec, result, "fuse")
    one_batch(spec, result)


def _over_gap(size, log_kept, scale, at_most):
    """E of exp(log_kept(1 - x_max)) over the largest of n uniform points, gaps above 1/2 counted as 1/2.

    With ``1 - x_max = -expm1(-s/n)`` s is a unit exponential; ``scale`` is the reach of the integrand in s.
    """
    end = jnp.minimum(size * np.log(2), at_most * scale)
    s = end * jnp.asarray((1 + _NODES) / 2, size.dtype)
    inner = jnp.sum(end / 2 * jnp.asarray(_WEIGHTS, size.dtype) * jnp.exp(-s + log_kept(-jnp.expm1(-s / size))))
    return inner + jnp.exp(-size * np.log(2) + log_kept(jnp.asarray(0.5, size.dtype)))


@register(
    "MLE-18",
    statement="First fit of the jump family: chance of TV > C ln n/n is at most 2.51 n^(-0.543 C); C = 2 beats 1/n.",
    kind="upper bound",
    observable="late_first",
    check="share of runs whose first alpha is above C ln n/n, exact maximisation",
    example=FIRST,
    generations=1,
    samples=20_000,
)
def first_tail(spec: MLESpec) -> Float[Array, ""]:
    """Bound on the chance that the first fit is farther than ``threshold`` ln n/n from the truth in total variation.

    Formula: ``min(1, E exp((gamma/2) G) n^(-gamma C))``, gamma = 0.54295, by Markov's inequality for the limit law of 2
    n alpha(1). A quantitative form of the first half of Theorem 5.1 of arXiv 2505.19046. MLE-18 (derived), an upper
    bound for n -> infinity.

    Args:
        spec: family jump, one batch size.

    Returns:
        Prediction (upper bound) of ``late_first``, a chance.

    Raises:
        RegimeError: the spec describes another family.

    >>> round(float(first_tail(MLESpec("jump", batch=1000, threshold=2.0)).values), 5)
    0.00138
    """
    _jump(spec, "MLE-18")
    return jnp.minimum(TAIL * jnp.exp(-GAMMA * spec.threshold * jnp.log(spec.batch)), 1)


@register(
    "MLE-19",
    statement="Collapse at once: P(TV(2) > 1/10) >= 1 - E(1 - min(1/2, 1 - x_max)/4)^n -> 1/5.",
    kind="lower bound",
    observable="collapsed",
    check="share of runs whose second alpha is above 1/10, exact maximisation",
    example=JUMP,
    generations=2,
    samples=RUNS,
    relevant=0.15,
)
def collapse_chance(spec: MLESpec) -> Float[Array, ""]:
    """Bound on the chance that the second fit of the jump family is farther than 1/10 from the truth.

    Formula: as in the statement, the mean over the largest of n uniform points by quadrature. MLE-19 (derived), a lower
    bound for every n; it tends to 1/5.

    Args:
        spec: family jump, one batch size.

    Returns:
        Prediction (lower bound) of ``collapsed``, a chance.

    Raises:
        RegimeError: the spec describes another family.

    >>> round(float(collapse_chance(MLESpec("jump", batch=100000)).values), 4)
    0.2
    """
    _jump(spec, "MLE-19")
    size = spec.batch
    missed = _over_gap(size, lambda gap: size * jnp.log1p(-gap / 4), jnp.ones_like(size), 45.0)
    return 1 - missed


@register(
    "MLE-19/tv",
    statement="Total variation between the truth and p_(alpha, mu) is alpha.",
    kind="exact",
    observable="jump_tv",
    check="half the integral of |p - p*| over the pieces of the fitted densities, alpha as realised",
    example=JUMP,
    generations=2,
    samples=RUNS,
    given=("alpha",),
)
def jump_tv(spec: MLESpec, generations: int, *, alpha=None) -> Float[Array, " generations_plus_1"]:
    """Total variation between the truth and the fitted models of the jump family.

    Formula: alpha, whatever mu. MLE-19 (derived), exact.

    Args:
        spec: family jump.
        generations: number of fits.
        alpha: ``[generations + 1]`` realised; 0 (the truth) if None.

    Returns:
        Prediction of ``jump_tv``, ``[generations + 1]`` in [0, 1/4].

    Raises:
        RegimeError: the spec describes another family.

    >>> jump_tv(MLESpec("jump"), 1, alpha=jnp.array([0.0, 0.1])).values.tolist()
    [0.0, 0.10000000149011612]
    """
    _jump(spec, "MLE-19/tv")
    return jnp.zeros(generations + 1, spec.batch.dtype) if alpha is None else alpha


@register(
    "MLE-19/first",
    statement="alpha(1) >= min(1/4, (1 - x_max)/2) in every run.",
    kind="lower bound",
    observable="first_ratio",
    check="least ratio of the two over the runs of a replicate, exact maximisation",
    example=JUMP,
    generations=2,
    samples=RUNS,
)
def first_ratio(spec: MLESpec) -> Float[Array, ""]:
    """Bound on alpha(1) over its usual value: 1, in every run. MLE-19 (derived), a lower bound.

    Returns:
        Prediction (lower bound) of ``first_ratio``, no unit.

    Raises:
        RegimeError: the spec describes another family.

    >>> float(first_ratio(MLESpec("jump")).values)
    1.0
    """
    _jump(spec, "MLE-19/first")
    return jnp.ones_like(spec.batch)


@register(
    "MLE-19/usual",
    statement="alpha(1) is (1 - x_max)/2 with limiting chance R = 0.9225, 1 - R = 16^-R.",
    kind="asymptotic",
    observable="first_usual",
    check="share of runs in which it is, exact maximisation",
    example=FIRST,
    generations=1,
    samples=20_000,
    relevant=0.03,
)
def first_usual(spec: MLESpec):
    """Limiting chance that the first fit of the jump family is decided by the largest point.

    Formula: R = 0.922523 with ``1 - R = 16^-R``. MLE-19 (derived), asymptotic for n -> infinity. Margin ``1/n``: what
    was found by brute force for n >= 20, no proof.

    Returns:
        Prediction of ``first_usual``, a chance.

    Raises:
        RegimeError: the spec describes another family.

    >>> round(float(first_usual(MLESpec("jump")).values), 6)
    0.922523
    """
    _jump(spec, "MLE-19/usual")
    return jnp.full_like(spec.batch, STAYS), 1 / spec.batch


@register(
    "MLE-19/point",
    statement="The batch of model 1 reaches [2, 3] with limiting chance 0.241112.",
    kind="asymptotic",
    observable="reached",
    check="share of runs with such a point, exact maximisation",
    example=FIRST,
    generations=1,
    samples=20_000,
    relevant=0.03,
)
def point_chance(spec: MLESpec):
    """Limiting chance that the second batch of the jump family has a point in [2, 3].

    Formula: ``1 - E exp(-G/4)``, G the limit of 2 n alpha(1) (module docstring). MLE-19 (derived), asymptotic for n ->
    infinity. Margin ``1/(2n)``: what was found by brute force for n >= 20, no proof.

    Returns:
        Prediction of ``reached``, a chance.

    Raises:
        RegimeError: the spec describes another family.

    >>> round(float(point_chance(MLESpec("jump")).values), 6)
    0.241112
    """
    _jump(spec, "MLE-19/point")
    return jnp.full_like(spec.batch, SEEN), 0.5 / spec.batch


@register(
    "MLE-19/forced",
    statement="One synthetic point in [2, 3] forces alpha(2) > 1/10.",
    kind="lower bound",
    observable="forced_alpha",
    check="least second alpha over the runs of a replicate with such a point, exact maximisation",
    example=JUMP,
    generations=2,
    samples=RUNS,
)
def forced_alpha(spec: MLESpec) -> Float[Array, ""]:
    """Bound on the second alpha of runs whose second batch reaches [2, 3]: 1/10. MLE-19 (derived), a lower bound.

    Returns:
        Prediction (lower bound) of ``forced_alpha``, in [0, 1/4].

    Raises:
        RegimeError: the spec describes another family.

    >>> round(float(forced_alpha(MLESpec("jump")).values), 3)
    0.1
    """
    _jump(spec, "MLE-19/forced")
    return jnp.full_like(spec.batch, 0.1)


@register(
    "MLE-20",
    statement="Once the second type of the fuse family has won, TV >= 3/8.",
    kind="lower bound",
    observable="takeover_tv",
    check="least total variation over the runs of a replicate in which its likelihood has won by the last round",
    example=FUSE,
    generations=12,
    samples=60,
    tag="paper",
    citation="barzilai2025",
)
def takeover_distance(spec: MLESpec) -> Float[Array, ""]:
    """Bound on the distance from the truth after the takeover: 3/8.

    MLE-20 (paper: Theorem 5.2 of arXiv 2505.19046, which says that it comes after about phi(n) rounds, phi growing as
    slowly as you like), a lower bound; MLE-21/tv is sharper.

    Args:
        spec: family fuse, one batch size.

    Returns:
        Prediction (lower bound) of ``takeover_tv``, in [0, 1].

    Raises:
        RegimeError: the spec describes another family.

    >>> float(takeover_distance(MLESpec("fuse")).values)
    0.375
    """
    _fuse(spec, "MLE-20")
    return jnp.full_like(spec.batch, 3 / 8)


@register(
    "MLE-21",
    statement="Batches until one reaches [1, 2]: P(tau > t) = E(1 - min(1/4, (1 - x_max)/2))^(n t).",
    kind="exact",
    observable="waiting",
    check="share of chains that have not reached [1, 2]",
    example=FUSE,
    generations=30,
    samples=10_000,
)
def waiting(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Chance that none of the first t synthetic batches of the fuse family reaches [1, 2].

    Formula: mean over the largest of n uniform points, by quadrature in its scaled gap. MLE-21 (derived), exact for
    every n: nearly free of n, of infinite mean.

    Args:
        spec: family fuse, one batch size; nothing else of it matters.

    Returns:
        Prediction of ``waiting``, ``[generations + 1]``; entry t after t synthetic batches.

    Raises:
        RegimeError: the spec describes another family.

    >>> round(float(waiting(MLESpec("fuse", batch=1e6), 2).values[2]), 4)
    0.5
    """
    _fuse(spec, "MLE-21")
    size = spec.batch

    def at(rounds):
        return _over_gap(size, lambda gap: size * rounds * jnp.log1p(-gap / 2), 2 / (2 + rounds), 55.0)

    return jax.vmap(at)(jnp.arange(generations + 1, dtype=size.dtype))


@register(
    "MLE-21/limit",
    statement="The fuse is free of n: P(tau > t) -> 2/(2 + t).",
    kind="asymptotic",
    observable="waiting",
    check="share of chains that have not reached [1, 2]",
    example=FUSE,
    generations=30,
    samples=10_000,
    relevant=0.02,
)
def waiting_limit(spec: MLESpec, generations: int):
    """The same for n -> infinity.

    Formula: ``2/(2 + t)``. MLE-21 (derived), asymptotic; the distance to the exact law, ``t/(n (2 + t)^2)`` of it to
    first order, was found below the margin ``0.3/n`` of the value for n >= 2, which is no proof.

    Returns:
        Prediction of ``waiting``, ``[generations + 1]``.

    Raises:
        RegimeError: the spec describes another family.

    >>> waiting_limit(MLESpec("fuse"), 2).values.tolist()[2]
    0.5
    """
    _fuse(spec, "MLE-21/limit")
    values = 2 / (2 + jnp.arange(generations + 1, dtype=spec.batch.dtype))
    return values, 0.3 / spec.batch * values


@register(
    "MLE-21/gap",
    statement="At the first visit of [J-1, J] type two leads by at least -ln f(J) - N ln(3J) + ln(4J).",
    kind="lower bound",
    observable="visit_gap",
    check="best log likelihood of the second type minus that of the first, N points as realised",
    example=FUSE | {"fuse": 60.0, "batch": 20.0},
    generations=1,
    samples=1,
    given=("visit_points",),
)
def visit_gap(spec: MLESpec, *, visit_points=None) -> Float[Array, ""]:
    """Bound on the lead in log likelihood of the second type when ``interval`` is first visited, with N points in all.

    Formula: ``B^(J-1) ln(3J) - N ln(3J) + ln(4J)``: the window is worth -ln f(J) = B^(J-1) ln(3J), every other point
    costs at most ln(2J) against the first type's ln(3/2), and one of them costs that less (3/8). So it wins once ``ln
    f(J) <= -N ln(3J)``. MLE-21 (derived), a lower bound in every run.

    Args:
        spec: family fuse.
        visit_points: N realised; ``batch`` if None.

    Returns:
        Prediction (lower bound) of ``visit_gap``, in nats.

    Raises:
        RegimeError: the spec describes another family.

    >>> spec = MLESpec("fuse", batch=10, fuse=10.0)
    >>> round(float(visit_gap(spec).values), 4)  # ln 8
    2.0794
    """
    _fuse(spec, "MLE-21/gap")
    points = jnp.asarray(spec.batch if visit_points is None else visit_points)
    number = spec.interval
    return (spec.fuse ** (number - 1) - points) * float(np.log(3 * number)) + float(np.log(4 * number))


@register(
    "MLE-21/tv",
    statement="After the takeover TV >= 1 - 1/(2J) >= 3/4.",
    kind="lower bound",
    observable="takeover_tv",
    check="least total variation over the runs of a replicate in which its likelihood has won by the last round",
    example=FUSE,
    generations=12,
    samples=60,
)
def takeover_total(spec: MLESpec) -> Float[Array, ""]:
    """Distance from the truth after the takeover, at least that of J = 2: 3/4. MLE-21 (derived), a lower bound.

    Half of g is uniform on [0, J], a J-th of it in [0, 1], and the window lies beyond 1.

    Returns:
        Prediction (lower bound) of ``takeover_tv``, in [0, 1].

    Raises:
        RegimeError: the spec describes another family.

    >>> float(takeover_total(MLESpec("fuse")).values)
    0.75
    """
    _fuse(spec, "MLE-21/tv")
    return jnp.full_like(spec.batch, 1 - 1 / 4)
