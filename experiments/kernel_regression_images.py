"""Kernel regression on real images whose labels earlier regressions made: errors as Gaussian theory says, classes lost.

Makes figures R-F7a to R-F7c: the error over a pool of images against training size and ridge for several numbers of
generators, with the prediction from the kernel's spectrum, and the accuracy on real labels by generation when labels
are replaced, accumulated, or partly real. Digits that ship with scikit-learn; clothing where it is installed.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import kernel_image_stages
from experiments.harness import Experiment, main

STAGES = {
    "digits_size": kernel_image_stages.digits_size,
    "digits_ridge": kernel_image_stages.digits_ridge,
    "digits_accuracy": kernel_image_stages.digits_accuracy,
    "clothing_size": kernel_image_stages.clothing_size,
    "clothing_ridge": kernel_image_stages.clothing_ridge,
    "clothing_accuracy": kernel_image_stages.clothing_accuracy,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    pool: int = 1797
    kernels: tuple[str, ...] = ("rbf", "cubic")
    noise: float = 0.3
    generator_rows: int = 400
    generator_ridge: float = 1e-3
    rows: tuple[int, ...] = (50, 100, 200, 400, 800)
    ridges: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    learner_rows: int = 300
    small_ridge: float = 1e-4
    seeds: int = 10
    class_rows: int = 150
    class_noise: float = 0.3
    class_rounds: int = 10
    shown: int = 10


PRESETS = {
    "default": Settings(stages={"digits_size": 120, "digits_ridge": 60, "digits_accuracy": 30}),
    "smoke": Settings(
        stages={"digits_ridge": 15, "digits_accuracy": 10},
        pool=500,
        kernels=("rbf",),
        generator_rows=120,
        ridges=(1e-3, 1e-2, 1e-1),
        learner_rows=100,
        seeds=10,
        class_rows=80,
        class_rounds=4,
    ),
    "paper": Settings(
        stages={
            "digits_size": 900,
            "digits_ridge": 500,
            "digits_accuracy": 200,
            "clothing_size": 3000,
            "clothing_ridge": 1500,
            "clothing_accuracy": 600,
        },
        pool=6000,
        rows=(50, 100, 200, 400, 800, 1600, 4000),
        seeds=50,
        class_rounds=20,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import regression_images, saved

    return saved.draw(folder, regression_images.FIGURES)


EXPERIMENT = Experiment(
    name="kernel_regression_images",
    claim="Kernel regression on self-made labels of real images follows Gaussian theory and forgets its classes.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
