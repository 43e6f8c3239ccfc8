"""Reflow with trained networks at tiny sizes through the real command: stages, kill and resume, refusals."""

import dataclasses
import os
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from collapse_jax.data.logs import read_logs
from collapse_jax.errors import OutputError, SpecError
from collapse_jax.recursion.reflow import ARMS
from experiments import harness, reflow_arms, reflow_images, reflow_toy, reflow_toy_stages, storage

TOY = dataclasses.replace(
    reflow_toy.PRESETS["smoke"],
    stages={"gaussian": 5, "ring": 5, "shrink": 5},
    arms=("Reflow", "RA, first", "ORAS 0.6"),
    seeds=1,
    rounds=2,
    pairs=80,
    steps=8,
    first_steps=8,
    batch=16,
    width=8,
    solver_steps=4,
    fine_steps=5,
    looked=100,
    directions=8,
    dispatch=2,
    widths=(8,),
    lengths=(8,),
)
IMAGES = dataclasses.replace(
    reflow_images.PRESETS["smoke"],
    stages={"rounds": 5, "share": 5},
    shares=(0.0, 0.3),
    noises=(0.0, 0.6),
    seeds=1,
    rounds=1,
    images=100,
    held=60,
    pairs=40,
    steps=8,
    first_steps=8,
    batch=16,
    width=8,
    blocks=1,
    solver_steps=2,
    evaluations=(1, 10),
    looked=40,
    dispatch=2,
    feature_images=100,
    feature_epochs=1,
)
SCRIPT = (
    "import dataclasses, sys\n"
    "from experiments import harness\n"
    "from experiments.reflow_toy import EXPERIMENT\n"
    "from tests.integration.test_reflow_experiments import TOY\n"
    "tiny = dataclasses.replace(TOY, stages={'ring': 5})\n"
    "sys.exit(harness.main(dataclasses.replace(EXPERIMENT, presets={'tiny': tiny}), sys.argv[1:]))\n"
)


@pytest.fixture(autouse=True)
def _as_in_experiments(quick_compilation):
    """Experiments run in float64 with JAX's own promotion; switch back afterwards."""
    before = jax.config.jax_enable_x64
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "small", "figures"), [(reflow_toy, TOY, 3), (reflow_images, IMAGES, 3)])
def test_every_stage_runs_and_is_drawn(module, small, figures, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    experiment = dataclasses.replace(module.EXPERIMENT, presets={"tiny": small})
    out = tmp_path / "out"
    assert harness.main(experiment, ["--out", str(out)]) == 0
    arrays = storage.read_arrays(out / "arrays.npz")
    assert {name.partition("/")[0] for name in arrays} == set(small.stages)
    assert len(list(out.glob("*.png"))) == figures
    assert {row["status"] for row in storage.read_json(out / "verdicts.json")} <= {"observed"}
    if module is reflow_toy:
        spent = arrays["ring/evaluations"]
        assert (spent == np.arange(3) * 80 * 8).all()  # equal in all arms
        first = arrays["ring/variance"][:, :, 0]
        assert (first == first[:, :1]).all()  # one first rectification
        logs = read_logs(out)
        assert list(logs) == [
            f"logs/{stage}/seed_0/{arm}_8_8"
            for stage in ("gaussian", "ring")
            for arm in ("ORAS_0.6", "RA_first", "Reflow")
        ] + ["logs/shrink/seed_0/Reflow_8_8"]
        assert {row["result"] for row in storage.read_json(out / "verdicts.json")} == {
            "RF-13",
            "RF-14",
            "RF-15/straightness",
        }
        assert logs["logs/ring/seed_0/Reflow_8_8"][2]["variance"] == arrays["ring/variance"][0, 0, 2].tolist()
    else:
        last = arrays["share/last"]
        np.testing.assert_array_equal(last[:, 0, 0], last[:, 1, 0])  # no real pairs: tau says nothing


@pytest.mark.parametrize(("name", "correlation"), [("real only", 0.0), ("independent", 0.7), ("ORAS 0.6", 0.94)])
def test_paths_are_as_straight_as_their_pairs_are_correlated(name, correlation):
    """RF-15 at the correlation of the union of pairs, one direction of variance 1; Reflow's paths are straight."""
    angle = np.arccos(correlation)
    expected = 2 * (1 - correlation) - angle * np.sin(angle)
    assert abs(reflow_toy_stages.straight(ARMS[name], (1.0,)) - expected) < 1e-5
    assert reflow_toy_stages.straight(ARMS["ORAS 0.6, SDE"], (1.0,)) == pytest.approx(
        reflow_toy_stages.straight(ARMS["ORAS 0.6"], (1.0,)), rel=1e-3
    )
    assert reflow_toy_stages.straight(ARMS["Reflow"], (1.0, 4.0)) < 1e-6


@pytest.mark.slow
def test_a_killed_run_is_continued_to_the_identical_result(tmp_path):
    """kill -9 after the second round of the second arm; then the same command."""
    command = [sys.executable, "-c", SCRIPT, "--out"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    running = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.PIPE, text=True, env=environment)
    assert running.stdout is not None
    for line in running.stdout:
        if "RA, first, round 1 of 2" in line:
            os.kill(running.pid, signal.SIGKILL)
            break
    running.wait()
    running.stdout.close()
    assert running.returncode == -signal.SIGKILL
    again = subprocess.run(
        [*command, str(tmp_path / "killed")], capture_output=True, text=True, env=environment, check=True
    )
    assert "continuing the run" in again.stdout
    assert "first rectification" not in again.stdout
    assert "Reflow, round" not in again.stdout
    assert "RA, first, round 1" not in again.stdout
    whole = subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, text=True, env=environment)
    assert whole.returncode == 0
    found, wanted = (storage.read_arrays(tmp_path / name / "arrays.npz") for name in ("killed", "whole"))
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.slow
def test_checkpoints_of_other_settings_are_refused(tmp_path):
    desk = harness.Desk(tmp_path, lambda line, done=None: None)
    one = dataclasses.replace(TOY, arms=("Reflow",), rounds=1)
    reflow_toy_stages.ring(one, jax.random.key(0), desk)
    with pytest.raises(OutputError, match="other settings"):
        reflow_toy_stages.ring(dataclasses.replace(one, rate=0.5), jax.random.key(0), desk)


def test_loss_of_gain_and_what_is_predicted_from_it():
    """A variance that keeps 0.81 a round has lost a tenth of its gain; the prediction of Reflow gives it back."""
    variance = 0.81 ** np.arange(4)
    np.testing.assert_allclose(reflow_arms.lost_gain(variance), 0.1, rtol=1e-12)
    with jax.enable_x64(True):
        for name in ("Reflow", "RA"):
            np.testing.assert_allclose(reflow_arms.predicted(ARMS[name], 1.0, 0.1, 3), variance, rtol=1e-12)
        # trained on real images alone, a round loses gain once
        np.testing.assert_allclose(reflow_arms.predicted(ARMS["real only"], 1.0, 0.1, 3)[1:], 0.81, rtol=1e-12)
        anchored = reflow_arms.predicted(ARMS["ORAS 0.6"], 1.0, 0.03, 400)
        np.testing.assert_allclose(anchored[-1], 0.6043, atol=5e-5)  # sanity anchor 2 of the derivation
        assert (reflow_arms.predicted(ARMS["RA"], 1.0, -0.2, 3) == 1).all()  # gaining fits count as lossless


@pytest.mark.parametrize("module", [reflow_toy, reflow_images])
def test_presets_name_stages_and_arms_that_exist(module):
    assert list(module.EXPERIMENT.presets) == ["default", "smoke", "gpu", "paper"]
    for settings in module.EXPERIMENT.presets.values():
        assert set(settings.stages) <= set(module.EXPERIMENT.stages)
        for name in settings.arms:
            portions = ARMS[name].portions
            assert settings.pairs % portions == 0
            assert settings.steps % (portions * settings.dispatch) == 0
        assert settings.first_steps % settings.dispatch == 0


@pytest.mark.parametrize(
    ("data", "words"), [("nowhere", "--data: nowhere: no such"), ("sizes", "--data: .*sizes.*one size")]
)
def test_images_that_cannot_be_read_are_refused_before_any_work(tmp_path, monkeypatch, capsys, data, words):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sizes"
    folder.mkdir()
    for edge in (8, 9):
        Image.fromarray(np.zeros((edge, edge), np.uint8)).save(folder / f"{edge}.png")
    assert harness.main(reflow_images.EXPERIMENT, ["--preset", "smoke", "--out", "out", "--data", data]) == 2
    refused = capsys.readouterr().err
    assert re.search(words, refused), refused
    assert refused.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sizes"]


def test_losses_of_a_seed_are_predicted_from_the_other_seeds():
    """A seed whose Reflow loses 0.2 a round beside one that loses nothing: neither prediction knows its own loss."""
    relative = np.stack([0.8 ** (2 * np.arange(4)), np.ones(4)])[:, None]
    with jax.enable_x64(True):
        found = reflow_arms.laws([ARMS["Reflow"]], relative, [0.2, 0.0])
    np.testing.assert_allclose(found[:, 0], relative[::-1, 0], rtol=1e-12)
    error = np.full((2, 1, 4), 0.001)
    rows, remarks = reflow_arms.beside(["Reflow"], relative, error, found, title="toy", samples=9)
    assert rows[0]["deviation"] == pytest.approx((0.8**6 - 1 + 0.8**-6 - 1) / 2)
    assert "linear theory kept" in remarks[0]  # two seeds on both sides of it
    _, remarks = reflow_arms.beside(["Reflow"], 1.1 * found, error, found, title="toy", samples=9)
    assert "linear theory left by round 1, +10.0 %" in remarks[0]
    assert reflow_arms.beside(["Reflow"], found[:1], error[:1], found[:1], title="toy", samples=9)[0] == []


def test_arms_without_reflow_itself_are_refused():
    with pytest.raises(SpecError, match=r"^arms must hold Reflow, .* got RA\.$"):
        reflow_arms.fitting(TOY, ("RA",))


def test_a_run_is_not_continued_on_other_images(tmp_path, capsys):
    folder, picture = tmp_path / "pictures", np.zeros((8, 8), np.uint8)
    folder.mkdir()
    Image.fromarray(picture).save(folder / "0.png")

    def interrupt(*_):
        raise KeyboardInterrupt

    stopped = dataclasses.replace(reflow_images.EXPERIMENT, stages={"rounds": interrupt})
    command = ["--preset", "smoke", "--out", str(tmp_path / "out"), "--data", str(folder)]
    assert harness.main(stopped, command) == 130
    assert harness.main(stopped, command) == 130
    Image.fromarray(picture + 1).save(folder / "0.png")
    capsys.readouterr()
    assert harness.main(stopped, command) == 2
    assert "of other settings: settings.data_sha256 was" in capsys.readouterr().err
