"""The spec of iterative maximum likelihood refuses what makes no chain in one line, and lets JAX put things in."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import CollapseError, SpecError
from collapse_jax.specs.mle import FAMILIES, MLESpec

NAN, INF = float("nan"), float("inf")
BAD = [
    ({"family": "bernoulli", "mean": 1.5}, "mean", "1.5", r"in \[0, 1\]"),
    ({"family": "binomial", "size": 3.0, "mean": 3.5}, "mean", "3.5", r"in \[0, 3\]"),
    ({"family": "binomial", "size": 2.5}, "size", "2.5", "whole"),
    ({"family": "poisson", "mean": -1.0}, "mean", "-1", ">= 0"),
    ({"family": "exponential", "mean": 0.0}, "mean", "0", "positive"),
    ({"family": "beta", "mean": NAN}, "mean", "nan", "positive"),
    ({"mean": INF}, "mean", "inf", "finite"),
    ({"mean": [1.0, 2.0]}, "mean", "shape", "a number"),
    ({"mean": "much"}, "mean", "'much'", "numeric"),
    ({"size": 0.0}, "size", "0", "positive"),
    ({"variance": 0.0}, "variance", "0", "positive"),
    ({"variance": [1.0, 2.0]}, "variance", "shape", "a number for gaussian"),
    ({"family": "normal", "variance": [[1.0]]}, "variance", "shape", "a number or a list"),
    ({"family": "multinomial", "weights": [1.0]}, "weights", "shape", "two chances"),
    ({"family": "multinomial", "weights": [0.6, 0.6]}, "weights", "", "sum 1"),
    ({"family": "multinomial", "weights": [1.5, -0.5]}, "weights", "-0.5", ">= 0"),
    ({"batch": 2.5}, "batch", "2.5", "whole, >= 1"),
    ({"batch": 0}, "batch", "0", "whole, >= 1"),
    ({"batch": []}, "batch", "shape", "a number or a list"),
    ({"batch": [3, 0]}, "batch", "0", "whole, >= 1"),
    ({"family": "normal", "batch": 1}, "batch", "1", "whole, >= 2"),
    ({"real_fraction": 1.5}, "real_fraction", "1.5", r"in \[0, 1\]"),
    ({"real_fraction": [0.1, NAN]}, "real_fraction", "nan", r"in \[0, 1\]"),
    ({"real_weight": 2.0, "split": "fixed"}, "real_weight", "2", r"in \[0, 1\]"),
    ({"real_weight": 0.5}, "real_weight", "", "split fixed"),
    ({"threshold": 0.0}, "threshold", "0", "positive"),
    ({"fuse": 1.0}, "fuse", "1", "above 1"),
    ({"interval": 1}, "interval", "1", ">= 2"),
]


@pytest.mark.parametrize(("fields", "name", "value", "requirement"), BAD)
def test_bad_value_is_refused_in_one_line_with_field_value_and_requirement(fields, name, value, requirement):
    with pytest.raises(SpecError, match=rf"^{name}\b") as refused:
        MLESpec(**{"family": "gaussian"} | fields)
    assert refused.match(value)
    assert refused.match(requirement)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200
    assert isinstance(refused.value, CollapseError | ValueError)


def test_wrong_words_are_refused_without_the_type_checker_of_the_tests():
    code = """
from collapse_jax.specs.mle import MLESpec
for fields in ({"family": "cauchy"}, {"regime": "forget"}, {"real": "old"}, {"divisor": "n+1"}, {"interval": 2.5}):
    try:
        MLESpec(**{"family": "gaussian"} | fields)
    except ValueError as error:
        print(error)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[1:] == [
        "regime must be one of replace, accumulate, accumulate-subsample, got 'forget'.",
        "real must be one of fresh, anchor, got 'old'.",
        "divisor must be one of n, n-1, got 'n+1'.",
        "interval must be a whole number >= 2, got 2.5.",
    ]
    assert shown.stdout.startswith("family must be one of bernoulli, binomial, ")


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_make_a_spec_of_every_family(family):
    spec = MLESpec(family)
    assert spec.dimension == 1
    assert spec.batch.ndim == 0


def test_a_list_of_one_number_is_that_number():
    spec = MLESpec("normal", batch=[20.0], variance=[2.0])
    assert (spec.batch.ndim, spec.variance.ndim) == (0, 0)
    assert MLESpec("gaussian", batch=[20, 30]).batch.shape == (2,)


def test_whole_numbers_become_floats_of_the_precision_of_the_run(precision):
    spec = MLESpec("normal", mean=1, variance=np.float32(2), batch=100)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(spec)}
    assert dtypes == {np.dtype("float32")}
    assert MLESpec("normal", variance=2.0).batch.dtype == np.dtype(precision)


def test_jax_may_put_anything_into_a_spec():
    """Gradients, batches and tracers are no chains and are not checked."""
    spec = MLESpec("exponential", mean=2.0)
    assert jax.grad(lambda s: s.mean * s.batch)(spec).mean == 100
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), spec)
    assert many.mean.tolist() == [2.0, -2.0]
    assert float(jax.jit(lambda s: dataclasses.replace(s, mean=-s.mean).mean)(spec)) == -2


def test_sizes_are_static_and_numbers_are_leaves():
    spec = MLESpec("normal", real_weight=0.5, split="fixed")
    assert len(jax.tree.leaves(spec)) == 9
    assert len(jax.tree.leaves(MLESpec("normal"))) == 8
    assert jax.tree.structure(spec) != jax.tree.structure(dataclasses.replace(spec, divisor="n-1"))
