"""The runner must fail when a statement is wrong, and the certified helper must not claim what it did not decide."""

import dataclasses
import json
import subprocess
import sys
from fractions import Fraction

import flint
import jax.numpy as jnp
import pytest
import sympy as sp

pytest.importorskip("flint")

from collapse_jax import results
from proofs_check import __main__ as command
from proofs_check import ground
from proofs_check.dae import anchors, kept_blocks, lifetime, tools
from proofs_check.ground import Check, CheckFailed, certify_positive
from proofs_check.mle import counterexamples as mle_counterexamples
from proofs_check.mle import means as mle_means
from proofs_check.mle import policies as mle_policies
from proofs_check.mle import reference as mle_reference
from proofs_check.reflow import independent as reflow_independent
from proofs_check.reflow import library as reflow_library
from proofs_check.reflow import pairs as reflow_pairs
from proofs_check.regression import equivalents, shares
from proofs_check.regression import library as regression_library
from proofs_check.regression import rounds as regression_rounds
from proofs_check.spectral import anchors as spectral_anchors
from proofs_check.spectral import annealing, library, library_bounds, modes, rounds, samples
from proofs_check.spectral import tools as spectral_tools

X, C = tools.x, tools.c


def as_check(run, result="DAE-5", how=ground.SYMBOLIC):
    """A check that is in no register."""
    return Check(result, "a statement", how, "all", "", False, run)


def code_of(run) -> int:
    """Exit code of the runner with this single check."""
    outcomes, missing = command.judge([as_check(run)], [])
    return command.exit_code(outcomes, missing)


def test_true_statement_passes():
    assert code_of(lambda: ground.require_zero(tools.round_map(X, C) - X**2 * (X + C) / (X + 1) ** 2, "map")) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(X**2 * (X + sp.Rational(51, 50) * C) / (X + 1) ** 2, id="constant-2-percent-off"),
        pytest.param(X**2 * (X + C) / (X + 1), id="exponent-by-one"),
    ],
)
def test_wrong_formula_exits_nonzero(wrong):
    assert code_of(lambda: ground.require_zero(tools.round_map(X, C) - wrong, "map")) == 1


def test_index_off_by_one_exits_nonzero():
    """The norm of round 5 is not that of round 6."""
    value, norms = Fraction(10), []
    for _ in range(6):
        norms.append(value / (value + 1))
        value = tools.step(value, Fraction(1))
    assert anchors.rounds_to(norms[4], "0.8652")
    assert code_of(lambda: ground.require(anchors.rounds_to(norms[5], "0.8652"), "round 5")) == 1


def test_sign_of_a_false_bound_exits_nonzero():
    """x' < x fails just above c = 2."""
    rises = X - tools.round_map(X, C).subs(C, sp.Rational(201, 100))
    assert code_of(lambda: ground.require_nonnegative(rises, "fall")) == 1


def test_lifetime_claim_two_percent_tighter_than_the_truth_exits_nonzero():
    worst = max(abs(lifetime.orbit_errors(0.0, 100.0, 64)[0]))
    assert code_of(lambda: ground.require(worst <= 0.98 * 0.5211, "tightened claim")) == 1


def two_percent(formula):
    """The same function, 2 % too large."""
    return lambda *given: formula(*given) * 51 / 50


def tight_ages(share, times, ages=annealing.weighted_ages):
    """Accumulated times 2 % too short: bounds from them are tighter than the truth."""
    weights, tau = ages(share, times)
    return weights, 0.98 * tau


@pytest.mark.parametrize(
    ("room", "name", "wrong", "row"),
    [
        pytest.param(modes, "G", modes.G * 51 / 50, modes.mode_recursion, id="gain-2-percent-off"),
        pytest.param(
            modes, "G", modes.G.subs(modes.damping, modes.damping**2), modes.mode_recursion, id="gain-of-another-order"
        ),
        pytest.param(
            modes,
            "hermite_mean",
            lambda order, mean, variance: spectral_tools.hermite_mean(order + 1, mean, variance),
            modes.normal_recurrence,
            id="coefficient-index-by-one",
        ),
        pytest.param(
            rounds,
            "exact_claim",
            lambda start, real, share, factor, count, claim=rounds.exact_claim: claim(
                start, real, share, factor, count + 1
            ),
            rounds.law_attack,
            id="round-by-one",
        ),
        pytest.param(
            samples, "CLAIMED", samples.CLAIMED.subs(samples.M, samples.M + 1), samples.variance_by_pairs, id="points"
        ),
        pytest.param(
            spectral_anchors,
            "pool_gain",
            two_percent(spectral_tools.pool_gain),
            spectral_anchors.gains_of_the_example,
            id="pool-gain-2-percent-off",
        ),
        pytest.param(annealing, "weighted_ages", tight_ages, annealing.annealed_bounds_attack, id="bound-too-tight"),
    ],
)
def test_spectral_rows_catch_a_broken_formula(monkeypatch, room, name, wrong, row):
    """The row passes as it stands and fails with one formula broken."""
    assert code_of(row) == 0
    monkeypatch.setattr(room, name, wrong)
    outcome = ground.run_check(as_check(row))
    assert not outcome.ok
    assert "Error" not in outcome.found


def held(base: str):
    """The row that holds the values of the library."""
    return lambda: next(c for c in ground.CHECKS if c.result == base and c.shows.startswith("values")).run()


@pytest.mark.parametrize(
    ("id", "wrong", "row", "found"),
    [
        pytest.param("SP-6/limit", lambda values: 1.02 * values, held("SP-6"), "differs", id="value-2-percent-off"),
        pytest.param(
            "SP-6/pool", lambda values: jnp.roll(values, 1, axis=-1), held("SP-6"), "differs", id="order-by-one"
        ),
        pytest.param("SP-6", lambda values: jnp.roll(values, 1, axis=0), held("SP-6"), "differs", id="round-by-one"),
        pytest.param(
            "SP-11/bound",
            lambda values: 0.98 * values,
            library_bounds.annealed_fisher,
            "above",
            id="bound-2-percent-tighter",
        ),
    ],
)
def test_spectral_rows_catch_a_broken_library(monkeypatch, id, wrong, row, found):
    """The row passes as it stands and fails with one registered function broken."""
    assert code_of(row) == 0
    result = results.get(id)

    def broken(*given, **realised):
        prediction = result.function(*given, **realised)
        return dataclasses.replace(prediction, values=wrong(prediction.values))

    monkeypatch.setitem(results._REGISTER, id, dataclasses.replace(result, function=broken))
    outcome = ground.run_check(as_check(row))
    assert not outcome.ok
    assert "Error" not in outcome.found
    assert found in outcome.found


def test_every_registered_value_of_iterative_maximum_likelihood_is_held():
    assert {result.id for result in results.all_results("mle")} == set(mle_reference.REFERENCES)


@pytest.mark.parametrize(
    ("room", "name", "wrong", "row"),
    [
        pytest.param(
            mle_means,
            "quadratic",
            lambda m: mle_means.v2 * m**2 * 2 + mle_means.v1,
            mle_means.one_round,
            id="curvature",
        ),
        pytest.param(mle_policies, "MADE", mle_policies.V, mle_policies.fixed_split, id="noise-of-the-truth"),
        pytest.param(
            mle_counterexamples,
            "passage",
            lambda z: 1.02 * 0.077477,
            mle_counterexamples.walk,
            id="ladder-2-percent-off",
        ),
    ],
)
def test_rows_of_iterative_maximum_likelihood_catch_a_broken_formula(monkeypatch, room, name, wrong, row):
    """The row passes as it stands and fails with one formula broken."""
    assert code_of(row) == 0
    monkeypatch.setattr(room, name, wrong)
    assert not ground.run_check(as_check(row)).ok


@pytest.mark.parametrize(
    ("id", "wrong"),
    [
        pytest.param("MLE-7/scale", lambda values: 1.02 * values, id="value-2-percent-off"),
        pytest.param("MLE-7/log", lambda values: jnp.roll(values, 1, axis=0), id="round-by-one"),
    ],
)
def test_rows_of_iterative_maximum_likelihood_catch_a_broken_library(monkeypatch, id, wrong):
    """The row fails with one registered function broken."""
    result, row = results.get(id), held("MLE-7")

    def broken(*given, **realised):
        prediction = result.function(*given, **realised)
        return dataclasses.replace(prediction, values=wrong(prediction.values))

    monkeypatch.setitem(results._REGISTER, id, dataclasses.replace(result, function=broken))
    outcome = ground.run_check(as_check(row))
    assert not outcome.ok
    assert "differs" in outcome.found


def test_every_registered_spectral_value_is_held():
    assert {result.id for result in results.all_results("spectral")} == set(library.REFERENCES)


def test_every_registered_regression_value_is_held():
    assert {result.id for result in results.all_results("regression")} == set(regression_library.REFERENCES)


@pytest.mark.parametrize(
    ("room", "name", "wrong", "row"),
    [
        pytest.param(shares, "G", shares.G * sp.Rational(51, 50), shares.factor, id="kept-share-2-percent-off"),
        pytest.param(shares, "K", shares.K * shares.T / (shares.T - 1), shares.ends, id="rows-by-one"),
        pytest.param(
            regression_rounds, "COST", shares.d / (shares.T - shares.d), regression_rounds.one_round, id="d-1"
        ),
        pytest.param(
            regression_rounds,
            "accumulated",
            lambda count, rows, kept: rows / kept * shares.d / (kept - shares.d),
            regression_rounds.accumulation,
            id="accumulated-rows-by-one",
        ),
        pytest.param(equivalents, "MARGIN", 0.1, equivalents.attack_ridge, id="margin-too-tight"),
    ],
)
def test_regression_rows_catch_a_broken_formula(monkeypatch, room, name, wrong, row):
    """The row passes as it stands and fails with one formula broken."""
    assert code_of(row) == 0
    monkeypatch.setattr(room, name, wrong)
    outcome = ground.run_check(as_check(row))
    assert not outcome.ok
    assert "Error" not in outcome.found


def test_regression_rows_catch_a_broken_library(monkeypatch):
    """Entries of a curve shifted by one round."""
    result = results.get("REG-8")

    def broken(*given, **realised):
        prediction = result.function(*given, **realised)
        return dataclasses.replace(prediction, values=jnp.roll(prediction.values, 1, axis=-1))

    row = next(c for c in ground.CHECKS if c.result == "REG-8" and c.shows.startswith("values")).run
    assert code_of(row) == 0
    monkeypatch.setitem(results._REGISTER, "REG-8", dataclasses.replace(result, function=broken))
    assert "differs" in ground.run_check(as_check(row)).found


def test_an_exception_is_a_failure():
    outcome = ground.run_check(as_check(lambda: 1 / 0))
    assert not outcome.ok
    assert "ZeroDivisionError" in outcome.found


def test_no_check_at_all_is_a_failure():
    assert command.exit_code([], []) == 1


def test_uncovered_result_exits_nonzero():
    outcomes, missing = command.judge([as_check(lambda: None)], ["DAE-5", "DAE-99"])
    assert missing == ["DAE-99"]
    assert command.exit_code(outcomes, missing) == 1
    assert "No check: DAE-99." in command.summary(outcomes, missing)


def test_holding_the_library_covers_nothing():
    held = as_check(lambda: None, how=ground.HOLD)
    assert ground.uncovered(["DAE-5"], [held]) == ["DAE-5"]


def test_summary_never_calls_an_attack_a_proof():
    attack = Check("DAE-8", "an error claim", ground.ATTACK, "10 cases", "", True, lambda: None)
    outcomes, missing = command.judge([attack, as_check(lambda: None, "DAE-8")], [])
    lines = command.summary(outcomes, missing)
    assert lines[0].endswith("none.")
    assert any("Only attacked" in line and "DAE-8" in line for line in lines)


def test_certificate_proves_a_true_statement():
    answer = certify_positive(lambda u: u * u - u + flint.arb("0.26"), [(-1, 2)])
    assert answer.verdict == "proved"


def test_certificate_refuses_a_false_statement():
    """The minimum of u^2 - u + 0.24 is -0.01, on a narrow interval only."""
    answer = certify_positive(lambda u: u * u - u + flint.arb("0.24"), [(-1, 2)])
    assert answer.verdict == "refuted"
    low, high = answer.where[0]
    assert Fraction(35, 100) < high
    assert low < Fraction(65, 100)


def test_certificate_does_not_claim_the_undecided():
    """u^2 touches 0 at an end that no box leaves; at 1/3 no midpoint hits it; a box with a pole stays open too."""
    third = flint.arb(1) / 3
    assert certify_positive(lambda u: (u - third) ** 2, [(0, 1)], 500).verdict == "undecided"
    assert certify_positive(lambda u: 1 / (u - third) ** 2, [(0, 1)], 500).verdict == "undecided"
    with pytest.raises(CheckFailed, match="undecided"):
        ground.require_positive_on(lambda u: (u - third) ** 2, [(0, 1)], "touches", max_boxes=500)


def test_certificate_contains_its_rational_ends():
    """1/10 is no binary number: the ball of the box must still hold it."""
    assert ground.ball(Fraction(1, 10), Fraction(1, 5)).contains(flint.arb(flint.fmpq(1, 10)).mid())
    assert ground.exact(Fraction(1, 10)).contains(flint.fmpq(1, 10))


def test_coefficients_refuse_symbols_of_unknown_sign():
    with pytest.raises(CheckFailed, match="not positive"):
        ground.require_nonnegative(sp.Symbol("q"), "sign")


def test_every_registered_reflow_value_is_held():
    assert {result.id for result in results.all_results("reflow")} == set(reflow_library.REFERENCES)


@pytest.mark.parametrize(
    ("name", "wrong", "row"),
    [
        pytest.param("FIRST", reflow_pairs.FIRST + reflow_pairs.b / 50, reflow_pairs.noisy, id="moment-2-percent"),
        pytest.param("CROSS", reflow_pairs.CROSS * reflow_pairs.kept, reflow_pairs.price, id="kept-squared"),
        pytest.param("F", reflow_pairs.F * reflow_pairs.q, reflow_pairs.threshold, id="loss-twice"),
    ],
)
def test_reflow_rows_catch_a_broken_formula(monkeypatch, name, wrong, row):
    monkeypatch.setattr(reflow_pairs, name, wrong)
    assert code_of(row) == 1


def test_reflow_envelopes_catch_a_broken_rate(monkeypatch):
    """Two per cent off in k(lambda) is of order 1/N, and no margin of order N^-3 holds it."""
    right = reflow_independent.rate
    assert code_of(reflow_independent.envelope) == 0
    monkeypatch.setattr(reflow_independent, "rate", lambda size: 1.02 * right(size))
    assert code_of(reflow_independent.envelope) == 1


def test_reflow_rows_catch_a_broken_library(monkeypatch):
    right, how = reflow_library.REFERENCES["RF-12"]
    monkeypatch.setitem(
        reflow_library.REFERENCES, "RF-12", (lambda case: [value * (1 + 1e-9) for value in right(case)], how)
    )
    assert (
        "RF-12 differs"
        in ground.run_check(
            next(c for c in ground.load("reflow") if c.result == "RF-12" and c.how == ground.HOLD)
        ).found
    )


def test_mean_over_noise_refuses_cubes():
    noise = sp.Symbol("n")
    with pytest.raises(ValueError, match="quadratic"):
        tools.average(noise**3, [noise], 1)


def test_law_tail_brackets_a_longer_run():
    """The certified constant from fewer blocks must overlap, and hold, the one from more."""
    assert kept_blocks.excess_of_law("2", 200).contains(kept_blocks.excess_of_law("2", 4000))


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["contamination", "dae", "mle", "reflow", "regression", "spectral"])
def test_the_command_passes_for_the_subject(subject):
    """As it is called: a process of its own, its exit code, its JSON."""
    call = [sys.executable, "-m", "proofs_check", "--subject", subject, "--json"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert [(row["shows"], row["found"]) for row in report["checks"] if not row["ok"]] == []
    assert report["uncovered"] == []
    assert done.returncode == 0
