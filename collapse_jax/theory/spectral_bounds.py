"""How far the limit of a truncated diffusion chain is from the data, and what errors add to it (SP-9, SP-12).

The distance of the limit from the data is that of X from ``a^G X + sqrt(1 - a^{2G}) Z`` with G geometric (SP-9). An
error made in every round is amplified by the contraction of a round (SP-12). Everything here was derived for this
project; that errors end in a W2 ball around the limit is the paper's claim (SP-3), the radius is not.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory.spectral import DATA, GRID
from collapse_jax.theory.spectral_laws import line
from collapse_jax.theory.spectral_rounds import (
    covers,
    known_zero,
    require_limit,
    require_reference,
    restoring,
    safe_sqrt,
    spread_of_scales,
)
from collapse_jax.theory.spectral_schedules import root_information, round_error

LIMIT = DATA | {"real_fraction": 0.5, "truncation": 0.05}
NEAR = {
    "weights": (0.6, 0.4),
    "means": (-0.9, 1.1),
    "covariances": (0.9, 0.8),
    "real_fraction": 0.8,
    "truncation": 0.001,
}
NOISY = DATA | {"real_fraction": 0.05, "truncation": 0.1, "order": 4, "error_scale": 0.05}


@register(
    "SP-9",
    statement="W2(p_inf, p*) <= sqrt(1 - 2 G_1 + G_2) sqrt I, I the Fisher information relative to the prior.",
    kind="upper bound",
    observable="limit_w2",
    check="W2 of the limit to the data on a density grid",
    example=LIMIT,
    samples=GRID,
)
def fisher_bound(spec: SpectralSpec) -> Float[Array, ""]:
    """Upper bound on the distance of the limit from the data, for data with finite Fisher information.

    Formula: ``W2(p_inf, p*) <= sqrt(1 - 2 G_1 + G_2) sqrt I``, ``I = E (score + x)^2`` along ``direction``. SP-9
    (derived), an upper bound; as t_0 -> 0 it is ``sqrt(2 - alpha)`` times the asymptote (``limit_distance``). In units
    of the data also for rectified_flow.

    Returns:
        Prediction (upper bound) of ``limit_w2``, a scalar in data units.

    Raises:
        RegimeError: data without a density, process ve, a schedule, regime accumulate, or no limit.

    >>> bool(fisher_bound(SpectralSpec(**NEAR)).values < moment_bound(SpectralSpec(**NEAR)).values)
    True
    """
    require_limit(spec, "SP-9")
    require_reference(spec, "SP-9")
    return spread_of_scales(spec) * root_information(spec)


@register(
    "SP-9/moment",
    statement="W2^2(p_inf, p*) <= (1 - 2 G_1 + G_2) E x^2 + (1 - G_2), for any data.",
    kind="upper bound",
    observable="limit_w2",
    check="W2 of the limit to the data on a density grid",
    example=LIMIT,
    samples=GRID,
)
def moment_bound(spec: SpectralSpec) -> Float[Array, ""]:
    """Upper bound on the distance of the limit from the data, for any data with a second moment.

    Formula: ``W2^2 <= (1 - 2 G_1 + G_2) E x^2 + (1 - G_2) v``, x along ``direction``, v the variance of the reference
    law (1 for vp). SP-9 (derived), an upper bound, of order ``sqrt(kappa t_0/alpha)``. At truncation 0 it is 0 and its
    (infinite) slope is given as 0.

    Returns:
        Prediction (upper bound) of ``limit_w2``, a scalar in data units.

    Raises:
        RegimeError: process ve, a schedule, regime accumulate, or no limit.

    >>> float(moment_bound(SpectralSpec(**LIMIT | {"truncation": 0.0})).values)
    0.0
    """
    require_limit(spec, "SP-9/moment")
    require_reference(spec, "SP-9/moment")
    law = line(spec)
    second = law.weights @ (law.means[:, 0] ** 2 + law.covariances)
    lost = -jnp.expm1(2 * spec.log_scale) / restoring(2, spec)
    return safe_sqrt(spread_of_scales(spec) ** 2 * second + lost * spec.reference_var)


@register(
    "SP-9/small",
    statement="As t_0 -> 0, W2(p_inf, p*) = (kappa t_0/alpha) sqrt I: one truncation, 1/alpha times over.",
    kind="asymptotic",
    observable="limit_w2",
    check="W2 of the limit to the data on a density grid",
    example=NEAR,
    samples=2 * GRID,
)
def limit_distance(spec: SpectralSpec):
    """Distance of the limit from the data for small truncation.

    Formula: ``W2(p_inf, p*) = (kappa t_0/alpha) sqrt I``. SP-9 (derived), asymptotic as t_0 -> 0 at fixed alpha, for
    data with finite Fisher information; needs ``kappa t_0/alpha`` much below the smallest variance of a component.
    Margin, relative: ``4 kappa t_0/(alpha min(variance, 1))``. The error is of first order; its multiple was measured,
    up to 3.1 for two components; it can be larger only for data next to the prior, whose low modes vanish.

    Returns:
        Prediction of ``limit_w2``, a scalar in data units.

    Raises:
        RegimeError: alpha = 0, data without a density, another process, a schedule, regime accumulate.

    >>> spec = SpectralSpec(**NEAR)
    >>> bool(0.65 < limit_distance(spec).values / fisher_bound(spec).values < 1)
    True
    """
    require_limit(spec, "SP-9/small")
    covers(spec.process == "vp", "SP-9/small", "describes process vp: for rectified_flow ask SP-9, for ve SP-15.")
    covers(not known_zero(spec.real_fraction), "SP-9/small", "needs real_fraction > 0: without ask SP-10.")
    reach = spec.rate * spec.truncation / spec.real_fraction
    values = reach * root_information(spec)
    return values, 4 * values * reach / jnp.minimum(line(spec).covariances.min(), 1)


@register(
    "SP-12",
    statement="Rounds that err by eps in W2 end within eps/(1 - a sqrt(1 - alpha)) of the ideal limit.",
    kind="upper bound",
    observable="ball_w2",
    check="W2 to the ideal limit on a density grid, every round shifted by eps",
    example=NOISY,
    generations=60,
    samples=GRID,
)
def error_ball(spec: SpectralSpec) -> Float[Array, ""]:
    """Radius of the W2 ball around the ideal limit in which imperfect rounds end.

    Formula: ``eps/(1 - a sqrt(1 - alpha))``, ``eps = B t^-p``. SP-12 (derived), an upper bound on the limsup; that such
    a ball exists is the paper's claim (SP-3), its radius is not. Every process. The infinite slope at alpha = 1 is
    given as that of alpha there, without the root.

    Returns:
        Prediction (upper bound) of ``ball_w2``, a scalar in data units.

    Raises:
        RegimeError: a schedule, regime accumulate, or no limit.

    >>> spec = SpectralSpec(**NOISY | {"real_fraction": 1.0})
    >>> round(float(error_ball(spec).values), 4)
    0.05
    """
    require_limit(spec, "SP-12")
    root = safe_sqrt(1 - spec.real_fraction)
    # 1 - a sqrt(1 - alpha) as a sum of positive terms
    return round_error(spec) / (spec.scale * spec.real_fraction / (1 + root) - jnp.expm1(spec.log_scale))


@register(
    "SP-12/modes",
    statement="A constant additive error of a mode settles at delta/(1 - (1 - alpha) a^m): less at high order.",
    kind="exact",
    observable="mode_bias",
    check="modes minus those of the ideal limit on a density grid, an error added to each mode every round",
    example=NOISY,
    generations=60,
    samples=GRID,
)
def mode_bias(spec: SpectralSpec) -> Float[Array, " order_plus_1"]:
    """What a constant additive error of every mode of order >= 1 ends at.

    Formula: ``delta/(1 - (1 - alpha) a^m)``, ``delta = error_scale``; 0 at order 0. SP-12 (derived), exact for additive
    errors (independent zero-mean ones have the variance gain ``1/(1 - [(1 - alpha) a^m]^2)``). Errors that depend on
    the state, a shift or a rescaling, couple orders and do not follow it.

    Returns:
        Prediction of ``mode_bias``, ``[order + 1]``, no unit.

    Raises:
        RegimeError: process ve, a schedule, regime accumulate, or no limit.

    >>> mode_bias(SpectralSpec(**NOISY | {"real_fraction": 1.0, "order": 2})).values.round(4).tolist()[0]
    0.0
    """
    require_limit(spec, "SP-12/modes")
    require_reference(spec, "SP-12/modes")
    orders = np.arange(spec.order + 1)
    takes = jnp.where(orders > 0, restoring(orders, spec), 1)
    return jnp.where(orders > 0, spec.error_scale / takes, 0)
