"""The library's theory held against the definitions: float64 against 40 digits at random parameters.

Gains are products of steps with the least-squares slopes, times of equal angles are roots, moments of unions are sums,
limits are iterated: closed forms stand only where the derivation ends in one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import mpmath as mp
import numpy as np

from proofs_check.ground import HOLD, check, require
from proofs_check.reflow.tools import between, equal_angles, euler, slope, uniform

DRAWS, DIGITS, ROUNDS, SIZE, ACCURACY = 12, 40, 4, 3, 1e-12
TIMES, PLACES = (0.1, 0.3, 0.5, 0.7, 0.9), (-1.5, -0.5, 0.5, 1.5)


@dataclass(frozen=True)
class Case:
    """One spec as plain numbers; ``static`` fields are shared by all cases of a result."""

    fields: dict
    static: dict

    def __getattr__(self, name: str):
        value = self.fields[name]
        return [mp.mpf(float(v)) for v in value] if np.ndim(value) else mp.mpf(float(value))

    @property
    def variances(self) -> list:
        """u_0 Lambda."""
        return [u * size for u, size in zip(self.start, self.spectrum, strict=True)]

    @property
    def steps(self) -> int:
        return self.static.get("steps", 10)

    @property
    def q(self):
        return (1 - self.fit_loss) ** 2

    def cross(self, second):
        """C of a single fit."""
        return self.correlation * mp.sqrt(self.latent_variance * second)


def stepped(case: Case, first, second, cross):
    """A_N on the grid of the case."""
    if case.static.get("grid") == "equal-angle":
        return euler(first, second, cross, equal_angles(first, second, cross, case.steps))
    return euler(first, second, cross, uniform(case.steps))


def single(case: Case) -> list:
    """RF-5 and its special cases."""
    return [stepped(case, case.latent_variance, v, case.cross(v)) for v in case.variances]


def best(case: Case) -> list:
    """RF-5/bound."""
    angle = mp.acos(case.correlation) / case.steps
    return [mp.sqrt(v / case.latent_variance) * mp.cos(angle) ** case.steps for v in case.variances]


def over_modes(case: Case, what) -> list:
    """RF-3 at all times and places, from the law of each mode."""
    out = []
    for time in map(mp.mpf, map(np.float64, TIMES)):
        for place in PLACES:
            for size in case.variances:
                x = place * mp.sqrt((1 - time) ** 2 + time**2 * size)
                within, rest = (1 - case.separation**2) * size, (1 - time) ** 2
                weights, means, spreads = [], [], []
                for side in (-1, 1):
                    centre = side * case.separation * mp.sqrt(size)
                    total = time**2 * within + rest
                    weights.append(mp.exp(-((x - time * centre) ** 2) / (2 * total)))
                    means.append(centre + time * within / total * (x - time * centre))
                    spreads.append(within * rest / total)
                whole = sum(weights)
                mean = sum(w * m for w, m in zip(weights, means, strict=True)) / whole
                square = sum(w * (m**2 + s) for w, m, s in zip(weights, means, spreads, strict=True)) / whole
                out.append(what(time, x, mean, square - mean**2))
    return out


def velocities(case: Case) -> list:
    """RF-4/velocity."""
    times = map(mp.mpf, map(np.float64, TIMES))
    return [slope(s, case.latent_variance, v, case.cross(v)) for s in times for v in case.variances]


def covariance(case: Case) -> list:
    """RF-4/covariance."""
    return [v if i == j else mp.mpf(0) for i, v in enumerate(case.variances) for j in range(SIZE)]


def residual(case: Case) -> list:
    """RF-15 with the arc cosine."""
    return [
        mp.sqrt(case.latent_variance * v) * mp.acos(case.correlation) * mp.sin(mp.acos(case.correlation))
        for v in case.variances
    ]


def bent(case: Case) -> list:
    """RF-15/straightness."""
    return [
        2 * mp.sqrt(case.latent_variance * v) * (1 - case.correlation) - loss
        for v, loss in zip(case.variances, residual(case), strict=True)
    ]


def latents(case: Case) -> list:
    """RF-17 with the integral of 1/m_t by quadrature."""
    out = []
    for v in case.variances:
        whole = mp.quad(
            lambda s, v=v: 1 / between(s, s, case.latent_variance, v, case.cross(v)),
            [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1],
        )
        out.append(mp.exp(-(case.diffusion**2) * whole / 2))
    return out


def rate(v):
    """k(lambda)."""
    return 1 + mp.pi / 4 * (mp.sqrt(v) + 1 / mp.sqrt(v))


def refit(case: Case, y, size):
    """A round of RF-7."""
    made = case.q * stepped(case, mp.mpf(1), y, mp.mpf(0)) ** 2
    return case.real_fraction * size + (1 - case.real_fraction) * made


def iterated(case: Case, start, advance, rounds=ROUNDS) -> list:
    """All rounds, ``advance(value, Lambda)``, round by round."""
    path = [list(start)]
    for _ in range(rounds):
        path.append([advance(value, size) for value, size in zip(path[-1], case.spectrum, strict=True)])
    return [value for row in path for value in row]


def limit(case: Case, start, advance) -> list:
    """The value that rounds end in, each by bisection of what a round adds."""
    out = []
    for size in case.spectrum:
        low, high = mp.mpf(0), start
        for _ in range(140):
            middle = (low + high) / 2
            low, high = (middle, high) if advance(middle, size) > middle else (low, middle)
        out.append((low + high) / 2)
    return out


def refit_limit(case: Case) -> list:
    """RF-7/limit."""
    found = limit(case, max(case.spectrum) * 2, lambda y, size: refit(case, y, size))
    return found if case.real_fraction > 0 else [mp.mpf(0)] * SIZE


def phi(v):
    """Phi of RF-7."""
    w = mp.sqrt(1 - 4 / mp.pi**2)
    return 8 / (mp.pi * w) * mp.atan((mp.sqrt(v) + 2 / mp.pi) / w)


def moments(case: Case, u, size):
    """M_0, M_1, C of the union of both kinds of pairs, by adding them up."""
    gain, b, kept = mp.sqrt(u * size), case.real_pairs, mp.sqrt(1 - case.noise**2)
    inverse = gain if case.static.get("inverter", "current") == "current" else mp.sqrt(case.frozen * size)
    first = (1 - b) + b * (kept**2 * size / inverse**2 + case.noise**2)
    return first, (1 - b) * gain**2 + b * size, (1 - b) * gain + b * kept * size / inverse


def orbit(case: Case, u, size):
    """A round of any chain of pairs: exact integration, or Euler steps."""
    first, second, cross = moments(case, u, size)
    gain = stepped(case, first, second, cross) if case.static.get("solver") == "euler" else mp.sqrt(second / first)
    return case.q * gain**2 / size


def whole(case: Case) -> list:
    """All rounds of a chain of pairs."""
    return iterated(case, case.start, lambda u, size: orbit(case, u, size))


def settled(case: Case) -> list:
    """The end of a chain of pairs."""
    return limit(case, mp.mpf(100), lambda u, size: orbit(case, u, size))


def turned(case: Case):
    """A_0 for three directions: the first two turned."""
    c, s = mp.cos(case.rotation), mp.sin(case.rotation)
    turn = mp.matrix([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return mp.diag([mp.sqrt(v) for v in case.variances]) * turn


def matrix_slopes(case: Case) -> list:
    """RF-9/velocity."""
    start, one, out = turned(case), mp.eye(SIZE), []
    for s in map(mp.mpf, map(np.float64, TIMES)):
        out += list((start - one) * ((1 - s) * one + s * start) ** -1)
    return out


INDEPENDENT = {"coupling": "independent", "correlation": 0.0, "latent_variance": 1.0}
EULER = INDEPENDENT | {"solver": "euler"}
PLAIN = EULER | {"fit_loss": 0.0}
EQUAL = {"grid": "equal-angle"}
NOISELESS = {"noise": 0.0}

REFERENCES: dict[str, tuple[Callable, dict]] = {
    "RF-3": (lambda case: over_modes(case, lambda t, x, mean, spread: (mean - x) / (1 - t)), INDEPENDENT),
    "RF-3/loss": (lambda case: over_modes(case, lambda t, x, mean, spread: spread / (1 - t) ** 2), INDEPENDENT),
    "RF-3/score": (
        lambda case: over_modes(case, lambda t, x, mean, spread: (t * mean - x) / (1 - t) ** 2),
        INDEPENDENT,
    ),
    "RF-4": (lambda case: [mp.sqrt(v / case.latent_variance) for v in case.variances], {}),
    "RF-4/covariance": (covariance, {}),
    "RF-4/velocity": (velocities, {}),
    "RF-5": (single, {"solver": "euler", "steps": 7, "rough": True}),
    "RF-5/never": (lambda case: [mp.sqrt(v / case.latent_variance) for v in case.variances], {"solver": "euler"}),
    "RF-5/bound": (best, {"solver": "euler", "steps": 4, "correlation": "positive"}),
    "RF-5/equal-angle": (single, {"solver": "euler", "steps": 3, "rough": True} | EQUAL),
    "RF-5/one-step": (single, {"solver": "euler", "steps": 1}),
    "RF-6": (lambda case: [mp.exp(-rate(v) / case.steps) for v in case.variances], PLAIN | {"steps": 9}),
    "RF-6/equal-angle": (lambda case: [mp.exp(-(mp.pi**2) / 4 / case.steps)] * SIZE, PLAIN | EQUAL),
    "RF-6/two": (single, PLAIN | {"steps": 2}),
    "RF-6/symmetry": (single, PLAIN | {"steps": 6}),
    "RF-6/ends": (lambda case: [(case.steps - 1) * min(v, 1) for v in case.variances], PLAIN),
    "RF-7": (lambda case: iterated(case, case.variances, lambda y, size: refit(case, y, size)), EULER | {"steps": 6}),
    "RF-7/bound": (
        lambda case: (
            [min(case.real_fraction * size, v) for v, size in zip(case.variances, case.spectrum, strict=True)]
            + [case.real_fraction * size for size in case.spectrum] * ROUNDS
        ),
        INDEPENDENT,
    ),
    "RF-7/limit": (refit_limit, EULER | {"steps": 4}),
    "RF-7/lifetime": (
        lambda case: [
            case.steps * (phi(v) - phi(case.level * size))
            for v, size in zip(case.variances, case.spectrum, strict=True)
        ],
        PLAIN | {"real_fraction": 0.0},
    ),
    "RF-7/extinction": (
        lambda case: [8 * mp.acos(2 / mp.pi) / mp.sqrt(mp.pi**2 - 4) * case.steps] * SIZE,
        PLAIN | {"real_fraction": 0.0},
    ),
    "RF-7/tail": (
        lambda case: iterated(case, case.variances, lambda y, size: (case.steps - 1) ** 2 * y**2),
        PLAIN | {"real_fraction": 0.0, "steps": 3, "small": True},
    ),
    "RF-8": (
        lambda case: [-rate(v) / case.steps - 1 / case.size - 2 * case.fit_loss for v in case.variances],
        EULER | {"real_fraction": 0.0},
    ),
    "RF-8/variance": (lambda case: [2 / case.size] * SIZE, EULER | {"real_fraction": 0.0}),
    "RF-8/exploding": (
        lambda case: iterated(
            case, case.variances, lambda y, size: y * case.largest_noise**2 / (y + case.largest_noise**2)
        ),
        INDEPENDENT | {"real_fraction": 0.0},
    ),
    "RF-9": (lambda case: list(turned(case)) * (ROUNDS + 1), {"fit_loss": 0.0, "real_pairs": 0.0}),
    "RF-9/velocity": (matrix_slopes, {"fit_loss": 0.0, "real_pairs": 0.0}),
    "RF-10": (whole, {"real_pairs": 0.0}),
    "RF-10/ridge": (
        lambda case: iterated(case, case.variances, lambda y, size: (y + case.ridge) / (1 + case.ridge)),
        {"real_pairs": 0.0, "fit_loss": 0.0, "ridge": "some"},
    ),
    "RF-11": (whole, NOISELESS),
    "RF-12": (whole, {"fit_loss": 0.0}),
    "RF-12/contraction": (lambda case: [1 - case.real_pairs * case.noise**2] * SIZE, {"fit_loss": 0.0}),
    "RF-13": (settled, {"fit_loss": "some", "noise": "enough"}),
    "RF-13/path": (whole, {}),
    "RF-13/threshold": (lambda case: [mp.sqrt(1 - case.q)] * SIZE, {"real_pairs": "some"}),
    "RF-14": (whole, NOISELESS | {"inverter": "first"}),
    "RF-14/level": (settled, NOISELESS | {"inverter": "first", "fit_loss": "some", "real_pairs": "some"}),
    "RF-15": (residual, {}),
    "RF-15/straightness": (bent, {}),
    "RF-16": (
        lambda case: [
            c / mp.sqrt(first * second)
            for first, second, c in (moments(case, u, s) for u, s in zip(case.start, case.spectrum, strict=True))
        ],
        {},
    ),
    "RF-16/steps": (whole, {"solver": "euler", "steps": 3}),
    "RF-17": (latents, {"rough": True}),
    "RF-17/variance": (lambda case: [case.latent_variance] * SIZE, {}),
    "RF-18": (
        lambda case: [1 + (1 / v - v) / (4 * case.steps**2) for v in case.variances],
        PLAIN | {"solver": "heun", "steps": 12},
    ),
}

STATIC = ("coupling", "solver", "steps", "grid", "inverter")


def draw(rng: np.random.Generator, index: int, how: dict) -> dict:
    """Random fields; the first draws take edges."""
    edge = lambda values: float(values[index]) if index < len(values) else float(rng.uniform(0, 1))  # noqa: E731
    rough = how.get("rough", False)
    correlations = [0.0, 0.5, 0.99] if rough else [1.0, 0.0, 0.999999, -0.9]
    fields = {
        "spectrum": 10 ** (rng.uniform(-4, -2, SIZE) if how.get("small") else rng.uniform(-2, 2, SIZE)),
        "start": rng.uniform(0.2, 3, SIZE),
        "size": float(rng.choice([10, 1000, 10**6])),
        "real_fraction": edge([0.0, 1.0, 0.5]),
        "real_pairs": edge([0.3, 1.0, 0.0, 0.3]),
        "noise": edge([0.6, 1.0, 0.3, 0.0]),
        "frozen": rng.uniform(0.3, 2),
        "fit_loss": [0.03, 0.0, 0.1][index % 3],
        "ridge": 0.0,
        "diffusion": rng.uniform(0, 2),
        "correlation": correlations[index] if index < len(correlations) else rng.uniform(0.05 if rough else -0.5, 0.95),
        "latent_variance": rng.uniform(0.3, 3),
        "rotation": rng.uniform(-2, 2),
        "separation": edge([0.0, 0.9]) * 0.99,
        "largest_noise": rng.uniform(0.5, 20),
        "level": rng.uniform(0.01, 0.15),
    }
    words = {
        "some": lambda: rng.uniform(0.02, 0.5),
        "positive": lambda: rng.uniform(0, 1),
        "enough": lambda: rng.uniform(0.9, 1),
    }
    fixed = {name: words[value]() if value in words else value for name, value in how.items() if name in fields}
    return fields | fixed


def predict(id: str, cases: list[Case]):
    """Values of the library for all cases at once."""
    from collapse_jax.results import get
    from collapse_jax.specs.reflow import ReflowSpec

    def values(fields):
        return get(id).predict(ReflowSpec(**fields, **cases[0].static), ROUNDS).values

    columns = {name: np.array([case.fields[name] for case in cases]) for name in cases[0].fields}
    # 1e-12 needs float64, for this call only: importing the checks must not change what other code computes in
    with jax.enable_x64(True):
        quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
        return np.asarray(jax.jit(jax.vmap(values)).lower(columns).compile(compiler_options=quick)(columns))


def difference(found: np.ndarray, expected: list) -> float:
    """Largest difference, each relative to its value, or to a thousandth of the largest where that is more."""
    right = [abs(value) for value in expected]
    top = max(right)
    if top < mp.mpf(10) ** -30:  # a limit that bisection finds to be zero
        return float(np.max(np.abs(found)))
    scales = [max(value, top / 1000) if value > 0 else top for value in right]
    off = [abs(mp.mpf(float(f)) - e) / s for f, e, s in zip(np.ravel(found), expected, scales, strict=True)]
    return float(max(off))


def drawn(id: str, draws: int = DRAWS) -> list[Case]:
    """Random cases of a result."""
    _, how = REFERENCES[id]
    rng = np.random.default_rng(int(id.partition("/")[0].partition("-")[2]))
    static = {name: how[name] for name in STATIC if name in how}
    return [Case(draw(rng, index, how), static) for index in range(draws)]


def hold(base: str) -> str:
    """Largest difference over the registered parts of a result; a part without a reference fails."""
    from collapse_jax.results import all_results

    ids = [result.id for result in all_results("reflow") if result.base == base]
    require(bool(ids), f"{base} is not in the library")
    require(all(id in REFERENCES for id in ids), f"no reference for one of {ids}")
    worst = dict.fromkeys(ids, 0.0)
    for id in ids:
        cases = drawn(id)
        for case, row in zip(cases, predict(id, cases), strict=True):
            expected = REFERENCES[id][0](case)
            require(len(expected) == row.size, f"{id}: {row.size} values, {len(expected)} expected")
            worst[id] = max(worst[id], difference(row, expected))
    wrong = [f"{id} differs by {off:.1e}" for id, off in worst.items() if not off <= ACCURACY]
    require(not wrong, ", ".join(wrong))
    return f"{max(worst.values()):.0e}"


def declare(base: str) -> None:
    """One row for a result and its parts."""
    parts = ", ".join(id for id in REFERENCES if id.partition("/")[0] == base)

    @check(base, f"values of {parts}", HOLD, f"{DRAWS} random chains, d = {SIZE}, float64 against {DIGITS} digits")
    def held() -> str:
        with mp.workdps(DIGITS):
            return hold(base)


for name in dict.fromkeys(id.partition("/")[0] for id in REFERENCES):
    declare(name)
