"""Real rows in every round (REG-5): the factor g from Wishart moments, when it is below 1, its limit."""

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.regression.tools import T, d, score

p, x = sp.symbols("p x", positive=True)
K = ((d + 1) * (T**2 - T + 2) - 4 * T) / ((T - 1) * (T + 2) * (T - d - 1))
G = x**2 + x * (1 - x) * K


def square(rows):
    """E tr W^2."""
    return rows * d * (rows + d + 1)


def trace(rows):
    """E (tr W)^2."""
    return rows * d * (rows * d + 2)


@check("REG-5", "E tr W^2 = T d(T+d+1), E (tr W)^2 = T d(T d+2)", SYMBOLIC, "all T, d", uses="Isserlis")
def wishart_moments() -> None:
    """W = sum x x'. Same row: E |x|^4 = d(d+2). Different rows: E (x.y)^2 = d, E |x|^2 |y|^2 = d^2."""
    require_zero(sp.expand(T * d * (d + 2) + T * (T - 1) * d - square(T)), "square")
    require_zero(sp.expand(T * d * (d + 2) + T * (T - 1) * d**2 - trace(T)), "trace")


@check(
    "REG-5",
    "E |V^-1 W_p v|^2 = g |v|^2, the sheet's g and g = x^2 + x(1-x) K",
    SYMBOLIC,
    "all p, T, d, Sigma",
    uses="W_p = V^1/2 U V^1/2 with U independent of V and invariant under rotations; E tr V^-1 = d/(T-d-1)",
)
def factor() -> None:
    """Invariance: E U_ij U_kl = A d_ij d_kl + B (d_ik d_jl + d_il d_jk), so E U M U = (A+B) M + B tr(M) I. The two
    unknowns from the moments of W_p; then with M = V^-1: g = A + B + B E tr V^-1 v'Vv, and E[tr V^-1 tr V] =
    (T d - 2) E tr V^-1 as tr V is independent of V/tr V, a chi-square of T d degrees, and tr V^-1 of degree -1."""
    A, B = sp.symbols("A B")
    equations = [
        sp.Eq((A + B) * square(T) + B * trace(T), square(p)),
        sp.Eq(A * trace(T) + 2 * B * square(T), trace(p)),
    ]
    found = sp.solve(equations, [A, B], dict=True)[0]
    g = (A + B + B * (T * d - 2) / (T - d - 1)).subs(found)
    a = p * d * (T * (p + 1 + d) - p * d - 2) / (T * (T + 2) * (T - 1))
    b = (p * d * (p * d + 2) - 2 * T * a) / T**2
    require_zero(sp.expand(sp.cancel((A * d + B * d * (d + 1) - a).subs(found))), "a = E tr U^2")
    require_zero(sp.cancel((A * d**2 + 2 * B * d - b).subs(found)), "b = E (tr U)^2")
    require_zero(sp.cancel(g - ((T - 1) * a - b) / (d * (T - d - 1))), "g as in the sheet")
    require_zero(sp.cancel(g.subs(p, x * T) - G), "g as in the code")
    z = sp.Symbol("z", positive=True)
    moment = sp.integrate(z * z ** (T * d / 2 - 2) * sp.exp(-z / 2), (z, 0, sp.oo), conds="none")
    below = sp.integrate(z ** (T * d / 2 - 2) * sp.exp(-z / 2), (z, 0, sp.oo), conds="none")
    require_zero(sp.simplify(moment / below - (T * d - 2)), "chi-square weighted by its inverse")


@check("REG-5", "ends: p = 0, p = T, T -> infinity; g > x^2 inside; 1 - g = (1-x)(1 + x(1-K))", SIGN, "all T >= d+2")
def ends() -> None:
    """K is positive for T >= d+2."""
    require_zero(G.subs(x, 0), "no synthetic rows")
    require_zero(sp.simplify(G.subs(x, 1) - 1), "no real rows")
    require_zero(sp.simplify(1 - G - (1 - x) * (1 + x * (1 - K))), "factors")
    require_zero(sp.limit(K, T, sp.oo), "many rows")
    size, room = sp.symbols("size room", positive=True)
    for least in (0, room):
        for more in (0, size):
            value = K.subs(d, 1 + more).subs(T, 3 + more + least)
            require_nonnegative(sp.cancel(value), "K", strict=True)


@check("REG-5", "2T >= 3d+2 implies K <= 2, hence g < 1 for every share of real rows; not below", SIGN, "all d >= 2")
def every_share_helps() -> None:
    """1 + x(1 - K) > 0 for all x < 1 iff K <= 2. The sheet had checked this for d <= 30."""
    size, room = sp.symbols("size room", positive=True)
    for more in (0, size):
        for above in (0, room):
            slack = (2 - K).subs(T, (3 * d + 2) / 2 + above).subs(d, 2 + more)
            require_nonnegative(sp.cancel(slack), "K <= 2")
    divergent = G.subs({d: 10, T: 12, x: sp.Rational(1, 4)})
    require(divergent > 1 and abs(float(divergent) - 1.7987) < 5e-5, f"d = 10, T = 12, p = 3: {float(divergent)}")
    require(abs(float(G.subs({d: 6, T: 20, x: sp.Rational(3, 4)})) - 0.6520) < 5e-5, "anchor d = 6, T = 20, p = 15")


@check("REG-5", "two Wishart matrices by their rows: z below 5", ATTACK, "d = 2 to 6, T to 40", sole=False)
def attack_factor() -> str:
    """Also the rounds: E_m = g E_(m-1) + noise by direct regression."""
    rng, scores = np.random.default_rng(5), []
    for size, rows, synthetic in ((2, 12, 5), (3, 40, 30), (6, 20, 15)):
        inputs = rng.normal(size=(40000, rows, size))
        made = np.einsum("ctd,cte->cde", inputs[:, :synthetic], inputs[:, :synthetic])
        whole = np.einsum("ctd,cte->cde", inputs, inputs)
        kept = np.linalg.solve(whole, made[:, :, :1])[..., 0]
        expected = float(G.subs({d: size, T: rows, x: sp.Rational(synthetic, rows)}))
        scores.append(score((kept**2).sum(axis=1), expected))
    require(max(map(abs, scores)) < 5, f"z = {scores}")
    return f"largest z {max(map(abs, scores)):.2f}"


@check("REG-5", "stationary error s^2 d/(T-d-1)/(1-g), reached geometrically", SYMBOLIC, "all g < 1")
def settles() -> None:
    """Fixed point of an affine recursion of slope g."""
    g, own, error = sp.symbols("g own error")
    limit = own / (1 - g)
    require_zero(sp.simplify(g * limit + own - limit), "fixed point")
    require_zero(sp.simplify((g * error + own - limit) - g * (error - limit)), "distance")
