"""The spectral experiments at tiny sizes through the real command: every stage runs, and what must hold holds."""

import dataclasses

import jax
import pytest

from experiments import (
    harness,
    spectral_annealing,
    spectral_finite_samples,
    spectral_images,
    spectral_limit,
    spectral_robustness,
    storage,
)

SMALL = {
    "spectral_limit": dataclasses.replace(
        spectral_limit.PRESETS["smoke"],
        stages={"density": 3, "filter": 3, "rates": 3, "size": 3},
        particles=10**4,
        replicates=8,
        samples=1000,
        real_fraction=0.5,
        rounds=(1, 2, 3, 4),
        pool_rounds=20,
        pool_samples=1000,
        rate_rounds=8,
        sizes=3,
        order=4,
    ),
    "spectral_annealing": dataclasses.replace(
        spectral_annealing.PRESETS["smoke"],
        rounds=8,
        looks=3,
        referee_rounds=3,
        design_rounds=4,
        steps=20,
        search=6,
    ),
    "spectral_finite_samples": dataclasses.replace(
        spectral_finite_samples.PRESETS["smoke"], pool_sizes=(100,), chains=64, order=3, truncations=2
    ),
    "spectral_robustness": dataclasses.replace(
        spectral_robustness.PRESETS["smoke"],
        stages={"samplers": 5, "ball": 5, "amplification": 2},
        steps=(10, 20),
        tolerances=(1e-2,),
        quantiles=501,
        cloud=500,
        cloud_seeds=2,
        cloud_directions=4,
        rounds=4,
        order=4,
        shares=(0.2,),
    ),
    "spectral_images": dataclasses.replace(
        spectral_images.PRESETS["smoke"],
        stages={"digits_gains": 5, "digits_spectrum": 5, "digits_grid": 5, "mixture": 5},
        shares=(0.1,),
        picture_shares=(0.1,),
        gain_rounds=3,
        gain_pool=500,
        gain_seeds=16,
        components=4,
        random_directions=8,
        picture_rounds=2,
        picture_pool=200,
        picture_seeds=4,
        memorised_seeds=2,
        shown=2,
        mixture_components=2,
        mixture_dimension=2,
        mixture_rounds=3,
        mixture_particles=2000,
    ),
}

MODULES = (spectral_limit, spectral_annealing, spectral_finite_samples, spectral_robustness, spectral_images)
EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in MODULES}


@pytest.fixture(autouse=True)
def _precision():
    """The experiments switch to float64 for the whole process: switch back afterwards."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


# a minute each, most of it compilation
SLOW = ("spectral_limit", "spectral_robustness", "spectral_images", "spectral_annealing")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SMALL]
)
def test_every_stage_runs_and_nothing_is_violated(name, tmp_path):
    """All stages, arrays and figures are there; theory is not contradicted, and no verdict is left out."""
    experiment = dataclasses.replace(EXPERIMENTS[name], presets={"small": SMALL[name]})
    out = tmp_path / name
    assert harness.main(experiment, ["--preset", "small", "--out", str(out)]) == 0
    stages = {key.partition("/")[0] for key in storage.read_arrays(out / "arrays.npz")}
    assert stages == set(SMALL[name].stages)
    rows = storage.read_json(out / "verdicts.json")
    assert {row["status"] for row in rows} <= {"agrees", "inconclusive", "observed"}
    assert len(list(out.glob("*.png"))) == len(stages)


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_presets_name_stages_that_exist(name):
    """The default comes first, the smoke run is short, and every preset's stages are known."""
    experiment = EXPERIMENTS[name]
    assert list(experiment.presets) == ["default", "smoke", "paper"]
    for settings in experiment.presets.values():
        assert set(settings.stages) <= set(experiment.stages)
    assert sum(experiment.presets["smoke"].stages.values()) <= 40
