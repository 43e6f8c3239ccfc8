"""Truncated diffusion trained on its own output: the chain, its limit, its modes (SP-1, SP-2, SP-4, SP-5, SP-6, SP-18).

The reverse process of an ideal diffusion model, stopped at truncation time t_0, maps the law of its training pool to
``S p``, the law of ``a X + sqrt(1 - a^2) Z`` with ``a = e^{-kappa t_0}``. With a share alpha of real data in the pool,
``p_{k+1} = S(alpha p* + (1 - alpha) p_k)`` (SP-4). S is linear in the law and composes, ``S^j`` being S at time
``j t_0``, so that the limit is ``alpha sum_j (1 - alpha)^(j-1) S^j p*``: a mixture of ever more smoothed copies of the
data (SP-1, SP-5). Hermite polynomials are its eigenfunctions: ``E he_m(S X) = a^m E he_m(X)``, so each mode obeys a
recursion of its own and ends at ``G_m c*``, ``G_m = alpha a^m/(1 - (1 - alpha) a^m)``: a low-pass filter in the order
(SP-2, SP-6). Projections on unit vectors are chains of the same kind (SP-7), which is why scalar observables are those
of the data along one direction.

Geometric convergence to one limit (SP-1) and the low-pass filter (SP-2) are the paper's results; every formula and
constant here was derived for this project. Bounds: ``spectral_bounds``; schedules: ``spectral_schedules``; rates:
``spectral_rates``; moments: ``spectral_moments``; pools: ``spectral_pools``; no real data and other processes:
``spectral_variants``; the laws themselves: ``spectral_laws``.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.spectral import PROBES, SpectralSpec
from collapse_jax.theory.spectral_laws import (
    cdf_at_ages,
    generated_law,
    limit_law,
    line,
    line_modes,
    mixture_modes,
    mixture_modes_multi,
    over_ages,
    pool_law,
)
from collapse_jax.theory.spectral_rounds import (
    ancestry,
    covers,
    gain,
    gain_path,
    kept,
    pool_gain,
    require_limit,
    require_reference,
    require_replace,
)

__all__ = [
    "DATA",
    "GRID",
    "SAMPLES",
    "SKEW",
    "SMOOTH",
    "SPACE",
    "TOY",
    "cdf",
    "cdf_gap_bound",
    "data_modes",
    "gain",
    "gain_ratio_bound",
    "generated_law",
    "limit_cdf",
    "limit_law",
    "limit_modes",
    "mixture_modes",
    "mixture_modes_multi",
    "modes",
    "pool_gain",
    "pool_law",
    "pool_limit_cdf",
    "pool_limit_modes",
]

SAMPLES = 4 * 10**4
"""Particles of a default measurement, a replicate."""

GRID = 500
"""Nodes of a density grid of a default measurement."""

DATA: dict[str, Any] = {"weights": (0.5, 0.3, 0.2), "means": (-1.2, 0.4, 1.6), "covariances": (0.0625, 0.0324, 0.1225)}
"""The default data: three narrow bumps."""

SMOOTH: dict[str, Any] = {"weights": (0.6, 0.4), "means": (-0.9, 1.1), "covariances": (0.6, 0.5)}
"""Data on the scale of the prior, for laws of small truncation."""

SKEW: dict[str, Any] = {"weights": (0.3, 0.7), "means": (0.75, 2.0), "covariances": (0.2, 0.8)}
"""Data whose low modes are all large."""

TOY: dict[str, Any] = DATA | {"real_fraction": 0.4, "truncation": 0.1, "order": 4}
SPACE: dict[str, Any] = {
    "weights": (0.6, 0.4),
    "means": (1.0, 0.5, -0.5, -0.75, 0.25, 1.5),
    "covariances": (0.5, 0.1, 0.0, 0.1, 0.4, 0.1, 0.0, 0.1, 0.3, 0.3, -0.1, 0.05, -0.1, 0.6, 0.0, 0.05, 0.0, 0.2),
    "direction": (0.6, 0.0, 0.8),
    "real_fraction": 0.4,
    "truncation": 0.1,
    "order": 4,
}


@register(
    "SP-1",
    statement="The chain converges geometrically to one limit (claim of arXiv:2606.13796); derived: "
    "|F_k - F_inf| <= (1 - a)^k.",
    kind="upper bound",
    observable="cdf_gap",
    check="largest distance of distribution functions over the probes, on a density grid",
    example=TOY,
    samples=GRID,
)
def cdf_gap_bound(spec: SpectralSpec, generations: int) -> Float[Array, "generations_plus_1 probes"]:
    """Upper bound on ``|F_k(x) - F_inf(x)|`` at the probes.

    Formula: ``(1 - alpha)^k``, from ``p_k - p_inf = (1 - alpha)^k S^k (p_0 - p_inf)``. SP-1 (paper): geometric
    convergence to a unique limit; this rate is derived, not the paper's. Any data, any start; equality is approached
    only at k = 0 by laws that do not overlap.

    Args:
        spec: regime replace, one truncation for all rounds, a limit exists.
        generations: number of rounds, >= 0.

    Returns:
        Prediction (upper bound) of ``cdf_gap``, ``[generations + 1, probes]``, no unit.

    Raises:
        RegimeError: a schedule, regime accumulate, or no limit (alpha = 0 and ve, or no truncation).

    >>> cdf_gap_bound(SpectralSpec(**TOY | {"real_fraction": 0.5}), 2).values[:, 0].tolist()
    [1.0, 0.5, 0.25]
    """
    require_limit(spec, "SP-1")
    return jnp.broadcast_to(
        kept(spec.real_fraction, np.arange(generations + 1))[:, None], (generations + 1, len(PROBES))
    )


@register(
    "SP-2",
    statement="The limit is a low-pass filter in the Hermite order (claim of arXiv:2606.13796); derived: "
    "G_{m+1} <= a G_m.",
    kind="upper bound",
    observable="gain_ratio",
    check="ratio of measured gains of successive orders, particles run to the limit",
    example=SKEW | {"real_fraction": 0.8, "truncation": 0.1, "order": 4},
    samples=SAMPLES,
)
def gain_ratio_bound(spec: SpectralSpec) -> Float[Array, " order_minus_1"]:
    """Upper bound on ``G_{m+1}/G_m``, m = 1 .. order - 1.

    Formula: ``a``, because ``G_{m+1}/G_m = a [1 - (1 - alpha) a^m]/[1 - (1 - alpha) a^{m+1}]``; tight as alpha -> 1.
    SP-2 (paper): the limit damps high orders much more than low ones; this bound is derived, not the paper's.

    Returns:
        Prediction (upper bound) of ``gain_ratio``, ``[order - 1]``, no unit.

    Raises:
        RegimeError: order 1, process ve, a schedule, regime accumulate, or no limit.

    >>> gain_ratio_bound(SpectralSpec(**TOY | {"truncation": 0.0})).values.tolist()
    [1.0, 1.0, 1.0]
    """
    require_limit(spec, "SP-2")
    require_reference(spec, "SP-2")
    covers(spec.order >= 2, "SP-2", "compares two orders: set order to 2 or more; for one ask SP-6/limit.")
    return jnp.broadcast_to(spec.scale, (spec.order - 1,))


@register(
    "SP-4",
    statement="p_k = (1 - a)^k S_k p_0 + a sum_{j <= k} (1 - a)^(j-1) S_j p*.",
    kind="exact",
    observable="cdf",
    check="empirical distribution function of particles at nine probes",
    example=TOY,
    samples=SAMPLES,
)
def cdf(spec: SpectralSpec, generations: int) -> Float[Array, "generations_plus_1 probes"]:
    """Distribution function of the generated law at the probes, round by round.

    Formula: ``p_k = (1 - alpha)^k S_k p* + alpha sum_{j=1..k} (1 - alpha)^(j-1) S_j p*``, S_j the smoothing of the
    last j rounds; SP-4 (derived), exact, from ``p_0 = p*``. The law along ``direction`` at ``PROBES``. Every process,
    schedules too. Rounds of a schedule cost ``generations^2`` evaluations.

    Returns:
        Prediction of ``cdf``, ``[generations + 1, probes]``, no unit; entry 0 is the data.

    Raises:
        RegimeError: regime accumulate. SpecError: the schedule is too short.

    >>> spec = SpectralSpec([1.0], [0.0], [1.0], real_fraction=0.3)
    >>> round(float(cdf(spec, 3).values[3, 6]), 4)  # the prior stays as it is: Phi(1)
    0.8413
    """
    require_replace(spec, "SP-4")
    weights, lags, noises = ancestry(spec, generations)
    law, probes = line(spec), jnp.asarray(PROBES, spec.weights.dtype)
    if spec.truncation.ndim == 0:
        # ages are all there is: column 0 holds every age, and weights depend on the age alone
        at_ages = cdf_at_ages(law, lags[:, 0], noises[:, 0], probes)
        ages = np.arange(generations + 1)
        by_age = jnp.take_along_axis(weights, np.maximum(ages[:, None] - ages[None], 0), axis=1)
        return jnp.where(ages[:, None] >= ages[None], by_age, 0) @ at_ages
    rows = [cdf_at_ages(law, lags[k, : k + 1], noises[k, : k + 1], probes) for k in range(generations + 1)]
    return jnp.stack([weights[k, : k + 1] @ row for k, row in enumerate(rows)])


def _limit_cdf(spec: SpectralSpec, which: str):
    law, probes = line(spec), jnp.asarray(PROBES, spec.weights.dtype)
    end = jnp.zeros_like(probes)  # a chain without a reference law spreads out for ever
    if spec.process != "ve":
        end = cdf_at_ages(law, jnp.full((1,), -1e9, probes.dtype), spec.reference_var[None], probes)[0]
    return over_ages(spec, which, lambda lags, noises: cdf_at_ages(law, lags, noises, probes), end)


@register(
    "SP-5",
    statement="The generated limit is the mixture a sum_{j >= 1} (1 - a)^(j-1) S_j p* over geometric ages.",
    kind="exact",
    observable="limit_cdf",
    check="empirical distribution function of particles run to the limit",
    example=TOY,
    samples=8 * SAMPLES,
)
def limit_cdf(spec: SpectralSpec) -> Float[Array, " probes"]:
    """Distribution function of the generated limit at the probes.

    Formula: ``alpha sum_{j >= 1} (1 - alpha)^(j-1) S_j p*``: a point ``a^G X + sqrt(1 - a^{2G}) Z`` of geometric age G.
    SP-5 (derived), exact; that the limit is a mixture of smoothed copies of the data is the paper's (SP-1). The sum
    over ages is a quadrature rule right to rounding (``age_rule``), but for rectified_flow with ``real_fraction`` or
    ``truncation`` below 0.01 and components narrower than 0.25: the narrow law then crosses a probe within few ages,
    and the error grows to 1e-3. alpha = 0 gives the reference law. Every process.

    Returns:
        Prediction of ``limit_cdf``, ``[probes]``, no unit.

    Raises:
        RegimeError: a schedule, regime accumulate, or no limit.

    >>> spec = SpectralSpec([1.0], [0.0], [1.0], real_fraction=0.3)
    >>> round(float(limit_cdf(spec).values[6]), 4)
    0.8413
    """
    require_limit(spec, "SP-5")
    return _limit_cdf(spec, "generated")


@register(
    "SP-5/pool",
    statement="The pool's limit is a sum_{j >= 0} (1 - a)^j S_j p*: one smoothing younger.",
    kind="exact",
    observable="pool_limit_cdf",
    check="empirical distribution function of the pool of particles run to the limit",
    example=TOY,
    samples=SAMPLES,
)
def pool_limit_cdf(spec: SpectralSpec) -> Float[Array, " probes"]:
    """Distribution function of the pool's limit at the probes.

    Formula: ``q_inf = alpha sum_{j >= 0} (1 - alpha)^j S_j p*``, and ``p_inf = S q_inf``. SP-5 (derived), exact.

    Returns:
        Prediction of ``pool_limit_cdf``, ``[probes]``, no unit.

    Raises:
        RegimeError: as for ``limit_cdf``.

    >>> spec = SpectralSpec(**DATA | {"real_fraction": 1.0})
    >>> bool(jnp.allclose(pool_limit_cdf(spec).values, cdf(spec, 0).values[0]))
    True
    """
    require_limit(spec, "SP-5/pool")
    return _limit_cdf(spec, "pool")


@register(
    "SP-6",
    statement="Every Hermite mode obeys c' = a^m (alpha c* + (1 - alpha) c).",
    kind="exact",
    observable="modes",
    check="Hermite means over particles",
    example=TOY,
    samples=SAMPLES,
)
def modes(spec: SpectralSpec, generations: int) -> Float[Array, "generations_plus_1 order_plus_1"]:
    """Hermite modes ``E he_m(w . X)`` of the generated law along the rounds.

    Formula: ``c_k - c_inf = [(1 - alpha) a^m]^k (c_0 - c_inf)``, ``c_inf = G_m c*``, from ``p_0 = p*``; by the
    recursion itself, with a compensated sum. SP-6 (derived), exact; needs moments up to the order only. A schedule is
    taken round by round (SP-11).

    Args:
        spec: regime replace, process vp or rectified_flow.
        generations: number of rounds, >= 0.

    Returns:
        Prediction of ``modes``, ``[generations + 1, order + 1]``, no unit; entry 0 along orders is 1.

    Raises:
        RegimeError: process ve, regime accumulate. SpecError: the schedule is too short.

    >>> spec = SpectralSpec([1.0], [0.5], [1.0], real_fraction=0.0, truncation=0.5, order=1)
    >>> [round(float(mode), 4) for mode in modes(spec, 2).values[:, 1]]
    [0.5, 0.3033, 0.1839]
    """
    require_replace(spec, "SP-6")
    require_reference(spec, "SP-6")
    return gain_path(spec, generations, np.arange(spec.order + 1)) * line_modes(spec)[None]


@register(
    "SP-6/limit",
    statement="In the limit every mode carries the gain G_m = a a^m/(1 - (1 - a) a^m) of its order alone.",
    kind="exact",
    observable="limit_modes",
    check="Hermite means over particles run to the limit",
    example=SKEW | {"real_fraction": 0.4, "truncation": 0.1, "order": 4},
    samples=SAMPLES,
)
def limit_modes(spec: SpectralSpec) -> Float[Array, " order_plus_1"]:
    """Hermite modes of the generated limit.

    Formula: ``c_m(p_inf) = G_m c*_m``, ``G_m = alpha a^m/(1 - (1 - alpha) a^m)``. SP-6 (derived), exact; the low-pass
    filter is the paper's (SP-2). G is 1 without truncation, ``a^m`` at alpha = 1, 0 at alpha = 0.

    Returns:
        Prediction of ``limit_modes``, ``[order + 1]``, no unit.

    Raises:
        RegimeError: process ve, a schedule, regime accumulate, or no limit.

    >>> spec = SpectralSpec([1.0], [0.5], [1.0], real_fraction=0.1, truncation=0.05, order=1)
    >>> round(2 * float(limit_modes(spec).values[1]), 4)
    0.6611
    """
    return gain(np.arange(spec.order + 1), spec) * line_modes(spec)


@register(
    "SP-6/pool",
    statement="The pool's modes carry a/(1 - (1 - a) a^m): a floor alpha at every order.",
    kind="exact",
    observable="pool_limit_modes",
    check="Hermite means over the pool of particles run to the limit",
    example=SKEW | {"real_fraction": 0.4, "truncation": 0.1, "order": 4},
    samples=SAMPLES,
)
def pool_limit_modes(spec: SpectralSpec) -> Float[Array, " order_plus_1"]:
    """Hermite modes of the pool's limit.

    Formula: ``c_m(q_inf) = alpha c*_m/(1 - (1 - alpha) a^m)``. SP-6 (derived), exact.

    Returns:
        Prediction of ``pool_limit_modes``, ``[order + 1]``, no unit.

    Raises:
        RegimeError: as for ``limit_modes``.

    >>> spec = SpectralSpec([1.0], [0.5], [1.0], real_fraction=1.0, truncation=0.3, order=1)
    >>> pool_limit_modes(spec).values.tolist()
    [1.0, 0.5]
    """
    return pool_gain(np.arange(spec.order + 1), spec) * line_modes(spec)


@register(
    "SP-18",
    statement="Modes of N(mu, v): c_{m+1} = (mu c_m - sqrt(m) (1 - v) c_{m-1})/sqrt(m + 1); mixtures by weights.",
    kind="exact",
    observable="data_modes",
    check="Hermite means over points of the data law",
    example=SPACE,
    samples=SAMPLES,
)
def data_modes(spec: SpectralSpec) -> Float[Array, " order_plus_1"]:
    """Hermite modes of the data along ``direction``, on the scale of the reference law.

    Formula: as in the statement, ``c_0 = 1``, ``c_1 = mu``. SP-18 (derived), exact, any variance.

    Returns:
        Prediction of ``data_modes``, ``[order + 1]``, no unit.

    Raises:
        RegimeError: rectified_flow without truncation, which has no reference law.

    >>> data_modes(SpectralSpec([1.0], [2.0], [1.0], order=2)).values.tolist()[:2]
    [1.0, 2.0]
    """
    if spec.process == "rectified_flow":
        require_reference(spec, "SP-18")
    return line_modes(spec)
