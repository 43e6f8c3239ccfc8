"""Figures S-F11 and S-F12: truncated diffusion retrained on real images, from a saved results folder.

Lines are theory, points and bands are measurement (median and quartiles over runs).
"""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from figures.style import COLOURS, MARKERS, RC, integer_ticks, label_panels, median_band, panels

OUTPUTS = {"raw": "raw output", "memorised": "denoised, exact\n(memorising model)", "linear": "denoised, best linear"}
SHARE = r"real share $\alpha$"


def gains(data):
    """S-F12: gains of Hermite means along projections, by order, for each real share."""
    figure, axes = panels(2, 2, width=2.6, height=1.95, sharex=True, sharey=True)
    places = {1: axes[0, 0], 2: axes[0, 1], 3: axes[1, 0], 4: axes[1, 1]}
    kinds = {"pixels": ((1, 2), "o"), "random": ((3, 4), "o"), "ica": ((3, 4), "^")}
    for kind, (orders, marker) in kinds.items():
        if f"{kind}_gain" not in data:
            continue
        law, measured = data[f"{kind}_law"], data[f"{kind}_gain"]
        rounds = np.arange(law.shape[1])
        every = max(1, len(rounds) // 10)
        for j, order in enumerate(orders):
            for i in range(len(law)):
                axis = places[order]
                axis.plot(rounds, law[i, :, j], color=COLOURS[i])
                # the two kinds of directions are told apart also where they lie on top of each other
                shift = every // 2 if kind == "ica" else 0
                median_band(
                    axis, rounds[shift:], measured[i, :, shift:, j], colour=COLOURS[i], marker=marker, every=every
                )
    where = {1: "pixels", 2: "pixels", 3: "whitened", 4: "whitened"}
    for order, axis in places.items():
        axis.set_title(rf"order {order}, $\mathrm{{he}}_{order}$, {where[order]}")
        axis.axhline(0, color="0.7", linewidth=0.6)
    axes[0, 0].set_ylim(-0.08, 1.1)
    for axis in axes[:, 0]:
        axis.set_ylabel("gain over real images")
    for axis in axes[1]:
        axis.set_xlabel("round")
    integer_ticks(*axes.ravel())
    for i, share in enumerate(data["shares"]):
        axes[0, 0].plot([], [], color=COLOURS[i], label=rf"SP-6, $\alpha$ = {share:g}")
    axes[0, 0].plot([], [], "o", color="0.3", markerfacecolor="none", label="random directions")
    axes[0, 0].plot([], [], "^", color="0.3", markerfacecolor="none", label="independent components")
    title = f"exact score of a pool of {int(data['samples']):,} images"
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, title=title)
    label_panels(axes)
    return figure


def spectrum(data):
    """S-F11: radial power spectrum by round, raw and denoised, and the same along principal directions."""
    shares, frequency = data["shares"], data["frequency"]
    last = data["raw_radial"].shape[2] - 1
    rounds = np.unique(np.round(last * np.array([0, 0.1, 0.2, 0.5, 1])).astype(int))
    colours = mpl.colormaps["cividis"](np.linspace(0, 0.9, len(rounds)))
    figure, axes = panels(len(shares) + 1, 3, width=2.3, height=1.8, sharey="row")
    dimension = data["raw_along"].shape[-1]
    place = 1 + np.arange(dimension)
    # directions in which the images do not spread (dark corners) hold noise only: off the scale
    most = data["raw_along_law"][0, 0].max()
    least = max(1e-3 * most, 1e-3)
    few = np.unique(np.round(np.geomspace(1, dimension, 16)).astype(int)) - 1
    for column, (output, title) in enumerate(OUTPUTS.items()):
        axes[0, column].set_title(title)
        for colour, number, marker in zip(colours, rounds, MARKERS * 2, strict=False):
            label = "real pool" if number == 0 else f"round {number}"
            for row in range(len(shares)):
                axis = axes[row, column]
                power = data[f"{output}_radial"][row, :, number]
                median_band(axis, frequency, power, colour=colour, marker=marker, label=label)
                if f"{output}_law" in data:
                    axis.plot(frequency, data[f"{output}_law"][row, number], color=colour)
            along = data[f"{output}_along"][0, :, number]
            median_band(axes[-1, column], place[few], along[:, few], colour=colour, marker=marker)
            if f"{output}_along_law" in data:
                axes[-1, column].plot(place, data[f"{output}_along_law"][0, number], color=colour)
    for row, share in enumerate(shares):
        for axis in axes[row]:
            axis.set(xscale="log", yscale="log", xlabel="spatial frequency [cycles/pixel]")
            ticks = [tick for tick in (0.05, 0.1, 0.2, 0.3, 0.5) if tick > 0.8 * frequency[0]]
            axis.xaxis.set_major_locator(FixedLocator(ticks))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_xticklabels([f"{tick:g}" for tick in ticks])
            axis.yaxis.set_minor_formatter("")
            axis.axhline(1, color="0.7", linewidth=0.6, linestyle=":")
        axes[row, 0].set_ylabel(rf"power, $\alpha$ = {share:g}")
    for axis in axes[-1]:
        axis.set(xscale="log", yscale="log", xlabel="principal direction", ylim=(least / 2, 2 * most))
        axis.axhline(1, color="0.7", linewidth=0.6, linestyle=":")
    axes[-1, 0].set_ylabel(rf"variance, $\alpha$ = {shares[0]:g}")
    title = (
        f"pools of {int(data['samples']):,} images of mean variance 1; lines: SP-16 (raw; linear); dotted: white noise"
    )
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, title=title)
    label_panels(axes)
    return figure


def grid(data):
    """S-F11: generated pictures by round, for each real share and output."""
    pictures, shares = data["pictures"], data["shares"]
    last = pictures.shape[2] - 1
    rounds = np.unique(np.round(last * np.array([0, 0.1, 0.2, 0.5, 1])).astype(int))
    shown = pictures.shape[3]
    names = ("raw", "memorising", "linear")
    with mpl.rc_context(RC):
        figure = Figure(figsize=(6.9, 0.4 + 0.29 * len(shares) * len(names)), layout="constrained")
        spaces = {"wspace": 0.06, "hspace": 0.1}
        outer = figure.add_gridspec(len(shares) * len(names), len(rounds), **spaces)
        for i, share in enumerate(shares):
            for j, name in enumerate(names):
                for k, number in enumerate(rounds):
                    axis = figure.add_subplot(outer[i * len(names) + j, k])
                    strip = np.concatenate(list(pictures[i, j, number]), axis=1)
                    axis.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
                    axis.set(xticks=[], yticks=[])
                    axis.spines[:].set_visible(False)
                    for line in np.arange(1, shown) * pictures.shape[-1] - 0.5:
                        axis.axvline(line, color="0.6", linewidth=0.4)
                    if i == j == 0:
                        axis.set_title("real pool" if number == 0 else f"round {number}", fontsize=7)
                    if k == 0:
                        text = rf"$\alpha$ = {share:g}, {name}"
                        axis.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=6.5)
    return figure


def mixture(data):
    """S-F12: a fitted mixture: modes along its least Gaussian directions, and points of its exact laws."""
    pictures, shares = data["pictures"], data["shares"]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(5.6, 3.3), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=(4, 1), squeeze=False)[:, 0]
        axes = top.subplots(1, 2)
        rounds = np.arange(data["law"].shape[-1])
        every = max(1, len(rounds) // 10)
        for j, axis in enumerate(axes):
            for i, share in enumerate(shares):
                median_band(axis, rounds, data["mode"][i, j], colour=COLOURS[i], marker=MARKERS[i], every=every)
                axis.plot(rounds, data["law"][i, j], color=COLOURS[i], label=rf"SP-6, $\alpha$ = {share:g}")
            axis.axhline(0, color="0.7", linewidth=0.6)
            name = ("skewest direction", "largest order 4")[j]
            axis.set(xlabel="round", ylabel=rf"$\mathrm{{E}}\,\mathrm{{he}}_{3 + j}(w\cdot X)$", title=name)
        axes[1].legend(title=f"{int(data['samples']):,} particles a run", loc="upper right")
        integer_ticks(*axes)
        label_panels(axes)
        cells = bottom.subplots(1, len(pictures))
        for cell, strip, age in zip(cells, pictures, [*data["ages"], None], strict=True):
            cell.imshow(np.concatenate(list(strip), axis=1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
            name = "limit" if age is None else "fitted law" if age == 0 else f"round {age}"
            cell.set_title(name, fontsize=7)
        bottom.suptitle(r"points of the exact law, $\alpha$ = 0.1, as pictures", fontsize=7)
    return figure


FIGURES = {
    "digits_gains": ("S-F12_digits_gains", gains),
    "digits_spectrum": ("S-F11_digits_spectrum", spectrum),
    "digits_grid": ("S-F11_digits_grid", grid),
    "mixture": ("S-F12_mixture", mixture),
    "clothing_gains": ("S-F12_clothing_gains", gains),
    "clothing_patches": ("S-F12_clothing_patches", gains),
    "clothing_spectrum": ("S-F11_clothing_spectrum", spectrum),
}
