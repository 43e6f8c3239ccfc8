"""Exact counts: a round of n tokens from a law, at a cost that n does not raise.

A multinomial is a row of binomials: of the tokens that are left, how many are the next one. The conditional
probabilities are taken over sums from the end, so that they lie in [0, 1] whatever the rounding of a law that does not
quite sum to 1. Small binomials are inverted from one uniform number (three times faster than the rejection sampler of
``jax.random.binomial``, which takes the others). Drawing the origin of every token is drawing from the mixture: a round
of a contaminated source is one multinomial.

Range. float64: n up to 1e9 was held against the exact distribution (chi-square over quantiles); float32 rounds the
uniforms to 2^-24 and whole numbers above 2^24: n up to ``LARGEST`` was, and more is refused.
"""

import jax
import jax.numpy as jnp

SMALL = {32: 100, 64: 300}
"""Up to so many trials, by bits of the number type, ``(1 - p)^n`` does not underflow and inversion is the faster."""

LARGEST = {32: 10**6, 64: 10**9}
"""Most trials of a binomial, by bits of the number type."""


def _inverted(key, trials, chance):
    """Binomials by adding up probabilities from 0 until they pass a uniform number; ``chance`` at most 1/2."""
    uniform = jax.random.uniform(key, trials.shape, trials.dtype)
    odds = chance / (1 - chance)
    most = jnp.max(trials, initial=0)

    def going(carry):
        number, left, _, _ = carry
        return jnp.any(left >= 0) & (number < most)

    def step(carry):
        number, left, mass, count = carry
        left = left - mass
        count = count + (left >= 0).astype(count.dtype)
        return number + 1, left, mass * (odds * (trials - number)) * (1 / (number + 1)), count

    start = jnp.zeros((), trials.dtype), uniform, jnp.exp(trials * jnp.log1p(-chance)), jnp.zeros_like(trials)
    return jnp.minimum(jax.lax.while_loop(going, step, start)[3], trials)


def binomial(key, trials, chance):
    """Binomial counts, of the shape and type of ``trials``.

    Args:
        trials: whole numbers >= 0, at most ``LARGEST``.
        chance: in [0, 1], of the shape of ``trials``.

    >>> binomial(jax.random.key(0), jnp.array([0.0, 5.0, 5.0]), jnp.array([0.5, 0.0, 1.0])).tolist()
    [0.0, 0.0, 5.0]
    """
    likely = chance > 0.5
    rarer = jnp.where(likely, 1 - chance, chance)

    def rejected(key, trials, rarer):
        return jax.random.binomial(key, trials, rarer, dtype=trials.dtype)

    small = jnp.max(trials, initial=0) <= SMALL[jnp.finfo(trials.dtype).bits]
    count = jax.lax.cond(small, _inverted, rejected, key, trials, rarer)
    return jnp.where(likely, trials - count, count)


def multinomial(key, trials, law):
    """Counts ``[..., K]`` of ``trials`` ``[...]`` tokens of the law ``[..., K]``; its sum does not matter.

    >>> counts = multinomial(jax.random.key(0), jnp.array([100.0]), jnp.array([[0.2, 0.0, 0.8]]))
    >>> float(counts.sum()), float(counts[0, 1])
    (100.0, 0.0)
    """
    tokens = law.shape[-1]
    first = jnp.moveaxis(law, -1, 0)
    rest = jnp.cumsum(first[::-1], axis=0)[::-1]
    chances = jnp.where(rest > 0, first / jnp.where(rest > 0, rest, 1), 0)

    def draw(left, inputs):
        key, chance = inputs
        count = binomial(key, left, jnp.clip(chance, 0, 1))
        return left - count, count

    left, counts = jax.lax.scan(draw, trials, (jax.random.split(key, tokens - 1), chances[:-1]))
    # what is left belongs to the last token, or to the last possible one: after it nothing was left to draw
    return jnp.moveaxis(jnp.concatenate([counts, left[None]]), 0, -1)
