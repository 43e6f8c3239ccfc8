"""Other truncations, image covariance, and the continuous limit (SP-15, SP-16, SP-17)."""

from math import ceil, exp, log, log1p

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.spectral import laws
from proofs_check.spectral.tools import alpha, damping, gain, hermite, inside, kappa, mode_path, pool_gain, smooth, t, x

beta, s, delta, level = sp.symbols("beta s delta ell", positive=True)


@check(
    "SP-15",
    "X -> beta X + s Z, beta < 1: the OU map with a = beta in units of s/sqrt(1-beta^2)",
    SYMBOLIC,
    "all beta, s, orders",
)
def general_truncation() -> None:
    """Y = X/scale goes to beta Y + (s/scale) Z, and s/scale = sqrt(1-beta^2); so gains and the alpha = 0 limit carry
    over. The generated gain is beta^m times that of the pool."""
    scale = s / sp.sqrt(1 - beta**2)
    require_zero(sp.simplify((s / scale) ** 2 - (1 - beta**2)), "noise in units of the reference law")
    require_zero(sp.simplify(beta**2 * scale**2 + s**2 - scale**2), "reference law is fixed")
    require_zero(gain(alpha, damping) / damping - pool_gain(alpha, damping), "pool")
    for order in range(5):
        scaled = hermite(order)
        require_zero(smooth(scaled, x, beta) - beta**order * scaled, f"order {order}")


@check(
    "SP-15",
    "rectified flow stopped at 1 - delta: (1-delta, delta), reference N(0, delta/(2-delta))",
    SYMBOLIC,
    "all delta in (0,1)",
)
def rectified_flow() -> None:
    """The straight path (1-t) Z + t X at t = 1 - delta."""
    time, point, noise = sp.symbols("time point noise")
    path = sp.expand(((1 - time) * noise + time * point).subs(time, 1 - delta))
    require_zero(path.coeff(point) - (1 - delta), "shrinkage")
    require_zero(path.coeff(noise) - delta, "noise")
    variance = (s**2 / (1 - beta**2)).subs({s: delta, beta: 1 - delta})
    require_zero(variance - delta / (2 - delta), "reference variance")


@check(
    "SP-15",
    "VE and rescaled output: Fourier gain alpha e/(1-(1-alpha)e) = 1/(1 + (1/e - 1)/alpha)",
    SYMBOLIC,
    "all omega, s, alpha",
)
def variance_exploding() -> None:
    """The transform of X + s Z is e times that of X; (beta X + s Z)/beta has s/beta; at alpha = 0 variance k s^2."""
    omega, real, value, kept = sp.symbols("omega real value kept", positive=True)
    kernel = sp.exp(-(s**2) * omega**2 / 2)
    after = mode_path(alpha, [kernel], real, value)[1]
    fixed = gain(alpha, kernel)
    require_zero(sp.simplify(after.subs(value, fixed * real) - fixed * real), "fixed point")
    require_zero(sp.simplify(fixed - 1 / (1 + (1 / kernel - 1) / alpha)), "Lorentzian form")
    leading = sp.series(1 / fixed, omega, 0, 4).removeO()
    require_zero(leading - (1 + s**2 * omega**2 / (2 * alpha)), "small frequencies")
    require_zero(sp.expand((beta * x + s * kept) / beta) - x - s / beta * kept, "rescaled output")
    require_zero(gain(alpha, damping) / damping - pool_gain(alpha, damping), "pool: divide by e")
    require_zero(mode_path(sp.Integer(0), [kernel], real, value)[1] - kernel * value, "alpha = 0")


@check(
    "SP-15",
    "VE adds s^2 (1-(1-alpha)^k)/alpha after k rounds, s^2/alpha in the limit (s^2 k at alpha = 0)",
    SYMBOLIC,
    "all k, alpha, p_0 = p*",
)
def added_variance() -> None:
    """Means stay, so the excess obeys x' = (1-alpha) x + s^2; induction with X = (1-alpha)^k."""
    power, real, excess = sp.symbols("X real excess")
    pooled = alpha * real + (1 - alpha) * (real + excess)
    require_zero(pooled + s**2 - real - ((1 - alpha) * excess + s**2), "round")

    def claimed(rest):
        return s**2 * (1 - rest) / alpha

    require_zero(claimed(sp.Integer(1)), "k = 0")
    require_zero((1 - alpha) * claimed(power) + s**2 - claimed((1 - alpha) * power), "step")
    require_zero(claimed(sp.Integer(0)) - s**2 / alpha, "limit")
    rounds = sp.Symbol("k", positive=True)
    require_zero(sp.limit(claimed((1 - alpha) ** rounds), alpha, 0) - s**2 * rounds, "alpha = 0")


@check("SP-15", "VE limit is no narrower in frequency than its Lorentzian, gain in (0, 1)", SIGN, "all omega, s, alpha")
def lorentzian_is_an_upper_bound() -> None:
    """1/e - 1 = e^y - 1 >= y, so the gain is at most 1/(1 + y/alpha)."""
    y, more = sp.symbols("y more", positive=True)
    gap = 1 / (1 + y / alpha) - 1 / (1 + (y + more) / alpha)
    require_nonnegative(gap, "with e^y - 1 = y + more", strict=True)
    require_nonnegative(inside(1 - gain(alpha, damping)), "below 1", strict=True)


@check(
    "SP-16",
    "raw output: l_inf - l* = (1-G_2)(1-l*), so l* < 1 is raised, l_inf above the floor 1-G_2",
    SIGN,
    "all l*, alpha, a",
)
def raw_covariance() -> None:
    """An eigenvector of the data covariance is one of the limit; its excess over 1 has the gain of order 2."""
    claimed = 1 + gain(alpha, damping) * (level - 1)
    after = mode_path(alpha, [damping], level - 1, claimed - 1)[1]
    require_zero(after - (claimed - 1), "fixed point of the excess")
    require_zero(claimed - level - (1 - gain(alpha, damping)) * (1 - level), "distance")
    floor = 1 - gain(alpha, damping)
    require_nonnegative(inside(claimed - floor), "above the floor", strict=True)
    require_nonnegative(inside((claimed - level).subs(level, 1 / (1 + level))), "raised", strict=True)


@check(
    "SP-16",
    "denoised output: l' = l^2/(l+s^2), s^2 = (1-a^2)/a^2; in units of s^2 the DAE map with c = 1",
    SYMBOLIC,
    "all l, a",
)
def denoised_covariance() -> None:
    """Posterior mean of X ~ N(0, l) given Y = a X + b Z is Cov(X,Y)/Var(Y) Y. One DAE round: gain y/(y+1), squared,
    times y + 1."""
    a, b, y = sp.symbols("a b y", positive=True)
    variance = (a * level) ** 2 / (a**2 * level + b**2)
    ratio = b**2 / a**2
    require_zero(variance - level**2 / (level + ratio), "map")
    require_zero(ratio.subs(b, sp.sqrt(1 - a**2)) - (1 - a**2) / a**2, "noise ratio")
    require_zero(variance.subs(level, y * ratio) / ratio - (y / (y + 1)) ** 2 * (y + 1), "DAE round")


@check(
    "SP-16",
    "falls to order s^2 in about x + ln x rounds (x = l/s^2), two more reach s^2/10, then squares",
    ATTACK,
    "200 starts 5 <= x <= 2000, float64",
)
def denoised_lifetime() -> str:
    """x' = x^2/(x+1) and x' <= x^2; order s^2 is read as x in (1/20, 1)."""
    rng, low, high = np.random.default_rng(16), np.inf, 0.0
    for start in 10 ** rng.uniform(log(5, 10), log(2000, 10), 200):
        rounds, value = ceil(start + log(start)), float(start)
        for _ in range(rounds):
            value = value**2 / (value + 1)
        low, high = min(low, value), max(high, value)
        require(0.05 < value < 1, f"x = {start:.2f}: {value:.4f} after {rounds} rounds")
        for _ in range(2):
            value = value**2 / (value + 1)
        require(value < 0.1, f"x = {start:.2f}: {value:.4f} two rounds later")
    return f"between {low:.3f} and {high:.3f} s^2 after x + ln x"


@check(
    "SP-16",
    "lifetime integral at c = 1: x - 1 + ln x; the end is doubly exponential: x^2/2 <= x' <= x^2 for x <= 1",
    SIGN,
    "all x",
)
def denoised_end() -> None:
    """dT/dx = 1/(x - x')."""
    point, more = sp.symbols("point more", positive=True)
    after = point**2 / (point + 1)
    rounds = point - 1 + sp.log(point)
    require_zero(sp.diff(rounds, point) - 1 / (point - after), "integral")
    require_zero(rounds.subs(point, 1), "start")
    require_nonnegative(point**2 - after, "at most the square", strict=True)
    require_nonnegative((after - point**2 / 2).subs(point, 1 / (1 + more)), "at least half of it", strict=True)


@check(
    "SP-16",
    "alpha > 0: the posterior mean of a scale mixture is nonlinear; the best linear one is DAE-13 pool-fed",
    SYMBOLIC,
    "all l1 != l2, weights in (0,1), s",
)
def scale_mixture() -> None:
    """E[X|Y=y]/y = sum of w_i(y) l_i/(l_i+s^2); its slope in y^2 at 0 is a product of positive numbers and a difference
    of variances times one of gains. The best linear map sees only the second moment of the pool."""
    first, second, weight, square = sp.symbols("l1 l2 weight square", positive=True)
    parts = [(weight, first + s), (1 - weight, second + s)]
    masses = [p / sp.sqrt(v) * sp.exp(-square / (2 * v)) for p, v in parts]
    gains = [first / (first + s), second / (second + s)]
    mean = sum(p * g for p, g in zip(masses, gains, strict=True)) / sum(masses)
    slope = sp.simplify(sp.diff(mean, square).subs(square, 0))
    shares = [p / sp.sqrt(v) for p, v in parts]
    total = sum(shares)
    wanted = shares[0] * shares[1] / total**2 * (gains[0] - gains[1]) / 2 * (1 / parts[1][1] - 1 / parts[0][1])
    require(sp.simplify(slope - wanted) == 0, "slope")
    require_zero((gains[0] - gains[1]) - s * (first - second) / ((first + s) * (second + s)), "difference of gains")
    require_zero((1 / parts[1][1] - 1 / parts[0][1]) - (first - second) / ((first + s) * (second + s)), "of precisions")
    real, pool, y = sp.symbols("real pool y")
    made = pool**2 / (pool + s)
    after = (alpha * real + (1 - alpha) * made).subs({real: s * real, pool: s * y}, simultaneous=True) / s
    require_zero(after - (alpha * real + (1 - alpha) * y**2 / (y + 1)), "pool-fed round of DAE-13 at c = 1")


@check(
    "SP-17",
    "alpha = r t0 -> 0: G_m -> r/(r+m kappa) = r int e^(-rs) e^(-m kappa s) ds, error first order",
    SYMBOLIC,
    "all r, m, kappa",
)
def continuous_limit() -> None:
    """The slope in t0 at 0 is -r (m kappa)^2/(2 (r + m kappa)^2), finite and different from 0."""
    rate, order, time = sp.symbols("r m time", positive=True)
    exact = gain(rate * t, sp.exp(-order * kappa * t))
    limit = sp.limit(exact, t, 0)
    require_zero(limit - rate / (rate + order * kappa), "limit")
    integral = sp.integrate(rate * sp.exp(-(rate + order * kappa) * time), (time, 0, sp.oo))
    require_zero(sp.simplify(integral - limit), "mixture over exponential ages")
    slope = sp.limit((exact - limit) / t, t, 0)
    claimed = -rate * (order * kappa) ** 2 / (2 * (rate + order * kappa) ** 2)
    require_zero(sp.simplify(slope - claimed), "first-order coefficient")
    require_nonnegative(-slope, "different from 0", strict=True)


@check(
    "SP-17", "P(G t0 > s) = (1 - r t0)^(s/t0) -> e^(-rs), error first order", SYMBOLIC, "all r, s at multiples of t0"
)
def exponential_age() -> None:
    """The age in units of time."""
    rate, age = sp.symbols("r age", positive=True)
    logarithm = age / t * sp.log(1 - rate * t)
    require_zero(sp.limit(logarithm, t, 0) + rate * age, "limit")
    require_zero(sp.limit((logarithm + rate * age) / t, t, 0) + rate**2 * age / 2, "next order")


@check(
    "SP-17",
    "W_2 of the laws <= kappa sqrt(I) (t0 + sqrt 2 (1/r - t0/lambda)) = O(t0), lambda = -ln(1 - r t0)",
    SYMBOLIC,
    "every p* with finite I, all r, t0 with r t0 < 1",
)
def coupled_ages() -> None:
    """G = ceil(E/lambda) of a standard exponential E has the geometric law, and |G - E/lambda| <= 1. Couple the ages
    G t0 and E/r, then S_s p and S_t p at the cost |e^(-kappa s) - e^(-kappa t)| sqrt(I) <= kappa |s-t| sqrt(I) (SP-9);
    Minkowski, E E^2 = 2."""
    rate, count, draw = sp.symbols("r j draw", positive=True)
    jump = -sp.log(1 - alpha)
    before = sp.exp(-jump * (count - 1))
    require_zero(sp.exp(-jump) - (1 - alpha), "one step")
    require_zero(
        sp.expand(before - sp.exp(-jump * count), power_exp=True) - sp.expand(alpha * before, power_exp=True), "law"
    )
    require_zero(sp.integrate(draw**2 * sp.exp(-draw), (draw, 0, sp.oo)) - 2, "second moment")
    gap = 1 / rate - t / jump.subs(alpha, rate * t)
    require_zero(sp.limit(gap / t, t, 0) - sp.Rational(1, 2), "first order")


@check(
    "SP-17",
    "that bound holds between t0 and the exponential limit",
    ATTACK,
    "default data, kappa = 1, r = 2, t0 = .32, .16, .08 against 1/80",
    sole=False,
)
def continuous_limit_on_laws() -> str:
    """Both laws are that close to the limit, so their bounds add. Slack is the quadrature's own error."""
    data, rate, found = laws.default_data(), 2.0, []
    information = sum(laws.fisher(data))

    def away(time):
        return information**0.5 * (time + 2**0.5 * (1 / rate + time / log1p(-rate * time)))

    fine = 1 / 80
    goal = laws.limit(data, rate * fine, exp(-fine), 1e-9)
    for time in (0.32, 0.16, 0.08):
        value, error = laws.wasserstein(laws.limit(data, rate * time, exp(-time), 1e-9), goal, points=401)
        require(value <= away(time) + away(fine) + error, f"t0 = {time}: {value:.5f}")
        found.append(value)
    require(found[0] > found[1] > found[2], f"{found}")
    return ", ".join(f"{value:.5f}" for value in found)
