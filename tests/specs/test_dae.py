"""A spec refuses what makes no chain in one line, and lets everything through that JAX puts into it."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import CollapseError, SpecError
from collapse_jax.specs.dae import DAESpec

NAN, INF = float("nan"), float("inf")

BAD = [
    ({"spectrum": []}, "spectrum", "none", "at least one eigenvalue"),
    ({"spectrum": 3.0}, "spectrum", "none", "at least one eigenvalue"),
    ({"spectrum": [1.0, -0.5]}, "spectrum", "-0.5", "non-negative"),
    ({"spectrum": [1.0, NAN]}, "spectrum", "nan", "finite"),
    ({"spectrum": [INF, 1.0]}, "spectrum", "inf", "finite"),
    ({"spectrum": [1.0, 2.0]}, "spectrum", "2", "sorted from largest to smallest"),
    ({"spectrum": "wide"}, "spectrum", "'wide'", "numeric"),
    ({"spectrum": [1.0, None]}, "spectrum", "None", "numeric"),
    ({"spectrum": [[1.0], [1.0, 2.0]]}, "spectrum", r"\[\[1.0\], \[1.0, 2.0\]\]", "numeric"),
    ({"noise_var": 0.0}, "noise_var", "0", "positive"),
    ({"noise_var": -1.0}, "noise_var", "-1", "positive"),
    ({"noise_var": NAN}, "noise_var", "nan", "positive"),
    ({"noise_var": INF}, "noise_var", "inf", "finite"),
    ({"noise_var": "loud"}, "noise_var", "'loud'", "numeric"),
    ({"resample_noise_var": -0.1}, "resample_noise_var", "-0.1", ">= 0"),
    ({"resample_noise_var": NAN}, "resample_noise_var", "nan", ">= 0"),
    ({"real_fraction": -0.01}, "real_fraction", "-0.01", r"in \[0, 1\]"),
    ({"real_fraction": 1.01}, "real_fraction", "1.01", r"in \[0, 1\]"),
    ({"real_fraction": NAN}, "real_fraction", "nan", r"in \[0, 1\]"),
    ({"weight_decay": -1.0}, "weight_decay", "-1", ">= 0"),
    ({"weight_decay": INF}, "weight_decay", "inf", "finite"),
    ({"regime": "accumulate"}, "regime", "'chain'", "set feed to pool"),
    (
        {"regime": "accumulate", "feed": "pool", "real_fraction": 0.5},
        "real_fraction",
        "0.5",
        "0 with regime accumulate",
    ),
    ({"rank": 0}, "rank", "0", ">= 1"),
    ({"rank": 4}, "rank", "4", "at most the dimension 3"),
]


@pytest.mark.parametrize(("fields", "name", "value", "requirement"), BAD)
def test_bad_value_is_refused_in_one_line_with_field_value_and_requirement(fields, name, value, requirement):
    with pytest.raises(SpecError, match=rf"^{name}\b") as refused:
        DAESpec(**{"spectrum": [3.0, 2.0, 1.0]} | fields)
    assert refused.match(value)
    assert refused.match(requirement)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 160
    assert isinstance(refused.value, CollapseError | ValueError)


def test_wrong_kinds_are_refused_without_the_type_checker_of_the_tests():
    """Words, ranks that are no whole numbers: named in one line where nothing else checks types."""
    code = """
from collapse_jax.specs.dae import DAESpec
for fields in ({"feed": "tap"}, {"regime": "keep"}, {"rank": 1.5}, {"rank": "two"}):
    try:
        DAESpec([2.0, 1.0], **fields)
    except ValueError as error:
        print(error)
print(DAESpec([2.0, 1.0], rank=__import__("numpy").int64(1)).width)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [
        "feed must be chain, pool or prior, got 'tap'.",
        "regime must be replace or accumulate, got 'keep'.",
        "rank must be a whole number >= 1 or None, got 1.5.",
        "rank must be a whole number >= 1 or None, got 'two'.",
        "1",
    ]


@pytest.mark.parametrize("field", ["noise_var", "resample_noise_var", "real_fraction", "weight_decay"])
def test_replace_checks_again(field):
    with pytest.raises(SpecError, match=field):
        dataclasses.replace(DAESpec([1.0]), **{field: -1.0})


@pytest.mark.parametrize(
    "fields",
    [
        {"spectrum": [0.0, 0.0, 0.0]},
        {"spectrum": [1, 1, 1]},
        {"resample_noise_var": 0.0},
        {"real_fraction": 0.0},
        {"real_fraction": 1},
        {"rank": 3},
        {"feed": "prior"},
        {"regime": "accumulate", "feed": "pool"},
        {"weight_decay": 0.0},
    ],
)
def test_edges_of_the_ranges_are_allowed(fields):
    assert DAESpec(**{"spectrum": [3.0, 2.0, 1.0]} | fields).dimension == 3


def test_leaves_share_the_floating_type_of_the_spectrum(precision):
    spec = DAESpec([3, 2, 1], noise_var=2, real_fraction=np.float32(0.5))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(spec)} == {precision}
    single = DAESpec(jnp.ones(2, jnp.float32), noise_var=2.0)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(single)} == {"float32"}


def test_width_is_the_rank_or_everything():
    assert DAESpec([3.0, 2.0]).width == 2
    assert DAESpec([3.0, 2.0], rank=1).width == 1


def test_rebuilding_changes_nothing():
    """tree_map of the identity, and flatten followed by unflatten, give an equal spec."""
    spec = DAESpec([3.0, 2.0], real_fraction=0.25, feed="pool", rank=1)
    leaves, structure = jax.tree.flatten(spec)
    for same in (jax.tree.map(lambda leaf: leaf, spec), jax.tree.unflatten(structure, leaves)):
        assert jax.tree.structure(same) == structure
        assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), same, spec)))


def test_placeholders_pass():
    """What JAX puts into a pytree besides numbers: None, objects, axis numbers, shapes."""
    spec = DAESpec([3.0, 2.0])
    for placeholder in (None, object(), 0, jax.ShapeDtypeStruct((2,), jnp.float32)):
        rebuilt = jax.tree.map(lambda _, p=placeholder: p, spec)
        assert isinstance(rebuilt, DAESpec)


def test_axes_of_vmap_may_be_given_as_a_spec():
    """in_axes as a spec of whole numbers: spectrum mapped, the rest shared."""
    spec = DAESpec([3.0, 2.0])
    axes = jax.tree.unflatten(jax.tree.structure(spec), [0, None, None, None, None])
    batch = dataclasses.replace(spec, spectrum=jnp.array([[3.0, 2.0], [5.0, 1.0]]))
    top = jax.vmap(lambda one: one.spectrum[0] / one.noise_var, in_axes=(axes,))(batch)
    assert top.tolist() == [3.0, 5.0]


def test_tracers_pass_and_values_are_checked_where_they_are_known():
    made = jax.jit(lambda v: DAESpec(jnp.stack([v, v / 2]), noise_var=v).noise_var)(-1.0)
    assert float(made) == -1
    with pytest.raises(SpecError, match="resample_noise_var"):
        jax.jit(lambda v: DAESpec([1.0], noise_var=v, resample_noise_var=-1.0).noise_var)(1.0)


def test_batched_leaves_pass():
    many = [DAESpec([3.0, 2.0], real_fraction=share) for share in (0.0, 0.5)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *many)
    assert batch.spectrum.shape == (2, 2)
    assert jax.vmap(lambda spec: spec.real_fraction)(batch).tolist() == [0.0, 0.5]


def test_gradient_after_a_spec_is_a_spec():
    """Also where no chain could have such values: a slope may be negative."""
    slope = jax.grad(lambda spec: -spec.spectrum.sum() * spec.noise_var)(DAESpec([3.0, 2.0], noise_var=4.0))
    assert slope.spectrum.tolist() == [-4.0, -4.0]
    assert float(slope.noise_var) == -5
    assert float(slope.real_fraction) == 0


def test_fields_document_themselves():
    """Flags and their help are made from the fields: each has a meaning, a range or choices, and a type."""
    for field in dataclasses.fields(DAESpec):
        assert field.metadata["help"]
        assert field.metadata["range"] or field.metadata["choices"]
        assert callable(field.metadata["type"])
