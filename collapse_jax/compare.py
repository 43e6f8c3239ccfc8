"""Verdicts: does a measurement agree with a prediction, and would we have noticed if it did not?

Replicates ``v_r`` of a curve are compared with the predicted curve ``p`` at all generations at once. With mean ``m``
and standard error ``se`` per generation the statistic is the largest ``|m - p| / se``. Generations of one chain are
strongly dependent, so its critical value is not Bonferroni's: ``critical_value`` draws replicate sets of the same size
from the Gaussian with the measured covariance over generations and takes the quantile of the same statistic. The
family-wise false-alarm rate is then the nominal one for any dependence, and the band ``m +- critical * se`` is
simultaneous. Means of squares, or of products of many rounds, are skewed even over many chains, and a studentised mean
then errs on one side: Hall's transformation (1992) removes the skewness, from the data and from the draws alike, so
that the rate stays nominal for Gaussian residuals and is right to second order for others. An allowance is added to the
band for what is no sampling error: the accuracy that theory promises in this precision, the rounding floor of the
measurement, and the stated error of an asymptotic law.

A verdict of agreement is worth what it could have caught: the smallest relative deviation of the whole curve that the
test would have found with 90 % power is always given, and if that exceeds ``relevant`` the verdict is inconclusive.
Bounds are one-sided and report their tightness. Statements conditional on realised quantities are compared replicate by
replicate; a conditional bound must then hold in every single replicate.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from collapse_jax.errors import MeasurementError
from collapse_jax.trajectory import Kind, Prediction, Trajectory, accuracy

Status = Literal["agrees", "violates", "inconclusive"]

POWER = 0.9
"""Power at which the smallest deviation that could have been caught is stated."""

_DRAWS = 10000  # of the statistic; its quantile at 1 % then lies between the true ones at 0.8 % and 1.2 %
_WORK = 5e7  # multiplications that the spreads of the draws may take
_LARGE = 256  # more replicates than this are simulated as this many: Student's t is normal by then


@dataclass(frozen=True)
class Verdict:
    """Outcome of one comparison. Deviations are relative to the prediction.

    Attributes:
        status: ``agrees``, ``violates`` or ``inconclusive``.
        deviation: signed relative deviation of the mean where the statistic is largest, and ``generation``, its place
            (the index along the first axis; 0 for what is not a curve).
        detectable: smallest relative deviation of the whole curve that would have been caught with 90 % power.
        statistic, critical: largest studentised excess, and the value it may not pass at ``error_rate``.
        tightness: for bounds, the median over generations of measured over bound (1 is tight); None otherwise.
        points: how many (generation, component) pairs were tested; ``unresolved`` how many lie below rounding.
    """

    result: str
    observable: str
    kind: Kind
    status: Status
    deviation: float
    generation: int
    detectable: float
    statistic: float
    critical: float
    error_rate: float
    relevant: float
    replicates: int
    points: int
    unresolved: int
    tightness: float | None

    def as_dict(self) -> dict:
        """Plain dictionary for JSON: numbers that are not finite become None."""
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()}


def _skewness(residuals: np.ndarray) -> np.ndarray:
    """Sample skewness over the last axis but one; 0 where there is no spread."""
    centred = residuals - residuals.mean(axis=-2, keepdims=True)
    square = centred * centred
    second, third = square.mean(axis=-2), (square * centred).mean(axis=-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(second > 0, third / second**1.5, 0)


def unskewed(score, skewness, replicates: int):
    """Hall's transformation of a studentised mean: monotone, normal to second order in 1/sqrt(replicates).

    With g the skewness and n replicates: ``t + g t^2/(3 sqrt n) + g^2 t^3/(27 n) + g/(6 sqrt n)`` (Hall, On the removal
    of skewness by transformation, JRSS B 54, 1992).

    >>> round(unskewed(-3.0, 1.0, 64), 3)  # a mean of right-skewed replicates is often far below: no alarm
    -2.62
    """
    g = skewness / replicates**0.5
    return score + g * score**2 / 3 + g**2 * score**3 / 27 + g / 6


def _skewed(score, skewness, replicates: int):
    """The inverse of ``unskewed``."""
    a = skewness / (3 * replicates**0.5)
    level = score - a / 2
    safe = np.where(np.abs(a) > 1e-6, a, 1)
    return np.where(np.abs(a) > 1e-6, (np.cbrt(1 + 3 * safe * level) - 1) / safe, level)


def critical_value(
    residuals: np.ndarray, error_rate: float, *, two_sided: bool = True, skewed: bool = False, seed: int = 0
) -> float:
    """Quantile of the largest studentised mean of ``[replicates, points]`` residuals when their mean is zero.

    Replicate sets are drawn from the Gaussian with the sample covariance of ``residuals`` and studentised like the
    data, so that a single point gives Student's t and dependent points are not overcounted. Exact for Gaussian
    residuals at one point (Student's t), asymptotic in replicates otherwise: a covariance from few of them looks more
    dependent than it is, and 8 replicates of 16 or 48 points raise 6 % of alarms at 0.05 where 64 raise 5 %. Points
    without spread take no part.

    Args:
        residuals: ``[replicates, points]``, replicates >= 2.
        error_rate: family-wise rate in (0, 1).
        two_sided: absolute value of the statistic, or its positive side.
        skewed: whether the statistic is ``unskewed``.
        seed: of the draws; the value is deterministic.

    >>> import numpy as np
    >>> one = np.random.default_rng(0).normal(size=(10, 1))
    >>> round(critical_value(one, 0.05), 1)  # Student's t, 9 degrees of freedom: 2.26
    2.3
    """
    centred = residuals - residuals.mean(axis=0)
    spread = centred.std(axis=0, ddof=1)
    centred = centred[:, spread > 0] / spread[spread > 0]
    replicates, points = centred.shape
    if points == 0 or (points == 1 and not skewed):
        return float(special.stdtrit(replicates - 1, 1 - error_rate / (1 + two_sided)))
    # an orthogonal change of replicates leaves the covariance alone: keep as many rows as there are dimensions
    factor = (np.linalg.qr(centred, mode="r") / np.sqrt(replicates - 1)).astype(np.float32)
    rows, dimensions = min(replicates, _LARGE), len(factor)
    # mean and spread of a Gaussian sample are independent: where spreads are dear, each serves several means
    spreads = int(np.clip(_WORK // (rows * dimensions * points), _DRAWS // 20, _DRAWS))
    means = -(-_DRAWS // spreads)
    generator = np.random.default_rng(seed)
    largest = np.empty((spreads, means))
    block = max(1, int(1e6 // (rows * max(points, dimensions))))
    for start in range(0, spreads, block):
        count = min(block, spreads - start)
        drawn = generator.standard_normal((count, rows, dimensions), np.float32) @ factor
        spread = drawn.std(axis=1, ddof=1)[:, None]
        score = generator.standard_normal((count, means, dimensions), np.float32) @ factor
        score /= np.where(spread > 0, spread, np.inf)
        if skewed:
            score = unskewed(score, _skewness(drawn)[:, None], rows)
        largest[start : start + count] = (np.abs(score) if two_sided else score).max(axis=2)
    return float(np.quantile(largest, 1 - error_rate))


@dataclass(frozen=True)
class _Points:
    """Both sides as float64 ``[replicates, points]``: a point is one component at one generation."""

    measured: np.ndarray
    predicted: np.ndarray
    margin: np.ndarray
    rounding: np.ndarray
    resolution: np.ndarray
    components: int  # points per generation
    paired: bool  # one prediction for each replicate


def _points(prediction: Prediction, trajectory: Trajectory) -> _Points:
    measured, predicted = np.asarray(trajectory.values, float), np.asarray(prediction.values, float)
    if prediction.observable and trajectory.observable and prediction.observable != trajectory.observable:
        raise MeasurementError(
            f"prediction is of {prediction.observable!r} but the trajectory of {trajectory.observable!r}: "
            "pass the trajectory of the same observable."
        )
    if measured.ndim == 0 or measured.shape[0] < 2:
        raise MeasurementError(
            f"trajectory has shape {measured.shape}: at least 2 replicates are needed for a verdict."
        )
    if predicted.shape not in (measured.shape, measured.shape[1:]):
        raise MeasurementError(
            f"prediction has shape {predicted.shape} but the trajectory {measured.shape}: "
            "use the same number of generations and directions."
        )

    def spread(values):
        values = np.broadcast_to(np.asarray(values, float), measured.shape)
        return values.reshape(len(measured), -1)

    resolution = spread(trajectory.resolution)
    promised = accuracy(np.asarray(trajectory.values).dtype) * np.abs(spread(predicted))
    return _Points(
        spread(measured),
        spread(predicted),
        spread(prediction.margin),
        np.maximum(promised, resolution),
        resolution,
        components=int(np.prod(measured.shape[2:])),
        paired=predicted.shape == measured.shape,
    )


def compare(
    prediction: Prediction,
    trajectory: Trajectory,
    *,
    error_rate: float = 0.01,
    relevant: float = 0.01,
) -> Verdict:
    """Test a prediction against a measurement of the same observable.

    Args:
        prediction: values ``[...]``, or ``[replicates, ...]`` for a statement conditional on each replicate.
        trajectory: values ``[replicates, ...]``.
        error_rate: family-wise false-alarm rate over all generations and components, in (0, 1).
        relevant: relative deviation that matters; a band too wide to see it makes the verdict inconclusive.

    Returns:
        A ``Verdict``. ``violates``: the measurement differs significantly (from a bound: is significantly on its wrong
        side). ``agrees``: it does not, and a deviation of ``relevant`` would have been caught with 90 % power.

    Raises:
        MeasurementError: shapes or observables differ, fewer than 2 replicates, rates out of range.

    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(64, 3))
    >>> compare(Prediction(np.ones(3)), Trajectory(1 + 1e-3 * noise)).status
    'agrees'
    >>> compare(Prediction(1.02 * np.ones(3)), Trajectory(1 + 1e-3 * noise)).status
    'violates'
    >>> compare(Prediction(np.ones(3)), Trajectory(1 + 0.5 * noise)).status
    'inconclusive'
    """
    for name, value in (("error_rate", error_rate), ("relevant", relevant)):
        if not 0 < value < 1:
            raise MeasurementError(f"{name} must lie between 0 and 1, got {value}.")
    points = _points(prediction, trajectory)
    side = {"upper bound": 1, "lower bound": -1}.get(prediction.kind, 0)
    measured, predicted = points.measured, points.predicted
    size = np.maximum(np.abs(predicted), np.abs(measured))
    with np.errstate(invalid="ignore"):
        resolved = np.isfinite(size) & np.isfinite(points.margin) & (points.resolution <= relevant * size)
    finite = resolved.all(axis=0)
    # an infinite threshold or limit is right where the other side is infinite too, and as wrong as can be elsewhere
    infinite = (np.isinf(measured) & (measured == predicted)).all(axis=0) & (side == 0)
    known = ~np.isnan(measured) & ~np.isnan(predicted)
    contradicted = np.isinf(size) & (measured != predicted) & known
    contradicted &= side == 0
    contradicted |= np.isnan(predicted) & ~np.isnan(measured)  # a prediction that is no number agrees with none
    contradicted &= np.isfinite(points.margin)
    outcome: dict[str, Any] = dict(
        status="agrees", deviation=0.0, generation=0, detectable=0.0, statistic=0.0, critical=0.0, tightness=None
    )
    if contradicted.mean() > error_rate:
        place = int(np.argmax(contradicted.any(axis=0))) // points.components
        outcome |= dict(status="violates", deviation=np.inf, generation=place, statistic=np.inf)
    elif finite.any():
        outcome = _outcome(points, np.flatnonzero(finite), side, error_rate, relevant)
    elif not infinite.any():
        outcome |= dict(status="inconclusive", deviation=np.nan, detectable=np.inf)
    return Verdict(
        result=prediction.result,
        observable=prediction.observable,
        kind=prediction.kind,
        error_rate=error_rate,
        relevant=relevant,
        replicates=len(measured),
        points=int((finite | infinite).sum()),
        unresolved=int((~(finite | infinite)).sum()),
        **outcome,
    )


def _outcome(points: _Points, places: np.ndarray, side: int, error_rate: float, relevant: float) -> dict[str, Any]:
    """Statistic, critical value and what follows from them, over the points that can be tested."""
    residuals = points.measured[:, places] - points.predicted[:, places]
    # in units of each point's own size: near 1e-200 a variance would underflow and every deviation look significant
    unit = np.maximum(np.abs(points.predicted[:, places]), np.abs(residuals)).max(axis=0)
    unit[unit == 0] = 1
    residuals = residuals / unit
    allowance = (points.rounding + points.margin)[:, places].max(axis=0) / unit
    scale = np.abs(points.predicted[:, places] / unit).mean(axis=0)
    mean = residuals.mean(axis=0)
    error = residuals.std(axis=0, ddof=1) / np.sqrt(len(residuals))
    critical = critical_value(residuals, error_rate, two_sided=side == 0, skewed=True)
    skewness, count = _skewness(residuals), len(residuals)
    excess = (np.abs(mean) if side == 0 else side * mean) - allowance
    if points.paired and side:
        # a conditional bound is a statement on each replicate: the worst one decides
        excess = np.maximum(excess, (side * residuals).max(axis=0) - allowance)
        error = np.zeros_like(error)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = excess / error
        finite = np.isfinite(score)
        sign = np.where(mean < 0, -1, 1)
        score = np.where(finite, sign * unskewed(sign * np.where(finite, score, 0), skewness, count), score)
        score = np.where(excess > 0, score, 0.0)
        relative = np.where(scale > 0, mean / scale, np.where(mean == 0, 0, np.inf))
        needed = critical + special.ndtri(POWER)
        ends = [_skewed(sign * needed, skewness, count) for sign in (-1, 1) if side != -sign]
        caught = (np.abs(ends).max(axis=0) * error + allowance) / scale
        ratio = np.median(points.measured[:, places], axis=0) / np.median(points.predicted[:, places], axis=0)
    # where nothing sticks out of the band: the largest deviation, or where a measurement comes closest to its bound
    near = np.abs(relative) if side == 0 else side * relative
    worst = int(np.argmax(np.where(score > 0, score, near * 1e-300)))
    detectable = float(np.min(caught, initial=np.inf, where=scale > 0)) if (scale > 0).any() else 0.0
    agrees = "agrees" if detectable <= relevant else "inconclusive"
    return dict(
        status="violates" if (score > critical).any() else agrees,
        deviation=float(relative[worst]),
        generation=int(places[worst]) // points.components,
        detectable=detectable,
        statistic=float(score.max()),
        critical=critical,
        tightness=float(np.median(ratio[np.isfinite(ratio)])) if side and np.isfinite(ratio).any() else None,
    )


def band(trajectory: Trajectory, *, error_rate: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of the replicates and a band that holds for all generations at once at ``error_rate``.

    Returns:
        ``(mean, low, high)``, each of the shape of one replicate.

    >>> import numpy as np
    >>> mean, low, high = band(Trajectory(np.random.default_rng(0).normal(size=(50, 4))))
    >>> bool((low < mean).all() and (mean < high).all())
    True
    """
    values = np.asarray(trajectory.values, float)
    flat = values.reshape(len(values), -1)
    half = critical_value(flat, error_rate) * flat.std(axis=0, ddof=1) / np.sqrt(len(flat))
    mean = values.mean(axis=0)
    return mean, mean - half.reshape(mean.shape), mean + half.reshape(mean.shape)


@dataclass(frozen=True)
class Rate:
    """A fitted rate: ``slope`` with its ``standard_error`` over replicates, over generations ``first`` to ``last``."""

    slope: float
    standard_error: float
    first: int
    last: int
    replicates: int


def fit_rate(
    trajectory: Trajectory, first: int, last: int, *, against: Literal["generation", "log generation"]
) -> Rate:
    """Least-squares slope of log(observable) against the generation or its logarithm, replicate by replicate.

    Against the generation, ``exp(slope)`` is a geometric rate; against ``log(generation + 1)`` the slope is the
    exponent of a power law. The standard error is that of the mean over replicates, so it includes the dependence
    between generations.

    Args:
        trajectory: positive values ``[replicates, generations + 1]``.
        first, last: generations of the window, ``0 <= first < last``, both included.

    Raises:
        MeasurementError: empty window, not a curve, or values that are not positive.

    >>> import numpy as np
    >>> curve = Trajectory(np.stack([0.5 ** np.arange(6.0), 2 * 0.5 ** np.arange(6.0)]))
    >>> round(float(np.exp(fit_rate(curve, 1, 5, against="generation").slope)), 6)
    0.5
    """
    values = np.asarray(trajectory.values, float)
    if values.ndim != 2 or len(values) < 2:
        raise MeasurementError(f"fit_rate needs [replicates >= 2, generations + 1], got shape {values.shape}.")
    if not 0 <= first < last < values.shape[1]:
        raise MeasurementError(f"window {first}..{last} does not fit a curve of {values.shape[1] - 1} generations.")
    window = values[:, first : last + 1]
    if not (window > 0).all():
        raise MeasurementError("fit_rate needs positive values: end the window before the observable reaches rounding.")
    x = np.arange(first, last + 1, dtype=float)
    x = np.log(x + 1) if against == "log generation" else x
    slopes = ((x - x.mean()) * np.log(window)).sum(axis=1) / ((x - x.mean()) ** 2).sum()
    return Rate(float(slopes.mean()), float(slopes.std(ddof=1) / np.sqrt(len(slopes))), first, last, len(slopes))
