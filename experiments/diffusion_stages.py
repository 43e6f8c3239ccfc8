"""Stages of ``recursive_diffusion`` (S-F9, S-F13): trained diffusion models beside the ideal laws. Numbers only.

An arm is a real share and a rule for the truncation: constant, or t_1/k in round k. One arm has no share: it keeps the
real sample and all that was generated, at a constant truncation. A trained network is never held to the ideal law: rows
say how far it is from it. What makes up the distance is told apart in three steps: the exact score in the same sampler
(steps alone), the error of the score in round 1, where the exact one is known, and, for a share, the deviation of round
1 carried on by SP-12, delta/(1 - (1 - alpha) a^m), as if every round added the same.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from collapse_jax import data
from collapse_jax.errors import SpecError
from collapse_jax.generative.networks import MLP, fresh, parameter_count
from collapse_jax.metrics.images import radial_power_of_moment
from collapse_jax.specs.mixture import Mixture
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory.spectral_laws import mixture_modes_multi
from collapse_jax.theory.spectral_pools import accumulate_modes
from collapse_jax.theory.spectral_rounds import gain, gain_path
from experiments.diffusion_chain import chain, coefficients, exact_output, gains, single
from experiments.harness import Stage, observation

LINE = ([0.5, 0.3, 0.2], [-1.2, 0.4, 1.6], [0.0625, 0.0324, 0.1225])
PLANE = ([0.5, 0.3, 0.2], [[-0.9, -0.6], [1.0, -0.4], [0.5, 1.4]], [0.15, 0.1, 0.2])
LINE_ORDERS = (1, 2, 3, 4)
DIGIT_ORDERS = (2, 3, 4)


def arms(settings) -> list[tuple[str, float | None, tuple[float, ...]]]:
    """Name, real share (None: everything is kept) and truncations of each arm."""
    rounds, first = settings.rounds, settings.truncation
    falling = tuple(first / k for k in range(1, rounds + 1))
    constant = [(f"a = {share:g}", share, (first,) * rounds) for share in settings.shares]
    annealed = [(f"a = {share:g}, annealed", share, falling) for share in settings.annealed_shares]
    return constant + annealed + ([("accumulate", None, (first,) * rounds)] if settings.accumulate else [])


def _spec(share: float, truncations) -> SpectralSpec:
    return SpectralSpec([1.0], [0.0], [1.0], real_fraction=share, truncation=truncations)


def law_of(share: float | None, truncations, orders) -> np.ndarray:
    """Ideal gains ``[rounds + 1, orders]`` of what is generated: SP-6, SP-11 for a schedule, SP-14 without a share."""
    if share is None:
        # any law will do whose modes are not 0: those of N(1, 1)
        kept = {"truncation": truncations, "order": int(max(orders)), "regime": "accumulate"}
        spec = SpectralSpec([1.0], [1.0], [1.0], real_fraction=0.0, **kept)
        pool = np.asarray(accumulate_modes(spec, len(truncations)).values)[:, list(orders)]
        # SP-14 tells the pool: round k smooths the one that k - 1 rounds have left
        made = np.exp(-np.outer(truncations, orders)) * (pool / pool[0])[:-1]
        return np.concatenate([np.ones((1, len(orders))), made])
    return np.asarray(gain_path(_spec(share, truncations), len(truncations), np.array(orders)))


def limit_of(share: float, truncation: float, orders) -> np.ndarray:
    """Ideal gains of the limit ``[orders]`` at a constant truncation (SP-6); 0 without real data."""
    return (
        np.asarray(gain(jnp.asarray(np.array(orders, float)), _spec(share, truncation)))
        if share
        else 0.0 * np.array(orders)
    )


def _arms(
    settings, key, desk, title: str, draw, real, dimension: int, orders, law=None, distinct=None
) -> tuple[dict, list[dict], list[str]]:
    """All arms and seeds: measured and ideal gains, rows and remarks; ``distinct`` real points there are, None: any."""
    laws = [law_of(share, truncations, orders) for _, share, truncations in arms(settings)]
    chains = len(laws) * settings.seeds
    _, blank = fresh(key, MLP, dimension, width=settings.width, depth=settings.depth)
    cost = (
        f"{title}: {chains} chains of {settings.rounds} rounds of {settings.steps} training steps of {settings.batch}, "
        f"{parameter_count(blank)} parameters, {settings.pool} points at {2 * settings.sampler_steps} evaluations"
    )
    desk.say(cost)
    named = {
        name: getattr(settings, name)
        for name in ("pool", "width", "depth", "steps", "batch", "learning_rate", "decay", "sampler_steps", "dispatch")
    } | {"title": title, "orders": list(orders), "dimension": dimension}
    measured, along, second, errors, limits, rows, remarks = [], [], [], [], [], [], [cost]
    for place, (name, share, truncations) in enumerate(arms(settings)):
        found = []
        for seed in range(settings.seeds):
            where = f"{name}, seed {seed + 1} of {settings.seeds}"
            say = desk.chain(where, place * settings.seeds + seed, chains, settings.rounds)
            found.append(
                chain(
                    settings,
                    # all arms of a seed begin with the same draws
                    jax.random.fold_in(key, seed),
                    draw,
                    real,
                    share=share,
                    truncations=truncations,
                    orders=orders,
                    size=settings.pool,
                    law=law,
                    folder=desk.folder / f"arm{place}_seed{seed}",
                    named=named | {"share": share, "truncations": list(truncations), "seed": seed},
                    report=lambda number, seen, say=say: say(
                        f"round {number} of {settings.rounds}, gains "
                        + " ".join(f"{value:.3f}" for value in seen["gain"]),
                        number,
                    ),
                )
            )
        ideal = laws[place]
        runs = np.stack([run["gain"] for run in found])
        measured.append(runs)
        along.append(np.stack([run["along"] for run in found]))
        second.append(np.stack([run["second"] for run in found]))
        errors.append(np.array([run["score_error"][-1] for run in found]))
        annealed = truncations[0] != truncations[-1]
        limits.append(
            np.full(len(orders), np.nan) if annealed or share is None else limit_of(share, truncations[0], orders)
        )
        mean, error = _mean(runs)
        for j, order in enumerate(orders):
            rows.append(
                observation(
                    "SP-14" if share is None else "SP-11" if annealed else "SP-6",
                    f"gain of order {order}, round {settings.rounds}",
                    f"{title}, {name}",
                    samples=settings.pool,
                    deviation=float(mean[-1, j] / ideal[-1, j] - 1),
                    error=float(error[-1, j] / ideal[-1, j]),
                )
            )
        straight, aside = _mean(along[-1])
        for j, order in enumerate(orders if dimension > 1 else ()):
            rows.append(
                observation(
                    "SP-7",
                    f"gain along a direction, order {order}, round {settings.rounds}",
                    f"{title}, {name}",
                    samples=settings.pool,
                    deviation=float(straight[-1, j] / ideal[-1, j] - 1),
                    error=float(aside[-1, j] / ideal[-1, j]),
                )
            )
        shown = round((share or 0) * settings.pool) * settings.rounds + settings.pool
        shown = shown if distinct is None else min(distinct, shown)
        remarks.append(
            f"{title}, {name}: {shown} distinct real points at most; "
            + _carries(mean, error, ideal, orders, settings.seeds)
        )
        off = mean - ideal
        remarks.append(
            f"{title}, {name}: orders {_list(orders, 'd')}; gains in the end {_pairs(mean[-1], error[-1])}, ideal "
            f"{_list(ideal[-1])}; off in round 1 by {_pairs(off[1], error[1], '+.3f')}"
        )
        if share is not None and not annealed:
            # every round adds the error of round 1: what is left after the last one (SP-12 before its limit)
            keep = (1 - share) * np.exp(-truncations[0] * np.array(orders))
            times = (1 - keep**settings.rounds) / (1 - keep)
            remarks.append(
                f"{title}, {name}: off in the end by {_pairs(off[-1], error[-1], '+.3f')}; the same error in every "
                f"round would make {_pairs(times * off[1], times * error[1], '+.3f')} (SP-12)"
            )
    arrays = {
        "names": [name for name, *_ in arms(settings)],
        "shares": [np.nan if share is None else share for _, share, _ in arms(settings)],
        "truncations": [truncations for *_, truncations in arms(settings)],
        "orders": orders,
        "gain": measured,
        "along_direction": along,
        "law": laws,
        "limit": limits,
        "second": second,
        "score_error": errors,
        "samples": settings.pool,
    }
    return {name: np.asarray(value) for name, value in arrays.items()}, rows, remarks


def _carries(mean, error, ideal, orders, seeds: int) -> str:
    """In which round each order has first left the ideal law, at an error rate of 0.05 for all orders and rounds."""
    rate = 0.05 / mean[1:].size
    out = np.abs(mean - ideal)[1:] > stats.t.isf(rate / 2, seeds - 1) * error[1:]
    if not out.any():
        return "no order is seen to leave the ideal law"
    when = [
        f"{m} from round {1 + int(column.argmax())}" for m, column in zip(orders, out.T, strict=True) if column.any()
    ]
    return f"the ideal law is left by order {', '.join(when)}"


def _mean(runs) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and its standard error."""
    return runs.mean(axis=0), runs.std(axis=0, ddof=1) / np.sqrt(len(runs))


def _list(values, form: str = ".3f") -> str:
    return " ".join(f"{value:{form}}" for value in values)


def _pairs(values, errors, form: str = ".3f") -> str:
    return ", ".join(f"{value:{form}} ± {error:.3f}" for value, error in zip(values, errors, strict=True))


def _mixture(settings, key, desk, title: str, parts, orders) -> Stage:
    """Arms on a mixture whose law, coefficients and score are known."""
    exact = Mixture(*(np.asarray(part, np.float64) for part in parts))
    real = np.asarray(mixture_modes_multi(exact, max(orders))[1])
    with jax.enable_x64(False):
        law, key = Mixture(*(np.asarray(part, np.float32) for part in parts)), single(key)
        draw = jax.jit(lambda key, count: law.sample(key, count), static_argnums=1)
        arrays, rows, remarks = _arms(settings, key, desk, title, draw, real, exact.dimension, orders, law)
        made = exact_output(settings, jax.random.fold_in(key, 10**6), law, settings.pool, settings.truncation)
        _, error = _noise(made, real, exact.dimension, orders)
        steps = gains(coefficients(made, max(orders)), real, exact.dimension, orders)
        off = steps - np.exp(-settings.truncation * np.array(orders))
    remarks.append(
        f"{title}: the exact score in the same sampler, {settings.sampler_steps} steps, one round: gains off by "
        f"{_pairs(off, error, '+.3f')}"
    )
    worst = arrays["score_error"]
    remarks.append(
        f"{title}: mean square error of the learned epsilon in round 1: {worst.mean():.2g}, {worst.min():.2g} to "
        f"{worst.max():.2g} over arms and seeds; it is what the ideal law leaves out"
    )
    return Stage(arrays | {"sampler": off, "sampler_error": error}, rows, remarks)


def _noise(points, real, dimension: int, orders, parts: int = 20):
    """Gains of ``parts`` equal parts of the points, and the standard error of their mean."""
    cut = np.array_split(np.asarray(points), parts)
    each = np.stack([gains(coefficients(jnp.asarray(part), max(orders)), real, dimension, orders) for part in cut])
    return each, each.std(axis=0, ddof=1) / np.sqrt(parts)


def line(settings, key, desk) -> Stage:
    """S-F9 on the 1-D mixture of the other spectral experiments."""
    return _mixture(settings, key, desk, "1-D mixture", LINE, LINE_ORDERS)


def plane(settings, key, desk) -> Stage:
    """S-F9 on a 2-D mixture: gains over all multi-indices of an order."""
    return _mixture(settings, key, desk, "2-D mixture", PLANE, LINE_ORDERS)


def principal(source: str, components: int, least: int = 100):
    """Images in principal coordinates of mean variance 1: points ``[n, r]``, frame ``[r, d]``, mean ``[d]``, the set.

    A point x is the image ``mean + x @ frame``. Directions keep their unequal variances, unlike in whitened
    coordinates: those are what a power spectrum is made of.
    """
    try:
        pictures = data.load(source, least=least)
        points, mean = data.centred(pictures)
        white = data.whitening(points, components)
    except (FileNotFoundError, ValueError) as error:
        raise SpecError(f"data: {error}") from None
    factor = np.sqrt(white.variances.mean())
    return (points.T @ white.directions) / factor, white.directions.T * factor, mean, pictures


def images(settings, key, desk) -> Stage:
    """S-F13 on images in a few principal coordinates: gains, and power spectra beside SP-16."""
    points, frame, _, pictures = principal(settings.data, settings.components)
    shape = pictures.images.shape[1:]
    real = coefficients(jnp.asarray(points), max(DIGIT_ORDERS))
    with jax.enable_x64(False):
        held = jnp.asarray(points, jnp.float32)
        draw = jax.jit(lambda key, count: held[jax.random.randint(key, (count,), 0, held.shape[0])], static_argnums=1)
        arrays, rows, remarks = _arms(
            settings, single(key), desk, pictures.name, draw, real, points.shape[1], DIGIT_ORDERS, distinct=len(points)
        )
    spectrum, shrink = points.var(axis=0), arrays["law"][:, :, 0]
    along = 1 + shrink[..., None] * (spectrum - 1)

    def radial(second):
        return radial_power_of_moment(frame.T @ second @ frame, shape)[1]

    power = np.stack([[[radial(second) for second in run] for run in arm] for arm in arrays["second"]])
    power_law = np.stack([[radial(np.diag(values)) for values in arm] for arm in along])
    variance = np.einsum("askdd->askd", arrays["second"])
    for place, (name, *_) in enumerate(arms(settings)):
        # where the law moves the power most, and the direction that truncation raises most
        ring = int(np.argmax(np.abs(power_law[place, -1] / power_law[place, 0] - 1)))
        for seen, runs, ideal in (
            (f"radial power, ring {ring + 1}", power[place][:, -1, ring], power_law[place, -1, ring]),
            (f"variance, direction {len(spectrum)}", variance[place][:, -1, -1], along[place, -1, -1]),
        ):
            mean, error = _mean(runs)
            rows.append(
                observation(
                    "SP-16",
                    f"{seen}, round {settings.rounds}",
                    f"{pictures.name}, {name}",
                    samples=settings.pool,
                    deviation=float(mean / ideal - 1),
                    error=float(error / ideal),
                )
            )
    frequency = radial_power_of_moment(np.eye(frame.shape[1]), shape)[0]
    arrays |= {
        "along": variance,
        "along_law": along,
        "power": power,
        "power_law": power_law,
        "frequency": frequency,
        "data": np.asarray(pictures.name),
    }
    return Stage(arrays, rows, remarks)
