"""Stationary law, divergences, smoothing: CON-14, CON-15, CON-18."""

from fractions import Fraction
from math import log

import mpmath as mp
import numpy as np
import sympy as sp
from scipy import stats

from proofs_check.contamination import tools
from proofs_check.contamination.tools import A, alpha, n
from proofs_check.ground import ATTACK, SYMBOLIC, check, require, require_zero

p, x, s = sp.symbols("p x s", positive=True)


@check(
    "CON-14",
    "Beta(s p, s (1 - p)) carries no flux of the diffusion with drift s (p - x)/2 and variance x (1 - x)",
    SYMBOLIC,
    "all s, p",
    uses="a Wright-Fisher chain with rare mutation converges to its diffusion",
)
def stationary_beta() -> None:
    """drift f = (x (1 - x) f)'/2, divided by f: the logarithm of the density is enough."""
    log_density = (s * p - 1) * sp.log(x) + (s * (1 - p) - 1) * sp.log(1 - x)
    flux = s * (p - x) / 2 - ((1 - 2 * x) + x * (1 - x) * sp.diff(log_density, x)) / 2
    require_zero(sp.simplify(flux), "flux")


@check(
    "CON-14",
    "a round has drift alpha (p - x) and variance x (1 - x)/n to leading order: s = 2 n alpha",
    SYMBOLIC,
    "n -> infinity",
)
def clock() -> None:
    mixed = alpha * p + (1 - alpha) * x
    require_zero(sp.expand(mixed - x - alpha * (p - x)), "drift")
    small = sp.Symbol("h", positive=True)
    variance = (mixed * (1 - mixed)).subs(alpha, s * small / 2)
    require_zero(sp.limit(variance, small, 0) - x * (1 - x), "variance times n")


@check("CON-14", "variance and fourth central moment of the Beta law; the rest to CON-4", SYMBOLIC, "all s, p")
def beta_moments() -> None:
    raw = [sp.Integer(1)]
    for k in range(4):
        raw.append(raw[-1] * (s * p + k) / (s + k))
    central = [sum(sp.binomial(order, k) * raw[k] * (-p) ** (order - k) for k in range(order + 1)) for order in (2, 4)]
    spread = p * (1 - p)
    require_zero(central[0] - spread / (s + 1), "variance")
    require_zero(central[1] - 3 * spread * (spread * (s - 6) + 2) / ((s + 1) * (s + 2) * (s + 3)), "fourth")
    exact = 1 / (n * alpha * (2 - alpha) + (1 - alpha) ** 2)
    simple = 1 / (2 * n * alpha + 1)
    require_zero(exact / simple - 1 - alpha * (n * alpha + 2 - alpha) * exact, "rest")


def two_token(size: int, share: float, chance: float) -> np.ndarray:
    """Stationary law of the count of a token, from the whole transition matrix."""
    counts = np.arange(size + 1)
    matrix = stats.binom.pmf(counts[None], size, (share * chance + (1 - share) * counts / size)[:, None])
    system = np.vstack([matrix.T - np.eye(size + 1), np.ones(size + 1)])
    return np.linalg.lstsq(system, np.r_[np.zeros(size + 1), 1.0], rcond=None)[0]


CASES = [(size, s_, chance) for size in (60, 150, 300) for s_ in (0.5, 2.0, 6.0) for chance in (0.02, 0.1, 0.4)]


@check(
    "CON-14",
    "margins of variance, fourth moment and absence against the exact two-token chain",
    ATTACK,
    f"{len(CASES)} chains",
)
def stationary_margins() -> str:
    worst = {"variance": 0.0, "fourth": 0.0, "absence": 0.0}
    for size, total, chance in CASES:
        share = total / (2 * size)
        law, place = two_token(size, share, chance), np.arange(size + 1) / size
        spread, own = chance * (1 - chance), total * chance
        exact = size * share * (2 - share) + (1 - share) ** 2
        claims = {
            "variance": (law @ (place - chance) ** 2, spread / (total + 1), share * (size * share + 2 - share) / exact),
            "fourth": (
                law @ (place - chance) ** 4,
                3 * spread * (spread * (total - 6) + 2) / ((total + 1) * (total + 2) * (total + 3)),
                4 * share + 4 / size,
            ),
        }
        if own <= 0.8:
            low = float(stats.beta.cdf(1 / (2 * size), own, total - own))
            claims["absence"] = (law[0], low, own**2 + 2 * share + 2 / size)
        for name, (right, claim, slack) in claims.items():
            ratio = abs(right - claim) / (slack * claim)
            require(ratio <= 1 + 1e-6, f"{name} at n = {size}, s = {total}, p = {chance}: {ratio:.2f}")
            worst[name] = max(worst[name], float(ratio))
    return ", ".join(f"{name} {ratio:.2f}" for name, ratio in worst.items()) + " of the margin"


@check(
    "CON-14",
    "how far the absence form is off: 1 % low at c = 0.1, 30 % at 0.8, half at 1.2",
    ATTACK,
    "n = 400",
    sole=False,
)
def absence_errors() -> str:
    found = []
    for own, low, high in ((0.1, 0.0, 0.02), (0.2, 0.015, 0.045), (0.8, 0.2, 0.4), (1.2, 0.4, 0.6)):
        size, total = 400, 4.0
        law = two_token(size, total / (2 * size), own / total)
        off = 1 - stats.beta.cdf(1 / (2 * size), own, total - own) / law[0]
        require(low <= off <= high, f"c = {own}: {off:.3f}")
        found.append(f"{off:.3f}")
    return ", ".join(found)


@check("CON-15", "E chi^2 = (K - 1) A, from the diagonal of CON-2", SYMBOLIC, "all K, p*")
def chi_square() -> None:
    tokens = sp.symbols("q_1:5", positive=True)
    law = [q / sum(tokens) for q in tokens]
    require_zero(sp.together(sum(A * q * (1 - q) / q for q in law)) - (len(tokens) - 1) * A, "trace")


@check("CON-15", "KL(P|p) = chi^2/2 to second order", SYMBOLIC, "all p*")
def entropy_to_second_order() -> None:
    series = sp.series((1 + x) * sp.log(1 + x) - x, x, 0, 5).removeO()
    require_zero(series - (x**2 / 2 - x**3 / 6 + x**4 / 12), "expansion")


@check("CON-15", "E TV <= sqrt(A H* K)/2", SYMBOLIC, "all K, p*", uses="Cauchy and Schwarz, Jensen")
def total_variation() -> None:
    """(sum |e_i|)^2 <= K sum e_i^2, and the mean of a root is at most the root of the mean."""
    first, second = sp.symbols("e f", real=True)
    require_zero(2 * (first**2 + second**2) - (first + second) ** 2 - (first - second) ** 2, "two terms")


@check("CON-15", "margin of KL where every p_i >= 4 A", ATTACK, "12 exact two-token chains of 6 rounds")
def entropy_margin() -> str:
    rng, worst = np.random.default_rng(15), 0.0
    for _ in range(12):
        size, chance, share = int(rng.integers(60, 300)), float(rng.uniform(0.15, 0.5)), float(rng.uniform(0.3, 1))
        counts = np.arange(size + 1)
        law, value = stats.binom.pmf(counts, size, chance), 1 / size
        matrix = stats.binom.pmf(counts[None], size, (share * chance + (1 - share) * counts / size)[:, None])
        place = counts / size
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = [np.where(q > 0, q * np.log(q / r), 0) for q, r in ((place, chance), (1 - place, 1 - chance))]
        for _ in range(6):
            law, value = law @ matrix, 1 / size + (1 - 1 / size) * (1 - share) ** 2 * value
            if chance >= 4 * value:
                slack = value**2 * (1 + 1 / chance + 1 / (1 - chance)) / 8
                ratio = abs(law @ sum(parts) - value / 2) / slack
                require(ratio <= 1, f"n = {size}, p = {chance:.2f}: {ratio:.2f}")
                worst = max(worst, float(ratio))
    return f"largest share of the margin {worst:.2f}"


@check(
    "CON-18",
    "beta_t of the mean under smoothing, its limit, and no token absorbed",
    SYMBOLIC,
    "all lambda, K, n, alpha",
)
def smoothing() -> None:
    """E fit = (1 - gamma) E P + gamma u, and E P - p* = (1 - alpha) beta (u - p*)."""
    gamma, beta, uniform = sp.symbols("gamma beta u", positive=True)
    mean = (1 - gamma) * (p + (1 - alpha) * beta * (uniform - p)) + gamma * uniform
    step = gamma + (1 - gamma) * (1 - alpha) * beta
    require_zero(sp.expand(mean - p - step * (uniform - p)), "step")
    limit = gamma / (1 - (1 - gamma) * (1 - alpha))
    require_zero(step.subs(beta, limit) - limit, "limit")
    require_zero(limit.subs(alpha, 0) - 1, "no real data")
    tokens, added = sp.symbols("K lambda", positive=True)
    share = tokens * added / (n + tokens * added)
    require_zero((n * p + added) / (n + tokens * added) - ((1 - share) * p + share / tokens), "a fit")


@check("CON-18", "mean of enumerated smoothed chains", ATTACK, "4 chains in rationals", sole=False)
def smoothing_enumerated() -> None:
    rng = np.random.default_rng(18)
    for _ in range(4):
        truth, added, share, size = tools.random_truth(rng, 3), Fraction(1, 2), tools.random_share(rng), 3
        states, pull = tools.first_of(truth, size, added), Fraction(3, 2) / (size + Fraction(3, 2))
        beta = pull
        for _ in range(2):
            states = tools.round_of(states, truth, share, size, added)
            beta = pull + (1 - pull) * (1 - share) * beta
        for i in range(3):
            found = tools.mean_of(states, lambda table, i=i: table[i])
            require(found == truth[i] + beta * (Fraction(1, 3) - truth[i]), "mean")


__all__ = ["log", "mp"]
