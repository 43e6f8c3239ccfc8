"""The library's theory held against the derivation: float64 against balls of 200 bits at random parameters.

A value is compared by its relative difference (a sum of both signs relative to the size of its terms), below exp(-1) by
that of its logarithm. ``library_bounds`` holds bounds and margins against chains.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import jax
import numpy as np
from flint import arb, ctx

from proofs_check.ground import HOLD, check, require
from proofs_check.spectral import chains
from proofs_check.spectral.chains import ORDER, POINTS, ROUNDS, Case, Sized
from proofs_check.spectral.tools import pool_gain

DRAWS, BITS, ACCURACY = 24, 200, 1e-12
# real share and truncation of the first draws; None is random
SLOW = (1e-3, 1e-3)
EDGES = ((0.0, None), (1.0, None), (None, 1e-9), SLOW, (1e-9, None), (None, 0.0), (None, 5.0), SLOW)
# the same computation, compiled in a third of the time
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


def line_law(rng: np.random.Generator, _: int) -> tuple:
    """Two components on the line."""
    return rng.dirichlet(np.ones(2)), rng.normal(size=(2, 1)) * 1.2, rng.uniform(0.15, 1.2, 2) ** 2


def narrow_law(rng: np.random.Generator, index: int) -> tuple:
    """Every fourth time narrow components: their distribution functions are steep in the age."""
    weights, means, spread = line_law(rng, index)
    return weights, means, spread * (0.01 if index % 4 == 3 else 1.0)


def late_law(rng: np.random.Generator, index: int) -> tuple:
    """By turns generic, centred, white, white and symmetric: the lowest mode is 1, 2, 3, 4."""
    if index % 4 == 3:
        place = (4 + int(rng.integers(0, 8))) / 16
        return np.full(2, 0.5), np.array([[place], [-place]]), np.full(2, 1 - place**2)
    first, gap = rng.uniform(0.1, 0.4), rng.uniform(1, 2)
    means = np.array([1 - first, -first]) * gap
    spread = 1 - first * (1 - first) * gap**2 if index % 4 == 2 else rng.uniform(0.2, 0.5)
    return np.array([first, 1 - first]), (means + (index % 4 == 0) * 0.5)[:, None], np.full(2, spread)


def matrices(rng: np.random.Generator, count: int) -> np.ndarray:
    """Covariances in three dimensions."""
    root = rng.normal(size=(count, 3, 3)) / 2
    full = root @ root.transpose(0, 2, 1) + 0.2 * np.eye(3)
    return (full + full.transpose(0, 2, 1)) / 2


def space_law(rng: np.random.Generator, _: int) -> tuple:
    """Two components in three dimensions."""
    return rng.dirichlet(np.ones(2)), rng.normal(size=(2, 3)), matrices(rng, 2)


def centred_law(rng: np.random.Generator, _: int) -> tuple:
    """The same, centred."""
    mean = rng.normal(size=3)
    return np.full(2, 0.5), np.array([mean, -mean]), matrices(rng, 2)


def normal_law(rng: np.random.Generator, _: int) -> tuple:
    """One component in three dimensions."""
    return np.ones(1), rng.normal(size=(1, 3)), matrices(rng, 1)


@dataclass(frozen=True)
class Draw:
    """How chains are drawn. ``zero`` and ``still``: also without real data, without truncation."""

    law: Callable[[np.random.Generator, int], tuple] = line_law
    processes: tuple[str, ...] = ("vp",)
    shares: tuple[float, float] = (0.02, 1.0)
    zero: bool = True
    still: bool = True
    edges: bool = True
    whole: bool = False
    schedule: str = ""
    regime: str = "replace"
    rounds: int = ROUNDS
    truncations: tuple[float, float] = (-2.5, -0.1)

    def case(self, rng: np.random.Generator, index: int, process: str) -> Case:
        """A random chain; the first draws take the edges."""
        weights, means, covariances = self.law(rng, index)
        share, cut = float(rng.uniform(*self.shares)), float(10 ** rng.uniform(*self.truncations))
        edge = EDGES[index] if self.edges and index < len(EDGES) else (None, None)
        # a chain without a reference law forgets by its real share alone
        least = {"ve": 1e-3}.get(process, 0.0 if self.zero else 1e-9)
        if edge[0] is not None and self.shares[0] < self.shares[1] and edge[0] >= least:
            share = edge[0]
        if edge[1] is not None and (edge[1] > 0 or (self.still and process == "vp" and not self.schedule)):
            # narrow laws of slower flows are crossed within few ages: the library names that error and claims no more
            cut = float(np.clip(edge[1], 0.01, 0.999)) if process == "rectified_flow" else edge[1]
        if process == "rectified_flow":
            cut, share = max(cut, 0.01), share if share == 0 else max(share, 0.01)
        share = round(share * POINTS) / POINTS if self.whole else share
        direction = rng.normal(size=means.shape[1])
        power, later = rng.uniform(0.3, 1.2), np.arange(1, self.rounds + 1)
        ratio = 1 - share * float(rng.uniform(0.2, 0.8))
        truncation = {
            "": np.float64(cut),
            "any": 10 ** rng.uniform(-3, 0, self.rounds),
            "power": cut * later**-power,
            "geometric": cut * ratio ** (later - 1.0),
        }[self.schedule]
        error, rate = float(10 ** rng.uniform(-3, -1)), float(rng.uniform(0.4, 1.5))
        unit, start = direction / np.linalg.norm(direction), float(rng.uniform(0.1, 2))
        law = (weights, means, covariances, unit)
        return Case(*law, share, truncation, rate, error, power, start, process, self.regime)


@dataclass(frozen=True)
class Reference:
    """What the values of a result should be, and of which chains."""

    values: Callable[[Case], list]
    draw: Draw


PLAIN = Draw(processes=("vp", "rectified_flow"))
ANY = Draw(narrow_law, ("vp", "rectified_flow", "ve"))
VP = Draw()
POSITIVE = Draw(zero=False)
ERRING = Draw(still=False)
ALONE = Draw(shares=(0.0, 0.0))
SCHEDULE = Draw(schedule="any")
FINITE = Draw(processes=("rectified_flow",), whole=True)
SPACE = Draw(space_law, ("vp", "rectified_flow"))
FLOW = Draw(processes=("rectified_flow",))
VE = Draw(processes=("ve",))


def shrunk(case: Case) -> arb:
    """beta."""
    return case.scale


def mixed(case: Case) -> arb:
    """1 - alpha."""
    return 1 - case.share


REFERENCES = {
    "SP-1": Reference(chains.falling(mixed, probes=9, start=False), VP),
    "SP-2": Reference(lambda case: [case.scale] * (ORDER - 1), PLAIN),
    "SP-3": Reference(lambda case: [(s * case.moment() + n).sqrt() for s, n in chains.losses(case)], SCHEDULE),
    "SP-4": Reference(chains.chain_cdf, ANY),
    "SP-5": Reference(lambda case: chains.limit_cdf(case, 1), ANY),
    "SP-5/pool": Reference(lambda case: chains.limit_cdf(case, 0), ANY),
    "SP-6": Reference(chains.chain_modes, VP),
    "SP-6/limit": Reference(lambda case: chains.by_order(case, case.gain), VP),
    "SP-6/pool": Reference(
        lambda case: chains.by_order(case, lambda n: pool_gain(case.share, case.scale**n) if n else arb(1)), VP
    ),
    "SP-7": Reference(chains.second_moments, SPACE),
    "SP-7/mean": Reference(chains.means, SPACE),
    "SP-8": Reference(chains.falling(mixed), PLAIN),
    "SP-8/kl": Reference(chains.falling(mixed), PLAIN),
    "SP-8/chi2": Reference(chains.falling(mixed), PLAIN),
    "SP-8/w1": Reference(chains.falling(lambda case: mixed(case) * case.scale), PLAIN),
    "SP-8/w2": Reference(chains.falling(lambda case: mixed(case).sqrt() * case.scale), PLAIN),
    "SP-8/slope": Reference(chains.late, Draw(late_law, still=False)),
    "SP-9": Reference(lambda case: [chains.spread(case).sqrt() * case.root_information()], PLAIN),
    "SP-9/moment": Reference(
        lambda case: [(chains.spread(case) * case.moment() + (1 - case.gain(2)) * case.reference).sqrt()], PLAIN
    ),
    "SP-9/small": Reference(
        lambda case: [case.rate * case.times(1)[0] / case.share * case.root_information()], POSITIVE
    ),
    "SP-10": Reference(chains.chain_modes, ALONE),
    "SP-10/w2": Reference(chains.falling(shrunk), ALONE),
    "SP-10/kl": Reference(chains.falling(lambda case: case.scale**2), ALONE),
    "SP-11": Reference(chains.chain_modes, SCHEDULE),
    "SP-11/bound": Reference(
        lambda case: [s.sqrt() * case.root_information() for s, _ in chains.losses(case)], SCHEDULE
    ),
    "SP-11/slow": Reference(chains.slow_modes, Draw(schedule="power", zero=False)),
    "SP-11/geometric": Reference(chains.geometric_modes, Draw(schedule="geometric", shares=(0.1, 0.9), edges=False)),
    "SP-12": Reference(lambda case: [chains.round_error(case) / (1 - case.scale * mixed(case).sqrt())], ERRING),
    "SP-12/modes": Reference(
        lambda case: [arb(0), *(case.error_scale / (1 - mixed(case) * case.scale**n) for n in range(1, ORDER + 1))],
        ERRING,
    ),
    "SP-13": Reference(lambda case: chains.mode_variances(case, arb(POINTS)), FINITE),
    "SP-13/leading": Reference(lambda case: chains.mode_variances(case, None), FINITE),
    "SP-14": Reference(chains.kept_modes, Draw(schedule="any", shares=(0.0, 0.0), regime="accumulate")),
    "SP-15": Reference(chains.chain_modes, FLOW),
    "SP-15/ve": Reference(chains.added_variance, VE),
    "SP-15/fourier": Reference(chains.fourier, VE),
    "SP-16": Reference(lambda case: [1 + case.gain(2) * (v - 1) for v in chains.levels(case)], Draw(centred_law)),
    "SP-16/denoised": Reference(chains.denoised, Draw(normal_law, shares=(0.0, 0.0))),
    "SP-17": Reference(chains.small_time, POSITIVE),
    "SP-18": Reference(chains.data_modes, SPACE),
    "SP-19": Reference(lambda case: [chains.best_time(case)], ERRING),
}


def predict(ids: Sequence[str], cases: Sequence[Case], rounds: int = ROUNDS) -> dict:
    """Values and margins of the library for all cases at once, by id."""
    from collapse_jax.results import get
    from collapse_jax.specs.spectral import SpectralSpec

    results, first = [get(id) for id in ids], cases[0]

    def values(fields, start):
        spec = SpectralSpec(**fields, process=first.process, regime=first.regime, order=ORDER, pool_size=POINTS)
        found = [result.predict(spec, rounds, **dict.fromkeys(result.given, start)) for result in results]
        return {id: (made.values, made.margin) for id, made in zip(ids, found, strict=True)}

    names = ("weights", "means", "covariances", "direction", "real_fraction", "truncation", "rate")
    columns = {
        name: np.array([getattr(case, name) for case in cases]) for name in (*names, "error_scale", "error_power")
    }
    starts = np.array([case.start for case in cases])
    # 1e-12 needs float64, for this call only: importing the checks must not change what other code computes in
    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(values)).lower(columns, starts).compile(compiler_options=QUICK)
        return jax.tree.map(np.asarray, run(columns, starts))


def difference(found: float, expected: chains.Leaf) -> float:
    """Relative difference, of the logarithm where the value is small; absolute where 0 is expected."""
    value, size = expected if isinstance(expected, Sized) else (expected, abs(expected))
    if not np.isfinite(found) or not value.is_finite():
        return inf
    # below the normal floats the library may underflow
    if size < arb("1e-290"):
        return abs(found)
    relative = float((abs(arb(found) - value) / size).upper())
    return relative / max(1.0, -float(size.log().mid()))


def flatten(values) -> list[chains.Leaf]:
    """Leaves of nested lists in order."""
    return [leaf for item in values for leaf in flatten(item)] if isinstance(values, list) else [values]


def hold(base: str) -> str:
    """Largest difference over the registered parts of a result; a part without a reference fails."""
    from collapse_jax.results import all_results

    kinds = {result.id: result.kind for result in all_results("spectral") if result.base == base}
    require(bool(kinds), f"{base} is not in the library")
    require(all(id in REFERENCES for id in kinds), f"no reference for one of {list(kinds)}")
    rng, worst = np.random.default_rng(int(base.partition("-")[2])), dict.fromkeys(kinds, 0.0)
    # parts of the same chains are compiled together
    for draw in dict.fromkeys(REFERENCES[id].draw for id in kinds):
        ids = [id for id in kinds if REFERENCES[id].draw == draw]
        for process in draw.processes:
            cases = [draw.case(rng, index, process) for index in range(DRAWS)]
            found = predict(ids, cases)
            for id in ids:
                values, margins = found[id]
                require(kinds[id] == "asymptotic" or not margins.any(), f"{id} is {kinds[id]} and has a margin")
                for case, row in zip(cases, values, strict=True):
                    expected, flat = flatten(REFERENCES[id].values(case)), np.ravel(row)
                    require(len(expected) == len(flat), f"{id}: {len(flat)} values, {len(expected)} expected")
                    off = max(difference(float(f), e) for f, e in zip(flat, expected, strict=True))
                    worst[id] = max(worst[id], off)
    wrong = [f"{id} differs by {off:.1e}" for id, off in worst.items() if off > ACCURACY]
    require(not wrong, ", ".join(wrong))
    return f"{max(worst.values()):.0e}"


def declare(base: str) -> None:
    """One row for a result and its parts."""
    parts = ", ".join(id for id in REFERENCES if id.partition("/")[0] == base)

    @check(base, f"values of {parts}", HOLD, f"{DRAWS} random chains a process, float64 against {BITS} bits")
    def held() -> str:
        with ctx.workprec(BITS):
            return hold(base)


for name in dict.fromkeys(id.partition("/")[0] for id in REFERENCES):
    declare(name)
