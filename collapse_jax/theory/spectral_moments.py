"""Moments and covariance spectra of truncated diffusion chains, in any dimension (SP-7, SP-16).

A projection on a unit vector is a chain of the same kind, so that first moments carry ``G_1`` and second moments,
beside the identity, ``G_2``, in every direction alike: white data stay white and covariance eigenvalues below 1 are
raised. Models that end with a denoising step do the opposite. Everything here was derived for this project.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory.spectral import SAMPLES, SPACE
from collapse_jax.theory.spectral_rounds import (
    covers,
    gain,
    known_nonzero,
    require_constant,
    restoring,
)

CENTRED = {
    "weights": (0.5, 0.5),
    "means": (1.0, 0.0, 0.0, -1.0, 0.0, 0.0),
    "covariances": (0.3, 0.1, 0.0, 0.1, 0.6, 0.0, 0.0, 0.0, 0.2) * 2,
    "real_fraction": 0.4,
    "truncation": 0.1,
}
GAUSSIAN = {
    "weights": (1.0,),
    "means": (0.5, 0.0, -1.0),
    "covariances": (2.0, 0.3, 0.0, 0.3, 1.0, 0.1, 0.0, 0.1, 0.4),
    "real_fraction": 0.0,
    "truncation": 0.05,
}


@register(
    "SP-7",
    statement="Second moments end at E X X^T - I = G_2 (E* X X^T - I), in every direction alike.",
    kind="exact",
    observable="limit_second_moment",
    check="second moment of particles in three dimensions run to the limit",
    example=SPACE,
    samples=4 * SAMPLES,
)
def limit_second_moment(spec: SpectralSpec) -> Float[Array, "d d"]:
    """Second moment (about 0) of the generated limit.

    Formula: ``(1 - G_2) v I + G_2 E* X X^T``, v the variance of the reference law (1 for vp). SP-7 (derived), exact, in
    any dimension: white data stay white.

    Returns:
        Prediction of ``limit_second_moment``, ``[d, d]`` in data^2.

    Raises:
        RegimeError: as for ``limit_modes``.

    >>> spec = SpectralSpec([1.0], [[0.0, 0.0]], [1.0])
    >>> limit_second_moment(spec).values.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    second = gain(2, spec)
    data = spec.data
    raw = data.covariance + data.mean[:, None] * data.mean[None]
    lost = -jnp.expm1(2 * spec.log_scale) / restoring(2, spec)
    return lost * spec.reference_var * jnp.eye(spec.dimension, dtype=raw.dtype) + second * raw


@register(
    "SP-7/mean",
    statement="The mean ends at G_1 times that of the data.",
    kind="exact",
    observable="limit_mean",
    check="mean of particles in three dimensions run to the limit",
    example=SPACE,
    samples=4 * SAMPLES,
)
def limit_mean(spec: SpectralSpec) -> Float[Array, " d"]:
    """Mean of the generated limit: ``G_1 E* X``. SP-7 (derived), exact.

    Returns:
        Prediction of ``limit_mean``, ``[d]`` in data units.

    Raises:
        RegimeError: as for ``limit_modes``.

    >>> spec = SpectralSpec([1.0], [[1.0, 2.0]], [1.0], real_fraction=0.1, truncation=0.05)
    >>> [round(float(entry), 4) for entry in limit_mean(spec).values]
    [0.6611, 1.3221]
    """
    return gain(1, spec) * spec.data.mean


def _centred(spec: SpectralSpec, result: str) -> None:
    if concrete(spec.means) and concrete(spec.weights):
        off = float(np.abs(np.asarray(spec.weights, float) @ np.asarray(spec.means, float)).max())
        covers(off <= 1e-5, result, f"needs centred data, not a mean of size {off:.3g}: subtract it, or ask SP-7.")


@register(
    "SP-16",
    statement="Raw output: covariance eigenvalues end at 1 + G_2 (l - 1); small ones are raised.",
    kind="exact",
    observable="limit_covariance_spectrum",
    check="eigenvalues of the covariance of particles in three dimensions run to the limit",
    example=CENTRED,
    samples=4 * SAMPLES,
)
def limit_covariance_spectrum(spec: SpectralSpec) -> Float[Array, " d"]:
    """Eigenvalues of the covariance of the raw (still noisy) generated limit, largest first.

    Formula: ``(1 - G_2) v + G_2 l``, l those of the centred data, v the variance of the reference law (1 for vp): a
    floor ``1 - G_2``. SP-16 (derived), exact in any dimension.

    Returns:
        Prediction of ``limit_covariance_spectrum``, ``[d]`` in data^2.

    Raises:
        RegimeError: data that are not centred, process ve, a schedule, regime accumulate, or no limit.

    >>> spec = SpectralSpec([1.0], [[0.0, 0.0]], [1.0])
    >>> limit_covariance_spectrum(spec).values.tolist()
    [1.0, 1.0]
    """
    _centred(spec, "SP-16")
    second = gain(2, spec)
    lost = -jnp.expm1(2 * spec.log_scale) / restoring(2, spec)
    return lost * spec.reference_var + second * jnp.linalg.eigvalsh(spec.data.covariance)[::-1]


@register(
    "SP-16/denoised",
    statement="Denoised output of Gaussian data without real share: l' = l^2/(l + s^2), s^2 = (1 - a^2)/a^2.",
    kind="exact",
    observable="denoised_spectrum",
    check="eigenvalues of the covariance, a linear posterior-mean step fitted to each block, n -> infinity",
    example=GAUSSIAN,
    generations=10,
)
def denoised_spectrum(spec: SpectralSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Covariance eigenvalues when every output ends with one posterior-mean step from t_0, Gaussian data.

    Formula: ``l' = l^2/(l + s^2)``, ``s^2 = (1 - a^2)/a^2``: the map of the denoising autoencoder with equal noise
    (DAE-5 at c = 1). SP-16 (derived), exact in the population at alpha = 0. Falls to order s^2 in about
    ``l/s^2 + log(l/s^2)`` rounds, then doubly exponentially.

    Args:
        spec: one component, real_fraction 0, process vp, one truncation, regime replace.

    Returns:
        Prediction of ``denoised_spectrum``, ``[generations + 1, d]`` in data^2, largest first.

    Raises:
        RegimeError: the data are not one Gaussian, a real share, another process, a schedule, accumulation.

    >>> spec = SpectralSpec(**GAUSSIAN | {"truncation": 0.0})
    >>> bool(jnp.allclose(denoised_spectrum(spec, 3).values[3], denoised_spectrum(spec, 3).values[0]))
    True
    """
    require_constant(spec, "SP-16/denoised")
    covers(spec.process == "vp", "SP-16/denoised", "describes process vp.")
    covers(not known_nonzero(spec.real_fraction), "SP-16/denoised", "describes real_fraction 0; raw output: SP-16.")
    covers(spec.weights.shape == (1,), "SP-16/denoised", "describes one Gaussian; for mixtures, raw output: SP-16.")
    noise = jnp.expm1(-2 * spec.log_scale)
    start = jnp.linalg.eigvalsh(spec.data.covariance)[::-1]

    def step(carry, _):
        level, carried = carry
        total = level + noise
        safe = jnp.where(total > 0, total, 1)
        change = carried - level * (noise / safe)
        slow, fallen = level > noise, level + change  # a compensated sum while a round takes little off
        after = jnp.where(slow, fallen, level * (level / safe))
        return (after, jnp.where(slow, change - (fallen - level), 0)), after

    _, path = jax.lax.scan(step, (start, jnp.zeros_like(start)), length=generations)
    return jnp.concatenate([start[None], path])
