"""Least squares and ridge refitted on their own labels: linear growth, its cures, and collapse without any noise.

Makes the figures R-F1 to R-F4 and R-F6: growth with the number of generators, replacement against accumulation and real
rows, the U shape in the ridge with the floor of all linear learners, generators with fewer rows than directions, and
predictions against measurements over many settings.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import regression_stages
from experiments.harness import Experiment, main

STAGES = {
    "growth": regression_stages.growth,
    "regimes": regression_stages.regimes,
    "ridge": regression_stages.ridge,
    "few_rows": regression_stages.few_rows,
    "step": regression_stages.step,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    replicates: int = 64
    dimension: int = 50
    runs: int = 64
    ratios: tuple[float, ...] = (0.1, 0.25, 0.5, 0.8)
    small_runs: int = 200
    rows: tuple[int, ...] = (20, 80, 400)
    rounds: int = 30
    ridge_dimension: int = 300
    ridge_replicates: int = 48
    ridges: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
    few_runs: int = 60
    step_dimension: int = 40
    step_runs: int = 60


PRESETS = {
    "default": Settings(stages={"growth": 20, "regimes": 50, "ridge": 150, "few_rows": 80, "step": 90}),
    "smoke": Settings(
        stages={"growth": 8, "regimes": 15, "few_rows": 12},
        replicates=16,
        dimension=20,
        ratios=(0.25, 0.5),
        runs=8,
        small_runs=50,
        rows=(20, 80),
        rounds=10,
        few_runs=5,
    ),
    "paper": Settings(
        stages={"growth": 200, "regimes": 400, "ridge": 900, "few_rows": 400, "step": 600},
        runs=64,
        small_runs=2000,
        ridge_replicates=64,
        ridges=(1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 100.0),
        few_runs=200,
        step_dimension=80,
        step_runs=60,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import regression, saved

    return saved.draw(folder, regression.COLLAPSE)


EXPERIMENT = Experiment(
    name="regression_collapse",
    claim="The error of regression on self-made labels grows by a constant a round; old data, real rows, ridge help.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
