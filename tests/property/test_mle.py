"""Bounds, orders and invariances of iterative maximum likelihood, over random chains."""

import functools
import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_jax.results import get
from collapse_jax.specs.mle import MLESpec

pytestmark = pytest.mark.usefixtures("x64", "quick_compilation")
ROUNDING = 1e-11
T = 12


def between(low, high):
    """Log-uniform numbers."""
    return st.floats(math.log(low), math.log(high)).map(lambda v: float(np.exp(v)))


SIZES = st.integers(2, 400).map(float)
SHARES = st.floats(0.02, 0.98)
CHANCES = st.floats(0.02, 0.98)


@functools.cache
def _program(ids, generations):
    return jax.jit(lambda spec: [get(id).predict(spec, generations).values for id in ids])


def values_of(ids, spec, generations=T):
    """Several results of one spec in one program, compiled once for each kind of spec."""
    return [np.asarray(v) for v in _program(tuple(ids), generations)(spec)]


def rises(curve):
    return bool(np.all(np.diff(curve) >= -ROUNDING * np.abs(curve[1:])))


def at_most(low, high):
    return bool(np.all(low <= high * (1 + ROUNDING) + 1e-13))


@given(SIZES, CHANCES)
def test_coins_lose_what_the_mean_gains(size, chance):
    """E V(m_t) + Var m_t = V(m_0): total variance of a coin is m_0 (1 - m_0) in every round, replace and accumulate."""
    spec = MLESpec("bernoulli", mean=chance, batch=size)
    wander, noise, end = values_of(("MLE-1", "MLE-1/spread", "MLE-2/replace"), spec)
    np.testing.assert_allclose(wander + noise, chance * (1 - chance), rtol=1e-12)
    assert rises(wander)
    assert at_most(wander, end)
    kept = MLESpec("bernoulli", mean=chance, batch=size, regime="accumulate")
    less, end = values_of(("MLE-1/accumulate", "MLE-2"), kept)
    assert rises(less)
    assert at_most(less, wander)
    assert at_most(less, end)


@given(between(0.05, 20.0), between(0.5, 50.0), SIZES)
def test_growing_families_wander_more(mean, shape, size):
    """v_2 > 0: more than the Gaussian of the same variance, and a negative binomial more than its Poisson."""
    gamma = MLESpec("gamma", mean=mean, size=shape, batch=size)
    (wander,) = values_of(("MLE-1",), gamma)
    linear = mean**2 / shape * np.arange(T + 1) / size
    assert at_most(linear, wander)
    (more,) = values_of(("MLE-1",), MLESpec("negative-binomial", mean=mean, size=shape, batch=size))
    (poisson,) = values_of(("MLE-1",), MLESpec("poisson", mean=mean, batch=size))
    assert at_most(poisson, more)


@given(SHARES, st.floats(-3, 3), between(0.1, 10.0))
def test_real_shares_pull_and_anchors_pull_less(share, mean, variance):
    """Fixed split below random, fresh below anchored, all below no share; n D in the stated limits."""
    size = 1000.0
    count = round(share * 50) / 50
    share = min(max(count, 0.02), 0.98)
    fields = {"family": "gaussian", "mean": mean, "variance": variance, "batch": size, "real_fraction": share}
    random, limit = values_of(("MLE-3", "MLE-3/limit"), MLESpec(**fields))
    split, split_limit = values_of(("MLE-3/fixed", "MLE-3/limit"), MLESpec(**fields, split="fixed"))
    kept, kept_limit = values_of(("MLE-5", "MLE-5/limit"), MLESpec(**fields, split="fixed", real="anchor"))
    assert rises(random)
    assert rises(split)
    assert at_most(split, random)
    assert at_most(split, kept)
    assert at_most(random, limit)
    assert at_most(kept, kept_limit)
    assert at_most(kept, variance * np.arange(T + 1) / size + 1e-12)
    unit = size * split_limit / variance
    assert unit == pytest.approx(1 / (share * (2 - share)), rel=1e-10)
    assert size * kept_limit / variance >= 1 / share - 1e-9


@given(between(0.05, 30.0), SHARES)
def test_no_weight_beats_the_best(k, weight):
    """k synthetic points for each real one: value equals weight at the best, and everything else is worse."""
    share = 1 / (1 + k)
    fields = {"family": "gaussian", "batch": 64.0, "real_fraction": share, "split": "fixed"}
    (best,) = values_of(("MLE-4/weight",), MLESpec(**fields))
    (least,) = values_of(("MLE-4",), MLESpec(**fields, real_weight=float(best)))
    (other,) = values_of(("MLE-4",), MLESpec(**fields, real_weight=weight))
    assert 64 * share * least == pytest.approx(float(best), rel=1e-10)
    assert at_most(least, other)


@given(SIZES)
def test_subsampling_lies_between_keeping_and_replacing(size):
    fields = {"family": "gaussian", "batch": size}
    (kept,) = values_of(("MLE-1/accumulate",), MLESpec(**fields, regime="accumulate"))
    (replaced,) = values_of(("MLE-1",), MLESpec(**fields))
    found = {}
    for how in ("with", "without"):
        spec = MLESpec(**fields, regime="accumulate-subsample", replacement=how)
        found[how], leading = values_of(("MLE-6", "MLE-6/leading"), spec)
        assert at_most(np.abs(found[how] - leading), max(0.6, 0.8 * (size < 5)) / size * leading)
        assert at_most(kept[2:], found[how][2:])
    assert at_most(found["without"], found["with"])
    assert at_most(found["without"][2:], replaced[2:])
    assert at_most(found["with"][3:], replaced[3:])


@given(SIZES, between(0.01, 100.0), st.sampled_from(["n", "n-1"]))
def test_spread_dies_although_its_mean_may_not(size, variance, divisor):
    """Logarithms fall for both divisors; the mean of sigma below the root of the mean of its square; W2 as stated."""
    spec = MLESpec("normal", variance=variance, batch=size, divisor=divisor)
    square, scale, logs, spread, wander, w2 = values_of(
        ("MLE-7", "MLE-7/scale", "MLE-7/log", "MLE-7/spread", "MLE-7/mean", "MLE-7/w2"), spec
    )
    assert at_most(scale**2, square)
    assert (np.diff(logs) < 0).all()
    assert at_most(variance * np.exp(logs), square)
    assert rises(spread)
    assert rises(wander)
    assert at_most(w2, 2 * variance if divisor == "n" else np.inf)
    assert at_most(wander, w2)
    kept = MLESpec("normal", variance=variance, batch=size, divisor=divisor, regime="accumulate")
    less, mean, end = values_of(("MLE-8", "MLE-8/mean", "MLE-8/limit"), kept)
    assert at_most(square if divisor == "n" else less, less)
    assert at_most(end, less)
    assert at_most(mean, wander)
    if divisor == "n":
        np.testing.assert_allclose(less + mean, variance, rtol=1e-12)


@given(SIZES, between(0.05, 3.0), st.sampled_from(["n", "n-1"]))
def test_bounds_of_survival_are_ordered(size, level, divisor):
    spec = MLESpec("normal", batch=size, threshold=level, divisor=divisor)
    paper, mean, moment = values_of(("MLE-10", "MLE-10/mean", "MLE-10/moment"), spec)
    assert at_most(mean, paper)
    assert at_most(moment, mean)


@given(st.tuples(*[between(0.5, 5.0)] * 3), st.integers(5, 60))
def test_volume_is_lost_faster_than_direction_by_direction(variances, size):
    spec = MLESpec("normal", variance=variances, batch=float(size))
    volume, covariance = values_of(("MLE-9", "MLE-9/covariance"), spec)
    (logs,) = values_of(("MLE-7/log",), MLESpec("normal", batch=float(size)))
    assert at_most(-3 * logs, -volume)
    assert at_most(volume, np.log(covariance / np.array(variances)).sum(axis=1))


@given(st.lists(between(0.01, 1.0), min_size=4, max_size=4), SIZES)
def test_diversity_and_distance_share_what_there_is(weights, size):
    chances = np.array(weights) / sum(weights)
    spec = MLESpec("multinomial", weights=tuple(chances), batch=size)
    left, gone, bound, support = values_of(("MLE-11", "MLE-11/distance", "MLE-12", "MLE-11/support"), spec)
    np.testing.assert_allclose(left + gone, 1 - (chances**2).sum(), rtol=1e-11)
    assert ((bound >= 0) & (bound <= 1)).all()
    assert at_most(left[1:], bound[1:])  # H <= 1 - 1/n < 1 on what is not fixed
    assert 1 - ROUNDING <= support <= min(4, size) + ROUNDING


@given(CHANCES, st.integers(2, 120).map(float))
def test_times_to_fixation_are_symmetric_and_below_their_bound(chance, size):
    time, bound = values_of(("MLE-12/time", "MLE-12"), MLESpec("bernoulli", mean=chance, batch=size), 3)
    (other,) = values_of(("MLE-12/time",), MLESpec("bernoulli", mean=1 - chance, batch=size), 3)
    assert time == pytest.approx(float(other), rel=1e-11)
    assert 1 <= time <= 1 + size**2 / (size - 1) * size * chance * (1 - chance) + 2
    assert bound[0] == 1


@given(between(1e-4, 0.02), st.integers(50, 2000).map(float))
def test_survival_of_a_symbol_is_above_its_bound(chance, size):
    """Both rare-symbol laws lie above the bound of the paper up to their margins, and survival falls."""
    spec = MLESpec("bernoulli", mean=chance, batch=size)
    least, branching, late = values_of(("MLE-13", "MLE-13/branching", "MLE-13/late"), spec)
    assert rises(-branching)
    assert at_most(least[1:], branching[1:])
    assert at_most(branching[1:], late[1:])
    (dead,) = values_of(("MLE-14",), MLESpec("poisson", mean=chance, batch=size))
    np.testing.assert_allclose(dead[1:] + branching[1:], 1, rtol=1e-12)


@given(between(0.01, 1.0), between(0.01, 1.0), st.integers(2, 300).map(float))
def test_theta_in_units_of_the_truth_does_not_know_the_truth(first, second, size):
    """MLE-15: the law of theta_t/theta_0 is free of theta_0; logarithms do not know it, reciprocals scale with it."""
    found = []
    for theta in (first, second):
        spec = MLESpec("beta", mean=theta, batch=size)
        logs, spread, inverse, square = values_of(("MLE-15", "MLE-15/spread", "MLE-15/inverse", "MLE-15/square"), spec)
        found.append(np.concatenate([logs, spread, inverse / theta, square * theta**2]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
    assert (np.diff(logs) < 0).all()


@given(between(0.05, 3.0), SIZES)
def test_paths_stay_in_balls_whose_size_does_not_know_the_rounds(radius, size):
    """MLE-16: with the radius of the theorem the chance is at most delta for every T."""
    delta = 0.05
    radius = math.sqrt(math.pi**2 / 3 * math.log(4 / delta) / size)
    spec = MLESpec("gaussian", batch=size, threshold=radius, regime="accumulate")
    (bound,) = values_of(("MLE-16",), spec, 400)
    assert rises(bound)
    assert bound[-1] <= delta


@given(st.integers(20, 3000).map(float), st.floats(0.2, 3.0))
def test_collapse_of_the_jump_family(size, multiple):
    """The chance of collapse lies between its explicit form and what it tends to; C = 2 beats 1/n at a million."""
    spec = MLESpec("jump", batch=size, threshold=multiple)
    chance, tail = values_of(("MLE-19", "MLE-18"), spec, 2)
    assert (1 - math.exp(-0.25)) / 4 - 0.01 <= chance <= 0.21
    assert 0 < tail <= 1
    assert values_of(("MLE-18",), MLESpec("jump", batch=1e6, threshold=2.0), 2)[0] <= 1e-6


@given(st.integers(10, 5000).map(float))
def test_fuse_is_nearly_free_of_n(size):
    exact, limit = values_of(("MLE-21", "MLE-21/limit"), MLESpec("fuse", batch=size), 30)
    assert rises(-exact)
    assert at_most(np.abs(exact - limit), 0.3 / size * limit)
