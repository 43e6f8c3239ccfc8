"""The numbers that a correct library shows, in balls."""

from fractions import Fraction

import numpy as np
from flint import arb, ctx

from proofs_check.ground import INTERVAL, check, exact, require
from proofs_check.spectral.laws import DEFAULT
from proofs_check.spectral.tools import gain, pool_gain

SHARE, AGES = "0.1", 90


def rounds_to(value: arb, printed: str) -> bool:
    """Whether every number of the ball rounds to the printed decimals."""
    half = arb(5) / arb(10) ** (len(printed.partition(".")[2]) + 1)
    return bool(abs(value - arb(printed)) < half)


@check(
    "SP-6",
    "kappa = 1, t0 = .05, alpha = .1: G_1 = .6611, G_3 = .3819, pool gain .4437 at order 3",
    INTERVAL,
    "this point",
    sole=False,
)
def gains_of_the_example() -> None:
    """Balls of 100 bits; the half gain sits at ln(1.1)/.05."""
    with ctx.workprec(100):
        share, time = arb(SHARE), arb("0.05")
        require(rounds_to(gain(share, (-time).exp()), "0.6611"), "G_1")
        require(rounds_to(gain(share, (-3 * time).exp()), "0.3819"), "G_3")
        require(rounds_to(pool_gain(share, (-3 * time).exp()), "0.4437"), "pool gain")
        half = gain(share, (-(1 + share).log()).exp())
        require(half.overlaps(arb(1) / 2) and half.rad() < 1e-25, "half gain")


@check("SP-15", "VE with s = .15, alpha = .1 adds .225", INTERVAL, "this point, exact rationals", sole=False)
def added_variance_of_the_example() -> None:
    """s^2/alpha, and the chain of rounds below it."""
    noise, share, excess = Fraction(15, 100) ** 2, Fraction(1, 10), Fraction(0)
    require(noise / share == Fraction("0.225"), "limit")
    for rounds in range(1, 20):
        excess = (1 - share) * excess + noise
        require(excess == noise * (1 - (1 - share) ** rounds) / share, f"round {rounds}")


@check(
    "SP-9",
    "sqrt(2-alpha) is the ratio of the Fisher bound to the asymptote: 1.378 at alpha = .1",
    INTERVAL,
    "t0 = 1e-9",
    sole=False,
)
def ratio_of_the_example() -> None:
    """sqrt(1 - 2 G_1 + G_2) over kappa t0/alpha."""
    with ctx.workprec(300):
        share, time = arb(SHARE), arb("1e-9")
        spread = 1 - 2 * gain(share, (-time).exp()) + gain(share, (-2 * time).exp())
        ratio = spread.sqrt() / (time / share)
        require(abs(ratio - (2 - share).sqrt()) < arb("1e-6"), ratio.str(8))
        require(rounds_to(ratio, "1.378"), ratio.str(8))


Component = tuple[arb, arb, arb]


def data_components() -> list[Component]:
    """Weight, mean and deviation of the default data, exactly the printed decimals."""
    return [
        (exact(Fraction(str(w))), exact(Fraction(str(m))), exact(Fraction(str(d))))
        for w, m, d in zip(*DEFAULT, strict=True)
    ]


def aged(components: list[Component], age: int, mass: arb) -> list[Component]:
    """Components of S^age p*, times a mass, at t0 = .05, kappa = 1."""
    factor = (-arb("0.05") * age).exp()
    return [(mass * w, factor * m, (1 + factor**2 * (d**2 - 1)).sqrt()) for w, m, d in components]


def total_variation(gap: list[Component], low: float, high: float, cells: int) -> arb:
    """Half of the integral of |density| of a signed normal mixture over [low, high].

    On a cell of width h the mean value form encloses the density. Where it has one sign the integral is a difference of
    distribution functions; elsewhere it lies between the size of that difference and h times the largest |density|.
    """
    root, bell = arb(2).sqrt(), 1 / (2 * arb.pi()).sqrt()
    parts = [(w / d * bell, w / d**2 * bell, m, 1 / d, w) for w, m, d in gap]

    def density(point):
        return sum((c * (-(((point - m) * r) ** 2) / 2).exp() for c, _, m, r, _ in parts), arb(0))

    def slope(point):
        scores = [((point - m) * r, c) for _, c, m, r, _ in parts]
        return -sum((c * score * (-(score**2) / 2).exp() for score, c in scores), arb(0))

    def below(point):
        return sum((w * (1 + ((point - m) * r / root).erf()) / 2 for _, _, m, r, w in parts), arb(0))

    edges = [arb(low) + (arb(high) - low) * i / cells for i in range(cells + 1)]
    sums, total = [below(edge) for edge in edges], arb(0)
    for i in range(cells):
        width, cell = edges[i + 1] - edges[i], edges[i].union(edges[i + 1])
        change = abs(sums[i + 1] - sums[i])
        middle = (edges[i] + edges[i + 1]) / 2
        value = density(middle) + slope(cell) * (cell - middle)
        total += change if value > 0 or value < 0 else change.union(width * abs(value).upper())
    return total / 2


@check(
    "SP-5",
    "default 1-D data: TV(p_inf, p*) = .383, one-shot .227",
    INTERVAL,
    "t0 = .05, alpha = .1; 90 ages, [-5, 5]",
    sole=False,
)
def variation_of_the_example() -> str:
    """Ages beyond 90 hold (1-alpha)^90 of mass and can raise or lower the integral by as much; what lies outside of
    [-5, 5] only adds, at most P(|X| > 5) of either law."""
    with ctx.workprec(64):
        share, data, found = arb(SHARE), data_components(), []
        negative = [(-w, m, d) for w, m, d in data]
        cases = (
            (aged(data, 1, arb(1)), arb(0), 900, "0.227"),
            (
                [c for j in range(1, AGES + 1) for c in aged(data, j, share * (1 - share) ** (j - 1))],
                (1 - share) ** AGES,
                1000,
                "0.383",
            ),
        )
        for law, lost, cells, printed in cases:
            outside = sum((w * ((5 - abs(m)) / d / arb(2).sqrt()).erfc() for w, m, d in [*law, *data]), arb(0))
            inner = total_variation(law + negative, -5.0, 5.0, cells)
            value = (inner - lost / 2).union(inner + (lost + outside) / 2)
            require(rounds_to(value, printed), f"{value.str(6)} for {printed}")
            found.append(value.str(5))
    return ", ".join(found)


@check("SP-5", "age sum: (1-alpha)^J < 1e-12 from J = 28/alpha on", INTERVAL, "alpha = 1/1000 ... 1", sole=False)
def length_of_the_age_sum() -> None:
    """ln(1-alpha) <= -alpha, so J = 28/alpha leaves at most e^-28 < 1e-12; checked along a grid of alpha too."""
    require(arb(-28).exp() < arb("1e-12"), "e^-28")
    for share in np.linspace(0.001, 0.999, 50):
        require(28 / arb(float(share)) * (1 - arb(float(share))).log() < arb("1e-12").log(), f"alpha = {share:.3f}")
