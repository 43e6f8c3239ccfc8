"""A trained diffusion model retrained on its own truncated output follows the ideal Hermite gains, up to score error.

Makes the figures S-F9 (mixtures: gains by round beside SP-6, SP-11 and SP-14) and S-F13 (images: gains and power
spectra beside SP-16), for constant and for annealed truncation, with a share of real data and without, and for pools
that keep all that was generated.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import diffusion_stages
from experiments.harness import Experiment, main

STAGES = {"line": diffusion_stages.line, "plane": diffusion_stages.plane, "images": diffusion_stages.images}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    data: str = "digits"
    components: int = 6
    truncation: float = 0.1
    shares: tuple[float, ...] = (0.0, 0.1, 0.5)
    annealed_shares: tuple[float, ...] = (0.0, 0.5)
    accumulate: bool = True
    rounds: int = 6
    seeds: int = 4
    pool: int = 8000
    width: int = 64
    depth: int = 2
    steps: int = 2500
    batch: int = 256
    learning_rate: float = 5e-3
    decay: float = 0.995
    sampler_steps: int = 24
    dispatch: int = 500


PRESETS = {
    "default": Settings(stages={"line": 330, "plane": 350, "images": 370}),
    "smoke": Settings(
        stages={"line": 26, "images": 22},
        components=4,
        shares=(0.0, 0.5),
        annealed_shares=(0.5,),
        rounds=3,
        seeds=2,
        pool=3000,
        width=32,
        steps=300,
        batch=128,
        sampler_steps=16,
        dispatch=300,
    ),
    "gpu": Settings(
        stages={"line": 900, "plane": 900, "images": 1200},
        components=8,
        rounds=20,
        seeds=5,
        pool=50_000,
        width=256,
        depth=3,
        steps=10_000,
        batch=2048,
        learning_rate=2e-3,
        decay=0.999,
        sampler_steps=60,
        dispatch=1000,
        shares=(0.0, 0.1, 0.5, 0.9),
    ),
    "paper": Settings(
        stages={"line": 9000, "plane": 9000, "images": 9000},
        data="cifar10",
        components=8,
        rounds=20,
        seeds=5,
        pool=50_000,
        width=128,
        depth=3,
        steps=5000,
        batch=512,
        learning_rate=2e-3,
        decay=0.999,
        sampler_steps=40,
        dispatch=500,
        shares=(0.0, 0.1, 0.5, 0.9),
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import diffusion, saved

    return saved.draw(folder, diffusion.FIGURES)


EXPERIMENT = Experiment(
    name="recursive_diffusion",
    claim="Trained diffusion models retrained on truncated output: Hermite gains and spectra beside the ideal laws.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
    long=True,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
