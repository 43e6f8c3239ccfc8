"""Ridge regression on self-made labels by deterministic equivalents (REG-6, REG-7, REG-11, REG-17).

The equivalents of ``regression_equations`` composed over rounds: any spectrum, more or fewer rows than directions, with
or without ridge, sizes that change from round to round. They are exact in the proportional limit; at finite size their
relative error was measured against exact Monte Carlo and is stated as a margin in units of ``1/(T - df_2)`` of the
coarsest fit of the chain. Everything here was derived for this project.
"""

import jax.numpy as jnp

from collapse_jax.results import register
from collapse_jax.specs.regression import RegressionSpec, power_law
from collapse_jax.theory.regression_equations import (
    Moments,
    chain,
    covers,
    fit,
    powers,
    require_constant,
    require_equivalent,
    require_mean,
    require_replace,
    require_ridgeless,
    surely,
)

_ERROR = 1.5
"""Relative error of an equivalent in units of 1/(T - df_2) of the coarsest fit; measured, see the proofs."""

MANY = {"learner_noise": 0.5, "generator_noise": 0.7} | {
    name: tuple(values.tolist()) for name, values in power_law(60, 1.2, 0.5).items()
}
RIDGED = MANY | {"learner_samples": 40, "learner_ridge": 0.03, "generator_samples": 90, "generator_ridge": 0.01}


def _learned(spec: RegressionSpec, generations: int):
    """Mean square error of the learner, and its margin."""
    moments, coarse = chain(spec, generations)
    own = fit(spec.spectrum, spec.learner_samples, spec.learner_ridge)
    columns = Moments(*(part.T for part in moments))
    kept, lost, freedom = own
    truth, spectrum = (spec.truth**2)[:, None], spec.spectrum[:, None]
    kept, lost = kept[:, None], lost[:, None]
    unexplained = jnp.sum(spectrum * lost**2 * columns.square, axis=0) + spec.learner_noise**2
    bias = kept**2 * columns.distance + (2 * kept * columns.lost + lost) * lost * truth
    values = jnp.sum(spectrum * bias, axis=0) + jnp.sum(kept**2) * (unexplained / freedom)
    coarsest = jnp.maximum(coarse, 1 / freedom)
    return values, _ERROR * coarsest * values


@register(
    "REG-6",
    statement="E(n) for any spectrum, ridge and sizes: rounds of shrinkage A = mu/(mu + kappa) and variance, composed.",
    kind="asymptotic",
    observable="error",
    check="mean square error of the learner, Wishart designs",
    example=RIDGED,
    generations=4,
    samples=30,
    relevant=0.2,
)
def error(spec: RegressionSpec, generations: int):
    """Test error of the learner after each number of generators, by deterministic equivalents.

    Formula, per round with the fit's own kappa: ``m' = A m``, ``M' = A^2 M + B (kappa^2 sum B M + s^2)/(T - df_2)``,
    ``B = mu/(mu + kappa)^2``; ``E = sum mu (M' - 2 m' w_0 + w_0^2)``, here in the deviations from the truth, without
    subtraction. REG-6 (derived), asymptotic: d, T, T_0 -> infinity in fixed ratios; relative margin
    ``1.5/(T - df_2)`` of the coarsest fit. Covers T and T_0 below and above d, ridge or none, schedules. Excluded:
    no ridge with T near d. float32 keeps 1e-5 for up to 100 rounds.

    Returns:
        Prediction of ``error``, ``[generations + 1]`` in label^2; entry 0 is a learner of real labels.

    Raises:
        RegimeError: accumulation, real rows, or no ridge on about d rows.

    >>> spec = RegressionSpec([1.0], dimension=40, learner_samples=80, generator_samples=80)
    >>> error(spec, 2).values.round(4).tolist()  # sigma^2 phi/(1 - phi) (1 + n)
    [0.25, 0.5, 0.75]
    """
    require_replace(spec, "REG-6")
    require_equivalent(spec, "REG-6", "learner", "generator")
    return _learned(spec, generations)


@register(
    "REG-6/generator",
    statement="The same for the generators themselves: E_n = sum mu (M_n - 2 m_n w_0 + w_0^2).",
    kind="asymptotic",
    observable="generator_error",
    check="mean square error of the generators, Wishart designs",
    example=RIDGED,
    generations=4,
    samples=30,
    relevant=0.2,
)
def generator_error(spec: RegressionSpec, generations: int):
    """Error of the n-th generator against the truth, by deterministic equivalents.

    REG-6/generator (derived), asymptotic, margin and range as REG-6.

    Returns:
        Prediction of ``generator_error``, ``[generations + 1]`` in label^2; entry 0 is the truth, error 0.

    Raises:
        RegimeError: as REG-6.

    >>> spec = RegressionSpec([1.0], dimension=40, generator_samples=80)
    >>> generator_error(spec, 2).values.round(4).tolist()
    [0.0, 0.25, 0.5]
    """
    require_replace(spec, "REG-6/generator")
    require_equivalent(spec, "REG-6/generator", "generator")
    moments, coarse = chain(spec, generations)
    values = jnp.sum(spec.spectrum[None] * moments.distance, axis=1)
    return values, _ERROR * coarse * values


@register(
    "REG-7",
    statement="Ridge downstream of least squares: E(n) = Bias + Var + n sigma_0^2 rho.",
    kind="asymptotic",
    observable="error",
    check="mean square error of the learner, Wishart designs",
    example=MANY | {"learner_samples": 90, "learner_ridge": 0.03, "generator_samples": 150},
    generations=4,
    samples=30,
    relevant=0.1,
)
def ridge_error(spec: RegressionSpec, generations: int):
    """Test error of a ridge learner whose labels come from least-squares generators with T_0 > d.

    Formula: ``Bias + Var + n sigma_0^2 rho``, ``Bias = sum mu q^2 w_0^2/(1 - df_2/T)``, ``Var = sigma^2 df_2/(T -
    df_2)``, ``rho = [df_2 + sum q^2 df_2/(T - df_2)]/(T_0 - d - 1)`` with ``q = kappa/(mu + kappa)``. REG-7 (derived),
    asymptotic; the generators' covariance is the exact one. Relative margin ``1.5/(T - df_2)``. lambda -> 0 gives rho =
    d/(T_0 - d - 1); lambda -> infinity gives rho = 0 and ``E = |w_0|_Sigma^2``.

    Returns:
        Prediction of ``error``, ``[generations + 1]`` in label^2.

    Raises:
        RegimeError: a ridge or a schedule in the generators, T_0 < d + 2, real rows, accumulation, or a learner
            without ridge on about d rows.

    >>> spec = RegressionSpec([1.0], dimension=4, learner_ridge=float("inf"), generator_samples=9)
    >>> ridge_error(spec, 2).values.tolist()
    [4.0, 4.0, 4.0]
    """
    require_replace(spec, "REG-7")
    require_constant(spec, "REG-7", "REG-6")
    require_ridgeless(spec, "REG-7", "generator_ridge")
    require_mean(spec, "REG-7", "generator_samples")
    require_equivalent(spec, "REG-7", "learner")
    kept, lost, freedom = fit(spec.spectrum, spec.learner_samples, spec.learner_ridge)
    spread = jnp.sum(kept**2) / freedom  # df_2/(T - df_2)
    bias = jnp.sum(spec.spectrum * lost**2 * spec.truth**2) * (1 + spread)
    rho = (jnp.sum(kept**2) + jnp.sum(lost**2) * spread) / (spec.generator_samples - spec.dimension - 1)
    n = jnp.arange(generations + 1, dtype=bias.dtype)
    values = bias + spec.learner_noise**2 * spread + n * (spec.generator_noise**2 * rho)
    return values, _ERROR / freedom * values


@register(
    "REG-11",
    statement="The mean generator shrinks by mu_i/(mu_i + kappa_0) a round: weak directions are forgotten first.",
    kind="asymptotic",
    observable="coordinates",
    check="mean coordinates of the generators, Wishart designs",
    example=RIDGED,
    generations=4,
    samples=30,
    relevant=0.2,
)
def coordinates(spec: RegressionSpec, generations: int):
    """Mean coordinates of the generators in the eigenbasis of Sigma.

    Formula: ``E w_{n,i} = (mu_i/(mu_i + kappa_0))^n w_{0,i}``, ``kappa_0 = kappa(lambda_0, T_0)``. REG-11 (derived),
    asymptotic; relative margin ``1.5 n/(T_0 - df_2)``. No shrinkage iff kappa_0 = 0: no ridge and T_0 >= d.

    Returns:
        Prediction of ``coordinates``, ``[generations + 1, d]`` in units of ``truth``.

    Raises:
        RegimeError: a schedule, real rows, accumulation, or no ridge on about d rows.

    >>> spec = RegressionSpec([1.0], dimension=4, generator_samples=2)  # kappa_0 = 1
    >>> coordinates(spec, 2).values[:, 0].round(5).tolist()
    [1.0, 0.5, 0.25]
    """
    require_replace(spec, "REG-11")
    require_constant(spec, "REG-11", "REG-6")
    require_equivalent(spec, "REG-11", "generator")
    kept, _, freedom = fit(spec.spectrum, spec.generator_samples, spec.generator_ridge)
    values = powers(kept, generations) * spec.truth[None]
    n = jnp.arange(generations + 1, dtype=values.dtype)
    return values, jnp.abs(values) * (_ERROR / freedom * n)[:, None]


@register(
    "REG-17",
    statement="REG-6 with the spectrum of a finite pool predicts the error of a kernel chain over that pool.",
    kind="asymptotic",
    observable="pool_error",
    check="ridge on rows drawn with replacement from a pool of random orthonormal features",
    example=RIDGED,
    generations=2,
    samples=5,
    relevant=0.3,
)
def pool_error(spec: RegressionSpec, generations: int):
    """Mean square error over a pool of inputs when every round draws its rows from the pool, kernel ridge regression.

    With N inputs and kernel matrix K: ``spectrum`` the eigenvalues of K/N, ``truth_i = u_i . f_0/sqrt(N mu_i)`` for the
    teacher f_0 on the pool. Values: those of REG-6. REG-17 (derived) is an approximation: features of real inputs are
    not Gaussian. On digit images with RBF and cubic kernels it is within about 5 % for moderate ridge and up to 15 %
    off near interpolation, of either sign; the margin is 15 %, or that of REG-6 if larger.

    Returns:
        Prediction of ``pool_error``, ``[generations + 1]`` in label^2.

    Raises:
        RegimeError: accumulation, real rows, or no ridge.

    >>> spec = RegressionSpec([1.0], dimension=4, learner_ridge=float("inf"), generator_ridge=1.0)
    >>> pool_error(spec, 1).values.tolist()
    [4.0, 4.0]
    """
    require_replace(spec, "REG-17")
    for name in ("learner_ridge", "generator_ridge"):
        ridged = surely(lambda ridge: ridge > 0, getattr(spec, name))
        covers(ridged, "REG-17", f"needs {name} > 0: a kernel matrix of rows drawn twice cannot be inverted.")
    values, margin = _learned(spec, generations)
    return values, jnp.maximum(margin, 0.15 * values)


__all__ = ["coordinates", "error", "generator_error", "pool_error", "ridge_error"]
