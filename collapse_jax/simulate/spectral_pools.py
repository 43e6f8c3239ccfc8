"""Finite training pools: what the fluctuations of pools of M points settle at.

A pool holds pool_size points, of which the real share (a whole number) is fresh; the rest comes from a model that has
learned the last pool by heart: parents are drawn with replacement and go through one truncated round. All pools start
from real data. A pool forgets its start like ((1 - real_fraction) scale)^k, as independent particles do.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.simulate.spectral_doors import checked_spec, require_constant, require_stationary
from collapse_jax.simulate.spectral_particles import (
    Layout,
    fresh_points,
    layout,
    over_blocks,
    rounds_to_forget,
    tables,
)
from collapse_jax.simulate.spectral_seen import along, modes_of, spread_of
from collapse_jax.specs.ground import whole_number
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.trajectory import Trajectory

LOOKS = 64  # at the stationary pools, in successive rounds


def next_pools(key, spec: SpectralSpec, table, pools, fresh: int):
    """The pools after one more round: ``fresh`` real points first, then generated ones; ``[d, pools, M]``."""
    parent_key, noise_key, real_key = jax.random.split(key, 3)
    size = pools.shape[-1]
    real = fresh_points(real_key, table, (pools.shape[1], fresh)) if fresh else pools[..., :0]
    parent = jax.random.randint(parent_key, (pools.shape[1], size - fresh), 0, size)
    chosen = jnp.take_along_axis(pools, parent[None], axis=-1)
    noise = jax.random.normal(noise_key, chosen.shape, chosen.dtype)
    made = spec.scale * chosen + jnp.sqrt(spec.noise_var) * noise
    return jnp.concatenate([real, made], axis=-1)


@partial(jax.jit, static_argnames=("fresh", "pools", "plan"))
def _spread(spec, key, rounds, *, fresh: int, pools: int, plan: Layout):
    table, size = tables(spec.data), spec.pool_size

    strides = jnp.ones(LOOKS, rounds.dtype).at[0].set(rounds)

    def block(key):
        start_key, key = jax.random.split(key)
        start = fresh_points(start_key, table, (plan.together * pools, size))

        def one_look(state, step):
            key, stride = step
            state = jax.lax.fori_loop(
                0,
                stride,
                lambda number, state: next_pools(jax.random.fold_in(key, number), spec, table, state, fresh),
                state,
            )
            modes = modes_of(along(state, spec), spec).reshape(plan.together, pools, -1)
            return state, size * jnp.var(modes, axis=1, ddof=1)

        seen = jax.lax.scan(one_look, start, (jax.random.split(key, LOOKS), strides))[1]
        return seen.mean(axis=0), spread_of(start.reshape(spec.dimension, plan.together, -1), spec)

    return over_blocks(block, key, plan)


def pool_variance(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """M times the variance of the Hermite coefficients of stationary finite pools, M = pool_size (SP-13; derived).

    A replicate follows several independent pools. Once their start has faded to 1e-9 it takes the unbiased variance
    over them in each of ``LOOKS`` successive rounds: its mean is right for any number of pools from two on.

    Args:
        spec: one truncation, regime ``replace``; real_fraction * pool_size must be a whole number.
        generations: not used; here so that all measurements are called alike.
        replicates, key: as for all measurements.
        samples: points of all pools of a replicate; at least two pools are followed.

    Returns:
        ``pool_variance`` [replicates, order + 1]; order 0 does not fluctuate.

    Raises:
        SpecError: a real share that is no whole number of points, a chain without a limit, or a bad argument.

    >>> spec = SpectralSpec([1.0], [0.0], [1.0], real_fraction=0.5, truncation=0.1, pool_size=4)
    >>> pool_variance(spec, 1, 3, jax.random.key(0), samples=100)["pool_variance"].values.shape
    (3, 7)
    """
    checked_spec(spec)
    replicates, samples = whole_number("replicates", replicates), whole_number("samples", samples)
    require_constant(spec)
    rounds, _ = rounds_to_forget(spec)
    require_stationary(spec, rounds)
    share = float(spec.real_fraction) * spec.pool_size
    if abs(share - round(share)) > 1e-4:
        raise SpecError(
            f"real_fraction must make a whole number of pool_size = {spec.pool_size} points, "
            f"got {float(spec.real_fraction):g}: choose a multiple of 1/{spec.pool_size}."
        )
    pools = max(2, round(samples / spec.pool_size))
    plan = layout(spec, replicates, pools * spec.pool_size)
    if plan.chunks > 1:  # a variance over pools needs them together
        plan = Layout(replicates, replicates, 1, 1, pools * spec.pool_size)
    values, squares = _spread(spec, key, jnp.asarray(rounds), fresh=round(share), pools=pools, plan=plan)
    floor = _resolution(np.asarray(squares), spec.pool_size)
    return {"pool_variance": Trajectory(values, floor, observable="pool_variance")}


def _resolution(squares: np.ndarray, size: int) -> np.ndarray:
    """A coefficient is known to a few eps of its spread, and so is M times its variance."""
    eps, order = np.finfo(squares.dtype).eps, squares.shape[-1] - 1
    spread = np.maximum(squares.max(axis=0), 1)
    floor = 16 * eps * (1 + np.arange(order + 1)) * spread * np.sqrt(size)
    floor[0] = np.inf
    return floor.astype(squares.dtype)
