"""Truncation times that change from round to round (SP-3, SP-11) and the floor they should end at (SP-19)."""

from math import exp, log1p

import numpy as np
import sympy as sp
from flint import arb, ctx

from proofs_check.ground import (
    ATTACK,
    INTERVAL,
    SIGN,
    SYMBOLIC,
    check,
    require,
    require_nonnegative,
    require_zero,
)
from proofs_check.spectral import laws
from proofs_check.spectral.tools import alpha, damping, inside, kappa, mode_path, t

LEMMA = "x' = A_k x + B_k with A_k -> A, |A| < 1, and B_k -> B tends to B/(1-A)"


@check(
    "SP-11",
    "p_K is the mixture with tau_(j,K) = t_j + ... + t_K",
    SYMBOLIC,
    "all t_k, alpha; K <= 7 written out, the step alike for every K",
)
def annealed_law() -> None:
    """Letters S_k = S_(t_k); a step multiplies every old term by (1-alpha) S_(K+1) and adds alpha S_(K+1) P."""
    rounds = sp.symbols("S1:8", positive=True)
    start, real = sp.symbols("P0 P")
    path = mode_path(alpha, rounds, real, start)
    for count, law in enumerate(path):
        claimed = (1 - alpha) ** count * sp.prod(rounds[:count]) * start
        for j in range(1, count + 1):
            claimed += alpha * (1 - alpha) ** (count - j) * sp.prod(rounds[j - 1 : count]) * real
        require_zero(sp.expand(law - claimed), f"K = {count}")
    weights = path[-1].subs({letter: 1 for letter in (*rounds, start, real)})
    require_zero(sp.expand(weights) - 1, "weights")


@check(
    "SP-11",
    "u_K = sum w_j e^(-2 kappa tau_j): 1-u' <= (1-e^2) + (1-alpha)(1-u), so W_2 -> 0 if t_k -> 0",
    SIGN,
    "all alpha in (0,1), every schedule; p_0 = p*",
    uses=LEMMA,
)
def annealing_repairs() -> None:
    """Coupling age by age: W_2^2 <= sum w_j [(1-e_j)^2 E|X|^2 + (1-e_j^2) d] <= (1-u_K)(E|X|^2 + d), as (1-e)^2 <=
    1-e^2. One round takes u to e^2 (alpha + (1-alpha) u). Another p_0 adds the weight (1-alpha)^K -> 0."""
    level = sp.Symbol("level", positive=True)
    after = mode_path(alpha, [damping**2], sp.Integer(1), level)[1]
    require_zero(1 - after - ((1 - damping**2) + damping**2 * (1 - alpha) * (1 - level)), "recursion")
    slack = (1 - damping**2) + (1 - alpha) * (1 - level) - (1 - after)
    require_nonnegative(inside(slack.subs(level, 1 / (1 + level))), "linear bound", strict=True)
    require_nonnegative(inside((1 - damping**2) - (1 - damping) ** 2), "squares", strict=True)


def weighted_ages(share: float, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights w_j and accumulated times of the mixture from p_0 = p*, the term of p_0 last."""
    count = len(times)
    tau = np.cumsum(times[::-1])
    weights = share * (1 - share) ** np.arange(count)
    return np.r_[weights, (1 - share) ** count], np.r_[tau, tau[-1]]


@check("SP-11", "both W_2 bounds from p_0 = p*", ATTACK, "40 random mixtures on the line, random schedules", sole=False)
def annealed_bounds_attack() -> str:
    """The chain by rounds against the sums of the bounds; slack is the quadrature's own error."""
    rng, largest = np.random.default_rng(11), [0.0, 0.0]
    for _ in range(40):
        share, count = rng.uniform(0.02, 1), int(rng.integers(1, 9))
        times, real = 10 ** rng.uniform(-4, 0, count), laws.random_mixture(rng)
        law = real
        for time in times:
            law = laws.chain_round(real, law, share, exp(-time))
        found, error = laws.wasserstein(real, law)
        weights, tau = weighted_ages(share, times)
        spread = float(weights @ np.expm1(-tau) ** 2)
        information, rest = laws.fisher(real)
        bounds = spread * (information + rest), spread * real.moment(2) - float(weights @ np.expm1(-2 * tau))
        for i, bound in enumerate(bounds):
            require(found <= bound**0.5 + error, f"bound {i + 1}: {found / bound**0.5:.8f}")
            largest[i] = max(largest[i], found / bound**0.5)
    return f"largest over bound: Fisher {largest[0]:.4f}, second {largest[1]:.4f}"


@check(
    "SP-11",
    "mode error: eps' = e (1-alpha) eps - (1-e) c*; from another p_0 the extra term is (1-alpha)^K e_1..e_K",
    SYMBOLIC,
    "all K, schedules",
)
def error_recursion() -> None:
    """The round is affine: two starts differ by the product of the slopes."""
    error, real, other = sp.symbols("error real other")
    after = mode_path(alpha, [damping], real, real + error)[1] - real
    require_zero(after - (damping * (1 - alpha) * error - (1 - damping) * real), "recursion")
    gap = after - (mode_path(alpha, [damping], real, real + other)[1] - real)
    require_zero(gap - (1 - alpha) * damping * (error - other), "difference of starts")


@check(
    "SP-11",
    "rho_K = -eps/(m kappa t_K c*): limit 1/alpha for slow t_k, 1/(1-(1-alpha)/r) for t_1 r^(k-1), r > 1-alpha",
    SYMBOLIC,
    "all m, kappa, alpha, r",
    uses=LEMMA,
)
def annealed_rates() -> None:
    """rho' = (1-alpha) e (t/t') rho + (1-e)/(m kappa t'), whose coefficients tend to (1-alpha)/r and 1; slow means
    r = 1. At r = 1-alpha every round adds about 1, so rho_K ~ K and t_K = (t_1/r) r^K. Below, eps_K/(1-alpha)^K
    converges: its increments are (1-e_k)/(1-alpha)^k, of order (r/(1-alpha))^k."""
    order, ratio, rho, real = sp.symbols("m r rho real", positive=True)
    new = ratio * t
    factor = sp.exp(-order * kappa * new)
    error = -order * kappa * t * real * rho
    after = mode_path(alpha, [factor], real, real + error)[1] - real
    scaled = sp.expand(-after / (order * kappa * new * real))
    slope = sp.simplify(sp.diff(scaled, rho))
    require_zero(slope - (1 - alpha) * factor / ratio, "slope")
    require_zero(sp.limit(slope, t, 0) - (1 - alpha) / ratio, "limit of the slope")
    require_zero(sp.limit(scaled.subs(rho, 0), t, 0) - 1, "limit of the increment")
    fixed = 1 / (1 - (1 - alpha) / ratio)
    require_zero((1 - alpha) / ratio * fixed + 1 - fixed, "fixed point")
    require_zero(fixed.subs(ratio, 1) - 1 / alpha, "slow")
    require_zero(slope.subs(ratio, 1 - alpha) - factor.subs(ratio, 1 - alpha), "slope at r = 1-alpha tends to 1")
    start, count = sp.symbols("t_1 K", positive=True)
    require_zero(
        sp.powsimp(count * start * ratio ** (count - 1) - start / ratio * count * ratio**count), "printed form"
    )
    grown = after / (1 - alpha) - error * factor
    require_zero(sp.expand(grown + (1 - factor) * real / (1 - alpha)), "increment of eps/(1-alpha)^K")
    require_zero(sp.limit((1 - factor) / t, t, 0) - order * kappa * ratio, "of the order of t_k")


@check(
    "SP-11",
    "faster than 1-alpha buys nothing: |eps_K| >= (1-alpha)^(K-1) (1-e_1)|c*| e_2...e_K",
    SIGN,
    "all alpha, schedules; p_0 = p*",
)
def no_faster_than_the_share() -> None:
    """Both terms of the recursion have the sign of -c*; the product is positive when t_k is summable."""
    size = sp.Symbol("size", positive=True)
    after = mode_path(alpha, [damping], sp.Integer(1), 1 - size)[1] - 1
    require_nonnegative(inside(-after - (1 - alpha) * damping * size), "no smaller", strict=True)
    first = mode_path(alpha, [damping], sp.Integer(1), sp.Integer(1))[1] - 1
    require_zero(first + 1 - damping, "first round")


@check(
    "SP-11", "alpha = 0: p_K = S_(t_1+...+t_K) p_0; only the sum matters", SYMBOLIC, "all schedules, K <= 6 written out"
)
def annealing_without_real_data() -> None:
    """Factors multiply."""
    times, start, order = sp.symbols("t1:7", positive=True), sp.Symbol("c0"), sp.Symbol("m", positive=True)
    path = mode_path(sp.Integer(0), [sp.exp(-order * kappa * v) for v in times], sp.Symbol("c"), start)
    require_zero(sp.powsimp(sp.simplify(path[-1] / start)) - sp.exp(-order * kappa * sum(times)), "product")


def relative_errors(share: arb, order: int, times) -> list[arb]:
    """-eps_K/(m t_K c*) at kappa = 1 in balls, with 1 - e from expm1."""
    error, found = arb(0), []
    for time in times:
        lost = -(-order * time).expm1()
        error = (1 - lost) * (1 - share) * error + lost
        found.append(error / (order * time))
    return found


@check(
    "SP-11", "r = 1-alpha: correction -8 % at K = 200, t_1 = .1, alpha = .1, m = 3", INTERVAL, "this point", sole=False
)
def slow_limit_at_equal_rates() -> str:
    """rho_K/K - 1."""
    with ctx.workprec(200):
        share = arb("0.1")
        times = [arb("0.1") * (1 - share) ** k for k in range(200)]
        value = relative_errors(share, 3, times)[-1] / 200 - 1
        require(value > arb("-0.085") and value < arb("-0.075"), value.str(6))
        return f"{100 * float(value.mid()):.3f} %"


def majorant(share: float, order: int, times: np.ndarray, slope: float) -> float:
    """Upper bound of |rho_K - 1/(1-slope)|: with A = (1-alpha) t/t' the gap of a round is at most A times the last,
    plus |A - slope| + A m t' times the limit, plus m t'/2, for 1-e <= m t' and |(1-e)/(m t') - 1| <= m t'/2."""
    limit = 1 / (1 - slope)
    gap = limit
    for k, time in enumerate(times):
        factor = slope if k == 0 else (1 - share) * times[k - 1] / time
        gap = factor * gap + (abs(factor - slope) + factor * order * time) * limit + order * time / 2
    return gap


@check(
    "SP-11",
    "rho_K lies within an explicit majorant of its limit (r > 1-alpha, t_1/k); eps_K/(1-alpha)^K settles below",
    ATTACK,
    "24 random (alpha, r, m), balls of 200 bits",
    sole=False,
)
def rates_attack() -> str:
    """The chain in balls against the float majorant of the gap, which itself must be small at K = 800."""
    rng, largest = np.random.default_rng(12), 0.0
    with ctx.workprec(200):
        for _ in range(24):
            share, order = float(rng.uniform(0.1, 0.8)), int(rng.integers(1, 7))
            ratio, below = float(rng.uniform(1 - 0.8 * share, 0.99)), 0.9 * (1 - share)
            steps = np.arange(800)
            for times, slope in ((0.1 * ratio**steps, (1 - share) / ratio), (0.1 / (1 + steps), 1 - share)):
                found = relative_errors(arb(share), order, [arb(float(v)) for v in times])[-1]
                bound, limit = majorant(share, order, times, slope), 1 / (1 - slope)
                off = float(abs(found - limit).upper())
                # the majorant and the limit are floats
                require(
                    off <= bound + 1e-12 * limit, f"alpha = {share:.3f}, slope {slope:.3f}: {off:.1e} > {bound:.1e}"
                )
                require(bound <= 0.2 * limit, f"alpha = {share:.3f}: bound {bound / limit:.2f}")
                largest = max(largest, off / limit)
            fast = [arb(0.1) * arb(below) ** k for k in range(400)]
            errors = relative_errors(arb(share), order, fast)
            early, late = (errors[k] * fast[k] / (1 - arb(share)) ** (k + 1) for k in (199, 399))
            # the increments left are at most m t_k/(1-alpha)^k, a geometric series of ratio 0.9
            rest = order * arb(0.1) / arb(below) * arb(0.9) ** 200 / arb(0.1)
            require(early > 0 and abs(late - early) <= rest, "no limit below 1-alpha")
    return f"off by at most {largest:.4f} of the limit"


@check(
    "SP-3",
    "any schedule tending to 0 makes every mode error vanish, limsup |eps| <= limsup (1-e)|c*|/alpha",
    SIGN,
    "all alpha in (0,1], m, schedules",
    uses=LEMMA,
)
def any_schedule() -> None:
    """|eps'| <= (1-alpha)|eps| + (1-e)|c*|: the fixed point of the majorant is (1-e)|c*|/alpha."""
    size, real = sp.symbols("size real", positive=True)
    after = real - mode_path(alpha, [damping], real, real - size)[1]
    majorant = (1 - alpha) * size + (1 - damping) * real
    require_nonnegative(inside(majorant - after), "majorant", strict=True)
    require_zero(majorant.subs(size, (1 - damping) * real / alpha) - (1 - damping) * real / alpha, "fixed point")


@check(
    "SP-3",
    "W_2(p_K, p*) falls for schedules that are not summable, stays up for a constant one",
    ATTACK,
    "default data, alpha = .3, K = 4, 16, 64",
    sole=False,
)
def schedules_on_laws() -> str:
    """The law after K rounds as the mixture over accumulated times."""
    real, share, found = laws.default_data(), 0.3, {}
    for name, rule in {"1/k": lambda k: 0.1 / k, "1/log": lambda k: 0.1 / log1p(k), "constant": lambda k: 0.1}.items():
        values = []
        for count in (4, 16, 64):
            weights, tau = weighted_ages(share, np.array([rule(k) for k in range(1, count + 1)]))
            parts = [real.smoothed(exp(-time)) for time in tau]
            law = laws.Mixture(
                np.concatenate([w * part.weights for w, part in zip(weights, parts, strict=True)]),
                np.concatenate([part.means for part in parts]),
                np.concatenate([part.variances for part in parts]),
            )
            values.append(laws.wasserstein(real, law, points=1001)[0])
        found[name] = values
    require(found["1/k"][0] > 3 * found["1/k"][2] and found["1/k"][1] > found["1/k"][2], f"{found}")
    require(found["1/log"][0] > found["1/log"][1] > found["1/log"][2], f"{found}")
    require(found["constant"][2] >= found["constant"][0], f"{found}")
    return ", ".join(f"{name} {values[-1]:.4f}" for name, values in found.items())


@check(
    "SP-19",
    "kappa t sqrt(I) + B t^-p is least at t = (pB/(kappa sqrt I))^(1/(1+p)), which is unique",
    SYMBOLIC,
    "all B, p, kappa, I > 0",
)
def floor_of_the_schedule() -> None:
    """Derivative zero and second derivative positive everywhere."""
    size, power, root = sp.symbols("B p root_I", positive=True)
    total = kappa * t * root + size * t**-power
    best = (power * size / (kappa * root)) ** (1 / (1 + power))
    slope = kappa * root - power * size * t ** (-power - 1)
    require_zero(sp.powsimp(sp.diff(total, t) - slope), "derivative")
    inner = sp.simplify(best ** (power + 1))
    require_zero(inner - power * size / (kappa * root), "zero of the derivative")
    second = sp.diff(slope, t)
    require_zero(sp.simplify(second / (power * (power + 1) * size * t ** (-power - 2))) - 1, "convex")
    common = sp.Symbol("common", positive=True)
    require_zero(sp.simplify(sp.diff(common * total, t) - common * slope), "a common amplification drops out")


@check(
    "SP-19",
    "amplifications: 1/alpha of truncation, 1/(1-sqrt(1-alpha)) in [1/alpha, 2/alpha] of errors",
    SIGN,
    "all alpha in (0,1)",
)
def amplifications() -> None:
    """With q = sqrt(1-alpha): 1/(1-q) = (1+q)/alpha. So the floor moves by at most 2^(1/(1+p))."""
    root = sp.Symbol("root", positive=True)
    share, error = 1 - root**2, 1 / (1 - root)
    require_nonnegative((error - 1 / share).subs(root, 1 / (1 + root)), "at least", strict=True)
    require_nonnegative((2 / share - error).subs(root, 1 / (1 + root)), "at most", strict=True)
