"""Standard errors by resampling, for statistics whose derivative in the law of the points is not at hand.

The bootstrap draws each sample anew from its own points, with replacement; the spread of the statistic over such draws
is its standard error (Efron, Ann. Statist. 7:1, 1979). It repeats points, so whatever looks at nearest neighbours sees
distances of 0: there half-samples serve. Two halves of independent points are independent, so the mean of
(s - s')^2 / 2 is the variance at half the size, and half of that the variance at full size where variances fall like
1/n; many random halvings take most of the noise off. (The jackknife would not do: by the Efron-Stein
inequality it is too large on the average, for counts of neighbours up to sixfold in variance.)
"""

from collections.abc import Callable

import jax
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.metrics.measure import Measure, measure

HALVINGS = 32
"""Random halvings of a half-sample error bar: its own relative error is about 15 %."""


def _samples(samples, least: int) -> list[np.ndarray]:
    arrays = [np.asarray(sample) for sample in samples]
    if not arrays or any(array.ndim == 0 or len(array) < least for array in arrays):
        raise SpecError(
            f"samples must have {least} points or more each, got shapes {[array.shape for array in arrays]}."
        )
    return arrays


def bootstrap(statistic: Callable, *samples, key, name: str, repeats: int = 200) -> Measure:
    """A statistic of one or several independent samples, and its standard error by the bootstrap.

    Args:
        statistic: takes as many arrays as there are samples, gives a number or an array of one shape.
        samples: ``[n, ...]`` each; points along the first axis.
        key: of the draws.
        name: what the statistic is, in full.
        repeats: how many draws, >= 2; the standard error's own relative error is about 1/sqrt(2 repeats).

    Raises:
        SpecError: too few points or repeats.

    >>> x = np.random.default_rng(0).normal(size=400)
    >>> found = bootstrap(np.median, x, key=jax.random.key(0), name="median")
    >>> bool(abs(found.standard_error / (np.sqrt(np.pi / 2) / 20) - 1) < 0.3)
    True
    """
    arrays = _samples(samples, 2)
    if repeats < 2:
        raise SpecError(f"repeats must be at least 2, got {repeats}: 200 give an error bar within 5 %.")
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    drawn = [
        np.asarray(statistic(*(array[generator.integers(len(array), size=len(array))] for array in arrays)), float)
        for _ in range(repeats)
    ]
    return measure(statistic(*arrays), np.std(drawn, axis=0, ddof=1), name)


def halvings(sizes, key, repeats: int = HALVINGS):
    """Yield ``repeats`` random halvings of samples of these sizes: two lists of index arrays, one array a sample.

    A point left over of an odd number is in neither half.

    Raises:
        SpecError: no repeats, or a sample of fewer than two points.

    >>> one, other = next(halvings([4], jax.random.key(0)))
    >>> sorted([*one[0].tolist(), *other[0].tolist()])
    [0, 1, 2, 3]
    """
    if repeats < 1 or min(sizes) < 2:
        raise SpecError(f"halving takes repeats >= 1 and samples of 2 points or more, got {repeats} and {list(sizes)}.")
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    for _ in range(repeats):
        orders = [generator.permutation(size) for size in sizes]
        yield [order[: len(order) // 2] for order in orders], [order[-(len(order) // 2) :] for order in orders]


def half_sample(statistic: Callable, *samples, key, name: str, repeats: int = HALVINGS) -> Measure:
    """A statistic of one or several independent samples, and its standard error by random half-samples.

    Args:
        statistic, samples, name: as ``bootstrap``.
        key: of the halvings.
        repeats: how many, >= 1.

    Raises:
        SpecError: too few points or repeats.

    >>> x = np.random.default_rng(0).normal(size=400)
    >>> found = half_sample(np.mean, x, key=jax.random.key(0), name="mean")
    >>> bool(abs(found.standard_error * 20 - 1) < 0.4)
    True
    """
    arrays = _samples(samples, 2)

    def on(places):
        return np.asarray(statistic(*(array[place] for array, place in zip(arrays, places, strict=True))), float)

    pairs = [(on(one), on(other)) for one, other in halvings([len(array) for array in arrays], key, repeats)]
    return measure(statistic(*arrays), half_sample_error(pairs), name)


def half_sample_error(pairs) -> np.ndarray:
    """Standard error from the statistic's values ``[repeats, 2, ...]`` on two halves at a time."""
    pairs = np.asarray(pairs, float)
    return np.asarray(np.sqrt(np.mean((pairs[:, 0] - pairs[:, 1]) ** 2, axis=0)) / 2)
