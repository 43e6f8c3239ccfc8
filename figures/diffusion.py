"""Figures S-F9 and S-F13: trained diffusion models by round, from a saved results folder.

Lines are the ideal laws (exact score, exact sampling), points and bands are trained networks (median and quartiles over
seeds); dotted lines are ideal limits.
"""

from typing import Any

import numpy as np

from figures.style import COLOURS, DASHES, MARKERS, integer_ticks, label_panels, median_band, panels


def _label(name: str) -> str:
    return name.replace("a = ", r"$\alpha$ = ")


def _dash(name: str) -> str:
    return DASHES[2 if name == "accumulate" else "annealed" in name]


def _gains(data, axes):
    """Gains by round, one panel for each order, one colour for each arm."""
    for j, order in enumerate(data["orders"]):
        axis = axes[j]
        for i, name in enumerate(data["names"]):
            law = data["law"][i, :, j]
            rounds = np.arange(len(law))
            axis.plot(rounds, law, _dash(str(name)), color=COLOURS[i])
            median_band(
                axis,
                rounds,
                data["gain"][i, :, :, j],
                colour=COLOURS[i],
                marker=MARKERS[i],
                label=_label(str(name)) if j == 0 else None,
            )
            if data["second"].shape[-1] > 1:
                along = np.median(data["along_direction"][i, :, :, j], axis=0)
                axis.plot(rounds, along, "x", color=COLOURS[i], markersize=3, markeredgewidth=0.7)
            if data["limit"][i, j] > 0:  # nan: none, or 0
                axis.axhline(data["limit"][i, j], color=COLOURS[i], linewidth=0.6, linestyle=":")
        axis.set(title=rf"order {order}", xlabel="round")
        integer_ticks(axis)
    axes[0].set_ylabel("gain over real data")


def _legend(figure, axes, title: str) -> None:
    """Arms side by side below the panels, under what lines and crosses are."""
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), title=title)
    legend.get_title().set_multialignment("center")


def mixture(data):
    """S-F9: gains of a 1-D or 2-D mixture."""
    figure, axes = panels(1, len(data["orders"]), width=1.75, height=2.5, sharey=True)
    _gains(data, axes[0])
    title = (
        f"pools of {int(data['samples']):,}, new network each round\nlines: SP-6, SP-11, SP-14; dotted: limit of SP-6"
    )
    title += "; crosses: along a direction (SP-7)" if data["second"].shape[-1] > 1 else ""
    _legend(figure, axes, title)
    label_panels(axes)
    return figure


def images(data):
    """S-F13: gains of images; variance along principal directions and radial power at the end, beside SP-16."""
    names = data["names"]
    figure, axes = panels(1, len(data["orders"]) + 2, width=1.6, height=2.5)
    *order_axes, along, power = axes[0]
    _gains(data, order_axes)
    ends = np.array([axis.get_ylim() for axis in order_axes])
    for axis in order_axes:
        axis.set_ylim(min(0, ends[:, 0].min()), ends[:, 1].max())
    place, frequency, real = 1 + np.arange(data["along"].shape[-1]), data["frequency"], data["power_law"][0, 0]
    along.plot(place, data["along_law"][0, 0], color="0.5", linewidth=0.8, linestyle=":")
    for i, name in enumerate(names):
        line = {"color": COLOURS[i], "linestyle": _dash(str(name))}
        style: dict[str, Any] = {"colour": COLOURS[i], "marker": MARKERS[i]}
        along.plot(place, data["along_law"][i, -1], **line)
        median_band(along, place, data["along"][i, :, -1], **style)
        power.plot(frequency, data["power_law"][i, -1] / real, **line)
        median_band(power, frequency, data["power"][i, :, -1] / real, **style)
    integer_ticks(along)
    along.axhline(1, color="0.7", linewidth=0.6)
    along.set(title="variance at the end", xlabel="principal direction")
    power.axhline(1, color="0.7", linewidth=0.6)
    power.set(title="power / real", xlabel="frequency [cycles/pixel]")
    title = (
        f"{data['data']}, {len(place)} principal directions, pools of {int(data['samples']):,}, "
        "new network each round\n"
        "lines: SP-6, SP-11, SP-14, SP-16; crosses: along a direction (SP-7); dotted: limit of SP-6, real variance"
    )
    _legend(figure, axes, title)
    label_panels(axes)
    return figure


FIGURES = {
    "line": ("s_f9_line", mixture),
    "plane": ("s_f9_plane", mixture),
    "images": ("s_f13_images", images),
}
