"""Stages of ``spectral_annealing``: schedules by rule and schedules by design. Numbers only, no figures."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import design as designer
from collapse_jax.metrics import laws
from collapse_jax.simulate.spectral import measure
from collapse_jax.specs.mixture import Mixture, mix
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory import spectral as theory
from collapse_jax.theory import spectral_schedules as schedules_theory
from experiments.harness import Stage
from experiments.spectral_stages import verdict

POWERS = (0.0, 0.5, 1.0, 2.0)
RATIOS = (0.97, 0.9, 0.7)


def _schedules(first: float, rounds: int) -> dict[str, tuple[float, ...]]:
    named = {"constant": schedules_theory.power_schedule(first, 0.0, rounds)}
    named |= {f"$k^{{-{p:g}}}$": schedules_theory.power_schedule(first, p, rounds) for p in POWERS[1:]}
    named |= {f"r = {r:g}": schedules_theory.geometric_schedule(first, r, rounds) for r in RATIOS}
    return named


def schedules(settings, key) -> Stage:
    """S-F5: W2 to the data by round for constant and falling truncations, with and without real data."""
    data = Mixture(**theory.DATA)
    looks = np.unique(np.round(np.geomspace(1, settings.rounds, settings.looks)).astype(int))
    named = _schedules(settings.first, settings.rounds)
    shares = np.array([settings.real_fraction, 0.0])
    lines = np.full((len(shares), len(named), len(looks)), np.nan)
    once = np.empty((len(named), len(looks)))
    dots = np.full((len(shares), len(named), settings.referee_rounds + 1), np.nan)
    for j, times in enumerate(named.values()):
        for i, share in enumerate(shares):
            spec = SpectralSpec(**theory.DATA, real_fraction=share, truncation=times)
            for place, generation in enumerate(looks):
                lines[i, j, place] = laws.w2(theory.generated_law(spec, int(generation)), data)
            # the referee's grid resolves no truncation below about a thousandth
            until = min(settings.referee_rounds, int(np.searchsorted(-np.asarray(times), -2e-3)))
            short = SpectralSpec(**theory.DATA, real_fraction=share, truncation=times[:until])
            seed = jax.random.fold_in(key, 10 * i + j)
            run = measure("annealed_w2", short, until, 2, seed, samples=settings.grid)
            dots[i, j, : until + 1] = np.asarray(run["annealed_w2"].values).mean(axis=0)
        for place, generation in enumerate(looks):
            one = SpectralSpec(**theory.DATA, real_fraction=1.0, truncation=times[generation - 1])
            once[j, place] = laws.w2(theory.generated_law(one, 1), data)
    ids = ("SP-3", "SP-11", "SP-11/bound", "SP-11/slow", "SP-11/geometric")
    rows = [verdict(id, "default", None, jax.random.fold_in(key, 100 + place)) for place, id in enumerate(ids)]
    arrays = {"names": list(named), "shares": shares, "rounds": looks, "lines": lines, "once": once, "dots": dots}
    return Stage({name: np.asarray(values) for name, values in arrays.items()}, rows)


def shifted_law(spec: SpectralSpec, times) -> Mixture:
    """Law after the rounds of a schedule in which every round also shifts its output by its error B t^-p.

    A point that entered in round j was shrunk by all later rounds and shifted by each: the sum is carried along.
    """
    times = np.asarray(times, float)
    share, shifts = float(spec.real_fraction), float(spec.error_scale) * times ** -float(spec.error_power)
    back = np.cumsum(times[::-1])[::-1]  # smoothing since the start of each round
    carried = np.cumsum((shifts * np.exp(times - back))[::-1])[::-1]
    weights = share * (1 - share) ** np.arange(len(times))[::-1]
    weights[0] += (1 - share) ** len(times)
    aged = [spec.data.smooth(np.exp(-total), -np.expm1(-2 * total)) for total in back]
    moved = [Mixture(law.weights, law.means + shift, law.covariances) for law, shift in zip(aged, carried, strict=True)]
    return mix(weights, moved)


def _searched(spec, rounds: int, count: int) -> dict[str, np.ndarray]:
    """The best constant and the best geometric schedule by search over a grid."""
    firsts, ratios = np.geomspace(3e-4, 0.5, count), np.linspace(0.85, 1.0, count // 3)
    grid = np.stack([first * ratio ** np.arange(rounds) for first in firsts for ratio in ratios])
    errors = np.asarray(jax.lax.map(lambda times: schedules_theory.design_error(spec, times), jnp.asarray(grid)))
    constant = np.isclose(grid[:, 0], grid[:, -1])
    return {"constant": grid[constant][errors[constant].argmin()], "geometric": grid[errors.argmin()]}


def design(settings, key) -> Stage:
    """S-F14: the schedule that minimises the bound on the final error, against rules and against search."""
    rounds, first = settings.design_rounds, 0.1
    rules = {"0.1 / k": schedules_theory.power_schedule(first, 1.0, rounds)}
    rules |= {"0.1 · 0.9^k": schedules_theory.geometric_schedule(first, 0.9, rounds)}
    names = ["by gradient", "geometric", "constant", *rules]
    shape = (len(settings.error_scales), len(names))
    times, bound, actual = np.empty((*shape, rounds)), np.empty(shape), np.empty(shape)
    floors, remarks = [], []
    data = Mixture(**theory.DATA)
    for i, scale in enumerate(settings.error_scales):
        spec = SpectralSpec(**theory.DATA, real_fraction=0.3, error_scale=scale, error_power=1.0)
        best = designer.optimal_schedule(spec, rounds, steps=settings.steps)
        found = {"by gradient": np.asarray(best.schedule), **_searched(spec, rounds, settings.search), **rules}
        for j, name in enumerate(names):
            times[i, j] = found[name]
            bound[i, j] = float(schedules_theory.design_error(spec, jnp.asarray(times[i, j])))
            actual[i, j] = laws.w2(shifted_law(spec, times[i, j]), data)
        floors.append(float(np.exp(schedules_theory.best_truncation(spec).values)))
        gained = bound[i, 1] / bound[i, 0] - 1
        remarks.append(f"B = {scale:g}: bound {bound[i, 0]:.4f}, {gained:.1%} below the best geometric schedule")
    rows = [verdict("SP-19", "default", None, key)]
    arrays = {
        "scales": settings.error_scales,
        "names": names,
        "schedules": times,
        "bound": bound,
        "actual": actual,
        "floors": floors,
    }
    return Stage({name: np.asarray(values) for name, values in arrays.items()}, rows, remarks)
