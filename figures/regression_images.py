"""Figures R-F7a to R-F7c of kernel regression on images, from a saved results folder."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from figures.regression import dots
from figures.style import COLOURS, DASHES, MARKERS, RC, integer_ticks, label_panels, panels

ERROR = "mean square error to the teacher"


def by_ridge(data):
    """R-F7b: error over the pool against the ridge; dashed lines from the kernel's spectrum."""
    kernels = [str(name) for name in data["kernels"]]
    figure, (axes,) = panels(1, len(kernels), width=3.0, height=2.6, sharey=True)
    for i, (axis, kernel) in enumerate(zip(axes, kernels, strict=True)):
        for j, n in enumerate(data["shown"]):
            axis.plot(data["fine"], data["law"][i, j], "--", color=COLOURS[j])
            parts = (data[part][i, j] for part in ("mean", "error"))
            dots(axis, data["ridges"], *parts, colour=COLOURS[j], marker=MARKERS[j], label=f"n = {n}")
        axis.set(
            title=f"{kernel} kernel, T = {int(data['rows'])}", xscale="log", yscale="log", xlabel=r"ridge $\lambda$"
        )
    axes[0].set_ylabel(ERROR)
    axes[-1].legend(title="dashed: Gaussian theory", ncols=2)
    label_panels(axes)
    return figure


def by_size(data):
    """R-F7a: error against training size for three ways to choose the ridge."""
    figure, (axes,) = panels(1, 3, width=2.35, height=2.6, sharey=True)
    for k, (axis, title) in enumerate(
        zip(axes, ("small fixed ridge", "ridge best for clean labels", "ridge adapted to n"), strict=True)
    ):
        for j, n in enumerate(data["shown"]):
            axis.plot(data["rows"], data["law"][k, j], "--", color=COLOURS[j])
            parts = (data[part][k, j] for part in ("mean", "error"))
            dots(axis, data["rows"], *parts, colour=COLOURS[j], marker=MARKERS[j], label=f"n = {n}")
        axis.set(title=title, xscale="log", yscale="log", xlabel="training size T")
        axis.set_xticks(data["rows"], [str(rows) for rows in data["rows"]])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel(ERROR)
    note = f"dashed: Gaussian theory; against real labels add about {float(data['misfit']):.2g} (misfit of the teacher)"
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, title=note)
    label_panels(axes)
    return figure


def by_generation(data):
    """R-F7c: accuracy on real labels, and the labels that ten images are given."""
    regimes = [str(name) for name in data["regimes"]]
    rounds = np.arange(data["accuracy"].shape[-1])
    with mpl.rc_context(RC):
        figure = Figure(figsize=(6.6, 2.6), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.25))[0]
        axis = left.subplots()
        for j, regime in enumerate(regimes):
            low, middle, high = np.quantile(data["accuracy"][j], [0.25, 0.5, 0.75], axis=0)
            axis.fill_between(rounds, low, high, color=COLOURS[j], alpha=0.25, linewidth=0)
            axis.plot(rounds, middle, color=COLOURS[j], linestyle=DASHES[j], marker=MARKERS[j], label=regime)
        axis.set(xlabel="generation", ylabel="accuracy on real labels", ylim=(0, 1.02))
        axis.legend(loc="lower left")
        integer_ticks(axis)
        pictures = data["pictures"]
        chosen = np.unique(np.round(np.linspace(0, rounds[-1], 5)).astype(int))
        grid = right.subplots(1 + len(chosen), len(pictures), gridspec_kw={"wspace": 0, "hspace": 0})
        for place, picture in enumerate(pictures):
            grid[0, place].imshow(picture, cmap="gray_r")
            for line, generation in enumerate(chosen, 1):
                label = data["labels"][0, generation, place]
                good = label == data["classes"][place]
                grid[line, place].text(
                    0.5, 0.5, str(label), ha="center", va="center", fontsize=8, color="k" if good else COLOURS[1]
                )
        for cell in grid.ravel():
            cell.set(xticks=[], yticks=[])
            for side in cell.spines.values():
                side.set_visible(False)
        for line, generation in enumerate(chosen, 1):
            grid[line, 0].set_ylabel(f"gen. {generation}", rotation=0, ha="right", va="center", fontsize=6.5)
        right.suptitle("labels under replacement (orange: wrong)", fontsize=7.5)
    return figure


FIGURES = {
    f"{name}_{stage}": (f"R-F7{letter}_{name}", function)
    for name in ("digits", "clothing")
    for stage, letter, function in (("size", "a", by_size), ("ridge", "b", by_ridge), ("accuracy", "c", by_generation))
}
