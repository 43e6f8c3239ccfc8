"""The experiments on contaminated sources at tiny sizes: every stage runs, and nothing is violated."""

import dataclasses

import jax
import numpy as np
import pytest

from collapse_jax.errors import MeasurementError
from experiments import contaminated_text, contaminated_training, contamination_network_stages, harness, storage

SMALL = {
    "contaminated_training": dataclasses.replace(
        contaminated_training.PRESETS["smoke"],
        stages={"recursion": 4, "phases": 3, "policies": 3, "tails": 3},
        rounds=6,
        chains=20,
        panels=1,
        grid=5,
        late_rounds=500,
        policy_rounds=4,
        slope_rounds=200,
        tail_rounds=20,
        tail_chains=20,
    ),
    "contaminated_text": dataclasses.replace(
        contaminated_text.PRESETS["smoke"],
        stages={"pairs": 5, "network_kept": 10},
        characters=20_000,
        network_characters=20_000,
        shares=(0.5,),
        rounds=3,
        sequences=10,
        sequence=50,
        seeds=4,
        first=20,
        epochs=1.0,
        context=16,
        width=8,
        network_rounds=1,
        draws=10,
    ),
}

EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in (contaminated_training, contaminated_text)}


@pytest.fixture(autouse=True)
def _precision():
    """The experiments switch to float64 for the whole process: switch back afterwards."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in SMALL])
def test_every_stage_runs_and_nothing_is_violated(name, tmp_path):
    """All stages, arrays and figures are there, and a second run gives the same arrays."""
    experiment = dataclasses.replace(EXPERIMENTS[name], presets={"small": SMALL[name]})
    arrays = []
    for number in range(2):
        out = tmp_path / f"{name}{number}"
        assert harness.main(experiment, ["--preset", "small", "--out", str(out)]) == 0
        arrays.append(storage.read_arrays(out / "arrays.npz"))
        rows = storage.read_json(out / "verdicts.json")
        assert {row["status"] for row in rows} <= {"agrees", "inconclusive", "observed"}
        assert len(list(out.glob("*.png"))) == len(SMALL[name].stages)
    assert {key.partition("/")[0] for key in arrays[0]} == set(SMALL[name].stages)
    for key, value in arrays[0].items():
        np.testing.assert_array_equal(value, arrays[1][key])


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_presets_name_stages_that_exist(name):
    """The default comes first, the smoke run is short, and every preset's stages are known."""
    experiment = EXPERIMENTS[name]
    assert list(experiment.presets) == ["default", "smoke", "paper"]
    for settings in experiment.presets.values():
        assert set(settings.stages) <= set(experiment.stages)
    assert sum(experiment.presets["smoke"].stages.values()) <= 40


def test_a_loss_that_is_not_a_number_is_refused_with_round_and_step(monkeypatch):
    """The network of the first round is broken on purpose."""

    def broken(*args, **options):
        raise MeasurementError("loss is nan between steps 0 and 10: lower the learning rate, or look at the data.")

    monkeypatch.setattr(contamination_network_stages.transformer, "train", broken)
    settings = SMALL["contaminated_text"]
    with pytest.raises(MeasurementError, match=r"^round 0 of arm a = 0: loss is nan between steps 0 and 10"):
        contamination_network_stages.arm_stage("real_0")(settings, jax.random.key(0))


def test_worth_of_arms():
    """Inverse sizes of the arms: nothing changes with all data real, and collapse is a straight line without any."""
    arms = contamination_network_stages.ARMS
    worth = {name: contamination_network_stages.inverse_sizes(arm, 100, 4) for name, arm in arms.items()}
    np.testing.assert_allclose(worth["real_100"], 0.01)
    np.testing.assert_allclose(worth["real_0"], 0.01 * np.arange(1, 6))
    assert worth["growing"][-1] < 0.01 < worth["real_25"][-1]
