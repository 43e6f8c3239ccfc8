"""Trained factors reach the closed form for what they were trained on, and the chain feeds them what the spec says.

Tolerances. GAIN is the promise of 1e-3 on gains. Training stops short of the minimum only along flat directions: a
gain whose best value is 0 falls like one over the steps, and a small direction at the border of the bottleneck is
picked up slowly. Gains are right to 1e-5 as a rule, the worst that default settings showed is 4e-4.
"""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.generative.dae import Fit, LinearDAE, fit, loss, noisy_loss, trained_chain
from collapse_jax.specs.dae import DAESpec

GAIN = 1e-3
CONVERGED = 1e-4
"""Largest gradient norm of a converged fit in float32, second moments up to 10 noise_var (measured: 1e-5)."""
TOY = (10.0, 5.0, 2.0, 1.0, 0.5) + (0.0,) * 15


def toy(**changes) -> DAESpec:
    return DAESpec(**{"spectrum": TOY, "noise_var": 1.0} | changes)


def realised(spectrum, samples: int, seed: int = 0) -> np.ndarray:
    """Second moment of that many points, in axes that are not the eigenvectors."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(size=(len(spectrum), len(spectrum))))[0]
    points = (np.sqrt(spectrum) * random.normal(size=(samples, len(spectrum)))) @ turn.T
    return points.T @ points / samples


def closed_gains(eigenvalues, spec: DAESpec) -> np.ndarray:
    """DAE-16 for descending eigenvalues ``[..., d]``; DAE-4 without weight decay, DAE-3 also at full width."""
    eigenvalues = np.asarray(eigenvalues, float)
    gains = np.maximum(eigenvalues - float(spec.weight_decay), 0) / (eigenvalues + float(spec.noise_var))
    return np.where(np.arange(spec.dimension) < spec.width, gains, 0)


def closed_map(second_moment, spec: DAESpec) -> np.ndarray:
    values, vectors = np.linalg.eigh(second_moment)
    return vectors[:, ::-1] * closed_gains(values[::-1], spec) @ vectors[:, ::-1].T


def off(fitted: Fit, second_moment, spec) -> float:
    """Largest error of the map in operator norm, over all fits."""
    return np.linalg.norm(np.asarray(fitted.model.map) - closed_map(second_moment, spec), ord=2, axis=(-2, -1)).max()


# --- one fit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rank", "tied"), [(2, False), (5, True), (20, False), (20, True)])
def test_fit_is_the_closed_form(rank, tied):
    second_moment = realised(TOY, 300)
    for decay in (0.0, 0.2):
        spec = toy(rank=rank, weight_decay=decay)
        fitted = fit(jax.random.key(rank), second_moment, spec, tied=tied)
        assert off(fitted, second_moment, spec) < GAIN
        assert fitted.gradient_norm < CONVERGED


def test_fewer_points_than_dimensions():
    second_moment = realised([3.0] * 12, 4)
    spec = DAESpec(spectrum=[3.0] * 12, noise_var=0.5)
    assert off(fit(jax.random.key(0), second_moment, spec), second_moment, spec) < GAIN


@pytest.mark.parametrize("tied", [False, True])
def test_top_directions_are_found_from_every_start(tied):
    """Other sets of k eigen-directions are saddles (for W, with operator-norm distance 0.6 and more)."""
    second_moment, spec = realised(TOY, 300, seed=1), toy(rank=2)
    keys = jax.random.split(jax.random.key(7), 200)
    many = jax.jit(jax.vmap(lambda key: fit(key, second_moment, spec, tied=tied, steps=1000)))(keys)
    assert many.model.encoder[...].shape == (200, 2, 20)
    assert off(many, second_moment, spec) < GAIN


def test_tied_and_untied_have_one_product():
    second_moment, spec = realised(TOY, 300, seed=2), toy(rank=5, weight_decay=0.2)
    maps = [np.asarray(fit(jax.random.key(3), second_moment, spec, tied=tied).model.map) for tied in (False, True)]
    np.testing.assert_allclose(*maps, atol=GAIN)


def test_weight_decay_kills_small_directions():
    """Dead below eta. At eta itself the approach is slowest, like one over the steps, hence the tolerance there."""
    eigenvalues = np.array([3.0, 1.0, 0.6, 0.5, 0.4, 0.1])
    spec = DAESpec(spectrum=eigenvalues, weight_decay=0.5)
    fitted = fit(jax.random.key(0), np.diag(eigenvalues), spec)
    gains = np.linalg.svd(np.asarray(fitted.model.map), compute_uv=False)
    np.testing.assert_allclose(gains[:3], [2.5 / 4, 0.5 / 2, 0.1 / 1.6], atol=1e-5)
    assert gains[3] < 1e-3
    assert (gains[4:] < 1e-6).all()


def test_units_do_not_matter():
    spec, key = DAESpec(spectrum=[4.0, 1.0], weight_decay=0.1), jax.random.key(1)
    small = DAESpec(spectrum=[4e-6, 1e-6], noise_var=1e-6, weight_decay=1e-7)
    maps = [fit(key, np.diag(np.asarray(s.spectrum)), s).model.map for s in (spec, small)]
    np.testing.assert_allclose(*maps, atol=1e-5)


def test_double_precision(x64):
    second_moment, spec = realised(TOY, 300), toy(rank=5)
    fitted = fit(jax.random.key(0), second_moment, spec)
    assert fitted.model.encoder[...].dtype == np.float64
    assert off(fitted, second_moment, spec) < GAIN


def test_start_is_a_projector():
    model = LinearDAE(6, 2, tied=True, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(model.map @ model.map, model.map, atol=1e-6)
    np.testing.assert_allclose(np.trace(model.map), 2, rtol=1e-5)
    assert len(jax.tree.leaves(nnx.split(model)[1])) == 1
    loose = LinearDAE(6, 2, rngs=nnx.Rngs(0))
    assert (np.linalg.svd(loose.map, compute_uv=False)[:2] > 0.7).all()
    assert np.abs(loose.factors[0].T - loose.factors[1]).max() > 0.01


def test_points_are_rows():
    model = LinearDAE(4, 2, rngs=nnx.Rngs(1))
    points = jax.random.normal(jax.random.key(0), (3, 5, 4))
    np.testing.assert_allclose(model(points)[1, 2], model.map @ points[1, 2], atol=1e-6)


# --- the loss --------------------------------------------------------------------------------------------------------


def test_gradient_is_that_of_the_sample_loss_under_quadrature(x64):
    """Three Gauss-Hermite nodes per coordinate average a quadratic in the noise exactly."""
    spec = DAESpec(spectrum=[2.0, 1.0], noise_var=0.7, weight_decay=0.3)
    points = jax.random.normal(jax.random.key(0), (6, 2))
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    noise = np.sqrt(0.7) * np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 1, 2)
    weights = np.multiply.outer(weights, weights).reshape(-1, 1) / (2 * np.pi)

    def naive(params):
        encoder, decoder = params
        clean = jnp.broadcast_to(points[None], (9, 6, 2))
        denoised = (clean + jnp.asarray(noise)) @ encoder.T @ decoder.T
        errors = jnp.mean(jnp.sum((denoised - clean) ** 2, -1), -1, keepdims=True)
        return jnp.sum(jnp.asarray(weights) * errors) + 0.3 * (jnp.sum(encoder**2) + jnp.sum(decoder**2))

    model = LinearDAE(2, 1, rngs=nnx.Rngs(0))
    graph, start = nnx.split(model)
    value, gradient = jax.value_and_grad(lambda p: loss(nnx.merge(graph, p), points.T @ points / 6, spec))(start)
    expected, expected_gradient = jax.value_and_grad(naive)(model.factors)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient["encoder"][...], expected_gradient[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradient["decoder"][...], expected_gradient[1], rtol=1e-10, atol=1e-12)


def test_noisy_loss_has_the_averaged_loss_as_expectation():
    """z-test on 20000 draws at 4 standard errors; it sees a noise_var that is off by 2%."""
    spec = DAESpec(spectrum=[2.0, 1.0, 1.0], noise_var=0.7, weight_decay=0.1)
    points = jax.random.normal(jax.random.key(1), (20, 3))
    model = LinearDAE(3, rngs=nnx.Rngs(2))
    drawn = jax.vmap(lambda key: noisy_loss(model, points, spec, key))(jax.random.split(jax.random.key(5), 20_000))
    drawn = np.asarray(drawn, float)

    def z(noise_var):
        off = DAESpec(spectrum=[2.0, 1.0, 1.0], noise_var=noise_var, weight_decay=0.1)
        mean = float(loss(model, points.T @ points / 20, off))
        return (drawn.mean() - mean) / (drawn.std(ddof=1) / np.sqrt(drawn.size))

    assert abs(z(0.7)) < 4
    assert abs(z(0.7 * 1.02)) > 4


# --- the chain -------------------------------------------------------------------------------------------------------


def values(run) -> dict[str, np.ndarray]:
    return {name: np.asarray(trajectory.values) for name, trajectory in run.items()}


@pytest.mark.parametrize(("rank", "tied"), [(2, True), (5, False)])
def test_chain_has_the_closed_form_gains_of_its_realised_spectrum(rank, tied):
    for decay in (0.0, 0.2):
        spec = toy(rank=rank, weight_decay=decay)
        run = trained_chain(spec, 15, 8, jax.random.key(0), samples=3000, tied=tied)
        seen = values(run)
        assert {name: array.shape for name, array in seen.items()} == {
            "gain_norm": (8, 16),
            "gains": (8, 16, 20),
            "spectrum": (8, 16, 20),
            "gradient_norm": (8, 16),
        }
        assert all(trajectory.observable == name for name, trajectory in run.items())
        assert all(np.broadcast_to(t.resolution, t.values[0].shape).shape for t in run.values())
        np.testing.assert_allclose(seen["gains"], closed_gains(seen["spectrum"], spec), atol=GAIN)
        np.testing.assert_array_equal(seen["gain_norm"], seen["gains"][:, :, 0])
        assert seen["gradient_norm"].max() < CONVERGED
        # an eigenvalue of 3000 points has a relative standard error of sqrt(2/3000); collapse is under way
        np.testing.assert_allclose(seen["spectrum"][:, 0, 0], 10, rtol=4.5 * np.sqrt(2 / 3000))
        assert (seen["gain_norm"][:, -1] < 0.05).all()


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_without_generation_noise_the_spectrum_follows_from_the_first(share):
    """DAE-18 for n < d, with and without real data: no randomness but the real points and the starts.

    The spectrum is compared in units of its largest entry; a gain off by 1e-4 moves it by 2e-4.
    """
    spec = DAESpec(spectrum=[8.0, 4.0, 2.0, 1.0, 1.0, 1.0], resample_noise_var=0.0, real_fraction=share, rank=5)
    seen = values(trained_chain(spec, 4, 3, jax.random.key(3), samples=4))
    real = seen["spectrum"][:, 0].astype(float)
    synthetic = training = real
    for j in range(5):
        np.testing.assert_allclose(seen["spectrum"][:, j], training, atol=3e-4 * real.max())
        synthetic = closed_gains(training, spec) ** 2 * synthetic
        training = share * real + (1 - share) * synthetic


def law(spec: DAESpec, generations: int) -> np.ndarray:
    """The population's spectrum, ``[generations + 1, d]``, by the rules of the spec."""
    real = fed = training = np.asarray(spec.spectrum, float)
    noise, share, rows = float(spec.resample_noise_var), float(spec.real_fraction), [real]
    for j in range(generations):
        fed = {"chain": fed, "pool": training, "prior": 0 * real}[spec.feed]
        fed = closed_gains(training, spec) ** 2 * (fed + noise)
        grown = training + (fed - training) / (j + 2)
        training = grown if spec.regime == "accumulate" else share * real + (1 - share) * fed
        rows.append(training)
    return np.array(rows)


RULES = {
    "chain": {"real_fraction": 0.3},
    "pool": {"real_fraction": 0.3, "feed": "pool"},
    "prior": {"real_fraction": 0.3, "feed": "prior"},
    "accumulate": {"feed": "pool", "regime": "accumulate"},
}


@pytest.mark.parametrize("rule", RULES)
def test_every_feed_and_regime_follows_its_population_law(rule):
    """200000 points: a second moment has 0.3% of sampling error, the rules differ by 4% and more after 2 rounds."""
    spec = DAESpec(spectrum=[2.0, 1.0], resample_noise_var=1.2, **RULES[rule])
    seen = values(trained_chain(spec, 2, 2, jax.random.key(11), samples=200_000, steps=500))
    expected = law(spec, 2)
    np.testing.assert_allclose(seen["spectrum"], np.broadcast_to(expected, (2, 3, 2)), rtol=0.015)
    for other in RULES:
        if other != rule:
            theirs = law(DAESpec(spectrum=[2.0, 1.0], resample_noise_var=1.2, **RULES[other]), 2)
            assert np.abs(theirs / expected - 1).max() > 0.03


def test_one_key_one_run():
    spec = DAESpec(spectrum=[2.0, 1.0])
    first, again, other = (
        values(trained_chain(spec, 1, 2, jax.random.key(seed), samples=30, steps=50)) for seed in (0, 0, 1)
    )
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["gains"], other["gains"])
    assert not np.array_equal(first["spectrum"][0], first["spectrum"][1])


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_training_that_blows_up_is_named():
    spec = DAESpec(spectrum=[2.0, 1.0])
    with pytest.raises(MeasurementError, match=r"generation 0 of replicate 0: lower learning_rate, found 1e\+30"):
        trained_chain(spec, 1, 2, jax.random.key(0), samples=30, steps=50, learning_rate=1e30)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("generations", {"generations": -1}),
        ("replicates", {"replicates": 0}),
        ("samples", {"samples": 0}),
        ("steps", {"steps": 0}),
        ("learning_rate", {"learning_rate": 0.0}),
        ("learning_rate", {"learning_rate": float("nan")}),
        ("learning_rate", {"learning_rate": [0.1, 0.2]}),
        ("learning_rate", {"learning_rate": "fast"}),
        ("spectrum", {"spec": DAESpec(spectrum=[[2.0, 1.0], [2.0, 1.0]])}),
    ],
)
def test_bad_arguments_of_the_chain(name, changes):
    arguments = {"spec": DAESpec(spectrum=[2.0, 1.0]), "generations": 1, "replicates": 1, "samples": 9} | changes
    with pytest.raises(SpecError, match=f"^{name} must .*got") as caught:
        trained_chain(key=jax.random.key(0), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), r"shape \(2, 2\)"),
        ([1.0, 2.0], r"shape \(2, 2\)"),
        ([[1.0, np.nan], [0.0, 1.0]], "finite"),
        ([[1.0, 0.5], [0.0, 1.0]], "symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "negative eigenvalue, got -1"),
        ("points", "numeric"),
    ],
)
def test_bad_second_moment(matrix, message):
    with pytest.raises(SpecError, match=f"^second_moment must .*{message}"):
        fit(jax.random.key(0), matrix, DAESpec(spectrum=[2.0, 1.0]))


def test_bad_width():
    with pytest.raises(SpecError, match="width must be at most the dimension 3, got 4"):
        LinearDAE(3, 4, rngs=nnx.Rngs(0))
    with pytest.raises(SpecError, match="dimension must be a whole number >= 1, got 0"):
        LinearDAE(0, rngs=nnx.Rngs(0))


def test_the_package_does_not_load_flax():
    code = "import sys, collapse_jax; sys.exit('flax' in sys.modules or 'optax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
