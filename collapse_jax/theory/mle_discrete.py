"""Symbols and counts: loss of diversity, absorption, survival of one symbol (MLE-11 ... MLE-14).

Replacement of n symbols is the haploid Wright-Fisher model: given p, counts are multinomial, ``E sum p'_i (1 - p'_i) =
(1 - 1/n) sum p_i (1 - p_i)``, and p is a martingale that ends at one symbol. A symbol that is not fixed leaves
``H >= 2 (n-1)/n^2``, so Markov's inequality bounds the chance of that. The count of one rare symbol (or of all Poisson
points, exactly) is a branching process with Poisson(1) offspring: with ``q_0 = 0``, ``q_(t+1) = exp(q_t - 1)``, S
points have left no descendant after t rounds with chance ``q_t^S``. A binomial count differs from it by at most
``E[S_j^2] (1 - q)^2/n`` a round, because ``0 <= exp(-y) - (1 - y/n)^n <= y^2 exp(-y)/n`` for 0 <= y <= n.

All formulas here were derived for this project, except the bound ``1 - exp(-lambda/k)`` of arXiv 2412.17646.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.mle import MLESpec
from collapse_jax.theory.mle import CHAINS, COIN, TO_THE_END
from collapse_jax.theory.mle_ground import (
    batches,
    covers,
    family_in,
    noise_path,
    one_batch,
    plain,
    started,
    steps,
    variance_path,
)
from collapse_jax.theory.mle_special import branching_log

SYMBOLS = {"family": "multinomial", "weights": (0.5, 0.3, 0.15, 0.05), "batch": 12.0}
RARE = {"family": "bernoulli", "mean": 0.02, "batch": 200.0}
FEW = {"family": "poisson", "mean": 0.25, "batch": 12.0}
LARGEST = 128
"""Most points for which times of fixation are tabulated."""


def _symbols(spec: MLESpec, result: str, *regimes: str):
    """True chances of the symbols; coins have two."""
    family_in(spec, result, "multinomial", "bernoulli")
    plain(spec, result, *regimes)
    return spec.weights if spec.family == "multinomial" else jnp.stack([spec.mean, 1 - spec.mean])


def _diversity(chances):
    return jnp.sum(chances * (1 - chances))


@register(
    "MLE-11",
    statement="Replace: E H_t = H_0 (1 - 1/n)^t, H = 1 - sum p_i^2.",
    kind="exact",
    observable="diversity",
    check="average of 1 - sum p^2 over independent chains of four symbols",
    example=SYMBOLS,
    generations=8,
    samples=3000,
)
def diversity(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean chance that two points of the fitted model differ, under replacement.

    Formula: ``H_0 prod (1 - 1/n_t)``. MLE-11 (derived), exact.

    Args:
        spec: family multinomial or bernoulli, regime replace, real_fraction 0.

    Returns:
        Prediction of ``diversity``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain.

    >>> diversity(MLESpec("multinomial", batch=2), 2).values.tolist()
    [0.5, 0.25, 0.125]
    """
    chances = _symbols(spec, "MLE-11", "replace")
    return noise_path(_diversity(chances), jnp.full_like(chances[0], -1), steps(spec, generations))


@register(
    "MLE-11/accumulate",
    statement="Accumulate: E H_t = H_0 prod (1 - 1/(n i^2)).",
    kind="exact",
    observable="diversity",
    check="average of 1 - sum p^2 over independent chains of four symbols, every batch kept",
    example=SYMBOLS | {"batch": 3.0, "regime": "accumulate"},
    generations=5,
    samples=CHAINS // 10,
)
def kept_diversity(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean chance that two points of the fitted model differ, every batch kept.

    Formula: ``H_0 prod (1 - n_t/N_t^2)``. MLE-11 (derived), exact.

    Returns:
        Prediction of ``diversity``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain.

    >>> kept_diversity(MLESpec("multinomial", batch=2, regime="accumulate"), 1).values.tolist()
    [0.5, 0.25]
    """
    chances = _symbols(spec, "MLE-11/accumulate", "accumulate")
    return noise_path(_diversity(chances), jnp.full_like(chances[0], -1), steps(spec, generations))


@register(
    "MLE-11/distance",
    statement="E ||p_t - p_0||^2 = H_0 - E H_t.",
    kind="exact",
    observable="distance",
    check="mean squared distance of the fitted chances from the truth, four symbols",
    example=SYMBOLS,
    generations=8,
    samples=3000,
)
def distance(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean squared Euclidean distance of the fitted chances from the truth, replace or accumulate.

    Formula: ``H_0 - E H_t``, summed without cancellation. MLE-11 (derived), exact.

    Returns:
        Prediction of ``distance``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: the spec describes another chain.

    >>> distance(MLESpec("multinomial", batch=2), 2).values.tolist()
    [0.0, 0.25, 0.375]
    """
    chances = _symbols(spec, "MLE-11/distance", "replace", "accumulate")
    return variance_path(_diversity(chances), jnp.full_like(chances[0], -1), steps(spec, generations))


@register(
    "MLE-11/fixation",
    statement="Replacement ends at one symbol: symbol i with chance p_i.",
    kind="exact",
    observable="fixed_symbol",
    check="share of chains fixed at each symbol after all rounds",
    example=SYMBOLS | {"batch": 3.0},
    generations=40,
    samples=5200,
)
def fixation(spec: MLESpec) -> Float[Array, " symbols"]:
    """Chance that the chain ends at each symbol, under replacement: the true chance. MLE-11 (derived), exact.

    Returns:
        Prediction of ``fixed_symbol``, ``[symbols]``, chances.

    Raises:
        RegimeError: the spec describes another chain.

    >>> fixation(MLESpec("multinomial", weights=[0.75, 0.25])).values.tolist()
    [0.75, 0.25]
    """
    return _symbols(spec, "MLE-11/fixation", "replace")


@register(
    "MLE-11/support",
    statement="One round leaves sum_i [1 - (1 - p_i)^n] symbols.",
    kind="exact",
    observable="first_support",
    check="average number of symbols that the first fit knows",
    example=SYMBOLS,
    generations=8,
    samples=3000,
)
def first_support(spec: MLESpec) -> Float[Array, ""]:
    """Mean number of symbols of positive chance in the first fit. MLE-11 (derived), exact.

    Returns:
        Prediction of ``first_support``, a scalar.

    Raises:
        RegimeError: the spec describes another chain.

    >>> float(first_support(MLESpec("multinomial", batch=2)).values)
    1.5
    """
    chances = _symbols(spec, "MLE-11/support", "replace", "accumulate")
    size = spec.batch[0] if spec.batch.ndim else spec.batch
    certain = chances >= 1
    logs = size * jnp.log1p(-jnp.where(certain, 0, chances))
    return jnp.sum(jnp.where(certain, 1, -jnp.expm1(logs)))


@register(
    "MLE-12",
    statement="Chance that more than one symbol is left at t is at most n^2/(2(n-1)) H_0 (1 - 1/n)^t.",
    kind="upper bound",
    observable="unfixed",
    check="share of chains with more than one symbol, two symbols",
    **TO_THE_END,
)
def unfixed_bound(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Bound on the chance that the fitted model still knows more than one symbol, under replacement.

    Formula: ``min(1, n^2/(2(n-1)) H_0 (1 - 1/n)^t)``. MLE-12 (derived), an upper bound for t >= 1, n >= 2; 1 at t = 0.

    Returns:
        Prediction (upper bound) of ``unfixed``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain, or n = 1.

    >>> unfixed_bound(MLESpec("multinomial", batch=2), 2).values.tolist()  # reached by two points
    [1.0, 0.5, 0.25]
    """
    chances = _symbols(spec, "MLE-12", "replace")
    one_batch(spec, "MLE-12")
    size = spec.batch
    covers(not concrete(size) or bool(np.all(np.asarray(size) >= 2)), "MLE-12", "needs batch >= 2.")
    left = noise_path(_diversity(chances), jnp.full_like(size, -1), steps(spec, generations))
    known = jnp.maximum(size, 2)
    bound = jnp.minimum(known**2 / (2 * (known - 1)) * left, 1)
    return jnp.concatenate([jnp.ones_like(bound[:1]), bound[1:]])


@functools.cache
def _fixation_table() -> np.ndarray:
    """``[n, i]``: mean rounds until a coin of i/n, refitted on n flips, is fixed; from (I - Q) tau = 1."""
    table = np.zeros((LARGEST + 1, LARGEST + 1))
    wide = np.longdouble  # where there is one: chances to its digits, and a solution refined with them
    log_factorial = np.concatenate([[0], np.cumsum(np.log(np.arange(1, LARGEST + 1, dtype=wide)))])
    for n in range(2, LARGEST + 1):
        inside = np.arange(1, n)
        binomials = log_factorial[n] - log_factorial[inside] - log_factorial[n - inside]
        p = (inside.astype(wide) / n)[:, None]
        left = np.eye(n - 1) - np.exp(binomials + inside * np.log(p) + (n - inside) * np.log1p(-p))
        inverse = np.linalg.inv(left.astype(float))
        tau = np.zeros(n - 1, wide)
        for _ in range(3):
            tau = tau + inverse @ (1 - left @ tau).astype(float)
        table[n, 1:n] = tau
    return table


def _coin(spec: MLESpec, result: str) -> None:
    family_in(spec, result, "bernoulli")
    plain(spec, result, "replace")
    one_batch(spec, result)


def fixation_mean(chance, size):
    """Mean rounds until a coin is fixed: one more than the mean of the table over the first fit.

    The mean of a table over binomial counts is a Bernstein polynomial: n steps of convex combinations (de Casteljau)
    evaluate it without cancellation, as its slope.
    """
    import jax

    rows = jnp.asarray(_fixation_table(), chance.dtype)[jnp.round(size).astype(int)]

    def combine(values, number):
        mixed = (1 - chance) * values + chance * jnp.roll(values, -1)
        return jnp.where(number < size, mixed, values), None

    values = jax.lax.scan(combine, rows, jnp.arange(LARGEST, dtype=chance.dtype))[0]
    return jnp.where((chance > 0) & (chance < 1), 1 + values[0], 0)


@register(
    "MLE-12/time",
    statement="Two symbols: the mean time to fixation solves (I - Q) tau = 1, Q the binomial moves on 1 ... n-1.",
    kind="exact",
    observable="fixation_time",
    check="average first round at which a coin is fixed, all chains run to the end",
    **TO_THE_END,
)
def fixation_time(spec: MLESpec) -> Float[Array, ""]:
    """Mean number of rounds until a coin refitted on n flips always shows the same side.

    Formula: one round, then the mean of tau over the binomial counts of the first fit; from a fair coin and even n this
    is tau at n/2. MLE-12 (derived), exact, tabulated for n <= 128.

    Args:
        spec: family bernoulli, regime replace, real_fraction 0, batch <= 128.

    Returns:
        Prediction of ``fixation_time``, a scalar in generations; 0 for a coin that is fixed from the start.

    Raises:
        RegimeError: another chain, or batch above 128.

    >>> float(fixation_time(MLESpec("bernoulli", mean=0.5, batch=2)).values)
    2.0
    """
    _coin(spec, "MLE-12/time")
    small = not concrete(spec.batch) or bool(np.all(np.asarray(spec.batch) <= LARGEST))
    covers(small, "MLE-12/time", f"is tabulated up to batch {LARGEST}; beyond, ask MLE-12/diffusion.")
    return fixation_mean(spec.mean, spec.batch)


@register(
    "MLE-12/diffusion",
    statement="Diffusion value of that time: -2n [p ln p + (1-p) ln(1-p)], high at finite n by at most 2 + ln n.",
    kind="asymptotic",
    observable="fixation_time",
    check="average first round at which a coin is fixed, all chains run to the end",
    example=COIN | {"mean": 0.5, "batch": 100.0},
    generations=1100,
    samples=100,
    relevant=0.15,
)
def fixation_diffusion(spec: MLESpec):
    """Mean time to fixation of a coin in the diffusion limit.

    Formula: ``-2n [p ln p + (1-p) ln(1-p)]``. MLE-12 (derived), asymptotic for n -> infinity. Margin ``2 + ln n``
    generations; the truth was within it for every n up to 128 and every p (a check of the table, no proof).

    Returns:
        Prediction of ``fixation_time``, a scalar in generations.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(fixation_diffusion(MLESpec("bernoulli", mean=0.5, batch=2)).values), 4)
    2.7726
    """
    _coin(spec, "MLE-12/diffusion")
    chance = spec.mean
    inside = (chance > 0) & (chance < 1)
    p = jnp.where(inside, chance, 0.5)
    value = -2 * spec.batch * (p * jnp.log(p) + (1 - p) * jnp.log1p(-p))
    return jnp.where(inside, value, 0), 2 + jnp.log(spec.batch)


def _watched(spec: MLESpec, result: str):
    """Chance of the symbol that is watched (success of a coin, the first symbol), and the size of a batch."""
    chances = _symbols(spec, result, "replace")
    one_batch(spec, result)
    return chances[0], spec.batch


def _possible(chance, values):
    """A symbol of chance 0 is never alive."""
    return jnp.where(chance > 0, values, 0)


@register(
    "MLE-13",
    statement="A symbol of expected count l is alive after k rounds with chance at least 1 - exp(-l/k).",
    kind="lower bound",
    observable="alive",
    check="share of chains in which the watched symbol has a positive chance",
    example=RARE,
    generations=12,
    samples=CHAINS // 20,
    tag="paper",
    citation="suresh2024",
)
def alive_bound(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Bound on the chance that a symbol survives k rounds of replacement.

    Formula: ``1 - exp(-n p/k)``, 1 at k = 0. MLE-13 (paper: arXiv 2412.17646), a lower bound.

    Args:
        spec: family bernoulli (the success is watched) or multinomial (the first symbol), regime replace, one batch
            size.

    Returns:
        Prediction (lower bound) of ``alive``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(alive_bound(MLESpec("bernoulli", mean=0.01), 1).values[1]), 4)
    0.6321
    """
    chance, size = _watched(spec, "MLE-13")
    rounds = jnp.arange(1, generations + 1, dtype=size.dtype)
    return _possible(chance, started(-jnp.expm1(-size * chance / rounds), 1))


def _branching_gap(count, size, rates):
    """Bound on |survival of a binomial count - survival of a branching process| at t = 1 ... T.

    Sum over the rounds j = 0 ... t-1 of ``min(4/e^2, E S_j^2 (1 - q_(t-1-j))^2)/n``, with ``E S_j^2 <= l^2 + j l`` and
    ``1 - q_(m) = rates[m]`` (1 for m = 0).
    """
    length = rates.shape[0]
    lost = jnp.concatenate([jnp.ones_like(rates[:1]), -jnp.expm1(-rates)])[:length]
    before = np.arange(length)
    squares = count**2 + count * before.astype(rates.dtype)
    lag = before[:, None] - before[None]
    each = jnp.minimum(4 * np.exp(-2), squares[None] * lost[np.maximum(lag, 0)] ** 2)
    return jnp.sum(jnp.where(lag >= 0, each, 0), axis=1) / size


@register(
    "MLE-13/branching",
    statement="A rare symbol is a branching process: alive with chance 1 - q_k^l, q_(k+1) = exp(q_k - 1).",
    kind="asymptotic",
    observable="alive",
    check="share of chains in which the watched symbol has a positive chance",
    example=RARE | {"mean": 0.001, "batch": 1000.0},
    generations=10,
    samples=CHAINS // 10,
    relevant=0.05,
)
def alive_branching(spec: MLESpec, generations: int):
    """Chance that a rare symbol survives k rounds of replacement.

    Formula: ``1 - q_k^(n p)``. MLE-13 (derived), asymptotic for k << n, p << 1; its margin bounds the error (module
    docstring), which makes the truth the larger of the two.

    Returns:
        Prediction of ``alive``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(alive_branching(MLESpec("bernoulli", mean=0.01), 1).values[1]), 4)
    0.6321
    """
    chance, size = _watched(spec, "MLE-13/branching")
    count, rates = size * chance, branching_log(generations, size.dtype)
    values = _possible(chance, started(-jnp.expm1(-count * rates), 1))
    return values, started(_branching_gap(count, size, rates))


@register(
    "MLE-13/late",
    statement="Late: alive with chance about 1 - exp(-2 l/k); the time to forget is linear in the count.",
    kind="asymptotic",
    observable="alive",
    check="share of chains in which the watched symbol has a positive chance",
    example=RARE | {"mean": 0.001, "batch": 1000.0},
    generations=10,
    samples=CHAINS // 10,
    relevant=0.45,
)
def alive_late(spec: MLESpec, generations: int):
    """Chance that a rare symbol survives many rounds of replacement.

    Formula: ``1 - exp(-2 n p/k)``. MLE-13 (derived), asymptotic for 1 << k << n. Margin: that of ``alive_branching``
    plus ``(4 l/k^2) [1/2 + (1 + ln k)/6]``, because ``k/2 <= -1/ln q_k <= k/2 + 1/2 + (1 + ln k)/6``.

    Returns:
        Prediction of ``alive``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(alive_late(MLESpec("bernoulli", mean=0.01), 10).values[10]), 4)
    0.1813
    """
    chance, size = _watched(spec, "MLE-13/late")
    count, rates = size * chance, branching_log(generations, size.dtype)
    rounds = jnp.arange(1, generations + 1, dtype=size.dtype)
    late = 4 * count / rounds**2 * (0.5 + (1 + jnp.log(rounds)) / 6)
    values = _possible(chance, started(-jnp.expm1(-2 * count / rounds), 1))
    return values, started(_branching_gap(count, size, rates) + late)


@register(
    "MLE-14",
    statement="Poisson: the total is a critical branching process; m_t = 0 with chance exp(-n m_0 (1 - q_(t-1))).",
    kind="exact",
    observable="extinct",
    check="share of chains whose fitted mean is 0",
    example=FEW,
    generations=10,
    samples=3600,
)
def extinct(spec: MLESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Chance that every point is 0 from here on, under replacement.

    Formula: ``q_t^(n m_0)`` with q_0 = 0, q_(t+1) = exp(q_t - 1). MLE-14 (derived), exact. Certain in the end, after a
    time of infinite mean; given the total, nothing depends on n.

    Args:
        spec: family poisson, regime replace, real_fraction 0, one batch size.

    Returns:
        Prediction of ``extinct``, ``[generations + 1]``, a chance.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(extinct(MLESpec("poisson", mean=0.01), 1).values[1]), 4)  # exp(-1)
    0.3679
    """
    family_in(spec, "MLE-14", "poisson")
    plain(spec, "MLE-14", "replace")
    one_batch(spec, "MLE-14")
    count = batches(spec, 1)[0] * spec.mean
    return started(jnp.exp(-count * branching_log(generations, count.dtype)), jnp.where(count > 0, 0.0, 1.0))
