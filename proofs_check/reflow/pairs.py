"""Chains that keep their pairs: invariance, decay, noise, thresholds, frozen inverters, the price (RF-9 to 14, 16)."""

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.reflow.tools import L, b, mu, q, slope, t, tau, u

A = sp.Symbol("A", positive=True)
kept = sp.sqrt(1 - tau**2)
# union of (z, A z) with share 1-b and of (z', x), z' = kept x/A + tau eps, with share b
FIRST = (1 - b) + b * (kept**2 * L / A**2 + tau**2)
SECOND = (1 - b) * A**2 + b * L
CROSS = (1 - b) * A + b * kept * L / A
F = u * ((1 - b) * u + b) / ((1 - b + b * tau**2) * u + b * (1 - tau**2))


@check(
    "RF-9", "V_t ((1-t) I + t A) = A - I, I + V_0 = A, and the flow is (1-t) I + t A", SYMBOLIC, "2 x 2 symbols, n >= d"
)
def invariance() -> None:
    """x_t = ((1-t) I + t A) z: least squares is exact, its residual zero; n pairs span the directions."""
    matrix, one = sp.Matrix(2, 2, sp.symbols("a:4")), sp.eye(2)
    path = (1 - t) * one + t * matrix
    velocity = (matrix - one) * path.inv()
    require_zero(sp.simplify(velocity * path - path.diff(t)), "flow")
    require_zero(sp.simplify(one + velocity.subs(t, 0) - matrix), "one step")


@check(
    "RF-9", "few pairs, d = 3, turned maps: 20 rounds of least squares leave the map alone", ATTACK, "n = 3", sole=False
)
def attack_invariance() -> str:
    """One Euler step with V_0 fitted by lstsq."""
    rng = np.random.default_rng(9)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    start = np.diag([2.0, 1.0, 0.5]) @ (turn if np.trace(turn) > 0 else -turn)
    matrix = start.copy()
    for _ in range(20):
        z = rng.normal(size=(3, 3))
        matrix = np.eye(3) + np.linalg.lstsq(z, z @ matrix.T - z, rcond=None)[0].T
    require(abs(matrix - start).max() < 1e-8, "drift")
    return f"{abs(matrix - start).max():.0e}"


@check("RF-10", "u_j = q^j u_0; a ridge: int m'/(2(m+mu)) dt gives A'^2 = (A^2+mu)/(1+mu); for all j", SYMBOLIC, "all")
def decay() -> None:
    """v = E (x-z) x_t/(m + mu) on pairs (z, A z)."""
    j = sp.Symbol("j", positive=True)
    m = ((1 - t) + t * A) ** 2
    product = slope(t, 1, A**2, A) * m
    require_zero(sp.simplify(product / (m + mu) - sp.diff(sp.log(m + mu), t) / 2), "logarithm")
    after = (m + mu).subs(t, 1) / (m + mu).subs(t, 0)
    require_zero(sp.cancel(after - (A**2 + mu) / (1 + mu)), "a round")
    path = 1 + (A**2 - 1) * (1 + mu) ** (-j)
    require_zero(sp.simplify(path.subs(j, j + 1) - (path + mu) / (1 + mu)), "all rounds")
    require_zero(sp.simplify(q ** (j + 1) * u - q * (q**j * u)), "fit loss")


@check("RF-11", "tau = 0: C^2 = M_0 M_1 and M_1/M_0 = A^2 for every share", SYMBOLIC, "all b, L, A")
def neutral() -> None:
    """The union lies on one line."""
    require_zero(sp.expand((FIRST * SECOND - CROSS**2).subs(tau, 0)), "one line")
    require_zero(sp.cancel((SECOND / FIRST).subs(tau, 0) - A**2), "gain")


@check("RF-12", "u' = M_1/(L M_0) is F; tau = 0, tau = 1, b = 0; fixed point 1; F'(1) = 1 - b tau^2", SYMBOLIC, "all")
def noisy() -> None:
    """A^2 = u L."""
    require_zero(sp.cancel((SECOND / FIRST / L).subs(A, sp.sqrt(u * L)) - F), "map")
    require_zero(sp.cancel(F.subs(tau, 0) - u), "no noise")
    require_zero(sp.cancel(F.subs(tau, 1) - (1 - b) * u - b), "independent real pairs")
    require_zero(sp.cancel(F.subs(b, 0) - u), "no real pairs")
    require_zero(sp.simplify(sp.diff(F, u).subs(u, 1) - (1 - b * tau**2)), "contraction")


@check(
    "RF-12",
    "1 is the only positive fixed point and draws every u: (F-u)(1-u) > 0, (1-F)(1-u) > 0",
    SIGN,
    "b, tau in (0,1)",
)
def attracts() -> None:
    """Both are (1-u)^2 times something positive."""
    shares = {b: sp.Symbol("B", positive=True) / (1 + sp.Symbol("B", positive=True))}
    square = sp.Symbol("w", positive=True)
    f = F.subs(tau, sp.sqrt(square / (1 + square))).subs(shares)
    require_nonnegative(sp.cancel((f - u) / (1 - u)), "towards 1", strict=True)
    require_nonnegative(sp.cancel((1 - f) / (1 - u)), "not past it", strict=True)


@check("RF-13", "q F(u) = u has the printed root; F'(0) = 1/(1-tau^2): held up iff tau^2 > 1-q", SYMBOLIC, "all")
def threshold() -> str:
    """The anchors 0.6043 and 0 of the sheet."""
    star = b * (tau**2 - (1 - q)) / ((1 - b) * (1 - q) + b * tau**2)
    require_zero(sp.cancel(q * F.subs(u, star) - star), "root")
    require_zero(sp.cancel(sp.diff(F, u).subs(u, 0) - 1 / (1 - tau**2)), "slope at 0")
    require_zero(sp.cancel(star.subs(tau, 1) - q * b / (1 - q * (1 - b))), "independent real pairs")
    loss = sp.Rational(3, 100)
    at = {b: sp.Rational(3, 10), q: (1 - loss) ** 2}
    found = [float(star.subs(at | {tau: value})) for value in (sp.Rational(3, 5), sp.Rational(1, 5))]
    require(abs(found[0] - 0.6043) < 5e-5 and found[1] < 0, f"{found}")
    require(abs(float(2 * loss - loss**2) - 0.0591) < 1e-12, "1 - q")
    return f"{found[0]:.4f}, below 0"


@check("RF-13", "F(u)/u falls and F rises: from every u_0 > 0 the chain goes to u*", SIGN, "b, tau in (0,1)")
def everywhere() -> None:
    """A rising map crosses the diagonal once, from above."""
    B, w = sp.symbols("B w", positive=True)
    f = F.subs(tau, sp.sqrt(w / (1 + w))).subs(b, B / (1 + B))
    require_nonnegative(sp.cancel(-sp.diff(sp.cancel(f / u), u)), "F/u falls", strict=True)
    require_nonnegative(sp.cancel(sp.diff(f, u)), "F rises", strict=True)


@check(
    "RF-14",
    "frozen inverter: M_0 = 1-b+b/u_1, u' and u* as printed; q = 1 gives u_1; u_1 = 1 is tau = 1",
    SYMBOLIC,
    "all",
)
def frozen() -> None:
    """x/A_1 has variance 1/u_1."""
    first = sp.Symbol("u_1", positive=True)
    after = q * ((1 - b) * u + b) / ((1 - b) + b / first)
    star = q * b / ((1 - b) * (1 - q) + b / first)
    require_zero(sp.cancel(after.subs(u, star) - star), "root")
    require_zero(sp.cancel(star.subs(q, 1) - first), "no loss")
    require_zero(sp.cancel(star.subs(first, 1) - q * b / (1 - q * (1 - b))), "best case")


@check("RF-14", "pairs drawn: union moments and one exact round within z 5", ATTACK, "2 million pairs", sole=False)
def attack_union() -> str:
    """Both inverters, with noise for the current one; the gain of exact integration is sqrt(M_1/M_0)."""
    rng, worst, points, share = np.random.default_rng(14), 0.0, 10**6, 0.3
    for inverse, noise in ((None, 0.6), (0.8, 0.0)):
        scale, now = 2.0, 0.5
        gain = scale * np.sqrt(now)
        made = rng.normal(size=int(points * (1 - share)))
        x = scale * rng.normal(size=int(points * share))
        back = gain if inverse is None else scale * np.sqrt(inverse)
        found = np.sqrt(1 - noise**2) * x / back + noise * rng.normal(size=x.size)
        z, image = np.concatenate([made, found]), np.concatenate([gain * made, x])
        ratio = (image @ image) / (z @ z) / scale**2
        if inverse is None:
            law = float(F.subs({u: now, b: share, tau: noise}))
        else:
            law = ((1 - share) * now + share) / (1 - share + share / inverse)
        worst = max(worst, abs(ratio / law - 1) / (2 / np.sqrt(points)))
    require(worst < 5, f"z = {worst:.1f}")
    return f"largest z {worst:.2f}"


@check("RF-16", "moments as printed; rho = 1 - b (1 - sqrt(1-tau^2)) at u = 1; one step costs rho^2", SYMBOLIC, "all")
def price() -> None:
    """One Euler step has the gain C/M_0 = sqrt(M_1/M_0) rho."""
    at = {A: sp.sqrt(L)}
    require_zero(sp.simplify((CROSS**2 / (FIRST * SECOND)).subs(at) - (1 - b * (1 - kept)) ** 2), "correlation at 1")
    require_zero(sp.cancel(FIRST.subs(A, sp.sqrt(u * L)) - (1 - b + b * ((1 - tau**2) / u + tau**2))), "M_0")
    require_zero(sp.cancel((CROSS / FIRST) ** 2 - SECOND / FIRST * CROSS**2 / (FIRST * SECOND)), "one step")
