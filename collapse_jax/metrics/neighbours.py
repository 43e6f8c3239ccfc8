"""What nearest neighbours tell of generated points: do they look real, do they cover the real ones, are they copies?

Around each point of a set lies the ball that reaches to its k-th nearest other point of the set; the union of the balls
stands for the support. Precision is the share of generated points in the real balls, recall the share of real points in
the generated balls (Kynkäänniemi et al., arXiv:1904.06991). One outlier makes one huge ball; density counts for each
generated point all real balls that hold it, over k, and coverage is the share of real balls that hold a generated point
(Naeem et al., arXiv:2002.09797). For sets of one law, of n real and m generated points, E density = 1 and
E coverage = 1 - (n - 1)...(n - k)/((n + m - 1)...(n + m - k)), whatever that law.

The standard errors are those of half-samples of real and generated points (the bootstrap would repeat points and shrink
the balls); all distances are computed once.
"""

from typing import NamedTuple

import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.metrics.bootstrap import HALVINGS, half_sample_error, halvings
from collapse_jax.metrics.measure import Measure, mean_of, points, same_width

LIMIT = 10_000
"""Points of a set up to which shares are computed: all distances are held at once, 4 bytes each."""

_BLOCK = 2**23  # distances computed at a time


class Neighbourhood(NamedTuple):
    """Four shares that nearest neighbours give: how real generated points are, and how much of the real they cover."""

    precision: Measure
    recall: Measure
    density: Measure
    coverage: Measure


def _blocks(rows: np.ndarray, columns: np.ndarray):
    """Slices of ``rows`` and their distances to all ``columns``."""
    from scipy.spatial.distance import cdist

    step = max(1, _BLOCK // len(columns))
    for start in range(0, len(rows), step):
        yield slice(start, min(start + step, len(rows))), cdist(rows[start : start + step], columns)


def _distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """All of them in float32: rounding is monotone, so it can tie two distances but never swap them."""
    found = np.empty((len(rows), len(columns)), np.float32)
    for block, distances in _blocks(rows, columns):
        found[block] = distances
    return found


def _shares(among_real, among_generated, between, k: int) -> np.ndarray:
    """Precision, recall, density and coverage from all distances, each point infinitely far from itself."""
    real, generated = (np.partition(own, k - 1, axis=1)[:, k - 1] for own in (among_real, among_generated))
    in_real = between <= real[:, None]  # [real, generated]: is it in the ball of the real point?
    in_generated = between <= generated
    precision, recall = in_real.any(axis=0).mean(), in_generated.any(axis=1).mean()
    density, coverage = in_real.sum() / (k * len(generated)), in_real.any(axis=1).mean()
    return np.array([precision, recall, density, coverage])


def neighbourhood(real, generated, *, key, k: int = 5, repeats: int = HALVINGS) -> Neighbourhood:
    """Precision, recall, density and coverage of generated points by k nearest neighbours.

    Args:
        real, generated: ``[n, d]`` and ``[m, d]``, independent points; 2 (k + 1) to ``LIMIT`` of each.
        key: of the half-samples.
        k: neighbours that a ball reaches to, >= 1. The papers take 3 (precision, recall) and 5 (density, coverage).
        repeats: half-samples of the error bars; each costs about as much as the shares themselves.

    Returns:
        Four measures. Density may exceed 1; on equal sets it is (k + 1)/k and the others are 1.

    Raises:
        SpecError: shapes do not fit, too few points, or a bad k.

    >>> import jax
    >>> generator = np.random.default_rng(0)
    >>> real, half = generator.uniform(size=(400, 2)), generator.uniform(size=(400, 2)) * [0.5, 1]
    >>> found = neighbourhood(real, half, key=jax.random.key(0))
    >>> found.precision.value > 0.95, 0.4 < found.recall.value < 0.65, 0.4 < found.coverage.value < 0.65
    (True, True, True)
    """
    real, generated = same_width(real=real, generated=generated)
    sizes = len(real), len(generated)
    if k < 1 or min(sizes) < 2 * (k + 1) or max(sizes) > LIMIT:
        raise SpecError(
            f"k must be at least 1 and each set have 2 (k + 1) to {LIMIT} points, got k = {k} with {sizes[0]} real and "
            f"{sizes[1]} generated ones."
        )
    among_real, among_generated = _distances(real, real), _distances(generated, generated)
    for own in (among_real, among_generated):
        np.fill_diagonal(own, np.inf)  # no neighbour of itself
    between = _distances(real, generated)

    def on(r, g):
        return _shares(among_real[np.ix_(r, r)], among_generated[np.ix_(g, g)], between[np.ix_(r, g)], k)

    shares = _shares(among_real, among_generated, between, k).tolist()
    errors = half_sample_error([(on(*one), on(*other)) for one, other in halvings(sizes, key, repeats)]).tolist()
    by = f"by {k} nearest neighbours"
    names = (
        f"precision {by} (share of generated points within the real balls)",
        f"recall {by} (share of real points within the generated balls)",
        f"density {by} (real balls around a generated point, over {k})",
        f"coverage {by} (share of real balls that hold a generated point)",
    )
    return Neighbourhood(*map(Measure, shares, errors, names))


def nearest_distance(x, reference) -> np.ndarray:
    """Euclidean distance ``[n]`` of every point ``[n, d]`` to the nearest of ``reference`` ``[m, d]`` [data units].

    Raises:
        SpecError: shapes do not fit.

    >>> nearest_distance([[0.0, 0.0], [3.0, 0.0]], [[0.0, 4.0], [3.0, 1.0]]).tolist()
    [3.1622776601683795, 1.0]
    """
    x, reference = same_width(x=x, reference=reference)
    found = np.empty(len(x))
    for rows, distances in _blocks(x, reference):
        found[rows] = distances.min(axis=1)
    return found


class Generalisation(NamedTuple):
    """How near generated and held-out real points come to the training set, and the ratio of the two."""

    generated: Measure
    held_out: Measure
    score: Measure


def generalisation(generated, training, held_out) -> Generalisation:
    """Mean distance of generated points to the nearest training point, over that of held-out real points.

    The score is 0 for copies of the training set, 1 for points as new as real ones, and above 1 for points farther off
    than real ones are (noise is no generalisation: read it with precision). The error bars are over generated and
    held-out points; the training set is given.

    Args:
        generated, training, held_out: ``[n, d]``, ``[m, d]``, ``[l, d]``; real ones drawn from one law.

    Returns:
        The two mean distances [data units] and their ratio.

    Raises:
        SpecError: shapes do not fit, or every held-out point is a training point.

    >>> generator = np.random.default_rng(0)
    >>> training, held_out, new = generator.normal(size=(3, 500, 2))
    >>> found = generalisation(new, training, held_out).score
    >>> abs(found.value - 1) < 4 * found.standard_error, generalisation(training, training, held_out).score.value
    (True, 0.0)
    """
    generated, training, held_out = same_width(generated=generated, training=training, held_out=held_out)
    what = "mean distance to the nearest training point"
    ours = mean_of(nearest_distance(generated, training), f"{what}, generated points")
    real = mean_of(nearest_distance(held_out, training), f"{what}, held-out real points")
    if real.value == 0:
        raise SpecError("held_out holds training points only: give real points that the model has not seen.")
    score = ours.value / real.value
    error = np.hypot(ours.standard_error, score * real.standard_error) / real.value
    name = f"generalisation score ({what}, generated over held-out real)"
    return Generalisation(ours, real, Measure(score, float(error), name))


class Modes(NamedTuple):
    """Where points of a known mixture went: share and spread of each mode, and the share near none."""

    weights: Measure
    spreads: Measure
    outside: Measure


def modes(x, centres, *, radius: int | float) -> Modes:
    """Mode weights and within-mode spread of points of a mixture whose centres are known, such as a ring.

    A point within ``radius`` of a centre belongs to the nearest one; the rest is outside. The spread of a mode is the
    root mean squared deviation of its points from their own mean, per coordinate. Cutting at r standard deviations
    takes a little off the spread of a Gaussian mode: in two dimensions at r = 4 the square loses 0.27 %.

    Args:
        x: ``[n, d]`` independent points.
        centres: ``[modes, d]``, farther than ``radius`` apart.
        radius: > 0 [data units].

    Returns:
        ``weights`` ``[modes]`` (shares of all points), ``spreads`` ``[modes]`` [data units], NaN where a mode has fewer
        than two points, and ``outside``.

    Raises:
        SpecError: shapes do not fit, a bad radius, or centres too close.

    >>> found = modes([[0.0], [0.2], [5.0], [9.0]], [[0.0], [5.0]], radius=1.0)
    >>> found.weights.value.tolist(), found.outside.value, found.spreads.value.round(3).tolist()
    ([0.5, 0.25], 0.25, [0.141, nan])
    """
    from scipy.spatial.distance import cdist, pdist

    x, centres = points("x", x), points("centres", centres, least=1)
    if x.shape[1] != centres.shape[1]:
        raise SpecError(f"x and centres must have one dimension, got shapes {x.shape} and {centres.shape}.")
    if not radius > 0 or (len(centres) > 1 and not pdist(centres).min() > radius):
        raise SpecError(f"radius must be positive and less than the distance between any two centres, got {radius}.")
    distances = cdist(x, centres)
    member = np.arange(len(centres)) == distances.argmin(axis=1)[:, None]
    member &= distances <= radius
    told = f"within {radius:g} of {len(centres)} known centres"
    spreads, errors = np.full((2, len(centres)), np.nan)
    for mode in np.flatnonzero(member.sum(axis=0) > 1):
        mine = x[member[:, mode]]
        count = len(mine)
        squares = mean_of(np.mean((mine - mine.mean(axis=0)) ** 2, axis=1) * count / (count - 1), "variance")
        spreads[mode] = np.sqrt(squares.value)
        errors[mode] = squares.standard_error / (2 * spreads[mode]) if spreads[mode] > 0 else 0.0
    return Modes(
        mean_of(member, f"mode weights (shares of points {told})"),
        Measure(spreads, errors, f"within-mode spread per coordinate (points {told})"),
        mean_of(~member.any(axis=1), f"share of points not {told}"),
    )
