"""Figures S-F1 to S-F5, S-F7, S-F8, S-F10 and S-F14 of truncated diffusion chains, from a saved results folder.

Lines are theory, points are measurement, dotted lines are bounds or asymptotes.
"""

import numpy as np
from matplotlib.lines import Line2D

from figures.style import COLOURS, DASHES, MARKERS, integer_ticks, label_panels, panels

OPEN = {"markerfacecolor": "none", "markeredgewidth": 0.8, "linestyle": "none"}


def _mean_bars(axis, x, values, *, colour, marker, label=None):
    """Mean over the first axis with two standard errors."""
    mean = values.mean(axis=0)
    error = 2 * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    options = {"markerfacecolor": "none", "markeredgewidth": 0.8, "elinewidth": 0.8, "capsize": 1.5}
    axis.errorbar(x, mean, yerr=error, fmt=marker, color=colour, label=label, **options)


def density(data):
    """S-F1: densities of the data, of later rounds and of the limit; histograms of independent particles."""
    x, lines, histogram, rounds = data["x"], data["density"], data["histogram"], data["rounds"]
    middle = (data["edges"][1:] + data["edges"][:-1]) / 2
    figure, axes = panels(1, 2, width=3.2, height=2.5, sharey=True)
    names = [f"round {k}" for k in rounds] + ["limit"]
    for axis, chosen in zip(axes[0], ((0, 1), (2, len(names) - 1)), strict=True):
        axis.plot(x, lines[0], color="0.55", label="data", linewidth=0.9)
        for i in chosen:
            axis.plot(x, lines[i + 1], color=COLOURS[i], linestyle=DASHES[i % 2], label=names[i])
            axis.plot(middle, histogram[i], MARKERS[i], color=COLOURS[i], markersize=2.2, **OPEN)
        axis.set(xlabel="x [data units]", xlim=(-3.2, 3.2))
        axis.legend(loc="upper right")
    axes[0, 0].set(ylabel="density [1 / data units]", ylim=(0, None))
    figure.suptitle(
        rf"$\alpha$ = {data['real_fraction']:g}, $t_0$ = 0.05; "
        f"points: {int(data['particles']):,} particles, lines: closed form",
        fontsize=7,
    )
    label_panels(axes)
    return figure


def plane(data):
    """S-F1 in the plane: contours of the data and of the limit, and particles of the limit."""
    side, edges = data["side"], data["edges"]
    figure, axes = panels(1, 3, width=2.2, height=2.3, sharex=True, sharey=True)
    top = data["data"].max()
    for axis, field, title in zip(
        axes[0], (data["data"], data["limit"], data["histogram"]), ("data", "limit", "particles"), strict=True
    ):
        levels = np.geomspace(0.003, 1, 9) * (top if field is data["data"] else data["limit"].max())
        if title == "particles":
            mesh = axis.pcolormesh(edges, edges, field, cmap="Greys", vmin=0, vmax=data["limit"].max(), rasterized=True)
            axis.contour(side, side, data["limit"], levels=levels, colors=COLOURS[1], linewidths=0.6)
            figure.colorbar(mesh, ax=axis, label="density [1 / data units²]", shrink=0.8)
        else:
            axis.contour(side, side, field, levels=levels, colors=COLOURS[0 if title == "data" else 1], linewidths=0.8)
        axis.set(xlabel="$x_1$ [data units]", title=title, aspect="equal")
    axes[0, 0].set_ylabel("$x_2$ [data units]")
    label_panels(axes)
    return figure


def filter_gain(data):
    """S-F2: gain of each Hermite order in the limit: generated, pool, and a single truncation."""
    orders, shares, times = data["orders"], data["shares"], data["truncations"]
    figure, axes = panels(1, len(times), width=3.2, height=2.6, sharey=True)
    for j, (axis, time) in enumerate(zip(axes[0], times, strict=True)):
        for i, share in enumerate(shares):
            axis.plot(orders, data["law"][i, j], color=COLOURS[i], label=rf"$\alpha$ = {share:g}")
            axis.plot(orders, data["pool_law"][i, j], color=COLOURS[i], linestyle="--")
            for found, marker in ((data["gain"], MARKERS[0]), (data["pool_gain"], MARKERS[1])):
                error = found[i, j].std(axis=0, ddof=1) / np.sqrt(len(found[i, j]))
                seen = error < 0.1  # modes that the data hardly have cannot be measured
                _mean_bars(axis, orders[seen], found[i, j][:, seen], colour=COLOURS[i], marker=marker)
        axis.plot(orders, data["once"][0, j], "k:", label="one truncation")
        axis.set(xlabel="Hermite order m", title=f"$t_0$ = {time:g}", ylim=(-0.05, 1.1))
    integer_ticks(*axes[0])
    axes[0, 0].set_ylabel("gain of mode m")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    handles += [Line2D([], [], color="0.3"), Line2D([], [], color="0.3", linestyle="--")]
    labels += ["generated (circles)", "pool (squares)"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3 if len(times) > 1 else 2)
    label_panels(axes)
    return figure


def rates(data):
    """S-F3: distance to the limit by round, with the bound per round and the late slope."""
    gaps = data["gaps"]
    rounds = np.arange(gaps.shape[2])
    figure, axes = panels(2, 2, width=3.0, height=2.1, sharex=True)
    for place, (axis, name) in enumerate(zip(axes.ravel(), ("TV", "$W_1$", "$W_2$", "KL"), strict=True)):
        for i, kind in enumerate(("raw", "centred", "whitened")):
            axis.plot(rounds, gaps[i, place], MARKERS[i], color=COLOURS[i], label=kind, markevery=3, **OPEN)
            late = len(rounds) // 2
            slope = data["slopes"][i, place] ** (rounds[late:] - rounds[-1])
            axis.plot(rounds[late:], gaps[i, place, -1] * slope, color=COLOURS[i])
        bound = gaps[0, place, 0] * data["bounds"][0, place] ** rounds
        axis.plot(rounds, bound, "k:", label="bound (raw)")
        axis.set(yscale="log", ylabel=f"{name} to the limit")
    for axis in axes[1]:
        axis.set_xlabel("generation")
    integer_ticks(*axes.ravel())
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle("points: densities on a grid; solid: late slope from the lowest mode that differs", fontsize=7)
    label_panels(axes)
    return figure


def size(data):
    """S-F4: size of the collapse against the truncation time."""
    times = data["times"]
    figure, axes = panels(1, len(data["shares"]), width=3.1, height=2.5, sharey=True)
    for i, (axis, share) in enumerate(zip(axes[0], data["shares"], strict=True)):
        axis.plot(times, data["distance"][i], color=COLOURS[0], label="limit")
        axis.plot(times, data["referee"][i], "o", color=COLOURS[0], label="densities on a grid", **OPEN)
        axis.plot(times, data["once"], color=COLOURS[2], linestyle="-.", label="one round")
        axis.plot(times, data["fisher"][i], ":", color="k", label="Fisher bound")
        axis.plot(times, data["moment"][i], ":", color=COLOURS[3], label="second-moment bound")
        axis.plot(times, data["small"][i], "--", color=COLOURS[1], linewidth=0.8, label="small-truncation law")
        axis.set(xscale="log", yscale="log", xlabel="truncation time $t_0$", title=rf"$\alpha$ = {share:g}")
        axis.set_ylim(data["once"].min() / 2, 3 * data["distance"].max())
    axes[0, 0].set_ylabel("$W_2$ to the data [data units]")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    label_panels(axes)
    return figure


def accumulate(data):
    """S-F8: modes of the pool under a fixed real share, accumulation, and accumulation with annealing."""
    names = (("share", "real share 0.1"), ("accumulate", "accumulate"), ("annealed", "accumulate, annealed"))
    figure, axes = panels(1, 3, width=2.2, height=2.3, sharey=True)
    for axis, (name, title) in zip(axes[0], names, strict=True):
        rounds = np.arange(1, data[name].shape[1] + 1)
        looks = np.unique(np.round(np.geomspace(1, len(rounds), 14)).astype(int)) - 1
        for i, order in enumerate(data["orders"]):
            axis.plot(rounds, data[f"{name}_law"][:, i], color=COLOURS[i], label=f"m = {order}")
            _mean_bars(axis, rounds[looks], data[name][:, looks, i], colour=COLOURS[i], marker=MARKERS[i])
        axis.set(xscale="log", xlabel="generation + 1", title=title, ylim=(-0.05, 1.05))
    axes[0, 0].set_ylabel("mode over its value in the data")
    axes[0, 0].legend()
    label_panels(axes)
    return figure


def variants(data):
    """S-F10: gain by order (VP, rectified flow) and by frequency (VE)."""
    figure, axes = panels(1, 2, width=3.0, height=2.4, sharey=True)
    left, right = axes[0]
    for i, (name, label) in enumerate((("vp", "VP"), ("rectified_flow", "rectified flow"))):
        left.plot(data["orders"], data[f"{name}_law"], color=COLOURS[i], linestyle=DASHES[i], label=label)
    error = data["vp"].std(axis=0, ddof=1) / np.sqrt(len(data["vp"]))
    seen = error < 0.05
    _mean_bars(left, data["orders"][seen], data["vp"][:, seen], colour=COLOURS[0], marker="o")
    left.set(xlabel="Hermite order m", ylabel="gain in the limit", ylim=(0, 1.05))
    left.legend()
    integer_ticks(left)
    right.plot(data["frequencies"], data["ve_law"], color=COLOURS[2], label="VE")
    _mean_bars(right, data["probed"], data["ve"], colour=COLOURS[2], marker="^")
    right.set_xlabel(r"frequency $\omega$ [1 / data units]")
    right.legend()
    label_panels(axes)
    return figure


def schedules(data):
    """S-F5: distance to the data by round for each schedule, with real data and without."""
    rounds, names = data["rounds"], [str(name) for name in data["names"]]
    referee = np.arange(data["dots"].shape[2])
    looks = referee[1:] if len(referee) < 6 else np.unique(np.geomspace(1, len(referee) - 1, 8).astype(int))
    figure, axes = panels(1, 2, width=3.2, height=2.7, sharey=True)
    for i, (axis, share) in enumerate(zip(axes[0], data["shares"], strict=True)):
        for j, name in enumerate(names):
            style = DASHES[j // len(COLOURS[:-1]) % 4]
            axis.plot(rounds, data["lines"][i, j], color=COLOURS[j], linestyle=style, label=name)
            axis.plot(looks, data["dots"][i, j, looks], MARKERS[j], color=COLOURS[j], markersize=2.5, **OPEN)
            if i == 0:
                axis.plot(rounds, data["once"][j], ":", color=COLOURS[j], linewidth=0.7)
        title = rf"real share $\alpha$ = {share:g}" if share else "no real data"
        axis.set(xscale="log", yscale="log", xlabel="generation", title=title)
    axes[0, 0].set_ylabel("$W_2$ to the data [data units]")
    axes[0, 0].set_ylim(max(1e-5, np.nanmin(data["lines"][0]) / 2), None)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle("lines: closed form; points: densities on a grid; dotted: one round at that truncation", fontsize=7)
    label_panels(axes)
    return figure


def design(data):
    """S-F14: schedules by gradient for each size of the error of a round, and what they gain over rules and search."""
    names, scales = [str(name) for name in data["names"]], data["scales"]
    figure, axes = panels(1, 2, width=3.2, height=2.6)
    left, right = axes[0]
    rounds = np.arange(1, data["schedules"].shape[2] + 1)
    for i, scale in enumerate(scales):
        left.plot(rounds, data["schedules"][i, 0], color=COLOURS[i], linestyle=DASHES[i % 4], label=f"B = {scale:g}")
        left.plot(rounds[-1], data["floors"][i], MARKERS[i], color=COLOURS[i], **OPEN)
    left.set(yscale="log", xlabel="round", ylabel="truncation time $t_k$")
    # room for the legend above the curves: one factor of ten for every two schedules, and one for its title
    left.set_ylim(None, 10 ** (1 + len(scales) / 2) * data["schedules"][:, 0].max())
    left.legend(title="symbols: floor of SP-19", loc="upper right", ncols=2 if len(scales) > 3 else 1)
    for j, name in enumerate(names):
        right.plot(scales, data["bound"][:, j], color=COLOURS[j], linestyle=DASHES[j % 4], label=name)
        right.plot(scales, data["actual"][:, j], MARKERS[j], color=COLOURS[j], **OPEN)
    right.set(xscale="log", yscale="log", xlabel="error scale B", ylabel="$W_2$ to the data [data units]")
    right.legend(title="lines: bound; points:\nrounds that shift by B/t", loc="upper left", bbox_to_anchor=(1, 1))
    label_panels(axes)
    return figure


def variance(data):
    """S-F7: M Var of each mode of finite pools."""
    shares, sizes = data["shares"], data["sizes"]
    orders = np.arange(1, data["exact"].shape[2])
    figure, axes = panels(1, len(shares), width=3.1, height=2.4)
    for i, (axis, share) in enumerate(zip(axes[0], shares, strict=True)):
        for j, size_ in enumerate(sizes):
            axis.plot(orders, data["exact"][i, j, 1:], color=COLOURS[j], linestyle=DASHES[j], label=f"M = {size_:,}")
            spot = orders + 0.12 * (j - (len(sizes) - 1) / 2)
            _mean_bars(axis, spot, data["measured"][i, j][:, 1:], colour=COLOURS[j], marker=MARKERS[j])
        axis.plot(orders, data["leading"][i, 0, 1:], "k:", label="leading order")
        axis.set(xlabel="Hermite order m", title=rf"$\alpha$ = {share:g}", ylim=(0, None))
    integer_ticks(*axes[0])
    axes[0, 0].set_ylabel("M × variance of mode m")
    axes[0, 0].legend()
    label_panels(axes)
    return figure


def truncation(data):
    """S-F7, against the truncation time: what holds a pool together."""
    figure, axes = panels(1, len(data["shares"]), width=3.1, height=2.4)
    for i, (axis, share) in enumerate(zip(axes[0], data["shares"], strict=True)):
        for j, order in enumerate(data["orders"]):
            axis.plot(data["times"], data["exact"][i, :, j], color=COLOURS[j], label=f"m = {order}")
            measured = data["measured"][i, :, :, j].T
            _mean_bars(axis, data["times"], measured, colour=COLOURS[j], marker=MARKERS[j])
        axis.set(xscale="log", xlabel="truncation time $t_0$", title=rf"$\alpha$ = {share:g}")
        axis.set(**({"ylim": (0, None)} if data["exact"][i].max() < 10 else {"yscale": "log"}))
    axes[0, 0].set_ylabel(f"M × variance of mode m, M = {int(data['size']):,}")
    axes[0, 0].legend()
    label_panels(axes)
    return figure


LIMIT = {
    "density": ("S-F1_densities", density),
    "plane": ("S-F1_plane", plane),
    "filter": ("S-F2_filter", filter_gain),
    "rates": ("S-F3_rates", rates),
    "size": ("S-F4_size", size),
    "accumulate": ("S-F8_accumulate", accumulate),
    "variants": ("S-F10_variants", variants),
}
ANNEALING = {"schedules": ("S-F5_annealing", schedules), "design": ("S-F14_design", design)}
POOLS = {"variance": ("S-F7_pools", variance), "truncation": ("S-F7_truncation", truncation)}
