"""Trained autoencoders in the retraining chain at tiny sizes: the linear laws, the control, the command."""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import deep_dae, deep_dae_stages, storage

TINY = dataclasses.replace(
    deep_dae.PRESETS["smoke"],
    stages={"deep": 5},
    components=6,
    noise_direction=3,
    shares=(0.5,),
    generations=2,
    pool=300,
    width=8,
    depth=1,
    steps=20,
    batch=16,
    dispatch=20,
)
SPECTRUM = np.array([4.0, 1.0, 0.25])

SCRIPT = (
    "import dataclasses, sys\n"
    "from experiments import harness\n"
    "from tests.integration.test_deep_dae_experiment import TINY\n"
    "from experiments.deep_dae import EXPERIMENT\n"
    "sys.exit(harness.main(dataclasses.replace(EXPERIMENT, presets={'tiny': TINY}), sys.argv[1:]))\n"
)


def test_laws_say_what_each_generation_learned_and_made(x64):
    law = deep_dae_stages.laws(SPECTRUM, 0.5, 0.0, 2)
    gain = SPECTRUM / (SPECTRUM + 0.5)
    made = gain * SPECTRUM
    following = made / (made + 0.5)
    np.testing.assert_allclose(law["gains"], [gain, gain, following], rtol=1e-12)
    np.testing.assert_allclose(law["variance"], [SPECTRUM, made, following * made], rtol=1e-12)
    excess = np.sum((SPECTRUM + 0.5) * (following - gain) ** 2)
    np.testing.assert_allclose(law["excess"], [0, 0, excess], atol=1e-12)


def test_laws_with_a_real_share_tend_to_their_limit(x64):
    law = deep_dae_stages.laws(SPECTRUM, 0.5, 0.3, 400)
    np.testing.assert_allclose(law["gains"][-1], law["gains_limit"], rtol=1e-6)
    assert (law["gains_limit"] > 0.1).all()
    np.testing.assert_allclose(deep_dae_stages.laws(SPECTRUM, 0.5, 1.0, 3)["excess"], 0, atol=1e-12)


def test_the_control_learns_the_best_matrix(quick_compilation):
    """Trained at full length on Gaussian points: gains within the band of the points and of the last steps, 4 seeds."""
    settings = dataclasses.replace(TINY, steps=1500, batch=256, dispatch=1500, decay=0.999)
    found = []
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for seed in range(4):
            key = jax.random.key(seed)
            points = jnp.sqrt(jnp.asarray(SPECTRUM, jnp.float32)) * jax.random.normal(key, (5000, 3))
            _, parameters = deep_dae_stages.learned(settings, "linear", key, points, np.sqrt(0.5))
            (kernel,) = jax.tree.leaves(parameters)
            found.append(np.diag(kernel))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / 2
    gain = SPECTRUM / (SPECTRUM + 0.5)
    print(mean - gain, error)
    # Student's t of 3 degrees of freedom, one in a thousand for each of three gains
    assert (np.abs(mean - gain) < 12.9 * error).all()
    assert (error < 0.01).all()


def test_the_command_runs_and_only_observes(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    command = [sys.executable, "-c", SCRIPT, "--out", str(tmp_path / "run"), "--data", "digits"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in storage.read_json(tmp_path / "run" / "verdicts.json")} == {"observed"}
    arrays = storage.read_arrays(tmp_path / "run" / "arrays.npz")
    # shares, seeds, generations from the real data on, directions
    assert arrays["deep/gains"].shape == (1, 2, 3, 6)
    np.testing.assert_array_equal(arrays["deep/excess"][..., 0], 0)
    assert np.isfinite(arrays["deep/high"]).all()
    assert len(list((tmp_path / "run").glob("d_f10_*.png"))) == 2


@pytest.mark.parametrize("name", ["default", "smoke", "gpu", "paper"])
def test_presets_name_stages_that_exist(name):
    settings = deep_dae.PRESETS[name]
    assert set(settings.stages) <= set(deep_dae.STAGES)
    assert settings.steps % settings.dispatch == 0
