"""Training on a mixture of real and self-made data: collapse, stagnation or improvement, decided by share and size.

Makes figures 1 to 6: the risk recursion, the map of improvement, the phase diagram of schedules, the design of sizes,
policies beside agnostic mixing, and the tails that the risk hides.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import contamination_stages
from experiments.harness import Experiment, main

STAGES = {
    "recursion": contamination_stages.recursion,
    "improvement": contamination_stages.improvement,
    "phases": contamination_stages.phases,
    "design": contamination_stages.design,
    "policies": contamination_stages.policies,
    "tails": contamination_stages.tails,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    tokens: int = 50
    rounds: int = 200
    chains: int = 100
    panels: int = 4
    first_checks: int = 6
    map_checks: int = 4
    map_sizes: int = 12
    map_shares: int = 10
    map_rounds: int = 200
    map_chains: int = 40
    map_judged: int = 160
    grid: int = 61
    late_rounds: int = 100_000
    late_checks: int = 8
    design_rounds: int = 20
    design_chains: int = 100
    design_checks: int = 7
    policy_rounds: int = 60
    policy_panels: int = 3
    policy_chains: int = 100
    policy_checks: int = 5
    slope_rounds: int = 20_000
    tail_tokens: int = 100
    tail_rounds: int = 200
    tail_chains: int = 1000
    tail_checks: int = 13


PRESETS = {
    "default": Settings(
        stages={"recursion": 65, "improvement": 120, "phases": 35, "design": 30, "policies": 50, "tails": 220}
    ),
    "smoke": Settings(  # stages share their sizes, and so their compiled programs
        stages={"recursion": 9, "improvement": 4, "phases": 1, "design": 3, "policies": 10, "tails": 9},
        tokens=10,
        rounds=20,
        chains=60,
        panels=2,
        first_checks=0,
        map_checks=0,
        map_sizes=4,
        map_shares=4,
        map_rounds=20,
        map_judged=40,
        grid=15,
        late_rounds=2000,
        late_checks=0,
        design_rounds=5,
        design_checks=0,
        policy_rounds=20,
        policy_panels=1,
        policy_chains=40,
        policy_checks=0,
        slope_rounds=1000,
        tail_tokens=10,
        tail_rounds=20,
        tail_chains=40,
        tail_checks=0,
    ),
    "paper": Settings(
        stages={"recursion": 300, "improvement": 600, "phases": 300, "design": 100, "policies": 120, "tails": 300},
        chains=1000,
        map_sizes=24,
        map_shares=20,
        map_chains=100,
        map_judged=400,
        grid=121,
        design_chains=1000,
        policy_chains=1000,
        tail_rounds=400,
        tail_chains=5000,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import contamination, saved

    return saved.draw(folder, contamination.TRAINING)


EXPERIMENT = Experiment(
    name="contaminated_training",
    claim="Real share and sample size together decide whether training on one's own output collapses or improves.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
