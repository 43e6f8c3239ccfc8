"""Any family under any regime: fit, sample, fit again, as one compiled program.

A family is two functions, ``fit(key, pool, previous) -> model`` and ``sample(key, model, n) -> points``. Shapes must
not depend on the generation, so a pool is a buffer with a weight for each place, zero where there is no point (yet):
batches of different sizes and a growing store are then one program, scanned over the generations and mapped over the
replicates. A ``fit`` that takes weighted averages is all that is needed.

Batch 1 is real. Batch t holds n_t points, each from ``real`` or from model t - 1 as the regime says
(``specs.regime``); ``replace`` overwrites the buffer, ``accumulate`` writes at its end, ``accumulate-subsample`` draws
n_t of what is there.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.errors import MeasurementError
from collapse_jax.specs.ground import concrete, whole_number
from collapse_jax.specs.regime import Regime

_AT_ONCE = 2**24  # numbers that the pools of the replicates run side by side may hold


class Pool(NamedTuple):
    """What a model is fitted on.

    Attributes:
        data: a pytree of arrays ``[places, ...]``.
        weights: ``[places]``, 0 where a place is empty; the others add up to the number of points.
    """

    data: Any
    weights: Float[Array, " places"]


class Family(NamedTuple):
    """A family of models: two functions.

    Attributes:
        fit: ``(key, pool, previous) -> model``, a pytree whose shapes never change; ``previous`` is the model of the
            generation before, None in the first.
        sample: ``(key, model, n) -> points``, a pytree of arrays ``[n, ...]`` like those of the real data.
    """

    fit: Callable
    sample: Callable


def chain(
    family: Family, real: Callable, regime: Regime, generations: int, replicates: int, key, *, observe: Callable
) -> Any:
    """Train, sample and train again: what ``observe`` sees of models 1 ... ``generations``.

    Args:
        family: how a model is fitted and sampled.
        real: ``(key, n) -> points``, real data.
        regime: what a generation trains on.
        generations: number of models, >= 1; the first is fitted on real data alone.
        replicates: independent chains, >= 1.
        key: ``jax.random`` key.
        observe: ``model -> pytree`` of arrays to keep.

    Returns:
        What ``observe`` returns, each array ``[replicates, generations, ...]``.

    Raises:
        SpecError: sizes out of range, or a schedule that is too short.
        MeasurementError: a model with a number that is not finite; says of which generation and replicate.

    >>> from functools import partial
    >>> mean = Family(
    ...     fit=lambda key, pool, previous: jnp.average(pool.data, weights=pool.weights),
    ...     sample=lambda key, mean, n: mean + jax.random.normal(key, (n,)),
    ... )
    >>> real = lambda key, n: jax.random.normal(key, (n,))
    >>> seen = chain(mean, real, Regime(100, "accumulate"), 5, 8, jax.random.key(0), observe=lambda mean: mean)
    >>> seen.shape
    (8, 5)
    """
    generations, replicates = whole_number("generations", generations), whole_number("replicates", replicates)
    sizes = regime.sizes(generations)
    shares = regime.shares(generations)[1:]
    mixed = not concrete(shares) or bool(np.any(np.asarray(shares)))
    seen, finite = _run(regime, key, family, real, observe, sizes, replicates, mixed)
    if concrete(finite) and not np.asarray(finite).all():
        broken = ~np.asarray(finite)
        generation = int(np.argmax(broken.any(0)))
        raise MeasurementError(
            f"fit returned a number that is not finite in generation {generation + 1}, replicate "
            f"{int(np.argmax(broken[:, generation]))} ({broken[:, generation].sum()} of {replicates} replicates): "
            "look at fit for small or one-sided pools, or give it more samples."
        )
    return seen


@functools.partial(jax.jit, static_argnames=("family", "real", "observe", "sizes", "replicates", "mixed"))
def _run(regime: Regime, key, family: Family, real, observe, sizes, replicates, mixed):
    keys = jax.random.split(key, replicates)
    shapes = jax.eval_shape(lambda key: real(key, 1), key)
    numbers = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)) * _places(regime, sizes)
    together = max(1, min(replicates, _AT_ONCE // max(numbers, 1)))
    one = functools.partial(_one, regime, family, real, observe, sizes, mixed)
    return jax.vmap(one)(keys) if together == replicates else jax.lax.map(one, keys, batch_size=together)


def _places(regime: Regime, sizes) -> int:
    """Places of the buffer. A batch is written with the places of the largest one: there must be room for them."""
    return max(sizes) if regime.kind == "replace" else sum(sizes[:-1]) + max(sizes)


def _one(regime: Regime, family: Family, real, observe, sizes, mixed: bool, key):
    """One chain: what is seen of each model, and whether it is finite. ``mixed``: real points also in later batches."""
    largest, count = max(sizes), len(sizes)
    real_key, first_key, sub_key, rounds_key = jax.random.split(key, 4)
    first = real(real_key, largest)
    store = begun(regime, first, sizes)
    model = family.fit(first_key, training_pool(regime, sub_key, store, sizes[0], sizes[0], largest), None)

    def step(carry, inputs):
        model, store = carry
        key, share, size, before = inputs
        batch_key, sub_key, fit_key = jax.random.split(key, 3)
        made = family.sample(batch_key, model, largest)
        store = grown(regime, real, batch_key, store, made, first, sizes[0], share if mixed else None, size, before)
        model = family.fit(fit_key, training_pool(regime, sub_key, store, before + size, size, largest), model)
        return (model, store), (observe(model), all_finite(model))

    totals = np.concatenate([[0], np.cumsum(sizes)])
    inputs = jax.random.split(rounds_key, count - 1), regime.shares(count)[1:], np.array(sizes[1:], int), totals[1:-1]
    _, (seen, finite) = jax.lax.scan(step, (model, store), inputs)
    joined = jax.tree.map(lambda start, rest: jnp.concatenate([jnp.asarray(start)[None], rest]), observe(model), seen)
    return joined, jnp.concatenate([all_finite(model)[None], finite])


def begun(regime: Regime, first, sizes) -> Pool:
    """The store with the first batch: ``sizes[0]`` of the real points ``first`` ``[max(sizes), ...]``."""
    largest, places = max(sizes), _places(regime, sizes)
    kinds = (leaf.dtype for leaf in jax.tree.leaves(first) if jnp.issubdtype(leaf.dtype, jnp.floating))
    dtype = jnp.result_type(regime.real_fraction.dtype, *kinds)
    here = (jnp.arange(largest) < sizes[0]).astype(dtype)
    room = jax.tree.map(lambda leaf: jnp.zeros((places, *leaf.shape[1:]), leaf.dtype), first)
    return _write(Pool(room, jnp.zeros(places, dtype)), Pool(first, here), 0)


def grown(regime: Regime, real, key, store: Pool, made, first, anchors: int, share, size, before) -> Pool:
    """The store with the next batch: ``size`` of the points ``made``, a ``share`` (None: not one) of them real.

    ``before`` points were in the batches so far; ``first`` is the first one, of ``anchors`` points.
    """
    dtype, largest = store.weights.dtype, jax.tree.leaves(made)[0].shape[0]
    batch = Pool(made, (jnp.arange(largest) < size).astype(dtype))
    if share is not None:
        batch = _mixed(regime, real, jax.random.fold_in(key, 1), batch, first, anchors, share.astype(dtype), size)
    return _write(store, batch, 0 if regime.kind == "replace" else before)


def _write(store: Pool, batch: Pool, at) -> Pool:
    def put(old, new):
        return jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), at, 0)

    return jax.tree.map(put, store, batch)


def _mixed(regime: Regime, real, key, made: Pool, first, anchors: int, share, size) -> Pool:
    """The batch ``made`` with its share of real points."""
    real_key, origin_key = jax.random.split(key)
    largest = made.weights.shape[0]
    size = jnp.asarray(size, share.dtype)
    if regime.split == "random":
        is_real = jax.random.uniform(origin_key, (largest,), share.dtype) < share
    else:
        is_real = jnp.arange(largest, dtype=share.dtype) < jnp.round(share * size)
    if regime.real == "fresh":
        known = real(real_key, largest)
    elif regime.split == "random":
        drawn = jax.random.randint(real_key, (largest,), 0, anchors)
        known = jax.tree.map(lambda leaf: leaf[drawn], first)
    else:
        known = first

    def pick(known, made):
        return jnp.where(is_real.reshape(-1, *(1,) * (known.ndim - 1)), known, made.astype(known.dtype))

    weights = made.weights
    if regime.real_weight is not None:
        count = jnp.round(share * size)
        weight = regime.real_weight.astype(share.dtype)
        weights = weights * jnp.where(is_real, weight * size / count, (1 - weight) * size / (size - count))
    return Pool(jax.tree.map(pick, known, made.data), weights)


def training_pool(regime: Regime, key, store: Pool, total, size, largest: int) -> Pool:
    """What a model is fitted on, of a store of ``total`` points, the last ``size`` of them its batch."""
    if regime.kind != "accumulate-subsample":
        return store
    places = store.weights.shape[0]
    if regime.replacement:
        chosen = jax.random.randint(key, (largest,), 0, total)
    else:
        order = jnp.where(jnp.arange(places) < total, jax.random.uniform(key, (places,)), 2)
        chosen = jnp.argsort(order)[:largest]
    here = (jnp.arange(largest) < size).astype(store.weights.dtype)
    return Pool(jax.tree.map(lambda leaf: leaf[chosen], store.data), here * store.weights[chosen])


def all_finite(model):
    """Whether no number of a pytree of arrays is infinite or not a number."""
    leaves = [leaf for leaf in jax.tree.leaves(model) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in leaves] or [True]))
