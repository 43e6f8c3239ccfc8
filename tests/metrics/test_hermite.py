"""Hermite coefficients: orthonormal to rounding, right for laws with known moments, with honest standard errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.errors import MeasurementError
from collapse_jax.metrics import hermite

FAMILY = 1e-3
ORDER = 12


def direct(x, m):
    """he_m by its sum of powers, in NumPy."""
    terms = [
        (-1) ** j * math.factorial(m) / (math.factorial(j) * math.factorial(m - 2 * j) * 2**j) * x ** (m - 2 * j)
        for j in range(m // 2 + 1)
    ]
    return np.sum(terms, axis=0) / math.sqrt(math.factorial(m))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_basis_is_the_polynomial(x64, dtype):
    x = np.linspace(-3, 3, 31).astype(dtype)
    found = np.asarray(hermite.basis(jnp.asarray(x), ORDER))
    assert found.dtype == dtype
    wanted = np.stack([direct(x.astype(float), m) for m in range(ORDER + 1)], axis=-1)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_low_orders_have_their_shape(order):
    assert hermite.basis(jnp.ones((2, 3)), order).shape == (2, 3, order + 1)


def test_basis_is_orthonormal(x64):
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    table = np.asarray(hermite.basis(jnp.asarray(points), ORDER))
    gram = (table * (weights / weights.sum())[:, None]).T @ table
    np.testing.assert_allclose(gram, np.eye(ORDER + 1), rtol=0, atol=1e-12)


def test_high_orders_do_not_overflow():
    assert np.isfinite(np.asarray(hermite.basis(jnp.array([0.3, 1.0]), 200))).all()


def test_coefficients_of_samples_and_their_errors(x64):
    """Means over 400 data sets are right and the stated errors match their spread: 6 z-tests and 6 chi-square tests."""
    generator = np.random.default_rng(0)
    sets, size, order, var = 400, 500, 3, 2.0
    data = 1 + 0.5 * generator.normal(size=(sets, size))
    mean, error = jax.vmap(lambda x: hermite.of_samples(x, order, var))(jnp.asarray(data))
    mean, error = np.asarray(mean), np.asarray(error)
    assert (mean[:, 0] == 1).all()
    assert (error[:, 0] == 0).all()
    wanted = hermite.by_quadrature(lambda x: jax.scipy.stats.norm.logpdf(x, 1.0, 0.5), order, var, interval=(-5.0, 7.0))
    wanted = np.asarray(wanted)
    level = FAMILY / 6
    score = (mean.mean(0) - wanted)[1:] / (mean.std(0, ddof=1)[1:] / np.sqrt(sets))
    assert (np.abs(score) < stats.t.isf(level / 2, sets - 1)).all()
    ratio = (sets - 1) * mean.var(0, ddof=1)[1:] / (error[:, 1:] ** 2).mean(0)
    low, high = stats.chi2.ppf([level / 2, 1 - level / 2], sets - 1)
    assert ((low < ratio) & (ratio < high)).all()


@pytest.mark.parametrize("interval", [None, (-11.0, 13.0)])
def test_quadrature_of_a_normal(x64, interval):
    """E he_m(X) of N(mu, 1) is mu^m / sqrt(m!), by both rules."""
    found = hermite.by_quadrature(lambda x: jax.scipy.stats.norm.logpdf(x, 0.7), 8, interval=interval)
    wanted = [0.7**m / math.sqrt(math.factorial(m)) for m in range(9)]
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=1e-12)


def test_quadrature_on_another_reference(x64):
    """On its own reference a Gaussian has no coefficient but the first."""
    for interval in (None, (-2.0, 2.0)):
        found = hermite.by_quadrature(
            lambda x: jax.scipy.stats.norm.logpdf(x, 0.0, 0.2), 6, jnp.asarray(0.04), interval=interval
        )
        np.testing.assert_allclose(np.asarray(found), np.eye(7)[0], rtol=0, atol=1e-12)


def test_quadrature_in_single_precision():
    found = hermite.by_quadrature(lambda x: jax.scipy.stats.norm.logpdf(x, 0.7), 4, interval=(-6.0, 7.0))
    assert found.dtype == np.float32
    wanted = [0.7**m / math.sqrt(math.factorial(m)) for m in range(5)]
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=2e-5)


def test_indices_are_all_and_in_order():
    found = hermite.indices(3, 5)
    assert len(found) == math.comb(8, 3)
    assert len({tuple(index) for index in found}) == len(found)
    assert (np.diff(found.sum(axis=1)) >= 0).all()


def test_several_dimensions_are_products(x64):
    points = np.random.default_rng(1).normal(size=(50, 3))
    which, mean, error = hermite.of_samples_multi(jnp.asarray(points), 4, 1.5)
    scaled = points / math.sqrt(1.5)
    values = np.stack([np.prod([direct(scaled[:, i], m) for i, m in enumerate(index)], axis=0) for index in which], 1)
    np.testing.assert_allclose(np.asarray(mean), values.mean(0), atol=1e-12)
    np.testing.assert_allclose(np.asarray(error), values.std(0, ddof=1) / math.sqrt(50), atol=1e-12)
    line, single, _ = hermite.of_samples_multi(jnp.asarray(points[:, :1]), 4, 1.5)
    np.testing.assert_allclose(np.asarray(single), np.asarray(hermite.of_samples(jnp.asarray(points[:, 0]), 4, 1.5)[0]))
    assert line[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: hermite.basis(jnp.ones(2), -1), "order"),
        (lambda: hermite.of_samples(jnp.ones(1), 2), "x must"),
        (lambda: hermite.of_samples(jnp.ones((3, 2)), 2), "x must"),
        (lambda: hermite.of_samples_multi(jnp.ones(3), 2), "x must"),
        (lambda: hermite.by_quadrature(lambda x: -x, 2, nodes=0), "nodes"),
        (lambda: hermite.by_quadrature(lambda x: -x, 2, interval=(1.0, 1.0)), "interval"),
    ],
)
def test_bad_input_is_named(call, name):
    with pytest.raises(MeasurementError, match=name) as caught:
        call()
    assert "\n" not in str(caught.value)
