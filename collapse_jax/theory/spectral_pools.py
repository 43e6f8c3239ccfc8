"""Pools that are finite, and pools that keep everything (SP-13, SP-14).

A pool of M points fluctuates around the ideal one: its coefficients are an autoregression with the factor
``(1 - alpha) a^m``, driven by the sampling noise of both parts (SP-13). Keeping every model's output lets the real
share fall like 1/k and the law drift as a power of k (SP-14). Everything here was derived for this project.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory.spectral import DATA, SAMPLES
from collapse_jax.theory.spectral_laws import line, line_modes, over_ages
from collapse_jax.theory.spectral_rounds import (
    covers,
    gain,
    require_limit,
    require_reference,
    restoring,
    round_logs,
)

POOL = DATA | {"real_fraction": 0.2, "truncation": 0.1, "order": 3, "pool_size": 10}
KEPT = DATA | {"real_fraction": 0.0, "truncation": 0.2, "order": 4, "regime": "accumulate"}


def _basis(x, order: int):
    """he_0 .. he_order at ``x`` ``[n]``: ``[order + 1, n]`` by the orthonormal recurrence."""

    def step(carry, m):
        before, now = carry
        return (now, (x * now - jnp.sqrt(m) * before) / jnp.sqrt(m + 1)), now

    ones = jnp.ones_like(x)
    return jax.lax.scan(step, (0 * ones, ones), jnp.arange(order + 1, dtype=x.dtype))[1]


def _mode_spread(law, centre):
    """``E (he_m - centre_m)^2`` of a one-dimensional mixture, ``[order + 1]``: Gauss-Hermite, a sum of squares."""
    order = centre.shape[0] - 1
    nodes, weights = np.polynomial.hermite_e.hermegauss(order + 1)
    nodes, weights = (jnp.asarray(v, centre.dtype) for v in (nodes, weights / weights.sum()))
    x = law.means[:, 0][:, None] + jnp.sqrt(law.covariances)[:, None] * nodes[None]
    squares = (_basis(x.ravel(), order) - centre[:, None]) ** 2
    return squares.reshape(order + 1, *x.shape) @ weights @ law.weights


def _pool_noise(spec: SpectralSpec, result: str):
    """(numerator, 1 - [(1 - alpha) a^m]^2, (1 - alpha) a^{2m}/M) of the stationary variance."""
    require_limit(spec, result)
    require_reference(spec, result)
    if concrete(spec.real_fraction):
        fresh = float(spec.real_fraction) * spec.pool_size
        whole = abs(fresh - round(fresh)) <= 1e-5 * spec.pool_size
        covers(
            whole, result, f"needs a whole number of real points, not {fresh:.6g}: change pool_size or real_fraction."
        )
    orders = np.arange(spec.order + 1)
    scaled = line(spec).smooth(jax.lax.rsqrt(spec.reference_var), 0.0)
    real = line_modes(spec)
    made = gain(orders, spec) * real

    def at_ages(lags, noises):
        def one(lag, noise):
            return _mode_spread(scaled.smooth(jnp.exp(lag), noise / spec.reference_var), made)

        return jax.vmap(one)(lags, noises)

    # of the reference law: E he_m^2 = 1, E he_m = 0 for m >= 1
    end = jnp.where(orders > 0, 1 + made**2, 0)
    share = spec.real_fraction
    top = share * _mode_spread(scaled, real) + (1 - share) * over_ages(spec, "generated", at_ages, end)
    stays = (1 - share) * jnp.exp(jnp.asarray(orders, share.dtype) * spec.log_scale)
    below = restoring(orders, spec) * (1 + stays)
    return top, below, stays * jnp.exp(jnp.asarray(orders, share.dtype) * spec.log_scale) / spec.pool_size


@register(
    "SP-13",
    statement="A pool of M points: M Var = [a V(p*) + (1-a) V(p_inf)]/(1 - [(1-a) a^m]^2 + (1-a) a^{2m}/M).",
    kind="exact",
    observable="pool_variance",
    check="variance of Hermite means of small pools, long after the start",
    example=POOL,
    samples=SAMPLES // 6,
)
def pool_variance(spec: SpectralSpec) -> Float[Array, " order_plus_1"]:
    """M times the stationary variance of the Hermite coefficients of a finite pool.

    Formula: ``[alpha V_m(p*) + (1 - alpha) V_m(p_inf)]/(1 - [(1 - alpha) a^m]^2 + (1 - alpha) a^{2m}/M)`` with
    ``V_m(p) = Var_p he_m``; alpha M fresh real points, the rest parents drawn with replacement from the pool, smoothed
    with fresh noise. SP-13 (derived), exact for every M. At alpha = 0 p_inf is the prior, V = 1.

    Args:
        spec: regime replace, process vp or rectified_flow, one truncation; ``real_fraction * pool_size`` whole.

    Returns:
        Prediction of ``pool_variance``, ``[order + 1]``, no unit; 0 at order 0.

    Raises:
        RegimeError: alpha M is not whole, process ve, a schedule, regime accumulate, or no limit.

    >>> pool_variance(SpectralSpec([1.0], [0.0], [1.0], real_fraction=1.0, order=2)).values.round(3).tolist()
    [0.0, 1.0, 1.0]
    """
    top, below, finite = _pool_noise(spec, "SP-13")
    orders = np.arange(spec.order + 1)
    return jnp.where(orders > 0, top / jnp.where(orders > 0, below + finite, 1), 0)


@register(
    "SP-13/leading",
    statement="For large M: M Var = [a V(p*) + (1 - a) V(p_inf)]/(1 - [(1 - a) a^m]^2).",
    kind="asymptotic",
    observable="pool_variance",
    check="variance of Hermite means of pools, long after the start",
    example=POOL | {"real_fraction": 0.7, "pool_size": 60},
    samples=SAMPLES // 2,
)
def pool_variance_leading(spec: SpectralSpec):
    """Leading order of ``pool_variance`` in M. SP-13 (derived), asymptotic.

    Margin (exact): relative, ``(1 - alpha) a^{2m}/(M (1 - [(1 - alpha) a^m]^2))``. At alpha = t_0 = 0 the denominator
    is 0: a martingale that collapses.

    Returns:
        Prediction of ``pool_variance``, ``[order + 1]``, no unit; 0 at order 0.

    Raises:
        RegimeError: as for ``pool_variance``.

    >>> spec = SpectralSpec(**POOL | {"pool_size": 10**6})
    >>> bool(jnp.allclose(pool_variance_leading(spec).values, pool_variance(spec).values, rtol=1e-5))
    True
    """
    top, below, finite = _pool_noise(spec, "SP-13/leading")
    orders = np.arange(spec.order + 1)
    below = jnp.where(orders > 0, below, 1)
    values = jnp.where(orders > 0, top / below, 0)
    return values, values * finite / below


@register(
    "SP-14",
    statement="Keeping every output: pool modes d' = d [1 - (1 - a^m)/(k + 2)], a power-law drift to the prior.",
    kind="exact",
    observable="accumulate_modes",
    check="Hermite means over the pool of particles that keep every state",
    example=KEPT,
    samples=SAMPLES,
)
def accumulate_modes(spec: SpectralSpec, generations: int) -> Float[Array, "generations_plus_1 order_plus_1"]:
    """Hermite modes of the pool that holds the real data and every output so far in equal parts.

    Formula: ``d_k = c* prod_{i=1..k} [1 - (1 - e^{-m kappa t_i})/(i + 1)]``; for one truncation
    ``Gamma(k + 1 + a^m)/(Gamma(1 + a^m) Gamma(k + 2)) c*``, about ``k^{-(1 - a^m)}``. SP-14 (derived), exact. A
    schedule with ``sum t_k/k`` finite stops at a nonzero permanent error.

    Args:
        spec: regime accumulate, process vp or rectified_flow; schedules too.

    Returns:
        Prediction of ``accumulate_modes``, ``[generations + 1, order + 1]``, no unit; entry k is the pool after k
        generated laws, entry 0 the data.

    Raises:
        RegimeError: regime replace, or process ve. SpecError: the schedule is too short.

    >>> spec = SpectralSpec(**KEPT | {"truncation": 50.0, "order": 1})
    >>> pool = accumulate_modes(spec, 3).values[:, 1]
    >>> [round(float(mode / pool[0]), 4) for mode in pool]
    [1.0, 0.5, 0.3333, 0.25]
    """
    covers(spec.regime == "accumulate", "SP-14", "describes regime accumulate; for replace ask SP-6.")
    require_reference(spec, "SP-14")
    logs = round_logs(spec, generations)
    orders, laws = jnp.arange(spec.order + 1, dtype=logs.dtype), jnp.arange(2, generations + 2, dtype=logs.dtype)
    falls = jnp.log1p(jnp.expm1(logs[:, None] * orders[None]) / laws[:, None])
    total = jnp.concatenate([jnp.zeros_like(orders)[None], jnp.cumsum(falls, axis=0)])
    return jnp.exp(total) * line_modes(spec)[None]
