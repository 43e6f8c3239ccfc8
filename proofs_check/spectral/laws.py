"""Normal mixtures on the line in float64, and distances between them with the quadrature's own error."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, xlogy

DEFAULT = ((0.5, 0.3, 0.2), (-1.2, 0.4, 1.6), (0.25, 0.18, 0.35))


@dataclass(frozen=True)
class Mixture:
    """Weights, means and variances of the components."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def smoothed(self, factor: float) -> "Mixture":
        """Law of factor X + sqrt(1 - factor^2) Z."""
        return Mixture(self.weights, factor * self.means, 1 + factor**2 * (self.variances - 1))

    def mixed(self, share: float, other: "Mixture") -> "Mixture":
        """share * self + (1 - share) * other."""
        weights = np.r_[share * self.weights, (1 - share) * other.weights]
        return Mixture(weights, np.r_[self.means, other.means], np.r_[self.variances, other.variances])

    def moved(self, shift: float, scale: float = 1.0) -> "Mixture":
        """Law of scale (X + shift)."""
        return Mixture(self.weights, scale * (self.means + shift), scale**2 * self.variances)

    def moment(self, power: int) -> float:
        """E X or E X^2."""
        return float(self.weights @ (self.means if power == 1 else self.means**2 + self.variances))

    def whitened(self) -> "Mixture":
        """Mean 0, variance 1."""
        centred = self.moved(-self.moment(1))
        return centred.moved(0.0, centred.moment(2) ** -0.5)

    def scores(self, points: np.ndarray) -> np.ndarray:
        """Standardised distance of every point to every component."""
        return (points[:, None] - self.means) / np.sqrt(self.variances)

    def density(self, points: np.ndarray) -> np.ndarray:
        return np.exp(-(self.scores(points) ** 2) / 2) @ (self.weights / np.sqrt(2 * np.pi * self.variances))

    def slope(self, points: np.ndarray) -> np.ndarray:
        """Derivative of the density."""
        scores = self.scores(points)
        return -(scores * np.exp(-(scores**2) / 2)) @ (self.weights / np.sqrt(2 * np.pi) / self.variances)

    def below(self, points: np.ndarray) -> np.ndarray:
        """P(X <= x)."""
        return ndtr(self.scores(points)) @ self.weights

    def above(self, points: np.ndarray) -> np.ndarray:
        """P(X > x), without cancellation in the right tail."""
        return ndtr(-self.scores(points)) @ self.weights


def default_data() -> Mixture:
    """The one-dimensional example of the experiments."""
    weights, means, deviations = (np.array(row) for row in DEFAULT)
    return Mixture(weights, means, deviations**2)


def random_mixture(rng: np.random.Generator, spread: float = 1.5, low: float = 0.15, high: float = 1.2) -> Mixture:
    """One to three components."""
    count = int(rng.integers(1, 4))
    weights = rng.dirichlet(np.ones(count))
    return Mixture(weights, rng.normal(size=count) * spread, rng.uniform(low, high, count) ** 2)


def chain_round(real: Mixture, made: Mixture, share: float, factor: float) -> Mixture:
    """p' = S(share p* + (1 - share) p)."""
    return real.mixed(share, made).smoothed(factor)


def limit(real: Mixture, share: float, factor: float, tail: float = 1e-15) -> Mixture:
    """p_infinity as the mixture over ages, the mass ``tail`` of the oldest left to the last age kept."""
    ages = 1 if share >= 1 else max(1, int(np.ceil(np.log(tail) / np.log1p(-share))))
    parts = [real.smoothed(factor**j) for j in range(1, ages + 1)]
    mass = np.array([share * (1 - share) ** (j - 1) for j in range(1, ages)] + [(1 - share) ** (ages - 1)])
    weights = np.concatenate([value * part.weights for value, part in zip(mass, parts, strict=True)])
    return Mixture(weights, np.concatenate([p.means for p in parts]), np.concatenate([p.variances for p in parts]))


def grid(*laws: Mixture, points: int = 1501) -> np.ndarray:
    """Nodes over nine standard deviations of every component; an odd number of them, so that half can be dropped."""
    low = min(float((law.means - 9 * np.sqrt(law.variances)).min()) for law in laws)
    high = max(float((law.means + 9 * np.sqrt(law.variances)).max()) for law in laws)
    return np.linspace(low, high, points)


def integrate(values: np.ndarray, nodes: np.ndarray) -> tuple[float, float]:
    """Trapezoidal rule (spectral for smooth decaying integrands) and its change when half of the nodes are left out."""
    width = (nodes[-1] - nodes[0]) / (len(nodes) - 1)
    fine = float(values.sum() * width)
    return fine, abs(fine - float(values[::2].sum() * 2 * width))


def transport(first: Mixture, second: Mixture, nodes: np.ndarray) -> np.ndarray:
    """T(x) - x of the monotone map that carries the first law to the second; 0 where under 1e-14 of mass is left."""
    below, above = first.below(nodes), first.above(nodes)
    kept = (below > 1e-14) & (above > 1e-14)
    start, left, right = nodes[kept], below[kept], above[kept]
    # beyond the first node the table is constant, and Newton's steps in the logarithm come back from there
    table, keep = np.unique(second.below(nodes), return_index=True)
    guess = np.interp(left, table, nodes[keep])
    upper_table, keep = np.unique(second.above(nodes), return_index=True)
    guess = np.where(left < right, guess, np.interp(right, upper_table, nodes[keep]))
    active = np.arange(len(start))
    for _ in range(60):
        at, lower = guess[active], left[active] < right[active]
        low, high = second.below(at), second.above(at)
        gap = np.where(lower, low * np.log(left[active] / low), -high * np.log(right[active] / high))
        density = np.maximum(second.density(at), 1e-300)
        step = np.clip(gap / density, -0.2, 0.2)
        guess[active] = at + step
        # rounding of the distribution function moves a point by this much
        rounding = 1e-14 * np.where(lower, low, high) / density
        active = active[np.abs(step) > 1e-11 + rounding]
        if not active.size:
            break
    shift = np.zeros_like(nodes)
    shift[kept] = guess - start
    return shift


def wasserstein(first: Mixture, second: Mixture, power: int = 2, points: int = 1501) -> tuple[float, float]:
    """W_1 or W_2 and its error."""
    nodes = grid(first, second, points=points)
    if power == 1:
        return integrate(np.abs(first.below(nodes) - second.below(nodes)), nodes)
    shift = transport(first, second, nodes)
    value, error = integrate(shift**2 * first.density(nodes), nodes)
    # mass left out of the map, at twice the largest shift seen
    error += 2e-14 * (2 * float(np.abs(shift).max())) ** 2
    return value**0.5, error / (2 * value**0.5)


def total_variation(first: Mixture, second: Mixture, points: int = 1501) -> tuple[float, float]:
    """TV and its error."""
    nodes = grid(first, second, points=points)
    value, error = integrate(np.abs(first.density(nodes) - second.density(nodes)) / 2, nodes)
    return value, error


def divergences(first: Mixture, second: Mixture, points: int = 1501) -> tuple[tuple[float, float], tuple[float, float]]:
    """KL(first | second) and chi^2(first | second) with their errors, from the relative gap of the densities."""
    nodes = grid(first, second, points=points)
    base = np.maximum(second.density(nodes), 1e-300)
    ratio = (first.density(nodes) - base) / base
    entropy = np.where(np.abs(ratio) < 1e-4, ratio**2 / 2 - ratio**3 / 6, xlogy(1 + ratio, 1 + ratio) - ratio)
    return integrate(base * entropy, nodes), integrate(base * ratio**2, nodes)


def fisher(law: Mixture, points: int = 3001) -> tuple[float, float]:
    """I(p | gamma) = E (p'/p + x)^2 and its error."""
    nodes = grid(law, points=points)
    density = np.maximum(law.density(nodes), 1e-300)
    return integrate((law.slope(nodes) / density + nodes) ** 2 * density, nodes)
