"""Adaptive Gauss-Legendre quadrature over panels that know where a law has its features.

A panel is first halved until it is no wider than a few standard deviations of the narrowest component that lives there,
so that no bump is missed, and then wherever its integral and that of its two halves differ. All panels of a level are
evaluated together.
"""

from collections.abc import Callable

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
REACH = 9.0
"""Standard deviations beyond which a component no longer asks for narrow panels."""

_ACCURACY = 1e-12  # of a panel, relative to the whole integral
_LEVELS = 60
_BLOCK = 2**21  # numbers of a panel x component table held at a time


def edges(centres, spreads, low: float, high: float, points=()) -> np.ndarray:
    """Edges ``[P + 1]`` of panels of ``[low, high]``, each at most two spreads of the components near it wide.

    Args:
        centres, spreads: ``[K]`` of the components; those without spread ask for nothing.
        low, high: ends.
        points: where the integrand has kinks or jumps: each becomes an edge.

    >>> edges(np.zeros(1), np.ones(1), -8.0, 8.0).size
    17
    """
    wide = spreads > 0
    centres, spreads = centres[wide], spreads[wide]
    found = np.union1d(np.linspace(low, high, 17), np.clip(points, low, high))
    start, stop = found[:-1], found[1:]
    kept = [found]
    while start.size:
        smallest = np.full(start.size, np.inf)
        rows = max(1, _BLOCK // max(1, centres.size))
        for place in range(0, start.size, rows):
            part = slice(place, place + rows)
            near = (start[part, None] < centres + REACH * spreads) & (stop[part, None] > centres - REACH * spreads)
            smallest[part] = np.min(np.where(near, spreads, np.inf), axis=1, initial=np.inf)
        middle = (start + stop) / 2
        split = (stop - start > 2 * smallest) & (middle > start) & (middle < stop)
        start, stop, middle = start[split], stop[split], middle[split]
        kept.append(middle)
        start, stop = np.concatenate([start, middle]), np.concatenate([middle, stop])
    return np.unique(np.concatenate(kept))


def nodes(panels: np.ndarray) -> np.ndarray:
    """Points ``[P * 16]`` of the rule on every panel, ascending."""
    start, stop = panels[:-1, None], panels[1:, None]
    return ((start + stop) / 2 + (stop - start) / 2 * NODES).ravel()


def integrate(integrand: Callable, panels: np.ndarray, floor: float) -> float:
    """Integral over ``panels``, to about 1e-12 of its size or to ``floor``, whichever is larger.

    Args:
        integrand: ``[n]`` points to ``[n]`` values.
        panels: ``[P + 1]`` edges, ascending.
        floor: absolute error of a panel that is rounding: without it, noise would be refined for ever.

    >>> round(integrate(lambda x: np.abs(x - 0.3), np.array([0.0, 1.0]), 1e-16), 12)
    0.29
    """

    def rule(start, stop):
        half = (stop - start) / 2
        points = (start + stop)[:, None] / 2 + half[:, None] * NODES
        return half * (integrand(points.ravel()).reshape(points.shape) @ WEIGHTS)

    start, stop = panels[:-1], panels[1:]
    whole, settled, size = rule(start, stop), 0.0, 0.0
    for _ in range(_LEVELS):
        middle = (start + stop) / 2
        start, stop = np.stack([start, middle], axis=1), np.stack([middle, stop], axis=1)
        halves = rule(start.ravel(), stop.ravel()).reshape(start.shape)
        better = halves.sum(axis=1)
        scale = size + np.abs(better).sum()
        with np.errstate(invalid="ignore"):
            open = np.abs(better - whole) > _ACCURACY * scale + floor
        settled += better[~open].sum()
        size += np.abs(better[~open]).sum()
        start, stop, whole = start[open].ravel(), stop[open].ravel(), halves[open].ravel()
        if not start.size:
            break
    return float(settled + whole.sum())


def sign_changes(function: Callable, panels: np.ndarray) -> np.ndarray:
    """Zeros of ``function`` at which it changes sign between points of the rule, to rounding.

    >>> sign_changes(lambda x: x**2 - 2, np.array([0.0, 2.0])).round(12).tolist()
    [1.414213562373]
    """
    points = nodes(panels)
    signs = np.sign(function(points))
    places = np.flatnonzero(signs[:-1] * signs[1:] < 0)
    low, high, sign = points[places], points[places + 1], signs[places]
    for _ in range(60 if places.size else 0):
        middle = (low + high) / 2
        same = np.sign(function(middle)) == sign
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return (low + high) / 2
