"""Consistent families may collapse at once, or after a fuse of any length, although every batch is kept.

Makes the figures M-F7 (immediate collapse) and M-F8 (slow fuse), with exact maximisation and a selector that switches
when its likelihood wins.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import mle_counterexample_stages
from experiments.harness import Experiment, main

STAGES = {"jump": mle_counterexample_stages.jump, "fuse": mle_counterexample_stages.fuse}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    sizes: tuple[int, ...] = (20, 100, 400, 1000)
    runs: tuple[int, ...] = (20_000, 8000, 2000, 600)
    shown_size: int = 100
    fuse_sizes: tuple[int, ...] = (50, 500, 5000)
    fuse_runs: int = 100_000
    horizon: int = 10_000
    path_rounds: int = 40
    path_runs: int = 400


PRESETS = {
    "default": Settings(stages={"jump": 90, "fuse": 20}),
    "smoke": Settings(
        stages={"jump": 15, "fuse": 12}, sizes=(20, 100), runs=(3000, 800), fuse_runs=20_000, path_runs=100
    ),
    "paper": Settings(stages={"jump": 900, "fuse": 60}, runs=(200_000, 80_000, 20_000, 6000), fuse_runs=1_000_000),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import mle_counterexamples, saved

    return saved.draw(folder, mle_counterexamples.FIGURES)


EXPERIMENT = Experiment(
    name="mle_counterexamples",
    claim="Consistent families may collapse at once, or after a fuse of any length, although every batch is kept.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
