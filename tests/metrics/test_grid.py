"""Distances of densities on a grid: Gaussians that differ by little, by much and by nothing."""

import numpy as np
import pytest

from collapse_jax.metrics import grid

X = np.linspace(-9.02, 9, 400)
SPACING = np.array([X[1] - X[0]])
NORMAL = np.exp(-(X**2) / 2) / np.sqrt(2 * np.pi)
SECOND = grid.target(NORMAL[None], SPACING)


@pytest.mark.parametrize("stretch", [3e-12, 5e-7, 1e-3, 0.3])
def test_w2_of_a_stretched_normal(stretch):
    """The first two are expansions, the others displacements within a cell and across cells."""
    spread = 1 + stretch
    change = NORMAL * np.expm1((X**2 / 2) * stretch * (2 + stretch) / spread**2 - np.log1p(stretch))
    found = grid.w2(NORMAL[None] + change, change[None], SECOND)
    np.testing.assert_allclose(found, stretch, rtol=2e-7)


@pytest.mark.parametrize("shift", [1e-9, 0.01, 2.5])
def test_all_of_a_shifted_normal(shift):
    change = (NORMAL * np.expm1(shift * X - shift**2 / 2))[None]
    np.testing.assert_allclose(grid.w1(change, SPACING), shift, rtol=1e-6)
    np.testing.assert_allclose(grid.w2(NORMAL + change, change, SECOND), shift, rtol=1e-6)
    np.testing.assert_allclose(grid.kl(change, NORMAL[None], SPACING), shift**2 / 2, rtol=1e-9)
    if shift < 1:
        np.testing.assert_allclose(grid.chi2(change, NORMAL[None], SPACING), np.expm1(shift**2), rtol=1e-6)
        np.testing.assert_allclose(grid.total_variation(change, SPACING), shift / np.sqrt(2 * np.pi), rtol=1e-4)


def test_nothing_is_at_no_distance():
    zero = np.zeros((1, X.size))
    assert grid.w2(NORMAL[None], zero, SECOND) == 0
    assert grid.w1(zero, SPACING) == grid.total_variation(zero, SPACING) == grid.kl(zero, NORMAL[None], SPACING) == 0


def test_basis_is_orthonormal_and_the_integral_is_exact():
    basis = grid.basis(X, 6)
    np.testing.assert_allclose(basis * NORMAL @ basis.T * SPACING, np.eye(7), atol=1e-10)
    odd = (X * NORMAL)[None]
    np.testing.assert_allclose(
        grid.cumulative_at(np.array([-0.3, 0.0, 1.23]), odd, X[:1], SPACING),
        -np.exp(-(np.array([[-0.3, 0.0, 1.23]]) ** 2) / 2) / np.sqrt(2 * np.pi),
        atol=1e-14,
    )
    np.testing.assert_allclose(grid.slope(NORMAL[None], SPACING), -odd, atol=1e-12)
