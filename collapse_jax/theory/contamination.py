"""Training on a contaminated source: the exact risk recursion and its constant case (CON-1 to CON-4).

Given the past, round t counts n_t independent tokens of the law ``P_t = alpha_t p* + (1 - alpha_t) hat P_{t-1}``, so
``E hat P_t = P_t`` and ``Cov hat P_t = (diag P_t - P_t P_t')/n_t``. By induction the mean is p* in every round.
Suppose ``Cov hat P_{t-1} = A_{t-1} C`` with ``C = diag p* - p* p*'``. Then ``E P_t P_t' = p* p*' +
(1 - alpha_t)^2 A_{t-1} C``, and the law of total covariance gives

    Cov hat P_t = [C - (1 - alpha_t)^2 A_{t-1} C]/n_t + (1 - alpha_t)^2 A_{t-1} C = A_t C,
    A_t = 1/n_t + rho_t A_{t-1},   rho_t = (1 - 1/n_t)(1 - alpha_t)^2,   A_0 = 1/n_0:

one scalar holds for every entry and every p* (CON-2). Its trace is the risk ``R_t = H* A_t``, ``H* = 1 - |p*|^2``
(CON-1, Theorem 3.1 of arXiv:2602.10531): a chain of round t is worth ``1/A_t`` clean tokens. Without real data the
recursion multiplies ``1 - A_t`` by ``1 - 1/n_t`` (CON-3); with a constant schedule it is geometric (CON-4).

Improvement and consistency: ``contamination_improvement``; growing and decaying schedules:
``contamination_schedules``; other uses of the data: ``contamination_policies``; tails, divergences and smoothing:
``contamination_tails``; random sizes, contexts, parametric models: ``contamination_variants``.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.theory.contamination_recursion import (
    constant,
    covers,
    forgotten,
    inverse_sizes,
    is_zero,
    known,
    lost_path,
    mixture_step,
    plain,
)

SAMPLES = 2500
"""Chains that a replicate of a default measurement averages."""

TRUTH = (0.2, 0.175, 0.15, 0.125, 0.1, 0.1, 0.075, 0.075)
TOY: dict[str, Any] = {"truth": TRUTH, "real_fraction": 0.2, "size": 40.0, "first_size": 25.0}
ALONE: dict[str, Any] = TOY | {"real_fraction": 0.0, "size": (40.0, 10.0, 30.0, 20.0, 15.0, 25.0), "first_size": 20.0}
SETTLED: dict[str, Any] = TOY | {"real_fraction": 0.4}
ROUNDS = 6
"""Rounds of a default measurement."""

SETTLING = 14
"""Rounds of a default measurement of a limit."""


@register(
    "CON-1",
    statement="R_t = (n_0/n_t) R_0 + (1 - 1/n_t)(1 - a_t)^2 R_{t-1} (Theorem 3.1 of arXiv:2602.10531).",
    kind="exact",
    observable="risk",
    check="mean squared distance of the proportions from the truth",
    example=TOY,
    generations=ROUNDS,
    samples=SAMPLES,
    tag="paper",
    citation="bakshi2026",
)
def risk(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk ``E |hat P_t - p*|^2`` along the chain.

    Formula: ``R_t = H*/n_t + (1 - 1/n_t)(1 - alpha_t)^2 R_{t-1}``, ``R_0 = H*/n_0``. CON-1 (paper, Theorem 3.1),
    exact for every K, p*, schedule of shares in [0, 1] and of sizes >= 1.

    Args:
        spec: one table, regime replace, fresh real tokens, fixed sizes, no smoothing.
        generations: number of later rounds, >= 0.

    Returns:
        Prediction of ``risk``, ``[generations + 1]``, no unit; entry 0 is the first model.

    Raises:
        RegimeError: another chain; names the result that describes it. SpecError: a schedule is too short.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, size=10, first_size=5)
    >>> [round(float(v), 4) for v in risk(spec, 2).values]
    [0.1..., 0.05..., 0.05...]
    """
    plain(spec, "CON-1")
    return spec.diversity * inverse_sizes(spec, generations)


@register(
    "CON-2",
    statement="Cov(hat P_t) = A_t (diag p* - p* p*'): a chain is to second order a clean sample of size 1/A_t.",
    kind="exact",
    observable="covariance",
    check="second moment about the truth, every pair of tokens",
    example=TOY,
    generations=ROUNDS,
    samples=SAMPLES,
    relevant=0.03,
)
def covariance(spec: ContaminationSpec, generations: int) -> Float[Array, "generations_plus_1 K K"]:
    """Covariance of the estimated law along the chain.

    Formula: ``A_t (diag p* - p* p*')``, ``A_t = R_t/H*`` of CON-1. CON-2 (derived), exact: every coordinate has the
    same relative loss.

    Returns:
        Prediction of ``covariance``, ``[generations + 1, K, K]``, no unit.

    Raises:
        RegimeError: as for ``risk``.

    >>> spec = ContaminationSpec([0.5, 0.5], size=10, first_size=5)
    >>> covariance(spec, 0).values.round(3).tolist()
    [[[0.05..., -0.05...], [-0.05..., 0.05...]]]
    """
    plain(spec, "CON-2")
    truth = spec.truth
    own = jnp.diag(truth * (1 - truth))
    other = truth[:, None] * truth[None, :] * (1 - jnp.eye(spec.tokens, dtype=truth.dtype))
    return inverse_sizes(spec, generations)[:, None, None] * (own - other)[None]


@register(
    "CON-2/mean",
    statement="The mean of the estimated law stays p* in every round.",
    kind="exact",
    observable="mean",
    check="mean of the proportions, token by token",
    example=TOY,
    generations=ROUNDS,
    samples=SAMPLES,
)
def mean(spec: ContaminationSpec, generations: int) -> Float[Array, "generations_plus_1 K"]:
    """Mean of the estimated law along the chain: p*. CON-2 (derived), exact, unconditional.

    Given the past the mean of round t is ``alpha_t p* + (1 - alpha_t) hat P_{t-1}``.

    Returns:
        Prediction of ``mean``, ``[generations + 1, K]``, no unit.

    Raises:
        RegimeError: as for ``risk``.

    >>> mean(ContaminationSpec([0.5, 0.5]), 1).values.tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    plain(spec, "CON-2/mean")
    return jnp.broadcast_to(spec.truth, (generations + 1, spec.tokens))


@register(
    "CON-2/size",
    statement="Effective sample size 1/A_t: the clean sample that has the same covariance.",
    kind="exact",
    observable="effective_size",
    check="H* over the measured risk",
    example=TOY,
    generations=ROUNDS,
    samples=SAMPLES,
)
def effective_size(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Effective sample size along the chain.

    Formula: ``n_eff = H*/R_t = 1/A_t`` of CON-1. CON-2 (derived), exact.

    Returns:
        Prediction of ``effective_size``, ``[generations + 1]`` in tokens, >= 1.

    Raises:
        RegimeError: as for ``risk``.

    >>> round(float(effective_size(ContaminationSpec([0.5, 0.5], first_size=30), 0).values[0]), 3)
    30.0
    """
    plain(spec, "CON-2/size")
    return 1 / inverse_sizes(spec, generations)


def _no_real_data(spec: ContaminationSpec, result: str) -> None:
    plain(spec, result)
    covers(is_zero(spec.real_fraction), result, "describes real_fraction 0; with real data ask CON-1 or CON-4.")


@register(
    "CON-3",
    statement="Without real data R_t = H* [1 - prod_{u <= t} (1 - 1/n_u)].",
    kind="exact",
    observable="risk",
    check="mean squared distance of the proportions from the truth, no real tokens after round 0",
    example=ALONE,
    generations=ROUNDS,
    samples=SAMPLES,
)
def risk_without_real_data(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk along a chain without real data after round 0.

    Formula: ``H* [1 - prod_{u=0..t} (1 - 1/n_u)]``. CON-3 (derived), exact; never falls.

    Args:
        spec: real_fraction 0, else as for ``risk``.

    Returns:
        Prediction of ``risk``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: real data, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.0, size=2, first_size=2)
    >>> risk_without_real_data(spec, 2).values.tolist()
    [0.25, 0.375, 0.4375]
    """
    _no_real_data(spec, "CON-3")
    return spec.diversity * lost_path(1 / jnp.concatenate([spec.start_size[None], spec.sizes(generations)]))


@register(
    "CON-3/unrolled",
    statement="R_t = H* sum_s (1/n_s) prod_{u > s} rho_u + R_0 prod_u rho_u.",
    kind="exact",
    observable="risk",
    check="mean squared distance of the proportions from the truth",
    example=TOY | {"real_power": 0.5, "real_fraction": 0.8, "size_power": 0.5, "size": 20.0},
    generations=ROUNDS,
    samples=SAMPLES,
)
def risk_by_age(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk as a sum over the rounds that made it.

    Formula: ``H* sum_{s=0..t} (1/n_s) prod_{u=s+1..t} rho_u``; products are sums of logarithms. CON-3 (derived), exact;
    costs ``generations^2`` terms, CON-1 is the cheaper way to the same numbers.

    Returns:
        Prediction of ``risk``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: as for ``risk``.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.0, size=2, first_size=2)
    >>> risk_by_age(spec, 2).values.tolist()
    [0.25, 0.375, 0.4375]
    """
    plain(spec, "CON-3/unrolled")
    lost, factor, inverse = mixture_step(spec.sizes(generations), spec.shares(generations))
    alive = factor > 0
    safe = jnp.where(alive, jnp.where(lost < 0.5, 1, factor), 1)
    logs = jnp.where(lost < 0.5, jnp.log1p(-jnp.where(lost < 0.5, lost, 0)), jnp.log(safe))
    rounds = np.arange(generations + 1)
    within = (rounds[None, 1:] > rounds[:, None])[None] & (rounds[None, 1:] <= rounds[:, None])[:, None]
    passed = jnp.sum(jnp.where(within, jnp.where(alive, logs, 0)[None, None], 0), axis=-1)
    ended = jnp.any(within & ~alive[None, None], axis=-1)
    weights = jnp.where((rounds[None] <= rounds[:, None]) & ~ended, jnp.exp(passed), 0)
    return spec.diversity * (weights @ jnp.concatenate([1 / spec.start_size[None], inverse]))


@register(
    "CON-3/limit",
    statement="Without real data, and sum 1/n_u infinite, one token is left: R_t -> H*.",
    kind="exact",
    observable="final_risk",
    check="risk of the last model of a chain run until one token is left",
    example=TOY | {"real_fraction": 0.0, "size": 2.0, "first_size": 10.0},
    generations=SETTLING,
    samples=SAMPLES,
)
def collapsed_risk(spec: ContaminationSpec) -> Float[Array, ""]:
    """Risk at the end of a chain without real data and of one size: ``H*``, that of a single token.

    CON-3 (derived), exact in the limit for every schedule with ``sum 1/n_u`` infinite; it is reached at the first
    ``n_u = 1``.

    Returns:
        Prediction of ``final_risk``, a scalar without unit.

    Raises:
        RegimeError: real data, a schedule, or another chain.

    >>> round(float(collapsed_risk(ContaminationSpec([0.5, 0.5], real_fraction=0.0)).values), 6)
    0.5
    """
    _no_real_data(spec, "CON-3/limit")
    constant(spec, "CON-3/limit")
    return spec.diversity


def settled_size(spec: ContaminationSpec):
    """n_eff of CON-4: ``n alpha (2 - alpha) + (1 - alpha)^2``, a scalar."""
    share, size = spec.shares(1)[0], spec.sizes(1)[0]
    return size * forgotten(share) + (1 - share) ** 2


@register(
    "CON-4",
    statement="Constant schedule: R_t - R_inf = rho^t (R_0 - R_inf), rho = (1 - 1/n)(1 - a)^2.",
    kind="exact",
    observable="risk",
    check="mean squared distance of the proportions from the truth",
    example=TOY,
    generations=ROUNDS,
    samples=SAMPLES,
)
def settling_risk(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk along a chain with a constant schedule, in closed form.

    Formula: ``R_t = rho^t R_0 + (1 - rho^t) R_inf``, ``R_inf`` of CON-4/limit. CON-4 (derived), exact.

    Args:
        spec: constant schedule, else as for ``risk``.

    Returns:
        Prediction of ``risk``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: a schedule, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.0, size=2, first_size=2)
    >>> settling_risk(spec, 2).values.tolist()
    [0.25, 0.375, 0.4375]
    """
    plain(spec, "CON-4")
    constant(spec, "CON-4")
    lost, factor, _ = mixture_step(spec.sizes(1)[0], spec.shares(1)[0])
    rounds = jnp.arange(generations + 1, dtype=lost.dtype)
    slow, ended = lost < 0.5, factor == 0
    log = jnp.where(slow, jnp.log1p(-jnp.where(slow, lost, 0)), jnp.log(jnp.where(slow | ended, 1, factor)))
    power = jnp.where(ended, jnp.where(rounds == 0, 1, jnp.where(rounds == 1, factor, 0)), jnp.exp(rounds * log))
    gone = jnp.where(ended, jnp.where(rounds == 0, 0, 1), -jnp.expm1(rounds * log))
    return spec.diversity * (power / spec.start_size + gone / settled_size(spec))


@register(
    "CON-4/limit",
    statement="R_inf = H*/n_eff, n_eff = n a (2 - a) + (1 - a)^2.",
    kind="exact",
    observable="final_risk",
    check="risk of the last model of a chain run to its limit",
    example=SETTLED,
    generations=SETTLING,
    samples=SAMPLES,
)
def settled_risk(spec: ContaminationSpec) -> Float[Array, ""]:
    """Risk at the end of a chain with a constant schedule.

    Formula: ``H*/[n alpha (2 - alpha) + (1 - alpha)^2]``. CON-4 (derived), exact in the limit. alpha = 0 gives H*,
    alpha = 1 gives ``H*/n``.

    Returns:
        Prediction of ``final_risk``, a scalar without unit.

    Raises:
        RegimeError: a schedule, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.1, size=100)
    >>> round(float(spec.diversity / settled_risk(spec).values), 2)
    19.81
    """
    plain(spec, "CON-4/limit")
    constant(spec, "CON-4/limit")
    return spec.diversity / settled_size(spec)


def relaxation(spec: ContaminationSpec) -> Float[Array, ""]:
    """Rounds in which the distance to the limit falls by e: ``-1/log rho``, about ``1/(2 alpha + 1/n)``.

    CON-4 (derived), alpha < 1.

    >>> round(float(relaxation(ContaminationSpec([0.5, 0.5], real_fraction=0.01, size=100.0))), 1)
    33.2
    """
    constant(spec, "CON-4")
    covers(known(spec.real_fraction, lambda v: v < 1), "CON-4", "relaxes at once with real_fraction 1.")
    lost, factor, _ = mixture_step(spec.sizes(1)[0], spec.shares(1)[0])
    slow = lost < 0.5
    return -1 / jnp.where(slow, jnp.log1p(-jnp.where(slow, lost, 0)), jnp.log(jnp.where(slow, 1, factor)))
