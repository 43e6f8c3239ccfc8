"""Figures of Reflow with trained networks (R-F6 to R-F10), from a saved results folder.

Lines are predictions with the loss of gain that was measured, points and bands are measurement over seeds.
"""

import textwrap

import numpy as np

from figures.style import COLOURS, DASHES, MARKERS, integer_ticks, label_panels, panels


def _style(place: int) -> dict:
    """A colour and a marker; where colours begin again, other markers go with them."""
    marker = MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]
    return {"color": COLOURS[place % len(COLOURS)], "marker": marker, "markerfacecolor": "none"}


def _band(axis, x, values, place: int, label=None, line: str = "none"):
    """Mean over seeds ``[seeds, x]`` as points, a band of one standard deviation between seeds."""
    mean = np.nanmean(values, axis=0)
    if len(values) > 1:
        spread = np.nanstd(values, axis=0, ddof=1)
        axis.fill_between(x, mean - spread, mean + spread, color=COLOURS[place % len(COLOURS)], alpha=0.2, linewidth=0)
    axis.plot(x, mean, linestyle=line, label=label, **_style(place))


def _bars(axis, rounds, values, place: int, arms: int, label=None, line: str = "-"):
    """The same by round for many arms: bars instead of bands, side by side."""
    spread = np.nanstd(values, axis=0, ddof=1) if len(values) > 1 else None
    beside = rounds + 0.5 * ((place + 0.5) / arms - 0.5)
    style = {"linewidth": 0.6, "elinewidth": 0.8, "markersize": 3, "markeredgewidth": 0.7} | _style(place)
    axis.errorbar(beside, np.nanmean(values, axis=0), spread, linestyle=line, label=label, **style)


def _legend(figure, axis, title: str, columns: int = 4):
    """A legend below the panels, its title broken where the figure is narrow."""
    wide = int(figure.get_figwidth() * 17)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=textwrap.fill(title, wide))


def toy(data):
    """R-F6: distance, variance with its prediction, one-step error and straightness by round and arm."""
    arms, relative = [str(name) for name in data["arms"]], data["relative"]
    rounds, on_ring = np.arange(relative.shape[-1]), "outside" in data
    figure, axes = panels(2, 3 if on_ring else 2, width=2.4, height=2.1, sharex=True)
    flat = axes.ravel()
    for place, name in enumerate(arms):
        _bars(flat[0], rounds, data["w2"][:, place, :, 0], place, len(arms), name)
        _bars(flat[1], rounds, relative[:, place], place, len(arms), line="none")
        flat[1].plot(
            rounds, data["law"][:, place].mean(axis=0), "-", color=COLOURS[place % len(COLOURS)], linewidth=0.8
        )
        _bars(flat[2], rounds, data["one_step"][:, place, :, 0], place, len(arms))
        _bars(flat[3], rounds, data["straightness"][:, place, :, 0], place, len(arms))
        if "straight_law" in data:
            colour = COLOURS[place % len(COLOURS)]
            flat[3].axhline(data["straight_law"][place], color=colour, linestyle=":", linewidth=0.8)
        if on_ring:
            weights = data["mode_weights"][:, place]
            _bars(flat[4], rounds, weights.max(axis=-1) - weights.min(axis=-1), place, len(arms))
            _bars(flat[5], rounds, np.nanmean(data["mode_spreads"][:, place], axis=-1), place, len(arms))
    labels = [
        "sliced $W_2$ to the data",
        "relative variance $u$",
        "one-step error",
        "straightness of paths",
    ]
    labels += ["range of mode weights", "spread within modes"]
    for axis, label in zip(flat, labels, strict=False):
        axis.set_ylabel(label)
        axis.set_ylim(bottom=None if axis is flat[1] else 0)
    for axis in axes[-1]:
        axis.set_xlabel("rounds after the first")
        integer_ticks(axis)
    title = "thin lines in (b): RF-13 and RF-14 with the loss of gain of Reflow; "
    title += "" if on_ring else "dotted in (d): RF-15 for the pairs of RF-16; "
    title += "bars: one deviation between seeds"
    _legend(figure, flat[0], title, 5 if on_ring else 3)
    label_panels(axes)
    return figure


def shrink(data):
    """R-F7: loss of gain by round, width and length of training, and the level that RF-13 predicts from it."""
    eta, lengths = data["eta"], data["lengths"]
    figure, (axes,) = panels(1, 2, width=3.0, height=2.5)
    rounds, number = np.arange(1, eta.shape[-1] + 1), 0
    for i, width in enumerate(data["widths"]):
        for j, steps in enumerate(lengths):
            _band(axes[0], rounds, 100 * eta[:, i, j], number, f"width {width}, {steps} steps", "-")
            number += 1
        for k, (_, noise) in enumerate(data["levels"]):
            label = rf"$\tau={noise:g}$, width {width}"
            axes[1].plot(lengths, data["level"][k, i], linestyle=DASHES[i % len(DASHES)], label=label, **_style(k))
    axes[0].axhline(0, color="k", linewidth=0.5)
    axes[0].set(xlabel="round", ylabel=r"gain lost, $\hat\eta$ [%]")
    axes[1].set(xlabel="training steps of a round", ylabel=r"level $u^*$ by RF-13, $b=0.3$", xscale="log")
    axes[1].set_xticks(lengths, [str(one) for one in lengths])
    axes[1].minorticks_off()
    integer_ticks(axes[0])
    axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.02), ncols=2)
    axes[1].legend(loc="lower center", bbox_to_anchor=(0.5, 1.02), ncols=2)
    label_panels(axes)
    return figure


def _drawn(data) -> list[tuple[int, str]]:
    """Measures that are drawn, and their places; the others are in the tables alone."""
    names = (str(name) for name in data["measures"])
    return [(place, name) for place, name in enumerate(names) if name not in ("precision", "coverage")]


def images(data):
    """R-F8: what becomes of images by round and arm, at few evaluations and at many."""
    arms, shown = [str(name) for name in data["arms"]], _drawn(data)
    evaluations, seen = data["evaluations_shown"], data["seen"]  # [seeds, arms, rounds + 1, nfe, measures, 2]
    rounds = np.arange(seen.shape[2])
    figure, axes = panels(len(shown), len(evaluations), width=1.75, height=1.55, sharex=True, sharey="row")
    for i, (at, name) in enumerate(shown):
        for j, count in enumerate(evaluations):
            for place in range(len(arms)):
                _bars(axes[i, j], rounds, seen[:, place, :, j, at, 0], place, len(arms), arms[place])
                if name == "total variance" and count == max(evaluations):
                    law, colour = data["variance_law"][:, place].mean(axis=0), COLOURS[place % len(COLOURS)]
                    axes[i, j].plot(rounds, law, "--", color=colour, linewidth=0.7)
            if np.isfinite(data["real"][at]):
                axes[i, j].axhline(data["real"][at], color="k", linestyle=":", linewidth=0.8)
            if name == "Fréchet":
                axes[i, j].set_yscale("log")
            if i == 0:
                axes[i, j].set_title(f"{count} evaluation{'s' if count > 1 else ''}")
        axes[i, 0].set_ylabel(name)
    for axis in axes[-1]:
        axis.set_xlabel("round")
        integer_ticks(axis)
    title = "bars: one deviation between seeds; dotted: training images in their place; "
    title += f"dashed, total variance at {max(evaluations)} evaluations: RF-13, RF-14 with the loss of gain of Reflow"
    _legend(figure, axes[0, 0], title)
    return figure


def share(data):
    """R-F9: the last round against the real share, by noise on the latents."""
    shown, few = _drawn(data), int(data["evaluations_at"])
    evaluations, seen, shares, noises = (
        data["evaluations_shown"],
        data["last"],
        data["shares"],
        data["noises"],
    )  # [seeds, noises, shares, nfe, measures, 2]
    figure, (axes,) = panels(1, len(shown), width=1.9, height=2.2, sharex=True)
    most = int(np.argmax(evaluations))
    for axis, (at, name) in zip(axes, shown, strict=True):
        whole = name == "total variance"  # the prediction knows no steps
        for place, noise in enumerate(noises):
            steps, line = (most, "none") if whole else (few, "-")
            _band(axis, shares, seen[:, place, :, steps, at, 0], place, rf"$\tau={noise:g}$", line)
            if whole:
                law, colour = data["variance_law"][:, place].mean(axis=0), COLOURS[place % len(COLOURS)]
                axis.plot(shares, law, "--", color=colour, linewidth=0.7)
        if np.isfinite(data["real"][at]):
            axis.axhline(data["real"][at], color="k", linestyle=":", linewidth=0.8)
        axis.set(xlabel="real share $b$", ylabel=f"{name}, {evaluations[most]} ev." if whole else name)
    title = (
        f"round {int(data['rounds'])}, {int(evaluations[few])} evaluations if not said otherwise; dotted: training "
        "images in their place; dashed: RF-13 with the loss of gain at $b = 0$"
    )
    _legend(figure, axes[0], title)
    label_panels(axes)
    return figure


def grid(data):
    """R-F10: images from fixed latents by round, Reflow above, the other arms below."""
    made, arms = data["grid"], [str(name) for name in data["arms"]]  # [arms, rounds shown, n, height, width, channels]
    columns = 2
    rows = -(-len(arms) // columns)
    figure, axes = panels(rows, columns, width=0.24 * made.shape[2], height=0.24 * made.shape[1] + 0.25)
    for place, axis in enumerate(axes.T.ravel()):  # down the first column, then the second
        if place >= len(arms):
            axis.set_visible(False)
            continue
        apart = np.pad(np.clip(made[place], 0, 1), ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=0.5)
        picture = np.concatenate([np.concatenate(list(row), axis=1) for row in apart], axis=0)
        axis.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        height = apart.shape[2]
        axis.set_yticks((np.arange(len(apart)) + 0.5) * height - 0.5, [str(one) for one in data["rounds_shown"]])
        axis.set_xticks([])
        axis.set(title=f"{arms[place]}, {int(data['grid_evaluations'])} evaluations", ylabel="round")
    return figure


def _grid_of(stages):
    return grid(stages["rounds"])


TOY = {
    "gaussian": ("rf_toy_gaussian", toy),
    "ring": ("rf_toy_ring", toy),
    "shrink": ("rf_shrink", shrink),
}

IMAGES = {
    "rounds": ("rf_images", images),
    "share": ("rf_real_share", share),
    ("rounds",): ("rf_grid", _grid_of),
}
