"""Closed forms of iterative maximum likelihood against moments run round by round in 40 digits, and at their limits."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from collapse_jax.errors import RegimeError, SpecError
from collapse_jax.results import all_results, get
from collapse_jax.specs.mle import MEANS, MLESpec
from collapse_jax.theory import mle_counterexamples, mle_special
from collapse_jax.trajectory import accuracy
from proofs_check.mle.reference import predict

RESULTS = [result.id for result in all_results("mle")]
CURVES = [result.id for result in all_results("mle") if result.curve]
ROUNDS = 5


def single(value):
    """The nearest float32, so that both precisions and the reference mean the same number."""
    return np.float32(value) if np.ndim(value) == 0 else tuple(float(np.float32(v)) for v in value)


def fields_of(id):
    example = dict(get(id).example)
    if "weights" in example:
        example["weights"] = (0.5, 0.25, 0.125, 0.125)
    return {name: value if isinstance(value, str) else single(value) for name, value in example.items()}


def variations(fields):
    """Larger batches, up to a million points, and other true parameters."""
    family, batch = fields["family"], float(fields["batch"])
    factors = {"bernoulli": (1, 4, 10), "fuse": (1, 40), "jump": (1, 5, 64)}.get(family, (1, 16, 2**14))
    means = {"bernoulli": (0.25, 0.75)}.get(family, (single(0.5), 3.0))
    return [fields | {"batch": batch * factor, "mean": mean} for factor in factors for mean in means]


@functools.cache
def groups():
    """Results by the kind of their example: one program computes them all."""
    found = {}
    for id in RESULTS:
        fields = fields_of(id)
        found.setdefault(repr(fields), (fields, []))[1].append(id)
    return {",".join(ids): (fields, tuple(ids)) for fields, ids in found.values()}


GROUPS = list(groups())


def stack(specs):
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *specs)


def values_of(id, spec, rounds=ROUNDS):
    return get(id).predict(spec, rounds).values


@functools.cache
def expected(group):
    fields, ids = groups()[group]
    specs = [MLESpec(**kept) for kept in variations(fields)]
    return {id: [leaves(predict(id, spec, ROUNDS)) for spec in specs] for id in ids}


def leaves(values):
    if isinstance(values, list):
        return np.array([leaves(value) for value in values])
    return float(values)


def close(actual, right, tolerance, where):
    """Relative, below exp(-1) relative in the logarithm."""
    actual, right = np.asarray(actual, float), np.asarray(right, float)
    assert actual.shape == right.shape, where
    with np.errstate(divide="ignore"):
        scale = np.maximum(1, -np.log(np.where(right != 0, np.abs(right), 1)))
    finite = np.isfinite(right)
    np.testing.assert_array_equal(actual[~finite], right[~finite], err_msg=where)
    off = np.abs(actual[finite] - right[finite])
    allowed = tolerance * scale[finite] * np.abs(right[finite]) + 1e-36
    assert (off <= allowed).all(), f"{where}: {actual} and {right}"


def corners(fields):
    """Where formulas meet their ends: no or only real data, certain coins, few and very many points."""
    family = fields["family"]
    least = 2.0 if family == "normal" else 1.0
    found = [fields | {"batch": least}, fields | {"batch": 1e12}]
    if family in ("jump", "fuse"):
        found = found[1:]
    if family == "bernoulli":
        found += [fields | {"mean": value} for value in (0.0, 1.0)]
    if family == "poisson":
        found += [fields | {"mean": 0.0}]
    if family == "multinomial":
        found += [fields | {"weights": weights} for weights in ((0.5, 0.5, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))]
    if "real_fraction" in fields:
        found += [fields | {"real_fraction": value} for value in (0.0, 1.0)]
    if "real_weight" in fields:
        found += [fields | {"real_weight": value} for value in (0.0, 1.0)]
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_values_in_single_precision_are_right_and_gradients_finite(group, quick_compilation):
    """1e-5 against 40 digits under jit and vmap, up to a million points; slopes exist at the corners."""
    fields, ids = groups()[group]
    specs, edges = [MLESpec(**kept) for kept in variations(fields)], [MLESpec(**kept) for kept in corners(fields)]

    @jax.jit
    @jax.vmap
    def program(spec):
        def total(spec):
            values = {id: values_of(id, spec) for id in ids}
            finite = [jnp.sum(jnp.where(jnp.isfinite(v), v, 0)) for v in values.values()]
            return jnp.stack(finite), values

        slope, values = jax.jacrev(total, has_aux=True)(spec)
        return values, slope

    values, slope = program(stack(specs + edges))
    for id in ids:
        assert values[id].dtype == np.float32
        assert not np.isnan(np.asarray(values[id])).any(), id
        for place, right in enumerate(expected(group)[id]):
            close(values[id][place], right, 1e-5, f"{id} at {variations(fields)[place]}")
    for path, leaf in jax.tree_util.tree_leaves_with_path(slope):
        bad = ~np.isfinite(np.asarray(leaf)).reshape(len(specs + edges), len(ids), -1).all(axis=2)
        assert not bad.any(), [(ids[i], jax.tree_util.keystr(path), (specs + edges)[s]) for s, i in np.argwhere(bad)]


SMOOTH = ("mean", "variance", "weights", "batch", "real_fraction", "real_weight", "threshold", "size")


@pytest.mark.parametrize("group", GROUPS)
def test_values_in_double_precision_are_right_and_gradients_the_slopes(group, x64, quick_compilation):
    """1e-12 against 40 digits; the derivative along a direction in all fields against a fourth-order difference."""
    fields, ids = groups()[group]
    specs = [
        MLESpec(**{k: v if isinstance(v, str) else np.asarray(v, float) for k, v in kept.items()})
        for kept in variations(fields)
    ]
    # weights that weigh nothing, sizes that index tables, and what only counts stay as they are
    moved = {name for name in SMOOTH if name != "batch" or fields["family"] not in ("bernoulli", "jump", "fuse")}
    spec, h = specs[0], 1e-3

    def way(path, leaf):
        size = 0.01 + 0.005 * jnp.cos(jnp.arange(leaf.size, dtype=float).reshape(leaf.shape))
        return leaf * size if path[0].name in moved else 0 * leaf

    tangent = jax.tree_util.tree_map_with_path(way, spec)
    shifted = [jax.tree.map(lambda leaf, d, t=t: leaf + t * h * d, spec, tangent) for t in (-2.0, -1.0, 1.0, 2.0)]

    @jax.jit
    @jax.vmap
    def program(spec):
        return jax.jvp(lambda spec: {id: values_of(id, spec) for id in ids}, (spec,), (tangent,))

    values, slopes = program(stack(specs + shifted))
    for id in ids:
        assert values[id].dtype == np.float64
        for place, right in enumerate(expected(group)[id]):
            close(values[id][place], right, 1e-12, f"{id} at {variations(fields)[place]}")
        beside = np.asarray(values[id])[len(specs) :]
        difference = (8 * (beside[2] - beside[1]) - (beside[3] - beside[0])) / (12 * h)
        scale = 1e-8 * (1 + np.abs(np.asarray(values[id])[0]).max())
        np.testing.assert_allclose(np.asarray(slopes[id])[0], difference, rtol=1e-6, atol=scale, err_msg=id)


OTHERS = {
    "MLE-1": {},
    "MLE-1/accumulate": {"regime": "accumulate"},
    "MLE-1/spread": {},
    "MLE-2": {"regime": "accumulate"},
    "MLE-2/replace": {},
    "MLE-3": {"real_fraction": 0.25},
    "MLE-3/fixed": {"real_fraction": 0.25, "split": "fixed"},
    "MLE-3/limit": {"real_fraction": 0.25},
    "MLE-4": {"real_fraction": 0.25, "split": "fixed", "real_weight": 0.5},
    "MLE-5": {"real_fraction": 0.25, "split": "fixed", "real": "anchor"},
    "MLE-5/limit": {"real_fraction": 0.25, "split": "fixed", "real": "anchor"},
    "MLE-6": {"regime": "accumulate-subsample"},
    "MLE-6/leading": {"regime": "accumulate-subsample", "replacement": "without"},
}


@pytest.mark.parametrize("id", OTHERS)
def test_every_family_of_one_mean(id, x64):
    """Against 40 digits, batch by batch sizes where a schedule is allowed."""
    schedule = id in ("MLE-1", "MLE-1/accumulate", "MLE-1/spread", "MLE-3", "MLE-3/fixed")
    for family in MEANS:
        batch = [8.0, 4.0, 16.0, 4.0] if schedule else 8.0
        mean = 0.25 if family == "bernoulli" else 1.5
        spec = MLESpec(family, mean=mean, size=3.0, variance=2.0, batch=batch, **OTHERS[id])
        close(values_of(id, spec, 4), leaves(predict(id, spec, 4)), 1e-12, f"{id} of {family}")


@pytest.mark.parametrize("divisor", ["n", "n-1"])
@pytest.mark.parametrize("id", [id for id in RESULTS if id.partition("/")[0] in ("MLE-7", "MLE-8", "MLE-9", "MLE-10")])
def test_both_divisors_and_dimensions(id, divisor, x64):
    wide = id.partition("/")[0] in ("MLE-8", "MLE-9")
    schedule = id not in ("MLE-8/limit", "MLE-10/moment")
    fields = dict(get(id).example) | {"divisor": divisor, "batch": [8.0, 5.0, 9.0, 40.0] if schedule else 8.0}
    for variance in (2.0, (2.0, 0.5)) if wide else (2.0,):
        spec = MLESpec(**fields | {"variance": variance})
        close(values_of(id, spec, 4), leaves(predict(id, spec, 4)), 1e-12, f"{id}, divisor {divisor}, {variance}")


@pytest.mark.parametrize("id", CURVES)
def test_curve_has_one_entry_more_than_generations(id):
    for generations in (0, 1, 4):
        spec = MLESpec(**get(id).example)
        shape = jax.eval_shape(lambda spec, rounds=generations: values_of(id, spec, rounds), spec).shape
        assert shape[0] == generations + 1


def test_anchors_of_the_sheet(x64):
    def value(id, **fields):
        return float(values_of(id, MLESpec(**fields)))

    assert value("MLE-8/limit", family="normal", batch=5, regime="accumulate") == pytest.approx(0.701998, abs=5e-7)
    assert value("MLE-19/point", family="jump") == pytest.approx(0.241112, abs=5e-7)
    assert value("MLE-19/usual", family="jump") == pytest.approx(0.922523, abs=5e-7)
    weight = value("MLE-4/weight", family="gaussian", real_fraction=0.25, split="fixed")
    assert weight == pytest.approx(0.434259, abs=5e-7)
    assert pytest.approx(0.543, abs=5e-4) == mle_counterexamples.GAMMA


def test_limits_join(x64):
    """alpha = 0 and 1, infinitely many rounds, one batch after the other: what must meet meets."""
    spec = MLESpec("gamma", mean=2.0, size=2.5, batch=6)
    none = values_of("MLE-1", spec, 7)
    np.testing.assert_allclose(values_of("MLE-3", spec, 7), none, rtol=1e-13)
    fixed = dataclasses.replace(spec, split="fixed")
    np.testing.assert_allclose(values_of("MLE-3/fixed", fixed, 7), none, rtol=1e-13)
    np.testing.assert_allclose(values_of("MLE-5", dataclasses.replace(fixed, real="anchor"), 7), none, rtol=1e-13)
    kept = dataclasses.replace(spec, regime="accumulate")
    path, end = values_of("MLE-1/accumulate", kept, 400), float(values_of("MLE-2", kept))
    assert float(path[-1]) == pytest.approx(end, rel=2e-3)
    assert float(path[-1]) < end
    mixed = dataclasses.replace(fixed, real_fraction=0.5)
    assert float(values_of("MLE-3/fixed", mixed, 60)[-1]) == pytest.approx(float(values_of("MLE-3/limit", mixed)))
    assert float(values_of("MLE-4", dataclasses.replace(mixed, real_weight=0.5))) == pytest.approx(
        float(values_of("MLE-3/limit", mixed)), rel=1e-13
    )
    anchored = dataclasses.replace(mixed, real="anchor")
    assert float(values_of("MLE-5", anchored, 60)[-1]) == pytest.approx(float(values_of("MLE-5/limit", anchored)))
    normal = MLESpec("normal", variance=[2.0, 0.5], batch=4, regime="accumulate")
    end = values_of("MLE-8/limit", normal)
    np.testing.assert_allclose(values_of("MLE-8", normal, 400)[-1], end, rtol=2e-3)
    sub = MLESpec("gaussian", batch=10**6, regime="accumulate-subsample")
    ends = {"with": np.pi**2 / 3, "without": np.pi**2 / 2 - 2}
    for how, value in ends.items():
        path = values_of("MLE-6", dataclasses.replace(sub, replacement=how), 4000)
        assert float(path[-1]) * 1e6 == pytest.approx(value, rel=1e-3)
    growing = MLESpec("exponential", mean=1.0, batch=[2.0 * 2**t for t in range(40)])
    assert float(values_of("MLE-1", growing, 40)[-1]) < 2


def test_a_step_is_that_of_the_curve_from_where_it_is(x64):
    """t + s rounds are s rounds from where t rounds end: what a round does depends on the state alone."""
    spec = MLESpec("normal", variance=2.0, batch=7)
    path = values_of("MLE-7", spec, 9)
    later = values_of("MLE-7", dataclasses.replace(spec, variance=path[4]), 5)
    np.testing.assert_allclose(path[4:], later, rtol=1e-13)
    coin = MLESpec("bernoulli", mean=0.25, batch=7)
    noise = values_of("MLE-1/spread", coin, 9)
    np.testing.assert_allclose(noise[4:] / noise[4], noise[:6] / noise[0], rtol=1e-13)


@pytest.mark.parametrize("x", [0.25, 0.5, 1.0, 3.7, 9.99, 10.0, 77.0, 1e6, 1e15])
def test_special_functions_keep_their_digits(x, precision):
    tolerance = accuracy(jnp.zeros(()).dtype) / (1 if precision == "float64" else 4)
    exact, given = mp.mpf(float(np.asarray(x, precision))), jnp.asarray(x, precision)
    with mp.workdps(40):
        pairs = {
            "digamma_less_log": (mle_special.digamma_less_log(given), mp.digamma(exact) - mp.log(exact)),
            "trigamma": (mle_special.trigamma(given), mp.polygamma(1, exact)),
        }
        for step in (0.0, 0.5, 1.0, 4.25, 50.0):
            right = mp.loggamma(exact + step) - mp.loggamma(exact) - step * mp.log(exact)
            found = mle_special.log_gamma_ratio(given, jnp.asarray(step, precision))
            if step in (0.0, 1.0):
                assert abs(float(found)) <= tolerance * max(1, 1 / x), (x, step)
            else:
                pairs[f"ratio {step}"] = (found, right)
    for name, (found, right) in pairs.items():
        assert float(found) == pytest.approx(float(right), rel=5 * tolerance), name


@pytest.mark.parametrize("y", [-9.8, -1.0, -0.99, -1e-6, 0.0, 1e-9, 0.5, 1.0, 30.0])
def test_entire_functions_join_their_series(y, precision):
    given = jnp.asarray(y, precision)
    exact = mp.mpf(float(np.asarray(y, precision)))
    with mp.workdps(40):
        x = mp.sqrt(abs(exact))
        right = mp.mpf(1) / 6 if y == 0 else ((mp.sinh(x) if y > 0 else mp.sin(x)) / x - 1) / exact
        less = mp.log(1 + exact) - exact if y > -1 else None
    tolerance = accuracy(given.dtype)
    assert float(mle_special.sinh_excess(given)) == pytest.approx(float(right), rel=tolerance)
    assert np.isfinite(float(jax.grad(mle_special.sinh_excess)(given)))
    if y > -1:
        assert float(mle_special.log1p_less(given)) == pytest.approx(float(less), rel=tolerance, abs=1e-37)


def test_branching_rates_keep_their_digits_for_ten_thousand_rounds(precision):
    rates = np.asarray(mle_special.branching_log(10_000, jnp.dtype(precision)), float)
    rate = mp.mpf(1)
    for t in range(1, 10_001):
        if t in (1, 2, 10, 100, 10_000):
            assert rates[t - 1] == pytest.approx(float(rate), rel=accuracy(jnp.zeros((), precision).dtype)), t
        rate = -mp.expm1(-rate)


WRONG = {
    "MLE-1": [{"regime": "accumulate"}, {"real_fraction": 0.5}, {"family": "normal"}],
    "MLE-1/accumulate": [{"regime": "replace"}],
    "MLE-2": [{"batch": [3.0, 4.0]}],
    "MLE-3": [{"split": "fixed"}, {"real": "anchor"}, {"regime": "accumulate"}],
    "MLE-3/fixed": [{"split": "random"}, {"real_weight": 0.5}],
    "MLE-4": [{"real_weight": None}],
    "MLE-4/weight": [{"family": "exponential"}],
    "MLE-5": [{"real": "fresh"}, {"split": "random"}],
    "MLE-6": [{"regime": "replace"}],
    "MLE-7": [{"family": "gaussian"}, {"variance": (1.0, 2.0)}, {"regime": "accumulate"}],
    "MLE-8": [{"regime": "replace"}],
    "MLE-10/moment": [{"batch": [3.0, 4.0]}],
    "MLE-11": [{"family": "poisson"}],
    "MLE-12": [{"batch": 1.0}],
    "MLE-12/time": [{"batch": 129.0}, {"family": "multinomial"}],
    "MLE-14": [{"family": "bernoulli"}],
    "MLE-15": [{"family": "poisson"}, {"regime": "accumulate"}],
    "MLE-16": [{"family": "exponential"}],
    "MLE-17": [{"divisor": "n-1"}, {"family": "bernoulli"}],
    "MLE-18": [{"family": "fuse"}],
    "MLE-21": [{"family": "jump"}],
}


@pytest.mark.parametrize("id", WRONG)
def test_other_chains_are_refused_with_what_is_needed(id):
    for change in WRONG[id]:
        spec = MLESpec(**dict(get(id).example) | change)
        with pytest.raises(RegimeError, match=rf"^{id}\b"):
            get(id).predict(spec, 2)


def test_a_schedule_that_is_too_short_is_refused():
    spec = MLESpec("gaussian", batch=[3.0, 4.0])
    with pytest.raises(SpecError, match=r"^batch must list"):
        values_of("MLE-1", spec, 3)
    spec = MLESpec("gaussian", real_fraction=[0.5, 0.5])
    with pytest.raises(SpecError, match=r"^real_fraction must list"):
        values_of("MLE-3", spec, 3)


def test_what_is_derived_says_so_and_what_is_not_cites():
    for result in all_results("mle"):
        text = " ".join(result.function.__doc__.split())
        if result.tag == "paper":
            assert result.citation in ("suresh2024", "barzilai2025")
            assert f"{result.base} (paper: " in text
        else:
            assert result.citation == "collapse_jax"
            assert f"{result.base} (derived" in text


def test_a_spec_in_single_precision_is_answered_in_it_whatever_the_switch_says():
    with jax.enable_x64(False):
        spec = MLESpec("poisson", mean=0.25, batch=12)
    with jax.enable_x64(True):
        assert get("MLE-14").predict(spec, 6).values.dtype == np.float32
