"""Regression chains: the comparison, at its default budget, catches every slip in every result.

Exact statements: a constant off by 2 or 3 %, an index or exponent off by one, T - d for T - d - 1, two arguments
exchanged. Equivalents are claimed up to 1.5/(T - df_2) and exponents up to 0.2: their mutants are slips larger than
that, as are those of bounds, which are broken in the harmful direction only.
"""

import pytest

from collapse_jax.results import all_results
from tests.statistical.mutants import missed, survives

EXACT_COST = ("_cost", "(rows - spec.dimension - 1)", "(rows - spec.dimension)")
COST = ("_cost", "return noise**2 *", "return 1.02 * noise**2 *")
STEP = ("step", "+ (2 * kept * before.lost + lost) * lost", "+ (2 * kept * before.lost - lost) * lost")
FREEDOM = ("fit", "return Fit(kept, lost, spare + jnp.sum(kept * lost))", "return Fit(kept, lost, spare)")
KAPPA = ("_gap", "ridged = ridge_rows / k", "ridged = 2 * ridge_rows / k")
MADE = ("_parts", "(jnp.abs(size - rows) - 1)", "jnp.abs(size - rows)")
ETA = (
    "_parts",
    "eta = jnp.asarray(jnp.minimum(rows / size, 1)",
    "eta = jnp.asarray(0.97 * jnp.minimum(rows / size, 1)",
)
LOST = ("_parts", "lost = jnp.maximum(size - rows, 0) / size", "lost = 1.02 * jnp.maximum(size - rows, 0) / size")
KEPT = ("_kept", "(spec.spectrum + spec.generator_ridge)", "(spec.spectrum + 1.1 * spec.generator_ridge)")
VARIANCE = ("_variance", "after = square * (1 + total)", "after = square * (1.02 + total)")
BIAS = ("_bias", "return _smooth(spec) * spec.ridge_exponent", "return 2 * _smooth(spec) * spec.ridge_exponent")

MUTANTS = {
    "REG-1": [
        EXACT_COST,
        ("_error", "made = jnp.cumsum(", "made = 1.03 * jnp.cumsum("),
        ("_error", "own = _cost(spec, spec.learner_samples", "own = _cost(spec, spec.generator_samples"),
    ],
    "REG-2": [
        COST,
        (
            "_error",
            "made = jnp.cumsum(_cost(spec, rows, noises))",
            "made = jnp.cumsum(_cost(spec, rows[::-1], noises))",
        ),
    ],
    "REG-3": [
        ("accumulated_error", "(total - spec.dimension - 1)", "(total - spec.dimension)"),
        ("accumulated_error", "(rows / total)", "(rows / total[0])"),
        ("accumulated_error", "parts = spec.dimension", "parts = 1.05 * spec.dimension"),
    ],
    "REG-3/limit": [
        ("accumulated_limit", "up = spec.dimension + 1", "up = spec.dimension"),
        ("accumulated_limit", "limit = size / up", "limit = 1.1 * size / up"),
    ],
    "REG-4": [("accumulated_bound", "bound = np.pi**2 / 6 *", "bound = np.pi**2 / 6.5 *")],
    "REG-5": [
        EXACT_COST,
        ("_gain", "share * spec.real_fraction * _excess(spec)", "0"),
        ("_gain", "return share**2 +", "return 1.05 * share**2 +"),
        ("mixed_error", "(gain * total + own,)", "(gain * (total + own),)"),
    ],
    "REG-5/gain": [
        ("_gain", "share * spec.real_fraction * _excess(spec)", "0"),
        ("_gain", "return share**2 +", "return 1.02 * share**2 +"),
        ("_excess", "(rows - up)", "(rows - up + 1)"),
        ("_excess", "spec.dimension + 1", "spec.dimension"),
    ],
    "REG-5/limit": [
        COST,
        ("mixed_limit", "(1 - share) * (1 - _excess(spec))", "(1 - share)"),
    ],
    "REG-6": [
        KAPPA,
        ("_learned", "jnp.sum(kept**2) * (unexplained", "1.2 * jnp.sum(kept**2) * (unexplained"),
        ("_learned", "jnp.sum(spectrum * lost**2 * columns.square, axis=0) + spec.learner", "spec.learner"),
    ],
    "REG-6/generator": [
        STEP,
        FREEDOM,
        KAPPA,
        ("step", "unexplained = jnp.sum(spec.spectrum * lost**2 * before.square) + noise**2", "unexplained = noise**2"),
    ],
    "REG-7": [
        KAPPA,
        ("ridge_error", "(spec.generator_samples - spec.dimension - 1)", "spec.generator_samples"),
        ("ridge_error", "jnp.sum(lost**2) * spread", "0"),
        ("ridge_error", "n = jnp.arange(generations + 1", "n = 1 + jnp.arange(generations + 1"),
    ],
    "REG-8": [MADE, ETA, LOST],
    "REG-8/signal": [MADE, ETA, ("signal", "left * spec.signal + made", "left * spec.signal + 1.03 * made")],
    "REG-8/overlap": [ETA, ("overlap", "[0] * spec.signal", "[0] * 1.02 * spec.signal")],
    "REG-9": [ETA, ("noiseless_signal", "_parts(spec, generations)[0]", "_parts(spec, generations)[0] ** 2")],
    "REG-9/error": [LOST, ("noiseless_error", "_parts(spec, generations)[1]", "_parts(spec, generations)[0]")],
    "REG-10": [
        KAPPA,
        ("downstream_error", "lost_square = q**2 * (1 + spread)", "lost_square = q**2"),
        ("downstream_error", "square * made +", "made +"),
    ],
    "REG-10/ridgeless": [
        MADE,
        ("ridgeless_error", "(gone + left * missing) * spec.signal", "gone * spec.signal"),
        ("ridgeless_error", "(jnp.abs(size - rows) - 1)", "jnp.abs(size - rows)"),
    ],
    "REG-11": [
        KAPPA,
        ("coordinates", "powers(kept, generations)", "powers(kept**2, generations)"),
        ("coordinates", "* spec.truth[None]", "* 1.02 * spec.truth[None]"),
    ],
    "REG-12": [
        ("error_slope", "return -jnp.where(", "return -2 * jnp.where("),
        ("error_slope", "jnp.minimum(_bias(spec), _noise(spec))", "jnp.minimum(2 * _bias(spec), 1.0)"),
    ],
    "REG-12/bias": [BIAS, ("_smooth", "2 * jnp", "1 * jnp")],
    "REG-12/noise": [("_noise", "1 - spec.ridge_exponent / spec.decay", "1 - 0 * spec.decay")],
    "REG-12/df": [("df_slope", "return spec.ridge_exponent / spec.decay", "return 2 * spec.ridge_exponent")],
    "REG-13": [("_adapted", "(_smooth(spec) * spec.decay + 1)", "(_smooth(spec) * spec.decay)")],
    "REG-13/plateau": [("plateau", "return jnp.ones(", "return 0.7 * jnp.ones(")],
    "REG-14": [("crossover_slope", "e = _bias(spec) - _noise(spec)", "e = _bias(spec) / 2 - _noise(spec)")],
    "REG-14/rise": [
        ("rise_slope", "return spec.ridge_exponent / spec.decay", "return -spec.ridge_exponent / spec.decay")
    ],
    "REG-15": [
        ("_floor", "values = size * per_direction * made / total +", "values = size * per_direction +"),
        ("_floor", "(per_direction / total) ** 2 * ridged", "2 * ridged"),
    ],
    "REG-15/attained": [
        ("_floor", "(per_direction / total) ** 2 * ridged", "(per_direction / total) * ridged"),
        ("_floor", "lost[0] ** 2 * (1 + spread)", "lost[0] * (1 + spread)"),
    ],
    "REG-16": [
        KEPT,
        VARIANCE,
        ("in_sample_error", "(kept * total + lost,)", "(kept * (total + lost),)"),
    ],
    "REG-16/mean": [KEPT, ("in_sample_mean", "clean = jnp.sqrt(", "clean = 1.02 * jnp.sqrt(")],
    "REG-16/variance": [KEPT, ("_variance", "square = _kept(spec) ** 2", "square = _kept(spec)")],
    "REG-17": [
        KAPPA,
        ("_learned", "jnp.sum(kept**2) * (unexplained", "1.6 * jnp.sum(kept**2) * (unexplained"),
    ],
}

RESULTS = [result.id for result in all_results("regression")]
# every result is put to the test, most of them with the slow ones: compiling each takes seconds
FAST = {"REG-1"}


@pytest.mark.parametrize(
    "id",
    [
        result.id if result.id in FAST else pytest.param(result.id, marks=pytest.mark.slow)
        for result in all_results("regression")
    ],
)
def test_result_survives_and_every_mutant_is_caught(id, x64):
    assert survives(id, among=len(RESULTS))
    assert not missed(id, MUTANTS[id])
