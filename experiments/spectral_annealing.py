"""Truncation times that tend to zero remove the compounding of recursive training, if real data keep coming in.

Makes the figures S-F5 (schedules) and S-F14 (schedules by design: the best one under a stated error of every round).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import spectral_annealing_stages as stages
from experiments.harness import Experiment, main

STAGES = {"schedules": stages.schedules, "design": stages.design}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    rounds: int = 400
    looks: int = 30
    first: float = 0.1
    real_fraction: float = 0.1
    referee_rounds: int = 40
    grid: int = 1500
    design_rounds: int = 60
    steps: int = 1500
    search: int = 60
    error_scales: tuple[float, ...] = (1e-5, 1e-4, 1e-3)


PRESETS = {
    "default": Settings(stages={"schedules": 90, "design": 60}),
    "smoke": Settings(
        stages={"schedules": 15, "design": 15},
        rounds=40,
        looks=8,
        referee_rounds=12,
        grid=600,
        design_rounds=20,
        steps=300,
        search=15,
        error_scales=(1e-4,),
    ),
    "paper": Settings(
        stages={"schedules": 300, "design": 200},
        looks=80,
        referee_rounds=120,
        grid=3001,
        design_rounds=100,
        steps=4000,
        search=120,
        error_scales=(1e-6, 1e-5, 1e-4, 1e-3),
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import saved, spectral

    return saved.draw(folder, spectral.ANNEALING)


EXPERIMENT = Experiment(
    name="spectral_annealing",
    claim="Truncation times that tend to zero remove the compounding of recursive training, given fresh real data.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
