"""One chain in balls: the values that its definition, or a gain that was proved, gives for every result.

Distribution functions of limits and the Fisher information are float64 sums, all other numbers balls.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import exp, inf, log1p
from typing import NamedTuple

import numpy as np
from flint import acb_mat, arb
from scipy.special import ndtr

from proofs_check.ground import require
from proofs_check.spectral import laws
from proofs_check.spectral.tools import accumulate_path, gain, hermite_mean, mode_path, pool_variance

ROUNDS, ORDER, POINTS = 6, 5, 10
PROBES, FREQUENCIES = [i / 2 - 2 for i in range(9)], [0.5, 1.0, 2.0]


class Sized(NamedTuple):
    """A value, and the size of the terms it is the sum of."""

    value: arb
    size: arb

    def times(self, factor) -> "Sized":
        """Both scaled."""
        return Sized(factor * self.value, abs(factor) * self.size)


Leaf = arb | Sized
Parts = list[tuple[arb, arb, arb]]


@dataclass(frozen=True)
class Case:
    """One chain in the fields of the library's spec, whose floats are read as exact; ``start`` is a realised value."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    direction: np.ndarray
    real_fraction: float
    truncation: np.ndarray
    rate: float
    error_scale: float
    error_power: float
    start: float
    process: str
    regime: str

    @property
    def share(self) -> arb:
        """alpha."""
        return arb(self.real_fraction)

    def times(self, rounds: int) -> list[arb]:
        """Truncation of each round."""
        return [arb(float(v)) for v in np.broadcast_to(self.truncation, rounds)]

    def scales(self, rounds: int) -> list[arb]:
        """Factor beta of each round."""
        rules = {"vp": lambda t: (-arb(self.rate) * t).exp(), "rectified_flow": lambda t: 1 - t, "ve": lambda t: arb(1)}
        return [rules[self.process](t) for t in self.times(rounds)]

    @cached_property
    def scale(self) -> arb:
        """beta of a chain with one truncation."""
        return self.scales(1)[0]

    def noises(self, rounds: int) -> list[arb]:
        """Variance that each round adds."""
        pairs = zip(self.times(rounds), self.scales(rounds), strict=True)
        return [1 - beta**2 if self.process == "vp" else t**2 for t, beta in pairs]

    @cached_property
    def reference(self) -> arb:
        """Variance of the normal law that a round leaves alone: v = beta^2 v + noise."""
        return self.noises(1)[0] / (1 - self.scale**2) if self.process == "rectified_flow" else arb(1)

    def gain(self, order: int) -> arb:
        """G_m; 1 at order 0 without real data too."""
        return gain(self.share, self.scale**order) if order else arb(1)

    @cached_property
    def line(self) -> Parts:
        """Weight, mean and variance of the components along the direction."""
        axis, found = [arb(float(v)) for v in self.direction], []
        for weight, mean, spread in zip(self.weights, self.means, self.covariances, strict=True):
            full = spread if np.ndim(spread) else spread * np.eye(len(axis))
            cells = [p * q * arb(float(full[i, j])) for i, p in enumerate(axis) for j, q in enumerate(axis)]
            along = [p * arb(float(v)) for p, v in zip(axis, mean, strict=True)]
            found.append((arb(float(weight)), sum(along, arb(0)), sum(cells, arb(0))))
        return found

    def floats(self) -> laws.Mixture:
        """The law along the direction in float64."""
        return laws.Mixture(*(np.array([float(part[i]) for part in self.line]) for i in range(3)))

    def moment(self) -> arb:
        """E x^2 along the direction."""
        return sum((w * (m**2 + v) for w, m, v in self.line), arb(0))

    def mode(self, order: int) -> Sized:
        """c_n of the data on the scale of the reference law."""
        terms = [(w, m / self.reference.sqrt(), v / self.reference) for w, m, v in self.line]
        value = sum((w * hermite_mean(order, m, v) for w, m, v in terms), arb(0))
        size = sum((w * hermite_mean(order, abs(m), 1 + abs(v - 1)) for w, m, v in terms), arb(0))
        return Sized(value, size).times(1 / arb(order).fac().sqrt())

    def descents(self) -> list[Parts]:
        """Generated laws by rounds as (weight, factor, noise) of real points: pool, shrink, add noise."""
        path: list[Parts] = [[(arb(1), arb(1), arb(0))]]
        for beta, noise in zip(self.scales(ROUNDS), self.noises(ROUNDS), strict=True):
            pool = [(self.share, arb(1), arb(0)), *(((1 - self.share) * w, f, n) for w, f, n in path[-1])]
            path.append([(w, beta * f, beta**2 * n + noise) for w, f, n in pool])
        return path

    def root_information(self) -> arb:
        """sqrt(I) on the scale of the reference law, in data units."""
        unit = float(self.reference)
        information, rest = laws.fisher(self.floats().moved(0.0, unit**-0.5), 6001)
        # the error of the trapezoid is squared when nodes double, and ``rest`` is that of half of them
        require((rest / information) ** 2 <= 1e-14, f"Fisher information not resolved: {rest / information:.1e}")
        return (arb(information) * arb(unit)).sqrt()


def data_modes(case: Case) -> list[Sized]:
    """Orders 0 to the highest."""
    return [case.mode(n) for n in range(ORDER + 1)]


def by_order(case: Case, factor: Callable[[int], arb]) -> list[Sized]:
    """Modes of the data times a factor of the order."""
    return [case.mode(n).times(factor(n)) for n in range(ORDER + 1)]


def by_rounds(case: Case, paths: Callable[[int], list]) -> list[list[Sized]]:
    """Modes of the data times a path of factors for each order; rounds first."""
    columns = [paths(n) for n in range(ORDER + 1)]
    return [by_order(case, lambda n, k=k: columns[n][k]) for k in range(ROUNDS + 1)]


def chain_modes(case: Case) -> list:
    """The round map on every mode."""
    return by_rounds(case, lambda n: mode_path(case.share, [b**n for b in case.scales(ROUNDS)], arb(1), arb(1)))


def kept_modes(case: Case) -> list:
    """Pools of all laws so far in equal parts."""
    return by_rounds(case, lambda n: accumulate_path([b**n for b in case.scales(ROUNDS)], arb(1)))


def chain_cdf(case: Case) -> list[list[arb]]:
    """P(X <= x) of the law by rounds."""

    def below(law: Parts) -> list[arb]:
        parts = [
            (w * part / 2, f * mean, 1 / (2 * (f**2 * spread + n)).sqrt())
            for w, f, n in law
            for part, mean, spread in case.line
        ]
        return [sum((w * ((mean - point) * r).erfc() for w, mean, r in parts), arb(0)) for point in PROBES]

    return [below(law) for law in case.descents()]


def limit_cdf(case: Case, youngest: int) -> list[Sized]:
    """P(X <= x) summed age by age until less than e^-42 of the weight, or of the data, is left; of size 1."""
    share, cut, wide = case.real_fraction, float(case.truncation), float(case.reference)
    rate = {"vp": -case.rate * cut, "rectified_flow": log1p(-cut) if cut < 1 else inf, "ve": 0.0}[case.process]
    law = case.floats()
    forget = log1p(-share) if share < 1 else -inf
    count = youngest if share == 1 else int(min(-42 / forget if forget else inf, -42 / rate if rate else inf)) + 1
    ages = np.arange(youngest, count + 1)
    mass = share * np.exp((ages - youngest) * forget) if share < 1 else np.ones(1)
    rest = exp(forget * (count + 1 - youngest))
    noise = ages * cut**2 if case.process == "ve" else -wide * np.expm1(2 * rate * ages)
    shrunk = np.exp(rate * ages)[:, None]
    deviations = np.sqrt(shrunk**2 * law.variances + noise[:, None])
    values = [mass @ ndtr((point - shrunk * law.means) / deviations) @ law.weights for point in PROBES]
    found = [float(v + rest * ndtr(point / wide**0.5)) for v, point in zip(values, PROBES, strict=True)]
    return [Sized(arb(v), arb(1)) for v in found]


def losses(case: Case) -> list[tuple[arb, arb]]:
    """E (1 - factor)^2 and E noise of a descent, by rounds."""
    return [
        (sum((w * (1 - f) ** 2 for w, f, _ in law), arb(0)), sum((w * n for w, _, n in law), arb(0)))
        for law in case.descents()
    ]


def spread(case: Case) -> arb:
    """E (1 - a^G)^2."""
    return 1 - 2 * case.gain(1) + case.gain(2)


def matrix(case: Case, central: bool) -> list[list[arb]]:
    """E X X^T or the covariance."""
    size = case.means.shape[1]
    means = [[arb(float(v)) for v in row] for row in case.means]
    weights = [arb(float(w)) for w in case.weights]
    centre = [sum((w * m[i] for w, m in zip(weights, means, strict=True)), arb(0)) for i in range(size)]

    def cell(i: int, j: int) -> arb:
        within = [arb(float(c[i, j])) for c in case.covariances]
        total = sum((w * (c + m[i] * m[j]) for w, c, m in zip(weights, within, means, strict=True)), arb(0))
        return total - centre[i] * centre[j] if central else total

    return [[cell(i, j) for j in range(size)] for i in range(size)]


def second_moments(case: Case) -> list[list[Sized]]:
    """Fixed point of M' = beta^2 (alpha M* + (1-alpha) M) + noise 1, entry by entry."""
    raw, loss = matrix(case, False), 1 - (1 - case.share) * case.scale**2
    added = case.noises(1)[0] / loss if loss != 0 else arb(0)
    kept = case.gain(2)
    largest = max(abs(v) for row in raw for v in row)
    return [
        [Sized(kept * v + (added if i == j else 0), kept * largest + added) for j, v in enumerate(row)]
        for i, row in enumerate(raw)
    ]


def means(case: Case) -> list[Sized]:
    """Gain of order 1 for every coordinate."""
    pairs = [
        [arb(float(w)) * arb(float(v)) for w, v in zip(case.weights, column, strict=True)] for column in case.means.T
    ]
    return [Sized(sum(p, arb(0)), sum((abs(v) for v in p), arb(0))).times(case.gain(1)) for p in pairs]


def levels(case: Case) -> list[arb]:
    """Eigenvalues of the covariance, largest first."""
    return sorted((root.real for root in acb_mat(matrix(case, True)).eig()), key=float, reverse=True)


def denoised(case: Case) -> list[list[arb]]:
    """l' = l^2/(l + s^2)."""
    noise, path = 1 / case.scale**2 - 1, [levels(case)]
    for _ in range(ROUNDS):
        path.append([v**2 / (v + noise) for v in path[-1]])
    return path


def mode_variances(case: Case, points: arb | None) -> list[arb]:
    """M times the variance of pool modes; He_n^2 = sum of C(n,k)^2 k! He_2(n-k), whose means carry their gains.

    ``points`` None: the leading order, without 1/M in the rate.
    """
    found = [arb(0)]
    for n in range(1, ORDER + 1):
        both = []
        for made in (False, True):
            gains = [case.gain(2 * (n - k)) if made else arb(1) for k in range(n + 1)]
            squares = [
                (arb(n).fac() / arb(k).fac() / arb(n - k).fac()) ** 2
                * arb(k).fac()
                * case.mode(2 * (n - k)).value
                * arb(2 * (n - k)).fac().sqrt()
                * gains[k]
                for k in range(n + 1)
            ]
            centre = case.mode(n).value * (case.gain(n) if made else 1)
            both.append(sum(squares, arb(0)) / arb(n).fac() - centre**2)
        if points is None:
            stays = (1 - case.share) * case.scale**n
            found.append((case.share * both[0] + (1 - case.share) * both[1]) / (1 - stays**2))
        else:
            found.append(points * pool_variance(case.share, case.scale**n, points, *both))
    return found


def added_variance(case: Case) -> list[arb]:
    """x' = (1-alpha) x + s^2."""
    path = [arb(0)]
    for noise in case.noises(ROUNDS):
        path.append((1 - case.share) * path[-1] + noise)
    return path


def fourier(case: Case) -> list[list[Sized]]:
    """Real and imaginary part of the transform of the limit."""
    rows = []
    for frequency in FREQUENCIES:
        fixed = gain(case.share, (-case.noises(1)[0] * frequency**2 / 2).exp())
        parts = [(w * (-v * frequency**2 / 2).exp(), frequency * m) for w, m, v in case.line]
        size = sum((mass for mass, _ in parts), arb(0))
        pair = sum((b * p.cos() for b, p in parts), arb(0)), sum((b * p.sin() for b, p in parts), arb(0))
        rows.append([Sized(value, size).times(fixed) for value in pair])
    return rows


def late(case: Case) -> list[arb]:
    """(1-alpha) a^n of the lowest mode that is not 0."""
    lowest = next(n for n in range(1, ORDER + 1) if abs(case.mode(n).value) > 1e-9)
    return [(1 - case.share) * case.scale**lowest] * 3


def slow_modes(case: Case) -> list[Sized]:
    """-(1 - G_m) c* at the last truncation."""
    last = case.scales(ROUNDS)[-1]
    return by_order(case, lambda n: -(1 - gain(case.share, last**n)) if n else arb(0))


def geometric_modes(case: Case) -> list[Sized]:
    """-m kappa t_K c*/(1 - (1-alpha)/r)."""
    before, last = case.times(ROUNDS)[-2:]
    return by_order(case, lambda n: -n * case.rate * last / (1 - (1 - case.share) * before / last))


def round_error(case: Case) -> arb:
    """B t^-p."""
    return arb(case.error_scale) * case.times(1)[0] ** (-arb(case.error_power))


def best_time(case: Case) -> Sized:
    """Logarithm of where the sum of both costs is least."""
    power = arb(case.error_power)
    value = (power * case.error_scale / (case.rate * case.root_information())).log() / (1 + power)
    return Sized(value, 1 + abs(value))


def small_time(case: Case) -> list[Sized]:
    """r/(r + m kappa) c* with r = alpha/t0, which is c* at t0 = 0."""
    return by_order(case, lambda n: case.share / (case.share + n * case.rate * case.times(1)[0]))


def falling(factor: Callable[[Case], arb], probes: int = 0, start: bool = True) -> Callable[[Case], list]:
    """A start times powers of a factor."""

    def values(case: Case) -> list:
        path = [(case.start if start else 1) * factor(case) ** k for k in range(ROUNDS + 1)]
        return [[v] * probes for v in path] if probes else path

    return values
