"""Iterative maximum likelihood: the comparison, at its default budget, catches every slip in every result.

A constant off by 2 % (where the statement itself claims as much), an index, exponent, sign or divisor off by one, two
arguments exchanged. Not caught, by construction: bounds that became looser (they are mutated in the harmful direction,
as far as the example is from them), and slips within the stated error of an asymptotic law.
"""

import dataclasses
from unittest import mock

import pytest

from collapse_jax.results import all_results, get
from tests.statistical import mutants
from tests.statistical.mutants import missed, mutant, survives

STEP = ("variance_path", "jnp.cumsum(moves *", "jnp.cumsum(1.02 * moves *")
LOST = ("_diversity", "jnp.sum(chances * (1 - chances))", "1.02 * jnp.sum(chances * (1 - chances))")
ROUND = ("_round", "start / sizes", "1.02 * start / sizes")

MUTANTS = {
    "MLE-1": [
        STEP,
        ("steps", "return 1 / sizes", "return 1 / (sizes + 1)"),
        ("quadratic", '"exponential": lambda: (mean**2, one)', '"exponential": lambda: (mean**2, -one)'),
    ],
    "MLE-1/accumulate": [
        STEP,
        ("steps", "jnp.arange(1, generations + 1", "jnp.arange(2, generations + 2"),
        ("steps", "dtype=sizes.dtype) ** 2)", "dtype=sizes.dtype))"),
    ],
    "MLE-1/mean": [("mean", "jnp.broadcast_to(value", "jnp.broadcast_to(1.02 * value")],
    "MLE-1/spread": [
        ("noise_path", "log_factor(curvature * moves)", "log_factor(1.02 * curvature * moves)"),
        ("noise_path", "return start *", "return 1.02 * start *"),
        ("steps", "return 1 / sizes", "return 1 / (sizes + 1)"),
    ],
    "MLE-2": [
        ("limit_variance", "start * square *", "1.02 * start * square *"),
        ("limit_variance", "sinh_excess(curvature * square)", "sinh_excess(-curvature * square)"),
    ],
    "MLE-2/replace": [("replaced_limit", "start / jnp.where(bounded", "1.02 * start / jnp.where(bounded")],
    "MLE-3": [ROUND, ("_round", '(share if spec.split == "random" else 0)', "0")],
    "MLE-3/fixed": [
        ROUND,
        ("_round", "return share * (2 - share) - extra", "return share * (2 - share)"),
        ("_round", '(share if spec.split == "random" else 0)', "share"),
    ],
    "MLE-3/limit": [
        ("shared_limit", "_stationary(added, pull)", "_stationary(1.02 * added, pull)"),
        ("_round", "return share * (2 - share)", "return share * (1 - share)"),
    ],
    "MLE-4": [
        ("weighted_limit", "weight * (2 - weight) - ", "weight * (2 - weight) + "),
        ("weighted_limit", "start * (weight**2", "1.02 * start * (weight**2"),
        ("weighted_limit", "(1 - weight) ** 2 / made)", "(1 - weight) / made)"),
    ],
    "MLE-4/weight": [
        ("best_weight", "2 / (1 + jnp.sqrt", "2.04 / (1 + jnp.sqrt"),
        ("best_weight", "4 * (1 - known) / known", "(1 - known) / known"),
    ],
    "MLE-5": [
        ROUND,
        ("anchored_variance", "met = 2 *", "met = 1 *"),
        ("anchored_variance", "rounds = jnp.arange(generations", "rounds = 1 + jnp.arange(generations"),
    ],
    "MLE-5/limit": [
        ("anchored_limit", "(3 - 2 *", "(3 - 1 *"),
        ("anchored_limit", "_stationary(added", "_stationary(1.02 * added"),
    ],
    "MLE-6": [
        ("subsample_path", "within * (1 - 1 / number)", "within * (1 - 1 / (number + 1))"),
        ("subsample_path", "(noise + drawn - square) / number", "(noise - square) / number"),
        ("subsample_path", "+ noise / size)", "+ 1.05 * noise / size)"),
    ],
    "MLE-6/leading": [
        ("subsampled_leading", "values = 2 + jnp.cumsum", "values = 1 + jnp.cumsum"),
        ("subsampled_leading", "jnp.where(later, 2 / numbers**2, 0)", "jnp.where(later, 1 / numbers**2, 0)"),
    ],
    "MLE-7": [
        ("fitted_variance", "return spec.variance *", "return 1.02 * spec.variance *"),
        ("_log_mean", "-1 / sizes", "-2 / sizes"),
    ],
    "MLE-7/scale": [
        ("_log_scale", "(sizes - 1) / 2", "sizes / 4"),
        ("fitted_scale", "return jnp.sqrt(spec.variance)", "return 1.02 * jnp.sqrt(spec.variance)"),
    ],
    "MLE-7/log": [
        ("log_variance", "jnp.cumsum(", "1.02 * jnp.cumsum("),
        ("_log_typical", "free = sizes - lost", "free = sizes - lost - 1"),
    ],
    "MLE-7/spread": [
        ("log_variance_spread", "jnp.cumsum(", "1.02 * jnp.cumsum("),
        ("log_variance_spread", "- 1) / 2)", "+ 1) / 2)"),
    ],
    "MLE-7/mean": [
        ("wandering_mean", "jnp.cumsum(", "1.02 * jnp.cumsum("),
        ("wandering_mean", "[:-1] / sizes", "[1:] / sizes"),
    ],
    "MLE-7/w2": [
        ("squared_w2", "-2 * jnp.expm1", "-2.04 * jnp.expm1"),
        ("squared_w2", "_log_scale(sizes, ", "_log_scale(sizes + 1, "),
    ],
    "MLE-8": [
        ("_kept_logs", "log_factor(-part / totals)", "log_factor(-1.02 * part / totals)"),
        ("_kept_logs", "jnp.arange(1, generations + 1", "jnp.arange(2, generations + 2"),
    ],
    "MLE-8/mean": [
        ("kept_mean", "factors = products", "factors = 1.02 * products"),
        ("kept_mean", "[:-1] *", "[1:] *"),
    ],
    "MLE-8/limit": [
        ("kept_limit", "return spec.variance * (jnp.sin(x) / x)", "return spec.variance * jnp.sqrt(jnp.sin(x) / x)"),
        ("kept_limit", "x = jnp.pi / jnp.sqrt(size)", "x = 1.05 * jnp.pi / jnp.sqrt(size)"),
    ],
    "MLE-9": [
        ("log_volume", "jnp.cumsum(logs)", "1.02 * jnp.cumsum(logs)"),
        ("log_volume", "range(1, spec.dimension + 1)", "range(2, spec.dimension + 2)"),
    ],
    "MLE-9/covariance": [
        ("fitted_covariance", "_wide(products(", "_wide(1.02 * products("),
        ("_log_mean", "-1 / sizes", "-2 / sizes"),
    ],
    "MLE-9/rank": [("rank", "sizes - 1", "sizes - 2")],
    "MLE-10": [("survival_bound", "1 / (4 * sizes)", "4 / sizes")],
    "MLE-10/mean": [("survival_by_mean", "start + started(", "start + 4 * started(")],
    "MLE-10/moment": [("survival_by_moment", "rounds * (growth", "3 * rounds * (growth")],
    "MLE-11": [
        LOST,
        ("diversity", "jnp.full_like(chances[0], -1)", "jnp.full_like(chances[0], -1.1)"),
        ("steps", "return 1 / sizes", "return 1 / (sizes + 1)"),
    ],
    "MLE-11/accumulate": [
        LOST,
        ("kept_diversity", "jnp.full_like(chances[0], -1)", "jnp.full_like(chances[0], -1.1)"),
        ("steps", "jnp.arange(1, generations + 1", "jnp.arange(2, generations + 2"),
    ],
    "MLE-11/distance": [
        LOST,
        ("distance", "jnp.full_like(chances[0], -1)", "jnp.full_like(chances[0], 1)"),
    ],
    "MLE-11/fixation": [("fixation", '"replace")', '"replace")[::-1]')],
    "MLE-11/support": [
        ("first_support", "size * jnp.log1p", "1.1 * size * jnp.log1p"),
        ("first_support", "-jnp.expm1(logs)", "-1.02 * jnp.expm1(logs)"),
    ],
    "MLE-12": [("unfixed_bound", "known**2 / (2 *", "0.4 * known**2 / (2 *")],
    "MLE-12/time": [
        ("fixation_mean", "1 + values[0]", "values[0]"),
        ("fixation_mean", "number < size", "number < size - 1"),
    ],
    "MLE-12/diffusion": [("fixation_diffusion", "-2 * spec.batch", "-2.4 * spec.batch")],
    "MLE-13": [("alive_bound", "-size * chance / rounds", "-2.5 * size * chance / rounds")],
    "MLE-13/branching": [
        ("alive_branching", "-count * rates", "-1.1 * count * rates"),
        ("branching_log", "1 + (number - 1) / 2", "1 + number / 2"),
    ],
    "MLE-13/late": [("alive_late", "-2 * count / rounds", "-4 * count / rounds")],
    "MLE-14": [
        ("extinct", "-count * branching_log", "-1.1 * count * branching_log"),
        ("branching_log", "1 + (number - 1) / 2", "1 + number / 2"),
    ],
    "MLE-15": [
        ("log_mean", "jnp.cumsum(", "1.02 * jnp.cumsum("),
        ("digamma_less_log", "-inverse / 2", "-inverse"),
    ],
    "MLE-15/spread": [
        ("log_mean_spread", "jnp.cumsum(", "1.02 * jnp.cumsum("),
        ("trigamma", "1 / rungs**2", "1 / rungs"),
    ],
    "MLE-15/square": [
        ("mean_square", "jnp.log1p(1 /", "jnp.log1p(1.1 /"),
        ("mean_square", "** 2 *", "** 2 * 1.02 *"),
    ],
    "MLE-15/inverse": [
        ("inverse_mean", "-1 / jnp.where(finite", "-2 / jnp.where(finite"),
        ("inverse_mean", "jnp.exp(logs) / _true", "1.02 * jnp.exp(logs) / _true"),
    ],
    "MLE-16": [("left_ball", "2 * jax.scipy.special.erfc", "jax.scipy.special.erfc")],
    "MLE-17": [
        ("expected_kl", "parameters / 2 * sums", "parameters * 0.55 * sums"),
        ("expected_kl", "2 if spec.family", "1 if spec.family"),
    ],
    "MLE-18": [("first_tail", "TAIL *", "0.03 * TAIL *"), ("first_tail", "-GAMMA *", "-4 * GAMMA *")],
    "MLE-19": [("collapse_chance", "-gap / 4", "-gap / 2")],
    "MLE-19/tv": [("jump_tv", "else alpha", "else 1.02 * alpha")],
    "MLE-19/first": [("first_ratio", "jnp.ones_like(spec.batch)", "1.02 * jnp.ones_like(spec.batch)")],
    "MLE-19/usual": [("first_usual", "STAYS)", "0.95 * STAYS)")],
    "MLE-19/point": [("point_chance", "SEEN)", "0.93 * SEEN)")],
    "MLE-19/forced": [("forced_alpha", "0.1)", "0.26)")],
    "MLE-20": [("takeover_distance", "3 / 8", "7 / 8")],
    "MLE-21": [
        ("waiting", "jnp.log1p(-gap / 2)", "jnp.log1p(-gap / 1.96)"),
        ("waiting", "jnp.arange(generations + 1", "1 + jnp.arange(generations + 1"),
    ],
    "MLE-21/limit": [("waiting_limit", "2 / (2 +", "3 / (3 +")],
    "MLE-21/gap": [("visit_gap", "- points) * float(np.log(3", "- 0.5 * points) * float(np.log(3")],
    "MLE-21/tv": [("takeover_total", "1 - 1 / 4", "1 - 1 / 8")],
}

RESULTS = [result.id for result in all_results("mle")]


# every result is put to the test, most of them with the slow ones: compiling each takes seconds
FAST = {"MLE-1", "MLE-21"}


@pytest.mark.parametrize("id", [id if id in FAST else pytest.param(id, marks=pytest.mark.slow) for id in RESULTS])
def test_result_survives_and_every_mutant_is_caught(id, x64):
    assert survives(id, among=len(RESULTS))
    assert not missed(id, MUTANTS[id])


def test_a_slip_or_too_small_a_budget_does_not_survive(x64):
    assert survives("MLE-1", among=len(RESULTS))
    for other in (mutant("MLE-1", *STEP), dataclasses.replace(get("MLE-1"), samples=100)):
        with mock.patch.object(mutants, "get", lambda id, other=other: other):
            assert not survives("MLE-1", among=len(RESULTS))
