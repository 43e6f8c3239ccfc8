"""Nearest neighbours: the definitions point by point, known expectations, copies, and error bars that are right."""

import jax
import numpy as np
import pytest

from collapse_jax.errors import SpecError
from collapse_jax.metrics import neighbours
from collapse_jax.metrics.neighbours import generalisation, modes, nearest_distance, neighbourhood

KEY = jax.random.key(0)


def values(real, generated, k=5):
    return np.array([part.value for part in neighbourhood(real, generated, key=KEY, k=k, repeats=1)])


def plainly(real, generated, k):
    """The definitions, with loops."""
    distance = lambda a, b: np.sqrt(np.sum((a - b) ** 2))  # noqa: E731
    radius = lambda p, own: sorted(distance(p, q) for q in own)[k]  # noqa: E731  (the nearest is the point itself)
    ours, theirs = [radius(p, real) for p in real], [radius(p, generated) for p in generated]
    precision = np.mean([any(distance(p, q) <= r for q, r in zip(real, ours, strict=True)) for p in generated])
    recall = np.mean([any(distance(p, q) <= r for q, r in zip(generated, theirs, strict=True)) for p in real])
    density = np.mean([sum(distance(p, q) <= r for q, r in zip(real, ours, strict=True)) for p in generated]) / k
    coverage = np.mean([any(distance(p, q) <= r for q in generated) for p, r in zip(real, ours, strict=True)])
    return [precision, recall, density, coverage]


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("block", [7, 2**23])
def test_shares_are_those_of_the_definitions(k, block, monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    generator = np.random.default_rng(k)
    real, generated = generator.normal(size=(40, 3)), generator.normal(size=(31, 3)) * 0.7 + 0.5
    np.testing.assert_allclose(values(real, generated, k), plainly(real, generated, k), rtol=1e-12)


def test_equal_sets_sets_far_apart_and_one_point():
    x = np.random.default_rng(0).normal(size=(60, 2))
    np.testing.assert_allclose(values(x, x), [1, 1, 6 / 5, 1])
    np.testing.assert_array_equal(values(x, x + 100), [0, 0, 0, 0])
    collapsed = np.tile(x[:1], (30, 1))
    precision, recall, density, coverage = values(x, collapsed)
    assert (precision, recall) == (1, 1 / 60)  # balls of radius 0
    assert density > 1
    assert coverage < 0.5


def test_order_units_and_turns_do_not_matter():
    generator = np.random.default_rng(1)
    real, generated = generator.normal(size=(50, 3)), generator.normal(size=(40, 3)) * 0.8
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    found = values(real, generated)
    np.testing.assert_allclose(values(real[::-1], generated), found)
    np.testing.assert_allclose(values(3 * real @ turn + 1, 3 * generated @ turn + 1), found)
    # whoever is called real: precision and recall change places
    np.testing.assert_allclose(values(generated, real)[:2], found[1::-1])


@pytest.mark.parametrize(("n", "m", "k"), [(40, 40, 5), (60, 30, 3)])
def test_expectations_for_one_law(n, m, k):
    """Density 1, and coverage 1 - (n-1)...(n-k) / ((n+m-1)...(n+m-k)), whatever the law: here a skewed one."""
    generator = np.random.default_rng(2)
    runs = 300
    found = np.array(
        [values(*(generator.exponential(size=(size, 2)) ** 2 for size in (n, m)), k)[2:] for _ in range(runs)]
    )
    away = np.prod([(n - j) / (n + m - j) for j in range(1, k + 1)])
    error = found.std(axis=0, ddof=1) / np.sqrt(runs)
    assert (abs(found.mean(axis=0) - [1, 1 - away]) < 4 * error).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "m", "d", "spread", "k"), [(300, 200, 2, 0.7, 5), (800, 500, 2, 0.5, 3), (600, 600, 32, 0.95, 5)]
)
def test_error_bars_are_the_spread_of_repetitions(n, m, d, spread, k, capsys):
    """The variance of 200 repetitions is off by a relative 0.1, kurtosis included about 0.13; half-samples assume that
    variances fall like 1/n from n/2 to n, and shares near 1 are far from normal: within a factor 2."""
    generator = np.random.default_rng(3)
    found = np.array(
        [
            [
                part[:2]
                for part in neighbourhood(
                    generator.normal(size=(n, d)),
                    generator.normal(size=(m, d)) * spread + 0.3,
                    key=jax.random.key(run),
                    k=k,
                )
            ]
            for run in range(200)
        ]
    )
    ratio = found[..., 0].var(axis=0, ddof=1) / np.mean(found[..., 1] ** 2, axis=0)
    print("variance of repetitions over squared error bars:", ratio.round(2))
    assert (ratio < 2).all()
    assert (ratio > 0.5).all()


def test_nearest_distance_and_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    x, reference = generator.normal(size=(20, 3)), generator.normal(size=(30, 3))
    known = np.linalg.norm(x[:, None] - reference, axis=2).min(axis=1)
    np.testing.assert_allclose(nearest_distance(x, reference), known, rtol=1e-12)
    monkeypatch.setattr(neighbours, "_BLOCK", 64)
    np.testing.assert_allclose(nearest_distance(x, reference), known, rtol=1e-12)


def test_generalisation_of_copies_new_points_and_noise():
    generator = np.random.default_rng(5)
    training, held_out, new = generator.normal(size=(3, 300, 4))
    copies = generalisation(training[:50], training, held_out)
    assert (copies.score.value, copies.score.standard_error) == (0, 0)
    fresh = generalisation(new, training, held_out).score
    assert abs(fresh.value - 1) < 4 * fresh.standard_error
    assert generalisation(10 * new, training, held_out).score.value > 3
    half = np.concatenate([training[:150], new[:150]])
    part = generalisation(half, training, held_out)
    assert 0.4 < part.score.value < 0.6
    assert part.score.value == pytest.approx(part.generated.value / part.held_out.value)


def test_generalisation_error_bars():
    """Over generated and held-out points, the training set given: 1000 repetitions."""
    generator = np.random.default_rng(6)
    training = generator.normal(size=(200, 2))
    found = np.array(
        [
            generalisation(generator.normal(size=(80, 2)) ** 3, training, generator.normal(size=(300, 2))).score[:2]
            for _ in range(1000)
        ]
    )
    ratio = found[:, 0].var(ddof=1) / np.mean(found[:, 1] ** 2)
    assert abs(ratio - 1) < 4 * np.sqrt(3 / 1000) + 2 / 80


def test_modes_of_a_ring():
    """Eight modes with known weights; one is never drawn, and a tenth of the points lies in the middle."""
    generator = np.random.default_rng(7)
    angle = np.arange(8) * np.pi / 4
    centres = 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    weights = np.array([0, 1, 1, 1, 2, 2, 2, 0.99]) / 9.99
    drawn = generator.choice(8, p=weights, size=5000)
    x = np.concatenate([centres[drawn] + 0.1 * generator.normal(size=(5000, 2)), 0.1 * generator.normal(size=(500, 2))])
    found = modes(x, centres, radius=0.6)
    assert found.weights.value[0] == 0
    assert np.isnan([found.spreads.value[0], found.spreads.standard_error[0]]).all()
    assert found.outside.value == 500 / 5500
    assert found.weights.value.sum() + found.outside.value == pytest.approx(1)
    known = weights[1:] * 5000 / 5500
    assert (abs(found.weights.value[1:] - known) < 4 * found.weights.standard_error[1:]).all()
    np.testing.assert_allclose(
        found.weights.standard_error, np.sqrt(found.weights.value * (1 - found.weights.value) / 5499), rtol=1e-12
    )
    assert (abs(found.spreads.value[1:] - 0.1) < 4 * found.spreads.standard_error[1:]).all()
    # of a Gaussian: spread / sqrt(2 d (n - 1)); squares of two coordinates are exponential, of kurtosis 9, so that the
    # error of n of them is itself known to sqrt(8 / n) / 2
    counts = np.bincount(drawn)[1:]
    ratio = found.spreads.standard_error[1:] * np.sqrt(4 * counts) / 0.1
    assert (abs(ratio - 1) < 4 * np.sqrt(8 / counts) / 2).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: neighbourhood(np.ones((20, 2)), np.ones((20, 3)), key=KEY), "one dimension"),
        (lambda: neighbourhood(np.ones((20, 2)), np.ones((11, 2)), key=KEY), r"2 \(k \+ 1\) to 10000 points"),
        (lambda: neighbourhood(np.ones((20, 2)), np.ones((20, 2)), key=KEY, k=0), "k must be at least 1"),
        (lambda: generalisation(np.ones((3, 1)), np.ones((3, 1)), np.ones((3, 1))), "held_out holds training points"),
        (lambda: modes(np.ones((3, 1)), np.ones((2, 2)), radius=1.0), "x and centres"),
        (lambda: modes(np.ones((3, 1)), [[0.0], [1.0]], radius=0.0), "radius must be positive"),
        (lambda: modes(np.ones((3, 1)), [[0.0], [1.0]], radius=2.0), "less than the distance"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(SpecError, match=words):
        call()
