"""Consistent families that collapse (MLE-18 to MLE-21)."""

from math import exp, log, log1p

import numpy as np
import sympy as sp
from flint import arb, ctx

from proofs_check.ground import ATTACK, INTERVAL, SYMBOLIC, check, require, require_zero

alpha, mu, f, u, theta = sp.symbols("alpha mu f u theta", positive=True)
s, t, n, J = sp.symbols("s t n J", positive=True)
B = 4 * log(2)


def root_of(of, low: float, high: float) -> float:
    """Zero of an increasing function."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if of(middle) < 0 else (low, middle)
    return low


def passage(z: float) -> float:
    """E z^steps of a ladder: 1 - theta/4 with 2^-theta/(1 - theta/4) = 1/z."""
    least = 4 * (1 - 1 / B)
    return 1 - root_of(lambda v: -v * log(2) - log1p(-v / 4) + log(z), least, 4 - 1e-14) / 4


@check(
    "MLE-18", "gamma: the tilt at which the walk's transform is least; passage there is 1/(4 ln 2)", SYMBOLIC, "exact"
)
def exponent() -> None:
    transform = 2**-theta / (1 - theta / 4)
    b = 4 * sp.log(2)
    best = 4 * (1 - 1 / b)
    require_zero(sp.simplify(sp.diff(sp.log(transform), theta).subs(theta, best)), "least")
    require_zero(sp.simplify(sp.log(transform.subs(theta, best)) - (sp.log(b) - (b - 1))), "value")
    # 16^-s = least value: s = gamma/2
    require_zero(sp.simplify((b - 1 - sp.log(b)) / b * sp.log(16) - (b - 1 - sp.log(b))), "gamma/2")
    require_zero(sp.simplify(sp.log(16) - b), "ln 16")
    require(abs(2 * (B - 1 - log(B)) / B - 0.543) < 5e-4, "gamma")


@check(
    "MLE-18",
    "tail of the limit law below its exponential bound; the walk by simulation",
    ATTACK,
    "4e5 walks of 60 steps",
)
def walk() -> str:
    """G at the maximum of G_(k+1)/4 - k ln 2: tail, chance that k = 0, mean of exp(-G/4)."""
    rng, count = np.random.default_rng(18), 400_000
    arrivals = np.cumsum(rng.exponential(size=(count, 60)), axis=1)
    best = np.argmax(arrivals / 4 - np.arange(60) * log(2), axis=1)
    found = arrivals[np.arange(count), best]
    stays = 1 - passage(1.0)
    constant = stays / (1 - (B - 1 - log(B)) / B) / (1 - 1 / (1 - (B - 1 - log(B)) / B) / B)
    for level in (2.0, 5.0, 10.0, 20.0):
        require((found > level).mean() <= constant * exp(-(B - 1 - log(B)) / B * level), f"tail at {level}")
    reached = 1 - 0.8 * stays / (1 - 0.8 * passage(0.5))
    for value, right in (((best == 0), stays), (1 - np.exp(-found / 4), reached)):
        error = np.std(value) / count**0.5
        require(abs(np.mean(value) - right) <= 5 * error, f"{np.mean(value)} and {right}")
    return f"constant {constant:.4f}"


@check("MLE-19", "density integrates to 1; TV to U[0,1] is alpha", SYMBOLIC, "all alpha in [0, 1/4], mu, f")
def total_variation() -> None:
    density = sp.Rational(1, 2) + (1 - alpha) / (2 * (1 - 2 * alpha))
    inside = density * (1 - 2 * alpha) + sp.Rational(1, 2) * 2 * alpha
    beyond = alpha / 4 + alpha / 4
    require_zero(inside + beyond - 1, "mass")
    require_zero((density - 1) * (1 - 2 * alpha) - alpha / 2, "above 1 where inside")
    require_zero(((density - 1) * (1 - 2 * alpha) + alpha + beyond) / 2 - alpha, "TV")


@check("MLE-19", "(ii) usual alpha(1): no point leaves, the rest gains", SYMBOLIC, "all alpha < 1/4")
def first_fit() -> None:
    """The density inside increases with alpha, so that the largest alpha without a lost point is a lower bound."""
    density = sp.Rational(1, 2) + (1 - alpha) / (2 * (1 - 2 * alpha))
    slope = sp.simplify(sp.diff(density, alpha))
    require_zero(slope - 1 / (2 * (1 - 2 * alpha) ** 2), "increasing")
    require_zero(sp.series(sp.log(density), alpha, 0, 2).removeO() - alpha / 2, "leading gain alpha/2 per point")


@check(
    "MLE-19",
    "(iii) a point in [2, 3] forces alpha(2) > 1/10: every alpha <= 1/10 is beaten at 1/8",
    SYMBOLIC,
    "all n, N = 2n",
)
def forced() -> None:
    """For alpha <= 1/10 a point of [0, 1] has density at most 17/16 and one of [2, 3] at most (alpha/4)(1 + 39) <= 1.
    At alpha = 1/8 they have at least 1/2 and 1/32, the best one (1/32) 34^(2n) more: with j points in [2, 3], ln ratio
    >= -(2n - j) ln(17/8) - j ln 32 + 2n ln 34 > 0, since 34 > 32 and 34 > 17/8."""
    ten = sp.Rational(1, 10)
    density = sp.Rational(1, 2) + (1 - alpha) / (2 * (1 - 2 * alpha))
    require(density.subs(alpha, ten) == sp.Rational(17, 16), "inside")
    require_zero((ten / 4) * (1 + 39) - 1, "beyond")
    j = sp.Symbol("j", nonnegative=True)
    gain = -(2 * n - j) * sp.log(sp.Rational(17, 8)) - j * sp.log(32) + 2 * n * sp.log(34)
    require_zero(
        sp.expand(gain - (2 * n - j) * (sp.log(34) - sp.log(sp.Rational(17, 8))) - j * (sp.log(34) - sp.log(32))),
        "gain",
    )
    require(34 > 32 and 34 * 8 > 17, "signs")


@check("MLE-19", "(iv) mean over the largest point; it ends at 1/5", SYMBOLIC, "all n; n -> infinity")
def collapse() -> None:
    """x_max has density n x^(n-1); with 1 - x = y/n: exp(-y) exp(-y/4). A point is in [2, 3] with chance alpha(1)/2."""
    x, y = sp.symbols("x y", positive=True)
    require_zero(sp.integrate(n * x ** (n - 1), (x, 0, 1)) - 1, "law")
    require_zero(1 - sp.integrate(sp.exp(-y) * sp.exp(-y / 4), (y, 0, sp.oo)) - sp.Rational(1, 5), "1/5")
    require_zero(sp.limit(n * sp.log(1 - y / (4 * n)), n, sp.oo) + y / 4, "exponent")
    require(0.25 * (1 - exp(-0.25)) < 0.2, "weaker form")


@check(
    "MLE-19",
    "R = 0.922523, chance of a point 0.241112",
    INTERVAL,
    "anchors, certified roots",
    sole=False,
    uses="Wald's martingale with the larger root; ladder heights of exponential jumps are exponential",
)
def anchors() -> None:
    with ctx.workprec(128):

        def sign(value, log_z):
            return -value * arb(2).log() - (1 - value / 4).log() + log_z

        ends = []
        for log_z, near in ((arb(0), 4 * arb("0.922523")), (-arb(2).log(), 4 - 4 * arb("0.0344"))):
            low, high = near - arb("0.002"), near + arb("0.002")
            require(sign(low, log_z) < 0 and sign(high, log_z) > 0, "bracket")
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if sign(middle, log_z) < 0 else (low, middle)
            ends.append((low + high) / 2)
        stays, later = ends[0] / 4, 1 - ends[1] / 4
        require(abs(stays - arb("0.922523")) < arb("6e-7"), "R")
        require(abs(1 - stays - arb(16) ** (-stays)) < arb("1e-15"), "1 - R = 16^-R")
        reached = 1 - arb(4) / 5 * stays / (1 - arb(4) / 5 * later)
        require(abs(reached - arb("0.241112")) < arb("6e-7"), reached.str(10))


def first_alpha(sorted_points: np.ndarray) -> float:
    """alpha(1) by trying every place where a point leaves, and 1/4; no shortcut."""
    size = len(sorted_points)
    candidates = [min(0.25, (1 - x) / 2) for x in sorted_points] + [0.25]
    best = (-np.inf, 0.0)
    for candidate in candidates:
        kept = int((sorted_points <= 1 - 2 * candidate + 1e-15).sum())
        value = kept * log(0.5 + (1 - candidate) / (2 * (1 - 2 * candidate))) + (size - kept) * log(0.5)
        best = max(best, (value, candidate))
    return best[1]


@check(
    "MLE-19",
    "margins 1/n of R and 1/(2n) of the chance of a point, by exact maximisation",
    ATTACK,
    "n = 20, 3e4 runs; 100, 1e4",
)
def margins() -> str:
    rng, found = np.random.default_rng(19), []
    for size, runs in ((20, 30_000), (100, 10_000)):
        usual, reached = np.empty(runs), np.empty(runs)
        gaps = -np.expm1(np.cumsum(np.log(rng.random((runs, 20))) / (size - np.arange(20)), axis=1))
        alphas = np.minimum(gaps / 2, 0.25)
        ranks = np.arange(20)
        logs = (size - ranks) * np.log(0.5 + (1 - alphas) / (2 * (1 - 2 * alphas))) - ranks * log(2)
        best = np.argmax(logs, axis=1)
        alpha1 = alphas[np.arange(runs), best]
        usual, reached = alpha1 == alphas[:, 0], 1 - (1 - alpha1 / 2) ** size
        for value, right, margin in ((usual, 0.922523, 1 / size), (reached, 0.241112, 0.5 / size)):
            slack = 4 * value.std() / runs**0.5
            require(abs(value.mean() - right) <= margin + slack, f"n = {size}: {value.mean():.4f} and {right}")
        found.append(f"{usual.mean():.4f}, {reached.mean():.4f}")
        few = rng.random((50, size))
        for points in few:
            points.sort()
            require(first_alpha(points) >= min(0.25, (1 - points[-1]) / 2) - 1e-15, "lower bound")
    return "; ".join(found)


@check("MLE-20", "TV after the takeover: 1 - 1/(2J) >= 3/4 >= 3/8", SYMBOLIC, "all J >= 2")
def distance() -> None:
    """Half of g is uniform on [0, J]: density 1/(2J) on [0, 1]; the window lies in [J-1, J+f], beyond 1."""
    require_zero((1 - 1 / (2 * J)) - ((1 - 1 / (2 * J)) + (1 - 1 / (2 * J))) / 2, "TV")
    require(sp.Rational(3, 4) >= sp.Rational(3, 8) and (1 - 1 / (2 * J)).subs(J, 2) == sp.Rational(3, 4), "least")


@check("MLE-21", "(i) lead of type two from bounds on both densities", SYMBOLIC, "all J >= 2, N, B")
def lead() -> None:
    """Type one: (1-a)/(1-2a) <= 3/2 in [0, 1], at most (1/4)(3/2) beyond; type two: 1/(2J), the window 1/(2f) more."""
    N, log_f = sp.symbols("N log_f")
    density = (1 - alpha) / (1 - 2 * alpha)
    require_zero(sp.simplify(sp.diff(density, alpha)) - 1 / (1 - 2 * alpha) ** 2, "increasing")
    require(density.subs(alpha, sp.Rational(1, 4)) == sp.Rational(3, 2), "3/2")
    two = -(N - 1) * sp.log(2 * J) - sp.log(2) - log_f
    one = (N - 1) * sp.log(sp.Rational(3, 2)) + sp.log(sp.Rational(3, 8))
    claimed = -log_f - N * sp.log(3 * J) + sp.log(4 * J)
    require_zero(sp.simplify(sp.expand_log(two - one - claimed, force=True)), "lead")


@check("MLE-21", "(iii) P(tau > t) = E(1 - alpha_1)^(nt) -> 2/(2 + t), infinite mean", SYMBOLIC, "all t")
def waiting() -> None:
    """2 n alpha_1 is a unit exponential in the limit; the sum over t of 2/(2 + t) diverges."""
    y = sp.Symbol("y", positive=True)
    require_zero(sp.integrate(sp.exp(-y) * sp.exp(-y * t / 2), (y, 0, sp.oo)) - 2 / (2 + t), "limit")
    require_zero(sp.limit(n * sp.log(1 - y / (2 * n)), n, sp.oo) + y / 2, "exponent")
    k = sp.Symbol("k", integer=True, positive=True)
    require(sp.summation(2 / (2 + k), (k, 1, sp.oo)) == sp.oo, "infinite mean")


@check("MLE-21", "fits of type one: densities increase in every alpha_j", SYMBOLIC, "alpha_j in (0, 1/4)")
def fits() -> None:
    """c_j ln[(1-a)/(1-2a)] + (points beyond) ln a increases in a: the largest a that keeps all points wins."""
    c, b = sp.symbols("c b", positive=True)
    slope = sp.diff(c * sp.log((1 - alpha) / (1 - 2 * alpha)) + b * sp.log(alpha), alpha)
    require_zero(sp.simplify(slope - c / ((1 - alpha) * (1 - 2 * alpha)) - b / alpha), "slope")
