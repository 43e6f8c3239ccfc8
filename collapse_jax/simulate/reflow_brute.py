"""Chains of rectified flows with every pair drawn and every slope fitted to the points, beside ``reflow_chain``."""

import jax
import jax.numpy as jnp

from collapse_jax.errors import SpecError
from collapse_jax.simulate.reflow_chain import looked
from collapse_jax.simulate.reflow_fits import Moments, checked, log_odds, step_times
from collapse_jax.simulate.regression_doors import at_once, averaged, program
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.trajectory import Trajectory

LARGEST = 10**6  # pairs of a round


def _slopes(spec, z, x, t):
    """Slopes ``[times, d]`` of x - z on x_t at times ``[times, d]``; with z None the noise is known, not drawn."""
    if z is None:
        square = jnp.mean(x**2, axis=0)[None]
        return (t * square - (1 - t)) / ((1 - t) ** 2 + t**2 * square + spec.ridge)

    def at(t):
        place = (1 - t)[None] * z + t[None] * x
        return jnp.mean((x - z) * place, axis=0) / (jnp.mean(place**2, axis=0) + spec.ridge)

    return jax.lax.map(at, t)


def _endpoint(spec, z, x):
    if spec.solver == "exact":
        t, weight = log_odds(x.dtype)
        t = jnp.broadcast_to(t[:, None], (t.shape[0], x.shape[1]))
        return jnp.exp(jnp.sum(weight[:, None] * _slopes(spec, z, x, t), axis=0))
    second = jnp.mean(x**2, axis=0)
    known = (jnp.ones_like(second), jnp.zeros_like(second))
    first, cross = known if z is None else (jnp.mean(z**2, axis=0), jnp.mean(z * x, axis=0))
    t = step_times(spec, Moments(first, second, cross)).T
    slopes, width = _slopes(spec, z, x, t), jnp.diff(t, axis=0)
    now, then = slopes[:-1], slopes[1:]
    if spec.solver == "euler":
        return jnp.prod(1 + width * now, axis=0)
    return jnp.prod(1 + width / 2 * (now + then * (1 + width * now)), axis=0)


@program(*("size", "real", "generations", "replicates", "samples", "batch"))
def _brute(spec, key, *, size, real, generations, replicates, samples, batch):
    shape, dtype = (spec.dimension,), spec.spectrum.dtype
    scale = jnp.sqrt(spec.spectrum)

    def pairs(gain, key):
        made_key, real_key, noise_key = jax.random.split(key, 3)
        z = jax.random.normal(made_key, (size - real, *shape), dtype)
        images = scale[None] * jax.random.normal(real_key, (real, *shape), dtype)
        inverse = gain if spec.inverter == "current" else jnp.sqrt(spec.frozen) * scale
        keep = jnp.sqrt((1 - spec.noise) * (1 + spec.noise))
        found = keep * images / inverse[None] + spec.noise * jax.random.normal(noise_key, (real, *shape), dtype)
        latents, images = jnp.concatenate([z, found]), jnp.concatenate([gain[None] * z, images])
        gain = (1 - spec.fit_loss) * _endpoint(spec, latents, images)
        return gain, gain**2

    def images(state, key):
        made, true = state
        made_key, real_key = jax.random.split(key)
        points = [
            jnp.sqrt(made)[None] * jax.random.normal(made_key, (size - real, *shape), dtype),
            jnp.sqrt(true)[None] * jax.random.normal(real_key, (real, *shape), dtype),
        ]
        gain = (1 - spec.fit_loss) * _endpoint(spec, None, jnp.concatenate(points))
        return (gain**2, spec.spectrum), spec.real_fraction * spec.spectrum + (1 - spec.real_fraction) * gain**2

    def one(key):
        keys = jax.random.split(key, generations)
        if spec.coupling == "reflow":
            values = jax.lax.scan(pairs, jnp.sqrt(spec.variance), keys)[1]
        else:
            values = jax.lax.scan(images, (spec.variance, spec.variance), keys)[1]
        return jnp.concatenate([spec.variance[None], values])

    return averaged(one, key, replicates, samples, batch)


def brute_force_chain(
    spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int = 1
) -> dict[str, Trajectory]:
    """The chain of ``exact_chain`` with every point drawn; arguments and results as there, without ``lifetime``.

    Raises:
        SpecError: also for more than ``LARGEST`` pairs a round.

    >>> spec = ReflowSpec([4.0, 1.0], fit_loss=0.1, size=100)
    >>> brute_force_chain(spec, 5, 2, jax.random.key(0))["relative_variance"].values.shape
    (2, 6, 2)
    """
    sizes = checked(spec, generations, replicates, samples)
    size = int(float(spec.size))
    if size > LARGEST:
        raise SpecError(
            f"size must be at most {LARGEST:.0e} where every pair is drawn, got {size:.3g}: use sampler exact."
        )
    share = spec.real_pairs if spec.coupling == "reflow" else spec.real_fraction
    real = round(float(share) * size)
    batch = at_once(4 * size * spec.dimension, spec.spectrum.dtype)
    values = _brute(spec, key, size=size, real=real, **sizes, batch=batch)
    seen = looked(spec, {"variance": values, "lifetime": values[:, -1]}, generations)
    del seen["lifetime"]
    return seen
