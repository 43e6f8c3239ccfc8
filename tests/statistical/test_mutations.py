"""The project's own comparison, at its default budget, catches every slip in every result.

For each result: a constant off by 2 %, an index, exponent or sign off by one, two arguments exchanged. The chain of the
result's example is measured once; the original must not be contradicted, every mutant must be.

What cannot be caught, by construction:

- a bound that became looser. Bounds are mutated in the harmful direction, upper ones down and lower ones up; they have
  teeth where they are tight (DAE-7 at its first two generations, DAE-11 and DAE-12 in the tightest replicate).
- a slip smaller than the stated error of an asymptotic law. DAE-8/integral is allowed 0.55 of about 70 rounds and
  DAE-15/law 1 % of a value that it overestimates: a factor of 1.02 on kappa is found, 0.98 falls into the margin.
- exchanged noise variances in DAE-15/law and DAE-19, which demand that both are equal.
- the derivative of a value, and any branch that the example does not enter; the tests of the theory look there.
"""

import pytest

from collapse_jax.results import all_results, get
from tests.statistical.mutants import missed, verdict

RATIO = ("noise_ratio", "spec.resample_noise_var / spec.noise_var", "spec.noise_var / spec.resample_noise_var")
RATIO_OFF = (
    "noise_ratio",
    "spec.resample_noise_var / spec.noise_var",
    "1.02 * spec.resample_noise_var / spec.noise_var",
)
SCALE_OFF = ("real_snr", "spec.spectrum / spec.noise_var", "spec.spectrum / spec.noise_var * 1.02")
OTHER_NOISE = ("real_snr", "spec.spectrum / spec.noise_var", "spec.spectrum / spec.resample_noise_var")
SQUARE = ("snr_path", "(g * (state + ratio))", "(state + ratio)")
FALL = ("snr_path", "(2 - ratio) * state + 1)", "(2 - ratio) * state + 2)")
LATE = ("snr_path", "jnp.concatenate([real[None], path])", "jnp.concatenate([path[:1], path])")
WIDE = ("passes", "< spec.width", "< spec.width - 1")
REPLACED = [RATIO, RATIO_OFF, SCALE_OFF, OTHER_NOISE, SQUARE, FALL, LATE]
LOGS = [
    RATIO,
    RATIO_OFF,
    SCALE_OFF,
    ("log_snr_path", "2 * log_snr + log_noisy", "3 * log_snr + log_noisy"),
    ("log_snr_path", "- 2 * jnp.log1p(below_one)", "- jnp.log1p(below_one)"),
    ("log_snr_path", "(2 - ratio) * at_least_one + 1", "(2 - ratio) * at_least_one + 2"),
]
SHARE = [
    ("snr_path", "spec.real_fraction\n", "1 - spec.real_fraction\n"),
    ("snr_path", "spec.real_fraction\n", "1.02 * spec.real_fraction\n"),
]
POOL_LIMIT = [
    RATIO,
    RATIO_OFF,
    SCALE_OFF,
    ("fixed_points", "spec.real_fraction\n", "1 - spec.real_fraction\n"),
    ("fixed_points", "spec.real_fraction\n", "1.02 * spec.real_fraction\n"),
    ("_polish", "share * (real - snr) - (1 - share)", "share * (real - snr) - (2 - share)"),
]

MUTANTS = {
    "DAE-3": [
        ("optimal_gains", "(spec.spectrum + spec.noise_var)", "(spec.spectrum + 1.02 * spec.noise_var)"),
        ("optimal_gains", "return spec.spectrum /", "return spec.spectrum**2 /"),
        ("optimal_gains", "(spec.spectrum + spec.noise_var)", "(spec.spectrum + spec.resample_noise_var)"),
    ],
    "DAE-4": [
        ("rank_gains", "(spec.spectrum + spec.noise_var)", "(spec.spectrum + 1.02 * spec.noise_var)"),
        ("rank_gains", "(spec.spectrum + spec.noise_var)", "(spec.spectrum + spec.resample_noise_var)"),
        WIDE,
        ("passes", "< spec.width", "<= spec.width"),
    ],
    "DAE-5": [*REPLACED, ("spectrum", "return spec.noise_var *", "return spec.resample_noise_var *")],
    "DAE-5/gain": [
        RATIO,
        RATIO_OFF,
        SCALE_OFF,
        OTHER_NOISE,
        FALL,
        LATE,
        ("gain", "excess / (snr + 1)", "excess / (snr + 1.02)"),
        ("gain_norm", ".max(", ".min("),
    ],
    "DAE-5/log": [*LOGS, ("log_spectrum", "jnp.log(spec.noise_var)", "jnp.log(spec.resample_noise_var)")],
    "DAE-6": [
        RATIO,
        ("noise_ratio", "spec.resample_noise_var /", "1.02 * spec.resample_noise_var /"),
        ("collapse_threshold", "1 / jnp.where(grows, ratio - 2", "1 / jnp.where(grows, ratio - 1"),
        ("collapse_threshold", "return jnp.where(grows, 1 /", "return jnp.where(grows, 1.02 /"),
    ],
    "DAE-7": [
        ("norm_bound", "return powers * snr", "return 0.98 * powers * snr"),
        ("_norm_ratio_log", "(2 - ratio) * snr + 1)", "(2 - ratio) * snr + 2)"),
        ("norm_bound", "exp(rounds *", "exp((rounds + 1) *"),
        ("noise_ratio", "spec.resample_noise_var / spec.noise_var", "0.98 * spec.resample_noise_var / spec.noise_var"),
        RATIO,
        OTHER_NOISE,
    ],
    "DAE-8": [
        RATIO,
        SCALE_OFF,
        OTHER_NOISE,
        ("lifetime", "integral_of_fall(lived, ratio) -", "0.98 * integral_of_fall(lived, ratio) -"),
        ("lifetime", "fall(lived, ratio) / fall(1, ratio)", "fall(1, ratio) / fall(lived, ratio)"),
        ("integral_of_fall", "((3 - beta) * rest", "((2 - beta) * rest"),
        ("integral_of_fall", "rest = snr - 1", "rest = snr - 2"),
    ],
    "DAE-8/integral": [
        RATIO,
        SCALE_OFF,
        OTHER_NOISE,
        ("lifetime_integral", "return integral_of_fall(", "return 0.98 * integral_of_fall("),
        ("integral_of_fall", "((3 - beta) * rest", "((2 - beta) * rest"),
        ("integral_of_fall", "beta = 2 - ratio", "beta = 1 - ratio"),
    ],
    "DAE-8/tail": [
        RATIO,
        RATIO_OFF,
        SCALE_OFF,
        OTHER_NOISE,
        ("tail", "2**rounds * (log_snr", "2 ** (rounds + 1) * (log_snr"),
        ("tail", "(log_snr + log_ratio) - log_ratio", "(log_snr + log_ratio)"),
    ],
    "DAE-9": [
        *LOGS,
        ("effective_rank", "jnp.exp(-jnp.sum(", "jnp.exp(-1.02 * jnp.sum("),
    ],
    "DAE-10": [
        *REPLACED,
        ("excess_risk", "off**2", "off**3"),
        ("excess_risk", "real + spec.noise_var", "real + spec.resample_noise_var"),
        ("excess_risk", "return jnp.sum(", "return 1.02 * jnp.sum("),
    ],
    "DAE-11": [
        ("event_bound", "return (snr", "return 0.98 * (snr"),
        ("event_bound", "(snr / (snr + 1)) ** 2", "(snr / (snr + 1)) ** 3"),
        ("event_bound", "(1 + 2 * delta)", "(1 + delta)"),
        ("event_bound", "((1 + delta) * snr", "((1 - delta) * snr"),
        RATIO,
    ],
    "DAE-12": [
        ("gain_floor", "share * real_snr(spec)[None]", "1.02 * share * real_snr(spec)[None]"),
        ("gain_floor", "* spec.real_fraction", "* (1 - spec.real_fraction)"),
        ("gain_floor", "real / (real + 1)", "real / (real + 0.98)"),
        ("real_snr", "spec.spectrum / spec.noise_var", "spec.spectrum[::-1] / spec.noise_var"),
    ],
    "DAE-13": [*POOL_LIMIT, ("mixed_limit", "spec.noise_var * jnp", "spec.resample_noise_var * jnp")],
    "DAE-13/chain": [
        *POOL_LIMIT[:-1],
        ("_chain_fixed_points", "1 - 2 * share * real", "1 - share * real"),
        ("_chain_fixed_points", "2 - (1 - share) * ratio", "3 - (1 - share) * ratio"),
        ("fixed_points", 'spec.feed == "chain"', 'spec.feed != "chain"'),
    ],
    "DAE-13/curve": [*REPLACED, *SHARE],
    "DAE-14": [
        *POOL_LIMIT,
        ("mixed_limits", "[lower, upper]", "[upper, lower]"),
        ("mixed_limits", "lower, _, upper =", "lower, upper, _ ="),
    ],
    "DAE-14/border": [*POOL_LIMIT, ("mixed_border", "[1][0]", "[0][0]")],
    "DAE-15": [
        RATIO,
        RATIO_OFF,
        SCALE_OFF,
        ("snr_path", "change / (blocks + 1)", "change / blocks"),
        ("snr_path", "change / (blocks + 1)", "change / (blocks + 2)"),
        FALL,
        LATE,
    ],
    "DAE-15/law": [
        ("accumulate_law", "jnp.log(KAPPA * safe)", "jnp.log(1.02 * KAPPA * safe)"),
        ("accumulate_law", "+ safe[None] -", "+ 1.02 * safe[None] -"),
        ("accumulate_law", "KAPPA * safe)", "KAPPA * safe**2)"),
        ("accumulate_law", "values = spec.noise_var *", "values = 1.02 * spec.noise_var *"),
        ("accumulate_law", "jnp.arange(1, generations + 2", "jnp.arange(0, generations + 1"),
    ],
    "DAE-16": [
        *REPLACED[:-1],
        ("gain", "snr - spec.weight_decay", "snr - 1.02 * spec.weight_decay"),
        ("gain", "snr - spec.weight_decay", "snr - 2 * spec.weight_decay"),
        ("gain", "spec.weight_decay / spec.noise_var", "spec.weight_decay / spec.resample_noise_var"),
        ("snr_path", "(2 * snr - decay)", "(snr - decay)"),
    ],
    "DAE-17": [
        RATIO,
        RATIO_OFF,
        SCALE_OFF,
        ("snr_path", "(g * (g * ratio))", "(g * ratio)"),
        ("snr_path", "(g * (g * ratio))", "(g * (g * (ratio + 0.02)))"),
        LATE,
    ],
    "DAE-17/border": [
        RATIO,
        RATIO_OFF,
        ("prior_fed_border", "1 / jnp.where(exists, upper, 1)", "jnp.where(exists, upper, 1)"),
        ("_prior_fixed_points", "(ratio - 2 + root)", "(ratio - 1 + root)"),
    ],
    "DAE-17/limit": [
        RATIO,
        RATIO_OFF,
        ("_prior_fixed_points", "(ratio - 2 + root)", "(ratio - 2 - root)"),
        ("_prior_fixed_points", "ratio * (ratio - 4)", "ratio * (ratio - 3)"),
    ],
    "DAE-18": [SCALE_OFF, OTHER_NOISE, SQUARE, FALL, LATE],
    "DAE-19": [
        RATIO_OFF,
        SCALE_OFF,
        SQUARE,
        FALL,
        LATE,
        ("truncated_diffusion_spectrum", "return spec.noise_var *", "return 1.02 * spec.noise_var *"),
    ],
}


FAST = {"DAE-5", "DAE-13"}


# every result is put to the test, most of them with the slow ones: compiling each takes seconds
@pytest.mark.parametrize(
    "id",
    [
        result.id if result.id in FAST else pytest.param(result.id, marks=pytest.mark.slow)
        for result in all_results("dae")
    ],
)
def test_result_survives_and_every_mutant_is_caught(id, x64, quick_compilation):
    assert verdict(get(id)).status == "agrees"
    assert not missed(id, MUTANTS[id])
