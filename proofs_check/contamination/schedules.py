"""Slow and polynomial schedules: CON-8 and CON-9."""

import numpy as np
import sympy as sp

from proofs_check.contamination.tools import A, after, alpha, inside, n, rho
from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero

t, a, b, c, k = sp.symbols("t a b c n_1", positive=True)
SETTLED = 1 / (n * alpha * (2 - alpha) + (1 - alpha) ** 2)


def recursion(a: float, b: float, c: float, size: float, rounds: int, start: float = 0.5) -> np.ndarray:
    """A_t of the definition, round by round, sizes rounded up."""
    times = np.arange(1, rounds + 1)
    shares = np.minimum(1, c * times ** (-a))
    sizes = np.ceil(size * times**b * (1 - 1e-12))
    path = np.empty(rounds + 1)
    path[0] = start
    for i, (share, number) in enumerate(zip(shares, sizes, strict=True), 1):
        path[i] = 1 / number + (1 - 1 / number) * (1 - share) ** 2 * path[i - 1]
    return path


@check(
    "CON-8",
    "a < 1: the leading form balances the recursion, every other term is of lower order",
    SYMBOLIC,
    "all a, b, c, n_1",
)
def leading_balance() -> None:
    """Insert L = t^(a-b)/(2 c n_1): 2 alpha L = 1/n exactly; alpha^2 L, L/n and the difference of L are smaller by
    t^-a, t^(a-b) and t^(a-1)."""
    share, size = c * t**-a, k * t**b
    law = t ** (a - b) / (2 * c * k)
    require_zero(sp.powsimp(sp.expand(2 * share * law * size)) - 1, "balance")
    require_zero(sp.simplify(share**2 * law * size - share / 2), "square of the share")
    require_zero(sp.simplify(law / size * size - law), "own noise of the past")
    drift = sp.simplify(sp.diff(law, t) * size - (a - b) * t ** (a - 1) / (2 * c))
    require_zero(drift, "drift")


@check("CON-8", "b = a: 1/(1 + 2 c n_1); b < a: 1 - A is of the order of n alpha", SYMBOLIC, "all c, n_1")
def balance_and_collapse() -> None:
    """The fixed point at frozen (alpha, n) with n alpha = x held, alpha -> 0."""
    x = sp.Symbol("x", positive=True)
    frozen = sp.limit(SETTLED.subs(n, x / alpha), alpha, 0)
    require_zero(frozen - 1 / (1 + 2 * x), "balance")
    require_zero(sp.limit((1 - frozen) / x, x, 0) - 2, "collapse")


@check("CON-8", "a = 1: the equation of the slow change and its solutions", SYMBOLIC, "all b, c, n_1")
def harmonic_equation() -> None:
    """A' = t^-b/n_1 - 2 c A/t for b > 1; and with the noise of the past too at b = 1."""
    law = t ** (1 - b) / ((2 * c + 1 - b) * k)
    require_zero(sp.simplify((sp.diff(law, t) + 2 * c * law / t) * k * t**b - 1), "1 < b < 1 + 2c")
    border = t ** (-2 * c) * sp.log(t) / k
    require_zero(sp.simplify((sp.diff(border, t) + 2 * c * border / t) * k * t ** (1 + 2 * c) - 1), "b = 1 + 2c")
    memory = t ** (-2 * c)
    require_zero(sp.simplify(sp.diff(memory, t) + 2 * c * memory / t), "memory")
    still = 1 / (1 + 2 * c * k)
    require_zero(sp.simplify(1 / (k * t) - (2 * c / t + 1 / (k * t)) * still), "b = 1")


@check(
    "CON-8",
    "a > 1: A_T >= (1/n_s) prod_{u > s} (1 - alpha_u)^2",
    SIGN,
    "every s",
    uses="prod (1 - x_u) > 0 iff sum x_u finite",
)
def never_forgotten() -> None:
    require_nonnegative(inside(after(A) - 1 / n), "a round's own noise")
    require_nonnegative(inside(after(A) - (1 - alpha) ** 2 * A), "what is kept of the past")


def late(path: np.ndarray, rounds: int) -> float:
    return float(path[rounds // 2 + 1 : rounds + 1].mean())


@check("CON-8", "stated margins of constants hold on the recursion", ATTACK, "20 schedules, T = 300 ... 1e4")
def margins_of_constants() -> str:
    rng, worst = np.random.default_rng(8), 0.0
    for number in range(20):
        size, times = float(rng.integers(1, 20)), np.arange(1, 10_001.0)
        if number % 2:
            a = float(rng.uniform(0.2, 0.8))
            b, c = a + float(rng.uniform(0.3, 1.5)), float(rng.uniform(0.3, 1))
            law, lag = times ** (a - b) / (2 * c * size), 3 * (b - a) * times ** (a - 1) / (4 * c)
        else:
            a, c = 1.0, float(rng.uniform(0.4, 1))
            b = 1 + float(rng.uniform(0.4, 0.8)) * 2 * c
            law, lag = (
                times ** (1 - b) / ((2 * c + 1 - b) * size),
                times ** -(2 * c + 1 - b),
            )
        share, own = c * times**-a, times ** (a - b) / (2 * size * c)
        slack = law * (share + (own + lag) * (1 if a < 1 else 1 + np.log(times)))
        path = recursion(a, b, c, size, 10_000)
        for rounds in (300, 1000, 10_000):
            window = slice(rounds // 2, rounds)
            if slack[window].mean() > 0.3 * law[window].mean():
                continue
            ratio = abs(late(path, rounds) - law[window].mean()) / slack[window].mean()
            require(ratio <= 1, f"a = {a:.2f}, b = {b:.2f}, c = {c:.2f}, n_1 = {size}, T = {rounds}: {ratio:.2f}")
            worst = max(worst, ratio)
    return f"largest share of the margin {worst:.2f}"


@check(
    "CON-9", "the lag E = A - Q obeys E_t = rho_t (E_{t-1} + Q_{t-1} - Q_t), so its bound is rigorous", SYMBOLIC, "all"
)
def lag() -> None:
    former = sp.Symbol("Q", positive=True)
    lagged = sp.Symbol("E", real=True)
    require_zero(after(former + lagged) - SETTLED - rho() * (lagged + former - SETTLED), "lag")


@check(
    "CON-9", "1/(1 + 2 n alpha) differs from Q by less than Q [2 alpha + (n - 1) alpha^2]/(1 + 2 n alpha)", SIGN, "all"
)
def small_shares() -> None:
    simple = 1 / (1 + 2 * n * alpha)
    apart = (SETTLED - simple) - SETTLED * (2 * alpha + (n - 1) * alpha**2) * simple
    require_zero(apart, "difference, exactly")
    require_nonnegative(inside(SETTLED - simple), "sign")


@check("CON-9", "the bound on the lag holds", ATTACK, "30 schedules of 200 rounds", sole=False)
def lag_attack() -> None:
    rng = np.random.default_rng(9)
    for _ in range(30):
        times = np.arange(1, 201)
        shares = np.clip(rng.uniform(0.1, 1) * times ** -rng.uniform(0, 0.6), 0, 1)
        sizes = np.ceil(rng.uniform(2, 50) * times ** rng.uniform(0, 1.0))
        settled = 1 / (sizes * shares * (2 - shares) + (1 - shares) ** 2)
        value, before, bound = 0.1, 0.1, 0.0
        for share, size, now in zip(shares, sizes, settled, strict=True):
            factor = (1 - 1 / size) * (1 - share) ** 2
            value, bound, before = 1 / size + factor * value, factor * (bound + abs(now - before)), now
            require(abs(value - now) <= bound * (1 + 1e-9) + 1e-15, "lag")
