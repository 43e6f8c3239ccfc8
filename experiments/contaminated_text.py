"""Language models trained on real text mixed with their own: tables first, then a small transformer.

Makes figures 7 and 8. The text is what the Python standard library says of itself (its docstrings); its hash is kept
with the results. For tables with contexts from real text CON-16 is exact; for free-running tables and for the
transformer its line is an observation, not a check.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments import contamination_network_stages, contamination_text_stages
from experiments.harness import Experiment, main

STAGES = {
    "pairs": contamination_text_stages.pairs,
    "triples": contamination_text_stages.triples,
    **contamination_network_stages.STAGES,
}


@dataclass(frozen=True)
class Settings:
    """Sizes of everything; ``stages`` maps each stage that is run to its expected seconds on two cores."""

    stages: dict[str, float]
    characters: int | None = None
    shares: tuple[float, ...] = (0.0, 0.1, 0.5, 1.0)
    rounds: int = 30
    sequences: int = 100
    sequence: int = 200
    seeds: int = 20
    network_characters: int | None = None
    network_rounds: int = 6
    network_seeds: int = 3
    first: int = 600
    held_out: int = 400
    context: int = 64
    width: int = 64
    heads: int = 4
    layers: int = 2
    batch: int = 32
    epochs: float = 15.0
    dispatch: int = 50
    draws: int = 100


NETWORK: dict[str, float] = {
    "network_real_0": 160,
    "network_real_10": 160,
    "network_real_25": 160,
    "network_real_50": 160,
    "network_real_100": 150,
    "network_growing": 550,
    "network_decaying": 490,
    "network_kept": 550,
}
"""The arms of the transformer and their seconds on two cores."""

PRESETS = {
    "default": Settings(stages={"pairs": 45, "triples": 75, **NETWORK}),
    "smoke": Settings(
        stages={"pairs": 18, "network_kept": 16},
        characters=60_000,
        shares=(0.0, 0.5),
        rounds=9,
        sequences=40,
        sequence=100,
        seeds=8,
        network_characters=60_000,
        network_rounds=2,
        network_seeds=1,
        first=60,
        held_out=40,
        context=24,
        width=16,
        heads=2,
        layers=1,
        epochs=5.0,
        dispatch=10,
        draws=20,
    ),
    # on one accelerator; depth, width and context of the paper's own run, 10 splits
    "paper": Settings(
        stages={"pairs": 200.0, "triples": 600.0} | dict.fromkeys(NETWORK, 3600.0),
        rounds=100,
        sequences=500,
        seeds=100,
        network_rounds=10,
        network_seeds=10,
        first=4000,
        held_out=2000,
        context=128,
        width=256,
        layers=4,
        draws=1000,
    ),
}


def draw(folder: Path) -> list[Path]:
    """Draw every figure of a results folder."""
    from figures import contamination, saved

    return saved.draw(folder, contamination.TEXT)


EXPERIMENT = Experiment(
    name="contaminated_text",
    claim="Language models on real text keep, lose or improve their risk by the share of real text in every round.",
    presets=PRESETS,
    stages=STAGES,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
