"""Saved results of an experiment: read back by stage, and drawn, one figure a stage."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from figures.style import RC, save

Drawings = Mapping[Any, tuple[str, Callable[[Any], Any]]]
"""By stage: name of the figure's files, and the function from the stage's arrays to the figure.

Under a tuple of stages: a figure of all of them that were run, from their arrays by stage.
"""


def load(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Arrays of a results folder by stage."""
    stages: dict[str, dict[str, np.ndarray]] = {}
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        for name in file.files:
            stage, _, array = name.partition("/")
            stages.setdefault(stage, {})[array] = file[name]
    return stages


def draw(folder: Path, drawings: Drawings) -> list[Path]:
    """Draw the figures whose stages the folder holds; returns the paths written (PDF and PNG)."""
    with open(folder / "settings.json") as file:
        settings = json.load(file)
    stages, paths = load(folder), []
    for stage in settings["stages"]:
        if stages.get(stage) and stage in drawings:
            name, function = drawings[stage]
            with mpl.rc_context(RC):
                figure = function(stages[stage])
            paths += save(figure, folder, name)
    for names, (name, function) in drawings.items():
        chosen = {stage: stages[stage] for stage in names if stage in stages} if isinstance(names, tuple) else {}
        if chosen:
            with mpl.rc_context(RC):
                figure = function(chosen)
            paths += save(figure, folder, name)
    return paths
