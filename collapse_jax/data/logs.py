"""Logs of generations: read back, and handed on to TensorBoard.

A run over generations keeps a log beside its checkpoint (``recursion.retraining``): a file of JSON lines, one for each
generation, numbers by name. It is written whole after every generation, so it can be read while the run goes on, and
what is made of it is made anew each time: nothing has to be resumed.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from collapse_jax.errors import MissingExtraError, OutputError

LOG = "metrics.jsonl"
"""Name of the log of a run under way."""

LARGEST = 2**26
"""Bytes of a log that is read."""


def read_logs(folder: Path) -> dict[str, list[dict]]:
    """Every log below a folder: a results folder, or the ``.partial`` folder of a run under way.

    Args:
        folder: where to look; files that end in ``.jsonl`` are taken, wherever below it they lie.

    Returns:
        By name (place below the folder), one dictionary for each generation, ``generation`` among its entries.

    Raises:
        OutputError: no log, or one that is none (names the file and the line).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = (Path(name) / "run.jsonl").write_text('{"generation": 0, "loss": 1.5}\\n')
    ...     read_logs(Path(name))
    {'run': [{'generation': 0, 'loss': 1.5}]}
    """
    files = sorted(file for file in folder.rglob("*.jsonl") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise OutputError(f"{folder} holds no log (*.jsonl): name the results folder of an experiment that trains.")
    return {_name(file.relative_to(folder)): list(_lines(file)) for file in files}


def _name(place: Path) -> str:
    return (place.parent if place.name == LOG else place.with_suffix("")).as_posix()


def _lines(file: Path) -> Iterator[dict]:
    """The generations of a log."""
    if file.stat().st_size > LARGEST:
        raise OutputError(f"{file} is no log of generations: it has more than {LARGEST} bytes.")
    last = -1
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        place = found.get("generation") if isinstance(found, dict) else None
        if not isinstance(found, dict) or type(place) is not int or place <= last:
            raise OutputError(f"{file} is no log of generations: line {number} is not the JSON of a later generation.")
        last = place
        yield found


def scalars(entry: dict) -> dict[str, float]:
    """The numbers of a generation; lists are numbered, and what was not finite is left out.

    >>> scalars({"generation": 3, "loss": 2, "w2": [0.5, None], "grid": [[1.0]]})
    {'loss': 2.0, 'w2/0': 0.5, 'grid/0/0': 1.0}
    """
    found: dict[str, float] = {}

    def add(name, value):
        if isinstance(value, list):
            for place, one in enumerate(value):
                add(f"{name}/{place}", one)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = float(value)

    for name, value in entry.items():
        if name != "generation":
            add(name, value)
    return found


def to_tensorboard(logs: dict[str, list[dict]], folder: Path) -> int:
    """Write logs as runs of TensorBoard, a folder each, in place of those it wrote before.

    Args:
        logs: from ``read_logs``.
        folder: for ``tensorboard --logdir``.

    Returns:
        How many numbers were written.

    Raises:
        MissingExtraError: tensorboardX is not installed.
        OutputError: a folder of that name holds other files, or cannot be written.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise MissingExtraError('TensorBoard needs tensorboardX: pip install "collapse_jax[track]".') from None
    count = 0
    for name, entries in logs.items():
        place = folder / name
        others = [file.name for file in place.glob("*") if file.is_file() and ".tfevents." not in file.name]
        if others or (place.exists() and not place.is_dir()):
            raise OutputError(f"{place} holds files that are not TensorBoard's: name another folder.")
        try:
            for old in place.glob("*.tfevents.*"):
                old.unlink()
            with SummaryWriter(str(place)) as writer:
                for entry in entries:
                    for tag, value in scalars(entry).items():
                        writer.add_scalar(tag, value, entry["generation"])
                        count += 1
        except OSError as error:
            raise OutputError(f"cannot write {place}: {error.strerror or error}; name another folder.") from None
    return count
