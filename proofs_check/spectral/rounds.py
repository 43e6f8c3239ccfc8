"""The round, the law after k rounds and its limit: SP-1, SP-4, SP-5."""

from fractions import Fraction

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SYMBOLIC, check, require, require_zero
from proofs_check.spectral import laws
from proofs_check.spectral.tools import a, alpha, kappa, t, x

# S as a letter: smoothing commutes with mixing and with itself, so laws are polynomials in it times P0, P
S, P, P0, X = sp.symbols("S P P_0 X", positive=True)
LIMIT = alpha * S / (1 - (1 - alpha) * S) * P


def next_law(law):
    """One round on an expression in S, P, P0."""
    return S * (alpha * P + (1 - alpha) * law)


def characteristic(transform, omega, factor):
    """Characteristic function of factor X + sqrt(1 - factor^2) Z from that of X."""
    return transform(factor * omega) * sp.exp(-(1 - factor**2) * omega**2 / 2)


@check("SP-4", "S_t solves the forward equation from every start; N(0,1) is stationary", SYMBOLIC, "all kappa, t, x")
def kernel_of_the_forward_process() -> None:
    """d_t k = kappa d_y(y k) + kappa d_yy k for the normal kernel of mean e^(-kappa t) x, variance 1 - e^(-2 kappa t).

    Divided by k it is a rational identity in the logarithm of k. Axes are independent, so one is enough.
    """
    y = sp.Symbol("y", real=True)
    factor = sp.exp(-kappa * t)
    log_kernel = -((y - factor * x) ** 2) / (2 * (1 - factor**2)) - sp.log(1 - factor**2) / 2
    slope = sp.diff(log_kernel, y)
    drift = kappa * (1 + y * slope) + kappa * (sp.diff(slope, y) + slope**2)
    require_zero(sp.simplify(sp.diff(log_kernel, t) - drift), "forward equation")
    stationary = -(y**2) / 2
    slope = sp.diff(stationary, y)
    require_zero(1 + y * slope + sp.diff(slope, y) + slope**2, "N(0,1)")
    require(factor.subs(t, 0) == 1 and sp.limit(1 - factor**2, t, 0) == 0, "start")


@check("SP-4", "S_s S_t = S_(s+t), and S is linear in the law", SYMBOLIC, "every law, by its characteristic function")
def semigroup() -> None:
    """Characteristic functions determine laws; d dimensions have |omega|^2 for omega^2."""
    omega, b = sp.symbols("omega b", positive=True)
    transform, other = sp.Function("phi"), sp.Function("psi")

    def once(freq):
        return characteristic(transform, freq, a)

    gap = characteristic(once, omega, b) / characteristic(transform, omega, a * b)
    require(sp.simplify(gap) == 1, "semigroup")
    require_zero(sp.exp(-kappa * t) * sp.exp(-kappa * x) - sp.exp(-kappa * (t + x)), "factors multiply")
    mixed = characteristic(lambda f: alpha * transform(f) + (1 - alpha) * other(f), omega, a)
    apart = alpha * characteristic(transform, omega, a) + (1 - alpha) * characteristic(other, omega, a)
    require_zero(sp.expand(mixed - apart), "linear")


@check("SP-4", "p_k = (1-alpha)^k S^k p_0 + alpha sum (1-alpha)^(j-1) S^j p*, weights sum to 1", SYMBOLIC, "all k")
def law_after_k_rounds() -> None:
    """Induction with X = ((1-alpha) S)^k: the claim at k+1 has X times (1-alpha) S, and the sum gains alpha S X."""
    ratio = (1 - alpha) * S

    def total(power):
        return alpha * S * (1 - power) / (1 - ratio)

    def claim(power):
        return power * P0 + total(power) * P

    require_zero(claim(sp.Integer(1)) - P0, "k = 0")
    require_zero(next_law(claim(X)) - claim(ratio * X), "step")
    require_zero(total(ratio * X) - total(X) - alpha * S * X, "the sum gains its next term")
    require_zero(total(sp.Integer(1)), "empty sum")
    require_zero(claim(X).subs({S: 1, P: 1, P0: 1}) - 1, "weights")


def exact_round(made: dict, real: dict, share: Fraction, factor: Fraction) -> dict:
    """One round on normal components {(mean, variance): weight} in rationals."""
    out: dict = {}
    for law, part in ((real, share), (made, 1 - share)):
        for (mean, variance), weight in law.items():
            key = (factor * mean, factor**2 * variance + 1 - factor**2)
            out[key] = out.get(key, 0) + part * weight
    return out


def exact_claim(start: dict, real: dict, share: Fraction, factor: Fraction, rounds: int) -> dict:
    """The same law from the closed form."""
    ages = [(real, j, share * (1 - share) ** (j - 1)) for j in range(1, rounds + 1)]
    out: dict = {}
    for law, age, part in [(start, rounds, (1 - share) ** rounds), *ages]:
        for (mean, variance), weight in law.items():
            key = (factor**age * mean, 1 + factor ** (2 * age) * (variance - 1))
            out[key] = out.get(key, 0) + part * weight
    return out


def random_fraction(rng: np.random.Generator, low: int, high: int) -> Fraction:
    """Rational with denominator 12."""
    return Fraction(int(rng.integers(low, high)), 12)


@check("SP-4", "components of p_k by rounds = by the formula", ATTACK, "40 exact rational mixtures, k <= 6", sole=False)
def law_attack() -> None:
    """Every component, its mean, variance and weight, as rationals."""
    rng = np.random.default_rng(4)
    for _ in range(40):
        share, factor = random_fraction(rng, 0, 13), random_fraction(rng, 1, 13)
        start, real = (
            {(random_fraction(rng, -30, 31), random_fraction(rng, 0, 30)): Fraction(1, 2) for _ in range(2)}
            for _ in range(2)
        )
        law = start
        for rounds in range(1, 7):
            law = exact_round(law, real, share, factor)
            require(law == exact_claim(start, real, share, factor, rounds), f"round {rounds}")


@check("SP-5", "p_inf is the only fixed point, q_inf its pool, p_inf = S q_inf", SYMBOLIC, "all alpha in (0,1]")
def fixed_point() -> None:
    """In the letter S; a difference D of two fixed points has D = (1-alpha) S D, so its total mass is 0 (SP-1)."""
    other = sp.Symbol("other")
    require_zero(next_law(LIMIT) - LIMIT, "fixed point")
    pool = alpha / (1 - (1 - alpha) * S) * P
    require_zero(alpha * P + (1 - alpha) * LIMIT - pool, "pool of the limit")
    require_zero(S * pool - LIMIT, "smoothed pool")
    require_zero(next_law(LIMIT) - next_law(other) - (1 - alpha) * S * (LIMIT - other), "difference")
    series = sp.series(LIMIT / P, S, 0, 7).removeO()
    require_zero(series - sum(alpha * (1 - alpha) ** (j - 1) * S**j for j in range(1, 7)), "terms of the mixture")


@check(
    "SP-5",
    "age G ~ Geom(alpha): mass 1, E z^G = alpha z/(1-(1-alpha)z), mean 1/alpha, E G^2 = (2-alpha)/alpha^2",
    SYMBOLIC,
    "all alpha in (0,1], 0 <= z <= 1",
)
def geometric_age() -> None:
    """Partial sums by telescoping; the rest is ((1-alpha) z)^k times a constant and vanishes."""
    point, power = sp.symbols("point power", positive=True)
    ratio = (1 - alpha) * point

    def partial(rest):
        return alpha * point * (1 - rest) / (1 - ratio)

    require_zero(
        partial(ratio * power) - partial(power) - alpha * point * power, "next term alpha (1-alpha)^(k) z^(k+1)"
    )
    transform = partial(sp.Integer(0))
    require_zero(transform.subs(point, 1) - 1, "mass")
    mean = sp.diff(transform, point).subs(point, 1)
    require_zero(mean - 1 / alpha, "mean")
    require_zero(sp.diff(transform, point, 2).subs(point, 1) + mean - (2 - alpha) / alpha**2, "second moment")


@check("SP-5", "a^G X + sqrt(1-a^2G) Z has the law S^G p*; a normal stays normal", SYMBOLIC, "all a, G, mu, variance")
def age_by_age() -> None:
    """S^G = S with a^G by the semigroup; the transform of N(mu, s) goes to that of N(a mu, 1 + a^2 (s - 1))."""
    omega, mu, s = sp.symbols("omega mu s", real=True)

    def normal(mean, variance):
        return lambda freq: sp.exp(sp.I * mean * freq - variance * freq**2 / 2)

    ratio = characteristic(normal(mu, s), omega, a) / normal(a * mu, 1 + a**2 * (s - 1))(omega)
    require(sp.simplify(ratio) == 1, "normal component")


@check(
    "SP-1",
    "p_k - p_inf = ((1-alpha) S)^k (p_0 - p_inf): TV <= (1-alpha)^k TV(p_0, p_inf), so a unique limit",
    SYMBOLIC,
    "all alpha in (0,1], p_0, p*, k",
    uses="a Markov kernel does not increase total variation",
)
def geometric_convergence() -> None:
    """Insert the law after k rounds, X = ((1-alpha) S)^k; total variation is scaled by (1-alpha)^k and not increased
    by S^k."""
    law = X * P0 + alpha * S * (1 - X) / (1 - (1 - alpha) * S) * P
    require_zero(law - LIMIT - X * (P0 - LIMIT), "exact gap")


@check("SP-1", "older copies are closer to N(0,1): W_2(S^j p*, N(0,1)) falls by a per age", SYMBOLIC, "every p*, d")
def more_and_more_gaussian() -> None:
    """Optimal (X, Y), Y normal; aX + bZ and aY + bZ with the same Z: the second is normal again, the cost is a^2."""
    first, second, noise, b = sp.symbols("first second noise b", real=True)
    require_zero((a * first + b * noise - a * second - b * noise) ** 2 - a**2 * (first - second) ** 2, "cost")
    require_zero((a**2 + b**2).subs(b, sp.sqrt(1 - a**2)) - 1, "variance of a Y + b Z")


@check("SP-1", "TV(p_k, p_inf) <= (1-alpha)^k TV(p_0, p_inf)", ATTACK, "30 random mixtures p_0, p*, k <= 5", sole=False)
def convergence_attack() -> str:
    """The slack is the change of either integral when half of the nodes are left out."""
    rng, largest = np.random.default_rng(1), 0.0
    for _ in range(30):
        share, factor = rng.uniform(0.15, 0.9), rng.uniform(0.4, 0.999)
        real, law = laws.random_mixture(rng), laws.random_mixture(rng, spread=4)
        target = laws.limit(real, share, factor)
        start, error = laws.total_variation(law, target, 801)
        for rounds in range(1, 6):
            law = laws.chain_round(real, law, share, factor)
            found, slack = laws.total_variation(law, target, 801)
            rate = (1 - share) ** rounds
            require(found <= rate * start + slack + rate * error, f"round {rounds}: {found / (rate * start):.6f}")
            largest = max(largest, found / (rate * start))
    return f"largest ratio {largest:.4f}"
