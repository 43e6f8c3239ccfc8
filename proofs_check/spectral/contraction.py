"""Contraction per round towards the limit in five distances (SP-8) and without real data (SP-10)."""

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
from proofs_check.spectral.tools import a, alpha, inside, kappa, mode_path, smooth, t, x

SHORT = ("TV", "W1", "W2", "KL", "chi2")


@check(
    "SP-8",
    "W_2 factor a sqrt(1-alpha), W_1 factor (1-alpha) a: same p* points, best pairs of the rest, same noise",
    SYMBOLIC,
    "all p, q, p*, d (couplings on 2 x 2 atoms; cost and marginals are linear in the coupling)",
    uses="optimal couplings exist",
)
def wasserstein_factors() -> None:
    """alpha (X*, X*) + (1-alpha)(X, Y) couples the pools; a X + b Z and a Y + b Z share Z, so distances shrink by a."""
    left, right = sp.symbols("x0 x1"), sp.symbols("y0 y1")
    pairs, same = sp.symbols("pi00 pi01 pi10 pi11"), sp.symbols("real0 real1")
    noise, b, power = sp.symbols("noise b power", positive=True)
    distance, atoms = sp.Function("distance"), sp.symbols("r0 r1")
    places = [(p, q) for p in left for q in right]
    rest = dict(zip(places, pairs, strict=True))
    coupling = {place: (1 - alpha) * mass for place, mass in rest.items()}
    coupling |= {(atom, atom): alpha * mass for atom, mass in zip(atoms, same, strict=True)}
    for side, own in enumerate((left, right)):
        for atom in (*own, *atoms):
            mass = sum(value for place, value in coupling.items() if place[side] == atom)
            alone = sum(value for place, value in rest.items() if place[side] == atom)
            real = dict(zip(atoms, same, strict=True)).get(atom, 0)
            require_zero(mass - alpha * real - (1 - alpha) * alone, "marginal is the pool")

    def cost(masses):
        return sum(value * (0 if p == q else distance(p, q) ** power) for (p, q), value in masses.items())

    require_zero(cost(coupling) - (1 - alpha) * cost(rest), "cost of the mixed coupling")
    require_zero((a * left[0] + b * noise) - (a * right[0] + b * noise) - a * (left[0] - right[0]), "smoothing")
    require_zero(sp.expand((a**power * (1 - alpha)) ** (1 / power)).subs(power, 1) - (1 - alpha) * a, "W_1")
    require_zero(sp.sqrt(a**2 * (1 - alpha)) - a * sp.sqrt(1 - alpha), "W_2")


def excess_over(level, mean, deviation):
    """E (X - level)_+ of a normal X."""
    score = (level - mean) / deviation
    bell = sp.exp(-(score**2) / 2) / sp.sqrt(2 * sp.pi)
    return deviation * bell - (level - mean) * sp.erfc(score / sp.sqrt(2)) / 2


@check(
    "SP-8",
    "a sqrt(1-alpha) is sharp for W_2: p, q, p* at L, L + shift and 0 reach it as L grows",
    SYMBOLIC,
    "all alpha, a, shift",
)
def wasserstein_two_is_sharp() -> None:
    """The top 1-alpha of the quantile range of S(pools). For the pool of q its quantiles sum to at least the mean of
    the far component, (1-alpha) a (L+shift): the lowest alpha of mass has no more than the near component. For p they
    sum to at most (1-alpha) K + E(X-K)_+ for any K, here aL/2: (1-alpha) a L + b psi, psi -> 0. By Cauchy and Schwarz
    W_2^2 >= ((1-alpha) a shift - b psi)^2/(1-alpha), while W_2(p, q) = shift.
    """
    far, shift, b, level = sp.symbols("L shift b K", positive=True)
    for mean in (sp.Integer(0), a * far):
        excess = excess_over(level, mean, b)
        require_zero(sp.simplify(sp.diff(excess, level) + sp.erfc((level - mean) / b / sp.sqrt(2)) / 2), "E (X-K)_+")
        require(sp.limit(excess.subs({mean: 0} if mean else {}), level, sp.oo) == 0, "end of the tail")
    psi = excess_over(sp.Symbol("y", positive=True), 0, 1)
    near = excess_over(a * far / 2, 0, b)
    bound = (1 - alpha) * (a * far / 2 + excess_over(a * far / 2, a * far, b)) + alpha * near
    rest = bound - (1 - alpha) * a * far - near
    require_zero(sp.simplify(rest.rewrite(sp.erf)), "upper sum")
    require_zero(near - b * psi.subs(sp.Symbol("y", positive=True), a * far / (2 * b)), "psi")
    require(sp.limit(psi, sp.Symbol("y", positive=True), sp.oo) == 0, "psi -> 0")
    ratio = ((1 - alpha) * a * shift - b * sp.Symbol("psi")) ** 2 / (1 - alpha) / shift**2
    require_zero(ratio.subs(sp.Symbol("psi"), 0) - a**2 * (1 - alpha), "limit of the ratio")


@check(
    "SP-8",
    "that example at L = 8, shift = 0.01 is within 1e-12 of the factor",
    INTERVAL,
    "a = e^-.05, alpha = .1",
    sole=False,
)
def sharp_example() -> str:
    """The bound of the proof in balls."""
    with ctx.workprec(200):
        share, factor, far, shift = arb("0.1"), arb("-0.05").exp(), arb(8), arb("0.01")
        b = (1 - factor**2).sqrt()
        y = factor * far / (2 * b)
        psi = (-(y**2) / 2).exp() / (2 * arb.pi()).sqrt() - y * (y / arb(2).sqrt()).erfc() / 2
        loss = b * psi / ((1 - share) * factor * shift)
        require(loss < arb("1e-12") and loss > 0, loss.str(3))
        return f"relative loss {loss.str(2, radius=False)}"


@check(
    "SP-8",
    "W_2 factor is reached towards p_inf itself: its first bump moved, data at 60",
    ATTACK,
    "one chain",
    sole=False,
)
def sharp_towards_the_limit() -> str:
    """p_inf of one far point is a row of separate bumps; the first one moved a little keeps 1-alpha of its mass."""
    share, factor = 0.3, 0.8
    real = laws.Mixture(np.ones(1), np.array([60.0]), np.array([0.05]))
    target = laws.limit(real, share, factor)
    moved = target.means.copy()
    moved[0] += 0.3
    start = laws.Mixture(target.weights, moved, target.variances)
    before, error = laws.wasserstein(start, target, points=4001)
    after, other = laws.wasserstein(laws.chain_round(real, start, share, factor), target, points=4001)
    ratio, slack = after / before, (after / before) * (error / before + other / after)
    bound = factor * (1 - share) ** 0.5
    require(0.999 * bound <= ratio + slack and ratio - slack <= bound, f"{ratio / bound:.8f} of the factor")
    return f"{ratio / bound:.6f} of the factor"


@check(
    "SP-8",
    "KL and chi^2 factor 1-alpha: y^2/z and p ln(p/q) are convex and homogeneous, so subadditive",
    SIGN,
    "all densities > 0",
    uses="data processing: smoothing both laws increases neither KL nor chi^2",
)
def divergence_factors() -> None:
    """h(alpha r + (1-alpha) p, alpha r + (1-alpha) q) <= alpha h(r, r) + (1-alpha) h(p, q), and h(r, r) = 0.

    chi^2 directly: (1-alpha)^2 (p-q)^2/(alpha r + (1-alpha) q) <= (1-alpha)(p-q)^2/q. KL: semidefinite Hessian.
    """
    p, q, r, scale = sp.symbols("p q r scale", positive=True)
    pool_p, pool_q = alpha * r + (1 - alpha) * p, alpha * r + (1 - alpha) * q
    gap = (1 - alpha) / q - (pool_p - pool_q) ** 2 / (p - q) ** 2 / pool_q
    require_nonnegative(inside(gap), "chi^2", strict=True)
    entropy = p * sp.log(p / q)
    hessian = sp.hessian(entropy, (p, q))
    require_nonnegative(hessian[0, 0], "KL convex in p", strict=True)
    require_nonnegative(hessian[1, 1], "KL convex in q", strict=True)
    require_zero(hessian.det(), "KL Hessian")
    require_zero(sp.simplify(entropy.subs({p: scale * p, q: scale * q}, simultaneous=True) - scale * entropy), "scale")
    require(entropy.subs(q, p) == 0, "h(r, r)")


@check(
    "SP-8",
    "TV factor 1-alpha: T p - T q = (1-alpha) S(p - q)",
    SYMBOLIC,
    "all p, q",
    uses="a Markov kernel does not increase total variation",
)
def variation_factor() -> None:
    """Smoothing as a letter; the same identity makes the exact gap (1-alpha)^k S^k (p_0 - p_inf)."""
    S, p, q, real = sp.symbols("S p q real")
    one, two = mode_path(alpha, [S], real, p)[1], mode_path(alpha, [S], real, q)[1]
    require_zero(one - two - (1 - alpha) * S * (p - q), "difference")


def distances(first: laws.Mixture, second: laws.Mixture) -> list[tuple[float, float]]:
    """TV, W1, W2, KL, chi^2 with errors."""
    return [
        laws.total_variation(first, second),
        laws.wasserstein(first, second, 1),
        laws.wasserstein(first, second, 2),
        *laws.divergences(first, second),
    ]


@check("SP-8", "all five factors per round", ATTACK, "24 random mixtures p_0, p*, 2 rounds towards p_inf", sole=False)
def factor_attack() -> str:
    """The slack is the quadrature's own error and rounding; an infinite or unresolved divergence is left out."""
    rng, largest = np.random.default_rng(8), dict.fromkeys(SHORT, 0.0)
    for trial in range(24):
        share, factor = rng.uniform(0.15, 0.9), rng.uniform(0.5, 0.999)
        real, law = laws.random_mixture(rng), laws.random_mixture(rng, spread=1 + trial % 4, high=0.9)
        target = laws.limit(real, share, factor, 1e-12)
        bounds = (1 - share, (1 - share) * factor, factor * (1 - share) ** 0.5, 1 - share, 1 - share)
        before = distances(law, target)
        for _ in range(2):
            law = laws.chain_round(real, law, share, factor)
            after = distances(law, target)
            for name, bound, (old, error), (new, slack) in zip(SHORT, bounds, before, after, strict=True):
                if not np.isfinite(old) or error > 0.01 * old:
                    continue
                # sums of float64 round; ordered laws have equality in W_1
                slack = slack + bound * error + 1e-12 * bound * old
                require(new <= bound * old + slack, f"{name}: {new / old / bound:.6f} of its bound")
                largest[name] = max(largest[name], new / old / bound)
            before = after
    require(min(largest.values()) > 0.5, "the attack never comes near")
    return ", ".join(f"{name} {value:.3f}" for name, value in largest.items())


@check(
    "SP-10",
    "alpha = 0: p_k = S^k p_0, c_n^k = a^(k|n|) c_n^0, W_2 factor a, limit N(0,1)",
    SYMBOLIC,
    "all a < 1, k, p_0",
)
def no_real_data() -> None:
    """The round at alpha = 0 is S; covariance goes to the identity and every mode of order >= 1 to 0."""
    S, law, real, excess = sp.symbols("S law real excess")
    require_zero(mode_path(sp.Integer(0), [S], real, law)[1] - S * law, "round")
    k, order = sp.symbols("k n", positive=True, integer=True)
    require_zero(sp.powsimp((a**order) ** k - a ** (k * order)), "mode")
    require_zero(smooth(x**2, x, a) - 1 - a**2 * (x**2 - 1), "covariance minus identity")
    require(sp.limit((sp.Rational(1, 2) ** (2 * k)) * excess, k, sp.oo) == 0, "inflates to the prior")
    # N(0,1) is fixed, so the coupling with the same noise bounds W_2(S p, N(0,1)); a shift of the mean reaches it
    require_zero(sp.sqrt((a * x) ** 2) / sp.sqrt(x**2) - a, "shifted normal: W_2 is the shift")


@check(
    "SP-10",
    "KL(S_t p | N) <= e^(-2 kappa t) KL(p | N): d/dt KL = -kappa I <= -2 kappa KL",
    SYMBOLIC,
    "every p, d",
    uses="Gross: KL(p | N) <= I(p | N)/2",
)
def entropy_decay() -> None:
    """With f = p/N the forward equation is f_t = kappa (f'' - x f'); d/dt E_N f ln f = -kappa E_N f'^2/f by parts."""
    f, bell = sp.Function("f", positive=True)(x), sp.exp(-(x**2) / 2)
    change = kappa * (sp.diff(f, x, 2) - x * sp.diff(f, x))
    flux = kappa * bell * (1 + sp.log(f)) * sp.diff(f, x)
    density = (1 + sp.log(f)) * change * bell
    require_zero(sp.simplify(density - sp.diff(flux, x) + kappa * bell * sp.diff(f, x) ** 2 / f), "by parts")
    whole = sp.Function("p")(x, t)
    forward = kappa * (sp.diff(x * whole, x) + sp.diff(whole, x, 2))
    inserted = forward.subs(whole, f * bell).doit() / bell
    require_zero(sp.simplify(inserted - change), "equation of the ratio")
    require_zero(sp.exp(-2 * kappa * t).subs(kappa * t, -sp.log(a)).subs(t, -sp.log(a) / kappa) - a**2, "a round")


@check("SP-10", "KL factor a^2 for normals", SIGN, "all means, variances s > 0, 0 < a < 1", sole=False)
def entropy_decay_of_normals() -> None:
    """KL = (s - 1 - ln s + mu^2)/2, so the claim is ln(1 + q(s-1)) >= q ln s at q = a^2: equal at q = 0 and 1, and the
    difference is concave in q."""
    s, q = sp.symbols("s q", positive=True)
    slack = sp.log(1 + q * (s - 1)) - q * sp.log(s)
    require_zero(slack.subs(q, 0), "q = 0")
    require_zero(slack.subs(q, 1), "q = 1")
    curvature = -sp.diff(slack, q, 2).subs(q, 1 / (1 + a))
    require_nonnegative(curvature / (s - 1) ** 2, "concave", strict=True)
    mu = sp.Symbol("mu")
    before, after = s - 1 - sp.log(s) + mu**2, q * (s - 1) - sp.log(1 + q * (s - 1)) + q * mu**2
    require_zero(sp.expand(q * before - after - slack), "difference of the divergences")


@check(
    "SP-10", "alpha = 0: W_2 and KL to N(0,1) shrink by a and a^2 per round", ATTACK, "40 random mixtures", sole=False
)
def prior_attack() -> str:
    """Slack: the quadrature's own error, and rounding: a pure shift has equality."""
    rng, largest = np.random.default_rng(10), [0.0, 0.0]
    normal = laws.Mixture(np.ones(1), np.zeros(1), np.ones(1))
    for _ in range(40):
        factor, law = rng.uniform(0.3, 0.999), laws.random_mixture(rng, 2.0)
        after = law.smoothed(factor)
        pairs = (
            (laws.wasserstein(law, normal), laws.wasserstein(after, normal), factor),
            (laws.divergences(law, normal)[0], laws.divergences(after, normal)[0], factor**2),
        )
        for i, ((old, error), (new, slack), bound) in enumerate(pairs):
            slack = slack + bound * error + 1e-12 * bound * old
            require(new <= bound * old + slack, f"{('W2', 'KL')[i]}: {new / old / bound:.8f}")
            largest[i] = max(largest[i], new / old / bound)
    return f"W2 {largest[0]:.4f}, KL {largest[1]:.4f} of the bound"
