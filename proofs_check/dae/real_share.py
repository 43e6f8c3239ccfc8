"""Chains with a real share: the floor (DAE-2, DAE-12), the limits (DAE-13), more than one limit (DAE-14)."""

from fractions import Fraction

import numpy as np
import sympy as sp
from flint import fmpq

from proofs_check.dae.tools import (
    c,
    eye,
    gain,
    is_positive_semidefinite,
    random_matrix,
    random_rational,
    round_map,
    s,
    step,
)
from proofs_check.ground import (
    ATTACK,
    INTERVAL,
    SIGN,
    SYMBOLIC,
    check,
    require,
    require_nonnegative,
    require_zero,
)

# A: real signal-to-noise ratio; a = 1/(1+odds): the real share; p = a A; y: mixed signal-to-noise ratio
A, odds, p, y, a = sp.symbols("A odds p y a", positive=True)
SHARE = 1 / (1 + odds)


def pool_map(ratio, share, real, noise_ratio):
    """Mix the real ratio with one round from the pool itself."""
    return share * real + (1 - share) * round_map(ratio, noise_ratio)


def synthetic_limit(ratio, noise_ratio):
    """Synthetic ratio that reproduces itself, s = g^2 (s + c), when the map was fitted at this mixed ratio."""
    synthetic = sp.Symbol("synthetic")
    (limit,) = sp.solve(synthetic - gain(ratio) ** 2 * (synthetic + noise_ratio), synthetic)
    return sp.factor(limit)


def cubic(share, real, noise_ratio):
    """Numerator of y - pool map."""
    return sp.expand(sp.cancel((y - pool_map(y, share, real, noise_ratio)) * (y + 1) ** 2))


def quadratic(share, real, noise_ratio):
    """Numerator of y - mix of real and the synthetic limit."""
    return sp.expand(sp.cancel((y - share * real - (1 - share) * synthetic_limit(y, noise_ratio)) * (2 * y + 1)))


@check(
    "DAE-12",
    "(S+H)(S+H+s)^-1 - S(S+s)^-1 = s M^-1 L (1+L'M^-1 L)^-1 L'M^-1 >= 0 for H = LL'",
    SYMBOLIC,
    "all d, S, H >= 0",
)
def operator_monotone() -> None:
    """S (S+s)^-1 = 1 - s M^-1, so the claim is M^-1 - (M+LL')^-1 = M^-1 L K^-1 L'M^-1 with K = 1 + L'M^-1 L > 0.

    Multiplied by M + LL' from the left the right-hand inverse must give 1; only M Mi = 1 and K Ki = 1 are used.
    """
    big, inverse, side, turned, kernel = sp.symbols("M Mi L Lt Ki", commutative=False)
    product = sp.expand((big + side * turned) * (inverse - inverse * side * kernel * turned * inverse))
    product = sp.expand(product.subs(big * inverse, 1))
    # L (L' Mi L) Ki = L (K - 1) Ki = L - L Ki
    product = sp.expand(
        product.subs(turned * inverse * side * kernel, turned_kernel := sp.Symbol("J", commutative=False))
    )
    product = sp.expand(product.subs(turned_kernel, 1 - kernel))
    require(product == 1, f"not the inverse: {product}")


@check(
    "DAE-12",
    "derivative of S(S+s)^-1 along H is s M^-1 H M^-1; a Gram matrix, >= 0",
    SYMBOLIC,
    "generic 2x2 S > 0, H >= 0",
)
def derivative_minors() -> None:
    """Differentiate S adj(M)/det M entry by entry, cleared of denominators; the result is a Gram matrix.

    With H = LL' the derivative is s B B', B = M^-1 L: its diagonal is a sum of squares, its determinant a square.
    """
    t = sp.Symbol("t")
    m00, m10, m11, l00, l10, l11 = sp.symbols("m00 m10 m11 l00 l10 l11")
    moment, lower = sp.Matrix([[m00, m10], [m10, m11]]), sp.Matrix([[l00, 0], [l10, l11]])
    extra = lower * lower.T
    moved, shifted = moment + t * extra + s * sp.eye(2), moment + s * sp.eye(2)
    top, bottom = (moment + t * extra) * moved.adjugate(), moved.det()
    slope = (top.diff(t) * bottom - top * bottom.diff(t)).subs(t, 0)
    rows = shifted.adjugate() * lower
    require((slope - s * rows * rows.T).expand() == sp.zeros(2), "derivative")
    require(sp.expand(rows.det() - shifted.det() * lower.det()) == 0, "determinant of B")


@check(
    "DAE-12",
    "i-th gain >= a lambda_i/(a lambda_i+s), i <= k; norm >= aA/(aA+1); equal blocks give X^2/(X^2+2n s)",
    SIGN,
    "all parameters, any synthetic data",
    uses="Weyl: adding a positive semidefinite matrix lowers no eigenvalue",
)
def gains_floor() -> None:
    """The i-th eigenvalue of the mix is at least a lambda_i and the gain increases; two blocks are a = 1/2."""
    size, n, extra = sp.symbols("size n extra", positive=True)
    require_nonnegative(gain(p + extra) - gain(p), "gain increases", strict=True)
    equal = gain(size**2 / (2 * n * s))
    require_zero(equal - size**2 / (size**2 + 2 * n * s), "two equal blocks: S_mix = (XX' + YY')/(2n)")
    require_zero(gain(p) - p / (p + 1), "norm bound")


@check(
    "DAE-2",
    "with a real share the norm stays above aA/(aA+1) > 0 in every round",
    SIGN,
    "all a, A > 0, any synthetic data",
)
def norm_stays_up() -> None:
    """The norm is the gain at the top of the mix, which is p = aA plus something >= 0."""
    extra = sp.Symbol("extra", positive=True)
    require_nonnegative(gain(p), "positive floor", strict=True)
    require_nonnegative(gain(p + extra) - gain(p), "floor", strict=True)


@check(
    "DAE-12",
    "W - a S_real (a S_real + s)^-1 is positive semidefinite",
    ATTACK,
    "150 exact rational cases, d <= 5, rank deficient and n < d too",
    sole=False,
)
def matrix_floor_attack() -> None:
    """Exact characteristic polynomials decide; the synthetic block is an arbitrary integer matrix."""
    rng = np.random.default_rng(12)
    for _ in range(150):
        d, n, m = (int(value) for value in rng.integers(1, 6, 3))
        real, synthetic = random_matrix(rng, d, n), random_matrix(rng, d, m)
        share, noise = fmpq(int(rng.integers(1, 20)), 20), random_rational(rng)
        floor = real * real.transpose() * (share / n)
        mixed = floor + synthetic * synthetic.transpose() * ((1 - share) / m)
        gap = mixed * (mixed + eye(d, noise)).inv() - floor * (floor + eye(d, noise)).inv()
        require(is_positive_semidefinite(gap), "a direction below the floor")


@check("DAE-12", "gains of width k, and the two-block norm", ATTACK, "2000 random mixes, d <= 8, float64", sole=False)
def gains_floor_attack() -> None:
    """Eigenvalues of actual mixes; rounding of eigvalsh relative to the norm of the mix is the only slack."""
    rng = np.random.default_rng(121)
    for _ in range(2000):
        d, n = int(rng.integers(1, 9)), int(rng.integers(1, 12))
        share = rng.uniform(0.01, 1)
        real = rng.normal(size=(d, n)) * 10 ** rng.uniform(-2, 2, (d, 1))
        synthetic = rng.normal(size=(d, n)) * 10 ** rng.uniform(-2, 2, (d, 1))
        own, other = real @ real.T / n, synthetic @ synthetic.T / n
        mixed = np.linalg.eigvalsh(share * own + (1 - share) * other)
        floor = share * np.linalg.eigvalsh(own)
        rounding = 1e-14 * d * mixed[-1]
        require(np.all(mixed >= floor - rounding), "an eigenvalue below its floor")
        top = np.linalg.eigvalsh((own + other) / 2)[-1]
        size = np.linalg.norm(real, 2) ** 2
        require(top / (top + 1) >= size / (size + 2 * n) * (1 - 1e-14 * d), "two-block norm")


@check(
    "DAE-13",
    "pool-fed: cubic of DAE-14, c = 1 factorises to a y^2+(1-aA)y-aA; root, conjugate form, a = 1",
    SYMBOLIC,
    "all a, A, c",
)
def pool_limit() -> None:
    """From y = aA + (1-a) x'(y)."""
    claimed = a * y**3 + (2 - a * A - (1 - a) * c) * y**2 + (1 - 2 * a * A) * y - a * A
    require_zero(cubic(a, A, c) - claimed, "cubic")
    require_zero(claimed.subs(c, 1) - (y + 1) * (a * y**2 + (1 - a * A) * y - a * A), "c = 1")
    root = sp.sqrt((1 - a * A) ** 2 + 4 * a**2 * A)
    printed, conjugate = (-(1 - a * A) + root) / (2 * a), 2 * a * A / ((1 - a * A) + root)
    require_zero(sp.expand(a * printed**2 + (1 - a * A) * printed - a * A), "printed root")
    require_zero(sp.expand(printed * ((1 - a * A) + root) - 2 * a * A), "conjugate form")
    require_zero(claimed.subs({a: 1, y: A}), "a = 1 gives y = A")
    w = sp.Symbol("w", positive=True)
    # p = 1/(1+w) runs over (0, 1)
    require_zero(conjugate.subs(A, p / a).subs(a, 0).subs(p, 1 / (1 + w)) - 1 / w, "a -> 0 at c = 1: p/(1-p)")


@check(
    "DAE-13", "chain-fed: s = c y^2/(2y+1), quadratic (2-(1-a)c)y^2+(1-2aA)y-aA, c = 1 root", SYMBOLIC, "all a, A, c"
)
def chain_limit() -> None:
    """From s = g^2 (s+c) and y = aA + (1-a) s."""
    require_zero(synthetic_limit(y, c) - c * y**2 / (2 * y + 1), "synthetic limit")
    claimed = (2 - (1 - a) * c) * y**2 + (1 - 2 * a * A) * y - a * A
    require_zero(quadratic(a, A, c) - claimed, "quadratic")
    root = (-(1 - 2 * a * A) + sp.sqrt((1 - 2 * a * A) ** 2 + 4 * (1 + a) * a * A)) / (2 * (1 + a))
    require_zero(sp.expand(claimed.subs(c, 1).subs(y, root)), "c = 1")
    require_zero(claimed.subs({a: 1, y: A}).subs(c, 1), "a = 1 gives y = A")


@check(
    "DAE-13",
    "chain-fed: exactly one positive root when (1-a)c < 2, and the chain from y = A reaches it",
    SIGN,
    "all a, A, c with (1-a)c < 2",
)
def chain_unique() -> None:
    """Leading coefficient > 0 > constant term: one sign change (Descartes), whatever the middle term.

    The map s -> g(y(s))^2 (s+c) increases and its change has the sign of minus the quadratic, so orbits are monotone
    and end at the only root.
    """
    coefficients = sp.Poly(quadratic(a, A, c), y).all_coeffs()
    require_zero(coefficients[0] - (2 - (1 - a) * c), "leading coefficient")
    require_nonnegative(-coefficients[2], "constant term is negative", strict=True)
    synthetic = sp.Symbol("synthetic", positive=True)
    mixed = SHARE * A + (1 - SHARE) * synthetic
    require_nonnegative(sp.diff(gain(mixed) ** 2 * (synthetic + c), synthetic), "the map increases", strict=True)
    level = (y - a * A) / (1 - a)
    change = gain(y) ** 2 * (level + c) - level
    require_zero(change + quadratic(a, A, c) / ((1 - a) * (y + 1) ** 2), "change of a round")


@check("DAE-13", "aA <= chain-fed <= pool-fed <= A from the start y = A", SIGN, "all 0 < a <= 1, A > 0, 0 <= c <= 2")
def order_of_the_limits() -> None:
    """Pool: x' <= x makes M(A) <= A and every fixed point <= A; M increases, so the chain falls to the largest one.

    Chain: y >= aA as s >= 0. At the chain's limit the synthetic part c y^2/(2y+1) is at most x'(y), so M(y) >= y there
    and some fixed point of M, hence the largest, lies at or above. Gains keep the order.
    """
    w, above = sp.symbols("w above", positive=True)
    for value in (2 / (1 + w), sp.Integer(0), sp.Integer(2)):
        gap = round_map(y, c).subs(c, value) - synthetic_limit(y, c).subs(c, value)
        require_nonnegative(gap, f"pool over chain at c = {value}", strict=True)
        start = (A - pool_map(A, SHARE, A, value)).subs(c, value)
        require_nonnegative(start, f"falls from A at c = {value}", strict=True)
        beyond = y - pool_map(y, SHARE, A, value)
        require_nonnegative(beyond.subs(y, A + above), f"no fixed point above A at c = {value}", strict=True)
    require_nonnegative(sp.diff(pool_map(y, SHARE, A, c), y), "M increases", strict=True)
    require_nonnegative(synthetic_limit(y, c), "chain over bound", strict=True)


@check(
    "DAE-13", "pool-fed limit is unique for c <= 3/2: the slope of x' is below 1", SIGN, "all a, A > 0, 0 <= c <= 3/2"
)
def pool_unique() -> None:
    """1 - dx'/dx = ((3-2c)x+1)/(x+1)^3, so y - M(y) increases from -aA to infinity."""
    w = sp.Symbol("w", positive=True)
    slope = sp.diff(round_map(y, c), y)
    require_zero(1 - slope - ((3 - 2 * c) * y + 1) / (y + 1) ** 3, "slope")
    for value in (sp.Rational(3, 2) / (1 + w), sp.Integer(0), sp.Rational(3, 2)):
        require_nonnegative((1 - slope).subs(c, value), f"slope below 1 at c = {value}", strict=True)


@check("DAE-13", "3/2 is sharp: for every c > 3/2 some a, A give three limits", SIGN, "all c > 3/2")
def three_halves_is_sharp() -> None:
    """At y0 = 2/(2c-3) for c <= 2, 2/((2c-3)+(c-2)) for c > 2, the slope of x' exceeds 1 while x'(y0) < y0.

    Choose aA = y0 - (1-a)x'(y0) > 0 with a small: then y - M(y) falls through 0 at y0, while it starts at -aA < 0 and
    ends at infinity, so there is a root on either side too. For c > 2 the point must lie in (1/(2c-3), 1/(c-2)).
    """
    above, excess = sp.symbols("above excess", positive=True)
    # c = 3/2 + 1/(2(1+above)) covers (3/2, 2), c = 2 alone, c = 2 + excess beyond
    cases = (
        (sp.Rational(3, 2) + 1 / (2 * (1 + above)), lambda v: 2 / (2 * v - 3)),
        (sp.Integer(2), lambda v: sp.Integer(2)),
        # midway between 1/(2c-3) and 1/(c-2) in the harmonic sense
        (2 + excess, lambda v: 2 / ((2 * v - 3) + (v - 2))),
    )
    for value, point in cases:
        at = point(value)
        change = round_map(y, c).subs(c, value)
        require_nonnegative((sp.diff(change, y) - 1).subs(y, at), f"slope above 1 at c = {value}", strict=True)
        require_nonnegative((y - change).subs(y, at), f"aA > 0 at c = {value}", strict=True)


@check(
    "DAE-14",
    "pool-fed cap: y* - A - (1-a)(c-2)/a = (1-a)/a ((3-2c)y + 2-c)/(y+1)^2, so growth is capped",
    SYMBOLIC,
    "all a, A, c",
)
def cap() -> None:
    """Insert x' = y + (c-2) + remainder into the fixed-point equation: the gap is O(1/(a y)), not O(1/y)."""
    remainder = ((3 - 2 * c) * y + 2 - c) / (y + 1) ** 2
    fixed = y - pool_map(y, a, A, c)
    require_zero(fixed - (a * (y - A - (1 - a) * (c - 2) / a) - (1 - a) * remainder), "cap")


@check("DAE-14", "three limits need aA < 1/2 and (1-a)c > 2-aA", SIGN, "all a, A, c (Descartes)")
def conditions_for_three() -> None:
    """Three positive roots of the cubic need three sign changes: +, -, +, -."""
    coefficients = sp.Poly(cubic(a, A, c), y).all_coeffs()
    require_zero(
        sp.Matrix(coefficients) - sp.Matrix([a, 2 - a * A - (1 - a) * c, 1 - 2 * a * A, -a * A]), "coefficients"
    )
    require_nonnegative(coefficients[0], "leading", strict=True)
    require_nonnegative(-coefficients[3], "constant", strict=True)


@check(
    "DAE-14",
    "as a -> 0 at fixed p = aA, c > 3/2: three limits iff max(0,2-c) < p < 1/(4(c-1))",
    SYMBOLIC,
    "all c > 3/2",
)
def window() -> None:
    """Two roots tend to those of (2-p-c)y^2+(1-2p)y-p, the third to (p+c-2)/a (insert y = u/a, times a^2).

    The discriminant is 1 - 4p(c-1); with p < 1/(4(c-1)) < 1/2 (c > 3/2) and p > 2-c both roots are positive. For
    p < 2-c the third root is negative and the quadratic has one positive root. The window is never empty:
    1 - 4(c-1)(2-c) = (2c-3)^2.
    """
    form = cubic(a, p / a, c)
    limit = form.subs(a, 0)
    require_zero(limit - ((2 - p - c) * y**2 + (1 - 2 * p) * y - p), "finite roots")
    require_zero(sp.discriminant(limit, y) - (1 - 4 * p * (c - 1)), "discriminant")
    u = sp.Symbol("u")
    require_zero(sp.limit(sp.expand(form.subs(y, u / a) * a**2), a, 0) - u**2 * (u - (p + c - 2)), "far root")
    require_zero(1 - 4 * (c - 1) * (2 - c) - (2 * c - 3) ** 2, "not empty")


def positive_roots(share: Fraction, real: Fraction, noise_ratio: Fraction) -> int:
    """Number of positive roots of the cubic with rational coefficients, by Sturm's theorem."""
    values = [sp.Rational(v.numerator, v.denominator) for v in (share, real, noise_ratio)]
    return sp.Poly(cubic(*values), y).count_roots(0, None)


@check(
    "DAE-14",
    "three limits inside the window, one outside, at small a",
    ATTACK,
    "12 random c in (8/5, 4), a = 1e-9, Sturm counts",
    sole=False,
)
def window_counts() -> None:
    """p drawn 2 % away from either end of the window, where a = 1e-9 is small enough for the limit to decide."""
    rng, small = np.random.default_rng(14), Fraction(1, 10**9)
    for _ in range(12):
        noise_ratio = Fraction(int(rng.integers(1600, 4000)), 1000)
        low, high = max(Fraction(0), 2 - noise_ratio), 1 / (4 * (noise_ratio - 1))
        inside = low + (high - low) * Fraction(int(rng.integers(2, 99)), 100)
        require(positive_roots(small, inside / small, noise_ratio) == 3, f"inside, c = {noise_ratio}")
        outside = [high * Fraction(102, 100)] + ([low * Fraction(98, 100)] if low else [])
        for value in outside:
            require(positive_roots(small, value / small, noise_ratio) == 1, f"outside, c = {noise_ratio}")


@check(
    "DAE-14",
    "c = 1.51 has three limits, c = 1.5 has one at the same a, aA",
    INTERVAL,
    "one point, Sturm count in rationals",
    sole=False,
)
def example_just_above() -> str:
    """Take y0 of the sharpness proof and aA that makes it a root."""
    noise_ratio, small = Fraction(151, 100), Fraction(1, 10**7)
    at = 2 / (2 * noise_ratio - 3)
    mixed = at - (1 - small) * step(at, noise_ratio)
    require(positive_roots(small, mixed / small, noise_ratio) == 3, "not three")
    require(positive_roots(small, mixed / small, Fraction(3, 2)) == 1, "not one")
    return f"aA = {float(mixed):.4f}, a = 1e-7"


@check(
    "DAE-14",
    "chain-fed, (1-a)c > 2: two positive roots iff 2aA < 1 and (1-2aA)^2 > 4aA[(1-a)c-2]; lower stable",
    SYMBOLIC,
    "all a, A, c",
)
def chain_with_two_roots() -> None:
    """With K = (1-a)c - 2 > 0 minus the quadratic is K y^2 - (1-2p) y + p: product p/K > 0, sum (1-2p)/K.

    The change of s has the sign of this upward parabola (and the map increases): it rises below the lower root, falls
    between, grows beyond the upper one.
    """
    excess = sp.Symbol("K", positive=True)
    form = -quadratic(a, p / a, (2 + excess) / (1 - a))
    require_zero(form - (excess * y**2 - (1 - 2 * p) * y + p), "parabola")
    require_zero(sp.discriminant(form, y) - ((1 - 2 * p) ** 2 - 4 * p * excess), "discriminant")


@check("DAE-14", "beyond the upper root s grows by c - 2/(1-a) per round", SYMBOLIC, "all a, A, c")
def chain_growth() -> None:
    """Limit of the change of one round as s grows."""
    synthetic, share = sp.symbols("synthetic share", positive=True)
    change = gain(share * A + (1 - share) * synthetic) ** 2 * (synthetic + c) - synthetic
    require_zero(sp.limit(sp.cancel(sp.together(change)), synthetic, sp.oo) - (c - 2 / (1 - share)), "growth")


@check(
    "DAE-13",
    "limits of actual iterations from y = s = A keep the order and solve the equations",
    ATTACK,
    "200 random (a, A, c <= 2), float64",
    sole=False,
)
def iterate_limits() -> None:
    """Run both chains until they stop; compare with the floor and the real gain."""
    rng = np.random.default_rng(13)
    share, real, ratio = rng.uniform(0.05, 1, 200), 10 ** rng.uniform(-1, 2, 200), rng.uniform(0, 2, 200)
    pool, synthetic = real.copy(), real.copy()
    for _ in range(4000):
        pool = share * real + (1 - share) * step(pool, ratio)
        mixed = share * real + (1 - share) * synthetic
        synthetic = (mixed / (mixed + 1)) ** 2 * (synthetic + ratio)
    mixed = share * real + (1 - share) * synthetic
    slack = 1 + 1e-12
    require(np.all(share * real <= mixed * slack) and np.all(mixed <= pool * slack), "order")
    require(np.all(pool <= real * slack), "above the real data")
    error = (2 - (1 - share) * ratio) * mixed**2 + (1 - 2 * share * real) * mixed - share * real
    require(np.all(np.abs(error) <= 1e-9 * (mixed**2 + mixed + real)), "chain-fed limit")


@check(
    "DAE-13",
    "a -> 0: the limit reached from y = A is ~ aA if c < 2 and p = aA < 2-c (pool-fed)",
    SYMBOLIC,
    "all c < 2 as p -> 0",
)
def small_share_limit() -> None:
    """At a = 0 the only positive root solves (2-c-p)y^2+(1-2p)y-p = 0, whose expansion in p starts with p. For p > 2-c
    the far root (p+c-2)/a exists as well and is the one reached from y = A = p/a."""
    leading, middle, radical = 2 - c - p, 1 - 2 * p, sp.Symbol("R", positive=True)
    form = cubic(a, p / a, c).subs(a, 0)
    closed = 2 * p / (middle + radical)
    square = middle**2 + 4 * p * leading
    left = sp.expand(sp.cancel(form.subs(y, closed) * (middle + radical) ** 2))
    require_zero(left.subs(radical**2, square), "root")
    series = sp.series(closed.subs(radical, sp.sqrt(square)), p, 0, 2).removeO()
    require_zero(series - p, "leading order")


@check(
    "DAE-13",
    "pool-fed at c = 2, aA = 0.1, a = 0.001 the limit from y = A is 89.03, not ~ aA: p < 2-c is needed",
    INTERVAL,
    "one point, Sturm count in rationals",
    sole=False,
)
def small_share_needs_a_gap() -> None:
    """The largest root is the limit from A (see the order of the limits); bracket it and show none lies above."""
    share, real = sp.Rational(1, 1000), sp.Integer(100)
    form = sp.Poly(cubic(share, real, 2), y)
    low, high = sp.Rational("89.02"), sp.Rational("89.03")
    require(form.count_roots(low, high) == 1 and form.count_roots(high, None) == 0, "largest root")
