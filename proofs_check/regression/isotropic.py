"""Isotropic inputs: projections on few rows, what is downstream, the floor for linear learners (REG-8 to 10, 15)."""

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.regression.tools import T0, chain_errors, d, n, ridge_fit, rows_of, score, sigma, sigma0

eta, R2, q, spread, nu = sp.symbols("eta R2 q omega nu", positive=True)


@check(
    "REG-8",
    "|w'|^2 = eta |w|^2 + s^2 T_0/(d-T_0-1), <w',w_0> = eta <w,w_0>; solution for all n; error by expansion",
    SYMBOLIC,
    "all d, T_0 <= d-2, n",
    uses="(XX')^-1 of T_0 rows in d directions has E tr = T_0/(d-T_0-1); E P = (T_0/d) I by rotation invariance",
)
def recursion() -> None:
    """w' = P w + X^+ eps, P the projection on the rows. |X^+ eps|^2 has mean s^2 E tr (XX')^-1."""
    own = sigma0**2 * T0 / (d - T0 - 1)
    size = eta**n * R2 + own * (1 - eta**n) / (1 - eta)
    require_zero(sp.simplify(size.subs(n, n + 1) - (eta * size + own)), "square")
    require_zero(size.subs(n, 0) - R2, "start")
    overlap = eta**n * R2
    require_zero(sp.simplify(overlap.subs(n, n + 1) - eta * overlap), "overlap")
    claimed = (1 - eta**n) * R2 + own * (1 - eta**n) / (1 - eta)
    require_zero(sp.simplify(size - 2 * overlap + R2 - claimed), "error")


@check("REG-8", "brute force: square, overlap, error within z 5", ATTACK, "d = 8, T_0 = 4 and 12", sole=False)
def attack_recursion() -> str:
    """Smallest-norm fits of drawn rows."""
    rng, scores, truth = np.random.default_rng(8), [], np.linspace(-1, 2, 8)
    square = truth @ truth
    for rows in (4, 12):
        weights, share = np.broadcast_to(truth, (8000, 8)), min(rows / 8, 1)
        own = 0.36 * (rows / (8 - rows - 1) if rows < 8 else 8 / (rows - 9))
        for number in range(1, 4):
            weights = ridge_fit(*rows_of(rng, np.ones(8), weights, rows, 0.6), 0.0)
            left, noise = share**number, own * sum(share**k for k in range(number))
            scores.append(score((weights**2).sum(1), left * square + noise))
            scores.append(score(weights @ truth, left * square))
            scores.append(score(((weights - truth) ** 2).sum(1), (1 - left) * square + noise))
    require(max(map(abs, scores)) < 5, f"z = {scores}")
    return f"largest z {max(map(abs, scores)):.2f}"


@check("REG-9", "without noise: eta^n R^2 and (1-eta^n) R^2 -> R^2, a geometric rate", SYMBOLIC, "all eta in (0,1)")
def noiseless() -> None:
    """REG-8 at s = 0."""
    left = eta**n * R2
    require_zero(sp.simplify(R2 - (1 - eta**n) * R2 - left), "gap to the level")
    require_zero(sp.simplify(left.subs(n, n + 1) / left - eta), "rate")
    require_zero(sp.limit(left.subs(eta, sp.Rational(9, 10)), n, sp.oo), "limit")


@check(
    "REG-10", "REG-6 for one eigenvalue is the statement, which is the code's sum of positive terms", SYMBOLIC, "all"
)
def downstream() -> None:
    """With A = 1-q, df_2 = d A^2, omega = df_2/(T-df_2): M' = A^2 M + (A^2/mu)(sum mu q^2 M + s^2)/(T-df_2), in sums:
    |w'|^2 = (A^2 + q^2 omega)|w|^2 + s^2 omega and <w',w_0> = A <w,w_0>. 1/(1-df_2/T) = 1 + omega."""
    a1, a2 = 1 - q, 1 - 2 * q + q**2 * (1 + spread)
    left, noise = sp.symbols("left noise", positive=True)
    square, overlap = left * R2 + nu, left * R2
    from_step = ((1 - q) ** 2 + q**2 * spread) * square + noise - 2 * (1 - q) * overlap + R2
    claimed = a2 * (left * R2 + nu) - 2 * a1 * left * R2 + R2 + noise
    require_zero(sp.expand(from_step - claimed), "statement")
    positive = (1 - left + left * q**2 * (1 + spread)) * R2 + ((1 - q) ** 2 + q**2 * spread) * nu + noise
    require_zero(sp.expand(positive - claimed), "code")
    share = sp.Symbol("share", positive=True)
    exact = share * (left * R2 + nu) - 2 * share * left * R2 + R2 + noise
    code = (1 - left + left * (1 - share)) * R2 + share * nu + noise
    require_zero(sp.expand(exact - code), "without ridge: a_1 = a_2 = T/d")


@check("REG-10", "ridgeless learner by brute force: z below 5", ATTACK, "d = 10, T_0 = 5, T = 4 and 16", sole=False)
def attack_downstream() -> str:
    """Exact at these sizes."""
    rng, truth, scores = np.random.default_rng(10), np.linspace(-1, 1.5, 10), []
    size = truth @ truth
    for rows in (4, 16):
        found = chain_errors(rng, np.ones(10), truth, (5, 0.6, 0.0), (rows, 0.4, 0.0), 2, 8000)
        share, own = min(rows / 10, 1), 0.16 * (rows / (9 - rows) if rows < 10 else 10 / (rows - 11))
        for k in range(3):
            left, noise = 0.5**k, 0.36 * 5 / 4 * sum(0.5**j for j in range(k))
            scores.append(score(found[k], (1 - share * left) * size + share * noise + own))
    require(max(map(abs, scores)) < 5, f"z = {scores}")
    return f"largest z {max(map(abs, scores)):.2f}"


tau2, c, b, lam, s, T = sp.symbols("tau2 c b lam s T", positive=True)


@check(
    "REG-15",
    "the best linear predictor of w_0 is b times ridge at lambda_u, its error R^2(1-b) + b^2 ridge error for tau^2",
    SYMBOLIC,
    "every X, by singular values; all n",
    uses="among linear predictors the conditional mean of the Gaussian with the same second moments is best",
)
def best_linear() -> None:
    """Given X only second moments of (w_0, Y) matter to a linear predictor: w_n = w_0 + u with E uu' = c I by
    REG-1's Wishart mean. Along a right singular vector: y = s(w_0 + u) + noise, prior variance r."""
    r = sp.Symbol("r", positive=True)  # R^2/d
    total = r + c
    gain = r * s / (s**2 * total + sigma**2)  # cov(w_0, y)/var y
    shrink, ridge = r / total, sigma**2 / (T * total)
    require_zero(sp.simplify(gain - shrink * s / (s**2 + T * ridge)), "shrunk ridge")
    error = r - r**2 * s**2 / (s**2 * total + sigma**2)
    own = s / (s**2 + T * ridge)
    ridge_error = (own * s - 1) ** 2 * total + own**2 * sigma**2
    require_zero(sp.simplify(error - (r * (1 - shrink) + shrink**2 * ridge_error)), "error")
    free = sp.Symbol("free")
    missed = (free * s - 1) ** 2 * r + free**2 * (s**2 * c + sigma**2)
    require_zero(sp.simplify(missed - error - (free - gain) ** 2 * (s**2 * total + sigma**2)), "any other is worse")
    require_zero(sp.limit(shrink, c, sp.oo), "many rounds: the truth alone is left")


@check(
    "REG-15",
    "plain ridge reaches the floor along s at one ridge, sigma^2/(T r) + c s^2/(T r): the same for all s only if c = 0",
    SIGN,
    "all singular values",
)
def plain_ridge_stays_above() -> None:
    """The ridge that makes s/(s^2 + T lam) the best gain depends on s unless there is no fake noise."""
    r = sp.Symbol("r", positive=True)
    wanted = r * s / (s**2 * (r + c) + sigma**2)
    needed = sp.solve(s / (s**2 + T * lam) - wanted, lam)[0]
    require_zero(sp.simplify(needed - (sigma**2 + c * s**2) / (T * r)), "ridge needed")
    require_nonnegative(sp.diff(needed, s) * s, "depends on s", strict=True)
    require_zero(sp.diff(needed.subs(c, 0), s), "not without fake noise")


@check("REG-15", "no ridge of a grid, shrunk or not, is below the floor by more than 1.5/(T-df_2)", ATTACK, "d = 30")
def attack_floor() -> str:
    """Second moments of ridge fits on drawn rows give the best shrink factor for each ridge."""
    rng, size, rows, made, noise = np.random.default_rng(15), 30, 45, 60, 0.5
    truth, count, lowest = np.full(size, 0.2), 400, np.inf
    r = truth @ truth / size
    for rounds in (0, 2, 6):
        total = r + rounds * noise**2 / (made - size - 1)
        shrink, ridge = r / total, noise**2 / (rows * total)
        k = np.roots([1, 1 - ridge - size / rows, -ridge]).real.max()  # isotropic: k - ridge = k d/(1+k)/T
        df2 = size / (1 + k) ** 2
        over = df2 / (rows - df2)
        claimed = size * r * (1 - shrink)
        claimed += shrink**2 * (total * size * (k / (1 + k)) ** 2 * (1 + over) + noise**2 * over)
        weights = np.broadcast_to(truth, (count, size))
        for _ in range(rounds):
            weights = ridge_fit(*rows_of(rng, np.ones(size), weights, made, noise), 0.0)
        given = rows_of(rng, np.ones(size), weights, rows, noise)
        for tried in np.logspace(-3, 1, 17):
            learned = ridge_fit(*given, tried)
            product, square = (learned @ truth).mean(), (learned**2).sum(1).mean()
            least = truth @ truth - product**2 / square
            plain = ((learned - truth) ** 2).sum(1)
            slack = 3 * plain.std() / count**0.5 + 1.5 / (rows - df2) * claimed
            lowest = min(lowest, (least - claimed) / slack)
            require(least >= claimed - slack, f"n = {rounds}, ridge {tried:.3g}: {least:.4f} below {claimed:.4f}")
            require(plain.mean() >= claimed - slack, "plain ridge")
    return f"closest {lowest:+.2f} of the slack"
