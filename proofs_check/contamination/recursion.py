"""The exact recursion, its covariance, its unrolled and its constant form: CON-1 to CON-4."""

from fractions import Fraction

import numpy as np
import sympy as sp

from proofs_check.contamination import tools
from proofs_check.contamination.tools import A, H, after, alpha, m, n, rho
from proofs_check.ground import ATTACK, SYMBOLIC, check, require, require_nonnegative, require_zero

p, q = sp.symbols("p q", positive=True)
MOMENTS = "E Y_i Y_j = n (n - 1) P_i P_j + n P_i [i = j] of a multinomial"


@check(
    "CON-1",
    "one round maps A C to A' C in every entry, so the risk to H* A'",
    SYMBOLIC,
    "all alpha, n, p*",
    uses=MOMENTS,
)
def one_round_of_second_moments() -> None:
    """Given the past the law is P = alpha p* + (1 - alpha) hat P; E P_i P_j = p_i p_j + (1 - alpha)^2 A C_ij."""
    pair = p * q - (1 - alpha) ** 2 * A * p * q  # C_ij = - p_i p_j
    own = p**2 + (1 - alpha) ** 2 * A * p * (1 - p)  # C_ii = p_i (1 - p_i)
    require_zero((1 - 1 / n) * pair - p * q + after(A) * p * q, "two tokens")
    require_zero((1 - 1 / n) * own + p / n - p**2 - after(A) * p * (1 - p), "one token")


@check("CON-1", "A_0 = 1/n_0, and alpha = 1 gives H*/n", SYMBOLIC, "all n")
def first_round() -> None:
    """A round of real tokens alone, from any past."""
    require_zero(after(A, sp.Integer(1), m) - 1 / m, "first")


def enumerated(rng: np.random.Generator, tokens: int, rounds: int, sizes: tuple[int, int]):
    """A random small chain: its truth, shares, sizes and the law of its last table, in rationals."""
    truth = tools.random_truth(rng, tokens)
    counts = [int(k) for k in rng.integers(*sizes, rounds + 1)]
    shares = [tools.random_share(rng) for _ in range(rounds)]
    states = tools.first_of(truth, counts[0])
    for share, count in zip(shares, counts[1:], strict=True):
        states = tools.round_of(states, truth, share, count)
    return truth, shares, counts, states


@check("CON-1", "risk of chains whose whole distribution is enumerated", ATTACK, "12 chains in rationals", sole=False)
def risk_of_enumerated_chains() -> None:
    rng = np.random.default_rng(1)
    for number in range(12):
        truth, shares, counts, states = enumerated(rng, 2 + number % 2, 3, (1, 5))
        value = Fraction(1, counts[0])
        for share, count in zip(shares, counts[1:], strict=True):
            value = tools.after(value, share, Fraction(count))
        found = tools.mean_of(states, lambda table, truth=truth: tools.squared(table, truth))
        require(found == tools.diversity(truth) * value, f"chain {number}")


@check("CON-2", "the covariance is A_t (diag p* - p* p*'), the mean p*", SYMBOLIC, "all alpha, n, p*", uses=MOMENTS)
def covariance_by_induction() -> None:
    one_round_of_second_moments()
    require_zero(alpha * p + (1 - alpha) * p - p, "mean")


@check("CON-2", "every entry of the covariance, and the mean, of enumerated chains", ATTACK, "6 chains", sole=False)
def covariance_of_enumerated_chains() -> None:
    rng = np.random.default_rng(2)
    for _ in range(6):
        truth, _, _, states = enumerated(rng, 3, 2, (1, 5))
        scalar = tools.mean_of(states, lambda t, truth=truth: tools.squared(t, truth)) / tools.diversity(truth)
        for i in range(3):
            require(tools.mean_of(states, lambda t, i=i: t[i]) == truth[i], "mean")
            for j in range(3):
                found = tools.mean_of(states, lambda t, i=i, j=j, truth=truth: (t[i] - truth[i]) * (t[j] - truth[j]))
                claim = scalar * (truth[i] * (i == j) - truth[i] * truth[j])
                require(found == claim, f"entry {i} {j}")


@check(
    "CON-3",
    "1 - A is multiplied by 1 - 1/n without real data, and the unrolled sum is the recursion",
    SYMBOLIC,
    "all t",
)
def without_real_data() -> None:
    """Induction: the claimed sum at t is 1/n_t + rho_t times the sum at t - 1."""
    require_zero(1 - after(A, sp.Integer(0)) - (1 - 1 / n) * (1 - A), "product")
    total, start, product = sp.symbols("S R P", positive=True)
    require_zero(
        1 / n + rho() * (total + start * product) - ((1 / n + rho() * total) + start * (rho() * product)), "sum"
    )


@check(
    "CON-3",
    "the limit is H* iff sum 1/n diverges; n = 1 gives H* at once",
    SYMBOLIC,
    "all sizes",
    uses="prod (1 - x_u) = 0 iff sum x_u = infinity, for 0 <= x_u < 1",
)
def collapse_without_real_data() -> None:
    require_zero(after(A, sp.Integer(0), sp.Integer(1)) - 1, "n = 1")
    require_nonnegative(tools.inside(after(A, sp.Integer(0)) - A), "never falls")


@check(
    "CON-4", "R_inf = H*/n_eff is the fixed point and the distance to it is multiplied by rho", SYMBOLIC, "all alpha, n"
)
def constant_schedule() -> None:
    size = n - (n - 1) * (1 - alpha) ** 2
    require_zero(after(1 / size) - 1 / size, "fixed point")
    require_zero(after(A) - 1 / size - rho() * (A - 1 / size), "geometric")
    require_zero(size - (n * alpha * (2 - alpha) + (1 - alpha) ** 2), "two forms")
    require(size.subs(alpha, 0) == 1 and sp.simplify(size.subs(alpha, 1) - n) == 0, "limits")


@check("CON-4", "alpha = 0.1, n = 100: n_eff = 19.81", SYMBOLIC, "one case")
def anchor() -> None:
    share = Fraction(1, 10)
    require(100 * share * (2 - share) + (1 - share) ** 2 == Fraction(1981, 100), "anchor")


@check("CON-4", "relaxation: -1/log rho = 1/(2 alpha + 1/n) to leading order", SYMBOLIC, "alpha, 1/n -> 0")
def relaxation() -> None:
    small, ratio = sp.symbols("epsilon r", positive=True)
    log = sp.log(rho(small, 1 / (ratio * small)))
    require_zero(sp.limit(-log / small, small, 0) - (2 + ratio), "rate")


__all__ = ["H", "m"]
