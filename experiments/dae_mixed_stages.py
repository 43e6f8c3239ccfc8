"""Stages of ``dae_weight_norm`` with real data, trained factors and images (D-F5, D-F6, D-F8, D-F9)."""

from dataclasses import replace

import jax
import numpy as np

from collapse_jax.check import check
from collapse_jax.compare import compare, fit_rate
from collapse_jax.data import images
from collapse_jax.simulate.dae import exact_chain
from collapse_jax.simulate.dae_data import data_chain
from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory import dae_mixed, dae_variants
from collapse_jax.trajectory import Trajectory
from experiments.dae_stages import POPULATION, carry, toy
from experiments.harness import Stage, row


def real_share(settings, key) -> Stage:
    """D-F5: the level at which a fixed real share stops the collapse."""
    tops, shares = np.array([2.0, 10.0]), np.asarray(settings.shares)
    samples, long = max(settings.samples), settings.settle
    fine = np.linspace(0, 1, 201)
    feeds = ("pool", "chain")
    measured = np.empty((len(tops), len(feeds), len(shares), settings.replicates))
    law = np.empty((len(tops), len(feeds), len(fine)))
    floor = fine[None] * tops[:, None] / (fine[None] * tops[:, None] + 1)
    rows = []
    for i, top in enumerate(tops):
        for j, feed in enumerate(feeds):
            base = DAESpec(spectrum=top * np.array([1, 0.5, 0.2, 0.1]), feed=feed)
            limit = jax.vmap(lambda a, base=base: dae_mixed.mixed_limit(replace(base, real_fraction=a)).values[0])(fine)
            law[i, j] = limit / (limit + 1)
            for k, share in enumerate(shares):
                spec = replace(base, real_fraction=float(share))
                seed = jax.random.fold_in(key, 1000 * i + 100 * j + k)
                run = exact_chain(spec, long, settings.replicates, seed, samples=samples)
                measured[i, j, k] = np.asarray(run["gain_norm"].values)[:, -1]
            spec = replace(base, real_fraction=0.3)
            seed = jax.random.fold_in(key, 7 + 10 * i + j)
            verdict = check("DAE-13", spec, key=seed, generations=long, samples=POPULATION).verdict
            rows.append(row(f"A = {top:g}, a = 0.3, {feed}-fed", verdict, samples=POPULATION))
            verdict = check("DAE-12", spec, key=seed, generations=10, samples=8).verdict
            rows.append(row(f"A = {top:g}, a = 0.3, {feed}-fed, run by run", verdict, samples=8))
    arrays = {"tops": tops, "shares": shares, "fine": fine, "gain_norm": measured, "law": law, "floor": floor}
    return Stage(arrays | {"samples": np.asarray(samples)}, rows)


def accumulate(settings, key) -> Stage:
    """D-F6: replace, keep everything, or keep a fixed share."""
    tops, blocks, samples = np.array([2.0, 6.0]), settings.blocks, max(settings.samples)
    kept = np.unique(np.geomspace(1, blocks, 60).astype(int)) - 1
    regimes = {
        "replace": {"feed": "pool"},
        "accumulate": {"feed": "pool", "regime": "accumulate"},
        "fixed share 0.1": {"feed": "pool", "real_fraction": 0.1},
    }
    measured = np.empty((len(tops), len(regimes), settings.replicates, len(kept)))
    law = np.empty((len(tops), len(regimes), len(kept)))
    late = np.empty((len(tops), len(kept)))
    rows, remarks = [], []
    for i, top in enumerate(tops):
        for j, fields in enumerate(regimes.values()):
            spec = DAESpec(spectrum=[top], **fields)
            seed = jax.random.fold_in(key, 10 * i + j)
            run = exact_chain(spec, blocks - 1, settings.replicates, seed, samples=samples)
            measured[i, j] = np.asarray(run["spectrum"].values)[:, kept, 0]
            predict = dae_mixed.accumulate_spectrum if spec.regime == "accumulate" else dae_mixed.mixed_spectrum
            law[i, j] = np.asarray(predict(spec, blocks - 1).values)[kept, 0]
            if spec.regime == "accumulate":
                curve = Trajectory(np.asarray(run["spectrum"].values)[:, :, 0])
                rate = fit_rate(curve, blocks // 10, blocks - 1, against="log generation")
                remarks.append(
                    f"A = {top:g}: SNR falls like N^({rate.slope:.4f} ± {rate.standard_error:.4f}) over the last "
                    "decade of blocks; the law tends to N^-1"
                )
        spec = DAESpec(spectrum=[top], feed="pool", regime="accumulate")
        late[i] = np.asarray(dae_mixed.accumulate_law(spec, blocks - 1).values)[kept, 0]
        seed = jax.random.fold_in(key, 100 + i)
        verdict = check("DAE-15", spec, key=seed, generations=300, samples=POPULATION).verdict
        rows.append(row(f"A = {top:g}", verdict, samples=POPULATION))
    arrays = {"tops": tops, "blocks": kept + 1, "second_moment": measured, "law": law, "late_law": late}
    return Stage(arrays | {"samples": np.asarray(samples)}, rows, remarks)


def trained(settings, key) -> Stage:
    """D-F8: two-layer linear autoencoders trained by gradient descent, generation after generation."""
    from collapse_jax.generative.dae import trained_chain

    generations, samples = settings.trained_generations, settings.trained_samples
    arms = {
        "untied": (False, 0.0),
        "tied": (True, 0.0),
        "weight decay 0.2": (False, 0.2),
    }
    ranks = np.asarray(settings.ranks)
    measured = np.empty((len(arms), len(ranks), settings.trained_seeds, generations + 1))
    law = np.empty((len(arms), len(ranks), generations + 1))
    rows = []
    for i, (arm, (tied, decay)) in enumerate(arms.items()):
        for j, rank in enumerate(ranks):
            spec = toy(settings, rank=int(rank), weight_decay=decay)
            seed = jax.random.fold_in(key, 10 * i + j)
            run = trained_chain(spec, generations, settings.trained_seeds, seed, samples=samples, tied=tied)
            measured[i, j] = run["gain_norm"].values
            gains = dae_variants.weight_decay_gains(spec, generations)
            law[i, j] = np.asarray(gains.values).max(axis=-1)
            norm = Trajectory(measured[i, j], observable="gain_norm")
            prediction = replace(gains, values=law[i, j])
            rows.append(carry("DAE-16", f"{arm}, k = {rank}", prediction, norm, generations, samples))
    return Stage({"ranks": ranks, "gain_norm": measured, "law": law, "samples": np.asarray(samples)}, rows)


def digits(settings, key) -> Stage:
    """D-F9 on the 8x8 digits that ship with scikit-learn."""
    return _pictures(settings, key, images.load("digits"), settings.image_generations, settings.image_seeds)


def clothing(settings, key) -> Stage:
    """D-F9 on Fashion-MNIST, if it is installed."""
    try:
        pictures = images.load("fashion-mnist")
    except FileNotFoundError as error:
        return Stage({}, remarks=[f"left out: {error}"])
    few = replace(pictures, images=pictures.images[:10000], labels=None)
    return _pictures(settings, key, few, settings.clothing_generations, settings.clothing_seeds)


def _pictures(settings, key, pictures, generations: int, seeds: int) -> Stage:
    points, mean = images.centred(pictures)
    dimension, samples = points.shape
    spectrum = np.linalg.eigvalsh(points @ points.T / samples)[::-1].clip(0)
    noise = float(spectrum[19])
    shares = np.asarray(settings.image_shares)
    shown = np.array([0, 1, 4, 9, 19, 39])
    side = pictures.images.shape[1:3]
    generator = np.random.default_rng(0)
    faces = points[:, : settings.faces] + np.sqrt(noise) * generator.standard_normal((dimension, settings.faces))
    measured, law, floor, grids, rows = [], [], [], [], []
    for place, share in enumerate(shares):
        spec = DAESpec(spectrum=spectrum, noise_var=noise, resample_noise_var=noise, real_fraction=float(share))
        seed = jax.random.fold_in(key, place)
        gains, maps, _ = data_chain(spec, generations, seeds, seed, data=points)
        x = np.asarray(dae_mixed.mixed_spectrum(spec, generations).values) / noise
        measured.append(np.asarray(gains.values)[:, :, shown])
        law.append((x / (x + 1))[:, shown])
        floor.append(np.asarray(dae_mixed.gain_floor(spec, generations).values)[:, shown])
        grids.append(np.asarray(maps) @ faces + mean[None, :, None])
        top = Trajectory(np.asarray(gains.values)[:, :, 0], observable="gain of PCA direction 1")
        prediction = replace(dae_mixed.mixed_spectrum(spec, generations), values=law[-1][:, 0])
        rows.append(carry("DAE-13/curve", f"{pictures.name}, a = {share:g}", prediction, top, generations, samples))
        if share > 0:
            bound = dae_mixed.gain_floor(spec, generations)
            # W >= a S (a S + sigma^2 I)^-1 holds along every direction and in every run, so it is tested run by run
            each = np.broadcast_to(np.asarray(bound.values), gains.values.shape)
            bound = replace(bound, values=each, margin=0.0, observable=gains.observable)
            rows.append(row(f"{pictures.name}, a = {share:g}, run by run", compare(bound, gains), samples=samples))
    arrays = {
        "shares": shares,
        "directions": shown + 1,
        "gains": np.stack(measured),
        "law": np.stack(law),
        "floor": np.stack(floor),
        "faces": np.stack(grids).astype(np.float32).reshape(len(shares), generations + 1, *side, settings.faces),
        "originals": (points[:, : settings.faces] + mean[:, None]).reshape(*side, settings.faces),
        "noisy": (faces + mean[:, None]).reshape(*side, settings.faces),
        "noise_var": np.asarray(noise),
        "samples": np.asarray(samples),
    }
    return Stage({k: np.asarray(v) for k, v in arrays.items()}, rows)
