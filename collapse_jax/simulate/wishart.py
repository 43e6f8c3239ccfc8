"""Wishart factors with any number of degrees of freedom, and second moments of noisy blocks of points.

A block X [d, n] enters a linear Gaussian chain only through X X^T and through what fresh noise adds to it. Both are
drawn here as d x d factors, at a cost that does not depend on n; n may be traced.
"""

import jax
import jax.numpy as jnp

from collapse_jax.errors import SpecError


def dot(left, right):
    """Matrix product in full precision (accelerators otherwise round float32 factors to fewer bits)."""
    return jnp.matmul(left, right, precision="highest")


def after(value, *others):
    """``value``, but not before ``others`` (finite arrays) are known.

    XLA's CPU runtime spreads a batched decomposition over the very threads that run it, and waits: as many independent
    decompositions at once as there are threads never end. So at most one may be ready at a time.

    >>> float(after(jnp.asarray(2.0), jnp.ones(3)))
    2.0
    """
    return value + sum(0 * jnp.sum(other) for other in others)


def eigen(matrix):
    """Eigenvalues (descending, rounding below zero clipped) and eigenvectors of a positive semidefinite ``[d, d]``.

    Only the lower triangle is read.

    >>> values, vectors = eigen(jnp.diag(jnp.array([1.0, 4.0])))
    >>> [float(value) for value in values]
    [4.0, 1.0]
    """
    if matrix.shape[-1] == 1:
        return jnp.maximum(matrix[:, 0], 0), jnp.ones_like(matrix)
    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
    return jnp.maximum(values[::-1], 0), vectors[:, ::-1]


def bartlett(key, dimension: int, freedom, dtype=None):
    """Lower-trapezoidal T ``[d, d]`` with T T^T ~ Wishart_d(identity, m), for every whole number m >= 0.

    T is the L of L Q = G with G ``[d, m]`` iid normal: T_ii^2 ~ chi^2(m - i) for i < m, T_ij ~ N(0, 1) for i > j, and
    columns from m on are zero (m < d gives the singular Wishart law of rank m).

    Args:
        key: random key.
        dimension: d >= 1, static.
        freedom: m, a scalar of the dtype wanted; may be traced.
        dtype: of the result; that of ``freedom`` if None.

    Raises:
        SpecError: ``dimension`` below 1.

    >>> factor = bartlett(jax.random.key(0), 3, jnp.asarray(1.0))
    >>> int(jnp.linalg.matrix_rank(factor))
    1
    """
    if dimension < 1:
        raise SpecError(f"dimension must be at least 1, got {dimension}.")
    dtype = jnp.result_type(freedom) if dtype is None else dtype
    diagonal_key, below_key = jax.random.split(key)
    left = jnp.asarray(freedom, dtype) - jnp.arange(dimension, dtype=dtype)
    alive = left > 0
    # gamma and not chisquare: the latter goes through a logarithm, which in float32 costs digits at large m
    squares = 2 * jax.random.gamma(diagonal_key, jnp.where(alive, left / 2, 1), dtype=dtype)
    below = jnp.tril(jax.random.normal(below_key, (dimension, dimension), dtype), -1)
    return jnp.where(alive[None, :], below + jnp.diag(jnp.sqrt(squares)), 0)


def noise_factors(key, dimension: int, samples, dtype):
    """What n iid N(0, I) columns look like beside n given points: ``(along, across)``, both ``[d, d]``.

    Let X = sqrt(n) F Q with Q ``[r, n]`` of orthonormal rows, r = min(d, n). Of noise E ``[d, n]`` only Z = E Q^T (iid
    normal, ``along``, its first r columns) meets X; the rest is independent of it with E (I - Q^T Q) E^T ~
    Wishart_d(n - r) = T T^T (``across``). So X E^T = sqrt(n) F Z^T and E E^T = Z Z^T + T T^T, exactly, for n >= 1.
    """
    along_key, across_key = jax.random.split(key)
    seen = jnp.arange(dimension, dtype=dtype) < samples
    along = jnp.where(seen[None, :], jax.random.normal(along_key, (dimension, dimension), dtype), 0)
    return along, bartlett(across_key, dimension, jnp.maximum(samples - dimension, 0), dtype)


def noisy_root(key, root, noise_std, samples):
    """Factor ``[d, 2d]`` of (X + E)(X + E)^T / n; ``root`` [d, d]: root of the second moment of X, n points.

    E is iid of standard deviation ``noise_std``. With n < d only the first n columns of ``root`` may differ from zero.
    """
    along, across = noise_factors(key, root.shape[0], samples, root.dtype)
    scale = noise_std / jnp.sqrt(samples)
    return jnp.concatenate([root + scale * along, scale * across], axis=1)


def square_root(factor, samples):
    """A ``[d, d]`` root with the same second moment as a ``[d, 2d]`` factor from ``noisy_root`` (times a matrix).

    A QR decomposition, four times cheaper than a second eigendecomposition. With n < d the second half is zero and
    the first half is the root, with its first n columns alone.
    """
    dimension = factor.shape[0]
    if dimension == 1:
        return jnp.sqrt(dot(factor, factor.T))
    triangle = jnp.linalg.qr(factor.T, mode="r")
    return jnp.where(samples < dimension, factor[:, :dimension], triangle.T)
