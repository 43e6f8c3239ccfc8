"""A linear denoising autoencoder retrained on its own output forgets how to denoise; a share of real data stops that.

Makes the figures D-F1 to D-F9: collapse of the operator norm, order of death of the directions, the threshold in the
generation noise, lifetimes, the real share, accumulation, finite samples, trained factors, and real images.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import dae_mixed_stages, dae_stages
from experiments.harness import Experiment, main

STAGES = {
    "collapse": dae_stages.collapse,
    "spectrum": dae_stages.spectrum,
    "threshold": dae_stages.threshold,
    "lifetime": dae_stages.lifetimes,
    "real_share": dae_mixed_stages.real_share,
    "accumulate": dae_mixed_stages.accumulate,
    "finite_n": dae_stages.finite_n,
    "trained": dae_mixed_stages.trained,
    "digits": dae_mixed_stages.digits,
    "clothing": dae_mixed_stages.clothing,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    dimension: int = 20
    generations: int = 30
    replicates: int = 64
    noise_ratios: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    samples: tuple[int, ...] = (300, 3000, 30000)
    grid: int = 61
    threshold_generations: int = 60
    longest_start: float = 300.0
    lifetime_points: int = 8
    shares: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
    settle: int = 300
    blocks: int = 10**4
    finite_points: int = 12
    rise_runs: int = 200
    ranks: tuple[int, ...] = (2, 5, 20)
    trained_generations: int = 15
    trained_samples: int = 3000
    trained_seeds: int = 8
    image_shares: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5)
    image_generations: int = 30
    image_seeds: int = 8
    clothing_generations: int = 15
    clothing_seeds: int = 3
    faces: int = 2


PRESETS = {
    "demo": Settings(
        stages={"collapse": 20, "spectrum": 10, "real_share": 20, "digits": 5},
        generations=20,
        settle=120,
        shares=(0.03, 0.1, 0.3, 0.5, 0.7, 1.0),
        image_generations=20,
        image_seeds=4,
    ),
    "paper": Settings(
        stages={
            "collapse": 15,
            "spectrum": 10,
            "threshold": 10,
            "lifetime": 80,
            "real_share": 50,
            "accumulate": 40,
            "finite_n": 15,
            "trained": 60,
            "digits": 20,
            "clothing": 200,
        }
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import dae, saved

    return saved.draw(folder, dae.FIGURES)


EXPERIMENT = Experiment(
    name="dae_weight_norm",
    claim="A linear denoising autoencoder retrained on its own output forgets; a share of real data stops that.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
