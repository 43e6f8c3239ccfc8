"""Several devices and several processes give the result of one, up to the order of sums; only process 0 writes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from collapse_jax import distributed
from collapse_jax.errors import SpecError

ROOT = Path(__file__).parents[1]

PROGRAM = """
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import distributed

distributed.start()
from collapse_jax.generative import checkpoints, training
from collapse_jax.generative.flows import Points, independent_flow_loss
from collapse_jax.generative.networks import MLP, fresh

devices, out = int(sys.argv[1]), Path(sys.argv[2])
mesh = distributed.data_mesh(devices) if devices else None
graph, parameters = fresh(jax.random.key(0), MLP, 2, width=8, depth=1)
optimizer = training.adam(1e-2, 20)
data = Points(jax.random.normal(jax.random.key(1), (64, 2)) + 1)
options = dict(batch=16, dispatch=10, weights=np.arange(64.0), mesh=mesh)

def train(state, steps):
    key = jax.random.key(2)
    return training.train(graph, state, key, data, independent_flow_loss, optimizer, steps=steps, **options)

half = train(training.begin(parameters, optimizer), 10)
checkpoints.save(out / "kept", 10, half.state, {"seed": 0})
if jax.process_count() > 1:
    from jax.experimental import multihost_utils
    multihost_utils.sync_global_devices("written")
step, state = checkpoints.restore(out / "kept", half.state, {"seed": 0})
assert int(state.step) == step == 10
done = train(state, 20)
assert jax.tree.leaves(done.state.parameters)[0].sharding.is_fully_replicated
if mesh is not None:
    halves = distributed.split(np.arange(16.0), mesh)
    assert halves.addressable_shards[0].data.shape == (16 // devices,)
numbers = np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(done.state)])
name = f"process_{jax.process_index()}.npz"
np.savez(out / name, numbers=numbers, losses=np.concatenate([half.losses, done.losses]), devices=len(jax.devices()))
if distributed.is_writer():
    (out / "writer").write_text(str(jax.process_index()))
"""


def launch(out, devices, environment=()):
    out.mkdir(exist_ok=True)
    variables = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)} | dict(environment)
    command = [sys.executable, "-c", PROGRAM, str(devices), str(out)]
    return subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True)


def finished(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]


def read(out, process=0):
    with np.load(out / f"process_{process}.npz") as file:
        return dict(file)


def close(one, other):
    """Sums of a batch of 16 in another order: a few units of rounding a step, and Adam divides by small numbers."""
    eps, steps = np.finfo(np.float32).eps, 20
    np.testing.assert_allclose(one["losses"], other["losses"], rtol=50 * eps)
    np.testing.assert_allclose(one["numbers"], other["numbers"], rtol=20 * steps * eps, atol=20 * steps * eps)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    finished(launch(out, 0))
    return read(out)


def test_eight_devices_give_the_result_of_one(alone, tmp_path):
    finished(launch(tmp_path, 8, {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}))
    found = read(tmp_path)
    assert (found["devices"], alone["devices"]) == (8, 1)
    close(found, alone)
    assert np.any(found["numbers"] != 0)


def test_two_processes_give_the_result_of_one_and_one_of_them_writes(alone, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    values = [(address, "2", str(place)) for place in range(2)]
    runs = [launch(tmp_path, 2, dict(zip(distributed.VARIABLES, value, strict=True))) for value in values]
    try:
        for run in runs:
            finished(run)
    finally:
        for run in runs:
            run.kill()
            run.communicate()
    first, second = read(tmp_path), read(tmp_path, 1)
    assert first["devices"] == second["devices"] == 2
    np.testing.assert_array_equal(first["numbers"], second["numbers"])
    close(first, alone)
    assert (tmp_path / "writer").read_text() == "0"
    record = json.loads((tmp_path / "kept" / "step_10" / "record.json").read_text())
    assert record["settings"] == {"seed": 0}


def test_a_start_needs_all_or_nothing(monkeypatch):
    for name in distributed.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    distributed.start()
    with pytest.raises(SpecError, match=r"^several processes need all of .* missing: COLLAPSE_PROCESSES"):
        distributed.start("127.0.0.1:1")
    monkeypatch.setenv("COLLAPSE_PROCESSES", "two")
    with pytest.raises(SpecError, match="must be whole numbers"):
        distributed.start("127.0.0.1:1", process=0)
    with pytest.raises(SpecError, match=r"^COLLAPSE_PROCESS must be in 0 ... COLLAPSE_PROCESSES - 1, got 2 of 2"):
        distributed.start("127.0.0.1:1", 2, 2)


def test_meshes_and_batches_fit_the_devices():
    with pytest.raises(SpecError, match=r"^devices must be between 1 and"):
        distributed.data_mesh(10_000)
    mesh = distributed.data_mesh(1)
    placed = distributed.replicate({"a": np.ones(3)}, mesh)
    assert distributed.replicate(placed, mesh)["a"] is placed["a"]
