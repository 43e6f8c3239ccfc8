"""Stages of ``dae_weight_norm``: collapse without real data (D-F1 to D-F4, D-F7). Numbers only, no figures."""

import jax
import numpy as np

from collapse_jax.check import check
from collapse_jax.simulate.dae import exact_chain, measure
from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory import dae
from collapse_jax.trajectory import Trajectory
from experiments.harness import Stage, observation, row

TOY = (10.0, 5.0, 2.0, 1.0, 0.5)
POPULATION = 10**12
"""Points per block at which the population laws are tested. The exact sampler costs the same at any n, and at the end
of a collapse every round doubles the relative error: at 10^8 the mean of a direction is off by a third by round 22."""


def toy(settings, **fields) -> DAESpec:
    """The default toy: rank-5 spectrum in ``settings.dimension`` dimensions, sigma = 1."""
    return DAESpec(spectrum=np.pad(np.array(TOY), (0, settings.dimension - len(TOY))), **fields)


def carry(result: str, chain: str, prediction, trajectory: Trajectory, latest: int, samples: int) -> dict:
    """How far a population law carries at finite n: deviation of the replicate mean, with its standard error.

    Taken at generation ``latest``, or at the last one before it where the law is above 0.3: a ratio to an observable
    that is dying says nothing.
    """
    law = np.asarray(prediction.values)
    generation = int(np.flatnonzero(law[: latest + 1] > 0.3)[-1])
    ratio = np.asarray(trajectory.values)[:, generation] / law[generation]
    return observation(
        result,
        trajectory.observable,
        f"{chain}, generation {generation}",
        samples=samples,
        deviation=float(ratio.mean() - 1),
        error=float(ratio.std(ddof=1) / np.sqrt(len(ratio))),
    )


def collapse(settings, key) -> Stage:
    """D-F1: the operator norm falls whatever n is used."""
    ratios, sizes, generations = settings.noise_ratios, settings.samples, settings.generations
    norms = np.empty((len(ratios), len(sizes), settings.replicates, generations + 1))
    law, bound = np.empty((len(ratios), generations + 1)), np.empty((len(ratios), generations + 1))
    rows = []
    for i, ratio in enumerate(ratios):
        spec = toy(settings, resample_noise_var=ratio)
        law[i] = dae.gain_norm(spec, generations).values
        bound[i] = dae.norm_bound(spec, generations).values
        for result in ("DAE-5/gain", "DAE-7"):
            checked = check(result, spec, key=jax.random.fold_in(key, i), generations=generations, samples=POPULATION)
            rows.append(row(f"c = {ratio:g}", checked.verdict, samples=POPULATION))
        for j, samples in enumerate(sizes):
            seeds = jax.random.fold_in(key, 100 * (i + 1) + j)
            run = exact_chain(spec, generations, settings.replicates, seeds, samples=samples)
            norms[i, j] = run["gain_norm"].values
            if ratio == 1:
                prediction = dae.gain_norm(spec, generations)
                rows.append(carry("DAE-5/gain", "c = 1", prediction, run["gain_norm"], min(10, generations), samples))
    arrays = {"ratios": ratios, "samples": sizes, "gain_norm": norms, "law": law, "bound": bound}
    return Stage({k: np.asarray(v) for k, v in arrays.items()}, rows)


def spectrum(settings, key) -> Stage:
    """D-F2: weak directions die first, the effective rank falls."""
    generations, samples = settings.generations, max(settings.samples)
    spec = toy(settings)
    rows = [
        row(
            "c = 1",
            check(result, spec, key=key, generations=generations, samples=POPULATION).verdict,
            samples=POPULATION,
        )
        for result in ("DAE-5", "DAE-9", "DAE-10")
    ]
    rows.append(row("c = 0, n < d, run by run", check("DAE-18", key=key).verdict, samples=4))
    run = exact_chain(spec, generations, settings.replicates, jax.random.fold_in(key, 1), samples=samples)
    x = np.asarray(dae.spectrum(spec, generations).values)[:, : len(TOY)]
    arrays = {
        "gains": np.asarray(run["gains"].values)[:, :, : len(TOY)],
        "gains_law": x / (x + 1),
        "effective_rank": run["effective_rank"].values,
        "effective_rank_law": dae.effective_rank(spec, generations).values,
        "risk": run["excess_risk"].values,
        "risk_law": dae.excess_risk(spec, generations).values,
        "samples": samples,
    }
    return Stage({k: np.asarray(v) for k, v in arrays.items()}, rows)


def threshold(settings, key) -> Stage:
    """D-F3: who collapses and who grows, against c and the starting SNR."""
    ratios = np.linspace(0, 4, settings.grid)
    starts = np.geomspace(0.1, 30, settings.grid)

    def final(ratio, start, key):
        spec = DAESpec(spectrum=start[None], resample_noise_var=ratio)
        run = exact_chain(spec, settings.threshold_generations, 1, key, samples=20000)
        return run["spectrum"].values[0, -1, 0]

    ratio, start = np.meshgrid(ratios, starts, indexing="ij")
    keys = jax.random.split(key, ratio.size)
    ends = jax.jit(jax.vmap(final))(ratio.ravel(), start.ravel(), keys).reshape(ratio.shape)
    rows = []
    for place, c in enumerate((2.25, 2.5, 3.0)):
        spec = DAESpec(spectrum=[10.0], resample_noise_var=c)
        seed, generations = jax.random.fold_in(key, place), settings.threshold_generations
        checked = check("DAE-6", spec, key=seed, generations=generations, samples=POPULATION)
        rows.append(row(f"c = {c:g}", checked.verdict, samples=POPULATION))
    return Stage({"ratios": ratios, "starts": starts, "final": np.asarray(ends)}, rows)


def lifetimes(settings, key) -> Stage:
    """D-F4: rounds that a direction lives, against its starting SNR."""
    starts = np.geomspace(3, settings.longest_start, settings.lifetime_points)
    ratios = np.array([0.5, 1.0, 1.5, 2.0])
    measured = np.full((len(ratios), len(starts), 8), np.nan)
    lines, fine = [], np.geomspace(3, settings.longest_start, 200)
    rows = []
    for i, ratio in enumerate(ratios):
        lines.append(
            np.asarray(dae.lifetime(DAESpec(spectrum=fine[::-1].copy(), resample_noise_var=ratio)).values)[::-1]
        )
        for j, start in enumerate(starts):
            spec = DAESpec(spectrum=[start], resample_noise_var=ratio)
            enough = 2 ** int(np.ceil(np.log2(1.1 * float(dae.lifetime(spec).values[0]) + 8)))
            run = exact_chain(spec, enough, 8, jax.random.fold_in(key, 100 * i + j), samples=POPULATION)
            measured[i, j] = run["lifetime"].values[:, 0]
        spec = DAESpec(spectrum=[30.0, 10.0, 4.0], resample_noise_var=ratio)
        seed, generations = jax.random.fold_in(key, 1000 + i), 600 if ratio == 2 else 130
        checked = check("DAE-8", spec, key=seed, generations=generations, samples=POPULATION)
        rows.append(row(f"c = {ratio:g}", checked.verdict, samples=POPULATION))
    arrays = {"starts": starts, "ratios": ratios, "lifetime": measured, "fine": fine, "law": np.stack(lines)}
    return Stage(arrays, rows)


def finite_n(settings, key) -> Stage:
    """D-F7: share of runs whose norm rises in the first round, against n."""
    tops = np.array([10.0, 50.0])
    scale = 5 * (tops + 2) ** 2
    factors = np.geomspace(1 / 200, 4, settings.finite_points)
    share, samples = np.empty((len(tops), len(factors))), np.empty((len(tops), len(factors)))
    for i, top in enumerate(tops):
        spec = DAESpec(spectrum=[top] * 5)
        for j, factor in enumerate(factors):
            samples[i, j] = max(5, round(factor * scale[i]))
            seed = jax.random.fold_in(key, 100 * i + j)
            run = measure("norm_rises", spec, 1, settings.rise_runs, seed, samples=int(samples[i, j]))
            share[i, j] = np.asarray(run["norm_rises"].values)[:, 0].mean()
    checked = check("DAE-11", key=key, replicates=settings.rise_runs)
    rows = [row("c = 1, run by run", checked.verdict, samples=checked.result.samples)]
    arrays = {"tops": tops, "samples": samples, "share": share, "scale": scale}
    return Stage(arrays | {"runs": np.asarray(settings.rise_runs)}, rows)
