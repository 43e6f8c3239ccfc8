"""Every result of regression chains: formulas in balls of 300 bits, limits, reductions, refusals, anchors."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("flint")
from flint import ctx

from collapse_jax.errors import RegimeError
from collapse_jax.results import all_results, get
from collapse_jax.specs.regression import RegressionSpec, power_law
from collapse_jax.theory import regression, regression_equivalents, regression_isotropic
from collapse_jax.theory.regression_equations import fit, kappa
from collapse_jax.trajectory import accuracy
from proofs_check.regression import library
from proofs_check.regression.tools import kappa as kappa_in_balls

pytestmark = pytest.mark.usefixtures("quick_compilation")

RESULTS = [result.id for result in all_results("regression")]
CURVES = [result.id for result in all_results("regression") if result.curve]
ROUNDS, INF = library.ROUNDS, float("inf")


def example(id, **changes):
    return RegressionSpec(**{**get(id).example, **changes})


def values_of(id, spec, generations=ROUNDS):
    return get(id).predict(spec, generations).values


# the register


def test_paper_and_project_are_told_apart():
    """One bound is a paper's statement; everything else is derived here and says so."""
    for result in all_results("regression"):
        if result.id == "REG-4":
            assert (result.tag, result.citation) == ("paper", "gerstgrasser2024")
        else:
            assert (result.tag, result.citation) == ("derived", "collapse_jax")
            assert "(derived" in result.function.__doc__
    assert {result.base for result in all_results("regression")} == {f"REG-{number}" for number in range(1, 18)}


# against the formulas as they stand


@functools.cache
def cases(id):
    """Random specs whose numbers are float32 numbers, so that both precisions are asked the same question."""
    reference, how = library.REFERENCES[id]
    rng = np.random.default_rng(int(id.partition("/")[0].partition("-")[2]))
    drawn = [library.draw(rng, index, how) for index in range(6)]
    single = [{name: np.asarray(value, np.float32) for name, value in fields.items()} for fields in drawn]
    # no large sizes without a ridge beside unrelated small ones: float32 sums them to its own rounding only
    cases = [library.Case({name: np.asarray(value, float) for name, value in fields.items()}) for fields in single]
    with ctx.workprec(library.BITS):
        return cases, [np.array([float(v.mid()) for v in reference(case)]) for case in cases], how


def limits(id, columns, how):
    """The first case again at the limits that its result covers: no noise, no or infinite ridge, only real rows."""
    first = {name: np.asarray(values[0]) for name, values in columns.items()}
    changes = [] if id.startswith("REG-15") else [{"learner_noise": 0.0}, {"truth": 0 * first["truth"]}]
    if "learner_ridge" not in how and "few" not in how:
        changes += [{"learner_ridge": INF}]
    if id in ("REG-6", "REG-6/generator", "REG-7", "REG-11", "REG-16"):
        changes += [{"learner_ridge": INF}] * (id in ("REG-6", "REG-7"))
        changes += [{"generator_ridge": np.full_like(first["generator_ridge"], INF)}] * (id != "REG-7")
        plain = {"learner_samples": 20.0, "learner_ridge": 0.0}
        plain |= {name: np.full_like(first[name], value) for name, value in (("generator_samples", 30.0),)}
        changes += [plain | {"generator_ridge": 0 * first["generator_ridge"]}]
        changes += [plain | {"learner_samples": 2.0}]
    if id in ("REG-5", "REG-5/gain", "REG-5/limit"):
        changes += [{"real_fraction": 0.0}, {"real_fraction": 1.0}]
    changes = changes or [{"generator_noise": 0.0}]
    return [first | {name: np.asarray(value) for name, value in change.items()} for change in changes]


@functools.cache
def columns_of(id):
    found, right, how = cases(id)
    columns = {name: np.stack([case.fields[name] for case in found]) for name in found[0].fields}
    edges = limits(id, columns, how)
    every = {name: np.concatenate([columns[name], np.stack([edge[name] for edge in edges])]) for name in columns}
    return every, right, how


@pytest.mark.parametrize("id", RESULTS)
def test_values_are_right_in_both_precisions_and_gradients_finite(id):
    """1e-12 and 1e-5, under jit and vmap over every leaf; gradients of every value also at the limits."""
    columns, right, how = columns_of(id)
    for name in ("float32", "float64"):
        with jax.enable_x64(name == "float64"):

            def total(fields):
                values = values_of(id, RegressionSpec(**fields, regime=how.get("regime", "replace")))
                return jnp.where(jnp.isfinite(values), values, 0).sum(), values

            if name == "float32":
                program = jax.jit(jax.vmap(jax.grad(total, has_aux=True)))
            else:
                program = jax.jit(jax.vmap(lambda fields, total=total: (fields, total(fields)[1])))
            slopes, values = program({key: jnp.asarray(value, name) for key, value in columns.items()})
        values = np.asarray(values)
        assert values.dtype == name
        for row, expected in zip(values, right, strict=False):
            size = np.abs(expected[np.isfinite(expected)]).max(initial=0)
            np.testing.assert_allclose(
                row.ravel(), expected, rtol=10 * accuracy(name), atol=1e-30 * size, err_msg=f"{id} {name}"
            )
        if name == "float32":
            for field, slope in slopes.items():
                bad = ~np.isfinite(np.asarray(slope)).reshape(len(values), -1).all(axis=1)
                assert not bad.any(), (field, {key: value[bad] for key, value in columns.items()})


@pytest.mark.parametrize("id", CURVES)
def test_curve_has_one_entry_more_than_generations(id):
    for generations in (0, 1, 3):
        shape = jax.eval_shape(lambda spec, rounds=generations: values_of(id, spec, rounds), example(id)).shape
        assert shape[0] == generations + 1


# kappa


@pytest.mark.parametrize("ridge", [0.0, 1e-10, 1e-3, 1.0, 1e4])
def test_kappa_is_the_root_for_few_and_many_rows(ridge, precision):
    """Flat, power-law and steep spectra; T below, at and above d; against bisection in balls."""
    ridge = float(np.float32(ridge))
    spectra = np.stack([np.arange(1, 13.0) ** -decay for decay in (0.0, 1.5, 4.0)]).astype(np.float32)
    rows = np.array([4.0, 11.0, 12.0, 13.0, 30.0, 1e6])
    dtype = jnp.dtype(precision)
    each = jax.vmap(jax.vmap(kappa, (None, 0, None)), (0, None, None))
    found = np.asarray(jax.jit(each)(jnp.asarray(spectra, dtype), jnp.asarray(rows, dtype), jnp.asarray(ridge, dtype)))
    from flint import arb

    with ctx.workprec(library.BITS):
        for i, spectrum in enumerate(spectra):
            for j, row in enumerate(rows):
                right = kappa_in_balls([arb(float(v)) for v in spectrum], arb(float(row)), arb(ridge))
                assert found[i, j] == pytest.approx(float(right.mid()), rel=0.5 * accuracy(dtype), abs=1e-30)


def test_kappa_of_a_hundred_thousand_directions(precision):
    """df_1(kappa) = T without ridge, and the equation with one, to the accuracy of the type."""
    spectrum = np.arange(1, 100_001.0) ** -1.5
    program = jax.jit(lambda spectrum, rows, ridge: (kappa(spectrum, rows, ridge), fit(spectrum, rows, ridge).freedom))
    for rows, ridge in ((1000.0, 0.0), (10_000.0, 1e-6), (99_000.0, 0.0)):
        k, freedom = program(
            jnp.asarray(spectrum, precision), jnp.asarray(rows, precision), jnp.asarray(ridge, precision)
        )
        exact = spectrum / (spectrum + float(k))
        slope = np.sum(exact * (1 - exact)) + rows * ridge / float(k)
        assert abs(exact.sum() - rows * (1 - ridge / float(k))) / slope < 3 * accuracy(k.dtype)  # error of log kappa
        assert float(freedom) == pytest.approx(rows - np.sum(exact**2), rel=10 * accuracy(k.dtype))


def test_kappa_has_the_slope_of_its_equation(x64):
    """Implicit derivative against a difference; at no ridge with T > d it is 1/(1 - d/T)."""
    spectrum, h = jnp.asarray([2.0, 1.0, 0.25]), 1e-5

    @jax.jit
    def program(rows, ridge):
        every = jnp.asarray([-1.0, 1.0]) * h
        slopes = jax.grad(kappa, argnums=(0, 1, 2))(spectrum, rows, ridge)
        in_rows = jax.vmap(lambda step: kappa(spectrum, rows + step, ridge))(every)
        in_scale = jax.vmap(lambda step: kappa(spectrum * (1 + step), rows, ridge))(every)
        return slopes, (in_rows[1] - in_rows[0]) / (2 * h), (in_scale[1] - in_scale[0]) / (2 * h)

    for rows, ridge in ((2.0, 0.0), (2.0, 0.1), (5.0, 0.1)):
        slopes, in_rows, in_scale = program(rows, ridge)
        np.testing.assert_allclose(slopes[1], in_rows, rtol=1e-6)
        np.testing.assert_allclose(jnp.sum(slopes[0] * spectrum), in_scale, rtol=1e-6)
    for ridge in (0.0, 1e-9):
        np.testing.assert_allclose(program(5.0, ridge)[0][2], 2.5, rtol=1e-6)


# results among each other


LAW = power_law(8, 1.3, 0.7)


def test_equal_rounds_are_a_schedule_of_equal_rounds(x64):
    equal = example("REG-1")
    listed = dataclasses.replace(equal, generator_samples=[25.0] * 6, generator_noise=[0.7] * 6)
    np.testing.assert_allclose(values_of("REG-2", listed, 6), values_of("REG-1", equal, 6), rtol=1e-14)
    law = example("REG-6", generator_samples=[90.0] * 3, generator_ridge=[0.01] * 3)
    np.testing.assert_allclose(values_of("REG-6", law, 3), values_of("REG-6", example("REG-6"), 3), rtol=1e-13)


def test_no_ridge_and_many_rows_is_least_squares_with_rows_minus_d(x64):
    """REG-6 at kappa = 0 is REG-1 with T - d for T - d - 1, and tends to it with T."""
    spec = RegressionSpec(**LAW, learner_samples=30, generator_samples=40, generator_noise=0.7)
    expected = 0.25 * 8 / 22 + np.arange(4) * 0.49 * 8 / 32
    np.testing.assert_allclose(values_of("REG-6", spec, 3), expected, rtol=1e-13)
    large = dataclasses.replace(spec, learner_samples=1e9, generator_samples=1e9)
    np.testing.assert_allclose(values_of("REG-6", large, 3), values_of("REG-1", large, 3), rtol=1e-8)


def test_ridge_after_least_squares_is_the_composed_step(x64):
    """REG-7 with T_0 - d - 1 and REG-6 with T_0 - d: one more generator row makes them equal."""
    for ridge, rows in ((0.1, 5), (0.1, 30), (1e-4, 30)):
        spec = RegressionSpec(**LAW, learner_samples=rows, learner_ridge=ridge, generator_samples=41)
        step = dataclasses.replace(spec, generator_samples=40)
        np.testing.assert_allclose(values_of("REG-7", spec, 3), values_of("REG-6", step, 3), rtol=1e-12)


def test_isotropic_downstream_is_the_composed_step_in_large_dimension(x64):
    """REG-10 has exact generators: it differs from REG-6 by what 1/(d - T_0 - 1) differs from 1/(d - T_0)."""
    spec = RegressionSpec([1.0], truth=[0.1], dimension=4000, learner_samples=3000, learner_ridge=0.1)
    spec = dataclasses.replace(spec, generator_samples=1000)
    np.testing.assert_allclose(values_of("REG-10", spec, 3), values_of("REG-6", spec, 3), rtol=5e-4)
    bare = dataclasses.replace(spec, learner_ridge=0.0)
    np.testing.assert_allclose(values_of("REG-10/ridgeless", bare, 3), values_of("REG-10", bare, 3), rtol=2e-3)


def test_infinite_ridge_learns_nothing_and_forgets_the_generators(x64):
    spec = RegressionSpec(**LAW, learner_samples=5, learner_ridge=INF, generator_samples=30)
    for id in ("REG-6", "REG-7"):
        np.testing.assert_allclose(values_of(id, spec, 3), float(spec.signal), rtol=1e-14)
    spec = dataclasses.replace(spec, generator_ridge=INF, learner_ridge=0.1)
    np.testing.assert_allclose(values_of("REG-6/generator", spec, 2), [0, *[float(spec.signal)] * 2], rtol=1e-14)


def test_accumulation_without_end(x64):
    spec = example("REG-3")
    limit = regression.accumulated_limit(spec, 2000)
    path = values_of("REG-3", spec, 2000)
    assert 0 < limit.values - path[-1] <= limit.margin
    assert limit.margin < 1e-3 * limit.values
    assert (path < values_of("REG-4", spec, 2000)).all()


def test_share_of_real_rows_between_its_ends(x64):
    """Only real rows forget at once, none add up; the limit is the fixed point, infinite where g >= 1."""
    spec = example("REG-5", real_fraction=0.0)
    plain = dataclasses.replace(spec, learner_noise=0.0, learner_samples=1000)
    np.testing.assert_allclose(values_of("REG-5", spec, 5), values_of("REG-1", plain, 5), rtol=1e-13)
    assert values_of("REG-5/limit", spec) == INF
    half = example("REG-5", real_fraction=0.5)
    np.testing.assert_allclose(values_of("REG-5", half, 200)[-1], values_of("REG-5/limit", half), rtol=1e-12)
    worse = RegressionSpec([1.0], dimension=10, generator_samples=12, real_fraction=0.75)
    assert values_of("REG-5/limit", worse) == INF
    assert round(float(values_of("REG-5/gain", worse)), 4) == 1.7987


def test_floor_rises_from_the_best_clean_ridge_to_the_trivial_level(x64):
    """At n = 0 it is ridge at sigma^2 d/(T R^2); as n grows it tends to R^2, below which it stays."""
    spec = example("REG-15")
    size = float(spec.signal)
    best = dataclasses.replace(spec, learner_ridge=0.25 * 60 / (90 * size))
    floor = np.asarray(values_of("REG-15", spec, 60))
    assert floor[0] == pytest.approx(float(values_of("REG-7", best, 1)[0]), rel=1e-12)
    assert (np.diff(floor) > 0).all()
    assert floor[-1] < size
    loud = dataclasses.replace(spec, generator_noise=1e5)
    assert values_of("REG-15", loud, 1)[1] == pytest.approx(size, rel=1e-4)
    for ridge in np.logspace(-3, 2, 11):
        tried = dataclasses.replace(spec, learner_ridge=float(ridge))
        assert (np.asarray(values_of("REG-7", tried, 60)) >= floor * (1 - 1e-12)).all()


def test_slopes_of_the_equivalents_are_the_exponents(x64):
    """Figure 5's panel: d = T, T_0 = 2T. Adapted ridge: slope -0.59 against -0.6; flat at l = beta."""

    def errors(rows):
        fields = {"learner_samples": rows, "generator_samples": 2 * rows, "learner_noise": 0.0}
        spec = RegressionSpec(**power_law(rows, 1.5, 0.5), **fields, learner_ridge=1.0)
        ridges = jnp.asarray([rows**-0.6, rows**-1.5])
        return jax.jit(jax.vmap(lambda one: values_of("REG-6", spec_with(spec, one), 2)))(ridges)

    slopes = np.log(errors(4096) / errors(1024)) / np.log(4)
    adapted = float(values_of("REG-13", example("REG-13"), 2))
    np.testing.assert_allclose([adapted, slopes[0, 2]], -0.6, atol=0.03)
    np.testing.assert_allclose(slopes[1], [-1.5, 0, 0], atol=0.03)


def spec_with(spec, ridge):
    """The spec with another ridge of the learner, which may be traced."""
    return dataclasses.replace(spec, learner_ridge=ridge)


# anchors and refusals


def test_anchors_of_the_sheet(x64):
    spec = RegressionSpec([1.0], dimension=10, learner_samples=30, generator_samples=40, generator_noise=0.7)
    assert round(float(regression.error(spec, 5).values[5]), 5) == 0.97641
    spec = RegressionSpec([1.0], dimension=8, generator_samples=20, regime="accumulate")
    ratio = regression.accumulated_limit(spec, 9).values / regression.accumulated_error(spec, 1).values[1]
    assert round(float(ratio), 4) == 1.4162
    spec = RegressionSpec([1.0], dimension=6, generator_samples=20, real_fraction=0.25)
    assert round(float(regression.mixed_gain(spec).values), 4) == 0.6520


REFUSED = [
    ("REG-1", {"generator_samples": 4}, r"REG-1 needs generator_samples >= d \+ 2 = 6: at d or d \+ 1 rows the mean"),
    ("REG-1", {"learner_samples": 5}, r"needs learner_samples >= d \+ 2"),
    ("REG-1", {"learner_samples": 3}, "fewer rows than directions ask REG-6"),
    ("REG-1", {"learner_ridge": 0.1}, "with a ridge ask REG-6"),
    ("REG-1", {"generator_samples": (20, 30)}, "for a schedule ask REG-2"),
    ("REG-1", {"real_fraction": 0.5}, "with a real share ask REG-5"),
    ("REG-1", {"regime": "accumulate"}, "for accumulate ask REG-3"),
    ("REG-2", {"generator_samples": (20, 5)}, "the mean error is infinite"),
    ("REG-3", {"regime": "replace"}, "for replace ask REG-1"),
    ("REG-3", {"generator_samples": 5}, r"needs 6 = d \+ 2 rows in the first round"),
    ("REG-4", {"generator_samples": (20, 30)}, "ask REG-3"),
    ("REG-5", {"generator_samples": 5}, "the mean error is infinite"),
    (
        "REG-6",
        {"learner_ridge": 0.0, "learner_samples": 61},
        "needs learner_ridge > 0 where learner_samples is within 3",
    ),
    ("REG-6", {"generator_ridge": 0.0, "generator_samples": 58}, "needs generator_ridge > 0"),
    ("REG-6", {"real_fraction": 0.5}, "ask REG-5"),
    ("REG-7", {"generator_samples": 40}, "ask REG-6"),
    ("REG-7", {"generator_ridge": 1.0}, "ask REG-6"),
    ("REG-8", {"generator_samples": 9}, "in between the mean is infinite"),
    ("REG-8", {"spectrum": (1.0, 0.5), "dimension": None}, "describes an isotropic spectrum"),
    ("REG-9", {"generator_noise": 0.1}, "ask REG-8"),
    ("REG-10", {"learner_ridge": 0.0, "learner_samples": 60}, "needs learner_ridge > 0"),
    ("REG-11", {"generator_samples": (20, 30)}, "ask REG-6"),
    ("REG-12", {"ridge_exponent": 1.6}, "needs 0 < ridge_exponent <= decay"),
    ("REG-12", {"learner_ridge": 0.0}, "needs a finite learner_ridge > 0"),
    ("REG-12/noise", {"learner_noise": 0.0}, "needs learner_noise > 0"),
    ("REG-13", {"generator_samples": 100}, r"needs generator_samples >= d \+ 2"),
    ("REG-13/plateau", {"generator_noise": 0.0}, "ask REG-13"),
    ("REG-14", {"ridge_exponent": 0.6}, "above that of REG-13"),
    ("REG-14/rise", {"ridge_exponent": 1.5}, "the rising branch is empty"),
    ("REG-14/rise", {"learner_samples": 256}, "the branch begins beyond d"),
    ("REG-15", {"learner_noise": 0.0}, "needs learner_noise > 0"),
    ("REG-15", {"generator_samples": 40}, "needs generator_samples >= d"),
    ("REG-16", {"generator_samples": 4}, "a Gram matrix has at most T eigenvalues"),
    ("REG-17", {"learner_ridge": 0.0}, "drawn twice"),
]


@pytest.mark.parametrize(("id", "changes", "says"), REFUSED)
def test_what_a_result_does_not_describe_is_refused_in_one_line(id, changes, says):
    with pytest.raises(RegimeError, match=says) as refused:
        get(id).predict(example(id, **changes), 2)
    assert str(refused.value).startswith(id.partition("/")[0])
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 160


def test_margins_shrink_with_size(x64):
    """An equivalent says how far it may be off: 1.5/(T - df_2) of itself."""
    small = RegressionSpec([1.0], dimension=20, learner_samples=40, generator_samples=50)
    found = regression_equivalents.error(small, 1)
    np.testing.assert_allclose(found.margin / found.values, [1.5 / 20, 1.5 / 20])
    found = regression_isotropic.downstream_error(dataclasses.replace(small, learner_samples=220), 1)
    np.testing.assert_allclose(found.margin / found.values, 1.5 / 200)
