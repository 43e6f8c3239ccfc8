"""One look for all figures: column width, colour-blind safe, theory as lines, measurement as points with bands.

Colours are those of Okabe and Ito; line style and marker repeat the distinction, so that figures survive grey print.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.ticker import MaxNLocator

COLUMN = 3.4  # inches, one column of a two-column page
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")

RC: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=COLOURS),
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 220,
    "pdf.fonttype": 42,
    "svg.hashsalt": "collapse_jax",
}


def integer_ticks(*axes) -> None:
    """Whole generations on the x axis."""
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def panels(rows: int = 1, columns: int = 1, *, width: float = COLUMN, height: float = 2.4, **options):
    """Figure and array of axes in the house style; ``width`` and ``height`` in inches are those of one panel."""
    with mpl.rc_context(RC):
        figure, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, **options)
    return figure, axes


def median_band(axis, x, values, *, colour, marker="o", label=None, every: int = 1):
    """Median over the first axis as points, quartiles as a band."""
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
    axis.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
    axis.plot(
        x[::every], middle[::every], marker, color=colour, label=label, markerfacecolor="none", markeredgewidth=0.8
    )


def median_bars(axis, x, values, *, colour, marker="o", label=None):
    """Median over the first axis as points, quartiles as error bars: for settings that are no curve."""
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
    axis.errorbar(
        x,
        middle,
        yerr=[middle - low, high - middle],
        fmt=marker,
        color=colour,
        label=label,
        markerfacecolor="none",
        markeredgewidth=0.8,
        elinewidth=0.8,
        capsize=1.5,
    )


def label_panels(axes) -> None:
    """(a), (b), ... at the top left of each panel."""
    for letter, axis in zip("abcdefghijkl", np.ravel(axes), strict=False):
        axis.text(-0.02, 1.03, f"({letter})", transform=axis.transAxes, ha="right", va="bottom", fontsize=8)


def save(figure, folder: Path, name: str) -> list[Path]:
    """Write ``name.pdf`` and ``name.png``, each whole or not at all."""
    paths = []
    with mpl.rc_context(RC):
        for kind in ("pdf", "png"):
            path = folder / f"{name}.{kind}"
            temporary = folder / f".{name}.{kind}"
            metadata = {"CreationDate": None} if kind == "pdf" else {}
            figure.savefig(temporary, format=kind, metadata=metadata)
            temporary.replace(path)
            paths.append(path)
    plt.close(figure)
    return paths
