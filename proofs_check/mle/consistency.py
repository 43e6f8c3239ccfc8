"""Multiplicative chains and consistency (MLE-15 to MLE-17)."""

import numpy as np
import sympy as sp
from scipy import special

from proofs_check.ground import ATTACK, SYMBOLIC, check, require, require_zero

n, x, s, m = sp.symbols("n x s m", positive=True)


@check("MLE-15", "moments and logarithms of Gamma(n)/n; beta: -ln x is exponential", SYMBOLIC, "all n, theta")
def multiplicative() -> None:
    density = x ** (n - 1) * sp.exp(-x) / sp.gamma(n)
    moment = sp.simplify(sp.integrate((x / n) ** s * density, (x, 0, sp.oo)))
    require_zero(sp.gammasimp(moment.subs(s, 2)) - (1 + 1 / n), "square")
    require_zero(sp.gammasimp(moment.subs(s, 1)) - 1, "mean")
    inverse = sp.gamma(n - 1) / sp.gamma(n) * n
    require_zero(sp.gammasimp(inverse) - n / (n - 1), "inverse")
    logs = sp.loggamma(n + s) - sp.loggamma(n) - s * sp.log(n)
    require_zero(sp.diff(logs, s).subs(s, 0) - sp.digamma(n) + sp.log(n), "mean of the logarithm")
    require_zero(sp.diff(logs, s, 2).subs(s, 0) - sp.polygamma(1, n), "variance of the logarithm")
    theta, y = sp.symbols("theta y", positive=True)
    law = (theta * x ** (theta - 1)).subs(x, sp.exp(-y)) * sp.exp(-y)
    require_zero(sp.simplify(law - theta * sp.exp(-theta * y)), "beta")


@check("MLE-15", "psi(n) - ln n < 0, about -1/(2n); the mean square of MLE-1 is the same", SYMBOLIC, "all n")
def drift() -> None:
    require_zero(m**2 + m**2 * ((1 + 1 / n) - 1) - m**2 * (1 + 1 / n), "one round of MLE-1")
    require_zero(
        sp.limit(sp.series(sp.digamma(1 / x) + sp.log(x), x, 0, 2).removeO() / x, x, 0) + sp.Rational(1, 2), "rate"
    )
    require(bool(np.all(special.digamma(np.arange(1, 400)) < np.log(np.arange(1, 400)))), "sign")


@check(
    "MLE-16",
    "increments of variance a_t V, symmetric and independent: 2 P(|S_t| > r) bounds the path",
    SYMBOLIC,
    "all n, t, r",
    uses="Levy's inequality for sums of independent symmetric increments; sum 1/k^2 = pi^2/6",
)
def levy() -> None:
    """Noise of a Gaussian location family does not depend on the model, so m_t - m_0 is such a sum; 2 P(|S| > r) = 2
    erfc(r/sqrt(2 Var)) <= 4 exp(-r^2/(2 Var))."""
    variance, delta = sp.symbols("Var delta", positive=True)
    radius = sp.sqrt(2 * variance * sp.log(4 / delta))
    require_zero(sp.simplify(4 * sp.exp(-(radius**2) / (2 * variance)) - delta), "radius")
    k = sp.Symbol("k", integer=True, positive=True)
    require_zero(sp.summation(1 / k**2, (k, 1, sp.oo)) - sp.pi**2 / 6, "sum")
    z = np.linspace(0, 20, 2001)
    require(bool(np.all(special.erfc(z) <= 2 * np.exp(-(z**2)))), "erfc")


@check(
    "MLE-16",
    "paths that leave the ball, simulated: never above the bound",
    ATTACK,
    "20000 paths, 5 radii, 100 rounds",
    sole=False,
)
def paths() -> str:
    rng = np.random.default_rng(16)
    steps = rng.normal(size=(20000, 100)) / np.arange(1, 101)
    far = np.maximum.accumulate(np.abs(np.cumsum(steps, axis=1)), axis=1)
    scale = np.sqrt(np.cumsum(1 / np.arange(1.0, 101) ** 2))
    worst = 0.0
    for radius in (1.0, 1.5, 2.0, 2.5, 3.0):
        bound = np.minimum(1, 2 * special.erfc(radius / scale / 2**0.5))
        found = (far > radius).mean(axis=0)
        slack = 5 * np.sqrt(found * (1 - found) / 20000) + 1e-9
        require(bool(np.all(found - slack <= bound)), f"radius {radius}")
        worst = max(worst, float((found / bound).max()))
    return f"reaches {worst:.2f} of it"


@check(
    "MLE-17",
    "KL = (information) d^2/2 + O(d^3); the mean's error has variance sum a_i/information",
    SYMBOLIC,
    "exponential, gamma, normal",
)
def leading() -> None:
    """Second derivatives of KL at the truth, and the variance of both parameters of a normal to leading order."""
    k = sp.Symbol("k", positive=True)
    distance = k * (sp.log(x / m) + m / x - 1)
    require_zero(sp.diff(distance, x).subs(x, m), "gamma: slope")
    require_zero(sp.diff(distance, x, 2).subs(x, m) - k / m**2, "gamma: information k/m^2 = 1/V")
    off, v = sp.symbols("off v", positive=True)
    normal = (sp.log(v) + (1 + off**2) / v - 1) / 2
    require_zero(sp.diff(normal, off, 2).subs({off: 0, v: 1}) - 1, "mean")
    require_zero(sp.diff(normal, v, 2).subs({off: 0, v: 1}) - sp.Rational(1, 2), "variance")
    # Var of the fitted mean: a; of the fitted variance: 2 a to leading order (chi-squared)
    a = sp.Symbol("a")
    require_zero((a * 1 + 2 * a * sp.Rational(1, 2)) / 2 - a, "normal: d = 2 parameters, d a/2")
    require_zero((m**2 / k * a) * (k / m**2) / 2 - a / 2, "gamma: d = 1")


@check(
    "MLE-17",
    "margin: relative error below (3/n + 4 sum a) exp(2 sum a)",
    ATTACK,
    "n = 20, 50; both regimes; 10 rounds; 1e5 chains",
)
def margin() -> str:
    """Simulated by chi-squares and gamma sums; the error is what is left after 4 standard errors."""
    rng, worst, chains = np.random.default_rng(17), 0.0, 100_000
    for size, kept in ((20, True), (50, True), (20, False), (50, False)):
        mean, total, sums = np.ones(chains), np.zeros(chains), 0.0
        mu, var, pool = np.zeros(chains), np.ones(chains), (np.zeros(chains), np.zeros(chains))
        for t in range(1, 11):
            batch = mean * rng.gamma(size, size=chains)
            total = total + batch if kept else batch
            points = size * t if kept else size
            mean = total / points
            fresh = mu + np.sqrt(var / size) * rng.normal(size=chains)
            within = var * rng.chisquare(size - 1, chains)
            if kept and t > 1:
                before = points - size
                gap = fresh - pool[0]
                pool = pool[0] + size / points * gap, pool[1] + within + before * size / points * gap**2
            else:
                pool = fresh, within
            mu, var = pool[0], pool[1] / points
            sums += size / points**2
            for d, kl in ((1, np.log(mean) + 1 / mean - 1), (2, (np.log(var) + (1 + mu**2) / var - 1) / 2)):
                relative = abs(kl.mean() / (d / 2 * sums) - 1) - 4 * kl.std() / chains**0.5 / (d / 2 * sums)
                worst = max(worst, relative / (3 / size + 4 * sums) / np.exp(2 * sums))
    require(worst <= 1, f"{worst:.2f} of the margin")
    return f"at most {worst:.2f} of it"
