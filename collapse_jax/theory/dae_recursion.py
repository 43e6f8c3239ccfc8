"""The population recursion of the linear denoising-autoencoder chain, in numbers that keep their digits.

Every direction evolves alone. With SNR ``y`` of the training second moment the fitted gain is
``g = max(0, (y - eta) / (y + 1))`` (all in units of ``noise_var``; 0 beyond the rank), the generator turns an input of
SNR ``u`` into ``s' = g^2 (u + c)``, and the next training second moment is ``y' = a A + (1 - a) s'``.

At high SNR a round changes ``y`` by about ``c - 2`` only, so that a plain evaluation of ``y'`` loses one digit of the
slow fall for each digit of ``y``. There the *change* is computed by a formula without cancellation,
``s' - u = -fall(u, y)``, and added with a compensated sum; at SNR below one the product form keeps relative accuracy
down to underflow. The doubly exponential end is followed further by ``log_snr_path``.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.errors import RegimeError
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.ground import concrete

LOG_FLOOR = -1e15
"""``log_snr_path`` stops here: far below any number, early enough that gradients stay finite."""


def noise_ratio(spec: DAESpec):
    """c = sigma-hat^2 / sigma^2."""
    return spec.resample_noise_var / spec.noise_var


def real_snr(spec: DAESpec):
    """A: eigenvalues of the real second moment in units of the training noise variance."""
    return spec.spectrum / spec.noise_var


def passes(spec: DAESpec):
    """True for the directions that the bottleneck lets through."""
    return jnp.arange(spec.dimension) < spec.width


def gain(spec: DAESpec, snr):
    """Gain of the fitted map at a training SNR: max(0, (y - eta)/(y + 1)), 0 beyond the rank (DAE-4, DAE-16)."""
    excess = snr - spec.weight_decay / spec.noise_var
    inside = jnp.broadcast_to(passes(spec), excess.shape)
    return jnp.where(inside & (excess >= 0), excess / (snr + 1), 0)


def fall(snr, ratio):
    """x - h_c(x) = x (beta x + 1)/(x + 1)^2 with beta = 2 - c: what one replacement round takes off (DAE-5)."""
    return snr * ((2 - ratio) * snr + 1) / (snr + 1) ** 2


def covers(holds: bool, result: str, needs: str) -> None:
    """Refuse a spec that a result does not describe.

    Raises:
        RegimeError: names the result and what it needs.
    """
    if not holds:
        raise RegimeError(f"{result} {needs}")


def is_zero(value) -> bool:
    """False only if ``value`` is known now and differs from zero."""
    return not concrete(value) or not np.any(np.asarray(value) != 0)


def ratio_at_most(spec: DAESpec, limit: float) -> bool:
    """False only if both noise variances are known now and their ratio c exceeds ``limit``.

    NumPy decides, so that a spec closed over by a traced function is still refused.
    """
    if not (concrete(spec.resample_noise_var) and concrete(spec.noise_var)):
        return True
    return bool(np.all(np.asarray(spec.resample_noise_var) <= limit * np.asarray(spec.noise_var)))


def equal_noise(spec: DAESpec) -> bool:
    """False only if both noise variances are known now and differ (c = 1 is what is asked for)."""
    if not (concrete(spec.resample_noise_var) and concrete(spec.noise_var)):
        return True
    return bool(np.all(np.asarray(spec.resample_noise_var) == np.asarray(spec.noise_var)))


def replacement(spec: DAESpec, result: str) -> None:
    """Refuse everything but pure replacement (no real share, generator fed with synthetic points)."""
    covers(spec.regime == "replace", result, "describes regime replace; for accumulate ask DAE-15.")
    covers(spec.feed != "prior", result, "describes a generator fed with points; for feed prior ask DAE-17.")
    covers(is_zero(spec.real_fraction), result, "describes real_fraction 0; with a real share ask DAE-13.")
    covers(is_zero(spec.weight_decay), result, "describes weight_decay 0; with weight decay ask DAE-16.")


def snr_path(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """SNR of the training second moment, entry 0 the real data; every regime and feed of the spec."""
    real, ratio, share = real_snr(spec), noise_ratio(spec), spec.real_fraction
    decay = spec.weight_decay / spec.noise_var

    def training(state):
        return state + share * (real - state) if spec.feed == "chain" else state

    def step(carry, blocks):
        state, carried = carry
        snr = training(state)
        g = gain(spec, snr)
        made = g * (g * (state + ratio))  # in this order g^2 cannot underflow before its product does
        lost = state * ((2 - ratio) * state + 1) + decay * (2 * snr - decay) * (state + ratio)
        if spec.feed == "chain":
            lost = lost + (snr - state) * (2 * state - ratio * (snr + state))
        change = -jnp.where(g > 0, lost / (snr + 1) ** 2, state)
        if spec.regime == "accumulate":
            product, slow = state, jnp.ones_like(state, bool)
            change = change / (blocks + 1)
        elif spec.feed == "chain":
            product, slow = made, state > 1
        elif spec.feed == "pool":
            product, slow = share * real + (1 - share) * made, state > 1
            change = (1 - share) * change + share * (real - state)
        else:
            product, slow = share * real + (1 - share) * (g * (g * ratio)), jnp.zeros_like(state, bool)
        change = change + carried
        total = state + change
        after = jnp.where(slow, total, product)
        return (after, jnp.where(slow, change - (total - state), 0)), training(after)

    blocks = jnp.arange(1, generations + 1, dtype=real.dtype)
    _, path = jax.lax.scan(step, (real, jnp.zeros_like(real)), blocks)
    return jnp.concatenate([real[None], path])


def log_snr_path(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """log of the SNR under pure replacement; -inf for a direction that is dead, never below ``LOG_FLOOR`` else."""
    real, ratio = real_snr(spec), noise_ratio(spec)
    alive = real > 0
    start = jnp.log(jnp.where(alive, real, 1))
    tiny = jnp.asarray(1e-18, real.dtype)

    def step(carry, _):
        log_snr, carried = carry
        snr = jnp.exp(jnp.minimum(log_snr, 80))
        slow = log_snr > 0
        at_least_one = jnp.where(slow, snr, 1)
        change = carried + jnp.log1p(-((2 - ratio) * at_least_one + 1) / (at_least_one + 1) ** 2)
        total = log_snr + change
        below_one = jnp.where(slow, 1, snr)
        noisy = below_one + ratio
        log_noisy = jnp.where(noisy > tiny, jnp.log(jnp.where(noisy > tiny, noisy, 1)), log_snr)
        squared = 2 * log_snr + log_noisy - 2 * jnp.log1p(below_one)
        squared = jnp.where(squared > LOG_FLOOR, squared, LOG_FLOOR)
        after = jnp.where(slow, total, squared)
        return (after, jnp.where(slow, change - (total - log_snr), 0)), after

    _, path = jax.lax.scan(step, (start, jnp.zeros_like(start)), length=generations)
    start = jnp.where(alive, start, -jnp.inf)
    return jnp.concatenate([start[None], jnp.where(alive & passes(spec), path, -jnp.inf)])
