"""Random sizes, contexts, parametric models: CON-16 and CON-17."""

from fractions import Fraction

import numpy as np
import sympy as sp

from proofs_check.contamination import tools
from proofs_check.contamination.tools import A, alpha, n
from proofs_check.ground import ATTACK, SYMBOLIC, check, require, require_zero


@check(
    "CON-16",
    "averaging CON-1 over sizes independent of the past, and over rounds without a token",
    SYMBOLIC,
    "every law of n",
)
def random_sizes() -> None:
    """The round is linear in 1/n and in the past: z stays, with weight 1 - z the mean of 1/n is i/(1 - z)."""
    z, i = sp.symbols("z i", positive=True)
    met = z * A + (1 - z) * (i / (1 - z) + (1 - i / (1 - z)) * (1 - alpha) ** 2 * A)
    require_zero(met - (i + (z + (1 - z - i) * (1 - alpha) ** 2) * A), "an empty context keeps its row")


@check("CON-16", "E[1/(1 + Poisson(mu))] = (1 - e^-mu)/mu", SYMBOLIC, "all mu")
def poisson_reciprocal() -> None:
    """sum mu^k e^-mu/((k + 1) k!) = e^-mu (e^mu - 1)/mu: shift the index of the exponential series."""
    mu, x = sp.symbols("mu x", positive=True)
    integral = sp.integrate(sp.exp(-mu * (1 - x)), (x, 0, 1))
    require_zero(sp.simplify(integral - (1 - sp.exp(-mu)) / mu), "integral of the generating function")


@check("CON-16", "rows of enumerated chains of two contexts", ATTACK, "4 chains in rationals", sole=False)
def contexts_enumerated() -> None:
    """One context of a pair: its number of tokens is binomial; all of it summed over."""
    rng = np.random.default_rng(16)
    for number in range(4):
        truth, share, weight, size = tools.random_truth(rng, 2), tools.random_share(rng), Fraction(1, 3), 3
        states, value = tools.first_of(truth, 2), Fraction(1, 2)
        none, mean = (1 - weight) ** size, Fraction(0)
        chances = [tools.multinomial((k, size - k), (weight, 1 - weight)) for k in range(size + 1)]
        mean = sum(chance / k for k, chance in enumerate(chances) if k)
        for _ in range(2):
            grown: dict = {table: w * none for table, w in states.items()}
            for k in range(1, size + 1):
                for table, w in tools.round_of(states, truth, share, k).items():
                    grown[table] = grown.get(table, Fraction(0)) + chances[k] * w
            states = grown
            value = mean + (none + (1 - none - mean) * (1 - share) ** 2) * value
        found = tools.mean_of(states, lambda table, truth=truth: tools.squared(table, truth))
        require(found == tools.diversity(truth) * value, f"chain {number}")


@check(
    "CON-17",
    "first order: V' = 1/n + (1 - alpha)^2 V, KL = d V/2, limit d/(2 n alpha (2 - alpha))",
    SYMBOLIC,
    "n -> infinity",
    uses="the maximum-likelihood error is I^-1 times the mean score, to first order",
)
def first_order() -> None:
    """The score of the mixture has mean (1 - alpha) I theta and covariance I/n; KL is theta' I theta/2."""
    dimension = sp.Symbol("d", positive=True)
    settled = 1 / (n * alpha * (2 - alpha))
    require_zero(1 / n + (1 - alpha) ** 2 * settled - settled, "limit")
    require_zero(dimension / 2 * settled - dimension / (2 * n * alpha * (2 - alpha)), "loss")
    # an exponential family in one parameter: KL(p*|p_theta) = log Z(theta) - theta m, expanded
    theta = sp.Symbol("theta")
    law, feature = sp.symbols("p_1:4", positive=True), sp.symbols("f_1:4")
    weights = [q / sum(law) for q in law]
    mean = sum(q * f for q, f in zip(weights, feature, strict=True))
    logz = sp.log(sum(q * sp.exp(theta * f) for q, f in zip(weights, feature, strict=True)))
    second = sp.diff(logz, theta, 2).subs(theta, 0)
    information = sum(q * f**2 for q, f in zip(weights, feature, strict=True)) - mean**2
    require_zero(sp.simplify(second - information), "curvature is the information")
    require_zero(sp.simplify(sp.diff(logz, theta).subs(theta, 0) - mean), "slope is the mean")


def family_chain(law: np.ndarray, share: float, size: int, rounds: int) -> list[tuple[float, float]]:
    """Exact KL and squared error of a one-parameter family on tokens -1, 0, 1, from the law of the sum of features."""
    feature = np.array([-1.0, 0, 1])
    mean = law @ feature
    information = law @ feature**2 - mean**2
    sums = np.arange(-size, size + 1)

    def fit(value):
        theta, tilted = 0.0, law
        for _ in range(100):
            tilted = law * np.exp(theta * feature)
            tilted /= tilted.sum()
            now = tilted @ feature
            theta += (value - now) / (tilted @ feature**2 - now**2)
        return theta, tilted, float(np.log((law * np.exp(theta * (feature - mean))).sum()))

    inner = np.abs(sums) < 0.9 * size  # what lies beyond has no weight
    fits = [fit(value) for value in sums[inner] / size]

    def spread(one):
        made = np.ones(1)
        for _ in range(size):
            made = np.convolve(made, one)
        return made

    weight = spread(law)[inner]
    matrix = np.array([spread(share * law + (1 - share) * tilted)[inner] for _, tilted, _ in fits])
    out = []
    for _ in range(rounds + 1):
        out.append(
            (float(weight @ [loss for *_, loss in fits]), float(weight @ [th**2 for th, *_ in fits]) * information)
        )
        weight = weight @ matrix
    return out


@check(
    "CON-17",
    "margins of loss and error against exact chains of a one-parameter family",
    ATTACK,
    "4 chains, n = 60 ... 120",
)
def parametric_margin() -> str:
    worst = 0.0
    for law, share, size in (
        (np.array([0.3, 0.4, 0.3]), 0.3, 80),
        (np.array([0.2, 0.3, 0.5]), 0.5, 60),
        (np.array([0.15, 0.55, 0.3]), 0.2, 120),
        (np.array([0.4, 0.2, 0.4]), 0.8, 60),
    ):
        value = 1 / size
        for loss, error in family_chain(law, share, size, 6):
            scale = value * (1 / law).sum() / 4
            for found, claim, slack in ((loss, value / 2, scale), (error, value, 2 * scale)):
                ratio = abs(found - claim) / (claim * slack)
                require(ratio <= 1, f"{law}, alpha = {share}, n = {size}: {ratio:.2f}")
                worst = max(worst, ratio)
            value = 1 / size + (1 - share) ** 2 * value
    return f"largest share of the margin {worst:.2f}"
