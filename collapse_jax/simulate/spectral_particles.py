"""Independent particles of a truncated-diffusion chain: exact in law, one compiled program, no pool in memory.

A round takes the law p_k of what was generated to the law of ``scale Y + sqrt(noise_var) Z``, Y a point of the pool.
Each particle follows that map by itself, so that it has exactly the law p_k after round k and particles never meet:

- ``replace``: with probability real_fraction Y is a fresh real point, else the particle's own last state;
- ``accumulate``: Y is drawn from the equal parts p_0 (real), p_1 ... p_k. A particle keeps one candidate: after round k
  its own state takes the candidate's place with probability 1 / (k + 1), so that the candidate is equally often of
  every round so far, without a memory of them (a reservoir of size one).

Two draws a round and particle are enough. One word of 32 bits says whether the point is fresh and of which component,
and d normals move it: a fresh point N(m, C) that is shrunk and blurred is N(scale m, scale^2 C + noise_var I). The pool
point of the same round is made of the same normals; both have their exact law, and only laws are looked at.

Blocks of particles run through all rounds one after the other, so that a block stays in cache; larger arrays are half
as fast, smaller ones pay for each step of the scan.
"""

import math
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.simulate.spectral_seen import look, spread_of
from collapse_jax.specs.mixture import Mixture
from collapse_jax.specs.spectral import SpectralSpec

Side = Literal["generated", "pool"]

BLOCK = 2**17  # numbers in the state of a block

_WORDS = float(2**32)
_LAST = 4294967040.0  # the largest float32 below 2^32: nothing above fits a word
_FEW = 32  # so many components are told apart by comparing with each


class Tables(NamedTuple):
    """A mixture ready to be drawn from: cumulated weights ``[K]``, means ``[K, d]``, variances ``[K]`` or, along the
    columns of ``axes`` ``[K, d, d]``, ``[K, d]``; ``axes`` is None for isotropic components."""

    edges: Any
    means: Any
    variances: Any
    axes: Any


def tables(law: Mixture) -> Tables:
    """The draw tables of a mixture."""
    edges = jnp.cumsum(law.weights)
    edges = edges / edges[-1]
    if law.isotropic:
        return Tables(edges, law.means, law.covariances, None)
    variances, axes = jnp.linalg.eigh(law.covariances)
    return Tables(edges, law.means, jnp.maximum(variances, 0), axes)


def choose(key, edges, share, shape: tuple):
    """Component of a fresh point with probability ``share``, else K: whole numbers ``shape``."""
    count = edges.shape[0]
    bits = jax.random.bits(key, shape, jnp.uint32)
    limits = jnp.minimum(share * edges * _WORDS, _LAST).astype(jnp.uint32)
    if count > _FEW:
        which = jnp.searchsorted(limits, bits, side="right").astype(jnp.int32)
    else:
        which = jnp.zeros(shape, jnp.int32)
        for component in range(count):
            which = which + (bits >= limits[component]).astype(jnp.int32)
    # the words above the last limit: none where all is fresh
    return jnp.where(share >= 1, jnp.minimum(which, count - 1), which)


def gaussian(table: Tables, which, normals, scale, noise_var):
    """Points N(scale m, scale^2 C + noise_var I) of components ``which`` ``[...]``, made of normals ``[d, ...]``."""
    place = jnp.minimum(which, table.edges.shape[0] - 1)
    mean = jnp.moveaxis(table.means[place], -1, 0)
    std = jnp.sqrt(scale**2 * table.variances + noise_var)[place]
    if table.axes is None:
        return scale * mean + std[None] * normals
    along = jnp.moveaxis(std, -1, 0) * normals
    return scale * mean + jnp.einsum("...ij,j...->i...", table.axes[place], along, precision="highest")


def fresh_points(key, table: Tables, shape: tuple):
    """Real points ``[d, *shape]``."""
    one = jnp.ones((), table.means.dtype)
    chosen, normal = jax.random.split(key)
    which = choose(chosen, table.edges, one, shape)
    normals = jax.random.normal(normal, (table.means.shape[1], *shape), table.means.dtype)
    return gaussian(table, which, normals, one, 0 * one)


def next_round(key, table: Tables, share, scale, noise_var, points):
    """Pool points and the points generated from them, both of the shape of ``points`` ``[d, ...]`` (``replace``)."""
    chosen, normal = jax.random.split(key)
    which = choose(chosen, table.edges, share, points.shape[1:])
    normals = jax.random.normal(normal, points.shape, points.dtype)
    fresh = (which < table.edges.shape[0])[None]
    one = jnp.ones_like(scale)
    pool = jnp.where(fresh, gaussian(table, which, normals, one, 0 * one), points)
    moved = scale * points + jnp.sqrt(noise_var) * normals
    return pool, jnp.where(fresh, gaussian(table, which, normals, scale, noise_var), moved)


def next_round_of_all(key, number, scale, noise_var, points, candidate):
    """The same where the pool holds every round so far (``accumulate``); ``number`` of the round, from 0."""
    chosen, normal = jax.random.split(key)
    limit = jnp.minimum(_WORDS / (number.astype(points.dtype) + 1), _LAST).astype(jnp.uint32)
    joins = (jax.random.bits(chosen, points.shape[1:], jnp.uint32) < limit)[None]
    pool = jnp.where(joins, points, candidate)
    return pool, scale * pool + jnp.sqrt(noise_var) * jax.random.normal(normal, points.shape, points.dtype)


class Layout(NamedTuple):
    """How replicates are cut into blocks: ``groups`` x ``chunks``, ``together`` replicates x ``each`` points in one."""

    replicates: int
    groups: int
    chunks: int
    together: int
    each: int


def layout(spec: SpectralSpec, replicates: int, samples: int) -> Layout:
    """Blocks of about ``BLOCK`` numbers; a replicate that needs several is rounded up to equal ones."""
    room = max(1, BLOCK // (spec.dimension if spec.data.isotropic else spec.dimension**2))
    chunks = -(-samples // room)
    together = max(1, room // samples)
    groups = -(-replicates // together)
    return Layout(replicates, groups, chunks, -(-replicates // groups), -(-samples // chunks))


def over_blocks(block, key, plan: Layout):
    """Run ``block(key)`` (arrays whose first axis is the replicate) on all blocks: arrays ``[replicates, ...]``."""
    found = jax.lax.map(block, jax.random.split(key, plan.groups * plan.chunks))

    def gather(values):
        values = values.reshape(plan.groups, plan.chunks, *values.shape[1:]).mean(axis=1)
        return values.reshape(-1, *values.shape[2:])[: plan.replicates]

    return jax.tree.map(gather, found)


@partial(jax.jit, static_argnames=("generations", "plan", "side"))
def curves(spec: SpectralSpec, key, *, generations: int, plan: Layout, side: Side):
    """What ``look`` sees of the generated points or of the pools, and the spread of the basis on real points.

    Returns:
        dictionary of ``[replicates, generations + 1, ...]`` (means over particles), and ``[replicates, order + 1]``.
    """
    table = tables(spec.data)
    last = jnp.zeros(1, spec.truncation.dtype)  # of the round after the last, which nobody looks at
    scales, noise_vars = (
        jnp.concatenate([jnp.broadcast_to(values, (max(generations, values.size),))[:generations], last])
        for values in (spec.scale, spec.noise_var)
    )

    def block(key):
        start_key, key = jax.random.split(key)
        start = fresh_points(start_key, table, (plan.together, plan.each))

        def one_round(state, step):
            points, candidate = state
            number, key, scale, noise_var = step
            if spec.regime == "accumulate":
                pool, generated = next_round_of_all(key, number, scale, noise_var, points, candidate)
            else:
                pool, generated = next_round(key, table, spec.real_fraction, scale, noise_var, points)
            seen = look(points if side == "generated" else pool, spec)
            return (generated, pool if spec.regime == "accumulate" else candidate), seen

        keys = jax.random.split(key, generations + 1)
        steps = (jnp.arange(generations + 1), keys, scales, noise_vars)
        candidate = start if spec.regime == "accumulate" else None
        seen = jax.lax.scan(one_round, (start, candidate), steps)[1]
        return {name: jnp.moveaxis(values, 0, 1) for name, values in seen.items()}, spread_of(start, spec)

    return over_blocks(block, key, plan)


@partial(jax.jit, static_argnames=("plan", "looks", "side", "waves"))
def stationary(spec: SpectralSpec, key, rounds, stride, *, plan: Layout, looks: int, side: Side, waves: bool = False):
    """The same after ``rounds`` rounds from real points, averaged over ``looks`` looks ``stride`` rounds apart.

    Returns:
        dictionary of ``[replicates, ...]``, and ``[replicates, order + 1]``.
    """
    table = tables(spec.data)
    # one loop for the way there and for the way from look to look: half the program to compile
    strides = jnp.full(looks, stride).at[0].set(rounds)

    def block(key):
        start_key, key = jax.random.split(key)
        start = fresh_points(start_key, table, (plan.together, plan.each))

        def one_round(key, points):
            return next_round(key, table, spec.real_fraction, spec.scale, spec.noise_var, points)

        def one_look(points, step):
            key, stride = step
            points = jax.lax.fori_loop(
                0, stride, lambda number, points: one_round(jax.random.fold_in(key, number), points)[1], points
            )
            seen = points if side == "generated" else one_round(jax.random.fold_in(key, stride), points)[0]
            return points, look(seen, spec, waves=waves)

        seen = jax.lax.scan(one_look, start, (jax.random.split(key, looks), strides))[1]
        return {name: values.mean(axis=0) for name, values in seen.items()}, spread_of(start, spec)

    return over_blocks(block, key, plan)


def rounds_to_forget(spec: SpectralSpec, left: float = 1e-9) -> tuple[int, int]:
    """Rounds after which the start is forgotten but for ``left``, and a stride between looks that are nearly new.

    Two particles with the same draws differ as long as neither was fresh, by a difference that shrinks with each round:
    the start fades like ((1 - real_fraction) scale)^k.
    """
    with np.errstate(divide="ignore"):
        rate = -(np.log1p(-float(spec.real_fraction)) + float(spec.log_scale))
    if not rate > 0:
        return 0, 0
    return max(1, math.ceil(-math.log(left) / rate)), max(1, math.ceil(0.3 / rate))
