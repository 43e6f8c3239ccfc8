"""A table language model: the next character given the last one or two, fitted by counting.

It is a family for ``recursion.regimes``: a point is a sequence of ``length`` characters, a fit counts what follows what
in a weighted pool of them, and a sample runs freely, each character drawn given those that the model drew before. A
context that the pool never shows keeps the row of the model before; in the first model its row is uniform. Characters
are whole numbers in the pool's own floating type.
"""

import jax
import jax.numpy as jnp

from collapse_jax.recursion.regimes import Family, Pool


def contexts(sequences, order: int, tokens: int):
    """``[..., length - order]``: the number of the context before each character but the first ``order``.

    >>> contexts(jnp.array([[0, 1, 2]]), 1, 3).tolist(), contexts(jnp.array([[0, 1, 2]]), 2, 3).tolist()
    ([[0, 1]], [[1]])
    """
    length, number = sequences.shape[-1], jnp.zeros((*sequences.shape[:-1], sequences.shape[-1] - order), jnp.int32)
    for place in range(order):
        number = number * tokens + sequences[..., place : length - order + place].astype(jnp.int32)
    return number


def count(sequences, weights, order: int, tokens: int):
    """``[tokens^order, tokens]``: weighted counts of what follows each context."""
    rows = contexts(sequences, order, tokens)
    cells = rows * tokens + sequences[:, order:].astype(jnp.int32)
    each = jnp.broadcast_to(weights[:, None], cells.shape)
    counts = jnp.zeros(tokens ** (order + 1), weights.dtype).at[cells].add(each)
    return counts.reshape(-1, tokens)


def generate(key, start, law, order: int, tokens: int, length: int):
    """``[n, length]`` characters: the prompts ``start`` ``[n, order]`` and what the table says comes after them."""
    above = jnp.cumsum(law, axis=-1)

    def step(context, key):
        row = above[context]
        drawn = jax.random.uniform(key, context.shape, law.dtype) * row[:, -1]
        token = jnp.minimum(jnp.sum(drawn[:, None] >= row, axis=1), tokens - 1).astype(jnp.int32)
        return (context * tokens + token) % tokens**order, token

    rows = jnp.zeros(start.shape[0], jnp.int32)
    for place in range(order):
        rows = rows * tokens + start[:, place].astype(jnp.int32)
    _, made = jax.lax.scan(step, rows, jax.random.split(key, length - order))
    return jnp.concatenate([start.astype(jnp.int32), made.T], axis=1)


def family(order: int, tokens: int, length: int) -> Family:
    """Table models of ``order`` 1 (pairs) or 2 (triples); prompts come from the model's own pool.

    The model is ``(law [tokens^order, tokens], starts [tokens^order])``, ``starts`` the frequencies of the contexts in
    the pool, from which the first characters of a sequence are drawn.
    """

    def fit(key, pool: Pool, previous):
        counts = count(pool.data, pool.weights, order, tokens)
        total = jnp.sum(counts, axis=-1, keepdims=True)
        former = jnp.full_like(counts, 1 / tokens) if previous is None else previous[0]
        law = jnp.where(total > 0, counts / jnp.where(total > 0, total, 1), former)
        return law, total[:, 0] / jnp.sum(total)

    def sample(key, model, number: int):
        law, starts = model
        start_key, key = jax.random.split(key)
        above = jnp.cumsum(starts)
        drawn = jax.random.uniform(start_key, (number,), law.dtype) * above[-1]
        row = jnp.minimum(jnp.searchsorted(above, drawn, side="right"), tokens**order - 1)
        digits = [(row // tokens ** (order - 1 - place)) % tokens for place in range(order)]
        return generate(key, jnp.stack(digits, axis=1), law, order, tokens, length).astype(law.dtype)

    return Family(fit, sample)
