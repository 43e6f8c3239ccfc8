"""The replacement chain in the population (DAE-1, 5, 6, 7, 9), without noise (18), from the prior (17), and as a
truncated diffusion (19)."""

import numpy as np
import sympy as sp
from flint import arb, fmpq, fmpq_mat

from proofs_check.dae.tools import (
    average,
    beta,
    c,
    diagonal,
    eye,
    gain,
    generic,
    lam,
    random_matrix,
    random_orthogonal,
    random_rational,
    rotation,
    round_map,
    s,
    second_moment,
    step,
    x,
    z,
)
from proofs_check.ground import (
    ATTACK,
    SIGN,
    SYMBOLIC,
    check,
    require,
    require_nonnegative,
    require_zero,
)

AFTER = round_map(x, c)
RATIO = sp.cancel(AFTER / x)


@check(
    "DAE-5",
    "mean of (X+E)(X+E)'/n is S + noise; x' = x^2 (x+c)/(x+1)^2",
    SYMBOLIC,
    "all x, c; noise mean for generic X, (d,n) in (2,1) (2,2)",
)
def population_map() -> None:
    """Average the noisy second moment entry by entry, then fit and apply the gain of one direction."""
    for d, n in ((2, 1), (2, 2)):
        points, noise, variance = generic("x", d, n), generic("e", d, n), sp.Symbol("v", positive=True)
        mean = second_moment(points + noise).applyfunc(lambda q: average(sp.expand(q), list(noise), variance))  # noqa: B023
        require_zero(mean - second_moment(points) - variance * sp.eye(d), f"noise mean, d={d}, n={n}")
    require_zero(AFTER - x**2 * (x + c) / (x + 1) ** 2, "one direction")


@check("DAE-5", "W (S + c s) W keeps the eigenvectors and maps every eigenvalue", SYMBOLIC, "generic rotated plane")
def keeps_eigenvectors() -> None:
    """W = Q diag(g) Q' solves the normal equations W (S+s) = S iff g = lambda/(lambda+s); then form W (S + c s) W'."""
    t, l1, l2, g1, g2 = sp.symbols("t l1 l2 g1 g2", positive=True)
    turn = rotation(t)
    moment, fitted = turn * sp.diag(l1, l2) * turn.T, turn * sp.diag(g1, g2) * turn.T
    normal = fitted * (moment + s * sp.eye(2)) - moment
    require_zero(normal - turn * sp.diag(g1 * (l1 + s) - l1, g2 * (l2 + s) - l2) * turn.T, "normal equations")
    after = fitted * (moment + c * s * sp.eye(2)) * fitted.T
    require_zero(after - turn * sp.diag(g1**2 * (l1 + c * s), g2**2 * (l2 + c * s)) * turn.T, "second moment")
    require_zero(s * AFTER.subs(x, lam / s) - (lam / (lam + s)) ** 2 * (lam + c * s), "units")


@check("DAE-5", "h_c ~ c x^2 and h_0 ~ x^3 at 0; h_c - x - (c-2) = ((3-2c)x + 2-c)/(x+1)^2", SYMBOLIC, "all x, c")
def expansions() -> None:
    """Limits of the ratios at 0; at infinity an exact remainder, whose leading term is (3-2c)/x."""
    require_zero(sp.limit(AFTER / x**2, x, 0) - c, "near 0")
    require_zero(sp.limit(AFTER.subs(c, 0) / x**3, x, 0) - 1, "near 0, no noise")
    rest = AFTER - x - (c - 2)
    require_zero(rest - ((3 - 2 * c) * x + 2 - c) / (x + 1) ** 2, "remainder")
    require_zero(sp.limit(rest * x, x, sp.oo) - (3 - 2 * c), "order 1/x")


@check(
    "DAE-5",
    "actual matrices whose noise has the exact second moments obey the map",
    ATTACK,
    "100 exact rational cases, d<=5, rank k<=d",
    sole=False,
)
def realised_population() -> None:
    """X = [B, 0], E = [0, e 1] have X E' = 0 and E E'/n = noise: the population round at finite n, exactly."""
    rng = np.random.default_rng(5)
    for _ in range(100):
        d = int(rng.integers(1, 6))
        k, noise, size = int(rng.integers(1, d + 1)), random_rational(rng), random_rational(rng)
        turn = random_orthogonal(rng, d)
        roots = sorted((random_rational(rng) for _ in range(d)), reverse=True)
        block = (turn * diagonal(roots)).tolist()
        extra = eye(d, size).tolist()
        signal = fmpq_mat([row + [fmpq(0)] * d for row in block])
        generated = fmpq_mat([[fmpq(0)] * d + row for row in extra])
        values = [root * root / (2 * d) for root in roots]
        kept = turn * diagonal([fmpq(int(i < k)) for i in range(d)]) * turn.transpose()
        moment = signal * signal.transpose() * fmpq(1, 2 * d)
        fitted = kept * moment * (moment + eye(d, noise)).inv()
        after = fitted * (signal + generated)
        ratio = size * size / (2 * d) / noise
        mapped = [noise * step(v / noise, ratio) if i < k else fmpq(0) for i, v in enumerate(values)]
        require(after * after.transpose() * fmpq(1, 2 * d) == turn * diagonal(mapped) * turn.transpose(), "one round")


@check("DAE-6", "x' - x = x((c-2)x - 1)/(x+1)^2: fixed points 0 and 1/(c-2); slope there", SYMBOLIC, "all x, c")
def fixed_points() -> None:
    """Factorise the change of one round; differentiate the map at the non-zero root."""
    require_zero(AFTER - x - x * ((c - 2) * x - 1) / (x + 1) ** 2, "factorisation")
    fixed = 1 / (c - 2)
    require_zero(AFTER.subs(x, fixed) - fixed, "fixed point")
    require_zero(sp.diff(AFTER, x).subs(x, fixed) - (1 + (1 - 1 / (c - 1)) ** 2), "slope")
    require_zero(sp.limit(AFTER - x, x, sp.oo) - (c - 2), "growth per round")


@check(
    "DAE-6",
    "c <= 2: x' < x, so every start collapses; c > 2: falls below x*, grows above it",
    SIGN,
    "all x > 0, c >= 0",
)
def threshold() -> None:
    """The map increases, so orbits are monotone and stay on their side of x*; a bounded one ends at a fixed point.

    For c <= 2 the only one is 0. For c > 2, with u the distance from x* in either direction, the change has the sign
    of x - x*; above x* there is no fixed point left, so x grows without bound and its step tends to c - 2.
    """
    require_nonnegative(sp.diff(AFTER, x), "the map increases", strict=True)
    # c = 2 - beta with beta >= 0: the fall has no negative term, and the strict one is free of beta
    fall = x - AFTER.subs(c, 2 - beta)
    require_nonnegative(fall, "fall for c < 2", strict=True)
    require_nonnegative(x - AFTER.subs(c, 2), "fall at c = 2", strict=True)
    excess, above, share = sp.symbols("excess above share", positive=True)
    fixed = 1 / excess
    grown = (AFTER - x).subs(c, 2 + excess)
    require_nonnegative(grown.subs(x, fixed + above), "growth above x*", strict=True)
    # below: x = x* / (1 + share) runs over (0, x*)
    require_nonnegative(-grown.subs(x, fixed / (1 + share)), "fall below x*", strict=True)


@check("DAE-7", "norm ratio = 1 - ((2-c)x+1)/(x^3+(c+1)x^2+2x+1); c=1: rho = 1-1/(x^2+x+1)", SYMBOLIC, "all x, c")
def norm_ratio() -> None:
    """Gain after over gain before, both from the fit; equality at j = 2 is this identity at x_1."""
    ratio = gain(AFTER) / gain(x)
    claimed = 1 - ((2 - c) * x + 1) / (x**3 + (c + 1) * x**2 + 2 * x + 1)
    require_zero(ratio - claimed, "ratio")
    require_zero(ratio.subs(c, 1) - (1 - 1 / (x**2 + x + 1)), "c = 1")
    require_zero(RATIO - x * (x + c) / (x + 1) ** 2, "ratio of the SNR")


@check("DAE-7", "both one-round ratios increase with x (so the first round is the slowest)", SIGN, "0 <= c <= 2, x > 0")
def ratios_increase() -> None:
    """Derivatives with c + beta = 2 and both positive; c = 0 and c = 2 apart. With x_j falling (DAE-6) each later
    ratio is at most the first, and the products telescope to both bounds."""
    # c = 2/(1+w) runs over (0, 2)
    w = sp.Symbol("w", positive=True)
    for ratio in (RATIO, gain(AFTER) / gain(x)):
        slope = sp.diff(ratio, x)
        for value in (2 / (1 + w), sp.Integer(0), sp.Integer(2)):
            require_nonnegative(slope.subs(c, value), f"slope at c = {value}", strict=True)


@check(
    "DAE-7",
    "both bounds hold along the chain, with equality at j = 2",
    ATTACK,
    "300 random chains, 40 rounds, ball arithmetic",
    sole=False,
)
def bounds_along_chains() -> None:
    """A bound is refuted only where the balls exclude it."""
    rng = np.random.default_rng(7)
    for _ in range(300):
        start, noise_ratio = arb(float(10 ** rng.uniform(-2, 3))), arb(float(rng.uniform(0, 2)))
        values = [start]
        for _ in range(40):
            values.append(step(values[-1], noise_ratio))
        norms = [value / (value + 1) for value in values]
        rho, fall = norms[1] / norms[0], values[1] / values[0]
        for j in range(1, len(values)):
            require(not norms[j] > norms[0] * rho**j, f"norm bound at j = {j + 1}")
            require(not values[j] > start * fall**j, f"SNR bound at j = {j + 1}")


@check(
    "DAE-1",
    "the norm decays at least geometrically: 0 < rho < 1 for every start",
    SIGN,
    "population, 0 <= c <= 2, x > 0",
)
def geometric_decay() -> None:
    """1 - rho = ((2-c)x+1)/(...) > 0 with c = 2 - beta, beta in [0, 2]; DAE-7 makes rho a bound for every round."""
    w = sp.Symbol("w", positive=True)
    for value in (2 / (1 + w), sp.Integer(0), sp.Integer(2)):
        ratio = (gain(AFTER) / gain(x)).subs(c, value)
        require_nonnegative(1 - ratio, f"rho < 1 at c = {value}", strict=True)
        require_nonnegative(ratio, f"rho > 0 at c = {value}", strict=True)


@check(
    "DAE-9",
    "r(x) - r(z) = (x-z)((2-c)xz + x + z + c)/((x+1)^2 (z+1)^2): the weaker direction loses share",
    SIGN,
    "0 <= c <= 2, x, z > 0",
)
def weaker_loses() -> None:
    """r = x'/x. The factor beside x - z is positive, so z'/x' = (z/x) r(z)/r(x) <= z/x for z <= x."""
    w = sp.Symbol("w", positive=True)
    factor = (RATIO - RATIO.subs(x, z)) / (x - z)
    require_zero(factor - ((2 - c) * x * z + x + z + c) / ((x + 1) ** 2 * (z + 1) ** 2), "factor")
    for value in (2 / (1 + w), sp.Integer(0), sp.Integer(2)):
        require_nonnegative(factor.subs(c, value), f"sign at c = {value}", strict=True)


@check(
    "DAE-9",
    "partial sums of the normalised spectrum rise: majorisation, so entropy and effective rank fall",
    SYMBOLIC,
    "all d (identity), shown for d = 2, 3, 4",
    uses="entropy is Schur-concave",
)
def majorisation() -> None:
    """New share minus old share of the top m is sum over i <= m < l of x_i x_l (r_i - r_l) >= 0 over positive sums."""
    for d in (2, 3, 4):
        values, ratios = sp.symbols(f"x1:{d + 1}", positive=True), sp.symbols(f"r1:{d + 1}", positive=True)
        new = [v * r for v, r in zip(values, ratios, strict=True)]
        for m in range(1, d):
            gained = sum(new[:m]) / sum(new) - sum(values[:m]) / sum(values)
            pairs = sum(values[i] * values[j] * (ratios[i] - ratios[j]) for i in range(m) for j in range(m, d))
            require_zero(gained - pairs / (sum(new) * sum(values)), f"d = {d}, m = {m}")


@check(
    "DAE-9",
    "z'/x' <= (z/x)^2 (1+x)^2 for z < x: once x is small the weaker share dies; ties stay tied",
    SIGN,
    "all c >= 0, z < x",
)
def down_to_rank_one() -> None:
    """x -> 0 by DAE-6 and z/x never rises, so (z/x)(1+x)^2 < 1 from some round on and z/x falls geometrically."""
    gap = sp.Symbol("gap", positive=True)
    shrink = RATIO.subs(x, z) / RATIO
    require_nonnegative(((z / x) * (1 + x) ** 2 - shrink).subs(x, z + gap), "squared share", strict=True)
    require_nonnegative(
        ((z / x) * (1 + x) ** 2 - shrink).subs(c, 0).subs(x, z + gap), "squared share, c = 0", strict=True
    )
    require_zero(shrink.subs(x, z) - 1, "tied directions")


@check(
    "DAE-9", "effective rank never rises along the chain", ATTACK, "500 random spectra, 30 rounds, float64", sole=False
)
def effective_rank_attack() -> None:
    """Entropy of the normalised spectrum in logarithms; rounding of a sum of d terms is the only slack."""
    rng = np.random.default_rng(9)
    size = 8
    logs, noise_ratio = np.log(10) * rng.uniform(-3, 2, (500, size)), rng.uniform(0, 2, (500, 1))
    before = np.full(500, np.inf)
    for _ in range(30):
        shares = np.exp(logs - logs.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        entropy = -np.sum(np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1)), 0), 1)
        require(np.all(entropy <= before + 1e-14 * size), "the effective rank rises")
        before = entropy
        logs = 2 * logs + np.logaddexp(logs, np.log(noise_ratio)) - 2 * np.log1p(np.exp(logs))


@check(
    "DAE-17", "fixed points ((c-2) +- sqrt(c(c-4)))/2, product 1; x'-x = -x(x^2-(c-2)x+1)/(x+1)^2", SYMBOLIC, "all x, c"
)
def prior_fed_fixed_points() -> None:
    """X' = W E has second moment gain^2 c s; factorise the change of a round."""
    after = gain(x) ** 2 * c
    require_zero(after - x - (-x * (x**2 - (c - 2) * x + 1) / (x + 1) ** 2), "change of a round")
    low, high = ((c - 2 + sign * sp.sqrt(c * (c - 4))) / 2 for sign in (-1, 1))
    for root in (low, high):
        require_zero(sp.expand(root**2 - (c - 2) * root + 1), "root")
    require_zero(sp.expand(low * high - 1), "product")


@check(
    "DAE-17",
    "c < 4: falls from every start; c = 4: x = 1 attracts from above only; c > 4: lower unstable, upper stable",
    SIGN,
    "all x > 0, c >= 0",
)
def prior_fed_threshold() -> None:
    """The map increases, so the sign of x' - x decides. c = (1+q)^2/q has the fixed points q and 1/q, all c > 4."""
    after = gain(x) ** 2 * c
    require_nonnegative(sp.diff(after, x), "the map increases", strict=True)
    # c = 4/(1+w) runs over (0, 4): (x-1)^2 + (4-c) x > 0
    w, above, share = sp.symbols("w above share", positive=True)
    fall = sp.cancel((x - after) * (x + 1) ** 2 / x)
    require_zero(fall - ((x - 1) ** 2 + (4 - c) * x), "square plus (4-c) x")
    require_nonnegative((4 - c).subs(c, 4 / (1 + w)), "4 - c", strict=True)
    # upper fixed point 1 + above, lower its inverse: between them x = 1/q + share-weighted
    upper = 1 + above
    change = (after - x).subs(c, (1 + upper) ** 2 / upper)
    require_nonnegative(-change.subs(x, upper + z), "falls above the upper", strict=True)
    require_nonnegative(change.subs(x, (upper * share + 1 / upper) / (1 + share)), "rises between", strict=True)
    require_nonnegative(-change.subs(x, 1 / upper / (1 + share)), "falls below the lower", strict=True)
    at_four = (x - after).subs(c, 4)
    require_nonnegative(at_four.subs(x, 1 + z), "c = 4, falls to 1 from above", strict=True)
    require_nonnegative(at_four.subs(x, 1 / (1 + z)), "c = 4, leaves 1 below", strict=True)


@check("DAE-17", "c = sigma = 1 is the two-step Euler flow with independent ends", SYMBOLIC, "all lambda")
def two_step_euler() -> None:
    """Velocity E[x1 - x0 | (1-t) x0 + t x1] of independent Gaussians by linear regression; two half steps."""
    at = 1
    for time in (sp.Integer(0), sp.Rational(1, 2)):
        covariance, variance = time * lam - (1 - time), (1 - time) ** 2 + time**2 * lam
        at = at * (1 + sp.Rational(1, 2) * covariance / variance)
    require_zero(at - lam / (lam + 1), "gain of the flow")
    require_zero(at**2 - (gain(x) ** 2 * c).subs({c: 1, x: lam}), "variance after one round")


@check(
    "DAE-18",
    "c = 0: (WX)(WX)'/n = S^3 (S+s)^-2, so realised eigenvalues map by x^3/(x+1)^2",
    SYMBOLIC,
    "all d, n (S commutes with (S+s)^-1)",
)
def noiseless_identity() -> None:
    """S Mi = Mi S since both are functions of S: W S W' = (S Mi) S (Mi S); the spectral theorem does the rest."""
    moment, inverse = sp.symbols("S Mi", commutative=False)
    product = (moment * inverse) * moment * (inverse * moment)
    # sort every S to the left: one commutation moves it past one inverse
    for _ in range(4):
        product = sp.expand(product).subs(inverse * moment, moment * inverse)
    require(product == moment**3 * inverse**2, "product")
    require_zero(AFTER.subs(c, 0) - x**3 / (x + 1) ** 2, "eigenvalue")


@check(
    "DAE-18",
    "realised moments of W X, with n < d too",
    ATTACK,
    "200 exact rational chains of 2 rounds, d<=6, n<=8",
    sole=False,
)
def noiseless_exact() -> None:
    """Fit, apply, measure, in rationals: S'' of two rounds against S^3 (S+s)^-2 iterated."""
    rng = np.random.default_rng(18)
    for _ in range(200):
        d, n, noise = int(rng.integers(1, 7)), int(rng.integers(1, 9)), random_rational(rng)
        points = random_matrix(rng, d, n)
        for _ in range(2):
            moment = points * points.transpose() * fmpq(1, n)
            inverse = (moment + eye(d, noise)).inv()
            points = moment * inverse * points
            after = points * points.transpose() * fmpq(1, n)
            require(after == moment * moment * moment * inverse * inverse, "round without noise")


@check(
    "DAE-19",
    "variance of the posterior mean of a noised Gaussian = DAE-5 with c = 1, s = (1-a^2)/a^2",
    SYMBOLIC,
    "all lambda, 0 < a < 1",
)
def tweedie_step() -> None:
    """Tweedie: mean = (y + (1-a^2) d/dy log p(y))/a with p the Gaussian law of y = a x + sqrt(1-a^2) noise."""
    a, y = sp.symbols("a y", positive=True)
    variance = a**2 * lam + 1 - a**2
    mean = (y + (1 - a**2) * sp.diff(-(y**2) / (2 * variance), y)) / a
    # the same by regression of x on y
    require_zero(mean - a * lam / variance * y, "posterior mean")
    noise = (1 - a**2) / a**2
    require_zero(sp.diff(mean, y) ** 2 * variance - noise * AFTER.subs({c: 1, x: lam / noise}), "variance map")


@check(
    "DAE-19",
    "variance kept = variance - mean square error: P^2/(P+s) for the best linear one, more for the exact one",
    SYMBOLIC,
    "every centred law of variance P",
    uses="the posterior mean has the least mean square error of all estimators",
)
def linear_keeps_less() -> None:
    """Best linear estimate k y of x from y = x + noise; its error is what it does not keep. The exact posterior mean is
    uncorrelated with its error too, so its smaller error keeps more. The linear one is the round with c = 1."""
    k, power = sp.symbols("k P", positive=True)
    error = (1 - k) ** 2 * power + k**2 * s
    (best,) = sp.solve(sp.diff(error, k), k)
    require_zero(best**2 * (power + s) - (power - error.subs(k, best)), "kept by the linear one")
    require_zero(best**2 * (power + s) - s * AFTER.subs({c: 1, x: power / s}), "round with c = 1")


def posterior_spread(weights: np.ndarray, variances: np.ndarray, noise: float) -> tuple[float, float]:
    """Variance of the exact and of the best linear posterior mean for a centred scale mixture plus Gaussian noise."""
    reach = 12 * np.sqrt(variances.max() + noise)
    grid = np.linspace(-reach, reach, 20_001)
    total = variances + noise
    parts = weights * np.exp(-(grid[:, None] ** 2) / (2 * total)) / np.sqrt(2 * np.pi * total)
    density = parts.sum(1)
    mean = grid * (parts * (variances / total)).sum(1) / density
    power = weights @ variances
    # both ends of the grid carry nothing, so the plain sum is the trapezoid rule
    return float(np.sum(mean**2 * density) * (grid[1] - grid[0])), float(power**2 / (power + noise))


@check(
    "DAE-19",
    "a scale mixture's exact posterior mean keeps more variance than the best linear one",
    ATTACK,
    "300 two-scale mixtures, quadrature",
    sole=False,
)
def mixture_keeps_more() -> str:
    """The linear one is the population round with c = 1 on the pool's second moment."""
    rng, least = np.random.default_rng(19), np.inf
    for _ in range(300):
        share = rng.uniform(0.05, 0.95)
        narrow = 10 ** rng.uniform(-2, 1)
        spread = np.array([narrow, narrow * 10 ** rng.uniform(0.3, 2)])
        kept, linear = posterior_spread(np.array([share, 1 - share]), spread, 10 ** rng.uniform(-1, 1))
        require(kept > linear, "the linear posterior mean keeps more")
        least = min(least, kept / linear - 1)
    return f"at least {least:.1e} more"
