"""Deterministic equivalents (REG-6, REG-7, REG-11): what the code computes is the sheet's step, and attacks on its
size.

That a fit on Gaussian rows behaves as the equivalents say is not proved here; it is attacked with chains by brute
force, whose deviation must stay within the margin ``1.5/(T - df_2)`` that the register states.
"""

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SYMBOLIC, check, require, require_zero
from proofs_check.regression.tools import T0, T, chain_errors, d, n, sigma, sigma0

MARGIN = 1.5


def solve_kappa(spectrum: np.ndarray, rows: float, ridge: float) -> float:
    """By bisection in log k."""
    if ridge == 0 and rows >= len(spectrum):
        return 0.0
    low, high = 1e-12 * spectrum.min(), ridge + spectrum.sum() / rows + 1
    for _ in range(200):
        middle = (low * high) ** 0.5
        rises = 1 - ridge / middle - (spectrum / (spectrum + middle)).sum() / rows > 0
        low, high = (low, middle) if rises else (middle, high)
    return low


def step(spectrum, mean, square, fit):
    """REG-6 as in the sheet."""
    rows, noise, ridge = fit
    k = solve_kappa(spectrum, rows, ridge)
    kept, b = spectrum / (spectrum + k), spectrum / (spectrum + k) ** 2
    freedom = rows - (kept**2).sum()
    return kept * mean, kept**2 * square + b * (k**2 * (b * square).sum() + noise**2) / freedom, freedom


def predicted(spectrum, truth, generators, learner, rounds: int):
    """``[rounds + 1]``, E(n), and the margin."""
    mean, square, out, coarse = truth, truth**2, [], []
    for _ in range(rounds + 1):
        m, M, freedom = step(spectrum, mean, square, learner)
        out.append((spectrum * (M - 2 * m * truth + truth**2)).sum())
        coarse.append(max([1 / freedom, *coarse]))
        mean, square, made = step(spectrum, mean, square, generators)
        coarse[-1] = max(coarse[-1], *coarse)
        coarse.append(1 / made)
    return np.array(out), np.array(coarse)[: 2 * rounds + 1 : 2]


@check(
    "REG-6",
    "the step in deviations from the truth (positive terms alone) is the sheet's step",
    SYMBOLIC,
    "all spectra, kappa; T - df_2 = T - df_1 + sum A q = T lambda/kappa + sum A q",
)
def positive_form() -> None:
    """m = (1-g) w_0, D = M - 2 m w_0 + w_0^2; B kappa^2 = mu q^2, B = A^2/mu."""
    mu, k, w, g, M, add = sp.symbols("mu kappa w g M add")
    A, q = mu / (mu + k), k / (mu + k)
    mean, after = (1 - g) * w, A**2 * M + add
    distance = M - 2 * mean * w + w**2
    require_zero(sp.simplify((1 - (A * g + q)) * w - A * mean), "mean")
    claimed = A**2 * distance + (2 * A * g + q) * q * w**2 + add
    require_zero(sp.simplify(claimed - (after - 2 * A * mean * w + w**2)), "distance")
    require_zero(sp.simplify(mu / (mu + k) ** 2 * k**2 - mu * q**2), "kappa^2 B")
    require_zero(sp.simplify(mu / (mu + k) ** 2 - A**2 / mu), "B")
    require_zero(sp.simplify(A - A**2 - A * q), "df_1 - df_2")
    lam, df1 = sp.symbols("lambda df1")
    require_zero(sp.solve(k - lam - k * df1 / T, df1)[0] - T * (1 - lam / k), "T - df_1 = T lambda/kappa")


@check("REG-6", "kappa = 0: REG-1 with T - d for T - d - 1; fixed point needs no ridge limit", SYMBOLIC, "all d < T")
def plain() -> None:
    """A = 1, B = 1/mu, df_2 = d: every round adds s^2/(mu (T-d)) to M."""
    added = d * sigma0**2 / (T0 - d)
    own = d * sigma**2 / (T - d)
    require_zero(n * added + own - (sigma**2 * d / (T - d) + n * sigma0**2 * d / (T0 - d)), "sum")


@check(
    "REG-6",
    "brute-force chains stay within 1.5/(T-df_2) of the step, ridge and none, T above and below d, two spectra",
    ATTACK,
    "d = 24, 9 settings, n = 0, 1, 3",
)
def attack_step() -> str:
    """Deviation in units of the margin, less three standard errors."""
    rng, worst, size = np.random.default_rng(6), 0.0, 24
    truth = np.linspace(1, 2, size)
    flat, steep = np.full(size, 0.5), np.arange(1, size + 1.0) ** -1.5
    settings = [
        (flat, (48, 0.5, 0.0), (48, 0.5, 0.0)),
        (flat, (12, 0.5, 0.0), (12, 0.5, 0.0)),
        (flat, (12, 0.5, 0.0), (60, 0.5, 0.0)),
        (flat, (60, 0.5, 0.1), (12, 0.5, 0.1)),
        (flat, (30, 1.0, 1.0), (24, 0.2, 0.05)),
        (steep, (12, 0.3, 0.0), (14, 0.3, 0.01)),
        (steep, (50, 0.5, 0.01), (24, 0.5, 0.1)),
        (steep, (24, 0.5, 0.01), (24, 0.1, 0.003)),
        (steep, (60, 0.5, 0.0), (12, 0.5, 0.0)),
    ]
    for spectrum, generators, learner in settings:
        law, coarse = predicted(spectrum, truth, generators, learner, 3)
        found = chain_errors(rng, spectrum, truth, generators, learner, 3, 1000)
        noise = found.std(axis=1) / found.shape[1] ** 0.5
        beyond = (abs(found.mean(axis=1) - law) - 3 * noise) / (MARGIN * coarse * law)
        worst = max(worst, beyond.max())
        require(worst <= 1, f"{generators}, {learner}: {beyond}")
    return f"at most {worst:.2f} of the margin"


@check(
    "REG-7",
    "REG-6 after n rounds with kappa_0 = 0 and covariance n s_0^2/(mu (T_0-d)) is Bias + Var + n s_0^2 rho",
    SYMBOLIC,
    "all, in three directions",
)
def ridge_after_plain() -> None:
    """Sums of three directions with eigenvalues, truth and kappa as symbols; T - df_2 a symbol F, df_2 = sum A^2."""
    mus, ws = sp.symbols("mu1:4", positive=True), sp.symbols("w1:4")
    k, free, extra, rows = sp.symbols("kappa F s_n T", positive=True)
    kept = [mu / (mu + k) for mu in mus]
    lost = [k / (mu + k) for mu in mus]
    squares = [w**2 + extra / mu for w, mu in zip(ws, mus, strict=True)]
    unexplained = sum(mu * q**2 * M for mu, q, M in zip(mus, lost, squares, strict=True)) + sigma**2
    df2 = sum(a**2 for a in kept)
    bias = sum(mu * (a**2 * M - 2 * a * w**2 + w**2) for mu, a, M, w in zip(mus, kept, squares, ws, strict=True))
    whole = bias + df2 * unexplained / free
    clean = sum(mu * q**2 * w**2 for mu, q, w in zip(mus, lost, ws, strict=True))
    claimed = clean * (1 + df2 / free) + sigma**2 * df2 / free
    claimed += extra * (df2 + sum(q**2 for q in lost) * df2 / free)
    require_zero(sp.simplify(whole - claimed), "sum")
    share = sp.Symbol("df2", positive=True)
    require_zero(sp.simplify(1 / (1 - share / rows) - (1 + share / (rows - share))), "1/(1 - df_2/T)")


@check(
    "REG-7", "ridge after least squares by brute force: within 1.5/(T-df_2)", ATTACK, "d = 20, two spectra", sole=False
)
def attack_ridge() -> str:
    """With T_0 - d - 1 in rho."""
    rng, worst, truth = np.random.default_rng(7), 0.0, np.linspace(1, 2, 20)
    for spectrum in (np.ones(20), np.arange(1, 21.0) ** -1.5):
        for rows, ridge in ((15, 0.1), (40, 0.03)):
            k = solve_kappa(spectrum, rows, ridge)
            kept, lost = spectrum / (spectrum + k), k / (spectrum + k)
            over = (kept**2).sum() / (rows - (kept**2).sum())
            law = (spectrum * lost**2 * truth**2).sum() * (1 + over) + 0.25 * over
            law = law + np.arange(4) * 0.49 * ((kept**2).sum() + (lost**2).sum() * over) / 19
            found = chain_errors(rng, spectrum, truth, (40, 0.7, 0.0), (rows, 0.5, ridge), 3, 1500)
            noise = found.std(axis=1) / found.shape[1] ** 0.5
            beyond = (abs(found.mean(axis=1) - law) - 3 * noise) / (MARGIN / (rows - (kept**2).sum()) * law)
            worst = max(worst, beyond.max())
    require(worst <= 1, f"{worst:.2f} of the margin")
    return f"at most {worst:.2f} of the margin"


@check("REG-11", "means: E m_n = A^n w_0 within 1.5 n/(T-df_2), by brute force", ATTACK, "d = 16, T = 20 and 10")
def attack_mean() -> str:
    """The mean of the fit given the labels' weights is E[(X'X + T ridge)^-1 X'X], diagonal by symmetry of signs."""
    rng, worst = np.random.default_rng(11), 0.0
    spectrum = np.arange(1, 17.0) ** -1.2
    for rows, ridge in ((20, 0.05), (10, 0.02)):
        inputs = rng.normal(size=(12000, rows, 16)) * np.sqrt(spectrum)
        gram = np.einsum("ctd,cte->cde", inputs, inputs)
        kept = np.einsum("cii->ci", np.linalg.solve(gram + rows * ridge * np.eye(16), gram))
        k = solve_kappa(spectrum, rows, ridge)
        law = spectrum / (spectrum + k)
        noise = kept.std(axis=0) / len(kept) ** 0.5
        beyond = (abs(kept.mean(axis=0) - law) - 3 * noise) / (MARGIN / (rows - (law**2).sum()) * law)
        worst = max(worst, beyond.max())
    require(worst <= 1, f"{worst:.2f} of the margin")
    return f"at most {worst:.2f} of the margin"


@check(
    "REG-11",
    "independent rounds multiply: E w_n = prod E[(X'X + T ridge)^-1 X'X] w_0; no shrinkage iff kappa_0 = 0",
    SYMBOLIC,
    "all",
)
def rounds_multiply() -> None:
    """Fresh inputs each round; mu/(mu+k) = 1 iff k = 0, and kappa = 0 iff ridge 0 and T >= d."""
    mu, k = sp.symbols("mu k", positive=True)
    require_zero(sp.simplify(1 - mu / (mu + k) - k / (mu + k)), "loss")
    lam, rows, df1 = sp.symbols("lambda T df1", positive=True)
    require_zero(sp.simplify(sp.solve(k - lam - k * df1 / rows, k)[0] - lam / (1 - df1 / rows)), "kappa")
