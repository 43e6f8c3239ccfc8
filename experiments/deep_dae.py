"""A deep denoising autoencoder retrained on its own output loses variance too, later than the linear theory says.

Makes the figure D-F10: variance, gains, risk on real images and sharpness by generation, of a deep network and of a
linear one trained by the same steps, beside the closed forms of the linear recursion (DAE-5, DAE-10, DAE-13).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import deep_dae_stages
from experiments.harness import Experiment, main

STAGES = {"linear": deep_dae_stages.linear, "deep": deep_dae_stages.deep}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    data: str = "digits"
    components: int = 40
    noise_direction: int = 10
    shares: tuple[float, ...] = (0.0, 0.5)
    generations: int = 6
    seeds: int = 3
    pool: int = 5000
    width: int = 128
    depth: int = 2
    steps: int = 1000
    batch: int = 256
    learning_rate: float = 3e-3
    linear_rate: float = 1e-2
    decay: float = 0.99
    dispatch: int = 500


PRESETS = {
    "default": Settings(stages={"linear": 100, "deep": 300}),
    "smoke": Settings(
        stages={"linear": 12, "deep": 20},
        components=20,
        generations=3,
        seeds=2,
        pool=2000,
        width=64,
        steps=300,
        batch=128,
        dispatch=300,
    ),
    "gpu": Settings(
        stages={"linear": 200, "deep": 600},
        components=61,
        shares=(0.0, 0.1, 0.3, 0.5),
        generations=10,
        seeds=5,
        pool=50_000,
        width=512,
        depth=3,
        steps=5000,
        batch=1024,
        decay=0.999,
        learning_rate=1e-3,
    ),
    "paper": Settings(
        stages={"linear": 1500, "deep": 9000},
        components=61,
        shares=(0.0, 0.1, 0.3, 0.5),
        generations=10,
        seeds=5,
        pool=20_000,
        width=256,
        depth=3,
        steps=4000,
        batch=512,
        decay=0.999,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import deep_dae, saved

    return saved.draw(folder, deep_dae.FIGURES)


EXPERIMENT = Experiment(
    name="deep_dae",
    claim="A deep denoising autoencoder retrained on its own output, beside closed forms and a linear control.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
    long=True,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
