"""Measures and resampling: textbook standard errors, and refusals."""

import jax
import numpy as np
import pytest

from collapse_jax.errors import SpecError
from collapse_jax.metrics.bootstrap import bootstrap, half_sample, halvings
from collapse_jax.metrics.measure import mean_of, points, ratio_of, same_width

RESAMPLINGS = [(bootstrap, 400, 1 / 800), (half_sample, 200, 1 / 400)]


@pytest.mark.parametrize(("resample", "repeats", "relative"), RESAMPLINGS)
def test_difference_of_means_has_its_textbook_error(resample, repeats, relative):
    """A variance from r draws of about normal numbers is off by a relative 2 s, s^2 the ``relative`` of its root."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=300), 2 * generator.normal(size=200)
    found = resample(
        lambda a, b: a.mean() - b.mean(), x, y, key=jax.random.key(0), name="difference of means", repeats=repeats
    )
    known = np.hypot(x.std(ddof=1) / np.sqrt(300), y.std(ddof=1) / np.sqrt(200))
    assert found.value == x.mean() - y.mean()
    assert found.name == "difference of means"
    assert abs(found.standard_error / known - 1) < 4 * np.sqrt(relative) + 1 / 200


@pytest.mark.parametrize("resample", [bootstrap, half_sample])
def test_arrays_of_statistics_and_keys(resample):
    x = np.random.default_rng(0).normal(size=(50, 3))
    found = [resample(lambda a: a.mean(axis=0), x, key=jax.random.key(k), name="m") for k in (0, 0, 1)]
    assert found[0].standard_error.shape == (3,)
    np.testing.assert_array_equal(found[0].standard_error, found[1].standard_error)
    assert (found[0].standard_error != found[2].standard_error).all()


def test_halves_share_no_point():
    for one, other in halvings([7, 4], jax.random.key(0), 20):
        for ours, theirs, half in zip(one, other, (3, 2), strict=True):
            assert len(ours) == len(theirs) == half
            assert not set(ours) & set(theirs)


def test_ratio_is_calibrated():
    generator = np.random.default_rng(1)
    below = generator.gamma(4, size=(2000, 100))
    above = below * generator.uniform(size=below.shape)
    found = np.array([ratio_of(a, b, "r")[:2] for a, b in zip(above, below, strict=True)])
    # the variance over 2000 runs, of numbers near normal, is off by a relative sqrt(2/2000); 4 of those, and the bias
    # of order 1/100 of either
    assert abs(found[:, 0].var(ddof=1) / np.mean(found[:, 1] ** 2) - 1) < 4 * np.sqrt(2 / 2000) + 0.02


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean_of([1.0], "m"), "m: an error bar takes two values"),
        (lambda: mean_of(1.0, "m"), "two values"),
        (lambda: ratio_of([1.0, 2.0], [1.0], "r"), "two lists of one length"),
        (lambda: points("x", np.ones(3)), r"x must be numbers \[n, d\]"),
        (lambda: points("x", np.ones((1, 3))), "n >= 2"),
        (lambda: points("x", np.ones((3, 0))), "n >= 2"),
        (lambda: points("x", np.array([["a"], ["b"]])), "x must be numbers"),
        (lambda: points("x", [[1.0], [np.nan]]), "x holds numbers that are not finite"),
        (lambda: same_width(x=np.ones((3, 2)), y=np.ones((3, 1))), r"one dimension, got x \(3, 2\), y \(3, 1\)"),
        (lambda: bootstrap(np.mean, key=jax.random.key(0), name="m"), "samples must have 2"),
        (lambda: bootstrap(np.mean, [1.0, 2.0], key=jax.random.key(0), name="m", repeats=1), "repeats must be"),
        (lambda: half_sample(np.mean, [1.0], key=jax.random.key(0), name="m"), "samples must have 2"),
        (lambda: half_sample(np.mean, [1.0, 2.0], key=jax.random.key(0), name="m", repeats=0), "repeats >= 1"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(SpecError, match=words):
        call()
