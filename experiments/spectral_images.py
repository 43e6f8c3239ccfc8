"""Real images retrained on truncated output drift towards noise, order by order as the theory of Hermite modes says.

Makes the figures S-F11 (power spectra, pictures) and S-F12 (non-Gaussianity along projections) with the exact score of
a finite pool, the model that memorises it, and with the exact law of a Gaussian mixture fitted to the images.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import image_gain_stages, image_spectrum_stages
from experiments.harness import Experiment, main

STAGES = {
    "digits_gains": image_gain_stages.digits,
    "digits_spectrum": image_spectrum_stages.digits,
    "digits_grid": image_spectrum_stages.digits_grid,
    "mixture": image_gain_stages.mixture,
    "clothing_gains": image_gain_stages.clothing,
    "clothing_patches": image_gain_stages.patches,
    "clothing_spectrum": image_spectrum_stages.clothing,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    truncation: float = 0.05
    shares: tuple[float, ...] = (0.0, 0.1, 0.5)
    gain_rounds: int = 20
    gain_pool: int = 5000
    gain_seeds: int = 32
    components: int = 20
    clothing_components: int = 40
    clothing_images: int = 10000
    random_directions: int = 32
    patch_side: int = 7
    picture_shares: tuple[float, ...] = (0.0, 0.1)
    picture_rounds: int = 10
    picture_pool: int = 2000
    picture_seeds: int = 32
    memorised_seeds: int = 4
    clothing_seeds: int = 2
    clothing_raw_seeds: int = 8
    shown: int = 5
    mixture_components: int = 10
    mixture_dimension: int = 10
    mixture_rounds: int = 20
    mixture_particles: int = 20000


PRESETS = {
    "default": Settings(
        stages={
            "digits_gains": 40,
            "digits_spectrum": 30,
            "digits_grid": 5,
            "mixture": 120,
            "clothing_gains": 50,
            "clothing_patches": 40,
            "clothing_spectrum": 150,
        },
    ),
    "smoke": Settings(
        stages={"digits_gains": 9, "digits_spectrum": 6, "digits_grid": 1, "mixture": 14},
        gain_rounds=8,
        gain_pool=1000,
        gain_seeds=64,
        components=8,
        random_directions=16,
        picture_rounds=5,
        picture_pool=500,
        picture_seeds=16,
        memorised_seeds=2,
        mixture_components=4,
        mixture_dimension=4,
        mixture_rounds=8,
        mixture_particles=5000,
        shares=(0.0, 0.1),
    ),
    "paper": Settings(
        stages={
            "digits_gains": 350,
            "digits_spectrum": 200,
            "digits_grid": 30,
            "mixture": 300,
            "clothing_gains": 350,
            "clothing_patches": 250,
            "clothing_spectrum": 400,
        },
        gain_rounds=30,
        gain_pool=20000,
        gain_seeds=64,
        clothing_images=60000,
        picture_pool=4000,
        picture_seeds=64,
        memorised_seeds=6,
        clothing_seeds=2,
        clothing_raw_seeds=8,
        mixture_rounds=30,
        mixture_particles=30000,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import saved, spectral_images

    return saved.draw(folder, spectral_images.FIGURES)


EXPERIMENT = Experiment(
    name="spectral_images",
    claim="Real images under truncated retraining: Hermite gains, power spectra and pictures against the exact laws.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
