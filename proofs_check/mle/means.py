"""Means of families with quadratic variance (MLE-1, MLE-2)."""

from fractions import Fraction
from itertools import product
from math import comb

import sympy as sp
from flint import arb, ctx

from proofs_check.ground import ATTACK, INTERVAL, SYMBOLIC, check, require, require_zero

m, e, v0, v1, v2 = sp.symbols("m e v0 v1 v2")
a, n, start, grown = sp.symbols("a n V P", positive=True)


def quadratic(point):
    return v0 + v1 * point + v2 * point**2


@check("MLE-1", "E V(m + e) = (1 + v_2 a) V(m) for a step e of mean 0 and variance a V(m)", SYMBOLIC, "all v, a, m")
def one_round() -> None:
    expanded = sp.expand(quadratic(m + e))
    mean = expanded.coeff(e, 0) + expanded.coeff(e, 2) * a * quadratic(m)
    require_zero(mean - (1 + v2 * a) * quadratic(m), "E V")


@check("MLE-1", "V/v_2 (prod - 1) grows by a_t E V(m_(t-1)) a round", SYMBOLIC, "all v_2, a")
def closed_form() -> None:
    step = start / v2 * (grown * (1 + v2 * a) - 1) - start / v2 * (grown - 1)
    require_zero(step - a * start * grown, "increment")
    require_zero(sp.limit(start / v2 * (sp.exp(sp.log(1 + v2 * a)) - 1), v2, 0) - start * a, "v_2 = 0")


@check("MLE-1", "a_t = 1/n (replace), n_t/N_t^2 (accumulate): variance of n_t/N_t of a batch's mean", SYMBOLIC, "all n")
def step_sizes() -> None:
    before = sp.Symbol("B", positive=True)
    total = before + n
    require_zero((n / total) ** 2 * start / n - n / total**2 * start, "accumulate")
    t = sp.Symbol("t", positive=True)
    require_zero((n / (n * t) ** 2) - 1 / (n * t**2), "equal batches")


@check("MLE-1", "v_2 of every family, from its moments", SYMBOLIC, "all parameters")
def curvatures() -> None:
    k, r, s, x, big = sp.symbols("k r s x N", positive=True)
    mean = sp.Symbol("mean", positive=True)

    def by_generating(g):
        first = sp.diff(g, s).subs(s, 1)
        second = sp.diff(g, s, 2).subs(s, 1)
        return sp.simplify(first), sp.simplify(second + first - first**2)

    laws = {
        "bernoulli": (1 - mean + mean * s, -1),
        "binomial": ((1 - mean / big + mean / big * s) ** big, -1 / big),
        "poisson": (sp.exp(mean * (s - 1)), 0),
        "negative binomial": ((r / (r + mean - mean * s)) ** r, 1 / r),
    }
    for name, (g, curvature) in laws.items():
        first, variance = by_generating(g)
        require_zero(first - mean, f"{name}: mean")
        require_zero(sp.diff(variance, mean, 2) / 2 - curvature, f"{name}: v_2")
    density = x ** (k - 1) * sp.exp(-k * x / mean) * (k / mean) ** k / sp.gamma(k)
    moments = [sp.simplify(sp.integrate(x**j * density, (x, 0, sp.oo))) for j in (1, 2)]
    require_zero(moments[0] - mean, "gamma: mean")
    require_zero(moments[1] - moments[0] ** 2 - mean**2 / k, "gamma: V = m^2/k; k = 1 is exponential")


def coin_chain(size: int, chance: Fraction, rounds: int, kept: bool) -> list[dict]:
    """Exact law of the sum of successes and of the points, round by round."""
    law = {(Fraction(0), 0): Fraction(1)}
    path = []
    for _ in range(rounds):
        after: dict = {}
        for ((total, points), weight), k in product(law.items(), range(size + 1)):
            p = total / points if points else chance
            mass = weight * comb(size, k) * p**k * (1 - p) ** (size - k)
            key = (total + k, points + size) if kept else (Fraction(k), size)
            after[key] = after.get(key, 0) + mass
        law = after
        path.append(law)
    return path


@check("MLE-1", "coins by their whole law: mean, variance, E V", ATTACK, "n = 2, 3, p = 1/5, 1/2, 4 rounds", sole=False)
def coins_by_enumeration() -> None:
    """No recursion of moments: every outcome with its exact chance, replace and accumulate."""
    for size, chance, kept in product((2, 3), (Fraction(1, 5), Fraction(1, 2)), (False, True)):
        left = Fraction(1)
        for t, law in enumerate(coin_chain(size, chance, 4, kept), 1):
            left *= 1 - Fraction(1, size * t**2 if kept else size)
            means = [(s / points, w) for (s, points), w in law.items()]
            require(sum(w * p for p, w in means) == chance, "mean")
            require(sum(w * (p - chance) ** 2 for p, w in means) == chance * (1 - chance) * (1 - left), f"variance {t}")
            require(sum(w * p * (1 - p) for p, w in means) == chance * (1 - chance) * left, f"E V {t}")


@check(
    "MLE-2",
    "prod (1 + y/i^2) = sinh(pi sqrt y)/(pi sqrt y), with sin for y < 0; sum 1/i^2 = pi^2/6",
    INTERVAL,
    "y = -1 ... 3, 4000 factors, certified tail",
    uses="Euler's products of sin and sinh",
    sole=False,
)
def products_of_euler() -> None:
    """Factors beyond N lie between 1 and exp(y/N) (or exp(2y/N) and 1 for y < 0)."""
    with ctx.workprec(128):
        for twelfths in (-12, -6, -1, 1, 5, 12, 36):
            y, count = arb(twelfths) / 12, 4000
            partial = arb(1)
            for i in range(1, count + 1):
                partial *= 1 + y / i**2
            tail = (y.exp() * 0 + y / count).exp() if twelfths > 0 else (2 * y / count).exp()
            low, high = (partial, partial * tail) if twelfths > 0 else (partial * tail, partial)
            x = arb.pi() * abs(y).sqrt()
            value = x.sinh() / x if twelfths > 0 else x.sin() / x
            require(not (value < low) and not (value > high), f"y = {twelfths}/12: {value.str(8)}")


@check(
    "MLE-2", "limits from MLE-1 with those products; replace: (1 + v_2/n)^t -> 0 for -n < v_2 < 0", SYMBOLIC, "all n"
)
def limits() -> None:
    x, y = sp.symbols("x y", positive=True)
    n_ = sp.pi**2 * y / x**2
    require_zero(start / y * (sp.sinh(x) / x - 1) - start * sp.pi**2 / n_ * (sp.sinh(x) / x - 1) / x**2, "v_2 > 0")
    require_zero(sp.limit((sp.sinh(x) / x - 1) / x**2, x, 0) - sp.Rational(1, 6), "v_2 = 0")
    require_zero(sp.limit((1 - sp.sin(x) / x) / x**2, x, 0) - sp.Rational(1, 6), "v_2 = 0 from below")
    require_zero(start / -y * (0 - 1) - start / y, "replace for ever")
