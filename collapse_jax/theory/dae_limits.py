"""Where the chain with a real share ends: fixed points of the population recursion (DAE-13, DAE-14).

Pool-fed, ``y = a A + (1 - a) h_c(y)``. In the gain ``g = y/(1 + y)`` this is the cubic
``Q(g) = (1-a)(1-c) g^3 + (1-a) c g^2 - (1 + a A) g + a A`` on [0, 1], with ``Q(0) = a A >= 0 >= -a = Q(1)``, and a
round moves the gain up exactly where ``Q > 0``. So there is one crossing, or three: a stable one, an unstable border,
a stable one; the turning points of Q separate them. Bisection in the bounded variable cannot miss; Newton steps on
``r(y) = a (A - y) - (1 - a) (y - h_c(y))``, free of cancellation, give the last digits and the derivative.

Chain-fed, ``(2 - (1-a) c) y^2 + (1 - 2 a A) y - a A = 0`` in closed form: the lower root is stable, the upper one
(if positive) the border beyond which the chain grows without end.
"""

import jax
import jax.numpy as jnp

from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory.dae_recursion import fall, noise_ratio, passes, real_snr


def safe_sqrt(value):
    """Square root with value and gradient 0 at and below 0 (the true slope at 0 is infinite)."""
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1)), 0)


def _bisect(function, low, high, falling):
    """Crossing of ``function`` between ``low`` and ``high``; ``falling`` if it goes from + to -."""

    def halve(_, interval):
        low, high = interval
        middle = (low + high) / 2
        above = (function(middle) > 0) == falling
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    steps = 30 if jnp.finfo(low.dtype).bits == 32 else 60
    low, high = jax.lax.fori_loop(0, steps, halve, (low, high))
    return (low + high) / 2


def _polish(gain, real, ratio, share):
    """From an approximate gain to the SNR: Newton steps, the last one carrying the derivative (implicit function)."""
    gain = jnp.minimum(gain, 1 - jnp.finfo(gain.dtype).epsneg)
    snr = jax.lax.stop_gradient(gain / (1 - gain))

    def newton(snr, real, ratio, share):
        residual = share * (real - snr) - (1 - share) * fall(snr, ratio)
        slope = -share - (1 - share) * (1 + (2 * (2 - ratio) - 1) * snr) / (snr + 1) ** 3
        return snr - residual / jax.lax.stop_gradient(jnp.where(slope != 0, slope, 1))

    fixed = jax.lax.stop_gradient((real, ratio, share))
    for _ in range(4):
        snr = jnp.maximum(newton(snr, *fixed), 0)
    return newton(jax.lax.stop_gradient(snr), real, ratio, share)


def _pool_fixed_points(real, ratio, share):
    cubic, square, linear = (1 - share) * (1 - ratio), (1 - share) * ratio, 1 + share * real

    def moves(g):
        return ((cubic * g + square) * g - linear) * g + share * real

    zero, one = jnp.zeros_like(real), jnp.ones_like(real)
    # turning points of Q, wanted only where Q'' changes sign, that is for c > 1
    root = safe_sqrt(square**2 + 3 * cubic * linear)
    bend = jnp.where(cubic < 0, 3 * cubic, -1)
    least, most = (root - square) / bend, (-root - square) / bend
    least, most = jnp.clip(least, 0, 1), jnp.clip(most, 0, 1)
    three = (cubic < 0) & (root > 0) & (least < most) & (most < 1) & (moves(least) < 0) & (moves(most) > 0)
    lower = _bisect(moves, zero, jnp.where(three, least, one), True)
    border = _bisect(moves, jnp.where(three, least, zero), jnp.where(three, most, one), False)
    upper = _bisect(moves, jnp.where(three, most, zero), one, True)
    lower, border, upper = (_polish(g, real, ratio, share) for g in (lower, border, upper))
    endless = three & (share == 0)
    return lower, jnp.where(three, border, jnp.inf), jnp.where(endless, jnp.inf, jnp.where(three, upper, lower))


def _chain_fixed_points(real, ratio, share):
    square, linear, constant = 2 - (1 - share) * ratio, 1 - 2 * share * real, share * real
    discriminant = linear**2 + 4 * square * constant
    root = safe_sqrt(discriminant)
    real_roots = discriminant >= 0
    # the two ways to write each root: take the one that does not cancel
    apart = linear + root
    small = 2 * constant / jnp.where(apart > 0, apart, 1)
    large = (root - linear) / (2 * jnp.where(square > 0, square, 1))
    lower = jnp.where(linear > 0, small, jnp.where(square > 0, large, jnp.inf))
    lower = jnp.where(real_roots, lower, jnp.inf)
    bounded = real_roots & (linear > 0) & (square < 0)
    border = jnp.where(bounded, (linear + root) / (-2 * jnp.where(square < 0, square, -1)), jnp.inf)
    endless = (square < 0) | ((square == 0) & (linear <= 0))
    return lower, border, jnp.where(endless, jnp.inf, lower)


def fixed_points(spec: DAESpec):
    """Training SNR of every direction at (lower stable limit, unstable border, upper stable limit), each ``[d]``.

    A start below the border goes to the lower limit, one above it to the upper limit; ``inf`` marks a border that
    does not exist and an upper limit that is endless growth. Beyond the rank all of it is the real share itself.
    """
    real, ratio, share = real_snr(spec), noise_ratio(spec), spec.real_fraction
    solve = _chain_fixed_points if spec.feed == "chain" else _pool_fixed_points
    lower, border, upper = solve(real, ratio, share)
    inside, dead = passes(spec), share * real
    return jnp.where(inside, lower, dead), jnp.where(inside, border, jnp.inf), jnp.where(inside, upper, dead)
