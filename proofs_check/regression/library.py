"""The library's theory held against the sheet's formulas: float64 against balls of 300 bits at random parameters.

Formulas are evaluated as they are written in the statements, differences and all; the balls have digits to spare.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import jax
import numpy as np
from flint import arb, ctx

from proofs_check.ground import HOLD, check, require
from proofs_check.regression.tools import degrees, kappa

DRAWS, SIZE, ROUNDS, BITS, ACCURACY = 12, 5, 4, 300, 1e-12
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@dataclass(frozen=True)
class Case:
    """One spec as plain numbers; ``static`` fields are shared by all cases of a result."""

    fields: dict
    static: dict = field(default_factory=dict)

    def __getattr__(self, name: str):
        value = self.fields[name]
        return [arb(float(v)) for v in value] if np.ndim(value) else arb(float(value))

    def rounds(self, name: str) -> list[arb]:
        """A field of the generators by round."""
        value = getattr(self, name)
        return value if isinstance(value, list) else [value] * ROUNDS


def cost(rows: arb, noise: arb) -> arb:
    """s^2 d/(T-d-1)."""
    return noise**2 * SIZE / (rows - SIZE - 1)


def replaced(case: Case) -> list[arb]:
    """REG-1, REG-2."""
    out = [cost(case.learner_samples, case.learner_noise)]
    for rows, noise in zip(case.rounds("generator_samples"), case.rounds("generator_noise"), strict=True):
        out.append(out[-1] + cost(rows, noise))
    return out


def accumulated(case: Case) -> list[arb]:
    """REG-3."""
    out, total = [arb(0)], arb(0)
    for rows, noise in zip(case.rounds("generator_samples"), case.rounds("generator_noise"), strict=True):
        total += rows
        out.append(out[-1] + noise**2 * SIZE * rows / (total * (total - SIZE - 1)))
    return out


def accumulated_limit(case: Case) -> list[arb]:
    """REG-3/limit."""
    share = (SIZE + 1) / case.generator_samples
    return [case.generator_noise**2 * SIZE * (arb(1).digamma() - (1 - share).digamma()) / (SIZE + 1)]


def bound(case: Case) -> list[arb]:
    """REG-4."""
    return [arb.pi() ** 2 / 6 * cost(case.generator_samples, case.generator_noise)] * (ROUNDS + 1)


def gain(case: Case) -> arb:
    """g as in the sheet, from a and b."""
    T, d = case.generator_samples, SIZE
    p = T * (1 - case.real_fraction)
    a = p * d * (T * (p + 1 + d) - p * d - 2) / (T * (T + 2) * (T - 1))
    b = (p * d * (p * d + 2) - 2 * T * a) / T**2
    return ((T - 1) * a - b) / (d * (T - d - 1))


def mixed(case: Case) -> list[arb]:
    """REG-5."""
    out = [arb(0)]
    for _ in range(ROUNDS):
        out.append(gain(case) * out[-1] + cost(case.generator_samples, case.generator_noise))
    return out


def mixed_limit(case: Case) -> list[arb]:
    """REG-5/limit."""
    g = gain(case)
    return [cost(case.generator_samples, case.generator_noise) / (1 - g) if g < 1 else arb("inf")]


def step(case: Case, mean: list[arb], square: list[arb], rows: arb, noise: arb, ridge: arb):
    """One step of REG-6."""
    mu = case.spectrum
    k = kappa(mu, rows, ridge)
    kept = [m / (m + k) for m in mu]
    b = [m / (m + k) ** 2 for m in mu]
    unexplained = k**2 * sum(x * y for x, y in zip(b, square, strict=True)) + noise**2
    add = unexplained / (rows - degrees(mu, k, 2))
    return [x * y for x, y in zip(kept, mean, strict=True)], [
        x**2 * y + z * add for x, y, z in zip(kept, square, b, strict=True)
    ]


def distance(case: Case, mean: list[arb], square: list[arb]) -> arb:
    """sum mu (M - 2 m w_0 + w_0^2)."""
    parts = zip(case.spectrum, mean, square, case.truth, strict=True)
    return sum(mu * (M - 2 * m * w + w**2) for mu, m, M, w in parts)


def states(case: Case):
    """Means and mean squares of the generators by round."""
    mean, square = case.truth, [w**2 for w in case.truth]
    yield mean, square
    names = ("generator_samples", "generator_noise", "generator_ridge")
    for given in zip(*(case.rounds(name) for name in names), strict=True):
        mean, square = step(case, mean, square, *given)
        yield mean, square


def learned(case: Case) -> list[arb]:
    """REG-6."""
    learner = case.learner_samples, case.learner_noise, case.learner_ridge
    return [distance(case, *step(case, *state, *learner)) for state in states(case)]


def generators(case: Case) -> list[arb]:
    """REG-6/generator."""
    return [distance(case, *state) for state in states(case)]


def after_plain(case: Case) -> list[arb]:
    """REG-7."""
    mu, rows = case.spectrum, case.learner_samples
    k = kappa(mu, rows, case.learner_ridge)
    df2 = degrees(mu, k, 2)
    parts = zip(case.truth, mu, strict=True)
    bias = k**2 * sum(w**2 * m / (m + k) ** 2 for w, m in parts) / (1 - df2 / rows)
    rho = df2 + k**2 * sum(1 / (m + k) ** 2 for m in mu) * df2 / (rows - df2)
    each = case.generator_noise**2 * rho / (case.generator_samples - SIZE - 1)
    return [bias + case.learner_noise**2 * df2 / (rows - df2) + n * each for n in range(ROUNDS + 1)]


def signal(case: Case) -> arb:
    """|w_0|_Sigma^2."""
    return sum(mu * w**2 for mu, w in zip(case.spectrum, case.truth, strict=True))


def scalars(case: Case):
    """eta^n and nu_n of REG-8."""
    rows, s2 = case.generator_samples, case.generator_noise**2
    for n in range(ROUNDS + 1):
        if rows > SIZE:
            yield arb(1), n * s2 * SIZE / (rows - SIZE - 1)
        else:
            eta = rows / SIZE
            yield eta**n, s2 * rows / (SIZE - rows - 1) * (1 - eta**n) / (1 - eta)


def few(case: Case) -> list[arb]:
    """REG-8."""
    return [(1 - left) * signal(case) + noise for left, noise in scalars(case)]


def few_signal(case: Case) -> list[arb]:
    """REG-8/signal."""
    return [left * signal(case) + noise for left, noise in scalars(case)]


def few_overlap(case: Case) -> list[arb]:
    """REG-8/overlap, REG-9."""
    return [left * signal(case) for left, _ in scalars(case)]


def downstream(case: Case) -> list[arb]:
    """REG-10."""
    mu, rows = case.spectrum, case.learner_samples
    k = kappa(mu, rows, case.learner_ridge)
    top, *_ = mu
    df2, q, size = degrees(mu, k, 2), k / (top + k), signal(case)
    a1, a2 = 1 - q, 1 - 2 * q + q**2 / (1 - df2 / rows)
    own = case.learner_noise**2 * df2 / (rows - df2)
    return [a2 * (left * size + noise) - 2 * a1 * left * size + size + own for left, noise in scalars(case)]


def downstream_plain(case: Case) -> list[arb]:
    """REG-10/ridgeless."""
    rows, size, s2 = case.learner_samples, signal(case), case.learner_noise**2
    a = rows / SIZE if rows < SIZE else arb(1)
    own = s2 * rows / (SIZE - rows - 1) if rows < SIZE else s2 * SIZE / (rows - SIZE - 1)
    return [a * (left * size + noise) - 2 * a * left * size + size + own for left, noise in scalars(case)]


def coordinates(case: Case) -> list[arb]:
    """REG-11."""
    k = kappa(case.spectrum, case.generator_samples, case.generator_ridge)
    pairs = list(zip(case.spectrum, case.truth, strict=True))
    return [(mu / (mu + k)) ** n * w for n in range(ROUNDS + 1) for mu, w in pairs]


def floor(case: Case) -> list[arb]:
    """REG-15, in units in which the eigenvalue is 1."""
    rows, size, out = case.learner_samples, signal(case), []
    for n in range(ROUNDS + 1):
        c = n * case.generator_noise**2 / (case.generator_samples - SIZE - 1)
        tau2 = size / SIZE + c
        b, ridge = size / SIZE / tau2, case.learner_noise**2 / (rows * tau2)
        k = kappa([arb(1)] * SIZE, rows, ridge)
        df2 = SIZE / (1 + k) ** 2
        ridged = tau2 * SIZE * k**2 / (1 + k) ** 2 / (1 - df2 / rows) + case.learner_noise**2 * df2 / (rows - df2)
        out.append(size * (1 - b) + b**2 * ridged)
    return out


def least(case: Case) -> arb:
    """min(r, 1)."""
    return case.smoothness if case.smoothness < 1 else arb(1)


def critical(case: Case) -> arb:
    """l_crit at a = 0."""
    return case.decay / (2 * case.decay * least(case) + 1)


def exponents(case: Case) -> tuple[arb, arb]:
    """Of bias and of noise."""
    return 2 * least(case) * case.ridge_exponent, 1 - case.ridge_exponent / case.decay


def fixed(case: Case):
    """h_i^n and variances of REG-16."""
    kept = [mu / (mu + case.generator_ridge) for mu in case.spectrum]
    for n in range(ROUNDS + 1):
        yield (
            [h**n for h in kept],
            [case.generator_noise**2 * sum((h ** (2 * k) for k in range(1, n + 1)), arb(0)) for h in kept],
        )


def in_sample(case: Case) -> list[arb]:
    """REG-16 with c_i^2 = T mu_i w_i^2."""
    rows, out = case.generator_samples, []
    for left, spread in fixed(case):
        parts = zip(left, spread, case.spectrum, case.truth, strict=True)
        out.append(sum((1 - h) ** 2 * rows * mu * w**2 + v for h, v, mu, w in parts) / rows)
    return out


def in_sample_mean(case: Case) -> list[arb]:
    """REG-16/mean."""
    clean = [(case.generator_samples * mu).sqrt() * w for mu, w in zip(case.spectrum, case.truth, strict=True)]
    return [h * c for left, _ in fixed(case) for h, c in zip(left, clean, strict=True)]


PLAIN = {"learner_ridge": 0.0, "generator_ridge": 0.0}
QUIET = {"generator_noise": 0.0}
ISO = {"isotropic": True}
SCHEDULE = {"schedule": True}
POWER = PLAIN | {"learner_ridge": 1.0}

REFERENCES: dict[str, tuple[Callable, dict]] = {
    "REG-1": (replaced, PLAIN),
    "REG-2": (replaced, PLAIN | SCHEDULE),
    "REG-3": (accumulated, PLAIN | SCHEDULE | {"regime": "accumulate"}),
    "REG-3/limit": (accumulated_limit, PLAIN | {"regime": "accumulate"}),
    "REG-4": (bound, PLAIN | {"regime": "accumulate"}),
    "REG-5": (mixed, PLAIN | {"shares": True}),
    "REG-5/gain": (lambda case: [gain(case)], PLAIN | {"shares": True}),
    "REG-5/limit": (mixed_limit, PLAIN | {"shares": True}),
    "REG-6": (learned, {"few": True}),
    "REG-6/generator": (generators, {"few": True} | SCHEDULE),
    "REG-7": (after_plain, {"generator_ridge": 0.0}),
    "REG-8": (few, PLAIN | ISO | {"few": True}),
    "REG-8/signal": (few_signal, PLAIN | ISO | {"few": True}),
    "REG-8/overlap": (few_overlap, PLAIN | ISO | {"few": True}),
    "REG-9": (few_overlap, PLAIN | ISO | QUIET | {"few": True}),
    "REG-9/error": (few, PLAIN | ISO | QUIET | {"few": True}),
    "REG-10": (downstream, {"generator_ridge": 0.0} | ISO | {"few": True}),
    "REG-10/ridgeless": (downstream_plain, PLAIN | ISO | {"few": True}),
    "REG-11": (coordinates, {"few": True}),
    "REG-12": (lambda case: [-min(exponents(case), key=lambda e: float(e.mid()))], POWER),
    "REG-12/bias": (lambda case: [-exponents(case)[0]], POWER),
    "REG-12/noise": (lambda case: [-exponents(case)[1]] * 2, POWER),
    "REG-12/df": (lambda case: [case.ridge_exponent / case.decay], POWER),
    "REG-13": (lambda case: [-2 * least(case) * critical(case)], POWER),
    "REG-13/plateau": (lambda case: [arb(1)], POWER),
    "REG-14": (lambda case: [-1 / (exponents(case)[0] - exponents(case)[1])], POWER),
    "REG-14/rise": (lambda case: [case.ridge_exponent / case.decay], POWER),
    "REG-15": (floor, PLAIN | ISO | {"learner_ridge": 0.1}),
    "REG-15/attained": (floor, PLAIN | ISO | {"learner_ridge": 0.1}),
    "REG-16": (in_sample, {}),
    "REG-16/mean": (in_sample_mean, {}),
    "REG-16/variance": (lambda case: [v for _, spread in fixed(case) for v in spread], {}),
    "REG-17": (learned, {"few": True}),
}


def draw(rng: np.random.Generator, index: int, how: dict) -> dict:
    """Random fields; the first draws take edges."""
    low = np.sort(10 ** rng.uniform(-2, 1, SIZE))[::-1]
    rows = np.array([*([2, 3] if how.get("few") else []), 7, 8, 20, 1000, 10**6])
    pick = lambda: float(rng.choice(rows))  # noqa: E731
    ridge = lambda: float(rng.choice([1e-8, 1e-3, 0.1, 1.0, 1e3]))  # noqa: E731
    many = (lambda one: np.array([one() for _ in range(ROUNDS)])) if how.get("schedule") else lambda one: one()
    decay, smooth = rng.uniform(1.2, 3), rng.uniform(0.3, 2)
    least = decay / (2 * decay * min(smooth, 1) + 1)
    fields = {
        "spectrum": np.full(SIZE, low[0]) if how.get("isotropic") else low,
        "truth": rng.normal(size=SIZE),
        "learner_samples": pick(),
        "learner_noise": rng.uniform(0.1, 2),
        "learner_ridge": ridge(),
        "generator_samples": many(pick),
        "generator_noise": many(lambda: rng.uniform(0.1, 2)),
        "generator_ridge": many(ridge),
        "real_fraction": [0.0, 1.0, 0.5, float(rng.uniform(0, 1))][min(index, 3)] if how.get("shares") else 0.0,
        "decay": decay,
        "smoothness": smooth,
        "ridge_exponent": least + (decay - least) * rng.uniform(0.1, 0.9),
    }
    fixed = {name: value for name, value in how.items() if name in fields}
    return fields | {
        name: np.full_like(fields[name], value) if np.ndim(fields[name]) else value for name, value in fixed.items()
    }


def predict(id: str, cases: list[Case], regime: str):
    """Values of the library for all cases at once."""
    from collapse_jax.results import get
    from collapse_jax.specs.regression import RegressionSpec

    def values(fields):
        return get(id).predict(RegressionSpec(**fields, regime=regime), ROUNDS).values

    columns = {name: np.array([case.fields[name] for case in cases]) for name in cases[0].fields}
    # 1e-12 needs float64, for this call only: importing the checks must not change what other code computes in
    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(values)).lower(columns).compile(compiler_options=QUICK)(columns))


def difference(found: float, expected: arb) -> float:
    """Relative difference; absolute where 0 is expected, and infinite numbers agree with each other."""
    if not expected.is_finite():
        return 0.0 if found == inf else inf
    if expected.contains(0):
        return abs(found)
    return float(abs((arb(float(found)) - expected) / expected).upper())


def hold(base: str) -> str:
    """Largest difference over the registered parts of a result; a part without a reference fails."""
    from collapse_jax.results import all_results

    ids = [result.id for result in all_results("regression") if result.base == base]
    require(bool(ids), f"{base} is not in the library")
    require(all(id in REFERENCES for id in ids), f"no reference for one of {ids}")
    worst = dict.fromkeys(ids, 0.0)
    for id in ids:
        reference, how = REFERENCES[id]
        rng = np.random.default_rng(int(base.partition("-")[2]))
        cases = [Case(draw(rng, index, how)) for index in range(DRAWS)]
        found = predict(id, cases, how.get("regime", "replace"))
        for case, row in zip(cases, found, strict=True):
            expected = reference(case)
            require(len(expected) == row.size, f"{id}: {row.size} values, {len(expected)} expected")
            off = max(difference(f, e) for f, e in zip(np.ravel(row), expected, strict=True))
            worst[id] = max(worst[id], off)
    wrong = [f"{id} differs by {off:.1e}" for id, off in worst.items() if off > ACCURACY]
    require(not wrong, ", ".join(wrong))
    return f"{max(worst.values()):.0e}"


def declare(base: str) -> None:
    """One row for a result and its parts."""
    parts = ", ".join(id for id in REFERENCES if id.partition("/")[0] == base)

    @check(base, f"values of {parts}", HOLD, f"{DRAWS} random chains, d = {SIZE}, float64 against {BITS} bits")
    def held() -> str:
        with ctx.workprec(BITS):
            return hold(base)


for name in dict.fromkeys(id.partition("/")[0] for id in REFERENCES):
    declare(name)
