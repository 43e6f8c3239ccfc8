"""Definitions from which the checks start: the loss, one round of the chain, exact random matrices.

One round fits ``W`` on the columns of X by the loss ``E |W (X + N) - X|^2 / n`` (N iid of variance sigma^2) and makes
``X' = W (X + E)`` (E iid of variance sigma-hat^2). Nothing here knows a closed form.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import sympy as sp
from flint import fmpq, fmpq_mat

# x: signal-to-noise ratio of a direction, c: noise ratio, lam: eigenvalue, s: training noise variance
x, z, c, beta, lam, s, eta = sp.symbols("x z c beta lambda s eta", positive=True)


def average(expression, noise: Sequence[sp.Symbol], variance):
    """Mean over independent centred noise of the given variance, exact for an expression quadratic in the noise.

    A quadratic q has mean q(0) + variance/2 times its Laplacian; cubic terms would make this wrong and are refused.
    """
    polynomial = sp.Poly(expression, *noise)
    if polynomial.total_degree() > 2:
        raise ValueError("the expression is not quadratic in the noise")
    at_zero = polynomial.eval(dict.fromkeys(noise, 0)) if noise else polynomial
    laplacian = sum(sp.diff(expression, entry, 2) for entry in noise)
    return sp.expand(sp.sympify(at_zero) + variance * laplacian / 2)


def generic(name: str, rows: int, columns: int) -> sp.Matrix:
    """Matrix of free positive symbols (an identity of polynomials that holds for positive entries holds for all)."""
    return sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{name}{i}{j}", positive=True))


def loss(weights: sp.Matrix, points: sp.Matrix) -> sp.Expr:
    """The denoising loss per point with training noise of variance s averaged out, straight from its definition."""
    noise = generic("n", *points.shape)
    residual = weights * (points + noise) - points
    return average(sp.expand(sum(entry**2 for entry in residual)), list(noise), s) / points.shape[1]


def second_moment(points: sp.Matrix) -> sp.Matrix:
    """X X^T / n."""
    return points * points.T / points.shape[1]


def gain(ratio):
    """Gain of the fitted map in a direction of this signal-to-noise ratio, by minimising the scalar loss."""
    g = sp.Symbol("g")
    # scalar loss (1 - g)^2 lambda + g^2 sigma^2 in units of sigma^2
    (best,) = sp.solve(sp.diff((1 - g) ** 2 * ratio + g**2, g), g)
    return best


def round_map(ratio, noise_ratio):
    """Signal-to-noise ratio after one round, from X' = W (X + E): gain squared times (signal + generation noise)."""
    return sp.factor(gain(ratio) ** 2 * (ratio + noise_ratio))


def step(ratio, noise_ratio):
    """The same round for numbers of any kind (float, ball, fraction): fit, add noise, apply."""
    fitted = ratio / (ratio + 1)
    return fitted * fitted * (ratio + noise_ratio)


def rotation(t) -> sp.Matrix:
    """Every plane rotation but one, rationally: the entries are rational functions of t."""
    return sp.Matrix([[1 - t**2, -2 * t], [2 * t, 1 - t**2]]) / (1 + t**2)


def eye(size: int, factor=1) -> fmpq_mat:
    """Exact multiple of the identity."""
    return diagonal([factor] * size)


def diagonal(values: Sequence) -> fmpq_mat:
    """Exact diagonal matrix."""
    size = len(values)
    return fmpq_mat(size, size, [fmpq(values[i]) if i == j else fmpq(0) for i in range(size) for j in range(size)])


def random_rational(rng: np.random.Generator, high: int = 40) -> fmpq:
    """Positive rational with small numerator and denominator."""
    return fmpq(int(rng.integers(1, high)), int(rng.integers(1, 12)))


def random_matrix(rng: np.random.Generator, rows: int, columns: int) -> fmpq_mat:
    """Exact matrix of small random integers."""
    return fmpq_mat(rows, columns, [int(value) for value in rng.integers(-5, 6, rows * columns)])


def random_orthogonal(rng: np.random.Generator, size: int) -> fmpq_mat:
    """Exact orthogonal matrix, the Cayley transform of a random antisymmetric one."""
    half = random_matrix(rng, size, size)
    skew = half - half.transpose()
    return (eye(size) - skew) * (eye(size) + skew).inv()


def trace(matrix: fmpq_mat) -> fmpq:
    """Exact trace."""
    return sum((matrix[i, i] for i in range(matrix.nrows())), fmpq(0))


def is_positive_semidefinite(matrix: fmpq_mat) -> bool:
    """Exact test of a symmetric matrix: all roots of its characteristic polynomial are >= 0.

    The roots are real, so this holds iff the coefficients alternate in sign: those of det(t + M) are all >= 0.
    """
    size = matrix.nrows()
    coefficients = matrix.charpoly().coeffs()
    return matrix == matrix.transpose() and all((-1) ** (size - k) * v >= 0 for k, v in enumerate(coefficients))


def as_fmpq(value: Fraction) -> fmpq:
    """Exact conversion."""
    return fmpq(value.numerator, value.denominator)


def exact_float(value: float) -> fmpq:
    """The rational that a float is."""
    return as_fmpq(Fraction(value))
