"""The library's theory held against the derivation: float64 against balls of 200 bits at random parameters.

The reference runs the chain by its definition (mix, fit, apply) or solves the derived polynomial with certified roots.
A value is compared by its relative difference, below exp(-1) times its start by that of its logarithm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import jax
import numpy as np
import sympy as sp
from flint import arb, ctx, fmpq_poly

from proofs_check.dae.real_share import A, a, cubic, quadratic, y
from proofs_check.dae.tools import c, exact_float
from proofs_check.ground import HOLD, check, require

DRAWS, SIZE, BITS, ACCURACY = 24, 4, 200, 1e-12


@dataclass(frozen=True)
class Case:
    """One chain: eigenvalues, noise variance, generation noise variance, real share, decay, and how it is fed."""

    spectrum: tuple[float, ...]
    noise: float
    resample: float
    share: float = 0.0
    decay: float = 0.0
    feed: str = "chain"
    rank: int = SIZE
    regime: str = "replace"

    @property
    def ratio(self) -> arb:
        """c."""
        return arb(self.resample) / self.noise

    @property
    def real(self) -> list[arb]:
        """Real signal-to-noise ratios."""
        return [arb(value) / self.noise for value in self.spectrum]

    def fit(self, index: int, mixed: arb) -> arb:
        """Gain of a direction: minimise (x+1) g^2 - 2 x g + 2 eta g over g >= 0; none beyond the rank."""
        excess = mixed - arb(self.decay) / self.noise
        return excess / (mixed + 1) if index < self.rank and excess > 0 else arb(0)

    def path(self, rounds: int) -> list[list[arb]]:
        """Training ratios of every round, entry 0 the real data."""
        share, columns = arb(self.share), []
        for index, real in enumerate(self.real):
            mixed, block, column = real, real, [real]
            for count in range(1, rounds + 1):
                fed = {"chain": block, "pool": mixed, "prior": arb(0)}[self.feed]
                block = self.fit(index, mixed) ** 2 * (fed + self.ratio)
                if self.regime == "accumulate":
                    mixed = (count * mixed + block) / (count + 1)
                else:
                    mixed = share * real + (1 - share) * block
                column.append(mixed)
            columns.append(column)
        return [list(row) for row in zip(*columns, strict=True)]

    def gains(self, rounds: int) -> list[list[arb]]:
        """Gains of every round."""
        return [[self.fit(i, value) for i, value in enumerate(row)] for row in self.path(rounds)]

    def data(self, rows: list[list[arb]]) -> list[list[arb]]:
        """Ratios in units of data."""
        return [[self.noise * value for value in row] for row in rows]


def integral(value: arb, rate: arb) -> arb:
    """The integral of (x+1)^2/(x (rate x + 1)) from 1, in partial fractions; at rate 0 a polynomial and a logarithm."""
    if rate == 0:
        return (value * value - 1) / 2 + 2 * (value - 1) + value.log()
    return (value - 1) / rate + value.log() - ((rate - 1) / rate) ** 2 * ((rate * value + 1) / (rate + 1)).log()


def lifetime(case: Case, corrected: bool) -> list[arb]:
    """Rounds until each ratio has fallen to 1."""
    rate, found = 2 - case.ratio, []
    for value in case.real:
        if value <= 1:
            found.append(arb(0))
            continue
        fall = [v - (v / (v + 1)) ** 2 * (v + case.ratio) for v in (value, arb(1))]
        # the ball around 2 - c may hold 0; then c is exactly 2
        rounds = integral(value, rate if rate != 0 else arb(0))
        found.append(rounds - (fall[0] / fall[1]).log() / 2 if corrected else rounds)
    return found


def effective_rank(row: list[arb]) -> arb:
    """exp of the entropy of the shares."""
    total, entropy = sum(row, arb(0)), arb(0)
    for value in row:
        share = value / total
        entropy -= share * share.log() if value > 0 else 0
    return entropy.exp()


def risk(case: Case, gains: list[arb]) -> arb:
    """Loss of the gains on real data minus its minimum: sum of (lambda + s) g^2 - 2 lambda g over directions."""

    def cost(value: arb, gain: arb) -> arb:
        return (value + case.noise) * gain * gain - 2 * value * gain

    best = [arb(v) / (arb(v) + case.noise) for v in case.spectrum]
    return sum((cost(arb(v), g) - cost(arb(v), b) for v, g, b in zip(case.spectrum, gains, best, strict=True)), arb(0))


LIMITS = {"pool": cubic(a, A, c), "chain": quadratic(a, A, c)}
COEFFICIENTS = {feed: sp.lambdify((a, A, c), sp.Poly(form, y).all_coeffs()) for feed, form in LIMITS.items()}


def fixed_points(case: Case, index: int) -> list[arb]:
    """Positive real roots of the derived polynomial, ascending, from exact coefficients."""
    share, noise = exact_float(case.share), exact_float(case.noise)
    real, ratio = exact_float(case.spectrum[index]) / noise, exact_float(case.resample) / noise
    roots = fmpq_poly(COEFFICIENTS[case.feed](share, real, ratio)[::-1]).complex_roots()
    return sorted((root.real for root, _ in roots if root.imag == 0 and root.real > 0), key=float)


def stable_and_border(case: Case, index: int) -> tuple:
    """Lower limit, border and upper limit. Pool-fed roots alternate stable, unstable, stable; chain-fed only two, with
    endless growth beyond the second."""
    roots = fixed_points(case, index)
    if len(roots) == 1:
        return roots[0], inf, roots[0]
    return (roots[0], roots[1], roots[2] if len(roots) == 3 else inf)


def limit_from_real(case: Case, index: int):
    """The fixed point that the chain reaches from y = A."""
    lower, border, upper = stable_and_border(case, index)
    return case.noise * (upper if case.real[index] > border else lower)


@dataclass(frozen=True)
class Reference:
    """How to draw a chain for a result, and what its values should be. ``ranges`` are log10 of the eigenvalues."""

    values: Callable[[Case, int], list]
    rounds: int = 0
    ranges: tuple[float, float] = (-2.0, 2.0)
    ratio: tuple[float, float] = (0.0, 3.0)
    share: tuple[float, float] = (0.0, 0.0)
    decay: float = 0.0
    feeds: tuple[str, ...] = ("chain", "pool")
    rank: int = SIZE
    regime: str = "replace"
    noise: float | None = None

    def draw(self, rng: np.random.Generator, feed: str) -> Case:
        """A random chain of this kind."""
        noise = float(10 ** rng.uniform(-1, 1)) if self.noise is None else self.noise
        spectrum = tuple(sorted((10 ** rng.uniform(*self.ranges, SIZE) * noise).tolist(), reverse=True))
        ratio = float(rng.uniform(*self.ratio))
        resample = ratio * noise if self.ratio[0] < self.ratio[1] else self.ratio[0] * noise
        share, decay = float(rng.uniform(*self.share)), float(rng.uniform(0, self.decay)) * noise
        return Case(spectrum, noise, resample, share, decay, feed, self.rank, self.regime)


def log_rows(case: Case, rows: list[list[arb]]) -> list:
    """Logarithms in units of data; a direction that is 0 has -inf."""
    return [[(case.noise * v).log() if v > 0 else -inf for v in row] for row in rows]


def tail(case: Case, rounds: int) -> list:
    """log(c x_m) doubles each round."""
    start = case.real
    return [
        [2**m * (case.ratio * v).log() - case.ratio.log() + arb(case.noise).log() for v in start]
        for m in range(rounds + 1)
    ]


def geometric(case: Case, rounds: int) -> list[arb]:
    """First gain times powers of the first ratio of gains."""
    first, second = (row[0] for row in case.gains(1))
    return [first * (second / first) ** j for j in range(rounds + 1)]


def event(case: Case) -> arb:
    """g^2 [x + c + d (x + 2c)] at d = 1/(x+2)."""
    top = case.real[0]
    return (top / (top + 1)) ** 2 * (top + case.ratio + (top + 2 * case.ratio) / (top + 2))


def prior_roots(case: Case) -> list[arb]:
    """Roots of x^2 - (c-2) x + 1, both real for c >= 4."""
    ratio = case.ratio
    root = (ratio * (ratio - 4)).sqrt()
    return [2 / (ratio - 2 + root), (ratio - 2 + root) / 2]


def every_limit(case: Case) -> list:
    """[lower, upper] over directions."""
    found = [stable_and_border(case, i) for i in range(SIZE)]
    return [[f[0] for f in found], [f[2] for f in found]]


def law(case: Case, rounds: int) -> list:
    """m e^m = e^(1-gamma) A e^A / N, by Lambert's function."""
    scale = (1 - arb.const_euler()).exp()
    return [[case.noise * (scale * v * v.exp() / n).lambertw() for v in case.real] for n in range(1, rounds + 2)]


REFERENCES = {
    "DAE-3": Reference(lambda case, _: case.gains(0)[0]),
    "DAE-4": Reference(lambda case, _: case.gains(0)[0], rank=2),
    "DAE-5": Reference(lambda case, n: case.data(case.path(n)), 8, rank=3),
    "DAE-5/gain": Reference(lambda case, n: [row[0] for row in case.gains(n)], 8),
    "DAE-5/log": Reference(lambda case, n: log_rows(case, case.path(n)), 18),
    "DAE-6": Reference(lambda case, _: 1 / (case.ratio - 2), ratio=(2.01, 5.0)),
    "DAE-7": Reference(geometric, 12, ratio=(0.0, 2.0)),
    "DAE-8": Reference(lambda case, _: lifetime(case, True), ranges=(-0.5, 2.5), ratio=(0.0, 2.0)),
    "DAE-8/integral": Reference(lambda case, _: lifetime(case, False), ranges=(-0.5, 2.5), ratio=(0.0, 1.9)),
    "DAE-8/tail": Reference(tail, 6, ranges=(-5.0, -2.0), ratio=(0.1, 2.0)),
    "DAE-9": Reference(lambda case, n: [effective_rank(row) for row in case.path(n)], 12, ratio=(0.0, 2.0)),
    "DAE-10": Reference(lambda case, n: [risk(case, row) for row in case.gains(n)[1:]], 8, rank=3),
    "DAE-11": Reference(lambda case, _: event(case)),
    "DAE-12": Reference(
        lambda case, n: [[case.share * v / (case.share * v + 1) for v in case.real]] * (n + 1), 2, share=(0.01, 1.0)
    ),
    "DAE-13": Reference(
        lambda case, _: [limit_from_real(case, i) for i in range(SIZE)],
        ratio=(0.0, 3.0),
        share=(0.02, 1.0),
        feeds=("pool",),
    ),
    "DAE-13/chain": Reference(
        lambda case, _: [limit_from_real(case, i) for i in range(SIZE)],
        ratio=(0.0, 2.0),
        share=(0.02, 1.0),
        feeds=("chain",),
    ),
    "DAE-13/curve": Reference(lambda case, n: case.data(case.path(n)), 12, share=(0.01, 1.0), rank=3),
    "DAE-14": Reference(
        lambda case, _: every_limit(case), ranges=(-1.5, 1.0), ratio=(1.6, 4.0), share=(0.01, 0.2), feeds=("pool",)
    ),
    "DAE-14/border": Reference(
        lambda case, _: stable_and_border(case, 0)[1],
        ranges=(-1.5, 1.0),
        ratio=(1.6, 4.0),
        share=(0.01, 0.2),
        feeds=("pool",),
    ),
    "DAE-15": Reference(lambda case, n: case.data(case.path(n)), 40, feeds=("pool",), regime="accumulate"),
    "DAE-15/law": Reference(law, 40, ranges=(-1.0, 1.5), ratio=(1.0, 1.0), feeds=("pool",), regime="accumulate"),
    "DAE-16": Reference(lambda case, n: case.gains(n), 6, decay=0.5, rank=3),
    "DAE-17": Reference(lambda case, n: case.data(case.path(n)), 8, ratio=(0.0, 6.0), feeds=("prior",)),
    "DAE-17/border": Reference(lambda case, _: prior_roots(case)[0], ratio=(4.05, 9.0), feeds=("prior",)),
    "DAE-17/limit": Reference(lambda case, _: prior_roots(case)[1], ratio=(4.05, 9.0), feeds=("prior",)),
    "DAE-18": Reference(lambda case, n: case.data(case.path(n)), 6, ratio=(0.0, 0.0)),
    "DAE-19": Reference(lambda case, n: case.data(case.path(n)), 8, ratio=(1.0, 1.0)),
}


def predict(id: str, cases: list[Case], rounds: int) -> np.ndarray:
    """Values of the library for all cases at once."""
    from collapse_jax.results import get
    from collapse_jax.specs.dae import DAESpec

    first, result = cases[0], get(id)

    def values(spectrum, noise, resample, share, decay):
        spec = DAESpec(spectrum, noise, resample, share, decay, feed=first.feed, rank=first.rank, regime=first.regime)
        return result.predict(spec, rounds).values

    fields = ("spectrum", "noise", "resample", "share", "decay")
    columns = [np.array([getattr(case, name) for case in cases]) for name in fields]
    # 1e-12 needs float64, for this call only: importing the checks must not change what other code computes in
    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(values))(*columns))


def difference(found: float, expected, scale: float) -> float:
    """Relative difference, of the logarithm where the value is far below its scale; absolute where 0 is expected."""
    if not isinstance(expected, arb):
        return 0.0 if found == expected else inf
    # below the normal floats the library may underflow
    if expected == 0 or abs(expected) < arb("1e-290"):
        return abs(found) / scale
    relative = float(abs(arb(found) / expected - 1).upper()) if np.isfinite(found) else inf
    return relative / max(1.0, abs(float((abs(expected) / scale).log().mid())))


def flatten(values) -> list:
    """Leaves of nested lists in order."""
    return [leaf for item in values for leaf in flatten(item)] if isinstance(values, list) else [values]


def hold(base: str) -> str:
    """Largest difference over the registered parts of a result; a part without a reference fails."""
    from collapse_jax.results import all_results

    parts = [result.id for result in all_results("dae") if result.base == base]
    require(bool(parts), f"{base} is not in the library")
    require(all(id in REFERENCES for id in parts), f"no reference for one of {parts}")
    rng, worst = np.random.default_rng(int(base.partition("-")[2])), (0.0, "")
    for id in parts:
        reference = REFERENCES[id]
        for feed in reference.feeds:
            cases = [reference.draw(rng, feed) for _ in range(DRAWS)]
            values = predict(id, cases, reference.rounds)
            for case, row in zip(cases, values, strict=True):
                expected, found = flatten(reference.values(case, reference.rounds)), np.ravel(row)
                found = found[1:] if id == "DAE-10" else found
                require(len(expected) == len(found), f"{id}: {len(found)} values, {len(expected)} expected")
                off = max(difference(float(f), e, case.noise) for f, e in zip(found, expected, strict=True))
                worst = max(worst, (off, id))
    require(worst[0] <= ACCURACY, f"{worst[1]} differs by {worst[0]:.1e}")
    return f"{worst[0]:.0e}"


def declare(base: str) -> None:
    """One row for a result and its parts."""
    parts = ", ".join(id for id in REFERENCES if id.partition("/")[0] == base)

    @check(base, f"values of {parts}", HOLD, f"{DRAWS} random chains each, float64 against {BITS} bits")
    def held() -> str:
        with ctx.workprec(BITS):
            return hold(base)


for name in dict.fromkeys(id.partition("/")[0] for id in REFERENCES):
    declare(name)
