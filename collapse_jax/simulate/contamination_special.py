"""Measurements that need more than one chain: models of the real tokens alone, and sizes at which risks cross."""

from functools import partial

import jax
import jax.numpy as jnp

from collapse_jax.simulate.contamination_chain import advance, start
from collapse_jax.simulate.draws import binomial, multinomial
from collapse_jax.specs.contamination import ContaminationSpec

GRID = (1.0, 2.0, 4.0, 8.0)
"""Sizes at which risks are compared, in units of the first (or effective) size: the crossing is looked for between."""


@partial(jax.jit, static_argnames=("generations", "replicates", "chains"))
def real_tokens(spec: ContaminationSpec, key, *, generations: int, replicates: int, chains: int) -> dict:
    """Risks of a model of the real tokens of its round (over the chains that have some), and of all real tokens so far.

    Returns:
        ``filter_risk`` and ``pool_risk``, ``[replicates, generations + 1]``.
    """
    law = jnp.broadcast_to(spec.truth[None], (chains, spec.tokens))

    def risk(counts, number):
        off = counts / jnp.where(number > 0, number, 1)[:, None] - spec.truth[None]
        return jnp.where(number > 0, jnp.sum(off * off, axis=-1), 0)

    def one(key):
        first_key, rounds_key = jax.random.split(key)
        first = jnp.broadcast_to(spec.start_size, (chains,))
        counts = multinomial(first_key, first, law)

        def step(pool, inputs):
            key, share, size = inputs
            origin_key, token_key = jax.random.split(key)
            number = binomial(origin_key, jnp.broadcast_to(size, (chains,)), jnp.broadcast_to(share, (chains,)))
            fresh = multinomial(token_key, number, law)
            pool = (pool[0] + fresh, pool[1] + number)
            some = jnp.sum((number > 0).astype(number.dtype))
            return pool, (jnp.sum(risk(fresh, number)) / some, jnp.mean(risk(*pool)))

        inputs = jax.random.split(rounds_key, generations), spec.shares(generations), spec.sizes(generations)
        _, (filtered, pooled) = jax.lax.scan(step, (counts, first), inputs)
        start_risk = jnp.mean(risk(counts, first))[None]
        return jnp.concatenate([start_risk, filtered]), jnp.concatenate([start_risk, pooled])

    filtered, pooled = jax.lax.map(one, jax.random.split(key, replicates))
    return {"filter_risk": filtered, "pool_risk": pooled}


def _mean_risk(spec: ContaminationSpec, state):
    off = state.law[:, 0] - spec.truth[None]
    return jnp.mean(jnp.sum(off * off, axis=-1))


def crossing(places, values, target):
    """Where a line through the points ``(places, values)`` first rises above ``target``; infinite if it does not.

    >>> float(crossing(jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 3.0, 7.0]), jnp.array(5.0)))
    3.0
    """
    above = values > target
    # below the first place the line is carried on
    at = jnp.clip(jnp.argmax(above), 1, len(places) - 1)
    slope = (values[at] - values[at - 1]) / (places[at] - places[at - 1])
    return jnp.where(jnp.any(above), places[at - 1] + (target - values[at - 1]) / slope, jnp.inf)


@partial(jax.jit, static_argnames=("generations", "replicates", "chains"))
def critical_size(spec: ContaminationSpec, key, *, generations: int, replicates: int, chains: int):
    """Round size at which the risk after ``generations`` rounds is that of round 0, ``[replicates]``."""
    share = spec.shares(1)[0]

    def one(key):
        first_key, rounds_key = jax.random.split(key)
        sizes = jnp.ceil(jnp.asarray(GRID, spec.truth.dtype) * spec.start_size)
        state = start(first_key, spec, chains)
        before = _mean_risk(spec, state)

        def at(inputs):
            size, key = inputs
            grown = jax.lax.fori_loop(
                0, generations, lambda t, s: advance(jax.random.fold_in(key, t), spec, s, share, size), state
            )
            return _mean_risk(spec, grown)

        after = jax.lax.map(at, (sizes, jax.random.split(rounds_key, len(GRID))))
        return crossing(sizes, 1 / after, 1 / before)

    return jax.lax.map(one, jax.random.split(key, replicates))


@partial(jax.jit, static_argnames=("generations", "replicates", "chains"))
def break_even_size(spec: ContaminationSpec, key, *, generations: int, replicates: int, chains: int):
    """Size of one more round at which the risk stays what it is after ``generations`` rounds, ``[replicates]``."""
    shares = spec.shares(generations + 1)
    inputs = shares[:generations], spec.sizes(generations)

    def one(key):
        first_key, rounds_key, last_key = jax.random.split(key, 3)

        def step(state, inputs):
            key, share, size = inputs
            return advance(key, spec, state, share, size), None

        keys = jax.random.split(rounds_key, generations)
        state, _ = jax.lax.scan(step, start(first_key, spec, chains), (keys, *inputs))
        before = _mean_risk(spec, state)
        sizes = jnp.ceil(jnp.asarray(GRID, before.dtype) * spec.diversity / before)

        def at(inputs):
            size, key = inputs
            return _mean_risk(spec, advance(key, spec, state, shares[-1], size))

        after = jax.lax.map(at, (sizes, jax.random.split(last_key, len(GRID))))
        # the risk of one round is a line in the inverse size: noise over n, beside what the past has left
        place = crossing(-1 / sizes, -after, -before)
        return jnp.where(place < 0, -1 / jnp.where(place < 0, place, -1), jnp.inf)

    return jax.lax.map(one, jax.random.split(key, replicates))
