"""Reflow on images: quality, diversity and speed by round, with real pairs and without.

Makes the figures R-F8 (Fréchet distance of features, recall, variance, high frequencies, generalisation, chroma by
round, arm and evaluations), R-F9 (the last round by real share and noise) and R-F10 (images from fixed latents).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import reflow_image_stages
from experiments.harness import Experiment, main

STAGES = {"rounds": reflow_image_stages.rounds, "share": reflow_image_stages.share}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    data: str = "digits"
    arms: tuple[str, ...] = ("Reflow", "RA", "RA, first", "ORA", "ORAS 0.3", "ORAS 0.6", "independent", "real only")
    shares: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
    noises: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0)
    evaluations: tuple[int, ...] = (1, 2, 5, 10, 50)
    grid_evaluations: int = 10
    seeds: int = 2
    rounds: int = 5
    images: int = 1200
    held: int = 500
    pairs: int = 2000
    steps: int = 400
    first_steps: int = 2000
    batch: int = 128
    rate: float = 1e-3
    decay: float = 0.99
    network: str = "mixer"
    width: int = 64
    blocks: int = 3
    attention: tuple[int, ...] = ()
    compute: str = "float32"
    solver_steps: int = 10
    looked: int = 500
    shown: int = 16
    dispatch: int = 50
    at_once: int | None = 500
    feature_epochs: int = 3
    feature_images: int = 20_000


PRESETS = {
    "default": Settings(
        stages={"rounds": 850, "share": 1300},
        shares=(0.0, 0.1, 0.3, 0.5, 1.0),
        noises=(0.0, 0.6, 1.0),
    ),
    "smoke": Settings(
        stages={"rounds": 50},
        arms=("Reflow", "ORAS 0.6"),
        evaluations=(1, 10),
        rounds=2,
        pairs=400,
        steps=100,
        first_steps=200,
        batch=64,
        width=32,
        blocks=2,
        solver_steps=5,
        looked=200,
        shown=10,
        dispatch=25,
        feature_images=6000,
    ),
    "gpu": Settings(
        stages={"rounds": 3600, "share": 7200},
        data="fashion-mnist",
        rounds=10,
        seeds=2,
        images=50_000,
        held=5000,
        pairs=50_000,
        steps=4000,
        first_steps=10_000,
        batch=512,
        decay=0.999,
        network="unet",
        width=32,
        blocks=2,
        attention=(14,),
        compute="bfloat16",
        solver_steps=20,
        looked=5000,
        dispatch=100,
        at_once=2000,
    ),
    "paper": Settings(
        stages={"rounds": 400_000, "share": 900_000},
        data="cifar10",
        rounds=10,
        seeds=3,
        images=45_000,
        held=5000,
        pairs=50_000,
        steps=10_000,
        first_steps=50_000,
        batch=256,
        rate=2e-4,
        decay=0.9995,
        network="unet",
        width=64,
        blocks=2,
        attention=(16,),
        compute="bfloat16",
        solver_steps=20,
        looked=5000,
        dispatch=50,
        at_once=500,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import reflow_trained, saved

    return saved.draw(folder, reflow_trained.IMAGES)


EXPERIMENT = Experiment(
    name="reflow_images",
    claim="Reflow of images loses quality and diversity by its fits; real pairs, with noise or without, against that.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
    long=True,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
