"""Gamma numbers and counts for whole arrays at once, exact in law.

``jax.random`` draws such numbers one after the other on a CPU. Here a proposal is made for all places, those that were
refused are gathered, and proposed for again until none is left: about 2.3 proposals a number, every one of them
vectorised. Gamma numbers are those of Marsaglia and Tsang (2000). Counts of mean below ``LOW`` are inverted by walking
up their distribution; others come from Hörmann's transformed rejection (1993; PTRS for Poisson, BTRS for binomial
numbers), their probabilities from Loader's saddle-point form, which cancels nothing: p(k) = exp(-D - s) with the
deviance D and the tail s of Stirling's series. Its error is below 1e-9 in all of the distribution at means above LOW.

Range. Trials and means up to 1e6 in float32 and 1e9 in float64 are held against the laws of SciPy; float32 rounds the
uniforms to 2^-24 and whole numbers above 2^24.
"""

from typing import Any

import jax
import jax.numpy as jnp

LOW = 16.0
"""Means below which a count is walked up to."""

LARGEST = {32: 10**6, 64: 10**9}
"""Most trials of a binomial number that were tried, by bits of the number type."""


def _until_accepted(key, propose, parameters):
    """Values ``[n]`` of ``propose(key, *parameters) -> (values, accepted)``, each the first that was accepted."""
    size = parameters[0].shape[0]
    few = size // 16 + 64
    key, *both = jax.random.split(key, 3)

    def propose_all(state, key):
        values, done = state
        more, good = propose(key, *parameters)
        return (jnp.where(done, values, more), done | good), None

    # a scan, so that the proposal is compiled once
    nothing = jnp.zeros_like(parameters[0]), jnp.zeros(size, bool)
    (values, done), _ = jax.lax.scan(propose_all, nothing, jnp.stack(both))

    def again(state):
        key, values, done = state
        key, this = jax.random.split(key)
        places = jnp.nonzero(~done, size=few, fill_value=size)[0]
        found, good = propose(this, *(parameter.at[places].get(mode="clip") for parameter in parameters))
        places = jnp.where(good, places, size)
        return key, values.at[places].set(found, mode="drop"), done.at[places].set(True, mode="drop")

    return jax.lax.while_loop(lambda state: ~jnp.all(state[2]), again, (key, values, done))[1]


def log1p_less(x):
    """log(1 + x) - x, without cancellation near 0."""
    near = jnp.abs(x) < 0.05
    small = jnp.where(near, x, 0)
    series = small**2 * (-1 / 2 + small * (1 / 3 + small * (-1 / 4 + small * (1 / 5 - small / 6))))
    far = jnp.where(near, 1, x)
    return jnp.where(near, series, jnp.log1p(far) - far)


def _propose_gamma(key, shape):
    normal_key, uniform_key = jax.random.split(key)
    scale = shape - 1 / 3
    y = jax.random.normal(normal_key, shape.shape, shape.dtype) / jnp.sqrt(9 * scale)
    positive = y > -1
    safe = jnp.where(positive, y, 0)
    # d (1 - v + ln v) + x^2/2 with v = (1 + y)^3 and x^2/2 = 9 d y^2/2, without cancellation
    gain = scale * (3 * log1p_less(safe) + 1.5 * safe**2 - safe**3)
    uniform = jax.random.uniform(uniform_key, shape.shape, shape.dtype)
    return scale * (1 + safe) ** 3, positive & (jnp.log1p(-uniform) < gain)


def gamma(key, shape):
    """Gamma numbers of scale 1; ``shape`` an array >= 0 (0 gives 0).

    >>> gamma(jax.random.key(0), jnp.array([0.0, 5.0]))[0].item()
    0.0
    """
    flat = jnp.ravel(shape)
    draw_key, power_key = jax.random.split(key)
    values = _until_accepted(draw_key, _propose_gamma, (jnp.where(flat < 1, flat + 1, flat),))
    uniform = jax.random.uniform(power_key, flat.shape, flat.dtype)
    power = jnp.where((flat < 1) & (flat > 0), 1 / jnp.where(flat > 0, flat, 1), 0)
    return jnp.where(flat > 0, values * (1 - uniform) ** power, 0).reshape(jnp.shape(shape))


def mean_gamma(key, shape, chains: int):
    """``[chains]`` gamma numbers divided by their mean; ``shape`` a number or an array, 1 where it is 0."""
    shape = jnp.broadcast_to(shape, (chains,))
    return jnp.where(shape > 0, gamma(key, shape) / jnp.where(shape > 0, shape, 1), 1)


def walk_up(uniform, first, ratio, most, mean: Any = 0.0):
    """Smallest k with uniform < P(0) + ... + P(k), from P(0) and P(k+1)/P(k); at most ``most``.

    Beyond the mean a chance that rounding of the sum could hide ends the walk.
    """
    least = jnp.finfo(uniform.dtype).eps / 1024

    def step(state):
        number, found, chance, left = state
        left = left - chance
        on = (left >= 0) & ((chance > least) | (number < mean))
        return number + 1, found + on.astype(found.dtype), chance * ratio(number), jnp.where(on, left, -1)

    start = jnp.zeros((), uniform.dtype), jnp.zeros_like(uniform), first, uniform
    return jax.lax.while_loop(lambda s: jnp.any(s[3] >= 0) & (s[0] < most), step, start)[1]


def _tail(k):
    """ln k! less Stirling's k ln k - k + ln(2 pi k)/2, for k >= 1."""
    inverse = 1 / k
    return inverse * (1 / 12 - inverse**2 * (1 / 360 - inverse**2 / 1260))


def _deviance(k, mean):
    """k ln(k / mean) - k + mean, for k > 0."""
    x = (k - mean) / mean
    return mean * (x**2 + (1 + x) * log1p_less(x))


def _hat(key, like, b, a, centre):
    """A proposal of the transformed rejection: k, the uniform v, the distance ``us`` to the ends of the other one."""
    first_key, second_key = jax.random.split(key)
    u = jax.random.uniform(first_key, like.shape, like.dtype) - 0.5
    v = 1 - jax.random.uniform(second_key, like.shape, like.dtype)
    us = jnp.maximum(0.5 - jnp.abs(u), jnp.finfo(like.dtype).tiny)
    return jnp.floor((2 * a / us + b) * u + centre), v, us


def _propose_poisson(key, mean):
    b = 0.931 + 2.53 * jnp.sqrt(mean)
    a = -0.059 + 0.02483 * b
    k, v, us = _hat(key, mean, b, a, mean + 0.43)
    inside = (k >= 0) & ((us >= 0.013) | (v <= us))
    safe = jnp.clip(k, 1, 1e9)
    log_chance = -_deviance(safe, mean) - 0.5 * jnp.log(2 * jnp.pi * safe) - _tail(safe)
    log_chance = jnp.where(k == 0, -mean, log_chance)
    under = jnp.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / us**2 + b)) <= log_chance
    return k, inside & under


def _propose_binomial(key, trials, p):
    mean = trials * p
    spread = jnp.sqrt(mean * (1 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    k, v, us = _hat(key, mean, b, a, mean + 0.5)
    log_top = _log_binomial(jnp.floor((trials + 1) * p), trials, p)
    chance = _log_binomial(k, trials, p) - log_top
    under = jnp.log(v * (2.83 + 5.1 / b) * spread / (a / us**2 + b)) <= chance
    return k, (k >= 0) & (k <= trials) & under


def _log_binomial(k, trials, p):
    """ln P(k), but for what does not depend on k."""
    known, rest = jnp.clip(k, 1, trials - 1), trials - jnp.clip(k, 1, trials - 1)
    deviance = _deviance(known, trials * p) + _deviance(rest, trials * (1 - p))
    inner = -deviance - 0.5 * jnp.log(known * (rest / trials)) - _tail(known) - _tail(rest)
    constant = 0.5 * jnp.log(2 * jnp.pi) - _tail(trials)
    ends = jnp.where(k <= 0, trials * jnp.log1p(-p), trials * jnp.log(p)) + constant
    return jnp.where((k <= 0) | (k >= trials), ends, inner)


def _low_or_high(key, low, high, mean, large):
    """``low(key)`` where the mean is small, ``high(key)`` elsewhere; neither is run where no place needs it."""
    low_key, high_key = jax.random.split(key)
    zeros = jnp.zeros_like(mean)
    walked = jax.lax.cond(jnp.all(large), lambda: zeros, lambda: low(low_key))
    return jnp.where(large, jax.lax.cond(jnp.any(large), lambda: high(high_key), lambda: zeros), walked)


def binomial(key, trials, chance):
    """Binomial numbers; ``trials`` (whole, >= 0) and ``chance`` in [0, 1] broadcast.

    >>> binomial(jax.random.key(0), jnp.array([0.0, 5.0, 7.0]), jnp.array([0.5, 1.0, 0.0])).tolist()
    [0.0, 5.0, 0.0]
    """
    trials, chance = jnp.broadcast_arrays(trials, chance)
    shape, trials, chance = trials.shape, trials.ravel(), chance.ravel()
    swapped = chance > 0.5
    p = jnp.clip(jnp.where(swapped, 1 - chance, chance), 0, 0.5)
    mean = trials * p
    large = mean >= LOW

    def low(key):
        here, few = jnp.where(large, 0, p), jnp.where(large, 0, trials)
        uniform, odds = jax.random.uniform(key, p.shape, p.dtype), here / (1 - here)
        first = jnp.exp(few * jnp.log1p(-here))
        found = walk_up(uniform, first, lambda k: jnp.maximum(few - k, 0) / (k + 1) * odds, jnp.max(few), mean)
        return jnp.minimum(found, few)

    def high(key):
        return _until_accepted(key, _propose_binomial, (jnp.where(large, trials, 64), jnp.where(large, p, 0.5)))

    found = _low_or_high(key, low, high, mean, large)
    return jnp.where(swapped, trials - found, found).reshape(shape)


def poisson(key, rate):
    """Poisson numbers; ``rate`` an array >= 0.

    >>> poisson(jax.random.key(0), jnp.zeros(2)).tolist()
    [0.0, 0.0]
    """
    shape, rate = rate.shape, rate.ravel()
    large = rate >= LOW

    def low(key):
        mean, uniform = jnp.where(large, 0, rate), jax.random.uniform(key, rate.shape, rate.dtype)
        return walk_up(uniform, jnp.exp(-mean), lambda k: mean / (k + 1), 10 * LOW, mean)

    def high(key):
        return _until_accepted(key, _propose_poisson, (jnp.where(large, rate, 64),))

    return _low_or_high(key, low, high, rate, large).reshape(shape)


def multinomial(key, trials, law):
    """Counts ``[..., K]`` of ``trials`` ``[...]`` tokens of the law ``[..., K]``; its sum does not matter.

    A row of binomials: of the tokens that are left, how many are the next one. The conditional chances are taken over
    sums from the end, so that they lie in [0, 1] whatever the rounding of a law that does not quite sum to 1.

    >>> counts = multinomial(jax.random.key(0), jnp.array([100.0]), jnp.array([[0.2, 0.0, 0.8]]))
    >>> float(counts.sum()), float(counts[0, 1])
    (100.0, 0.0)
    """
    first = jnp.moveaxis(law, -1, 0)
    rest = jnp.cumsum(first[::-1], axis=0)[::-1]
    chances = jnp.where(rest > 0, first / jnp.where(rest > 0, rest, 1), 0)

    def draw(left, inputs):
        key, chance = inputs
        count = binomial(key, left, jnp.clip(chance, 0, 1))
        return left - count, count

    left, counts = jax.lax.scan(draw, trials, (jax.random.split(key, len(first) - 1), chances[:-1]))
    # what is left belongs to the last token, or to the last possible one: after it nothing was left to draw
    return jnp.moveaxis(jnp.concatenate([counts, left[None]]), 0, -1)
