"""A single fit of a rectified flow with linear velocities (RF-3, RF-4, RF-5, RF-15, RF-17; all derived).

Noise z at t = 0, data x at t = 1, ``x_t = (1 - t) z + t x``; the velocity v minimises ``E |v(x_t) - (x - z)|^2`` at
every t. For independent z and x the pair (x_t, x) is a denoising problem: with ``sigma = (1 - t)/t`` the point
``x_t/t`` is x plus noise of deviation sigma, and ``x - z = (x - x_t)/(1 - t)`` turns its denoiser into the velocity
(RF-3).

In one direction ``M_0 = E z^2``, ``M_1 = E x^2``, ``C = E z x = rho sqrt(M_0 M_1)``, ``m_t = E x_t^2``. Least squares
over linear v gives ``v_t = E[(x - z) x_t]/m_t = m_t'/(2 m_t)``, so that the flow multiplies by ``sqrt(m_t/M_0)`` up to
time t: the exact endpoint map has the variance of the data for every coupling (RF-4). N Euler steps multiply by cosines
of the angles between neighbouring x_t (RF-5; ``reflow_ground``). What a fit leaves of x - z is its part across x_t, of
square ``s^2/m_t`` with ``s = sqrt(M_0 M_1) sin theta`` the parallelogram of z and x; x_t turns at the rate ``s/m_t``,
so the integral over t is ``s theta`` (RF-15). Noise added along a reverse SDE decays in the co-moving frame at the rate
``g^2/(2 m_t)``, and ``int dt/m_t = theta/s`` by the same turning (RF-17).

RF-1 and RF-2 are empirical statements of arXiv:2412.08175 (repeated Reflow degrades; pairs made from real images
stabilise it) and no formulas. Chains: ``reflow_independent`` (fresh noise every round), ``reflow_pairs`` (pairs kept).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.reflow import PLACES, TIMES, ReflowSpec
from collapse_jax.theory.reflow_ground import (
    cos_root,
    covers,
    euler_gain,
    is_zero,
    known,
    sinc_root,
    square_angle,
)

SAMPLES = 20
"""Chains that a replicate of a default measurement averages."""

PAIRS: dict[str, Any] = {"spectrum": (4.0, 1.0, 0.25), "correlation": 0.3, "latent_variance": 1.5, "size": 1e6}
MODES: dict[str, Any] = {"spectrum": (4.0, 0.5), "separation": 0.9, "coupling": "independent", "size": 4e4}


def _posterior(spec: ReflowSpec):
    """Denoiser D, its D - y and posterior variance at ``TIMES``, ``PLACES``, ``[times, places, d]``, with t and x."""
    dtype = spec.spectrum.dtype
    t = jnp.asarray(TIMES, dtype)[:, None, None]
    mean, within = spec.separation * jnp.sqrt(spec.variance), (1 - spec.separation**2) * spec.variance
    x = jnp.asarray(PLACES, dtype)[None, :, None] * jnp.sqrt((1 - t) ** 2 + t**2 * spec.variance[None, None])
    sigma2, y = ((1 - t) / t) ** 2, x / t
    total = within[None, None] + sigma2
    side = jnp.tanh(mean[None, None] * y / total)
    moved = sigma2 * (mean[None, None] * side - y) / total  # D - y
    denoised = (within[None, None] * y + sigma2 * mean[None, None] * side) / total
    spread = within[None, None] * sigma2 / total + (sigma2 * mean[None, None] / total) ** 2 * (1 - side**2)
    return t, x, denoised, moved, spread


def _independent(spec: ReflowSpec, result: str) -> None:
    covers(is_zero(spec.correlation), result, "describes independent pairs: set correlation to 0.")
    covers(known(spec.latent_variance, lambda v: v == 1), result, "describes noise of variance 1: set latent_variance.")
    covers(is_zero(spec.ridge), result, "describes fits without a ridge: set ridge to 0.")


def _plain(spec: ReflowSpec, result: str, *solvers: str) -> None:
    covers(is_zero(spec.ridge), result, "describes fits without a ridge; with one ask RF-10/ridge.")
    if solvers:
        ask = {"exact": "RF-4", "euler": "RF-5", "heun": "RF-18"}[spec.solver]
        covers(spec.solver in solvers, result, f"describes solver {' or '.join(solvers)}; for {spec.solver} ask {ask}.")


@register(
    "RF-3",
    statement="v(x, t) = (D(x/t, (1-t)/t) - x)/(1-t): the velocity is a denoiser.",
    kind="exact",
    observable="conditional_velocity",
    check="mean of x - z given x_t, by weights of sampled data",
    example=MODES,
    generations=1,
    samples=1,
    relevant=0.02,
)
def conditional_velocity(spec: ReflowSpec) -> Float[Array, "times places d"]:
    """Velocity of a rectified flow on data of two modes, through the denoiser.

    Formula: ``(D(x/t, sigma) - x)/(1 - t)``, ``sigma = (1 - t)/t``, D the posterior mean under noise of deviation
    sigma. RF-3 (derived), exact for independent z ~ N(0, I) and any data, 0 < t < 1.

    Args:
        spec: modes at ``+- separation sqrt(Lambda)``, total variance ``start Lambda``; correlation 0.

    Returns:
        Prediction of ``conditional_velocity``, ``[times, places, d]`` [data] at ``TIMES`` and at ``PLACES`` in
        deviations of x_t.

    Raises:
        RegimeError: pairs that are not independent.

    >>> conditional_velocity(ReflowSpec([1.0])).values[2, :, 0].round(3).tolist()  # half way nothing moves
    [0.0, 0.0, 0.0, 0.0]
    """
    _independent(spec, "RF-3")
    t, x, denoised, _, _ = _posterior(spec)
    return (denoised - x) / (1 - t)


@register(
    "RF-3/loss",
    statement="E[|v - (x - z)|^2 | x_t] = E[|D - x|^2 | x_t]/(1-t)^2: a weighted denoising loss.",
    kind="exact",
    observable="conditional_loss",
    check="variance of x - z given x_t, by weights of sampled data",
    example=MODES,
    generations=1,
    samples=1,
    relevant=0.02,
)
def conditional_loss(spec: ReflowSpec) -> Float[Array, "times places d"]:
    """Least loss of a velocity given the place, through that of the denoiser.

    Formula: posterior variance of x given x_t over ``(1 - t)^2``. RF-3 (derived), exact.

    Returns:
        Prediction of ``conditional_loss``, ``[times, places, d]`` [data^2].

    Raises:
        RegimeError: as for ``conditional_velocity``.

    >>> conditional_loss(ReflowSpec([1.0])).values[2, :, 0].round(3).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    _independent(spec, "RF-3/loss")
    t, _, _, _, spread = _posterior(spec)
    return spread / (1 - t) ** 2


@register(
    "RF-3/score",
    statement="grad log p_t(x) = (t v(x, t) - x)/(1-t).",
    kind="exact",
    observable="conditional_score",
    check="slope of the logarithm of the density of x_t, by kernels at sampled data",
    example=MODES,
    generations=1,
    samples=1,
    relevant=0.02,
)
def conditional_score(spec: ReflowSpec) -> Float[Array, "times places d"]:
    """Score of the law of x_t, through the velocity.

    Formula: ``(t v - x)/(1 - t)`` with v of RF-3. RF-3 (derived), exact for independent pairs; it fails after Reflow.

    Returns:
        Prediction of ``conditional_score``, ``[times, places, d]`` [1/data].

    Raises:
        RegimeError: as for ``conditional_velocity``.

    >>> conditional_score(ReflowSpec([1.0])).values[2, 3].round(3).tolist()  # - x / m_t
    [-2.12...]
    """
    _independent(spec, "RF-3/score")
    t, _, _, moved, _ = _posterior(spec)
    return t * moved / (1 - t) ** 2  # (t v - x)(1 - t) = t D - x = t (D - x/t)


@register(
    "RF-4",
    statement="Exact integration of a linear velocity: A = sqrt(M_1/M_0) for every coupling, no shrinkage.",
    kind="exact",
    observable="gain",
    check="endpoint gain of velocities fitted to sampled pairs at every t",
    example=PAIRS | {"solver": "exact"},
    generations=1,
    samples=SAMPLES,
)
def endpoint_gain(spec: ReflowSpec) -> Float[Array, " d"]:
    """Endpoint gain of a flow fitted by least squares at every t and integrated exactly.

    Formula: ``sqrt(M_1/M_0)``, ``M_1 = start Lambda``. RF-4 (derived), exact for every correlation above -1.

    Args:
        spec: solver ``exact``, no ridge.

    Returns:
        Prediction of ``gain``, ``[d]``, data over noise.

    Raises:
        RegimeError: another solver, or a ridge.

    >>> endpoint_gain(ReflowSpec([4.0, 0.25])).values.tolist()
    [2.0, 0.5]
    """
    _plain(spec, "RF-4", "exact")
    return jnp.sqrt(spec.variance / spec.latent_variance)


@register(
    "RF-4/covariance",
    statement="A E[z z'] A' = E[x x'] in every dimension, for every coupling.",
    kind="exact",
    observable="endpoint_covariance",
    check="second moment of the endpoints, d x d velocities fitted to sampled pairs with turned latents",
    example=PAIRS | {"rotation": 0.8, "correlation": 0.6, "size": 1e5},
    generations=1,
    samples=5,
    relevant=0.02,
)
def endpoint_covariance(spec: ReflowSpec) -> Float[Array, "d d"]:
    """Second moment of what an exactly integrated linear flow makes of noise, the coupling not symmetric.

    Formula: ``diag(start Lambda)``: that of the data. RF-4 (derived), exact; A itself is fixed up to a rotation only.

    Returns:
        Prediction of ``endpoint_covariance``, ``[d, d]`` [data^2].

    Raises:
        RegimeError: another solver, or a ridge.

    >>> endpoint_covariance(ReflowSpec([4.0, 0.25], rotation=1.0)).values.tolist()
    [[4.0, 0.0], [0.0, 0.25]]
    """
    _plain(spec, "RF-4/covariance", "exact")
    return jnp.diag(spec.variance)


@register(
    "RF-4/velocity",
    statement="v_t = m_t'/(2 m_t); independent pairs: (t l - (1-t))/(t^2 l + (1-t)^2).",
    kind="exact",
    observable="velocity",
    check="slope of x - z on x_t, least squares at every t",
    example=PAIRS | {"spectrum": (4.0, 0.25), "correlation": 0.4},
    generations=1,
    samples=SAMPLES,
)
def velocity(spec: ReflowSpec) -> Float[Array, "times d"]:
    """Slope of the linear velocity at ``TIMES``.

    Formula: ``(t M_1 - (1 - t) M_0 + (1 - 2 t) C)/m_t``. RF-4 (derived), exact.

    Returns:
        Prediction of ``velocity``, ``[times, d]``, per unit of time.

    Raises:
        RegimeError: a ridge.

    >>> [round(float(v), 3) for v in velocity(ReflowSpec([4.0])).values[:, 0]]
    [-0.588, 0.588, 1.2, 1.22, 1.077]
    """
    _plain(spec, "RF-4/velocity")
    t = jnp.asarray(TIMES, spec.spectrum.dtype)[:, None]
    first, second = spec.latent_variance, spec.variance[None]
    cross = spec.correlation * jnp.sqrt(first * second)
    slope = t * second - (1 - t) * first + (1 - 2 * t) * cross
    return slope / ((1 - t) ** 2 * first + 2 * t * (1 - t) * cross + t**2 * second)


STEPS: dict[str, Any] = PAIRS | {"solver": "euler", "steps": 5}


@register(
    "RF-5",
    statement="N Euler steps: A_N = sqrt(M_1/M_0) prod_k cos theta_k, the angles between neighbouring x_t.",
    kind="exact",
    observable="gain",
    check="product of Euler steps with velocities fitted to sampled pairs",
    example=STEPS | {"correlation": -0.3},
    generations=1,
    samples=SAMPLES,
)
def sampler_gain(spec: ReflowSpec) -> Float[Array, " d"]:
    """Endpoint gain of N Euler steps on any of the grids.

    Formula: ``sqrt(M_1/M_0) prod_k E[x_s x_t]/sqrt(m_s m_t)`` over neighbouring times s, t. RF-5 (derived), exact.

    Args:
        spec: solver ``euler``, no ridge.

    Returns:
        Prediction of ``gain``, ``[d]``.

    Raises:
        RegimeError: another solver, or a ridge.

    >>> round(float(sampler_gain(ReflowSpec([1.0], solver="euler", steps=10)).values[0]) ** 2, 4)
    0.7726
    """
    _plain(spec, "RF-5", "euler")
    return euler_gain(spec, spec.latent_variance, spec.variance, spec.correlation)


@register(
    "RF-5/never",
    statement="Euler never inflates: |A_N| <= sqrt(M_1/M_0) for every coupling and grid.",
    kind="upper bound",
    observable="gain",
    check="product of Euler steps with velocities fitted to sampled pairs",
    example=STEPS | {"correlation": 0.95, "steps": 40},
    generations=1,
    samples=SAMPLES,
)
def sampler_ceiling(spec: ReflowSpec) -> Float[Array, " d"]:
    """What no gain of an Euler sampler exceeds, whatever its grid.

    Formula: ``sqrt(M_1/M_0)``. RF-5 (derived), upper bound for every correlation.

    Returns:
        Prediction of ``gain``, ``[d]``.

    Raises:
        RegimeError: another solver, or a ridge.

    >>> sampler_ceiling(ReflowSpec([4.0], solver="euler")).values.tolist()
    [2.0]
    """
    _plain(spec, "RF-5/never", "euler")
    return jnp.sqrt(spec.variance / spec.latent_variance)


def _equal_angles(spec: ReflowSpec):
    w = square_angle(spec.correlation) / spec.steps**2
    cosine = spec.correlation if spec.steps == 1 else cos_root(w)
    return jnp.sqrt(spec.variance / spec.latent_variance) * cosine**spec.steps


@register(
    "RF-5/bound",
    statement="rho >= 0: A_N <= sqrt(M_1/M_0) cos(theta/N)^N on every grid.",
    kind="upper bound",
    observable="gain",
    check="product of Euler steps with velocities fitted to sampled pairs",
    example=STEPS,
    generations=1,
    samples=SAMPLES,
)
def sampler_bound(spec: ReflowSpec) -> Float[Array, " d"]:
    """Largest gain of N Euler steps over all grids.

    Formula: ``sqrt(M_1/M_0) cos(theta/N)^N``. RF-5 (derived), upper bound for correlations >= 0 (log cos is concave).

    Returns:
        Prediction of ``gain``, ``[d]``.

    Raises:
        RegimeError: a negative correlation (ask RF-5/never), another solver, or a ridge.

    >>> round(float(sampler_bound(ReflowSpec([1.0], solver="euler", steps=2)).values[0]), 6)
    0.5
    """
    _plain(spec, "RF-5/bound", "euler")
    covers(known(spec.correlation, lambda v: v >= 0), "RF-5/bound", "needs correlation >= 0; else ask RF-5/never.")
    return _equal_angles(spec)


@register(
    "RF-5/equal-angle",
    statement="Equal angles attain the bound: A_N = sqrt(M_1/M_0) cos(theta/N)^N.",
    kind="exact",
    observable="gain",
    check="product of Euler steps at the equal-angle times of the sampled pairs",
    example=STEPS | {"grid": "equal-angle"},
    generations=1,
    samples=SAMPLES,
)
def equal_angle_gain(spec: ReflowSpec) -> Float[Array, " d"]:
    """Endpoint gain of N Euler steps of equal angles, for every correlation.

    Formula: ``sqrt(M_1/M_0) cos(theta/N)^N`` at times ``sin phi/(sin phi + sqrt(M_1/M_0) sin(theta - phi))``, ``phi = k
    theta/N``. RF-5 (derived), exact; N = 1 is the regression gain, rho = 1 needs one step only.

    Returns:
        Prediction of ``gain``, ``[d]``.

    Raises:
        RegimeError: another grid or solver, or a ridge.

    >>> spec = ReflowSpec([4.0], solver="euler", steps=1, grid="equal-angle", correlation=0.3)
    >>> equal_angle_gain(spec).values.round(6).tolist()
    [0.6...]
    """
    _plain(spec, "RF-5/equal-angle", "euler")
    covers(spec.grid == "equal-angle", "RF-5/equal-angle", "describes grid equal-angle; for uniform ask RF-5.")
    return _equal_angles(spec)


@register(
    "RF-5/one-step",
    statement="One Euler step gives the gain of regression, rho sqrt(M_1/M_0).",
    kind="exact",
    observable="gain",
    check="one Euler step with the velocity fitted at t = 0",
    example=STEPS | {"steps": 1, "correlation": 0.5},
    generations=1,
    samples=SAMPLES,
)
def one_step_gain(spec: ReflowSpec) -> Float[Array, " d"]:
    """Endpoint gain of a single Euler step.

    Formula: ``rho sqrt(M_1/M_0)``: 0 for independent pairs, exact for a deterministic coupling. RF-5 (derived), exact.

    Returns:
        Prediction of ``gain``, ``[d]``.

    Raises:
        RegimeError: more steps, another solver, or a ridge.

    >>> one_step_gain(ReflowSpec([4.0], solver="euler", steps=1, correlation=1.0)).values.tolist()
    [2.0]
    """
    _plain(spec, "RF-5/one-step", "euler")
    covers(spec.steps == 1, "RF-5/one-step", "describes steps 1; for more ask RF-5.")
    return spec.correlation * jnp.sqrt(spec.variance / spec.latent_variance)


@register(
    "RF-15",
    statement="Least flow-matching loss: sqrt(M_0 M_1) theta sin theta (independent: pi/2 sqrt(l); Reflow: 0).",
    kind="exact",
    observable="matching_loss",
    check="residual of the fitted velocities, integrated over t",
    example=PAIRS,
    generations=1,
    samples=SAMPLES,
)
def matching_loss(spec: ReflowSpec) -> Float[Array, " d"]:
    """Flow-matching loss that the best linear velocities leave.

    Formula: ``sqrt(M_0 M_1) theta sin theta``, ``theta = arccos rho``. RF-15 (derived), exact, a direction at a time.

    Returns:
        Prediction of ``matching_loss``, ``[d]`` [data^2].

    Raises:
        RegimeError: a ridge.

    >>> round(float(matching_loss(ReflowSpec([1.0])).values[0]), 4)
    1.5708
    """
    _plain(spec, "RF-15")
    w = square_angle(spec.correlation)
    return jnp.sqrt(spec.latent_variance * spec.variance) * w * sinc_root(w)


@register(
    "RF-15/straightness",
    statement="int E|v - (X_1 - X_0)|^2 dt = sqrt(M_1) [2 (1-rho) - theta sin theta] along the flow, M_0 = 1.",
    kind="exact",
    observable="straightness",
    check="velocities along fitted flows less their mean, squared and integrated",
    example=PAIRS,
    generations=1,
    samples=SAMPLES,
)
def straightness(spec: ReflowSpec) -> Float[Array, " d"]:
    """How far the paths of the exactly integrated flow are from straight lines: 0 is straight.

    Formula: ``sqrt(M_0 M_1) [2 (1 - rho) - theta sin theta]``; M_0 = 1 in the sheet, the factor makes it hold for all.
    RF-15 (derived), exact. It also falls to 0 for a collapsed model.

    Returns:
        Prediction of ``straightness``, ``[d]`` [data^2].

    Raises:
        RegimeError: a ridge.

    >>> round(float(straightness(ReflowSpec([1.0])).values[0]), 4)
    0.4292
    """
    _plain(spec, "RF-15/straightness")
    w = square_angle(spec.correlation)
    # 2 (1 - cos theta) - theta sin theta = 4 s^2 - 4 s h cos h..., h = theta/2, s = sin h: s/h and cos h are smooth
    half = w / 4
    return jnp.sqrt(spec.latent_variance * spec.variance) * w * sinc_root(half) * _rest(half)


def _rest(w):
    """``sinc - cos`` of sqrt w, without cancellation near 0."""
    near = w < 0.3
    small, term, total = jnp.where(near, w, 0), 1.0, jnp.zeros_like(w)
    for n in range(1, 9):
        term = -term / (2 * n * (2 * n + 1))
        total = total + term * (1 - (2 * n + 1)) * small**n
    away = jnp.where(near, 1.0, w)
    return jnp.where(near, total, sinc_root(away) - cos_root(away))


NOISY: dict[str, Any] = PAIRS | {"diffusion": 0.8}


def _latent_kept(spec: ReflowSpec):
    scale = jnp.sqrt(spec.latent_variance * spec.variance)
    return jnp.exp(-(spec.diffusion**2) / (2 * scale * sinc_root(square_angle(spec.correlation))))


@register(
    "RF-17",
    statement="Reverse SDE: sqrt(1 - tau^2) = exp(-1/2 int g^2/m_t dt), the integral g^2 theta/"
    "(sqrt(M_0 M_1) sin theta).",
    kind="exact",
    observable="latent_kept",
    check="regression of the reversed latent on the reversal without noise, velocities fitted to sampled pairs",
    example=NOISY,
    generations=1,
    samples=SAMPLES,
)
def latent_kept(spec: ReflowSpec) -> Float[Array, " d"]:
    """What a reverse SDE with noise g dW keeps of the latent that the reverse flow would find.

    Formula: ``exp(-g^2 theta/(2 sqrt(M_0 M_1) sin theta))``; independent pairs ``exp(-pi g^2/(4 sqrt lambda))``, after
    Reflow ``exp(-g^2/(2 A))``: tau differs between directions. RF-17 (derived), exact for Gaussian pairs with the score
    of their own law.

    Returns:
        Prediction of ``latent_kept``, ``[d]``: ``sqrt(1 - tau^2)``.

    Raises:
        RegimeError: a ridge.

    >>> round(float(latent_kept(ReflowSpec([1.0], diffusion=1.0)).values[0]), 4)  # exp(-pi/4)
    0.4559
    """
    _plain(spec, "RF-17")
    return _latent_kept(spec)


@register(
    "RF-17/variance",
    statement="The reverse SDE returns noise of the variance that it started from: E z'^2 = M_0.",
    kind="exact",
    observable="reversed_variance",
    check="second moment of reversed latents of the fitted images",
    example=NOISY,
    generations=1,
    samples=SAMPLES,
)
def reversed_variance(spec: ReflowSpec) -> Float[Array, " d"]:
    """Variance of the latents that a reverse SDE finds for images of the law that the model was fitted on.

    Formula: ``(1 - tau^2) M_0 + tau^2 M_0 = M_0``: the noise replaces what it damps. RF-17 (derived), exact.

    Returns:
        Prediction of ``reversed_variance``, ``[d]``.

    Raises:
        RegimeError: a ridge.

    >>> reversed_variance(ReflowSpec([4.0], diffusion=1.0)).values.tolist()
    [1.0]
    """
    _plain(spec, "RF-17/variance")
    return jnp.broadcast_to(spec.latent_variance, spec.variance.shape) * np.ones((), spec.variance.dtype)
