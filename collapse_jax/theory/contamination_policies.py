"""What else can be done with the data: filter, pool, keep everything, or anchor (CON-10 to CON-13).

*Filter.* Knowing the origins, a model fitted on the k real tokens of its round has risk ``H*/k``, in the mean over the
rounds that have one ``H* E[1/k | k >= 1]``; pooled with all real tokens before, ``H* E[1/(n_0 + k_1 + ... + k_t)]``
(CON-10). *Keep everything.* With ``g = n_t/N_t`` the new share of all data, ``hat P_t = (1 - g) hat P_{t-1} +
g Y_t/n_t``, Y_t the new counts. Given the past the mean is ``p* + (1 - alpha g)(hat P_{t-1} - p*)`` and the noise
``g^2/n_t`` times ``H* - (1 - alpha)^2 |hat P_{t-1} - p*|^2`` plus a term of mean zero, hence CON-11. At constant n,
``g ~ 1/t``: ``dA/dt = -2 alpha A/t + 1/(n t^2)``, whose two solutions ``1/((2 alpha - 1) n t)`` and ``t^(-2 alpha)``
exchange the lead at alpha = 1/2 (CON-12). *Anchor.* Real tokens drawn again from one stored sample r of size m: given
r the chain is that of CON-1 about r, started at r itself; averaging ``1 - |r|^2`` over r gives CON-13.

All of it was derived for this project; that accumulated contaminated data have the smaller of two rates is the claim of
arXiv:2602.16065.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.theory.contamination import ROUNDS, SAMPLES, SETTLED, SETTLING, TOY
from collapse_jax.theory.contamination_recursion import (
    affine_path,
    constant,
    covers,
    is_zero,
    known,
    mean_reciprocal,
    mixture_step,
    one_table,
    plain,
)

FEW: dict[str, Any] = TOY | {"size": 8.0}
KEEPING: dict[str, Any] = TOY | {"regime": "accumulate", "real_fraction": 0.3}
LATE: dict[str, Any] = {"truth": (0.2,) * 5, "regime": "accumulate", "size": 20.0, "first_size": 20.0}
ANCHORED: dict[str, Any] = TOY | {"real": "anchor", "real_fraction": 0.25, "first_size": 40.0}


@register(
    "CON-10",
    statement="Real tokens of the round alone: H* E[1/k | k >= 1], k binomial, about H*/(n a).",
    kind="exact",
    observable="filter_risk",
    check="risk of the real tokens of a round, over the chains that have one",
    example=FEW,
    generations=ROUNDS,
    samples=SAMPLES,
)
def filter_risk(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk of a model fitted on the real tokens of its own round, given that there is one.

    Formula: ``H* E[1/k | k >= 1]``, ``k ~ Binomial(n_t, alpha_t)``; about ``H*/(n alpha)``, and above it, for
    ``n alpha`` large. CON-10 (derived), exact.

    Returns:
        Prediction of ``filter_risk``, ``[generations + 1]``, no unit; entry 0 is the first model.

    Raises:
        RegimeError: no real data, or another chain.

    >>> [round(float(v), 3) for v in filter_risk(ContaminationSpec([0.5, 0.5], real_fraction=1.0, size=5.0), 1).values]
    [0.01..., 0.1...]
    """
    plain(spec, "CON-10")
    covers(known(spec.real_fraction, lambda v: v > 0), "CON-10", "needs real data in every round.")
    shares, sizes = spec.shares(generations), spec.sizes(generations)
    inside = (shares > 0) & (shares < 1)
    some = jnp.where(inside, shares, 0.5)
    chance = -jnp.expm1(sizes * jnp.log1p(-some))
    mean = jnp.where(inside, mean_reciprocal(sizes, some) / chance, jnp.where(shares > 0, 1 / sizes, 1))
    return spec.diversity * jnp.concatenate([1 / spec.start_size[None], mean])


# v = e^(s - e^-s)/m turns a decay at rate m and later at a slower one into a smooth bell in s: the trapezoid rule on it
# is right to rounding
_PLACES = np.arange(-4.0, 42.0, 0.25)


def _log_kept(share, v):
    """``log(1 - share + share e^-v)``, also where share is 1 and v large."""
    large = share > 0.5
    near = jnp.log1p(jnp.where(large, 0, share) * jnp.expm1(-v))
    far = jnp.log1p(jnp.where(large, 1 - share, 0) * jnp.expm1(jnp.minimum(v, 80))) - v
    return jnp.where(large, jnp.where(v < 80, far, jnp.log(jnp.maximum(1 - share, 1e-30))), near)


@register(
    "CON-10/pool",
    statement="Real tokens of all rounds: H* E[1/(n_0 + k)], about H*/(n_0 + n a t): beats filter and mixture.",
    kind="exact",
    observable="pool_risk",
    check="risk of all real tokens so far",
    example=FEW,
    generations=ROUNDS,
    samples=SAMPLES,
)
def pool_risk(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk of a model fitted on all real tokens so far.

    Formula: ``H* E[1/(n_0 + k_1 + ... + k_t)]``, as the integral over v > 0 of
    ``exp(-n_0 v) prod_u (1 - alpha_u + alpha_u e^-v)^{n_u}``; to leading order ``H*/(n_0 + n alpha t)``. CON-10
    (derived), exact.

    Returns:
        Prediction of ``pool_risk``, ``[generations + 1]``, no unit; entry 0 is the first model.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, size=5.0, first_size=5)
    >>> [round(float(v), 4) for v in pool_risk(spec, 1).values]
    [0.1..., 0.05...]
    """
    plain(spec, "CON-10/pool")
    shares, sizes = spec.shares(generations), spec.sizes(generations)
    expected = jnp.concatenate([spec.start_size[None], spec.start_size + jnp.cumsum(sizes * shares)])[:, None]
    stretched = jnp.asarray(np.exp(_PLACES - np.exp(-_PLACES)), sizes.dtype)[None]
    step = jnp.asarray(0.25 * (1 + np.exp(-_PLACES)), sizes.dtype)[None]
    v = stretched / expected
    each = sizes[:, None, None] * _log_kept(shares[:, None, None], v[None])
    so_far = np.arange(generations)[:, None] < np.arange(generations + 1)[None]
    logs = -spec.start_size * v + jnp.sum(jnp.where(so_far[:, :, None], each, 0), axis=0)
    return spec.diversity * jnp.sum(step * v * jnp.exp(logs), axis=-1)


@register(
    "CON-10/mixing",
    statement="Agnostic mixing settles below H*/(n a), what a filter reaches at best.",
    kind="upper bound",
    observable="final_risk",
    check="risk of the last model of a chain run to its limit",
    example=SETTLED | {"real_fraction": 0.3},
    generations=SETTLING,
    samples=SAMPLES,
)
def mixing_bound(spec: ContaminationSpec) -> Float[Array, ""]:
    """Upper bound on the settled risk of agnostic mixing: ``H*/(n alpha)``.

    CON-10 (derived), because ``n alpha (2 - alpha) + (1 - alpha)^2 >= n alpha``; equality at alpha = 1.

    Returns:
        Prediction (upper bound) of ``final_risk``, a scalar without unit; infinite for alpha = 0.

    Raises:
        RegimeError: a schedule, or another chain.

    >>> round(float(mixing_bound(ContaminationSpec([0.5, 0.5], real_fraction=0.5, size=10.0)).values), 6)
    0.1
    """
    plain(spec, "CON-10/mixing")
    constant(spec, "CON-10/mixing")
    real = spec.sizes(1)[0] * spec.shares(1)[0]
    return jnp.where(real > 0, spec.diversity / jnp.where(real > 0, real, 1), jnp.inf)


def _keeping(spec: ContaminationSpec, result: str) -> None:
    one_table(spec, result)
    covers(spec.regime == "accumulate", result, "describes regime accumulate; for replace ask CON-1.")


def _kept_inverse_sizes(spec: ContaminationSpec, generations: int):
    """A_t of CON-11."""
    shares, sizes = spec.shares(generations), spec.sizes(generations)
    total = spec.start_size + jnp.cumsum(sizes)
    new = sizes / total
    old = jnp.concatenate([spec.start_size[None], total])[:-1] / total
    made = new * (1 - shares)
    noise = made * made / sizes
    # (1 - alpha g)^2 - g^2 (1 - alpha)^2/n, as a product of two sums of positive terms
    root = 1 / jnp.sqrt(sizes)
    factor = (old + made * (1 - root)) * (old + made * (1 + root))
    real = new * shares
    return affine_path(real * (2 - real) + noise, factor, new / total, 1 / spec.start_size)


@register(
    "CON-11",
    statement="All data kept: R_t = [(1 - a g)^2 - g^2 (1 - a)^2/n_t] R_{t-1} + g^2 H*/n_t, g = n_t/N_t.",
    kind="exact",
    observable="risk",
    check="mean squared distance of the proportions over all rounds from the truth",
    example=KEEPING,
    generations=ROUNDS,
    samples=SAMPLES,
)
def kept_risk(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk when every round is fitted on the tokens of all rounds.

    Formula: ``R_t = [(1 - alpha_t g_t)^2 - g_t^2 (1 - alpha_t)^2/n_t] R_{t-1} + (g_t^2/n_t) H*``, ``g_t = n_t/N_t``.
    CON-11 (derived), exact.

    Args:
        spec: regime accumulate.

    Returns:
        Prediction of ``risk``, ``[generations + 1]``, no unit; entry 0 is the first model.

    Raises:
        RegimeError: another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, size=5, first_size=5, regime="accumulate")
    >>> [round(float(v), 4) for v in kept_risk(spec, 1).values]
    [0.1..., 0.05...]
    """
    _keeping(spec, "CON-11")
    return spec.diversity * _kept_inverse_sizes(spec, generations)


def _constant_keeping(spec: ContaminationSpec, result: str):
    _keeping(spec, result)
    constant(spec, result)
    return spec.shares(1)[0], spec.sizes(1)[0]


def _memory(share, size, start, time):
    """Relative size of what the leading order of CON-12 leaves out at ``time``, away from one half."""
    late = 2 * (1 - share) * jnp.maximum(size / start, start / size) * time ** -jnp.abs(2 * share - 1)
    return late + 2 * start / (size * time)


def _head_start(spec: ContaminationSpec):
    """The constant beside ``ln t`` at one half, roughly."""
    return 1 + jnp.abs(jnp.log(spec.start_size / spec.sizes(1)[0]))


@register(
    "CON-12",
    statement="All data kept, constant a and n: R_t falls like t^-min(1, 2a), a phase change at one half.",
    kind="asymptotic",
    observable="late_slope",
    check="least-squares slope of log risk against log t over the last nine tenths of the rounds",
    example=LATE | {"real_fraction": 0.9},
    generations=300,
    samples=100,
    relevant=0.2,
    curve=False,
)
def kept_slope(spec: ContaminationSpec, generations: int):
    """Slope of ``log R_t`` against ``log t`` late in a chain that keeps all data.

    Formula: ``-min(1, 2 alpha)``: for the root error the smaller of 1/2 and alpha, the form of the claim of
    arXiv:2602.16065. CON-12 (derived), asymptotic. Margin, at the first round f of the window:
    ``2 (1 - alpha) f^-|2 alpha - 1|``, times ``n/n_0`` or its inverse, and ``2 n_0/(n f)``; at alpha = 1/2
    ``(1 + |ln n_0/n|)/ln f`` (attacked on the recursion, not proved).

    Args:
        spec: constant schedule, regime accumulate.
        generations: last round T of the window, which begins at T/10.

    Returns:
        Prediction of ``late_slope``, a scalar without unit.

    Raises:
        RegimeError: a schedule, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.25, regime="accumulate")
    >>> round(float(kept_slope(spec, 1000).values), 6)
    -0.5
    """
    share, size = _constant_keeping(spec, "CON-12")
    first = jnp.asarray(max(generations // 10, 2), share.dtype)
    margin = jnp.where(
        jnp.abs(share - 0.5) < 1e-6, _head_start(spec) / jnp.log(first), _memory(share, size, spec.start_size, first)
    )
    return -jnp.minimum(1, 2 * share), margin


@register(
    "CON-12/constant",
    statement="R_t ~ H*/((2a - 1) n t) for a > 1/2 and H* ln t/(n t) at a = 1/2.",
    kind="asymptotic",
    observable="late_risk",
    check="mean risk over the later half of the rounds",
    example=LATE | {"real_fraction": 0.9},
    generations=300,
    samples=100,
    relevant=0.2,
    curve=False,
)
def kept_late_risk(spec: ContaminationSpec, generations: int):
    """Mean risk over rounds T/2 < t <= T of a chain that keeps all data, alpha >= 1/2.

    Formula: ``H*/((2 alpha - 1) n t)``, at alpha = 1/2 ``H* ln t/(n t)``, averaged. CON-12 (derived), asymptotic.
    Margin: relative ``2 (1 - alpha) t^-(2 alpha - 1)`` times ``n/n_0`` or its inverse, and ``2 n_0/(n t)``; at one half
    ``(1.6 + |ln n_0/n|)/ln t`` (attacked on the recursion, not proved).

    Returns:
        Prediction of ``late_risk``, a scalar without unit.

    Raises:
        RegimeError: alpha < 1/2, a schedule, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, size=10.0, regime="accumulate")
    >>> round(float(kept_late_risk(spec, 4).values), 5)
    0.01458
    """
    share, size = _constant_keeping(spec, "CON-12/constant")
    covers(known(spec.real_fraction, lambda v: v >= 0.5), "CON-12/constant", "needs real_fraction >= 0.5; ask CON-12.")
    t = jnp.arange(generations // 2 + 1, generations + 1, dtype=share.dtype)
    half = jnp.abs(share - 0.5) < 1e-6
    factor = jnp.where(half, jnp.log(t), 1 / jnp.where(half, 1, 2 * share - 1))
    slack = jnp.where(half, (0.6 + _head_start(spec)) / jnp.log(t), _memory(share, size, spec.start_size, t))
    value = spec.diversity * factor / (size * t)
    return jnp.mean(value), jnp.mean(value * slack)


def _cut(ratio, square):
    """1 - prod_{t >= 1} (1 - square/(ratio + t)^2): 200 factors, and the rest from its expansion."""
    near = ratio + jnp.arange(1, 201, dtype=ratio.dtype)
    end = ratio + 200
    # sum_{t > 200} of (ratio + t)^-2 and ^-4 by Euler and Maclaurin
    second = 1 / end - 1 / (2 * end**2) + 1 / (6 * end**3) - 1 / (30 * end**5)
    fourth = 1 / (3 * end**3) - 1 / (2 * end**4) + 1 / (3 * end**5)
    logs = jnp.sum(jnp.log1p(-square / near**2)) - square * second - square**2 * fourth / 2
    return -jnp.expm1(logs)


@register(
    "CON-12/none",
    statement="All data kept and no real data: R_t < H* [1 - (1 - 1/n_0) prod_t (1 - n/(n_0 + n t)^2)], below H*.",
    kind="upper bound",
    observable="risk",
    check="mean squared distance of the proportions over all rounds from the truth",
    example=KEEPING | {"real_fraction": 0.0},
    generations=ROUNDS,
    samples=SAMPLES,
)
def kept_risk_bound(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Upper bound, and limit, of the risk of a chain that keeps all data and gets no real ones.

    Formula: ``H* [1 - (1 - 1/n_0) prod_{t >= 1} (1 - n/(n_0 + n t)^2)]``, for ``n_0 = n`` it is
    ``H* [1 - sin(pi/sqrt n)/(pi/sqrt n)]``. CON-12 (derived): away from H* if n_0 >= 2, and away from 0, for the risk
    never falls below ``H*/n_0``.

    Args:
        spec: constant size, real_fraction 0, regime accumulate.

    Returns:
        Prediction (upper bound) of ``risk``, the same for all ``[generations + 1]`` entries, no unit.

    Raises:
        RegimeError: real data, a schedule, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.0, size=4, first_size=4, regime="accumulate")
    >>> round(float(kept_risk_bound(spec, 1).values[0]), 4)  # (1 - 2/pi)/2
    0.1817
    """
    _, size = _constant_keeping(spec, "CON-12/none")
    covers(is_zero(spec.real_fraction), "CON-12/none", "describes real_fraction 0; with real data ask CON-11.")
    cut = _cut(spec.start_size / size, 1 / size)
    inverse = 1 / spec.start_size
    return jnp.broadcast_to(spec.diversity * (inverse + (1 - inverse) * cut), (generations + 1,))


def _anchored(spec: ContaminationSpec, result: str) -> None:
    one_table(spec, result)
    covers(spec.real == "anchor", result, "describes an anchor; for fresh real tokens ask CON-1.")


@register(
    "CON-13",
    statement="Real tokens drawn again from one sample of size m: R_t = H* [1/m + (1 - 1/m) A~_t].",
    kind="exact",
    observable="risk",
    check="mean squared distance of the proportions from the truth, one stored real sample",
    example=ANCHORED,
    generations=ROUNDS,
    samples=SAMPLES,
)
def anchored_risk(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk when the real part of every round is drawn, with replacement, from the real tokens of round 0.

    Formula: ``H* [1/m + (1 - 1/m) A_t]``, ``A_t = 1/n_t + rho_t A_{t-1}``, ``A_0 = 0``, m the ``first_size``. CON-13
    (derived), exact.

    Args:
        spec: real ``anchor``.

    Returns:
        Prediction of ``risk``, ``[generations + 1]``, no unit; entry 0 is the first model.

    Raises:
        RegimeError: another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.25, size=60, first_size=80, real="anchor")
    >>> round(float(anchored_risk(spec, 100).values[-1] / spec.diversity), 6)
    0.04933
    """
    _anchored(spec, "CON-13")
    step = mixture_step(spec.sizes(generations), spec.shares(generations))
    inverse = 1 / spec.start_size
    return spec.diversity * (inverse + (1 - inverse) * affine_path(*step, 0.0))


@register(
    "CON-13/floor",
    statement="An anchor protects but never improves: R_t >= H*/m.",
    kind="lower bound",
    observable="risk",
    check="mean squared distance of the proportions from the truth, one stored real sample",
    example=ANCHORED,
    generations=ROUNDS,
    samples=SAMPLES,
)
def anchor_floor(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Lower bound on the risk of an anchored chain: ``H*/m``, the risk of the anchor. CON-13 (derived).

    Returns:
        Prediction (lower bound) of ``risk``, ``[generations + 1]``, no unit; equality at t = 0.

    Raises:
        RegimeError: another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], first_size=10, real="anchor")
    >>> [round(float(v), 3) for v in anchor_floor(spec, 1).values]
    [0.05..., 0.05...]
    """
    _anchored(spec, "CON-13/floor")
    return jnp.broadcast_to(spec.diversity / spec.start_size, (generations + 1,))
