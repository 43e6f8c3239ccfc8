"""Gaussian data whose truncated output is finished by one linear denoising step, fitted on the points themselves.

Points x_1 ... x_n of a round are noised to y = scale x + sqrt(noise_var) z and denoised by the linear posterior mean
that belongs to their covariance S: x' = m + scale S (scale^2 S + noise_var I)^-1 (y - scale m), m their mean. Only S
matters, and it is as exact to carry a root of S as to carry the n points: noise enters it through a Wishart factor
(``wishart.noisy_root``) with n - 1 degrees of freedom, one having gone into the mean.
"""

from functools import partial

import jax
import jax.numpy as jnp

from collapse_jax.errors import SpecError
from collapse_jax.simulate.spectral_doors import checked_spec
from collapse_jax.simulate.wishart import bartlett, dot, eigen, noisy_root
from collapse_jax.specs.ground import whole_number
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.trajectory import Trajectory


@partial(jax.jit, static_argnames=("generations", "replicates"))
def _denoised(spec, key, freedom, root, *, generations: int, replicates: int):
    scales, noise_vars = (
        jnp.broadcast_to(values, (max(generations, values.size),))[:generations]
        for values in (spec.scale, spec.noise_var)
    )

    def one_round(factor, step):
        key, scale, noise_var = step
        values, vectors = eigen(dot(factor, factor.T))
        noised = noisy_root(key, vectors * jnp.sqrt(values)[None, :] * scale, jnp.sqrt(noise_var), freedom)
        gains = scale * values / (scale**2 * values + noise_var)
        return dot(vectors * gains[None, :], dot(vectors.T, noised)), values

    def one(key):
        real_key, key = jax.random.split(key)
        start = dot(root, bartlett(real_key, spec.dimension, freedom, root.dtype)) / jnp.sqrt(freedom)
        start = jnp.concatenate([start, jnp.zeros_like(start)], axis=1)  # the width of later factors
        last, seen = jax.lax.scan(one_round, start, (jax.random.split(key, generations), scales, noise_vars))
        return jnp.concatenate([seen, eigen(dot(last, last.T))[0][None]])

    # one replicate after the other: see wishart.after
    return jax.lax.map(one, jax.random.split(key, replicates))


def denoised_spectrum(
    spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """Covariance eigenvalues of n Gaussian points that are noised and linearly denoised again and again (SP-16).

    Args:
        spec: one component, process ``vp``, regime ``replace``, real_fraction 0; a schedule is allowed.
        generations, replicates, key: as for all measurements.
        samples: n > d, points of a round; 1e10 cost as much as 10.

    Returns:
        ``denoised_spectrum`` [replicates, generations + 1, d], descending [data^2].

    Raises:
        SpecError: a spec with parts that have no meaning here, or a bad argument.

    >>> spec = SpectralSpec([1.0], [0.0, 0.0], [4.0, 0.0, 0.0, 1.0], real_fraction=0.0)
    >>> denoised_spectrum(spec, 3, 2, jax.random.key(0), samples=1000)["denoised_spectrum"].values.shape
    (2, 4, 2)
    """
    checked_spec(spec)
    generations, replicates = whole_number("generations", generations), whole_number("replicates", replicates)
    samples = whole_number("samples", samples)
    spec.require_rounds(generations)
    if spec.weights.shape[0] != 1:
        raise SpecError(f"weights must be of one Gaussian here, got {spec.weights.shape[0]} components.")
    if spec.process != "vp" or spec.regime != "replace" or float(spec.real_fraction) != 0:
        raise SpecError(
            f"process, regime and real_fraction must be vp, replace and 0 here, got {spec.process}, {spec.regime} and "
            f"{float(spec.real_fraction):g}: with real data the pool is no Gaussian."
        )
    if samples <= spec.dimension:
        raise SpecError(f"samples must exceed the dimension {spec.dimension}, got {samples}.")
    dtype = spec.means.dtype
    root = jnp.linalg.cholesky(spec.data.covariance)
    freedom = jnp.asarray(samples - 1, dtype)
    values = _denoised(spec, key, freedom, root, generations=generations, replicates=replicates)
    # each round squares what is far below the noise and doubles its relative error, as it does its logarithm
    tiny, eps = float(jnp.finfo(dtype).tiny), float(jnp.finfo(dtype).eps)
    top = values[:, :, 0]
    fall = 1 + jnp.abs(jnp.log(jnp.maximum(top, tiny)) - jnp.log(top[:, :1]))
    rounds = 1 + jnp.arange(top.shape[1], dtype=dtype)
    floor = jnp.max(eps * (spec.dimension + 8 * rounds)[None, :] * fall * top, axis=0)
    floor = jnp.maximum(floor, tiny)[:, None]
    return {"denoised_spectrum": Trajectory(values, floor, observable="denoised_spectrum")}
