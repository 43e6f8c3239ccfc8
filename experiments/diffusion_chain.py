"""A trained diffusion model retrained for rounds on its own truncated output: one chain, and what is seen of it.

Each round a network starts anew, learns the pool by v prediction between the truncation and the horizon, and carries
noise back to the truncation along the probability flow. The pool of the next round is a share of fresh real points and
generated ones for the rest, or the first real sample and all that was generated so far. The truncation is handed to the
objective as an argument and to the sampler as the end of its grid, so that a schedule of truncations compiles one
program.

Gains are ratios of means: for order m the sum over the multi-indices |n| = m of c_n c_n* over that of c_n*^2, or the
mean of he_m(w.X) along one unit vector w over the real one. Their expectation is linear in the law, so SP-6 and SP-7
give it exactly for an ideal model, whatever the size of the pool.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from collapse_jax.distributed import everywhere
from collapse_jax.generative.flows import HORIZON, Points, diffuse, draw_times, epsilon_of, level, v_loss
from collapse_jax.generative.networks import MLP, fresh
from collapse_jax.generative.samplers import diffuse_back, heun, probability_flow, vp_grid
from collapse_jax.generative.training import adam, averaged, begin, train
from collapse_jax.metrics.hermite import indices, of_samples_multi
from collapse_jax.recursion.retraining import retrain


def single(key):
    """The same key inside ``jax.enable_x64(False)``: networks are trained in single precision."""
    return jax.random.wrap_key_data(jnp.asarray(np.asarray(jax.random.key_data(key))))


def learned(settings, key, points, truncation, weights=None):
    """A network trained on points ``[n, d]`` from a fresh start: ``(graph, parameters)``, the averaged ones.

    Points are drawn by ``weights`` ``[n]``, None: all alike.
    """
    start_key, train_key = jax.random.split(key)
    graph, parameters = fresh(start_key, MLP, points.shape[1], width=settings.width, depth=settings.depth)
    optimizer = adam(settings.learning_rate, settings.steps)
    done = train(
        graph,
        begin(parameters, optimizer),
        train_key,
        Points(points),
        v_loss,
        optimizer,
        steps=settings.steps,
        batch=settings.batch,
        weights=weights,
        arguments=(jnp.asarray(truncation, points.dtype),),
        dispatch=settings.dispatch,
        decay=settings.decay,
        mesh=everywhere(settings.batch),
    )
    return graph, averaged(done.state)


def generated(settings, key, graph, parameters, count: int, dimension: int, truncation):
    """``[count, d]`` points carried from noise at the horizon back to the truncation."""
    start_key, key = jax.random.split(key)
    start = jax.random.normal(start_key, (count, dimension), jnp.float32)
    grid = vp_grid(settings.sampler_steps, truncation)
    return diffuse_back(
        graph, parameters, key, start, grid, solver="heun", prediction=epsilon_of, mesh=everywhere(settings.batch)
    )


def exact_epsilon(law) -> Callable:
    """The epsilon model ``(level, x, cond)`` of data of a known mixture: -s times the score of ``a X + s Z``."""

    def one(u, x):
        angle = jnp.pi / 2 * u
        noise = jnp.sin(angle)
        return -noise * law.smooth(jnp.cos(angle), noise**2).score(x[None])[0]

    return lambda u, x, cond=None: jax.vmap(one)(u, x)


def exact_output(settings, key, law, count: int, truncation):
    """What the sampler makes of the exact score of the data: the error of its steps, without that of training."""

    @jax.jit
    def run(start, grid):
        return heun(probability_flow(exact_epsilon(law)), start, grid)

    start = jax.random.normal(key, (count, law.dimension), jnp.float32)
    return run(start, vp_grid(settings.sampler_steps, truncation))


def score_error(key, graph, parameters, law, points, truncation):
    """Mean square of (learned - exact) epsilon over noisy data and coordinates, times as in training."""
    time_key, noise_key = jax.random.split(key)
    t = draw_times(time_key, points.shape[0], truncation, HORIZON, 1.0, points.dtype)
    noisy = diffuse(t, jax.random.normal(noise_key, points.shape, points.dtype), points)
    found = epsilon_of(nnx.merge(graph, parameters))(level(t), noisy)
    return jnp.mean((found - exact_epsilon(law)(level(t), noisy)) ** 2)


def gains(coefficients, real, dimension: int, orders) -> np.ndarray:
    """Gain of each order over the real coefficients: both over ``hermite.indices(d, most)``, in its order."""
    total = indices(dimension, max(orders)).sum(axis=1)
    coefficients, real = np.asarray(coefficients, float), np.asarray(real, float)
    return np.array([coefficients[total == m] @ real[total == m] / np.sum(real[total == m] ** 2) for m in orders])


def projected(coefficients, unit, order: int) -> float:
    """E he_m(w.X) of a unit vector w ``[d]`` from coefficients over ``hermite.indices(d, at least m)``.

    he_m(w.x) is the sum over |n| = m of sqrt(m! / n!) w^n he_n(x).

    >>> round(projected([1.0, 0.0, 0.0, 1.0, 0.5, 2.0], np.array([0.6, 0.8]), 2), 4)
    1.9794
    """
    unit = np.asarray(unit, float)
    which = indices(len(unit), order)
    places = np.flatnonzero(which.sum(axis=1) == order)
    counts = np.array([math.factorial(order) / math.prod(map(math.factorial, row)) for row in which[places].tolist()])
    return float(np.sum(np.sqrt(counts) * np.prod(unit ** which[places], axis=1) * np.asarray(coefficients)[places]))


def directions(real, dimension: int, orders, tried: int = 200) -> np.ndarray:
    """For each order the unit vector ``[d]``, of some drawn once for all, along which the real law has most of it."""
    drawn = np.random.default_rng(0).normal(size=(tried, dimension))
    units = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return np.stack([units[np.argmax([abs(projected(real, unit, m)) for unit in units])] for m in orders])


def coefficients(points, order: int) -> np.ndarray:
    """Hermite coefficients of points ``[n, d]`` over ``hermite.indices(d, order)``."""
    return np.asarray(of_samples_multi(points, order)[1], float)


def equal_parts(filled: int, parts: int, size: int) -> np.ndarray:
    """Weights of a pool with room for ``parts`` parts of ``size`` places, the first ``filled`` of them filled.

    >>> equal_parts(2, 3, 2).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    return np.repeat(np.where(np.arange(parts) < filled, 1.0, 0.0), size)


def chain(
    settings,
    key,
    draw: Callable,
    real,
    *,
    share: float | None,
    truncations,
    orders,
    size: int,
    law: Any = None,
    folder=None,
    named: Mapping[str, Any] | None = None,
    report: Callable | None = None,
) -> dict[str, np.ndarray]:
    """One chain of ``len(truncations)`` rounds.

    Args:
        settings: sizes of network, training and sampler.
        key: of everything drawn.
        draw: ``(key, count) -> [count, d]`` fresh real points.
        real: coefficients of the real law over ``hermite.indices(d, max(orders))``.
        share: real share of every pool; None: pools keep the real sample and every output, in equal parts.
        truncations: one for each round.
        orders: Hermite orders of the gains.
        size: points of a pool, or of each of its parts, and generated in a round.
        law: the data law if it is known, a mixture in single precision: round 1 is held against its score.
        folder, named, report: of ``retrain``: checkpoints, what they are made with, progress.

    Returns:
        By round from 0, the real sample: ``gain`` ``[rounds + 1, orders]``, ``along``, those along the ``directions``
        of the real law, ``second`` ``[rounds + 1, d, d]``, ``score_error`` ``[rounds + 1]`` of round 1 (0 before, and
        if no law is given).
    """

    def generation(number, key, state, folder):
        real_key, learn_key, made_key, error_key = jax.random.split(key, 4)
        truncation, error, weights = float(truncations[number - 1]), state["score_error"], None
        if share is None:
            pool = jax.lax.dynamic_update_slice_in_dim(state["pool"], state["points"], (number - 1) * size, 0)
            weights = equal_parts(number, len(truncations), size)
        else:
            kept = round(share * size)
            pool = jnp.concatenate([draw(real_key, kept), state["points"][: size - kept]])
        graph, parameters = learned(settings, learn_key, pool, truncation, weights)
        if number == 1 and law is not None:
            unseen_key, error_key = jax.random.split(error_key)
            error = score_error(error_key, graph, parameters, law, draw(unseen_key, size), truncation)
        made = generated(settings, made_key, graph, parameters, size, pool.shape[1], truncation)
        return {"points": made, "score_error": error} | ({"pool": pool} if share is None else {})

    def observe(number, key, state):
        points = state["points"]
        second = np.asarray(points, float).T @ np.asarray(points, float) / len(points)
        found = coefficients(points, max(orders))
        gain = gains(found, real, points.shape[1], orders)
        along = [projected(found, unit, m) / base for unit, m, base in zip(units, orders, bases, strict=True)]
        return {"gain": gain, "along": np.array(along), "second": second, "score_error": state["score_error"]}

    first_key, key = jax.random.split(key)
    first = draw(first_key, size)
    units = directions(real, first.shape[1], orders)
    bases = [projected(real, unit, m) for unit, m in zip(units, orders, strict=True)]
    start = {"points": first, "score_error": jnp.zeros((), jnp.float32)}
    if share is None:
        # room for every part from the start: a pool that grew would compile a program in every round
        start["pool"] = jnp.zeros((len(truncations) * size, first.shape[1]), first.dtype)
    return retrain(
        generation,
        start,
        len(truncations),
        key,
        observe=observe,
        folder=folder,
        settings=named,
        report=report,
    )
