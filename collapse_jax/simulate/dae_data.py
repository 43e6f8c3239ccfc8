"""The chain on a given data set, with the maps themselves: what a figure of reconstructions needs (D-F9).

The law is that of ``brute_force_chain`` with ``data`` and full width. Only here are the maps kept, because for images
one wants to see them act, and to follow the directions of the real data rather than sorted singular values.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.simulate.dae_observables import best_map
from collapse_jax.simulate.dae_rounds import checked_spec, may_mix, replicate_keys
from collapse_jax.simulate.wishart import dot, eigen
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.ground import whole_number
from collapse_jax.trajectory import Trajectory


@partial(jax.jit, static_argnames=("generations", "replicates", "mixed"))
def _data_chain(spec, key, data, *, generations: int, replicates: int, mixed: bool):
    samples = data.shape[1]
    real = dot(data, data.T) / samples
    _, directions = eigen(real)

    def one(key):
        def generation(carry, key):
            points, second_moment = carry
            fitted = best_map(second_moment, spec)
            noise = jnp.sqrt(spec.resample_noise_var) * jax.random.normal(key, points.shape, points.dtype)
            points = dot(fitted, points + noise)
            synthetic = dot(points, points.T) / samples
            mix = spec.real_fraction * real + (1 - spec.real_fraction) * synthetic if mixed else synthetic
            return (points, mix), (fitted, points[:, :1])

        return jax.lax.scan(generation, (data, real), jax.random.split(key, generations + 1))[1]

    def gains(maps):
        return jnp.einsum("di,gde,ei->gi", directions, maps, directions, precision="highest")

    # the maps of one replicate are shown; those of the others would only take memory
    keys = replicate_keys(key, replicates)
    maps, made = one(keys[0])
    others = jax.lax.map(lambda key: gains(one(key)[0]), keys[1:])
    return jnp.concatenate([gains(maps)[None], others]), maps, made[:, :, 0]


def data_chain(spec: DAESpec, generations: int, replicates: int, key, *, data):
    """Retrain the linear denoiser on its own noisy output, starting from given points; chain-fed, full width.

    Args:
        spec: feed chain, regime replace, no rank, no weight decay; ``spectrum`` is not used (the data decide).
        generations, replicates: whole numbers >= 1; replicates differ in the generation noise only.
        key: random key.
        data: ``[d, n]`` centred points, columns are points [data units].

    Returns:
        ``(direction_gains, maps, made)``: a Trajectory ``[replicates, generations + 1, d]`` of ``u_i^T W u_i`` along
        the eigenvectors u_i of the data, strongest first; the maps W ``[generations + 1, d, d]`` of the first
        replicate; and what became of the first data point, ``[generations + 1, d]``, in that replicate.

    Raises:
        SpecError: another chain, or data of the wrong shape or not finite.

    >>> spec = DAESpec(spectrum=[1.0, 1.0])
    >>> gains, maps, made = data_chain(spec, 3, 2, jax.random.key(0), data=jnp.eye(2))
    >>> gains.values.shape, maps.shape, made.shape
    ((2, 4, 2), (4, 2, 2), (4, 2))
    """
    checked_spec(spec)
    generations, replicates = whole_number("generations", generations), whole_number("replicates", replicates)
    if np.ndim(data) != 2 or np.shape(data)[0] != spec.dimension or np.shape(data)[1] < 1:
        raise SpecError(f"data must have shape ({spec.dimension}, n), got {np.shape(data)}: columns are points.")
    if not np.isfinite(np.asarray(data)).all():
        raise SpecError("data must be finite, got NaN or infinity: drop or repair those points.")
    if spec.feed != "chain" or spec.regime != "replace" or spec.rank is not None:
        raise SpecError(f"spec must be chain-fed, replace, full width, got {spec.feed}, {spec.regime}, {spec.rank}.")
    data = jnp.asarray(data, spec.spectrum.dtype)
    values, maps, made = _data_chain(
        spec, key, data, generations=generations, replicates=replicates, mixed=may_mix(spec)
    )
    floor = float(jnp.finfo(values.dtype).eps) * (spec.dimension + 8 * (generations + 1))
    return Trajectory(values, floor, observable="direction_gains"), maps, made
