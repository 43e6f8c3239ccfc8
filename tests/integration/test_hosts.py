"""A run of an experiment on images in several processes, and on several devices of one: the result of one device."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from collapse_jax import distributed

ROOT = Path(__file__).parents[2]

# reflow_images with every size made small: what runs is the experiment itself
PROGRAM = """
import sys
from dataclasses import replace

from experiments import harness, reflow_images

small = replace(
    reflow_images.PRESETS["smoke"], arms=("Reflow",), seeds=1, rounds=1, evaluations=(2,), grid_evaluations=2,
    pairs=40, images=60, held=40, steps=8, first_steps=8, batch=16, width=8, blocks=1,
    solver_steps=2, looked=40, dispatch=2, at_once=15, feature_epochs=1, feature_images=300,
)
sys.exit(harness.main(replace(reflow_images.EXPERIMENT, presets={"small": small}), sys.argv[1:]))
"""


def launch(out, environment=()):
    variables = (
        os.environ
        | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(ROOT)}
        | dict(environment)
    )
    command = [sys.executable, "-c", PROGRAM, "--out", str(out)]
    return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(run):
    said, errors = run.communicate(timeout=600)
    assert run.returncode == 0, errors[-3000:]
    return said


def arrays(out):
    with np.load(out / "arrays.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "found"
    finished(launch(out))
    return arrays(out)


def the_same(one, other):
    """Up to the order of the sums of a batch: 16 steps of Adam, each dividing by small numbers."""
    eps = np.finfo(np.float32).eps
    assert set(one) == set(other)
    np.testing.assert_allclose(one["rounds/grid"], other["rounds/grid"], atol=20 * 16 * eps)
    assert np.ptp(one["rounds/grid"]) > 0.5
    moved = one["rounds/samples"].astype(int) - other["rounds/samples"]
    assert np.abs(moved).max() <= 1  # a grey level, where rounding tips it


@pytest.mark.slow
def test_four_devices_give_the_result_of_one(alone, tmp_path):
    finished(launch(tmp_path / "found", {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}))
    the_same(arrays(tmp_path / "found"), alone)


def test_two_processes_give_the_result_of_one_and_the_first_writes_and_prints(alone, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    values = [(address, "2", str(place)) for place in range(2)]
    runs = [launch(tmp_path / "found", dict(zip(distributed.VARIABLES, value, strict=True))) for value in values]
    try:
        first, second = [finished(run) for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.communicate()
    assert "verdicts" in first
    assert [line for line in second.splitlines() if "Gloo" not in line] == []  # but what the transport says of itself
    the_same(arrays(tmp_path / "found"), alone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found"]
    assert len(list((tmp_path / "found" / "logs").rglob("*.jsonl"))) == 1
