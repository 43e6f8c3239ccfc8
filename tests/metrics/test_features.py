"""Distances of Gaussian fits: closed forms, the definition by matrix roots, invariances, error bars that are right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from collapse_jax.errors import SpecError
from collapse_jax.metrics.features import covariance_spectrum, frechet, gaussian_w2, total_variance

RUNS = 1000


def cloud(seed, n, d):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + generator.normal(size=d)


def whitened(x):
    """The same points with mean 0 and covariance 1, exactly."""
    x = x - x.mean(axis=0)
    return x @ linalg.inv(linalg.cholesky(np.cov(x.T)))


def by_roots(x, y):
    """The definition, as it is written."""
    s1, s2 = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(s1)
    cross = linalg.sqrtm(root @ s2 @ root)
    return np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + np.trace(s1 + s2 - 2 * np.real(cross))


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(8, 40), st.integers(8, 40))
def test_definition_symmetry_and_zero(seed, d, n, m):
    x, y = cloud(seed, n, d), cloud(seed + 1, m, d)
    found = frechet(x, y, extractor="e")
    if d > 1:
        assert found.value == pytest.approx(by_roots(x, y), rel=1e-6, abs=1e-6)
    other = frechet(y, x, extractor="e")
    assert found.value == pytest.approx(other.value, rel=1e-10)
    assert found.standard_error == pytest.approx(other.standard_error, rel=1e-10)
    same = frechet(x, x[::-1], extractor="e")
    assert same.value < 1e-24 * np.trace(np.atleast_2d(np.cov(x.T)))
    assert gaussian_w2(x, y).value == pytest.approx(np.sqrt(found.value), rel=1e-12)


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-100, 100))
def test_moves_turns_and_units(seed, unit, move):
    x, y = cloud(seed, 20, 3), cloud(seed + 1, 30, 3)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    found, moved = gaussian_w2(x, y), gaussian_w2(unit * x @ turn + move, unit * y @ turn + move)
    assert moved.value == pytest.approx(unit * found.value, rel=1e-8)
    assert moved.standard_error == pytest.approx(unit * found.standard_error, rel=1e-7)


def test_closed_forms_of_gaussians():
    """Commuting covariances: |m1 - m2|^2 + sum (s1 - s2)^2; a point mass: |m|^2 + trace."""
    x = whitened(cloud(0, 50, 3))
    y = whitened(cloud(1, 80, 3))
    one, other, move = np.array([1.0, 2, 3]), np.array([2.0, 2, 0.5]), np.array([3.0, 0, 4])
    found = frechet(x * one, y * other + move, extractor="raw")
    assert found.value == pytest.approx(25 + 1 + 0 + 6.25, rel=1e-12)
    assert found.name == "Fréchet distance of Gaussian fits (squared) on raw"
    collapsed = frechet(x * one, np.tile(move, (10, 1)), extractor="raw")
    assert collapsed.value == pytest.approx(25 + 14, rel=1e-12)
    # all that is left is the spread of |x - move|^2 over the points
    squares = np.sum((x * one - move) ** 2, axis=1)
    assert collapsed.standard_error == pytest.approx(squares.std(ddof=1) / np.sqrt(50), rel=1e-12)


def test_error_bars_of_commuting_covariances():
    """There a point moves F by sum (1 - s2/s1) x^2 + 2 (m1 - m2) x."""
    x, y = whitened(cloud(0, 50, 3)), whitened(cloud(1, 80, 3))
    one, other, move = np.array([1.0, 2, 3]), np.array([2.0, 2, 0.5]), np.array([3.0, 0, 4])
    ours = (x * one) ** 2 @ (1 - other / one) - 2 * (x * one) @ move
    theirs = (y * other) ** 2 @ (1 - one / other) + 2 * (y * other) @ move
    known = np.sqrt(ours.var(ddof=1) / 50 + theirs.var(ddof=1) / 80)
    assert frechet(x * one, y * other + move, extractor="e").standard_error == pytest.approx(known, rel=1e-12)


def test_nearly_equal_sets_lose_no_digits():
    """Roots of covariances lose half of the digits; a spread that differs by 1e-9 is seen all the same."""
    x = whitened(cloud(0, 50, 4)) * np.array([1e-6, 1e-3, 1, 1e3])
    assert frechet(x, x * (1 + 1e-9), extractor="e").value == pytest.approx(1e-18 * (1e6 + 1), rel=1e-5)


@pytest.mark.parametrize(("n", "m"), [(4, 3), (4, 30), (30, 4)])
def test_fewer_points_than_dimensions(n, m):
    """Eight dimensions, singular covariances; eigenvalues of the product of the covariances give the trace."""
    x, y = cloud(2, n, 8), cloud(3, m, 8)
    s1, s2 = np.cov(x.T), np.cov(y.T)
    cross = np.sqrt(np.maximum(linalg.eigvals(s1 @ s2).real, 0)).sum()
    known = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + np.trace(s1 + s2) - 2 * cross
    found = frechet(x, y, extractor="e")
    assert found.value == pytest.approx(known, rel=1e-6)
    assert np.isfinite(found.standard_error)


def test_error_bars_are_the_spread_of_repetitions():
    """1000 pairs of sets; the variance of such a measurement is itself off by a relative sqrt(2 / 1000)."""
    generator = np.random.default_rng(4)
    found = []
    for _ in range(RUNS):
        x = generator.normal(size=(300, 3)) * [1, 2, 0.5]
        y = generator.normal(size=(200, 3)) * [2, 1, 1] + [1.5, 0, 0.5]
        measured = frechet(x, y, extractor="e"), gaussian_w2(x, y), covariance_spectrum(x), total_variance(x)
        found.append([np.hstack([part[i] for part in measured]) for i in (0, 1)])
    values, errors = np.swapaxes(found, 0, 1)
    ratio = values.var(axis=0, ddof=1) / np.mean(errors**2, axis=0)
    # kurtosis of the values adds to the noise, and 1/n to the bias of the delta method
    np.testing.assert_array_less(abs(ratio - 1), 4 * np.sqrt(3 / RUNS) + 3 / 200)
    known = np.array([4.75, np.sqrt(4.75), 4, 1, 0.25, 5.25])
    # a fit of n points is biased by terms of order d/n of the traces
    assert (
        abs(values.mean(axis=0) / known - 1) < 4 * ratio * values.std(axis=0) / known / np.sqrt(RUNS) + 3 / 200
    ).all()


def test_spectrum_and_trace():
    x = whitened(cloud(0, 40, 3)) * np.array([1.0, 3, 2])
    np.testing.assert_allclose(covariance_spectrum(x).value, [9, 4, 1], rtol=1e-12)
    assert total_variance(x).value == pytest.approx(14, rel=1e-12)
    few = covariance_spectrum(cloud(0, 3, 5))
    assert few.value.shape == few.standard_error.shape == (5,)
    np.testing.assert_allclose(few.value[2:], 0, atol=1e-14)
    assert covariance_spectrum(np.ones((4, 2))).value.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: frechet(np.ones((3, 2)), np.ones((3, 1)), extractor="e"), "one dimension"),
        (lambda: frechet(np.ones((3, 2)), np.ones((1, 2)), extractor="e"), r"y must be numbers \[n, d\]"),
        (lambda: gaussian_w2(np.ones((3, 2, 2)), np.ones((3, 2))), r"x must be numbers \[n, d\].*flatten"),
        (lambda: covariance_spectrum([[np.inf], [1.0]]), "not finite"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(SpecError, match=words):
        call()
