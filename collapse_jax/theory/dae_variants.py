"""Relatives of the linear denoising-autoencoder chain: weight decay, prior feed, no noise, diffusion (DAE-16 to 19).

Weight decay ``eta (||W_1||^2 + ||W_2||^2)`` on both factors is, at the best factorisation, ``2 eta`` times the nuclear
norm of ``W = W_2 W_1``: each gain minimises ``(lambda + s)(g - g*)^2 + 2 eta g`` and is shrunk to
``(lambda - eta)/(lambda + s)`` (DAE-16). A generator fed with noise alone makes ``W E``, second moment ``s_hat W^2``:
``x' = c x^2/(x + 1)^2`` (DAE-17). Without generation noise nothing is random and the map acts on the realised spectrum
at any n (DAE-18). For Gaussian data the posterior mean after a truncated reverse process is linear with just the gains
of a denoising autoencoder at ``sigma^2 = (1 - a^2)/a^2`` (DAE-19).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory.dae import TOP, TOY
from collapse_jax.theory.dae_recursion import covers, equal_noise, gain, is_zero, noise_ratio, replacement, snr_path


@register(
    "DAE-16",
    statement="Weight decay eta soft-thresholds the gains: max(0, (lambda - eta)/(lambda + sigma^2)).",
    kind="exact",
    observable="gains",
    check="singular values of W fitted with weight decay, n -> infinity; the trained factors in generative/dae",
    example=TOY | {"weight_decay": 0.2},
)
def weight_decay_gains(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Gains of a chain trained with weight decay ``eta (||W_1||_F^2 + ||W_2||_F^2)``.

    Formula: ``g_i = max(0, (lambda_i - eta)/(lambda_i + sigma^2))`` for i <= k, each generation on its own spectrum,
    which moves by ``x' = g^2 (x + c)``. DAE-16 (derived), exact in the population; eta = 0 recovers DAE-4 and DAE-5;
    directions with ``lambda <= eta`` die at once.

    Args:
        spec: regime replace, feed chain or pool, real_fraction 0; ``weight_decay`` = eta.
        generations: number of retrainings, >= 0.

    Returns:
        Prediction of ``gains``, ``[generations + 1, d]``, no unit.

    Raises:
        RegimeError: the spec describes another chain.

    >>> weight_decay_gains(DAESpec([3.0, 0.25], weight_decay=0.5), 0).values.tolist()
    [[0.625, 0.0]]
    """
    covers(
        spec.regime == "replace" and spec.feed != "prior", "DAE-16", "describes replacement with feed chain or pool."
    )
    covers(is_zero(spec.real_fraction), "DAE-16", "describes real_fraction 0; with a real share ask DAE-13.")
    return gain(spec, snr_path(spec, generations))


def _prior_fed(spec: DAESpec, result: str) -> None:
    covers(spec.feed == "prior", result, "describes a prior-fed generator: set feed to prior.")
    covers(is_zero(spec.real_fraction), result, "describes real_fraction 0.")
    covers(is_zero(spec.weight_decay), result, "describes weight_decay 0.")


@register(
    "DAE-17",
    statement="Prior-fed generator: x' = c x^2/(x + 1)^2.",
    kind="exact",
    observable="spectrum",
    check="eigenvalues of the training second moment, n -> infinity",
    example=TOP | {"spectrum": (10.0, 0.2), "feed": "prior", "resample_noise_var": 4.0},
    generations=12,
)
def prior_fed_spectrum(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Eigenvalues of the training second moment when the generator is fed with noise alone.

    Formula: ``x' = c x^2/(x + 1)^2``. DAE-17 (derived), exact in the population. Fixed points: ``prior_fed_limits``.

    Returns:
        Prediction of ``spectrum``, ``[generations + 1, d]`` in data^2.

    Raises:
        RegimeError: feed is not prior, or a real share or weight decay is set.

    >>> prior_fed_spectrum(DAESpec([1.0], resample_noise_var=4.0, feed="prior"), 3).values[:, 0].tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    _prior_fed(spec, "DAE-17")
    return spec.noise_var * snr_path(spec, generations)


def _prior_fixed_points(spec: DAESpec):
    ratio = noise_ratio(spec)
    exists = ratio >= 4
    excess = ratio * (ratio - 4)
    # sqrt has an infinite slope where the two points merge; 0 is reported there
    root = jnp.where(excess > 0, jnp.sqrt(jnp.where(excess > 0, excess, 1)), 0)
    upper = jnp.where(exists, (ratio - 2 + root) / 2, 0)
    return exists, upper


@register(
    "DAE-17/border",
    statement="Prior-fed: every start collapses iff c < 4; else those below the lower fixed point do.",
    kind="exact",
    observable="collapse_threshold",
    check="bisection on the start of a 1-D chain, up or down",
    example=TOP | {"feed": "prior", "resample_noise_var": 4.0},
    generations=60,
)
def prior_fed_border(spec: DAESpec) -> Float[Array, ""]:
    """SNR below which a prior-fed chain collapses: the lower, unstable fixed point; infinity for c < 4.

    Formula: ``2/[(c - 2) + sqrt(c (c - 4))]`` (one over the upper fixed point: their product is 1). DAE-17 (derived),
    exact in the population. At c = 4 both merge at 1, which attracts from above only.

    Returns:
        Prediction of ``collapse_threshold``, a scalar SNR.

    Raises:
        RegimeError: feed is not prior, or a real share or weight decay is set.

    >>> float(prior_fed_border(DAESpec([1.0], resample_noise_var=4.5, feed="prior")).values)
    0.5
    """
    _prior_fed(spec, "DAE-17/border")
    exists, upper = _prior_fixed_points(spec)
    return jnp.where(exists, 1 / jnp.where(exists, upper, 1), jnp.inf)


@register(
    "DAE-17/limit",
    statement="Prior-fed: starts above the border settle at the upper fixed point.",
    kind="exact",
    observable="upper_limit",
    check="final SNR of a 1-D chain from a high start, n -> infinity",
    example=TOP | {"feed": "prior", "resample_noise_var": 4.0},
    generations=60,
)
def prior_fed_limit(spec: DAESpec) -> Float[Array, ""]:
    """SNR at which a prior-fed chain started high settles: the upper, stable fixed point; 0 for c < 4.

    Formula: ``[(c - 2) + sqrt(c (c - 4))]/2``. DAE-17 (derived), exact in the population.

    Returns:
        Prediction of ``upper_limit``, a scalar SNR.

    Raises:
        RegimeError: feed is not prior, or a real share or weight decay is set.

    >>> float(prior_fed_limit(DAESpec([1.0], resample_noise_var=4.5, feed="prior")).values)
    2.0
    """
    _prior_fed(spec, "DAE-17/limit")
    return _prior_fixed_points(spec)[1]


@register(
    "DAE-18",
    statement="Without generation noise the chain is deterministic at any n: x' = x^3/(x + 1)^2.",
    kind="exact",
    observable="spectrum",
    check="eigenvalues of brute-force chains, run by run from their realised spectra, also n < d",
    example=TOY | {"resample_noise_var": 0.0},
    generations=8,
    samples=4,
    sampler="brute-force",
    given=("real_spectrum",),
)
def noiseless_spectrum(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Eigenvalues of the training second moment with c = 0, from the *realised* spectrum, any n (also n < d).

    Formula: ``x' = x^3/(x + 1)^2``. DAE-18 (derived), exact at every n: nothing is random after the data are drawn.

    Returns:
        Prediction of ``spectrum``, ``[generations + 1, d]`` in data^2.

    Raises:
        RegimeError: resample_noise_var is not 0, or the spec describes another chain.

    >>> noiseless_spectrum(DAESpec([1.0], resample_noise_var=0.0), 1).values[:, 0].tolist()
    [1.0, 0.25]
    """
    replacement(spec, "DAE-18")
    covers(is_zero(spec.resample_noise_var), "DAE-18", "describes resample_noise_var 0; with noise ask DAE-5.")
    return spec.noise_var * snr_path(spec, generations)


@register(
    "DAE-19",
    statement="Truncated diffusion finished by a posterior-mean step acts as DAE-5, c = 1, sigma^2 = (1-a^2)/a^2.",
    kind="exact",
    observable="tweedie_spectrum",
    check="Gaussian model refitted on its own truncated and denoised samples, n -> infinity",
    example=TOY | {"resample_noise_var": 0.8},
)
def truncated_diffusion_spectrum(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Covariance eigenvalues of Gaussian data under recursive truncated diffusion with a final Tweedie step.

    Formula: ``lambda' = lambda^2/(lambda + (1 - a^2)/a^2)``, that is DAE-5 with c = 1 and
    ``noise_var = (1 - a^2)/a^2``; ``a = exp(-kappa t_0)`` is the decay up to the truncation time
    (``truncation_noise_var``). DAE-19 (derived), exact for Gaussian data in the population, no real share.

    Args:
        spec: replacement with ``resample_noise_var`` equal to ``noise_var``.
        generations: number of retrainings, >= 0.

    Returns:
        Prediction of ``tweedie_spectrum``, ``[generations + 1, d]`` in data^2.

    Raises:
        RegimeError: the two noise variances differ, or the spec describes another chain.

    >>> truncated_diffusion_spectrum(DAESpec([1.0]), 1).values[:, 0].tolist()
    [1.0, 0.5]
    """
    replacement(spec, "DAE-19")
    covers(equal_noise(spec), "DAE-19", "needs resample_noise_var = noise_var (c = 1).")
    return spec.noise_var * snr_path(spec, generations)


def truncation_noise_var(decay):
    """Training noise variance ``(1 - a^2)/a^2`` of a truncation at decay ``a`` in (0, 1] (DAE-19, derived).

    >>> truncation_noise_var(0.5)
    3.0
    """
    return (1 - decay**2) / decay**2
