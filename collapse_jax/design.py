"""Which truncation schedule to train with: the best one under the error model of a round, found by gradient.

A round that stops at time t errs by ``B t^-p`` in W2 (a score is harder to learn near the data), and truncates. The
bound ``theory.spectral_schedules.design_error`` adds what both leave at the end, and is differentiable in the whole
schedule. The best schedule starts wherever it likes and comes down to a floor of the order of SP-19: below it score
errors cost more than truncation.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory.spectral_schedules import best_truncation, design_error


class Design(NamedTuple):
    """A schedule and how it was found.

    Attributes:
        schedule: ``[rounds]``, truncation time of each round.
        floor: the smallest of them.
        error: bound on the final W2 distance to the data [data units].
        history: ``[steps]``, the bound along the search.
    """

    schedule: Any
    floor: Any
    error: Any
    history: Any


def optimal_schedule(spec: SpectralSpec, rounds: int, *, steps: int = 200, rate: float = 0.1) -> Design:
    """Truncation schedule of least final error, under errors of ``error_scale * t^-error_power`` a round.

    Adam on the logarithms of the times, from the constant schedule at the truncation of SP-19; the best schedule met is
    returned. Compiled once for each number of rounds and steps.

    Args:
        spec: process vp, regime replace, ``error_scale`` and ``error_power`` > 0; its ``truncation`` is not used.
        rounds: of retraining, >= 1.
        steps: of the search, >= 1.
        rate: size of the first steps in log t; it falls to 0 along a cosine.

    Returns:
        ``Design(schedule, floor, error, history)``.

    Raises:
        SpecError: rounds, steps or rate out of range. RegimeError: a spec without a best truncation.

    >>> spec = SpectralSpec([0.6, 0.4], [-0.9, 1.1], [0.6, 0.5], error_scale=0.002, error_power=1.0)
    >>> design = optimal_schedule(spec, 5, steps=50)
    >>> design.schedule.shape, bool(design.error <= design.history[0])
    ((5,), True)
    """
    for name, value in (("rounds", rounds), ("steps", steps)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise SpecError(f"{name} must be a whole number >= 1, got {value!r}.")
    if not (np.isfinite(rate) and rate > 0):
        raise SpecError(f"rate must be finite and positive, got {rate!r}.")
    start = jnp.broadcast_to(best_truncation(spec).values, (int(rounds),))
    schedule, error, history = _search(spec, start, jnp.asarray(rate, start.dtype), int(steps))
    return Design(schedule, schedule.min(), error, history)


def _descend(spec, start, rate, steps):
    import optax  # costs every other user of the library its loading time

    optimizer = optax.scale_by_adam()
    error_of = jax.value_and_grad(lambda logs: design_error(spec, jnp.exp(logs)))

    def step(carry, number):
        logs, state, best, least = carry
        error, slope = error_of(logs)
        better = error < least
        best, least = jnp.where(better, logs, best), jnp.where(better, error, least)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to a whole number
            move, state = optimizer.update(slope, state)
        size = rate * (1 + jnp.cos(np.pi * number / steps)) / 2
        return (logs - size * move, state, best, least), error

    numbers = jnp.arange(steps, dtype=start.dtype)
    carry = (start, optimizer.init(start), start, jnp.full_like(start, jnp.inf, shape=()))
    (logs, _, best, least), history = jax.lax.scan(step, carry, numbers)
    last = error_of(logs)[0]
    return jnp.exp(jnp.where(last < least, logs, best)), jnp.minimum(last, least), history


_search = jax.jit(_descend, static_argnums=3)
