"""Stages of ``reflow_linear``. Numbers only, no figures."""

from dataclasses import replace

import jax
import numpy as np

from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.simulate.reflow import exact_chain, pair_correlation, single_fit
from collapse_jax.specs.reflow import ReflowSpec
from experiments.harness import ROW_RATE, Stage, row

MANY = 10**8
"""Images of a single fit. A sampled variance l^ has E k(l^) - k(l) = k'' l^2/n, for l = 1 and N = 500 as much as RF-6
leaves open if n = 1e5; the cost does not hang on n."""


def numbers(**arrays) -> dict[str, np.ndarray]:
    """Arrays of a stage."""
    return {name: np.asarray(values) for name, values in arrays.items()}


def held(id: str, chain: str, spec, run, generations: int, relevant: float = 0.02) -> dict:
    """Row of one result, held against the first ``generations`` of chains that were run already."""
    result = get(id)
    seen = run[result.observable]
    if result.timed:
        first = slice(generations + 1)
        seen = replace(seen, values=seen.values[:, first], resolution=seen.resolution[first])
    # two hundred rows: at 1 % each, two would be false alarms
    verdict = compare(result.predict(spec, generations), seen, relevant=relevant, error_rate=ROW_RATE)
    return row(chain, verdict, samples=int(float(spec.size)))


def mean_and_error(values):
    """Mean over the replicates and its standard error."""
    values = np.asarray(values)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def sampler(settings, key) -> Stage:
    """R-F1: what N steps lose, of three samplers, for several variances."""
    variances, rows, shape = (0.1, 1.0, 4.0, 30.0), [], (3, len(settings.steps), 4)
    mean, error, law, rates = (np.zeros(shape) for _ in range(4))
    kinds = (("euler", "uniform"), ("euler", "equal-angle"), ("heun", "uniform"))
    laws = ("RF-6", "RF-6/equal-angle", "RF-18")
    for i, (solver, grid) in enumerate(kinds):
        for j, steps in enumerate(settings.steps):
            about = {"coupling": "independent", "solver": solver, "grid": grid, "steps": steps}
            spec = ReflowSpec(variances, size=MANY, **about)
            seed = jax.random.fold_in(key, 100 * i + j)
            run = single_fit(spec, 1, settings.replicates, seed, samples=1)
            mean[i, j], error[i, j] = mean_and_error(run["variance_ratio"].values)
            rates[i, j] = get(laws[i]).predict(spec, 1).values
            if solver == "euler":
                law[i, j] = np.asarray(get("RF-5").predict(spec, 1).values) ** 2 / variances
                rows.append(held("RF-5", f"{grid}, N = {steps}", spec, run, 1))
            if steps >= 5:
                rows.append(held(laws[i], f"{solver}, {grid}, N = {steps}", spec, run, 1))
    return Stage(numbers(mean=mean, error=error, law=law, rates=rates, steps=settings.steps, variances=variances), rows)


def independent(settings, key) -> Stage:
    """R-F2: fresh noise every round; rounds over N on the axis."""
    spectrum, rows, arrays = (4.0, 2.0, 1.0, 0.5, 0.25), [], {}
    for i, steps in enumerate(settings.chain_steps):
        rounds = max(2, round(settings.length * steps))
        for j, share in enumerate(settings.shares):
            about = {"coupling": "independent", "solver": "euler", "steps": steps}
            spec = ReflowSpec(spectrum, size=settings.images, real_fraction=share, **about)
            seed = jax.random.fold_in(key, 10 * i + j)
            run = exact_chain(spec, rounds, settings.replicates, seed)
            title = f"N = {steps}, real {share:.0%}"
            law = np.asarray(get("RF-7").predict(spec, rounds).values)
            # far below N^-2 a variance is squared every round, and its sampled mean says nothing any more
            above = int(np.argmin(np.append((law > 10 / steps**2).all(axis=1), False)))
            known = rounds if share else max(1, steps // 2, above - 1)
            rows += [held(id, title, spec, run, known) for id in ("RF-7", "RF-7/bound")]
            mean, error = mean_and_error(run["variance"].values)
            arrays |= {f"mean_{i}_{j}": mean, f"error_{i}_{j}": error}
            arrays[f"law_{i}_{j}"] = law
    return Stage(numbers(**arrays, steps=settings.chain_steps, shares=settings.shares, spectrum=spectrum), rows)


def arms(settings, key) -> Stage:
    """R-F3: Reflow and its remedies, with fit loss."""
    base = ReflowSpec([1.0], fit_loss=0.03, size=settings.pairs)
    mixed = replace(base, real_pairs=0.3)
    chains = (
        ("Reflow", "RF-10", base),
        ("RA, ORA", "RF-11", mixed),
        ("ORAS, noise 0.3", "RF-13/path", replace(mixed, noise=0.3)),
        ("ORAS, noise 0.6", "RF-13/path", replace(mixed, noise=0.6)),
        ("frozen inverter", "RF-14", replace(mixed, inverter="first")),
        ("noise 1", "RF-13/path", replace(mixed, noise=1.0)),
    )
    rows, mean, error, law = [], [], [], []
    for number, (name, id, spec) in enumerate(chains):
        run = exact_chain(spec, settings.rounds, settings.replicates, jax.random.fold_in(key, number))
        rows.append(held(id, name, spec, run, settings.rounds))
        for into, values in zip(
            (mean, error, law),
            (*mean_and_error(run["relative_variance"].values), get(id).predict(spec, settings.rounds).values),
            strict=True,
        ):
            into.append(np.asarray(values)[:, 0])
    levels = [float(get("RF-13").predict(chains[place][2], 1).values[0]) for place in (2, 3, 5)]
    levels.insert(2, float(get("RF-14/level").predict(chains[4][2], 1).values[0]))
    names = np.asarray([name for name, _, _ in chains])
    return Stage(numbers(mean=mean, error=error, law=law, levels=levels, names=names), rows)


def phase(settings, key) -> Stage:
    """R-F4: the level over noise and real share, for several fit losses; chains at some places."""
    noises, shares = np.linspace(0, 1, 101), np.linspace(0.005, 1, 100)
    places = [(tau, share) for tau in np.linspace(0.15, 0.95, settings.noises) for share in (0.2, 0.5, 0.8)]
    rows, level, found = [], [], []

    def level_at(spec, tau, b):
        return get("RF-13").predict(replace(spec, noise=tau, real_pairs=b), 1).values[0]

    law = jax.jit(jax.vmap(jax.vmap(level_at, (None, 0, None)), (None, None, 0)))
    for i, loss in enumerate(settings.losses):
        # near the border few pairs shift a level
        base = ReflowSpec([1.0], fit_loss=loss, size=100 * settings.pairs)
        level.append(np.asarray(law(base, jax.numpy.asarray(noises), jax.numpy.asarray(shares))))
        found.append([])
        for j, (tau, share) in enumerate(places):
            spec = replace(base, noise=tau, real_pairs=share)
            seed = jax.random.fold_in(key, 100 * i + j)
            run = exact_chain(spec, settings.phase_rounds, settings.replicates, seed)
            title = f"eta {loss:g}, tau {tau:.2g}, b {share:g}"
            # exact integration is measured to rounding down to variances of about 1e-8
            path = np.asarray(get("RF-13/path").predict(spec, settings.phase_rounds).values)[:, 0]
            known = max(1, int(np.flatnonzero(path > 1e-8)[-1]))
            rows.append(held("RF-13/path", title, spec, run, known, 0.05))
            found[-1].append(float(np.mean(np.asarray(run["final_relative_variance"].values))))
    arrays = numbers(noises=noises, shares=shares, level=level, found=found, places=places, losses=settings.losses)
    return Stage(arrays, rows)


def price(settings, key) -> Stage:
    """R-F5: correlation of the pairs at u = 1 against the strength of the anchor."""
    lines, points, rows = np.linspace(0, 1, 101), [], []
    shares, noises = (0.1, 0.3, 0.5, 1.0), (0.3, 0.6, 0.9, 1.0)
    about = jax.jit(
        jax.vmap(lambda b, tau: get("RF-16").predict(ReflowSpec([1.0], real_pairs=b, noise=tau), 1).values[0])
    )
    for number, (b, tau) in enumerate((b, tau) for b in shares for tau in noises):
        spec = ReflowSpec([1.0], real_pairs=b, noise=tau, size=settings.pairs)
        run = pair_correlation(spec, 1, settings.replicates, jax.random.fold_in(key, number), samples=1)
        rows.append(held("RF-16", f"b {b:g}, tau {tau:g}", spec, run, 1, 0.05))
        points.append([*(float(v[0]) for v in mean_and_error(run["pair_correlation"].values)), b, tau])
    constant_share = [np.asarray(about(jax.numpy.full(101, b), jax.numpy.asarray(lines))) for b in shares]
    constant_noise = [np.asarray(about(jax.numpy.asarray(lines), jax.numpy.full(101, tau))) for tau in noises]
    return Stage(
        numbers(
            lines=lines,
            constant_share=constant_share,
            constant_noise=constant_noise,
            points=points,
            shares=shares,
            noises=noises,
        ),
        rows,
    )
