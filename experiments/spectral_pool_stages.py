"""Stages of ``spectral_finite_samples``: variance of the modes of finite pools. Numbers only, no figures."""

import jax
import numpy as np

from collapse_jax.results import get
from collapse_jax.simulate.spectral import measure
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory import spectral as theory
from experiments.harness import Stage
from experiments.spectral_stages import verdict

TOGETHER = 16
"""Chains of a replicate: a variance over fewer is so skewed that verdicts would be liberal."""


def _measured(spec, settings, key):
    """``[replicates, order + 1]``, M Var of the stationary coefficients over ``TOGETHER`` chains each."""
    run = measure("pool_variance", spec, 0, settings.chains // TOGETHER, key, samples=TOGETHER * spec.pool_size)
    return np.asarray(run["pool_variance"].values)


def variance(settings, key) -> Stage:
    """S-F7: M Var of each mode for several pool sizes and real shares, with the exact law and its leading order."""
    shape = (len(settings.shares), len(settings.pool_sizes))
    measured = np.empty((*shape, settings.chains // TOGETHER, settings.order + 1))
    exact, leading = (np.empty((*shape, settings.order + 1)) for _ in range(2))
    rows = []
    for i, share in enumerate(settings.shares):
        for j, size in enumerate(settings.pool_sizes):
            fields = {"real_fraction": share, "truncation": 0.1, "pool_size": size}
            spec = SpectralSpec(**theory.DATA, **fields, order=settings.order)
            seed = jax.random.fold_in(key, 10 * i + j)
            measured[i, j] = _measured(spec, settings, seed)
            exact[i, j] = get("SP-13").predict(spec, 0).values
            leading[i, j] = get("SP-13/leading").predict(spec, 0).values
            low = SpectralSpec(**theory.DATA, **fields, order=3)
            chain = f"a = {share:g}, M = {size}"
            budget = {"replicates": settings.chains // TOGETHER, "samples": TOGETHER * size}
            rows.append(verdict("SP-13", chain, low, seed, **budget, relevant=0.2))
    arrays = {
        "shares": settings.shares,
        "sizes": settings.pool_sizes,
        "measured": measured,
        "exact": exact,
        "leading": leading,
    }
    return Stage({name: np.asarray(values) for name, values in arrays.items()}, rows)


def truncation(settings, key) -> Stage:
    """Without real data only truncation holds the pool together: M Var of the second and third mode against t0."""
    times, chosen = np.geomspace(0.01, 1.0, settings.truncations), [1, 2, 3]
    size = settings.pool_sizes[0]
    measured = np.empty((len(settings.shares), len(times), settings.chains // TOGETHER, len(chosen)))
    exact = np.empty((len(settings.shares), len(times), len(chosen)))
    for i, share in enumerate(settings.shares):
        for j, time in enumerate(times):
            fields = {"real_fraction": share, "truncation": time, "pool_size": size}
            spec = SpectralSpec(**theory.DATA, **fields, order=3)
            measured[i, j] = _measured(spec, settings, jax.random.fold_in(key, 100 * i + j))[:, chosen]
            exact[i, j] = np.asarray(get("SP-13").predict(spec, 0).values)[chosen]
    arrays = {"times": times, "shares": settings.shares, "orders": chosen, "measured": measured, "exact": exact}
    return Stage({**{name: np.asarray(values) for name, values in arrays.items()}, "size": np.asarray(size)})
