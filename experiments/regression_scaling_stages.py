"""Stages of ``regression_scaling_laws``. Numbers only, no figures."""

from dataclasses import replace

import jax
import numpy as np

from collapse_jax.check import check
from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.simulate.regression_scaling import parts
from collapse_jax.specs.regression import RegressionSpec, power_law
from collapse_jax.trajectory import Prediction, Trajectory
from experiments.harness import ROW_RATE, Stage, row
from experiments.regression_stages import numbers

DECAY, SMOOTH = 1.5, 0.5
SHOWN = np.array([0, 1, 2, 5, 10])
GRID = 25
"""Ridges that are tried where the best one is shown, as powers of T."""


def member(rows: int, dimension: int, made: int, noise: float) -> RegressionSpec:
    """One regression under the power law."""
    return RegressionSpec(
        **power_law(dimension, DECAY, SMOOTH),
        learner_samples=rows,
        learner_noise=0.0,
        generator_samples=made,
        generator_noise=noise,
    )


def lines(spec: RegressionSpec) -> tuple[np.ndarray, np.ndarray]:
    """``[2, shown]``, errors at the ridge for clean data and at the best ridge, and the best ridges ``[shown]``."""
    rows = float(spec.learner_samples)
    ridges = rows ** -np.linspace(DECAY, 0, GRID)

    def errors(ridge):
        return get("REG-7").predict(replace(spec, learner_ridge=ridge), int(SHOWN[-1])).values

    found = np.asarray(jax.jit(lambda ridges: jax.lax.map(errors, ridges))(jax.numpy.asarray(ridges)))[:, SHOWN]
    best = found.argmin(axis=0)
    return np.stack([found[0], found[best, np.arange(len(SHOWN))]]), ridges[best]


def dots(settings, key, noise: float, rows: int, dimension: int, made: int, best):
    """``[2, 2, shown]``, means and standard errors at both ridges (bias and n times the fake part), and a verdict."""
    spec = RegressionSpec(
        dimension=dimension, learner_samples=rows, generator_samples=made, decay=DECAY, smoothness=SMOOTH
    )
    ridges = [[float(rows) ** -DECAY, *best]]
    found = parts(spec, 1, settings.replicates, key, samples=1, rows=np.array([float(rows)]), ridges=ridges, grow=False)
    bias, fake = np.asarray(found.bias)[:, 0], np.asarray(found.fake)[:, 0]
    clean = bias[:, :1] + SHOWN * noise**2 * fake[:, :1]
    adapted = bias[:, 1:] + SHOWN * noise**2 * fake[:, 1:]
    runs = np.stack([clean, adapted])
    plain = replace(member(rows, dimension, made, noise), learner_ridge=float(rows) ** -DECAY)
    predicted = get("REG-7").predict(plain, int(SHOWN[-1]))
    chosen = Prediction(predicted.values[SHOWN], predicted.margin[SHOWN], "REG-7", "error", "asymptotic")
    verdict = compare(chosen, Trajectory(clean, 0.0, "error"), relevant=0.2, error_rate=ROW_RATE)
    means = np.stack([runs.mean(axis=1), runs.std(axis=1, ddof=1) / np.sqrt(settings.replicates)])
    return means, row(f"T = {rows}, d = {dimension}, clean ridge", verdict, samples=1)


def scaling(settings, key) -> Stage:
    """R-F5: d = T and T_0 = 2T, and d, T_0 fixed; clean and best ridge; noises of n generators add up in the mean."""
    rows = 2 ** np.arange(7, settings.largest + 1)
    arrays: dict = {"rows": rows, "shown": SHOWN, "fixed_dimension": settings.fixed_dimension}
    remarks, rows_of_table = [], []
    for place, name in enumerate(("ratio", "fixed")):
        measured = settings.measured if name == "ratio" else settings.fixed_measured
        law, mean, error = [], [], []
        for count in sorted({*rows.tolist(), *measured}):
            size = count if name == "ratio" else settings.fixed_dimension
            line, best = lines(member(count, size, 2 * size, settings.noise))
            if count in rows:
                law.append(line)
            if count in measured:
                seed = jax.random.fold_in(key, 10**6 * place + count)
                found, judged = dots(settings, seed, settings.noise, count, size, 2 * size, best)
                rows_of_table.append(judged)
                mean.append(found[0])
                error.append(found[1])
        arrays[f"{name}_law"] = np.moveaxis(np.stack(law), 0, -1)
        arrays[f"{name}_mean"], arrays[f"{name}_error"] = (np.moveaxis(np.stack(one), 0, -1) for one in (mean, error))
        arrays[f"{name}_rows"] = np.array(measured)
        last = np.log2(arrays[f"{name}_law"][..., -1] / arrays[f"{name}_law"][..., -2])
        remarks.append(
            f"{name}: slopes of the last octave, clean ridge {last[0].round(2)}, best ridge {last[1].round(2)}"
        )
    spec = replace(member(128, 128, 256, settings.noise), learner_ridge=1.0)
    arrays["exponent"] = float(get("REG-13").predict(spec, 1).values)
    return Stage(numbers(**arrays), rows_of_table, remarks)


def exponents(settings, key) -> Stage:
    """Verdicts on the exponents of REG-12 to REG-14 at their own examples."""
    rows, seen = [], []
    ids = ("REG-12", "REG-12/bias", "REG-12/noise", "REG-12/df", "REG-13", "REG-13/plateau", "REG-14", "REG-14/rise")
    for place, id in enumerate(ids):
        done = check(id, key=jax.random.fold_in(key, place), replicates=settings.slope_replicates)
        rows.append(row("own example", done.verdict, samples=done.result.samples))
        seen.append([np.ravel(done.prediction.values)[0], np.ravel(np.asarray(done.trajectory.values).mean(axis=0))[0]])
    return Stage(numbers(exponents=np.asarray(seen)), rows)
