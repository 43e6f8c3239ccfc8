"""Wasserstein distances between clouds of points: on the line, sliced, by assignment, and with entropy.

On the line the optimal coupling sorts. Clouds of n and m points are coupled through the merged levels i/n and j/m:
the indices and the weights of the pieces depend on the sizes alone and serve every direction at once.

Error bars of the sliced distance have two parts. Directions are a random sample, so their mean has its own standard
error. The points are one too: by the derivative of W2^2 in the law of X, a point x moves it by the Kantorovich
potential phi(x), phi' = 2 (x - T(x)), T the coupling, so that a cloud of n points contributes Var(phi(X)) / n. With
potentials averaged over directions first, their dependence from one direction to the next is kept.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import MissingExtraError, SpecError
from collapse_jax.metrics.bootstrap import HALVINGS, half_sample
from collapse_jax.metrics.measure import Measure

ASSIGNMENT_LIMIT = 2000
"""Points up to which the exact distance is computed: its cost grows with their cube."""

_BATCH = 2**23  # sorted numbers held at a time


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: Any
    standard_error: Any


def _clouds(x, y):
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not x.size or not y.size:
        raise SpecError(f"clouds must be arrays [n, d] and [m, d], got shapes {x.shape} and {y.shape}.")
    return _alike(x, y)


def _alike(x, y):
    """Two arrays in one floating type: that of the first that has one."""
    kinds = [array.dtype for array in (x, y) if jnp.issubdtype(array.dtype, jnp.floating)]
    kind = kinds[0] if kinds else jnp.zeros(()).dtype
    return x.astype(kind), y.astype(kind)


def _merged(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of the coupling of n and m sorted points: index into each, and weight; in whole numbers until the end."""
    cuts = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)  # levels times n m
    return cuts[:-1] // m, cuts[:-1] // n, np.diff(cuts) / (n * m)


def _line(x, y, power):
    """W_p^p of ``x`` [n] and ``y`` [m]."""
    i, j, weights = _merged(x.shape[0], y.shape[0])
    gaps = jnp.abs(jnp.sort(x)[i] - jnp.sort(y)[j])
    return jnp.sum(gaps**power * jnp.asarray(weights, x.dtype))


def wasserstein(x, y, *, power: int | float = 2):
    """Wasserstein distance W_p of two sets of numbers, of any two sizes [data units].

    Args:
        x, y: ``[n]`` and ``[m]``.
        power: p >= 1.

    Raises:
        SpecError: not one-dimensional, empty, or p < 1.

    >>> float(wasserstein(jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0, 1.0, 2.0]), power=1))
    0.5
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.ndim != 1 or y.ndim != 1 or not x.size or not y.size:
        raise SpecError(f"x and y must be lists of numbers, got shapes {x.shape} and {y.shape}: project clouds first.")
    if power < 1:
        raise SpecError(f"power must be at least 1, got {power}.")
    return _line(*_alike(x, y), power) ** (1 / power)


def _potential(ordered, displacement):
    """Kantorovich potential at sorted points ``[n]``: the integral of 2 (x - T(x)), by trapezoids."""
    steps = jnp.diff(ordered) * (displacement[1:] + displacement[:-1])
    return jnp.concatenate([jnp.zeros(1, steps.dtype), jnp.cumsum(steps)])


@partial(jax.jit, static_argnames=("directions",))
def _sliced(x, y, key, *, directions: int):
    (n, d), m = x.shape, y.shape[0]
    i, j, pieces = _merged(n, m)
    pieces = jnp.asarray(pieces, x.dtype)
    normal = jax.random.normal(key, (directions, d), x.dtype)
    units = normal / jnp.linalg.norm(normal, axis=1, keepdims=True)

    def one(unit):
        along, across = x @ unit, y @ unit
        order, other = jnp.argsort(along), jnp.argsort(across)
        ours, theirs = along[order], across[other]
        gaps = ours[i] - theirs[j]
        # barycentre of what each sorted point is coupled with
        of_x = jnp.zeros(n, x.dtype).at[i].add(pieces * gaps) * n
        of_y = jnp.zeros(m, x.dtype).at[j].add(-pieces * gaps) * m
        back_x = jnp.zeros(n, x.dtype).at[order].set(_potential(ours, of_x))
        back_y = jnp.zeros(m, x.dtype).at[other].set(_potential(theirs, of_y))
        return jnp.sum(pieces * gaps**2), back_x, back_y

    def batch(carry, units):
        squares, of_x, of_y = jax.vmap(one)(units)
        return (carry[0] + of_x.sum(0), carry[1] + of_y.sum(0)), squares

    size = max(1, min(directions, _BATCH // (n + m)))
    while directions % size:
        size -= 1
    start = (jnp.zeros(n, x.dtype), jnp.zeros(m, x.dtype))
    (of_x, of_y), squares = jax.lax.scan(batch, start, units.reshape(-1, size, d))
    square = jnp.mean(squares)
    variance = jnp.var(squares) / max(1, directions - 1) if d > 1 else jnp.zeros_like(square)
    variance = variance + jnp.var(of_x / directions) / n + jnp.var(of_y / directions) / m
    value = jnp.sqrt(square)
    return Estimate(value, jnp.sqrt(variance) / (2 * jnp.where(value > 0, value, 1)))


def sliced_w2(x, y, key, *, directions: int = 128) -> Estimate:
    """Sliced W2: the root of the mean over unit directions of the squared W2 of the projections [data units].

    The standard error covers both the directions and the points, for clouds of different laws. Clouds of one law are at
    a positive distance of order 1/sqrt(n) on the average, which no error bar shows: hold such a value against that of
    two clouds of the same law.

    Args:
        x, y: ``[n, d]`` and ``[m, d]``, independent points of each law.
        key: of the directions.
        directions: how many, >= 2; in one dimension a single one is all there is.

    Returns:
        The distance and its standard error.

    Raises:
        SpecError: shapes do not fit, or too few directions.

    >>> cloud = jax.random.normal(jax.random.key(0), (500, 3))
    >>> found = sliced_w2(cloud, cloud + jnp.array([[3.0, 0.0, 0.0]]), jax.random.key(1), directions=512)
    >>> bool(abs(found.value - 3**0.5) < 4 * found.standard_error)
    True
    """
    x, y = _clouds(x, y)
    if directions < 2:
        raise SpecError(f"directions must be at least 2 for an error bar, got {directions}.")
    return _sliced(x, y, key, directions=1 if x.shape[1] == 1 else int(directions))


def assignment_w2(x, y, key, *, repeats: int = HALVINGS) -> Measure:
    """Exact W2 of two clouds of equally many points, by the best assignment [data units].

    The standard error is that of half-samples: how much the distance of n points scatters. It says nothing of its bias:
    two clouds of one law are at a distance of order n^(-1/d) (d > 4).

    Args:
        x, y: ``[n, d]``, 2 <= n <= ``ASSIGNMENT_LIMIT``, independent points of each law.
        key: of the halvings.
        repeats: how many, >= 1; all of them cost as much as repeats/4 distances.

    Raises:
        SpecError: shapes do not fit, or too many points.

    >>> x = np.array([[0.0, 0.0], [1.0, 0.0]])
    >>> assignment_w2(x, x + np.array([[0.0, 1.0]]), jax.random.key(0)).value
    1.0
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    shapes = np.shape(x), np.shape(y)
    if len(shapes[0]) != 2 or shapes[0] != shapes[1] or shapes[0][0] < 2 or not np.size(x):
        raise SpecError(
            f"clouds must have one shape [n, d], n >= 2, got {shapes[0]} and {shapes[1]}: draw equally many points."
        )
    if shapes[0][0] > ASSIGNMENT_LIMIT:
        raise SpecError(
            f"clouds must have at most {ASSIGNMENT_LIMIT} points, got {shapes[0][0]}: subsample, "
            "or use sliced_w2 or entropic_w2."
        )
    cost = cdist(np.asarray(x, float), np.asarray(y, float), "sqeuclidean")

    def distance(rows, columns):
        own = cost[np.ix_(rows, columns)]
        return np.sqrt(own[linear_sum_assignment(own)].mean())

    places, name = np.arange(len(cost)), f"W2 by the best assignment of {len(cost)} points"
    return half_sample(distance, places, places, key=key, name=name, repeats=repeats)


def entropic_w2(x, y, key, *, regularisation: int | float = 0.05, repeats: int = HALVINGS) -> Measure:
    """Root of the Sinkhorn divergence of two clouds: W2 smoothed by entropy and freed of its bias [data units].

    The standard error is that of half-samples, as in ``assignment_w2``.

    Args:
        x, y: ``[n, d]`` and ``[m, d]``, n and m >= 2.
        key: of the halvings.
        regularisation: strength of the entropy, as a share of the mean squared distance, > 0.
        repeats: halvings, >= 1.

    Raises:
        MissingExtraError: ott-jax is not installed.
        SpecError: shapes do not fit, a bad regularisation, or no convergence.
    """
    x, y = _clouds(x, y)
    if not regularisation > 0:
        raise SpecError(f"regularisation must be positive, got {regularisation}: try 0.05.")
    try:
        from ott.geometry import pointcloud  # pyright: ignore[reportMissingImports]
        from ott.problems.linear import linear_problem  # pyright: ignore[reportMissingImports]
        from ott.solvers.linear import sinkhorn  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError('entropic_w2 needs ott-jax: pip install "collapse_jax[ot]".') from None
    mean = jnp.mean(jnp.sum((x - jnp.mean(y, axis=0)) ** 2, axis=1)) + jnp.sum(jnp.var(y, axis=0))
    solve = sinkhorn.Sinkhorn(max_iterations=10_000)

    def cost(one, other):
        solved = solve(linear_problem.LinearProblem(pointcloud.PointCloud(one, other, epsilon=regularisation * mean)))
        if not bool(solved.converged):
            raise SpecError(f"regularisation {regularisation} is too small to converge: take a larger one.")
        return solved.reg_ot_cost

    def distance(one, other):
        one, other = jnp.asarray(one), jnp.asarray(other)
        return jnp.sqrt(jnp.maximum(0, cost(one, other) - (cost(one, one) + cost(other, other)) / 2))

    name = f"W2 with entropy, regularisation {regularisation}"
    return half_sample(distance, x, y, key=key, name=name, repeats=repeats)
