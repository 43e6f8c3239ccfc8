"""Figure S-F6: discretised samplers with the exact score, from a saved results folder.

Lines are theory, points are measurement; laws on the line carry no sampling noise, so their points have no bands.
"""

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator

from figures.style import COLOURS, DASHES, MARKERS, integer_ticks, label_panels, median_bars, panels

METHODS = ("Euler–Maruyama, 1 evaluation a step", "flow, Euler, 1", "flow, Heun, 2")
ORDERS = (1, 1, 2)
HOLLOW = {"markerfacecolor": "none", "markeredgewidth": 0.8}


def _step_axis(axis, steps):
    axis.set(xscale="log", yscale="log", xlabel="sampler steps")
    axis.xaxis.set_major_locator(FixedLocator(list(steps)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels([f"{step:g}" for step in steps])


def samplers(data):
    """One round from real data: distance of the law made to the ideal one, against the number of steps."""
    steps, line, plane = data["steps"], data["line"], data["plane"]
    figure, (axes,) = panels(1, 2, width=2.9, height=2.5)
    for i, (method, order) in enumerate(zip(METHODS, ORDERS, strict=True)):
        # anchored where the order has set in
        axes[0].plot(steps, line[i, -1] * (steps[-1] / steps) ** order, color=COLOURS[i], linestyle=DASHES[i])
        axes[0].plot(steps, line[i], MARKERS[i], color=COLOURS[i], label=method, **HOLLOW)
        mean = plane[i].mean(axis=1)
        error = plane[i].std(axis=1, ddof=1) / np.sqrt(plane.shape[2])
        seen = mean > 3 * error
        root = np.sqrt(np.where(seen, mean, np.nan))
        axes[1].errorbar(
            steps,
            root,
            yerr=error / (2 * root),
            fmt=MARKERS[i],
            color=COLOURS[i],
            elinewidth=0.8,
            capsize=1.5,
            **HOLLOW,
        )
        if seen.any():
            last = np.flatnonzero(seen)[-1]
            guide = root[last] * (steps[last] / steps) ** order
            axes[1].plot(steps, guide, color=COLOURS[i], linestyle=DASHES[i])
    taken = (data["adaptive"][:, 0] - 2) / 6
    axes[0].plot(taken, data["adaptive"][:, 1], "D", color=COLOURS[3], label="flow, adaptive (Tsit5), 6", **HOLLOW)
    floor = np.sqrt((data["floor"] ** 2).mean())
    label = f"two clouds of {int(data['cloud']):,}\nideal points, taken off"
    axes[1].axhline(floor, color="0.5", linestyle=":", linewidth=0.9, label=label)
    axes[1].legend(loc="lower left", fontsize=6)
    axes[0].set_title("one dimension, $W_2$")
    axes[1].set_title("two dimensions, sliced $W_2$")
    for axis in axes:
        _step_axis(axis, steps)
        axis.set_ylabel("to the ideal law [data]")
    axes[0].set_xlim(left=min(taken.min(), steps.min()) / 1.2)
    ticks = [tick for tick in (4, 8, 15) if tick > min(taken.min(), steps.min()) / 1.3 and tick < steps.min()]
    axes[0].xaxis.set_major_locator(FixedLocator([*ticks, *steps]))
    axes[0].set_xticklabels([f"{step:g}" for step in (*ticks, *steps)])
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        title="exact score, one round; lines: orders 1 and 2, through the last point",
    )
    label_panels(axes)
    return figure


def ball(data):
    """With feedback: distance to the ideal limit by round and in the end, and the ball of SP-12."""
    steps, distance, bound, errors = data["steps"], data["distance"], data["bound"], data["error"]
    rounds = np.arange(distance.shape[1])
    colours = mpl.colormaps["cividis"](np.linspace(0, 0.9, len(steps)))
    figure, (axes,) = panels(1, 3, width=2.35, height=2.7)
    for j, step in enumerate(steps):
        axes[0].plot(rounds, bound[j], color=colours[j], linestyle="--", linewidth=0.8)
        axes[0].plot(rounds, distance[j], MARKERS[j], color=colours[j], label=f"{step}", **HOLLOW)
    axes[0].plot([], [], "k--", linewidth=0.8, label="bound of SP-12")
    axes[0].set(yscale="log", xlabel="round", ylabel="$W_2$ to the ideal limit [data]")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, title="(a): steps", loc="outside lower left", ncols=6, columnspacing=1.2)
    integer_ticks(axes[0])
    largest = errors.max(axis=1)
    axes[1].plot(steps, data["radius"], "k--", label="ball, SP-12")
    axes[1].plot(steps, distance[:, -1], "o", color=COLOURS[0], label="distance, last round", **HOLLOW)
    axes[1].plot(steps, largest, "s", color=COLOURS[1], label=r"error of a round, $\varepsilon$", **HOLLOW)
    axes[1].plot(steps, largest[-1] * steps[-1] / steps, color=COLOURS[1], linestyle="-", label="first order")
    axes[1].axhline(data["size"], color="0.6", linewidth=0.8)
    axes[1].text(steps[0], data["size"] * 1.15, "ideal collapse", fontsize=6, color="0.35", va="bottom")
    _step_axis(axes[1], steps)
    axes[1].set_ylabel("$W_2$ [data]")
    axes[1].set_ylim(top=30 * data["size"])
    axes[1].legend(loc="upper right", fontsize=6)
    _amplified(axes[2], data)
    figure.suptitle(
        rf"Euler–Maruyama with the exact score, $\alpha$ = {float(data['real_fraction']):g}, "
        rf"$t_0$ = {float(data['truncation']):g}",
        fontsize=8,
    )
    label_panels(axes)
    return figure


def _amplified(axis, data):
    """Mode errors in the end over those of one round, by order."""
    orders = np.arange(1, data["modes"].shape[-1])
    factor = (1 - data["real_fraction"]) * np.exp(-data["truncation"] * orders)
    axis.plot(orders, 1 / (1 - factor), "k-", label="SP-12")
    gathered, last, first = data["modes"][-1, :, 1:]
    name = f"{int(data['steps'][-1])} steps"
    axis.plot(orders, np.abs(gathered / first), "x", color="0.5", label=f"of the first round's, {name}")
    axis.plot(orders, np.abs(gathered / last), "o", color=COLOURS[0], label=f"of the last round's, {name}", **HOLLOW)
    top = 10 * max(np.abs(gathered / first).max(), np.abs(gathered / last).max())
    axis.set(xlabel="order", ylabel="amplification of mode error", yscale="log", ylim=(None, top))
    axis.legend(fontsize=6, loc="upper right")
    integer_ticks(axis)


def amplification(data):
    """What a constant additive error of each mode settles at, in units of the error."""
    figure, ((axis,),) = panels(height=2.3)
    for i, share in enumerate(data["shares"]):
        axis.plot(data["orders"], data["law"][i], color=COLOURS[i], linestyle=DASHES[i], label=rf"$\alpha$ = {share:g}")
        median_bars(axis, data["orders"], data["measured"][i], colour=COLOURS[i], marker=MARKERS[i])
    axis.axhline(1, color="0.7", linewidth=0.6, linestyle=":")
    axis.set(xlabel="order $m$", ylabel="amplification of mode error", ylim=(0, None))
    axis.legend(title=rf"$1/(1-(1-\alpha)a^m)$, $t_0$ = {float(data['truncation']):g}" + "\npoints: density on a grid")
    integer_ticks(axis)
    return figure


FIGURES = {
    "samplers": ("S-F6_samplers", samplers),
    "ball": ("S-F6_ball", ball),
    "amplification": ("S-F6_amplification", amplification),
}
