"""The regression experiments at tiny sizes through the real command: every stage runs, and what must hold holds."""

import dataclasses

import jax
import pytest

from experiments import harness, kernel_regression_images, regression_collapse, regression_scaling_laws, storage

SMALL = {
    "regression_collapse": dataclasses.replace(
        regression_collapse.PRESETS["smoke"],
        stages={"growth": 5, "regimes": 10, "ridge": 10, "few_rows": 10, "step": 20},
        dimension=10,
        ratios=(0.25,),
        runs=4,
        small_runs=10,
        rows=(20,),
        rounds=4,
        few_runs=2,
        ridge_dimension=20,
        ridge_replicates=4,
        ridges=(0.1,),
        step_dimension=20,
        step_runs=2,
    ),
    "regression_scaling_laws": dataclasses.replace(
        regression_scaling_laws.PRESETS["smoke"], largest=8, measured=(32,), fixed_dimension=32, fixed_measured=(128,)
    ),
    "kernel_regression_images": dataclasses.replace(
        kernel_regression_images.PRESETS["smoke"],
        stages={"digits_size": 20, "digits_ridge": 10, "digits_accuracy": 10, "clothing_ridge": 0},
        pool=120,
        generator_rows=40,
        rows=(20, 40),
        ridges=(1e-2, 1e-1),
        learner_rows=30,
        seeds=2,
        class_rows=20,
        class_rounds=2,
        shown=4,
    ),
}

MODULES = (regression_collapse, regression_scaling_laws, kernel_regression_images)
EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in MODULES}
SLOW = ("regression_collapse", "kernel_regression_images")  # most of it compilation


@pytest.fixture(autouse=True)
def _precision():
    """The experiments switch to float64 for the whole process: switch back afterwards."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SMALL]
)
def test_every_stage_runs_and_nothing_is_violated(name, tmp_path):
    """All stages, arrays and figures are there (of images that are installed); theory is not contradicted."""
    experiment = dataclasses.replace(EXPERIMENTS[name], presets={"small": SMALL[name]})
    out = tmp_path / name
    assert harness.main(experiment, ["--preset", "small", "--out", str(out)]) == 0
    stages = {key.partition("/")[0] for key in storage.read_arrays(out / "arrays.npz")}
    assert stages | {"clothing_ridge"} == set(SMALL[name].stages) | {"clothing_ridge"}
    rows = storage.read_json(out / "verdicts.json")
    assert {row["status"] for row in rows} <= {"agrees", "inconclusive"}
    assert len(list(out.glob("*.png"))) == len(stages)


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_presets_name_stages_that_exist(name):
    """The default comes first, the smoke run is short, and every preset's stages are known."""
    experiment = EXPERIMENTS[name]
    assert list(experiment.presets) == ["default", "smoke", "paper"]
    for settings in experiment.presets.values():
        assert set(settings.stages) <= set(experiment.stages)
    assert sum(experiment.presets["smoke"].stages.values()) <= 40
