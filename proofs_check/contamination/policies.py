"""Filter, pool, keeping all data, anchor: CON-10 to CON-13."""

from fractions import Fraction
from math import comb

import mpmath as mp
import numpy as np
import sympy as sp

from proofs_check.contamination import tools
from proofs_check.contamination.tools import A, H, alpha, inside, m, n
from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero

g, s, x, t = sp.symbols("g s x t", positive=True)


@check(
    "CON-10", "E[1/B; B >= 1] and E[1/(n_0 + B)] are the integrals that the code evaluates", SYMBOLIC, "n <= 6, all q"
)
def reciprocal_integrals() -> None:
    """The generating function of B is (1 - alpha + alpha s)^n; 1/k is the integral of s^(k-1)."""
    for size in range(1, 7):
        law = [comb(size, k) * alpha**k * (1 - alpha) ** (size - k) for k in range(size + 1)]
        generating = sum(w * s**k for k, w in enumerate(law))
        require_zero(generating - (1 - alpha + alpha * s) ** size, "generating function")
        inner = sp.integrate(sp.expand(sp.cancel((generating - law[0]) / s)), (s, 0, 1))
        require_zero(inner - sum(w / k for k, w in enumerate(law) if k), "filter")
        pooled = sp.integrate(sp.expand(s**2 * generating), (s, 0, 1))
        require_zero(pooled - sum(w / (3 + k) for k, w in enumerate(law)), "pool")


@check(
    "CON-10", "given k real tokens the risk is H*/k, whatever the rest", SYMBOLIC, "all k", uses="CON-1 at alpha = 1"
)
def filtered_round() -> None:
    require_zero(H * tools.after(A, sp.Integer(1), m) - H / m, "clean sample")


@check("CON-10", "mixing settles below H*/(n alpha)", SIGN, "all alpha in (0, 1), n > 1")
def mixing_beats_the_filter() -> None:
    require_zero(n * alpha * (2 - alpha) + (1 - alpha) ** 2 - n * alpha - (1 - alpha) * (n * alpha + 1 - alpha), "gap")
    require_nonnegative(inside((1 - alpha) * (n * alpha + 1 - alpha)), "sign")


@check("CON-11", "law of total variance of (1 - g) hat P + g Y/n", SYMBOLIC, "all g, alpha, n")
def keeping_everything() -> None:
    """Given the past e = hat P - p*, the new proportions have mean (1 - alpha) e and noise [1 - |P|^2]/n, whose mean is
    [H - (1 - alpha)^2 R]/n because the cross term p*.e has mean zero."""
    risk = sp.Symbol("R", positive=True)
    mean = ((1 - g) + g * (1 - alpha)) ** 2 * risk
    noise = g**2 * (H - (1 - alpha) ** 2 * risk) / n
    claim = ((1 - alpha * g) ** 2 - g**2 * (1 - alpha) ** 2 / n) * risk + g**2 * H / n
    require_zero(sp.expand(mean + noise - claim), "claim")


@check("CON-11", "the factor is a product of two sums of positive terms", SYMBOLIC, "all g, alpha, n")
def factor_without_cancellation() -> None:
    root, made = sp.symbols("r d", positive=True)
    old = 1 - g
    claim = (old + made * (1 - root)) * (old + made * (1 + root))
    require_zero(
        sp.expand(claim.subs(made, g * (1 - alpha)) - (1 - alpha * g) ** 2 + (g * (1 - alpha) * root) ** 2), "factor"
    )


@check("CON-11", "risk of enumerated chains that keep all data", ATTACK, "6 chains in rationals", sole=False)
def keeping_enumerated() -> None:
    rng = np.random.default_rng(11)
    for number in range(6):
        truth = tools.random_truth(rng, 2)
        counts = [int(k) for k in rng.integers(1, 6, 4)]
        shares = [tools.random_share(rng) for _ in range(3)]
        states = {(k, counts[0] - k): tools.multinomial((k, counts[0] - k), truth) for k in range(counts[0] + 1)}
        value = Fraction(1, counts[0])
        for share, count in zip(shares, counts[1:], strict=True):
            grown: dict = {}
            for old, weight in states.items():
                law = [share * p + (1 - share) * Fraction(k, sum(old)) for p, k in zip(truth, old, strict=True)]
                for new in tools.compositions(count, 2):
                    both = (old[0] + new[0], old[1] + new[1])
                    grown[both] = grown.get(both, Fraction(0)) + weight * tools.multinomial(new, law)
            states = grown
            part = Fraction(count, sum(next(iter(states))))
            value = ((1 - share * part) ** 2 - part**2 * (1 - share) ** 2 / count) * value + part**2 / count
        found = sum(w * tools.squared([Fraction(k, sum(c)) for k in c], truth) for c, w in states.items())
        require(found == tools.diversity(truth) * value, f"chain {number}")


@check(
    "CON-12", "dA/dt = -2 alpha A/t + 1/(n t^2): its solutions and the exchange at one half", SYMBOLIC, "all alpha, n"
)
def slow_equation() -> None:
    driven = 1 / ((2 * alpha - 1) * n * t)
    require_zero(sp.simplify(sp.diff(driven, t) + 2 * alpha * driven / t - 1 / (n * t**2)), "driven")
    memory = t ** (-2 * alpha)
    require_zero(sp.simplify(sp.diff(memory, t) + 2 * alpha * memory / t), "memory")
    half = sp.log(t) / (n * t)
    require_zero(sp.simplify(sp.diff(half, t) + half / t - 1 / (n * t**2)), "one half")
    factor = (1 - alpha * g) ** 2 - g**2 * (1 - alpha) ** 2 / n
    require_zero(sp.series(factor, g, 0, 2).removeO() - (1 - 2 * alpha * g), "first order in g = 1/t")


def kept(share: float, size: float, first: float, rounds: int) -> np.ndarray:
    """A_t of CON-11 at constant share and size."""
    path, total = [1 / first], first
    for _ in range(rounds):
        total += size
        new = size / total
        path.append(((1 - share * new) ** 2 - new**2 * (1 - share) ** 2 / size) * path[-1] + new**2 / size)
    return np.array(path)


@check("CON-12", "stated margins of slope and constant hold on the recursion", ATTACK, "24 chains, T = 200 ... 1e4")
def margins_of_keeping() -> str:
    worst = 0.0
    for share in (0.1, 0.3, 0.5, 0.65, 0.8, 1.0):
        for first, size in ((20, 20), (60, 20), (10, 40), (2, 5)):
            path = kept(share, size, first, 10_000)
            for rounds in (200, 1000, 10_000):
                times = np.arange(rounds // 10, rounds + 1)
                spread = np.log(times) - np.log(times).mean()
                slope = spread @ np.log(path[times]) / (spread @ spread)

                def left(time, share=share, first=first, size=size):
                    apart = 2 * (1 - share) * max(first / size, size / first) * time ** -abs(2 * share - 1.0)
                    return apart + 2 * first / (size * time)

                head = 1 + abs(np.log(first / size))
                margin = head / np.log(times[0]) if share == 0.5 else left(times[0])
                ratio = abs(slope + min(1, 2 * share)) / margin
                if share >= 0.5:
                    late = np.arange(rounds // 2 + 1, rounds + 1.0)
                    law = (np.log(late) if share == 0.5 else 1 / (2 * share - 1)) / (size * late)
                    slack = law * ((0.6 + head) / np.log(late) if share == 0.5 else left(late))
                    ratio = max(ratio, abs(path[rounds // 2 + 1 : rounds + 1].mean() - law.mean()) / slack.mean())
                require(ratio <= 1, f"alpha = {share}, n_0 = {first}, n = {size}, T = {rounds}: {ratio:.2f}")
                worst = max(worst, ratio)
    return f"largest share of the margin {worst:.2f}"


@check(
    "CON-12",
    "without real data 1 - A is multiplied by 1 - g^2/n = 1 - n/(n_0 + n t)^2, never 0 in the end",
    SYMBOLIC,
    "all n_0 >= 2, n",
    uses="Weierstrass' product of the sine and of the Gamma function",
)
def kept_without_real_data() -> None:
    before = 1 - A
    step = ((1 - g**2 / n) * A + g**2 / n).subs(g, n / (m + n * t))
    require_zero(1 - step - before * (1 - n / (m + n * t) ** 2), "factor")
    # up to T the product is a ratio of Gamma functions: one more factor is one more step of each
    root, ratio = sp.symbols("sigma y", positive=True)
    require_zero((ratio + t - root) * (ratio + t + root) / (ratio + t) ** 2 - 1 + root**2 / (ratio + t) ** 2, "Gamma")
    with mp.workdps(30):
        for size in (1, 3, 20):
            product = (
                mp.nprod(lambda k, size=size: 1 - 1 / (size * mp.mpf(k) ** 2), [1, mp.inf]) if size > 1 else mp.mpf(0)
            )
            root_ = mp.pi / mp.sqrt(size)
            require(abs(product - mp.sin(root_) / root_) < mp.mpf("1e-12"), "sine")


@check("CON-13", "total variance about the anchor: H/m + E[1 - |r|^2] A_t, E[1 - |r|^2] = (1 - 1/m) H", SYMBOLIC, "all")
def anchored() -> None:
    p = sp.Symbol("p", positive=True)
    require_zero((p * (1 - p) / m + p**2) - (p**2 + p * (1 - p) / m), "E r_i^2")
    spread = H - H / m  # 1 - sum E r_i^2 = 1 - sum p^2 - H/m
    require_zero(H / m + spread * A - H * (1 / m + (1 - 1 / m) * A), "claim")
    require_nonnegative(inside(sp.cancel((1 / (1 + m) + (1 - 1 / (1 + m)) * A) - 1 / (1 + m))), "floor")


@check("CON-13", "risk of enumerated anchored chains; the anchor case of the sheet", ATTACK, "4 chains", sole=False)
def anchored_enumerated() -> None:
    rng = np.random.default_rng(13)
    for number in range(4):
        truth, size, count, share = tools.random_truth(rng, 2), 3, int(rng.integers(1, 5)), tools.random_share(rng)
        found = Fraction(0)
        for anchor, weight in tools.first_of(truth, size).items():
            states = {anchor: Fraction(1)}
            for _ in range(2):
                states = tools.round_of(states, anchor, share, count)
            found += weight * tools.mean_of(states, lambda table, truth=truth: tools.squared(table, truth))
        value = tools.after(tools.after(Fraction(0), share, Fraction(count)), share, Fraction(count))
        claim = tools.diversity(truth) * (Fraction(1, size) + (1 - Fraction(1, size)) * value)
        require(found == claim, f"chain {number}")
    share = Fraction(1, 4)
    settled = 1 / (60 * share * (2 - share) + (1 - share) ** 2)
    require(round(float(Fraction(1, 80) + Fraction(79, 80) * settled), 6) == 0.04933, "anchor of the sheet")


__all__ = ["x"]
