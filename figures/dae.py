"""Figures D-F1 to D-F9 of the linear denoising-autoencoder chain, from a saved results folder.

Lines are theory, points and bands are measurement (median and quartiles over replicates), dotted lines are bounds.
"""

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    RC,
    integer_ticks,
    label_panels,
    median_band,
    median_bars,
    panels,
)

NORM = r"operator norm $\|W\|$"
NOISE = r"$c=\hat\sigma^2/\sigma^2$"


def collapse(data):
    """D-F1: the norm against the generation, linear and logarithmic, for each noise ratio and sample size."""
    ratios, samples, law = data["ratios"], data["samples"], data["law"]
    rounds = np.arange(law.shape[1])
    figure, axes = panels(2, len(ratios), width=1.75, height=1.75, sharex=True)
    for column, ratio in enumerate(ratios):
        for axis in axes[:, column]:
            for j, size in enumerate(samples):
                norm, label = data["gain_norm"][column, j], f"n = {size:,}"
                median_band(axis, rounds, norm, colour=COLOURS[j], marker=MARKERS[j], every=2, label=label)
            axis.plot(rounds, law[column], "k-", label="theory, n → ∞", zorder=3)
            axis.plot(rounds, data["bound"][column], "k:", label="geometric bound")
        axes[0, column].set_title(f"c = {ratio:g}")
        axes[0, column].set_ylim(0, 1.02)
        axes[1, column].set_yscale("log")
        axes[1, column].set_ylim(1e-8, 2)
        axes[1, column].set_xlabel("generation")
    integer_ticks(*axes.ravel())
    axes[0, 0].set_ylabel(NORM)
    axes[1, 0].set_ylabel(NORM)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def spectrum(data):
    """D-F2: gains per direction, effective rank, excess risk on real data."""
    rounds = np.arange(data["gains_law"].shape[0])
    figure, (axes,) = panels(1, 3, width=2.35, height=2.2)
    for i in range(data["gains_law"].shape[1]):
        median_band(axes[0], rounds, data["gains"][:, :, i], colour=COLOURS[i], marker=MARKERS[i], every=2)
        axes[0].plot(rounds, data["gains_law"][:, i], color=COLOURS[i], label=f"direction {i + 1}")
    axes[0].set(xlabel="generation", ylabel="gain of W along direction", ylim=(0, 1))
    axes[0].legend(loc="upper right")
    for axis, name, label in (
        (axes[1], "effective_rank", "effective rank"),
        (axes[2], "risk", "excess risk on real data [data²]"),
    ):
        median_band(axis, rounds, data[name], colour=COLOURS[0], label=f"n = {int(data['samples']):,}", every=2)
        axis.plot(rounds, data[f"{name}_law"], "k-", label="theory, n → ∞")
        axis.set(xlabel="generation", ylabel=label)
        axis.legend()
    axes[1].set_ylim(bottom=0)
    integer_ticks(*axes)
    label_panels(axes)
    return figure


def threshold(data):
    """D-F3: SNR after 60 rounds against noise ratio and start, with the border 1/(c - 2)."""
    figure, ((axis,),) = panels(height=2.6)
    final = np.clip(data["final"].T, 1e-6, 1e3)
    mesh = axis.pcolormesh(
        data["ratios"], data["starts"], final, norm=LogNorm(1e-6, 1e3), cmap="cividis", rasterized=True
    )
    ratio = np.linspace(2.02, 4, 200)
    axis.plot(ratio, 1 / (ratio - 2), color="white", linewidth=2.2)
    axis.plot(ratio, 1 / (ratio - 2), color=COLOURS[1], linestyle="--", label=r"theory: $x^*=1/(c-2)$")
    axis.set(xlabel=NOISE, ylabel="SNR of the real data, $x_1$", yscale="log", ylim=(0.1, 30))
    figure.colorbar(mesh, ax=axis, label="SNR after 60 generations")
    axis.set_title("1-D chains, n = 20,000")
    axis.legend(loc="lower left", labelcolor="white")
    return figure


def lifetime(data):
    """D-F4: generations until the SNR falls below one."""
    figure, ((axis,),) = panels()
    for i, ratio in enumerate(data["ratios"]):
        axis.plot(data["fine"], data["law"][i], color=COLOURS[i], linestyle=DASHES[i], label=f"c = {ratio:g}")
        median = np.median(data["lifetime"][i], axis=1)
        axis.plot(data["starts"], median, MARKERS[i], color=COLOURS[i], markerfacecolor="none", markeredgewidth=0.8)
    axis.set(xscale="log", yscale="log", xlabel="SNR of the real data, $x_1$", ylabel="generations until SNR < 1")
    axis.legend(title="lines: theory, points: chains")
    return figure


def real_share(data):
    """D-F5: where the norm stops, against the real fraction."""
    figure, (axes,) = panels(1, len(data["tops"]), width=2.9, height=2.5, sharey=True)
    for i, (axis, top) in enumerate(zip(axes, data["tops"], strict=True)):
        for j, feed in enumerate(("pool-fed", "chain-fed")):
            axis.plot(data["fine"], data["law"][i, j], color=COLOURS[j], linestyle=DASHES[j], label=f"theory, {feed}")
            level = data["gain_norm"][i, j].T
            median_bars(axis, data["shares"], level, colour=COLOURS[j], marker=MARKERS[j], label=f"chains, {feed}")
        axis.plot(data["fine"], data["floor"][i], "k:", label="lower bound")
        axis.axhline(top / (top + 1), color="0.5", linewidth=0.8)
        axis.text(0.02, top / (top + 1) + 0.01, "trained on real data only", fontsize=6.5, color="0.35")
        axis.set(xlabel="real fraction $a$", title=f"SNR of the real data A = {top:g}", xlim=(0, 1.02), ylim=(0, 1))
    axes[0].set_ylabel(r"limit of the norm $\|W\|$")
    axes[-1].legend(loc="lower right", title=f"n = {int(data['samples']):,}, c = 1")
    label_panels(axes)
    return figure


def accumulate(data):
    """D-F6: replace, accumulate, fixed share, against the number of blocks."""
    figure, (axes,) = panels(1, len(data["tops"]), width=2.9, height=2.5, sharey=True)
    names = ("replace", "accumulate", "fixed share 0.1")
    for i, (axis, top) in enumerate(zip(axes, data["tops"], strict=True)):
        for j, name in enumerate(names):
            shown = data["law"][i, j] > 1e-9
            blocks, line = data["blocks"][shown], data["law"][i, j][shown]
            axis.plot(blocks, line, color=COLOURS[j], linestyle=DASHES[j], label=f"theory, {name}")
            measured = np.where(data["second_moment"][i, j] > 1e-9, data["second_moment"][i, j], np.nan)
            seen = np.isfinite(measured).all(axis=0)
            median_band(axis, data["blocks"][seen], measured[:, seen], colour=COLOURS[j], marker=MARKERS[j], every=3)
        axis.plot(data["blocks"], data["late_law"][i], "k:", label=r"$m e^m=\kappa A e^A/N$")
        axis.set(xscale="log", yscale="log", xlabel="blocks N (generation + 1)", title=f"A = {top:g}", ylim=(1e-4, 20))
    axes[0].set_ylabel("SNR of the training data")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    label_panels(axes)
    return figure


def finite_n(data):
    """D-F7: share of runs whose norm rises in the first round."""
    figure, ((axis,),) = panels()
    runs = int(data["runs"])
    for i, top in enumerate(data["tops"]):
        share, samples = data["share"][i], data["samples"][i]
        # Wilson interval, 95 %
        z = 1.96
        centre = (share + z**2 / (2 * runs)) / (1 + z**2 / runs)
        half = z * np.sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2)) / (1 + z**2 / runs)
        axis.fill_between(samples, centre - half, centre + half, color=COLOURS[i], alpha=0.25, linewidth=0)
        axis.plot(samples, share, MARKERS[i], color=COLOURS[i], markerfacecolor="none", label=f"$x_1$ = {top:g}")
        axis.axvline(data["scale"][i], color=COLOURS[i], linestyle="--", linewidth=0.9)
    axis.plot([], [], "k--", linewidth=0.9, label=r"sufficient scale $n=d(x_1+2)^2$")
    axis.set(
        xscale="log", xlabel="points per generation n", ylabel="share of runs whose norm rises", ylim=(-0.02, 0.75)
    )
    axis.legend(frameon=True, edgecolor="none", framealpha=0.9, title=f"first round, isotropic d = 5, {runs} runs")
    return figure


def trained(data):
    """D-F8: factors trained by gradient descent against the closed form."""
    arms = ("untied", "tied", "weight decay 0.2")
    rounds = np.arange(data["law"].shape[-1])
    figure, (axes,) = panels(1, len(data["ranks"]), width=2.2, height=2.3, sharey=True)
    for j, (axis, rank) in enumerate(zip(axes, data["ranks"], strict=True)):
        for i, arm in enumerate(arms):
            norm = data["gain_norm"][i, j]
            median_bars(axis, rounds + 0.12 * (i - 1), norm, colour=COLOURS[i], marker=MARKERS[i], label=arm)
            if i != 1:
                axis.plot(rounds, data["law"][i, j], color="k" if i == 0 else COLOURS[i], linestyle=DASHES[i])
        axis.set(xlabel="generation", title=f"bottleneck k = {rank}", ylim=(0, 1))
    axes[0].set_ylabel(NORM)
    title = f"trained on n = {int(data['samples']):,} points; lines: closed form"
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, title=title)
    label_panels(axes)
    return figure


def pictures(data):
    """D-F9: gains along the principal directions of real images, and what the denoiser makes of some of them."""
    shares, faces = data["shares"], data["faces"]
    generations = faces.shape[1] - 1
    chosen = np.unique(np.round(generations * np.array([0, 0.2, 0.4, 0.7, 1])).astype(int))
    with mpl.rc_context(RC):
        figure = Figure(figsize=(6.9, 4.5), layout="constrained")
        top, bottom = figure.subfigures(2, 1, squeeze=False)[:, 0]
        axes = top.subplots(1, len(shares), sharey=True)
        rounds = np.arange(generations + 1)
        for i, (axis, share) in enumerate(zip(axes, shares, strict=True)):
            for j, direction in enumerate(data["directions"]):
                median_band(axis, rounds, data["gains"][i, :, :, j], colour=COLOURS[j], marker=MARKERS[j], every=2)
                axis.plot(rounds, data["law"][i, :, j], color=COLOURS[j], label=f"{direction}")
                if share > 0:
                    axis.plot(rounds, data["floor"][i, :, j], color=COLOURS[j], linestyle=":", linewidth=0.7)
            axis.set(title=f"real fraction {share:g}", xlabel="generation", ylim=(0, 1))
        integer_ticks(*axes)
        axes[0].set_ylabel("gain along direction")
        axes[-1].legend(title="principal\ndirection", loc="center left", bbox_to_anchor=(1, 0.5))
        top.suptitle(
            f"points: {data['gains'].shape[1]} runs on {int(data['samples']):,} images, "
            "lines: theory n → ∞, dotted: lower bound",
            fontsize=7,
        )
        titles = ["real", "noisy", *(f"gen. {g}" for g in chosen)]
        grid = bottom.subplots(len(shares), len(titles) * faces.shape[-1], gridspec_kw={"wspace": 0.0, "hspace": 0.0})
    low, high = data["originals"].min(), data["originals"].max()
    for place, cells in enumerate(grid):
        shown = []
        for face in range(faces.shape[-1]):
            shown += [data["originals"][..., face], data["noisy"][..., face]]
            shown += [faces[place, generation, ..., face] for generation in chosen]
        for cell, picture in zip(cells, shown, strict=True):
            cell.imshow(picture, cmap="gray", vmin=low, vmax=high)
            cell.set(xticks=[], yticks=[])
        cells[0].set_ylabel(f"a = {shares[place]:g}", rotation=0, ha="right", va="center")
    for cell, title in zip(grid[0], titles * faces.shape[-1], strict=True):
        cell.set_title(title, fontsize=6)
    return figure


FIGURES = {
    "collapse": ("D-F1_collapse", collapse),
    "spectrum": ("D-F2_spectrum", spectrum),
    "threshold": ("D-F3_threshold", threshold),
    "lifetime": ("D-F4_lifetime", lifetime),
    "real_share": ("D-F5_real_share", real_share),
    "accumulate": ("D-F6_accumulate", accumulate),
    "finite_n": ("D-F7_finite_n", finite_n),
    "trained": ("D-F8_trained", trained),
    "digits": ("D-F9_digits", pictures),
    "clothing": ("D-F9_clothing", pictures),
}
