"""Logs of generations: read as they were written, refused if they are none, found again in TensorBoard's files."""

import json
import struct
import sys

import jax
import pytest
from tensorboardX.proto.event_pb2 import Event

from collapse_jax import cli
from collapse_jax.data.logs import read_logs, to_tensorboard
from collapse_jax.errors import MissingExtraError, OutputError

ENTRIES = [{"generation": n, "w2": [1.0 / (n + 1), 0.25], "loss": None if n == 0 else 0.5 * n} for n in range(3)]


@pytest.fixture(autouse=True)
def precision():
    """The command switches to float64."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def results(tmp_path):
    """A results folder with a finished run, and one under way."""
    for name in (
        "done/logs/ring/seed_0/ORAS_0.6.jsonl",
        "done/logs/ring/seed_1/ORAS_0.6.jsonl",
        "now/RA/metrics.jsonl",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text("".join(json.dumps(entry) + "\n" for entry in ENTRIES))
    return tmp_path


def events(folder):
    """(tag, step, value) of every scalar in event files, whose records are length, checksum, bytes, checksum."""
    found = []
    for file in sorted(folder.glob("*.tfevents.*")):
        content, place = file.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            place += length + 16
    return found


def test_logs_are_read_by_their_place(results):
    assert list(read_logs(results)) == ["done/logs/ring/seed_0/ORAS_0.6", "done/logs/ring/seed_1/ORAS_0.6", "now/RA"]
    assert read_logs(results / "now") == {"RA": ENTRIES}


def test_tensorboard_gets_every_finite_number_once(results, tmp_path, capsys):
    out = tmp_path / "runs"
    for _ in range(2):  # again in place of the first time
        assert cli.main(["track", str(results / "done"), "--tensorboard", str(out), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["numbers"] == 2 * 8
    found = events(out / "logs/ring/seed_1/ORAS_0.6")
    assert [step for tag, step, _ in found if tag == "loss"] == [1, 2]
    assert sorted(found) == sorted(
        [("w2/0", n, pytest.approx(1 / (n + 1))) for n in range(3)]
        + [("w2/1", n, 0.25) for n in range(3)]
        + [("loss", n, 0.5 * n) for n in (1, 2)]
    )


@pytest.mark.parametrize(
    "text",
    ["{", "[1]\n", '{"loss": 1}\n', '{"generation": true}\n', '{"generation": 1}\n{"generation": 1}\n', "[" * 10**5],
)
def test_what_is_no_log_is_refused_with_its_line(tmp_path, text):
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(OutputError, match=r"x.jsonl is no log of generations: line \d is not"):
        read_logs(tmp_path)


def test_bad_places_are_refused(results, tmp_path, monkeypatch, capsys):
    with pytest.raises(OutputError, match="holds no log"):
        read_logs(tmp_path / "nowhere")
    (tmp_path / "mine/RA").mkdir(parents=True)
    (tmp_path / "mine/RA/thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="files that are not TensorBoard's"):
        to_tensorboard({"RA": ENTRIES}, tmp_path / "mine")
    assert (tmp_path / "mine/RA/thesis.txt").read_text() == "precious"
    (tmp_path / "file").write_text("")
    assert cli.main(["track", str(results), "--tensorboard", str(tmp_path / "file")]) == cli.BAD_INPUT
    assert "name another folder" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r"collapse_jax\[track\]"):
        to_tensorboard({}, tmp_path)
