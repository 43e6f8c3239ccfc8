"""Bounds, orders and invariances of regression chains, over random specs; one program serves all examples of a test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_jax.results import get
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.theory.regression_equations import fit, kappa

pytestmark = pytest.mark.usefixtures("x64", "quick_compilation")
ROUNDING = 1e-10
SIZE, ROUNDS = 4, 6


def between(low, high):
    """Log-uniform numbers."""
    return st.floats(np.log(low), np.log(high)).map(lambda v: float(np.exp(v)))


SPECTRA = st.lists(between(1e-3, 10.0), min_size=SIZE, max_size=SIZE).map(lambda v: sorted(v, reverse=True))
TRUTHS = st.lists(st.floats(-3.0, 3.0), min_size=SIZE, max_size=SIZE)
MANY = st.integers(SIZE + 2, 10_000).map(float)
ANY = st.integers(1, 60).map(float)
RIDGES = between(1e-6, 1e3)
NOISES = st.floats(0.0, 2.0)


@functools.cache
def program(id, regime="replace"):
    """The values as one compiled function of numbers."""

    def values(fields):
        return get(id).predict(RegressionSpec(**fields, regime=regime), ROUNDS).values

    return jax.jit(values)


def values_of(id, regime="replace", **fields):
    every = {"learner_samples": 50.0, "generator_samples": 50.0, "learner_noise": 0.5, "generator_noise": 0.5}
    every |= {"spectrum": [1.0] * SIZE, "truth": [1.0] * SIZE, "learner_ridge": 0.0, "generator_ridge": 0.0}
    every |= {"real_fraction": 0.0} | fields
    given = {name: jnp.asarray(value, float) for name, value in every.items()}
    return np.asarray(program(id, regime)(given))


def at_most(low, high):
    return bool(np.all(low <= high * (1 + ROUNDING) + 1e-13))


@given(SPECTRA, ANY, RIDGES)
def test_kappa_lies_between_the_ridge_and_the_ridge_plus_the_trace_per_row(spectrum, rows, ridge):
    """And shrinks with rows, grows with the ridge; df_2 < df_1 < T."""
    each = jax.jit(kappa)
    mu = jnp.asarray(spectrum)
    k = float(each(mu, rows, ridge))
    assert ridge * (1 - ROUNDING) <= k <= (ridge + sum(spectrum) / rows) * (1 + ROUNDING)
    assert at_most(float(each(mu, rows + 1, ridge)), k)
    assert at_most(k, float(each(mu, rows, 2 * ridge)))
    found = jax.jit(fit)(mu, rows, ridge)
    assert float(found.freedom) > 0
    np.testing.assert_allclose(np.asarray(found.kept + found.lost), 1, rtol=1e-12)


@given(SPECTRA, TRUTHS, MANY, MANY, st.floats(0.1, 2.0))
def test_least_squares_grows_linearly_and_knows_neither_covariance_nor_truth(spectrum, truth, rows, made, noise):
    fields = {"learner_samples": rows, "generator_samples": made, "generator_noise": noise}
    path = values_of("REG-1", spectrum=spectrum, truth=truth, **fields)
    np.testing.assert_allclose(path, values_of("REG-1", **fields), rtol=1e-12)
    np.testing.assert_allclose(np.diff(path), path[1] - path[0], rtol=1e-9)


@given(MANY, st.floats(0.1, 2.0))
def test_accumulation_is_between_its_first_error_and_the_bound(rows, noise):
    """Strictly below pi^2/6 of the first error; replacement is worse in every round after the first."""
    fields = {"generator_samples": rows, "generator_noise": noise}
    path = values_of("REG-3", "accumulate", **fields)
    assert (np.diff(path) > 0).all()
    assert (path < values_of("REG-4", "accumulate", **fields)).all()
    replaced = values_of("REG-5", **fields)
    assert at_most(path, replaced)


@given(MANY, st.floats(0.0, 1.0))
def test_real_rows_help_and_finite_rows_cost(rows, share):
    """g >= x^2, with equality at the ends; with K <= 2 (2T >= 3d + 2) g is at most 1."""
    gain = float(values_of("REG-5/gain", generator_samples=rows, real_fraction=share))
    assert gain >= (1 - share) ** 2 * (1 - 1e-12)
    if 2 * rows >= 3 * SIZE + 2:
        assert gain <= 1 + 1e-12
        path = values_of("REG-5", generator_samples=rows, real_fraction=share)
        assert at_most(path, float(values_of("REG-5/limit", generator_samples=rows, real_fraction=share)))


@given(SPECTRA, TRUTHS, ANY, RIDGES, ANY, RIDGES, NOISES)
def test_more_noise_is_worse_and_scales_do_not_matter(spectrum, truth, rows, ridge, made, made_ridge, noise):
    """REG-6: monotone in both noises; units of inputs (mu, 1/w^2 and ridges times c) and of labels drop out."""
    fields = {
        "spectrum": np.array(spectrum),
        "truth": np.array(truth),
        "generator_noise": noise,
        "learner_noise": noise,
    }
    fields |= {
        "learner_samples": rows,
        "learner_ridge": ridge,
        "generator_samples": made,
        "generator_ridge": made_ridge,
    }
    path = values_of("REG-6", **fields)
    assert (path >= 0).all()
    for name in ("generator_noise", "learner_noise"):
        assert at_most(path, values_of("REG-6", **fields | {name: noise + 0.5}))
    scaled = {"spectrum": 4 * fields["spectrum"], "truth": fields["truth"] / 2}
    scaled |= {"learner_ridge": 4 * ridge, "generator_ridge": 4 * made_ridge}
    np.testing.assert_allclose(values_of("REG-6", **fields | scaled), path, rtol=1e-8, atol=1e-12)
    loud = {"truth": 3 * fields["truth"], "generator_noise": 3 * noise, "learner_noise": 3 * noise}
    np.testing.assert_allclose(values_of("REG-6", **fields | loud), 9 * path, rtol=1e-9)


@given(TRUTHS, st.sampled_from([1.0, 2.0, 6.0, 9.0, 100.0]), NOISES)
def test_projected_generators_split_the_signal(truth, rows, noise):
    """|w_n|^2 - 2 <w_n, w_0> + |w_0|^2 is the error; overlap never grows; noise-free error and signal add up."""
    fields = {"truth": truth, "generator_samples": rows, "generator_noise": noise}
    error, signal, overlap = (values_of(id, **fields) for id in ("REG-8", "REG-8/signal", "REG-8/overlap"))
    np.testing.assert_allclose(signal - 2 * overlap + signal[0], error, rtol=1e-9, atol=1e-9 * (1 + signal.max()))
    assert at_most(overlap[1:], overlap[:-1])
    quiet = fields | {"generator_noise": 0.0}
    np.testing.assert_allclose(values_of("REG-9", **quiet) + values_of("REG-9/error", **quiet), signal[0], rtol=1e-12)


@given(st.floats(0.1, 3.0), MANY, MANY, RIDGES, st.floats(0.1, 2.0))
@settings(max_examples=15)
def test_no_plain_ridge_is_below_the_floor(size, rows, made, ridge, noise):
    fields = {"truth": [size] * SIZE, "learner_samples": rows, "generator_samples": made, "learner_noise": noise}
    floor = values_of("REG-15", **fields)
    assert at_most(floor, values_of("REG-7", **fields, learner_ridge=ridge))
    assert (np.diff(floor) > -1e-12).all()
    assert (floor < SIZE * size**2 * (1 + 1e-9)).all()


@given(SPECTRA, TRUTHS, st.integers(SIZE, 50).map(float), RIDGES, NOISES)
def test_fixed_design_is_bias_and_variance(spectrum, truth, rows, ridge, noise):
    """Means decay, variances grow, both below their limits."""
    fields = {"spectrum": spectrum, "truth": truth, "generator_samples": rows, "generator_ridge": ridge}
    mean = values_of("REG-16/mean", **fields)
    spread = values_of("REG-16/variance", **fields, generator_noise=noise)
    assert at_most(abs(mean[1:]), abs(mean[:-1]))
    assert at_most(spread[:-1], spread[1:])
    direct = (((mean - mean[0]) ** 2).sum(axis=1) + spread.sum(axis=1)) / rows
    np.testing.assert_allclose(values_of("REG-16", **fields, generator_noise=noise), direct, rtol=1e-7, atol=1e-9)
