"""The spec of rectified flows refuses what makes no chain in one line, and lets through what JAX puts into it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import CollapseError, SpecError
from collapse_jax.specs.reflow import ReflowSpec, turned

NAN, INF = float("nan"), float("inf")

BAD = [
    ({"spectrum": []}, "spectrum", "none", "at least one variance"),
    ({"spectrum": [1.0, 0.0]}, "spectrum", "0", "positive"),
    ({"spectrum": [NAN]}, "spectrum", "nan", "finite"),
    ({"spectrum": ["a"]}, "spectrum", r"\['a'\]", "numeric"),
    ({"start": [1.0, 2.0]}, "start", "2", "1 entries"),
    ({"start": 0.0}, "start", "0", "positive"),
    ({"coupling": "mixed"}, "coupling", "mixed", "independent or reflow"),
    ({"solver": "rk4"}, "solver", "rk4", "exact or euler or heun"),
    ({"grid": "log"}, "grid", "log", "uniform or equal-angle"),
    ({"inverter": "last"}, "inverter", "last", "current or first"),
    ({"steps": 0}, "steps", "0", "whole number >= 1"),
    ({"steps": True}, "steps", "True", "whole number >= 1"),
    ({"size": 0.5}, "size", "0.5", "whole number >= 1"),
    ({"size": INF}, "size", "inf", "whole number >= 1"),
    ({"real_pairs": 1.5}, "real_pairs", "1.5", r"in \[0, 1\]"),
    ({"real_fraction": 0.5}, "real_fraction", "0.5", "coupling is independent"),
    ({"coupling": "independent", "real_pairs": 0.5}, "real_pairs", "0.5", "coupling is reflow"),
    ({"noise": -0.1}, "noise", "-0.1", r"in \[0, 1\]"),
    ({"fit_loss": 1.0}, "fit_loss", "1", r"in \[0, 1\)"),
    ({"ridge": -1.0}, "ridge", "-1", ">= 0"),
    ({"ridge": [1.0, 2.0]}, "ridge", "shape", "a number"),
    ({"diffusion": NAN}, "diffusion", "nan", ">= 0"),
    ({"correlation": -1.0}, "correlation", "-1", "above -1"),
    ({"latent_variance": 0.0}, "latent_variance", "0", "positive"),
    ({"rotation": 4.0}, "rotation", "4", "between -pi and pi"),
    ({"separation": 1.0}, "separation", "1", r"in \[0, 1\)"),
    ({"frozen": 0.0}, "frozen", "0", "positive"),
    ({"largest_noise": 0.0}, "largest_noise", "0", "positive"),
    ({"level": 0.0}, "level", "0", "positive"),
]


@pytest.mark.parametrize(("fields", "name", "value", "requirement"), BAD)
def test_bad_value_is_refused_in_one_line_with_field_value_and_requirement(fields, name, value, requirement):
    # the type checker of the tests is the first to refuse an unknown word
    with pytest.raises((SpecError, TypeError), match=name) as refused:
        ReflowSpec(**{"spectrum": [1.0]} | fields)
    if isinstance(refused.value, SpecError):
        assert refused.match(value)
        assert refused.match(requirement)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 160
        assert isinstance(refused.value, CollapseError | ValueError)


def test_one_start_serves_all_directions():
    spec = ReflowSpec([4.0, 1.0], start=0.5)
    assert spec.dimension == 2
    np.testing.assert_allclose(spec.variance, [2.0, 0.5])


def test_leaves_are_traced_and_batched():
    """Gradients, batches and tracers pass; words and steps are no leaves."""
    spec = ReflowSpec([1.0, 2.0], noise=0.5)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(spec))
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), spec)
    assert jax.vmap(lambda s: s.kept * s.variance)(stacked).shape == (2, 2)
    assert float(jax.grad(lambda tau: ReflowSpec([1.0], noise=tau).noise ** 2)(0.5)) == 1.0


def test_rotation_is_orthogonal_in_pairs_of_directions():
    turn = np.asarray(turned(ReflowSpec([1.0, 1.0, 1.0], rotation=0.3)))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(turn[:2, :2], [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]], atol=1e-6)
    assert turn[2, 2] == 1
