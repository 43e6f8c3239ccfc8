"""Improvement, design, consistency: CON-5 to CON-7."""

from fractions import Fraction

import numpy as np
import sympy as sp

from proofs_check.contamination import tools
from proofs_check.contamination.tools import A, after, alpha, inside, m, n
from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero


@check(
    "CON-5", "the path moves from 1/n_0 to 1/n_eff without turning: one side for ever", SYMBOLIC, "all alpha, n, n_0"
)
def monotone_path() -> None:
    """The distance to the fixed point is multiplied by 0 <= rho < 1 (CON-4): A_t - A_0 has the sign of R_inf - R_0."""
    size = n * alpha * (2 - alpha) + (1 - alpha) ** 2
    power = sp.Symbol("X", positive=True)  # rho^t
    moved = 1 / size + power * (1 / m - 1 / size) - 1 / m
    require_zero(moved - (1 - power) * (m - size) / (size * m), "sign")
    require_zero(sp.solve(sp.Eq(size, m), n)[0] - (m - (1 - alpha) ** 2) / (alpha * (2 - alpha)), "critical size")


@check("CON-5", "n = n_0 > 1, alpha < 1: n_eff < n_0, also for any smaller rounds", SIGN, "all alpha < 1, n > 1")
def equal_sizes_never_improve() -> None:
    """n - n_eff = (n - 1)(1 - alpha)^2; and A_{t-1} >= 1/m >= ... gives A_t >= 1/n >= 1/m for n <= m."""
    size = n * alpha * (2 - alpha) + (1 - alpha) ** 2
    require_zero(n - size - (n - 1) * (1 - alpha) ** 2, "difference")
    require_nonnegative(inside(n - size), "n_eff <= n")


@check("CON-6", "the size for a wanted path, and the condition to improve on the last round", SYMBOLIC, "all alpha, A")
def design() -> None:
    wanted = sp.Symbol("B", positive=True)
    kept = (1 - alpha) ** 2 * A
    require_zero(sp.solve(sp.Eq(after(A), wanted), n)[0] - (1 - kept) / (wanted - kept), "size")
    gap = n - (n - 1) * (1 - alpha) ** 2 - 1 / A
    require_zero((A - after(A)) * n / A - gap, "A_t < A_{t-1} iff gap > 0")


@check("CON-6", "A_t >= (1 - alpha)^2 A_{t-1}, and A_t <= 1", SIGN, "all alpha, A in (0, 1), n > 1")
def one_round_cuts_no_more() -> None:
    require_nonnegative(inside(after(A) - (1 - alpha) ** 2 * A), "floor")
    require_nonnegative(inside(1 - after(A)), "ceiling")


@check(
    "CON-7", "upper bounds: rho <= (1 - alpha)^2, and a round is below the average of 1/(n c) and A_{t-1}", SIGN, "all"
)
def upper_bounds() -> None:
    """With c = alpha (2 - alpha): c b + (1 - c) A - A_t = A (1 - c)/n >= 0 for b = 1/(n c)."""
    lost = alpha * (2 - alpha)
    bound = lost / (n * lost) + (1 - lost) * A
    require_zero(bound - after(A) - A * (1 - alpha) ** 2 / n, "slack")
    require_nonnegative(inside(bound - after(A)), "sign")


@check("CON-7", "averages of b_u over u > s stay below max b_u and leave prod (1 - c_u) of A_s", SYMBOLIC, "all s, t")
def averages() -> None:
    """Induction: X = prod (1 - c); if A <= X A_s + (1 - X) b and b' <= b then c b' + (1 - c) A keeps the form."""
    product, start, top, lost = sp.symbols("X A_s b c", positive=True)
    kept = (1 - lost) * product
    require_zero(
        lost * top + (1 - lost) * (product * start + (1 - product) * top) - kept * start - (1 - kept) * top, "step"
    )


@check("CON-7", "lower bounds: A_t >= 1/n_t, and A_t >= A_0 prod (1 - alpha_u)^2", SIGN, "all alpha, A, n")
def lower_bounds() -> None:
    require_nonnegative(inside(after(A) - 1 / n), "own noise")
    one_round_cuts_no_more()


@check("CON-7", "all bounds on random schedules", ATTACK, "40 schedules of 12 rounds in rationals", sole=False)
def bounds_attack() -> None:
    rng = np.random.default_rng(7)
    for _ in range(40):
        shares = [Fraction(int(k), 20) for k in rng.integers(0, 21, 12)]
        sizes = [int(k) for k in rng.integers(1, 200, 13)]
        path = [Fraction(1, sizes[0])]
        for share, size in zip(shares, sizes[1:], strict=True):
            path.append(tools.after(path[-1], share, Fraction(size)))
        for t in range(13):
            least = min([Fraction(1), *shares[:t]])
            steady = sum((1 - least) ** (2 * (t - s)) * Fraction(1, sizes[s]) for s in range(t + 1))
            require(path[t] <= steady, "steady share")
            require(path[t] >= Fraction(1, sizes[t]), "own size")
            for s in range(t):
                product, worst = Fraction(1), Fraction(0)
                for share, size in zip(shares[s:t], sizes[s + 1 : t + 1], strict=True):
                    product *= (1 - share) ** 2
                    worst = max(worst, 1 / (size * share * (2 - share)) if share else Fraction(10**9))
                require(path[t] <= product * path[s] + worst, "decaying share")
                require(path[t] >= product * path[s], "memory")
