"""Rectified flows with linear velocities refitted on themselves: collapse by the sampler, or not at all.

Makes the figures of the sampler's gain, of chains with fresh noise, of Reflow and its remedies, of the threshold of the
noise on reversed latents, and of what that noise costs (R-F1 to R-F5 of rectified flow). No network is trained.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import reflow_stages
from experiments.harness import Experiment, main

STAGES = {
    "sampler": reflow_stages.sampler,
    "independent": reflow_stages.independent,
    "arms": reflow_stages.arms,
    "phase": reflow_stages.phase,
    "price": reflow_stages.price,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    replicates: int = 32
    steps: tuple[int, ...] = (2, 3, 5, 10, 20, 50, 100, 200, 500)
    images: int = 100_000
    chain_steps: tuple[int, ...] = (2, 5, 10, 50)
    shares: tuple[float, ...] = (0.0, 0.1, 0.5)
    length: float = 3.0
    pairs: int = 40_000
    rounds: int = 200
    losses: tuple[float, ...] = (0.01, 0.03, 0.1)
    noises: int = 4
    phase_rounds: int = 300


PRESETS = {
    "default": Settings(stages={"sampler": 60, "independent": 60, "arms": 30, "phase": 60, "price": 10}),
    "smoke": Settings(
        stages={"sampler": 12, "independent": 12, "arms": 8},
        replicates=8,
        steps=(2, 10, 100),
        chain_steps=(2, 10),
        shares=(0.0, 0.1),
        length=2.0,
        rounds=40,
        losses=(0.03,),
        noises=2,
        phase_rounds=60,
    ),
    "paper": Settings(
        stages={"sampler": 150, "independent": 200, "arms": 100, "phase": 200, "price": 20},
        replicates=128,
        steps=(2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 70, 100, 150, 200, 300, 500),
        noises=8,
        phase_rounds=600,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import reflow, saved

    return saved.draw(folder, reflow.LINEAR)


EXPERIMENT = Experiment(
    name="reflow_linear",
    claim="With fresh noise the sampler collapses a flow at rate k/N; Reflow decays by fit loss alone; noise anchors.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
