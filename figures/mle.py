"""Figures M-F1 to M-F6 and M-F9 of iterative maximum likelihood, from a saved results folder.

Lines are theory, points are measurement, dotted lines are bounds, limits or leading orders.
"""

import numpy as np
from matplotlib.lines import Line2D

from figures.style import COLOURS, DASHES, MARKERS, integer_ticks, label_panels, panels

OPEN = {"markerfacecolor": "none", "markeredgewidth": 0.7, "linestyle": "none", "markersize": 2.6}
BARS = {"markerfacecolor": "none", "markeredgewidth": 0.7, "elinewidth": 0.7, "capsize": 1.2, "markersize": 2.6}


def _looks(last: int, count: int = 12, first: int = 1) -> np.ndarray:
    """Rounds at which points are drawn, evenly in the logarithm."""
    return np.unique(np.round(np.geomspace(first, last, count)).astype(int))


def atlas(data):
    """M-F1: variance of the fitted mean by round, each family, replace above accumulate."""
    families, sizes = data["families"], data["sizes"]
    rounds = np.arange(data["law"].shape[-1])
    looks = _looks(rounds[-1])
    figure, axes = panels(2, len(families), width=1.6, height=1.75, sharex=True, sharey="row")
    for i, family in enumerate(families):
        for j in range(2):
            axis = axes[j, i]
            for k, size in enumerate(sizes):
                axis.plot(rounds[1:], data["law"][i, j, k, 1:], color=COLOURS[k], linestyle=DASHES[k])
                axis.errorbar(
                    looks,
                    data["found"][i, j, k, looks],
                    yerr=2 * data["error"][i, j, k, looks],
                    fmt=MARKERS[k],
                    color=COLOURS[k],
                    label=f"n = {size}",
                    **BARS,
                )
            axis.set(xscale="log", yscale="log")
        axes[0, i].set_title(str(family))
        axes[1, i].set_xlabel("round")
    axes[0, 0].set_ylabel("replace\nVar / V($m_0$)")
    axes[1, 0].set_ylabel("accumulate\nVar / V($m_0$)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(sizes))
    return figure


def policies(data):
    """M-F2: n Var of a Gaussian location by round under every data policy."""
    names = data["names"]
    rounds = np.arange(data["law"].shape[1])
    looks = _looks(rounds[-1], 10)
    figure, axes = panels(1, 2, width=3.2, height=2.7, sharey=True)
    chosen = {0: ("replace", "accumulate", "drawn with", "drawn without"), 1: tuple(names[2:8])}
    for place, axis in enumerate(axes[0]):
        for i, name in enumerate(chosen[place]):
            index = int(np.flatnonzero(names == name)[0])
            colour = COLOURS[i]
            axis.plot(rounds[1:], data["law"][index, 1:], color=colour, linestyle=DASHES[i % 4])
            seen = looks[np.isfinite(data["found"][index, looks])]
            axis.errorbar(
                seen,
                data["found"][index, seen],
                yerr=2 * data["error"][index, seen],
                fmt=MARKERS[i],
                color=colour,
                label=str(name),
                **BARS,
            )
            if np.isfinite(data["end"][index]):
                axis.axhline(data["end"][index], color=colour, linestyle=":", linewidth=0.7)
        axis.set(
            xscale="log", yscale="log", xlabel="round", title=("no fresh real data", "real data in every round")[place]
        )
        axis.legend(loc="upper left")
    axes[0, 0].set_ylabel("n Var of the fitted mean / V")
    figure.suptitle("dotted: limits", fontsize=7)
    label_panels(axes)
    return figure


def gaussian(data):
    """M-F3: the fitted scale, W2 of both divisors, survival and its bounds, the level that accumulation keeps."""
    sizes = data["sizes"]
    rounds = np.arange(data["paths"].shape[-1])
    figure, axes = panels(2, 2, width=3.2, height=2.3)
    paths, distance, survival, kept = axes.ravel()
    shown = 1
    paths.plot(rounds, data["paths"][shown].T, color="0.7", linewidth=0.4)
    paths.plot(rounds, data["mean_scale"][shown], color=COLOURS[0], label="mean of $\\hat\\sigma_t$")
    paths.plot(rounds, data["typical_scale"][shown], color=COLOURS[1], linestyle="--", label="typical $\\hat\\sigma_t$")
    low = max(data["typical_scale"][shown][-1] * 1e-2, 1e-30)
    paths.set(yscale="log", xlabel="round", ylabel="fitted scale $\\hat\\sigma_t$", ylim=(low, 3))
    paths.set_title(f"50 chains, n = {sizes[shown]}, replace")
    paths.legend(loc="lower left")
    looks = _looks(rounds[-1], 9)
    for k, size in enumerate(sizes):
        for j, name in enumerate(("maximum likelihood", "unbiased")):
            distance.plot(rounds[1:], data["w2"][k, j, 1:], color=COLOURS[k], linestyle=DASHES[j])
            distance.plot(looks, data["w2_found"][k, j, looks], MARKERS[k], color=COLOURS[k], **OPEN)
            if k == 0:
                distance.plot([], [], color="0.3", linestyle=DASHES[j], label=name)
        distance.plot([], [], MARKERS[k], color=COLOURS[k], label=f"n = {size}", **OPEN)
        kept.axhline(data["kept_end"][k], color=COLOURS[k], linestyle=":", linewidth=0.7)
        number = np.arange(data["kept"].shape[1])
        kept.plot(number, data["kept"][k], color=COLOURS[k])
        kept.plot(number[::3], data["kept_found"][k][::3], MARKERS[k], color=COLOURS[k], label=f"n = {size}", **OPEN)
    distance.set(xscale="log", yscale="log", xlabel="round", ylabel="E $W_2^2$ to the truth")
    distance.legend(loc="upper left")
    kept.set(xlabel="round", ylabel="E $\\hat\\sigma_t^2 / \\sigma_0^2$", title="accumulate", ylim=(0.6, 1.12))
    kept.legend(loc="upper right", ncols=3)
    for j, (name, label) in enumerate((("paper", "Suresh et al."), ("by_mean", "mean"), ("by_moment", "best power"))):
        survival.plot(rounds, data[name][shown], color=COLOURS[j + 1], linestyle=DASHES[j + 1], label=f"bound: {label}")
    survival.plot(rounds[::4], data["survival_found"][shown][::4], "o", color=COLOURS[0], label="measured", **OPEN)
    survival.set(xlabel="round", ylabel=f"P($\\hat\\sigma_k$ > {float(data['level']):g} $\\sigma_0$)")
    survival.set_title(f"n = {sizes[shown]}, replace")
    survival.legend(loc="center right")
    integer_ticks(paths, survival, kept)
    label_panels(axes)
    return figure


def weights(data):
    """M-F4: stationary variance against the weight of the real part; minima on the line value = weight."""
    figure, axes = panels(1, 1, width=3.6, height=2.8)
    axis = axes[0, 0]
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=0.7, label="value = weight")
    for i, ratio in enumerate(data["ratios"]):
        axis.plot(data["grid"], data["law"][i], color=COLOURS[i], linestyle=DASHES[i])
        axis.errorbar(
            data["looks"],
            data["found"][i],
            yerr=2 * data["error"][i],
            fmt=MARKERS[i],
            color=COLOURS[i],
            label=f"k = {ratio:g}",
            **BARS,
        )
        axis.plot(data["best"][i], data["best"][i], "k*", markersize=6, label="best" if i == 0 else None)
    axis.set(xlabel="weight w of the real part", ylabel="n D / V, stationary", xlim=(0, 1), ylim=(0, 1.6))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def discrete(data):
    """M-F5: shares of twenty symbols, survival of a watched symbol, surviving words of a real text."""
    figure, axes = panels(2, 2, width=3.2, height=2.3)
    for axis, shares, title in zip(axes[0], data["muller"], ("replace", "accumulate"), strict=True):
        rounds = np.arange(len(shares))
        colours = [COLOURS[i % len(COLOURS)] for i in range(shares.shape[1])]
        axis.stackplot(rounds, shares.T, colors=colours, alpha=0.75, edgecolor="white", linewidth=0.2)
        axis.set(xlabel="round", ylabel="share of each symbol", title=f"20 symbols, n = 100, {title}")
        axis.set(xlim=(0, rounds[-1]), ylim=(0, 1))
    alive, words = axes[1]
    rounds = np.arange(data["alive"].shape[1])
    for i, count in enumerate(data["counts"]):
        alive.fill_between(rounds[1:], data["least"][i, 1:], 1, color=COLOURS[i], alpha=0.08, linewidth=0)
        alive.plot(rounds[1:], data["least"][i, 1:], ":", color=COLOURS[i])
        alive.plot(rounds[1:], data["branching"][i, 1:], color=COLOURS[i])
        alive.plot(rounds[1::3], data["alive"][i, 1::3], MARKERS[i], color=COLOURS[i], label=f"count {count}", **OPEN)
    alive.set(xscale="log", xlabel="round", ylabel="chance that a symbol is alive", ylim=(0, 1.03))
    handles, labels = alive.get_legend_handles_labels()
    handles += [Line2D([], [], color="0.3"), Line2D([], [], color="0.3", linestyle=":")]
    alive.legend(handles, [*labels, "branching", "lower bound"], loc="lower left")
    rounds = np.arange(data["words"].shape[1])
    for i, name in enumerate(data["word_names"]):
        words.plot(rounds, data["words"][i], color=COLOURS[i], linestyle=DASHES[i], label=str(name))
    words.plot(rounds[1:], data["word_law"][1:], "k:", label="branching, replace")
    words.set(xlabel="round", ylabel="words that are left", title=f"words of a text, n = {int(data['tokens']):,}")
    words.set_ylim(0, None)
    words.legend()
    label_panels(axes)
    return figure


def consistency(data):
    """M-F6: error of the fit by round when every batch is kept; growth of the error against theta_0."""
    families, sizes = data["families"], data["sizes"]
    rounds = np.arange(data["errors"].shape[-1])
    figure, axes = panels(2, 2, width=3.0, height=2.2)
    for i, family in enumerate(families):
        axis = axes.ravel()[i]
        for k, size in enumerate(sizes):
            errors, law = data["errors"][i * len(sizes) + k], data["laws"][i * len(sizes) + k]
            low, high = np.quantile(errors, [0.25, 0.75], axis=0)
            axis.fill_between(rounds[1:], low[1:], high[1:], color=COLOURS[k], alpha=0.2, linewidth=0)
            axis.plot(rounds[1:], np.sqrt((errors**2).mean(axis=0))[1:], color=COLOURS[k], label=f"n = {size}")
            axis.plot(rounds[1:], law[1:], ":", color=COLOURS[k])
        axis.set(xscale="log", xlabel="round", ylabel="error of the fit", title=str(family), ylim=(0, None))
    axes[0, 0].legend(loc="upper left")
    last = axes[1, 1]
    labels = {"ratios": "exact", "clipped": "x in float32, clipped at $10^{-6}$", "stepped": "100 gradient steps"}
    for place, (name, label) in enumerate(labels.items()):
        found, error = data[name].T
        style = {"fmt": MARKERS[place], "color": COLOURS[place], "label": label}
        last.errorbar(data["grid"], found, yerr=2 * error, **style, **BARS)
    rounds = data["laws"].shape[-1] - 1
    last.axhline((1 / np.arange(1, rounds + 1) ** 2).sum() ** 0.5, color="k", linestyle=":", linewidth=0.8)
    last.set(xlabel="$\\theta_0$", ylabel="error at the end / at round 1", title="beta, n = 100", yscale="log")
    last.legend()
    figure.suptitle("solid: root mean square, band: quartiles, dotted: leading order; every batch kept", fontsize=7)
    label_panels(axes)
    return figure


def images(data):
    """M-F9: volume and trace of Gaussian fits of digits, and what the fits draw."""
    names, shown, found = data["names"], data["shown"], data["pictures"]
    rounds = np.arange(data["volumes"].shape[-1])
    figure, axes = panels(1, 2 + len(names), width=1.75, height=2.6)
    volume, trace = axes[0, :2]
    for i, name in enumerate(names):
        for axis, values in ((volume, data["volumes"][i]), (trace, data["traces"][i])):
            axis.plot(rounds[::3], values.mean(axis=0)[::3], MARKERS[i], color=COLOURS[i], label=str(name), **OPEN)
        # a row of four points for every round shown
        framed = np.pad(found[i], ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
        tiles = np.concatenate([np.concatenate(list(row), axis=1) for row in framed])
        axis = axes[0, 2 + i]
        axis.imshow(tiles, cmap="Greys", vmin=0, vmax=np.quantile(found, 0.999))
        side = framed.shape[-1]
        labels = ["truth" if t == 0 else f"round {t}" for t in shown] if i == 0 else []
        axis.set(xticks=[], yticks=(np.arange(len(labels)) + 0.5) * side, yticklabels=labels, title=str(name))
        axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
    volume.plot(rounds, data["volume_law"], color=COLOURS[0])
    trace.plot(rounds, data["trace_law"][0], color=COLOURS[0])
    trace.plot(rounds, data["trace_law"][1], color=COLOURS[1])
    volume.set(xlabel="round", ylabel="ln det relative to the truth")
    trace.set(xlabel="round", ylabel="trace relative to the truth", ylim=(0, 1.05))
    volume.legend(loc="lower left")
    integer_ticks(volume, trace)
    figure.suptitle(f"digits, {int(data['components'])} components, {int(data['batch'])} points a round", fontsize=7)
    return figure


ITERATIVE = {
    "atlas": ("mf1_atlas", atlas),
    "policies": ("mf2_policies", policies),
    "gaussian": ("mf3_gaussian", gaussian),
    "weights": ("mf4_weights", weights),
    "discrete": ("mf5_discrete", discrete),
    "consistency": ("mf6_consistency", consistency),
    "images": ("mf9_images", images),
}
