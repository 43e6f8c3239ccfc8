"""Stages of ``regression_collapse``. Numbers only, no figures."""

from dataclasses import replace
from itertools import product

import jax
import numpy as np

from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.simulate.regression import exact_chain
from collapse_jax.specs.regression import RegressionSpec, power_law
from experiments.harness import ROW_RATE, Stage, row


def numbers(**arrays) -> dict[str, np.ndarray]:
    """Arrays of a stage."""
    return {name: np.asarray(values) for name, values in arrays.items()}


def held(id: str, chain: str, spec, run, generations: int, samples: int, relevant: float = 0.02) -> dict:
    """Row of one result, held against chains that were run already."""
    result = get(id)
    verdict = compare(result.predict(spec, generations), run[result.observable], relevant=relevant, error_rate=ROW_RATE)
    return row(chain, verdict, samples=samples)


def growth(settings, key) -> Stage:
    """R-F1: error against the number of generators for several d/T_0, two spectra."""
    rounds, size, rows, law, mean, error = 10, settings.dimension, [], [], [], []
    for place, steep in enumerate((False, True)):
        shape = power_law(size, 1.5, 0.5) if steep else {"spectrum": np.ones(size), "truth": np.full(size, size**-0.5)}
        for number, ratio in enumerate(settings.ratios):
            made = round(size / ratio)
            spec = RegressionSpec(**shape, learner_samples=2 * size, generator_samples=made)
            seed = jax.random.fold_in(key, 10 * place + number)
            run = exact_chain(spec, rounds, settings.replicates, seed, samples=settings.runs)
            title = f"{'power law' if steep else 'isotropic'}, d/T0 = {ratio:g}"
            rows.append(held("REG-1", title, spec, run, rounds, settings.runs, 0.05))
            values = np.asarray(run["error"].values)
            law.append(get("REG-1").predict(spec, rounds).values)
            mean.append(values.mean(axis=0))
            error.append(values.std(axis=0, ddof=1) / np.sqrt(len(values)))
    shape = (2, len(settings.ratios), rounds + 1)
    curves = [np.reshape(np.stack(one), shape) for one in (law, mean, error)]
    return Stage(numbers(law=curves[0], mean=curves[1], error=curves[2], ratios=settings.ratios, dimension=size), rows)


def regimes(settings, key) -> Stage:
    """R-F2: error of the generators in units of the first, replaced, accumulated, with real rows."""
    size, rounds, shares, rows = 8, settings.rounds, (0.05, 0.2, 0.5), []
    count = len(settings.rows)
    law = np.zeros((count, 2 + len(shares), rounds + 1))
    mean, error, levels = np.zeros_like(law), np.zeros_like(law), np.zeros((count, len(shares)))
    ends = np.zeros(count)
    for i, made in enumerate(settings.rows):
        base = RegressionSpec([1.0], dimension=size, generator_samples=made)
        cases = [("REG-5", base), ("REG-3", replace(base, regime="accumulate"))]
        cases += [("REG-5", replace(base, real_fraction=share)) for share in shares]
        first = float(get("REG-3").predict(cases[1][1], 1).values[1])
        ends[i] = float(get("REG-3/limit").predict(cases[1][1], rounds).values) / first
        for j, (id, spec) in enumerate(cases):
            run = exact_chain(
                spec, rounds, settings.replicates, jax.random.fold_in(key, 10 * i + j), samples=settings.small_runs
            )
            name = ("replace", "accumulate", *(f"real {share:.0%}" for share in shares))[j]
            rows.append(held(id, f"{name}, T0 = {made}", spec, run, rounds, settings.small_runs, 0.05))
            if j == 1:
                rows.append(held("REG-4", f"{name}, T0 = {made}", spec, run, rounds, settings.small_runs))
            values = np.asarray(run["generator_error"].values) / first
            law[i, j] = np.asarray(get(id).predict(spec, rounds).values) / first
            mean[i, j], error[i, j] = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
            if j > 1:
                levels[i, j - 2] = float(get("REG-5/limit").predict(spec, 0).values) / first
    arrays = numbers(law=law, mean=mean, error=error, levels=levels, ends=ends, rows=settings.rows, shares=shares)
    return Stage(arrays, rows)


def ridge(settings, key) -> Stage:
    """R-F3: error against the ridge for several numbers of generators, with the floor of linear learners."""
    size, shown, rows = settings.ridge_dimension, np.array([0, 1, 2, 5, 10, 20]), []
    sizes, fine = (size // 2, 3 * size // 2, 3 * size), np.logspace(-4, 2, 49)
    base = RegressionSpec([1.0], dimension=size, truth=[size**-0.5], generator_samples=2 * size)
    law, floor = np.zeros((3, len(shown), len(fine))), np.zeros((3, len(shown)))
    mean = np.zeros((3, len(shown), len(settings.ridges)))
    error = np.zeros_like(mean)
    curve = jax.jit(
        jax.vmap(lambda spec, ridge: get("REG-7").predict(replace(spec, learner_ridge=ridge), 20).values, (None, 0))
    )
    for i, count in enumerate(sizes):
        spec = replace(base, learner_samples=count)
        law[i] = np.asarray(curve(spec, jax.numpy.asarray(fine))).T[shown]
        floor[i] = np.asarray(get("REG-15").predict(spec, 20).values)[shown]
        for j, value in enumerate(settings.ridges):
            one = replace(spec, learner_ridge=value)
            seed = jax.random.fold_in(key, 100 * i + j)
            run = exact_chain(one, 20, settings.ridge_replicates, seed, samples=1)
            values = np.asarray(run["error"].values)[:, shown]
            mean[i, :, j], error[i, :, j] = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
            title = f"T = {count}, ridge {value:g}"
            rows.append(held("REG-7", title, one, run, 20, 1, 0.2))
            rows.append(held("REG-15", title, one, run, 20, 1, 0.2))
    arrays = numbers(
        law=law, floor=floor, mean=mean, error=error, fine=fine, ridges=settings.ridges, shown=shown, rows=sizes
    )
    return Stage(arrays | {"dimension": np.asarray(size)}, rows)


def few_rows(settings, key) -> Stage:
    """R-F4: generators with fewer rows than directions, and which directions a power law forgets first."""
    size, rounds, ratios, noises, rows = 40, 15, (0.3, 0.6, 0.9, 1.5), (0.0, 0.3), []
    law = np.zeros((2, len(noises), len(ratios), rounds + 1))
    mean = np.zeros_like(law)
    for i, noise in enumerate(noises):
        for j, ratio in enumerate(ratios):
            spec = RegressionSpec(
                [1.0],
                dimension=size,
                truth=[size**-0.5],
                generator_samples=round(ratio * size),
                generator_noise=noise,
            )
            seed = jax.random.fold_in(key, 10 * i + j)
            run = exact_chain(spec, rounds, settings.replicates, seed, samples=settings.few_runs)
            pairs = (("REG-8", "generator_error"), ("REG-8/signal", "signal"))
            pairs = pairs if noise else (("REG-9/error", "generator_error"), ("REG-9", "signal"))
            for k, (id, name) in enumerate(pairs):
                rows.append(held(id, f"T0/d = {ratio:g}, noise {noise:g}", spec, run, rounds, settings.few_runs, 0.05))
                law[k, i, j] = get(id).predict(spec, rounds).values
                mean[k, i, j] = np.asarray(run[name].values).mean(axis=0)
    spec = RegressionSpec(**power_law(size, 1.5, 0.5), generator_samples=size // 2, generator_noise=0.0)
    run = exact_chain(spec, rounds, settings.replicates, jax.random.fold_in(key, 99), samples=settings.few_runs)
    rows.append(held("REG-11", "power law, T0 = d/2", spec, run, rounds, settings.few_runs, 0.3))
    truth = np.asarray(spec.truth)
    return Stage(
        numbers(
            law=law,
            mean=mean,
            ratios=ratios,
            noises=noises,
            kept=np.asarray(run["coordinates"].values).mean(axis=0) / truth,
            kept_law=np.asarray(get("REG-11").predict(spec, rounds).values) / truth,
        ),
        rows,
    )


def step(settings, key) -> Stage:
    """R-F6: predicted against measured errors over many settings."""
    size, rounds, rows, points = settings.step_dimension, 3, [], []
    sizes = (size // 2, 2 * size)
    grid = list(product((False, True), sizes, (0.0, 0.05), sizes, (0.0, 0.05)))
    for number, (steep, made, made_ridge, count, ridge) in enumerate(grid):
        shape = power_law(size, 1.5, 0.5) if steep else {"spectrum": [1.0], "truth": [0.3], "dimension": size}
        spec = RegressionSpec(
            **shape,
            learner_samples=count,
            learner_ridge=ridge,
            generator_samples=made,
            generator_ridge=made_ridge,
        )
        seed = jax.random.fold_in(key, number)
        run = exact_chain(spec, rounds, settings.replicates, seed, samples=settings.step_runs)
        title = f"{'steep' if steep else 'flat'}, T0 {made}, ridge {made_ridge:g}, T {count}, ridge {ridge:g}"
        rows.append(held("REG-6", title, spec, run, rounds, settings.step_runs, 0.3))
        predicted = get("REG-6").predict(spec, rounds)
        points.append([predicted.values, np.asarray(run["error"].values).mean(axis=0), predicted.margin])
    return Stage(numbers(points=np.asarray(points), settings=np.asarray(grid, float)), rows)
