"""Reflow with small networks on two-dimensional laws: what it loses a round, and what real pairs bring back.

Makes the figures R-F6 (a Gaussian and a ring of eight modes: distance, variance, straightness, one-step error by round
and arm, beside RF-13 with the loss of gain that was measured) and R-F7 (that loss by width and length of training).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import reflow_toy_stages
from experiments.harness import Experiment, main

STAGES = {
    "gaussian": reflow_toy_stages.gaussian,
    "ring": reflow_toy_stages.ring,
    "shrink": reflow_toy_stages.shrink,
}

ALL = ("Reflow", "RA", "RA, first", "ORA", "ORAS 0.3", "ORAS 0.6", "ORAS 0.6, SDE", "independent", "real only")


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    arms: tuple[str, ...] = ALL
    seeds: int = 2
    rounds: int = 5
    pairs: int = 5000
    steps: int = 800
    first_steps: int = 2000
    batch: int = 256
    rate: float = 2e-3
    decay: float = 0.99
    width: int = 64
    depth: int = 3
    solver_steps: int = 20
    fine_steps: int = 100
    looked: int = 2000
    directions: int = 64
    dispatch: int = 200
    widths: tuple[int, ...] = (16, 64)
    lengths: tuple[int, ...] = (200, 800)


PRESETS = {
    "default": Settings(stages={"gaussian": 250, "ring": 240, "shrink": 70}),
    "smoke": Settings(
        stages={"gaussian": 20, "ring": 20},
        arms=("Reflow", "RA", "ORAS 0.6"),
        rounds=2,
        pairs=1000,
        steps=200,
        first_steps=400,
        batch=128,
        width=32,
        depth=2,
        fine_steps=40,
        looked=500,
        dispatch=50,
    ),
    "gpu": Settings(
        stages={"gaussian": 1200, "ring": 1200, "shrink": 600},
        seeds=5,
        rounds=10,
        pairs=50_000,
        steps=4000,
        first_steps=10_000,
        batch=2048,
        rate=1e-3,
        decay=0.999,
        width=128,
        looked=10_000,
        directions=128,
        dispatch=500,
        widths=(16, 64, 256),
        lengths=(1000, 4000),
    ),
    "paper": Settings(
        stages={"gaussian": 60_000, "ring": 60_000, "shrink": 20_000},
        seeds=5,
        rounds=10,
        pairs=50_000,
        steps=4000,
        first_steps=10_000,
        batch=512,
        rate=1e-3,
        decay=0.999,
        width=128,
        looked=10_000,
        directions=128,
        dispatch=500,
        widths=(16, 64, 256),
        lengths=(1000, 4000),
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import reflow_trained, saved

    return saved.draw(folder, reflow_trained.TOY)


EXPERIMENT = Experiment(
    name="reflow_toy",
    claim="Reflow with trained networks loses variance by its fits alone; noise on reversed real pairs brings it back.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
    long=True,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
