"""Exponents under power laws (REG-12 to REG-14): sums against integrals, the balance of two terms, far out."""

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.regression.equivalents import solve_kappa

beta, r, ell, a = sp.symbols("beta r l a", positive=True)


@check(
    "REG-12",
    "df_m = const kappa^(-1/beta); bias kappa^(2 min(r,1)) by the split at mu_i = kappa; kappa ~ T^-l",
    SYMBOLIC,
    "all beta > 1, r; r = 1 has a logarithm",
    uses="sums of power laws are of the order of their integrals",
)
def integrals() -> None:
    """i = kappa^(-1/beta) x turns df_m into kappa^(-1/beta) times an integral free of kappa, finite as beta > 1. Bias:
    directions with mu > kappa give kappa^2 sum i^(2 beta - 1 - 2 beta r), those beyond sum i^(-1-2 beta r)."""
    x, i, k, top = sp.symbols("x i kappa top", positive=True)
    moved = (i**-beta / (i**-beta + k)).subs(i, k ** (-1 / beta) * x)
    require_zero(sp.simplify(moved - 1 / (1 + x**beta)), "free of kappa")
    kept = sp.integrate(i ** (2 * beta - 1 - 2 * beta * r), (i, 1, top), conds="none")
    scale = top ** (2 * beta * (1 - r)) / (2 * beta * (1 - r)) - 1 / (2 * beta * (1 - r))
    require_zero(sp.simplify(kept - scale), "kept directions")
    for smooth, power in ((sp.Rational(1, 2), 1), (sp.Rational(3, 2), 2)):
        # kappa^2 times the kept part at top = kappa^(-1/beta): the larger of kappa^2r and kappa^2
        part = sp.expand(sp.simplify((k**2 * scale).subs(r, smooth).subs(top, k ** (-1 / beta))))
        leading = sp.limit(sp.log(abs(part).subs(beta, 2)) / sp.log(k), k, 0)
        require_zero(leading - power, f"r = {smooth}")
    far = k ** (2 * r)  # kappa^(-1/beta) to the power -2 beta r
    require_zero(sp.simplify((k ** (-1 / beta)) ** (-2 * beta * r) - far), "directions beyond")
    require_zero(
        sp.simplify(
            sp.log((k ** (-1 / beta)).subs(k, sp.Symbol("T", positive=True) ** -ell))
            - sp.log(sp.Symbol("T", positive=True)) * ell / beta
        ),
        "df in T",
    )


def parts(rows: float, ridge: float, decay: float, smooth: float, ratio: float):
    """Bias, fake and own noise of unit variance, df_1, kappa by equivalents; d = rows, T_0 = ratio d."""
    rank = np.arange(1, rows + 1.0)
    spectrum, size = rank**-decay, rank ** -(1 + 2 * decay * smooth)
    k = solve_kappa(spectrum, rows, ridge)
    kept, lost = spectrum / (spectrum + k), k / (spectrum + k)
    over = (kept**2).sum() / (rows - (kept**2).sum())
    fake = ((kept**2).sum() + (lost**2).sum() * over) / (ratio * rows - rows)
    return np.array([(size * lost**2).sum() * (1 + over), fake, over, kept.sum(), k])


@check(
    "REG-12",
    "slopes of the equivalents at T = 2^17 ... 2^19 approach the exponents within 0.03 (0.06 at r = 0.75)",
    ATTACK,
    "d = T, T_0 = 2T; four laws",
)
def slopes() -> str:
    """Also monotone from T = 2^9: the deviation at small T is finite size."""
    worst = 0.0
    for decay, smooth, exponent in ((1.5, 0.5, 1.5), (1.5, 0.5, 0.6), (2.0, 0.75, 1.0), (2.0, 1.5, 0.8)):
        expected = np.array([-2 * min(smooth, 1), *[-(1 / exponent - 1 / decay)] * 2, 1 / decay, -1]) * exponent
        off = []
        for power in (9, 17):
            low, high = (parts(2.0**p, 2.0 ** (-p * exponent), decay, smooth, 2) for p in (power, power + 2))
            off.append(abs(np.log(high / low) / np.log(4) - expected).max())
        require(off[1] <= 0.06 and off[1] <= off[0] + 1e-3, f"beta = {decay}, r = {smooth}, l = {exponent}: {off}")
        worst = max(worst, off[1])
    return f"at most {worst:.3f} off"


@check(
    "REG-13", "2 min(r,1) l = a + 1 - l/beta at l_crit; less or more ridge is slower; a = 0, a = -1", SYMBOLIC, "all"
)
def balance() -> None:
    """One term falls faster with l, the other slower: the best l makes them equal, or is beta."""
    smooth = sp.Symbol("m", positive=True)  # min(r, 1)
    critical = beta * (1 + a) / (2 * beta * smooth + 1)
    require_zero(sp.simplify(sp.solve(2 * smooth * ell - (a + 1 - ell / beta), ell)[0] - critical), "balance")
    require_zero(critical.subs(a, -1), "plateau")
    rate = sp.simplify(2 * smooth * critical.subs(a, 0))
    require_zero(rate - 2 * beta * smooth / (2 * beta * smooth + 1), "rate")
    require_nonnegative(sp.diff(2 * smooth * ell, ell), "bias falls faster", strict=True)
    require_nonnegative(-sp.diff(a + 1 - ell / beta, ell), "noise falls slower", strict=True)


@check(
    "REG-14", "T^(-2ml) = C T^-(1-ell/beta) at T = C^(-1/e), e = 2ml + ell/beta - 1 > 0 iff ell > l_crit", SIGN, "all"
)
def crossover() -> None:
    """Also the rising branch: df_2/(T_0-d) ~ T^(l/beta) for kappa < mu_d is false, up to T^l = d^beta."""
    smooth, C, extra = sp.symbols("m C extra", positive=True)
    e = 2 * smooth * ell + ell / beta - 1
    log_at = -sp.log(C) / e
    require_zero(sp.simplify(-2 * smooth * ell * log_at - (sp.log(C) - (1 - ell / beta) * log_at)), "crossing")
    critical = beta / (2 * beta * smooth + 1)
    require_nonnegative(sp.simplify(e.subs(ell, critical + extra)), "beyond l_crit", strict=True)
    require_zero(sp.simplify(e.subs(ell, critical)), "at l_crit")
    require_zero((1 - ell / beta).subs(ell, beta), "flat at l = beta")


@check(
    "REG-14",
    "fake part with d, T_0 fixed rises like T^(l/beta) in d << T << d^(beta/l)",
    ATTACK,
    "d = 2^16, slopes to 0.05",
)
def rising() -> str:
    """Equivalents; beyond d^(beta/l) it is flat."""
    size, decay, worst = 2**16, 1.5, 0.0
    spectrum = np.arange(1, size + 1.0) ** -decay

    def fake(rows, exponent):
        k = solve_kappa(spectrum, rows, rows**-exponent)
        kept, lost = spectrum / (spectrum + k), k / (spectrum + k)
        over = (kept**2).sum() / (rows - (kept**2).sum())
        return (kept**2).sum() + (lost**2).sum() * over

    for exponent in (0.5, 0.75):
        slope = np.log(fake(2.0**22, exponent) / fake(2.0**20, exponent)) / np.log(4)
        worst = max(worst, abs(slope - exponent / decay))
        require(worst <= 0.05, f"l = {exponent}: slope {slope:.3f}, expected {exponent / decay:.3f}")
    require(abs(np.log(fake(2.0**50, 0.75) / fake(2.0**48, 0.75))) < 0.01, "saturated")
    return f"at most {worst:.3f} off"
