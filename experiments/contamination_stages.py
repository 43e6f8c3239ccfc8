"""Stages of ``contaminated_training``: recursion, improvement, schedules, design, policies, tails. Numbers only."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.check import check
from collapse_jax.compare import band, compare
from collapse_jax.results import get
from collapse_jax.simulate.contamination import measure
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.theory.contamination_improvement import critical_size, designed_sizes
from experiments.harness import ROW_RATE, Stage, observation, row

SHARES = {"0": (0.0, 0.0), "0.1": (0.1, 0.0), "t^-1/2": (1.0, 0.5), "1/t": (1.0, 1.0)}
"""Real shares of the recursion check: name, first share, power."""

SIZES = {"100": 0.0, "100 t^1/2": 0.5, "100 t": 1.0, "100 t^3/2": 1.5}
"""Sizes of the recursion check: name, power."""

LARGEST = 10**6
"""Largest size of a designed round."""


def judged_at(predicted, run, relevant: float):
    """The verdict of a row."""
    return compare(predicted, run, relevant=relevant, error_rate=ROW_RATE)


def zipf(tokens: int) -> np.ndarray:
    """Zipf's law."""
    law = 1 / np.arange(1, tokens + 1)
    return law / law.sum()


def verdict(id: str, chain: str, spec, key, **budget) -> dict:
    """Row of one registered result, held against a simulation of ``spec``; its own example if None."""
    done = check(id, spec, key=key, **budget)
    size = spec.size if spec is not None else done.spec.size
    return row(chain, done.verdict, samples=int(np.max(np.asarray(size))))


def _arrays(**values) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in values.items()}


def recursion(settings, key) -> Stage:
    """Figure 1: the risk of single chains against CON-1 for real shares and sizes that are constant, fall or grow."""
    rounds, truth = settings.rounds, zipf(settings.tokens)
    shares, sizes = list(SHARES)[-settings.panels :], list(SIZES)[: settings.panels]
    mean, low, high, law, rows = [], [], [], [], []
    for i, share in enumerate(shares):
        for j, size in enumerate(sizes):
            fraction, power = SHARES[share]
            spec = ContaminationSpec(
                truth, real_fraction=fraction, real_power=power, size=100.0, size_power=SIZES[size], first_size=100.0
            )
            run = measure("risk", spec, rounds, settings.chains, jax.random.fold_in(key, 10 * i + j), samples=1)["risk"]
            for kept, values in zip((mean, low, high), band(run), strict=True):
                kept.append(values)
            predicted = get("CON-1").predict(spec, rounds)
            law.append(np.asarray(predicted.values))
            rows.append(row(f"a = {share}, n = {size}", judged_at(predicted, run, 0.3), samples=100))
    shape = (len(shares), len(sizes), rounds + 1)
    curves = {
        name: np.reshape(v, shape)
        for name, v in zip(("mean", "low", "high", "law"), (mean, low, high, law), strict=True)
    }
    ids = ("CON-1", "CON-2", "CON-2/mean", "CON-2/size", "CON-3", "CON-3/unrolled")
    rows += [verdict(id, "default", None, jax.random.fold_in(key, 99)) for id in ids[: settings.first_checks]]
    return Stage(_arrays(**curves, shares=shares, sizes=sizes, tokens=settings.tokens), rows)


def improvement(settings, key) -> Stage:
    """Figure 2: the last risk over the first for many sizes and shares, and where the two are equal (CON-5)."""
    first, truth = 20.0, zipf(10)
    ratios, shares = np.geomspace(0.5, 100, settings.map_sizes), np.geomspace(0.01, 1, settings.map_shares)
    log_ratio, rows = np.empty((len(shares), len(ratios))), []
    for i, share in enumerate(shares):
        for j, ratio in enumerate(ratios):
            spec = ContaminationSpec(truth, real_fraction=share, size=np.ceil(first * ratio), first_size=first)
            seed = jax.random.fold_in(key, 100 * i + j)
            chains = settings.map_judged if i == j else settings.map_chains
            run = measure("risk", spec, settings.map_rounds, 20, seed, samples=chains)["risk"]
            means = np.asarray(run.values).mean(axis=0)
            log_ratio[i, j] = np.log10(means[-1] / means[0])
            if i == j:
                judged = compare(
                    get("CON-4").predict(spec, settings.map_rounds), run, relevant=0.1, error_rate=ROW_RATE
                )
                rows.append(row(f"a = {share:.2g}, n = {np.ceil(first * ratio):g}", judged, samples=int(spec.size)))
    fine = np.geomspace(0.01, 1, 200)
    border = [
        float(critical_size(ContaminationSpec(truth, real_fraction=a, first_size=first)).values) for a in fine[::10]
    ]
    border = np.interp(np.log(fine), np.log(fine[::10]), np.log(border))
    ids = ("CON-4", "CON-4/limit", "CON-5", "CON-5/never")
    rows += [verdict(id, "default", None, jax.random.fold_in(key, 99)) for id in ids[: settings.map_checks]]
    return Stage(_arrays(ratios=ratios, shares=shares, value=log_ratio, fine=fine, border=np.exp(border) / first), rows)


def late_slopes(a, b, first_size: float, rounds: int):
    """Slope of log A_t against log t from ``rounds/10`` on, for arrays of powers, from the recursion of CON-1."""

    def step(carry, t):
        value, sums = carry
        share, size = jnp.minimum(1, t**-a), jnp.ceil(first_size * t**b)
        value = 1 / size + (1 - 1 / size) * (1 - share) ** 2 * value
        x, y, late = jnp.log(t), jnp.log(value), (t >= rounds / 10).astype(value.dtype)
        new = jnp.stack([jnp.ones_like(y), jnp.full_like(y, x), y, jnp.full_like(y, x * x), x * y])
        return (value, sums + late * new), None

    times = jnp.arange(1, rounds + 1, dtype=a.dtype)
    start = jnp.full(a.shape, 0.01), jnp.zeros((5, *a.shape))
    (_, sums), _ = jax.jit(lambda: jax.lax.scan(step, start, times))()
    count, x, y, xx, xy = sums
    return (count * xy - x * y) / (count * xx - x * x)


def phases(settings, key) -> Stage:
    """Figure 3: late slope of the risk over powers of the real share and of the size, with the borders of CON-8."""
    b, a = np.linspace(0, 4, settings.grid), np.linspace(0, 1.5, settings.grid)
    b_grid, a_grid = (jnp.asarray(v) for v in np.meshgrid(b, a))
    slopes = np.asarray(late_slopes(a_grid, b_grid, 2.0, settings.late_rounds))
    rows = []
    for power, growth in ((0.5, 1.0), (0.5, 2.0), (1.0, 2.0), (1.0, 3.5), (0.5, 0.25), (1.5, 2.0)):
        spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, real_power=power, size=2.0, size_power=growth)
        found = float(late_slopes(jnp.full((1,), power), jnp.full((1,), growth), 2.0, settings.late_rounds)[0])
        said = float(get("CON-8").predict(spec, settings.late_rounds).values)
        chain = f"recursion to t = {settings.late_rounds:.0e}, a = {power:g}, b = {growth:g}: slope {found:.3f}"
        deviation = (found - said) / max(1.0, abs(said))
        rows.append(observation("CON-8", "late_slope", chain, samples=2, deviation=deviation, error=0.0))
    parts = ("", "/share", "/harmonic", "/balance", "/collapse", "/summable")
    for place, id in enumerate((*("CON-8" + part for part in parts), "CON-9", "CON-9/product")[: settings.late_checks]):
        rows.append(verdict(id, "default", None, jax.random.fold_in(key, place)))
    return Stage(_arrays(a=a, b=b, slopes=slopes, rounds=settings.late_rounds), rows)


def sizes_for(share: float, first: float, rounds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole sizes for the path ``1/(n_0 (1 + t))``, what was asked for, and which rounds cannot reach it.

    Each size is rounded up and the next asked for from the risk then reached; a round that cannot reach its target gets
    the largest size.
    """
    reached, sizes, asked, failed = 1 / first, [], [], []
    for t in range(1, rounds + 1):
        spec = ContaminationSpec([0.5, 0.5], real_fraction=share)
        wanted = jnp.array([1 / reached, first * (1 + t)])
        need = float(designed_sizes(spec, 1, effective_size=wanted).values[1])
        failed.append(not need <= LARGEST)
        size = float(LARGEST) if failed[-1] else np.ceil(need)
        asked.append(need)
        sizes.append(size)
        reached = 1 / size + (1 - 1 / size) * (1 - share) ** 2 * reached
    return np.array(sizes), np.array(asked), np.array(failed)


def design(settings, key) -> Stage:
    """Figure 4: the sizes that a risk falling like 1/t asks for, and the risk that they reach."""
    first, rounds, truth = 20.0, settings.design_rounds, zipf(10)
    shares = (0.1, 0.3, 0.6)
    arrays: dict[str, list] = {name: [] for name in ("sizes", "failed", "mean", "low", "high")}
    rows = []
    for place, share in enumerate(shares):
        sizes, _, failed = sizes_for(share, first, rounds)
        spec = ContaminationSpec(truth, real_fraction=share, size=sizes, first_size=first)
        seed = jax.random.fold_in(key, place)
        run = measure("risk", spec, rounds, 20, seed, samples=settings.design_chains)["risk"]
        mean, low, high = band(run)
        for name, value in (("sizes", sizes), ("failed", failed), ("mean", mean), ("low", low), ("high", high)):
            arrays[name].append(value)
        judged = judged_at(get("CON-1").predict(spec, rounds), run, 0.1)
        rows.append(
            row(
                f"designed, a = {share:g}, {int(failed.sum())} of {rounds} out of reach",
                judged,
                samples=int(sizes.max()),
            )
        )
    target = float(ContaminationSpec(truth).diversity) / (first * (1 + np.arange(rounds + 1)))
    ids = ("CON-6", "CON-6/step", "CON-6/floor", "CON-7", "CON-7/decaying", "CON-7/size", "CON-7/summable")
    rows += [verdict(id, "default", None, jax.random.fold_in(key, 99)) for id in ids[: settings.design_checks]]
    return Stage(_arrays(**arrays, target=target, shares=shares), rows)


def aggregation_slopes(shares, rounds: int):
    """Late slopes of CON-11 at n = n_0 = 20, from its recursion."""
    values = []
    for share in shares:
        spec = ContaminationSpec([0.5, 0.5], real_fraction=share, size=20.0, first_size=20.0, regime="accumulate")
        values.append(spec)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *values)
    paths = np.asarray(jax.jit(jax.vmap(lambda spec: get("CON-11").predict(spec, rounds).values))(stacked))
    times = np.arange(rounds // 10, rounds + 1)
    x = np.log(times) - np.log(times).mean()
    return np.log(paths[:, times]) @ x / (x @ x)


POLICIES = {
    "agnostic mixture": ("CON-1", {}),
    "filter, round by round": ("CON-10", {}),
    "pool of real tokens": ("CON-10/pool", {}),
    "all data kept": ("CON-11", {"regime": "accumulate"}),
    "anchor": ("CON-13", {"real": "anchor"}),
}


def policies(settings, key) -> Stage:
    """Figure 5: effective sample size by round of five ways to use the data, and the phase change of keeping it all."""
    rounds, truth, shares = settings.policy_rounds, zipf(10), (0.2, 0.5, 0.8)[: settings.policy_panels]
    law, measured, rows = [], [], []
    for i, share in enumerate(shares):
        for j, (name, (id, fields)) in enumerate(POLICIES.items()):
            spec = ContaminationSpec(truth, real_fraction=share, size=40.0, first_size=40.0, **fields)
            result, spread = get(id), float(ContaminationSpec(truth).diversity)
            seed = jax.random.fold_in(key, 10 * i + j)
            run = measure(result.observable, spec, rounds, 20, seed, samples=settings.policy_chains)[result.observable]
            predicted = result.predict(spec, rounds)
            law.append(spread / np.asarray(predicted.values))
            measured.append(spread / np.asarray(run.values))
            rows.append(row(f"{name}, a = {share:g}", judged_at(predicted, run, 0.1), samples=40))
    shape = (len(shares), len(POLICIES))
    fine = np.linspace(0.02, 1, 40)
    ids = ("CON-10/mixing", "CON-12", "CON-12/constant", "CON-12/none", "CON-13/floor")[: settings.policy_checks]
    rows += [verdict(id, "default", None, jax.random.fold_in(key, 99)) for id in ids]
    return Stage(
        _arrays(
            law=np.reshape(law, (*shape, rounds + 1)),
            measured=np.reshape(measured, (*shape, 20, rounds + 1)),
            names=list(POLICIES),
            shares=shares,
            fine=fine,
            slopes=aggregation_slopes(fine, settings.slope_rounds),
        ),
        rows,
    )


def tails(settings, key) -> Stage:
    """Figure 6: how often each token is absent in the end, against a clean sample of the same effective size."""
    truth = zipf(settings.tail_tokens)
    spec = ContaminationSpec(truth, real_fraction=0.02, size=200.0, first_size=9.0)
    run = measure("absence", spec, settings.tail_rounds, 20, key, samples=settings.tail_chains)
    absent, risk = np.asarray(run["absence"].values), float(np.mean(run["final_risk"].values))
    effective = float(spec.diversity) / risk
    clean = replace(spec, real_fraction=1.0, size=np.round(effective))
    sample = measure("absence", clean, 1, 20, jax.random.fold_in(key, 1), samples=settings.tail_chains)
    clean_risk = float(np.mean(sample["final_risk"].values))
    law = get("CON-14/absence").function(spec)
    rows = [
        row("Zipf", judged_at(law, run["absence"], 0.2), samples=200),
        row(
            "Zipf",
            judged_at(get("CON-14").function(spec), run["final_variance"], 0.3),
            samples=200,
        ),
    ]
    ids = (
        "CON-14",
        "CON-14/fourth",
        "CON-14/absence",
        "CON-15",
        "CON-15/kl",
        "CON-15/tv",
        "CON-16",
        "CON-16/random",
        "CON-17",
        "CON-17/error",
        "CON-17/limit",
        "CON-18",
        "CON-18/limit",
    )
    rows += [verdict(id, "default", None, jax.random.fold_in(key, 99)) for id in ids[: settings.tail_checks]]
    return Stage(
        _arrays(
            absent=absent,
            clean=np.asarray(sample["absence"].values),
            law=law.values,
            certain=np.isfinite(law.margin),
            effective=effective,
            clean_risk=clean_risk,
            risk=risk,
            one_round=(1 - truth) ** 200,
        ),
        rows,
        [f"effective size {effective:.1f}; a clean sample of it has risk {clean_risk:.4f} against {risk:.4f}"],
    )
