"""Affine recursions of contaminated training, in numbers that keep their digits.

All risks here follow ``A_t = b_t + c_t A_{t-1}`` with ``b_t, c_t >= 0``. Composition of such maps is associative, so a
path is a prefix scan: its rounding grows like the logarithm of the number of rounds. A factor c close to 1 keeps few
digits of what matters, ``1 - c``; so each map carries both, c where it is small and ``1 - c`` where that is:

    c = c_2 c_1,    1 - c = d_1 + d_2 - d_1 d_2,    b = b_2 + c_2 b_1,    d = 1 - c.

Every term is positive, nothing cancels, and derivatives exist at all limits (c = 0 included).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.errors import RegimeError
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.specs.ground import concrete


def covers(holds: bool, result: str, needs: str) -> None:
    """Refuse a spec that a result does not describe.

    Raises:
        RegimeError: names the result and what it needs.
    """
    if not holds:
        raise RegimeError(f"{result} {needs}")


def known(value, holds) -> bool:
    """False only if ``value`` is known now and ``holds`` fails for it somewhere."""
    return not concrete(value) or bool(np.all(holds(np.asarray(value))))


def is_zero(value) -> bool:
    """False only if ``value`` is known now and differs from zero."""
    return known(value, lambda v: v == 0)


def one_table(spec: ContaminationSpec, result: str) -> None:
    """Refuse contexts, parametric models and smoothing."""
    covers(spec.contexts is None, result, "describes one context; for many ask CON-16.")
    covers(spec.features is None, result, "describes a table of proportions; for a parametric model ask CON-17.")
    covers(is_zero(spec.smoothing), result, "describes unsmoothed proportions; with smoothing ask CON-18.")


def plain(spec: ContaminationSpec, result: str) -> None:
    """Refuse everything but the chain of CON-1: one table, replacement, fresh real tokens, fixed sizes."""
    one_table(spec, result)
    covers(spec.regime == "replace", result, "describes regime replace; for accumulate ask CON-11.")
    covers(spec.real == "fresh", result, "describes fresh real tokens; for an anchor ask CON-13.")
    covers(spec.size_law == "fixed", result, "describes sizes that are fixed; for random ones ask CON-16/random.")


def constant(spec: ContaminationSpec, result: str) -> None:
    """Refuse schedules."""
    flat = (
        spec.real_fraction.ndim == 0 and spec.size.ndim == 0 and is_zero(spec.real_power) and is_zero(spec.size_power)
    )
    covers(flat, result, "describes one real fraction and one size for all rounds; for schedules ask CON-1.")


def kept(lost, factor):
    """The factor c from the better of its two forms."""
    return jnp.where(lost < 0.5, 1 - lost, factor)


def compose(left, right):
    """The map ``right`` after ``left``; each is ``(1 - c, c, b)``."""
    (lost, factor, added), (lost_after, factor_after, added_after) = left, right
    c = kept(lost_after, factor_after)
    return lost + lost_after - lost * lost_after, kept(lost, factor) * c, added_after + c * added


def affine_path(lost, factor, added, start) -> Float[Array, " generations_plus_1"]:
    """``A_0 ... A_T`` of ``A_t = added_t + c_t A_{t-1}``; ``lost`` is ``1 - c``, ``factor`` is c, both ``[T]``."""
    start = jnp.asarray(start, added.dtype)
    if added.shape[0] == 0:
        return start[None]
    lost, factor, added = jax.lax.associative_scan(compose, (lost, factor, added))
    return jnp.concatenate([start[None], added + kept(lost, factor) * start])


def lost_path(lost) -> Float[Array, " generations"]:
    """``1 - prod (1 - lost)`` up to each round."""
    zero = jnp.zeros_like(lost)
    return jax.lax.associative_scan(compose, (lost, 1 - lost, zero))[0] if lost.shape[0] else lost


def forgotten(share):
    """1 - (1 - alpha)^2 = alpha (2 - alpha)."""
    return share * (2 - share)


def mixture_step(size, share):
    """One round of CON-1 as ``(1 - rho, rho, 1/n)``."""
    inverse = 1 / size
    rest = (size - 1) * inverse
    return inverse + rest * forgotten(share), rest * (1 - share) ** 2, inverse


def inverse_sizes(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """A_t of CON-1: the inverse of the effective sample size."""
    step = mixture_step(spec.sizes(generations), spec.shares(generations))
    return affine_path(*step, 1 / spec.start_size)


# nodes and weights of Gauss and Legendre on [0, 1]
_NODES, _WEIGHTS = (half / 2 for half in np.polynomial.legendre.leggauss(120))
_NODES = _NODES + 0.5
_REACH = 50.0  # e^-50 is nothing beside 1


def mean_reciprocal(size, share):
    """E[1/B; B >= 1] of a binomial B of ``size`` trials, each a success with probability ``share``.

    With q = 1 - share and W = -size log q it is the integral over w from 0 to W of
    ``e^-w (1 - e^-(W - w)) / (size (1 - e^-((W - w) / size)))``, smooth and positive: 120 nodes give it to rounding.

    >>> round(float(mean_reciprocal(jnp.asarray(2.0), jnp.asarray(0.5))), 6)  # 2 q p / 1 + p^2 / 2
    0.625
    """
    size, share = jnp.broadcast_arrays(jnp.asarray(size), jnp.asarray(share, jnp.asarray(size).dtype))
    everything = share >= 1
    whole = -size * jnp.log1p(-jnp.where(everything, 0.5, share))
    whole = jnp.where(everything, size * 1e6, whole)[..., None]
    places = (1,) * (size.ndim) + (-1,)
    nodes, weights = (jnp.asarray(values, size.dtype).reshape(places) for values in (_NODES, _WEIGHTS))
    reach = jnp.minimum(whole, _REACH)
    # W - w without cancellation near the end
    left = (whole - reach) + reach * (1 - nodes)
    below = -size[..., None] * jnp.expm1(-left / size[..., None])
    ratio = jnp.where(left > 0, -jnp.expm1(-left) / jnp.where(left > 0, below, 1), 1)
    return jnp.sum(weights * reach * jnp.exp(-reach * nodes) * ratio, axis=-1)
