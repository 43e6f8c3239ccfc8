"""Bounds, orders and invariances of contaminated training, over random chains."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_jax.results import get
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.theory import contamination
from collapse_jax.theory.contamination_recursion import mean_reciprocal

pytestmark = pytest.mark.usefixtures("x64", "quick_compilation")
ROUNDING = 1e-11
T, K = 6, 3


@functools.cache
def compiled(id):
    return jax.jit(lambda spec: get(id).predict(spec, T).values)


def values_of(id, spec):
    return np.asarray(compiled(id)(spec))


def at_most(low, high):
    return bool(np.all(low <= high * (1 + ROUNDING) + 1e-300))


def between(low, high):
    """Log-uniform numbers."""
    return st.floats(np.log(low), np.log(high)).map(lambda v: float(np.exp(v)))


TRUTHS = st.lists(between(0.01, 1.0), min_size=K, max_size=K).map(lambda v: (np.array(v) / np.sum(v)).tolist())
SHARE = st.one_of(st.sampled_from([0.0, 1.0]), between(1e-6, 1.0))
SIZE = between(1.0, 1e6)
SHARES = st.lists(SHARE, min_size=T, max_size=T)
SIZES = st.lists(SIZE, min_size=T, max_size=T)


def scheduled(truth, shares, sizes, first, **others):
    return ContaminationSpec(truth, real_fraction=jnp.array(shares), size=jnp.array(sizes), first_size=first, **others)


def constant(truth, share, size, first, **others):
    return ContaminationSpec(truth, real_fraction=share, size=size, first_size=first, **others)


@given(TRUTHS, SHARES, SIZES, SIZE)
def test_bounds_enclose_the_risk(truth, shares, sizes, first):
    """CON-7 on both sides, CON-6/floor, the risk of one token on top; CON-2 and CON-15 are the same scalar."""
    spec = scheduled(truth, shares, sizes, first)
    risk = values_of("CON-1", spec)
    for below in ("CON-7/size", "CON-7/summable"):
        assert at_most(values_of(below, spec), risk)
    for above in ("CON-7", "CON-7/decaying"):
        assert at_most(risk, values_of(above, spec))
    assert at_most(risk, float(spec.diversity))
    assert at_most(values_of("CON-6/floor", spec)[1:], risk[1:] / risk[:-1])
    inverse = risk / float(spec.diversity)
    np.testing.assert_allclose(values_of("CON-15", spec), (K - 1) * inverse, rtol=1e-12)
    covariance = values_of("CON-2", spec)
    np.testing.assert_allclose(np.trace(covariance, axis1=1, axis2=2), risk, rtol=1e-11)
    np.testing.assert_allclose(covariance.sum(axis=2), 0, atol=1e-15)


@given(TRUTHS, SHARES, SIZES, SIZE)
def test_more_real_data_and_larger_rounds_never_hurt(truth, shares, sizes, first):
    spec = scheduled(truth, shares, sizes, first)
    risk = values_of("CON-1", spec)
    more = dataclasses.replace(spec, real_fraction=jnp.minimum(1, spec.real_fraction * 1.3 + 0.01))
    assert at_most(values_of("CON-1", more), risk)
    assert at_most(values_of("CON-1", dataclasses.replace(spec, size=2 * jnp.ceil(spec.size))), risk)


@given(TRUTHS, SHARES, SIZES, SIZE)
def test_the_order_of_tokens_does_not_matter_and_schedules_may_be_cut(truth, shares, sizes, first):
    spec = scheduled(truth, shares, sizes, first)
    np.testing.assert_allclose(
        values_of("CON-1", spec), values_of("CON-1", dataclasses.replace(spec, truth=spec.truth[::-1])), rtol=1e-12
    )
    np.testing.assert_allclose(contamination.risk(spec, 3).values, values_of("CON-1", spec)[:4], rtol=1e-12)


@given(TRUTHS, SHARES, SIZES, SIZE)
def test_designed_sizes_are_those_that_were_used(truth, shares, sizes, first):
    """CON-6 inverts CON-1: exactly, as far as the path holds the digits of the size."""
    shares = [max(share, 0.05) for share in shares]
    spec = scheduled(truth, shares, sizes, first)
    path = 1 / values_of("CON-2/size", spec)
    lost = path[1:] - (1 - np.array(shares)) ** 2 * path[:-1]
    found = values_of("CON-6", spec)
    assert np.all(np.abs(found[1:] / np.asarray(spec.sizes(T)) - 1) < 1e-14 / lost + 1e-9)


@given(TRUTHS, between(1e-3, 1.0), between(1.0, 1e4), between(1.0, 1e4))
def test_improvement_is_decided_at_the_critical_size(truth, share, size, first):
    """CON-5: all rounds on one side of the first, the side of the critical size; CON-4 and CON-1 agree."""
    spec = constant(truth, share, size, first)
    risk, critical = values_of("CON-1", spec), float(values_of("CON-5", spec))
    np.testing.assert_allclose(values_of("CON-4", spec), risk, rtol=1e-11)
    gap = np.ceil(size) - critical
    if abs(gap) > 1e-9 * critical:
        assert np.all(np.sign(risk[0] - risk[1:]) * np.sign(gap) >= 0) or np.allclose(risk, risk[0], rtol=1e-12)
    assert at_most(values_of("CON-4/limit", spec), values_of("CON-10/mixing", spec))


@given(TRUTHS, SHARES, st.lists(between(1.0, 100.0), min_size=T, max_size=T))
def test_rounds_no_larger_than_the_first_never_improve(truth, shares, sizes):
    spec = scheduled(truth, shares, sizes, 100.0)
    assert at_most(np.asarray(contamination_bound(spec)), values_of("CON-1", spec))


def contamination_bound(spec):
    return get("CON-5/never").predict(spec, T).values


@given(TRUTHS, SHARES, SIZES, SIZE)
def test_policies_are_ordered(truth, shares, sizes, first):
    """An anchor never improves on itself; keeping all data starts where the others do; slow risks stay in range."""
    spec = scheduled(truth, shares, sizes, first, real="anchor")
    assert at_most(values_of("CON-13/floor", spec), values_of("CON-13", spec))
    kept = values_of("CON-11", scheduled(truth, shares, sizes, first, regime="accumulate"))
    plain = scheduled(truth, shares, sizes, first)
    np.testing.assert_allclose(kept[0], values_of("CON-1", plain)[0], rtol=1e-12)
    assert at_most(kept, float(spec.diversity))
    prediction = jax.jit(lambda spec: get("CON-9").predict(spec, T))(plain)
    assert np.all(np.abs(values_of("CON-1", plain) - prediction.values) <= prediction.margin * (1 + 1e-9) + 1e-15)


@given(TRUTHS, between(1e-3, 1.0), between(1.0, 1e5), between(1.0, 1e5))
def test_pool_beats_filter_and_clean_rounds(truth, share, size, first):
    """CON-10: Jensen from below, the filter from above, and no model beats a clean one of the same tokens."""
    size, first = float(np.ceil(size)), float(np.ceil(first))
    spec = constant(truth, share, size, first)
    pool, spread = values_of("CON-10/pool", spec), float(spec.diversity)
    tokens = first + size * share * np.arange(T + 1)
    assert at_most(spread / tokens, pool)
    assert at_most(pool, spread / first)
    filtered = values_of("CON-10", spec)[1:]
    some = -np.expm1(size * np.log1p(-min(share, 1 - 1e-12)))
    assert at_most(spread * some / (size * share), filtered)
    assert at_most(filtered, spread)


@given(between(1.0, 1e6), SHARE)
def test_mean_reciprocal_lies_between_jensen_and_one(size, share):
    size = float(np.ceil(size))
    found = float(mean_reciprocal(jnp.asarray(size), jnp.asarray(share)))
    met = 1.0 if share >= 1 else -np.expm1(size * np.log1p(-share))
    assert found <= met * (1 + 1e-10)
    assert found * size * share >= met**2 * (1 - 1e-10)


@given(TRUTHS, SHARE, between(1.0, 1e5), between(1.0, 1e3), between(1e-6, 1e3))
def test_smoothing_pulls_the_mean_between_truth_and_uniform(truth, share, size, first, added):
    spec = constant(truth, share, size, first, smoothing=added)
    mean, end = values_of("CON-18", spec), values_of("CON-18/limit", spec)
    low, high = np.minimum(truth, 1 / K), np.maximum(truth, 1 / K)
    for law in (mean, end[None]):
        assert np.all(law >= low - 1e-12)
        assert np.all(law <= high + 1e-12)
        np.testing.assert_allclose(law.sum(axis=1), 1, rtol=1e-12)


@given(TRUTHS, between(1e-3, 1.0), between(2.0, 1e4))
def test_stationary_moments_are_those_of_a_law_on_the_unit_interval(truth, share, size):
    spec = constant(truth, share, size, 10.0)
    variance, fourth, absent = (values_of(id, spec) for id in ("CON-14", "CON-14/fourth", "CON-14/absence"))
    assert np.all(variance**2 <= fourth * (1 + 1e-10))
    assert np.all(fourth <= variance * (1 + 1e-10))
    assert np.all((absent >= 0) & (absent <= 1))
    order = np.argsort(truth)
    assert np.all(np.diff(absent[order]) <= 1e-12)


@given(TRUTHS, SHARES, SIZES, SIZE)
def test_variants_reduce_to_the_plain_chain(truth, shares, sizes, first):
    """One context is no context; a parametric model misses only the past's own noise."""
    spec = scheduled(truth, shares, sizes, first)
    one = scheduled([truth], shares, sizes, first, contexts=[1.0])
    np.testing.assert_allclose(values_of("CON-16", one), values_of("CON-1", spec), rtol=1e-11)
    parametric = scheduled(truth, shares, sizes, first, features=[1.0, 0.0, -1.0])
    inverse = values_of("CON-1", spec) / float(spec.diversity)
    assert at_most(inverse, values_of("CON-17/error", parametric))
