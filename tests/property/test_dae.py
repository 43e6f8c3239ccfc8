"""Bounds, orders and invariances of the denoising-autoencoder chain, over random chains."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_jax.results import all_results, get
from collapse_jax.specs.dae import DAESpec
from collapse_jax.trajectory import accuracy
from tests.theory.test_dae import compiled

pytestmark = pytest.mark.usefixtures("x64")
ROUNDING = 10 * accuracy(np.float64)

DIRECTIONS = 3


def between(low, high):
    """Log-uniform numbers."""
    return st.floats(np.log(low), np.log(high)).map(lambda v: float(np.exp(v)))


SNRS = st.lists(between(1e-3, 1e3), min_size=DIRECTIONS, max_size=DIRECTIONS).map(lambda v: sorted(v, reverse=True))
RATIOS = st.one_of(st.sampled_from([0.0, 1.0, 2.0]), st.floats(0.0, 2.0))
SHARES = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(1e-4, 1.0))
RESULTS = [result.id for result in all_results("dae")]


def values_of(id, spec, generations=12):
    return np.asarray(compiled(id, generations)(spec))


def at_most(low, high):
    return bool(np.all(low <= high * (1 + ROUNDING) + np.finfo(float).tiny))


@given(SNRS, RATIOS)
def test_geometric_bound_holds_and_is_tight_at_first(snrs, ratio):
    """DAE-7 is above the norm of DAE-5 and equals it at generations 0 and 1."""
    spec = DAESpec(snrs, resample_noise_var=ratio)
    bound, norm = values_of("DAE-7", spec), values_of("DAE-5/gain", spec)
    assert at_most(norm, bound)
    np.testing.assert_allclose(norm[:2], bound[:2], rtol=ROUNDING)


@given(SNRS, RATIOS, SHARES)
def test_order_of_gains_with_a_real_share(snrs, ratio, share):
    """For c <= 2: DAE-12 <= chain-fed <= pool-fed <= the gain of real data, at every generation and in the limit."""
    spec = DAESpec(snrs, resample_noise_var=ratio, real_fraction=share)
    floor, real = values_of("DAE-12", spec), values_of("DAE-3", spec)
    chain, pool = (values_of("DAE-13/curve", dataclasses.replace(spec, feed=feed)) for feed in ("chain", "pool"))
    chain, pool = chain / (chain + 1), pool / (pool + 1)
    assert at_most(floor, chain)
    assert at_most(chain, pool)
    assert at_most(pool, real)
    chain, pool = (values_of("DAE-13", dataclasses.replace(spec, feed=feed)) for feed in ("chain", "pool"))
    assert at_most(floor[-1], chain / (chain + 1))
    assert at_most(chain, pool)
    assert at_most(pool, np.asarray(snrs))


@given(SNRS, st.floats(0.0, 10.0), SHARES, st.sampled_from(["chain", "pool", "prior"]))
def test_gain_floor_holds_for_any_feed_and_noise(snrs, ratio, share, feed):
    """DAE-12 is a bound for every synthetic data, also for growing chains."""
    spec = DAESpec(snrs, resample_noise_var=ratio, real_fraction=share, feed=feed)
    floor = values_of("DAE-12", spec)
    if feed == "prior":
        # no result of its own: one round from the definition
        gain = np.asarray(snrs) / (np.asarray(snrs) + 1)
        mixed = share * np.asarray(snrs) + (1 - share) * gain**2 * ratio
        assert at_most(floor[1], mixed / (mixed + 1))
    else:
        path = values_of("DAE-13/curve", spec)
        assert at_most(floor, path / (path + 1))


@given(SNRS, RATIOS)
def test_effective_rank_never_rises(snrs, ratio):
    """DAE-9, from at most d down to at least 1."""
    rank = values_of("DAE-9", DAESpec(snrs, resample_noise_var=ratio), 30)
    assert at_most(rank[1:], rank[:-1])
    assert at_most(rank, float(DIRECTIONS))
    assert at_most(1.0, rank)


@given(SNRS, RATIOS)
def test_weaker_directions_die_first(snrs, ratio):
    """DAE-9: the ratio of a weaker to a stronger direction shrinks (a majorisation)."""
    logs = values_of("DAE-5/log", DAESpec(snrs, resample_noise_var=ratio), 10)
    gaps = logs[:, :-1] - logs[:, 1:]
    alive = logs[1:, 1:] > -1e14  # the floor of logarithms
    assert np.all((gaps[1:] >= gaps[:-1] - 1e-11 * np.abs(logs[1:, 1:])) | ~alive)


@given(between(1e-3, 1e3), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_small_deviations_make_the_norm_fall(snr, ratio, fraction):
    """DAE-11: for c <= 1 and delta <= 1/(x + 2) the next SNR is below x."""
    spec = DAESpec([snr], resample_noise_var=ratio)
    bound = get("DAE-11").predict(spec, 0, event_deviation=jnp.asarray(fraction / (snr + 2))).values
    assert float(bound) < snr
    assert float(get("DAE-11").predict(spec, 0, event_deviation=jnp.asarray(0.0)).values) == pytest.approx(
        values_of("DAE-5", spec, 1)[1, 0], rel=ROUNDING
    )


def powers(id):
    """How the observable scales with the unit of the data squared."""
    observable = get(id).observable
    return 1.0 if observable in ("spectrum", "limit_spectrum", "excess_risk", "tweedie_spectrum") else 0.0


@pytest.mark.parametrize("id", RESULTS)
@given(exponent=st.integers(-8, 8), wide=st.floats(0.25, 4.0))
def test_units_do_not_matter(id, exponent, wide):
    """Spectrum, noise variances and weight decay times k: eigenvalues times k, gains, ranks and times unchanged."""
    spec = DAESpec(**get(id).example)
    spec = dataclasses.replace(spec, spectrum=spec.spectrum * wide)
    scale = 2.0**exponent
    fields = ("spectrum", "noise_var", "resample_noise_var", "weight_decay")
    scaled = dataclasses.replace(spec, **{field: getattr(spec, field) * scale for field in fields})
    expected = values_of(id, spec) * scale ** powers(id)
    if get(id).observable == "log_spectrum":
        expected = expected + np.log(scale)
    np.testing.assert_allclose(values_of(id, scaled), expected, rtol=ROUNDING, atol=ROUNDING * scale ** powers(id))


@given(SNRS, st.floats(0.0, 1.4), st.floats(0.05, 1.0), st.sampled_from(["chain", "pool"]))
def test_limit_is_the_end_of_the_curve(snrs, ratio, share, feed):
    spec = DAESpec([min(snr, 20.0) for snr in snrs], resample_noise_var=ratio, real_fraction=share, feed=feed)
    np.testing.assert_allclose(values_of("DAE-13/curve", spec, 1000)[-1], values_of("DAE-13", spec), rtol=1e-9)


@given(between(1e-3, 1e2), st.floats(0.0, 5.0), st.floats(1e-3, 1.0))
def test_pool_fed_states_satisfy_their_equation(snr, ratio, share):
    """Both limits and the border are unmoved by one round, and come in order."""
    spec = DAESpec([snr], resample_noise_var=ratio, real_fraction=share, feed="pool")
    low, high = values_of("DAE-14", spec)[:, 0]
    border = values_of("DAE-14/border", spec)
    assert low <= high
    assert low <= border
    assert at_most(high, border) or np.isfinite(border)
    for state in (low, high, *([border] if np.isfinite(border) else [])):
        gain = state / (state + 1)
        after = share * snr + (1 - share) * gain**2 * (state + ratio)
        # a state is known as well as a round moves what is beside it
        assert after == pytest.approx(state, rel=1e-10)


@given(between(1e-3, 1e2), st.floats(0.0, 5.0), st.floats(1e-3, 0.999))
def test_chain_fed_states_satisfy_their_equation(snr, ratio, share):
    spec = DAESpec([snr], resample_noise_var=ratio, real_fraction=share)
    low, high = values_of("DAE-14", spec)[:, 0]
    border = values_of("DAE-14/border", spec)
    for state in (low, high, border):
        if np.isfinite(state):
            block = (state - share * snr) / (1 - share)
            after = share * snr + (1 - share) * (state / (state + 1)) ** 2 * (block + ratio)
            assert after == pytest.approx(state, rel=1e-10)


@given(st.floats(0.0, 20.0), between(1e-2, 1e2))
def test_fixed_points_without_real_data_satisfy_their_equation(ratio, noise):
    """DAE-6 and DAE-17: unmoved by one round; the two prior-fed ones are each other's inverse."""
    fed = DAESpec([1.0], noise_var=noise, resample_noise_var=ratio * noise)
    prior = dataclasses.replace(fed, feed="prior")
    threshold = values_of("DAE-6", fed)
    if np.isfinite(threshold):
        moved = threshold**2 * (threshold + ratio) / (threshold + 1) ** 2
        assert moved == pytest.approx(threshold, rel=1e-9)
    lower, upper = values_of("DAE-17/border", prior), values_of("DAE-17/limit", prior)
    if np.isfinite(lower):
        assert ratio * upper**2 / (upper + 1) ** 2 == pytest.approx(upper, rel=ROUNDING)
        assert lower * upper == pytest.approx(1, rel=ROUNDING)
    else:
        assert ratio <= 4
        assert upper == 0


@given(SNRS, st.floats(0.0, 2.0))
def test_accumulation_lies_between_replacement_and_real_data(snrs, ratio):
    kept = DAESpec(snrs, resample_noise_var=ratio, feed="pool", regime="accumulate")
    pool, replaced = values_of("DAE-15", kept), values_of("DAE-5", DAESpec(snrs, resample_noise_var=ratio))
    assert at_most(replaced, pool)
    assert at_most(pool[1:], pool[:-1])
    assert at_most(values_of("DAE-12", kept), pool / (pool + 1))


@given(SNRS, RATIOS)
def test_lifetime_is_within_its_margin(snrs, ratio):
    """DAE-8 against the log-interpolated crossing of the recursion itself, where the margin is finite."""
    spec = DAESpec([min(snr, 40.0) for snr in snrs], resample_noise_var=ratio)
    prediction = get("DAE-8").predict(spec, 0)
    logs = values_of("DAE-5/log", spec, 1000)
    for direction in np.flatnonzero(np.isfinite(prediction.margin)):
        path = logs[:, direction]
        after = int(np.argmax(path < 0))
        crossing = after - 1 + path[after - 1] / (path[after - 1] - path[after])
        assert abs(float(prediction.values[direction]) - crossing) <= float(prediction.margin[direction])
