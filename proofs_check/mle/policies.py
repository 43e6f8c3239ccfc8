"""Real shares, weights, anchors, subsamples (MLE-3 to MLE-6)."""

from fractions import Fraction
from itertools import product

import sympy as sp

from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero

V, n, k = sp.symbols("V n k", positive=True)
D, share, curvature, w = sp.symbols("D alpha v2 w")
MADE = V + curvature * D  # E V(m) of a model whose mean has variance D


@check("MLE-3", "random split: mixture of both laws, moments about m_0", SYMBOLIC, "all alpha, n, v_2")
def random_split() -> None:
    """A point is m_0 + (made ? d : 0) + noise; means of n of them given d, then E d^2 = D."""
    d, made = sp.symbols("d made")
    mean = (1 - share) * d
    square = share * V + (1 - share) * (made + d**2)
    after = sp.expand(mean**2 + (square - mean**2) / n)
    after = after.subs({made: MADE}).subs(d**2, D)
    claimed = V / n + ((1 - share) ** 2 + (1 - share) * (curvature + share) / n) * D
    require_zero(after - claimed, "random")


@check("MLE-3", "fixed split: parts of alpha n and (1-alpha) n points", SYMBOLIC, "all alpha, n, v_2")
def fixed_split() -> None:
    real, made = share * n, (1 - share) * n
    after = share**2 * V / real + (1 - share) ** 2 * (D + MADE / made)
    require_zero(after - (1 - share) ** 2 * D - (V + (1 - share) * curvature * D) / n, "fixed")


@check("MLE-3", "limits: alpha = 0 is MLE-1, alpha = 1 is V/n, n D -> V/(alpha (2 - alpha))", SYMBOLIC, "all v_2")
def limits_of_shares() -> None:
    for extra in (share, 0):
        factor = (1 - share) ** 2 + (1 - share) * (curvature + extra) / n
        fixed = V / n / (1 - factor)
        require_zero(V / n + factor * fixed - fixed, "fixed point")
        require_zero(factor.subs(share, 0) - 1 - curvature / n, "alpha = 0")
        require_zero(fixed.subs(share, 1) - V / n, "alpha = 1")
        require_zero(sp.limit(n * fixed, n, sp.oo) - V / (share * (2 - share)), "large n")


@check(
    "MLE-4",
    "stationary variance; at v_2 = 0 its slope vanishes at k w^2 + w = 1 and there n D/V = w",
    SYMBOLIC,
    "all k",
)
def weights() -> None:
    made = k * n
    after = w**2 * V / n + (1 - w) ** 2 * (D + MADE / made)
    claimed = V * (w**2 / n + (1 - w) ** 2 / made) / (1 - (1 - w) ** 2 * (1 + curvature / made))
    require_zero(after.subs(D, claimed) - claimed, "fixed point")
    plain = sp.cancel(claimed.subs(curvature, 0) * n / V)
    on_root = {k: (1 - w) / w**2}
    require_zero(sp.diff(plain, w).subs(on_root), "slope")
    require_zero(plain.subs(on_root) - w, "value equals weight")
    best = (sp.sqrt(1 + 4 * k) - 1) / (2 * k)
    require_zero(sp.expand(k * best**2 + best - 1), "root")
    require_zero(best - 2 / (1 + sp.sqrt(1 + 4 * k)), "stable form")
    require_zero(best.subs(k, 1) - (sp.sqrt(5) - 1) / 2, "golden ratio")


@check("MLE-4", "the slope has one sign before and another after: a single minimum", SIGN, "k > 0, 0 < w < 1")
def single_minimum() -> None:
    """The numerator of the slope is a positive multiple of k w^2 + w - 1, which increases."""
    plain = (w**2 + (1 - w) ** 2 / k) / (1 - (1 - w) ** 2)
    above, _ = sp.fraction(sp.cancel(sp.diff(plain, w)))
    rest = sp.cancel(above / (k * w**2 + w - 1))
    require(rest.is_number or not rest.has(w), f"numerator: {rest}")
    u = sp.Symbol("u", positive=True)
    require_nonnegative(sp.diff(k * u**2 + u - 1, u), "increasing", strict=True)


@check("MLE-4", "anchor: k = 3 gives 0.434259", SYMBOLIC, "k = 3")
def anchor() -> None:
    require(abs(float((sp.sqrt(13) - 1) / 6) - 0.434259) < 5e-7, "0.434259")


@check(
    "MLE-5", "D and the covariance with the anchor by rounds; fixed point; never below 1/alpha", SYMBOLIC, "all alpha"
)
def anchored() -> None:
    met, t = sp.Symbol("C"), sp.Symbol("t", positive=True)
    anchor = V / (share * n)
    after = share**2 * anchor + (1 - share) ** 2 * (D + MADE / ((1 - share) * n)) + 2 * share * (1 - share) * met
    pull = (1 - share) ** 2 + (1 - share) * curvature / n
    curve = anchor * (1 - (1 - share) ** t)
    require_zero(share * anchor + (1 - share) * curve - curve.subs(t, t + 1), "covariance")
    added = V / n + 2 * (1 - share) * V / n * (1 - (1 - share) ** t)
    require_zero((after.subs(met, curve) - pull * D - added).rewrite(sp.exp), "recursion")
    end = V / n * (3 - 2 * share) / (1 - pull)
    require_zero(after.subs(met, anchor).subs(D, end) - end, "fixed point")
    plain = sp.cancel(end.subs(curvature, 0) * n / V)
    require_zero(plain - (3 - 2 * share) / (share * (2 - share)), "v_2 = 0")
    u = sp.Symbol("u", positive=True)
    require_nonnegative(sp.cancel((plain - 1 / share).subs(share, 1 / (1 + u))), "above 1/alpha")


def subsample_round(size, number, drawn, pooled, square, kept: bool, start, bend):
    """The three moments of ``subsample_path``, written out."""
    noise = start + bend * drawn
    pooled = pooled + (drawn - pooled + noise / size) / number**2
    square = square + (noise + drawn - square) / number
    within = square - pooled
    drawn = pooled + (within / size if kept else within * (1 - Fraction(1, number)) / (size - Fraction(1, number)))
    return drawn, pooled, square


@check(
    "MLE-6",
    "the three moments = the second-moment matrix of all points ever made",
    ATTACK,
    "n = 2 ... 4, 4 rounds, v_2 = 0, 1, -1, exact fractions",
    sole=False,
)
def by_moments_of_all_points() -> None:
    """Every pair of points has a product moment; a fit is a row of averages over drawn pairs."""
    for size, bend, kept in product((2, 3, 4), (0, 1, -1), (True, False)):
        start, drawn = Fraction(1, 2), Fraction(0)
        moments: list[list[Fraction]] = []
        state = (Fraction(0), Fraction(0), Fraction(0))
        with_model = []  # product moments of the model's mean with each point
        for number in range(1, 5):
            noise = start + bend * drawn
            for i in range(size):
                row = [*with_model, *([drawn] * i)]
                for old, value in zip(moments, row, strict=True):
                    old.append(value)
                moments.append([*row, drawn + noise])
            points = len(moments)
            same = sum(moments[i][i] for i in range(points)) / points
            total = sum(map(sum, moments))
            other = (total - same * points) / (points * (points - 1))
            pairs = total / points**2 if kept else other
            drawn = same / size + (1 - Fraction(1, size)) * pairs
            with_model = [sum(row) / points for row in moments]
            state = subsample_round(size, number, state[0], state[1], state[2], kept, start, bend)
            require(state[0] == drawn, f"n = {size}, round {number}: {state[0]} and {drawn}")


@check("MLE-6", "leading order from the exact moments; ends pi^2/3 and pi^2/2 - 2", SYMBOLIC, "t <= 4; t -> infinity")
def leading() -> None:
    size, i = sp.Symbol("n", positive=True), sp.Symbol("i", integer=True)
    for kept in (True, False):
        state = (sp.Integer(0),) * 3
        for t in range(1, 5):
            state = subsample_round(size, t, state[0], state[1], state[2], kept, sp.Integer(1), sp.Integer(0))
            if kept:
                claimed = 2 + sum(sp.Rational(2, j**2) for j in range(2, t + 1))
            else:
                claimed = 2 - sp.Rational(1, t) + sum((2 - sp.Rational(1, j - 1)) / j**2 for j in range(2, t + 1))
            require_zero(sp.limit(sp.cancel(size * state[0]), size, sp.oo) - claimed, f"t = {t}")
    squares = sp.summation(1 / i**2, (i, 2, sp.oo))
    require_zero(sp.simplify(2 + 2 * squares - sp.pi**2 / 3), "with")
    # 1/((i-1) i^2) = 1/(i-1) - 1/i - 1/i^2
    require_zero(1 / ((i - 1) * i**2) - (1 / (i - 1) - 1 / i - 1 / i**2), "parts")
    require_zero(sp.simplify(2 + 2 * squares - (1 - squares) - (sp.pi**2 / 2 - 2)), "without")
