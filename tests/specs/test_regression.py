"""The spec of regression chains refuses what makes no chain in one line, and lets through what JAX puts into it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import CollapseError, SpecError
from collapse_jax.specs.regression import SCHEDULES, RegressionSpec, power_law

NAN, INF = float("nan"), float("inf")

BAD = [
    ({"spectrum": []}, "spectrum", "none", "at least one eigenvalue"),
    ({"spectrum": 1.0}, "spectrum", "none", "at least one eigenvalue"),
    ({"spectrum": [1.0, 0.0]}, "spectrum", "0", "positive"),
    ({"spectrum": [1.0, 2.0]}, "spectrum", "2", "sorted"),
    ({"spectrum": [NAN]}, "spectrum", "nan", "finite"),
    ({"spectrum": ["a"]}, "spectrum", r"\['a'\]", "numeric"),
    ({"spectrum": [2.0, 1.0], "truth": [1.0, 2.0, 3.0]}, "truth", "3", "2 entries"),
    ({"spectrum": [2.0, 1.0], "dimension": 3}, "spectrum", "2", "3 entries"),
    ({"truth": [INF]}, "truth", "inf", "finite"),
    ({"dimension": 0}, "dimension", "0", ">= 1"),
    ({"dimension": True}, "dimension", "True", "whole number"),
    ({"learner_samples": 0}, "learner_samples", "0", ">= 1"),
    ({"learner_samples": 2.5}, "learner_samples", "2.5", "whole number"),
    ({"learner_samples": [1, 2]}, "learner_samples", "shape", "a number"),
    ({"generator_samples": [4, 0]}, "generator_samples", "0", ">= 1"),
    ({"generator_samples": []}, "generator_samples", "shape", "one for each round"),
    ({"generator_noise": -1.0}, "generator_noise", "-1", ">= 0"),
    ({"learner_noise": INF}, "learner_noise", "inf", "finite"),
    ({"learner_ridge": -1.0}, "learner_ridge", "-1", ">= 0"),
    ({"generator_ridge": NAN}, "generator_ridge", "nan", ">= 0"),
    ({"real_fraction": 1.5}, "real_fraction", "1.5", r"in \[0, 1\]"),
    ({"real_fraction": 0.5, "regime": "accumulate"}, "real_fraction", "0.5", "0 with regime accumulate"),
    ({"regime": "keep"}, "regime", "keep", "replace or accumulate"),
    ({"decay": 1.0}, "decay", "1", "above 1"),
    ({"smoothness": 0.0}, "smoothness", "0", "positive"),
    ({"ridge_exponent": -0.1}, "ridge_exponent", "-0.1", ">= 0"),
]


@pytest.mark.parametrize(("fields", "name", "value", "requirement"), BAD)
def test_bad_value_is_refused_in_one_line_with_field_value_and_requirement(fields, name, value, requirement):
    with jax.disable_jit(False), pytest.raises((SpecError, TypeError), match=name) as refused:
        RegressionSpec(**fields)
    if isinstance(refused.value, SpecError):
        assert refused.match(value)
        assert refused.match(requirement)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 160
        assert isinstance(refused.value, CollapseError | ValueError)


@pytest.mark.parametrize(
    "fields",
    [
        {"learner_ridge": INF},
        {"generator_ridge": [0.0, INF]},
        {"learner_samples": 1},
        {"real_fraction": 1},
        {"generator_noise": 0},
        {"spectrum": [1.0, 1.0], "truth": [3.0]},
        {"regime": "accumulate"},
    ],
)
def test_edges_of_the_ranges_are_allowed(fields):
    assert RegressionSpec(**fields).truth.shape == (RegressionSpec(**fields).dimension,)


def test_one_number_stands_for_every_direction():
    spec = RegressionSpec([2.0], truth=[3.0], dimension=3)
    assert spec.spectrum.tolist() == [2.0] * 3
    assert float(spec.signal) == 54.0
    again = dataclasses.replace(spec, learner_noise=0.1)
    assert (again.dimension, again.truth.tolist()) == (3, [3.0] * 3)


def test_power_law_has_its_exponents():
    law = power_law(100, 1.7, 0.6)
    np.testing.assert_allclose(law["spectrum"], np.arange(1, 101) ** -1.7)
    np.testing.assert_allclose(law["spectrum"] * law["truth"] ** 2, np.arange(1, 101) ** -(1 + 2 * 1.7 * 0.6))


def test_leaves_share_the_floating_type_of_the_spectrum(precision):
    spec = RegressionSpec([1.0], real_fraction=np.float32(0.5), truth=[1])
    assert {leaf.dtype.name for leaf in jax.tree.leaves(spec)} == {precision}


def test_schedules_say_when_they_are_short():
    spec = RegressionSpec(generator_samples=[5, 6], generator_noise=[0.1])
    assert spec.generator_noise.ndim == 0
    assert spec.scheduled
    assert not RegressionSpec().scheduled
    assert spec.per_round("generator_samples", 2).tolist() == [5.0, 6.0]
    assert spec.per_round("generator_noise", 3).shape == (3,)
    with pytest.raises(SpecError, match="each of 3 rounds, got 2: lengthen the schedule or lower generations"):
        spec.per_round("generator_samples", 3)


def test_rebuilding_replacing_and_batching():
    spec = RegressionSpec([2.0, 1.0], learner_ridge=0.25)
    leaves, structure = jax.tree.flatten(spec)
    assert jax.tree.structure(jax.tree.unflatten(structure, leaves)) == structure
    for field in ("learner_ridge", *SCHEDULES):
        with pytest.raises(SpecError, match=field):
            dataclasses.replace(spec, **{field: -1.0})
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), spec, dataclasses.replace(spec, learner_ridge=0.5))
    assert jax.vmap(lambda one: one.learner_ridge)(batch).tolist() == [0.25, 0.5]


def test_tracers_pass_and_gradients_are_specs():
    made = jax.jit(lambda v: RegressionSpec(jnp.stack([v, v]), learner_noise=v).signal)(-1.0)
    assert float(made) == -2
    slope = jax.grad(lambda spec: spec.signal)(RegressionSpec([2.0, 1.0]))
    assert slope.truth.tolist() == [4.0, 2.0]


def test_fields_document_themselves():
    for field in dataclasses.fields(RegressionSpec):
        assert field.metadata["help"]
        assert callable(field.metadata["type"])
