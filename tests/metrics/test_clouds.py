"""Distances of clouds: closed forms, SciPy, and error bars that cover."""

import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.errors import CollapseError, SpecError
from collapse_jax.metrics import clouds

COVERAGE_TRIALS = 150
KEY = jax.random.key(0)


@pytest.mark.parametrize("sizes", [(37, 37), (37, 50), (1, 9), (64, 16)])
def test_line_agrees_with_scipy(x64, sizes):
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=size) for size in sizes)
    assert float(clouds.wasserstein(x, y, power=1)) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-12)
    # repeated to a common size, the coupling pairs sorted numbers
    common = np.lcm(*sizes)
    pairs = [np.sort(np.repeat(values, common // values.size)) for values in (x, y)]
    assert float(clouds.wasserstein(x, y)) == pytest.approx(np.sqrt(np.mean((pairs[0] - pairs[1]) ** 2)), rel=1e-12)


def test_assignment_and_line_are_one_in_one_dimension(x64):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, 60))
    found = clouds.assignment_w2(x[:, None], y[:, None], jax.random.key(0))
    assert found.value == pytest.approx(float(clouds.wasserstein(x, y)), rel=1e-12)
    alone = clouds.sliced_w2(x[:, None], y[:, None], jax.random.key(0))
    assert float(alone.value) == pytest.approx(float(clouds.wasserstein(x, y)), rel=1e-12)


def test_assignment_of_a_moved_cloud_is_the_move():
    x, key = np.random.default_rng(0).normal(size=(300, 3)), jax.random.key(0)
    moved = np.roll(x, 7, axis=0) + np.array([3, 0, 4])
    assert clouds.assignment_w2(x, moved, key, repeats=2).value == pytest.approx(5)
    assert clouds.assignment_w2(moved, x, key, repeats=2).value == pytest.approx(5)
    found = clouds.assignment_w2(x, x[::-1], key, repeats=2)
    assert (found.value, found.name) == (0.0, "W2 by the best assignment of 300 points")


def test_error_of_the_assignment_is_how_much_it_scatters():
    """Against the spread over independent clouds: a variance of 60 draws is known to sqrt(2 / 59) of itself.

    The error bar's own variance is that of 32 halvings, and the halves' distances scatter a little less or more than
    1/n says: a tenth of room.
    """
    generator, values, errors = np.random.default_rng(3), [], []
    for trial in range(60):
        x, y = generator.normal(size=(100, 2)), 2 * generator.normal(size=(100, 2)) + 1
        found = clouds.assignment_w2(x, y, jax.random.key(trial))
        values.append(found.value)
        errors.append(found.standard_error)
    ratio = np.var(values, ddof=1) / np.mean(np.square(errors))
    assert abs(np.log(ratio)) < 4 * np.sqrt(2 / 59) * 1.1


def test_whole_numbers_are_as_good_as_others():
    """The type of one cloud must not cut the other down."""
    assert float(clouds.wasserstein(np.array([0, 1]), np.array([0.9, 1.9], np.float32))) == pytest.approx(0.9)
    assert float(clouds.wasserstein(np.array([0.9, 1.9], np.float32), np.array([0, 1]))) == pytest.approx(0.9)
    x = np.array([[0], [1]])
    assert float(clouds.sliced_w2(x, x + 3, jax.random.key(0)).value) == pytest.approx(3)


def test_clouds_of_one_point_have_a_distance():
    found = clouds.sliced_w2(np.zeros((1, 2), np.float32), np.ones((3, 2), np.float32), jax.random.key(0))
    assert np.isfinite(found.value)
    assert np.isfinite(found.standard_error)


def true_sliced(spreads, others, move):
    """Sliced W2 of two Gaussians with diagonal covariances, over many directions."""
    normal = np.random.default_rng(9).normal(size=(200_000, len(spreads)))
    units = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    gap = np.linalg.norm(units * spreads, axis=1) - np.linalg.norm(units * others, axis=1)
    return np.sqrt(np.mean((units @ move) ** 2 + gap**2))


@pytest.mark.parametrize(("points", "directions"), [((800, 500), 8), ((100, 1500), 64), ((1500, 100), 64)])
def test_error_bars_cover(points, directions):
    """95 % intervals over independent clouds; ruled by directions, then by x, then by y."""
    spreads, others, move = np.array([1, 2, 0.5]), np.array([2, 1, 1]), np.array([1.5, 0, 0.5])
    generator = np.random.default_rng(2)
    hits = []
    wanted = true_sliced(spreads, others, move)
    for trial in range(COVERAGE_TRIALS):
        x = generator.normal(size=(points[0], 3)).astype(np.float32) * spreads.astype(np.float32)
        y = (generator.normal(size=(points[1], 3)) * others + move).astype(np.float32)
        found = clouds.sliced_w2(x, y, jax.random.key(trial), directions=directions)
        hits.append(abs(float(found.value) - wanted) < 1.96 * float(found.standard_error))
    assert stats.binomtest(sum(hits), COVERAGE_TRIALS, 0.95).pvalue > 1e-3


def test_sliced_of_a_cloud_and_itself_is_zero(precision):
    x = jax.random.normal(jax.random.key(0), (100, 2))
    found = clouds.sliced_w2(x, x, jax.random.key(1))
    assert (float(found.value), float(found.standard_error)) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: clouds.sliced_w2(np.ones((3, 2)), np.ones((3, 1)), jax.random.key(0)), r"\[n, d\] and \[m, d\]"),
        (lambda: clouds.sliced_w2(np.ones((3, 2)), np.ones((3, 2)), jax.random.key(0), directions=1), "directions"),
        (lambda: clouds.wasserstein(np.ones((3, 2)), np.ones(3)), "lists of numbers"),
        (lambda: clouds.wasserstein(np.ones(3), np.ones(3), power=0.5), "power must be at least 1"),
        (lambda: clouds.assignment_w2(np.ones((3, 2)), np.ones((4, 2)), KEY), "equally many"),
        (lambda: clouds.assignment_w2(np.ones((2001, 1)), np.ones((2001, 1)), KEY), "at most 2000"),
        (lambda: clouds.entropic_w2(np.ones((3, 2)), np.ones((3, 2)), KEY, regularisation=0), "must be positive"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(SpecError, match=words):
        call()


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ott.geometry", None)
    monkeypatch.setitem(sys.modules, "ott", None)
    with pytest.raises(CollapseError, match=r'pip install "collapse_jax\[ot\]"'):
        clouds.entropic_w2(jnp.ones((3, 2)), jnp.ones((3, 2)), KEY)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(importlib.util.find_spec("ott") is None, reason="needs the extra ot")
def test_entropic_is_near_the_exact_distance():
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = clouds.entropic_w2(x, x + np.float32([3, 4]), KEY, repeats=2)
        assert found.value == pytest.approx(5, rel=1e-3)
        assert found.standard_error > 0
