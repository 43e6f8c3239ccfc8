"""Early stopping alone makes retrained diffusion models drift to one explicit law, a low-pass filter in Hermite order.

Makes the figures S-F1 to S-F4, S-F8 and S-F10: densities on the line and in the plane, the gain of every mode, the rate
of convergence, the size of the collapse, accumulation, and other processes.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import spectral_size_stages, spectral_stages
from experiments.harness import Experiment, main

STAGES = {
    "density": spectral_stages.density,
    "plane": spectral_stages.plane,
    "filter": spectral_stages.filter_stage,
    "rates": spectral_size_stages.rates,
    "size": spectral_size_stages.size,
    "accumulate": spectral_stages.accumulate,
    "variants": spectral_stages.variants,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    particles: int = 10**6
    replicates: int = 64
    samples: int = 100000
    real_fraction: float = 0.1
    rounds: tuple[int, ...] = (1, 3, 10, 30)
    order: int = 12
    shares: tuple[float, ...] = (0.1, 0.5, 0.9)
    truncations: tuple[float, ...] = (0.02, 0.05)
    rate_rounds: int = 60
    rate_grid: int = 1200
    sizes: int = 25
    pool_rounds: int = 200
    pool_samples: int = 20000


PRESETS = {
    "default": Settings(
        stages={"density": 20, "plane": 10, "filter": 40, "rates": 15, "size": 20, "accumulate": 20, "variants": 15}
    ),
    "smoke": Settings(
        stages={"density": 8, "filter": 12, "rates": 10},
        particles=10**5,
        samples=5000,
        real_fraction=0.3,
        shares=(0.5,),
        truncations=(0.05,),
        order=6,
        rate_rounds=20,
        rate_grid=500,
    ),
    "paper": Settings(
        stages={"density": 60, "plane": 40, "filter": 200, "rates": 60, "size": 60, "accumulate": 300, "variants": 60},
        particles=10**7,
        samples=200000,
        rate_grid=3001,
        sizes=60,
        pool_rounds=400,
        pool_samples=100000,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import saved, spectral

    return saved.draw(folder, spectral.LIMIT)


EXPERIMENT = Experiment(
    name="spectral_limit",
    claim="Stopping the reverse process early makes retrained diffusion models drift to one explicit low-pass law.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
