"""Figures R-F1 to R-F6 of regression on self-made labels, from a saved results folder.

Lines are theory, points are measurement (mean and standard error), dotted lines are bounds.
"""

import numpy as np
from matplotlib.colors import LogNorm

from figures.style import COLOURS, DASHES, MARKERS, integer_ticks, label_panels, panels

ERROR = r"test error $\|\hat w-w_0\|_\Sigma^2$"


def dots(axis, x, mean, error, *, colour, marker, label=None):
    """Means with their standard errors."""
    axis.errorbar(
        x, mean, yerr=error, fmt=marker, color=colour, label=label, markerfacecolor="none", elinewidth=0.8, capsize=1.5
    )


def growth(data):
    """R-F1: the error grows by a constant a round, whatever the spectrum."""
    rounds = np.arange(data["law"].shape[-1])
    figure, (axes,) = panels(1, 2, width=2.9, height=2.5, sharey=True)
    for axis, law, mean, error, title in zip(
        axes,
        data["law"],
        data["mean"],
        data["error"],
        ("isotropic inputs", r"power law, $\mu_i=i^{-1.5}$"),
        strict=True,
    ):
        for j, ratio in enumerate(data["ratios"]):
            axis.plot(rounds, law[j], "--", color=COLOURS[j])
            dots(axis, rounds, mean[j], error[j], colour=COLOURS[j], marker=MARKERS[j], label=f"{ratio:g}")
        axis.set(title=title, xlabel="number of generators n", ylim=(0, None))
    integer_ticks(*axes)
    axes[0].set_ylabel(ERROR)
    axes[1].legend(title=f"$d/T_0$, d = {int(data['dimension'])}\n(lines: theory)", ncols=2)
    label_panels(axes)
    return figure


def regimes(data):
    """R-F2: replacement, accumulation, real rows, in units of the first error."""
    rounds = np.arange(1, data["law"].shape[-1])
    figure, (axes,) = panels(1, len(data["rows"]), width=2.35, height=2.5, sharey=True)
    names = ("replace", "accumulate", *(f"real share {share:.0%}" for share in data["shares"]))
    every = max(1, len(rounds) // 10)
    for i, (axis, rows) in enumerate(zip(axes, data["rows"], strict=True)):
        for j, name in enumerate(names):
            axis.plot(rounds, data["law"][i, j, 1:], color=COLOURS[j], linestyle=DASHES[j % 4], label=name)
            at = slice(None, None, every)
            parts = (data[part][i, j, 1:][at] for part in ("mean", "error"))
            dots(axis, rounds[at], *parts, colour=COLOURS[j], marker=MARKERS[j])
        axis.axhline(np.pi**2 / 6, color="k", linestyle=":", label=r"$\pi^2/6$")
        for j in np.flatnonzero(np.isfinite(data["levels"][i])):
            axis.plot(rounds[-1] * 1.06, data["levels"][i][j], "_", color=COLOURS[j + 2], markersize=6, clip_on=False)
        axis.set(title=f"$T_0$ = {rows}, d = 8", xlabel="generation", yscale="log", ylim=(0.8, 40))
    integer_ticks(*axes)
    axes[0].set_ylabel("error of the generator / first error")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    label_panels(axes)
    return figure


def ridge(data):
    """R-F3: the U shape in the ridge; its minimum moves right as fake generations are added."""
    figure, (axes,) = panels(1, 3, width=2.35, height=2.6, sharey=True)
    for i, (axis, rows) in enumerate(zip(axes, data["rows"], strict=True)):
        for j, n in enumerate(data["shown"]):
            law = data["law"][i, j]
            axis.plot(data["fine"], law, "--", color=COLOURS[j], linewidth=0.9)
            best = np.argmin(law)
            axis.plot(data["fine"][best], law[best], "*", color=COLOURS[j], markersize=6)
            axis.axhline(data["floor"][i, j], color=COLOURS[j], linestyle=":", linewidth=0.8)
            parts = (data[part][i, j] for part in ("mean", "error"))
            dots(axis, data["ridges"], *parts, colour=COLOURS[j], marker=MARKERS[j], label=f"n = {n}")
        axis.set(
            title=f"T = {rows}, d = {int(data['dimension'])}", xscale="log", xlabel=r"ridge $\lambda$", yscale="log"
        )
    axes[0].set_ylabel(ERROR)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=6,
        title="dashed: theory, star: its minimum, dotted: floor of linear learners",
    )
    label_panels(axes)
    return figure


def few_rows(data):
    """R-F4: collapse without noise, and what a power law forgets first."""
    rounds = np.arange(data["law"].shape[-1])
    figure, (axes,) = panels(1, 3, width=2.35, height=2.5)
    for k, (axis, name) in enumerate(
        zip(axes[:2], (r"$\|w_n-w_0\|^2/\|w_0\|^2$", r"$\|w_n\|^2/\|w_0\|^2$"), strict=True)
    ):
        for i in range(len(data["noises"])):
            for j, ratio in enumerate(data["ratios"]):
                label = f"{ratio:g}" if i == 0 else None
                axis.plot(rounds, data["law"][k, i, j], color=COLOURS[j], linestyle=DASHES[i], label=label)
                axis.plot(rounds, data["mean"][k, i, j], MARKERS[i], color=COLOURS[j], markerfacecolor="none")
        axis.set(xlabel="generation n", ylabel=name)
    axes[0].set_ylim(-0.05, 2.2)
    axes[1].set(yscale="log", ylim=(1e-7, 5))
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        title="$T_0/d$; full lines: no noise, dashed: noise 0.3 (theory), points: chains",
    )
    directions = np.arange(1, data["kept"].shape[1] + 1)
    mesh = axes[2].pcolormesh(
        directions, rounds, np.clip(data["kept"], 1e-3, 1), norm=LogNorm(1e-3, 1), cmap="cividis", rasterized=True
    )
    levels = axes[2].contour(directions, rounds, data["kept_law"], [0.01, 0.1, 0.5], colors="w", linewidths=0.8)
    axes[2].clabel(levels, fontsize=6)
    axes[2].set(xscale="log", xlabel="direction i", ylabel="generation n", title="power law, $T_0=d/2$")
    figure.colorbar(mesh, ax=axes[2], label=r"mean $w_{n,i}/w_{0,i}$ (lines: theory)")
    integer_ticks(*axes[:2])
    label_panels(axes)
    return figure


def step(data):
    """R-F6: predicted against measured error."""
    figure, ((axis,),) = panels(height=2.9)
    points = data["points"]
    for j in range(points.shape[-1]):
        axis.errorbar(
            points[:, 1, j],
            points[:, 0, j],
            yerr=points[:, 2, j],
            fmt=MARKERS[j],
            color=COLOURS[j],
            label=f"n = {j}",
            markerfacecolor="none",
            elinewidth=0.5,
        )
    ends = [points[:, :2].min() / 1.3, points[:, :2].max() * 1.3]
    axis.plot(ends, ends, "k-", linewidth=0.7, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel=f"measured {ERROR}", ylabel="predicted, with its margin")
    axis.legend(title=f"{len(points)} settings of $T_0,\\lambda_0,T,\\lambda$, spectrum")
    return figure


def scaling(data):
    """R-F5: error against training size with the ridge for clean data, and with the adapted one."""
    figure, axes = panels(2, 2, width=2.9, height=2.3, sharex=True)
    titles = ("ridge for clean data", "ridge adapted to n")
    for i, name in enumerate(("ratio", "fixed")):
        for k, axis in enumerate(axes[i]):
            for j, n in enumerate(data["shown"]):
                axis.plot(data["rows"], data[f"{name}_law"][k, j], color=COLOURS[j], label=f"n = {n}")
                parts = (data[f"{name}_{part}"][k, j] for part in ("mean", "error"))
                dots(axis, data[f"{name}_rows"], *parts, colour=COLOURS[j], marker=MARKERS[j])
            axis.set(yscale="log")
            axis.set_xscale("log", base=2)
            if i == 0:
                axis.set_title(titles[k])
            else:
                axis.set_xlabel("training size T")
    slope = axes[0, 1]
    rows = data["rows"]
    guide = data["ratio_law"][1, -1, -1] * (rows / rows[-1]) ** float(data["exponent"])
    slope.plot(rows, 1.8 * guide, "k:", label=rf"$T^{{{float(data['exponent']):.2g}}}$")
    axes[0, 0].set_ylabel("error; $d=T$, $T_0=2T$")
    axes[1, 0].set_ylabel(f"error; d = {int(data['fixed_dimension'])}, $T_0=2d$")
    figure.legend(*slope.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    label_panels(axes)
    return figure


COLLAPSE = {
    "growth": ("R-F1_growth", growth),
    "regimes": ("R-F2_regimes", regimes),
    "ridge": ("R-F3_ridge", ridge),
    "few_rows": ("R-F4_few_rows", few_rows),
    "step": ("R-F6_step", step),
}

SCALING = {"scaling": ("R-F5_scaling", scaling)}
