"""Distances between two Gaussian mixtures on the line, to 1e-8 in double precision whatever precision JAX is set to.

Densities are handled through their logarithms and distribution functions through whichever tail is small, so that
nothing is lost where a law is thin. Total variation and the first Wasserstein distance are split at the sign changes of
what they integrate; the second Wasserstein distance is that of the monotone coupling T = G^-1 F,
W2^2 = int (x - T(x))^2 p(x) dx. Divergences integrate p log(p/q) - p + q and (p - q)^2 / q, which are nowhere negative:
nearly equal laws lose no digits.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from collapse_jax.errors import SpecError
from collapse_jax.metrics.quadrature import edges, integrate, nodes, sign_changes
from collapse_jax.specs.mixture import Mixture

__all__ = ["all", "chi2", "kl", "total_variation", "w1", "w2"]

_ENDS = 12.0  # standard deviations beyond which a component has no mass (1e-33)
_BLOCK = 2**21  # numbers of a point x component table held at a time
_STEPS = 100  # of a quantile search: Newton takes about 6, bisection across a gap 60


class _Law(NamedTuple):
    """A mixture as float64 arrays ``[K]``: components of positive weight, weights normalised."""

    weights: np.ndarray
    means: np.ndarray
    spreads: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """Where it has atoms."""
        return self.means[self.spreads == 0]

    @property
    def ends(self) -> tuple[float, float]:
        """Between them it has all its mass."""
        return float((self.means - _ENDS * self.spreads).min()), float((self.means + _ENDS * self.spreads).max())


def _law(name: str, law: Mixture) -> _Law:
    if law.dimension != 1:
        raise SpecError(
            f"{name} must be a law in one dimension, got {law.dimension}: take project(direction), "
            "or compare clouds with metrics.clouds."
        )
    weights, means = np.asarray(law.weights, float), np.asarray(law.means, float)[:, 0]
    spreads = np.sqrt(np.asarray(law.covariances, float).reshape(-1))
    held = weights > 0
    return _Law(weights[held] / weights[held].sum(), means[held], spreads[held])


def _densities(distance: str, p: Mixture, q: Mixture) -> tuple[_Law, _Law]:
    """Both laws, neither with a point."""
    laws = _law("p", p), _law("q", q)
    for name, law in zip("pq", laws, strict=True):
        if law.points.size:
            raise SpecError(
                f"{distance} needs densities, but {name} has a point at {law.points[0]:.6g} (variance 0): "
                "use w1 or w2, or smooth the law."
            )
    return laws


def _by_components(law: _Law, function, x: np.ndarray) -> np.ndarray:
    """``function`` of blocks of ``x``, so that a table of points and components stays small."""
    rows = max(1, _BLOCK // law.weights.size)
    return np.concatenate([function(law, x[i : i + rows, None]) for i in range(0, max(1, x.size), rows)], axis=-1)


def _log_density_block(law: _Law, x):
    logs = np.log(law.weights / (law.spreads * math.sqrt(2 * math.pi))) - ((x - law.means) / law.spreads) ** 2 / 2
    top = logs.max(axis=1)
    return top + np.log(np.exp(logs - top[:, None]).sum(axis=1))


def _log_density(law: _Law, x: np.ndarray) -> np.ndarray:
    return _by_components(law, _log_density_block, x)


def _density_block(law: _Law, x):
    wide = law.spreads > 0
    weights, means, spreads = (part[wide] for part in law)
    return np.exp(-(((x - means) / spreads) ** 2) / 2) @ (weights / (spreads * math.sqrt(2 * math.pi)))


def _tails_block(law: _Law, x):
    off = x - law.means
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.where(law.spreads > 0, off / law.spreads, np.where(off < 0, -np.inf, np.inf))
    small = ndtr(-np.abs(units))
    below = units < 0
    return np.stack([np.where(below, small, 1 - small) @ law.weights, np.where(below, 1 - small, small) @ law.weights])


def _tails(law: _Law, x: np.ndarray) -> np.ndarray:
    """``[2, n]``: mass up to and beyond ``x``, each accurate where it is small."""
    return _by_components(law, _tails_block, x)


def _panels(p: _Law, q: _Law, points=(), low=None, high=None) -> np.ndarray:
    low = min(p.ends[0], q.ends[0]) if low is None else low
    high = max(p.ends[1], q.ends[1]) if high is None else high
    centres, spreads = np.concatenate([p.means, q.means]), np.concatenate([p.spreads, q.spreads])
    return edges(centres, spreads, low, max(high, np.nextafter(low, np.inf)), points)


def total_variation(p: Mixture, q: Mixture) -> float:
    """Half the integral of |p - q|, in [0, 1].

    Args:
        p, q: one-dimensional mixtures without points.

    Raises:
        SpecError: a law with points, or in more than one dimension.

    >>> round(total_variation(Mixture([1.0], [0.0], [1.0]), Mixture([1.0], [1.0], [1.0])), 6)
    0.382925
    """
    left, right = _densities("total variation", p, q)

    def difference(x):
        return np.exp(_log_density(left, x)) - np.exp(_log_density(right, x))

    panels = _panels(left, right)
    panels = np.union1d(panels, sign_changes(difference, panels))
    return integrate(lambda x: np.abs(difference(x)), panels, 1e-16) / 2


def kl(p: Mixture, q: Mixture) -> float:
    """Kullback-Leibler divergence KL(p || q) in nats.

    Args:
        p, q: one-dimensional mixtures without points.

    Raises:
        SpecError: a law with points (infinite), or in more than one dimension.

    >>> round(kl(Mixture([1.0], [0.0], [1.0]), Mixture([1.0], [1.0], [4.0])), 6)
    0.443147
    """
    left, right = _law("p", p), _law("q", q)
    if right.points.size and not right.spreads.any() and left.spreads.any():
        raise SpecError("KL(p || q) is infinite: p has mass where q, a law of points, has none. Use w1 or w2.")
    left, right = _densities("KL", p, q)

    def integrand(x):
        base = _log_density(right, x)
        ratio = _log_density(left, x) - base
        small = np.abs(ratio) < 1e-3
        near = np.where(small, ratio, 0)
        near = near**2 * (1 / 2 + near / 3 + near**2 / 8 + near**3 / 30)
        grown = np.exp(base + np.where(small, 0, ratio))
        return np.where(small, np.exp(base) * near, grown * (ratio - 1) + np.exp(base))

    return integrate(integrand, _panels(left, right), 1e-17)


def chi2(p: Mixture, q: Mixture) -> float:
    """Chi-square divergence, the integral of (p - q)^2 / q.

    Args:
        p, q: one-dimensional mixtures without points.

    Raises:
        SpecError: a law with points, in more than one dimension, or p with tails so wide (its largest variance at least
            twice that of q) that the integral diverges.

    >>> round(chi2(Mixture([1.0], [0.0], [1.0]), Mixture([1.0], [1.0], [1.0])), 6)
    1.718282
    """
    left, right = _densities("chi2", p, q)
    widest, widest_q = left.spreads.max() ** 2, right.spreads.max() ** 2
    if widest >= 2 * widest_q:
        raise SpecError(
            f"chi2(p || q) is infinite: the widest variance of p, {widest:.6g}, must stay below twice that of q, "
            f"{widest_q:.6g}. Use kl, total_variation, w1 or w2."
        )
    # p_i^2 / q lies below a multiple of p_i^2 / q_k with k the widest of q, a Gaussian that may be wider than both
    k = int(np.argmax(right.spreads))
    precision = 2 / left.spreads**2 - 1 / widest_q
    spreads = 1 / np.sqrt(precision)
    means = (2 * left.means / left.spreads**2 - right.means[k] / widest_q) / precision
    heavy = _Law(left.weights, means, spreads)
    low, high = (pick(pick(law.ends) for law in (left, right, heavy)) for pick in (min, max))
    every = _Law(*(np.concatenate([a, b]) for a, b in zip(left, heavy, strict=True)))

    def integrand(x):
        base = _log_density(right, x)
        ratio = _log_density(left, x) - base
        large = ratio > 1
        growth = np.log(np.abs(np.expm1(np.where(large, -ratio, 1.0))))
        with np.errstate(over="ignore"):
            far = np.exp(base + 2 * np.where(large, ratio + growth, 0))
        return np.where(large, far, np.exp(base) * np.expm1(np.where(large, 0, ratio)) ** 2)

    value = integrate(integrand, _panels(every, right, low=low, high=high), 1e-17)
    if not math.isfinite(value):
        raise SpecError("chi2(p || q) is beyond the largest double-precision number: use kl, w1 or w2.")
    return value


def w1(p: Mixture, q: Mixture) -> float:
    """First Wasserstein distance, the integral of |F - G| [data units]; points are allowed.

    Args:
        p, q: one-dimensional mixtures.

    Raises:
        SpecError: more than one dimension.

    >>> round(w1(Mixture([1.0], [0.0], [1.0]), Mixture([1.0], [0.5], [1.0])), 6)
    0.5
    """
    left, right = _law("p", p), _law("q", q)

    def difference(x):
        ours, theirs = _tails(left, x), _tails(right, x)
        return np.where(ours[0] < 0.5, ours[0] - theirs[0], theirs[1] - ours[1])

    panels = _panels(left, right, np.concatenate([left.points, right.points]))
    panels = np.union1d(panels, sign_changes(difference, panels))
    return integrate(lambda x: np.abs(difference(x)), panels, 1e-17 * (panels[-1] - panels[0]))


class _Quantiles:
    """Quantile function of a law: a table to start from, then Newton inside a bracket."""

    def __init__(self, law: _Law):
        self.law, self.grid = law, nodes(_panels(law, law, law.points))
        self.below, self.beyond = _tails(law, self.grid)
        self.fine = 4e-16 * (self.grid[-1] - self.grid[0])

    def __call__(self, tails: np.ndarray) -> np.ndarray:
        """Points ``[n]`` that leave the masses ``tails`` ``[2, n]`` below and beyond them."""
        lower, count = tails[0] < 0.5, self.grid.size
        level = np.where(lower, tails[0], tails[1])
        beyond = count - np.searchsorted(self.beyond[::-1], level)
        place = np.where(lower, np.searchsorted(self.below, level), beyond)
        padded = np.concatenate([[self.law.ends[0]], self.grid, [self.law.ends[1]]])
        low, high = padded[place], padded[place + 1]
        found, active = (low + high) / 2, np.arange(level.size)
        for _ in range(_STEPS if level.size else 0):
            here, target, left = found[active], level[active], lower[active]
            reached = _tails(self.law, here)
            reached = np.where(left, reached[0], reached[1])
            right = (reached < target) == left  # the quantile lies further right
            low[active], high[active] = np.where(right, here, low[active]), np.where(right, high[active], here)
            with np.errstate(all="ignore"):  # in logarithms: straight lines in a tail
                step = reached * np.log(reached / target) / _by_components(self.law, _density_block, here)
            proposed = here - np.where(left, step, -step)
            inside = (proposed > low[active]) & (proposed < high[active])
            moved = np.where(inside, proposed, (low[active] + high[active]) / 2)
            settled = (np.abs(moved - here) <= self.fine) | (high[active] - low[active] <= self.fine)
            found[active], active = moved, active[~settled]
            if not active.size:
                break
        return found


def _w2_points(p: _Law, q: _Law) -> float:
    """Both laws are points: the coupling of sorted points."""
    p, q = (_Law(*(part[np.argsort(law.means)] for part in law)) for law in (p, q))
    levels = [np.cumsum(law.weights) for law in (p, q)]
    cuts = np.union1d(np.union1d(*levels), 0.0)
    middle = (cuts[1:] + cuts[:-1]) / 2
    ours, theirs = (
        law.means[np.minimum(np.searchsorted(level, middle), level.size - 1)]
        for law, level in zip((p, q), levels, strict=True)
    )
    return math.sqrt(np.sum(np.diff(cuts) * (ours - theirs) ** 2))


def w2(p: Mixture, q: Mixture) -> float:
    """Second Wasserstein distance [data units]; one of the laws, or both, may consist of points.

    Args:
        p, q: one-dimensional mixtures.

    Raises:
        SpecError: more than one dimension, or both laws have points and one of them spread as well.

    >>> round(w2(Mixture([1.0], [0.0], [1.0]), Mixture([1.0], [3.0], [25.0])), 6)
    5.0
    """
    base, other = _law("p", p), _law("q", q)
    if base.points.size and other.points.size:
        if base.spreads.any() or other.spreads.any():
            raise SpecError(
                "w2 needs one law without points (variance 0), or two without spread: smooth one of them, or use w1."
            )
        return _w2_points(base, other)
    if base.points.size:
        base, other = other, base
    jumps = np.zeros(0)
    if other.points.size:  # the coupling jumps where F passes the foot or the top of a step of G
        atoms = np.unique(other.points)
        sides = np.concatenate([np.nextafter(atoms, -np.inf), atoms])
        levels = _tails(other, sides)
        inner = (levels > 1e-30).sum(axis=0) == 2
        jumps = _Quantiles(base)(levels[:, inner])
    low, high = base.ends
    panels = _panels(base, base, jumps, low, high)

    span = max(high, other.ends[1]) - min(low, other.ends[0])
    quantiles = _Quantiles(other)

    def integrand(x):
        values = _by_components(base, _density_block, x)
        held = values * span > 1e-30  # in a gap the coupling is anything, and nothing is there
        values[held] *= (x[held] - quantiles(_tails(base, x[held]))) ** 2
        return np.where(held, values, 0)

    return math.sqrt(max(0.0, integrate(integrand, panels, 1e-20 * span**2)))


def all(p: Mixture, q: Mixture) -> dict[str, float]:
    """Every distance by name: ``tv``, ``kl``, ``chi2``, ``w1``, ``w2``; infinite where its own function refuses.

    Args:
        p, q: one-dimensional mixtures without points.

    Raises:
        SpecError: a law with points, or in more than one dimension.

    >>> found = all(Mixture([1.0], [0.0], [4.0]), Mixture([1.0], [0.0], [1.0]))
    >>> found["chi2"], round(found["w2"], 6)
    (inf, 1.0)
    """
    _densities("the set of all distances", p, q)
    found = {"tv": total_variation(p, q), "kl": kl(p, q), "w1": w1(p, q), "w2": w2(p, q)}
    try:
        return found | {"chi2": chi2(p, q)}
    except SpecError:
        return found | {"chi2": math.inf}
