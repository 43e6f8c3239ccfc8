"""Hermite coefficients of a law: E he_m(X / s), from its points or from its density.

he_m is the probabilists' Hermite polynomial divided by sqrt(m!), orthonormal under the standard normal law. It comes
from the recurrence he_{m+1}(x) = (x he_m(x) - sqrt(m) he_{m-1}(x)) / sqrt(m+1), in which nothing grows like m!. For a
law whose reference Gaussian has another variance, points are first divided by its standard deviation s.

In d dimensions he_n(x) = prod_i he_{n_i}(x_i) for a multi-index n, whose order is |n| = sum n_i.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import MeasurementError


def basis(x, order: int):
    """he_0(x) ... he_order(x).

    Args:
        x: ``[...]``.
        order: highest order, >= 0.

    Returns:
        ``[..., order + 1]``.

    Raises:
        MeasurementError: a negative order.

    >>> [round(float(value), 4) for value in basis(jnp.array(2.0), 3)]
    [1.0, 2.0, 2.1213, 0.8165]
    """
    return jnp.stack(columns(x, order), axis=-1)


def columns(x, order: int) -> list:
    """The same as a list of ``order + 1`` arrays of the shape of ``x``: for sums that should never be held together."""
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or order < 0:
        raise MeasurementError(f"order must be a whole number >= 0, got {order!r}.")
    found = [jnp.ones_like(x), x][: order + 1]
    for m in range(1, order):
        # Python floats: they take the precision of x
        found.append((x * found[-1] - float(np.sqrt(m)) * found[-2]) * float(1 / np.sqrt(m + 1)))
    return found


def of_samples(x, order: int, reference_var=1.0):
    """Hermite coefficients of the law behind independent points, with their standard errors.

    Args:
        x: ``[n]`` points, n >= 2 [data units].
        order: highest order, >= 0.
        reference_var: s^2, variance of the reference Gaussian [data units^2].

    Returns:
        Mean and standard error of each coefficient, both ``[order + 1]``; entry 0 is 1 with error 0.

    Raises:
        MeasurementError: not one axis, fewer than two points, or a negative order.

    >>> mean, error = of_samples(jnp.array([-1.0, 1.0, -1.0, 1.0]), 2)
    >>> mean.tolist(), [round(float(value), 4) for value in error]
    ([1.0, 0.0, 0.0], [0.0, 0.5774, 0.0])
    """
    x = jnp.asarray(x)
    if x.ndim != 1 or x.shape[0] < 2:
        raise MeasurementError(f"x must hold at least two points [n], got shape {x.shape}: project them first.")
    return _mean_and_error(columns(x / jnp.sqrt(jnp.asarray(reference_var, x.dtype)), order))


def indices(dimension: int, order: int) -> np.ndarray:
    """All multi-indices with |n| <= order, ``[count, dimension]``: by order, within one order first axis first.

    >>> indices(2, 2).tolist()
    [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]]
    """
    found = []
    for total in range(order + 1):
        for axes in itertools.combinations_with_replacement(range(dimension), total):
            found.append(np.bincount(np.array(axes, int), minlength=dimension))
    return np.array(found).reshape(-1, dimension)


def of_samples_multi(x, order: int, reference_var=1.0):
    """Hermite coefficients of all orders up to ``order`` of a law in d dimensions, from independent points.

    Args:
        x: ``[n, d]`` points, n >= 2 [data units].
        order, reference_var: as in ``of_samples``.

    Returns:
        ``indices(d, order)`` ``[count, d]``, mean and standard error ``[count]``.

    Raises:
        MeasurementError: not two axes, fewer than two points, or a negative order.

    >>> which, mean, error = of_samples_multi(jnp.array([[1.0, 1.0], [-1.0, -1.0]]), 2)
    >>> which[4].tolist(), float(mean[4])
    ([1, 1], 1.0)
    """
    x = jnp.asarray(x)
    if x.ndim != 2 or x.shape[0] < 2:
        raise MeasurementError(f"x must hold at least two points [n, d], got shape {x.shape}.")
    scaled = x / jnp.sqrt(jnp.asarray(reference_var, x.dtype))
    along = [columns(scaled[:, axis], order) for axis in range(x.shape[1])]
    which = indices(x.shape[1], order)
    products = [functools.reduce(jnp.multiply, [along[axis][m] for axis, m in enumerate(index)]) for index in which]
    return (which, *_mean_and_error(products))


def by_quadrature(
    log_density: Callable,
    order: int,
    reference_var: Any = 1.0,
    *,
    interval: tuple[float, float] | None = None,
    nodes: int | None = None,
):
    """Hermite coefficients of a density on the line, by numerical integration.

    With an ``interval`` by Gauss-Legendre panels of 20 nodes on it: for any density whose mass lies there and that is
    smooth on the scale of one panel. Without, by Gauss-Hermite nodes of the reference Gaussian: exact where density
    over reference density is a polynomial, good where it is smooth on the scale of that Gaussian.

    Args:
        log_density: logarithm of the density [1 / data unit] at ``[n]``, to ``[n]``.
        order: highest order, >= 0.
        reference_var: s^2, variance of the reference Gaussian [data units^2].
        interval: ends that hold the mass [data units], or None.
        nodes: how many nodes in all; default 4000 on an interval, 100 without.

    Returns:
        ``[order + 1]``; entry 0 is the mass that the nodes see, 1 if they suffice.

    Raises:
        MeasurementError: a negative order, too few nodes, or an interval without length.

    >>> logistic = lambda x: -x - 2 * jnp.log1p(jnp.exp(-x))
    >>> found = by_quadrature(logistic, 2, interval=(-30.0, 30.0))  # its variance is pi^2 / 3
    >>> [round(float(value), 4) for value in (found[0], found[2])]
    [1.0, 1.6192]
    """
    nodes = (100 if interval is None else 4000) if nodes is None else nodes
    if nodes < 1:
        raise MeasurementError(f"nodes must be at least 1, got {nodes}.")
    reference_var = jnp.asarray(reference_var)
    dtype = jnp.result_type(reference_var.dtype, float)
    std = jnp.sqrt(reference_var.astype(dtype))
    if interval is None:
        points, weights = np.polynomial.hermite_e.hermegauss(nodes)
        with np.errstate(divide="ignore"):  # outermost weights underflow: their mass is nothing
            logs = np.log(weights) + points**2 / 2
        points, logs = jnp.asarray(points, dtype) * std, jnp.asarray(logs, dtype) + jnp.log(std)
    else:
        low, high = interval
        if not high > low:
            raise MeasurementError(f"interval must have its ends in order, got {interval}.")
        unit, weight = np.polynomial.legendre.leggauss(min(20, nodes))
        edges = np.linspace(low, high, -(-nodes // 20) + 1)
        half = np.diff(edges)[:, None] / 2
        points = jnp.asarray((edges[:-1, None] + half * (1 + unit)).ravel(), dtype)
        logs = jnp.asarray(np.log(half * weight).ravel(), dtype)
    mass = jnp.exp(log_density(points).astype(dtype) + logs)
    return jnp.stack([jnp.sum(mass * column) for column in columns(points / std, order)])


def _mean_and_error(found):
    """Mean and standard error over the only axis of each array in a list."""
    count = found[0].shape[0]
    mean = jnp.stack([jnp.mean(values) for values in found])
    spread = jnp.stack([jnp.std(values, ddof=1) for values in found])
    return mean, spread / float(np.sqrt(count))
