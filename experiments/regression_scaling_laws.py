"""Fake data change a scaling law: the ridge for clean data ends in a plateau, an adapted one in a slower law.

Makes figure R-F5: the test error against the training size for several numbers of generators, sizes growing together
and generators that stay small; lines by deterministic equivalents, points by exact Monte Carlo.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import regression_scaling_stages
from experiments.harness import Experiment, main

STAGES = {
    "scaling": regression_scaling_stages.scaling,
    "exponents": regression_scaling_stages.exponents,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    largest: int = 15
    measured: tuple[int, ...] = (128, 256, 512)
    fixed_dimension: int = 128
    fixed_measured: tuple[int, ...] = (128, 512, 2048, 8192, 32768)
    replicates: int = 32
    slope_replicates: int = 64
    noise: float = 0.3


PRESETS = {
    "default": Settings(stages={"scaling": 150, "exponents": 60}),
    "smoke": Settings(
        stages={"scaling": 25},
        largest=11,
        measured=(128,),
        fixed_dimension=64,
        fixed_measured=(128, 2048),
        replicates=8,
    ),
    "paper": Settings(
        stages={"scaling": 1500, "exponents": 200},
        measured=(128, 256, 512, 1000),
        replicates=100,
        slope_replicates=400,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import regression, saved

    return saved.draw(folder, regression.SCALING)


EXPERIMENT = Experiment(
    name="regression_scaling_laws",
    claim="Fake data bend a scaling law into a plateau unless the ridge is adapted to how many there are.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
