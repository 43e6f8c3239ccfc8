"""What is read off fitted models: for each replicate the averages over its chains.

A model is ``mean`` ``[chains]`` (``[chains, p]``, ``[chains, symbols]``), for a normal also ``variance``
``[chains]`` or a triangular ``root`` ``[chains, p, p]`` of the covariance. Families are described here by what they are
(variance of a point, divergence of two members), not by what becomes of them.
"""

import jax.numpy as jnp

from collapse_jax.specs.mle import MLESpec

POSITIVE = ("exponential", "gamma", "beta")
COUNTS = ("bernoulli", "binomial", "poisson", "negative-binomial")


def truth(spec: MLESpec, chains: int) -> dict:
    """Model 0 of every chain."""
    if spec.family == "multinomial":
        return {"mean": jnp.broadcast_to(spec.weights, (chains, spec.weights.shape[0]))}
    mean = jnp.broadcast_to(1 / spec.mean if spec.family == "beta" else spec.mean, (chains,))
    if spec.family != "normal":
        return {"mean": mean}
    if spec.variance.ndim == 0:
        return {"mean": mean, "variance": jnp.broadcast_to(spec.variance, (chains,))}
    p = spec.dimension
    return {
        "mean": jnp.broadcast_to(spec.mean, (chains, p)),
        "root": jnp.broadcast_to(jnp.diag(jnp.sqrt(spec.variance)), (chains, p, p)),
    }


def variance_of_a_point(spec: MLESpec, mean):
    """Variance of one point of a family of one mean (of -ln x for ``beta``)."""
    if spec.family == "bernoulli":
        return mean * (1 - mean)
    if spec.family == "binomial":
        return mean * (spec.size - mean) / spec.size
    if spec.family == "poisson":
        return mean
    if spec.family == "negative-binomial":
        return mean * (mean + spec.size) / spec.size
    if spec.family == "gamma":
        return mean**2 / spec.size
    return jnp.broadcast_to(spec.variance, mean.shape) if spec.family == "gaussian" else mean**2


def _off(spec: MLESpec, model: dict):
    return model["mean"] - truth(spec, 1)["mean"]


def _one_mean(spec: MLESpec, model: dict, past):
    mean, off = model["mean"], _off(spec, model)
    seen = {"mean": mean, "variance": off**2, "point_variance": variance_of_a_point(spec, mean)}
    if spec.family in POSITIVE:
        real = mean - off
        ratio = jnp.log(mean / real)
        order = spec.size if spec.family == "gamma" else 1
        seen |= {"log_mean": ratio, "inverse_mean": 1 / mean, "mean_square": mean**2}
        seen["kl"] = order * (jnp.log1p(off / real) - off / mean)
    if spec.family in COUNTS:
        seen |= {"alive": mean > 0, "extinct": mean <= 0}
    if spec.family == "bernoulli":
        unfixed = (mean > 0) & (mean < 1)
        seen |= {"unfixed": unfixed, "diversity": 2 * mean * (1 - mean), "distance": 2 * off**2}
        seen["support"] = 1 + unfixed.astype(mean.dtype)
    if spec.family == "gaussian":
        past = jnp.maximum(jnp.zeros_like(off) if past is None else past, jnp.abs(off))
        seen["left_ball"] = past > spec.threshold
    return seen, past


def _normal(spec: MLESpec, model: dict):
    off, variance = _off(spec, model), model["variance"]
    scale = jnp.sqrt(variance)
    logs = jnp.log(variance / spec.variance)
    return {
        "variance": off**2,
        "fitted_variance": variance,
        "fitted_scale": scale,
        "log_variance": logs,
        "w2": off**2 + (scale - jnp.sqrt(spec.variance)) ** 2,
        "survival": scale > spec.threshold,
        "kl": (logs + (spec.variance + off**2) / variance - 1) / 2,
    }


def _space(spec: MLESpec, model: dict):
    root = model["root"]
    diagonal = jnp.abs(jnp.diagonal(root, axis1=-2, axis2=-1))
    return {
        "variance": _off(spec, model) ** 2,
        "fitted_variance": jnp.sum(root**2, axis=-1),
        "log_volume": jnp.sum(2 * jnp.log(diagonal) - jnp.log(spec.variance)[None], axis=-1),
        "rank": jnp.sum(diagonal > 0, axis=-1),
    }


def _symbols(spec: MLESpec, model: dict):
    chances = model["mean"]
    alive = chances > 0
    return {
        "diversity": jnp.sum(chances * (1 - chances), axis=-1),
        "distance": jnp.sum(_off(spec, model) ** 2, axis=-1),
        "alive": alive[:, 0],
        "unfixed": jnp.sum(alive, axis=-1) > 1,
        "support": jnp.sum(alive, axis=-1),
        "at_symbol": (chances >= 1).astype(chances.dtype),
    }


def look_at(spec: MLESpec, model: dict, past=None):
    """Observables of every chain, and what has to be remembered of the path."""
    if spec.family == "normal":
        return (_normal if "variance" in model else _space)(spec, model), past
    if spec.family == "multinomial":
        return _symbols(spec, model), past
    return _one_mean(spec, model, past)


def averages(seen: dict, replicates: int) -> dict:
    """Means over the chains of each replicate, ``[replicates, ...]``; of logarithms also the sample variance."""
    shown = {}
    for name, values in seen.items():
        values = jnp.asarray(values)
        if not jnp.issubdtype(values.dtype, jnp.floating):
            values = values.astype(float)
        groups = values.reshape(replicates, -1, *values.shape[1:])
        shown[name] = jnp.mean(groups, axis=1)
        if name in ("log_mean", "log_variance") and groups.shape[1] > 1:
            shown[name + "_spread"] = jnp.var(groups, axis=1, ddof=1)
    return shown


def look(spec: MLESpec, model: dict, past, replicates: int):
    """Averages of this generation, and the memory of the path."""
    seen, past = look_at(spec, model, past)
    return averages(seen, replicates), past
