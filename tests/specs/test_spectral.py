"""The spec of truncated diffusion refuses what makes no chain in one line, and lets through what JAX puts into it."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import CollapseError, SpecError
from collapse_jax.specs.mixture import Mixture, mix, points
from collapse_jax.specs.spectral import SpectralSpec

NAN, INF = float("nan"), float("inf")
DATA = {"weights": [0.5, 0.5], "means": [-1.0, 1.0], "covariances": [0.1, 0.2]}
PLANE = {"weights": [0.5, 0.5], "means": [-1.0, 0.0, 1.0, 0.0], "covariances": [0.1, 0.2]}

BAD = [
    ({"weights": []}, "weights", "shape", "at least one weight"),
    ({"weights": 1.0}, "weights", "shape", "at least one weight"),
    ({"weights": [0.5, 0.6]}, "weights", "", "sum 1"),
    ({"weights": [1.5, -0.5]}, "weights", "-0.5", ">= 0"),
    ({"weights": [NAN, 1.0]}, "weights", "nan", "finite"),
    ({"weights": ["a", "b"]}, "weights", r"\['a', 'b'\]", "numeric"),
    ({"means": [1.0, 2.0, 3.0]}, "means", "shape", "2 points"),
    ({"means": []}, "means", "shape", "2 points"),
    ({"means": [[1.0], [INF]]}, "means", "inf", "finite"),
    ({"covariances": [0.1, -0.1]}, "covariances", "-0.1", "positive"),
    ({"covariances": [0.1, NAN]}, "covariances", "nan", "finite"),
    ({"covariances": [0.1, 0.1, 0.1]}, "covariances", "shape", "2 variances or 2 matrices 1 x 1"),
    ({"real_fraction": -0.01}, "real_fraction", "-0.01", r"in \[0, 1\]"),
    ({"real_fraction": 1.01}, "real_fraction", "1.01", r"in \[0, 1\]"),
    ({"real_fraction": NAN}, "real_fraction", "nan", r"in \[0, 1\]"),
    ({"truncation": -0.1}, "truncation", "-0.1", "finite and >= 0"),
    ({"truncation": INF}, "truncation", "inf", "finite and >= 0"),
    ({"truncation": [0.1, 0.0]}, "truncation", "0", "positive in every round"),
    ({"truncation": []}, "truncation", "shape", "a number or one for each round"),
    ({"truncation": [[0.1, 0.1]]}, "truncation", "shape", "a number or one for each round"),
    ({"truncation": 1.0, "process": "rectified_flow"}, "truncation", "1", "below 1 for rectified_flow"),
    ({"truncation": [0.1, 0.2], "process": "rectified_flow"}, "truncation", "", "one number for rectified_flow"),
    ({"rate": 0.0}, "rate", "0", "positive"),
    ({"rate": NAN}, "rate", "nan", "positive"),
    ({"regime": "accumulate"}, "real_fraction", "0.1", "0 with regime accumulate"),
    ({"order": 0}, "order", "0", ">= 1"),
    ({"pool_size": 1}, "pool_size", "1", ">= 2"),
    ({"error_scale": -1.0}, "error_scale", "-1", ">= 0"),
    ({"error_power": INF}, "error_power", "inf", "finite"),
    ({"direction": [0.5]}, "direction", "0.5", "norm 1"),
    ({"direction": [1.0, 0.0]}, "direction", "shape", "1 entries"),
]


@pytest.mark.parametrize(("fields", "name", "value", "requirement"), BAD)
def test_bad_value_is_refused_in_one_line_with_field_value_and_requirement(fields, name, value, requirement):
    with pytest.raises(SpecError, match=rf"^{name}\b") as refused:
        SpectralSpec(**DATA | fields)
    assert refused.match(value)
    assert refused.match(requirement)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 160
    assert isinstance(refused.value, CollapseError | ValueError)


@pytest.mark.parametrize(
    ("matrix", "requirement"),
    [
        ([1.0, 2.0, 2.0, 1.0], "positive definite"),
        ([1.0, 0.5, 0.0, 1.0], "symmetric"),
        ([0.0] * 4, "positive definite"),
    ],
)
def test_bad_matrix_is_refused(matrix, requirement):
    with pytest.raises(SpecError, match=f"^covariances must be {requirement}") as refused:
        SpectralSpec(**PLANE | {"covariances": [*matrix, 1.0, 0.0, 0.0, 1.0]})
    assert "\n" not in str(refused.value)


def test_wrong_kinds_are_refused_without_the_type_checker_of_the_tests():
    code = """
from collapse_jax.specs.spectral import SpectralSpec
for fields in ({"process": "tap"}, {"regime": "keep"}, {"order": 1.5}, {"order": True}, {"pool_size": "two"}):
    try:
        SpectralSpec([1.0], [0.0], [1.0], **fields)
    except ValueError as error:
        print(error)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [
        "process must be vp, ve or rectified_flow, got 'tap'.",
        "regime must be replace or accumulate, got 'keep'.",
        "order must be a whole number >= 1, got 1.5.",
        "order must be a whole number >= 1, got True.",
        "pool_size must be a whole number >= 2, got 'two'.",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": [1.0, 0.0]},
        {"covariances": [0.0, 0.0]},
        {"covariances": np.ones((2, 1, 1))},
        {"means": [[-1.0], [1.0]]},
        {"real_fraction": 0},
        {"real_fraction": 1},
        {"truncation": 0.0},
        {"truncation": 0.0, "process": "rectified_flow"},
        {"truncation": 3.0, "process": "ve"},
        {"regime": "accumulate", "real_fraction": 0.0},
        {"direction": [-1.0]},
        {"order": 64},
    ],
)
def test_edges_of_the_ranges_are_allowed(fields):
    assert SpectralSpec(**DATA | fields).dimension == 1


def test_flat_lists_are_read_component_by_component():
    spec = SpectralSpec([0.5, 0.5], [1.0, 2.0, 3.0, 4.0], [1.0, 0.5, 0.5, 1.0, 2.0, 0.0, 0.0, 2.0])
    assert spec.means.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert spec.covariances[0].tolist() == [[1.0, 0.5], [0.5, 1.0]]
    assert spec.axis.tolist() == [1.0, 0.0]


def test_leaves_share_the_floating_type_of_the_weights(precision):
    spec = SpectralSpec(**DATA, real_fraction=np.float32(0.5), direction=[1])
    assert {leaf.dtype.name for leaf in jax.tree.leaves(spec)} == {precision}


@pytest.mark.parametrize(
    ("process", "truncation", "scale", "noise", "reference"),
    [
        ("vp", 0.5, np.exp(-1), 1 - np.exp(-2), 1.0),
        ("ve", 0.5, 1.0, 0.25, 1.0),
        ("rectified_flow", 0.5, 0.5, 0.25, 1 / 3),
    ],
)
def test_map_of_a_round(process, truncation, scale, noise, reference, x64):
    """The reference law is what a round leaves alone (none for ve: observables are on the scale 1)."""
    spec = SpectralSpec(**DATA, truncation=truncation, process=process, rate=2.0)
    found = [float(spec.scale), float(spec.noise_var), float(spec.reference_var)]
    np.testing.assert_allclose(found, [scale, noise, reference], rtol=1e-15)
    if process != "ve":
        assert found[0] ** 2 * found[2] + found[1] == pytest.approx(found[2], rel=1e-15)


def test_schedule_of_one_round_is_a_number_and_a_short_one_says_so():
    assert SpectralSpec(**DATA, truncation=[0.1]).truncation.ndim == 0
    spec = SpectralSpec(**DATA, truncation=[0.1, 0.2])
    spec.require_rounds(2)
    with pytest.raises(SpecError, match="each of 3 rounds, got 2: lengthen the schedule or lower generations"):
        spec.require_rounds(3)


def test_rebuilding_replacing_and_batching():
    spec = SpectralSpec(**DATA, real_fraction=0.25, direction=[1.0])
    leaves, structure = jax.tree.flatten(spec)
    assert jax.tree.structure(jax.tree.unflatten(structure, leaves)) == structure
    for placeholder in (None, object(), 0, jax.ShapeDtypeStruct((2,), jnp.float32)):
        assert isinstance(jax.tree.map(lambda _, p=placeholder: p, spec), SpectralSpec)
    for field in ("real_fraction", "truncation", "rate", "error_scale", "error_power"):
        with pytest.raises(SpecError, match=field):
            dataclasses.replace(spec, **{field: -1.0})
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), spec, dataclasses.replace(spec, real_fraction=0.5))
    assert jax.vmap(lambda one: one.real_fraction)(batch).tolist() == [0.25, 0.5]


def test_tracers_pass_and_gradients_are_specs():
    made = jax.jit(lambda v: SpectralSpec(jnp.stack([v, v]), [-1.0, 1.0], [0.1, 0.1], rate=v).rate)(-1.0)
    assert float(made) == -1
    slope = jax.grad(lambda spec: -spec.means.sum() * spec.rate)(SpectralSpec(**DATA, rate=4.0))
    assert slope.means.tolist() == [[-4.0], [-4.0]]


def test_fields_document_themselves():
    for cls in (SpectralSpec, Mixture):
        for field in dataclasses.fields(cls):
            assert field.metadata["help"]
            assert callable(field.metadata["type"])


# mixtures


def test_distribution_function_at_any_shape_and_of_points(precision):
    law = mix(jnp.array([0.5, 0.5]), [points([0.0]), Mixture([1.0], [0.0], [1.0])])
    found = law.cdf(jnp.array([[-1.0, 0.0], [1.0, 50.0]]))
    np.testing.assert_allclose(
        found, [[0.5 * 0.15865525393145707, 0.75], [0.5 + 0.5 * 0.8413447460685429, 1.0]], rtol=1e-6
    )
    assert law.cdf(0.0).shape == ()
    with pytest.raises(SpecError, match="take project"):
        Mixture([1.0], [[0.0, 0.0]], [1.0]).cdf(0.0)


def test_moments_projections_and_smoothing(x64):
    law = Mixture([0.25, 0.75], [[1.0, 0.0], [-1.0, 2.0]], [np.eye(2), [[2.0, 0.5], [0.5, 1.0]]])
    np.testing.assert_allclose(law.mean, [-0.5, 1.5])
    second = law.covariance + jnp.outer(law.mean, law.mean)
    np.testing.assert_allclose(second, [[2.75, -1.125], [-1.125, 4.0]])
    w = jnp.array([0.6, -0.8])
    line = law.project(w)
    assert float(line.mean[0]) == pytest.approx(float(w @ law.mean))
    assert float(line.covariance[0, 0]) == pytest.approx(float(w @ law.covariance @ w))
    moved = law.smooth(0.5, 0.75)
    np.testing.assert_allclose(moved.covariance, 0.25 * law.covariance + 0.75 * np.eye(2), rtol=1e-14)
