"""Single fits of linear velocities: gains, losses, reverse SDEs, maps in d dimensions, and velocities of two modes."""

import jax
import jax.numpy as jnp

from collapse_jax.errors import SpecError
from collapse_jax.simulate.reflow_chain import drawn, union, work
from collapse_jax.simulate.reflow_fits import (
    Moments,
    bend,
    checked,
    endpoint,
    residual,
    sampled,
    slope,
    square,
    square_sums,
    trajectory,
)
from collapse_jax.simulate.regression_doors import at_once, averaged, program
from collapse_jax.simulate.wishart import bartlett, dot
from collapse_jax.specs.reflow import PLACES, TIMES, ReflowSpec, turned
from collapse_jax.trajectory import Trajectory

FITS = ("gain", "variance_ratio", "velocity", "matching_loss", "straightness")
LATENTS = ("latent_kept", "reversed_variance")
CONDITIONAL = ("conditional_velocity", "conditional_loss", "conditional_score")
_STEPS = 160  # of Runge and Kutta's rule
_SPAN = 36.0  # of the logarithm of the odds of t, on both sides of even


def _fit(spec, key):
    moments = sampled(spec, key)
    gain = endpoint(spec, moments)
    times = jnp.asarray(TIMES, gain.dtype)[:, None]
    return {
        "gain": gain,
        "variance_ratio": gain**2 * moments.first / moments.second,
        "velocity": slope(spec, Moments(*(value[None] for value in moments)), times),
        "matching_loss": residual(spec, moments),
        "straightness": bend(spec, moments),
    }


def _reverse(spec, key):
    """Latents that the reverse SDE finds for the fitted images, drawn from their law given the fit."""
    fit_key, draw_key = jax.random.split(key)
    moments, shape = sampled(spec, fit_key), spec.spectrum.shape
    width = 2 * _SPAN / _STEPS

    def rates(r, state):
        kept, spread, flowed = state
        t = jax.nn.sigmoid(r)
        dt = t * jax.nn.sigmoid(-r)
        v, noise = slope(spec, moments, t), spec.diffusion**2
        pull = v + noise / (2 * square(moments, t))  # the score of the Gaussian law of x_t
        return -pull * kept * dt, (noise - 2 * pull * spread) * dt, -v * flowed * dt

    def advance(state, r):
        # from t = 1 down: r falls
        def moved(share, slopes):
            return tuple(value + share * width * rate for value, rate in zip(state, slopes, strict=True))

        one = rates(r, state)
        two = rates(r - width / 2, moved(0.5, one))
        three = rates(r - width / 2, moved(0.5, two))
        four = rates(r - width, moved(1.0, three))
        slopes = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(one, two, three, four, strict=True)]
        return moved(1.0, slopes), None

    one, none = jnp.ones(shape, moments.second.dtype), jnp.zeros(shape, moments.second.dtype)
    starts = _SPAN - width * jnp.arange(_STEPS, dtype=moments.second.dtype)
    (kept, spread, flowed), _ = jax.lax.scan(advance, (one, none, one), starts)
    own, between, other = (value / spec.size for value in square_sums(draw_key, spec.size, shape, one.dtype))
    root, noise = jnp.sqrt(moments.second), jnp.sqrt(spread)
    product = kept * root * own + noise * between  # latent times image, per deviation of the image
    return {
        "latent_kept": product / (flowed * root * own),
        "reversed_variance": kept**2 * moments.second * own + 2 * kept * root * noise * between + spread * other,
    }


def _pairs(spec, key):
    moments = union(spec, jnp.sqrt(spec.variance), drawn(spec, key), spec.noise)
    return {"pair_correlation": moments.cross / jnp.sqrt(moments.first * moments.second)}


def _matrix_moments(spec, key, joint: bool):
    """Second moments ``E z z'``, ``E x x'``, ``E x z'`` of n pairs, [d, d] each."""
    size, dtype, start = spec.dimension, spec.spectrum.dtype, jnp.sqrt(spec.variance)[:, None] * turned(spec)
    if not joint:
        factor = bartlett(key, size, spec.size, dtype)
        moment = dot(factor, factor.T) / spec.size
        return moment, dot(dot(start, moment), start.T), dot(start, moment)
    factor = bartlett(key, 2 * size, spec.size, dtype)
    across = jnp.sqrt((1 - spec.correlation) * (1 + spec.correlation) * spec.variance)
    one, none = jnp.eye(size, dtype=dtype), jnp.zeros((size, size), dtype)
    makes = jnp.concatenate(
        [
            jnp.concatenate([jnp.sqrt(spec.latent_variance) * one, none], axis=1),
            jnp.concatenate([spec.correlation * start, jnp.diag(across)], axis=1),
        ]
    )
    rooted = dot(makes, factor)
    moment = dot(rooted, rooted.T) / spec.size
    return moment[:size, :size], moment[size:, size:], moment[size:, :size]


def matrix_velocity(moments, t):
    """Least squares of x - z on x_t in d dimensions, ``[d, d]``."""
    first, second, cross = moments
    product = t * second - (1 - t) * first + (1 - t) * cross - t * cross.T
    between = (1 - t) ** 2 * first + t * (1 - t) * (cross + cross.T) + t**2 * second
    return jnp.linalg.solve(between, product.T).T


def matrix_endpoint(spec, moments):
    """Endpoint map ``[d, d]`` of the fitted flow, by Euler steps or Runge and Kutta's."""
    one = jnp.eye(spec.dimension, dtype=spec.spectrum.dtype)
    count = spec.steps if spec.solver == "euler" else _STEPS
    width = 1 / count

    def advance(state, t):
        first = matrix_velocity(moments, t)
        if spec.solver == "euler":
            return state + width * dot(first, state), None
        middle, end = matrix_velocity(moments, t + width / 2), matrix_velocity(moments, t + width)
        a = dot(first, state)
        b = dot(middle, state + width / 2 * a)
        c = dot(middle, state + width / 2 * b)
        d = dot(end, state + width * c)
        return state + width / 6 * (a + 2 * b + 2 * c + d), None

    return jax.lax.scan(advance, one, jnp.arange(count, dtype=one.dtype) * width)[0]


def _covariance(spec, key):
    found = matrix_endpoint(spec, _matrix_moments(spec, key, joint=True))
    return {"endpoint_covariance": spec.latent_variance * dot(found, found.T)}


def _velocity_matrix(spec, key):
    moments = _matrix_moments(spec, key, joint=False)
    return {"velocity_matrix": jnp.stack([matrix_velocity(moments, t) for t in TIMES])}


_KINDS = {
    "fit": _fit,
    "reverse": _reverse,
    "pairs": _pairs,
    "covariance": _covariance,
    "velocity_matrix": _velocity_matrix,
}


@program(*("kind", "replicates", "samples", "batch"))
def _measured(spec, key, *, kind, replicates, samples, batch):
    return averaged(lambda key: _KINDS[kind](spec, key), key, replicates, samples, batch)


def _measure(kind, spec, generations, replicates, key, samples, numbers):
    sizes = checked(spec, generations, replicates, samples)
    del sizes["generations"]
    batch = at_once(numbers, spec.spectrum.dtype)
    values = _measured(spec, key, kind=kind, **sizes, batch=batch)
    return {name: trajectory(name, found, 100) for name, found in values.items()}


def single_fit(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Velocities fitted to sampled pairs (RF-4 to RF-6, RF-15, RF-18; derived); ``generations`` is not used.

    Returns:
        ``gain``, ``variance_ratio`` (its square over that of the sampled images), ``matching_loss``, ``straightness``
        ``[replicates, d]`` and ``velocity`` ``[replicates, times, d]``; means over ``samples`` fits.

    >>> single_fit(ReflowSpec([1.0], size=9), 1, 2, jax.random.key(0), samples=3)["velocity"].values.shape
    (2, 5, 1)
    """
    return _measure("fit", spec, generations, replicates, key, samples, spec.dimension * (4000 + work(spec)))


def reverse_sde(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """``latent_kept`` and ``reversed_variance`` ``[replicates, d]`` of a reverse SDE (RF-17; derived).

    >>> spec = ReflowSpec([1.0], size=9, diffusion=1.0)
    >>> reverse_sde(spec, 1, 2, jax.random.key(0), samples=3)["latent_kept"].values.shape
    (2, 1)
    """
    return _measure("reverse", spec, generations, replicates, key, samples, 100 * spec.dimension)


def pair_correlation(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int):
    """``pair_correlation`` ``[replicates, d]`` of the union of both kinds of pairs (RF-16; derived).

    >>> pair_correlation(ReflowSpec([1.0], size=9), 1, 2, jax.random.key(0), samples=3)["pair_correlation"].values.shape
    (2, 1)
    """
    return _measure("pairs", spec, generations, replicates, key, samples, 100 * spec.dimension)


def _enough(spec: ReflowSpec, wanted: int) -> None:
    if float(spec.size) < wanted:
        raise SpecError(f"size must be at least {wanted} for fits in d = {spec.dimension}, got {float(spec.size):g}.")


def endpoint_covariance(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int):
    """``endpoint_covariance`` ``[replicates, d, d]``: turned and noisy pairs, maps in d dimensions (RF-4; derived).

    Raises:
        SpecError: fewer than 2 d pairs, or solver heun.

    >>> seen = endpoint_covariance(ReflowSpec([1.0, 2.0], size=9), 1, 2, jax.random.key(0), samples=3)
    >>> seen["endpoint_covariance"].values.shape
    (2, 2, 2)
    """
    _known_solver(spec)
    _enough(spec, 2 * spec.dimension)
    return _measure("covariance", spec, generations, replicates, key, samples, 100 * spec.dimension**2)


def velocity_matrix(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int):
    """``velocity_matrix`` ``[replicates, times, d, d]``: least squares on pairs (z, A z) (RF-9; derived).

    Raises:
        SpecError: fewer than d pairs.

    >>> seen = velocity_matrix(ReflowSpec([1.0, 2.0], size=9), 1, 2, jax.random.key(0), samples=3)
    >>> seen["velocity_matrix"].values.shape
    (2, 5, 2, 2)
    """
    _enough(spec, spec.dimension)
    return _measure("velocity_matrix", spec, generations, replicates, key, samples, 100 * spec.dimension**2)


def _known_solver(spec: ReflowSpec) -> None:
    if spec.solver == "heun":
        raise SpecError("solver must be exact or euler for maps in d dimensions, got 'heun'.")


@program(*("generations", "replicates", "samples", "batch"))
def _gain_matrix(spec, key, *, generations, replicates, samples, batch):
    def advance(state, key):
        factor = bartlett(key, spec.dimension, spec.size, spec.spectrum.dtype)
        moment = dot(factor, factor.T) / spec.size
        state = matrix_endpoint(spec, (moment, dot(dot(state, moment), state.T), dot(state, moment)))
        return state, state

    def one(key):
        start = jnp.sqrt(spec.variance)[:, None] * turned(spec)
        values = jax.lax.scan(advance, start, jax.random.split(key, generations))[1]
        return jnp.concatenate([start[None], values])

    return averaged(one, key, replicates, samples, batch)


def gain_matrix(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """``gain_matrix`` ``[replicates, generations + 1, d, d]`` along a chain of pure Reflow (RF-9; derived).

    Raises:
        SpecError: fewer than d pairs, or solver heun.

    >>> spec = ReflowSpec([1.0, 2.0], size=9, solver="euler", steps=1)
    >>> gain_matrix(spec, 3, 2, jax.random.key(0), samples=1)["gain_matrix"].values.shape
    (2, 4, 2, 2)
    """
    sizes = checked(spec, generations, replicates, samples)
    _known_solver(spec)
    _enough(spec, spec.dimension)
    batch = at_once(spec.dimension**2 * (100 + generations), spec.spectrum.dtype)
    values = _gain_matrix(spec, key, **sizes, batch=batch)
    # few pairs are nearly dependent now and then, and rounding grows with that
    floor = 1e3 * generations * float(jnp.finfo(values.dtype).eps) * float(jnp.max(jnp.abs(values[:, 0])))
    return {"gain_matrix": Trajectory(values, floor, observable="gain_matrix")}


@program(*("size", "replicates", "samples", "batch"))
def _conditional(spec, key, *, size, replicates, samples, batch):
    dtype, shape, scale = spec.spectrum.dtype, (size, spec.dimension), jnp.sqrt(spec.variance)
    within = jnp.sqrt((1 - spec.separation) * (1 + spec.separation))

    def one(key):
        mode_key, point_key = jax.random.split(key)
        side, inner = jax.random.rademacher(mode_key, shape, dtype), jax.random.normal(point_key, shape, dtype)
        points = (spec.separation * side + within * inner) * scale[None]

        def at(t):
            places = jnp.asarray(PLACES, dtype)[:, None] * jnp.sqrt((1 - t) ** 2 + t**2 * spec.variance)[None]

            def seen(place):
                z = (place[None] - t * points) / (1 - t)
                weight = jnp.exp(-(z**2) / 2)
                weight = weight / jnp.sum(weight, axis=0)[None]
                mean = jnp.sum(weight * (points - z), axis=0)
                loss = jnp.sum(weight * (points - z - mean[None]) ** 2, axis=0)
                return mean, loss, -jnp.sum(weight * z, axis=0) / (1 - t)

            return jax.lax.map(seen, places)

        return dict(zip(CONDITIONAL, jax.lax.map(at, jnp.asarray(TIMES, dtype)), strict=True))

    return averaged(one, key, replicates, samples, batch)


def conditional(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Velocity, loss and score given the place, from sampled data of two modes (RF-3; derived).

    A sampled image x meets the place X at time t with the weight of the noise ``z = (X - t x)/(1 - t)``; weighted means
    over the images are conditional expectations, without a model.

    Returns:
        ``conditional_velocity`` [data], ``conditional_loss`` [data^2], ``conditional_score`` [1/data], ``[replicates,
        times, places, d]``; means over ``samples`` sets of n images.

    >>> seen = conditional(ReflowSpec([1.0], size=9), 1, 2, jax.random.key(0), samples=3)
    >>> seen["conditional_score"].values.shape
    (2, 5, 4, 1)
    """
    sizes = checked(spec, generations, replicates, samples)
    del sizes["generations"]
    size = int(float(spec.size))
    batch = at_once(8 * size * spec.dimension, spec.spectrum.dtype)
    values = _conditional(spec, key, size=size, **sizes, batch=batch)
    return {name: trajectory(name, found, 100) for name, found in values.items()}
