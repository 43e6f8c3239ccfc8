"""Truncated diffusion: the comparison, at its default budget, catches every slip in every result.

As for the linear autoencoder: a constant off by 2 %, an index, exponent or sign off by one, two arguments exchanged.
Not caught, by construction: bounds that became looser (they are mutated in the harmful direction, and only as far as
the example comes near them), and slips within the stated error of an asymptotic law.
"""

import pytest

from collapse_jax.results import all_results
from tests.statistical.mutants import missed, survives

ORDER = ("restoring", "- jnp.expm1(order * spec.log_scale)", "- jnp.expm1(order * 1.02 * spec.log_scale)")
SHARE = ("_share_of", "spec.real_fraction * jnp.exp", "1.02 * spec.real_fraction * jnp.exp")
REAL = ("line_modes", "mixture_modes(", "1.02 * mixture_modes(")
PATH = ("gain_path", "added = spec.real_fraction *", "added = 1.02 * spec.real_fraction *")
YEARS = ("gain_path", "round_logs(spec, generations)[:, None] *", "1.02 * round_logs(spec, generations)[:, None] *")
EACH = ("round_logs", "spec.log_scale[:generations]", "spec.log_scale[1 : generations + 1]")
LAG = (
    "ancestry",
    "lags = passed(round_logs(spec, generations))",
    "lags = passed(1.02 * round_logs(spec, generations))",
)
LOST = ("-jnp.expm1(2 * spec.log_scale) / restoring", "-jnp.expm1(spec.log_scale) / restoring")

MUTANTS = {
    "SP-1": [
        ("cdf_gap_bound", "np.arange(generations + 1))[:, None]", "2 + 7 * np.arange(generations + 1))[:, None]"),
        ("cdf_gap_bound", "kept(spec.real_fraction, np", "0.05 * kept(spec.real_fraction, np"),
    ],
    "SP-2": [
        ("gain_ratio_bound", "jnp.broadcast_to(spec.scale,", "jnp.broadcast_to(spec.scale**2,"),
        ("gain_ratio_bound", "jnp.broadcast_to(spec.scale,", "jnp.broadcast_to(0.9 * spec.scale,"),
    ],
    "SP-3": [
        ("annealed_bound", "safe_sqrt(square", "0.3 * safe_sqrt(square"),
        ("annealed_bound", "+ noise)", "- noise / 4)"),
    ],
    "SP-4": [
        LAG,
        ("ancestry", "np.maximum(age - 1, 0)", "np.maximum(age, 0)"),
        ("cdf", "np.maximum(ages[:, None] - ages[None], 0)", "np.minimum(ages[None], ages[:, None])"),
    ],
    "SP-5": [
        ("limit_ages", 'younger = 1 if which == "generated" else 0', "younger = 0"),
        ("limit_ages", "lags = ages * spec.log_scale", "lags = 1.02 * ages * spec.log_scale"),
        ("limit_cdf", '_limit_cdf(spec, "generated")', '_limit_cdf(spec, "pool")'),
    ],
    "SP-5/pool": [
        ("limit_ages", "weights = spec.real_fraction *", "weights = 1.02 * spec.real_fraction *"),
        ("pool_limit_cdf", '_limit_cdf(spec, "pool")', '_limit_cdf(spec, "generated")'),
    ],
    "SP-6": [PATH, YEARS, REAL, ("gain_path", "jnp.ones_like(factors, shape", "0.98 * jnp.ones_like(factors, shape")],
    "SP-6/limit": [ORDER, SHARE, REAL, ("limit_modes", "gain(np.arange", "pool_gain(np.arange")],
    "SP-6/pool": [ORDER, SHARE, REAL, ("pool_limit_modes", "pool_gain(np.arange", "gain(np.arange")],
    "SP-7": [
        ORDER,
        SHARE,
        ("limit_second_moment", "second = gain(2, spec)", "second = gain(1, spec)"),
        ("limit_second_moment", *LOST),
    ],
    "SP-7/mean": [SHARE, ("limit_mean", "return gain(1, spec)", "return gain(2, spec)")],
    "SP-8": [
        ("tv_bound", "initial_tv_gap)", "0.98 * initial_tv_gap)"),
        ("_gap", "kept(spec.real_fraction", "kept(0.6 + 0 * spec.real_fraction"),
    ],
    "SP-8/w1": [
        ("w1_bound", "initial_w1_gap, 1.0)", "0.98 * initial_w1_gap, 1.0)"),
        ("w1_bound", "initial_w1_gap, 1.0)", "initial_w1_gap, 4.0)"),
    ],
    "SP-8/w2": [
        ("w2_bound", "initial_w2_gap, 1.0", "0.98 * initial_w2_gap, 1.0"),
        ("w2_bound", "initial_w2_gap, 1.0", "initial_w2_gap, 4.0"),
    ],
    "SP-8/kl": [
        ("kl_bound", "initial_kl_gap)", "0.98 * initial_kl_gap)"),
        ("_gap", "kept(spec.real_fraction", "kept(0.8 + 0 * spec.real_fraction"),
    ],
    "SP-8/chi2": [
        ("chi2_bound", "initial_chi2_gap)", "0.98 * initial_chi2_gap)"),
        ("_gap", "kept(spec.real_fraction", "kept(0.8 + 0 * spec.real_fraction"),
    ],
    "SP-8/slope": [
        ("late_factor", "factor = (1 - spec.real_fraction)", "factor = 1.02 * (1 - spec.real_fraction)"),
        ("late_factor", "1 + jnp.argmax(differs)", "2 + jnp.argmax(differs)"),
    ],
    "SP-9": [("fisher_bound", "spread_of_scales(spec) *", "0.2 * spread_of_scales(spec) *")],
    "SP-9/moment": [
        ("moment_bound", "safe_sqrt(spread", "0.3 * safe_sqrt(spread"),
    ],
    "SP-9/small": [
        ("limit_distance", "reach = spec.rate", "reach = 1.02 * spec.rate"),
        ("limit_distance", "spec.truncation / spec.real_fraction", "spec.truncation"),
        ("fisher_information", "return", "return 1.1 *"),
    ],
    "SP-10": [REAL, ("prior_modes", "jnp.cumsum(round_logs", "jnp.cumsum(1.02 * round_logs")],
    "SP-10/w2": [
        ("prior_w2_bound", "initial_prior_w2, 1)", "0.98 * initial_prior_w2, 1)"),
        ("prior_w2_bound", "initial_prior_w2, 1)", "initial_prior_w2, 3)"),
    ],
    "SP-10/kl": [
        ("prior_kl_bound", "initial_prior_kl, 2)", "0.98 * initial_prior_kl, 2)"),
        ("prior_kl_bound", "initial_prior_kl, 2)", "initial_prior_kl, 8)"),
    ],
    "SP-11": [PATH, YEARS, REAL],
    "SP-11/bound": [("annealed_fisher_bound", "safe_sqrt(square)", "0.2 * safe_sqrt(square)")],
    "SP-11/slow": [
        ("slow_error", "values = -lost", "values = -1.1 * lost"),
        ("slow_error", "share * jnp.exp(-orders * last)", "share * jnp.exp(-3 * orders * last)"),
    ],
    "SP-11/geometric": [
        ("geometric_error", "values = -orders", "values = -1.2 * orders"),
        (
            "geometric_error",
            "values = -orders * back[0] / (1 - (1 - spec.real_fraction) / ratio)",
            "values = -orders * back[0]",
        ),
    ],
    "SP-12": [("error_ball", "return round_error(spec) /", "return 0.7 * round_error(spec) /")],
    "SP-12/modes": [
        ORDER,
        ("mode_bias", "spec.error_scale / takes", "1.02 * spec.error_scale / takes"),
    ],
    "SP-13": [
        ("pool_variance", "below + finite", "below"),
        ("_pool_noise", "restoring(orders, spec) * (1 + stays)", "restoring(orders, spec)"),
        ("_pool_noise", "top = share *", "top = 2 * share *"),
    ],
    "SP-13/leading": [
        ("_pool_noise", "restoring(orders, spec) * (1 + stays)", "restoring(orders, spec)"),
        ("pool_variance_leading", "top / below, 0)", "1.1 * top / below, 0)"),
    ],
    "SP-14": [
        REAL,
        ("accumulate_modes", "jnp.arange(2, generations + 2", "jnp.arange(1, generations + 1"),
        ("accumulate_modes", "jnp.expm1(logs[:, None] *", "jnp.expm1(1.02 * logs[:, None] *"),
    ],
    "SP-15": [PATH, YEARS, REAL],
    "SP-15/ve": [
        ("added_variance", "noise[:, None],", "1.02 * noise[:, None],"),
        ("added_variance", "spec.real_fraction, factors", "1.02 * spec.real_fraction, factors"),
    ],
    "SP-15/fourier": [
        ("fourier_modes", "real = spec.real_fraction *", "real = 1.02 * spec.real_fraction *"),
        ("fourier_modes", "loss = -jnp.expm1(", "loss = -2 * jnp.expm1("),
    ],
    "SP-16": [
        ("limit_covariance_spectrum", "second = gain(2, spec)", "second = gain(1, spec)"),
        ("limit_covariance_spectrum", *LOST),
    ],
    "SP-16/denoised": [
        ("denoised_spectrum", "jnp.expm1(-2 * spec.log_scale)", "jnp.expm1(-2.04 * spec.log_scale)"),
        ("denoised_spectrum", "jnp.expm1(-2 * spec.log_scale)", "jnp.expm1(-spec.log_scale)"),
    ],
    "SP-17": [
        ("small_limit_modes", "values = share *", "values = 1.1 * share *"),
        ("small_limit_modes", "total = spec.real_fraction + x", "total = spec.real_fraction + x / 2"),
    ],
    "SP-18": [
        REAL,
        ("mixture_modes", "jnp.sqrt(m)", "jnp.sqrt(m + 1)"),
    ],
    "SP-19": [("best_truncation", "/ (1 + spec.error_power)", "/ spec.error_power")],
}


RESULTS = [result.id for result in all_results("spectral")]
FAST = {"SP-6", "SP-9"}


# every result is put to the test, most of them with the slow ones: compiling each takes seconds
@pytest.mark.parametrize("id", [id if id in FAST else pytest.param(id, marks=pytest.mark.slow) for id in RESULTS])
def test_result_survives_and_every_mutant_is_caught(id, x64):
    assert survives(id, among=len(RESULTS))
    assert not missed(id, MUTANTS[id])
