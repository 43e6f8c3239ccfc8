"""Errors of every round, and where they settle (SP-3, SP-12)."""

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.spectral import laws
from proofs_check.spectral.tools import a, alpha, damping, gain, hermite, inside, mode_path, x


@check(
    "SP-12",
    "x' <= q x + eps gives x_k <= q^k x_0 + eps (1-q^k)/(1-q): the balls of W_2 and W_1",
    SYMBOLIC,
    "all k, q < 1",
)
def ball_around_the_limit() -> None:
    """Triangle inequality through T p_inf = p_inf with the factors of SP-8, then induction, X = q^k."""
    rate, power, start, size = sp.symbols("q X start eps")

    def bound(rest):
        return rest * start + size * (1 - rest) / (1 - rate)

    require_zero(bound(sp.Integer(1)) - start, "k = 0")
    require_zero(rate * bound(power) + size - bound(rate * power), "step")
    require_zero(bound(sp.Integer(0)) - size / (1 - rate), "limit")


@check(
    "SP-12",
    "constant mode error: delta/(1-(1-alpha)e); independent: variance 1/(1-[(1-alpha)e]^2)",
    SYMBOLIC,
    "all alpha, e, orders",
)
def mode_errors() -> None:
    """Gap to the ideal fixed point: D' = (1-alpha) e D + delta."""
    real, gap, delta, variance = sp.symbols("real gap delta variance")
    ideal = gain(alpha, damping) * real
    after = mode_path(alpha, [damping], real, ideal + gap)[1] + delta - ideal
    require_zero(after - (1 - alpha) * damping * gap - delta, "gap of a round")
    settled = delta / (1 - (1 - alpha) * damping)
    require_zero(after.subs(gap, settled) - settled, "constant error")
    fixed = variance / (1 - ((1 - alpha) * damping) ** 2)
    slope = sp.diff(after, gap)
    # zero-mean errors independent of the past: variances add
    require_zero(slope**2 * fixed + variance - fixed, "independent errors")


@check("SP-12", "amplification falls with the order, from 1/alpha at e = 1 to 1", SIGN, "all 0 < alpha, e < 1")
def amplification() -> None:
    """Of both kinds of errors."""
    for squared in (1, 2):
        value = 1 / (1 - ((1 - alpha) * damping) ** squared)
        require_nonnegative(inside(sp.diff(value, damping)), "grows with e", strict=True)
        require_nonnegative(inside(value - 1), "at least 1", strict=True)
    require_zero((1 / (1 - (1 - alpha) * damping)).subs(damping, 1) - 1 / alpha, "low order")
    require_zero((1 / (1 - (1 - alpha) * damping)).subs(damping, 0) - 1, "high order")


@check(
    "SP-12",
    "annealed: limsup W_2(p_K, p*) <= limsup eps_k/(1-sqrt(1-alpha))",
    SIGN,
    "all alpha, schedules t_k -> 0",
    uses="x' <= q x + eps_k with q < 1 has limsup x <= limsup eps_k/(1-q)",
)
def annealed_ball() -> None:
    """Every round contracts by a_k sqrt(1-alpha) <= sqrt(1-alpha) towards the ideal chain, which reaches p*."""
    root = sp.Symbol("root", positive=True)
    require_nonnegative(inside((1 - a) * root), "slower than without truncation", strict=True)
    size = sp.Symbol("eps")
    settled = size / (1 - sp.sqrt(1 - alpha))
    require_zero(sp.sqrt(1 - alpha) * settled + size - settled, "fixed point of the majorant")


@check(
    "SP-12",
    "a shift of the state couples orders: He_n(x+s) = sum C(n,j) s^(n-j) He_j",
    SYMBOLIC,
    "orders <= 6; a rescaling of order 2",
)
def state_errors_couple() -> None:
    """So the error of order 2 contains 2 s c_1, which moves with the state."""
    shift = sp.Symbol("shift")
    for n in range(7):
        claimed = sum(sp.binomial(n, j) * shift ** (n - j) * hermite(j) for j in range(n + 1))
        require_zero(sp.expand(hermite(n, x + shift)) - sp.expand(claimed), f"order {n}")
    scale = sp.Symbol("scale")
    scaled = sp.expand(hermite(4, scale * x))
    rest = sp.expand(scaled - scale**4 * hermite(4) - 6 * scale**2 * (scale**2 - 1) * hermite(2))
    require_zero(rest - 3 * (scale**2 - 1) ** 2, "order 4 holds orders 2 and 0")


@check(
    "SP-12",
    "a chain shifted by eps in every round stays in both balls; W_1 ball is reached",
    ATTACK,
    "20 random mixtures, 12 rounds",
    sole=False,
)
def ball_attack() -> str:
    """A shift is an error of exactly eps in W_1 and W_2. From p_inf on, W_k <= eps (1-q^k)/(1-q)."""
    rng, largest = np.random.default_rng(120), [0.0, 0.0]
    for _ in range(20):
        share, factor, size = rng.uniform(0.2, 0.9), rng.uniform(0.5, 0.999), 10 ** rng.uniform(-2, 0)
        real = laws.random_mixture(rng)
        target = laws.limit(real, share, factor, 1e-12)
        law = target
        for count in range(1, 13):
            law = laws.chain_round(real, law, share, factor).moved(size)
            if count not in (1, 4, 12):
                continue
            for i, rate in enumerate(((1 - share) * factor, (1 - share) ** 0.5 * factor)):
                found, error = laws.wasserstein(law, target, i + 1, points=801)
                bound = size * (1 - rate**count) / (1 - rate)
                # a shift has equality in the first round
                require(found <= bound * (1 + 1e-12) + error, f"W{i + 1}, round {count}: {found / bound:.8f}")
                if count > 1:
                    largest[i] = max(largest[i], found / bound)
    return f"largest W1 {largest[0]:.4f}, W2 {largest[1]:.4f} of the bound"


@check(
    "SP-3",
    "score or discretisation errors: high orders contract by (1-alpha) a^m and settle at less",
    SIGN,
    "all 0 < a, alpha, e < 1",
)
def high_orders_contract_faster() -> None:
    """From order m to m+1 the factor of a round and the settled error both fall."""
    factor = (1 - alpha) * damping
    require_nonnegative(inside(factor - factor.subs(damping, a * damping)), "factor", strict=True)
    settled = 1 / (1 - factor)
    require_nonnegative(inside(settled - settled.subs(damping, a * damping)), "settled error", strict=True)
