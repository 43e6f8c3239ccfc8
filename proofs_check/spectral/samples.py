"""Finite pools (SP-13) and accumulating pools (SP-14)."""

import numpy as np
import sympy as sp
from flint import arb, ctx

from proofs_check.ground import ATTACK, INTERVAL, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.spectral import laws
from proofs_check.spectral.tools import (
    accumulate_path,
    alpha,
    damping,
    hermite,
    inside,
    mixture_hermite_mean,
    mode_path,
    pool_gain,
    pool_variance,
    smooth,
    variance_round,
    x,
)

V, V_MADE, M, NU = sp.symbols("V V_made M nu", positive=True)
CLAIMED = (alpha * V + (1 - alpha) * V_MADE) / (1 - ((1 - alpha) * damping) ** 2 + (1 - alpha) * damping**2 / M) / M


@check(
    "SP-13",
    "exact stationary variance of a pool mode, by total variance",
    SYMBOLIC,
    "all M, alpha (alpha M an integer), a, orders",
)
def variance_by_total_variance() -> None:
    """E Var(he(y) | pool) = E he(y)^2 - a^2m E C^2 = (V(p_inf) + (a^m c)^2) - a^2m (Var C + c^2); the fixed
    point is the only one and attracts."""
    centre = sp.Symbol("c")
    within = (V_MADE + (damping * centre) ** 2) - damping**2 * (NU + centre**2)
    fresh, made = alpha * M, (1 - alpha) * M
    # averages over both groups, weighted by their shares
    after = alpha**2 * V / fresh + (1 - alpha) ** 2 * (damping**2 * NU + within / made)
    require_zero(after - variance_round(NU, alpha, damping, M, V, V_MADE), "one round")
    require_zero(after.subs(NU, CLAIMED) - CLAIMED, "fixed point")
    require_zero(pool_variance(alpha, damping, M, V, V_MADE) - CLAIMED, "reference")
    slope = sp.diff(after, NU)
    above = sp.Symbol("above", positive=True)
    for value in ((1 + slope).subs(M, 1 + above), (1 - slope).subs(M, 1 + above)):
        require_nonnegative(inside(value), "-1 < slope < 1", strict=True)


@check("SP-13", "the same by counting pairs with a common parent", SYMBOLIC, "all M, alpha, a, orders")
def variance_by_pairs() -> None:
    """Second moments of a pool: mean square A over points and mean B over ordered pairs (i, j), i = j included, so that
    B = E C^2. Two made points share their parent with chance 1/M, else their parents are a pair of points drawn
    independently: E he he' = a^2m B for both cases together. Fresh points are independent of all others."""
    centre, pairs = sp.symbols("c B")
    real = sp.Symbol("real")
    fresh, made = alpha * M, (1 - alpha) * M
    mean_made = damping * centre
    square_real, square_made = V + real**2, V_MADE + mean_made**2
    total = fresh * square_real + fresh * (fresh - 1) * real**2 + 2 * fresh * made * real * mean_made
    total += made * square_made + made * (made - 1) * damping**2 * pairs
    after = total / M**2
    stationary = {centre: pool_gain(alpha, damping) * real}
    mean = alpha * real + (1 - alpha) * mean_made
    require_zero((mean - centre).subs(stationary), "mean c_n(q_inf)")
    guess = CLAIMED + (pool_gain(alpha, damping) * real) ** 2
    require_zero((after - pairs).subs(stationary).subs(pairs, guess), "variance")


@check("SP-13", "V_n(p_inf) from E he_n^2; alpha = 0: V_n = 1, a martingale at t0 = 0", SYMBOLIC, "orders <= 5; all M")
def edges_of_the_variance() -> None:
    """he_n^2 has mean 1 under N(0,1) (orthonormal). Leading denominator 1-e^2 at alpha = 0 vanishes at e = 1."""
    for n in range(6):
        square = smooth(hermite(n) ** 2, x, sp.Integer(0))
        require_zero(square - sp.factorial(n), f"order {n}")
    leading = 1 - ((1 - alpha) * damping) ** 2
    require_zero(leading.subs({alpha: 0, damping: 1}), "martingale")
    require_zero(variance_round(NU, sp.Integer(0), sp.Integer(1), M, V, V_MADE) - (NU + (V_MADE - NU) / M), "no pull")
    require_zero(sp.limit(CLAIMED * M, M, sp.oo) - (alpha * V + (1 - alpha) * V_MADE) / leading, "large M")


def simulated_pools(rng: np.random.Generator, share: float, factor: float, points: int, chains: int, rounds: int):
    """Pools of every chain after the rounds; data are a two-point law with a little width."""
    fresh = round(share * points)

    def real(count):
        signs = np.where(rng.random((chains, count)) < 0.3, 1.5, -0.6)
        return signs + 0.3 * rng.normal(size=(chains, count))

    pool = real(points)
    for _ in range(rounds):
        parents = np.take_along_axis(pool, rng.integers(0, points, (chains, points - fresh)), 1)
        made = factor * parents + (1 - factor**2) ** 0.5 * rng.normal(size=parents.shape)
        pool = np.concatenate([real(fresh), made], 1)
    return pool


@check(
    "SP-13",
    "simulated pools: mean within 5 and variance within 5 standard errors",
    ATTACK,
    "M = 10, 24000 chains, alpha = 0 and .2, orders 1 to 3",
    sole=False,
)
def variance_attack() -> str:
    """Memorising model by brute force; V of both laws from quadrature-free moments of their normal components."""
    rng, worst = np.random.default_rng(13), 0.0
    data = laws.Mixture(np.array([0.3, 0.7]), np.array([1.5, -0.6]), np.array([0.09, 0.09]))
    normal = laws.Mixture(np.ones(1), np.zeros(1), np.ones(1))
    factor, points, chains = 0.75, 10, 24000
    he = (lambda v: v, lambda v: (v**2 - 1) / 2**0.5, lambda v: (v**3 - 3 * v) / 6**0.5)
    # he_n^2 in orthogonal polynomials He_2j
    squares = ({0: 1, 2: 1}, {0: 1, 2: 2, 4: 1 / 2}, {0: 1, 2: 3, 4: 3 / 2, 6: 1 / 6})
    for share in (0.0, 0.2):
        pools = simulated_pools(rng, share, factor, points, chains, 25)
        made = normal if share == 0 else laws.limit(data, share, factor)

        def mean(law, order):
            return float(mixture_hermite_mean(order, law.weights, law.means, law.variances))

        for order in (1, 2, 3):
            scale = (1, 2**0.5, 6**0.5)[order - 1]
            spread = [
                sum(weight * mean(law, n) for n, weight in squares[order - 1].items()) - (mean(law, order) / scale) ** 2
                for law in (data, made)
            ]
            expected = pool_variance(share, factor**order, points, *spread)
            centre = pool_gain(share, factor**order) * mean(data, order) / scale
            found = he[order - 1](pools).mean(1)
            deviations = (found - centre) ** 2
            scores = (
                (found.mean() - centre) / (found.std() / chains**0.5),
                (deviations.mean() - expected) / (deviations.std() / chains**0.5),
            )
            worst = max(worst, *(abs(float(score)) for score in scores))
            require(worst <= 5, f"alpha = {share}, order {order}: z = {scores}")
    return f"largest z {worst:.2f}"


@check("SP-14", "d' = d [1-(1-e)/(k+2)], d^K = Gamma(K+1+e)/(Gamma(1+e) Gamma(K+2)) c*", SYMBOLIC, "all K, e")
def accumulating_pool() -> None:
    """Pool k holds k+1 parts; the new part is e d. The Gamma product by its first value and its ratio."""
    parts, real = sp.symbols("k real", positive=True)
    pool = sp.Symbol("d")
    after = ((parts + 1) * pool + damping * pool) / (parts + 2)
    require_zero(after - pool * (1 - (1 - damping) / (parts + 2)), "round")

    def claimed(k):
        return sp.gamma(k + 1 + damping) / sp.gamma(1 + damping) / sp.gamma(k + 2) * real

    require_zero(claimed(sp.Integer(0)) - real, "start")
    ratio = sp.gammasimp(claimed(parts + 1) / claimed(parts))
    require_zero(sp.simplify(ratio - (1 - (1 - damping) / (parts + 2))), "ratio")
    path = accumulate_path([damping] * 5, real)
    for k, value in enumerate(path):
        require_zero(sp.gammasimp(claimed(sp.Integer(k)) / value) - 1, f"K = {k}")


@check(
    "SP-14", "annealed: the factor making d^(k+1) is 1-(1-e_(k+1))/(k+2)", SYMBOLIC, "all schedules, K <= 6 written out"
)
def annealed_accumulation() -> None:
    """The list of laws kept by definition: p_(k+1) is pool k smoothed by t_(k+1)."""
    factors, real = sp.symbols("e1:7"), sp.Symbol("real")
    kept, value = [real], real
    for k, factor in enumerate(factors):
        kept.append(mode_path(sp.Integer(0), [factor], real, sum(kept) / sp.Integer(len(kept)))[1])
        value = value * (1 - (1 - factor) / (k + 2))
        require_zero(sp.expand(sum(kept) / sp.Integer(len(kept)) - value), f"pool {k + 1}")
        require_zero(sp.expand(accumulate_path(factors, real)[k + 1] - value), f"reference {k + 1}")


@check(
    "SP-14",
    "d^K ~ K^-(1-e)/Gamma(1+e): K^(1-e) Gamma(K+1+e)/Gamma(K+2) -> 1",
    SYMBOLIC,
    "all e in (0,1)",
    uses="Wendel: (K/(K+s))^(1-s) <= Gamma(K+s)/(K^s Gamma(K)) <= 1 for 0 < s < 1",
)
def power_law() -> None:
    """With K+1 for K and s = e: Gamma(K+1+e)/Gamma(K+2) = [Gamma(K+1+e)/Gamma(K+1)]/(K+1), so both sides of Wendel's
    inequality times K^(1-e) (K+1)^(e-1) go to 1."""
    count = sp.Symbol("K", positive=True)
    require_zero(sp.gammasimp(sp.gamma(count + 2) / sp.gamma(count + 1)) - (count + 1), "one factor")
    upper = count ** (1 - damping) * (count + 1) ** (damping - 1)
    lower = upper * ((count + 1) / (count + 1 + damping)) ** (1 - damping)
    for side in (upper, lower):
        require_zero(sp.limit(sp.log(side.subs(damping, sp.Rational(1, 3))), count, sp.oo), "e = 1/3")
        logarithm = sp.expand_log(sp.log(side), force=True)
        slope = sp.simplify(logarithm / (1 - damping))
        require_zero(sp.limit(slope, count, sp.oo), "limit of the logarithm")


@check(
    "SP-14",
    "permanent error: exp(-2 sum m kappa t_k/(k+1)) <= d^K/c* <= 1-(1-e_1)/2, decreasing",
    SIGN,
    "all schedules",
)
def permanent_error() -> None:
    """Factors lie in (1/2, 1): (1-e)/(k+2) <= 1/2, and the first one is below 1. So the limit is neither 0 nor c*."""
    count = sp.Symbol("k", positive=True)
    factor = 1 - (1 - damping) / (count + 2)
    require_nonnegative(inside(1 - factor), "falls", strict=True)
    require_nonnegative(inside(factor - sp.Rational(1, 2)), "at least one half", strict=True)
    point = sp.Symbol("point", positive=True)
    # 1-x-e^(-2x) is concave, 0 at 0 and positive at 1/2
    slack = 1 - point - sp.exp(-2 * point)
    require_zero(slack.subs(point, 0), "x = 0")
    require(bool(slack.subs(point, sp.Rational(1, 2)) > 0), "x = 1/2")
    require_nonnegative((-sp.diff(slack, point, 2)).subs(sp.exp(-2 * point), 1 / (1 + point)), "concave", strict=True)


@check(
    "SP-14",
    "the path by definition = Gamma product; K^(1-e) d^K within 1/K of 1/Gamma(1+e)",
    INTERVAL,
    "e = 1/20 ... 19/20, K = 400",
    sole=False,
)
def accumulate_numbers() -> None:
    """Balls: |K^(1-e) Gamma(K+1+e)/Gamma(K+2) - 1| <= 1/K, and an accumulating chain written out."""
    with ctx.workprec(200):
        for step in range(1, 20, 3):
            factor, count = arb(step) / 20, 400
            last = accumulate_path([factor] * count, arb(1))[-1]
            claimed = (count + 1 + factor).gamma() / (1 + factor).gamma() / arb(count + 2).gamma()
            require(last.overlaps(claimed) and last.rad() < 1e-40, f"e = {step}/20: product")
            scaled = claimed * (1 + factor).gamma() * arb(count) ** (1 - factor)
            require(abs(scaled - 1) < arb(1) / count, f"e = {step}/20: {scaled.str(6)}")
