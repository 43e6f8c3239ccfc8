"""A sampler with the exact score that takes too few steps ends in a small ball around the ideal collapse limit.

Makes the figure S-F6 in three parts: what discretisation costs in one round, what it costs with feedback (held against
the ball of SP-12, with the error of a round measured), and how a constant error is amplified order by order. The
score is exact and laws on the line are computed without sampling, so that discretisation is the only error.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import robustness_stages
from experiments.harness import Experiment, main

STAGES = {
    "samplers": robustness_stages.samplers,
    "ball": robustness_stages.ball,
    "amplification": robustness_stages.amplification,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    real_fraction: float = 0.2
    truncation: float = 0.1
    steps: tuple[int, ...] = (30, 60, 120, 240, 480)
    tolerances: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    quantiles: int = 10001
    cloud: int = 20000
    cloud_seeds: int = 4
    cloud_directions: int = 16
    rounds: int = 25
    grid: int = 251
    shares: tuple[float, ...] = (0.2, 0.5)
    order: int = 8


PRESETS = {
    "default": Settings(stages={"samplers": 80, "ball": 60, "amplification": 5}),
    "smoke": Settings(
        stages={"samplers": 20, "ball": 8, "amplification": 2},
        steps=(15, 30, 60),
        tolerances=(1e-1, 1e-3),
        quantiles=2001,
        cloud=3000,
        cloud_seeds=2,
        rounds=8,
        grid=161,
    ),
    "paper": Settings(
        stages={"samplers": 500, "ball": 250, "amplification": 15},
        cloud=100000,
        cloud_seeds=6,
        cloud_directions=32,
        quantiles=50001,
        rounds=40,
        grid=301,
        shares=(0.1, 0.5),
        order=12,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import saved, spectral_robustness

    return saved.draw(folder, spectral_robustness.FIGURES)


EXPERIMENT = Experiment(
    name="spectral_robustness",
    claim="With the exact score, discretised samplers stay in a small ball around the ideal collapse limit.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
