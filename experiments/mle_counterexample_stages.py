"""Stages of ``mle_counterexamples``: immediate collapse and slow-fuse collapse. Numbers only, no figures."""

import jax
import numpy as np

from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.simulate.mle_counterexamples import fuse_paths, jump_paths, log_width, waits
from collapse_jax.specs.mle import MLESpec
from collapse_jax.trajectory import Trajectory
from experiments.harness import ROW_RATE, Stage, row


def _groups(values: np.ndarray, groups: int = 20) -> np.ndarray:
    return values[: len(values) // groups * groups].reshape(groups, -1, *values.shape[1:])


def _judged(id: str, spec, values: np.ndarray, rounds: int, relevant: float) -> dict:
    result = get(id)
    averages = _groups(values).mean(axis=1)
    resolution = np.zeros(averages.shape[1:])
    if result.curve:
        resolution[0] = np.inf  # the truth is known
    trajectory = Trajectory(averages, resolution, result.observable)
    verdict = compare(result.predict(spec, rounds), trajectory, relevant=relevant, error_rate=ROW_RATE)
    return row(f"n = {int(spec.batch)}", verdict, samples=int(spec.batch))


def jump(settings, key) -> Stage:
    """M-F7: TV after rounds 1 and 2, frequency of collapse against n, densities of one collapsed run."""
    arrays, chances, bounds, points, rows = {}, [], [], [], []
    for place, (size, runs) in enumerate(zip(settings.sizes, settings.runs, strict=True)):
        found = jump_paths(jax.random.fold_in(key, place), count=size, generations=2, runs=runs)
        alpha = np.asarray(found["alpha"])
        arrays[f"alpha_{size}"] = alpha
        spec = MLESpec("jump", batch=size)
        collapsed = (alpha[:, 2] > 0.1).astype(float)
        reached = (np.asarray(found["beyond"][:, 1]) > 0).astype(float)
        chances.append([collapsed.mean(), collapsed.std() / runs**0.5])
        points.append(reached.mean())
        bounds.append(float(get("MLE-19").predict(spec, 2).values))
        rows.append(_judged("MLE-19", spec, collapsed, 2, 0.5))
        rows.append(_judged("MLE-19/point", spec, reached, 2, 0.5))
        if size == settings.shown_size:
            which = int(np.argmax((alpha[:, 2] > 0.1) & (alpha[:, 1] > 0.01)))
            shown = [alpha[which], np.asarray(found["mu"])[which]]
            arrays["shown"] = np.array(shown)
            arrays["shown_log_width"] = np.asarray(log_width(alpha[which], float(size)))
    ends = np.asarray(get("MLE-19/point").predict(MLESpec("jump", batch=settings.sizes[-1]), 2).values)
    arrays |= {"sizes": np.array(settings.sizes), "chances": np.array(chances), "points": np.array(points)}
    return Stage(
        arrays | {"bounds": np.array(bounds), "point_limit": ends},
        rows,
    )


def fuse(settings, key) -> Stage:
    """M-F8: share of runs that have not reached the intervals, by round; total variation along runs that switch."""
    times = np.unique(np.round(np.geomspace(1, settings.horizon, 60)).astype(int))
    survival, rows = [], []
    for place, size in enumerate(settings.fuse_sizes):
        spec = MLESpec("fuse", batch=size)
        found = np.asarray(waits(spec, jax.random.fold_in(key, place), intervals=3, runs=settings.fuse_runs))
        survival.append([(found[:, j, None] > times).mean(axis=0) for j in range(3)])
        curve = (found[:, :1] > np.arange(31)).astype(float)
        rows.append(_judged("MLE-21", spec, curve[:, :], 30, 0.1))
    spec = MLESpec("fuse", batch=50, fuse=1000.0)
    paths = fuse_paths(
        spec,
        jax.random.fold_in(key, 50),
        generations=settings.path_rounds,
        runs=settings.path_runs,
    )
    paths = {name: np.asarray(values) for name, values in paths.items()}
    won = paths["type"][:, -1] > 0
    least = np.where(won, paths["tv"][:, -1], np.nan)[won]
    rows += [_judged(id, spec, least, settings.path_rounds, 0.1) for id in ("MLE-20", "MLE-21/tv")]
    arrays = {
        "times": times,
        "survival": np.array(survival),
        "sizes": np.array(settings.fuse_sizes),
        "tv": paths["tv"],
        "type": paths["type"],
        "farthest": paths["farthest"],
    }
    remark = f"type two wins in {won.sum()} of {len(won)} runs within {settings.path_rounds} rounds"
    return Stage(arrays, rows, [remark])
