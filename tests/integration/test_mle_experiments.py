"""The experiments of iterative maximum likelihood at tiny sizes through the real command: what must hold holds."""

import dataclasses

import jax
import pytest

from experiments import harness, iterative_mle, mle_counterexamples, storage

SMALL = {
    "iterative_mle": dataclasses.replace(
        iterative_mle.PRESETS["smoke"],
        stages={"weights": 3, "discrete": 3},
        weight_chains=640,
        symbol_rounds=10,
        words=100,
        tokens=500,
        word_rounds=5,
    ),
    "mle_counterexamples": dataclasses.replace(
        mle_counterexamples.PRESETS["smoke"],
        sizes=(20,),
        runs=(300,),
        shown_size=20,
        fuse_sizes=(50,),
        fuse_runs=2000,
        path_rounds=8,
        path_runs=60,
        horizon=100,
    ),
}
WHOLE = dataclasses.replace(
    iterative_mle.PRESETS["smoke"],
    stages=dict.fromkeys(iterative_mle.STAGES, 5.0),
    families=("bernoulli", "exponential"),
    sizes=(10,),
    rounds=5,
    chains=1280,
    policy_rounds=6,
    policy_chains=640,
    drawn_rounds=3,
    drawn_chains=40,
    death_rounds=6,
    death_chains=6400,
    runs=10,
    horizon=6,
    components=4,
    image_batch=40,
    image_rounds=6,
)
MODULES = (iterative_mle, mle_counterexamples)
EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in MODULES}


@pytest.fixture(autouse=True)
def _precision():
    """The experiments switch to float64 for the whole process: switch back afterwards."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def run(name, settings, out):
    experiment = dataclasses.replace(EXPERIMENTS[name], presets={"small": settings})
    assert harness.main(experiment, ["--preset", "small", "--out", str(out)]) == 0
    stages = {key.partition("/")[0] for key in storage.read_arrays(out / "arrays.npz")}
    assert stages == set(settings.stages)
    rows = storage.read_json(out / "verdicts.json")
    assert {row["status"] for row in rows} <= {"agrees", "inconclusive", "observed"}
    assert len(list(out.glob("*.png"))) == len(stages)


@pytest.mark.parametrize("name", ["iterative_mle", pytest.param("mle_counterexamples", marks=pytest.mark.slow)])
def test_stages_run_and_nothing_is_violated(name, tmp_path, quick_compilation):
    """All stages, arrays and figures are there; theory is not contradicted, and no verdict is left out."""
    run(name, SMALL[name], tmp_path / name)


@pytest.mark.slow
def test_every_stage_of_the_large_experiment(tmp_path):
    run("iterative_mle", WHOLE, tmp_path / "whole")


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_presets_name_stages_that_exist(name):
    """The default comes first, the smoke run is short, and every preset's stages are known."""
    experiment = EXPERIMENTS[name]
    assert list(experiment.presets) == ["default", "smoke", "paper"]
    for settings in experiment.presets.values():
        assert set(settings.stages) <= set(experiment.stages)
    assert sum(experiment.presets["smoke"].stages.values()) <= 40
