"""Bounds, orders and invariances of rectified flows, over random specs; one program serves all examples of a test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_jax.results import get
from collapse_jax.specs.reflow import ReflowSpec

pytestmark = pytest.mark.usefixtures("x64", "quick_compilation")
ROUNDING = 1e-10
ROUNDS = 12


def between(low, high):
    """Log-uniform numbers."""
    return st.floats(np.log(low), np.log(high)).map(lambda v: float(np.exp(v)))


SHARES = st.floats(0.01, 1.0)


@functools.cache
def program(id, **static):
    """The values as one compiled function of numbers."""
    return jax.jit(lambda fields: get(id).predict(ReflowSpec(**fields, **static), ROUNDS).values)


def values_of(id, fields, **static):
    every = {"spectrum": [1.0], "start": 1.0, "real_pairs": 0.0, "noise": 0.0, "fit_loss": 0.0, "frozen": 1.0}
    every |= {"correlation": 0.0, "latent_variance": 1.0, "real_fraction": 0.0} | fields
    return np.asarray(program(id, **static)({name: jnp.asarray(value, float) for name, value in every.items()}))


@given(between(1e-3, 1e3), between(1e-3, 1e3), st.floats(-0.95, 1.0))
def test_euler_never_inflates_and_equal_angles_are_best(size, latent, correlation):
    fields = {"spectrum": [size], "latent_variance": latent, "correlation": correlation}
    gain = values_of("RF-5", fields, solver="euler", steps=5)
    assert abs(gain) <= values_of("RF-5/never", fields, solver="euler", steps=5) * (1 + ROUNDING)
    if correlation >= 0:
        assert gain <= values_of("RF-5/bound", fields, solver="euler", steps=5) * (1 + ROUNDING)


@given(between(1e-3, 1e3), between(1e-3, 1e3), st.floats(-0.95, 1.0))
def test_loss_and_straightness_are_positive_and_scale_with_the_units(size, latent, correlation):
    fields = {"spectrum": [size], "latent_variance": latent, "correlation": correlation}
    for id in ("RF-15", "RF-15/straightness"):
        found = values_of(id, fields)
        assert found >= 0
        scaled = values_of(id, fields | {"spectrum": [9 * size]})
        np.testing.assert_allclose(scaled, 3 * found, rtol=1e-9)
    if correlation >= 0:  # theta >= tan(theta/2)
        assert values_of("RF-15/straightness", fields) <= values_of("RF-15", fields) * (1 + ROUNDING)


@given(between(1e-3, 1e2), SHARES, SHARES)
def test_noise_draws_every_variance_towards_that_of_the_data(start, share, noise):
    """Monotonely, from both sides, never past it."""
    path = values_of("RF-12", {"start": start, "real_pairs": share, "noise": noise})[:, 0]
    off = abs(path - 1)
    assert (np.diff(off) <= ROUNDING).all()
    assert ((path - 1) * (start - 1) >= -ROUNDING).all()


@given(between(1e-2, 10.0), SHARES, SHARES, st.floats(0.001, 0.3))
def test_chains_move_towards_their_level(start, share, noise, loss):
    """Fit loss lowers the level, and no round passes it."""
    fields = {"start": start, "real_pairs": share, "noise": noise, "fit_loss": loss}
    level, path = values_of("RF-13", fields), values_of("RF-13/path", fields)[:, 0]
    assert 0 <= level <= 1 + ROUNDING
    assert (np.diff(abs(path - level)) <= ROUNDING).all()
    threshold = values_of("RF-13/threshold", fields)
    assert (level > 0) == (noise > threshold)


@given(between(1e-2, 10.0), SHARES, st.floats(0.0, 0.3), between(0.1, 3.0))
def test_a_frozen_inverter_always_holds_a_level(start, share, loss, frozen):
    fields = {"start": start, "real_pairs": share, "fit_loss": loss, "frozen": frozen}
    level = values_of("RF-14/level", fields, inverter="first")
    path = values_of("RF-14", fields, inverter="first")[:, 0]
    assert 0 < level <= frozen * (1 + ROUNDING)
    assert (np.diff(abs(path - level)) <= ROUNDING).all()


@given(between(1e-3, 1e3), st.floats(0.0, 1.0))
def test_real_images_keep_the_variance_between_floor_and_data(size, share):
    fields = {"spectrum": [size], "real_fraction": share}
    static = {"coupling": "independent", "solver": "euler", "steps": 4}
    path, limit = values_of("RF-7", fields, **static)[:, 0], values_of("RF-7/limit", fields, **static)
    assert (path >= share * size * (1 - ROUNDING)).all()
    assert (path <= size * (1 + ROUNDING)).all()
    assert (path >= limit * (1 - ROUNDING)).all()


@given(between(1e-2, 1e2))
def test_mirrored_data_have_the_mirrored_gain(size):
    static = {"solver": "euler", "steps": 6, "coupling": "independent"}
    found = values_of("RF-5", {"spectrum": [size]}, **static)
    np.testing.assert_allclose(found, values_of("RF-6/symmetry", {"spectrum": [size]}, **static), rtol=1e-12)
