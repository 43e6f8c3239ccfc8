"""Figures of rectified flows with linear velocities (R-F1 to R-F5 of rectified flow), from a saved results folder.

Lines are theory, points are measurement (mean and standard error).
"""

import numpy as np

from figures.style import COLOURS, DASHES, MARKERS, label_panels, panels


def dots(axis, x, mean, error, *, colour, marker, label=None):
    """Means with their standard errors."""
    axis.errorbar(
        x, mean, yerr=error, fmt=marker, color=colour, label=label, markerfacecolor="none", elinewidth=0.8, capsize=1.5
    )


def sampler(data):
    """R-F1: what N steps lose."""
    figure, (axes,) = panels(1, 3, width=2.35, height=2.6, sharex=True)
    steps = data["steps"]
    titles = ("Euler, uniform grid", "Euler, equal angles", "Heun, uniform grid")
    for i, (axis, title) in enumerate(zip(axes, titles, strict=True)):
        for j, size in enumerate(data["variances"]):
            loss, rate = 1 - data["mean"][i, :, j], 1 - data["rates"][i, :, j]
            if i < 2:
                axis.plot(steps, 1 - data["law"][i, :, j], color=COLOURS[j])
                axis.plot(steps, rate, ":", color=COLOURS[j])
                axis.plot(steps, loss, MARKERS[j], color=COLOURS[j], markerfacecolor="none", label=f"{size:g}")
            elif size != 1:
                axis.plot(steps, abs(rate), ":", color=COLOURS[j])
            if i == 2:
                for sign, face in ((1, "none"), (-1, COLOURS[j])):
                    at = loss * sign > 0
                    axis.plot(steps[at], abs(loss[at]), MARKERS[j], color=COLOURS[j], markerfacecolor=face)
        axis.set(title=title, xlabel="steps N", xscale="log", yscale="log")
    axes[0].set_ylabel(r"$1-A_N^2/\lambda$")
    axes[2].set_ylabel(r"$|1-A_N^2/\lambda|$ (filled: inflation)")
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        title=r"$\lambda$; points: fitted velocities, lines: exact product, dotted: leading order in $1/N$",
    )
    label_panels(axes)
    return figure


def independent(data):
    """R-F2: fresh noise every round."""
    shares, spectrum = data["shares"], data["spectrum"]
    figure, (axes,) = panels(1, len(shares), width=2.35, height=2.6, sharey=True)
    for j, (axis, share) in enumerate(zip(np.atleast_1d(axes), shares, strict=True)):
        for i, steps in enumerate(data["steps"]):
            law, mean, error = (data[f"{name}_{i}_{j}"] for name in ("law", "mean", "error"))
            rounds, every = np.arange(len(law)) / steps, max(1, len(law) // 12)
            for k in (0, 2, 4):
                axis.plot(rounds, law[:, k], color=COLOURS[i], linestyle=DASHES[k // 2])
                at = slice(None, None, every)
                label = f"N = {steps}" if k == 0 else None
                dots(axis, rounds[at], mean[at, k], error[at, k], colour=COLOURS[i], marker=MARKERS[i], label=label)
        if share:
            for k in (0, 2, 4):
                axis.axhline(share * spectrum[k], color="k", linestyle=":", linewidth=0.7)
        axis.set(title=f"real share {share:.0%}", xlabel="round / N", yscale="log", ylim=(1e-3, 8))
    np.atleast_1d(axes)[0].set_ylabel(r"variance of the images $\lambda_j$")
    names = ", ".join(f"{spectrum[k]:g} ({DASHES[k // 2]})" for k in (0, 2, 4))
    figure.legend(
        *np.atleast_1d(axes)[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        title=rf"$\Lambda$ = {names}; lines: theory, dotted: bound $a\Lambda$",
    )
    label_panels(axes)
    return figure


def arms(data):
    """R-F3: Reflow and its remedies."""
    figure, ((axis,),) = panels(height=2.9)
    rounds = np.arange(data["mean"].shape[1])
    every = max(1, len(rounds) // 12)
    for j, name in enumerate(data["names"]):
        at = slice(j * every // len(data["names"]), None, every)
        axis.plot(rounds, data["law"][j], color=COLOURS[j], linestyle=DASHES[1 if j == 1 else 0])
        dots(
            axis,
            rounds[at],
            data["mean"][j][at],
            data["error"][j][at],
            colour=COLOURS[j],
            marker=MARKERS[j],
            label=str(name),
        )
    for level in data["levels"]:
        axis.axhline(level, color="k", linestyle=":", linewidth=0.6, zorder=0)
    axis.set(xlabel="round", ylabel=r"relative variance $u_j=A_j^2/\Lambda$", ylim=(-0.03, 1.05))
    figure.legend(
        *axis.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        title=r"$\eta=0.03$, $b=0.3$; lines: theory, dotted: levels $u^*$",
    )
    return figure


def phase(data):
    """R-F4: the level over noise and real share."""
    losses = data["losses"]
    figure, axes = panels(1, len(losses), width=2.35, height=2.4, sharey=True)
    row = axes[0]
    for i, (axis, loss) in enumerate(zip(row, losses, strict=True)):
        axis.pcolormesh(
            data["noises"], data["shares"], data["level"][i], vmin=0, vmax=1, cmap="cividis", rasterized=True
        )
        axis.scatter(*data["places"].T, c=data["found"][i], vmin=0, vmax=1, cmap="cividis", edgecolors="w", s=16)
        axis.axvline(np.sqrt(1 - (1 - loss) ** 2), color="w", linestyle="--")
        axis.set(title=rf"$\eta$ = {loss:g}", xlabel=r"noise $\tau$ (dashed: $\tau^2=1-q$)")
    row[0].set_ylabel("real share of pairs b")
    figure.colorbar(row[0].collections[0], ax=list(row), label=r"level $u^*$")
    label_panels(row)
    return figure


def price(data):
    """R-F5: what the anchor costs in straightness."""
    figure, ((axis,),) = panels(height=2.7)
    lines, points = data["lines"], data["points"]
    for j, share in enumerate(data["shares"]):
        axis.plot(data["constant_share"][j], share * lines**2, color=COLOURS[j], label=f"b = {share:g}")
    for j, noise in enumerate(data["noises"]):
        axis.plot(
            data["constant_noise"][j],
            lines * noise**2,
            color="0.45",
            linestyle=DASHES[(j + 1) % 4] if noise < 1 else "-",
            linewidth=0.8,
            label=rf"$\tau$ = {noise:g}",
        )
    axis.errorbar(
        points[:, 0], points[:, 2] * points[:, 3] ** 2, xerr=points[:, 1], fmt="o", color="k", markerfacecolor="none"
    )
    axis.set(xlabel=r"correlation of the pairs $\rho$ at $u=1$", ylabel=r"anchor $b\tau^2$")
    axis.legend(ncols=2)
    return figure


LINEAR = {
    "sampler": ("rf_sampler_gain", sampler),
    "independent": ("rf_independent_chain", independent),
    "arms": ("rf_linear_reflow", arms),
    "phase": ("rf_phase_map", phase),
    "price": ("rf_trade_off", price),
}
