"""What networks are trained to do: rectified flows, VP diffusion models and denoising autoencoders, as free functions.

A *rectified flow* joins noise z at t = 0 to data x_1 at t = 1 by x_t = (1 - t) z + t x_1 and regresses
v(t, x_t) on x_1 - z. Which z belongs to which x_1, the coupling, is up to the pairs: drawn apart, or made by a flow.

A *VP diffusion* dX = -rate X dt + sqrt(2 rate) dW takes data x_0 to x_t = a x_0 + s e with a = exp(-rate t),
s^2 = 1 - a^2. A network predicts e (epsilon) or v = a e - s x_0; both say the same,
e = a v + s x_t, x_0 = a x_t - s v, and the score of x_t is -E[e | x_t] / s. Times run from the truncation, where the
reverse process will stop, to the horizon. The network is told the *level* 2/pi arctan(s / a) in [0, 1], the angle
between data and noise: times of training are uniform in it, which is uniform in sqrt(t) where t is small.

A *denoiser* D(y, sigma) = E[x | x + sigma e = y] is told the flow time 1 / (1 + sigma) at which a flow with independent
pairs has that ratio of noise to data (RF-3; derived); ``denoiser`` makes one of such a flow.

All losses are means over points *and coordinates*; ``..._errors`` give one number for each point, the mean over its
coordinates. Objectives have the form ``loss(model, key, batch, ...) -> scalar`` that ``training.train`` takes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

HORIZON = 6.0
"""Default time at which a VP diffusion starts backwards; exp(-6) = 0.0025 of the data is left there."""


class Points(NamedTuple):
    """A batch (or a set) of data points.

    Attributes:
        data: ``[n, ...]``.
        cond: whole numbers ``[n]``, the classes, or None.
    """

    data: Any
    cond: Any = None


class Pairs(NamedTuple):
    """A batch (or a set) of pairs of noise and data.

    Attributes:
        noise: z ``[n, ...]``, flow time 0.
        data: x_1 ``[n, ...]``, flow time 1.
        cond: whole numbers ``[n]``, the classes, or None.
    """

    noise: Any
    data: Any
    cond: Any = None


def over(values: Float[Array, " n"], like: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """One number for each point ``[n]``, with axes of length 1 to multiply ``like`` ``[n, ...]``."""
    return values.reshape(-1, *(1,) * (like.ndim - 1)).astype(like.dtype)


def mean_square(values: Float[Array, "n ..."]) -> Float[Array, " n"]:
    """Mean square over the coordinates of each point.

    >>> mean_square(jnp.array([[3.0, 1.0]])).tolist()
    [5.0]
    """
    return jnp.mean(values**2, axis=tuple(range(1, values.ndim)))


def interpolate(t: Float[Array, " n"], noise: Float[Array, "n ..."], data: Float[Array, "n ..."]):
    """x_t = (1 - t) z + t x_1 (RF-3; derived).

    >>> interpolate(jnp.array([0.25]), jnp.array([[0.0]]), jnp.array([[4.0]])).tolist()
    [[1.0]]
    """
    t = over(t, data)
    return (1 - t) * noise + t * data


def rectified_flow_errors(velocity: Callable, t: Float[Array, " n"], pairs: Pairs) -> Float[Array, " n"]:
    """Mean over the coordinates of (v(t, x_t) - (x_1 - z))^2, for each pair; in data^2.

    Args:
        velocity: ``(t, x, cond) -> v``.
        t: flow times in [0, 1].
        pairs: noise, data and classes.

    >>> pairs = Pairs(jnp.zeros((1, 2)), jnp.ones((1, 2)))
    >>> rectified_flow_errors(lambda t, x, cond: 0 * x, jnp.array([0.5]), pairs).tolist()
    [1.0]
    """
    noise, data, cond = pairs
    return mean_square(velocity(t, interpolate(t, noise, data), cond) - (data - noise))


def rectified_flow_loss(velocity: Callable, key: PRNGKeyArray, pairs: Pairs) -> Float[Array, ""]:
    """Mean of ``rectified_flow_errors`` over pairs, t uniform in [0, 1].

    >>> pairs = Pairs(jnp.zeros((8, 2)), jnp.ones((8, 2)))
    >>> float(rectified_flow_loss(lambda t, x, cond: jnp.ones_like(x), jax.random.key(0), pairs))
    0.0
    """
    t = jax.random.uniform(key, (pairs.data.shape[0],), pairs.data.dtype)
    return jnp.mean(rectified_flow_errors(velocity, t, pairs))


def independent_flow_loss(velocity: Callable, key: PRNGKeyArray, points: Points) -> Float[Array, ""]:
    """``rectified_flow_loss`` with fresh noise N(0, I) for every point: the first rectification.

    >>> points = Points(jnp.zeros((8, 2)))
    >>> float(independent_flow_loss(lambda t, x, cond: -x / (1 - t[:, None]), jax.random.key(0), points)) < 1e-10
    True
    """
    noise_key, key = jax.random.split(key)
    noise = jax.random.normal(noise_key, points.data.shape, points.data.dtype)
    return rectified_flow_loss(velocity, key, Pairs(noise, *points))


def denoiser(velocity: Callable) -> Callable:
    """The denoiser ``(t, x, cond) -> E[x_1 | x_t = x]`` of a flow: x + (1 - t) v, any coupling.

    >>> float(denoiser(lambda t, x, cond: 2 * x)(jnp.array([0.5]), jnp.array([[1.0]]), None)[0, 0])
    2.0
    """
    return lambda t, x, cond=None: x + over(1 - t, x) * velocity(t, x, cond)


def flow_score(velocity: Callable) -> Callable:
    """The score ``(t, x, cond) -> (t v - x) / (1 - t)`` of x_t for independent noise N(0, I) (RF-3; derived), t < 1.

    After Reflow the pairs are not independent and this is not the score.

    >>> float(flow_score(lambda t, x, cond: 0 * x)(jnp.array([0.5]), jnp.array([[1.0]]), None)[0, 0])
    -2.0
    """
    return lambda t, x, cond=None: (over(t, x) * velocity(t, x, cond) - x) / over(1 - t, x)


def vp_scales(t, rate: Any = 1.0):
    """(a, s) at VP time t: a = exp(-rate t) of the data and noise of standard deviation s, s^2 = 1 - a^2.

    >>> a, s = vp_scales(jnp.array(0.1))
    >>> round(float(a), 4), round(float(s), 4)
    (0.9048, 0.4258)
    """
    t = jnp.asarray(t)
    rate = jnp.asarray(rate, t.dtype)
    return jnp.exp(-rate * t), jnp.sqrt(-jnp.expm1(-2 * rate * t))


def level(t, rate: Any = 1.0):
    """2/pi arctan(s / a) in [0, 1): what a diffusion network is told of the VP time t.

    >>> float(level(0.0)), round(float(level(6.0)), 3)
    (0.0, 0.998)
    """
    a, s = vp_scales(t, rate)
    return 2 / jnp.pi * jnp.arctan2(s, a)


def time_at(level, rate: Any = 1.0):
    """The VP time of a level in [0, 1): -log cos(pi/2 level) / rate.

    >>> round(float(time_at(level(0.05))), 5)
    0.05
    """
    level = jnp.asarray(level)
    # 1 - cos^2 without loss where the level is small
    return -jnp.log1p(-(jnp.sin(jnp.pi / 2 * level) ** 2)) / (2 * jnp.asarray(rate, level.dtype))


def draw_times(key: PRNGKeyArray, count: int, truncation, horizon: Any = HORIZON, rate: Any = 1.0, dtype=jnp.float32):
    """``[count]`` VP times between truncation and horizon, uniform in their level.

    >>> t = draw_times(jax.random.key(0), 100, 0.05)
    >>> bool(t.min() >= 0.05 - 1e-6), bool(t.max() <= 6.0 + 1e-3)
    (True, True)
    """
    least, most = (level(jnp.asarray(end, dtype), rate) for end in (truncation, horizon))
    return time_at(least + (most - least) * jax.random.uniform(key, (count,), dtype), rate)


def diffuse(t: Float[Array, " n"], noise: Float[Array, "n ..."], data: Float[Array, "n ..."], rate: Any = 1.0):
    """x_t = a x_0 + s e of the VP diffusion.

    >>> diffuse(jnp.array([0.0]), jnp.array([[5.0]]), jnp.array([[1.0]])).tolist()
    [[1.0]]
    """
    a, s = vp_scales(t, rate)
    return over(a, data) * data + over(s, data) * noise


def epsilon_errors(
    model: Callable, t: Float[Array, " n"], noise: Float[Array, "n ..."], points: Points, rate: Any = 1.0
) -> Float[Array, " n"]:
    """Mean over the coordinates of (model(level, x_t) - e)^2, for each point.

    Args:
        model: ``(level, x, cond) -> e``.
        t: VP times > 0.
        noise: e ``[n, ...]``, drawn from N(0, I).
        points: data and classes.
        rate: of the diffusion [1 / time].
    """
    return mean_square(model(level(t, rate), diffuse(t, noise, points.data, rate), points.cond) - noise)


def v_errors(
    model: Callable, t: Float[Array, " n"], noise: Float[Array, "n ..."], points: Points, rate: Any = 1.0
) -> Float[Array, " n"]:
    """Mean over the coordinates of (model(level, x_t) - (a e - s x_0))^2; arguments as in ``epsilon_errors``."""
    a, s = (over(scale, points.data) for scale in vp_scales(t, rate))
    made = model(level(t, rate), diffuse(t, noise, points.data, rate), points.cond)
    return mean_square(made - (a * noise - s * points.data))


def _vp_loss(errors, model, key, points: Points, truncation, horizon, rate):
    time_key, noise_key = jax.random.split(key)
    data = points.data
    t = draw_times(time_key, data.shape[0], truncation, horizon, rate, data.dtype)
    return jnp.mean(errors(model, t, jax.random.normal(noise_key, data.shape, data.dtype), points, rate))


def epsilon_loss(
    model: Callable, key: PRNGKeyArray, points: Points, truncation, horizon: Any = HORIZON, rate: Any = 1.0
):
    """Mean of ``epsilon_errors`` over points and noise, times drawn by ``draw_times``.

    Args:
        model: ``(level, x, cond) -> e``.
        key: draws times and noise.
        points: data and classes.
        truncation, horizon: least and largest VP time, 0 < truncation < horizon.
        rate: of the diffusion [1 / time].

    >>> points = Points(jnp.zeros((400, 3)))
    >>> loss = epsilon_loss(lambda level, x, cond: 0 * x, jax.random.key(0), points, 0.05)
    >>> bool(abs(loss - 1) < 0.2)  # E e^2 = 1
    True
    """
    return _vp_loss(epsilon_errors, model, key, points, truncation, horizon, rate)


def v_loss(
    model: Callable, key: PRNGKeyArray, points: Points, truncation, horizon: Any = HORIZON, rate: Any = 1.0
) -> Float[Array, ""]:
    """Mean of ``v_errors`` over points and noise; arguments as in ``epsilon_loss``.

    >>> points = Points(jnp.zeros((400, 3)))
    >>> v_loss(lambda level, x, cond: 0 * x, jax.random.key(0), points, 0.05).shape
    ()
    """
    return _vp_loss(v_errors, model, key, points, truncation, horizon, rate)


def epsilon_of(v_model: Callable) -> Callable:
    """The epsilon model ``(level, x, cond) -> a v + s x`` of a v model.

    >>> float(epsilon_of(lambda u, x, cond: 0 * x)(jnp.array([1.0]), jnp.array([[2.0]]))[0, 0])
    2.0
    """

    def epsilon(u, x, cond=None):
        angle = jnp.pi / 2 * u
        return over(jnp.cos(angle), x) * v_model(u, x, cond) + over(jnp.sin(angle), x) * x

    return epsilon


def denoising_errors(
    model: Callable, noise_std: Float[Array, " n"], noise: Float[Array, "n ..."], points: Points
) -> Float[Array, " n"]:
    """Mean over the coordinates of (D(x + sigma e) - x)^2, for each point; in data^2.

    Args:
        model: ``(t, y, cond) -> D``, told t = 1 / (1 + sigma).
        noise_std: sigma >= 0 of each point, in data units.
        noise: e ``[n, ...]``, drawn from N(0, I).
        points: data and classes.
    """
    noisy = points.data + over(noise_std, points.data) * noise
    return mean_square(model(1 / (1 + noise_std), noisy, points.cond) - points.data)


def denoising_loss(model: Callable, key: PRNGKeyArray, points: Points, noise_std) -> Float[Array, ""]:
    """Mean of ``denoising_errors`` over points and noise: a denoising autoencoder at one noise level (DAE-3; derived).

    Args:
        model: ``(t, y, cond) -> D``.
        key: draws the noise.
        points: data and classes.
        noise_std: sigma >= 0, a number, in data units.

    >>> float(denoising_loss(lambda t, y, cond: y, jax.random.key(0), Points(jnp.ones((4, 2))), 0.0))
    0.0
    """
    data = points.data
    noise = jax.random.normal(key, data.shape, data.dtype)
    levels = jnp.full((data.shape[0],), noise_std, data.dtype)
    return jnp.mean(denoising_errors(model, levels, noise, points))
