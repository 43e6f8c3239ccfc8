"""Figures M-F7 and M-F8: consistent families that collapse, from a saved results folder."""

import numpy as np

from figures.style import COLOURS, DASHES, MARKERS, label_panels, panels

BARS = {"markerfacecolor": "none", "markeredgewidth": 0.8, "elinewidth": 0.8, "capsize": 1.5}


def _density(alpha: float, mu: float, log_width: float):
    """Pieces of a density of the jump family: edges and heights; the window is drawn as a line if it is too thin."""
    edges = np.array([0, max(1 - 2 * alpha, 0), 1, 2, 3])
    heights = np.array([0.5 + (1 - alpha) / (2 * (1 - 2 * alpha)), 0.5 if alpha > 0 else 1.0, 0, alpha / 4])
    return edges, heights


def jump(data):
    """M-F7: TV after rounds 1 and 2, frequency of collapse against n, densities of one collapsed run."""
    sizes = data["sizes"]
    figure, axes = panels(1, 3, width=2.5, height=2.4)
    first, second, last = axes[0]
    edges = np.linspace(0, 0.25, 26)
    for k, size in enumerate(sizes):
        alpha = data[f"alpha_{size}"]
        for t, style in ((1, "-"), (2, "--")):
            counts = np.histogram(np.minimum(alpha[:, t], 0.2499), edges)[0] / len(alpha)
            first.stairs(np.maximum(counts, 1e-5), edges, color=COLOURS[k], linestyle=style, linewidth=0.9)
        first.plot([], [], color=COLOURS[k], label=f"n = {size}")
    first.plot([], [], color="0.3", label="round 1")
    first.plot([], [], color="0.3", linestyle="--", label="round 2")
    first.set(yscale="log", xlabel="TV to the truth", ylabel="share of runs per bin", ylim=(1e-4, 2))
    first.legend(loc="upper center", ncols=2)
    second.errorbar(
        sizes,
        data["chances"][:, 0],
        yerr=2 * data["chances"][:, 1],
        fmt="o",
        color=COLOURS[0],
        label="collapsed at round 2",
        **BARS,
    )
    second.plot(sizes, data["points"], "x", color=COLOURS[2], label="a point in [2, 3]")
    second.plot(sizes, data["bounds"], color=COLOURS[1], label="lower bound")
    second.axhline(0.2, color="0.5", linestyle=":", linewidth=0.8)
    second.axhline(float(data["point_limit"]), color=COLOURS[2], linestyle=":", linewidth=0.8)
    second.set(xscale="log", xlabel="points of a batch, n", ylabel="share of runs", ylim=(0, 0.35))
    second.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    second.set_xticks([], minor=True)
    second.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    second.legend(loc="lower right")
    if "shown" in data:
        alpha, mu = data["shown"]
        for t in range(3):
            edges, heights = _density(alpha[t], mu[t], data["shown_log_width"][t])
            last.stairs(heights, edges, color=COLOURS[t], linestyle=DASHES[t], label=f"$p({t})$, TV {alpha[t]:.3f}")
            if alpha[t] > 0.1:
                last.plot([mu[t], mu[t]], [0, 1.6], color=COLOURS[t], linewidth=0.9)
                left = mu[t] > 2.5
                text = f" window of\n mass {alpha[t] / 4:.3f} "
                last.text(mu[t], 0.9, text, ha="right" if left else "left", fontsize=6)
        last.set(xlabel="x", ylabel="density", ylim=(0, 2.4))
        last.legend(loc="upper right")
    label_panels(axes)
    return figure


def fuse(data):
    """M-F8: share of runs that have not reached the intervals; total variation along runs that switch."""
    figure, axes = panels(1, 2, width=3.2, height=2.6)
    waits, path = axes[0]
    for j in range(3):
        for k, size in enumerate(data["sizes"]):
            waits.plot(
                data["times"][k::3],
                data["survival"][k, j][k::3],
                MARKERS[k],
                color=COLOURS[j],
                markerfacecolor="none",
                markeredgewidth=0.7,
                markersize=2.8,
                label=f"n = {size}" if j == 0 else None,
            )
        waits.text(data["times"][-1], data["survival"][0, j][-1], f" [{j + 1}, {j + 2}]", color=COLOURS[j], fontsize=7)
    waits.plot(data["times"], 2 / (2 + data["times"]), color=COLOURS[0], label="2/(2 + t)")
    waits.set(xscale="log", yscale="log", xlabel="synthetic batches", ylabel="share of runs not yet there")
    waits.legend(loc="lower left")
    rounds = np.arange(data["tv"].shape[1])
    path.set_xscale("symlog", linthresh=1)
    for k, run in enumerate(data["tv"][:12]):
        path.step(rounds, run, where="mid", color=COLOURS[k % len(COLOURS)], linewidth=0.8)
    path.axhline(0.75, color="k", linestyle=":", linewidth=0.8)
    path.axhline(0.375, color="0.6", linestyle=":", linewidth=0.8)
    path.text(rounds[-1], 0.77, "1 - 1/(2J), J = 2", ha="right", fontsize=6.5)
    path.text(rounds[-1], 0.395, "3/8", ha="right", fontsize=6.5)
    path.set(xlabel="round", ylabel="total variation to the truth", ylim=(0, 1), title="twelve runs, n = 50, B = 1000")
    label_panels(axes)
    return figure


FIGURES = {"jump": ("mf7_jump", jump), "fuse": ("mf8_fuse", fuse)}
