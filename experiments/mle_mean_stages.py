"""Stages of ``iterative_mle``: families of quadratic variance, data policies, weights. Numbers only, no figures."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.simulate.mle import brute_force_chain, exact_chain
from collapse_jax.specs.mle import MLESpec
from experiments.harness import ROW_RATE, Stage, row

REPLICATES = 64
MEMBERS: dict[str, dict[str, Any]] = {
    "bernoulli": {"mean": 0.3},
    "binomial": {"mean": 1.5, "size": 5.0},
    "poisson": {"mean": 2.0},
    "gaussian": {"variance": 2.0},
    "exponential": {"mean": 1.5},
    "gamma": {"mean": 1.5, "size": 2.0},
    "negative-binomial": {"mean": 2.0, "size": 3.0},
}


def judged(id: str, chain: str, spec, run, rounds: int, *, relevant: float = 0.1) -> dict:
    """Row of one registered result, held against the first ``rounds`` rounds of a run of the same spec."""
    result = get(id)
    found = run[result.observable]
    if result.curve:
        found = replace(found, values=found.values[:, : rounds + 1], resolution=found.resolution[: rounds + 1])
    verdict = compare(result.predict(spec, rounds), found, relevant=relevant, error_rate=ROW_RATE)
    return row(chain, verdict, samples=int(np.ravel(spec.batch)[0]))


def atlas(settings, key) -> Stage:
    """M-F1: variance of the fitted mean by round in units of V(m_0), each family, replace and accumulate."""
    rounds, per = settings.rounds, max(settings.chains // REPLICATES, 1)
    shape = (len(settings.families), 2, len(settings.sizes))
    law, found = np.empty((*shape, rounds + 1)), np.empty((*shape, REPLICATES, rounds + 1))
    rows = []
    for i, family in enumerate(settings.families):
        for j, (regime, id) in enumerate(REGIMES):
            for k, size in enumerate(settings.sizes):
                spec = MLESpec(family, batch=size, regime=regime, **MEMBERS[family])
                unit = float(get("MLE-1/spread").predict(spec, 0).values[0])
                run = exact_chain(spec, rounds, REPLICATES, jax.random.fold_in(key, 100 * i + 10 * j + k), samples=per)
                law[i, j, k] = np.asarray(get(id).predict(spec, rounds).values) / unit
                found[i, j, k] = np.asarray(run["variance"].values) / unit
                # where the variance grows with the square of the mean, a mean over chains is soon carried by few
                # of them (ln m_t has variance t/n): what no number of chains could show is not judged
                last = min(rounds, size // 2) if family in WILD and regime == "replace" else rounds
                rows.append(judged(id, f"{family}, n = {size}, {last} rounds", spec, run, last))
    arrays = {"law": law, "found": found.mean(axis=3), "error": found.std(axis=3, ddof=1) / REPLICATES**0.5}
    arrays |= {"families": np.array(settings.families), "sizes": np.array(settings.sizes)}
    return Stage(arrays, rows)


WILD = ("exponential", "gamma", "negative-binomial")
REGIMES: tuple[tuple[Any, str], ...] = (("replace", "MLE-1"), ("accumulate", "MLE-1/accumulate"))
POLICIES: dict[str, Any] = {
    "replace": ({}, "MLE-1", None),
    "accumulate": ({"regime": "accumulate"}, "MLE-1/accumulate", "MLE-2"),
    "10 % random": ({"real_fraction": 0.1}, "MLE-3", "MLE-3/limit"),
    "10 % fixed": ({"real_fraction": 0.1, "split": "fixed"}, "MLE-3/fixed", "MLE-3/limit"),
    "50 % random": ({"real_fraction": 0.5}, "MLE-3", "MLE-3/limit"),
    "50 % fixed": ({"real_fraction": 0.5, "split": "fixed"}, "MLE-3/fixed", "MLE-3/limit"),
    "50 % anchor": ({"real_fraction": 0.5, "split": "fixed", "real": "anchor"}, "MLE-5", "MLE-5/limit"),
    "golden": ({"real_fraction": 0.5, "split": "fixed", "real_weight": (5**0.5 - 1) / 2}, None, "MLE-4"),
}


def policies(settings, key) -> Stage:
    """M-F2: n Var of a Gaussian location by round under every data policy, with its limit."""
    size, rounds = 100, settings.policy_rounds
    arrays, rows = {"names": np.array([*POLICIES, "drawn with", "drawn without"])}, []
    laws, found, errors, ends = [], [], [], []
    for place, (name, (fields, id, end)) in enumerate(POLICIES.items()):
        # the golden weight is about 100 real beside 100 synthetic points
        batch = 200 if name == "golden" else size
        spec = MLESpec("gaussian", batch=batch, **fields)
        per = settings.policy_chains // REPLICATES
        run = exact_chain(spec, rounds, REPLICATES, jax.random.fold_in(key, place), samples=per)
        values = np.asarray(run["variance"].values) * size
        found.append(values.mean(axis=0))
        errors.append(values.std(axis=0, ddof=1) / REPLICATES**0.5)
        law = np.full(rounds + 1, np.nan) if id is None else size * np.asarray(get(id).predict(spec, rounds).values)
        laws.append(law)
        ends.append(np.nan if end is None else size * float(get(end).predict(spec, rounds).values))
        if id is not None:
            rows.append(judged(id, name, spec, run, rounds, relevant=0.2))
        if name == "golden":
            rows.append(judged("MLE-4", name, spec, run, rounds, relevant=0.2))
    for place, how in enumerate(("with", "without")):
        spec = MLESpec("gaussian", batch=size, regime="accumulate-subsample", replacement=how)
        shown = settings.drawn_rounds
        per = max(settings.drawn_chains // 20, 1)
        run = brute_force_chain(spec, shown, 20, jax.random.fold_in(key, 50 + place), samples=per)
        values = np.asarray(run["variance"].values) * size
        pad = np.full(rounds - shown, np.nan)
        found.append(np.concatenate([values.mean(axis=0), pad]))
        errors.append(np.concatenate([values.std(axis=0, ddof=1) / 20**0.5, pad]))
        laws.append(size * np.asarray(get("MLE-6").predict(spec, rounds).values))
        ends.append(np.pi**2 / 3 if how == "with" else np.pi**2 / 2 - 2)
        rows.append(judged("MLE-6", f"drawn {how}", spec, run, shown, relevant=0.6))
    arrays |= {"law": np.stack(laws), "found": np.stack(found), "error": np.stack(errors), "end": np.array(ends)}
    return Stage(arrays, rows)


RATIOS = {0.2: (50, 10), 1.0: (40, 40), 3.0: (20, 60), 20.0: (10, 200)}
"""Synthetic points for each real one: how many of both."""


def weights(settings, key) -> Stage:
    """M-F4: stationary n D/V against the weight of the real part, for several ratios; the best weight of each."""
    grid = np.linspace(0.03, 1, 98)
    looks = np.linspace(0.15, 0.95, 9)
    curves, found, errors, best, rows = [], [], [], [], []
    for place, (ratio, (real, made)) in enumerate(RATIOS.items()):
        fields = {"family": "gaussian", "batch": real + made, "real_fraction": real / (real + made), "split": "fixed"}
        spec = MLESpec(**fields, real_weight=0.5)
        one = jax.jit(
            jax.vmap(lambda w, fields=fields: get("MLE-4").predict(MLESpec(**fields, real_weight=w), 0).values)
        )
        curves.append(real * np.asarray(one(jnp.asarray(grid))))
        best.append(float(get("MLE-4/weight").predict(spec, 0).values))
        measured = []
        for number, weight in enumerate(looks):
            spec = MLESpec(**fields, real_weight=float(weight))
            per = settings.weight_chains // REPLICATES
            run = exact_chain(spec, 40, REPLICATES, jax.random.fold_in(key, 20 * place + number), samples=per)
            measured.append(real * np.asarray(run["last_variance"].values))
            if number == 4:
                rows.append(judged("MLE-4", f"{ratio:g} synthetic per real", spec, run, 40, relevant=0.3))
        found.append(np.mean(measured, axis=1))
        errors.append(np.std(measured, axis=1, ddof=1) / REPLICATES**0.5)
    arrays = {"grid": grid, "looks": looks, "ratios": np.array(list(RATIOS)), "best": np.array(best)}
    return Stage(arrays | {"law": np.stack(curves), "found": np.stack(found), "error": np.stack(errors)}, rows)
