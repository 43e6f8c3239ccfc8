"""How far two sets of feature vectors are apart as Gaussians, and how one set spreads.

The Fréchet distance of two Gaussians (Dowson and Landau, J. Multivariate Anal. 12:450, 1982) is their squared W2,

    F = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^{1/2} S2 S1^{1/2})^{1/2}.

On the features of an Inception network trained on ImageNet it is known as FID (Heusel et al., arXiv:1706.08500). On
any other features it is a different number, so every one here carries the name of its extractor and none is called FID.

No matrix root is taken. With QR, the centred points are X = sqrt(n - 1) Q A, so that S1 = A'A, S2 = B'B, and the trace
of the root is the sum of the singular values s of A B' = U s V'. Then F - |m1 - m2|^2 = |U'A - V'B|^2, a sum of squares
that loses no digits where the sets are near each other or a covariance is singular. Its derivative in the laws is the
Kantorovich potential: a point x_i of the first set moves F by

    phi_i = |x_i - m1|^2 - sum_k s_k c_ik^2 + 2 (m1 - m2)'(x_i - m1),    c_i = sqrt(n - 1) U'Q_i,

and likewise in the second set, so that F has variance Var(phi)/n + Var(psi)/m.
"""

import numpy as np

from collapse_jax.metrics.measure import Measure, mean_of, points, same_width


def _factors(centred: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Q and A of points ``[n, d]``, padded with zeros to ``rows`` columns and rows."""
    q, a = np.linalg.qr(centred / np.sqrt(len(centred) - 1))
    missing = rows - len(a)
    return np.pad(q, ((0, 0), (0, missing))), np.pad(a, ((0, missing), (0, 0)))


def _squared_w2(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Squared W2 of Gaussian fits of two sets of points, and its standard error."""
    gap = x.mean(axis=0) - y.mean(axis=0)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    rows = min(x.shape[1], max(len(x), len(y)))
    (q, a), (p, b) = _factors(x, rows), _factors(y, rows)
    u, singular, v = np.linalg.svd(a @ b.T)
    square = gap @ gap + np.sum((u.T @ a - v @ b) ** 2)
    variance = 0.0
    for centred, orthonormal, turn, sign in ((x, q, u, 1), (y, p, v.T, -1)):
        n = len(centred)
        kept = (n - 1) * (orthonormal @ turn) ** 2 @ singular
        potential = np.sum(centred**2, axis=1) - kept + 2 * sign * (centred @ gap)
        variance += potential.var(ddof=1) / n
    return float(square), float(np.sqrt(variance))


def frechet(x, y, *, extractor: str) -> Measure:
    """Fréchet distance of Gaussian fits of two sets of features, squared as is the custom [feature units^2].

    F = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^{1/2} S2 S1^{1/2})^{1/2}, covariances with n - 1. It is no FID: that is
    the name of this number on one certain Inception network.

    Finite sets of one law are at a positive distance, of order d^2/n, which no error bar shows (the standard error is
    for sets of different laws): hold a value against that of two real sets of the same sizes.

    Args:
        x, y: ``[n, d]`` and ``[m, d]``, independent points each; n and m well above d.
        extractor: what the features are, in full, such as "small CNN on digits, 64 features, test accuracy 0.98".

    Returns:
        The squared distance, its standard error and its name.

    Raises:
        SpecError: shapes do not fit, fewer than two points, or numbers that are not finite.

    >>> cloud = np.random.default_rng(0).normal(size=(500, 3))
    >>> found = frechet(cloud, cloud + [3.0, 0.0, 4.0], extractor="raw coordinates")
    >>> round(found.value, 9), found.name
    (25.0, 'Fréchet distance of Gaussian fits (squared) on raw coordinates')
    """
    x, y = same_width(x=x, y=y)
    return Measure(*_squared_w2(x, y), f"Fréchet distance of Gaussian fits (squared) on {extractor}")


def gaussian_w2(x, y) -> Measure:
    """W2 of Gaussian fits of two sets of points: the Bures-Wasserstein distance [data units].

    The root of what ``frechet`` gives on the points themselves; what is said there of sets of one law holds here. It
    bounds W2 of the laws from below (Gelbrich, Math. Nachr. 147:185, 1990).

    Args:
        x, y: ``[n, d]`` and ``[m, d]``, independent points each.

    Raises:
        SpecError: shapes do not fit, fewer than two points, or numbers that are not finite.

    >>> cloud = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(gaussian_w2(cloud, cloud + [3.0, 0.0, 4.0]).value, 9)
    5.0
    """
    square, error = _squared_w2(*same_width(x=x, y=y))
    value = float(np.sqrt(square))
    return Measure(value, error / (2 * value) if value > 0 else 0.0, "W2 of Gaussian fits (Bures-Wasserstein)")


def covariance_spectrum(x) -> Measure:
    """Eigenvalues of the covariance, largest first, and their standard errors [units^2].

    An eigenvalue moves by (v'(x - m))^2 with a point x, v its direction. That holds for eigenvalues well apart; of
    close ones the sample sets the larger too high and the smaller too low, and of n <= d points the last are 0.

    Args:
        x: ``[n, d]`` independent points.

    Returns:
        Arrays ``[d]``.

    Raises:
        SpecError: no set of points.

    >>> cloud = np.random.default_rng(0).normal(size=(4000, 2)) * [3, 1]
    >>> found = covariance_spectrum(cloud)
    >>> (abs(found.value - [9, 1]) < 4 * found.standard_error).tolist()
    [True, True]
    """
    x = points("x", x)
    n, d = x.shape
    _, singular, directions = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    value, error = np.zeros(d), np.zeros(d)
    value[: singular.size] = singular**2 / (n - 1)
    along = ((x - x.mean(axis=0)) @ directions.T) ** 2
    error[: singular.size] = along.std(axis=0, ddof=1) / np.sqrt(n)
    return Measure(value, error, "eigenvalues of the covariance")


def total_variance(x) -> Measure:
    """Trace of the covariance, the sum of all variances, and its standard error [units^2].

    Args:
        x: ``[n, d]`` independent points.

    Raises:
        SpecError: no set of points.

    >>> total_variance([[0.0, 1.0], [2.0, 1.0]]).value
    2.0
    """
    x = points("x", x)
    n = len(x)
    squares = np.sum((x - x.mean(axis=0)) ** 2, axis=1) * n / (n - 1)
    return mean_of(squares, "trace of the covariance")
