"""Linear velocities fitted by least squares at every t, and their integration, from second moments of the pairs.

At each t the fit in one direction is the slope of x - z on x_t, a ratio of two quadratic forms in the second moments of
the sampled pairs: all that a fit needs of them. Nothing here knows what the slopes add up to.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.simulate.regression_chain import chi_squares
from collapse_jax.specs.ground import concrete, whole_number
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.trajectory import Trajectory

_TRIES = 10
_NODES = np.linspace(-40, 40, 257)  # of log(t/(1-t)): the trapezoid is exact to rounding for what decays at both ends
_CLOSE = np.linspace(-40, 40, 641)  # for cumulative integrals, by Simpson's rule


class Moments(NamedTuple):
    """Second moments of pairs: ``E z^2``, ``E x^2``, ``E z x``, any one shape."""

    first: Any
    second: Any
    cross: Any


def checked(spec, generations, replicates, samples) -> dict[str, int]:
    """The sizes, if the spec is one chain whose fields are known.

    Raises:
        SpecError: names the argument, what was found and the requirement.
    """
    if not isinstance(spec, ReflowSpec):
        raise SpecError(f"spec must be a ReflowSpec, got {type(spec).__name__}: build one with ReflowSpec(...).")
    if not all(concrete(leaf) for leaf in jax.tree.leaves(spec)):
        raise SpecError("spec must be known when a flow is measured, got traced fields: measure outside of jit.")
    if jnp.ndim(spec.spectrum) != 1 or jnp.ndim(spec.size) != 0:
        raise SpecError(f"spectrum must have one axis here, got shape {jnp.shape(spec.spectrum)}: measure one spec.")
    for name in ("real_fraction", "real_pairs"):
        rows = float(getattr(spec, name)) * float(spec.size)
        if abs(rows - round(rows)) > 1e-3 * max(1.0, 1e-3 * rows):
            raise SpecError(
                f"{name} must make a whole number of the size, got {float(getattr(spec, name)):g} of "
                f"{float(spec.size):g}: choose sizes that fit."
            )
    given = {"generations": generations, "replicates": replicates, "samples": samples}
    return {name: whole_number(name, value) for name, value in given.items()}


def trajectory(name: str, values, rounds: int = 1) -> Trajectory:
    """A trajectory whose resolution is the rounding of its own values, more of it after more rounds."""
    floor = (64 + 4 * rounds) * float(jnp.finfo(values.dtype).eps)
    return Trajectory(values, floor * jnp.max(jnp.abs(values), axis=0), observable=name)


def square_sums(key, rows, shape, dtype):
    """Sums over ``rows`` points of w^2, w e and e^2, w and e independent and standard normal; each of ``shape``."""
    normal_key, level_key = jax.random.split(key)
    normal = jax.random.normal(normal_key, (2, *shape, _TRIES + 2), dtype)
    levels = jax.random.uniform(level_key, (2, *shape, _TRIES), dtype, minval=float(jnp.finfo(dtype).tiny))
    rows = jnp.broadcast_to(jnp.asarray(rows, dtype), shape)
    freedom = jnp.stack([rows, jnp.maximum(rows - 1, 0)])
    own, other = chi_squares(freedom, normal[..., 1:], levels)
    between = jnp.where(rows >= 1, normal[0, ..., 0], 0)
    return own, jnp.sqrt(own) * between, between**2 + other


def squares(key, rows, shape, dtype):
    """Sums of squares of ``rows`` standard normal numbers, of ``shape``: the first of ``square_sums``."""
    normal_key, level_key = jax.random.split(key)
    normal = jax.random.normal(normal_key, (*shape, _TRIES + 1), dtype)
    levels = jax.random.uniform(level_key, (*shape, _TRIES), dtype, minval=float(jnp.finfo(dtype).tiny))
    return chi_squares(jnp.broadcast_to(jnp.asarray(rows, dtype), shape), normal, levels)


def slope(spec: ReflowSpec, moments: Moments, t):
    """Slope of x - z on x_t by least squares (with the spec's ridge)."""
    first, second, cross = moments
    target = t * second - (1 - t) * first + (1 - 2 * t) * cross
    return target / (square(moments, t) + spec.ridge)


def square(moments: Moments, t):
    """``E x_t^2``."""
    first, second, cross = moments
    return (1 - t) ** 2 * first + 2 * t * (1 - t) * cross + t**2 * second


def product(moments: Moments, s, t):
    """``E x_s x_t``."""
    first, second, cross = moments
    return (1 - s) * (1 - t) * first + ((1 - s) * t + s * (1 - t)) * cross + s * t * second


def step_times(spec: ReflowSpec, moments: Moments):
    """``[..., N + 1]``: the times of the steps; those of equal angles depend on the fitted pairs."""
    dtype = moments.second.dtype
    share = jnp.broadcast_to(jnp.linspace(0, 1, spec.steps + 1, dtype=dtype), (*moments.second.shape, spec.steps + 1))
    if spec.grid == "uniform":
        return share
    ratio = jnp.sqrt(moments.second / moments.first)[..., None]
    cosine = moments.cross / jnp.sqrt(moments.first * moments.second)
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))[..., None]
    before, after = jnp.sin(share * angle), ratio * jnp.sin((1 - share) * angle)
    straight = angle < 1e-3  # no angle is left to divide: any grid serves
    return jnp.where(straight, share, before / jnp.where(straight, 1, before + after))


def log_odds(dtype, nodes=_NODES):
    """Times ``1/(1 + e^-r)`` at equal steps of r, and ``dt`` at each."""
    r = jnp.asarray(nodes, dtype)
    t = jax.nn.sigmoid(r)
    return t, t * jax.nn.sigmoid(-r) * float(nodes[1] - nodes[0])


def endpoint(spec: ReflowSpec, moments: Moments):
    """Gain of the fitted flow from t = 0 to 1 by the spec's solver.

    Exact integration is to rounding for gains between 1e-4 and 1e4; near t = 1 far smaller ones lose digits of 1 - t.
    """
    wide = Moments(*(jnp.broadcast_to(value, moments.second.shape)[..., None] for value in moments))
    if spec.solver == "exact":
        # dX/dt = v X: its logarithm is an integral of slopes
        t, weight = (row.reshape((1,) * moments.second.ndim + (-1,)) for row in log_odds(moments.second.dtype))
        return jnp.exp(jnp.sum(weight * slope(spec, wide, t), axis=-1))
    given = Moments(*(jnp.broadcast_to(value, moments.second.shape) for value in moments))
    t = step_times(spec, given)
    width, before, after = jnp.diff(t), t[..., :-1], t[..., 1:]
    if spec.solver == "euler":
        # x_t + h (x - z) is x at the next time: 1 + h v is its slope on x_t, and nothing cancels
        return jnp.prod((product(wide, before, after) + spec.ridge) / (square(wide, before) + spec.ridge), axis=-1)
    now, then = slope(spec, wide, before), slope(spec, wide, after)
    return jnp.prod(1 + width / 2 * (now + then * (1 + width * now)), axis=-1)


def residual(spec: ReflowSpec, moments: Moments):
    """Flow-matching loss of the fitted slopes, integrated over t."""
    wide = Moments(*(value[..., None] for value in moments))
    t, weight = (row.reshape((1,) * moments.second.ndim + (-1,)) for row in log_odds(moments.second.dtype))
    # x - z less v x_t, squared
    fitted = slope(spec, wide, t)
    first, second, cross = wide
    target = t * second - (1 - t) * first + (1 - 2 * t) * cross
    loss = (first - 2 * cross + second) - 2 * fitted * target + fitted**2 * square(wide, t)
    return jnp.sum(weight * loss, axis=-1)


def bend(spec: ReflowSpec, moments: Moments):
    """``int E |v - (X_1 - X_0)|^2 dt`` along the paths of the fitted flow."""
    wide = Moments(*(value[..., None] for value in moments))
    shape = (1,) * moments.second.ndim + (-1,)
    t, weight = (row.reshape(shape) for row in log_odds(moments.second.dtype, _CLOSE))
    speed = weight * slope(spec, wide, t)
    left, middle, right = speed[..., :-2:2], speed[..., 1:-1:2], speed[..., 2::2]
    grown = jnp.cumsum((left + 4 * middle + right) / 3, axis=-1)
    gain = jnp.exp(jnp.concatenate([jnp.zeros_like(grown[..., :1]), grown], axis=-1))
    at, width = t[..., ::2], 2 * weight[..., ::2]
    off = slope(spec, wide, at) * gain - (gain[..., -1:] - 1)
    return moments.first * jnp.sum(width * off**2, axis=-1)


def sampled(spec: ReflowSpec, key) -> Moments:
    """Second moments of n sampled pairs of a single fit, ``[d]`` each; with independent coupling z is known."""
    shape, dtype = spec.spectrum.shape, spec.spectrum.dtype
    own, between, other = (value / spec.size for value in square_sums(key, spec.size, shape, dtype))
    scale, rho = jnp.sqrt(spec.variance), spec.correlation
    if spec.coupling == "independent":
        return Moments(jnp.broadcast_to(spec.latent_variance, shape), spec.variance * own, jnp.zeros(shape, dtype))
    root, across = jnp.sqrt(spec.latent_variance), jnp.sqrt((1 - rho) * (1 + rho))
    second = spec.variance * (rho**2 * own + 2 * rho * across * between + across**2 * other)
    return Moments(spec.latent_variance * own, second, root * scale * (rho * own + across * between))
