"""The logic of verdicts: what agrees, what violates, what stays open, and at which rate a true statement is accused."""

import inspect
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.compare import band, compare, critical_value, fit_rate
from collapse_jax.errors import MeasurementError
from collapse_jax.trajectory import KINDS, Prediction, Trajectory

REPLICATES, ENTRIES = 64, 6
CURVE = np.linspace(2.0, 1.0, ENTRIES)
SMALL, LARGE = 1e-3, 0.5  # spread of one replicate that resolves a deviation of 1 %, and one that does not
COMPARE = sys.modules["collapse_jax.compare"]


def measured(spread=SMALL, *, curve=CURVE, replicates=REPLICATES, seed=0, **fields):
    noise = np.random.default_rng(seed).normal(size=(replicates, *np.shape(curve)))
    return Trajectory(np.asarray(curve) * (1 + spread * noise), **fields)


def predicted(factor=1.0, kind="exact", curve=CURVE, **fields):
    return Prediction(factor * np.asarray(curve), kind=kind, **fields)


# the three verdicts


@pytest.mark.parametrize(
    ("factor", "spread", "status"),
    [
        (1.0, SMALL, "agrees"),
        (1.02, SMALL, "violates"),
        (0.98, SMALL, "violates"),
        (1.0, LARGE, "inconclusive"),
        (1.02, LARGE, "inconclusive"),
        (3.0, LARGE, "violates"),
    ],
)
def test_exact_statement(factor, spread, status):
    verdict = compare(predicted(factor), measured(spread))
    assert verdict.status == status
    assert verdict.points == ENTRIES
    assert verdict.tightness is None


@pytest.mark.parametrize("generation", [0, 3, ENTRIES - 1])
def test_one_wrong_generation_is_enough_and_is_named(generation):
    wrong = np.where(np.arange(ENTRIES) == generation, 1.05, 1.0)
    verdict = compare(Prediction(CURVE * wrong), measured())
    assert verdict.status == "violates"
    assert verdict.generation == generation
    assert verdict.deviation == pytest.approx(1 / 1.05 - 1, abs=4 * SMALL / np.sqrt(REPLICATES))


def test_generation_is_counted_along_the_first_axis():
    curve = np.ones((4, 3))
    wrong = curve.copy()
    wrong[2, 1] = 1.1
    assert compare(Prediction(wrong), measured(curve=curve)).generation == 2


def test_detectable_deviation_is_caught_at_the_stated_power():
    """A curve off by exactly what a verdict calls detectable is a violation in 90 % of fresh measurements."""
    one = np.ones(1)
    smallest = compare(predicted(curve=one), measured(curve=one)).detectable
    caught = [
        compare(predicted(1 / (1 + smallest), curve=one), measured(curve=one, seed=seed)).status == "violates"
        for seed in range(1, 201)
    ]
    low, high = stats.binom.interval(0.999, len(caught), 0.9)
    # the spread of the first measurement stands for all: a standard deviation from 64 is known to 9 %
    assert low - 0.06 * len(caught) <= sum(caught) <= high + 0.06 * len(caught)


def test_detectable_shrinks_with_the_square_root_of_replicates():
    few, many = (compare(predicted(), measured(replicates=count)).detectable for count in (64, 6400))
    assert few / many == pytest.approx(10, rel=0.35)


def test_relevant_deviation_decides_between_agrees_and_inconclusive():
    verdict = compare(predicted(), measured(0.01))
    assert compare(predicted(), measured(0.01), relevant=1.01 * verdict.detectable).status == "agrees"
    assert compare(predicted(), measured(0.01), relevant=0.99 * verdict.detectable).status == "inconclusive"


# bounds


@pytest.mark.parametrize(("kind", "right"), [("upper bound", 1.5), ("lower bound", 0.5)])
def test_bound_is_one_sided(kind, right):
    harmless, equal = compare(predicted(right, kind), measured()), compare(predicted(1.0, kind), measured())
    assert harmless.status == equal.status == "agrees"
    assert harmless.tightness == pytest.approx(1 / right, rel=4 * SMALL)
    assert compare(predicted(1 / right, kind), measured()).status == "violates"
    assert compare(predicted(1 + (1 - right) * 0.04, kind), measured()).status == "violates"


@pytest.mark.parametrize(("kind", "side"), [("upper bound", 1), ("lower bound", -1)])
def test_conditional_bound_must_hold_in_every_replicate(kind, side):
    """One bad replicate of 64 violates a conditional bound, and is no more than noise to a bound on the mean."""
    values = np.full((REPLICATES, ENTRIES), 1.0)
    values[7, 2] += side * 0.01
    bound = np.full((REPLICATES, ENTRIES), 1.0 + side * 1e-6)
    conditional = compare(Prediction(bound, kind=kind), Trajectory(values))
    assert conditional.status == "violates"
    assert conditional.generation == 2
    on_the_mean = compare(Prediction(bound[0], kind=kind), Trajectory(values))
    assert on_the_mean.status == "agrees"
    values[7, 2] = 1.0
    assert compare(Prediction(bound, kind=kind), Trajectory(values)).status == "agrees"


def test_conditional_exact_statement_is_compared_replicate_by_replicate():
    """Replicates that differ wildly agree with their own predictions; exchanged predictions do not."""
    own = np.random.default_rng(0).uniform(1, 9, (REPLICATES, ENTRIES))
    verdict = compare(Prediction(own), Trajectory(own * (1 + 1e-14)))
    assert verdict.status == "agrees"
    assert verdict.detectable < 1e-11
    assert compare(Prediction(own), Trajectory(own * 1.02)).status == "violates"


# margin, rounding, infinity


def test_margin_is_allowed_and_no_more():
    for off, status in ((1.015, "agrees"), (1.03, "violates")):
        assert compare(predicted(off, "asymptotic", margin=0.02 * CURVE), measured(), relevant=0.05).status == status


def test_margin_limits_what_can_be_detected():
    verdict = compare(predicted(margin=0.02 * CURVE), measured())
    assert verdict.detectable > 0.02
    assert verdict.status == "inconclusive"


def test_infinite_margin_takes_a_place_out_of_the_test():
    margin = np.where(np.arange(ENTRIES) == 1, np.inf, 0.0)
    wrong = np.where(np.arange(ENTRIES) == 1, 7.0, 1.0)
    verdict = compare(Prediction(CURVE * wrong, margin=margin), measured())
    assert verdict.status == "agrees"
    assert (verdict.points, verdict.unresolved) == (ENTRIES - 1, 1)
    assert compare(Prediction(CURVE * wrong, margin=np.inf), measured()).status == "inconclusive"


def test_values_below_the_resolution_are_not_tested():
    tail = CURVE * np.where(np.arange(ENTRIES) > 3, 1e-9, 1.0)
    wrong = tail * np.where(np.arange(ENTRIES) > 3, 50.0, 1.0)
    verdict = compare(Prediction(wrong), measured(curve=tail, resolution=1e-6))
    assert verdict.status == "agrees"
    assert verdict.unresolved == 2
    assert compare(Prediction(wrong), measured(curve=tail)).status == "violates"


@pytest.mark.parametrize(("factor", "status"), [(1 + 5e-6, "agrees"), (1 + 5e-5, "violates")])
def test_single_precision_gets_the_rounding_that_theory_promises(factor, status):
    """A measurement in float32 is not held to more than 1e-5; the same numbers in float64 are."""
    single = Trajectory(jnp.ones((REPLICATES, 2), jnp.float32))
    assert compare(Prediction(np.full(2, factor)), single).status == status
    assert compare(Prediction(np.full(2, factor)), Trajectory(np.ones((REPLICATES, 2)))).status == "violates"


def test_no_spread_is_no_excuse():
    """Deterministic replicates: rounding apart, any difference is a violation."""
    same = Trajectory(np.broadcast_to(CURVE, (4, ENTRIES)))
    assert compare(Prediction(CURVE * (1 + 1e-13)), same).status == "agrees"
    assert compare(Prediction(CURVE * (1 + 1e-11)), same).status == "violates"
    assert compare(Prediction(CURVE), same).statistic == 0


@pytest.mark.parametrize(
    ("prediction", "measurement", "status"),
    [
        (np.inf, np.inf, "agrees"),
        (np.inf, 2.0, "violates"),
        (2.0, np.inf, "violates"),
        (2.0, np.nan, "inconclusive"),
        (-np.inf, -np.inf, "agrees"),
        (-np.inf, np.inf, "violates"),
        (np.nan, 2.0, "violates"),
    ],
)
def test_infinities(prediction, measurement, status):
    """Infinite on both sides is agreement, on one side as wrong as can be; not a number is no measurement."""
    verdict = compare(Prediction(np.asarray(prediction)), Trajectory(np.full(8, measurement)))
    assert verdict.status == status


def test_infinity_beside_finite_values():
    curve = np.array([1.0, 2.0, np.inf])
    trajectory = Trajectory(
        np.concatenate([measured(curve=curve[:2]).values, np.full((REPLICATES, 1), np.inf)], axis=1)
    )
    assert compare(Prediction(curve), trajectory).status == "agrees"
    assert compare(Prediction(np.array([1.0, 2.1, np.inf])), trajectory).status == "violates"
    assert compare(Prediction(np.array([1.0, 2.0, 3.0])), trajectory).status == "violates"


def test_verdict_becomes_plain_numbers():
    record = compare(Prediction(np.asarray(np.inf)), Trajectory(np.full(8, 2.0))).as_dict()
    assert record["deviation"] is None
    assert record["status"] == "violates"


# what is refused


@pytest.mark.parametrize(
    ("prediction", "trajectory", "settings", "says"),
    [
        (predicted(curve=CURVE[:3]), measured(), {}, r"shape \(3,\) but the trajectory \(64, 6\)"),
        (predicted(), measured(replicates=1), {}, "at least 2 replicates"),
        (predicted(), Trajectory(np.asarray(1.0)), {}, "at least 2 replicates"),
        (predicted(observable="gain"), measured(observable="spectrum"), {}, "'gain' but the trajectory of 'spectrum'"),
        (predicted(), measured(), {"error_rate": 0.0}, "error_rate must lie between 0 and 1, got 0.0"),
        (predicted(), measured(), {"error_rate": float("nan")}, "error_rate must lie between 0 and 1, got nan"),
        (predicted(), measured(), {"relevant": 1.0}, "relevant must lie between 0 and 1, got 1.0"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(prediction, trajectory, settings, says):
    with pytest.raises(MeasurementError, match=says) as refused:
        compare(prediction, trajectory, **settings)
    assert "\n" not in str(refused.value)


# critical value


@pytest.mark.parametrize("error_rate", [0.05, 0.01])
@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize("replicates", [4, 16, 64])
def test_one_point_is_students_t(error_rate, two_sided, replicates):
    """A single point needs no draws: the rate is that of Student's t."""
    residuals = np.random.default_rng(3).normal(size=(replicates, 1))
    critical = critical_value(residuals, error_rate, two_sided=two_sided)
    rate = (1 + two_sided) * stats.t.sf(critical, replicates - 1)
    assert rate == pytest.approx(error_rate)


def test_independent_points_are_near_bonferroni_and_tied_points_count_once():
    """Family-wise over 20 points: independent ones need the Šidák rate each, copies of one point no more than it."""
    residuals = np.random.default_rng(0).normal(size=(200, 20))
    error = 4 * np.sqrt(0.05 * 0.95 / COMPARE._DRAWS)
    family = 1 - (1 - 2 * stats.t.sf(critical_value(residuals, 0.05), 199)) ** 20
    # sample correlations of 1/sqrt(200) between the points make them a little dependent
    assert abs(family - 0.05) < error + 0.01
    copies = np.repeat(residuals[:, :1], 20, axis=1)
    assert abs(2 * stats.t.sf(critical_value(copies, 0.05), 199) - 0.05) < error


def test_points_without_spread_take_no_part():
    residuals = np.random.default_rng(0).normal(size=(16, 3))
    assert critical_value(np.pad(residuals, ((0, 0), (0, 4))), 0.05) == critical_value(residuals, 0.05)
    constant = critical_value(np.ones((16, 2)), 0.05)
    assert constant == pytest.approx(stats.t.ppf(0.975, 15))


# the rate of false alarms, and that it would notice a wrong verdict


def dependent(replicates, sets, seed=0, points=16, memory=0.9):
    """Curves of an autoregression: ``[sets, replicates, points]``, variance 1, mean 0."""
    fresh = np.random.default_rng(seed).normal(size=(sets, replicates, points))
    curves = np.empty_like(fresh)
    curves[..., 0] = fresh[..., 0]
    for point in range(1, points):
        curves[..., point] = memory * curves[..., point - 1] + np.sqrt(1 - memory**2) * fresh[..., point]
    return curves


SETS, RATE = 200, 0.1
NOMINAL = stats.binom.interval(0.999, SETS, RATE)


@pytest.fixture
def few_draws(monkeypatch):
    """A quantile of 0.1 needs fewer draws than one of 0.01."""
    monkeypatch.setattr(COMPARE, "_DRAWS", 1000)


def false_alarms(module):
    """How many of the true statements are called violated."""
    zero = Prediction(np.zeros(16))
    verdicts = [module.compare(zero, Trajectory(curves), error_rate=RATE) for curves in dependent(32, SETS)]
    return sum(verdict.status == "violates" for verdict in verdicts)


def test_false_alarms_have_their_rate(few_draws):
    assert NOMINAL[0] <= false_alarms(COMPARE) <= NOMINAL[1]


ERROR = "residuals.std(axis=0, ddof=1) / np.sqrt(len(residuals))"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(ERROR, "residuals.std(axis=0, ddof=1)", id="no square root of replicates"),
        pytest.param(ERROR, "residuals.std(axis=0, ddof=1) / len(residuals)", id="replicates without the root"),
        pytest.param(".max(axis=2)\n    return float", "[:, :, 0]\n    return float", id="one point instead of all"),
        pytest.param("np.abs(score) if two_sided else score", "score", id="one side instead of two"),
        pytest.param("1 - error_rate))", "1 - error_rate / 5))", id="another rate"),
    ],
)
def test_calibration_notices_a_wrong_verdict(old, new, monkeypatch):
    """Each of these slips in the comparison changes the rate of false alarms beyond its binomial error."""
    source = inspect.getsource(COMPARE)
    assert source.count(old) == 1
    module = types.ModuleType("wrong_compare")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look themselves up there
    exec(source.replace(old, new), module.__dict__)
    module._DRAWS = 1000
    assert not NOMINAL[0] <= false_alarms(module) <= NOMINAL[1]


def test_band_covers_the_truth_at_its_rate(few_draws):
    covered = 0
    for curves in dependent(32, SETS):
        _, low, high = band(Trajectory(curves), error_rate=RATE)
        covered += bool(((low <= 0) & (high >= 0)).all())
    assert NOMINAL[0] <= SETS - covered <= NOMINAL[1]


# rates


def test_known_rates_are_fitted_exactly():
    j = np.arange(12.0)
    geometric = Trajectory(np.stack([a * 0.7**j for a in (1.0, 2.0, 5.0)]))
    fit = fit_rate(geometric, 2, 11, against="generation")
    assert np.exp(fit.slope) == pytest.approx(0.7, rel=1e-12)
    assert fit.standard_error < 1e-12
    power = Trajectory(np.stack([a * (j + 1) ** -1.5 for a in (1.0, 3.0)]))
    assert fit_rate(power, 0, 11, against="log generation").slope == pytest.approx(-1.5, rel=1e-12)


def test_standard_error_of_a_rate_is_calibrated():
    """slope / standard error is Student's t for curves whose noise depends on the generation before."""
    j = np.arange(16.0)
    scores = []
    for noise in dependent(12, 400):
        fit = fit_rate(Trajectory(np.exp(-0.3 * j + 0.1 * noise)), 0, 15, against="generation")
        scores.append((fit.slope + 0.3) / fit.standard_error)
    assert stats.kstest(scores, stats.t(11).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("values", "window", "says"),
    [
        (np.ones((4, 6)), (3, 3), "window 3..3 does not fit"),
        (np.ones((4, 6)), (0, 6), "window 0..6 does not fit a curve of 5 generations"),
        (np.ones((1, 6)), (0, 5), "replicates >= 2"),
        (np.ones((4, 6, 2)), (0, 5), "replicates >= 2"),
        (np.zeros((4, 6)), (0, 5), "positive values"),
    ],
)
def test_rate_that_cannot_be_fitted_is_refused(values, window, says):
    with pytest.raises(MeasurementError, match=says):
        fit_rate(Trajectory(values), *window, against="generation")


def test_kinds_are_those_of_the_contract():
    assert set(KINDS) == {"exact", "asymptotic", "upper bound", "lower bound"}


@pytest.mark.parametrize("size", [1e-290, 1e-170, 1.0, 1e170, 1e290])
def test_a_verdict_does_not_hang_on_the_size_of_the_numbers(size):
    """Neither the variance of tiny values underflows nor that of huge ones overflows."""
    noise = np.random.default_rng(1).normal(size=(64, 3))
    trajectory = Trajectory(size * (1 + 1e-3 * noise))
    right, wrong = (
        compare(Prediction(size * np.ones(3)), trajectory),
        compare(Prediction(1.01 * size * np.ones(3)), trajectory),
    )
    assert (right.status, wrong.status) == ("agrees", "violates")
    assert right.statistic == pytest.approx(compare(Prediction(np.ones(3)), Trajectory(1 + 1e-3 * noise)).statistic)


@pytest.mark.parametrize("transformed", [True, False])
def test_skewed_replicates_raise_alarms_at_their_rate(transformed, few_draws, monkeypatch):
    """Means of 32 exponential numbers against a lower bound that is tight; without the transformation too often."""
    if not transformed:
        monkeypatch.setattr(COMPARE, "unskewed", lambda score, skewness, replicates: score)
    sets, rate = 600, 0.05
    draws = np.random.default_rng(5).exponential(size=(sets, 32, 1))
    bound = predicted(curve=[1.0], kind="lower bound")
    alarms = sum(compare(bound, Trajectory(one), error_rate=rate, relevant=0.9).status == "violates" for one in draws)
    assert (alarms <= stats.binom.ppf(0.999, sets, rate)) == transformed


def test_transformation_is_monotone_and_can_be_undone():
    scores = np.linspace(-30, 30, 301)
    for skewness in (-4.0, -0.5, 0.0, 1e-9, 1.0, 6.0):
        moved = COMPARE.unskewed(scores, skewness, 32)
        assert (np.diff(moved) >= 0).all()
        np.testing.assert_allclose(COMPARE._skewed(moved, skewness, 32), scores, rtol=1e-5, atol=1e-4)
