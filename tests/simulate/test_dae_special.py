"""Borders, limits, events and truncated diffusion of the denoising-autoencoder chain, against NumPy on points."""

import jax
import numpy as np
import pytest
from scipy import stats

from collapse_jax.simulate import dae
from collapse_jax.specs.dae import DAESpec

FAMILY = 1e-3  # family-wise error rate of each statistical test
REPLICATES = 12_000
SPECTRUM = (4.0, 1.5, 0.5)

pytestmark = pytest.mark.usefixtures("x64")


def toy(**changes) -> DAESpec:
    return DAESpec(**{"spectrum": SPECTRUM, "noise_var": 1.0, "resample_noise_var": 0.8} | changes)


def measure(*args, **kwargs):
    return jax.tree.map(np.asarray, dae.measure(*args, **kwargs))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"resample_noise_var": 2.5}, 2.0),
        ({"resample_noise_var": 1.9}, np.inf),
        ({"resample_noise_var": 5.0, "feed": "prior"}, (3 - 5**0.5) / 2),
        ({"resample_noise_var": 3.0, "feed": "prior"}, np.inf),
        ({"resample_noise_var": 3.0, "real_fraction": 0.1, "feed": "pool"}, np.roots([0.1, -0.75, 0.9, -0.05])[1]),
        ({"resample_noise_var": 3.0, "real_fraction": 0.1}, max(np.roots([-0.7, 0.9, -0.05]))),
        ({"resample_noise_var": 1.0, "real_fraction": 0.1, "feed": "pool"}, np.inf),
    ],
    ids=str,
)
def test_border_at_huge_n(changes, wanted):
    """Against the roots of the population equations; at n = 1e12 the noise is 1e-6 a round."""
    run = measure("collapse_threshold", toy(spectrum=[0.5], **changes), 120, 3, jax.random.key(0), samples=1e12)
    np.testing.assert_allclose(run["collapse_threshold"].values, wanted, rtol=1e-4)


def test_two_starts_find_two_limits():
    spec = toy(spectrum=[0.5], resample_noise_var=3.0, real_fraction=0.1, feed="pool")
    run = measure("limits", spec, 600, 2, jax.random.key(0), samples=1e12)
    roots = np.roots([0.1, -0.75, 0.9, -0.05])
    np.testing.assert_allclose(run["limits"].values[:, :, 0], [[roots[2], roots[0]]] * 2, rtol=1e-4)
    np.testing.assert_array_equal(run["upper_limit"].values, run["limits"].values[:, 1, 0])


@pytest.mark.parametrize("samples", [2, 8])
def test_event_has_the_law_of_points(samples):
    """delta and the next SNR against actual points in NumPy, two-sample tests; a family of 4."""
    run = measure("event_deviation", toy(), 1, REPLICATES, jax.random.key(0), samples=samples)
    generator = np.random.default_rng(0)
    points = generator.normal(size=(REPLICATES, 3, samples)) * np.sqrt(SPECTRUM)[:, None]
    noise = generator.normal(size=points.shape)
    moment = points @ points.transpose(0, 2, 1) / samples
    top = np.linalg.eigvalsh(moment)[:, -1]
    own = np.linalg.norm(noise @ noise.transpose(0, 2, 1) / samples - np.eye(3), 2, axis=(1, 2))
    cross = np.linalg.norm(points @ noise.transpose(0, 2, 1) / samples, 2, axis=(1, 2)) / np.sqrt(top)
    made = np.linalg.solve(moment + np.eye(3), moment) @ (points + np.sqrt(0.8) * noise)
    snr = np.linalg.eigvalsh(made @ made.transpose(0, 2, 1) / samples)[:, -1]
    assert stats.ks_2samp(run["event_deviation"].values, np.maximum(own, cross)).pvalue > FAMILY / 4
    assert stats.ks_2samp(run["next_snr"].values, snr).pvalue > FAMILY / 4


@pytest.mark.slow
def test_tweedie_chain_has_the_law_of_points():
    """Truncated diffusion on actual points in NumPy, n = 8, generations 1 and 3; a family of 4."""
    spec, count, samples = toy(), REPLICATES, 8
    run = measure("tweedie_spectrum", spec, 3, count, jax.random.key(0), samples=samples)["tweedie_spectrum"].values
    generator, eye, signal = np.random.default_rng(0), np.eye(3), np.sqrt(0.5)
    points = generator.normal(size=(count, 3, samples)) * np.sqrt(SPECTRUM)[:, None]
    for generation in range(4):
        moment = points @ points.transpose(0, 2, 1) / samples
        if generation in (1, 3):
            eigenvalues = np.linalg.eigvalsh(moment)
            assert stats.ks_2samp(run[:, generation, 0], eigenvalues[:, -1]).pvalue > FAMILY / 4
            assert stats.ks_2samp(run[:, generation].sum(1), eigenvalues.sum(1)).pvalue > FAMILY / 4
        noised = signal**2 * moment + (1 - signal**2) * eye
        drawn = np.linalg.cholesky(noised) @ generator.normal(size=points.shape)
        points = signal * moment @ np.linalg.solve(noised, drawn)


@pytest.mark.slow
def test_norm_rises_at_small_n_only():
    spec = DAESpec([10.0] * 5)
    shares = [
        measure("norm_rises", spec, 1, 400, jax.random.key(0), samples=n)["norm_rises"].values[:, 0].mean()
        for n in (36, 720)
    ]
    assert 0.2 < shares[0] < 0.45
    assert shares[1] < 0.01
