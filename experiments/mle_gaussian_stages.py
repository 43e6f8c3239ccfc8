"""Stages of ``iterative_mle``: death of a Gaussian, consistency, Gaussian fits of real images. Numbers only."""

from typing import Any

import jax
import numpy as np

from collapse_jax.results import get
from collapse_jax.simulate.mle import exact_chain
from collapse_jax.specs.mle import MLESpec
from experiments.harness import Stage
from experiments.mle_mean_stages import REPLICATES, judged

SIZES = (5, 10, 50)
LEVEL = 0.3


def gaussian(settings, key) -> Stage:
    """M-F3: paths of the fitted scale, W2 of both divisors, survival of spread, the level that accumulation keeps."""
    rounds, per = settings.death_rounds, settings.death_chains // REPLICATES
    names = ("mean_scale", "typical_scale", "w2", "survival", "paper", "by_mean", "by_moment")
    arrays: dict[str, list] = {
        name: [] for name in ("paths", "w2_found", "survival_found", "kept", "kept_found", *names)
    }
    rows, ends = [], []
    for place, size in enumerate(SIZES):
        spec = MLESpec("normal", batch=size, threshold=LEVEL)
        seed = jax.random.fold_in(key, place)
        arrays["paths"].append(np.asarray(exact_chain(spec, rounds, 50, seed, samples=1)["fitted_scale"].values))

        def law(id, spec=spec):
            return np.asarray(get(id).predict(spec, rounds).values)

        both, seen = [], []
        for number, divisor in enumerate(("n", "n-1")):
            other = MLESpec("normal", batch=size, threshold=LEVEL, divisor=divisor)
            run = exact_chain(other, rounds, REPLICATES, jax.random.fold_in(seed, number), samples=per)
            both.append(law("MLE-7/w2", other))
            seen.append(np.asarray(run["w2"].values).mean(axis=0))
            if divisor == "n":
                arrays["survival_found"].append(np.asarray(run["survival"].values).mean(axis=0))
                ids = ("MLE-7/log", "MLE-7/spread", "MLE-10", "MLE-10/mean", "MLE-10/moment")
                rows += [judged(id, f"n = {size}", other, run, rounds) for id in ids]
                # ln of the variance spreads by 2 t/n: later its mean is carried by a few chains of thousands
                last = min(rounds, 2 * size)
                rows.append(judged("MLE-7/mean", f"n = {size}, {last} rounds", other, run, last))
        arrays["w2"].append(both)
        arrays["w2_found"].append(seen)
        arrays["mean_scale"].append(law("MLE-7/scale"))
        arrays["typical_scale"].append(np.exp(law("MLE-7/log") / 2))
        arrays["survival"].append(np.full(rounds + 1, LEVEL))
        for name, id in (("paper", "MLE-10"), ("by_mean", "MLE-10/mean"), ("by_moment", "MLE-10/moment")):
            arrays[name].append(law(id))
        kept = MLESpec("normal", batch=size, regime="accumulate")
        run = exact_chain(kept, 30, REPLICATES, jax.random.fold_in(seed, 9), samples=per)
        arrays["kept"].append(np.asarray(get("MLE-8").predict(kept, 30).values))
        arrays["kept_found"].append(np.asarray(run["fitted_variance"].values).mean(axis=0))
        ends.append(float(get("MLE-8/limit").predict(kept, 30).values))
        rows.append(judged("MLE-8", f"n = {size}, kept", kept, run, 30))
    stacked = {name: np.stack(values) for name, values in arrays.items()}
    return Stage(stacked | {"sizes": np.array(SIZES), "kept_end": np.array(ends), "level": np.array(LEVEL)}, rows)


def _clipped_beta(rng, theta: float, size: int, rounds: int, runs: int) -> np.ndarray:
    """Errors of theta when points are kept as float32 x = U^(1/theta) and clipped at 1e-6: what not to do."""
    model = np.full(runs, theta)
    total, errors = np.zeros(runs), []
    for t in range(1, rounds + 1):
        x = (rng.random((runs, size)) ** (1 / model[:, None])).astype(np.float32)
        total += -np.log(np.maximum(x, np.float32(1e-6))).astype(float).sum(axis=1)
        model = size * t / total
        errors.append(np.abs(model - theta))
    return np.array(errors)


STEPS, RATE = 100, 0.02


def _stepped_beta(rng, theta: float, size: int, rounds: int, runs: int) -> np.ndarray:
    """Errors of theta when ``STEPS`` gradient steps from 1 take the place of the maximum: what an optimiser adds."""
    model, total, errors = np.full(runs, theta), np.zeros(runs), []
    for t in range(1, rounds + 1):
        total += rng.gamma(size, 1 / model)  # -ln x of the batch
        model = np.ones(runs)
        for _ in range(STEPS):
            model = np.maximum(model + RATE * (1 / model - total / (size * t)), 1e-3)
        errors.append(np.abs(model - theta))
    return np.array(errors)


def consistency(settings, key) -> Stage:
    """M-F6: error of the fit by round when every batch is kept, and its growth against theta_0 for beta(theta, 1)."""
    rounds, runs, sizes = settings.horizon, settings.runs, (20, 50, 100)
    families: dict[Any, dict[str, Any]] = {
        "normal": {"variance": 1.0},
        "exponential": {"mean": 1.0},
        "beta": {"mean": 0.5},
    }
    errors, laws, rows = [], [], []
    for place, (family, fields) in enumerate(families.items()):
        for number, size in enumerate(sizes):
            spec = MLESpec(family, batch=size, regime="accumulate", **fields)
            seed = jax.random.fold_in(key, 10 * place + number)
            run = {k: np.asarray(v.values) for k, v in exact_chain(spec, rounds, runs, seed, samples=1).items()}
            off = {"normal": run.get("w2"), "exponential": run["variance"]}.get(family)
            errors.append(np.abs(run["inverse_mean"] - 0.5) if off is None else np.sqrt(off))
            # leading order: the squared error is n^-1 times the trace of the inverse information
            scale = {"normal": 1.5, "exponential": 1.0, "beta": 0.25}[family]
            sums = np.concatenate([[0], np.cumsum(1 / np.arange(1, rounds + 1) ** 2)])
            laws.append(np.sqrt(scale / size * sums))
    grid = np.array([0.1, 0.2, 0.4, 0.7, 1.0])
    spec = MLESpec("beta", batch=100, regime="accumulate", mean=0.5)
    ratios, clipped, stepped = [], [], []
    for place, theta in enumerate(grid):
        spec = MLESpec("beta", batch=100, regime="accumulate", mean=float(theta))
        run = exact_chain(spec, rounds, 40 * runs, jax.random.fold_in(key, 100 + place), samples=1)
        off = np.abs(np.asarray(run["inverse_mean"].values) - theta)
        ratios.append(
            [off[:, -1].mean() / off[:, 1].mean(), (off[:, -1] / off[:, 1].mean()).std() / (40 * runs) ** 0.5]
        )
        rng = np.random.default_rng(int(jax.random.randint(jax.random.fold_in(key, 200 + place), (), 0, 2**31 - 1)))
        for way, kept in ((_clipped_beta, clipped), (_stepped_beta, stepped)):
            wrong = way(rng, float(theta), 100, rounds, 2 * runs)
            kept.append([wrong[-1].mean() / wrong[0].mean(), wrong[-1].std() / wrong[0].mean() / (2 * runs) ** 0.5])
    spec = MLESpec("normal", batch=400, regime="accumulate")
    run = exact_chain(spec, 8, REPLICATES, jax.random.fold_in(key, 300), samples=2000)
    rows.append(judged("MLE-17", "normal, n = 400", spec, run, 8))
    spec = MLESpec("gaussian", batch=20, threshold=0.35, regime="accumulate")
    run = exact_chain(spec, 50, REPLICATES, jax.random.fold_in(key, 301), samples=500)
    rows.append(judged("MLE-16", "location, n = 20", spec, run, 50))
    arrays = {"errors": np.stack(errors), "laws": np.stack(laws), "sizes": np.array(sizes), "grid": grid}
    arrays |= {
        "families": np.array(list(families)),
        "ratios": np.array(ratios),
        "clipped": np.array(clipped),
        "stepped": np.array(stepped),
    }
    return Stage(arrays, rows)


def _fit_and_draw(rng, mean, root, size: int):
    return mean + rng.normal(size=(size, len(mean))) @ root.T


def _pictures(rng, basis, centre, variances, size: int, shown: tuple[int, ...]) -> np.ndarray:
    """Four points of the fitted Gaussian at the rounds ``shown``, by policy, as images."""
    start = np.sqrt(variances)
    out = []
    for policy in ("replace", "accumulate", "20 % real"):
        mean, root, pool, rows = np.zeros(len(variances)), np.diag(start), None, []
        for t in range(max(shown) + 1):
            if t in shown:
                rows.append(centre + _fit_and_draw(rng, mean, root, 4) @ basis.T)
            batch = _fit_and_draw(rng, mean, root, size)
            if policy == "20 % real":
                batch[: size // 5] = rng.normal(size=(size // 5, len(start))) * start
            pool = batch if pool is None or policy != "accumulate" else np.concatenate([pool, batch])
            mean = pool.mean(axis=0)
            root = np.transpose(np.linalg.qr((pool - mean) / len(pool) ** 0.5, mode="r"))
        out.append(np.stack(rows))
    return np.stack(out)


def images(settings, key) -> Stage:
    """M-F9: ln det and trace of Gaussian fits of digits in principal components, and what the fits draw."""
    from collapse_jax.data.images import centred, digits

    data = digits()
    points, mean = centred(data)
    basis, singular, _ = np.linalg.svd(np.asarray(points, float), full_matrices=False)
    p, size, rounds = settings.components, settings.image_batch, settings.image_rounds
    variances = singular[:p] ** 2 / points.shape[1]
    policies = {
        "replace": {},
        "accumulate": {"regime": "accumulate"},
        "20 % real": {"real_fraction": 0.2, "split": "fixed"},
    }
    volumes, traces, rows, laws, kept = [], [], [], [], np.empty(0)
    for place, (name, fields) in enumerate(policies.items()):
        spec = MLESpec("normal", variance=tuple(variances / variances.sum()), batch=size, **fields)
        run = exact_chain(spec, rounds, REPLICATES, jax.random.fold_in(key, place), samples=2)
        volumes.append(np.asarray(run["log_volume"].values))
        traces.append(np.asarray(run["fitted_variance"].values).sum(axis=2))
        if name == "replace":
            rows.append(judged("MLE-9", "digits, replace", spec, run, rounds))
            # means of multiplicative chains are honest for few rounds only: later a few large ones carry them
            rows.append(judged("MLE-9/covariance", "digits, replace", spec, run, 3, relevant=0.2))
            laws = [np.asarray(get(id).predict(spec, rounds).values) for id in ("MLE-9", "MLE-9/covariance")]
        if name == "accumulate":
            rows.append(judged("MLE-8", "digits, accumulate", spec, run, rounds))
            kept = np.asarray(get("MLE-8").predict(spec, rounds).values).sum(axis=1)
    shown = tuple(t for t in (0, 1, 5, 20, 60) if t <= rounds)
    rng = np.random.default_rng(int(jax.random.randint(jax.random.fold_in(key, 99), (), 0, 2**31 - 1)))
    pictures = _pictures(rng, basis[:, :p], np.asarray(mean, float), variances, size, shown)
    side = round(pictures.shape[-1] ** 0.5)
    arrays = {
        "volumes": np.stack(volumes),
        "traces": np.stack(traces),
        "volume_law": laws[0],
        "trace_law": np.stack([laws[1].sum(axis=1), kept]),
        "pictures": pictures.reshape(*pictures.shape[:-1], side, side),
        "shown": np.array(shown),
        "names": np.array(list(policies)),
        "components": np.array(p),
        "batch": np.array(size),
    }
    return Stage(arrays, rows)
