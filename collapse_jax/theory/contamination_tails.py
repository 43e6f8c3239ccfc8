"""Rare tokens, other divergences, smoothing (CON-14, CON-15, CON-18).

*Rare real data.* Let n grow with ``n alpha`` fixed. A round moves a proportion x by ``alpha (p - x)`` in the mean and
by ``x (1 - x)/n`` in variance: on the clock n a Wright-Fisher diffusion with mutation, whose stationary law is the
Dirichlet of parameters ``2 n alpha p*``. Its variance ``p (1 - p)/(2 n alpha + 1)`` is the leading order of CON-4, but
its mass near zero is not that of a clean sample: a token is absent with about ``Pr[Beta < 1/(2n)]``. *Divergences.*
``chi^2 = sum_i (hat P_i - p_i)^2/p_i`` weighs the variances of CON-2 by ``1/p_i``: exactly ``(K - 1) A_t`` in the mean;
KL is half of that to second order; total variation is bounded by Cauchy and Schwarz. (``KL(p*|hat P)`` has no mean: a
token may be absent.) *Smoothing.* Adding lambda to K counts pulls the fit towards the uniform law u by
``gamma = K lambda/(n + K lambda)``; the mean of a round obeys ``beta_t = gamma_t + (1 - gamma_t)(1 - alpha_t)
beta_{t-1}`` with ``E hat P_t = p* + beta_t (u - p*)``. All of it was derived for this project.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.theory.contamination import ROUNDS, SAMPLES, SETTLING, TOY
from collapse_jax.theory.contamination_recursion import (
    affine_path,
    constant,
    covers,
    forgotten,
    inverse_sizes,
    known,
    plain,
)

RARE: dict[str, Any] = {
    "truth": (0.6, 0.3, 0.05, 0.03, 0.02),
    "real_fraction": 0.02,
    "size": 100.0,
    "first_size": 5.0,
}
SMOOTHED: dict[str, Any] = TOY | {"truth": (0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05), "smoothing": 0.5}


def _rare(spec: ContaminationSpec, result: str):
    """2 n alpha of a constant schedule."""
    plain(spec, result)
    constant(spec, result)
    covers(known(spec.real_fraction, lambda v: v > 0), result, "needs real data; without any ask CON-3.")
    share, size = spec.shares(1)[0], spec.sizes(1)[0]
    return 2 * size * share, share, size


@register(
    "CON-14",
    statement="n -> infinity at fixed n a: hat P -> Dirichlet(2 n a p*), variance p (1 - p)/(2 n a + 1).",
    kind="asymptotic",
    observable="final_variance",
    check="second moment about the truth of each token, chains run to their limit",
    example=RARE,
    generations=150,
    samples=400,
    relevant=0.2,
)
def stationary_variance(spec: ContaminationSpec):
    """Variance of each proportion at the end of a chain with rare real data.

    Formula: ``p (1 - p)/(2 n alpha + 1)``, that of Beta(2 n alpha p, 2 n alpha (1 - p)). CON-14 (derived), asymptotic
    for n -> infinity at fixed ``n alpha``. Margin: the difference to CON-4, relative
    ``alpha (n alpha + 2 - alpha)/[n alpha (2 - alpha) + (1 - alpha)^2]``.

    Returns:
        Prediction of ``final_variance``, ``[K]``, no unit.

    Raises:
        RegimeError: no real data, a schedule, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.01, size=50.0)
    >>> stationary_variance(spec).values.tolist()
    [0.125, 0.125]
    """
    total, share, size = _rare(spec, "CON-14")
    values = spec.truth * (1 - spec.truth) / (total + 1)
    return values, values * share * (size * share + 2 - share) / (size * forgotten(share) + (1 - share) ** 2)


@register(
    "CON-14/fourth",
    statement="The fourth central moment is that of Beta(2 n a p, 2 n a (1 - p)).",
    kind="asymptotic",
    observable="final_fourth_moment",
    check="fourth moment about the truth of each token, chains run to their limit",
    example=RARE,
    generations=150,
    samples=400,
    relevant=0.3,
)
def stationary_fourth_moment(spec: ContaminationSpec):
    """Fourth central moment of each proportion at the end of a chain with rare real data.

    Formula: with ``s = 2 n alpha`` and ``v = p (1 - p)``: ``3 v [v (s - 6) + 2]/((s + 1)(s + 2)(s + 3))``. CON-14
    (derived), asymptotic. Margin: relative ``4 alpha + 4/n`` (attacked against the exact two-token chain, not proved).

    Returns:
        Prediction of ``final_fourth_moment``, ``[K]``, no unit.

    Raises:
        RegimeError: no real data, a schedule, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.01, size=100.0)  # uniform on [0, 1]
    >>> [round(float(v), 6) for v in stationary_fourth_moment(spec).values]
    [0.0125, 0.0125]
    """
    total, share, size = _rare(spec, "CON-14/fourth")
    spread = spec.truth * (1 - spec.truth)
    values = 3 * spread * (spread * (total - 6) + 2) / ((total + 1) * (total + 2) * (total + 3))
    return values, values * (4 * share + 4 / size)


def _log_ratio(start, step):
    """``log Gamma(start + step) - log Gamma(start)`` for start, step > 0, without cancellation for a large start."""
    shifts = jnp.arange(12, dtype=start.dtype).reshape((12,) + (1,) * start.ndim)
    raised = start < 12
    lifted = jnp.where(raised, start + 12, start)
    back = jnp.where(raised, jnp.sum(jnp.log1p(step[None] / (start[None] + shifts)), axis=0), 0)

    def rest(z):
        return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680) / z**2) / z**2) / z**2) / z

    grown = lifted + step
    main = (lifted - 0.5) * jnp.log1p(step / lifted) + step * (jnp.log(grown) - 1)
    return main + rest(grown) - rest(lifted) - back


def beta_below(low, first, second):
    """``Pr[Beta(first, second) < low]`` for ``low * second`` at most about 2: the power series at 0.

    >>> round(float(beta_below(jnp.asarray(0.25), jnp.asarray(1.0), jnp.asarray(1.0))), 5)
    0.25
    """
    orders = jnp.arange(1, 60, dtype=low.dtype).reshape((59,) + (1,) * first.ndim)
    terms = jnp.cumprod((orders - second[None]) / orders * low, axis=0)
    series = 1 + first * jnp.sum(terms / (first[None] + orders), axis=0)
    front = first * jnp.log(low) + _log_ratio(second, first) - gammaln(first + 1)
    return jnp.clip(jnp.exp(front) * series, 0, 1)


@register(
    "CON-14/absence",
    statement="A token is absent with about Pr[Beta(2 n a p, 2 n a (1 - p)) < 1/(2n)], far more than (1 - p)^n.",
    kind="asymptotic",
    observable="absence",
    check="share of the last models without the token, chains run to their limit",
    example=RARE,
    generations=150,
    samples=400,
    relevant=0.2,
)
def absence(spec: ContaminationSpec):
    """Probability that a token is absent from the last model of a chain with rare real data.

    Formula: ``Pr[Beta(c, s - c) < 1/(2n)]``, ``s = 2 n alpha``, ``c = s p``. CON-14 (derived), asymptotic for small c.
    Margin: relative ``c^2 + 2 alpha + 2/n`` up to c = 0.8 (attacked against the exact two-token chain, not proved),
    nothing beyond: the form is half of the truth at c = 1.2.

    Returns:
        Prediction of ``absence``, ``[K]``, no unit.

    Raises:
        RegimeError: no real data, a schedule, or another chain.

    >>> spec = ContaminationSpec([0.99, 0.01], real_fraction=0.02, size=100.0)
    >>> [round(float(chance), 3) for chance in absence(spec).values]
    [0.0, 0.869]
    """
    total, share, size = _rare(spec, "CON-14/absence")
    some = spec.truth > 0
    own = total * jnp.where(some, spec.truth, 0.5)
    values = jnp.where(some, beta_below(1 / (2 * size), own, total - own), 1)
    return values, jnp.where(own <= 0.8, values * (own**2 + 2 * share + 2 / size), jnp.inf)


def _every_token(spec: ContaminationSpec, result: str) -> None:
    covers(known(spec.truth, lambda v: v > 0), result, "needs a truth without zeros: leave out tokens that never come.")


@register(
    "CON-15",
    statement="E chi^2(hat P_t | p*) = (K - 1) A_t.",
    kind="exact",
    observable="chi2",
    check="chi^2 of the proportions against the truth",
    example=TOY,
    generations=ROUNDS,
    samples=SAMPLES,
)
def chi_square(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean chi^2 divergence ``sum_i (hat P_i - p_i)^2/p_i`` along the chain: ``(K - 1) A_t``. CON-15 (derived), exact.

    Args:
        spec: every token possible, else as for ``theory.contamination.risk``.

    Returns:
        Prediction of ``chi2``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: a token of probability 0, or another chain.

    >>> [round(float(v), 2) for v in chi_square(ContaminationSpec([0.5, 0.3, 0.2], first_size=10), 0).values]
    [0.2...]
    """
    plain(spec, "CON-15")
    _every_token(spec, "CON-15")
    return (spec.tokens - 1) * inverse_sizes(spec, generations)


@register(
    "CON-15/kl",
    statement="E KL(hat P_t | p*) is about (K - 1) A_t/2 while every p_i is large against A_t.",
    kind="asymptotic",
    observable="kl",
    check="relative entropy of the proportions to the truth",
    example=TOY | {"size": 200.0, "first_size": 150.0, "real_fraction": 0.5},
    generations=ROUNDS,
    samples=SAMPLES,
    relevant=0.05,
)
def relative_entropy(spec: ContaminationSpec, generations: int):
    """Mean of ``KL(hat P_t | p*)`` along the chain.

    Formula: ``(K - 1) A_t/2``; CON-15 (derived), asymptotic. Margin: ``A_t^2 (1 + sum 1/p_i)/8``, above the next order,
    which lies within a twelfth of that sum, where every ``p_i >= 4 A_t`` (attacked, not proved); nothing else. The form
    is slightly low while the rarest ``p_i/A_t`` is of order 1, and high where tokens below one half dominate. The mean
    of ``KL(p* | hat P_t)`` is infinite.

    Returns:
        Prediction of ``kl``, ``[generations + 1]`` in nats.

    Raises:
        RegimeError: a token of probability 0, or another chain.

    >>> [round(float(v), 2) for v in relative_entropy(ContaminationSpec([0.5, 0.3, 0.2], first_size=10), 0).values]
    [0.1...]
    """
    plain(spec, "CON-15/kl")
    _every_token(spec, "CON-15/kl")
    inverse = inverse_sizes(spec, generations)
    rarest = jnp.min(spec.truth)
    positive = jnp.where(spec.truth > 0, spec.truth, 1)
    margin = inverse**2 * (1 + jnp.sum(1 / positive)) / 8
    return (spec.tokens - 1) / 2 * inverse, jnp.where(rarest >= 4 * inverse, margin, jnp.inf)


@register(
    "CON-15/tv",
    statement="E TV(hat P_t, p*) <= sqrt(A_t H* K)/2.",
    kind="upper bound",
    observable="tv",
    check="total variation between the proportions and the truth",
    example=TOY | {"truth": (0.125,) * 8},
    generations=ROUNDS,
    samples=SAMPLES,
)
def variation_bound(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Upper bound on the mean total variation: ``sqrt(A_t H* K)/2``, by Cauchy and Schwarz. CON-15 (derived).

    Returns:
        Prediction (upper bound) of ``tv``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> round(float(variation_bound(ContaminationSpec([0.5, 0.5], first_size=1), 0).values[0]), 6)  # and it is 1/2
    0.5
    """
    plain(spec, "CON-15/tv")
    product = inverse_sizes(spec, generations) * spec.diversity * spec.tokens
    some = product > 0  # a truth of one token leaves nothing to err about
    return jnp.where(some, jnp.sqrt(jnp.where(some, product, 1)), 0) / 2


def _smoothed(spec: ContaminationSpec, result: str) -> None:
    covers(spec.contexts is None and spec.features is None, result, "describes one table of proportions.")
    alone = spec.regime == "replace" and spec.real == "fresh" and spec.size_law == "fixed"
    covers(alone, result, "describes regime replace, fresh real tokens and fixed sizes.")


def pulled(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """beta_t of CON-18: how far the mean has come from p* to the uniform law, in [0, 1]."""
    added = spec.tokens * spec.smoothing
    own = added / (spec.start_size + added)
    shares, sizes = spec.shares(generations), spec.sizes(generations)
    gamma = added / (sizes + added)
    rest = sizes / (sizes + added)
    return affine_path(gamma + rest * shares, rest * (1 - shares), gamma, own)


@register(
    "CON-18",
    statement="Adding lambda to every count: E hat P_t = p* + b_t (u - p*), b_t = g_t + (1 - g_t)(1 - a_t) b_{t-1}.",
    kind="exact",
    observable="mean",
    check="mean of the smoothed proportions, token by token",
    example=SMOOTHED,
    generations=ROUNDS,
    samples=SAMPLES,
)
def smoothed_mean(spec: ContaminationSpec, generations: int) -> Float[Array, "generations_plus_1 K"]:
    """Mean of a smoothed chain.

    Formula: ``p* + beta_t (u - p*)``, u uniform, ``beta_0 = gamma_0``, ``beta_t = gamma_t + (1 - gamma_t)
    (1 - alpha_t) beta_{t-1}``, ``gamma_t = K lambda/(n_t + K lambda)``. CON-18 (derived), exact; schedules too.

    Args:
        spec: ``smoothing`` lambda; regime replace, fresh real tokens, fixed sizes.

    Returns:
        Prediction of ``mean``, ``[generations + 1, K]``, no unit.

    Raises:
        RegimeError: another chain.

    >>> spec = ContaminationSpec([0.8, 0.2], real_fraction=0.0, size=2, first_size=2, smoothing=1.0)
    >>> smoothed_mean(spec, 1).values.round(3).tolist()
    [[0.65..., 0.35...], [0.57..., 0.42...]]
    """
    _smoothed(spec, "CON-18")
    towards = 1 / spec.tokens - spec.truth
    return spec.truth[None] + pulled(spec, generations)[:, None] * towards[None]


@register(
    "CON-18/limit",
    statement="Smoothing ends at g/[1 - (1 - g)(1 - a)] of the way to the uniform law, without real data at it.",
    kind="exact",
    observable="final_mean",
    check="mean of the smoothed proportions of the last model, chains run to their limit",
    example=SMOOTHED | {"real_fraction": 0.5},
    generations=SETTLING,
    samples=SAMPLES,
)
def smoothed_limit(spec: ContaminationSpec) -> Float[Array, " K"]:
    """Mean of a smoothed chain at its end: ``p* + beta (u - p*)``, ``beta = gamma/[gamma + (1 - gamma) alpha]``.

    CON-18 (derived), exact. Without real data beta is 1: the mean drifts to the uniform law, and no token is lost for
    good.

    Returns:
        Prediction of ``final_mean``, ``[K]``, no unit.

    Raises:
        RegimeError: a schedule, or another chain.

    >>> spec = ContaminationSpec([0.8, 0.2], real_fraction=0.0, smoothing=0.1)
    >>> smoothed_limit(spec).values.tolist()
    [0.5, 0.5]
    """
    _smoothed(spec, "CON-18/limit")
    constant(spec, "CON-18/limit")
    added, size, share = spec.tokens * spec.smoothing, spec.sizes(1)[0], spec.shares(1)[0]
    total = added + size * share
    beta = jnp.where(total > 0, added / jnp.where(total > 0, total, 1), 0)
    return spec.truth + beta * (np.float64(1 / spec.tokens).astype(spec.truth.dtype) - spec.truth)
