"""The library's theory held against the definitions: float64 against 40 digits at random parameters.

Values are compared by their relative difference, entries of a matrix or a law relative to the largest of them. The
recursions are run here as the derivation writes them, from the definition where there is one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import mpmath as mp
import numpy as np

from proofs_check.ground import HOLD, check, require

DRAWS, DIGITS, ROUNDS, TOKENS, ACCURACY = 12, 40, 7, 4, 1e-12


@dataclass
class Case:
    """A random chain: fields for the spec, and the same in 40 digits."""

    fields: dict
    shares: list = field(default_factory=list)
    sizes: list = field(default_factory=list)

    def number(self, name: str):
        return mp.mpf(float(self.fields[name]))

    @property
    def truth(self) -> list:
        return [mp.mpf(float(p)) for p in np.ravel(self.fields["truth"])]

    @property
    def spread(self):
        return sum(p * (1 - p) for p in self.truth)

    @property
    def start(self):
        return self.number("first_size")


def scalar(case: Case, *, own=True, start=None) -> list:
    """A_t; without ``own`` the past adds no noise (V_t of a parametric model)."""
    path = [1 / case.start if start is None else start]
    for share, size in zip(case.shares, case.sizes, strict=True):
        kept = (1 - share) ** 2 * path[-1]
        path.append((1 - kept * own) / size + kept)
    return path


def times(factor, path) -> list:
    return [factor * value for value in path]


def binomial(size, chance, function):
    return sum(
        mp.binomial(int(size), k) * chance**k * (1 - chance) ** (int(size) - k) * function(k)
        for k in range(int(size) + 1)
    )


def filtered(case: Case) -> list:
    out = [case.spread / case.start]
    for share, size in zip(case.shares, case.sizes, strict=True):
        mean = binomial(size, share, lambda k: mp.mpf(1) / k if k else mp.mpf(0))
        out.append(case.spread * mean / (1 - (1 - share) ** size))
    return out


def pooled(case: Case) -> list:
    """All shares are the same: the number of real tokens is binomial."""
    out, total = [], mp.mpf(0)
    for size in [mp.mpf(0), *case.sizes]:
        total += size
        out.append(case.spread * binomial(total, case.shares[0], lambda k: 1 / (case.start + k)))
    return out


def kept(case: Case) -> list:
    path, total = [1 / case.start], case.start
    for share, size in zip(case.shares, case.sizes, strict=True):
        total += size
        new = size / total
        path.append(((1 - share * new) ** 2 - new**2 * (1 - share) ** 2 / size) * path[-1] + new**2 / size)
    return times(case.spread, path)


def contexts(case: Case) -> list:
    weights = [mp.mpf(float(w)) for w in case.fields["contexts"]]
    rows = np.reshape(case.truth, (len(weights), -1)).tolist()
    out = [mp.mpf(0)] * (ROUNDS + 1)
    for weight, row in zip(weights, rows, strict=True):
        spread, value = sum(p * (1 - p) for p in row), 1 / case.start
        out[0] += weight * spread * value
        for t, (share, size) in enumerate(zip(case.shares, case.sizes, strict=True), 1):
            stays = (1 - share) ** 2 * value
            value = binomial(size, weight, lambda k, s=stays, v=value: (1 - s) / k + s if k else v)
            out[t] += weight * spread * value
    return out


def poisson(case: Case) -> list:
    out = [1 / case.start]
    for share, size in zip(case.shares, case.sizes, strict=True):
        mean = (1 - mp.exp(1 - size)) / (size - 1) if size > 1 else mp.mpf(1)
        stays = (1 - share) ** 2 * out[-1]
        out.append(stays + mean * (1 - stays))
    return times(case.spread, out)


def smoothed(case: Case) -> list:
    added = len(case.truth) * case.number("smoothing")
    beta = added / (case.start + added)
    path = [beta]
    for share, size in zip(case.shares, case.sizes, strict=True):
        gamma = added / (size + added)
        beta = gamma + (1 - gamma) * (1 - share) * beta
        path.append(beta)
    return [[p + b * (mp.mpf(1) / len(case.truth) - p) for p in case.truth] for b in path]


def smoothed_end(case: Case) -> list:
    gamma = len(case.truth) * case.number("smoothing")
    gamma = gamma / (case.sizes[0] + gamma)
    beta = gamma / (1 - (1 - gamma) * (1 - case.shares[0]))
    return [p + beta * (mp.mpf(1) / len(case.truth) - p) for p in case.truth]


def covariance(case: Case) -> list:
    law = case.truth
    return [[[a * ((i == j) * p - p * q) for j, q in enumerate(law)] for i, p in enumerate(law)] for a in scalar(case)]


def settled(case: Case):
    share, size = case.shares[0], case.sizes[0]
    return size - (size - 1) * (1 - share) ** 2


def even(share, effective):
    return (effective - (1 - share) ** 2) / (1 - (1 - share) ** 2)


def design(case: Case) -> list:
    path = scalar(case)
    return [
        case.start,
        *[
            (1 - (1 - s) ** 2 * b) / (a - (1 - s) ** 2 * b)
            for s, b, a in zip(case.shares, path[:-1], path[1:], strict=True)
        ],
    ]


def steady(case: Case) -> list:
    out, sizes = [], [case.start, *case.sizes]
    for t in range(ROUNDS + 1):
        least = min([mp.mpf(1), *case.shares[:t]])
        out.append(case.spread * sum((1 - least) ** (2 * (t - s)) / sizes[s] for s in range(t + 1)))
    return out


def decaying(case: Case) -> list:
    out = [case.spread / case.start]
    for t in range(1, ROUNDS + 1):
        found = [mp.mpf(1)]
        for s in range(t):
            left, worst = (mp.mpf(1) if s else 1 / case.start), mp.mpf(0)
            for share, size in zip(case.shares[s:t], case.sizes[s:t], strict=True):
                left, worst = left * (1 - share) ** 2, max(worst, 1 / (size * share * (2 - share)))
            found.append(left + worst)
        out.append(case.spread * min(found))
    return out


def falling(case: Case, start) -> list:
    out = [start]
    for share in case.shares:
        out.append(out[-1] * (1 - share) ** 2)
    return out


def remembered(case: Case):
    sizes = [case.start, *case.sizes]
    return case.spread * max(
        mp.fprod([(1 - share) ** 2 for share in case.shares[s:]]) / sizes[s] for s in range(ROUNDS + 1)
    )


def late(case: Case, law: Callable):
    window = range(ROUNDS // 2 + 1, ROUNDS + 1)
    return case.spread * sum(law(mp.mpf(t)) for t in window) / len(window)


def powers(case: Case) -> tuple:
    return tuple(case.number(name) for name in ("real_power", "size_power", "real_fraction", "size"))


def shared(case: Case):
    a, b, c, n = powers(case)
    return late(case, lambda t: t ** (a - b) / (2 * c * n))


def harmonic(case: Case):
    _, b, c, n = powers(case)
    return late(case, lambda t: t ** (1 - b) / ((2 * c + 1 - b) * n))


def balanced(case: Case):
    _, _, c, n = powers(case)
    return case.spread / (1 + 2 * c * n)


def slow(case: Case) -> list:
    pairs = zip(case.shares, case.sizes, strict=True)
    return times(case.spread, [1 / case.start, *(1 / (n * s * (2 - s) + (1 - s) ** 2) for s, n in pairs)])


def rare(case: Case) -> list:
    pairs = zip(case.shares, case.sizes, strict=True)
    return times(case.spread, [1 / case.start, *(1 / (1 + 2 * n * s) for s, n in pairs)])


def kept_late(case: Case):
    share, size = case.shares[0], case.sizes[0]
    return late(case, lambda t: 1 / ((2 * share - 1) * size * t))


def kept_end(case: Case) -> list:
    ratio, root = case.start / case.sizes[0], 1 / mp.sqrt(case.sizes[0])
    product = mp.gamma(1 + ratio) ** 2 / mp.gamma(1 + ratio - root) / mp.gamma(1 + ratio + root)
    return [case.spread * (1 - (1 - 1 / case.start) * product)] * (ROUNDS + 1)


def anchored(case: Case) -> list:
    return [case.spread * (1 / case.start + (1 - 1 / case.start) * a) for a in scalar(case, start=mp.mpf(0))]


def beta(case: Case, function: Callable) -> list:
    total = 2 * case.sizes[0] * case.shares[0]
    return [function(total, p) for p in case.truth]


def fourth(total, p):
    v = p * (1 - p)
    return 3 * v * (v * (total - 6) + 2) / ((total + 1) * (total + 2) * (total + 3))


def absent(case: Case) -> list:
    low = 1 / (2 * case.sizes[0])
    return beta(case, lambda s, p: mp.betainc(s * p, s * (1 - p), 0, low, regularized=True))


SCHEDULE, CONSTANT, ALONE, POWERS = "schedule", "constant", "alone", "powers"
FEATURES = {"features": (1.0, 0.0, -1.0, 0.5)}


@dataclass(frozen=True)
class Reference:
    """What the values of a result should be, and of which chains: kind of schedule, and other fields of the spec."""

    values: Callable[[Case], object]
    kind: str = SCHEDULE
    fields: dict = field(default_factory=dict)


KEEP, ANCHOR = {"regime": "accumulate"}, {"real": "anchor"}

REFERENCES = {
    "CON-1": Reference(lambda c: times(c.spread, scalar(c))),
    "CON-2": Reference(covariance),
    "CON-2/mean": Reference(lambda c: [c.truth] * (ROUNDS + 1)),
    "CON-2/size": Reference(lambda c: [1 / a for a in scalar(c)]),
    "CON-3": Reference(lambda c: times(c.spread, scalar(c)), ALONE),
    "CON-3/unrolled": Reference(lambda c: times(c.spread, scalar(c))),
    "CON-3/limit": Reference(lambda c: c.spread, CONSTANT, {"real_fraction": 0.0}),
    "CON-4": Reference(lambda c: times(c.spread, scalar(c)), CONSTANT),
    "CON-4/limit": Reference(lambda c: c.spread / settled(c), CONSTANT),
    "CON-5": Reference(lambda c: even(c.shares[0], c.start), CONSTANT),
    "CON-5/never": Reference(lambda c: [c.spread / c.start] * (ROUNDS + 1), fields={"first_size": 200.0}),
    "CON-6": Reference(design),
    "CON-6/step": Reference(lambda c: even(c.shares[0], 1 / scalar(c)[-1]), CONSTANT),
    "CON-6/floor": Reference(lambda c: [mp.mpf(1), *((1 - s) ** 2 for s in c.shares)]),
    "CON-7": Reference(steady),
    "CON-7/decaying": Reference(decaying),
    "CON-7/size": Reference(lambda c: [c.spread / n for n in (c.start, *c.sizes)]),
    "CON-7/summable": Reference(lambda c: falling(c, c.spread / c.start)),
    "CON-8": Reference(lambda c: c.number("real_power") - c.number("size_power"), POWERS),
    "CON-8/share": Reference(shared, POWERS),
    "CON-8/harmonic": Reference(harmonic, POWERS, {"real_power": 1.0, "size_power": 1.5}),
    "CON-8/balance": Reference(balanced, POWERS, {"real_power": 0.5, "size_power": 0.5}),
    "CON-8/collapse": Reference(lambda c: c.spread, POWERS, {"real_power": 0.5, "size_power": 0.25}),
    "CON-8/summable": Reference(remembered, POWERS, {"real_power": 1.5}),
    "CON-9": Reference(slow),
    "CON-9/product": Reference(rare),
    "CON-10": Reference(filtered),
    "CON-10/pool": Reference(pooled, CONSTANT),
    "CON-10/mixing": Reference(lambda c: c.spread / (c.sizes[0] * c.shares[0]), CONSTANT),
    "CON-11": Reference(kept, fields=KEEP),
    "CON-12": Reference(lambda c: -min(mp.mpf(1), 2 * c.shares[0]), CONSTANT, KEEP),
    "CON-12/constant": Reference(kept_late, CONSTANT, KEEP | {"real_fraction": 0.8}),
    "CON-12/none": Reference(kept_end, CONSTANT, KEEP | {"real_fraction": 0.0}),
    "CON-13": Reference(anchored, fields=ANCHOR),
    "CON-13/floor": Reference(lambda c: [c.spread / c.start] * (ROUNDS + 1), fields=ANCHOR),
    "CON-14": Reference(lambda c: beta(c, lambda s, p: p * (1 - p) / (s + 1)), CONSTANT),
    "CON-14/fourth": Reference(lambda c: beta(c, fourth), CONSTANT),
    "CON-14/absence": Reference(absent, CONSTANT),
    "CON-15": Reference(lambda c: [(TOKENS - 1) * a for a in scalar(c)]),
    "CON-15/kl": Reference(lambda c: [(TOKENS - 1) * a / 2 for a in scalar(c)]),
    "CON-15/tv": Reference(lambda c: [mp.sqrt(a * c.spread * TOKENS) / 2 for a in scalar(c)]),
    "CON-16": Reference(contexts, fields={"contexts": (0.5, 0.375, 0.125)}),
    "CON-16/random": Reference(poisson, fields={"size_law": "poisson"}),
    "CON-17": Reference(lambda c: [v / 2 for v in scalar(c, own=False)], fields=FEATURES),
    "CON-17/error": Reference(lambda c: scalar(c, own=False), fields=FEATURES),
    "CON-17/limit": Reference(lambda c: 1 / (2 * c.sizes[0] * c.shares[0] * (2 - c.shares[0])), CONSTANT, FEATURES),
    "CON-18": Reference(smoothed, fields={"smoothing": 0.7}),
    "CON-18/limit": Reference(smoothed_end, CONSTANT, {"smoothing": 0.7}),
}


def draw(reference: Reference, rng: np.random.Generator) -> Case:
    """A random chain of the kind that the reference asks for."""
    lengths = () if reference.kind in (CONSTANT, POWERS) else (ROUNDS,)
    contexts = len(reference.fields.get("contexts", (1,)))
    fields = {
        "truth": rng.dirichlet(np.full(TOKENS, 2.0), contexts).ravel(),
        "real_fraction": rng.uniform(0.02, 0.98, lengths) * (reference.kind != ALONE),
        "size": rng.integers(1, 60, lengths).astype(float),
        "first_size": float(rng.integers(1, 60)),
        "real_power": float(rng.uniform(0.1, 0.9)) * (reference.kind == POWERS),
        "size_power": float(rng.uniform(1, 2)) * (reference.kind == POWERS),
        "smoothing": 0.0,
    } | reference.fields
    case = Case(fields)
    rounds = range(1, ROUNDS + 1)
    fraction, size = (np.broadcast_to(fields[name], ROUNDS) for name in ("real_fraction", "size"))
    a, b = case.number("real_power"), case.number("size_power")
    case.shares = [min(mp.mpf(1), mp.mpf(float(f)) * mp.mpf(t) ** -a) for t, f in zip(rounds, fraction, strict=True)]
    case.sizes = [
        mp.ceil(mp.mpf(float(n)) * mp.mpf(t) ** b - mp.mpf("1e-13")) for t, n in zip(rounds, size, strict=True)
    ]
    return case


def flatten(values) -> list:
    return [leaf for item in values for leaf in flatten(item)] if isinstance(values, list) else [values]


def hold(base: str) -> str:
    """Largest difference over the registered parts of a result; a part without a reference fails."""
    from collapse_jax.results import all_results
    from collapse_jax.specs.contamination import ContaminationSpec

    parts = [result for result in all_results("contamination") if result.base == base]
    require(bool(parts), f"{base} is not in the library")
    rng, worst = np.random.default_rng(int(base.partition("-")[2])), 0.0
    for result in parts:
        require(result.id in REFERENCES, f"no reference for {result.id}")
        reference = REFERENCES[result.id]
        cases = [draw(reference, rng) for _ in range(DRAWS)]
        with jax.enable_x64(True):
            specs = [ContaminationSpec(**case.fields) for case in cases]
            stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *specs)
            made = jax.jit(jax.vmap(lambda spec, result=result: result.predict(spec, ROUNDS)))(stacked)
        require(
            result.kind == "asymptotic" or not np.any(made.margin), f"{result.id} is {result.kind} and has a margin"
        )
        for case, found in zip(cases, np.asarray(made.values), strict=True):
            with mp.workdps(DIGITS):
                expected = flatten(reference.values(case))
                require(len(expected) == found.size, f"{result.id}: {found.size} values, {len(expected)} expected")
                matrix = result.observable in ("covariance", "mean", "final_mean")
                scale = max(abs(v) for v in expected) if matrix else None
                for value, right in zip(found.ravel(), expected, strict=True):
                    off = float(abs(mp.mpf(float(value)) - right) / (scale or abs(right)))
                    require(off <= ACCURACY, f"{result.id} differs by {off:.1e}")
                    worst = max(worst, off)
    return f"{worst:.0e}"


def declare(base: str) -> None:
    """One row for a result and its parts."""
    parts = ", ".join(id for id in REFERENCES if id.partition("/")[0] == base)

    @check(base, f"values of {parts}", HOLD, f"{DRAWS} random chains a part, float64 against {DIGITS} digits")
    def held() -> str:
        return hold(base)


for name in dict.fromkeys(id.partition("/")[0] for id in REFERENCES):
    declare(name)
