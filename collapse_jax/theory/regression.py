"""Least squares on self-made labels, exactly at every size (REG-1 ... REG-5).

Least squares on T Gaussian rows labelled by w gives ``w_hat - w = (X^T X)^{-1} X^T eps``: whitened, its covariance
given X is ``s^2 W^{-1}`` with ``W ~ Wishart_d(I, T)``, and ``E tr W^{-1} = d/(T - d - 1)``, whatever Sigma and w. Under
replacement the rounds add up (REG-1, REG-2). On all rows so far, ``w_i = w_{i-1} + (sum_j W_j)^{-1} X_i^T eps_i``
(the former rows are fitted by the former weights), and ``E tr[V^{-1} W_i V^{-1}] = (T_i/N_i) E tr V^{-1}`` with
``V = sum_j W_j`` because V and the beta matrix that splits it are independent (REG-3); ``i T - d - 1 >= i (T - d - 1)``
gives the bound (REG-4). With real rows among the T, ``w' - w_0 = V^{-1}(W_p (w - w_0) + X^T eps)``, and the mean of
``|V^{-1} W_p v|^2`` over Wishart matrices is ``g |v|^2`` (REG-5), which can be brought to
``g = x^2 + x (1 - x) K`` with x = p/T the synthetic share and
``K = [(d + 1)(T^2 - T + 2) - 4T]/[(T - 1)(T + 2)(T - d - 1)]``: the positive excess over x^2 is the price of finitely
many rows, and ``1 - g = (1 - x)(1 + x (1 - K))``, so that every share of real rows keeps the error bounded iff K <= 2.

The formulas were derived for this project. That the error grows linearly in n is the claim of arXiv:2402.07712, the
constant pi^2/6 that of arXiv:2404.01413.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.theory.regression_equations import (
    covers,
    require_constant,
    require_mean,
    require_replace,
    require_ridgeless,
    surely,
)

# unequal eigenvalues, noises and sizes, so that a comparison can tell them apart
SHAPE = {"spectrum": (2.0, 1.0, 0.5, 0.25), "truth": (1.0, -0.5, 1.5, 2.0)}
NOISE = {"learner_noise": 0.5, "generator_noise": 0.7}
OLS = SHAPE | NOISE | {"learner_samples": 20, "generator_samples": 25}
UNEVEN = OLS | {
    "generator_samples": (20, 40, 80, 160, 320),
    "generator_noise": (0.7, 0.9, 0.5, 1.5, 1.0),
}
ROWS = {"spectrum": (2.0, 1.0, 0.5, 0.25), "generator_samples": 20, "generator_noise": 0.7}


def _cost(spec: RegressionSpec, rows, noise):
    """sigma^2 d/(T - d - 1): mean square error of one least-squares fit."""
    return noise**2 * spec.dimension / (rows - spec.dimension - 1)


def _error(spec: RegressionSpec, generations: int):
    rows, noises = (spec.per_round(name, generations) for name in ("generator_samples", "generator_noise"))
    made = jnp.cumsum(_cost(spec, rows, noises))
    own = _cost(spec, spec.learner_samples, spec.learner_noise)
    return own + jnp.concatenate([jnp.zeros(1, made.dtype), made])


def _replaced(spec: RegressionSpec, result: str) -> None:
    require_replace(spec, result)
    require_ridgeless(spec, result, "learner_ridge", "generator_ridge")
    require_mean(spec, result, "learner_samples", "generator_samples")


@register(
    "REG-1",
    statement="E(n) = sigma^2 d/(T - d - 1) + n sigma_0^2 d/(T_0 - d - 1): least squares on self-made labels.",
    kind="exact",
    observable="error",
    check="mean square error of the learner, Wishart designs",
    example=OLS,
    generations=4,
    samples=1000,
    relevant=0.02,
)
def error(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Test error of the learner after each number of generators, replacement, least squares.

    Formula: ``E(n) = sigma^2 d/(T - d - 1) + n sigma_0^2 d/(T_0 - d - 1)``. REG-1 (derived), exact at every size, for
    every Sigma and truth; that growth is linear is the paper's claim. Range: T, T_0 >= d + 2. Against clean labels,
    ``|w_hat - w_0|_Sigma^2``. sigma_0 = 0 or T_0 -> infinity: no degradation.

    Returns:
        Prediction of ``error``, ``[generations + 1]`` in label^2; entry 0 is a learner of real labels.

    Raises:
        RegimeError: ridges, schedules, real rows, accumulation, or fewer than d + 2 rows.

    >>> spec = RegressionSpec([1.0], dimension=10, learner_samples=30, generator_samples=40, generator_noise=0.7)
    >>> round(float(error(spec, 5).values[5]), 5)
    0.97641
    """
    require_constant(spec, "REG-1", "REG-2")
    _replaced(spec, "REG-1")
    return _error(spec, generations)


@register(
    "REG-2",
    statement="Uneven rounds add up: E(n) = sigma^2 d/(T - d - 1) + sum_m sigma_m^2 d/(T_m - d - 1).",
    kind="exact",
    observable="error",
    check="mean square error of the learner, Wishart designs, sizes and noises by round",
    example=UNEVEN,
    generations=4,
    samples=1000,
    relevant=0.02,
)
def error_of_rounds(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Test error of the learner when sizes and noises of the generators change from round to round.

    Formula: ``E(n) = sigma^2 d/(T - d - 1) + sum_{m <= n} sigma_{0,m}^2 d/(T_{0,m} - d - 1)``. REG-2 (derived), exact;
    bounded in n iff ``sum_m sigma_{0,m}^2/T_{0,m}`` is finite. Range as in REG-1.

    Returns:
        Prediction of ``error``, ``[generations + 1]`` in label^2.

    Raises:
        RegimeError: ridges, real rows, accumulation, or fewer than d + 2 rows.

    >>> spec = RegressionSpec([1.0], learner_samples=4, learner_noise=1, generator_samples=[3, 4], generator_noise=1)
    >>> error_of_rounds(spec, 2).values.tolist()
    [0.5, 1.5, 2.0]
    """
    _replaced(spec, "REG-2")
    return _error(spec, generations)


def _accumulated(spec: RegressionSpec, result: str) -> None:
    covers(spec.regime == "accumulate", result, "describes regime accumulate; for replace ask REG-1.")
    require_ridgeless(spec, result, "generator_ridge")
    first = spec.generator_samples[:1] if jnp.ndim(spec.generator_samples) else spec.generator_samples
    least = spec.dimension + 2
    enough = surely(lambda rows: rows >= least, first)
    covers(enough, result, f"needs {least} = d + 2 rows in the first round: with fewer the mean error is infinite.")


@register(
    "REG-3",
    statement="On all rows so far E_n = sigma_0^2 d sum_i T_i/(N_i (N_i - d - 1)): accumulation bounds the error.",
    kind="exact",
    observable="generator_error",
    check="mean square error of the generators, sums of Wishart designs",
    example=ROWS | {"regime": "accumulate"},
    generations=30,
    samples=400,
    relevant=0.03,
)
def accumulated_error(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Error of the generators themselves when each is fitted to all rows so far, the first of them real.

    Formula: ``E_n = sigma_0^2 d sum_{i <= n} T_i/(N_i (N_i - d - 1))``, ``N_i = T_1 + ... + T_i``, noises by round
    inside the sum. REG-3 (derived), exact at every size and Sigma. Range: T_1 >= d + 2. The first term is the clean
    error; ``d/T_0 -> 0`` gives the inflation ``sum 1/i^2``.

    Returns:
        Prediction of ``generator_error``, ``[generations + 1]`` in label^2; entry 0 is the truth, error 0.

    Raises:
        RegimeError: regime replace, a ridge, or a first round with fewer than d + 2 rows.

    >>> spec = RegressionSpec([1.0], generator_samples=4, generator_noise=1.0, regime="accumulate")
    >>> accumulated_error(spec, 2).values.round(6).tolist()
    [0.0, 0.5, 0.583333...]
    """
    _accumulated(spec, "REG-3")
    rows, noises = (spec.per_round(name, generations) for name in ("generator_samples", "generator_noise"))
    total = jnp.cumsum(rows)
    parts = spec.dimension * noises**2 * (rows / total) / (total - spec.dimension - 1)
    return jnp.concatenate([jnp.zeros(1, parts.dtype), jnp.cumsum(parts)])


@register(
    "REG-3/limit",
    statement="Equal rounds accumulated for ever end at sigma_0^2 d/(d + 1) [-gamma - psi(1 - (d + 1)/T_0)].",
    kind="asymptotic",
    observable="final_generator_error",
    check="mean square error of the last generator, sums of Wishart designs",
    example=ROWS | {"regime": "accumulate"},
    generations=30,
    samples=400,
    relevant=0.06,
    curve=False,
)
def accumulated_limit(spec: RegressionSpec, generations: int):
    """Where accumulation with equal rounds ends.

    Formula: ``sigma_0^2 d/(d + 1) [psi(1) - psi(1 - (d + 1)/T_0)]``, psi the digamma function: the series of REG-3
    summed. REG-3/limit (derived); margin: what the rounds after ``generations`` still add, at most
    ``sigma_0^2 d/(n (T_0 - (d + 1)/(n + 1)))``.

    Returns:
        Prediction of ``final_generator_error``, a scalar in label^2.

    Raises:
        RegimeError: as REG-3, or a schedule.

    >>> spec = RegressionSpec([1.0], dimension=8, generator_samples=20, regime="accumulate")
    >>> round(float(accumulated_limit(spec, 99).values / accumulated_error(spec, 1).values[1]), 4)
    1.4162
    """
    require_constant(spec, "REG-3/limit", "REG-3")
    _accumulated(spec, "REG-3/limit")
    up = spec.dimension + 1
    share = up / spec.generator_samples
    size = spec.generator_noise**2 * spec.dimension
    # psi(1) - psi(1 - a) through psi(1 + x) = psi(x) + 1/x, so that small shares keep their digits
    limit = size / up * _digamma_fall(share)
    return limit, size / (generations * (spec.generator_samples - up / (generations + 1)))


def _digamma_fall(share):
    """``psi(1) - psi(1 - a) = a sum_i 1/(i (i - a))`` for 0 < a < 1, to relative accuracy also for small a."""
    count = 24
    i = jnp.arange(1, count, dtype=jnp.result_type(share))
    rest = count - share
    # the tail: psi(N) - psi(N - a) by differences of the asymptotic series, each written without cancellation
    ratio = share / count
    tail = -jnp.log1p(-ratio) + share / (2 * count * rest)
    for power, factor in ((2, 1 / 12), (4, -1 / 120), (6, 1 / 252), (8, -1 / 240)):
        tail = tail + factor * jnp.expm1(-power * jnp.log1p(-ratio)) / float(count) ** power
    return share * jnp.sum(1 / (i * (i - share))) + tail


@register(
    "REG-4",
    statement="Equal rounds accumulated: E_n <= (pi^2/6) sigma_0^2 d/(T_0 - d - 1) for every n.",
    kind="upper bound",
    observable="generator_error",
    check="mean square error of the generators, sums of Wishart designs",
    example=ROWS | {"regime": "accumulate", "generator_samples": 400},
    generations=30,
    samples=400,
    tag="paper",
    citation="gerstgrasser2024",
)
def accumulated_bound(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Upper bound on the error of the generators under accumulation, for every number of rounds.

    Formula: ``(pi^2/6) sigma_0^2 d/(T_0 - d - 1)``. REG-4 (the paper's statement; it follows from REG-3 by
    ``i T_0 - d - 1 >= i (T_0 - d - 1)``), an upper bound; strict, and approached only for n -> infinity, d/T_0 -> 0.

    Returns:
        Prediction (upper bound) of ``generator_error``, ``[generations + 1]`` in label^2.

    Raises:
        RegimeError: as REG-3, or a schedule.

    >>> spec = RegressionSpec([1.0], generator_samples=4, generator_noise=1.0, regime="accumulate")
    >>> round(float(accumulated_bound(spec, 2).values[2]), 4)  # pi^2/12
    0.8225
    """
    require_constant(spec, "REG-4", "REG-3")
    _accumulated(spec, "REG-4")
    bound = np.pi**2 / 6 * _cost(spec, spec.generator_samples, spec.generator_noise)
    return jnp.broadcast_to(bound, (generations + 1,))


def _mixed(spec: RegressionSpec, result: str) -> None:
    covers(spec.regime == "replace", result, "describes regime replace; for accumulate ask REG-3.")
    require_constant(spec, result, "REG-2")
    require_ridgeless(spec, result, "generator_ridge")
    require_mean(spec, result, "generator_samples")


def _excess(spec: RegressionSpec):
    """K of the module's docstring."""
    rows, up = spec.generator_samples, spec.dimension + 1
    return (up * (1 - 1 / rows + 2 / rows**2) - 4 / rows) / ((1 - 1 / rows) * (1 + 2 / rows) * (rows - up))


MIXED = ROWS | {"real_fraction": 0.25}


@register(
    "REG-5",
    statement="Real rows in every round: E_m = g E_(m-1) + sigma_0^2 d/(T - d - 1).",
    kind="exact",
    observable="generator_error",
    check="mean square error of the generators, two Wishart designs a round",
    example=MIXED,
    generations=10,
    samples=1000,
    relevant=0.02,
)
def mixed_error(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Error of the generators when the truth labels a share of the rows of every round.

    Formula: ``E_m = g E_{m-1} + sigma_0^2 d/(T - d - 1)``, ``E_0 = 0``, g of REG-5/gain, T = ``generator_samples`` of
    which ``real_fraction`` are real. REG-5 (derived), exact at every size and Sigma. real_fraction 0 gives REG-1's
    growth, 1 a chain without memory. Range: T >= d + 2.

    Returns:
        Prediction of ``generator_error``, ``[generations + 1]`` in label^2; entry 0 is the truth, error 0.

    Raises:
        RegimeError: a ridge, a schedule, accumulation, or fewer than d + 2 rows.

    >>> spec = RegressionSpec([1.0], generator_samples=4, generator_noise=1.0, real_fraction=1.0)
    >>> mixed_error(spec, 2).values.tolist()
    [0.0, 0.5, 0.5]
    """
    _mixed(spec, "REG-5")
    gain, own = _gain(spec), _cost(spec, spec.generator_samples, spec.generator_noise)
    path = jax.lax.scan(lambda total, _: (gain * total + own,) * 2, jnp.zeros_like(own), length=generations)[1]
    return jnp.concatenate([jnp.zeros_like(own)[None], path])


def _gain(spec: RegressionSpec):
    share = 1 - spec.real_fraction
    return share**2 + share * spec.real_fraction * _excess(spec)


@register(
    "REG-5/gain",
    statement="g = x^2 + x(1 - x) K, x the synthetic share: more than x^2, the price of finitely many rows.",
    kind="exact",
    observable="kept_error",
    check="|V^-1 W_p v|^2 for a unit vector v, two Wishart designs",
    example=MIXED,
    samples=1000,
)
def mixed_gain(spec: RegressionSpec) -> Float[Array, ""]:
    """Share of the last generator's squared error that the next one keeps when real rows are mixed in.

    Formula: ``g = x^2 + x(1 - x) K``, ``x = 1 - real_fraction``,
    ``K = [(d + 1)(T^2 - T + 2) - 4T]/[(T - 1)(T + 2)(T - d - 1)]``. REG-5/gain (derived), exact. ``g < 1`` for every
    share of real rows iff K <= 2 (about T >= 3(d + 1)/2); below, some shares make the error grow although real rows
    enter every round.

    Returns:
        Prediction of ``kept_error``, a scalar without unit.

    Raises:
        RegimeError: as REG-5.

    >>> round(float(mixed_gain(RegressionSpec([1.0], dimension=6, generator_samples=20, real_fraction=0.25)).values), 4)
    0.652
    >>> spec = RegressionSpec([1.0], dimension=10, generator_samples=12, real_fraction=0.75)
    >>> round(float(mixed_gain(spec).values), 4)
    1.7987
    """
    _mixed(spec, "REG-5/gain")
    return jnp.asarray(_gain(spec))


@register(
    "REG-5/limit",
    statement="If g < 1 the error settles at sigma_0^2 d/(T - d - 1)/(1 - g), 1 - g = (1 - x)(1 + x(1 - K)).",
    kind="exact",
    observable="final_generator_error",
    check="mean square error of the generator after 10 rounds, two Wishart designs a round",
    example=MIXED | {"real_fraction": 0.5},
    generations=10,
    samples=1000,
    relevant=0.02,
)
def mixed_limit(spec: RegressionSpec) -> Float[Array, ""]:
    """Where the error of the generators settles with real rows in every round; infinite if g >= 1.

    Formula: ``sigma_0^2 d/(T - d - 1)/(1 - g)``. REG-5/limit (derived), exact once the chain has forgotten its start
    (``g^n`` of the error is missing after n rounds).

    Returns:
        Prediction of ``final_generator_error``, a scalar in label^2.

    Raises:
        RegimeError: as REG-5.

    >>> float(mixed_limit(RegressionSpec([1.0], generator_samples=4, generator_noise=1.0, real_fraction=1.0)).values)
    0.5
    """
    _mixed(spec, "REG-5/limit")
    share = spec.real_fraction
    rest = share * (1 + (1 - share) * (1 - _excess(spec)))
    own = _cost(spec, spec.generator_samples, spec.generator_noise)
    return jnp.where(rest > 0, own / jnp.where(rest > 0, rest, 1), jnp.inf)
