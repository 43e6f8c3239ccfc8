"""Real data in every round, fresh or kept, weighted or not, and pools that are subsampled (MLE-3 ... MLE-6).

With a real share the fitted mean is no martingale: it is pulled to the truth. Its variance D_t about the truth follows
an affine recursion. Fixed split: ``m_t - m_0`` is (1 - alpha) times the old deviation plus noise of variance ``alpha
V(m_0)/n`` (real points) and ``(1 - alpha) E V(m_(t-1))/n``, with ``E V(m_(t-1)) = V(m_0) + v_2 D_(t-1)``. If each point
is real with chance alpha on its own, a point has mean ``m_0 + (1 - alpha) d``, d the old deviation, and variance
``(1 - alpha) V + alpha V_0 + alpha (1 - alpha) d^2``: the last term is what the random split adds. A kept anchor is
correlated with every later model; that covariance follows a recursion of its own. A subsample of a pool has the pool's
mean plus noise of the pool's variance. All formulas of this file were derived for this project; that the golden ratio
is optimal is also in arXiv 2502.18049.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.mle import MLESpec
from collapse_jax.theory.mle import CHAINS, COIN
from collapse_jax.theory.mle_ground import (
    affine_path,
    batches,
    covers,
    mean_family,
    one_batch,
    plain,
    quadratic,
    shared,
    shares,
    started,
)

PLACE = {"family": "gaussian", "mean": 0.5, "variance": 2.0, "batch": 20.0, "real_fraction": 0.4, "split": "fixed"}


def _round(spec: MLESpec, share, sizes):
    """Factor of D_(t-1) less 1 (negated: the pull) and what a round adds, by count."""
    start, curvature = quadratic(spec)
    extra = (1 - share) * (curvature + (share if spec.split == "random" else 0)) / sizes
    return share * (2 - share) - extra, start / sizes


def _stationary(added, pull):
    """Fixed point of D = (1 - pull) D + added; infinite where nothing pulls."""
    pulled = pull > 0
    return jnp.where(pulled, added / jnp.where(pulled, pull, 1), jnp.inf)


def _by_count(spec: MLESpec, result: str) -> None:
    covers(spec.real_weight is None, result, "weighs every point alike; with real_weight ask MLE-4.")


def _share_path(spec: MLESpec, generations: int, result: str):
    mean_family(spec, result)
    shared(spec, result, "fresh")
    _by_count(spec, result)
    covers(result != "MLE-3" or spec.split == "random", result, "describes split random; for fixed ask MLE-3/fixed.")
    covers(result == "MLE-3" or spec.split == "fixed", result, "describes split fixed; for random ask MLE-3.")
    pull, added = _round(spec, shares(spec, generations), batches(spec, generations))
    return affine_path(1 - pull, added)


@register(
    "MLE-3",
    statement="Each point real with chance alpha: D' = V_0/n + [(1-alpha)^2 + (1-alpha)(v_2+alpha)/n] D.",
    kind="exact",
    observable="variance",
    check="mean square of fitted mean minus truth over independent chains, coins, random split",
    example=COIN | {"batch": 8.0, "real_fraction": 0.3},
    generations=5,
    samples=CHAINS,
)
def shared_variance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance of the fitted mean when every point is real with chance alpha, fresh in every round.

    Formula: as in the statement, from D_0 = 0 (the first batch is all real). MLE-3 (derived), exact. alpha = 0 is
    MLE-1, alpha = 1 is V_0/n.

    Args:
        spec: a family of one mean, regime replace, real fresh, split random; shares and sizes may be schedules.

    Returns:
        Prediction of ``variance``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> shared_variance(MLESpec("gaussian", batch=1, real_fraction=1.0), 2).values.tolist()
    [0.0, 1.0, 1.0]
    """
    return _share_path(spec, generations, "MLE-3")


@register(
    "MLE-3/fixed",
    statement="Exactly alpha n real points: D' = (1-alpha)^2 D + [V_0 + (1-alpha) v_2 D]/n.",
    kind="exact",
    observable="variance",
    check="mean square of fitted mean minus truth over independent chains, coins, fixed split",
    example=COIN | {"batch": 10.0, "real_fraction": 0.2, "split": "fixed"},
    generations=5,
    samples=CHAINS,
)
def split_variance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance of the fitted mean when exactly alpha n points are real, fresh in every round.

    Formula: as in the statement, from D_0 = 0. MLE-3 (derived), exact.

    Returns:
        Prediction of ``variance``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> split_variance(MLESpec("gaussian", batch=2, real_fraction=0.5, split="fixed"), 2).values.tolist()
    [0.0, 0.5, 0.625]
    """
    return _share_path(spec, generations, "MLE-3/fixed")


@register(
    "MLE-3/limit",
    statement="With a real share D settles at V_0/n over 1 minus the factor, if that factor is below 1.",
    kind="exact",
    observable="last_variance",
    check="mean square of fitted mean minus truth after all rounds, coins, fixed split",
    example=COIN | {"batch": 10.0, "real_fraction": 0.4, "split": "fixed"},
    generations=14,
    samples=CHAINS,
)
def shared_limit(spec: MLESpec) -> Float[Array, ""]:
    """Stationary variance of the fitted mean with a fresh real share, either split.

    Formula: ``(V_0/n) / (1 - factor)`` with the factor of MLE-3; infinity where the factor is 1 or more. MLE-3
    (derived), exact. ``n D -> V_0/(alpha (2 - alpha))`` for large n.

    Returns:
        Prediction of ``last_variance``, a scalar in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", batch=4, real_fraction=0.5, split="fixed")
    >>> round(float(shared_limit(spec).values), 6)  # (1/4) / (3/4)
    0.333333
    """
    mean_family(spec, "MLE-3/limit")
    shared(spec, "MLE-3/limit", "fresh")
    _by_count(spec, "MLE-3/limit")
    one_batch(spec, "MLE-3/limit")
    pull, added = _round(spec, spec.real_fraction, spec.batch)
    return _stationary(added, pull)


@register(
    "MLE-4",
    statement="Weights w real, 1-w synthetic: D = V_0 [w^2/n + (1-w)^2/m] / [1 - (1-w)^2 (1 + v_2/m)].",
    kind="exact",
    observable="last_variance",
    check="mean square of fitted mean minus truth after all rounds, coins, 4 real and 12 synthetic",
    example=COIN | {"batch": 16.0, "real_fraction": 0.25, "split": "fixed", "real_weight": 0.45},
    generations=14,
    samples=CHAINS,
)
def weighted_limit(spec: MLESpec) -> Float[Array, ""]:
    """Stationary variance of the fitted mean with weighted real and synthetic parts.

    Formula: as in the statement, n = alpha batch real and m = (1 - alpha) batch synthetic points; infinity where ``(1 -
    w)^2 (1 + v_2/m) >= 1`` or a part is empty. MLE-4 (derived), exact in the mean model, leading order for a smooth
    family.

    Args:
        spec: a family of one mean, regime replace, real fresh, split fixed, real_weight given, real_fraction in (0, 1).

    Returns:
        Prediction of ``last_variance``, a scalar in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", batch=2, real_fraction=0.5, split="fixed", real_weight=0.5)
    >>> round(float(weighted_limit(spec).values), 4)  # (1/2) / (3/4)
    0.6667
    """
    mean_family(spec, "MLE-4")
    shared(spec, "MLE-4", "fresh")
    one_batch(spec, "MLE-4")
    covers(spec.real_weight is not None, "MLE-4", "needs real_weight; by count ask MLE-3.")
    start, curvature = quadratic(spec)
    weight, share = spec.real_weight, spec.real_fraction
    both = (share > 0) & (share < 1)
    real = jnp.where(both, share, 0.5) * spec.batch
    made = spec.batch - real
    added = start * (weight**2 / real + (1 - weight) ** 2 / made)
    ends = _stationary(added, weight * (2 - weight) - (1 - weight) ** 2 * curvature / made)
    return jnp.where(both, ends, jnp.inf)


@register(
    "MLE-4/weight",
    statement="The best weight of n real beside k n synthetic points is (sqrt(1+4k) - 1)/(2k); k = 1: golden ratio.",
    kind="exact",
    observable="best_weight",
    check="minimum over weights of the measured variance of the same chains, Gaussian location",
    example=PLACE | {"batch": 40.0, "real_fraction": 0.25},
    generations=20,
    samples=4000,
)
def best_weight(spec: MLESpec) -> Float[Array, ""]:
    """Weight of the real part that makes the stationary variance least.

    Formula: ``w = (sqrt(1 + 4k) - 1)/(2k)``, k = (1 - alpha)/alpha synthetic points for each real one; there ``n
    D/V_0`` equals w, n the number of real points. MLE-4 (derived), exact for v_2 = 0; the golden ratio is also in arXiv
    2502.18049.

    Args:
        spec: family gaussian or poisson, regime replace, real fresh, split fixed, real_fraction in (0, 1).

    Returns:
        Prediction of ``best_weight``, a scalar in (0, 1].

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", real_fraction=0.5, split="fixed")
    >>> round(float(best_weight(spec).values), 6)
    0.618034
    """
    covers(spec.family in ("gaussian", "poisson"), "MLE-4/weight", "needs v_2 = 0: family gaussian or poisson.")
    shared(spec, "MLE-4/weight", "fresh")
    one_batch(spec, "MLE-4/weight")
    covers(spec.split == "fixed", "MLE-4/weight", "describes split fixed.")
    share = spec.real_fraction
    positive = share > 0
    known = jnp.where(positive, share, 1)
    return jnp.where(positive, 2 / (1 + jnp.sqrt(1 + 4 * (1 - known) / known)), 0)


def _anchored(spec: MLESpec, result: str) -> None:
    mean_family(spec, result)
    shared(spec, result, "anchor")
    _by_count(spec, result)
    one_batch(spec, result)
    covers(spec.split == "fixed", result, "describes split fixed.")


@register(
    "MLE-5",
    statement="The same alpha n real points in every round: D' = (1-alpha)^2 D + noise + 2 alpha (1-alpha) Cov.",
    kind="exact",
    observable="variance",
    check="mean square of fitted mean minus truth over independent chains, Gaussian location, kept anchor",
    example=PLACE | {"real": "anchor"},
    generations=14,
    samples=CHAINS,
)
def anchored_variance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance of the fitted mean when the real part of every batch is the same part of the first one.

    Formula: ``D' = [(1-alpha)^2 + (1-alpha) v_2/n] D + V_0/n + 2 (1-alpha) (V_0/n) [1 - (1-alpha)^(t-1)]``: the
    covariance of model t with the anchor's mean is ``V_0/(alpha n) [1 - (1-alpha)^t]``. MLE-5 (derived), exact.

    Args:
        spec: a family of one mean, regime replace, real anchor, split fixed, one batch size.

    Returns:
        Prediction of ``variance``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", batch=2, real_fraction=0.5, split="fixed", real="anchor")
    >>> anchored_variance(spec, 2).values.tolist()
    [0.0, 0.5, 0.875]
    """
    _anchored(spec, "MLE-5")
    pull, added = _round(spec, spec.real_fraction, spec.batch)
    rounds = jnp.arange(generations, dtype=added.dtype)
    alone = spec.real_fraction >= 1  # nothing is forgotten there, and 0^0 has no slope
    first = (rounds == 0).astype(rounds.dtype)
    left = jnp.where(alone, first, jnp.where(alone, 0.5, 1 - spec.real_fraction) ** rounds)
    met = 2 * (1 - spec.real_fraction) * added * (1 - left)
    return affine_path(jnp.broadcast_to(1 - pull, (generations,)), added + met)


@register(
    "MLE-5/limit",
    statement="A kept anchor ends at n D/V_0 = (3 - 2 alpha)/(alpha (2 - alpha)), never below 1/alpha.",
    kind="exact",
    observable="last_variance",
    check="mean square of fitted mean minus truth after all rounds, Gaussian location, kept anchor",
    example=PLACE | {"real": "anchor"},
    generations=14,
    samples=CHAINS,
)
def anchored_limit(spec: MLESpec) -> Float[Array, ""]:
    """Stationary variance of the fitted mean with a kept anchor.

    Formula: ``(V_0/n) (3 - 2 alpha) / [alpha (2 - alpha) - (1 - alpha) v_2/n]``; infinity where that pull is not
    positive. MLE-5 (derived), exact.

    Returns:
        Prediction of ``last_variance``, a scalar in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", batch=1, real_fraction=1.0, split="fixed", real="anchor")
    >>> float(anchored_limit(spec).values)
    1.0
    """
    _anchored(spec, "MLE-5/limit")
    pull, added = _round(spec, spec.real_fraction, spec.batch)
    return _stationary(added * (3 - 2 * spec.real_fraction), pull)


def _subsampled(spec: MLESpec, result: str) -> None:
    mean_family(spec, result)
    plain(spec, result, "accumulate-subsample")
    one_batch(spec, result)


def subsample_path(spec: MLESpec, generations: int):
    """Exact variance of the mean of n points drawn from all batches so far (MLE-6).

    U_t, the variance of the pool's mean, and q_t, the mean square of its points about the truth, follow ``U_t = (1 -
    1/t^2) U_(t-1) + [D_(t-1) + E V(m_(t-1))/n]/t^2`` and ``q_t = q_(t-1) + [V_0 + (1 + v_2) D_(t-1) - q_(t-1)]/t``; n
    points drawn from the pool have its mean and add ``(q - U)/n`` (with replacement), or
    ``(q - U) (1 - 1/t)/(n - 1/t)`` (without).
    """
    start, curvature = quadratic(spec)
    size = spec.batch

    def step(carry, number):
        pooled, square, drawn = carry
        noise = start + curvature * drawn
        pooled = pooled + (drawn - pooled + noise / size) / number**2
        square = square + (noise + drawn - square) / number
        within = square - pooled
        if spec.replacement == "with":
            drawn = pooled + within / size
        else:
            drawn = pooled + within * (1 - 1 / number) / jnp.where(number > 1, size - 1 / number, size)
        return (pooled, square, drawn), drawn

    zero = jnp.zeros_like(start * size)
    numbers = jnp.arange(1, generations + 1, dtype=zero.dtype)
    return started(jax.lax.scan(step, (zero, zero, zero), numbers)[1])


@register(
    "MLE-6",
    statement="Fits on n points drawn from all batches: variance of the pool's mean plus that of the draw.",
    kind="exact",
    observable="variance",
    check="brute force, mean square of fitted mean minus truth, Gaussian location, drawn without replacement",
    example={"family": "gaussian", "mean": 0.5, "batch": 4.0, "regime": "accumulate-subsample"}
    | {"replacement": "without"},
    generations=2,
    samples=8000,
    sampler="brute-force",
)
def subsampled_variance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance of the fitted mean when n points are drawn from everything made so far, with or without replacement.

    Formula: three moments, in ``subsample_path``. MLE-6 (derived), exact for every n and family of one mean.

    Args:
        spec: a family of one mean, regime accumulate-subsample, real_fraction 0, one batch size.

    Returns:
        Prediction of ``variance``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", batch=2, regime="accumulate-subsample")
    >>> subsampled_variance(spec, 1).values.tolist()  # 2/n - 1/n^2: a bootstrap of the first batch
    [0.0, 0.75]
    """
    _subsampled(spec, "MLE-6")
    return subsample_path(spec, generations)


@register(
    "MLE-6/leading",
    statement="n Var -> 2 + sum_2^t 2/i^2 (with), 1 + sum_2^t (2 - 1/(i-1))/i^2 + 1 - 1/t (without): bounded.",
    kind="asymptotic",
    observable="variance",
    check="brute force, mean square of fitted mean minus truth, Gaussian location, drawn with replacement",
    example={"family": "gaussian", "mean": 0.5, "batch": 40.0, "regime": "accumulate-subsample"},
    generations=2,
    samples=1500,
    sampler="brute-force",
    relevant=0.05,
)
def subsampled_leading(spec: MLESpec, generations: int):
    """Variance of the fitted mean with subsampled pools, for large n.

    Formula: V_0/n times the sums of the statement; their ends are ``pi^2/3`` (with) and ``pi^2/2 - 2`` (without
    replacement). MLE-6 (derived), asymptotic; the distance to the exact law was
    found below the margin ``(0.6 + 2 |v_2|)/n`` of the value for n >= 5 and 200 rounds, which is no proof.

    Returns:
        Prediction of ``variance``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", batch=1000, regime="accumulate-subsample")
    >>> [round(1000 * float(v), 3) for v in subsampled_leading(spec, 2).values]
    [0.0, 2.0, 2.5]
    """
    _subsampled(spec, "MLE-6/leading")
    start, curvature = quadratic(spec)
    numbers = jnp.arange(1, generations + 1, dtype=spec.batch.dtype)
    later = numbers > 1
    if spec.replacement == "with":
        values = 2 + jnp.cumsum(jnp.where(later, 2 / numbers**2, 0))
    else:
        added = (2 - 1 / jnp.where(later, numbers - 1, 1)) / numbers**2
        values = 2 - 1 / numbers + jnp.cumsum(jnp.where(later, added, 0))
    values = started(start / spec.batch * values)
    return values, values * (0.6 + 2 * jnp.abs(curvature)) / spec.batch
