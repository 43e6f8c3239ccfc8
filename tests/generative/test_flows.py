"""Objectives against what they are worth for Gaussian data, where every best predictor is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.generative import flows

N = 40_000
VARIANCE = 2.5


def key(number):
    return jax.random.key(number)


def within(values, expected, error_rate=1e-6):
    """Is the mean of independent values what is expected, by its own standard error?"""
    values = np.asarray(values, float)
    error = values.std(ddof=1) / np.sqrt(values.size)
    return abs(values.mean() - expected) < stats.norm.isf(error_rate / 2) * error


def column(t):
    return t[:, None]


def exact_velocity(t, x, cond=None):
    t = column(t)
    return (t * VARIANCE - (1 - t)) / (t**2 * VARIANCE + (1 - t) ** 2) * x


def noise_share(u):
    """a, s and the variance of x_t at a level."""
    a, s = jnp.cos(jnp.pi / 2 * column(u)), jnp.sin(jnp.pi / 2 * column(u))
    return a, s, a**2 * VARIANCE + s**2


def exact_epsilon(u, x, cond=None):
    _, s, variance = noise_share(u)
    return s / variance * x


def exact_v(u, x, cond=None):
    a, s, variance = noise_share(u)
    return (a * s - s * a * VARIANCE) / variance * x


@pytest.fixture(scope="module")
def points():
    return flows.Points(jnp.sqrt(VARIANCE) * jax.random.normal(key(0), (N, 1)))


@pytest.mark.parametrize("factor", [1.0, 1.6])
def test_flow_loss_of_the_best_velocity(points, factor):
    """Independent pairs: pi/2 sqrt(variance) (RF-15); another velocity costs more by its mean square distance."""
    pairs = flows.Pairs(jax.random.normal(key(1), (N, 1)), points.data)
    t = jax.random.uniform(key(2), (N,))
    errors = flows.rectified_flow_errors(lambda t, x, cond: factor * exact_velocity(t, x), t, pairs)
    assert within(errors, np.pi / 2 * np.sqrt(VARIANCE)) == (factor == 1)


def test_losses_are_means_of_errors_with_the_draws_of_the_key(points):
    few = flows.Points(points.data[:50])
    noise_key, rest = jax.random.split(key(3))
    noise = jax.random.normal(noise_key, (50, 1))
    pairs = flows.Pairs(noise, few.data)
    apart = flows.rectified_flow_errors(exact_velocity, jax.random.uniform(rest, (50,)), pairs)
    np.testing.assert_allclose(flows.rectified_flow_loss(exact_velocity, rest, pairs), apart.mean(), rtol=1e-5)
    np.testing.assert_allclose(flows.independent_flow_loss(exact_velocity, key(3), few), apart.mean(), rtol=1e-5)


def test_denoiser_and_score_of_a_flow(points):
    """RF-3: errors of velocity and denoiser differ by (1 - t)^2; the score of a Gaussian is -x / variance."""
    pairs = flows.Pairs(jax.random.normal(key(1), (100, 1)), points.data[:100])
    t = jnp.linspace(0, 0.95, 100)
    x = flows.interpolate(t, pairs.noise, pairs.data)
    denoised = flows.denoiser(exact_velocity)(t, x, None)
    np.testing.assert_allclose(
        flows.rectified_flow_errors(exact_velocity, t, pairs),
        flows.mean_square(denoised - pairs.data) / (1 - t) ** 2,
        rtol=1e-3,
        atol=1e-6,
    )
    variance = column(t) ** 2 * VARIANCE + column(1 - t) ** 2
    np.testing.assert_allclose(flows.flow_score(exact_velocity)(t, x), -x / variance, rtol=1e-3, atol=1e-4)


def test_diffusion_losses_of_the_best_predictions(points):
    """Given x_t the noise has variance a^2 var / (a^2 var + s^2), and v that divided by a^2."""
    t = flows.draw_times(key(4), N, 0.05)
    noise = jax.random.normal(key(5), (N, 1))
    a, s = (np.asarray(scale, float) for scale in flows.vp_scales(t))
    left = VARIANCE / (a**2 * VARIANCE + s**2)
    assert within(flows.epsilon_errors(exact_epsilon, t, noise, points) - a**2 * left, 0)
    assert within(flows.v_errors(exact_v, t, noise, points) - left, 0)
    assert not within(flows.v_errors(exact_v, t, noise, points) - a**2 * left, 0)
    x = flows.diffuse(t, noise, points.data)
    u = flows.level(t)
    np.testing.assert_allclose(flows.epsilon_of(exact_v)(u, x), exact_epsilon(u, x), rtol=1e-3, atol=1e-4)


def test_losses_of_diffusions_take_rate_truncation_and_horizon(points):
    """Times are the rate's only: rate 1/2 with doubled times is the same loss."""
    one = flows.v_loss(exact_v, key(6), points, 0.05, 4.0)
    two = flows.v_loss(exact_v, key(6), points, 0.1, 8.0, 0.5)
    np.testing.assert_allclose(one, two, rtol=1e-4)
    assert abs(one - flows.v_loss(exact_v, key(6), points, 0.5, 4.0)) > 1e-3
    assert flows.epsilon_loss(exact_epsilon, key(6), points, 0.05) < 1


def test_denoising_loss_of_the_best_denoiser(points):
    """variance sigma^2 / (variance + sigma^2), told t = 1 / (1 + sigma)."""
    sigma = 0.7
    told = []

    def best(t, y, cond):
        told.append(t)
        return VARIANCE / (VARIANCE + sigma**2) * y

    noise = jax.random.normal(key(7), (N, 1))
    errors = flows.denoising_errors(best, jnp.full(N, sigma), noise, points)
    assert within(errors, VARIANCE * sigma**2 / (VARIANCE + sigma**2))
    np.testing.assert_allclose(told[0], 1 / 1.7, rtol=1e-6)
    assert abs(flows.denoising_loss(best, key(8), points, sigma) - errors.mean()) < 0.05


def test_levels_and_times_invert_each_other(precision):
    dtype = jnp.dtype(precision)
    t = jnp.geomspace(1e-6, 5, 40).astype(dtype)
    tolerance = 100 * float(jnp.finfo(dtype).eps)
    for rate in (1.0, 0.5):
        u = flows.level(t, rate)
        assert u.dtype == dtype
        assert np.all((np.asarray(u) > 0) & (np.asarray(u) < 1) & (np.diff(np.r_[0, u]) > 0))
        # near the horizon the level is flat: dt/du = tan(angle) pi / (2 rate)
        slack = tolerance * (np.asarray(t) + np.exp(rate * np.asarray(t)))
        slack = np.where(np.asarray(t) < 0.1, tolerance * np.asarray(t), slack)
        assert np.all(np.abs(np.asarray(flows.time_at(u, rate)) - np.asarray(t)) <= slack)


def test_times_are_uniform_in_their_level():
    t = flows.draw_times(key(9), 4000, 0.1, 3.0, 0.5)
    least, most = (float(flows.level(jnp.asarray(end), 0.5)) for end in (0.1, 3.0))
    u = (np.asarray(flows.level(t, 0.5), float) - least) / (most - least)
    assert stats.kstest(u, "uniform").pvalue > 1e-6
