"""``python -m figures``: draw again every figure of every results folder (``results/*`` or the folders given)."""

import sys
from pathlib import Path

from figures import (
    contamination,
    dae,
    deep_dae,
    diffusion,
    mle,
    mle_counterexamples,
    reflow,
    reflow_trained,
    regression,
    regression_images,
    spectral,
    spectral_images,
    spectral_robustness,
)
from figures.saved import draw

DRAWINGS = {
    "contaminated_text": contamination.TEXT,
    "contaminated_training": contamination.TRAINING,
    "dae_weight_norm": dae.FIGURES,
    "deep_dae": deep_dae.FIGURES,
    "iterative_mle": mle.ITERATIVE,
    "mle_counterexamples": mle_counterexamples.FIGURES,
    "reflow_linear": reflow.LINEAR,
    "recursive_diffusion": diffusion.FIGURES,
    "regression_collapse": regression.COLLAPSE,
    "regression_scaling_laws": regression.SCALING,
    "kernel_regression_images": regression_images.FIGURES,
    "reflow_images": reflow_trained.IMAGES,
    "reflow_toy": reflow_trained.TOY,
    "spectral_limit": spectral.LIMIT,
    "spectral_annealing": spectral.ANNEALING,
    "spectral_finite_samples": spectral.POOLS,
    "spectral_images": spectral_images.FIGURES,
    "spectral_robustness": spectral_robustness.FIGURES,
}


def main(folders: list[str]) -> int:
    """Redraw; returns 2 if a folder holds no results."""
    import json

    chosen = [Path(f) for f in folders] or sorted(p.parent for p in Path("results").glob("*/settings.json"))
    if not chosen:
        print("no results found under results/: run an experiment first, for example `make demo`.", file=sys.stderr)
        return 2
    for folder in chosen:
        try:
            experiment = json.loads((folder / "settings.json").read_text())["experiment"]
        except (OSError, ValueError, KeyError) as error:
            print(f"{folder} holds no results of an experiment: {error}", file=sys.stderr)
            return 2
        for path in draw(folder, DRAWINGS[experiment]):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
