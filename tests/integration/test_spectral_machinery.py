"""What the spectral experiments compute with: laws of samplers on a grid, and chains of image pools."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.metrics import laws
from collapse_jax.specs.mixture import Mixture
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory import spectral
from collapse_jax.theory.spectral_rounds import gain_path
from experiments import image_chains, image_spectrum_stages, robustness_stages
from experiments.spectral_sampler_laws import Grid, Line, euler_maruyama_laws, quantiles, times

pytestmark = pytest.mark.usefixtures("x64", "quick_compilation")


def data_law():
    return Mixture(**robustness_stages.DATA)


def test_line_distance_and_modes_against_exact_ones():
    data = data_law()
    smooth = data.smooth(0.9, 0.19)
    found, wanted = Line(data).w2(Line(smooth)), laws.w2(data, smooth)
    assert found == pytest.approx(wanted, rel=3e-5)
    spec = SpectralSpec(**robustness_stages.DATA, order=6)
    np.testing.assert_allclose(Line(data).modes(6), spectral.data_modes(spec).values, atol=1e-9)


def test_laws_of_euler_maruyama_against_points():
    """The grid's law after a few steps is that of many points that take the same steps."""
    data, steps, stop = data_law(), 3, 0.2
    made = euler_maruyama_laws(data, 0.5, stop, steps, 2, Grid(7.0, 161))
    nodes = times(steps, stop)
    key = jax.random.key(0)
    pool = data
    for law in made[1:]:
        x = pool.smooth(np.exp(-nodes[0]), -np.expm1(-2 * nodes[0])).sample(key, 20000)
        for before, after in itertools.pairwise(nodes):
            key, noise = jax.random.split(key)
            score = pool.smooth(np.exp(-before), -np.expm1(-2 * before)).score(x)
            x = (
                x
                + (before - after) * (x + 2 * score)
                + np.sqrt(2 * (before - after)) * jax.random.normal(noise, x.shape)
            )
        mean, variance = float(law.mean[0]), float(law.covariance[0, 0])
        assert abs(float(x.mean()) - mean) < 4 * np.sqrt(variance / len(x))
        assert float(x.var()) == pytest.approx(variance, rel=4 * np.sqrt(2 / len(x)))
        probes = np.linspace(-2, 2, 9)
        below = (probes[:, None] > np.asarray(x).T).mean(axis=1)
        assert np.abs(below - np.asarray(law.cdf(probes))).max() < 4 * 0.5 / np.sqrt(len(x))
        pool = robustness_stages._pool(data, law, 0.5)


def test_quantiles_undo_the_distribution_function():
    levels = jnp.linspace(0.01, 0.99, 7)
    np.testing.assert_allclose(data_law().cdf(quantiles(data_law(), levels)), levels, atol=1e-12)


def test_fitted_order_of_a_power_law():
    order, error = robustness_stages.fitted_order([10, 20, 40], [1.0, 0.25, 0.0625])
    assert (order, error) == pytest.approx((2, 0))


def test_denoisers_against_plain_sums():
    generator = np.random.default_rng(0)
    pool, points, a = generator.standard_normal((30, 3)), generator.standard_normal((7, 3)), 0.8
    weights = np.exp(-((points[:, None] - a * pool[None]) ** 2).sum(-1) / (2 * (1 - a**2)))
    wanted = weights @ pool / weights.sum(axis=1, keepdims=True)
    found = image_chains._memorised(jnp.asarray(pool), jnp.asarray(points), a, batch=4)
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    second = pool.T @ pool / len(pool)
    best = a * second @ np.linalg.inv(a**2 * second + (1 - a**2) * np.eye(3))
    np.testing.assert_allclose(
        image_chains._linear(jnp.asarray(pool), jnp.asarray(points), a), points @ best.T, rtol=1e-10
    )


def test_pools_obey_the_law_of_modes_in_the_mean():
    """Small pools, many chains: expectation of every coefficient, within the errors over chains."""
    data = np.random.default_rng(1).exponential(size=(50, 2)) - 0.5
    spec = SpectralSpec([1.0], [0.0], [1.0], real_fraction=0.3, truncation=0.2, order=3)
    run = image_chains.hermite_chain(
        jax.random.key(0), jnp.asarray(data), spec.scale, 6, jnp.eye(2), size=20, rounds=5, seeds=1000, order=3
    )
    real = np.stack([np.ones_like(data), data, (data**2 - 1) / 2**0.5, (data**3 - 3 * data) / 6**0.5]).mean(axis=1)
    law = np.asarray(gain_path(spec, 5, range(4)))[:, None] * real.T[None]
    score = (np.asarray(run).mean(axis=0) - law)[..., 1:] / (np.asarray(run).std(axis=0) / np.sqrt(1000))[..., 1:]
    assert np.abs(score).max() < 4.5


def test_founders_of_a_pool_without_real_data_die_out():
    """Half of the pool's points are real ones of the round before, or nobody is new: counts know the difference."""
    data = jnp.asarray(np.random.default_rng(2).standard_normal((500, 2)))
    few = {"size": 100, "rounds": 10, "seeds": 20, "output": "raw", "shown": 1}
    lonely = np.asarray(image_chains.picture_chain(jax.random.key(0), data, 0.9, 0, **few)[1])
    mixed = np.asarray(image_chains.picture_chain(jax.random.key(0), data, 0.9, 50, **few)[1])
    assert (lonely[:, 0] == 100).all()
    assert (np.diff(lonely, axis=1) <= 0).all()
    # of M points drawn with replacement from M, M (1 - 1/e) are different ones
    assert lonely[:, 1].mean() == pytest.approx(63.4, abs=3)
    assert mixed[:, -1].mean() > 2 * lonely[:, -1].mean()


def test_denoised_law_starts_at_the_images_and_takes_the_map():
    """First round l^2/(l + s^2) from the real spectrum, with or without real data."""
    settings = dataclasses.make_dataclass("S", ["truncation", "picture_rounds"])(0.05, 3)
    spectrum = np.array([2.0, 0.5])
    noise = np.expm1(0.1)
    for share in (0.0, 0.3):
        law = image_spectrum_stages._denoised_law(settings, spectrum, share)
        np.testing.assert_allclose(law[:2], [spectrum, spectrum**2 / (spectrum + noise)], rtol=1e-10)
