"""Distances between two densities on a uniform grid, from their signed difference.

Sums over a uniform grid integrate smooth functions that vanish at its ends to rounding, and Fourier series of the
samples give derivatives and the mass of every cell as exactly. What has kinks, |p - q| and |F - G|, is corrected in the
cells where the sign changes, which leaves an error of third order in the spacing. All distances take the difference
itself, so that two densities that agree to fifteen digits are still at an accurate distance.

Arrays are float64 ``[rows, N]`` with one spacing ``[rows]`` each.
"""

import math
from typing import NamedTuple

import numpy as np

_THIN = 1e-9  # densities below this share of the peak take no part in W2: rounding moves their quantiles
_SMALL = 1e-4  # cells: displacements below it are expanded to second order, which is free of cancellation
_NEWTON = 8


def basis(x: np.ndarray, order: int) -> np.ndarray:
    """Orthonormal Hermite polynomials of orders 0 to ``order`` at ``x`` ``[...]``; ``[order + 1, ...]``."""
    found = [np.ones_like(x), x]
    for m in range(1, order):
        found.append((x * found[m] - math.sqrt(m) * found[m - 1]) / math.sqrt(m + 1))
    return np.stack(found[: order + 1])


def _spectral(values, factor):
    """Multiply Fourier mode k by ``factor(i theta)``, theta the phase per cell."""
    phase = 2j * np.pi * np.fft.rfftfreq(values.shape[-1])
    return np.fft.irfft(np.fft.rfft(values) * factor(phase), values.shape[-1])


def slope(values, spacing):
    """Derivative at the nodes."""
    return _spectral(values, lambda phase: phase) / spacing[:, None]


def cells(values, spacing):
    """Integral from each node to the next, ``[rows, N]``; the last one wraps around."""

    def factor(phase):
        ratio = np.ones_like(phase)
        ratio[1:] = np.expm1(phase[1:]) / phase[1:]
        return ratio

    return _spectral(values, factor) * spacing[:, None]


def cumulative(values, spacing):
    """Integral from the first node to each, ``[rows, N]``."""
    summed = np.cumsum(cells(values, spacing), axis=1)
    return np.concatenate([np.zeros_like(summed[:, :1]), summed[:, :-1]], axis=1)


def cumulative_at(x, values, start, spacing):
    """Integral of ``values`` up to each of the points ``x`` ``[P]``, ``[rows, P]``; ``start`` ``[rows]`` first nodes.

    By the Fourier series of the integral: exact between the nodes too, for values whose own integral vanishes.
    """
    size = values.shape[1]
    angle = 2 * np.pi * np.fft.rfftfreq(size)
    series = np.fft.rfft(values)[:, 1:] / (1j * angle[1:]) * spacing[:, None]
    passed = (x - start[:, None]) / spacing[:, None]
    wave = np.expm1(1j * angle[1:, None] * passed[:, None])  # from zero at the first node
    return 2 * np.einsum("rk,rkp->rp", series, wave).real / size


def absolute_integral(values, spacing):
    """Integral of ``|values|``, ``[rows]``: trapezoids, and triangles where the sign changes.

    Trapezoids are exact for smooth functions only over the whole line: a segment that ends with slope f' at a zero
    lacks h^2 |f'| / 12, and each zero ends two of them.
    """
    left, right = values[:, :-1], values[:, 1:]
    size = np.abs(left) + np.abs(right)
    crossing = left * right < 0
    with np.errstate(divide="ignore", invalid="ignore"):
        pieces = np.where(crossing, (left**2 + right**2) / size + size / 3, size)
    return np.where(size > 0, pieces, 0).sum(axis=1) * spacing / 2


def total_variation(difference, spacing):
    """Half the integral of ``|difference|``, ``[rows]``."""
    return absolute_integral(difference, spacing) / 2


def w1(difference, spacing):
    """First Wasserstein distance ``[rows]`` [data units]."""
    return absolute_integral(cumulative(difference, spacing), spacing)


def kl(difference, second, spacing):
    """KL(second + difference || second), ``[rows]``, both of mass 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(second > 1e-25 * second.max(), np.maximum(difference / second, -1), 0)
        near = ratio**2 * (1 / 2 - ratio / 6 + ratio**2 / 12 - ratio**3 / 20)
        grown = np.where(ratio > -1, (1 + ratio) * np.log1p(ratio), 0) - ratio
    return (second * np.where(np.abs(ratio) < 1e-3, near, grown)).sum(axis=1) * spacing


def chi2(difference, second, spacing):
    """Integral of ``difference^2 / second``, ``[rows]``."""
    held = second > 1e-25 * second.max()
    return (difference**2 / np.where(held, second, np.inf)).sum(axis=1) * spacing


class Target(NamedTuple):
    """A density with the distribution function between its nodes, by quintic polynomials."""

    density: np.ndarray
    slope: np.ndarray
    levels: np.ndarray
    cells: np.ndarray
    spacing: np.ndarray


def target(density, spacing) -> Target:
    """Prepare ``density`` ``[rows, N]`` for ``w2``."""
    mass = np.maximum(cells(density, spacing), 0)
    levels = np.concatenate([np.zeros_like(mass[:, :1]), np.cumsum(mass, axis=1)[:, :-1]], axis=1)
    return Target(density, slope(density, spacing), levels, mass, spacing)


def _coefficients(to: Target, rows, cell):
    """Powers 1 to 5 of the mass within a cell, as a function of the fraction of it that is passed."""
    step = to.spacing[rows]
    f, g = to.density[rows, cell] * step, to.slope[rows, cell] * step**2
    f_next, g_next = to.density[rows, cell + 1] * step, to.slope[rows, cell + 1] * step**2
    a, b, c = to.cells[rows, cell] - f - g / 2, f_next - f - g, g_next - g
    return f, g / 2, 10 * a - 4 * b + c / 2, -15 * a + 7 * b - c, 6 * a - 3 * b + c / 2


def w2(base, difference, to: Target, *, stride: int = 1):
    """Second Wasserstein distance ``[rows]`` between ``base`` and ``to.density = base - difference`` [data units].

    The integral over base of u^2, u the displacement of the monotone coupling: F_to(x + u) = F_base(x).

    Args:
        base: ``[rows, N]`` density, the rougher one of the two.
        difference: ``[rows, N]``, base minus target.
        to: the target.
        stride: every how many nodes the integral over base is taken; base must be smooth on that scale.
    """
    count = base.shape[1]
    excess = cumulative(difference, to.spacing)
    thick = base > _THIN * base.max(axis=1, keepdims=True)
    thick[:, [0, 1, -2, -1]] = False
    thick[:, np.arange(count) % stride > 0] = False
    rows, node = np.nonzero(thick)
    step, moved = to.spacing[rows], excess[rows, node]
    density = np.maximum(to.density[rows, node], 1e-300)
    with np.errstate(over="ignore", invalid="ignore"):
        first = moved / density
        shift = first - to.slope[rows, node] / density * first**2 / 2
        far = np.zeros(len(base), bool)
        far[rows[~(np.abs(first) < _SMALL * step)]] = True
    picked = far[rows]
    if picked.any():
        shift[picked] = _displacement(to, rows[picked], node[picked], moved[picked])
    weight = base[rows, node] * to.spacing[rows] * stride
    return np.sqrt(np.bincount(rows, weight * shift**2, len(base)))


def _displacement(to: Target, rows, node, moved):
    """u with F(x_node + u) - F(x_node) = moved."""
    count = to.levels.shape[1]
    here = to.levels[rows, node]
    wanted = here + moved
    flat = (to.levels + 2 * np.arange(len(to.levels))[:, None]).ravel()
    cell = np.searchsorted(flat, wanted + 2 * rows, side="right") - 1 - rows * count
    cell = np.clip(cell, 0, count - 2)
    rest = moved - (to.levels[rows, cell] - here)
    a, b, c, d, e = _coefficients(to, rows, cell)
    with np.errstate(divide="ignore", invalid="ignore"):
        passed = np.clip(np.nan_to_num(rest / to.cells[rows, cell]), 0, 1)
        for _ in range(_NEWTON):
            mass = passed * (a + passed * (b + passed * (c + passed * (d + passed * e))))
            rate = a + passed * (2 * b + passed * (3 * c + passed * (4 * d + passed * 5 * e)))
            passed = np.clip(passed - np.nan_to_num((mass - rest) / rate, posinf=0, neginf=0), -0.01, 1.01)
    return (cell + passed - node) * to.spacing[rows]
