"""Definitions from which the checks start: smoothing, the round, the pool, Hermite polynomials. Any kind of number.

``S`` sends X to ``a X + sqrt(1 - a^2) Z``; a round is ``p' = S(alpha p* + (1 - alpha) p)``. ``damping`` stands for
``a^m``, the factor of ``S`` on a mode of order m. The functions run the chain by its definition where they can; the
closed forms (``gain``, ``pool_gain``, ``pool_variance``) are proved by the checks of their results.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product
from math import comb, factorial, prod

import sympy as sp

x = sp.Symbol("x", real=True)
a, alpha, damping, kappa, t = sp.symbols("a alpha e kappa t", positive=True)
# positive numbers whose reciprocals below run over (0, 1)
u, v, w = sp.symbols("u v w", positive=True)
INSIDE = {a: 1 / (1 + u), alpha: 1 / (1 + v), damping: 1 / (1 + w)}


def inside(expression):
    """The expression with a, alpha and the damping in (0, 1), written in positive symbols."""
    return sp.cancel(sp.together(expression.subs(INSIDE, simultaneous=True)))


def normal_moment(power: int) -> int:
    """E Z^power."""
    return 0 if power % 2 else prod(range(1, power, 2))


def smooth(polynomial, point: sp.Symbol, factor):
    """E f(factor * point + sqrt(1 - factor^2) Z) of a polynomial f, from the moments of Z."""
    noise = sp.Dummy()
    shifted = sp.Poly(sp.expand(polynomial.subs(point, factor * point + noise)), noise)
    parts = ((1 - factor**2) ** (power // 2) * normal_moment(power) * value for (power,), value in shifted.terms())
    return sp.expand(sp.Add(*parts))


def hermite(order: int, point=x):
    """He_n by Rodrigues' formula."""
    bell = sp.exp(-(x**2) / 2)
    return sp.expand(sp.simplify((-1) ** order * sp.diff(bell, x, order) / bell)).subs(x, point)


def gain(share, damped):
    """E damped^G for the geometric age G on 1, 2, ..."""
    return share * damped / (1 - (1 - share) * damped)


def pool_gain(share, damped):
    """E damped^(G-1)."""
    return share / (1 - (1 - share) * damped)


def mode_path(share, dampings: Sequence, real, start) -> list:
    """Coefficients of the generated law, entry 0 the start: pool, then smooth by the damping of each round."""
    path = [start]
    for damped in dampings:
        path.append(damped * (share * real + (1 - share) * path[-1]))
    return path


def pool_path(share, dampings: Sequence, real, start) -> list:
    """Coefficients of the pools made of the same laws."""
    return [share * real + (1 - share) * value for value in mode_path(share, dampings, real, start)]


def accumulate_path(dampings: Sequence, real) -> list:
    """Coefficients of the pools p*, p_1, ..., p_k in equal parts; ``dampings[k]`` makes p_(k+1) of pool k."""
    total, path = real, [real]
    for parts, damped in enumerate(dampings, start=2):
        total = total + damped * path[-1]
        path.append(total / parts)
    return path


def variance_round(variance, share, damped, points, real_variance, made_variance):
    """Variance of a mode of the next finite pool, by the law of total variance.

    Fresh points add share * V(p*) / M. The others are independent given their pool, with mean damped * (pool mean) and
    a variance whose mean is V(p) - damped^2 * variance, for V(p) holds the spread of that mean as well.
    """
    within = made_variance - damped**2 * variance
    return share * real_variance / points + (1 - share) ** 2 * damped**2 * variance + (1 - share) * within / points


def pool_variance(share, damped, points, real_variance, made_variance):
    """Fixed point of ``variance_round``."""
    rate = (1 - share) * damped**2 * ((1 - share) - 1 / points)
    return (share * real_variance + (1 - share) * made_variance) / (points * (1 - rate))


def hermite_mean(order: int, mean, variance):
    """E He_n(X), X normal: n! times the coefficient of s^n in exp(s mean + s^2 (variance - 1) / 2). Not normalised."""
    excess, total = variance - 1, 0 * mean
    for pairs in range(order // 2 + 1):
        total = total + comb(order, 2 * pairs) * normal_moment(2 * pairs) * excess**pairs * mean ** (order - 2 * pairs)
    return total


def mixture_hermite_mean(order: int, weights: Sequence, means: Sequence, variances: Sequence):
    """E He_n(X) of a mixture; divide by sqrt(n!) for the coefficient c_n."""
    parts = zip(weights, means, variances, strict=True)
    return sum(weight * hermite_mean(order, mean, variance) for weight, mean, variance in parts)


def multiply(left: Mapping, right: Mapping, order: int) -> dict:
    """Product of two power series in several variables, up to a total degree."""
    out: dict = {}
    for (p, value), (q, other) in product(left.items(), right.items()):
        index = tuple(i + j for i, j in zip(p, q, strict=True))
        if sum(index) <= order:
            out[index] = out.get(index, 0) + value * other
    return out


def hermite_means(mean: Sequence, covariance: Sequence[Sequence], order: int) -> dict:
    """E of the products He_n for every multi-index of total order <= ``order``, X normal in d dimensions.

    They are n! times the coefficients of exp(s.mean + s.(covariance - 1) s / 2), multiplied out term by term.
    """
    size = len(mean)
    unit = [tuple(int(i == j) for j in range(size)) for i in range(size)]
    terms = [(unit[i], mean[i]) for i in range(size)]
    for i in range(size):
        for j in range(i, size):
            # off the diagonal both orders of the pair add up to a whole
            value = covariance[i][j] if i < j else (covariance[i][i] - 1) * Fraction(1, 2)
            terms.append((tuple(p + q for p, q in zip(unit[i], unit[j], strict=True)), value))
    series = {(0,) * size: 1}
    for index, value in terms:
        powers = range(order // sum(index) + 1)
        one = {tuple(k * i for i in index): value**k * Fraction(1, factorial(k)) for k in powers}
        series = multiply(series, one, order)
    return {index: value * prod(factorial(i) for i in index) for index, value in series.items()}
