"""The library's theory held against moments run round by round in 40 digits, at random parameters."""

from math import inf

import jax
import mpmath as mp
import numpy as np

from proofs_check.ground import HOLD, check, require
from proofs_check.mle.reference import REFERENCES, predict

DRAWS, ROUNDS, ACCURACY = 6, 5, 1e-12
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


def draw(rng: np.random.Generator, example: dict, index: int) -> dict:
    """A random spec of the kind of an example: sizes, true parameters, shares, levels; whole parts stay whole."""
    fields = dict(example)
    family = fields["family"]
    fields["batch"] = float(rng.integers(2, 9) * 20 if index % 2 else rng.integers(8, 13) * 5)
    if family in ("bernoulli", "multinomial"):
        fields["batch"] = min(fields["batch"], 120.0)  # times of fixation are tabulated to 128
        fields["mean"] = float(rng.uniform(0.02, 0.98))
    elif "mean" in fields:
        fields["mean"] = float(rng.uniform(0.1, 5.0))
    if family == "multinomial":
        fields["weights"] = tuple(rng.dirichlet(np.ones(4)).tolist())
    if "variance" in fields:
        shape = np.shape(fields["variance"])
        fields["variance"] = tuple(rng.uniform(0.2, 4, shape).tolist()) if shape else float(rng.uniform(0.2, 4))
    if "real_fraction" in fields:
        fields["real_fraction"] = float(rng.choice([0.2, 0.4, 0.6, 0.8]))
    if "real_weight" in fields:
        fields["real_weight"] = float(rng.uniform(0.3, 0.9))
    if "threshold" in fields:
        fields["threshold"] = float(rng.uniform(0.3, 1.5))
    return fields


def difference(found: float, expected) -> float:
    """Relative difference, of the logarithm where the value is small."""
    if not np.isfinite(found) or not mp.isfinite(expected):
        return 0.0 if found == float(expected) else inf
    if expected == 0:
        return abs(found)
    relative = abs(mp.mpf(found) / expected - 1)
    return float(relative / max(1, -mp.log(abs(expected))))


def flatten(values) -> list:
    return [leaf for item in values for leaf in flatten(item)] if isinstance(values, list) else [values]


def hold(base: str) -> str:
    """Largest difference over the registered parts of a result; a part without a reference fails."""
    from collapse_jax.results import all_results
    from collapse_jax.specs.mle import MLESpec

    results = [result for result in all_results("mle") if result.base == base]
    require(bool(results), f"{base} is not in the library")
    rng, worst = np.random.default_rng(int(base.partition("-")[2])), 0.0
    with jax.enable_x64(True):
        for result in results:
            require(result.id in REFERENCES, f"no reference for {result.id}")
            specs = [MLESpec(**draw(rng, dict(result.example), index)) for index in range(DRAWS)]
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *specs)
            run = jax.jit(jax.vmap(lambda spec, result=result: result.predict(spec, ROUNDS)))
            found = run.lower(stacked).compile(compiler_options=QUICK)(stacked)
            require(result.kind == "asymptotic" or not np.any(found.margin), f"{result.id} is exact and has a margin")
            for spec, row in zip(specs, np.asarray(found.values), strict=True):
                expected, flat = flatten(predict(result.id, spec, ROUNDS)), np.ravel(row)
                require(len(expected) == len(flat), f"{result.id}: {len(flat)} values, {len(expected)} expected")
                off = max(difference(float(f), e) for f, e in zip(flat, expected, strict=True))
                require(off <= ACCURACY, f"{result.id} differs by {off:.1e}")
                worst = max(worst, off)
    return f"{worst:.0e}"


def declare(base: str) -> None:
    """One row for a result and its parts."""
    parts = ", ".join(id for id in REFERENCES if id.partition("/")[0] == base)

    @check(base, f"values of {parts}", HOLD, f"{DRAWS} random chains, {ROUNDS} rounds, float64 against 40 digits")
    def held() -> str:
        return hold(base)


for name in dict.fromkeys(id.partition("/")[0] for id in REFERENCES):
    declare(name)
