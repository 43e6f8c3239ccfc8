"""The same inputs in every round: a kernel chain on a fixed design (REG-16).

With Gram matrix ``K = U diag(k) U^T`` on T inputs a fit multiplies what the labels say along ``u_i`` by ``h_i =
k_i/(k_i + T lambda) = mu_i/(mu_i + lambda)``, mu the eigenvalues of K/T. Relabelled with noise and refitted, ``f_i' =
h_i (f_i + noise)``: the mean is ``h^n c`` and the variance ``sigma_0^2 (h^2 + h^4 + ... + h^(2n))``. In the spec
``spectrum`` is mu and ``c_i = u_i . f_0 = sqrt(T mu_i) truth_i``. Derived for this project.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.theory.regression_equations import covers, powers, require_constant, require_replace, surely

DESIGN = {
    "spectrum": (3.0, 1.0, 0.4, 0.1, 0.03),
    "truth": (1.0, 2.0, -1.0, 0.5, 3.0),
    "generator_samples": 8,
    "generator_noise": 0.6,
    "generator_ridge": 0.1,
}


def _require(spec: RegressionSpec, result: str) -> None:
    require_replace(spec, result)
    require_constant(spec, result, "REG-6")
    size = spec.dimension
    enough = surely(lambda rows: rows >= size, spec.generator_samples)
    covers(
        enough, result, f"needs generator_samples >= {size}: a Gram matrix has at most T eigenvalues that are not 0."
    )


def _kept(spec: RegressionSpec):
    """h, right also at an infinite ridge."""
    return spec.spectrum / (spec.spectrum + spec.generator_ridge)


def _variance(spec: RegressionSpec, generations: int):
    square = _kept(spec) ** 2

    def generation(total, _):
        after = square * (1 + total)
        return after, after

    path = jax.lax.scan(generation, jnp.zeros_like(square), length=generations)[1]
    return spec.generator_noise**2 * jnp.concatenate([jnp.zeros_like(square)[None], path])


@register(
    "REG-16",
    statement="In-sample error (1/T) sum [(1 - h_i^n)^2 c_i^2 + variance], h_i = k_i/(k_i + T lambda), fixed inputs.",
    kind="exact",
    observable="in_sample_error",
    check="kernel ridge regression on a fixed random design, by a linear solve",
    example=DESIGN,
    generations=4,
    samples=2000,
    relevant=0.02,
)
def in_sample_error(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean square distance to the clean targets on the inputs of the design, along the generations.

    Formula: ``(1/T) sum_i [(1 - h_i^n)^2 c_i^2 + Var f_{n,i}]``, ``T = generator_samples``, ``c_i^2 = T mu_i
    truth_i^2``; ``1 - h^n = (1 - h)(1 + h + ...)``. REG-16 (derived), exact. ``lambda = 0``: error ``n sigma_0^2 d/T``.

    Returns:
        Prediction of ``in_sample_error``, ``[generations + 1]`` in label^2; entry 0 is the clean targets, error 0.

    Raises:
        RegimeError: a schedule, real rows, accumulation, or more eigenvalues than inputs.

    >>> spec = RegressionSpec([1.0, 1.0], generator_samples=4, generator_noise=1.0)
    >>> in_sample_error(spec, 2).values.tolist()
    [0.0, 0.5, 1.0]
    """
    _require(spec, "REG-16")
    kept, ridge = _kept(spec), spec.generator_ridge
    endless = jnp.isinf(ridge)
    finite = jnp.where(endless, 0, ridge)
    lost = jnp.where(endless, 1, finite / (spec.spectrum + finite))
    missed = jax.lax.scan(lambda total, _: (kept * total + lost,) * 2, jnp.zeros_like(kept), length=generations)[1]
    missed = jnp.concatenate([jnp.zeros_like(kept)[None], missed])
    bias = jnp.sum(missed**2 * (spec.spectrum * spec.truth**2)[None], axis=1)
    return bias + jnp.sum(_variance(spec, generations), axis=1) / spec.generator_samples


@register(
    "REG-16/mean",
    statement="E f_(n,i) = h_i^n c_i.",
    kind="exact",
    observable="in_sample_mean",
    check="predictions along the eigenvectors of a fixed random design",
    example=DESIGN,
    generations=4,
    samples=2000,
    relevant=0.02,
)
def in_sample_mean(spec: RegressionSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Mean predictions along the eigenvectors of the design: ``h_i^n c_i``, ``c_i = sqrt(T mu_i) truth_i``.

    REG-16/mean (derived), exact; range and errors as REG-16.

    Returns:
        Prediction of ``in_sample_mean``, ``[generations + 1, d]`` in labels times sqrt(inputs).

    >>> spec = RegressionSpec([1.0], generator_samples=4, generator_ridge=1.0)
    >>> in_sample_mean(spec, 2).values[:, 0].tolist()
    [2.0, 1.0, 0.5]
    """
    _require(spec, "REG-16/mean")
    clean = jnp.sqrt(spec.generator_samples * spec.spectrum) * spec.truth
    return powers(_kept(spec), generations) * clean[None]


@register(
    "REG-16/variance",
    statement="Var f_(n,i) = sigma_0^2 h_i^2 (1 - h_i^(2n))/(1 - h_i^2), n sigma_0^2 at h_i = 1.",
    kind="exact",
    observable="in_sample_variance",
    check="squared deviations along the eigenvectors of a fixed random design from the mean of all chains",
    example=DESIGN,
    generations=4,
    samples=2000,
    relevant=0.02,
)
def in_sample_variance(spec: RegressionSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Variance of the predictions along the eigenvectors of the design.

    Formula: ``sigma_0^2 (h^2 + h^4 + ... + h^(2n))``. REG-16/variance (derived), exact; range and errors as REG-16.

    Returns:
        Prediction of ``in_sample_variance``, ``[generations + 1, d]`` in label^2.

    >>> spec = RegressionSpec([1.0], generator_samples=4, generator_noise=1.0)
    >>> in_sample_variance(spec, 3).values[:, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    _require(spec, "REG-16/variance")
    return _variance(spec, generations)
