"""Rectified flows: the comparison, at its default budget, catches every slip in every result.

Exact statements: a constant off by 2 %, a sign, two arguments exchanged, a square dropped. Asymptotic laws have margins
of the next order: their mutants are slips larger than that, as are those of bounds.
"""

import pytest

from collapse_jax.results import all_results
from tests.statistical.mutants import missed, survives

EULER = ("cosines", "t[..., :-1] * t[..., 1:] * across_square", "1.02 * t[..., :-1] * t[..., 1:] * across_square")
STEP = ("step", "(1 - b + b * square) * u", "(1 - b) * u")
LOST = ("step", "+ b * lost)", "+ 1.05 * b * lost)")
DECAY = ("_decay", "2 * rounds", "rounds")
RATE = ("sampler_rate", "np.pi / 4", "np.pi / 3")

MUTANTS = {
    "RF-3": [
        ("_posterior", "((1 - t) / t) ** 2, x / t", "((1 - t) / t) ** 2, x"),
        ("_posterior", "+ sigma2 *", "- sigma2 *"),
    ],
    "RF-3/loss": [("_posterior", "within[None, None] * sigma2 / total", "within[None, None] * sigma2")],
    "RF-3/score": [("conditional_score", "t * moved", "moved")],
    "RF-4": [("endpoint_gain", "jnp.sqrt(", "1.02 * jnp.sqrt(")],
    "RF-4/covariance": [("endpoint_covariance", "jnp.diag(spec.variance)", "1.02 * jnp.diag(spec.variance)")],
    "RF-4/velocity": [("velocity", "(1 - 2 * t) * cross", "(1 - t) * cross")],
    "RF-5": [EULER],
    "RF-5/never": [("sampler_ceiling", "jnp.sqrt(", "0.95 * jnp.sqrt(")],
    "RF-5/bound": [("_equal_angles", "/ spec.steps**2", "/ spec.steps")],
    "RF-5/equal-angle": [("_equal_angles", "/ spec.steps**2", "/ (spec.steps + 1) ** 2")],
    "RF-5/one-step": [("one_step_gain", "return spec.correlation *", "return 1.02 * spec.correlation *")],
    "RF-6": [RATE, ("sampler_rate", "1 + np.pi", "1.2 + np.pi")],
    "RF-6/equal-angle": [("equal_angle_ratio", "(4 * spec.steps)", "(3.9 * spec.steps)")],
    "RF-6/two": [("two_step_gain", "(spec.variance + 1)", "(spec.variance + 1.05)")],
    "RF-6/symmetry": [("mirrored_gain", "1 / spec.variance)", "spec.variance)")],
    "RF-6/ends": [("extreme_gain", "value = (spec.steps - 1)", "value = spec.steps")],
    "RF-7": [("_mixed", "(1 - spec.real_fraction) *", "(1.02 - spec.real_fraction) *")],
    "RF-7/bound": [
        ("refitted_floor", "spec.real_fraction * spec.spectrum", "1.5 * spec.real_fraction * spec.spectrum")
    ],
    "RF-7/limit": [("_mixed", "(1 - spec.real_fraction) *", "(1.02 - spec.real_fraction) *")],
    "RF-7/lifetime": [("_between", "8 / (np.pi", "8.5 / (np.pi")],
    "RF-7/extinction": [("extinction", "whole = 8 *", "whole = 9 *")],
    "RF-7/tail": [("vanishing_variance", "scale = (spec.steps - 1) ** 2", "scale = spec.steps**2")],
    "RF-8": [
        RATE,
        ("log_drift", "-2 * spec.fit_loss", "-1 * spec.fit_loss"),
        ("log_drift", "lost - inverse - ", "lost + inverse - "),
    ],
    "RF-8/variance": [("log_spread", "value = 2 /", "value = 2.2 /")],
    "RF-8/exploding": [("exploding_variance", "spec.largest_noise**2", "(1.02 * spec.largest_noise**2)")],
    "RF-9": [("gain_matrix", "jnp.broadcast_to(start,", "jnp.broadcast_to(1.02 * start,")],
    "RF-9/velocity": [("velocity_matrix", "(start - one).T", "(start - 1.02 * one).T")],
    "RF-10": [DECAY],
    "RF-10/ridge": [("ridged_variance", "jnp.log1p(spec.ridge)", "spec.ridge")],
    "RF-11": [DECAY],
    "RF-12": [STEP, LOST],
    "RF-12/contraction": [("contraction", "spec.noise**2", "spec.noise")],
    "RF-13": [("_level", "(anchor - b * lost)", "(anchor - lost)"), ("_level", "spec.noise**2", "spec.noise")],
    "RF-13/path": [STEP, LOST],
    "RF-13/threshold": [("critical_noise", "(2 - spec.fit_loss)", "(2.1 - spec.fit_loss)")],
    "RF-14": [("frozen_variance", "* spec.frozen + b)", "+ b)")],
    "RF-14/level": [("frozen_level", "lost * spec.frozen + b", "lost + b")],
    "RF-15": [("matching_loss", "* w * sinc_root(w)", "* w * cos_root(w)")],
    "RF-15/straightness": [("straightness", "half = w / 4", "half = w / 3.9")],
    "RF-16": [("moments", "b * root", "b * lost")],
    "RF-16/steps": [("moments", "b * root", "b * lost"), EULER],
    "RF-17": [("_latent_kept", "(2 * scale", "(2.1 * scale")],
    "RF-17/variance": [("reversed_variance", "spec.latent_variance,", "1.02 * spec.latent_variance,")],
    "RF-18": [("heun_ratio", "(1 / spec.variance - spec.variance)", "(spec.variance - 1 / spec.variance)")],
}

RESULTS = [result.id for result in all_results("reflow")]
# every result is put to the test, most of them with the slow ones: compiling each takes seconds
FAST = {"RF-13/path", "RF-15"}


@pytest.mark.parametrize("id", [id if id in FAST else pytest.param(id, marks=pytest.mark.slow) for id in RESULTS])
def test_result_survives_and_every_mutant_is_caught(id, x64):
    assert survives(id, among=len(RESULTS))
    assert not missed(id, MUTANTS[id])
