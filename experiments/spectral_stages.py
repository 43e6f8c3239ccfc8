"""Stages of ``spectral_limit``: laws, gains, accumulation, other processes. Numbers only, no figures."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.check import check
from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.simulate.spectral import measure
from collapse_jax.simulate.spectral_particles import fresh_points, next_round, tables
from collapse_jax.specs.spectral import FREQUENCIES, Process, SpectralSpec
from collapse_jax.theory import spectral as theory
from experiments.harness import Stage, row

DATA = theory.DATA
PLANE: dict[str, Any] = {
    "weights": (0.4, 0.35, 0.25),
    "means": (-1.1, -0.6, 0.9, -0.5, 0.2, 1.3),
    "covariances": (0.12, 0.08, 0.08, 0.16, 0.10, -0.06, -0.06, 0.20, 0.25, 0.0, 0.0, 0.03),
}
"""Three bumps in the plane with full covariances."""


def verdict(id: str, chain: str, spec, key, *, samples=None, **budget) -> dict:
    """Row of one registered result, held against a simulation of ``spec``."""
    done = check(id, spec, key=key, samples=samples, **budget)
    return row(chain, done.verdict, samples=done.result.samples if samples is None else samples)


@partial(jax.jit, static_argnames="count")
def particles(spec: SpectralSpec, key, generations, *, count: int):
    """``[d, count]`` points generated in round ``generations``, each by a particle of its own."""
    table, start = tables(spec.data), jax.random.fold_in(key, generations)

    def one_round(number, points):
        seed = jax.random.fold_in(key, number)
        return next_round(seed, table, spec.real_fraction, spec.scale, spec.noise_var, points)[1]

    return jax.lax.fori_loop(0, generations, one_round, fresh_points(start, table, (count,)))


def forgotten(spec: SpectralSpec) -> int:
    """Rounds after which a particle remembers less than 1e-6 of its start."""
    return int(np.ceil(np.log(1e-6) / (np.log1p(-float(spec.real_fraction)) + float(spec.log_scale))))


def density(settings, key) -> Stage:
    """S-F1: densities of the data, of one truncation, of later rounds and of the limit; histograms of particles."""
    share = settings.real_fraction
    spec = SpectralSpec(**DATA, real_fraction=share, truncation=0.05)
    x = np.linspace(-3.2, 3.2, 641)
    edges = np.linspace(-3.2, 3.2, 65)
    laws = [theory.generated_law(spec, k) for k in settings.rounds] + [theory.limit_law(spec)]
    lines = [np.exp(np.asarray(law.log_density(jnp.asarray(x)[:, None]))) for law in [spec.data, *laws]]
    counts = []
    for generations in [*settings.rounds, forgotten(spec)]:
        points = particles(spec, key, generations, count=settings.particles)
        counts.append(np.histogram(np.asarray(points[0]), edges)[0])
    rows = [
        verdict(id, f"a = {share:g}, t0 = 0.05", spec, jax.random.fold_in(key, place), samples=settings.samples)
        for place, id in enumerate(("SP-4", "SP-5", "SP-5/pool"))
    ]
    arrays = {
        "x": x,
        "density": np.stack(lines),
        "edges": edges,
        "histogram": np.stack(counts) / (settings.particles * np.diff(edges)[0]),
        "rounds": settings.rounds,
        "real_fraction": share,
        "particles": settings.particles,
    }
    return Stage({name: np.asarray(values) for name, values in arrays.items()}, rows)


def plane(settings, key) -> Stage:
    """S-F1 in the plane: a mixture with full covariances, its limit, and particles of the limit."""
    spec = SpectralSpec(**PLANE, real_fraction=0.1, truncation=0.05, order=4)
    side = np.linspace(-2.8, 2.8, 141)
    grid = jnp.asarray(np.stack(np.meshgrid(side, side, indexing="xy"), axis=-1))
    laws = {"data": spec.data, "limit": theory.limit_law(spec)}
    lines = {name: np.exp(np.asarray(law.log_density(grid))) for name, law in laws.items()}
    points = particles(spec, key, forgotten(spec), count=settings.particles)
    bins = np.linspace(-2.8, 2.8, 57)
    counts = np.histogram2d(np.asarray(points[0]), np.asarray(points[1]), [bins, bins])[0]
    seeds = jax.random.split(jax.random.fold_in(key, 0))
    rows = [
        verdict("SP-7", "plane, a = 0.1", spec, seeds[0], samples=settings.samples),
        # the mean of this law is nearly zero: a law whose mean is not says more
        verdict("SP-7/mean", "default", None, seeds[1], samples=settings.samples),
    ]
    histogram = counts.T / (settings.particles * np.diff(bins)[0] ** 2)
    return Stage({"side": side, "edges": bins, "histogram": histogram, **lines}, rows)


def filter_stage(settings, key) -> Stage:
    """S-F2: gain of each order in the limit, measured and predicted, for several real shares and truncations."""
    orders = np.arange(settings.order + 1)
    shape = (len(settings.shares), len(settings.truncations))
    law, pool, once = (np.empty((*shape, len(orders))) for _ in range(3))
    measured = np.empty((*shape, settings.replicates, len(orders)))
    measured_pool = np.empty_like(measured)
    rows = []
    for i, share in enumerate(settings.shares):
        samples = int(settings.samples * max(1, 0.7 / share))  # looks at a slow chain are worth less each
        for j, time in enumerate(settings.truncations):
            spec = SpectralSpec(**DATA, real_fraction=share, truncation=time, order=settings.order)
            real = np.asarray(theory.data_modes(spec).values)
            law[i, j], pool[i, j] = theory.gain(orders, spec), theory.pool_gain(orders, spec)
            once[i, j] = np.exp(orders * float(spec.log_scale))
            seeds = jax.random.split(jax.random.fold_in(key, 10 * i + j))
            sides = (("limit_modes", "SP-6/limit", measured), ("pool_limit_modes", "SP-6/pool", measured_pool))
            for seed, (name, id, found) in zip(seeds, sides, strict=True):
                run = measure(name, spec, 0, settings.replicates, seed, samples=samples)[name]
                found[i, j] = np.asarray(run.values) / real
                judged = compare(get(id).predict(spec, 0), run)
                rows.append(row(f"a = {share:g}, t0 = {time:g}", judged, samples=samples))
    rows += [verdict(id, "default", None, key, samples=settings.samples) for id in ("SP-18", "SP-2")]
    arrays = {
        "orders": orders,
        "shares": settings.shares,
        "truncations": settings.truncations,
        "law": law,
        "pool_law": pool,
        "once": once,
        "gain": measured,
        "pool_gain": measured_pool,
        "samples": settings.samples,
    }
    return Stage({name: np.asarray(values) for name, values in arrays.items()}, rows)


def accumulate(settings, key) -> Stage:
    """S-F8: a fixed real share, accumulation, and accumulation with annealing: modes of the pool by round."""
    rounds, chosen = settings.pool_rounds, [1, 3, 6]
    annealed = 0.05 / np.arange(1, rounds + 1)
    specs = {
        "share": SpectralSpec(**DATA, real_fraction=0.1, truncation=0.05),
        "accumulate": SpectralSpec(**DATA, real_fraction=0.0, truncation=0.05, regime="accumulate"),
        "annealed": SpectralSpec(**DATA, real_fraction=0.0, truncation=annealed, regime="accumulate"),
    }
    arrays, rows = {}, []
    for place, (name, spec) in enumerate(specs.items()):
        id = "SP-6" if name == "share" else "SP-14"
        observable, seed = get(id).observable, jax.random.fold_in(key, place)
        real = np.asarray(theory.data_modes(spec).values)[chosen]
        predicted = np.asarray(get(id).predict(spec, rounds).values)[:, chosen]
        run = measure(observable, spec, rounds, settings.replicates, seed, samples=settings.pool_samples)
        arrays[f"{name}_law"] = predicted / real
        arrays[name] = np.asarray(run[observable].values)[..., chosen] / real
        budget = {"generations": 20, "samples": settings.pool_samples}
        rows.append(verdict(id, name, replace(spec, order=4), seed, **budget))
    return Stage({**arrays, "orders": np.asarray(chosen)}, rows)


def variants(settings, key) -> Stage:
    """S-F10: gain against order (VP, rectified flow) or frequency (VE), measured on particles."""
    orders = np.arange(settings.order + 1)
    arrays, rows = {"orders": orders, "frequencies": np.linspace(0, 6, 121)}, []
    processes: tuple[Process, ...] = ("vp", "rectified_flow")
    for place, name in enumerate(processes):
        spec = SpectralSpec(**DATA, real_fraction=0.2, truncation=0.05, process=name, order=settings.order)
        arrays[f"{name}_law"] = np.asarray(theory.gain(orders, spec))
        if name == "vp":
            seed = jax.random.fold_in(key, place)
            run = measure("limit_modes", spec, 0, settings.replicates, seed, samples=settings.samples)
            arrays[name] = np.asarray(run["limit_modes"].values) / np.asarray(theory.data_modes(spec).values)
    spec = SpectralSpec(**DATA, real_fraction=0.2, truncation=0.15, process="ve")
    decay = np.exp(-(0.15**2) * arrays["frequencies"] ** 2 / 2)
    arrays["ve_law"] = 0.2 * decay / (1 - 0.8 * decay)
    probed = np.array(FREQUENCIES)
    run = measure("fourier_modes", spec, 0, settings.replicates, key, samples=settings.samples)
    waves = np.asarray(run["fourier_modes"].values) @ np.array([1, 1j])
    weights, means, variances = (np.asarray(DATA[name]) for name in ("weights", "means", "covariances"))
    real = np.exp(1j * np.outer(probed, means) - np.outer(probed**2, variances) / 2) @ weights
    arrays |= {"probed": probed, "ve": (waves / real).real}
    rows.append(verdict("SP-15", "rectified flow", None, key, samples=settings.samples))
    seeds = jax.random.split(jax.random.fold_in(key, 10))
    rows.append(verdict("SP-15/fourier", "ve, a = 0.2, s = 0.15", spec, seeds[0], samples=settings.samples))
    # the variance of the data hides a small added one: more noise shows it
    spec = replace(spec, truncation=0.5)
    rows.append(verdict("SP-15/ve", "ve, a = 0.2, s = 0.5", spec, seeds[1], samples=settings.samples))
    return Stage({name: np.asarray(values) for name, values in arrays.items()}, rows)
