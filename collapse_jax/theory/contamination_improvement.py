"""When a contaminated round improves the model, and when the risk goes to zero (CON-5, CON-6, CON-7).

Everything follows from ``A_t = 1/n_t + (1 - 1/n_t)(1 - alpha_t)^2 A_{t-1}`` (CON-1). ``A_t < A_{t-1}`` is the same as
``n_t - (n_t - 1)(1 - alpha_t)^2 > 1/A_{t-1}``, linear in n_t: solved for n_t it is the size that breaks even, and with
a wanted A_t in its place the size that is needed (CON-6). At constant alpha and n the path runs monotonically to
``1/n_eff``, so the first model is improved by all later ones or by none (CON-5). Since ``rho_t >= 0``,
``A_t >= 1/n_t``; since ``A_{t-1} <= 1``, one round cannot cut the risk below ``(1 - alpha_t)^2``. Upper bounds:
``rho_t <= (1 - alpha_t)^2``, and with ``c_t = alpha_t (2 - alpha_t)`` and ``b_t = 1/(n_t c_t)`` the round is at most
the average ``c_t b_t + (1 - c_t) A_{t-1}``, hence ``A_t <= prod_{u > s} (1 - c_u) A_s + max_{u > s} b_u`` for every
s (CON-7).

That mixing can lead to collapse, stagnation or improvement, that equal sizes never improve, and that a real share
bounded away from zero with growing sizes is consistent, is the paper's (arXiv:2602.10531, Corollary 3.2); every formula
and bound here was derived for this project.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.theory.contamination import ROUNDS, SAMPLES, SETTLED, TOY
from collapse_jax.theory.contamination_recursion import (
    constant,
    covers,
    forgotten,
    inverse_sizes,
    known,
    plain,
)

GROWING: dict[str, Any] = TOY | {"real_fraction": 0.3, "size_power": 0.5}
LARGE: dict[str, Any] = TOY | {"real_fraction": 0.3, "size": 1e5}


def _size_for(share, before, after):
    """n_t that turns A_{t-1} = ``before`` into A_t = ``after``; infinite where none does."""
    kept = (1 - share) ** 2 * before
    possible = after > kept
    return jnp.where(possible, (1 - kept) / jnp.where(possible, after - kept, 1), jnp.inf)


@register(
    "CON-5",
    statement="All later models beat the first iff n > [n_0 - (1 - a)^2]/[a (2 - a)]; else none does.",
    kind="exact",
    observable="critical_size",
    check="size at which the risk of the last model crosses that of the first, by interpolation",
    example=SETTLED,
    generations=10,
    samples=2 * SAMPLES,
)
def critical_size(spec: ContaminationSpec) -> Float[Array, ""]:
    """Round size above which a constant schedule improves on the first model, in every round.

    Formula: ``[n_0 - (1 - alpha)^2]/[alpha (2 - alpha)]``; infinite for alpha = 0. CON-5 (derived), exact. The spec's
    ``size`` is not used.

    Returns:
        Prediction of ``critical_size``, a scalar in tokens, not rounded; below 1 for ``n_0 = 1``, where no size hurts.

    Raises:
        RegimeError: a schedule, or another chain.

    >>> round(float(critical_size(ContaminationSpec([0.5, 0.5], real_fraction=0.5, first_size=25)).values), 6)
    33.0
    """
    plain(spec, "CON-5")
    constant(spec, "CON-5")
    share = spec.shares(1)[0]
    return jnp.where(share == 1, spec.start_size, _break_even(share, spec.start_size))


def _break_even(share, effective):
    gained = forgotten(share)
    some = gained > 0
    return jnp.where(some, ((effective - 1) + gained) / jnp.where(some, gained, 1), jnp.inf)


@register(
    "CON-5/never",
    statement="With rounds of the size of the first, n = n_0 > 1 and a < 1, no model beats the first (Corollary 3.2).",
    kind="lower bound",
    observable="risk",
    check="mean squared distance of the proportions from the truth",
    example=TOY | {"real_fraction": 0.8, "first_size": 40.0},
    generations=ROUNDS,
    samples=SAMPLES,
    tag="paper",
    citation="bakshi2026",
)
def first_risk_bound(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Lower bound on the risk when every round has the size of the first: the risk ``H*/n_0`` of the first model.

    CON-5 (paper, Corollary 3.2), any shares; also for smaller rounds. Equality at t = 0.

    Args:
        spec: sizes at most ``first_size``, else as for ``theory.contamination.risk``.

    Returns:
        Prediction (lower bound) of ``risk``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: larger rounds, or another chain.

    >>> [round(float(v), 3) for v in first_risk_bound(ContaminationSpec([0.5, 0.5], size=10, first_size=10), 1).values]
    [0.05..., 0.05...]
    """
    plain(spec, "CON-5/never")
    sizes = spec.sizes(generations)
    covers(
        known(sizes, lambda n: n <= float(spec.start_size)),
        "CON-5/never",
        "describes rounds of at most first_size tokens; for larger ones ask CON-5.",
    )
    return jnp.broadcast_to(spec.diversity / spec.start_size, (generations + 1,))


@register(
    "CON-6",
    statement="The path A_t needs n_t = [1 - (1-a)^2 A_{t-1}]/[A_t - (1-a)^2 A_{t-1}] tokens.",
    kind="exact",
    observable="size",
    check="the sizes that were used, against those that the measured risks ask for",
    example=TOY | {"real_fraction": 0.5, "first_size": 25.0, "size": (40.0, 30.0, 50.0, 60.0, 40.0, 50.0)},
    generations=ROUNDS,
    samples=SAMPLES,
    given=("effective_size",),
)
def designed_sizes(spec: ContaminationSpec, generations: int, *, effective_size=None) -> Float[Array, " _"]:
    """Round sizes that force a wanted path of effective sample sizes.

    Formula: ``n_t = [1 - (1 - alpha_t)^2 A_{t-1}]/[A_t - (1 - alpha_t)^2 A_{t-1}]``, ``A = 1/n_eff``; possible iff
    ``(1 - alpha_t)^2 A_{t-1} < A_t <= 1``, infinite elsewhere. CON-6 (derived), exact; not rounded (round up, and carry
    on from the risk then reached).

    Args:
        spec: gives the shares; any sizes.
        effective_size: ``[generations + 1]`` wanted, entry 0 that of the first model; None takes the spec's own path.

    Returns:
        Prediction of ``size``, ``[generations + 1]`` in tokens; entry 0 is ``n_eff`` of the first model.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.5)
    >>> [round(float(v), 3) for v in designed_sizes(spec, 2, effective_size=jnp.array([10.0, 20.0, 40.0])).values]
    [10.0, 39.0, 79.0]
    """
    plain(spec, "CON-6")
    inverse = inverse_sizes(spec, generations) if effective_size is None else 1 / effective_size
    needed = _size_for(spec.shares(generations), inverse[:-1], inverse[1:])
    return jnp.concatenate([1 / inverse[:1], needed])


@register(
    "CON-6/step",
    statement="Round t improves on round t - 1 iff n_t - (n_t - 1)(1 - a_t)^2 > n_eff.",
    kind="exact",
    observable="break_even_size",
    check="size of one more round at which its risk crosses the former one, by interpolation",
    example=TOY | {"real_fraction": 0.5},
    generations=3,
    samples=3 * SAMPLES,
    curve=False,
)
def break_even_size(spec: ContaminationSpec, generations: int) -> Float[Array, ""]:
    """Size of one more round, after ``generations`` of them, above which it improves on the last.

    Formula: ``[n_eff - (1 - alpha)^2]/[alpha (2 - alpha)]`` with n_eff of CON-2 after ``generations`` rounds and alpha
    that of the round to come. CON-6 (derived), exact.

    Returns:
        Prediction of ``break_even_size``, a scalar in tokens; infinite for alpha = 0.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> round(float(break_even_size(ContaminationSpec([0.5, 0.5], real_fraction=0.5, first_size=25), 0).values), 6)
    33.0
    """
    plain(spec, "CON-6/step")
    share = spec.shares(generations + 1)[-1]
    return _break_even(share, 1 / inverse_sizes(spec, generations)[-1])


@register(
    "CON-6/floor",
    statement="One round cannot cut the risk by more than the factor (1 - a_t)^2, however large it is.",
    kind="lower bound",
    observable="risk_ratio",
    check="risk of a model over that of the one before",
    example=LARGE,
    generations=ROUNDS,
    samples=SAMPLES,
)
def ratio_floor(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Lower bound on ``R_t/R_{t-1}``.

    Formula: ``(1 - alpha_t)^2``, because ``A_{t-1} <= 1``; tight for large n_t. CON-6 (derived). Entry 0 is 1.

    Returns:
        Prediction (lower bound) of ``risk_ratio``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> ratio_floor(ContaminationSpec([0.5, 0.5], real_fraction=0.5), 1).values.tolist()
    [1.0, 0.25]
    """
    plain(spec, "CON-6/floor")
    shares = spec.shares(generations)
    return jnp.concatenate([jnp.ones((1,), shares.dtype), (1 - shares) ** 2])


def _running_least(values):
    return jax.lax.associative_scan(jnp.minimum, values) if values.shape[0] else values


@register(
    "CON-7",
    statement="a_t >= a > 0 and n_t -> infinity give R_t -> 0 (Corollary 3.2 of arXiv:2602.10531); derived: "
    "A_t <= sum_s (1 - a)^(2 (t - s))/n_s.",
    kind="upper bound",
    observable="risk",
    check="mean squared distance of the proportions from the truth",
    example=GROWING,
    generations=ROUNDS,
    samples=SAMPLES,
)
def steady_share_bound(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Upper bound on the risk that goes to zero with ``1/n_t`` if the shares stay away from zero.

    Formula: ``H* sum_{s=0..t} (1 - a)^{2(t-s)}/n_s``, a the least share up to round t. CON-7 (paper): consistency for
    shares bounded away from zero and growing sizes; this bound is derived, not the paper's.

    Returns:
        Prediction (upper bound) of ``risk``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, size=5, first_size=2)
    >>> [round(float(v), 3) for v in steady_share_bound(spec, 1).values]
    [0.25, 0.1...]
    """
    plain(spec, "CON-7")
    shares = spec.shares(generations)
    least = jnp.concatenate([jnp.ones((1,), shares.dtype), _running_least(shares)])
    inverse = 1 / jnp.concatenate([spec.start_size[None], spec.sizes(generations)])
    ages = np.maximum(np.arange(generations + 1)[:, None] - np.arange(generations + 1)[None], 0)
    left = (1 - least) ** 2
    log = jnp.log(jnp.where(left > 0, left, 1))
    powers = jnp.where(
        ages == 0, 1, jnp.where((left > 0)[:, None], jnp.exp(jnp.asarray(ages, log.dtype) * log[:, None]), 0)
    )
    return spec.diversity * (jnp.tril(powers) @ inverse)


@register(
    "CON-7/decaying",
    statement="sum a_t = infinity and n_t a_t -> infinity give R_t -> 0: A_t <= min_s [prod_{u>s} (1 - a_u)^2 + "
    "max_{u>s} 1/(n_u a_u (2 - a_u))].",
    kind="upper bound",
    observable="risk",
    check="mean squared distance of the proportions from the truth",
    example=TOY | {"real_fraction": 1.0, "real_power": 0.3, "size": 20.0, "size_power": 0.3},
    generations=ROUNDS,
    samples=SAMPLES,
)
def decaying_share_bound(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Upper bound on the risk that goes to zero if ``sum alpha_t`` diverges and ``n_t alpha_t`` grows without end.

    Formula: ``H* min_{s <= t} [A_s' prod_{u=s+1..t} (1 - alpha_u)^2 + max_{u=s+1..t} 1/(n_u alpha_u (2 - alpha_u))]``,
    ``A_0' = 1/n_0`` and ``A_s' = 1`` for later s. CON-7 (derived): a sufficient condition, not a necessary one. The
    paper's own growth condition for decaying shares (Proposition 3.4) is another one.

    Returns:
        Prediction (upper bound) of ``risk``, ``[generations + 1]``, no unit; at most H*.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, size=5, first_size=2)
    >>> [round(float(v), 3) for v in decaying_share_bound(spec, 1).values]
    [0.25, 0.1...]
    """
    plain(spec, "CON-7/decaying")
    shares, sizes = spec.shares(generations), spec.sizes(generations)
    gained = forgotten(shares)
    some = gained > 0
    worst = jnp.where(some, 1 / (sizes * jnp.where(some, gained, 1)), jnp.inf)

    def step(bounds, now):
        # the bounds from every start s so far: how much is left of A_s, and the largest b since
        left, largest, number = bounds
        kept, added = now
        known_start = jnp.arange(generations + 1) <= number
        left, largest = left * kept, jnp.maximum(largest, added)
        least = jnp.min(jnp.where(known_start, left + largest, jnp.inf))
        fresh = jnp.arange(generations + 1) == number + 1
        return (jnp.where(fresh, 1, left), jnp.where(fresh, 0, largest), number + 1), jnp.minimum(least, 1)

    start = jnp.zeros(generations + 1, sizes.dtype).at[0].set(1 / spec.start_size)
    _, path = jax.lax.scan(step, (start, jnp.zeros_like(start), 0), ((1 - shares) ** 2, worst))
    return spec.diversity * jnp.concatenate([1 / spec.start_size[None], path])


@register(
    "CON-7/size",
    statement="R_t >= H*/n_t: growing sizes are necessary.",
    kind="lower bound",
    observable="risk",
    check="mean squared distance of the proportions from the truth",
    example=TOY | {"real_fraction": 0.9, "size_power": 0.5},
    generations=ROUNDS,
    samples=SAMPLES,
)
def clean_bound(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Lower bound on the risk: that of a clean sample of the round's own size, ``H*/n_t``. CON-7 (derived).

    Returns:
        Prediction (lower bound) of ``risk``, ``[generations + 1]``, no unit; equality at t = 0 and for alpha_t = 1.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> [round(float(v), 3) for v in clean_bound(ContaminationSpec([0.5, 0.5], size=10, first_size=5), 1).values]
    [0.1..., 0.05...]
    """
    plain(spec, "CON-7/size")
    return spec.diversity / jnp.concatenate([spec.start_size[None], spec.sizes(generations)])


@register(
    "CON-7/summable",
    statement="sum a_t finite: R_t >= R_0 prod_u (1 - a_u)^2 > 0, no consistency for any sizes.",
    kind="lower bound",
    observable="risk",
    check="mean squared distance of the proportions from the truth",
    example=LARGE | {"real_power": 2.0},
    generations=ROUNDS,
    samples=SAMPLES,
)
def memory_bound(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Lower bound on the risk that stays positive if ``sum alpha_t`` is finite, whatever the sizes.

    Formula: ``R_0 prod_{u=1..t} (1 - alpha_u)^2``, from ``R_t >= (1 - alpha_t)^2 R_{t-1}`` (CON-6). CON-7 (derived).

    Returns:
        Prediction (lower bound) of ``risk``, ``[generations + 1]``, no unit; equality at t = 0, tight for large sizes.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.5, first_size=5)
    >>> [round(float(v), 3) for v in memory_bound(spec, 1).values]
    [0.1..., 0.02...]
    """
    plain(spec, "CON-7/summable")
    shares = spec.shares(generations)
    product = jnp.cumprod((1 - shares) ** 2)
    return spec.diversity / spec.start_size * jnp.concatenate([jnp.ones((1,), shares.dtype), product])
