"""Gaussian mixtures in any dimension: the laws that truncated diffusion starts from and produces.

A mixture ``sum_k w_k N(m_k, C_k)`` is closed under what a round of retraining does to a law: mixing with another one,
and ``X -> scale X + sqrt(noise_var) Z`` with Z standard normal, which takes m_k to ``scale m_k`` and C_k to
``scale^2 C_k + noise_var I``. So every law of such a chain, after any number of rounds and in the limit, is again a
``Mixture``. Components whose covariance is a multiple of the identity keep one variance each, so that a mixture of
many thousands of points smoothed by noise stays small in any dimension.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import as_float, check, concrete, parameter, pytree

_BATCH = 2**22  # numbers that a density holds at a time


@pytree
@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture.

    Attributes:
        weights: ``[K]``, >= 0, sum 1.
        means: ``[K, d]`` [data units]; ``[K]`` or any list of K * d numbers, component by component, is taken for it.
        covariances: ``[K]`` variances of isotropic components, or ``[K, d, d]``, positive definite [data units^2]; a
            flat list of K * d * d numbers is taken for the latter. Zero variances are allowed in ``[K]``: points.

    Raises:
        SpecError: sizes do not fit, weights are negative or do not sum to one, a covariance is not symmetric positive
            definite, or a value is not finite.

    >>> law = Mixture([0.5, 0.5], [-1.0, 1.0], [0.04, 0.09])
    >>> law.dimension, law.mean.tolist()
    (1, [0.0])
    """

    weights: Any = parameter("weights of the components, sum 1", range=">= 0", type=list)
    means: Any = parameter("means, component by component [data]", type=list)
    covariances: Any = parameter("variances, or full covariances row by row [data^2]", range="> 0", type=list)

    def __post_init__(self):
        weights = as_float("weights", self.weights)
        means = as_float("means", self.means, weights.dtype)
        covariances = as_float("covariances", self.covariances, weights.dtype)
        count = weights.shape[0] if weights.ndim == 1 else 0
        if count == 0:
            raise SpecError(f"weights must be a list of at least one weight, got shape {weights.shape}.")
        if means.ndim > 2 or means.size == 0 or means.size % count or (means.ndim == 2 and means.shape[0] != count):
            raise SpecError(f"means must hold {count} points, one for each weight, got shape {means.shape}.")
        means = means.reshape(count, means.size // count)
        dimension = means.shape[1]
        if covariances.size == count:
            covariances = covariances.reshape(count)
        elif covariances.size == count * dimension**2:
            covariances = covariances.reshape(count, dimension, dimension)
        else:
            raise SpecError(
                f"covariances must hold {count} variances or {count} matrices {dimension} x {dimension}, "
                f"got shape {covariances.shape}."
            )
        for name, value in (("weights", weights), ("means", means), ("covariances", covariances)):
            object.__setattr__(self, name, value)
            check(name, value, np.isfinite, "finite")
        check("weights", weights, lambda v: v >= 0, ">= 0")
        check("weights", weights, lambda v: abs(v.sum(dtype=float) - 1) <= 1e-6, "a list with sum 1")
        if covariances.ndim == 1:
            check("covariances", covariances, lambda v: v >= 0, "positive (zero: a point)")
        elif concrete(covariances):
            _require_positive_definite(np.asarray(covariances, float))

    @property
    def dimension(self) -> int:
        """d."""
        return self.means.shape[-1]

    @property
    def isotropic(self) -> bool:
        """Whether each component has one variance for all directions."""
        return self.covariances.ndim == 1

    @property
    def mean(self):
        """``[d]``, the mean of the law."""
        return self.weights @ self.means

    @property
    def covariance(self):
        """``[d, d]``, the covariance of the law."""
        centred = self.means - self.mean[None]
        between = (centred * self.weights[:, None]).T @ centred
        if self.isotropic:
            return between + (self.weights @ self.covariances) * jnp.eye(self.dimension, dtype=between.dtype)
        return between + jnp.einsum("k,kij->ij", self.weights, self.covariances)

    def smooth(self, scale, noise_var) -> "Mixture":
        """Law of ``scale X + sqrt(noise_var) Z``."""
        spread = self.covariances * scale**2
        if self.isotropic:
            spread = spread + noise_var
        else:
            spread = spread + noise_var * jnp.eye(self.dimension, dtype=spread.dtype)[None]
        return _unchecked(self.weights, self.means * scale, spread)

    def project(self, direction) -> "Mixture":
        """One-dimensional law of ``direction . X``; ``direction`` ``[d]``."""
        if self.isotropic:
            spread = self.covariances * (direction @ direction)
        else:
            spread = jnp.einsum("i,kij,j->k", direction, self.covariances, direction)
        return _unchecked(self.weights, (self.means @ direction)[:, None], spread)

    def log_density(self, x):
        """Logarithm of the density at ``x`` ``[..., d]``; ``[...]``. A point (variance 0) has none: not finite."""
        flat = x.reshape(-1, self.dimension)
        batch = max(1, _BATCH // self.means.size)
        values = jax.lax.map(self._log_density, flat, batch_size=min(batch, max(1, len(flat))))
        return values.reshape(x.shape[:-1])

    def score(self, x):
        """Gradient of the log-density at ``x`` ``[..., d]``; same shape."""
        flat = x.reshape(-1, self.dimension)
        batch = max(1, _BATCH // (4 * self.means.size))
        values = jax.lax.map(jax.grad(self._log_density), flat, batch_size=min(batch, max(1, len(flat))))
        return values.reshape(x.shape)

    def _log_density(self, x):
        """At one point ``[d]``."""
        off = x[None] - self.means
        logs = jnp.log(self.weights) - self.dimension / 2 * float(np.log(2 * np.pi))
        if self.isotropic:
            logs = logs - self.dimension / 2 * jnp.log(self.covariances)
            return jax.nn.logsumexp(logs - jnp.sum(off**2, axis=1) / (2 * self.covariances))
        root = jnp.linalg.cholesky(self.covariances)
        unit = jax.scipy.linalg.solve_triangular(root, off[..., None], lower=True)[..., 0]
        logs = logs - jnp.sum(jnp.log(jnp.diagonal(root, axis1=1, axis2=2)), axis=1)
        return jax.nn.logsumexp(logs - jnp.sum(unit**2, axis=1) / 2)

    def cdf(self, x):
        """Distribution function at ``x`` ``[...]`` of a one-dimensional mixture; a point counts as a step.

        Raises:
            SpecError: more than one dimension.
        """
        if self.dimension != 1:
            raise SpecError(f"cdf needs a law in one dimension, got {self.dimension}: take project(direction) first.")
        spread = jnp.sqrt(self.covariances)[None]
        x = jnp.asarray(x, spread.dtype)
        off = x.reshape(-1, 1) - self.means[:, 0][None]
        steps = jnp.where(off < 0, 0.0, 1.0).astype(off.dtype)
        smooth = jax.scipy.special.ndtr(off / jnp.where(spread > 0, spread, 1))
        return (jnp.where(spread > 0, smooth, steps) @ self.weights).reshape(x.shape)

    def sample(self, key, count: int):
        """``[count, d]`` independent points."""
        chosen, normal = jax.random.split(key)
        # by inversion: exact also where tens of thousands of components would make a table of Gumbels
        edges = jnp.cumsum(self.weights)
        uniform = jax.random.uniform(chosen, (count,), edges.dtype) * edges[-1]
        which = jnp.minimum(jnp.searchsorted(edges, uniform, side="right"), len(edges) - 1)
        noise = jax.random.normal(normal, (count, self.dimension), self.means.dtype)
        if self.isotropic:
            return self.means[which] + jnp.sqrt(self.covariances)[which][:, None] * noise
        root = jnp.linalg.cholesky(self.covariances)
        return self.means[which] + jnp.einsum("nij,nj->ni", root[which], noise)


def points(data) -> Mixture:
    """The empirical law of points ``[n, d]`` (or ``[n]``): a mixture of components without spread.

    >>> points([0.0, 2.0]).mean.tolist()
    [1.0]
    """
    data = as_float("data", data)
    data = data[:, None] if data.ndim == 1 else data
    if data.ndim != 2 or data.size == 0:
        raise SpecError(f"data must hold points [n, d], got shape {data.shape}.")
    weights = jnp.full(data.shape[0], 1 / data.shape[0], data.dtype)
    return Mixture(weights, data, jnp.zeros(data.shape[0], data.dtype))


def mix(weights, laws) -> Mixture:
    """The mixture of mixtures: ``weights`` ``[J]`` over ``laws``, all isotropic or all with full covariances.

    >>> mix([0.5, 0.5], [points([0.0]), points([1.0])]).weights.tolist()
    [0.5, 0.5]
    """
    laws = list(laws)
    full = not all(law.isotropic for law in laws)
    return _unchecked(
        jnp.concatenate([weight * law.weights for weight, law in zip(weights, laws, strict=True)]),
        jnp.concatenate([law.means for law in laws]),
        jnp.concatenate([full_covariances(law) if full else law.covariances for law in laws]),
    )


def full_covariances(law: Mixture):
    """``[K, d, d]``, also of isotropic components."""
    if not law.isotropic:
        return law.covariances
    return law.covariances[:, None, None] * jnp.eye(law.dimension, dtype=law.covariances.dtype)[None]


def _unchecked(weights, means, covariances) -> Mixture:
    """A mixture made from others: right by construction, and its arrays may be traced."""
    law = object.__new__(Mixture)
    for name, value in (("weights", weights), ("means", means), ("covariances", covariances)):
        object.__setattr__(law, name, value)
    return law


def _require_positive_definite(matrices: np.ndarray) -> None:
    if not np.allclose(matrices, matrices.swapaxes(1, 2), rtol=1e-5, atol=0):
        place = int(np.argmax(~np.isclose(matrices, matrices.swapaxes(1, 2), rtol=1e-5, atol=0).all(axis=(1, 2))))
        raise SpecError(f"covariances must be symmetric, got an asymmetric matrix for component {place}.")
    smallest = np.linalg.eigvalsh(matrices)[:, 0]
    if (smallest <= 0).any():
        place = int(np.argmin(smallest))
        raise SpecError(
            f"covariances must be positive definite, got smallest eigenvalue {smallest[place]:.3g} "
            f"for component {place}: drop the directions without spread or add to the diagonal."
        )
