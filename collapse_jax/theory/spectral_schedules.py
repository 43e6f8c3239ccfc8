"""Annealing: truncation times that shrink from round to round (SP-3, SP-11, SP-19).

Round k uses its own t_k. A real point that entered before round j has been smoothed for ``tau = t_j + ... + t_K`` by
round K, and its weight falls like ``(1 - alpha)^(K - j)``: only the last ``1/alpha`` rounds count, so that the error
tends to zero with t_k, whatever their sum (SP-3, SP-11). What remains is ``1/alpha`` times the error of one truncation
at t_K for slow schedules; none is faster than ``(1 - alpha)^K``. With an error of its own in every round, growing as
t -> 0, there is a best truncation (SP-19).

That truncation tending to zero removes the compounding is the paper's result (SP-3); every bound, rate and constant
here was derived for this project.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory.spectral import DATA, GRID, SAMPLES, SMOOTH
from collapse_jax.theory.spectral_laws import fisher_information, line, line_modes
from collapse_jax.theory.spectral_rounds import (
    ancestry,
    covers,
    gain_path,
    has_density,
    kept,
    known_zero,
    require_reference,
    require_replace,
    round_logs,
    safe_sqrt,
)


def power_schedule(first: float, power: float, rounds: int) -> tuple[float, ...]:
    """``t_k = first k^-power``, k = 1 .. rounds: a slow schedule.

    >>> power_schedule(0.1, 1.0, 4)
    (0.1, 0.05, 0.03333333333333333, 0.025)
    """
    return tuple((first * np.arange(1, rounds + 1) ** -float(power)).tolist())


def geometric_schedule(first: float, ratio: float, rounds: int) -> tuple[float, ...]:
    """``t_k = first ratio^(k - 1)``, k = 1 .. rounds.

    >>> geometric_schedule(0.1, 0.5, 3)
    (0.1, 0.05, 0.025)
    """
    return tuple((first * float(ratio) ** np.arange(rounds)).tolist())


ANNEALED = DATA | {"real_fraction": 0.2, "order": 4, "truncation": power_schedule(0.2, 0.5, 15)}
SLOW = DATA | {"real_fraction": 0.5, "order": 4, "truncation": power_schedule(0.1, 0.25, 60)}
GEOMETRIC = SMOOTH | {"real_fraction": 0.5, "order": 3, "truncation": geometric_schedule(0.02, 0.9, 24)}


def _scheduled(spec: SpectralSpec, result: str) -> None:
    require_replace(spec, result)
    require_reference(spec, result)
    covers(spec.truncation.ndim == 1, result, "describes a schedule: give truncation for each round, or ask SP-6.")


@register(
    "SP-11",
    statement="With a schedule t_k modes follow c' = exp(-m kappa t_k) (alpha c* + (1 - alpha) c), round by round.",
    kind="exact",
    observable="annealed_modes",
    check="Hermite means over particles of an annealed chain",
    example=ANNEALED,
    samples=SAMPLES,
)
def annealed_modes(spec: SpectralSpec, generations: int) -> Float[Array, "generations_plus_1 order_plus_1"]:
    """Hermite modes of the generated law along an annealing schedule.

    Formula: ``c_K = c* [(1 - alpha)^K e^{-m kappa tau_{1,K}} + alpha sum_j (1 - alpha)^(K-j) e^{-m kappa tau_{j,K}}]``,
    ``tau_{j,K} = t_j + ... + t_K``. SP-11 (derived), exact, from ``p_0 = p*``. If alpha > 0 and t_k -> 0 it tends to
    c*; at alpha = 0 to ``exp(-m kappa sum t) c*``.

    Args:
        spec: regime replace, process vp, ``truncation`` one for each round.
        generations: at most the length of the schedule.

    Returns:
        Prediction of ``annealed_modes``, ``[generations + 1, order + 1]``, no unit.

    Raises:
        RegimeError: no schedule, another process or regime. SpecError: the schedule is too short.

    >>> spec = SpectralSpec(**DATA | {"truncation": (0.2, 0.1), "real_fraction": 0.0, "order": 1})
    >>> modes = annealed_modes(spec, 2).values[:, 1]
    >>> round(float(modes[2] / modes[0]), 4)
    0.7408
    """
    _scheduled(spec, "SP-11")
    return gain_path(spec, generations, np.arange(spec.order + 1)) * line_modes(spec)[None]


def _square_loss(spec: SpectralSpec, generations: int):
    """(E (1 - e^lag)^2, E noise) over the ancestry of each round, ``[generations + 1]`` each."""
    weights, lags, noises = ancestry(spec, generations)
    return jnp.sum(weights * jnp.expm1(lags) ** 2, axis=1), jnp.sum(weights * noises, axis=1)


@register(
    "SP-3",
    statement="Truncation times that tend to 0 remove the compounding (claim of arXiv:2606.13796); derived: "
    "a bound on W2 that tends to 0 with them.",
    kind="upper bound",
    observable="annealed_w2",
    check="W2 to the data law on a density grid",
    example=ANNEALED,
    samples=GRID,
)
def annealed_bound(spec: SpectralSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Upper bound on ``W2(p_K, p*)`` along a schedule, for any data with a second moment.

    Formula: ``W2^2 <= sum_j w_j [(1 - e^{-kappa tau_j})^2 E x^2 + (1 - e^{-2 kappa tau_j})]``, w_j the weights of the
    mixture of SP-11, x the data along ``direction``; tends to 0 with t_k if alpha > 0. SP-3 (paper): schedules that
    tend to 0 remove the compounding. The bound and its constants are derived (second bound of SP-11), not the paper's.
    At truncation 0 the bound is 0 and its (infinite) slope is given as 0.

    Args:
        spec: regime replace; any process; a schedule or one truncation.

    Returns:
        Prediction (upper bound) of ``annealed_w2``, ``[generations + 1]`` in data units.

    Raises:
        RegimeError: regime accumulate. SpecError: the schedule is too short.

    >>> spec = SpectralSpec(**DATA | {"truncation": power_schedule(0.1, 1.0, 200)})
    >>> bound = annealed_bound(spec, 200).values
    >>> bool(bound[200] < bound[20] / 2)
    True
    """
    require_replace(spec, "SP-3")
    square, noise = _square_loss(spec, generations)
    return safe_sqrt(square * _second_moment(spec) + noise)


def _second_moment(spec: SpectralSpec):
    law = line(spec)
    return law.weights @ (law.means[:, 0] ** 2 + law.covariances)


@register(
    "SP-11/bound",
    statement="W2^2 <= I sum_j w_j (1 - e^{-kappa tau_j})^2, I the Fisher information relative to the prior.",
    kind="upper bound",
    observable="annealed_w2",
    check="W2 to the data law on a density grid",
    example=ANNEALED,
    samples=GRID,
)
def annealed_fisher_bound(spec: SpectralSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Upper bound on ``W2(p_K, p*)`` along a schedule for data with finite Fisher information.

    Formula: ``W2^2 <= I sum_j w_j (1 - e^{-kappa tau_j})^2`` with the weights of the mixture of SP-11 and
    ``I = E (score + x)^2`` of the data along ``direction``. SP-11 (derived), an upper bound, from ``p_0 = p*``.

    Returns:
        Prediction (upper bound) of ``annealed_w2``, ``[generations + 1]`` in data units.

    Raises:
        RegimeError: process ve, regime accumulate, data without a density.

    >>> spec = SpectralSpec(**DATA | {"truncation": power_schedule(0.01, 1.0, 20)})
    >>> bool(annealed_fisher_bound(spec, 20).values[-1] < annealed_bound(spec, 20).values[-1])
    True
    """
    require_replace(spec, "SP-11/bound")
    require_reference(spec, "SP-11/bound")
    covers(has_density(spec), "SP-11/bound", "needs data with a density: for points ask SP-3.")
    square, _ = _square_loss(spec, generations)
    return safe_sqrt(square) * root_information(spec)


def root_information(spec: SpectralSpec):
    """``W2(S_t p, p)/(1 - e^{-kappa t})`` is at most this, in data units: sqrt(I) on the scale of the reference law."""
    return spec.reference_var * jnp.sqrt(fisher_information(line(spec), spec.reference_var))


def _late(spec: SpectralSpec, generations: int, result: str):
    """(order column, times back from the last, their weights (1 - alpha)^n) of a schedule; checks it."""
    _scheduled(spec, result)
    covers(generations >= 2, result, "needs two rounds or more: below ask SP-11.")
    covers(not known_zero(spec.real_fraction), result, "needs real_fraction > 0: without ask SP-11.")
    back = -round_logs(spec, generations)[::-1]
    orders = jnp.arange(spec.order + 1, dtype=back.dtype)
    return orders, back, np.arange(generations)


@register(
    "SP-11/slow",
    statement="Slow schedules leave the error -(1 - G_m(t_K)) c*: still 1/alpha times that of one truncation at t_K.",
    kind="asymptotic",
    observable="mode_error",
    check="modes of the last round minus those of the data, on a density grid",
    example=SLOW,
    curve=False,
    generations=60,
    samples=GRID,
)
def slow_error(spec: SpectralSpec, generations: int):
    """Mode error ``c_m(p_K) - c*_m`` at the last round K of a slowly falling schedule.

    Formula: ``-(1 - G_m(t_K)) c*_m``, about ``-m kappa t_K c*_m/alpha``. SP-11 (derived), asymptotic as
    ``t_{k+1}/t_k -> 1``. Margin (derived here), relative: ``u + m d + (1 - alpha)^K`` with
    ``u = alpha sum_n (1 - alpha)^n |t_{K-n}/t_K - 1|`` (rounds before were truncated more) and
    ``d = alpha sum_n (1 - alpha)^n |kappa (tau_n - n t_K)|`` (and smoothed more since); both vanish for slow schedules.

    Returns:
        Prediction of ``mode_error``, ``[order + 1]``, no unit.

    Raises:
        RegimeError: no schedule, alpha = 0, fewer than two rounds, another process or regime.

    >>> spec = SpectralSpec(**SLOW)
    >>> error, exact = slow_error(spec, 60).values[3], (annealed_modes(spec, 60).values[-1] - line_modes(spec))[3]
    >>> bool(abs(error / exact - 1) < 0.01)
    True
    """
    orders, back, rounds = _late(spec, generations, "SP-11/slow")
    share, last = spec.real_fraction, back[0]
    weights = share * kept(share, rounds)
    more = weights @ jnp.abs(back / last - 1)
    since = jnp.cumsum(back) - back  # of the rounds after each
    damped = weights @ jnp.abs(since - jnp.asarray(rounds, last.dtype) * last)
    loss = -jnp.expm1(-orders * last)
    lost = loss / jnp.where(orders > 0, share * jnp.exp(-orders * last) + loss, 1)
    values = -lost * line_modes(spec)
    return values, jnp.abs(values) * (more + orders * damped + kept(share, generations))


def _ratio(spec: SpectralSpec, back, result: str):
    """r of a geometric schedule; refuses any other where it is known."""
    ratio = back[0] / back[1]
    if concrete(spec.truncation) and concrete(spec.real_fraction):
        times = np.asarray(spec.truncation, float)
        known = times[1:] / times[:-1]
        even = np.allclose(known, known[0], rtol=1e-4)
        covers(even, result, "describes geometric schedules t_1 r^(k-1): for others ask SP-11/slow or SP-11.")
        fast = bool(known[0] > 1 - float(spec.real_fraction))
        covers(fast, result, "needs ratios r > 1 - real_fraction: below, the error is O((1 - alpha)^K), ask SP-11.")
    return ratio


@register(
    "SP-11/geometric",
    statement="t_k = t_1 r^(k-1), r > 1 - alpha: the error is -m kappa t_K c*/(1 - (1 - alpha)/r).",
    kind="asymptotic",
    observable="mode_error",
    check="modes of the last round minus those of the data, on a density grid",
    example=GEOMETRIC,
    curve=False,
    generations=24,
    samples=800,
)
def geometric_error(spec: SpectralSpec, generations: int):
    """Mode error ``c_m(p_K) - c*_m`` at the last round of a geometric schedule slower than ``1 - alpha``.

    Formula: ``-m kappa t_K c*_m/(1 - (1 - alpha)/r)``. SP-11 (derived), asymptotic as K -> infinity; r is read off the
    last two rounds. Margin (derived here), relative, with ``q = (1 - alpha)/r``: ``q^K`` for the rounds before the
    first and ``m (1 - q) sum_n q^n kappa (t_{K-n}/2 + tau_n)`` for what is not linear in t, tau_n the sum of the n
    last times.

    Returns:
        Prediction of ``mode_error``, ``[order + 1]``, no unit.

    Raises:
        RegimeError: the schedule is not geometric, r <= 1 - alpha, another process or regime.

    >>> spec = SpectralSpec(**GEOMETRIC)
    >>> error, exact = geometric_error(spec, 24).values[2], (annealed_modes(spec, 24).values[-1] - line_modes(spec))[2]
    >>> bool(abs(error / exact - 1) < 0.02)
    True
    """
    orders, back, rounds = _late(spec, generations, "SP-11/geometric")
    ratio = _ratio(spec, back, "SP-11/geometric")
    stays = kept(spec.real_fraction, rounds) * back / back[0] * (1 - (1 - spec.real_fraction) / ratio)
    bend = stays @ (back / 2 + jnp.cumsum(back) - back)
    early = kept(spec.real_fraction, generations) * ratio ** -float(generations)
    values = -orders * back[0] / (1 - (1 - spec.real_fraction) / ratio) * line_modes(spec)
    return values, jnp.abs(values) * (orders * bend + early)


def round_error(spec: SpectralSpec, truncation=None):
    """W2 error B t^-p of a round with this truncation (None: the spec's), the model of SP-12 and SP-19."""
    time = spec.truncation if truncation is None else truncation
    some = spec.error_power > 0
    powered = jnp.where(some, jnp.where(some, time, 1) ** -jnp.where(some, spec.error_power, 1), 1)
    return spec.error_scale * powered


@register(
    "SP-19",
    statement="Errors B t^-p a round: the best truncation is about (p B/(kappa sqrt I))^(1/(1+p)), hardly of alpha.",
    kind="asymptotic",
    observable="log_best_truncation",
    check="search over the truncation that ends nearest to the data, on a density grid",
    example=SMOOTH | {"real_fraction": 0.5, "error_scale": 0.002, "error_power": 1.0},
    samples=GRID,
    relevant=0.5,  # it claims an order of magnitude
)
def best_truncation(spec: SpectralSpec):
    """Logarithm of the truncation time that balances what truncation and what score errors cost.

    Formula: ``log t = [log(p B) - log(kappa sqrt I)]/(1 + p)``: least of ``kappa t sqrt I + B t^-p``, both amplified by
    a constant over alpha. SP-19 (derived), a heuristic, asymptotic; order of magnitude only: margin log 3.

    Args:
        spec: process vp; ``error_scale`` B > 0 and ``error_power`` p > 0; ``truncation`` is not used.

    Returns:
        Prediction of ``log_best_truncation``, a scalar, log of time.

    Raises:
        RegimeError: B or p is 0 (then the best truncation is none), another process, data without a density.

    >>> spec = SpectralSpec([1.0], [0.0], [0.5], error_scale=0.01, error_power=1.0)
    >>> round(float(jnp.exp(best_truncation(spec).values)), 3)
    0.119
    """
    require_replace(spec, "SP-19")
    covers(spec.process == "vp", "SP-19", "describes process vp.")
    covers(has_density(spec), "SP-19", "needs data with a density, whose Fisher information is finite.")
    for name in ("error_scale", "error_power"):
        covers(not known_zero(getattr(spec, name)), "SP-19", f"needs {name} > 0: without, no truncation is best.")
    cost = jnp.log(spec.rate) + jnp.log(fisher_information(line(spec))) / 2
    gainful = jnp.log(spec.error_power) + jnp.log(spec.error_scale)
    return (gainful - cost) / (1 + spec.error_power), float(np.log(3))


def design_error(spec: SpectralSpec, schedule) -> Float[Array, ""]:
    """Bound on the final ``W2(p^_K, p*)`` of a schedule whose rounds err by B t^-p each: differentiable, to minimise.

    Formula: ``sqrt(I sum_j w_j (1 - e^{-kappa tau_j})^2) + sum_k B t_k^-p prod_{i>k} e^{-kappa t_i} sqrt(1 - alpha)``,
    SP-11/bound plus the errors of SP-12 carried to the end. Derived, an upper bound.

    Args:
        spec: process vp, regime replace; its own ``truncation`` is not used.
        schedule: ``[rounds]``, positive.

    >>> spec = SpectralSpec(**DATA | {"error_scale": 0.01, "error_power": 1.0})
    >>> bool(design_error(spec, jnp.full(30, 0.05)) < design_error(spec, jnp.full(30, 0.005)))
    True
    """
    covers(spec.process == "vp", "SP-19", "describes process vp.")
    rounds = len(schedule)
    about = dataclasses.replace(spec, truncation=jnp.asarray(schedule, spec.weights.dtype))
    truncated = annealed_fisher_bound(about, rounds).values[-1]
    back = round_logs(about, rounds)[::-1]
    carried = jnp.exp(jnp.cumsum(back) - back) * safe_sqrt(kept(spec.real_fraction, np.arange(rounds)))
    return truncated + carried @ round_error(spec, -back / spec.rate)
