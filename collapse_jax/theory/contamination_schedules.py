"""Growing sizes and falling real shares: slow schedules and the table of polynomial ones (CON-8, CON-9).

CON-1 is ``A_t = 1/n_t + (1 - d_t) A_{t-1}`` with ``d_t = 1 - rho_t``. Its fixed point at frozen (alpha, n) is
``Q_t = 1/(n_t d_t) = 1/[n_t alpha_t (2 - alpha_t) + (1 - alpha_t)^2]`` (CON-4). The lag ``E_t = A_t - Q_t`` obeys
``E_t = rho_t (E_{t-1} + Q_{t-1} - Q_t)``: if d_t is large against 1/t and the schedule slow, A follows Q (CON-9), and
what is missing is bounded by the same recursion with absolute values.

With ``alpha_t = c t^-a`` and ``n_t = n_1 t^b``: for a < 1, ``d_t ~ 2 c t^-a`` is large against 1/t, so ``A ~ Q``:
``t^(a-b)/(2 c n_1)`` for b > a, ``1/(1 + 2 c n_1)`` for b = a and 1 for b < a. For a = 1 the lag is as large as Q: the
recursion becomes ``dA/dt = t^-b/n_1 - (2 c/t + t^-b/n_1) A``, whose solution is ``t^(1-b)/((2 c + 1 - b) n_1)`` for
1 < b < 1 + 2 c, gains a logarithm at b = 1 + 2 c, and falls like the memory ``t^(-2c)`` beyond. For a > 1 what was
learned first is never forgotten (CON-7). All of it was derived for this project; that decaying shares can be enough if
the sizes grow is the paper's claim (arXiv:2602.10531).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.theory.contamination import ROUNDS, SAMPLES, TOY
from collapse_jax.theory.contamination_recursion import (
    covers,
    forgotten,
    known,
    plain,
)

EVEN = (0.2, 0.2, 0.2, 0.2, 0.2)
POLYNOMIAL: dict[str, Any] = {"truth": EVEN, "real_fraction": 1.0, "real_power": 0.5, "size": 2.0, "size_power": 1.5}
HARMONIC: dict[str, Any] = POLYNOMIAL | {"real_power": 1.0, "size_power": 2.0}
SLOW: dict[str, Any] = TOY | {"real_fraction": 0.8, "real_power": 0.25, "size": 30.0, "size_power": 0.25}

LATE = 300
"""Rounds of a default measurement of a late law."""

CHAINS = 100
"""Chains that a replicate of such a measurement averages."""


def _powers(spec: ContaminationSpec, result: str):
    """a, b, c, n_1 of a polynomial schedule."""
    plain(spec, result)
    covers(
        spec.real_fraction.ndim == 0 and spec.size.ndim == 0,
        result,
        "describes powers of the round: give real_fraction and size as numbers; for lists ask CON-1.",
    )
    covers(known(spec.real_fraction, lambda v: v > 0), result, "needs real data; without any ask CON-3.")
    return spec.real_power, spec.size_power, spec.real_fraction, spec.size


def _relation(spec: ContaminationSpec, result: str, holds, needs: str) -> None:
    """Refuse powers that are known and do not satisfy ``holds(a, b, c)``."""
    values = [spec.real_power, spec.size_power, spec.real_fraction]
    if all(known(value, lambda v: False) is False for value in values):
        covers(bool(holds(*(float(value) for value in values))), result, needs)


def _slack(spec: ContaminationSpec, time):
    """Relative size of what the leading order leaves out at ``time``, a sum of its next terms."""
    a, b, c, n = spec.real_power, spec.size_power, spec.real_fraction, spec.size
    share = c * time**-a
    own = 1 / (2 * n * time**b * share)
    lag = 3 * jnp.abs(b - a) * time ** (a - 1) / (4 * c)
    rest, log = 2 * c + 1 - b, jnp.log(time)
    # the two terms feed each other where their powers meet, with a logarithm
    memory = jnp.where(jnp.abs(rest) < 1e-6, 2 / log, (1 + log) * time ** -jnp.abs(rest))
    return share + jnp.where(a < 1, own + lag, (1 + log) * own + memory)


def _slope_slack(spec: ContaminationSpec, time):
    """How much the slope of what the leading order leaves out may be at ``time``: of each term of ``_slack``."""
    a, b, c, n = spec.real_power, spec.size_power, spec.real_fraction, spec.size
    share = c * time**-a
    apart = jnp.abs(2 * c + 1 - b)
    log = jnp.log(time)
    near = apart * log < 1e-3
    memory = jnp.where(near, 1 / log, jnp.where(near, 1, apart) / jnp.expm1(jnp.where(near, 1, apart * log)))
    lag = jnp.where(a < 1, (1 - a) * jnp.abs(b - a) * time ** (a - 1) / (2 * c), memory)
    real = 2 * n * time**b * share
    return a * share / 2 + jnp.abs(b - a) * jnp.minimum(real, 1 / real) + lag


@register(
    "CON-8",
    statement="a_t = c t^-a, n_t = n_1 t^b: R_t falls like t^(a-b) (a < 1, b > a), t^-min(b-1, 2c) (a = 1, b > 1), "
    "else not at all.",
    kind="asymptotic",
    observable="late_slope",
    check="least-squares slope of log risk against log t over the last nine tenths of the rounds",
    example=POLYNOMIAL,
    generations=LATE,
    samples=CHAINS,
    relevant=0.2,
    curve=False,
)
def late_slope(spec: ContaminationSpec, generations: int):
    """Slope of ``log R_t`` against ``log t`` late in a polynomial schedule, ``alpha_t = c t^-a``, ``n_t = n_1 t^b``.

    Formula: ``a - b`` for a < 1 and b > a; ``-min(b - 1, 2c)`` for a = 1 and b > 1; 0 else. CON-8 (derived),
    asymptotic as t -> infinity. Margin: the slopes of the next terms at the first round of the window, ``a alpha/2``,
    ``|b - a|/(2 n alpha)`` (or its inverse) and that of the lag, ``(1 - a)(b - a) t^(a-1)/(2c)``; for a = 1 that of the
    memory, ``d/(t^d - 1)`` with ``d = |2c + 1 - b|``, which is ``1/ln t`` at d = 0 (attacked on the recursion, not
    proved). The form sets in once ``n_1 t^(b-1)`` is large: for b close to 1 that is very late.

    Args:
        spec: number for real_fraction (c > 0) and size (n_1), with real_power a and size_power b.
        generations: last round T of the window, which begins at T/10.

    Returns:
        Prediction of ``late_slope``, a scalar without unit.

    Raises:
        RegimeError: lists instead of powers, no real data, or another chain.

    >>> round(float(late_slope(ContaminationSpec(**POLYNOMIAL), 1000).values), 6)
    -1.0
    """
    a, b, c, _ = _powers(spec, "CON-8")
    first = jnp.asarray(max(generations // 10, 2), a.dtype)
    slope = jnp.where(a < 1, jnp.minimum(a - b, 0), jnp.where(a > 1, 0, -jnp.clip(b - 1, 0, 2 * c)))
    return slope, jnp.where(a > 1, jnp.inf, _slope_slack(spec, first))


def _late(spec: ContaminationSpec, generations: int, leading):
    """Mean of ``H* leading(t)`` over the later half of the rounds, with its margin; ``leading`` gives both."""
    times = jnp.arange(generations // 2 + 1, generations + 1, dtype=spec.truth.dtype)
    value, slack = leading(times)
    return spec.diversity * jnp.mean(value), spec.diversity * jnp.mean(value * slack)


@register(
    "CON-8/share",
    statement="0 < a < 1, b > a: R_t ~ H* t^(a-b)/(2 c n_1).",
    kind="asymptotic",
    observable="late_risk",
    check="mean risk over the later half of the rounds",
    example=POLYNOMIAL,
    generations=LATE,
    samples=CHAINS,
    relevant=0.2,
    curve=False,
)
def late_risk(spec: ContaminationSpec, generations: int):
    """Mean risk over rounds T/2 < t <= T under ``alpha_t = c t^-a``, ``n_t = n_1 t^b``, a < 1 and b > a.

    Formula: ``H* t^(a-b)/(2 c n_1)``, averaged. CON-8 (derived), asymptotic. Margin: relative
    ``alpha + 1/(2 n alpha) + 3 (b - a) t^(a-1)/(4c)``, above the next terms while it is below about 0.3 (attacked on
    the recursion, not proved).

    Returns:
        Prediction of ``late_risk``, a scalar without unit.

    Raises:
        RegimeError: other powers, lists, or another chain.

    >>> round(float(late_risk(ContaminationSpec(**POLYNOMIAL), 1000).values), 5)
    0.00028
    """
    a, b, c, n = _powers(spec, "CON-8/share")
    _relation(spec, "CON-8/share", lambda a, b, c: a < 1 and b > a, "needs real_power < 1 and size_power above it.")
    return _late(spec, generations, lambda t: (t ** (a - b) / (2 * c * n), _slack(spec, t)))


@register(
    "CON-8/harmonic",
    statement="a = 1: R_t ~ H* t^(1-b)/((2c + 1 - b) n_1) for 1 < b < 1 + 2c, H* t^(-2c) ln t/n_1 at b = 1 + 2c.",
    kind="asymptotic",
    observable="late_risk",
    check="mean risk over the later half of the rounds",
    example=HARMONIC | {"size_power": 1.75},
    generations=LATE,
    samples=CHAINS,
    relevant=0.2,
    curve=False,
)
def harmonic_risk(spec: ContaminationSpec, generations: int):
    """Mean risk over rounds T/2 < t <= T under ``alpha_t = min(1, c/t)``, ``n_t = n_1 t^b``, 1 < b <= 1 + 2c.

    Formula: ``H* t^(1-b)/((2c + 1 - b) n_1)``, at b = 1 + 2c ``H* t^(-2c) ln t/n_1``, averaged. CON-8 (derived),
    asymptotic. Margin: relative ``alpha + (1 + ln t) [1/(2 n alpha) + t^-|2c + 1 - b|]``, ``2/ln t`` for the last term
    at the logarithm (attacked on the recursion, not proved). For b > 1 + 2c the order is ``t^(-2c)`` and the constant
    depends on the early rounds.

    Returns:
        Prediction of ``late_risk``, a scalar without unit.

    Raises:
        RegimeError: other powers, lists, or another chain.

    >>> round(float(harmonic_risk(ContaminationSpec(**HARMONIC), 1000).values), 6)
    0.000554
    """
    _, b, c, n = _powers(spec, "CON-8/harmonic")
    _relation(
        spec,
        "CON-8/harmonic",
        lambda a, b, c: a == 1 and 1 < b <= 1 + 2 * c + 1e-6,
        "needs real_power 1 and size_power in (1, 1 + 2 real_fraction]; for a slope alone ask CON-8.",
    )
    rest = 2 * c + 1 - b
    border = jnp.abs(rest) < 1e-6

    def leading(t):
        log = jnp.log(t)
        value = jnp.where(border, t ** (-2 * c) * log / n, t ** (1 - b) / (jnp.where(border, 1, rest) * n))
        return value, _slack(spec, t)

    return _late(spec, generations, leading)


@register(
    "CON-8/balance",
    statement="b = a <= 1: R_t -> H*/(1 + 2 c n_1), stagnation.",
    kind="asymptotic",
    observable="late_risk",
    check="mean risk over the later half of the rounds",
    example=POLYNOMIAL | {"size": 5.0, "size_power": 0.5},
    generations=LATE,
    samples=CHAINS,
    relevant=0.2,
    curve=False,
)
def balanced_risk(spec: ContaminationSpec, generations: int):
    """Risk at which a schedule with as many real tokens in every round stagnates: ``H*/(1 + 2 c n_1)``, b = a <= 1.

    CON-8 (derived), asymptotic. Margin: relative ``2 alpha + t^-(2c)`` for a = 1, ``2 alpha + t^(a-1)/n_1`` below.

    Returns:
        Prediction of ``late_risk`` (mean over the later half of the rounds), a scalar without unit.

    Raises:
        RegimeError: other powers, lists, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, real_power=1.0, size=2.0, size_power=1.0)
    >>> round(float(balanced_risk(spec, 1000).values), 4)
    0.1
    """
    a, _, c, n = _powers(spec, "CON-8/balance")
    _relation(spec, "CON-8/balance", lambda a, b, c: a == b and 0 < a <= 1, "needs real_power = size_power in (0, 1].")

    def leading(t):
        rest = jnp.where(a < 1, t ** (a - 1) / n, t ** (-2 * c))
        return jnp.broadcast_to(1 / (1 + 2 * c * n), t.shape), 2 * c * t**-a + rest

    return _late(spec, generations, leading)


@register(
    "CON-8/collapse",
    statement="a <= 1, b < a: R_t -> H*, collapse, however slowly the real share falls.",
    kind="asymptotic",
    observable="late_risk",
    check="mean risk over the later half of the rounds",
    example=POLYNOMIAL | {"real_power": 1.0, "size": 4.0, "size_power": 0.0},
    generations=LATE,
    samples=CHAINS,
    relevant=0.2,
    curve=False,
)
def lost_risk(spec: ContaminationSpec, generations: int):
    """Risk at which a schedule with ever fewer real tokens ends: ``H*``, b < a <= 1.

    CON-8 (derived), asymptotic. Margin: relative ``2 n alpha``, the expected number of real tokens twice.

    Returns:
        Prediction of ``late_risk`` (mean over the later half of the rounds), a scalar without unit.

    Raises:
        RegimeError: other powers, lists, or another chain.

    >>> round(float(lost_risk(ContaminationSpec([0.5, 0.5], real_power=1.0), 100).values), 6)
    0.5
    """
    a, b, c, n = _powers(spec, "CON-8/collapse")
    _relation(
        spec, "CON-8/collapse", lambda a, b, c: 0 < a <= 1 and b < a, "needs real_power in (0, 1] above size_power."
    )
    return _late(spec, generations, lambda t: (jnp.ones_like(t), 2 * n * t**b * c * t**-a))


@register(
    "CON-8/summable",
    statement="a > 1: R_t keeps a positive limit, at least H* (1/n_s) prod_{u > s} (1 - a_u)^2 for every s.",
    kind="lower bound",
    observable="late_risk",
    check="mean risk over the later half of the rounds",
    example=POLYNOMIAL | {"real_power": 2.0, "size": 4.0, "size_power": 3.0},
    generations=LATE,
    samples=CHAINS,
    relevant=0.2,
    curve=False,
)
def remembered_risk(spec: ContaminationSpec, generations: int) -> Float[Array, ""]:
    """Lower bound on the late risk when the real shares have a finite sum, a > 1.

    Formula: ``H* max_s (1/n_s) prod_{u=s+1..T} (1 - alpha_u)^2``, s from 0: what the best remembered round alone leaves
    of its own noise (the terms of CON-3 are positive). CON-8 (derived); its limit is positive for every size.

    Returns:
        Prediction (lower bound) of ``late_risk`` (mean over the later half of the rounds), a scalar without unit.

    Raises:
        RegimeError: real_power <= 1, lists, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, real_power=2.0, size=5.0)
    >>> round(float(remembered_risk(spec, 2).values), 4)  # round 2 itself: H*/5
    0.1
    """
    _powers(spec, "CON-8/summable")
    _relation(spec, "CON-8/summable", lambda a, b, c: a > 1, "needs real_power above 1.")
    kept = (1 - spec.shares(generations)) ** 2
    sizes = jnp.concatenate([spec.start_size[None], spec.sizes(generations)])
    after = jnp.concatenate([jnp.cumprod(kept[::-1])[::-1], jnp.ones((1,), kept.dtype)])
    # the rounding of log-sized products is nothing beside the slack of a bound
    return spec.diversity * jnp.max(after / sizes)


def _followed(spec: ContaminationSpec, generations: int):
    """Q_t, entry 0 the first model, and the bound on ``|A_t - Q_t|``."""
    shares, sizes = spec.shares(generations), spec.sizes(generations)
    settled = 1 / (sizes * forgotten(shares) + (1 - shares) ** 2)
    path = jnp.concatenate([1 / spec.start_size[None], settled])

    def step(lag, now):
        size, share, moved = now
        lag = (1 - 1 / size) * (1 - share) ** 2 * (lag + moved)
        return lag, lag

    moved = jnp.abs(jnp.diff(path))
    _, lags = jax.lax.scan(step, jnp.zeros((), path.dtype), (sizes, shares, moved))
    return path, jnp.concatenate([jnp.zeros((1,), path.dtype), lags])


@register(
    "CON-9",
    statement="Slow schedules: A_t follows 1/[n_t a_t (2 - a_t) + (1 - a_t)^2].",
    kind="asymptotic",
    observable="risk",
    check="mean squared distance of the proportions from the truth, a slowly falling share",
    example=SLOW,
    generations=ROUNDS,
    samples=SAMPLES,
    relevant=0.1,
)
def slow_risk(spec: ContaminationSpec, generations: int):
    """Risk along a slow schedule: that at which the present share and size alone would settle.

    Formula: ``H*/[n_t alpha_t (2 - alpha_t) + (1 - alpha_t)^2]``; CON-9 (derived), asymptotic for schedules that change
    little within ``1/(2 alpha_t + 1/n_t)`` rounds. Margin: the lag, bounded by
    ``E_t = rho_t (E_{t-1} + |Q_t - Q_{t-1}|)``, a rigorous bound.

    Returns:
        Prediction of ``risk``, ``[generations + 1]``, no unit; entry 0 is the first model.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.5, size=10.0)
    >>> round(float(slow_risk(spec, 5).values[5]), 4)
    0.0645
    """
    plain(spec, "CON-9")
    path, lag = _followed(spec, generations)
    return spec.diversity * path, spec.diversity * lag


@register(
    "CON-9/product",
    statement="For small a_t only the expected number of real tokens matters: A_t about 1/(1 + 2 n_t a_t).",
    kind="asymptotic",
    observable="risk",
    check="mean squared distance of the proportions from the truth, rare real tokens",
    example=TOY | {"real_fraction": 0.05, "size": 60.0, "first_size": 7.0},
    generations=ROUNDS,
    samples=SAMPLES,
    relevant=0.1,
)
def rare_risk(spec: ContaminationSpec, generations: int):
    """Risk along a slow schedule with few real tokens: ``H*/(1 + 2 n_t alpha_t)``.

    CON-9 (derived), asymptotic for small alpha_t. Margin: the lag of ``slow_risk`` and the difference of the two forms,
    at most ``Q_t [2 alpha_t + (n_t - 1) alpha_t^2]/(1 + 2 n_t alpha_t)``.

    Returns:
        Prediction of ``risk``, ``[generations + 1]``, no unit; entry 0 is the first model.

    Raises:
        RegimeError: as for ``theory.contamination.risk``.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=0.05, size=10.0)
    >>> round(float(rare_risk(spec, 1).values[1]), 4)
    0.25
    """
    plain(spec, "CON-9/product")
    path, lag = _followed(spec, generations)
    shares, sizes = spec.shares(generations), spec.sizes(generations)
    real = 1 + 2 * sizes * shares
    apart = path[1:] * (2 * shares + (sizes - 1) * shares**2) / real
    lag = lag + jnp.concatenate([jnp.zeros((1,), lag.dtype), apart])
    return spec.diversity * jnp.concatenate([path[:1], 1 / real]), spec.diversity * lag
