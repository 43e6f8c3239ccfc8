"""Gaussians with a fitted variance (MLE-7 to MLE-10)."""

from fractions import Fraction
from itertools import product

import numpy as np
import sympy as sp
from flint import arb, ctx
from scipy import special

from proofs_check.ground import ATTACK, INTERVAL, SYMBOLIC, check, require, require_zero

n, s, x, a = sp.symbols("n s x a", positive=True)
sigma2, t = sp.symbols("sigma2 t", positive=True)
D = sp.Symbol("D", positive=True)
MOMENT = (2 / D) ** s * sp.gamma((n - 1) / 2 + s) / sp.gamma((n - 1) / 2)


@check(
    "MLE-7",
    "E (chi^2_(n-1)/D)^s = (2/D)^s Gamma((n-1)/2 + s)/Gamma((n-1)/2); s = 1, 1/2; logarithms",
    SYMBOLIC,
    "all n, s",
)
def moments_of_chi_squared() -> None:
    """The gamma density of shape a and scale 2 integrates to Gamma(a); slopes at s = 0 are cumulants."""
    density = x ** (a - 1) * sp.exp(-x / 2) / (2**a * sp.gamma(a))
    moment = sp.simplify(sp.integrate(x**s * density, (x, 0, sp.oo)))
    require_zero(sp.gammasimp(moment / (2**s * sp.gamma(a + s) / sp.gamma(a))) - 1, "moment")
    # Gamma(a + 1) = a Gamma(a) with a = (n-1)/2
    require_zero(sp.gammasimp(MOMENT.subs(s, 1).subs(n, 2 * a + 1)) - 2 * a / D, "s = 1")
    half = sp.sqrt(2 / D) * sp.gamma(n / 2) / sp.gamma((n - 1) / 2)
    require_zero(sp.simplify(MOMENT.subs(s, sp.Rational(1, 2)) / half) - 1, "s = 1/2")
    logs = s * sp.log(2 / D) + sp.loggamma((n - 1) / 2 + s) - sp.loggamma((n - 1) / 2)
    first = sp.diff(logs, s).subs(s, 0)
    require_zero(first - sp.digamma((n - 1) / 2) - sp.log(2 / D), "mean of the logarithm")
    require_zero(sp.diff(logs, s, 2).subs(s, 0) - sp.polygamma(1, (n - 1) / 2), "variance of the logarithm")


@check("MLE-7", "Var mu_t and E W_2^2 of both divisors", SYMBOLIC, "all n, t")
def wandering() -> None:
    for divisor, claimed in ((n, sigma2 * (1 - (1 - 1 / n) ** t)), (n - 1, sigma2 * t / n)):
        rate = (n - 1) / divisor
        step = claimed.subs(t, t + 1) - claimed - sigma2 * rate**t / n
        require_zero(sp.powsimp(sp.expand(step.subs(n, 1 / a))), "Var mu")
    c, variance, wander = sp.symbols("c S M")
    root = sp.sqrt(sigma2)
    distance = wander + variance - 2 * root * (root * c) + sigma2
    mle = distance.subs({variance: sigma2 - wander})
    require_zero(mle - 2 * sigma2 * (1 - c), "maximum likelihood: Var mu is what the variance lost")
    require_zero(distance.subs({variance: sigma2, wander: sigma2 * t / n}) - sigma2 * (t / n + 2 - 2 * c), "unbiased")


@check(
    "MLE-7",
    "log-rates: n ln c -> -3/4 and -1/4; E ln -> -2/n and -1/(n-1), always negative",
    INTERVAL,
    "n = 2 ... 3000",
)
def rates() -> None:
    """Balls: E ln chi^2_(n-1)/D < 0 and c < 1; leading terms within 2/n^2."""
    with ctx.workprec(128):
        for size in (*range(2, 60), 100, 300, 1000, 3000):
            half = arb(size - 1) / 2
            for divisor, scale, typical in ((size, arb(-3) / 4, arb(-2)), (size - 1, arb(-1) / 4, arb(-1))):
                log_c = (arb(2) / divisor).log() / 2 + (arb(size) / 2).lgamma() - half.lgamma()
                log_rate = half.digamma() + (arb(2) / divisor).log()
                require(log_c < 0 and log_rate < 0, f"n = {size}")
                if size >= 10:
                    require(abs(log_c - scale / size) < arb(2) / size**2, f"c at n = {size}")
                    require(abs(log_rate - typical / size) < arb(4) / size**2, f"rate at n = {size}")


@check(
    "MLE-8",
    "a new batch adds (n-1) s^2 within and N' n/N s^2/n between: both divisors",
    SYMBOLIC,
    "all n, N'; any generator",
)
def pooled_scatter() -> None:
    """Only mean and variance of the generator enter: x_i iid with variance s^2 about the pool's mean."""
    before = sp.Symbol("B", positive=True)
    total = before + n
    for less in (0, 1):
        divisor = total - less
        scatter = sigma2 * (before - less) + (n - 1) * sigma2 + before * n / total * sigma2 / n
        claimed = 1 - n / total**2 if less == 0 else 1 - n / (total * (total - 1))
        require_zero(scatter / divisor / sigma2 - claimed, f"divisor N - {less}")
        equal = claimed.subs({before: n * (t - 1)})
        written = 1 - 1 / (n * t**2) if less == 0 else 1 - 1 / (t * (n * t - 1))
        require_zero(equal - written, "equal batches")
    require_zero(sigma2 - sigma2 * (1 - n / total**2) - (n / total) ** 2 * sigma2 / n, "what the mean gains")


@check("MLE-8", "points of any law, by their whole law: two-point generators", ATTACK, "n = 2, 3 rounds", sole=False)
def any_generator() -> None:
    """Generator mu +- s with equal chances (no Gaussian): exact fractions, divisor N."""
    expected = Fraction(1)
    paths = [(Fraction(1), (), 0.0, 1.0)]
    for number in range(1, 4):
        after = []
        for weight, points, mean, scale in paths:
            for signs in product((-1, 1), repeat=2):
                fresh = points + tuple(mean + scale * sign for sign in signs)
                centre = sum(fresh) / len(fresh)
                spread = (sum((p - centre) ** 2 for p in fresh) / len(fresh)) ** 0.5
                after.append((weight / 4, fresh, centre, spread))
        paths = after
        expected *= 1 - Fraction(1, 2 * number**2)
        found = sum(float(w) * scale**2 for w, _, _, scale in paths)
        require(abs(found - float(expected)) < 1e-12, f"round {number}: {found} and {expected}")


@check(
    "MLE-8",
    "ends: sin(x)/x and Gamma(2-1/n)/(Gamma(2-r) Gamma(2-s)); n = 5: 0.701998",
    INTERVAL,
    "n = 2 ... 100",
    sole=False,
    uses="Euler's product of sin; infinite products of ratios by Gamma functions",
)
def ends() -> None:
    """20000 factors; those beyond N lie between 1 - 2/(nN) and 1."""
    with ctx.workprec(128):
        for size in (2, 3, 5, 17, 100):
            for less in (0, 1):
                partial = arb(1)
                for i in range(1 + less, 5001):
                    partial *= 1 - arb(1) / (size * i * i if less == 0 else i * (size * i - 1))
                root = arb(1 + 4 * size).sqrt()
                x = arb.pi() / arb(size).sqrt()
                value = x.sin() / x
                if less:
                    tops = [(1 + root) / (2 * size), (1 - root) / (2 * size)]
                    value = (2 - arb(1) / size).gamma() / (2 - tops[0]).gamma() / (2 - tops[1]).gamma()
                low = partial * (1 - arb(2) / (size * 5000))
                require(not (value > partial) and not (value < low), f"n = {size}, divisor N - {less}")
        x = arb.pi() / arb(5).sqrt()
        require(abs(x.sin() / x - arb("0.701998")) < arb("5e-7"), "anchor")


@check(
    "MLE-9",
    "E ln det: p gammas with n-1, ..., n-p degrees of freedom",
    SYMBOLIC,
    "all n > p",
    uses="Bartlett: the Cholesky factor of a Wishart matrix has independent chi entries on its diagonal",
)
def volume() -> None:
    """det = product of the squares of the diagonal; p = 1 is MLE-7; falls faster than p times the scalar rate."""
    j = sp.Symbol("j", positive=True)
    term = sp.digamma((n - j) / 2) + sp.log(2 / D)
    require_zero(term.subs(j, 1) - sp.digamma((n - 1) / 2) - sp.log(2 / D), "p = 1")
    for size in (3, 8, 40):
        values = special.digamma((size - np.arange(1, size)) / 2)
        require(bool(np.all(np.diff(values) < 0)), "decreasing in j")


@check(
    "MLE-9", "n centred points span at most n - 1 directions", ATTACK, "random points, p = 6, n = 2 ... 9", sole=True
)
def ranks() -> None:
    rng = np.random.default_rng(9)
    for size in range(2, 10):
        points = rng.normal(size=(6, size))
        covariance = np.cov(points)
        require(np.linalg.matrix_rank(covariance) == min(6, size - 1), f"n = {size}")


@check("MLE-10", "c <= exp(-1/(4n)) for both divisors", INTERVAL, "n = 2 ... 3000")
def sharper() -> None:
    """Balls. For all n it follows from n ln c -> -3/4, -1/4 only asymptotically: here every n up to 400, then some."""
    with ctx.workprec(128):
        for size in (*range(2, 401), 1000, 3000):
            for divisor in (size, size - 1):
                log_c = (arb(2) / divisor).log() / 2 + (arb(size) / 2).lgamma() - (arb(size - 1) / 2).lgamma()
                require(log_c < -arb(1) / (4 * size), f"n = {size}, D = {divisor}")


@check(
    "MLE-10",
    "Markov for powers: all three bounds above the exact chance; the best power is below the mean's",
    ATTACK,
    "k = 1 (chi-squared distribution), n = 2 ... 50, random levels",
    sole=False,
)
def markov() -> None:
    """One round: P(chi^2_(n-1)/n > (eps/sigma)^2) from the distribution function."""
    rng = np.random.default_rng(10)
    for _ in range(300):
        size, level = int(rng.integers(2, 50)), float(rng.uniform(0.3, 2.0))
        half = (size - 1) / 2
        truth = special.gammaincc(half, size * level**2 / 2)
        powers = np.geomspace(1e-3, 200, 4000)
        logs = -2 * powers * np.log(level) + powers * np.log(2 / size)
        logs += special.gammaln(half + powers) - special.gammaln(half)
        scale = np.exp(0.5 * np.log(2 / size) + special.gammaln(size / 2) - special.gammaln(half)) / level
        best = min(1.0, float(np.exp(logs.min())))
        require(truth <= best + 1e-12 and best <= scale + 1e-9, f"n = {size}, level {level}")
        require(scale <= np.exp(-1 / (4 * size)) / level + 1e-12, f"n = {size}: Suresh")
