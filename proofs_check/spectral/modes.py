"""Hermite modes: the low-pass filter, the mode recursion, projections, coefficients of normals (SP-2, 6, 7, 18)."""

from fractions import Fraction
from itertools import product
from math import factorial, prod

import numpy as np
import sympy as sp

from proofs_check.ground import (
    ATTACK,
    SIGN,
    SYMBOLIC,
    check,
    require,
    require_nonnegative,
    require_zero,
)
from proofs_check.spectral.tools import (
    a,
    alpha,
    damping,
    gain,
    hermite,
    hermite_mean,
    hermite_means,
    inside,
    kappa,
    mode_path,
    pool_gain,
    smooth,
    t,
    x,
)

G, POOL = gain(alpha, damping), pool_gain(alpha, damping)
m = sp.Symbol("m", positive=True)


@check("SP-2", "G_(m+1)/G_m <= a for every m >= 0, equality only at alpha = 1", SIGN, "all 0 < a < 1, 0 < alpha <= 1")
def low_pass() -> None:
    """a - G(a e)/G(e) = a (1-alpha) e (1-a)/(1-(1-alpha) a e); e = 1 is m = 0."""
    gap = a - gain(alpha, a * damping) / G
    require_zero(gap - a * (1 - alpha) * damping * (1 - a) / (1 - (1 - alpha) * a * damping), "gap")
    for point in (damping, sp.Integer(1)):
        require_nonnegative(inside(gap.subs(damping, point)), "below a", strict=True)
    require_zero(gap.subs(alpha, 1), "alpha = 1")


@check(
    "SP-2",
    "G_m falls in m, below a^m, grows with alpha; G_(m+1)/G_m grows with m to a",
    SIGN,
    "all 0 < a, alpha, e < 1",
)
def shape_of_the_filter() -> None:
    """Slopes in e = a^m, which falls in m."""
    require_nonnegative(inside(sp.diff(G, damping)), "grows with e", strict=True)
    require_nonnegative(inside(sp.diff(G, alpha)), "grows with alpha", strict=True)
    require_nonnegative(inside(damping - G), "below the one-shot gain", strict=True)
    ratio = gain(alpha, a * damping) / G
    require_nonnegative(inside(-sp.diff(ratio, damping)), "ratio of neighbours grows with m", strict=True)
    require_zero(sp.limit(ratio, damping, 0) - a, "its limit")


@check("SP-6", "E he_n(aX + sqrt(1-a^2)Z) = a^n he_n(X)", SYMBOLIC, "all orders, by the generating function")
def smoothing_of_a_mode() -> None:
    """E exp(r (a x + b Z) - r^2/2) = exp(r a x - r^2 a^2/2), whose r^n coefficient is a^n He_n(x)/n!.

    That exp(r x - r^2/2) generates Rodrigues' polynomials: exp(-(x-r)^2/2) is the shifted bell, by Taylor's theorem.
    """
    r = sp.Symbol("r", real=True)
    normal_transform = r**2 * (1 - a**2) / 2
    require_zero(r * a * x + normal_transform - r**2 / 2 - ((a * r) * x - (a * r) ** 2 / 2), "exponent")
    require_zero(r * x - r**2 / 2 - (x**2 / 2 - (x - r) ** 2 / 2), "shifted bell")
    for order in range(9):
        require_zero(smooth(hermite(order), x, a) - a**order * hermite(order), f"order {order}")


@check(
    "SP-6", "several axes: the factor is a^|n|", SYMBOLIC, "all multi-indices, d = 3; the exponent is a sum over axes"
)
def smoothing_of_a_product() -> None:
    """The exponents of the axes add up; n has the factor of r^n, that is a^(n_1 + ... + n_d)."""
    dims = 3
    r, point = sp.symbols(f"r0:{dims}", real=True), sp.symbols(f"x0:{dims}", real=True)
    smoothed = sum(r[i] * a * point[i] + (1 - a**2) * r[i] ** 2 / 2 - r[i] ** 2 / 2 for i in range(dims))
    require_zero(smoothed - sum((a * r[i]) * point[i] - (a * r[i]) ** 2 / 2 for i in range(dims)), "exponent")


@check(
    "SP-6",
    "c^(k+1) = e(alpha c* + (1-alpha) c^k); gap to the fixed point G c* shrinks by (1-alpha) e",
    SYMBOLIC,
    "all k",
)
def mode_recursion() -> None:
    """Mixing is linear in the law; fixed point, contraction, and closed form by induction, X = ((1-alpha)e)^k."""
    real, value, start, power = sp.symbols("real value start power")
    after = mode_path(alpha, [damping], real, value)[1]
    require_zero(after - damping * (alpha * real + (1 - alpha) * value), "round")
    require_zero(after.subs(value, G * real) - G * real, "fixed point")
    require_zero(after - G * real - (1 - alpha) * damping * (value - G * real), "contraction")

    def closed(rest):
        return G * real + rest * (start - G * real)

    require_zero(closed(sp.Integer(1)) - start, "k = 0")
    step = mode_path(alpha, [damping], real, closed(power))[1]
    require_zero(step - closed((1 - alpha) * damping * power), "step")
    require_zero(alpha * real + (1 - alpha) * G * real - POOL * real, "pool")
    require_zero(G - damping * POOL, "one smoothing apart")


@check(
    "SP-6",
    "half gain at m = ln(1+alpha)/(kappa t0); small and large m; the limits and their order",
    SYMBOLIC,
    "all alpha, kappa, t0",
)
def filter_landmarks() -> None:
    """With e = exp(-m kappa t0)."""
    half = sp.log(1 + alpha) / (kappa * t)
    exact = G.subs(damping, sp.exp(-m * kappa * t))
    require_zero(sp.simplify(exact.subs(m, half)) - sp.Rational(1, 2), "half gain")
    small = sp.Symbol("small", positive=True)
    loss = sp.series(1 - G.subs(damping, sp.exp(-small)), small, 0, 2).removeO()
    require_zero(loss - small / alpha, "small m kappa t0 / alpha")
    require_zero(sp.limit(G / (alpha * damping), damping, 0) - 1, "large m")
    require_zero(sp.limit(POOL, damping, 0) - alpha, "pool at large m")
    require_zero(G.subs(alpha, 1) - damping, "alpha = 1")
    require_zero(G.subs(damping, 1) - 1, "t0 -> 0 at fixed alpha, and order 0")
    require_zero(G.subs(alpha, 0), "alpha -> 0 at fixed t0")


@check(
    "SP-6", "1 - G_m <= m kappa t0/alpha; compounding G_m/a^m in [alpha, 1], falling in m", SIGN, "all 0 < alpha, e < 1"
)
def filter_bounds() -> None:
    """1 - G = (1-e)/(1-(1-alpha)e) <= (1-e)/alpha, and 1 - e^(-s) <= s."""
    require_zero(1 - G - (1 - damping) / (1 - (1 - alpha) * damping), "1 - G")
    require_nonnegative(inside((1 - damping) / alpha - (1 - G)), "linear bound", strict=True)
    compounding = G / damping
    require_nonnegative(inside(compounding - alpha), "at least alpha", strict=True)
    require_nonnegative(inside(1 - compounding), "at most 1", strict=True)
    require_nonnegative(inside(sp.diff(compounding, damping)), "falls in m", strict=True)


@check(
    "SP-7", "S acts on he_m(w.x) by a^m for every unit w, and for no other length", SYMBOLIC, "all m, d = 3 (generic w)"
)
def projection_rule() -> None:
    """E exp(r w.(a x + b Z) - r^2/2) has the exponent r a w.x + r^2 b^2 |w|^2/2 - r^2/2: that of a r iff |w| = 1."""
    r, point = sp.Symbol("r"), sp.symbols("x0:3", real=True)
    vector = sp.symbols("w0:3", real=True)
    inner, length = sum(p * q for p, q in zip(vector, point, strict=True)), sum(q**2 for q in vector)
    got = r * a * inner + r**2 * (1 - a**2) * length / 2 - r**2 / 2
    wanted = (a * r) * inner - (a * r) ** 2 / 2
    require_zero(sp.expand(got - wanted) - sp.expand(r**2 * (1 - a**2) * (length - 1) / 2), "gap")
    require_zero(sp.expand(got - wanted).subs(vector[2], sp.sqrt(1 - vector[0] ** 2 - vector[1] ** 2)), "unit vector")
    # the mixture over ages turns a^m into G_m, as for the axes
    for order in (1, 2, 3, 4):
        turned = hermite(order, sp.Rational(3, 5) * point[0] + sp.Rational(4, 5) * point[1])
        smoothed = turned
        for axis in point[:2]:
            smoothed = smooth(smoothed, axis, a)
        require_zero(smoothed - a**order * sp.expand(turned), f"order {order}")


@check("SP-7", "mean gain G_1, E XX' - I gain G_2; white data stay white, orders >= 3 do not", SYMBOLIC, "every law, d")
def moments_of_the_limit() -> None:
    """E(aX + bZ)(aX + bZ)' - I = a^2 (E XX' - I) entry by entry; over ages a^2 becomes G_2. 1 - G_m > 0 for m >= 3."""
    first, second, same = sp.symbols("first second same")
    for moment, unit in ((first * second, 0), (same, 1)):
        require_zero(a**2 * moment + (1 - a**2) * unit - unit - a**2 * (moment - unit), "entry")
    point, other = sp.symbols("p q", real=True)
    product_moment = smooth(smooth(point * other, point, a), other, a)
    require_zero(product_moment - a**2 * point * other, "off the diagonal")
    require_zero(smooth(point**2 - 1, point, a) - a**2 * (point**2 - 1), "diagonal")
    require_nonnegative(inside(1 - G), "damage of every order whose coefficient is not 0", strict=True)


@check("SP-7", "normal data of variance s != 1 have a non-normal limit: G_4 > G_2^2", SIGN, "all 0 < a, alpha < 1")
def limit_is_not_gaussian() -> None:
    """c_4 of N(0, s) is a constant times (s-1)^2, so a normal limit with gain G_2 at order 2 has G_2^2 at order 4."""
    s = sp.Symbol("s")
    require_zero(hermite_mean(4, sp.Integer(0), s) - 3 * (s - 1) ** 2, "order 4")
    require_nonnegative(inside(gain(alpha, a**4) - gain(alpha, a**2) ** 2), "kurtosis", strict=True)


@check(
    "SP-18",
    "recurrence of c_m of N(mu, s), from F' = (mu + r(s-1)) F, with the normalisation",
    SYMBOLIC,
    "all orders, mu, s >= 0",
)
def normal_recurrence() -> None:
    """F(r) = E exp(rX - r^2/2) = exp(r mu + r^2 (s-1)/2); F' has (n+1) c_(n+1)/sqrt((n+1)!) at r^n."""
    r, mu, s, n = sp.Symbol("r"), sp.Symbol("mu"), sp.Symbol("s"), sp.Symbol("n", positive=True)
    generating = sp.exp(r * mu + r**2 * s / 2 - r**2 / 2)
    require_zero(sp.simplify(sp.diff(generating, r) / generating) - (mu + r * (s - 1)), "equation")
    low, middle, high = sp.symbols("low middle high")
    # f_n = c_n/sqrt(n!); divide (n+1) f_(n+1) = mu f_n + (s-1) f_(n-1) by the root of n!
    equation = (n + 1) * high / sp.sqrt(n + 1) - mu * middle - (s - 1) * low * sp.sqrt(n)
    (solved,) = sp.solve(equation, high)
    require_zero(solved - (mu * middle - sp.sqrt(n) * (1 - s) * low) / sp.sqrt(n + 1), "recurrence")
    deviation = sp.Symbol("deviation")
    for order in range(8):
        # X = mu + deviation Z by the moments of Z
        shifted = sp.Poly(sp.expand(hermite(order).subs(x, mu + deviation * x)), x)
        moment = sum(v * (prod(range(1, k, 2)) if k % 2 == 0 else 0) for (k,), v in shifted.terms())
        require_zero(sp.expand(moment) - sp.expand(hermite_mean(order, mu, deviation**2)), f"order {order}")


def recurrence_nd(mean, excess, order: int) -> dict:
    """n! f_n by (n_i+1) f_(n+e_i) = mu_i f_n + sum_j (Sigma-I)_ij f_(n-e_j), each entry along its first axis."""
    size = len(mean)
    found = {(0,) * size: sp.Integer(1)}
    for index in sorted(product(range(order + 1), repeat=size), key=sum):
        if not 0 < sum(index) <= order:
            continue
        axis = next(i for i in range(size) if index[i])
        below = tuple(v - (i == axis) for i, v in enumerate(index))
        value = mean[axis] * found[below]
        for j in range(size):
            if below[j]:
                value += excess[axis][j] * found[tuple(v - (i == j) for i, v in enumerate(below))]
        found[index] = value / index[axis]
    return {index: sp.expand(value * prod(map(factorial, index))) for index, value in found.items()}


@check(
    "SP-18",
    "d dimensions: c_(n+e_i) = [mu_i c_n + sum_j (Sigma-I)_ij sqrt(n_j) c_(n-e_j)]/sqrt(n_i+1)",
    SYMBOLIC,
    "the equation for all orders in d = 3; generic mean and covariance to order 4 in d = 2",
)
def normal_recurrence_nd() -> None:
    """d_i F = (mu_i + sum_j (Sigma-I)_ij r_j) F; the coefficient of r^n divided by the roots of the factorials."""
    size = 3
    r, mu = sp.symbols(f"r0:{size}"), sp.symbols(f"mu0:{size}")
    excess = [[sp.Symbol(f"E{min(i, j)}{max(i, j)}") for j in range(size)] for i in range(size)]
    exponent = sum(mu[i] * r[i] for i in range(size)) + sum(
        excess[i][j] * r[i] * r[j] for i in range(size) for j in range(size)
    ) / sp.Integer(2)
    for i in range(size):
        require_zero(sp.diff(exponent, r[i]) - mu[i] - sum(excess[i][j] * r[j] for j in range(size)), "equation")
    # c = f sqrt(n!): raising n_i by one divides by sqrt(n_i + 1), lowering n_j multiplies by sqrt(n_j)
    n, other = sp.symbols("n other", positive=True)
    require_zero((n + 1) / sp.sqrt(n + 1) - sp.sqrt(n + 1), "raised index")
    require_zero(sp.sqrt(sp.gamma(other + 1) / sp.gamma(other)).simplify() - sp.sqrt(other), "lowered index")
    covariance = [[excess[i][j] + int(i == j) for j in range(2)] for i in range(2)]
    direct = hermite_means(mu[:2], covariance, 4)
    stepped = recurrence_nd(mu[:2], excess, 4)
    require(set(direct) == set(stepped), "indices")
    for index, value in direct.items():
        require_zero(sp.expand(sp.nsimplify(value)) - stepped[index], f"{index}")


@check("SP-18", "under S_t: mu -> a mu, s -> 1 + a^2 (s-1); c_n -> a^n c_n", SYMBOLIC, "all mu, s, orders <= 8")
def normal_under_smoothing() -> None:
    """The two statements agree, order by order."""
    mu, s = sp.symbols("mu s")
    for order in range(9):
        moved = hermite_mean(order, a * mu, 1 + a**2 * (s - 1))
        require_zero(sp.expand(moved) - sp.expand(a**order * hermite_mean(order, mu, s)), f"order {order}")


@check(
    "SP-18",
    "coefficients of a 2-d normal = moments of products He_n",
    ATTACK,
    "20 exact rational normals, order <= 5",
    sole=False,
)
def normal_attack() -> None:
    """X = mu + L Z with rational L, expanded in Z: moments of independent axes, nothing about generating functions."""
    rng = np.random.default_rng(18)
    first, second = sp.symbols("z0 z1")
    for _ in range(20):
        mu = [Fraction(int(rng.integers(-6, 7)), 4) for _ in range(2)]
        root = [[Fraction(int(rng.integers(-5, 6)), 4) for _ in range(2)] for _ in range(2)]
        covariance = [[sum(root[i][k] * root[j][k] for k in range(2)) for j in range(2)] for i in range(2)]
        means = hermite_means(mu, covariance, 5)
        index = tuple(int(v) for v in rng.integers(0, 4, 2))
        if sum(index) > 5:
            index = (3, 2)
        lines = [
            sp.nsimplify(mu[i]) + sp.nsimplify(root[i][0]) * first + sp.nsimplify(root[i][1]) * second for i in (0, 1)
        ]
        polynomial = sp.Poly(
            sp.expand(prod(hermite(k, line) for k, line in zip(index, lines, strict=True))), first, second
        )
        total = sum(
            value * prod(prod(range(1, k, 2)) if k % 2 == 0 else 0 for k in powers)
            for powers, value in polynomial.terms()
        )
        require(sp.Rational(means[index].numerator, means[index].denominator) == total, f"{index}")
