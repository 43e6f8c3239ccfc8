"""Size of the collapse (SP-9): two bounds, the first-order asymptote, and what one round costs."""

from math import exp

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.spectral import laws
from proofs_check.spectral.tools import a, alpha, gain, hermite, inside, kappa, smooth, t, x

G1, G2 = gain(alpha, a), gain(alpha, a**2)
SPREAD = 1 - 2 * G1 + G2


def over_ages(expression, letter):
    """E of a polynomial in letter = a^G: its monomials become gains."""
    terms = sp.Poly(expression, letter).terms()
    return sum(value * gain(alpha, a**power) for (power,), value in terms)


@check(
    "SP-9",
    "W_2(S_t p, p) <= (1-a) sqrt(I): speed kappa |grad ln(p_s/N)|, and I(S_s p) <= e^(-2 kappa s) I",
    SYMBOLIC,
    "every p with finite I, d",
    uses="Benamou-Brenier: W_2 is at most the time integral of the root mean square speed",
)
def cost_of_smoothing() -> None:
    """The forward equation is a continuity equation of that velocity. The ratio to N moves by P_s, with grad P_s =
    e^(-kappa s) P_s grad, and (u, f) -> u^2/f is convex, so P_s(u^2/f) >= (P_s u)^2/P_s f:
    the Fisher information decays."""
    p = sp.Function("p", positive=True)(x)
    velocity = -kappa * (sp.diff(sp.log(p), x) + x)
    forward = kappa * (sp.diff(x * p, x) + sp.diff(p, x, 2))
    require_zero(sp.simplify(forward + sp.diff(p * velocity, x)), "continuity")
    for order in range(1, 7):
        commuted = sp.diff(smooth(hermite(order), x, a), x) - a * smooth(sp.diff(hermite(order), x), x, a)
        require_zero(sp.expand(commuted), f"gradient, order {order}")
    ramp, f, s = sp.symbols("u f s", positive=True)
    hessian = sp.hessian(ramp**2 / f, (ramp, f))
    require_nonnegative(hessian[0, 0], "convex", strict=True)
    require_nonnegative(hessian[1, 1], "convex", strict=True)
    require_zero(hessian.det(), "convex")
    length = sp.integrate(kappa * sp.exp(-kappa * s), (s, 0, t))
    require_zero(length - (1 - sp.exp(-kappa * t)), "length of the path")


@check(
    "SP-9",
    "E(1-a^G)^2 = 1 - 2 G_1 + G_2, E(1-a^2G) = 1 - G_2: both bounds by coupling age by age",
    SYMBOLIC,
    "all a, alpha in (0,1], d",
)
def both_bounds() -> None:
    """W_2^2 of a mixture is at most the mean of the W_2^2 of its parts. Second bound: X with a^G X + sqrt(1-a^2G) Z."""
    power, point, noise, size = sp.symbols("power point noise d")
    require_zero(over_ages((1 - power) ** 2, power) - SPREAD, "first bound")
    b = sp.Symbol("b")
    move = sp.Poly(sp.expand((point - power * point - b * noise) ** 2), noise, b)
    cost = move.coeff_monomial(1) + move.coeff_monomial(noise**2 * b**2) * (1 - power**2)
    require_zero(move.coeff_monomial(noise * b).subs(point, 0), "cross term is odd in the noise")
    second_moment = sp.Symbol("second_moment")
    total = (1 - power) ** 2 * second_moment + (1 - power**2) * size
    require_zero(sp.expand(cost - (1 - power) ** 2 * point**2 - (1 - power**2)), "one axis")
    require_zero(over_ages(sp.expand(total), power) - SPREAD * second_moment - (1 - G2) * size, "second bound")


@check(
    "SP-9",
    "Fisher bound over asymptote -> sqrt(2-alpha); singular data O(sqrt(2 d kappa t0/alpha))",
    SYMBOLIC,
    "all alpha in (0,1]",
)
def small_truncation_of_the_bounds() -> None:
    """Leading orders in t0."""
    short = {a: sp.exp(-kappa * t)}
    square = sp.limit(SPREAD.subs(short) / (kappa * t / alpha) ** 2, t, 0)
    require_zero(square - (2 - alpha), "ratio squared")
    require_zero(sp.limit((1 - G2).subs(short) / (kappa * t), t, 0) - 2 / alpha, "second bound")
    require_zero(sp.series((1 - a) / (kappa * t), a, 1, 2).removeO().subs(a, 1 - kappa * t) - 1, "one round")


@check(
    "SP-9",
    "first order: p_inf - p* = (kappa t0/alpha) L p*, one round kappa t0 L p*: 1/alpha in W_2 and TV, 1/alpha^2 in KL",
    SYMBOLIC,
    "tangent of every mode; smooth p*",
    uses="W_2(p, p + s div(p v) + o(s)) = s |v| + o(s) for a gradient field v in L_2(p)",
)
def compounding() -> None:
    """Mode m of L is -m; 1 - G_m and 1 - a^m have slopes m kappa/alpha and m kappa at t0 = 0. The velocity is that of
    the forward equation times 1/alpha, of norm kappa sqrt(I)/alpha. KL is quadratic in the tangent."""
    order = sp.Symbol("m", positive=True)
    short = sp.exp(-order * kappa * t)
    many = sp.limit((1 - gain(alpha, short)) / t, t, 0)
    once = sp.limit((1 - short) / t, t, 0)
    require_zero(many - order * kappa / alpha, "limit")
    require_zero(many / once - 1 / alpha, "compounding")
    for n in range(6):
        polynomial = hermite(n)
        require_zero(sp.diff(polynomial, x, 2) - x * sp.diff(polynomial, x) + n * polynomial, f"generator, order {n}")
    change, step, base = sp.symbols("change step base", positive=True)
    entropy = base * sp.log(base / (base + step * change))
    quadratic = sp.series(entropy, step, 0, 3).removeO()
    require_zero(sp.expand(quadratic + step * change) - step**2 * change**2 / (2 * base), "KL to second order")


@check(
    "SP-9",
    "1 - 2 G_1 + G_2 >= (1 - G_1)^2 and grows with 1/alpha; the bound of one round at alpha = 1",
    SIGN,
    "all a, alpha in (0,1)",
)
def spread_over_ages() -> None:
    """Variance of a^G; at alpha = 1 the bound is (1-a)^2 I."""
    require_nonnegative(inside(SPREAD - (1 - G1) ** 2), "variance of a^G", strict=True)
    require_nonnegative(inside(-sp.diff(SPREAD, alpha)), "falls with alpha", strict=True)
    require_zero(SPREAD.subs(alpha, 1) - (1 - a) ** 2, "alpha = 1")


@check(
    "SP-9",
    "W_2(S_t p, p) <= (1-a) sqrt(I) for normals, where both are known",
    SIGN,
    "all means, deviations, a",
    sole=False,
)
def normal_case() -> None:
    """W_2^2 = (1-a)^2 mu^2 + (s - s')^2, I = mu^2 + (s - 1/s)^2, s'^2 = 1 + a^2(s^2-1). As s'^2 - s^2 =
    (1-a^2)(1-s^2), |s'-s| <= (1-a)|s - 1/s| iff (1+a) s <= s + s' iff a s <= s', and s'^2 - a^2 s^2 = 1 - a^2."""
    s, after = sp.symbols("s after", positive=True)
    square = 1 + a**2 * (s**2 - 1)
    require_zero(square - s**2 - (1 - a**2) * (1 - s**2), "difference of squares")
    require_zero((1 - a**2) * (1 - s**2) / (s + after) - (1 - a) * (1 / s - s) * (1 + a) * s / (s + after), "quotient")
    require_nonnegative(inside(square - a**2 * s**2), "a s <= s'", strict=True)


@check("SP-9", "both bounds hold", ATTACK, "40 random mixtures on the line", sole=False)
def bound_attack() -> str:
    """Slack: the quadrature's own error of W_2 and of I."""
    rng, largest = np.random.default_rng(9), [0.0, 0.0]
    for _ in range(40):
        share, factor = rng.uniform(0.15, 1), 1 - 10 ** rng.uniform(-4, -0.4)
        real = laws.random_mixture(rng)
        found, error = laws.wasserstein(real, laws.limit(real, share, factor, 1e-12))
        first, second = gain(share, factor), gain(share, factor**2)
        spread = (1 - factor) ** 2 * (1 + (1 - share) * factor) / (1 - (1 - share) * factor)
        spread /= 1 - (1 - share) * factor**2
        require(abs(spread - (1 - 2 * first + second)) < 1e-14, "spread without cancellation")
        information, rest = laws.fisher(real)
        bounds = (spread * (information + rest)) ** 0.5, (spread * real.moment(2) + 1 - second) ** 0.5
        for i, bound in enumerate(bounds):
            require(found <= bound + error, f"bound {i + 1}: {found / bound:.8f}")
            largest[i] = max(largest[i], found / bound)
    return f"largest over bound: Fisher {largest[0]:.4f}, second {largest[1]:.4f}"


@check(
    "SP-9",
    "W_2 over asymptote 0.998, 0.862, 0.141 at kappa t0/alpha = 1e-4, 1e-2, 1/2; -> 1 linearly",
    ATTACK,
    "default data, alpha = .1, float64 with quadrature error below 1e-6",
)
def asymptote_at_default_data() -> str:
    """The limit of the ratio is seen as well: its distance from 1 falls tenfold with t0."""
    real, share, ratios = laws.default_data(), 0.1, []
    information, rest = laws.fisher(real)
    require(rest < 1e-9 * information, "Fisher information not resolved")
    for scale in (1e-4, 1e-2, 0.5, 1e-5):
        found, error = laws.wasserstein(real, laws.limit(real, share, exp(-scale * share), 1e-13))
        asymptote = scale * information**0.5
        require(error < 1e-6 * asymptote, f"W_2 not resolved: {error / asymptote:.1e} at {scale}")
        ratios.append(found / asymptote)
    for value, printed in zip(ratios, ("0.998", "0.862", "0.141"), strict=False):
        require(abs(value - float(printed)) <= 0.0005, f"{value:.5f} for {printed}")
    require(0.08 < (1 - ratios[3]) / (1 - ratios[0]) < 0.125, "not linear in t0")
    return ", ".join(f"{value:.5f}" for value in ratios)
