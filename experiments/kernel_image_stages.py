"""Stages of ``kernel_regression_images``. Numbers only, no figures."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.compare import compare
from collapse_jax.data import images
from collapse_jax.results import get
from collapse_jax.simulate.regression import pool_chain
from collapse_jax.specs.regression import RegressionSpec
from experiments.harness import ROW_RATE, Stage, row
from experiments.regression_stages import numbers

SHOWN = np.array([0, 1, 2, 5, 10])
TEACHER_RIDGE, KEPT = 1e-4, 1e-10
REGIMES = ("replace", "accumulate", "real share 20 %")


def pool_of(settings, pictures):
    """Images of the pool ``[N, side, side]``, their points scaled to mean square 1 ``[N, d]``, and classes ``[N]``."""
    points = images.centred(pictures)[0].T[: settings.pool]
    size = np.sqrt((points**2).sum(axis=1).mean())
    return pictures.images[: settings.pool, :, :, 0], points / size, pictures.labels[: settings.pool]


def gram_of(points: np.ndarray, kernel: str) -> np.ndarray:
    """``[N, N]`` kernel matrix with diagonal of order 1."""
    inner = points @ points.T
    if kernel == "cubic":
        return ((1 + inner) / 2) ** 3
    square = np.diag(inner)
    return np.exp(-(square[:, None] + square[None] - 2 * inner) / 2)


def taught(gram: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """A teacher: kernel ridge regression of the real labels on the whole pool."""
    return gram @ np.linalg.solve(gram + len(gram) * TEACHER_RIDGE * np.eye(len(gram)), targets)


def law_of(gram: np.ndarray, teacher: np.ndarray) -> dict[str, Any]:
    """Spectrum and truth of REG-17."""
    values, vectors = np.linalg.eigh(gram / len(gram))
    kept = values > KEPT * values[-1]
    spectrum, along = values[kept][::-1], (vectors.T @ teacher)[kept][::-1]
    return {"spectrum": spectrum, "truth": along / np.sqrt(len(gram) * spectrum)}


def spec_of(settings, law, rows: int, ridge: float) -> RegressionSpec:
    """The chain of a stage."""
    return RegressionSpec(
        **law,
        learner_samples=rows,
        learner_noise=settings.noise,
        learner_ridge=ridge,
        generator_samples=settings.generator_rows,
        generator_noise=settings.noise,
        generator_ridge=settings.generator_ridge,
    )


@partial(jax.jit, static_argnames="rounds")
def _predicted(spec, ridges, *, rounds: int):
    return jax.lax.map(lambda ridge: get("REG-17").predict(replace(spec, learner_ridge=ridge), rounds).values, ridges)


def predicted(spec, ridges) -> np.ndarray:
    """``[ridges, rounds + 1]``, REG-17 at every ridge of the learner."""
    return np.asarray(_predicted(spec, jnp.asarray(ridges, float), rounds=int(SHOWN[-1])))


def _ridge(settings, key, pictures) -> Stage:
    """R-F7b: error over the pool against the ridge, measured and predicted from the kernel's spectrum."""
    _, points, classes = pool_of(settings, pictures)
    targets = np.where(classes < 5, 1.0, -1.0)
    fine = np.logspace(np.log10(settings.ridges[0]) - 0.3, np.log10(settings.ridges[-1]) + 0.3, 25)
    rows, law, mean, error = [], [], [], []
    for i, kernel in enumerate(settings.kernels):
        gram = gram_of(points, kernel)
        teacher = taught(gram, targets)
        spec = spec_of(settings, law_of(gram, teacher), settings.learner_rows, 1.0)
        law.append(predicted(spec, fine)[:, SHOWN].T)
        found = []
        for j, ridge in enumerate(settings.ridges):
            one = replace(spec, learner_ridge=ridge)
            seed = jax.random.fold_in(key, 100 * i + j)
            run = pool_chain(one, int(SHOWN[-1]), settings.seeds, seed, samples=1, gram=gram, teacher=teacher)
            verdict = compare(
                get("REG-17").predict(one, int(SHOWN[-1])), run["pool_error"], relevant=0.3, error_rate=ROW_RATE
            )
            rows.append(row(f"{kernel}, ridge {ridge:g}", verdict, samples=1))
            found.append(np.asarray(run["pool_error"].values)[:, SHOWN])
        mean.append(np.mean(found, axis=1).T)
        error.append(np.std(found, axis=1, ddof=1).T / np.sqrt(settings.seeds))
    arrays = {"law": np.stack(law), "mean": np.stack(mean), "error": np.stack(error)}
    kinds = np.array(settings.kernels)
    return Stage(
        numbers(**arrays, fine=fine, ridges=settings.ridges, shown=SHOWN, kernels=kinds, rows=settings.learner_rows),
        rows,
    )


def _size(settings, key, pictures) -> Stage:
    """R-F7a: error against training size at a small ridge, at the ridge best for clean data, at the one best for n."""
    _, points, classes = pool_of(settings, pictures)
    targets = np.where(classes < 5, 1.0, -1.0)
    gram = gram_of(points, settings.kernels[0])
    teacher = taught(gram, targets)
    law, grid, last = law_of(gram, teacher), np.logspace(-6, 1, 29), int(SHOWN[-1])
    counts = [rows for rows in settings.rows if rows <= len(points)]
    lines, mean, error = (np.zeros((3, len(SHOWN), len(counts))) for _ in range(3))
    for i, count in enumerate(counts):
        spec = spec_of(settings, law, count, 1.0)
        errors = predicted(spec, grid)[:, SHOWN]
        clean = grid[errors[:, 0].argmin()]
        choices = [np.full(len(SHOWN), settings.small_ridge), np.full(len(SHOWN), clean), grid[errors.argmin(axis=0)]]
        for k, choice in enumerate(choices):
            for ridge in np.unique(choice):
                one, at = replace(spec, learner_ridge=float(ridge)), np.flatnonzero(choice == ridge)
                seed = jax.random.fold_in(jax.random.fold_in(key, 10 * i + k), int(1e3 * np.log(ridge)) % 2**31)
                run = pool_chain(one, last, settings.seeds, seed, samples=1, gram=gram, teacher=teacher)
                values = np.asarray(run["pool_error"].values)[:, SHOWN[at]]
                mean[k, at, i], error[k, at, i] = values.mean(0), values.std(0, ddof=1) / np.sqrt(settings.seeds)
                lines[k, at, i] = predicted(spec, [ridge])[0, SHOWN[at]]
    noise = float(((teacher - targets) ** 2).mean())
    return Stage(numbers(law=lines, mean=mean, error=error, rows=counts, shown=SHOWN, misfit=noise), [])


@partial(jax.jit, static_argnames=("rows", "rounds", "regime"))
def _classes(gram, clean, key, *, rows, rounds, regime, noise, ridge):
    """Scores ``[rounds + 1, N, 10]`` of the whole pool by generation; the first generation sees real labels."""
    count = gram.shape[0]

    def labelled(key, scores):
        return scores + noise * jax.random.normal(key, scores.shape)

    def fit(key, scores, kept):
        """``kept``: rows and labels so far, ``[places]``, ``[places, 10]``, and which places are taken."""
        row_key, noise_key = jax.random.split(key)
        at = jax.random.randint(row_key, (rows,), 0, count)
        source = scores[at]
        if regime == "real share 20 %":
            source = jnp.where((jnp.arange(rows) < rows // 5)[:, None], clean[at], source)
        seen = labelled(noise_key, source)
        number, places, labels = kept
        start = number * rows if regime == "accumulate" else 0
        places = jax.lax.dynamic_update_slice_in_dim(places, at, start, 0)
        labels = jax.lax.dynamic_update_slice_in_dim(labels, seen, start, 0)
        taken = jnp.arange(len(places)) < start + rows
        inner = jnp.where(taken[:, None] & taken[None], gram[places][:, places], 0)
        total = (start + rows).astype(gram.dtype) if regime == "accumulate" else float(rows)
        solved = jnp.linalg.solve(
            inner + jnp.diag(jnp.where(taken, total * ridge, 1.0)), jnp.where(taken[:, None], labels, 0)
        )
        return gram[:, places] @ jnp.where(taken[:, None], solved, 0), (number + 1, places, labels)

    size = rows * (rounds if regime == "accumulate" else 1)
    kept = (jnp.zeros((), int), jnp.zeros(size, int), jnp.zeros((size, clean.shape[1])))

    def generation(state, key):
        scores, kept = state
        scores, kept = fit(key, scores, kept)
        return (scores, kept), scores

    path = jax.lax.scan(generation, (clean, kept), jax.random.split(key, rounds))[1]
    return jnp.concatenate([clean[None], path])


def _accuracy(settings, key, pictures) -> Stage:
    """R-F7c: share of the pool whose largest of ten regressions is its real class, by generation and regime."""
    shown, points, classes = pool_of(settings, pictures)
    gram = gram_of(points, settings.kernels[0])
    clean = np.eye(10)[classes] - 0.1
    found = np.zeros((len(REGIMES), settings.seeds, settings.class_rounds + 1))
    labels = np.zeros((len(REGIMES), settings.class_rounds + 1, settings.shown), int)
    for i, regime in enumerate(REGIMES):
        for seed in range(settings.seeds):
            scores = _classes(
                jnp.asarray(gram),
                jnp.asarray(clean),
                jax.random.fold_in(key, 1000 * i + seed),
                rows=settings.class_rows,
                rounds=settings.class_rounds,
                regime=regime,
                noise=settings.class_noise,
                ridge=settings.generator_ridge,
            )
            decided = np.asarray(scores).argmax(axis=2)
            found[i, seed] = (decided == classes).mean(axis=1)
            if seed == 0:
                labels[i] = decided[:, : settings.shown]
    return Stage(
        numbers(
            accuracy=found,
            labels=labels,
            pictures=shown[: settings.shown],
            classes=classes[: settings.shown],
            regimes=np.array(REGIMES),
        ),
        [],
    )


def _of(stage, source: str):
    """The stage on a set of images, left out where the set is not installed."""

    def run(settings, key) -> Stage:
        try:
            pictures = images.load(source)
        except FileNotFoundError as error:
            return Stage({}, remarks=[f"left out: {error}"])
        return stage(settings, key, pictures)

    return run


digits_ridge, clothing_ridge = _of(_ridge, "digits"), _of(_ridge, "fashion-mnist")
digits_size, clothing_size = _of(_size, "digits"), _of(_size, "fashion-mnist")
digits_accuracy, clothing_accuracy = _of(_accuracy, "digits"), _of(_accuracy, "fashion-mnist")
