"""Contaminated training: the comparison, at its default budget, catches every slip in every result.

As for the other subjects: a constant off by 2 %, an index, exponent or sign off by one, two arguments exchanged. Not
caught, by construction: bounds that became looser (they are mutated in the harmful direction, and only as far as the
example comes near them), and slips within the stated error of an asymptotic law.
"""

import pytest

from collapse_jax.results import all_results
from tests.statistical.mutants import missed, survives

OWN = ("mixture_step", "return inverse + rest * forgotten(share), rest * (1 - share) ** 2, inverse")
NOISE = (*OWN, "return inverse + rest * forgotten(share), rest * (1 - share) ** 2, 1.02 * inverse")
SQUARE = (*OWN, "return inverse + rest * share, rest * (1 - share), inverse")
PAST = (*OWN, "return forgotten(share), (1 - share) ** 2, inverse")
START = ("inverse_sizes", "1 / spec.start_size", "1.02 / spec.start_size")
INDEX = ("inverse_sizes", "spec.shares(generations))", "spec.shares(generations + 1)[1:])")
SIZES = ("inverse_sizes", "spec.sizes(generations),", "spec.sizes(generations + 1)[1:],")
RECIPROCAL = ("mean_reciprocal", "return jnp.sum(", "return 1.02 * jnp.sum(")
SETTLED = ("settled_size", "(1 - share) ** 2", "(1 - share)")

MUTANTS = {
    "CON-1": [NOISE, SQUARE, PAST, START, ("forgotten", "share * (2 - share)", "share * (2.04 - share)")],
    "CON-2": [  # its entries are too many to see the 2 % that CON-1 sees
        SQUARE,
        ("covariance", "own = jnp.diag(truth * (1 - truth))", "own = jnp.diag(truth)"),
        ("covariance", "(own - other)", "(own + other)"),
    ],
    "CON-2/mean": [("mean", "spec.truth,", "1.02 * spec.truth,"), ("mean", "spec.truth,", "spec.truth[::-1],")],
    "CON-2/size": [NOISE, SQUARE, PAST],
    "CON-3": [
        ("risk_without_real_data", "lost_path(1 /", "lost_path(1.02 /"),
        ("risk_without_real_data", "spec.sizes(generations)]", "spec.sizes(generations)[::-1]]"),
    ],
    "CON-3/unrolled": [
        NOISE,
        SQUARE,
        ("risk_by_age", "rounds[None, 1:] > rounds[:, None]", "rounds[None, 1:] >= rounds[:, None]"),
    ],
    "CON-3/limit": [("collapsed_risk", "return spec.diversity", "return 0.98 * spec.diversity")],
    "CON-4": [
        ("settling_risk", "jnp.exp(rounds * log)", "jnp.exp((rounds + 1) * log)"),
        ("settling_risk", "-jnp.expm1(rounds * log)", "-jnp.expm1(1.02 * rounds * log)"),
        SETTLED,
    ],
    "CON-4/limit": [SETTLED, ("settled_risk", "return spec.diversity", "return 1.02 * spec.diversity")],
    "CON-5": [
        ("_break_even", "(effective - 1) + gained", "effective + gained"),
        ("_break_even", "gained = forgotten(share)", "gained = forgotten(1.03 * share)"),
    ],
    "CON-5/never": [("first_risk_bound", "spec.diversity /", "1.03 * spec.diversity /")],
    "CON-6": [
        ("_size_for", "kept = (1 - share) ** 2 * before", "kept = (1 - share) * before"),
        ("_size_for", "(1 - kept) /", "(1.02 - kept) /"),
    ],
    "CON-6/step": [
        ("_break_even", "(effective - 1) + gained", "effective + gained"),
        ("break_even_size", "inverse_sizes(spec, generations)[-1]", "inverse_sizes(spec, generations)[-3]"),
    ],
    "CON-6/floor": [
        ("ratio_floor", "(1 - shares) ** 2]", "1.02 * (1 - shares) ** 2]"),
        ("ratio_floor", "(1 - shares) ** 2]", "(1 - shares)]"),
    ],
    "CON-7": [
        ("steady_share_bound", "left = (1 - least) ** 2", "left = (1 - least) ** 3"),
        ("steady_share_bound", "return spec.diversity *", "return 0.95 * spec.diversity *"),
    ],
    "CON-7/decaying": [
        ("decaying_share_bound", "return spec.diversity *", "return 0.9 * spec.diversity *"),
        (
            "decaying_share_bound",
            "1 / (sizes * jnp.where(some, gained, 1))",
            "0.5 / (sizes * jnp.where(some, gained, 1))",
        ),
    ],
    "CON-7/size": [("clean_bound", "return spec.diversity", "return 1.04 * spec.diversity")],
    "CON-7/summable": [
        ("memory_bound", "jnp.cumprod((1 - shares) ** 2)", "jnp.cumprod(1 - shares)"),
        ("memory_bound", "return spec.diversity", "return 1.04 * spec.diversity"),
    ],
    "CON-8": [
        ("late_slope", "jnp.minimum(a - b, 0)", "jnp.minimum(-b, 0)"),
        ("late_slope", "jnp.minimum(a - b, 0)", "1.25 * jnp.minimum(a - b, 0)"),
    ],
    "CON-8/share": [("late_risk", "(2 * c * n)", "(c * n)"), ("late_risk", "t ** (a - b)", "0.8 * t ** (a - b)")],
    "CON-8/harmonic": [
        ("harmonic_risk", "rest = 2 * c + 1 - b", "rest = 2 * c - b + 1.2"),
        ("harmonic_risk", "t ** (1 - b) /", "1.15 * t ** (1 - b) /"),
    ],
    "CON-8/balance": [("balanced_risk", "1 / (1 + 2 * c * n)", "1 / (1 + c * n)")],
    "CON-8/collapse": [("lost_risk", "(jnp.ones_like(t),", "(0.9 * jnp.ones_like(t),")],
    "CON-8/summable": [("remembered_risk", "return spec.diversity *", "return 2 * spec.diversity *")],
    "CON-9": [
        ("_followed", "sizes * forgotten(shares)", "sizes * shares"),
        ("_followed", "settled = 1 /", "settled = 1.2 /"),
    ],
    "CON-9/product": [
        ("rare_risk", "1 + 2 * sizes * shares", "1 + sizes * shares"),
        ("rare_risk", "1 + 2 * sizes * shares", "2 * sizes * shares"),
    ],
    "CON-10": [RECIPROCAL, ("filter_risk", "mean_reciprocal(sizes, some) / chance", "mean_reciprocal(sizes, some)")],
    "CON-10/pool": [
        ("pool_risk", "0.25 * (1 + np.exp", "0.255 * (1 + np.exp"),
        ("pool_risk", "< np.arange(generations + 1)[None]", "<= np.arange(generations + 1)[None]"),
    ],
    "CON-10/mixing": [("mixing_bound", "spec.diversity / jnp", "0.55 * spec.diversity / jnp")],
    "CON-11": [
        ("_kept_inverse_sizes", "noise = made * made / sizes", "noise = 2 * made * made / sizes"),
        ("_kept_inverse_sizes", "real * (2 - real)", "1.05 * real * (2 - real)"),
        ("_kept_inverse_sizes", "new / total, 1", "1.02 * new / total, 1"),
    ],
    "CON-12": [("kept_slope", "-jnp.minimum(1, 2 * share)", "-jnp.minimum(1, share) * 0.8")],
    "CON-12/constant": [
        ("kept_late_risk", "2 * share - 1)", "2 * share)"),
        ("kept_late_risk", "value = spec.diversity * factor", "value = 1.15 * spec.diversity * factor"),
    ],
    "CON-12/none": [("_cut", "square / near**2", "square / (2 * near**2)")],
    "CON-13": [
        PAST,
        NOISE,
        ("anchored_risk", "(1 - inverse) * affine_path", "affine_path"),
    ],
    "CON-13/floor": [("anchor_floor", "spec.diversity /", "1.03 * spec.diversity /")],
    "CON-14": [("stationary_variance", "(total + 1)\n    return", "(total)\n    return")],
    "CON-14/fourth": [("stationary_fourth_moment", "values = 3 * spread", "values = 4 * spread")],
    "CON-14/absence": [
        ("absence", "1 / (2 * size)", "4 / size"),
        ("absence", "own = total * jnp.where", "own = 0.5 * total * jnp.where"),
    ],
    "CON-15": [NOISE, ("chi_square", "spec.tokens - 1", "spec.tokens")],
    "CON-15/kl": [("relative_entropy", "(spec.tokens - 1) / 2", "spec.tokens / 2")],
    "CON-15/tv": [("variation_bound", "/ 2", "/ 2.7")],
    "CON-16": [
        RECIPROCAL,
        ("total_risk", "stays = (1 - shares) ** 2", "stays = 1 - shares"),
        ("total_risk", "lost = met *", "lost = 1.05 * met *"),
    ],
    "CON-16/random": [
        ("random_size_risk", "spec.sizes(generations) - 1", "spec.sizes(generations)"),
        ("random_size_risk", "inverse, 1 / spec", "1.02 * inverse, 1 / spec"),
    ],
    "CON-17": [("excess_loss", "/ 2 * variance", "* variance"), ("_variances", "1 / sizes, 1", "1.1 / sizes, 1.1")],
    "CON-17/error": [("_variances", "1 / sizes, 1", "1.15 / sizes, 1.15")],
    "CON-17/limit": [("settled_loss", "forgotten(spec.shares(1)[0])", "spec.shares(1)[0]")],
    "CON-18": [
        ("pulled", "added = spec.tokens * spec.smoothing", "added = spec.smoothing"),
        ("pulled", "gamma + rest * shares", "gamma + 2 * rest * shares"),
    ],
    "CON-18/limit": [("smoothed_limit", "total = added + size * share", "total = added + size")],
}

RESULTS = [result.id for result in all_results("contamination")]
# measured by programs of their own, a few seconds of compilation each
# every result is put to the test, most of them with the slow ones: compiling each takes seconds
FAST = {"CON-1"}


@pytest.mark.parametrize("id", [id if id in FAST else pytest.param(id, marks=pytest.mark.slow) for id in RESULTS])
def test_result_survives_and_every_mutant_is_caught(id, x64):
    assert survives(id, among=len(RESULTS))
    assert not missed(id, MUTANTS[id])
