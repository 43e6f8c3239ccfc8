"""Saved results of an experiment: read back by stage, and drawn, one figure a stage or group of stages."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from figures.style import RC, save

Drawings = Mapping[str, tuple[str, Callable[[Any], Any]]]
"""By stage: name of the figure's files, and the function from the stage's arrays to the figure.

A stage that ends in ``*`` stands for all that begin like it: the function gets their arrays by stage.
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
    for stage, (name, function) in drawings.items():
        if stage.endswith("*"):
            data = {known: stages[known] for known in settings["stages"] if known.startswith(stage[:-1])}
        else:
            data = stages.get(stage, {}) if stage in settings["stages"] else {}
        if data:
            with mpl.rc_context(RC):
                figure = function(data)
            paths += save(figure, folder, name)
    return paths
