"""Multiplicative chains, and how far accumulation strays (MLE-15 ... MLE-17).

Exponential and gamma points have a sample mean ``m G``, G ~ Gamma(kn, scale 1/(kn)) (k = 1 for exponential): under
replacement ``m_t = m_0 G_1 ... G_t`` has a constant mean while its logarithm falls by ``ln(kn) - psi(kn)``, about
``1/(2kn)``, a round. If x has density ``theta x^(theta-1)``, -ln x is exponential with rate theta, so the law of
``theta_t/theta_0`` does not know theta_0.

That smooth families stay near the truth under accumulation, whatever T, is Theorem 4.1 of arXiv 2505.19046 (its
constants are not numbers; there is no function for it). Its mechanism is a martingale with increments of variance
``a_t I^-1``, ``a_t = n_t/N_t^2``, whose sum converges. For the Gaussian location family increments are independent and
symmetric, and Levy's inequality ``P(max |S_i| > r) <= 2 P(|S_t| > r)`` gives the theorem's shape with numbers (MLE-16,
derived). To leading order in 1/n every regular family behaves so (MLE-17, derived; the universal pi^2/6 for exponential
families under accumulation is in arXiv 2410.22812).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.mle import MLESpec
from collapse_jax.theory.mle import CHAINS, WAITING
from collapse_jax.theory.mle_ground import (
    batches,
    covers,
    family_in,
    plain,
    started,
    steps,
)
from collapse_jax.theory.mle_special import digamma_less_log, trigamma

POWER = {"family": "beta", "mean": 0.7, "batch": 30.0}


def _shapes(spec: MLESpec, generations: int, result: str):
    """Shape k n_t of the mean of each batch."""
    family_in(spec, result, "exponential", "gamma", "beta")
    plain(spec, result, "replace")
    sizes = batches(spec, generations)
    return sizes * spec.size if spec.family == "gamma" else sizes


def _true_mean(spec: MLESpec):
    return 1 / spec.mean if spec.family == "beta" else spec.mean


@register(
    "MLE-15",
    statement="Exponential, gamma (n -> kn), beta: E ln(m_t/m_0) = t [psi(n) - ln n], about -t/(2n).",
    kind="exact",
    observable="log_mean",
    check="average logarithm of the fitted mean over independent chains",
    example=WAITING,
    generations=5,
    samples=24_000,
)
def log_mean(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean logarithm of the fitted mean relative to the truth, under replacement.

    Formula: ``sum_t [psi(k n_t) - ln(k n_t)]``. MLE-15 (derived), exact; for ``beta`` of the mean of -ln x, so that
    ``E ln(theta_t/theta_0)`` is its negative.

    Args:
        spec: family exponential, gamma or beta, regime replace, real_fraction 0.

    Returns:
        Prediction of ``log_mean``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(log_mean(MLESpec("exponential", mean=3.0, batch=1), 1).values[1]), 4)
    -0.5772
    """
    return started(jnp.cumsum(digamma_less_log(_shapes(spec, generations, "MLE-15"))))


@register(
    "MLE-15/spread",
    statement="Var ln m_t = t psi'(n).",
    kind="exact",
    observable="log_mean_spread",
    check="sample variance, over independent chains, of the logarithm of the fitted mean",
    example=WAITING,
    generations=5,
    samples=24_000,
)
def log_mean_spread(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance of the logarithm of the fitted mean, under replacement: ``sum_t psi'(k n_t)``. MLE-15 (derived), exact.

    Returns:
        Prediction of ``log_mean_spread``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(log_mean_spread(MLESpec("exponential", batch=1), 1).values[1]), 4)
    1.6449
    """
    return started(jnp.cumsum(trigamma(_shapes(spec, generations, "MLE-15/spread"))))


@register(
    "MLE-15/square",
    statement="E m_t^2 = m_0^2 (1 + 1/n)^t: the mean square grows though nearly every path falls.",
    kind="exact",
    observable="mean_square",
    check="average of the squared fitted mean over independent chains",
    example=WAITING,
    generations=5,
    samples=24_000,
)
def mean_square(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean square of the fitted mean, under replacement: ``m_0^2 prod (1 + 1/(k n_t))``. MLE-15 (derived), exact.

    Returns:
        Prediction of ``mean_square``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> mean_square(MLESpec("exponential", mean=1.0, batch=1), 2).values.round(4).tolist()
    [1.0, 2.0, 4.0]
    """
    logs = jnp.cumsum(jnp.log1p(1 / _shapes(spec, generations, "MLE-15/square")))
    return _true_mean(spec) ** 2 * jnp.exp(started(logs))


@register(
    "MLE-15/inverse",
    statement="E[1/m_t] = (n/(n-1))^t/m_0: of theta_t for beta, free of theta_0 in units of it; infinite at kn <= 1.",
    kind="exact",
    observable="inverse_mean",
    check="average of the fitted theta over independent chains of beta(theta, 1)",
    example=POWER,
    generations=6,
    samples=CHAINS // 10,
)
def inverse_mean(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean of the reciprocal of the fitted mean (the fitted rate; theta for ``beta``), under replacement.

    Formula: ``(1/m_0) prod k n_t/(k n_t - 1)``, infinite from the first round with ``k n_t <= 1``. MLE-15 (derived),
    exact.

    Returns:
        Prediction of ``inverse_mean``, ``[generations + 1]`` in 1/data; for ``beta`` no unit.

    Raises:
        RegimeError: the spec describes another chain.

    >>> inverse_mean(MLESpec("beta", mean=0.5, batch=2), 2).values.round(4).tolist()
    [0.5, 1.0, 2.0]
    """
    shapes = _shapes(spec, generations, "MLE-15/inverse")
    finite = shapes > 1
    logs = started(jnp.cumsum(-jnp.log1p(-1 / jnp.where(finite, shapes, 2))))
    never = started(jnp.cumsum(~finite)) > 0
    return jnp.where(never, jnp.inf, jnp.exp(logs) / _true_mean(spec))


@register(
    "MLE-16",
    statement="Gaussian location: the path leaves the ball of radius r by round t with chance <= 4 Q(r/sd(m_t)).",
    kind="upper bound",
    observable="left_ball",
    check="share of chains that have ever been farther from the truth than the radius, every batch kept",
    example={"family": "gaussian", "variance": 2.0, "batch": 20.0, "threshold": 0.45, "regime": "accumulate"},
    generations=20,
    samples=3000,
)
def left_ball(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Bound on the chance that the fitted mean has ever been farther than ``threshold`` from the truth.

    Formula: ``min(1, 2 erfc(r/sqrt(2 Var m_t)))``, at most ``4 exp(-r^2/(2 Var))``: under accumulation ``Var m_t <=
    (pi^2/6) V/n``, so radius ``sqrt((pi^2/3) ln(4/delta) V/n)`` holds for all T at once, the shape of Theorem 4.1 of
    arXiv 2505.19046. MLE-16 (derived, for the Gaussian location family), an upper bound.

    Args:
        spec: family gaussian, regime replace or accumulate, real_fraction 0.

    Returns:
        Prediction (upper bound) of ``left_ball``, ``[generations + 1]``, a chance; 0 for the truth.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", batch=10, regime="accumulate")
    >>> bool(left_ball(spec, 1000).values[-1] < 0.03)
    True
    """
    family_in(spec, "MLE-16", "gaussian")
    plain(spec, "MLE-16", "replace", "accumulate")
    scaled = spec.threshold / jnp.sqrt(2 * spec.variance * jnp.cumsum(steps(spec, generations)))
    return started(jnp.minimum(2 * jax.scipy.special.erfc(scaled), 1))


@register(
    "MLE-17",
    statement="Leading order: E KL(truth | fit) = (d/2) sum a_i: d/(2n) sum 1/k^2 (accumulate), d t/(2n) (replace).",
    kind="asymptotic",
    observable="kl",
    check="average of KL(truth | fit) over independent chains, mean and variance of a normal, every batch kept",
    example={"family": "normal", "mean": 0.5, "variance": 2.0, "batch": 400.0, "regime": "accumulate"},
    generations=8,
    samples=CHAINS // 2,
    relevant=0.05,
)
def expected_kl(spec: MLESpec, generations: int):
    """Mean Kullback-Leibler divergence of the fitted model from the truth, for large n.

    Formula: ``(d/2) sum_t a_t``, d parameters. MLE-17 (derived), asymptotic for n -> infinity, T fixed. Margin: the
    relative error was found below ``(3/n + 4 sum a_t) exp(2 sum a_t)`` for n >= 20 by brute force, which is no proof.

    Args:
        spec: family exponential, gamma (known shape), beta or one-dimensional normal (n divisor), regime replace or
            accumulate, real_fraction 0.

    Returns:
        Prediction of ``kl``, ``[generations + 1]`` in nats.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("exponential", batch=100, regime="accumulate")
    >>> round(100 * float(expected_kl(spec, 2).values[2]), 4)  # (1 + 1/4)/2
    0.625
    """
    family_in(spec, "MLE-17", "exponential", "gamma", "beta", "normal")
    plain(spec, "MLE-17", "replace", "accumulate")
    covers(spec.variance.ndim == 0, "MLE-17", "describes one dimension.")
    covers(spec.family != "normal" or spec.divisor == "n", "MLE-17", "describes maximum likelihood: divisor n.")
    moves = steps(spec, generations)
    parameters = 2 if spec.family == "normal" else 1
    sums = started(jnp.cumsum(moves))
    values = parameters / 2 * sums
    size = jnp.min(batches(spec, generations)) if generations else jnp.min(spec.batch)
    return values, values * (3 / size + 4 * sums) * jnp.exp(2 * sums)
