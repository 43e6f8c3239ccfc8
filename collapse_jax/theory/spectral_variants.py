"""Variants of the truncated diffusion chain: no real data, other processes, the slow limit (SP-10, SP-15, SP-17).

Without real data ``p_k = S_{k t_0} p_0`` inflates to the prior (SP-10). A truncation ``X -> beta X + s Z`` other than
VP has its own reference law, or none: then the basis is Fourier's (SP-15). Small truncation and small real share
together leave one parameter (SP-17). Everything here was derived for this project.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.spectral import FREQUENCIES, SpectralSpec
from collapse_jax.theory.spectral import DATA, GRID, SAMPLES, SKEW, modes
from collapse_jax.theory.spectral_laws import line, line_modes
from collapse_jax.theory.spectral_rounds import (
    affine_path,
    covers,
    has_density,
    known_nonzero,
    require_limit,
    require_reference,
    require_replace,
    round_logs,
)

ALONE = DATA | {"real_fraction": 0.0, "truncation": 0.1, "order": 4}
FLOW = DATA | {"process": "rectified_flow", "real_fraction": 0.4, "truncation": 0.6, "order": 4}
WIDENING = DATA | {"process": "ve", "real_fraction": 0.4, "truncation": 0.8}


def _without_real(spec: SpectralSpec, result: str) -> None:
    require_replace(spec, result)
    require_reference(spec, result)
    covers(not known_nonzero(spec.real_fraction), result, "describes real_fraction 0; with a real share ask SP-6.")


@register(
    "SP-10",
    statement="Without real data c_k = a^(k m) c_0: the chain inflates to the prior.",
    kind="exact",
    observable="prior_modes",
    check="Hermite means over particles that never see real data again",
    example=ALONE,
    samples=SAMPLES,
)
def prior_modes(spec: SpectralSpec, generations: int) -> Float[Array, "generations_plus_1 order_plus_1"]:
    """Hermite modes of the generated law without real data.

    Formula: ``c_k = exp(-m kappa (t_1 + ... + t_k)) c*``, from ``p_0 = p*``. SP-10 (derived), exact. Shrinking to a
    point instead needs finite samples or a last denoising step (SP-16/denoised).

    Args:
        spec: real_fraction 0, regime replace, process vp or rectified_flow; schedules too.

    Returns:
        Prediction of ``prior_modes``, ``[generations + 1, order + 1]``, no unit.

    Raises:
        RegimeError: a real share, process ve, or regime accumulate.

    >>> spec = SpectralSpec([1.0], [1.0], [1.0], real_fraction=0.0, truncation=0.5, order=1)
    >>> [round(float(mode), 4) for mode in prior_modes(spec, 2).values[:, 1]]
    [1.0, 0.6065, 0.3679]
    """
    _without_real(spec, "SP-10")
    lags = jnp.concatenate([jnp.zeros_like(spec.rate)[None], jnp.cumsum(round_logs(spec, generations))])
    orders = jnp.arange(spec.order + 1, dtype=lags.dtype)
    return jnp.exp(lags[:, None] * orders[None]) * line_modes(spec)[None]


def _prior_gap(spec, generations, result, initial, power):
    _without_real(spec, result)
    lags = jnp.concatenate([jnp.zeros_like(spec.rate)[None], jnp.cumsum(round_logs(spec, generations))])
    return jnp.exp(power * lags) * (jnp.ones_like(spec.rate) if initial is None else jnp.asarray(initial, lags.dtype))


@register(
    "SP-10/w2",
    statement="Without real data the W2 distance to the prior falls by a a round, at least.",
    kind="upper bound",
    observable="prior_w2",
    check="W2 to the prior on a density grid, from its own value at the start",
    example=ALONE,
    samples=GRID,
    given=("initial_prior_w2",),
)
def prior_w2_bound(
    spec: SpectralSpec, generations: int, *, initial_prior_w2=None
) -> Float[Array, " generations_plus_1"]:
    """Upper bound on ``W2(p_k, gamma)`` without real data: ``a^k W2(p_0, gamma)``.

    SP-10 (derived), an upper bound, equality at k = 0. Along ``direction``; schedules too.

    Args:
        spec: as in ``prior_modes``.
        initial_prior_w2: the distance at the start; None takes 1, which gives the factor alone.

    Returns:
        Prediction (upper bound) of ``prior_w2``, ``[generations + 1]`` in data units.

    Raises:
        RegimeError: a real share, process ve, or regime accumulate.

    >>> round(float(prior_w2_bound(SpectralSpec(**ALONE), 10).values[10]), 4)
    0.3679
    """
    return _prior_gap(spec, generations, "SP-10/w2", initial_prior_w2, 1)


@register(
    "SP-10/kl",
    statement="Without real data the relative entropy to the prior falls by a^2 a round, at least.",
    kind="upper bound",
    observable="prior_kl",
    check="relative entropy to the prior on a density grid, from its own value at the start",
    example=ALONE,
    samples=GRID,
    given=("initial_prior_kl",),
)
def prior_kl_bound(
    spec: SpectralSpec, generations: int, *, initial_prior_kl=None
) -> Float[Array, " generations_plus_1"]:
    """Upper bound on ``KL(p_k | gamma)`` without real data: ``a^{2k} KL(p_0 | gamma)``.

    SP-10 (derived; the logarithmic Sobolev inequality of the Gaussian), an upper bound. Arguments and errors as in
    ``prior_w2_bound``.

    Returns:
        Prediction (upper bound) of ``prior_kl``, ``[generations + 1]`` in nats.

    Raises:
        RegimeError: also for data without a density, whose entropy is infinite.

    >>> round(float(prior_kl_bound(SpectralSpec(**ALONE), 10).values[10]), 4)
    0.1353
    """
    covers(has_density(spec), "SP-10/kl", "needs data with a density: for points ask SP-10/w2.")
    return _prior_gap(spec, generations, "SP-10/kl", initial_prior_kl, 2)


@register(
    "SP-15",
    statement="Rectified flow stopped at 1 - delta: modes in the basis of N(0, delta/(2 - delta)) with a = 1 - delta.",
    kind="exact",
    observable="modes",
    check="Hermite means over particles, on the scale of the reference law",
    example=FLOW,
    samples=SAMPLES,
)
def flow_modes(spec: SpectralSpec, generations: int) -> Float[Array, "generations_plus_1 order_plus_1"]:
    """Hermite modes of truncated rectified flow, ``X -> (1 - delta) X + delta Z``.

    Formula: those of SP-6 with ``a = 1 - delta``, of ``X/sqrt(v)`` with ``v = delta/(2 - delta)``, the variance of the
    Gaussian that the map leaves alone: without real data the chain ends in that narrow Gaussian. SP-15 (derived),
    exact.

    Returns:
        Prediction of ``modes``, ``[generations + 1, order + 1]``, no unit.

    Raises:
        RegimeError: another process, regime accumulate, or no truncation.

    >>> spec = SpectralSpec([1.0], [1.0], [0.5], process="rectified_flow", real_fraction=0.0, truncation=0.5, order=1)
    >>> path = flow_modes(spec, 2).values[:, 1]
    >>> [round(float(mode / path[0]), 4) for mode in path]
    [1.0, 0.5, 0.25]
    """
    covers(spec.process == "rectified_flow", "SP-15", "describes process rectified_flow; for vp ask SP-6.")
    return modes(spec, generations).values


def _exploding(spec: SpectralSpec, result: str) -> None:
    require_replace(spec, result)
    covers(spec.process == "ve", result, "describes process ve; for vp and rectified_flow ask SP-6.")


@register(
    "SP-15/ve",
    statement="VE adds the variance s^2 (1 - (1 - alpha)^k)/alpha after k rounds: s^2/alpha in the limit.",
    kind="exact",
    observable="added_variance",
    check="variance of particles along the direction minus that of the data",
    example=WIDENING,
    samples=SAMPLES,
)
def added_variance(spec: SpectralSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Variance that a VE chain (noise without shrinking; kernel density estimation) has added in every direction.

    Formula: ``s^2 (1 - (1 - alpha)^k)/alpha``, ``k s^2`` at alpha = 0, by the recursion ``u' = (1 - alpha) u + s^2``;
    schedules of s too. SP-15 (derived), exact, from ``p_0 = p*``.

    Returns:
        Prediction of ``added_variance``, ``[generations + 1]`` in data^2.

    Raises:
        RegimeError: another process, or regime accumulate. SpecError: the schedule is too short.

    >>> spec = SpectralSpec(**WIDENING | {"truncation": 0.15, "real_fraction": 0.1})
    >>> round(float(added_variance(spec, 200).values[-1]), 4)
    0.225
    """
    _exploding(spec, "SP-15/ve")
    factors = round_logs(spec, generations)[:, None]
    noise = jnp.broadcast_to((spec.noise_var[:generations] if spec.truncation.ndim else spec.noise_var), (generations,))
    return affine_path(spec.real_fraction, factors, noise[:, None], jnp.zeros_like(spec.real_fraction)[None])[:, 0]


@register(
    "SP-15/fourier",
    statement="VE: the limit's characteristic function has the gain a e/(1 - (1 - a) e), e = e^{-s^2 w^2/2}.",
    kind="exact",
    observable="fourier_modes",
    check="characteristic function over particles run to the limit, at three frequencies",
    example=WIDENING,
    samples=SAMPLES,
)
def fourier_modes(spec: SpectralSpec) -> Float[Array, "frequencies 2"]:
    """Real and imaginary part of the characteristic function of the generated VE limit along ``direction``.

    Formula: ``E e^{i w x} alpha e/(1 - (1 - alpha) e)``, ``e = exp(-s^2 w^2/2)``, w in ``FREQUENCIES``: about
    ``1/(1 + s^2 w^2/(2 alpha))``. SP-15 (derived), exact, alpha > 0.

    Returns:
        Prediction of ``fourier_modes``, ``[frequencies, 2]``, no unit.

    Raises:
        RegimeError: alpha = 0 (diverges), another process, a schedule, regime accumulate.

    >>> spec = SpectralSpec([1.0], [0.0], [1.0], process="ve", real_fraction=1.0, truncation=1.0)
    >>> round(float(fourier_modes(spec).values[1, 0]), 4)  # e^-1
    0.3679
    """
    _exploding(spec, "SP-15/fourier")
    require_limit(spec, "SP-15/fourier")
    frequencies = jnp.asarray(FREQUENCIES, spec.weights.dtype)
    loss = -jnp.expm1(-((spec.truncation * frequencies) ** 2) / 2)
    real = spec.real_fraction * jnp.exp(-((spec.truncation * frequencies) ** 2) / 2)
    law = line(spec)
    phase = frequencies[:, None] * law.means[:, 0][None]
    size = law.weights[None] * jnp.exp(-(frequencies[:, None] ** 2) * law.covariances[None] / 2)
    data = jnp.stack([jnp.sum(size * jnp.cos(phase), axis=1), jnp.sum(size * jnp.sin(phase), axis=1)], axis=1)
    return (real / (real + loss))[:, None] * data


@register(
    "SP-17",
    statement="t_0, alpha -> 0 with alpha/t_0 = r: the gain of order m tends to r/(r + m kappa).",
    kind="asymptotic",
    observable="small_limit_modes",
    check="Hermite means over particles of a slow chain run to the limit",
    example=SKEW | {"real_fraction": 0.02, "truncation": 0.01, "order": 3},
    samples=SAMPLES,
)
def small_limit_modes(spec: SpectralSpec):
    """Hermite modes of the generated limit for a small real share and a small truncation.

    Formula: ``r/(r + m kappa) c*_m``, ``r = alpha/t_0``: the limit ``r int_0^inf e^{-r s} S_s p* ds``. SP-17 (derived),
    asymptotic. Margin (derived here), relative, first order in t_0: ``(x/2) e^x (x/alpha)/(1 + x/alpha)`` with
    ``x = m kappa t_0``.

    Returns:
        Prediction of ``small_limit_modes``, ``[order + 1]``, no unit.

    Raises:
        RegimeError: another process, a schedule, regime accumulate, alpha = t_0 = 0.

    >>> spec = SpectralSpec([1.0], [1.0], [1.0], real_fraction=0.001, truncation=0.001, order=1)
    >>> round(float(small_limit_modes(spec).values[1]), 4)
    0.5
    """
    require_limit(spec, "SP-17")
    covers(spec.process == "vp", "SP-17", "describes process vp; for rectified_flow ask SP-6/limit.")
    x = jnp.arange(spec.order + 1, dtype=spec.weights.dtype) * spec.rate * spec.truncation
    total = spec.real_fraction + x
    share = jnp.where(x > 0, spec.real_fraction / jnp.where(x > 0, total, 1), 1)
    values = share * line_modes(spec)
    return values, jnp.abs(values) * x / 2 * jnp.exp(x) * jnp.where(x > 0, x / jnp.where(x > 0, total, 1), 0)
