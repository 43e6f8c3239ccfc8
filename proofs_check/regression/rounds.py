"""Least squares on self-made labels: replacement, uneven rounds, accumulation, the bound (REG-1 to REG-4)."""

import numpy as np
import sympy as sp
from flint import arb, ctx

from proofs_check.ground import ATTACK, INTERVAL, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.regression.tools import T0, T, chain_errors, d, n, rows_of, score, sigma, sigma0

COST = d / (T - d - 1)


def inverse_chi_square(freedom):
    """E 1/chi^2_k from its density."""
    point = sp.Symbol("point", positive=True)
    density = point ** (freedom / 2 - 1) * sp.exp(-point / 2) / (2 ** (freedom / 2) * sp.gamma(freedom / 2))
    return sp.simplify(sp.integrate(density / point, (point, 0, sp.oo), conds="none"))


@check(
    "REG-1",
    "E tr W^-1 = d/(T-d-1): one round costs s^2 d/(T-d-1), rounds add up",
    SYMBOLIC,
    "all d, T >= d+2, Sigma, w_0, n",
    uses="(W^-1)_11 = 1/chi^2_(T-d+1) for W ~ Wishart_d(I, T)",
)
def one_round() -> None:
    """w' - w = (X'X)^-1 X' eps has mean 0 given w, so squares add: E_n = E_(n-1) + s^2 E tr W^-1, whitened."""
    k = sp.Symbol("k", positive=True)
    require_zero(sp.simplify(inverse_chi_square(k) - 1 / (k - 2)), "inverse chi-square")
    require_zero(d / (T - d + 1 - 2) - COST, "trace")
    cost0 = sigma0**2 * COST.subs(T, T0)
    claimed = sigma**2 * COST + n * cost0
    require_zero(sp.expand(claimed.subs(n, n + 1) - claimed - cost0), "a round")
    phi = sp.Symbol("phi", positive=True)
    limit = sp.limit(COST.subs(d, phi * T), T, sp.oo)
    require_zero(sp.simplify(limit - phi / (1 - phi)), "proportional limit")


@check("REG-1", "the mean is infinite at T = d + 1 and T = d", SYMBOLIC, "chi^2 with 2 and 1 degrees of freedom")
def infinite_mean() -> None:
    """1/chi^2_k has a finite mean iff k > 2: its density near 0 is of order x^(k/2 - 2)."""
    point = sp.Symbol("point", positive=True)
    for freedom in (1, 2):
        near = sp.integrate(point ** (sp.Rational(freedom, 2) - 2), (point, 0, 1))
        require(near == sp.oo, f"{freedom} degrees of freedom")


@check("REG-1", "brute-force chains, power-law Sigma: z below 5", ATTACK, "d = 4, T = 16, n <= 3", sole=False)
def attack_replace() -> str:
    """Every row drawn."""
    rng, spectrum = np.random.default_rng(1), [1.0, 0.4, 0.2, 0.1]
    found = chain_errors(rng, spectrum, [1.0, -2.0, 3.0, 1.0], (20, 0.7, 0.0), (16, 0.5, 0.0), 3, 20000)
    scores = [score(found[k], 0.25 * 4 / 11 + k * 0.49 * 4 / 15) for k in range(4)]
    require(max(map(abs, scores)) < 5, f"z = {scores}")
    return f"largest z {max(map(abs, scores)):.2f}"


@check("REG-2", "uneven rounds add up; bounded iff sum s_m^2/T_m is finite", SIGN, "all T_m >= d+2")
def uneven_rounds() -> None:
    """Each round adds its own cost; d/T <= d/(T-d-1) <= d(d+2)/T compares the two sums term by term."""

    room = sp.Symbol("room", positive=True)
    rows = d + 2 + room
    for at_least in (rows, d + 2):
        cost = d / (at_least - d - 1)
        require_nonnegative(cost - d / at_least, "lower", strict=True)
        require_nonnegative(d * (d + 2) / at_least - cost, "upper")


def accumulated(count, rows, kept):
    """A term of REG-3: the share of fresh rows times E tr V^-1 of all rows."""
    return rows / kept * d / (kept - d - 1)


@check(
    "REG-3",
    "E tr[V^-1 W_i V^-1] = (T_i/N_i) E tr V^-1 by exchangeable rows; equal sizes; first term is the clean error",
    SYMBOLIC,
    "all sizes with T_1 >= d+2, Sigma",
)
def accumulation() -> None:
    """w_i - w_(i-1) = V^-1 X_i' eps_i: the former rows are fitted by w_(i-1) exactly in the sums, as V_(i-1) w_(i-1) is
    their right-hand side. Given the designs its covariance is s^2 V^-1 W_i V^-1. Rows are exchangeable in V, so
    each of the N_i terms of tr[V^-1 (sum x x') V^-1] = tr V^-1 has the same mean, and T_i of them are fresh.
    New noise is independent of all former errors: squares add."""
    i = sp.Symbol("i", positive=True)
    equal = accumulated(i, T, i * T)
    require_zero(sp.simplify(equal - d / (i * (i * T - d - 1))), "equal sizes")
    require_zero(sp.simplify(equal.subs(i, 1) - COST), "first term")
    ratio = sp.limit(equal / COST, T, sp.oo)
    require_zero(sp.simplify(ratio - 1 / i**2), "many rows")
    v, w, fresh, right = sp.symbols("v w fresh right")
    # scalars stand for commuting sums: V w' = V_old w + W_new w + noise with V_old w the old right-hand side
    require_zero(((v * w + fresh * w + right) / (v + fresh) - w) - right / (v + fresh), "new weights")


@check("REG-3", "brute-force accumulation, uneven sizes: z below 5", ATTACK, "d = 3, T = 12, 4, 9", sole=False)
def attack_accumulate() -> str:
    """Refitted on all rows each time; also a later batch smaller than d + 2."""
    rng, spectrum, sizes, chains = np.random.default_rng(3), np.array([1.0, 0.3, 0.1]), (12, 4, 9), 40000
    truth = np.array([1.0, -1.0, 2.0])
    weights, kept, expected, total, scores = np.broadcast_to(truth, (chains, 3)), [], 0.0, 0, []
    for rows in sizes:
        kept.append(rows_of(rng, spectrum, weights, rows, 0.5))
        inputs, labels = (np.concatenate([part[k] for part in kept], axis=1) for k in (0, 1))
        weights = np.linalg.solve(
            np.einsum("ctd,cte->cde", inputs, inputs), np.einsum("ctd,ct->cd", inputs, labels)[..., None]
        )[..., 0]
        total += rows
        expected += 0.25 * 3 * rows / total / (total - 4)
        scores.append(score(((weights - truth) ** 2) @ spectrum, expected))
    require(max(map(abs, scores)) < 5, f"z = {scores}")
    return f"largest z {max(map(abs, scores)):.2f}"


@check(
    "REG-3",
    "limit: sum 1/(i(iT-d-1)) = [psi(1) - psi(1-a)]/(aT), a = (d+1)/T; rest after n <= 1/(n(T-(d+1)/(n+1)))",
    SYMBOLIC,
    "all T > d+1",
    uses="psi(1) - psi(1-a) = sum_(i>=1) [1/(i-a) - 1/i]",
)
def series() -> None:
    """Partial fractions; the rest: i T - d - 1 >= i (T - (d+1)/(n+1)) for i > n, and sum_(i>n) 1/i^2 < 1/n."""
    i, more = sp.symbols("i more", positive=True)
    share = (d + 1) / T
    require_zero(sp.simplify(1 / (i * (i * T - d - 1)) - (1 / (i - share) - 1 / i) / (share * T)), "partial fractions")
    later = n + more
    gap = later * T - d - 1 - later * (T - (d + 1) / (n + 1))
    require_nonnegative(sp.simplify(gap.subs(more, 1 + sp.Symbol("rest", positive=True))), "rest")
    require_nonnegative(1 / (i * (i + 1)) - 1 / (i + 1) ** 2, "sum of squares")


@check("REG-3", "anchor: d = 8, T_0 = 20 ends at 1.4162 times the first error", INTERVAL, "balls", sole=False)
def anchor() -> None:
    """From the digamma function."""
    with ctx.workprec(120):
        share = arb(9) / 20
        ratio = (arb(1).digamma() - (1 - share).digamma()) / 9 * 11
        require(abs(ratio - arb("1.4162")) < arb("5e-5"), f"found {ratio.str(6)}")


@check("REG-4", "i T - d - 1 >= i (T - d - 1), sum 1/i^2 = pi^2/6, strict", SIGN, "all n, T >= d+2")
def bound() -> None:
    """Each term of REG-3 is at most 1/i^2 times the first one, with equality at i = 1 alone."""
    i, later = sp.symbols("i later", positive=True)
    slack = i * T - d - 1 - i * (T - d - 1)
    require_zero(slack.subs(i, 1), "equality at i = 1")
    require_nonnegative(sp.expand(slack.subs(i, 1 + later)), "slack", strict=True)
    whole = sp.Symbol("j", integer=True, positive=True)
    require_zero(sp.summation(1 / whole**2, (whole, 1, sp.oo)) - sp.pi**2 / 6, "Basel")
