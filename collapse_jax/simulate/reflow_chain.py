"""Chains of rectified flows through second moments, exact in law at a cost that does not depend on the number of pairs.

A round's pairs enter its fit only through their second moments per direction, sums of squares and products of normal
numbers; these are drawn as such (chi-squares and one normal each). With coupling ``reflow`` the pairs are the union of
images of the last model with their noise, and of real images with what a model run backwards makes of them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.simulate.reflow_fits import Moments, checked, endpoint, square_sums, squares, trajectory
from collapse_jax.simulate.regression_doors import at_once, averaged, program
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.trajectory import Trajectory

CURVES = ("variance", "relative_variance")
LATE = ("final_variance", "final_relative_variance", "lifetime")


def union(spec: ReflowSpec, gain, draws, noise) -> Moments:
    """Second moments of a round's pairs, made by a model of ``gain`` [d]; ``draws`` from ``drawn``."""
    made, (own, between, other) = draws
    inverse = gain if spec.inverter == "current" else jnp.sqrt(spec.frozen * spec.spectrum)
    scale, keep = jnp.sqrt(spec.spectrum), jnp.sqrt((1 - noise) * (1 + noise))
    found = keep * scale / inverse  # per unit of the real image
    first = gain**0 * made + found**2 * own + 2 * found * noise * between + noise**2 * other
    second = gain**2 * made + spec.spectrum * own
    cross = gain * made + scale * (found * own + noise * between)
    return Moments(first / spec.size, second / spec.size, cross / spec.size)


def drawn(spec: ReflowSpec, key):
    """Sums of squares of a round: of synthetic latents; of real images, their noise, and both."""
    made_key, real_key = jax.random.split(key)
    shape, dtype = spec.spectrum.shape, spec.spectrum.dtype
    real = jnp.round(spec.real_pairs * spec.size)
    made = squares(made_key, spec.size - real, shape, dtype)
    return made, square_sums(real_key, real, shape, dtype)


def retrained(spec: ReflowSpec, gain, draws, noise=None):
    """Gain ``[d]`` of the model fitted on the pairs that a model of ``gain`` made."""
    return (1 - spec.fit_loss) * endpoint(spec, union(spec, gain, draws, spec.noise if noise is None else noise))


def independent_fit(spec: ReflowSpec, made, real, key):
    """Gain ``[d]`` of a model fitted on images of variances ``made`` and (their share a) ``real``, with fresh noise."""
    shape, dtype = spec.spectrum.shape, spec.spectrum.dtype
    count = jnp.round(spec.real_fraction * spec.size)
    rows = jnp.stack([spec.size - count, count])
    own = squares(key, rows[:, None], (2, *shape), dtype)
    second = (made * own[0] + real * own[1]) / spec.size
    none = jnp.zeros(shape, dtype)
    return (1 - spec.fit_loss) * endpoint(spec, Moments(jnp.ones(shape, dtype), second, none))


def _level_time(values, level):
    """Rounds until ``values`` [rounds + 1, d] fall below ``level`` [d], interpolated in the logarithm; or inf.

    0 if they begin below it.
    """
    below = values < level[None]
    place = jnp.maximum(jnp.argmax(below, axis=0), 1)
    after = jnp.take_along_axis(values, place[None], axis=0)[0]
    before = jnp.take_along_axis(values, place[None] - 1, axis=0)[0]
    share = jnp.maximum(jnp.log(before / level), 0) / jnp.log(before / after)
    return jnp.where(jnp.any(below, axis=0), (place - 1).astype(values.dtype) + share, jnp.inf)


@program(*("generations", "replicates", "samples", "batch"))
def _exact_chain(spec, key, *, generations, replicates, samples, batch):
    def pairs(gain, key):
        gain = retrained(spec, gain, drawn(spec, key))
        return gain, gain**2

    def images(state, key):
        made, real = state
        gain = independent_fit(spec, made, real, key)
        share = spec.real_fraction
        return (gain**2, spec.spectrum), share * spec.spectrum + (1 - share) * gain**2

    def one(key):
        keys = jax.random.split(key, generations)
        if spec.coupling == "reflow":
            values = jax.lax.scan(pairs, jnp.sqrt(spec.variance), keys)[1]
        else:
            values = jax.lax.scan(images, (spec.variance, spec.variance), keys)[1]
        values = jnp.concatenate([spec.variance[None], values])
        return {"variance": values, "lifetime": _level_time(values, spec.level * spec.spectrum)}

    return averaged(one, key, replicates, samples, batch)


def looked(spec: ReflowSpec, values, generations: int) -> dict[str, Trajectory]:
    """Trajectories of a chain from its ``variance`` and ``lifetime``."""
    relative = values["variance"] / spec.spectrum[None, None]
    seen = {"variance": values["variance"], "relative_variance": relative, "lifetime": values["lifetime"]}
    seen |= {"final_variance": values["variance"][:, -1], "final_relative_variance": relative[:, -1]}
    return {name: trajectory(name, found, generations) for name, found in seen.items()}


def work(spec: ReflowSpec) -> int:
    """Numbers that a fit holds in one direction."""
    return 300 + 8 * spec.steps


def exact_chain(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int = 1) -> dict[str, Trajectory]:
    """The chain, exact in law (RF-7, RF-10 to RF-14, RF-16; derived).

    Args:
        spec: the chain; every coupling, solver, inverter.
        generations: rounds, >= 1.
        replicates: independent replicates, >= 1, each the mean of ``samples`` independent chains.
        key: random key.

    Returns:
        By observable: ``variance`` [data^2] and ``relative_variance`` (over Lambda) ``[replicates, generations + 1,
        d]``, of the endpoints of each model (reflow) or of the images that each round is fitted on (independent);
        ``final_variance``, ``final_relative_variance`` and ``lifetime`` ``[replicates, d]``, the rounds until the
        variance falls below ``level Lambda`` (infinite if it does not).

    Raises:
        SpecError: a bad argument; names it, the value found and the requirement.

    >>> spec = ReflowSpec([4.0, 1.0], fit_loss=0.1, size=100)
    >>> exact_chain(spec, 5, 2, jax.random.key(0))["relative_variance"].values.shape
    (2, 6, 2)
    """
    sizes = checked(spec, generations, replicates, samples)
    batch = at_once(spec.dimension * (work(spec) + 4 * generations), spec.spectrum.dtype)
    return looked(spec, _exact_chain(spec, key, **sizes, batch=batch), generations)


@program(*("replicates", "samples", "batch"))
def _one_round(spec, key, *, replicates, samples, batch):
    def one(key):
        change = 2 * jnp.log(independent_fit(spec, spec.variance, spec.variance, key)) - jnp.log(spec.variance)
        return change, change**2

    mean, square = averaged(one, key, replicates, samples, batch)
    return {"log_drift": mean, "log_spread": (square - mean**2) * samples / max(samples - 1, 1)}


def one_round(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Change of the logarithm of the variance in one round of independent coupling (RF-8; derived).

    Returns:
        ``log_drift`` and ``log_spread`` ``[replicates, d]``: mean and variance over ``samples`` chains.

    >>> spec = ReflowSpec([1.0], coupling="independent", size=50)
    >>> one_round(spec, 1, 2, jax.random.key(0), samples=9)["log_spread"].values.shape
    (2, 1)
    """
    sizes = checked(spec, generations, replicates, samples)
    del sizes["generations"]
    batch = at_once(spec.dimension * work(spec), spec.spectrum.dtype)
    return {name: trajectory(name, found) for name, found in _one_round(spec, key, **sizes, batch=batch).items()}


_APART = 1e-3
_TINY = 1e-6


@program(*("replicates", "samples", "batch", "which"))
def _one_step(spec, key, *, replicates, samples, batch, which):
    def after(u, draws, noise=None):
        return retrained(spec, jnp.sqrt(u * spec.spectrum), draws, noise) ** 2 / spec.spectrum

    def contraction(key):
        draws = drawn(spec, key)
        return (after(1 + _APART, draws) - after(1 - _APART, draws)) / (2 * _APART)

    def critical(key):
        draws = drawn(spec, key)

        def halve(_, ends):
            low, high = ends
            middle = (low + high) / 2
            grows = after(_TINY, draws, middle) > _TINY
            return jnp.where(grows, low, middle), jnp.where(grows, middle, high)

        low, high = jax.lax.fori_loop(0, 40, halve, (jnp.zeros_like(spec.spectrum), jnp.ones_like(spec.spectrum)))
        return (low + high) / 2

    return averaged(contraction if which == "contraction" else critical, key, replicates, samples, batch)


def _of_one_step(which, spec, generations, replicates, key, samples) -> dict[str, Trajectory]:
    sizes = checked(spec, generations, replicates, samples)
    del sizes["generations"]
    batch = at_once(spec.dimension * work(spec), spec.spectrum.dtype)
    values = _one_step(spec, key, **sizes, batch=batch, which=which)
    # rounding of a difference over a thousandth; a bisection ends where two growths are told apart
    return {which: Trajectory(values, 4000 * float(jnp.finfo(values.dtype).eps), observable=which)}


def contraction(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """``contraction`` ``[replicates, d]``: slope of one round at u = 1, from two starts on the same draws (RF-12).

    >>> contraction(ReflowSpec([1.0], size=10), 1, 2, jax.random.key(0), samples=3)["contraction"].values.shape
    (2, 1)
    """
    return _of_one_step("contraction", spec, generations, replicates, key, samples)


def critical_noise(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """``critical_noise`` ``[replicates, d]``: noise at which a tiny variance neither grows nor shrinks (RF-13).

    >>> spec = ReflowSpec([1.0], size=10, real_pairs=0.5, fit_loss=0.1)
    >>> critical_noise(spec, 1, 2, jax.random.key(0), samples=3)["critical_noise"].values.shape
    (2, 1)
    """
    return _of_one_step("critical_noise", spec, generations, replicates, key, samples)


@program(*("generations", "replicates", "samples", "batch"))
def _exploding(spec, key, *, generations, replicates, samples, batch):
    dtype = spec.spectrum.dtype
    nodes, weights = np.polynomial.legendre.leggauss(200)
    # dx/ds = (x - D)/s with the fitted denoiser, from the largest noise down 15 decades
    below = jnp.asarray(np.exp(36 * (nodes - 1) / 2), dtype)[None]
    each = jnp.asarray(18 * weights, dtype)[None]

    def advance(variance, key):
        own = squares(key, spec.size, spec.spectrum.shape, dtype)
        fitted = (variance * own / spec.size)[:, None]
        level = (spec.largest_noise * below) ** 2
        fall = jnp.sum(each * (1 - fitted / (fitted + level)), axis=-1)
        variance = spec.largest_noise**2 * jnp.exp(-2 * fall)
        return variance, variance

    def one(key):
        values = jax.lax.scan(advance, spec.variance, jax.random.split(key, generations))[1]
        return jnp.concatenate([spec.variance[None], values])

    return averaged(one, key, replicates, samples, batch)


def exploding_chain(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """``exploding_variance`` ``[replicates, generations + 1, d]``: flows started at N(0, s_max^2) (RF-8; derived).

    >>> spec = ReflowSpec([1.0], coupling="independent", size=50)
    >>> exploding_chain(spec, 3, 2, jax.random.key(0), samples=1)["exploding_variance"].values.shape
    (2, 4, 1)
    """
    sizes = checked(spec, generations, replicates, samples)
    batch = at_once(spec.dimension * (800 + generations), spec.spectrum.dtype)
    values = _exploding(spec, key, **sizes, batch=batch)
    return {"exploding_variance": trajectory("exploding_variance", values, generations)}
