"""Rows of contaminated training fail with one formula broken, and every registered value is held."""

import dataclasses
from fractions import Fraction

import jax.numpy as jnp
import pytest

pytest.importorskip("flint")

from collapse_jax import results
from proofs_check import ground
from proofs_check.contamination import improvement, library, policies, recursion, tails, tools, variants


def passes(run) -> bool:
    """Outcome of a single row; a row that cannot finish is no row."""
    outcome = ground.run_check(ground.Check("CON-1", "a statement", ground.SYMBOLIC, "all", "", False, run))
    assert "Error" not in outcome.found
    return outcome.ok


@pytest.mark.parametrize(
    ("room", "name", "wrong", "row"),
    [
        pytest.param(recursion, "after", lambda *a: tools.after(*a) * 51 / 50, recursion.one_round_of_second_moments),
        pytest.param(recursion, "rho", lambda *a: tools.rho(*a) * 51 / 50, recursion.constant_schedule),
        pytest.param(
            tools, "rho", lambda s=tools.alpha, n=tools.n: (1 - 1 / n) * (1 - s), recursion.risk_of_enumerated_chains
        ),
        pytest.param(improvement, "after", lambda *a: tools.after(*a) * 51 / 50, improvement.design),
        pytest.param(
            tools, "diversity", lambda truth: 1 - max(truth) * sum(p * p for p in truth), policies.keeping_enumerated
        ),
        pytest.param(
            tails, "two_token", lambda n, a, p, law=tails.two_token: law(n, 1.3 * a, p), tails.stationary_margins
        ),
        pytest.param(variants.tools, "diversity", lambda truth: Fraction(1), variants.contexts_enumerated),
    ],
)
def test_rows_catch_a_broken_formula(monkeypatch, room, name, wrong, row):
    """The row passes as it stands and fails with one formula broken."""
    assert passes(row)
    monkeypatch.setattr(room, name, wrong)
    assert not passes(row)


@pytest.mark.parametrize("id", ["CON-1", "CON-4/limit", "CON-13"])
def test_rows_catch_a_broken_library(monkeypatch, id):
    result, base = results.get(id), id.partition("/")[0]
    row = next(c for c in ground.CHECKS if c.result == base and c.shows.startswith("values")).run
    assert passes(row)

    def broken(*given, **realised):
        prediction = result.function(*given, **realised)
        return dataclasses.replace(prediction, values=jnp.asarray(1.02, prediction.values.dtype) * prediction.values)

    monkeypatch.setitem(results._REGISTER, id, dataclasses.replace(result, function=broken))
    assert not passes(row)


def test_every_registered_value_is_held():
    assert {result.id for result in results.all_results("contamination")} == set(library.REFERENCES)
