"""The real experiment command at small sizes: results whole or absent, resume to the identical end, clear refusals."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import dae_weight_norm, harness, storage

SMALL = dataclasses.replace(
    dae_weight_norm.PRESETS["demo"],
    stages={"spectrum": 5.0, "digits": 3.0},
    dimension=5,
    generations=4,
    replicates=64,
    samples=(300,),
    image_generations=3,
    image_seeds=2,
    image_shares=(0.0, 0.5),
)
EXPERIMENT = dataclasses.replace(dae_weight_norm.EXPERIMENT, presets={"small": SMALL})


@pytest.fixture(autouse=True)
def _precision():
    """The experiments switch to float64 for the whole process: switch back afterwards."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def run(out, *flags):
    """Exit code of the small experiment into ``out``."""
    return harness.main(EXPERIMENT, ["--preset", "small", "--out", str(out), *flags])


def arrays(folder):
    """Saved arrays of a results folder."""
    return storage.read_arrays(folder / "arrays.npz")


def same(first, second):
    """Whether two results folders hold identical arrays and verdicts."""
    one, two = arrays(first), arrays(second)
    return (
        one.keys() == two.keys()
        and all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)
        and storage.read_json(first / "verdicts.json") == storage.read_json(second / "verdicts.json")
    )


def test_a_run_leaves_results_figures_and_a_table(tmp_path, capsys):
    """Settings, environment, arrays, verdicts, PDF and PNG; nothing temporary; the table names every verdict."""
    out = tmp_path / "run"
    assert run(out) == 0
    names = {path.name for path in out.iterdir()}
    assert {"settings.json", "environment.json", "arrays.npz", "verdicts.json"} <= names
    assert {"D-F2_spectrum.pdf", "D-F2_spectrum.png", "D-F9_digits.pdf", "D-F9_digits.png"} <= names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert storage.read_json(out / "environment.json")["versions"]["jax"] == jax.__version__
    assert storage.read_json(out / "settings.json")["seed"] == 0
    rows = storage.read_json(out / "verdicts.json")
    assert {row["status"] for row in rows} <= {"agrees", "observed"}
    printed = capsys.readouterr().out
    assert all(row["result"] in printed for row in rows)
    assert str(out) in printed.replace("\n", "")


@pytest.mark.slow
def test_interrupted_and_continued_is_identical(tmp_path, monkeypatch, capsys):
    """Ctrl-C in the second stage keeps the first; the same command ends in the same arrays and verdicts."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(whole) == 0

    def interrupt(settings, key):
        raise KeyboardInterrupt

    stages = dict(EXPERIMENT.stages) | {"digits": interrupt}
    stopped = dataclasses.replace(EXPERIMENT, stages=stages)
    assert harness.main(stopped, ["--preset", "small", "--out", str(broken)]) == 130
    assert not broken.exists()
    assert "the same command continues" in capsys.readouterr().err
    refuse = dict(EXPERIMENT.stages) | {"spectrum": interrupt}  # a kept stage is not computed again
    assert (
        harness.main(dataclasses.replace(EXPERIMENT, stages=refuse), ["--preset", "small", "--out", str(broken)]) == 0
    )
    assert same(whole, broken)
    assert not broken.with_name("broken.partial").exists()


def test_a_run_of_other_settings_is_refused_with_the_difference_and_kept(tmp_path, capsys):
    """Stages of another seed are neither continued nor thrown away."""
    out = tmp_path / "run"

    def interrupt(settings, key):
        raise KeyboardInterrupt

    name = next(iter(EXPERIMENT.presets["small"].stages))
    stopped = dataclasses.replace(EXPERIMENT, stages=dict(EXPERIMENT.stages) | {name: interrupt})
    assert harness.main(stopped, ["--preset", "small", "--out", str(out)]) == 130
    capsys.readouterr()
    assert run(out, "--seed", "1") == 2
    refused = capsys.readouterr().err
    assert "was not finished, of other settings: settings.seed was 0, now 1; name another --out" in refused
    assert out.with_name("run.partial").is_dir()


@pytest.mark.slow
def test_a_failed_run_leaves_the_former_results(tmp_path):
    """A drawing error after the computation keeps the old folder and the finished stages."""
    out = tmp_path / "run"
    assert run(out) == 0
    before = arrays(out)

    def broken(folder):
        raise OSError(28, "No space left on device")

    failing = dataclasses.replace(EXPERIMENT, draw=broken)
    assert harness.main(failing, ["--preset", "small", "--out", str(out), "--seed", "2"]) == 2
    assert all(np.array_equal(before[name], arrays(out)[name]) for name in before)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--preset", "huge"], ["--preset", "huge"]),
    ],
)
def test_bad_flags_are_refused(tmp_path, capsys, flags, words):
    """argparse names the flag and the value."""
    with pytest.raises(SystemExit) as stop:
        harness.main(EXPERIMENT, ["--out", str(tmp_path / "x"), *flags])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words)


def test_an_output_folder_that_cannot_be_written_is_refused_before_work(tmp_path, capsys):
    """A file in the way, a folder that holds something else, a parent that is a file: one line, nothing computed."""
    file = tmp_path / "file"
    file.write_text("mine")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    for out in (file, file / "below", other):
        assert run(out) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "--out" in error
    assert file.read_text() == "mine"
    assert (other / "thesis.tex").read_text() == "mine"


def test_readers_refuse_pickles_and_broken_files(tmp_path):
    """A results folder is data: an object array in it is not unpickled, a truncated file is named."""
    np.savez(tmp_path / "arrays.npz", evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(storage.OutputError, match=r"arrays\.npz"):
        storage.read_arrays(tmp_path / "arrays.npz")
    (tmp_path / "verdicts.json").write_text("[1, ")
    with pytest.raises(storage.OutputError, match=r"verdicts\.json"):
        storage.read_json(tmp_path / "verdicts.json")


def test_the_real_command_survives_kill_and_redraws(tmp_path):
    """``python -m`` killed with SIGKILL, run again to the end, its figures redrawn by ``python -m figures``."""
    script = (
        "import dataclasses, sys\n"
        "from tests.integration.test_experiments import EXPERIMENT\n"
        "from experiments import harness\n"
        "sys.exit(harness.main(EXPERIMENT, sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "--preset", "small", "--out", str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if "[1/2]" in line:
                process.send_signal(signal.SIGKILL)
                break
    assert not (tmp_path / "run").exists()
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert again.returncode == 0, again.stderr
    assert "continuing the run" in again.stdout
    figure = tmp_path / "run" / "D-F9_digits.png"
    figure.unlink()
    redraw = [sys.executable, "-m", "figures", str(tmp_path / "run")]
    assert subprocess.run(redraw, capture_output=True, text=True, check=False).returncode == 0
    assert figure.stat().st_size > 10_000
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["preset"] == "small"
