"""Chains on real images with the exact score of a finite pool, that is with the model that memorises its pool.

The pool holds M points. A perfect score of the empirical law of the pool, sampled exactly down to the truncation,
gives a parent drawn with replacement, shrunk by ``a``, and fresh noise of variance ``1 - a^2``. The next pool is a
share of fresh real points (drawn with replacement from all real ones) and generated ones for the rest. Three outputs:

- ``raw``: the noisy point itself, as truncation leaves it;
- ``memorised``: after one posterior-mean step, exact for the pool: a softmax average over its points;
- ``linear``: after the best linear posterior-mean step for the pool's second moment.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.metrics.hermite import columns

OUTPUTS = ("raw", "memorised", "linear")


def _linear(pool, points, a):
    """Best linear estimate of pool points from ``a y + sqrt(1 - a^2) z``."""
    noise = (1 - a**2) / a**2
    second = pool.T @ pool / pool.shape[0]
    gain = jnp.linalg.solve(second + noise * jnp.eye(len(second), dtype=second.dtype), second)
    return points @ gain / a


def _memorised(pool, points, a, batch: int = 512):
    """Posterior mean under the empirical law of the pool; batches bound the table of distances."""
    half = jnp.sum(pool**2, axis=1) * (a**2 / 2)

    def one(point):
        # the point's own norm cancels in the softmax
        return jax.nn.softmax((a * (pool @ point) - half) / (1 - a**2)) @ pool

    return jax.lax.map(one, points, batch_size=batch)


def _generate(key, pool, a, output: str):
    """As many points as the pool holds, and their parents' places in it."""
    parents_key, noise_key = jax.random.split(key)
    size = pool.shape[0]
    parents = jax.random.randint(parents_key, (size,), 0, size)
    points = a * pool[parents] + jnp.sqrt(1 - a**2) * jax.random.normal(noise_key, pool.shape, pool.dtype)
    if output == "memorised":
        points = _memorised(pool, points, a)
    elif output == "linear":
        points = _linear(pool, points, a)
    return points, parents


def _fresh(key, data, count: int):
    return data[jax.random.randint(key, (count,), 0, data.shape[0])]


def _chain(key, data, a, real, observe, *, size: int, rounds: int, output: str):
    """Run the chain; ``observe(points, ancestors)`` of round 0 (the first pool) and of each round's output.

    ``ancestors`` says which slot of the first pool (or, beyond ``size``, which later real draw) a point goes back to.
    """
    start_key, *keys = jax.random.split(key, rounds + 1)

    def one(carry, inputs):
        pool, ancestors = carry
        key, place = inputs
        made_key, real_key = jax.random.split(key)
        points, parents = _generate(made_key, pool, a, output)
        origins = ancestors[parents]
        # slots below ``real`` are fresh: whole shapes, so that all real shares have one compiled program
        fresh = slots < real
        pool = jnp.where(fresh[:, None], _fresh(real_key, data, size), points)
        return (pool, jnp.where(fresh, (place + 1) * size + slots, origins)), observe(points, origins)

    slots = jnp.arange(size)
    pool, ancestors = _fresh(start_key, data, size), slots
    _, seen = jax.lax.scan(one, (pool, ancestors), (jnp.stack(keys), jnp.arange(rounds)))
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), observe(pool, ancestors), seen)


@partial(jax.jit, static_argnames=("size", "rounds", "seeds", "order"))
def hermite_chain(key, data, a, real, directions, *, size: int, rounds: int, seeds: int, order: int = 4):
    """Hermite coefficients of the generated points along unit directions.

    Args:
        data: ``[n, d]`` real points on the scale of N(0, I).
        a: shrinking factor of a round.
        real: how many points of every later pool are fresh real ones.
        directions: ``[d, w]`` unit columns.
        size: points of a pool.

    Returns:
        ``[seeds, rounds + 1, w, order + 1]``; round 0 is the first pool.
    """

    def observe(points, _):
        return jnp.stack([jnp.mean(column, axis=0) for column in columns(points @ directions, order)], axis=-1)

    def one(key):
        return _chain(key, data, a, real, observe, size=size, rounds=rounds, output="raw")

    return jax.lax.map(one, jax.random.split(key, seeds))


def picture_chain(key, data, a, real, *, size: int, rounds: int, seeds: int, output: str, shown: int):
    """Second moments, founders and some of the points of the chain in pixel space.

    One compiled program whatever the number of seeds, for they take long enough each.

    Returns:
        ``(second, founders, points)``: ``[seeds, rounds + 1, d, d]`` second moment of the generated points;
        ``[seeds, rounds + 1]`` how many different real draws they go back to; ``[rounds + 1, shown, d]`` points of the
        first seed.
    """
    runs = [
        _picture_run(one, data, a, real, size=size, rounds=rounds, output=output, shown=shown)
        for one in jax.random.split(key, seeds)
    ]
    second, founders, points = zip(*runs, strict=True)
    return jnp.stack(second), jnp.stack(founders), points[0]


@partial(jax.jit, static_argnames=("size", "rounds", "output", "shown"))
def _picture_run(key, data, a, real, *, size: int, rounds: int, output: str, shown: int):
    picked = np.linspace(0, size - 1, shown).astype(int)

    def observe(points, ancestors):
        ordered = jnp.sort(ancestors)
        founders = 1 + jnp.sum(ordered[1:] != ordered[:-1])
        return points.T @ points / size, founders, points[picked]

    return _chain(key, data, a, real, observe, size=size, rounds=rounds, output=output)
