"""Exact draws of gamma, binomial and Poisson numbers for whole arrays at once.

``jax.random`` draws gamma numbers one after the other on a CPU; here proposals are made for many at once, until the
last of them is accepted (Marsaglia and Tsang 2000). Binomial and Poisson numbers of small mean come from walking up
their distribution function, all entries in step; what that would underflow for is left to ``jax.random``.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

_TOGETHER = 4096  # gamma numbers that wait for each other
_RATE = 60.0  # means of Poisson numbers below which the distribution function is walked up


def _log1p_less(x):
    """log(1 + x) - x, without cancellation near 0."""
    near = jnp.abs(x) < 0.05
    small = jnp.where(near, x, 0)
    series = small**2 * (-1 / 2 + small * (1 / 3 + small * (-1 / 4 + small * (1 / 5 - small / 6))))
    far = jnp.where(near, 1, x)
    return jnp.where(near, series, jnp.log1p(far) - far)


def gamma(key, shape):
    """Gamma numbers of scale 1; ``shape`` an array >= 0 (0 gives 0).

    >>> gamma(jax.random.key(0), jnp.array([0.0, 5.0]))[0].item()
    0.0
    """
    flat = jnp.ravel(shape)
    small = flat < 1
    raised = jnp.where(small, flat + 1, flat)
    blocks = -(-flat.size // _TOGETHER)
    width = -(-flat.size // max(blocks, 1))
    padded = jnp.pad(raised, (0, blocks * width - flat.size), constant_values=1).reshape(blocks, width)
    block_key, power_key = jax.random.split(key)
    values = jax.lax.map(_block_of_gammas, (jax.random.split(block_key, blocks), padded)).ravel()[: flat.size]
    uniform = jax.random.uniform(power_key, flat.shape, flat.dtype)
    power = jnp.where(small & (flat > 0), 1 / jnp.where(flat > 0, flat, 1), 0)
    return jnp.where(flat > 0, values * (1 - uniform) ** power, 0).reshape(jnp.shape(shape))


def _block_of_gammas(inputs):
    """Gamma numbers of shapes >= 1, proposed together until all are accepted."""
    key, shape = inputs
    scale = shape - 1 / 3

    def again(state):
        key, values, done = state
        key, normal_key, uniform_key = jax.random.split(key, 3)
        y = jax.random.normal(normal_key, shape.shape, shape.dtype) / jnp.sqrt(9 * scale)
        positive = y > -1
        safe = jnp.where(positive, y, 0)
        # d (1 - v + ln v) + x^2/2 with v = (1 + y)^3 and x^2/2 = 9 d y^2/2, without cancellation
        gain = scale * (3 * _log1p_less(safe) + 1.5 * safe**2 - safe**3)
        uniform = jax.random.uniform(uniform_key, shape.shape, shape.dtype)
        good = positive & (jnp.log1p(-uniform) < gain)
        return key, jnp.where(done, values, scale * (1 + safe) ** 3), done | good

    start = key, jnp.zeros_like(shape), jnp.zeros(shape.shape, bool)
    return jax.lax.while_loop(lambda state: ~jnp.all(state[2]), again, start)[1]


def mean_gamma(key, shape, chains: int):
    """``[chains]`` gamma numbers divided by their mean; ``shape`` a number or an array, 1 where it is 0."""
    shape = jnp.broadcast_to(shape, (chains,))
    return jnp.where(shape > 0, gamma(key, shape) / jnp.where(shape > 0, shape, 1), 1)


def walkable(trials: float, dtype) -> bool:
    """Whether binomial numbers of so many trials can be walked to: the chance of 0 must not underflow."""
    return bool(trials * np.log(2) < -np.log(np.finfo(dtype).tiny) - 5)


def walk_up(uniform, first, ratio, most):
    """Smallest k with uniform < P(0) + ... + P(k), from P(0) and P(k+1)/P(k); at most ``most``."""

    def step(state):
        number, found, chance, left = state
        left = left - chance
        return number + 1, found + (left >= 0).astype(found.dtype), chance * ratio(number), left

    start = jnp.zeros((), uniform.dtype), jnp.zeros_like(uniform), first, uniform
    return jax.lax.while_loop(lambda s: jnp.any(s[3] >= s[2]) & (s[0] < most), step, start)[1]


def binomial(key, trials, chance, *, walk: bool = True):
    """Binomial numbers; ``trials`` (whole, >= 0) and ``chance`` in [0, 1] broadcast.

    ``walk`` False where trials may be many (``walkable``).

    >>> binomial(jax.random.key(0), jnp.array([0.0, 5.0, 7.0]), jnp.array([0.5, 1.0, 0.0])).tolist()
    [0.0, 5.0, 0.0]
    """
    trials, chance = jnp.broadcast_arrays(trials, chance)
    swapped = chance > 0.5
    p = jnp.clip(jnp.where(swapped, 1 - chance, chance), 0, 0.5)
    if walk:
        odds = p / (1 - p)
        uniform = jax.random.uniform(key, p.shape, p.dtype)
        first = jnp.exp(trials * jnp.log1p(-p))
        found = walk_up(uniform, first, lambda k: jnp.maximum(trials - k, 0) / (k + 1) * odds, jnp.max(trials))
        found = jnp.minimum(found, trials)
    else:
        found = jax.random.binomial(key, trials, p, dtype=p.dtype)
    return jnp.where(swapped, trials - found, found)


def poisson(key, rate):
    """Poisson numbers; ``rate`` an array >= 0.

    >>> poisson(jax.random.key(0), jnp.zeros(2)).tolist()
    [0.0, 0.0]
    """
    large = rate >= _RATE
    low_key, high_key = jax.random.split(key)
    mean = jnp.where(large, 0, rate)
    uniform = jax.random.uniform(low_key, rate.shape, rate.dtype)
    low = walk_up(uniform, jnp.exp(-mean), lambda k: mean / (k + 1), 4 * _RATE)
    drawn = partial(jax.random.poisson, high_key, jnp.where(large, rate, 1), rate.shape)
    high = jax.lax.cond(jnp.any(large), lambda: drawn().astype(rate.dtype), lambda: jnp.zeros_like(rate))
    return jnp.where(large, high, low)
