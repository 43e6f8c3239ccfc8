"""Iterative maximum likelihood of a mean: families with quadratic variance (MLE-1, MLE-2).

A family whose fit is the sample mean and whose variance is ``V(m) = v_0 + v_1 m + v_2 m^2`` (Bernoulli v_2 = -1,
binomial -1/N, Poisson and Gaussian 0, exponential 1, gamma 1/k, negative binomial 1/r) makes a martingale of fitted
means: a batch of n points from model t - 1 moves it by a step of variance V/n (replace), or by n_t/N_t of such a step
if all batches are kept, of variance ``a_t V`` with ``a_t = n_t/N_t^2`` (accumulate). V being quadratic, E V is
multiplied by ``1 + v_2 a_t`` each round (``mle_ground``). Since ``sum 1/t^2 = pi^2/6`` and ``prod (1 + x^2/(pi t)^2) =
sinh(x)/x``, accumulation ends at a finite distance from the truth, while replacement drifts on until V vanishes.

Data policies are in ``mle_policies``, Gaussians with a fitted variance in ``mle_gaussian``, symbols and counts in
``mle_discrete``, multiplicative chains and the consistency theorem in ``mle_consistency``, families that collapse in
``mle_counterexamples``. All formulas of this file were derived for this project.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.mle import MLESpec
from collapse_jax.theory.mle_ground import (
    mean_family,
    noise_path,
    one_batch,
    plain,
    quadratic,
    steps,
    variance_path,
)
from collapse_jax.theory.mle_special import sinh_excess

WAITING = {"family": "exponential", "mean": 1.5, "batch": 4.0}
COIN = {"family": "bernoulli", "mean": 0.3, "batch": 6.0}
CHAINS = 10_000
TO_THE_END = {"example": COIN, "generations": 100, "samples": 3600}
"""Coins until the last of them is fixed."""


@register(
    "MLE-1",
    statement="Replace: Var m_t = V(m_0)/v_2 [(1 + v_2/n)^t - 1] for a family of quadratic variance.",
    kind="exact",
    observable="variance",
    check="mean square of fitted mean minus truth over independent chains, exponential family",
    example=WAITING,
    generations=5,
    samples=24_000,
)
def variance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance of the fitted mean when each batch replaces the last.

    Formula: ``V(m_0)/v_2 [prod_i (1 + v_2 a_i) - 1]``, ``a_i = 1/n_i``; ``V(m_0) sum a_i`` at v_2 = 0. MLE-1 (derived),
    exact for every n >= 1. Bounded if ``sum 1/n_t`` is, so also with batches that grow.

    Args:
        spec: a family of one mean, regime replace, real_fraction 0; ``beta`` speaks of the mean of -ln x.
        generations: number of fits, >= 0.

    Returns:
        Prediction of ``variance``, ``[generations + 1]`` in data^2; entry 0 is the truth.

    Raises:
        RegimeError: the spec describes another chain.

    >>> variance(MLESpec("bernoulli", mean=0.5, batch=2), 2).values.tolist()
    [0.0, 0.125, 0.1875]
    """
    mean_family(spec, "MLE-1")
    plain(spec, "MLE-1", "replace")
    return variance_path(*quadratic(spec), steps(spec, generations))


@register(
    "MLE-1/accumulate",
    statement="Accumulate: the same with a_t = n_t/N_t^2, 1/(n t^2) for equal batches.",
    kind="exact",
    observable="variance",
    check="mean square of fitted mean minus truth over independent chains, coins",
    example=COIN | {"regime": "accumulate"},
    generations=5,
    samples=CHAINS,
)
def pooled_variance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance of the fitted mean when every batch is kept.

    Formula: ``V(m_0)/v_2 [prod_i (1 + v_2 a_i) - 1]``, ``a_i = n_i/N_i^2``. MLE-1 (derived), exact for every n >= 1.

    Returns:
        Prediction of ``variance``, ``[generations + 1]`` in data^2; entry 0 is the truth.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", batch=1, regime="accumulate")
    >>> pooled_variance(spec, 2).values.tolist()
    [0.0, 1.0, 1.25]
    """
    mean_family(spec, "MLE-1/accumulate")
    plain(spec, "MLE-1/accumulate", "accumulate")
    return variance_path(*quadratic(spec), steps(spec, generations))


@register(
    "MLE-1/mean",
    statement="The fitted mean is a martingale: E m_t = m_0.",
    kind="exact",
    observable="mean",
    check="average of the fitted mean over independent chains",
    example=WAITING,
    generations=5,
    samples=24_000,
)
def mean(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean of the fitted mean: that of the truth, in every regime and with every real share.

    MLE-1 (derived), exact: batches have the mean of the model that made them, and fits are weighted means of batches.

    Returns:
        Prediction of ``mean``, ``[generations + 1]`` in data units; for ``beta`` of the mean of -ln x, 1/theta.

    Raises:
        RegimeError: the family has more than a mean.

    >>> mean(MLESpec("poisson", mean=2.0), 1).values.tolist()
    [2.0, 2.0]
    """
    mean_family(spec, "MLE-1/mean")
    value = 1 / spec.mean if spec.family == "beta" else spec.mean
    return jnp.broadcast_to(value, (generations + 1,))


@register(
    "MLE-1/spread",
    statement="What a model's points vary: E V(m_t) = V(m_0) prod (1 + v_2 a_i).",
    kind="exact",
    observable="point_variance",
    check="average of the variance of a point of the fitted model, coins",
    **TO_THE_END,
)
def point_variance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean variance of a point drawn from the fitted model.

    Formula: ``V(m_0) prod_i (1 + v_2 a_i)``. MLE-1 (derived), exact; falls for v_2 < 0, grows for v_2 > 0.

    Args:
        spec: a family of one mean, regime replace or accumulate, real_fraction 0.

    Returns:
        Prediction of ``point_variance``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> point_variance(MLESpec("bernoulli", mean=0.5, batch=2), 2).values.tolist()
    [0.25, 0.125, 0.0625]
    """
    mean_family(spec, "MLE-1/spread")
    plain(spec, "MLE-1/spread", "replace", "accumulate")
    return noise_path(*quadratic(spec), steps(spec, generations))


@register(
    "MLE-2",
    statement="Accumulate for ever: Var ends at V(m_0)/v_2 [sinh(x)/x - 1], x = pi sqrt(v_2/n); pi^2/6 V/n at v_2 = 0.",
    kind="exact",
    observable="limit_variance",
    check="extrapolated in 1/t from rounds T and 2T of the same chains, coins",
    example=COIN | {"batch": 4.0, "regime": "accumulate"},
    generations=6,
    samples=18_000,
)
def limit_variance(spec: MLESpec) -> Float[Array, ""]:
    """Variance of the fitted mean after infinitely many rounds of accumulation in equal batches.

    Formula: ``V/v_2 [sinh(x)/x - 1]`` for v_2 > 0, ``V/|v_2| [1 - sin(x)/x]`` for v_2 < 0, x = pi sqrt(|v_2|/n), and
    ``pi^2/6 V/n`` between. MLE-2 (derived), exact for every n >= 1.

    Returns:
        Prediction of ``limit_variance``, a scalar in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spec = MLESpec("gaussian", batch=1, regime="accumulate")
    >>> round(float(limit_variance(spec).values), 4)
    1.6449
    """
    mean_family(spec, "MLE-2")
    plain(spec, "MLE-2", "accumulate")
    one_batch(spec, "MLE-2")
    start, curvature = quadratic(spec)
    square = jnp.pi**2 / spec.batch
    return start * square * sinh_excess(curvature * square)


@register(
    "MLE-2/replace",
    statement="Replace for ever: Var ends at V(m_0)/|v_2| for v_2 < 0 (absorbed where V = 0), else it has no bound.",
    kind="exact",
    observable="last_variance",
    check="mean square of fitted mean minus truth after all rounds, coins until they are fixed",
    **TO_THE_END,
)
def replaced_limit(spec: MLESpec) -> Float[Array, ""]:
    """Variance of the fitted mean after infinitely many rounds of replacement in equal batches.

    Formula: ``V(m_0)/|v_2|`` for v_2 < 0, else infinity. MLE-2 (derived), exact for every n >= 1.

    Returns:
        Prediction of ``last_variance``, a scalar in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> float(replaced_limit(MLESpec("bernoulli", mean=0.5)).values)
    0.25
    """
    mean_family(spec, "MLE-2/replace")
    plain(spec, "MLE-2/replace", "replace")
    one_batch(spec, "MLE-2/replace")
    start, curvature = quadratic(spec)
    bounded = curvature < 0
    return jnp.where(bounded & (start > 0), start / jnp.where(bounded, -curvature, 1), jnp.where(start > 0, jnp.inf, 0))
