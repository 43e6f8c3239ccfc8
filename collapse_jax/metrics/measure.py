"""A measured number that says what it is: its value, its standard error and its name in full.

Most of them are means over independent points, or smooth functions of such means. If f moves by phi(x) when a point of
weight 1/n is put at x, its standard error is the spread of phi over the points, divided by sqrt(n) (the delta method):
one pass over the data instead of hundreds of resamplings. Where no such derivative is at hand, see
``collapse_jax.metrics.bootstrap``.
"""

from typing import Any, NamedTuple

import numpy as np

from collapse_jax.errors import SpecError


class Measure(NamedTuple):
    """A number (or an array of numbers), its standard error, and what it is in words, for tables and captions."""

    value: Any
    standard_error: Any
    name: str


def mean_of(values, name: str, axis: int = 0) -> Measure:
    """The mean of independent values and its standard error.

    Args:
        values: ``[n, ...]``, n >= 2.
        name: what their mean is.
        axis: along which they are independent.

    Raises:
        SpecError: fewer than two values.

    >>> mean_of([1.0, 2.0, 3.0], "mean length [m]").value
    2.0
    """
    values = np.asarray(values, float)
    if values.ndim == 0 or values.shape[axis] < 2:
        raise SpecError(f"{name}: an error bar takes two values or more, got shape {values.shape}.")
    error = values.std(axis=axis, ddof=1) / np.sqrt(values.shape[axis])
    return measure(values.mean(axis=axis), error, name)


def measure(value, error, name: str) -> Measure:
    """A ``Measure`` of arrays, or of plain floats where they have no axes."""
    value, error = np.asarray(value, float), np.asarray(error, float)
    return Measure(value, error, name) if value.ndim else Measure(value.item(), error.item(), name)


def ratio_of(above, below, name: str) -> Measure:
    """The ratio of two means over the same independent points, and its standard error by the delta method.

    Args:
        above, below: ``[n]``, n >= 2.
        name: what their ratio is.

    Returns:
        NaN with a standard error of NaN where the mean below is 0.

    Raises:
        SpecError: shapes do not fit, or fewer than two points.

    >>> ratio_of([1.0, 2.0], [2.0, 4.0], "half").value, ratio_of([0.0, 0.0], [0.0, 0.0], "none").value
    (0.5, nan)
    """
    above, below = np.asarray(above, float), np.asarray(below, float)
    if above.ndim != 1 or above.shape != below.shape or above.size < 2:
        raise SpecError(f"{name}: needs two lists of one length >= 2, got shapes {above.shape} and {below.shape}.")
    mean = below.mean()
    if mean == 0:
        return Measure(float("nan"), float("nan"), name)
    value = above.mean() / mean
    return Measure(float(value), mean_of((above - value * below) / mean, name).standard_error, name)


def points(argument: str, array, least: int = 2) -> np.ndarray:
    """``array`` in float64, if it is ``[n, d]`` of finite numbers with n as large as ``least``.

    Raises:
        SpecError: it is not; names the argument.
    """
    array = np.asarray(array)
    if array.ndim != 2 or array.shape[0] < least or not array.shape[1] or array.dtype.kind not in "fiub":
        raise SpecError(
            f"{argument} must be numbers [n, d] with n >= {least}, got {array.dtype} of shape {array.shape}: "
            "flatten images to one row each."
        )
    array = array.astype(float)
    if not np.isfinite(array).all():
        raise SpecError(f"{argument} holds numbers that are not finite: look at the model that made them.")
    return array


def same_width(**arrays) -> list[np.ndarray]:
    """Several sets of points of one dimension, each as ``points`` gives it.

    Raises:
        SpecError: one is no set of points, or their dimensions differ.
    """
    checked = {name: points(name, array) for name, array in arrays.items()}
    if len({array.shape[1] for array in checked.values()}) > 1:
        told = ", ".join(f"{name} {array.shape}" for name, array in checked.items())
        raise SpecError(f"sets of points must have one dimension, got {told}.")
    return list(checked.values())
