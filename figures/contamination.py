"""Figures 1 to 8 of contaminated training, from a saved results folder. Lines are theory, points are measurement."""

import re

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.lines import Line2D

from figures.style import COLOURS, DASHES, MARKERS, integer_ticks, label_panels, panels

OPEN = {"markerfacecolor": "none", "markeredgewidth": 0.8, "linestyle": "none"}


def _looks(rounds: int, count: int = 12) -> np.ndarray:
    """Rounds at which points are drawn."""
    return np.unique(np.round(np.geomspace(1, rounds, count)).astype(int))


def _power(name: str) -> str:
    """A schedule's name as mathematics: ``100 t^1/2`` has a power of 1/2."""
    return re.sub(r"\^(-?\d+/\d+)", r"^{\1}", name).replace(" ", r"\,")


def recursion(data):
    """Figure 1: risk by round, mean and simultaneous 95 % band of single chains, against the recursion."""
    shares, sizes = ([str(v) for v in data[name]] for name in ("shares", "sizes"))
    figure, axes = panels(len(shares), len(sizes), width=1.75, height=1.5, sharex=True, sharey=True)
    times = np.arange(data["law"].shape[2])
    for i, share in enumerate(shares):
        for j, size in enumerate(sizes):
            axis = axes[i, j]
            low = np.maximum(data["low"][i, j], 1e-8)
            axis.fill_between(times, low, data["high"][i, j], color=COLOURS[0], alpha=0.25, linewidth=0)
            looks = _looks(len(times) - 1)
            axis.plot(looks, data["mean"][i, j, looks], "o", color=COLOURS[0], markersize=2.2, **OPEN)
            axis.plot(times, data["law"][i, j], color=COLOURS[1], linewidth=0.9)
            axis.set(yscale="log", ylim=(data["law"][data["law"] > 0].min() / 3, 2))
            axis.set_title(rf"$\alpha = {_power(share)}$,  $n = {_power(size)}$", fontsize=6.5)
    for axis in axes[-1]:
        axis.set_xlabel("round")
    for axis in axes[:, 0]:
        axis.set_ylabel("risk $R_t$")
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", linestyle="none", markerfacecolor="none"),
        Line2D([], [], color=COLOURS[1]),
    ]
    figure.legend(handles, ["mean of chains, 95 % band", "CON-1"], loc="outside lower center", ncols=2)
    return figure


def improvement(data):
    """Figure 2: last risk over the first by size and share, with the border between improvement and loss."""
    figure, axes = panels(width=3.6, height=2.7)
    axis, value = axes[0, 0], data["value"]
    norm = TwoSlopeNorm(0, min(value.min(), -0.01), max(value.max(), 0.01))
    mesh = axis.pcolormesh(data["ratios"], data["shares"], value, cmap="RdBu_r", norm=norm, shading="nearest")
    axis.plot(data["border"], data["fine"], "k", label="no change (CON-5)")
    axis.set(xscale="log", yscale="log", xlabel="tokens of a round over those of the first, $n/n_0$")
    axis.set(ylabel=r"real share $\alpha$", xlim=(data["ratios"][0], data["ratios"][-1]), ylim=(0.01, 1))
    axis.legend(loc="lower left", frameon=True)
    figure.colorbar(mesh, ax=axis, label=r"$\log_{10}$ of last risk over first")
    return figure


def phases(data):
    """Figure 3: late slope of log risk against log t over both powers, with the borders of the table."""
    figure, axes = panels(width=3.8, height=2.8)
    axis, a, b = axes[0, 0], data["a"], data["b"]
    mesh = axis.pcolormesh(b, a, data["slopes"], cmap="viridis", shading="nearest", vmin=-4, vmax=0)
    axis.plot([0, 1], [0, 1], "k--", linewidth=0.9)
    axis.plot([0, 4], [1, 1], "k:", linewidth=1.2)
    axis.plot([3, 3], [0.93, 1.07], "k-", linewidth=1.2)
    style = {"color": "black", "fontsize": 6.5}
    axis.text(0.1, 0.8, "collapse", **style)
    axis.text(2.0, 0.45, "$t^{a-b}$", color="white", fontsize=7)
    axis.text(1.55, 1.28, "the past is never forgotten", color="black", fontsize=6.5)
    axis.text(3.08, 1.05, "$b=3$", **style)
    axis.text(0.5, 0.38, "$b=a$", fontsize=6.5)
    axis.set(xlabel="size power $b$", ylabel="share power $a$", xlim=(b[0], b[-1]), ylim=(a[0], a[-1]))
    title = f"slope of $\\ln R_t$ in $\\ln t$, recursion to t = {int(data['rounds']):,}"
    figure.colorbar(mesh, ax=axis, label="late slope")
    axis.set_title(title, fontsize=7)
    return figure


def design(data):
    """Figure 4: sizes that a risk falling like 1/t needs, and the risk that they reach."""
    figure, axes = panels(1, 2, width=3.2, height=2.5)
    left, right = axes[0]
    times = np.arange(1, data["sizes"].shape[1] + 1)
    for i, share in enumerate(data["shares"]):
        left.plot(times, data["sizes"][i], color=COLOURS[i], linestyle=DASHES[i], label=rf"$\alpha$ = {share:g}")
        bad = data["failed"][i].astype(bool)
        left.plot(times[bad], data["sizes"][i][bad], "x", color=COLOURS[i], markersize=4)
        rounds = np.arange(data["mean"].shape[1])
        right.plot(rounds, data["mean"][i], MARKERS[i], color=COLOURS[i], **OPEN)
        right.fill_between(rounds, data["low"][i], data["high"][i], color=COLOURS[i], alpha=0.2, linewidth=0)
    right.plot(np.arange(len(data["target"])), data["target"], "k", label="target")
    left.set(yscale="log", xlabel="round", ylabel="tokens of the round (CON-6)")
    handles, labels = left.get_legend_handles_labels()
    if data["failed"].any():
        handles.append(Line2D([], [], color="0.3", marker="x", linestyle="none"))
        labels.append("target out of reach")
    left.legend(handles, labels)
    right.set(yscale="log", xlabel="round", ylabel="risk $R_t$")
    right.legend()
    integer_ticks(left, right)
    label_panels(axes)
    return figure


def policies(data):
    """Figure 5: effective sample size by round of five policies; inset: late slope of keeping all data."""
    names, shares = [str(name) for name in data["names"]], data["shares"]
    figure, axes = panels(1, len(shares), width=2.5 if len(shares) > 1 else 3.6, height=2.5, sharey=True)
    times = np.arange(data["law"].shape[2])
    looks = _looks(len(times) - 1, 9)
    for i, (axis, share) in enumerate(zip(axes[0], shares, strict=True)):
        for j, name in enumerate(names):
            axis.plot(times, data["law"][i, j], color=COLOURS[j], linestyle=DASHES[j % 4], label=name)
            mean = 1 / np.mean(1 / data["measured"][i, j], axis=0)
            axis.plot(looks, mean[looks], MARKERS[j], color=COLOURS[j], markersize=2.6, **OPEN)
        axis.set(yscale="log", xscale="symlog", xlabel="round", title=rf"$\alpha$ = {share:g}", xlim=(0, times[-1]))
    axes[0, 0].set_ylabel(r"effective sample size $n_{\mathrm{eff}}$")
    axes[0, 0].set_ylim(None, 8 * data["law"].max())
    inset = axes[0, 0].inset_axes((0.14, 0.62, 0.38, 0.26))
    inset.plot(data["fine"], data["slopes"], color=COLOURS[3])
    inset.plot(data["fine"], -np.minimum(1, 2 * data["fine"]), "k:", linewidth=0.8)
    inset.set_title("late slope, all data kept", fontsize=5)
    inset.set_xlabel(r"$\alpha$", fontsize=5, labelpad=0)
    inset.tick_params(labelsize=4.5, length=2, pad=1)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    label_panels(axes)
    return figure


def tails(data):
    """Figure 6: probability that a token is absent, by rank: mixture, clean sample of the same risk, stationary law."""
    figure, axes = panels(width=3.6, height=2.6)
    axis, ranks = axes[0, 0], np.arange(1, len(data["law"]) + 1)
    certain = data["certain"].astype(bool)
    axis.plot(ranks, data["absent"].mean(axis=0), "o", color=COLOURS[0], label="agnostic mixture", **OPEN)
    axis.plot(ranks, data["clean"].mean(axis=0), "s", color=COLOURS[2], label="clean sample, same risk", **OPEN)
    axis.plot(ranks[certain], data["law"][certain], color=COLOURS[1], label="CON-14")
    axis.plot(ranks, data["law"], ":", color=COLOURS[1], label="CON-14, not claimed")
    axis.plot(ranks, data["one_round"], "--", color="0.5", label="clean sample of 200 tokens")
    axis.set(xscale="log", xlabel="rank of the token", ylabel="probability to be absent", ylim=(-0.03, 1.03))
    axis.set_title(f"effective sample size {float(data['effective']):.1f}", fontsize=7)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


TRAINING = {
    "recursion": ("con_recursion", recursion),
    "improvement": ("con_improvement", improvement),
    "phases": ("con_phases", phases),
    "design": ("con_design", design),
    "policies": ("con_policies", policies),
    "tails": ("con_tails", tails),
}


def tables(data):
    """Figure 7: risk and living successions of a table model of text by round, contexts real or the model's own."""
    rounds, shares = data["rounds"], data["shares"]
    figure, axes = panels(1, 2, width=3.2, height=2.6)
    left, right = axes[0]
    for i, share in enumerate(shares):
        left.plot(rounds, data["law"][i], color=COLOURS[i], label=rf"$\alpha$ = {share:g}")
        for axis, name in ((left, ""), (right, "alive_")):
            fixed, free = data[f"{name}fixed"][i], data[f"{name}free"][i]
            axis.plot(rounds, fixed.mean(axis=0), MARKERS[i], color=COLOURS[i], markersize=2.6, **OPEN)
            low, high = np.quantile(free, [0.1, 0.9], axis=0)
            axis.fill_between(rounds, low, high, color=COLOURS[i], alpha=0.2, linewidth=0)
            axis.plot(rounds, free.mean(axis=0), color=COLOURS[i], linestyle=":")
    left.set(yscale="log", xlabel="round", ylabel=r"risk $\sum_c \pi_c R_{t,c}$")
    right.set(yscale="log", xlabel="round", ylabel="successions alive")
    integer_ticks(left, right)
    handles, labels = left.get_legend_handles_labels()
    handles += [
        Line2D([], [], color="0.3"),
        Line2D([], [], color="0.3", marker="o", **OPEN),
        Line2D([], [], color="0.3", linestyle=":"),
    ]
    labels += ["CON-16", "real contexts", "running freely (10-90 %)"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    name, characters, digest = str(data["corpus"]), int(data["characters"]), str(data["sha256"])[:12]
    figure.suptitle(
        f"{name}: {characters:,} characters, SHA-256 {digest}…; {int(data['contexts'])} contexts", fontsize=6.5
    )
    label_panels(axes)
    return figure


TEXT: dict = {"pairs": ("con_pairs", tables), "triples": ("con_triples", tables)}


def network(stages):
    """Figure 8: a transformer trained on its own text: excess loss by round and by worth, variety of what it writes.

    The line in the middle is CON-17 with the slope of a clean network (one sample against two).
    """
    figure, axes = panels(1, 3, width=2.5, height=2.5)
    left, middle, right = axes[0]
    for i, data in enumerate(stages.values()):
        colour, marker, title = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], str(data["title"])
        style = DASHES[i // len(COLOURS)]
        rounds, excess, worth = np.arange(data["excess"].shape[1]), data["excess"], data["worth"]
        mean = excess.mean(axis=0)
        left.plot(rounds, mean, marker + style, color=colour, label=title, markersize=2.6, markerfacecolor="none")
        if len(excess) > 1:
            low, high = excess.min(axis=0), excess.max(axis=0)
            left.fill_between(rounds, low, high, color=colour, alpha=0.15, linewidth=0)
        middle.plot(1e3 * (worth - worth[0]), mean, marker, color=colour, markersize=2.6, **OPEN)
        middle.plot(1e3 * (worth - worth[0]), data["line"], color="0.4", linewidth=0.8)
        variety = data["variety"].mean(axis=0)
        right.plot(rounds, variety[:, 0], marker + "-", color=colour, markersize=2.6, markerfacecolor="none")
        right.plot(rounds, variety[:, 1], marker + ":", color=colour, markersize=2.6, markerfacecolor="none")
    for axis in (left, middle):
        axis.axhline(0, color="0.6", linewidth=0.6)
        axis.set_ylabel("excess loss [nats]")
    left.set_xlabel("round")
    middle.set_xlabel(r"$10^3\,(1/n_{\mathrm{eff},t} - 1/n_{\mathrm{eff},0})$")
    right.set(xlabel="round", ylabel="share of generated text", ylim=(0, 1))
    right.plot([], [], color="0.3", label="distinct 4-grams")
    right.plot([], [], ":", color="0.3", label="words of the text")
    right.legend()
    integer_ticks(left, right)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    label_panels(axes)
    return figure


ARMS = tuple(f"network_{arm}" for arm in ("real_0", "real_10", "real_25", "real_50", "real_100", "growing", "decaying"))
TEXT[(*ARMS, "network_kept")] = ("con_network", network)
