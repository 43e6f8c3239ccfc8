"""The experiment on rectified flows at tiny sizes through the real command: every stage runs, nothing is violated."""

import dataclasses

import jax
import pytest

from experiments import harness, reflow_linear, storage

SMALL = dataclasses.replace(
    reflow_linear.PRESETS["smoke"],
    stages={"sampler": 10, "independent": 10, "arms": 10, "phase": 10, "price": 10},
    replicates=6,
    steps=(2, 10),
    chain_steps=(2,),
    rounds=10,
    losses=(0.03,),
    noises=1,
    phase_rounds=10,
)


@pytest.fixture(autouse=True)
def _precision():
    """The experiments switch to float64 for the whole process: switch back afterwards."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.slow
def test_every_stage_runs_and_nothing_is_violated(tmp_path):
    experiment = dataclasses.replace(reflow_linear.EXPERIMENT, presets={"small": SMALL})
    out = tmp_path / "reflow_linear"
    assert harness.main(experiment, ["--preset", "small", "--out", str(out)]) == 0
    stages = {key.partition("/")[0] for key in storage.read_arrays(out / "arrays.npz")}
    assert stages == set(SMALL.stages)
    assert {row["status"] for row in storage.read_json(out / "verdicts.json")} <= {"agrees", "inconclusive"}
    assert len(list(out.glob("rf_*.png"))) == len(stages)


def test_presets_name_stages_that_exist():
    for settings in reflow_linear.PRESETS.values():
        assert set(settings.stages) <= set(reflow_linear.STAGES)
