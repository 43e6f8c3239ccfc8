"""What the results of rectified flow share: angles between z and x, times of the steps, gains of samplers.

Read z and x as vectors of lengths ``sqrt M_0``, ``sqrt M_1`` with the angle ``theta = arccos rho`` between them (the
inner product is the expectation). Then x_t walks along the straight line from z to x. The Euler step at t multiplies by
``1 + h v_t = E[x_t x_{t+h}] / E[x_t^2]``, the projection of the next vector on the present one: a ratio of lengths
times the cosine of the angle between them, and the angles add up to theta.

Functions of theta here are smooth in ``w = theta^2``, which is smooth in rho up to rho = 1 where theta itself is not.
"""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import RegimeError
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.reflow import ReflowSpec


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


def zero(value) -> bool:
    """True only if ``value`` is known now and is zero."""
    return concrete(value) and is_zero(value)


# theta^2 = 2 sum_n (2 x)^n / (n^2 binom(2 n, n)), x = 1 - cos theta; 9 terms reach rounding for x < 0.05
_SERIES = np.array([1.0, 1 / 12, 1 / 90, 1 / 560, 1 / 3150, 1 / 16632, 1 / 84084, 1 / 411840, 1 / 1969110])


def square_angle(correlation):
    """theta^2 of ``theta = arccos(correlation)``, smooth at 1.

    >>> [round(float(square_angle(jnp.asarray(v))), 5) for v in (1.0, 0.0)]
    [0.0, 2.4674]
    """
    x = 1 - correlation
    near = x < 0.05
    powers = sum(float(c) * (2 * jnp.where(near, x, 0)) ** (n + 1) for n, c in enumerate(_SERIES))
    return jnp.where(near, powers, jnp.arccos(jnp.where(near, 0, correlation)) ** 2)


def cos_root(w):
    """cos(sqrt w), smooth at 0."""
    near = w < 0.05
    small, large = jnp.where(near, w, 0), jnp.sqrt(jnp.where(near, 1, w))
    return jnp.where(
        near, 1 - small / 2 * (1 - small / 12 * (1 - small / 30 * (1 - small / 56 * (1 - small / 90)))), jnp.cos(large)
    )


def sinc_root(w):
    """sin(sqrt w) / sqrt w, smooth at 0."""
    near = w < 0.05
    small, large = jnp.where(near, w, 0), jnp.sqrt(jnp.where(near, 1, w))
    series = 1 - small / 6 * (1 - small / 20 * (1 - small / 42 * (1 - small / 72 * (1 - small / 110))))
    return jnp.where(near, series, jnp.sin(large) / large)


def last(values):
    """The same numbers with one axis more at the end."""
    return values[..., None]


def times(spec: ReflowSpec, first, second, correlation):
    """``[..., N + 1]``: times of the steps for pairs of moments M_0 = ``first``, M_1 = ``second``."""
    share = jnp.asarray(np.arange(spec.steps + 1) / spec.steps, second.dtype)
    shape = (*jnp.shape(second), spec.steps + 1)
    share = jnp.broadcast_to(share.reshape((1,) * (len(shape) - 1) + (-1,)), shape)
    if spec.grid == "uniform":
        return share
    w = last(square_angle(jnp.broadcast_to(correlation, jnp.shape(second))))
    before = share * sinc_root(w * share**2)
    after = last(jnp.sqrt(second / first)) * (1 - share) * sinc_root(w * (1 - share) ** 2)
    return before / (before + after)


def cosines(spec: ReflowSpec, first, second, correlation):
    """``[..., N]``: cosines of the angles between neighbouring x_t (RF-5)."""
    t = times(spec, first, second, correlation)
    if spec.steps == 1:  # from z to x at once
        return jnp.broadcast_to(correlation, jnp.shape(second))[..., None]
    # the part along z and the part across it, in units of the length of z
    size = last(jnp.sqrt(second / first))
    along = (1 - t) + t * size * last(jnp.broadcast_to(correlation, jnp.shape(second)))
    across_square = size**2 * last(jnp.broadcast_to(1 - correlation**2, jnp.shape(second)))
    square = along**2 + t**2 * across_square
    inner = along[..., :-1] * along[..., 1:] + t[..., :-1] * t[..., 1:] * across_square
    return inner / jnp.sqrt(square[..., :-1] * square[..., 1:])


def euler_gain(spec: ReflowSpec, first, second, correlation):
    """Endpoint gain of N Euler steps (RF-5)."""
    return jnp.sqrt(second / first) * jnp.prod(cosines(spec, first, second, correlation), axis=-1)


def euler_variance(spec: ReflowSpec, variance):
    """``A_N^2`` for independent coupling with noise of variance 1."""
    if spec.steps == 1:
        return 0 * variance
    if spec.grid == "equal-angle":
        return variance * np.cos(np.pi / 2 / spec.steps) ** (2 * spec.steps)
    # the lengths telescope: no root, so that nothing is lost as the variance goes to 0
    t = jnp.asarray(np.arange(spec.steps + 1) / spec.steps, variance.dtype)
    t = t.reshape((1,) * variance.ndim + (-1,))
    now, then = t[..., :-1], t[..., 1:]
    inner = (1 - now) * (1 - then) + now * then * last(variance)
    return jnp.prod(inner / ((1 - now) ** 2 + now**2 * last(variance)), axis=-1) ** 2


def path(step, start, generations: int):
    """``[generations + 1, ...]``: a state and its iterates."""

    def advance(state, _):
        state = step(state)
        return state, state

    _, states = jax.lax.scan(advance, start, None, length=generations)
    return jnp.concatenate([start[None], states])
