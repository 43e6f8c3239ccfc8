"""Fitted again and again on their own samples, models drift by exact laws; kept or fresh real data bound the drift.

Makes the figures M-F1 to M-F6 and M-F9: families of quadratic variance, data policies, death of a Gaussian, weights,
symbols and words, consistency, and Gaussian fits of real images.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import mle_discrete_stages, mle_gaussian_stages, mle_mean_stages
from experiments.harness import Experiment, main

STAGES = {
    "policies": mle_mean_stages.policies,
    "gaussian": mle_gaussian_stages.gaussian,
    "weights": mle_mean_stages.weights,
    "discrete": mle_discrete_stages.discrete,
    "consistency": mle_gaussian_stages.consistency,
    "images": mle_gaussian_stages.images,
    "atlas": mle_mean_stages.atlas,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    families: tuple[str, ...] = ("bernoulli", "binomial", "poisson", "gaussian", "exponential", "negative-binomial")
    sizes: tuple[int, ...] = (10, 30, 100)
    rounds: int = 50
    chains: int = 20_000
    policy_rounds: int = 200
    policy_chains: int = 20_000
    drawn_rounds: int = 40
    drawn_chains: int = 400
    death_rounds: int = 200
    death_chains: int = 64_000
    weight_chains: int = 6400
    symbol_rounds: int = 200
    words: int = 3000
    tokens: int = 20_000
    word_rounds: int = 100
    runs: int = 400
    horizon: int = 100
    components: int = 20
    image_batch: int = 100
    image_rounds: int = 60


PRESETS = {
    "default": Settings(
        stages={
            "policies": 60,
            "gaussian": 25,
            "weights": 10,
            "discrete": 15,
            "consistency": 25,
            "images": 25,
            "atlas": 60,
        }
    ),
    "smoke": Settings(
        stages={"policies": 14, "weights": 3, "discrete": 5},
        policy_rounds=60,
        policy_chains=1280,
        drawn_rounds=8,
        drawn_chains=200,
        weight_chains=640,
        symbol_rounds=80,
        words=1000,
        tokens=5000,
        word_rounds=30,
    ),
    "paper": Settings(
        stages={
            "policies": 600,
            "gaussian": 120,
            "weights": 60,
            "discrete": 30,
            "consistency": 60,
            "images": 60,
            "atlas": 300,
        },
        chains=100_000,
        policy_chains=64_000,
        drawn_rounds=100,
        drawn_chains=1000,
        death_chains=640_000,
        weight_chains=64_000,
        tokens=50_000,
        words=5000,
        runs=1000,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import mle, saved

    return saved.draw(folder, mle.ITERATIVE)


EXPERIMENT = Experiment(
    name="iterative_mle",
    claim="Iterated maximum likelihood drifts by exact laws; keeping or adding real data bounds the drift.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
