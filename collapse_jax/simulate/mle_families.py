"""Families as pairs of functions, fit and sample, for the general loop over points (``recursion.regimes``).

Points are scalars, rows of a matrix for a normal in several dimensions, whole numbers for symbols; those of ``beta``
are -ln x. A fit takes weighted averages over the places of a pool.
"""

import functools

import jax
import jax.numpy as jnp

from collapse_jax.recursion.regimes import Family
from collapse_jax.simulate.mle_seen import truth
from collapse_jax.specs.mle import MEANS, MLESpec


def _average(pool):
    return jnp.tensordot(pool.weights, pool.data, 1) / jnp.sum(pool.weights)


def _fit_mean(key, pool, previous):
    return {"mean": _average(pool)}


def _fit_shares(symbols: int, key, pool, previous):
    here = pool.data[:, None] == jnp.arange(symbols, dtype=pool.data.dtype)[None]
    return {"mean": jnp.sum(jnp.where(here, pool.weights[:, None], 0), axis=0) / jnp.sum(pool.weights)}


def _fit_variance(key, pool, previous, *, less: int):
    mean = _average(pool)
    within = jnp.sum(pool.weights * (pool.data - mean) ** 2)
    return {"mean": mean, "variance": within / (jnp.sum(pool.weights) - less)}


def _fit_covariance(key, pool, previous, *, less: int):
    mean = _average(pool)
    rows = jnp.sqrt(pool.weights)[:, None] * (pool.data - mean[None])
    triangle = jnp.linalg.qr(rows, mode="r") / jnp.sqrt(jnp.sum(pool.weights) - less)
    missing = triangle.shape[1] - triangle.shape[0]
    triangle = jnp.pad(triangle, ((0, missing), (0, 0)))
    sign = jnp.where(jnp.diagonal(triangle) < 0, -1, 1).astype(triangle.dtype)
    return {"mean": mean, "root": (triangle * sign[:, None]).T}


def _sample(name: str, size: float, variance: float, key, model, n: int):
    """``n`` points of a member of a family of one mean."""
    mean = model["mean"]
    shape, dtype = (n,), mean.dtype
    if name == "bernoulli":
        return jax.random.bernoulli(key, mean, shape).astype(dtype)
    if name == "binomial":
        return jnp.sum(jax.random.uniform(key, (n, round(size)), dtype) < mean / size, axis=1).astype(dtype)
    if name == "poisson":
        return jax.random.poisson(key, mean, shape).astype(dtype)
    if name == "negative-binomial":
        rate_key, key = jax.random.split(key)
        return jax.random.poisson(key, mean * jax.random.gamma(rate_key, size, shape, dtype) / size).astype(dtype)
    if name == "gaussian":
        return mean + variance**0.5 * jax.random.normal(key, shape, dtype)
    if name == "gamma":
        return mean / size * jax.random.gamma(key, size, shape, dtype)
    return mean * jax.random.exponential(key, shape, dtype)


def _sample_normal(key, model, n: int):
    if "variance" in model:
        return model["mean"] + jnp.sqrt(model["variance"]) * jax.random.normal(key, (n,), model["mean"].dtype)
    noise = jax.random.normal(key, (n, *model["mean"].shape), model["mean"].dtype)
    return model["mean"][None] + jnp.matmul(noise, model["root"].T, precision="highest")


def _sample_symbols(key, model, n: int):
    """By inversion. Compared with every level at once: 50 comparisons of a register of numbers beat 6 of one number."""
    above = jnp.cumsum(model["mean"])
    drawn = jax.random.uniform(key, (n,), above.dtype) * above[-1]
    return jnp.sum(drawn[:, None] >= above[None, :-1], axis=1, dtype=jnp.int32)


@functools.cache
def _family(name: str, size: float, variance: float, divisor: str, dimension: int) -> Family:
    """One object for each family, so that the loop over it is compiled once."""
    if name in MEANS:
        return Family(_fit_mean, functools.partial(_sample, name, size, variance))
    if name == "multinomial":
        return Family(functools.partial(_fit_shares, dimension), _sample_symbols)
    less = int(divisor == "n-1")
    fit = _fit_covariance if dimension else _fit_variance
    return Family(functools.partial(fit, less=less), _sample_normal)


def family_of(spec: MLESpec) -> Family:
    """The family that a spec names.

    >>> family_of(MLESpec("poisson")) is family_of(MLESpec("poisson", mean=3.0))
    True
    """
    variance = 1.0 if spec.variance.ndim else float(spec.variance)
    dimension = spec.weights.shape[0] if spec.family == "multinomial" else spec.dimension if spec.variance.ndim else 0
    return _family(spec.family, float(spec.size), variance, spec.divisor, dimension)


@functools.cache
def _real(family: Family, names: tuple, values: tuple, shapes: tuple):
    def real(key, n):
        model = {
            name: jnp.asarray(value, float).reshape(shape)
            for name, value, shape in zip(names, values, shapes, strict=True)
        }
        return family.sample(key, model, n)

    return real


def real_of(spec: MLESpec):
    """The sampler of real points."""
    model = {name: value[0] for name, value in truth(spec, 1).items()}
    values = tuple(tuple(float(v) for v in value.ravel()) for value in model.values())
    return _real(family_of(spec), tuple(model), values, tuple(value.shape for value in model.values()))
