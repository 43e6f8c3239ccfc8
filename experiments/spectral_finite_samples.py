"""Finite pools: the modes of a memorising model fluctuate around the ideal limit, and truncation keeps them bounded.

Makes figure S-F7.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import spectral_pool_stages as stages
from experiments.harness import Experiment, main

STAGES = {"variance": stages.variance, "truncation": stages.truncation}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    pool_sizes: tuple[int, ...] = (500, 2000)
    shares: tuple[float, ...] = (0.0, 0.2)
    chains: int = 1024
    order: int = 6
    truncations: int = 9


PRESETS = {
    "default": Settings(stages={"variance": 60, "truncation": 60}),
    "smoke": Settings(stages={"variance": 12, "truncation": 10}, pool_sizes=(200,), chains=256, order=4, truncations=3),
    "paper": Settings(stages={"variance": 300, "truncation": 300}, chains=4096, truncations=17),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import saved, spectral

    return saved.draw(folder, spectral.POOLS)


EXPERIMENT = Experiment(
    name="spectral_finite_samples",
    claim="Modes of finite pools fluctuate around the ideal limit with a variance that truncation keeps bounded.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
