"""The spec of contaminated training refuses what makes no chain in one line, and lets through what JAX puts into it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import SpecError
from collapse_jax.specs.contamination import ContaminationSpec

NAN, INF = float("nan"), float("inf")
TRUTH = {"truth": [0.5, 0.3, 0.2]}

BAD = [
    ({"truth": []}, "truth", "shape", "at least 2"),
    ({"truth": 1.0}, "truth", "shape", "at least 2"),
    ({"truth": [1.0]}, "truth", "shape", "at least 2"),
    ({"truth": [0.5, 0.6]}, "truth", "", "sum 1"),
    ({"truth": [1.5, -0.5]}, "truth", "-0.5", ">= 0"),
    ({"truth": [NAN, 1.0]}, "truth", "nan", "finite"),
    ({"truth": ["a", "b"]}, "truth", r"\['a', 'b'\]", "numeric"),
    ({"truth": [[0.5, 0.5]]}, "truth", "shape", "at least 2"),
    ({"real_fraction": -0.01}, "real_fraction", "-0.01", r"in \[0, 1\]"),
    ({"real_fraction": [0.1, 1.01]}, "real_fraction", "1.01", r"in \[0, 1\]"),
    ({"real_fraction": [[0.1]]}, "real_fraction", "shape", "one for each round"),
    ({"real_fraction": []}, "real_fraction", "shape", "one for each round"),
    ({"size": 0.5}, "size", "0.5", ">= 1"),
    ({"size": INF}, "size", "inf", "finite"),
    ({"size": [10.0, NAN]}, "size", "nan", "finite"),
    ({"first_size": 0}, "first_size", "0", ">= 1"),
    ({"real_power": -1.0}, "real_power", "-1", ">= 0"),
    ({"size_power": INF}, "size_power", "inf", "finite"),
    ({"smoothing": -0.1}, "smoothing", "-0.1", ">= 0"),
    ({"contexts": []}, "contexts", "shape", "each context"),
    ({"contexts": [0.5, 0.4]}, "contexts", "", "sum 1"),
    ({"contexts": [0.5, 0.5]}, "truth", "shape", "2 rows"),
    ({"features": [1.0, 2.0]}, "features", "shape", "3 entries each"),
    ({"features": [1.0, NAN, 0.0]}, "features", "nan", "finite"),
    ({"regime": "accumulate", "real": "anchor"}, "contexts, regime", "2", "but for one"),
    ({"regime": "accumulate", "smoothing": 1.0}, "smoothing", "1", "0 but for"),
]


@pytest.mark.parametrize(("fields", "name", "value", "requirement"), BAD)
def test_bad_value_is_refused_in_one_line_with_field_value_and_requirement(fields, name, value, requirement):
    with pytest.raises(SpecError, match=rf"^{name}\b") as refused:
        ContaminationSpec(**TRUTH | fields)
    assert refused.match(value)
    assert refused.match(requirement)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_wrong_words_are_refused():
    for field in ("regime", "real", "size_law"):
        spec = ContaminationSpec([0.5, 0.5])
        object.__setattr__(spec, field, "tap")
        with pytest.raises(SpecError, match=f"^{field} must be .* or .*, got 'tap'"):
            spec._check_ranges()


@pytest.mark.parametrize(
    "fields",
    [
        {"truth": [1.0, 0.0]},
        {"real_fraction": 0},
        {"real_fraction": 1},
        {"size": 1, "first_size": 1},
        {"size": [1e9]},
        {"real_power": 5.0, "size_power": 3.0},
        {"smoothing": 1e6},
        {"features": [1.0, 0.0, -1.0]},
        {"contexts": [1.0]},
    ],
)
def test_edges_of_the_ranges_are_allowed(fields):
    assert ContaminationSpec(**TRUTH | fields).tokens in (2, 3)


def test_flat_lists_are_read_row_by_row():
    spec = ContaminationSpec([0.5, 0.5, 0.9, 0.1], contexts=[0.4, 0.6])
    assert spec.truth.tolist() == [[0.5, 0.5], [np.float32(0.9), np.float32(0.1)]]
    assert ContaminationSpec([0.5, 0.5], features=[1.0, 2.0, 3.0, 4.0]).features.shape == (2, 2)


def test_schedules(precision):
    """Shares are capped at 1, sizes are whole in both precisions, and lists may be shorter than nothing asked for."""
    spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, real_power=0.5, size=100, size_power=0.5)
    assert spec.sizes(9).tolist() == [100, 142, 174, 200, 224, 245, 265, 283, 300]
    np.testing.assert_allclose(spec.shares(4), [1, 2**-0.5, 3**-0.5, 0.5], rtol=1e-6)
    assert ContaminationSpec([0.5, 0.5], size=2.2).sizes(2).tolist() == [3, 3]
    listed = ContaminationSpec([0.5, 0.5], real_fraction=[0.5, 0.1], size=[4.0, 6.0, 8.0])
    assert listed.sizes(2).tolist() == [4, 6]
    assert ContaminationSpec([0.5, 0.5]).sizes(0).shape == (0,)
    with pytest.raises(SpecError, match=r"^real_fraction must list a value for each of 3 rounds, got 2"):
        listed.shares(3)
    with pytest.raises(SpecError, match=r"^size must list a value for each of 4 rounds, got 3"):
        listed.sizes(4)


def test_derivatives_are_those_before_rounding_up(x64):
    def total(size):
        return ContaminationSpec([0.5, 0.5], size=size, size_power=0.5).sizes(4).sum()

    assert float(jax.grad(total)(jnp.asarray(10.3))) == pytest.approx(sum(np.sqrt(np.arange(1, 5))))


def test_jax_may_rebuild_and_batch_specs():
    specs = [ContaminationSpec([0.5, 0.5], real_fraction=share) for share in (0.1, 0.9)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *specs)
    assert jax.vmap(lambda spec: spec.shares(2))(stacked).shape == (2, 2)
    assert jax.tree.unflatten(jax.tree.structure(specs[0]), [None] * 7).regime == "replace"
    assert float(jax.jit(lambda truth: ContaminationSpec(truth).diversity)(jnp.array([0.5, 0.5]))) == 0.5
    assert dataclasses.replace(specs[0], size=7.0).sizes(1).tolist() == [7]


def test_diversity():
    np.testing.assert_allclose(ContaminationSpec([0.5, 0.3, 0.2]).diversity, 0.62, rtol=1e-6)
    both = ContaminationSpec([[0.5, 0.5], [1.0, 0.0]], contexts=[0.5, 0.5])
    assert both.diversity.tolist() == [0.5, 0.0]
