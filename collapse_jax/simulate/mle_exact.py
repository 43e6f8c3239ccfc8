"""Chains of maximum-likelihood fits by sufficient statistics: exact in law, at a cost that n does not raise.

A batch enters a fit through few numbers only: the mean of its points (a family of one mean, chances of symbols), or
mean and covariance (a normal). Those of n points of a model are drawn as such: counts, gamma sums, chi-squares, Wishart
factors; batches are put together by their weights, covariances by adding what lies within and between (no sums of
squares, so that float32 keeps its digits). All chains advance together as arrays, one scan over the generations.

Subsamples of a pool and random draws from a kept anchor have no such statistics: ``mle_brute`` runs them.
"""

from functools import partial

import jax
import jax.numpy as jnp

from collapse_jax.simulate.draws import binomial, gamma, mean_gamma, multinomial, poisson
from collapse_jax.simulate.mle_seen import look, truth
from collapse_jax.simulate.wishart import dot
from collapse_jax.specs.mle import MEANS, MLESpec


def _sum_of_means(key, spec: MLESpec, mean, count):
    """Mean of ``count`` points of models of one mean, ``[chains]``; that of the model where ``count`` is 0."""
    count = jnp.broadcast_to(count, mean.shape)
    some = count > 0
    size = jnp.where(some, count, 1)
    if spec.family == "bernoulli":
        made = binomial(key, size, mean) / size
    elif spec.family == "binomial":
        made = binomial(key, size * spec.size, mean / spec.size) / size
    elif spec.family == "poisson":
        made = poisson(key, size * mean) / size
    elif spec.family == "negative-binomial":
        # a Poisson number whose mean is a gamma number
        gamma_key, key = jax.random.split(key)
        made = poisson(key, mean * gamma(gamma_key, size * spec.size) / spec.size) / size
    elif spec.family == "gaussian":
        made = mean + jnp.sqrt(spec.variance / size) * jax.random.normal(key, mean.shape, mean.dtype)
    else:
        shape = size * spec.size if spec.family == "gamma" else size
        made = mean * mean_gamma(key, shape, mean.shape[0])
    return jnp.where(some, made, mean)


def _symbols(key, chances, count):
    """Shares of the symbols among ``count`` points, ``[chains, symbols]``."""
    count = jnp.broadcast_to(count, chances.shape[:1])
    return multinomial(key, count, chances) / jnp.where(count > 0, count, 1)[:, None]


def _wishart_roots(key, chains: int, dimension: int, freedom, dtype):
    """Bartlett factors ``[chains, p, p]`` of Wishart matrices with m degrees of freedom (as ``wishart.bartlett``)."""
    gamma_key, normal_key = jax.random.split(key)
    left = jnp.broadcast_to(freedom - jnp.arange(dimension, dtype=dtype), (chains, dimension))
    alive = left > 0
    diagonal = jnp.sqrt(2 * gamma(gamma_key, jnp.where(alive, left / 2, 0)))
    below = jnp.tril(jax.random.normal(normal_key, (chains, dimension, dimension), dtype), -1)
    return jnp.where(alive[:, None, :], below + diagonal[:, :, None] * jnp.eye(dimension, dtype=dtype)[None], 0)


def draw(key, spec: MLESpec, model: dict, count) -> dict:
    """Statistics of ``count`` points of each model: their mean, and about it their mean square (``within``)."""
    if spec.family in MEANS:
        return {"mean": _sum_of_means(key, spec, model["mean"], count)}
    if spec.family == "multinomial":
        return {"mean": _symbols(key, model["mean"], count)}
    mean_key, key = jax.random.split(key)
    noise = jax.random.normal(mean_key, model["mean"].shape, model["mean"].dtype) / jnp.sqrt(count)
    if "variance" in model:
        free = jnp.broadcast_to((count - 1) / 2, noise.shape)
        mean = model["mean"] + jnp.sqrt(model["variance"]) * noise
        return {"mean": mean, "within": model["variance"] * 2 * gamma(key, free) / count}
    roots = _wishart_roots(key, noise.shape[0], spec.dimension, count - 1, noise.dtype)
    return {
        "mean": model["mean"] + jnp.einsum("cij,cj->ci", model["root"], noise, precision="highest"),
        "root": dot(model["root"], roots) / jnp.sqrt(count),
    }


def merge(first: dict, second: dict, share) -> dict:
    """Statistics of two sets of points, the second with weight ``share`` in (0, 1)."""
    gap = jax.tree.map(jnp.subtract, second["mean"], first["mean"])
    share = jnp.reshape(jnp.broadcast_to(share, gap.shape[:1]), (-1, *(1,) * (gap.ndim - 1)))
    merged = {"mean": first["mean"] + share * gap}
    if "within" in first:
        between = share * (1 - share) * gap**2
        merged["within"] = (1 - share) * first["within"] + share * second["within"] + between
    if "root" in first:
        share = share[..., None]
        parts = [jnp.sqrt(1 - share) * first["root"], jnp.sqrt(share) * second["root"]]
        parts.append(jnp.sqrt(share * (1 - share)) * gap[..., None])
        # L of the LQ decomposition: three factors side by side have a triangular root
        together = jnp.concatenate(parts, axis=-1)
        triangle = jnp.linalg.qr(jnp.swapaxes(together, -1, -2), mode="r")
        sign = jnp.where(jnp.diagonal(triangle, axis1=-2, axis2=-1) < 0, -1, 1)
        merged["root"] = jnp.swapaxes(triangle * sign[..., None].astype(triangle.dtype), -1, -2)
    return merged


def fit(spec: MLESpec, seen: dict, count) -> dict:
    """The model fitted on ``count`` points with these statistics."""
    larger = count / (count - 1) if spec.divisor == "n-1" else 1
    model = {"mean": seen["mean"]}
    if "within" in seen:
        model["variance"] = seen["within"] * larger
    if "root" in seen:
        model["root"] = seen["root"] * jnp.sqrt(larger)
    return model


@partial(jax.jit, static_argnames=("generations", "replicates", "samples", "mixed"))
def run(spec: MLESpec, key, *, generations: int, replicates: int, samples: int, mixed: bool) -> dict:
    """What ``look`` sees of models 0 ... T: averages over the chains of a replicate, ``[replicates, T + 1, ...]``."""
    chains = replicates * samples
    model = truth(spec, chains)
    dtype = model["mean"].dtype
    sizes = jnp.broadcast_to(spec.batch[:generations] if spec.batch.ndim else spec.batch, (generations,))
    share = spec.real_fraction
    shares = jnp.broadcast_to(share[:generations] if share.ndim else share, (generations,))
    first_look, past = look(spec, model, None, replicates)

    def batch(key, model, kept, number, size, share):
        """Statistics of the batch, and what is kept of the anchor."""
        made_key, real_key, count_key = jax.random.split(key, 3)
        if not mixed:
            return draw(made_key, spec, model, size), kept
        if spec.split == "random":
            real = binomial(count_key, jnp.broadcast_to(size, (chains,)), share)
        else:
            real = jnp.round(share * size)
        weight = jnp.broadcast_to(real / size, (chains,)).astype(dtype)
        if spec.real_weight is not None:
            weight = jnp.where(number == 1, weight, spec.real_weight)
        known = draw(real_key, spec, truth(spec, chains), real)
        if spec.real == "anchor":
            known = jax.tree.map(lambda new, old: jnp.where(number == 1, new, old), known, kept)
            kept = known
        made = draw(made_key, spec, model, size - real)
        both = merge(made, known, weight)
        if spec.real == "fresh" and spec.family == "normal":
            # a part without points has no spread to add
            return jax.tree.map(
                lambda both, made, known: _where(weight <= 0, made, _where(weight >= 1, known, both)), both, made, known
            ), kept
        return both, kept

    def generation(carry, inputs):
        model, pool, kept, past = carry
        key, number, size, before, share = inputs
        seen, kept = batch(key, model, kept, number, size, share)
        total = size
        if spec.regime == "accumulate":
            total = before + size
            joined = merge(pool, seen, size / total)
            pool = jax.tree.map(lambda old, new: jnp.where(number == 1, old, new), seen, joined)
            seen = pool
        model = fit(spec, seen, total)
        shown, past = look(spec, model, past, replicates)
        return (model, pool, kept, past), shown

    blank = draw(key, spec, model, sizes[0])
    blank = jax.tree.map(jnp.zeros_like, blank)
    numbers = jnp.arange(1, generations + 1)
    before = jnp.concatenate([jnp.zeros_like(sizes[:1]), jnp.cumsum(sizes)[:-1]])
    inputs = (jax.random.split(key, generations), numbers, sizes, before, shares)
    _, shown = jax.lax.scan(generation, (model, blank, blank, past), inputs)
    joined = jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), first_look, shown)
    return jax.tree.map(lambda values: jnp.moveaxis(values, 0, 1), joined)


def _where(condition, yes, no):
    return jnp.where(condition.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)
