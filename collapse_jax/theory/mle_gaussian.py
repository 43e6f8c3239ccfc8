"""Gaussians with a fitted mean and variance (MLE-7 ... MLE-10).

The sample variance of n points of N(mu, s^2) with divisor D is ``s^2 chi^2_(n-1)/D``, independent of the sample mean.
Replacement multiplies independent factors: ``E chi^2_(n-1)/D = (n-1)/D``, ``E sqrt(chi^2_(n-1)/D) = c = sqrt(2/D)
Gamma(n/2)/Gamma((n-1)/2)``, ``E ln = psi((n-1)/2) + ln(2/D)``. The mean moves by s^2/n a round. A covariance in p
dimensions is a Wishart matrix, whose determinant is a product of p such factors with n-1, ..., n-p degrees of freedom.
Kept batches: pooling adds ``(n-1) s^2`` within the new batch and ``s^2 N_(t-1)/N_t`` between it and the pool, whatever
the generator, if it has the pool's mean and variance. Chances that the spread survives follow from Markov's inequality
for powers of the product.

All formulas here were derived for this project, except the bound ``(sigma_0/eps) exp(-k/(4n))`` of arXiv 2412.17646.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.mle import MLESpec
from collapse_jax.theory.mle import CHAINS
from collapse_jax.theory.mle_ground import (
    batches,
    covers,
    family_in,
    log_factor,
    one_batch,
    plain,
    products,
    started,
    steps,
)
from collapse_jax.theory.mle_special import digamma_less_log, log_gamma_ratio, trigamma

BELL = {"family": "normal", "mean": 0.5, "variance": 2.0, "batch": 15.0}
KEPT = {"family": "normal", "mean": 0.5, "variance": 2.0, "batch": 5.0, "regime": "accumulate"}
SPACE = {"family": "normal", "variance": (3.0, 1.0, 0.5), "batch": 12.0}
DEATH = {"family": "normal", "variance": 1.0, "batch": 8.0, "threshold": 0.6}


def _log_mean(sizes, divisor):
    """ln((n-1)/D)."""
    return log_factor(-1 / sizes) if divisor == "n" else jnp.zeros_like(sizes)


def _log_scale(sizes, divisor):
    """ln c of the sizes: of sqrt(chi^2_(n-1)/D)."""
    return log_gamma_ratio((sizes - 1) / 2, jnp.full_like(sizes, 0.5)) + _log_mean(sizes, divisor) / 2


def _log_typical(sizes, divisor, lost: int = 1):
    """psi((n-lost)/2) + ln(2/D): mean of ln(chi^2_(n-lost)/D); -inf where no degree of freedom is left."""
    free = sizes - lost
    alive = free > 0
    known = jnp.where(alive, free, 1)
    less = lost if divisor == "n" else lost - 1
    ratio = jnp.log1p(-less / jnp.where(alive, known + less, 2 * less + 1))
    return jnp.where(alive, digamma_less_log(known / 2) + ratio, -jnp.inf)


def _normal(spec: MLESpec, result: str, regime: str = "replace", dimensions: bool = False) -> None:
    family_in(spec, result, "normal")
    plain(spec, result, regime)
    covers(dimensions or spec.variance.ndim == 0, result, "describes one dimension; in more ask MLE-9.")


def _wide(factors, variance):
    """Factors ``[T + 1]`` times a variance, ``[T + 1]`` or ``[T + 1, p]``."""
    return factors[:, None] * variance[None] if variance.ndim else factors * variance


@register(
    "MLE-7",
    statement="Replace: E sigma_t^2 = sigma_0^2 ((n-1)/D)^t, D = n (maximum likelihood) or n-1 (unbiased).",
    kind="exact",
    observable="fitted_variance",
    check="average of the fitted variance over independent chains",
    example=BELL,
    generations=5,
    samples=12_000,
)
def fitted_variance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean of the fitted variance under replacement.

    Formula: ``sigma_0^2 prod_t (n_t - 1)/D_t``. MLE-7 (derived), exact for n >= 2. With the unbiased divisor it never
    changes, although nearly every path dies (MLE-7/log).

    Args:
        spec: family normal in one dimension, regime replace, real_fraction 0; batch may be a schedule.

    Returns:
        Prediction of ``fitted_variance``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> fitted_variance(MLESpec("normal", batch=2), 2).values.tolist()
    [1.0, 0.5, 0.25]
    """
    _normal(spec, "MLE-7")
    return spec.variance * products(_log_mean(batches(spec, generations), spec.divisor))


@register(
    "MLE-7/scale",
    statement="E sigma_t = sigma_0 c^t, c = sqrt(2/D) Gamma(n/2)/Gamma((n-1)/2).",
    kind="exact",
    observable="fitted_scale",
    check="average of the fitted standard deviation over independent chains",
    example=BELL,
    generations=5,
    samples=12_000,
)
def fitted_scale(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean of the fitted standard deviation under replacement.

    Formula: ``sigma_0 c^t``, through logarithms (``n ln c -> -3/4`` for D = n, ``-1/4`` for n-1). MLE-7 (derived),
    exact for n >= 2.

    Returns:
        Prediction of ``fitted_scale``, ``[generations + 1]`` in data units.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(fitted_scale(MLESpec("normal", batch=2), 1).values[1]), 5)  # 1/sqrt(pi)
    0.56419
    """
    _normal(spec, "MLE-7/scale")
    return jnp.sqrt(spec.variance) * products(_log_scale(batches(spec, generations), spec.divisor))


@register(
    "MLE-7/log",
    statement="The typical path: E ln(sigma_t^2/sigma_0^2) = t [psi((n-1)/2) + ln(2/D)], negative for both divisors.",
    kind="exact",
    observable="log_variance",
    check="average of the logarithm of the fitted variance over independent chains",
    example=BELL,
    generations=5,
    samples=12_000,
)
def log_variance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean logarithm of the fitted variance relative to the truth, under replacement.

    Formula: ``t [psi((n-1)/2) + ln(2/D)]``, about ``-2t/n`` (D = n) or ``-t/(n-1)``: sigma_t -> 0 almost surely.
    MLE-7 (derived), exact for n >= 2.

    Returns:
        Prediction of ``log_variance``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(log_variance(MLESpec("normal", batch=2), 1).values[1]), 4)
    -1.9635
    """
    _normal(spec, "MLE-7/log")
    return started(jnp.cumsum(_log_typical(batches(spec, generations), spec.divisor)))


@register(
    "MLE-7/spread",
    statement="Paths spread: Var ln sigma_t^2 = t psi'((n-1)/2).",
    kind="exact",
    observable="log_variance_spread",
    check="sample variance, over independent chains, of the logarithm of the fitted variance",
    example=BELL,
    generations=5,
    samples=12_000,
)
def log_variance_spread(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance of the logarithm of the fitted variance under replacement, either divisor.

    Formula: ``sum_t psi'((n_t - 1)/2)``, about ``2t/n``. MLE-7 (derived), exact for n >= 2.

    Returns:
        Prediction of ``log_variance_spread``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(log_variance_spread(MLESpec("normal", batch=3), 1).values[1]), 4)  # pi^2/6
    1.6449
    """
    _normal(spec, "MLE-7/spread")
    return started(jnp.cumsum(trigamma((batches(spec, generations) - 1) / 2)))


@register(
    "MLE-7/mean",
    statement="The mean wanders: Var mu_t = sigma_0^2 [1 - (1-1/n)^t] (D = n) or sigma_0^2 t/n (D = n-1).",
    kind="exact",
    observable="variance",
    check="mean square of fitted mean minus truth over independent chains",
    example=BELL,
    generations=5,
    samples=12_000,
)
def wandering_mean(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance of the fitted mean of a normal under replacement.

    Formula: ``sum_t E sigma_(t-1)^2/n_t``. MLE-7 (derived), exact for n >= 2.

    Returns:
        Prediction of ``variance``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> wandering_mean(MLESpec("normal", batch=2, divisor="n-1"), 2).values.tolist()
    [0.0, 0.5, 1.0]
    """
    _normal(spec, "MLE-7/mean")
    sizes = batches(spec, generations)
    return started(jnp.cumsum(spec.variance * products(_log_mean(sizes, spec.divisor))[:-1] / sizes))


@register(
    "MLE-7/w2",
    statement="E W_2^2 to the truth: 2 sigma_0^2 (1-c^t) (D = n, bounded) or sigma_0^2 [t/n + 2 - 2c^t] (unbounded).",
    kind="exact",
    observable="w2",
    check="average of (mu_t - mu_0)^2 + (sigma_t - sigma_0)^2 over independent chains",
    example=BELL,
    generations=5,
    samples=12_000,
)
def squared_w2(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean squared Wasserstein-2 distance between the fitted normal and the truth, under replacement.

    Formula: as in the statement; the divisor decides whether it is bounded. MLE-7 (derived), exact for n >= 2.

    Returns:
        Prediction of ``w2``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(squared_w2(MLESpec("normal", batch=2), 1).values[1]), 4)  # 2 - 2/sqrt(pi)
    0.8716
    """
    _normal(spec, "MLE-7/w2")
    sizes = batches(spec, generations)
    shrunk = -2 * jnp.expm1(started(jnp.cumsum(_log_scale(sizes, spec.divisor))))
    return spec.variance * (shrunk + (started(jnp.cumsum(1 / sizes)) if spec.divisor == "n-1" else 0))


def _kept_logs(spec: MLESpec, generations: int):
    """Logarithms of E sigma_t^2 / E sigma_(t-1)^2 when every batch is kept."""
    sizes = batches(spec, generations)
    numbers = jnp.arange(1, generations + 1, dtype=sizes.dtype)
    totals = spec.batch * numbers if spec.batch.ndim == 0 else jnp.cumsum(sizes)
    part = sizes / totals
    if spec.divisor == "n":
        return log_factor(-part / totals)
    later = numbers > 1
    return jnp.where(later, jnp.log1p(-jnp.where(later, part / jnp.where(later, totals - 1, 1), 0)), 0)


@register(
    "MLE-8",
    statement="Accumulate: E sigma_t^2 = sigma_0^2 prod (1 - 1/(n i^2)) (D = N), prod_2 (1 - 1/(i(ni-1))) (D = N-1).",
    kind="exact",
    observable="fitted_variance",
    check="average of the fitted variance over independent chains, every batch kept",
    example=KEPT,
    generations=3,
    samples=CHAINS,
)
def kept_variance(spec: MLESpec, generations: int) -> Float[Array, "generations_plus_1 *p"]:
    """Mean of the fitted variance when every batch is kept, in each direction.

    Formula: factors ``1 - n_t/N_t^2`` (divisor N) or, from the second round, ``1 - n_t/(N_t (N_t - 1))`` (divisor N-1).
    MLE-8 (derived), exact for n >= 2 and for any generator that has the pool's mean and variance.

    Args:
        spec: family normal, regime accumulate, real_fraction 0; any dimension; batch may be a schedule.

    Returns:
        Prediction of ``fitted_variance``, ``[generations + 1]`` or ``[generations + 1, p]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> kept_variance(MLESpec("normal", batch=2, regime="accumulate"), 1).values.tolist()
    [1.0, 0.5]
    """
    _normal(spec, "MLE-8", "accumulate", dimensions=True)
    return _wide(products(_kept_logs(spec, generations)), spec.variance)


@register(
    "MLE-8/mean",
    statement="Accumulate: Var mu_t = sum E sigma_(i-1)^2/(n i^2); with D = N what the variance has lost.",
    kind="exact",
    observable="variance",
    check="mean square of fitted mean minus truth over independent chains, every batch kept",
    example=KEPT,
    generations=3,
    samples=CHAINS,
)
def kept_mean(spec: MLESpec, generations: int) -> Float[Array, "generations_plus_1 *p"]:
    """Variance of the fitted mean of a normal when every batch is kept.

    Formula: ``sum_i (n_i/N_i^2) E sigma_(i-1)^2``, which for divisor N is ``sigma_0^2 - E sigma_t^2``. MLE-8 (derived),
    exact for n >= 2.

    Returns:
        Prediction of ``variance``, ``[generations + 1]`` or ``[generations + 1, p]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> kept_mean(MLESpec("normal", batch=2, regime="accumulate"), 1).values.tolist()
    [0.0, 0.5]
    """
    _normal(spec, "MLE-8/mean", "accumulate", dimensions=True)
    factors = products(_kept_logs(spec, generations))[:-1] * steps(spec, generations)
    return _wide(started(jnp.cumsum(factors)), spec.variance)


@register(
    "MLE-8/limit",
    statement="Kept for ever, E sigma^2 ends at sigma_0^2 sin(x)/x, x = pi/sqrt(n) (D = N): a finite loss.",
    kind="exact",
    observable="limit_fitted_variance",
    check="extrapolated in 1/t from rounds T and 2T of the same chains",
    example=KEPT | {"batch": 10.0},
    generations=4,
    samples=6000,
)
def kept_limit(spec: MLESpec) -> Float[Array, "*p"]:
    """Mean of the fitted variance after infinitely many equal batches, all kept.

    Formula: ``sigma_0^2 sin(x)/x`` with x = pi/sqrt(n) for divisor N; for N-1 ``sigma_0^2 Gamma(2-1/n) / [Gamma(2-r)
    Gamma(2-s)]``, r and s the roots of ``n i^2 - i - 1``. MLE-8 (derived), exact for n >= 2.

    Returns:
        Prediction of ``limit_fitted_variance``, a scalar or ``[p]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("normal", batch=5, regime="accumulate")
    >>> round(float(kept_limit(spec).values), 6)
    0.701998
    """
    _normal(spec, "MLE-8/limit", "accumulate", dimensions=True)
    one_batch(spec, "MLE-8/limit")
    size = spec.batch
    if spec.divisor == "n":
        x = jnp.pi / jnp.sqrt(size)
        return spec.variance * (jnp.sin(x) / x)
    root = jnp.sqrt(1 + 4 * size)
    log_gamma = jax.scipy.special.gammaln
    tops = log_gamma(2 - 1 / size) - log_gamma(2 - (1 + root) / (2 * size)) - log_gamma(2 - (1 - root) / (2 * size))
    return spec.variance * jnp.exp(tops)


@register(
    "MLE-9",
    statement="p dimensions, replace: E ln det falls by sum_j [psi((n-j)/2) + ln(2/D)] a round, faster than p alone.",
    kind="exact",
    observable="log_volume",
    check="average log determinant of the fitted covariance, three dimensions",
    example=SPACE,
    generations=4,
    samples=2000,
)
def log_volume(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean of ln det of the fitted covariance relative to the truth, under replacement.

    Formula: ``t [sum_(j=1)^p psi((n-j)/2) + p ln(2/D)]``; -inf from the first round for n <= p. MLE-9 (derived), exact.

    Args:
        spec: family normal in any dimension, regime replace, real_fraction 0; batch may be a schedule.

    Returns:
        Prediction of ``log_volume``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("normal", variance=[1.0, 1.0], batch=4)
    >>> round(float(log_volume(spec, 1).values[1]), 4)
    -1.927
    """
    _normal(spec, "MLE-9", dimensions=True)
    sizes = batches(spec, generations)
    logs = sum(_log_typical(sizes, spec.divisor, lost) for lost in range(1, spec.dimension + 1))
    return started(jnp.cumsum(logs))


@register(
    "MLE-9/covariance",
    statement="p dimensions, replace: E Sigma_t = Sigma_0 ((n-1)/D)^t entry by entry.",
    kind="exact",
    observable="fitted_variance",
    check="average of the fitted covariance along the true axes, three dimensions",
    example=SPACE,
    generations=4,
    samples=2000,
)
def fitted_covariance(spec: MLESpec, generations: int) -> Float[Array, "generations_plus_1 *p"]:
    """Mean of the fitted covariance along the principal axes of the truth, under replacement.

    Formula: ``Sigma_0 prod_t (n_t - 1)/D_t``. MLE-9 (derived), exact for n >= 2, also for n <= p; off the axes 0.

    Returns:
        Prediction of ``fitted_variance``, ``[generations + 1, p]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> fitted_covariance(MLESpec("normal", variance=[2.0, 1.0], batch=2), 1).values.tolist()
    [[2.0, 1.0], [1.0, 0.5]]
    """
    _normal(spec, "MLE-9/covariance", dimensions=True)
    return _wide(products(_log_mean(batches(spec, generations), spec.divisor)), spec.variance)


@register(
    "MLE-9/rank",
    statement="With n <= p points the fitted covariance has rank n-1 after one round, and never more.",
    kind="upper bound",
    observable="rank",
    check="directions in which the fitted covariance is positive, six dimensions and four points",
    example=SPACE | {"variance": (3.0, 2.0, 1.0, 1.0, 0.5, 0.2), "batch": 4.0},
    generations=3,
    samples=20,
)
def rank(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Largest possible rank of the fitted covariance under replacement.

    Formula: ``min(p, min_t n_t - 1)``, p at generation 0. MLE-9 (derived), an upper bound, reached almost surely.

    Returns:
        Prediction (upper bound) of ``rank``, ``[generations + 1]``.

    Raises:
        RegimeError: the spec describes another chain.

    >>> rank(MLESpec("normal", variance=[1.0, 1.0, 1.0], batch=3), 1).values.tolist()
    [3.0, 2.0]
    """
    _normal(spec, "MLE-9/rank", dimensions=True)
    sizes = batches(spec, generations)
    return started(jax.lax.cummin(jnp.minimum(sizes - 1, spec.dimension)), spec.dimension)


def _survival(spec: MLESpec, generations: int, result: str):
    """ln(sigma_0/eps) and the sizes."""
    _normal(spec, result)
    return 0.5 * jnp.log(spec.variance) - jnp.log(spec.threshold), batches(spec, generations)


def _chance(logs):
    """exp, but no more than 1."""
    return jnp.exp(jnp.minimum(logs, 0))


@register(
    "MLE-10",
    statement="Spread survives with chance at most (sigma_0/eps) exp(-k/(4n)).",
    kind="upper bound",
    observable="survival",
    check="share of chains whose fitted standard deviation is above the level",
    example=DEATH,
    generations=24,
    samples=1000,
    tag="paper",
    citation="suresh2024",
)
def survival_bound(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Bound on the chance that the fitted standard deviation is above ``threshold`` after k rounds of replacement.

    Formula: ``min(1, (sigma_0/eps) exp(-sum 1/(4 n_t)))``. MLE-10 (paper: arXiv 2412.17646), an upper bound, n >= 2,
    both divisors; far from the truth for divisor n.

    Returns:
        Prediction (upper bound) of ``survival``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(survival_bound(MLESpec("normal", batch=2), 8).values[8]), 4)  # exp(-1)
    0.3679
    """
    start, sizes = _survival(spec, generations, "MLE-10")
    return _chance(start - started(jnp.cumsum(1 / (4 * sizes))))


@register(
    "MLE-10/mean",
    statement="Spread survives with chance at most (sigma_0/eps) c^k, c of MLE-7.",
    kind="upper bound",
    observable="survival",
    check="share of chains whose fitted standard deviation is above the level",
    example=DEATH,
    generations=24,
    samples=1000,
)
def survival_by_mean(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Bound from the mean of the standard deviation (Markov's inequality).

    Formula: ``min(1, (sigma_0/eps) c^k)``; below MLE-10 since c <= exp(-1/(4n)). MLE-10 (derived), an upper bound.

    Returns:
        Prediction (upper bound) of ``survival``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(survival_by_mean(MLESpec("normal", batch=2), 1).values[1]), 5)
    0.56419
    """
    start, sizes = _survival(spec, generations, "MLE-10/mean")
    return _chance(start + started(jnp.cumsum(_log_scale(sizes, spec.divisor))))


def _inverse_digamma(value):
    """x with psi(x) = ``value``, by Newton's method from the usual start."""
    digamma = jax.scipy.special.digamma
    far = value > -2.22
    x = jnp.where(far, jnp.exp(jnp.where(far, value, 0)) + 0.5, -1 / jnp.where(far, -1, value - digamma(1.0)))
    for _ in range(6):
        x = x - (digamma(x) - value) / trigamma(x)
    return x


@register(
    "MLE-10/moment",
    statement="The best power s: chance at most inf_s (sigma_0/eps)^(2s) [(2/D)^s Gamma((n-1)/2+s)/Gamma((n-1)/2)]^k.",
    kind="upper bound",
    observable="survival",
    check="share of chains whose fitted standard deviation is above the level",
    example=DEATH,
    generations=24,
    samples=1000,
)
def survival_by_moment(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Bound from the best moment of the standard deviation (Chernoff's inequality).

    Formula: as in the statement; the best s solves ``psi((n-1)/2 + s) = -(2/k) ln(sigma_0/eps) - ln(2/D)`` (0 if that
    is negative). MLE-10 (derived), an upper bound for n >= 2, one batch size.

    Returns:
        Prediction (upper bound) of ``survival``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("normal", batch=8, threshold=0.5)
    >>> bool((survival_by_moment(spec, 9).values <= survival_by_mean(spec, 9).values + 1e-6).all())
    True
    """
    start, _ = _survival(spec, generations, "MLE-10/moment")
    one_batch(spec, "MLE-10/moment")
    half = (spec.batch - 1) / 2
    divisor = spec.batch if spec.divisor == "n" else spec.batch - 1
    rounds = jnp.arange(1, generations + 1, dtype=half.dtype)
    slope = -2 * start / rounds - jnp.log(2 / divisor)
    # the value is stationary in the power: its slope through the power is 0
    power = jax.lax.stop_gradient(jnp.maximum(_inverse_digamma(slope) - half, 0))
    growth = log_gamma_ratio(jnp.broadcast_to(half, power.shape), power)
    logs = 2 * power * start + rounds * (growth + power * _log_mean(spec.batch, spec.divisor))
    return _chance(jnp.concatenate([jnp.where(start >= 0, 0, -jnp.inf)[None], logs]))
