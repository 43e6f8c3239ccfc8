"""Stages of ``spectral_limit``: how fast the limit is reached, and how far from the data it lies. Numbers only."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.check import predict_given
from collapse_jax.compare import compare
from collapse_jax.metrics import laws
from collapse_jax.results import get
from collapse_jax.simulate.spectral import measure
from collapse_jax.specs.mixture import Mixture
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory import spectral as theory
from experiments.harness import Stage, row
from experiments.spectral_stages import verdict

GAPS = ("tv_gap", "w1_gap", "w2_gap", "kl_gap")
GAP_RESULTS = ("SP-1", "SP-8", "SP-8/w1", "SP-8/w2", "SP-8/kl", "SP-8/chi2")


def standardised(law: Mixture, *, scale: bool) -> dict:
    """Spec fields of the same one-dimensional law, centred and, with ``scale``, of variance 1."""
    unit = float(jnp.sqrt(law.covariance[0, 0])) if scale else 1.0
    return {
        "weights": law.weights,
        "means": (law.means - law.mean[None]) / unit,
        "covariances": law.covariances / unit**2,
    }


def rates(settings, key) -> Stage:
    """S-F3: distance of each round's law to the limit for raw, centred and whitened data, with the late slopes."""
    base = Mixture(**theory.DATA)
    data = {
        "raw": dict(theory.DATA),
        "centred": standardised(base, scale=False),
        "whitened": standardised(base, scale=True),
    }
    rounds, grid = settings.rate_rounds, {"samples": settings.rate_grid}
    curves, slopes, bounds, rows = [], [], [], []
    for place, (name, fields) in enumerate(data.items()):
        spec = SpectralSpec(**fields, real_fraction=0.1, truncation=0.05)
        run = measure("tv_gap", spec, rounds, 8, jax.random.fold_in(key, place), **grid)
        curves.append(np.stack([np.asarray(run[gap].values).mean(axis=0) for gap in GAPS]))
        late = np.asarray(get("SP-8/slope").predict(spec, rounds).values)
        slopes.append([*late, late[0] ** 2])
        share, scale = 1 - float(spec.real_fraction), float(spec.scale)
        bounds.append([share, share * scale, scale * np.sqrt(share), share])
        for result in map(get, GAP_RESULTS):
            judged = compare(predict_given(result, spec, rounds, run), run[result.observable])
            rows.append(row(name, judged, samples=settings.rate_grid))
    rows.append(verdict("SP-8/slope", "default", None, key))
    seed = jax.random.fold_in(key, 9)
    rows.append(verdict("SP-10", "no real data", None, seed, samples=settings.samples))
    rows += [verdict(id, "no real data", None, seed) for id in ("SP-10/w2", "SP-10/kl")]
    arrays = {"gaps": curves, "slopes": slopes, "bounds": bounds}
    return Stage({name: np.asarray(values) for name, values in arrays.items()}, rows)


def size(settings, key) -> Stage:
    """S-F4: W2 between the limit and the data against the truncation, with both bounds and the asymptote of SP-9."""
    times, shares = np.geomspace(1e-5, 0.1, settings.sizes), np.array([0.1, 0.5])
    names = ("distance", "fisher", "moment", "small")
    found = {name: np.empty((len(shares), len(times))) for name in names}
    once, referee = np.empty(len(times)), np.full((len(shares), len(times)), np.nan)
    data = Mixture(**theory.DATA)
    for i, share in enumerate(shares):
        for j, time in enumerate(times):
            spec = SpectralSpec(**theory.DATA, real_fraction=share, truncation=time)
            found["distance"][i, j] = laws.w2(theory.limit_law(spec), data)
            for name, id in zip(names[1:], ("SP-9", "SP-9/moment", "SP-9/small"), strict=True):
                found[name][i, j] = float(get(id).predict(spec, 0).values)
            once[j] = laws.w2(theory.generated_law(spec, 1), data)
            if time >= 5e-3:
                seed = jax.random.fold_in(key, 1000 * i + j)
                run = measure("limit_w2", spec, 1, 2, seed, samples=settings.rate_grid)
                referee[i, j] = float(np.asarray(run["limit_w2"].values).mean())
    rows = [
        verdict(id, "default", None, jax.random.fold_in(key, 7 + place))
        for place, id in enumerate(("SP-9", "SP-9/moment", "SP-9/small"))
    ]
    rows.append(verdict("SP-17", "default", None, jax.random.fold_in(key, 17), samples=settings.samples))
    return Stage({"times": times, "shares": shares, "once": once, "referee": referee, **found}, rows)
