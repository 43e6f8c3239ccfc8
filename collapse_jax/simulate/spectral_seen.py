"""What is read off a cloud of particles, and how small a difference of it is rounding.

Resolution. A state is known to eps relative to itself however many rounds made it (each round shrinks old errors), so
a mean of he_m(x) is known to about eps sqrt(m) times the spread of x he_{m-1}; evaluating the recurrence costs eps a
step, and a sum over n points in blocks a few eps sqrt(n). All of that is 8 (m + 1) eps times the larger of the spreads
of he_m on the data and on the reference, times sqrt(log n). In float32 the normals moreover end at 5.2 (their uniforms
have 23 bits), which takes about 1.2e-7 he_m(5.2) from the mean of he_m.

Order 0 is 1 by definition. It proves nothing, so its resolution is infinite: it counts as not measured.
"""

import jax.numpy as jnp
import numpy as np

from collapse_jax.metrics.hermite import basis, columns
from collapse_jax.specs.spectral import FREQUENCIES, PROBES, SpectralSpec

_END = 5.2  # normals of float32 end here
_BEYOND = 1.2e-7


def along(points, spec: SpectralSpec):
    """Scalar observables are of this projection: ``[d, ...]`` to ``[...]``."""
    if spec.dimension == 1:
        return points[0] * spec.axis[0]
    return jnp.einsum("i...,i->...", points, spec.axis, precision="highest")


def look(points, spec: SpectralSpec, *, waves: bool = False) -> dict:
    """Means over the particles of a block ``[d, r, n]``.

    Returns:
        ``modes`` [r, order + 1], ``cdf`` [r, probes], ``mean`` [r, d], ``second_moment`` [r, d, d], and with ``waves``
        ``waves`` [r, frequencies, 2], cosine and sine.
    """
    line = along(points, spec)
    count = points.shape[-1]
    below = [jnp.mean((line <= probe).astype(line.dtype), axis=-1) for probe in PROBES]
    second = jnp.einsum("irn,jrn->rij", points, points, precision="highest")
    seen = {
        "modes": modes_of(line, spec),
        "cdf": jnp.stack(below, axis=-1),
        "mean": jnp.mean(points, axis=-1).T,
        "second_moment": second / count,
    }
    if waves:
        turns = [
            jnp.stack([jnp.mean(jnp.cos(line * w), axis=-1), jnp.mean(jnp.sin(line * w), axis=-1)], axis=-1)
            for w in FREQUENCIES
        ]
        seen["waves"] = jnp.stack(turns, axis=-2)
    return seen


def modes_of(line, spec: SpectralSpec):
    """Means of he_0 ... he_order over the last axis of projections ``[..., n]``; ``[..., order + 1]``."""
    unit = line / jnp.sqrt(spec.reference_var)
    return jnp.stack([jnp.mean(column, axis=-1) for column in columns(unit, spec.order)], axis=-1)


def spread_of(points, spec: SpectralSpec):
    """Mean of the squares of he_0 ... he_order over a block ``[d, r, n]``: ``[r, order + 1]``."""
    unit = along(points, spec) / jnp.sqrt(spec.reference_var)
    return jnp.stack([jnp.mean(column**2, axis=-1) for column in columns(unit, spec.order)], axis=-1)


def modes_resolution(squares, count: int) -> np.ndarray:
    """Absolute resolution of coefficients ``[order + 1]`` from ``spread_of`` ``[replicates, order + 1]``."""
    squares = np.asarray(squares)
    dtype, order = squares.dtype, squares.shape[-1] - 1
    size = np.sqrt(np.maximum(squares.max(axis=0), 1))
    floor = 8 * (1 + np.arange(order + 1)) * np.finfo(dtype).eps * size * np.sqrt(1 + np.log(count))
    if dtype == np.float32:
        floor = floor + _BEYOND * np.abs(np.asarray(basis(jnp.asarray(_END, jnp.float32), order)))
    floor[0] = np.inf
    return floor.astype(dtype)


def rounding(values, count: int):
    """Absolute resolution of plain means: 8 eps of the largest value, times sqrt(1 + log count)."""
    eps = float(jnp.finfo(values.dtype).eps)
    return 8 * eps * float(np.sqrt(1 + np.log(count))) * jnp.max(jnp.abs(values))
