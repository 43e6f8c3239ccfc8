"""Figure D-F10: a deep and a linear denoising autoencoder by generation, from a saved results folder.

Lines are the linear closed forms, points and bands are trained networks (median and quartiles over seeds).
"""

from typing import Any

import numpy as np

from figures.style import COLOURS, MARKERS, integer_ticks, label_panels, median_band, panels

SHARE = r"$a$ = {:g}"


def curves(stages):
    """D-F10: output variance, gains along principal directions, excess risk, high frequencies."""
    figure, axes = panels(2, 3, width=2.2, height=1.9)
    variance, top, weak, risk, high, last = axes.ravel()
    first = next(iter(stages.values()))
    weak_place = len(first["spectrum"]) // 4
    generations = np.arange(first["gains"].shape[2])
    for i, share in enumerate(first["shares"]):
        line = {"color": COLOURS[i], "label": f"linear law, {SHARE.format(share)}"}
        variance.plot(generations, first["variance_law"][i].sum(axis=-1) / first["spectrum"].sum(), **line)
        top.plot(generations, first["gains_law"][i, :, 0], color=COLOURS[i])
        weak.plot(generations, first["gains_law"][i, :, weak_place], color=COLOURS[i])
        risk.plot(generations, first["excess_law"][i], color=COLOURS[i])
        last.plot(1 + np.arange(len(first["spectrum"])), first["gains_law"][i, -1], color=COLOURS[i])
    for j, (network, data) in enumerate(stages.items()):
        for i, share in enumerate(data["shares"]):
            style: dict[str, Any] = {"colour": COLOURS[i], "marker": MARKERS[j]}
            median_band(variance, generations, data["ratio"][i], label=f"{network}, {SHARE.format(share)}", **style)
            median_band(top, generations, data["gains"][i, :, :, 0], **style)
            median_band(weak, generations, data["gains"][i, :, :, weak_place], **style)
            median_band(risk, generations, data["excess"][i], **style)
            median_band(high, generations, data["high"][i], **style)
            few = np.unique(np.round(np.geomspace(1, len(data["spectrum"]), 12)).astype(int)) - 1
            median_band(last, few + 1, data["gains"][i, :, -1][:, few], **style)
    titles = (
        "output variance / real",
        "gain, direction 1",
        f"gain, direction {weak_place + 1}",
        "excess risk on real data",
        "share at high frequency",
        f"gains, generation {generations[-1]}",
    )
    for axis, title in zip(axes.ravel(), titles, strict=True):
        axis.set_title(title)
        axis.set_xlabel("generation")
        integer_ticks(axis)
    last.set(xlabel="principal direction", xscale="log")
    risk.axhline(0, color="0.7", linewidth=0.6)
    title = (
        f"{first['data']}, {len(first['spectrum'])} principal directions, pools of {int(first['samples']):,}, "
        "new network each generation; lines: DAE-5, DAE-10, DAE-13"
    )
    figure.legend(*variance.get_legend_handles_labels(), loc="outside lower center", ncols=6, title=title)
    label_panels(axes)
    return figure


def pictures(stages):
    """D-F10, the pictures: noisy real images denoised by each generation's network."""
    first = next(iter(stages.values()))
    shares, last = first["shares"], first["shown"].shape[1] - 1
    chosen = np.unique(np.round(last * np.array([0, 0.2, 0.5, 1])).astype(int))
    rows = [(network, i) for network in stages for i in range(len(shares))]
    figure, axes = panels(len(rows), len(chosen), width=1.7, height=0.42)
    for place, (network, i) in enumerate(rows):
        for k, number in enumerate(chosen):
            axis = axes[place, k]
            strip = np.concatenate(list(stages[network]["shown"][i, number]), axis=1).clip(0, 1)
            axis.imshow(strip.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if place == 0:
                axis.set_title("best linear, real data" if number == 0 else f"generation {number}", fontsize=7)
            if k == 0:
                text = f"{network}, {SHARE.format(shares[i])}"
                axis.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=6.5)
    return figure


# one figure of all stages for each order of their names: keys are told apart by it
FIGURES = {
    ("linear", "deep"): ("d_f10_deep_dae", curves),
    ("deep", "linear"): ("d_f10_pictures", pictures),
}
