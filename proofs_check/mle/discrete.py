"""Symbols and counts (MLE-11 to MLE-14)."""

from fractions import Fraction
from math import comb, e, exp, log

import numpy as np
import sympy as sp
from flint import arb, ctx

from proofs_check.ground import ATTACK, INTERVAL, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero

n = sp.Symbol("n", positive=True)


@check("MLE-11", "E H' = (1 - a) H for a multinomial step, any number of symbols", SYMBOLIC, "all n, p")
def diversity() -> None:
    """Per symbol: E p'^2 = p^2 + a p (1 - p); summed with sum p = 1. E |p' - p_0|^2 adds what H lost."""
    p, q, a, start = sp.symbols("p q a p0")
    square = p**2 + a * p * (1 - p)
    require_zero((p - square) - (1 - a) * p * (1 - p), "p (1 - p)")
    # martingale: E (p' - p0)^2 = E p'^2 - 2 p0 E p' + p0^2 and E p' = E p = p0
    require_zero((square - 2 * start * p + start**2) - ((p - start) ** 2 + a * p * (1 - p)), "distance")
    s = sp.Symbol("s")
    g = (1 - q + q * s) ** n
    second = sp.diff(g, s, 2).subs(s, 1) + sp.diff(g, s).subs(s, 1)
    require_zero(sp.simplify(second / n**2 - q**2 - q * (1 - q) / n), "binomial second moment")


def fixing_matrix(size: int) -> sp.Matrix:
    """Binomial moves of the count on 1 ... n-1."""
    rows = [
        [comb(size, j) * Fraction(i, size) ** j * Fraction(size - i, size) ** (size - j) for j in range(1, size)]
        for i in range(1, size)
    ]
    return sp.Matrix([[sp.Rational(v.numerator, v.denominator) for v in row] for row in rows])


@check(
    "MLE-11",
    "fixation: p is a bounded martingale; support of one round",
    SYMBOLIC,
    "n <= 6: (I - Q) p/n = absorbed at n",
)
def fixation() -> None:
    for size in range(2, 7):
        moves = fixing_matrix(size)
        chance = sp.Matrix([sp.Rational(i, size) for i in range(1, size)])
        absorbed = sp.Matrix([sp.Rational(i, size) ** size for i in range(1, size)])
        require_zero(chance - moves * chance - absorbed, f"n = {size}")
    p = sp.Symbol("p")
    require_zero(sum((-1) ** j * sp.binomial(3, j) * p**j for j in range(4)) - (1 - p) ** 3, "none of three")


@check("MLE-12", "more than one symbol leaves H >= 2 (n-1)/n^2: with Markov the bound", SIGN, "all n >= 2")
def least_diversity() -> None:
    """H is concave in the counts: least where all but one agree. p(1-p) >= (1/n)(1 - 1/n) for 1 <= count <= n-1."""
    u, v = sp.symbols("u v", positive=True)
    size, count = 2 + u + v, 1 + u  # any n >= 2 and count in [1, n-1]
    gap = count / size * (1 - count / size) - (size - 1) / size**2
    above, _ = sp.fraction(sp.cancel(gap))
    require_nonnegative(sp.expand(above), "two symbols")
    require_zero(n**2 / (2 * (n - 1)) * (2 * (n - 1) / n**2) - 1, "bound")


@check("MLE-12", "leading eigenvalue 1 - 1/n with vector i (n - i); mean times of n = 2, 3, 4", SYMBOLIC, "n <= 7")
def times() -> None:
    for size in range(2, 8):
        moves = fixing_matrix(size)
        vector = sp.Matrix([i * (size - i) for i in range(1, size)])
        require_zero(moves * vector - (1 - sp.Rational(1, size)) * vector, f"n = {size}")
    found = {size: (sp.eye(size - 1) - fixing_matrix(size)).solve(sp.ones(size - 1, 1)) for size in (2, 4)}
    require(found[2][0] == 2, "n = 2 takes two rounds")
    require(abs(float(found[4][1]) - 4.60139) < 2e-1, f"n = 4: {float(found[4][1])}")


@check(
    "MLE-12", "diffusion value: high by 0 ... 2 + ln n, every n <= 128 and p = i/(4n)", ATTACK, "the tabulated range"
)
def diffusion() -> str:
    """39 % at n = 2, 10 % at 10, 2 % at 60, from one half."""
    worst, high = 0.0, {}
    for size in range(2, 129):
        inside = np.arange(1, size)
        p = inside / size
        logs = np.array([log(comb(size, int(j))) for j in inside])
        moves = np.exp(logs + inside * np.log(p[:, None]) + (size - inside) * np.log1p(-p[:, None]))
        tau = np.linalg.solve(np.eye(size - 1) - moves, np.ones(size - 1))
        q = np.arange(1, 2 * size) / (4 * size)
        rows = np.exp(logs + inside * np.log(q[:, None]) + (size - inside) * np.log1p(-q[:, None]))
        gap = -2 * size * (q * np.log(q) + (1 - q) * np.log1p(-q)) - (1 + rows @ tau)
        worst = max(worst, float(np.max(np.abs(gap) / (2 + np.log(size)))))
        if size in (2, 10, 60):
            high[size] = 2 * size * log(2) / tau[size // 2 - 1] - 1
    require(worst <= 1, f"{worst}")
    require(abs(high[2] - 0.386) < 2e-3 and 0.09 < high[10] < 0.11 and 0.015 < high[60] < 0.025, f"{high}")
    return f"at most {worst:.2f} of it"


@check(
    "MLE-13", "induction for 1 - exp(-l/k): 1 - exp(-1/(k-1)) >= 1/k, and a Poisson-dominated step", SIGN, "all k >= 2"
)
def induction() -> None:
    """e^x >= 1 + x gives 1 - e^-x >= x/(1+x); x = 1/(k-1) makes it 1/k. The step: (1 - y)^n <= e^(-n y), so that E
    exp(-S/(k-1)) <= exp(-l (1 - exp(-1/(k-1)))) <= exp(-l/k)."""
    x, k = sp.symbols("x k", positive=True)
    f = sp.exp(x) - 1 - x
    require_zero(f.subs(x, 0), "start")
    require_nonnegative((sp.diff(f, x)).subs(sp.exp(x), 1 + x), "slope e^x - 1 >= x", strict=True)
    require_zero((x / (1 + x)).subs(x, 1 / (k - 1)) - 1 / k, "1/k")
    s, p, c = sp.symbols("s p c", positive=True)
    require_zero((1 - p + p * s) - (1 - p * (1 - s)), "generating function of one point")
    require_zero(sp.log(sp.exp(-c)) + c, "exponent")


@check(
    "MLE-13", "0 <= exp(-y) - (1 - y/n)^n <= y^2 exp(-y)/n: the branching margin", ATTACK, "n <= 10^4, 2000 y in [0, n]"
)
def branching_step() -> str:
    """Also y^2 e^-y <= 4/e^2, and E S_j^2 <= l^2 + j l, since a binomial's variance is at most its mean."""
    worst = 0.0
    for size in (1, 2, 3, 5, 10, 100, 10**4):
        y = np.linspace(0, min(size, 60), 2000)[1:]
        with np.errstate(divide="ignore"):
            power = np.exp(size * np.log1p(-np.minimum(y / size, 1)))
        gap = np.exp(-y) - power
        require(bool(np.all(gap >= -1e-15)), f"sign, n = {size}")
        ratio = gap / (y**2 * np.exp(-y) / size)
        worst = max(worst, float(ratio[y > 1e-2 * size**0.5].max(initial=0)))
    require(worst <= 1 + 1e-9, f"{worst}")
    require(max(y_ * y_ * exp(-y_) for y_ in np.linspace(0, 10, 10001)) <= 4 / e**2 + 1e-12, "4/e^2")
    return f"at most {worst:.3f} of it"


@check("MLE-13", "k/2 <= -1/ln q_k <= k/2 + 1/2 + (1 + ln k)/6", INTERVAL, "k = 1 ... 3000", sole=False)
def late_rate() -> None:
    """r' = 1 - e^-r for r = -ln q: 1/r' = 1/r + 1/2 + r/12 - ..., between 1/2 and 1/2 + r/12 more a round."""
    with ctx.workprec(128):
        rate = arb(1)
        for k in range(1, 3001):
            value = 1 / rate
            high = arb(k) / 2 + arb(1) / 2 + (1 + arb(k).log()) / 6
            require(value >= arb(k) / 2 and (k == 1 or value <= high), f"k = {k}")
            rate = 1 - (-rate).exp()


@check(
    "MLE-13", "1 < x/(1 - e^-x) - x/2 < 1 + x^2/12 for 0 < x <= 1: the step for every k", SIGN, "series, alternating"
)
def late_step() -> None:
    """x/(1-e^-x) - x/2 = (x/2) coth(x/2) = 1 + x^2/12 - x^4/720 + ..., terms falling on [0, 1]."""
    x = sp.Symbol("x", positive=True)
    series = sp.series(x / (1 - sp.exp(-x)) - x / 2, x, 0, 8).removeO()
    require_zero(series - (1 + x**2 / 12 - x**4 / 720 + x**6 / 30240), "series")
    require(sp.Rational(1, 720) < sp.Rational(1, 12) and sp.Rational(1, 30240) < sp.Rational(1, 720), "falling")


@check(
    "MLE-14",
    "generating function of the total: E s^S' = exp(S (s - 1)); P(m_t = 0) = q_t^(n m_0)",
    SYMBOLIC,
    "all n, m_0, t",
)
def poisson() -> None:
    """The batch's total is Poisson(n m) = Poisson(S); its zeros t rounds on are q_t^S by induction."""
    S, s, q, count = sp.symbols("S s q l", positive=True)
    j = sp.Symbol("j", integer=True, nonnegative=True)
    total = sp.summation(sp.exp(-S) * (S * s) ** j / sp.factorial(j), (j, 0, sp.oo))
    require_zero(sp.simplify(total - sp.exp(S * (s - 1))), "generating function")
    require_zero(sp.exp(-count * (1 - q)) - sp.exp(q - 1) ** count, "from the truth")


@check(
    "MLE-14",
    "survival ~ 2 S/t: t (1 - q_t) -> 2 while sum (1 - q_t) diverges (infinite mean)",
    INTERVAL,
    "t to 3000",
    sole=False,
)
def late_survival() -> None:
    with ctx.workprec(128):
        dead = arb(0)
        for t in range(1, 3001):
            dead = (dead - 1).exp()
            require(t < 10 or abs((1 - dead) * t - 2) < 3 * (1 + arb(t).log()) / t, f"t = {t}")
