"""Where does the time of a generation of a trained model go, and how much of it is overhead?

``python -m benchmarks.generation_phases`` runs rounds of RA Reflow as ``experiments.reflow_images`` does at its default
sizes (8x8 digits, a patch mixer; ``--data`` takes others, as there) and times the parts of each: making the pairs,
training, sampling and judging images, the checkpoint with its log. Rounds after the first are counted: the first one
compiles. Overhead is the checkpoint and what is in none of the parts; wanted is less than 5 %.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import jax

from benchmarks.timing import machine
from collapse_jax.recursion import reflow, retraining
from experiments import reflow_image_stages as stages
from experiments.reflow_images import PRESETS

PARTS = {
    "pairs": (reflow, "make_pairs"),
    "training": (reflow, "train"),
    "sampling": (stages, "_images_of"),
    "judging": (stages.Study, "look"),
    "checkpoint": (retraining, "save"),
    "log": (retraining, "_log"),
}
"""What is timed, by where the loop takes it from."""


def timed(function, name: str, spent: defaultdict[str, float]):
    """The function, its seconds added to ``spent[name]``; results are waited for."""

    def run(*args, **kwargs):
        started = time.perf_counter()
        result = jax.block_until_ready(function(*args, **kwargs))
        spent[name] += time.perf_counter() - started
        return result

    return run


def phases(settings, arm: str = "RA") -> tuple[dict[str, float], float]:
    """Seconds of each part and of the whole, a round, over rounds 2 ... ``settings.rounds``."""
    real, ends = stages.study(settings), []
    spent: defaultdict[str, float] = defaultdict(float)

    def say(line: str, _=None) -> None:
        if ", round " in line:
            ends.append((time.perf_counter(), dict(spent)))

    with ExitStack() as replaced, tempfile.TemporaryDirectory() as folder:
        for name, (place, function) in PARTS.items():
            replaced.enter_context(patch.object(place, function, timed(getattr(place, function), name, spent)))
        stages._chain(settings, real, jax.random.key(0), reflow.ARMS[arm], arm, Path(folder), say)
    (first, before), (last, after) = ends[0], ends[-1]
    rounds = len(ends) - 1
    return {name: (after[name] - before[name]) / rounds for name in PARTS}, (last - first) / rounds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation_phases", description=__doc__)
    parser.add_argument("--data", default="digits", help="images, as --data of the experiment (default digits)")
    parser.add_argument("--rounds", type=int, default=4, help="rounds, the first of which is not counted (default 4)")
    arguments = parser.parse_args()
    settings = replace(PRESETS["default"], data=arguments.data, rounds=arguments.rounds)
    parts, whole = phases(settings)
    print(machine())
    print(
        f"{arguments.data}, {settings.pairs} pairs, {settings.steps} steps of {settings.batch}, a round {whole:.2f} s"
    )
    for name, seconds in parts.items():
        print(f"{name:<11} {seconds:7.3f} s  {100 * seconds / whole:5.1f} %")
    work = sum(parts[name] for name in ("pairs", "training", "sampling", "judging"))
    print(f"{'overhead':<11} {whole - work:7.3f} s  {100 * (1 - work / whole):5.1f} %")


if __name__ == "__main__":
    main()
