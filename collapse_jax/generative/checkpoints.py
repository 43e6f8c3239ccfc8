"""Checkpoints of a training (or of any pytree of arrays), written by orbax, whole or not at all.

A checkpoint is a folder ``step_<number>`` of arrays (orbax: arrays and JSON, nothing is unpickled) and ``record.json``:
the settings it was made with, the shapes and types of its arrays and a checksum of every file. It is written under a
temporary name and renamed when it is whole; then older ones are removed, the last good one never before.
``restore`` takes the newest one whose files are all there and unchanged, and refuses one of other settings.

In a run of several processes every process calls ``save`` with the same arrays (they are on every device): process 0
writes; all read.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from collapse_jax.distributed import is_writer, put
from collapse_jax.errors import OutputError

_RECORD, _ARRAYS = "record.json", "arrays"


def _plain(tree) -> dict[str, np.ndarray]:
    """The arrays of a pytree by their path; the random bits of keys."""

    def array(leaf):
        keys = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if keys else leaf)

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"{number:05d}{jax.tree_util.keystr(path)}": array(leaf) for number, (path, leaf) in enumerate(leaves)}


def _shapes(arrays: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}" for name, leaf in arrays.items()}


def _digests(place: Path) -> dict[str, str]:
    """The checksum of every file below a folder, by its relative path."""
    files = sorted(file for file in place.rglob("*") if file.is_file())
    return {file.relative_to(place).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _folders(folder: Path) -> list[tuple[int, Path]]:
    """Checkpoints by step, newest first."""
    found = []
    for place in folder.glob("step_*") if folder.is_dir() else ():
        number = place.name.removeprefix("step_")
        if number.isdigit() and place.is_dir():
            found.append((int(number), place))
    return sorted(found, reverse=True)


def _settings(settings: Mapping) -> dict:
    """Settings as JSON gives them back."""
    try:
        return json.loads(json.dumps(dict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise OutputError(f"settings of a checkpoint must be numbers, texts and lists of them: {error}.") from None


def save(folder: Path, step: int, tree, settings: Mapping, *, keep: int = 1) -> None:
    """Write a checkpoint; then remove all but the newest ``keep``.

    Args:
        folder: where checkpoints of one training lie; made if missing.
        step: number of the checkpoint, >= 0; one of the same number is replaced.
        tree: pytree of arrays, such as ``training.State``.
        settings: what the training was made with, numbers, texts, lists: ``restore`` must be given the same.
        keep: checkpoints that stay, >= 1.

    Raises:
        OutputError: it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     save(Path(name), 7, {"w": np.ones(2)}, {"seed": 0})
    ...     step, tree = restore(Path(name), {"w": np.zeros(2)}, {"seed": 0})
    >>> step, tree["w"].tolist()
    (7, [1.0, 1.0])
    """
    described = _settings(settings)
    arrays = _plain(tree)
    if not is_writer():
        return
    place = folder.absolute() / f"step_{step}"
    ready = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir()
        _write(ready / _ARRAYS, arrays)
        record = {"settings": described, "arrays": _shapes(arrays), "sha256": _digests(ready / _ARRAYS)}
        (ready / _RECORD).write_text(json.dumps(record, indent=2) + "\n")
        for file in ready.rglob("*"):  # on the disk before the name is
            if file.is_file():
                with open(file, "rb") as written:
                    os.fsync(written.fileno())
        if place.exists():  # the same step once more: out of the way until the new one stands
            old = ready.with_name(ready.name + ".old")
            os.replace(place, old)
            os.replace(ready, place)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(ready, place)
    except (OSError, ValueError, RuntimeError) as error:  # tensorstore tells of a full disk by an error of value
        raise OutputError(f"cannot write checkpoint {place}: {_reason(error)}; free space.") from None
    finally:
        shutil.rmtree(ready, ignore_errors=True)
    # later ones are of a training that was taken up again before them: broken, or they would have been its start
    found = _folders(folder)
    for number, old in found:
        if number > step or number not in [kept for kept, _ in found if kept <= step][: max(keep, 1)]:
            shutil.rmtree(old, ignore_errors=True)


def _reason(error: Exception) -> str:
    """Why writing failed, without the list of places that tensorstore puts before it."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    told = re.search(r"([^:]+) \[os_error_code", str(error))
    return told[1].strip() if told else str(error).partition("\n")[0][:200]


def _alone() -> dict:
    """Options of orbax for a process that writes or reads by itself, whatever the others do."""
    return (
        {
            "multiprocessing_options": ocp.options.MultiprocessingOptions(
                primary_host=None,
                active_processes={jax.process_index()},
                barrier_sync_key_prefix=f"p{jax.process_index()}",
            )
        }
        if jax.process_count() > 1
        else {}
    )


def _write(place: Path, arrays: dict[str, np.ndarray]) -> None:
    with ocp.Checkpointer(ocp.StandardCheckpointHandler(), **_alone()) as writer:
        writer.save(place, args=ocp.args.StandardSave(arrays))


def _read(place: Path) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint, proved to be those that were saved.

    Raises:
        OutputError: something is missing, broken or changed.
    """
    try:
        record = json.loads((place / _RECORD).read_text())
        # first of all: orbax leaves work behind in its event loop when it stumbles over a broken file
        found = _digests(place / _ARRAYS)
        wrong = [name for name in sorted({*found, *record["sha256"]}) if found.get(name) != record["sha256"].get(name)]
        if wrong:
            raise ValueError(f"{wrong[0]} is missing, new or changed")
        blank = {name: np.zeros(*_parsed(text)) for name, text in record["arrays"].items()}
        with ocp.Checkpointer(ocp.StandardCheckpointHandler(), **_alone()) as reader:
            arrays = reader.restore((place / _ARRAYS).absolute(), args=ocp.args.StandardRestore(blank))
    except Exception as error:  # orbax, tensorstore and JSON each have errors of their own for what they cannot read
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise OutputError(f"checkpoint {place} is broken ({reason}): remove it.") from None
    return {name: np.asarray(leaf) for name, leaf in arrays.items()}


def _parsed(text: str) -> tuple[tuple[int, ...], np.dtype]:
    name, _, shape = text.partition("[")
    return tuple(json.loads("[" + shape)), jnp.dtype(name)


def difference(found, wanted, name: str = "") -> str:
    """What differs between two settings, as text; empty if nothing does.

    >>> difference({"seed": 0}, {"seed": 1})
    'seed was 0, now 1'
    """
    if isinstance(found, dict) and isinstance(wanted, dict):
        parts = [
            difference(found.get(key, "nothing"), wanted.get(key, "nothing"), f"{name}.{key}" if name else str(key))
            for key in sorted({*found, *wanted})
        ]
        return "; ".join(part for part in parts if part)
    return "" if found == wanted else f"{name} was {found!r}, now {wanted!r}"


def restore(folder: Path, like, settings: Mapping):
    """The newest whole checkpoint of a training, or None if there is no checkpoint.

    Args:
        folder: the folder given to ``save``.
        like: pytree of arrays of the shapes and types wanted; arrays of JAX say where the restored ones go.
        settings: must be those of ``save``.

    Returns:
        ``(step, tree)``.

    Raises:
        OutputError: the checkpoint was made with other settings or for other arrays (shows the difference), or none of
            them can be read (says why).
    """
    wanted, arrays = _settings(settings), _plain(like)
    broken = []
    for step, place in _folders(folder):
        try:
            found = json.loads((place / _RECORD).read_text())
            changed = difference(found["settings"], wanted)
            reshaped = difference(found["arrays"], _shapes(arrays))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            broken.append(f"checkpoint {place} is broken ({error}): remove it.")
            continue
        if changed:
            raise OutputError(f"checkpoint {place} was made with other settings: {changed}; name another folder.")
        if reshaped:
            raise OutputError(f"checkpoint {place} is of another network: {reshaped[:300]}; name another folder.")
        try:
            values = [leaf for _, leaf in sorted(_read(place).items())]
        except OutputError as error:
            broken.append(str(error))
            continue
        return step, jax.tree.unflatten(jax.tree.structure(like), list(map(_like, values, jax.tree.leaves(like))))
    if broken:
        raise OutputError(broken[0])
    return None


def continued(folder: Path | None, state, settings: Mapping, steps: int, *, every: float = 60.0):
    """A training that is kept while it goes on: the state to start from, and a callback for ``training.train``.

    Args:
        folder: for its checkpoints; None keeps nothing.
        state: a ``training.State``, where it starts if nothing is kept.
        settings: of the training, as in ``save``.
        steps: at which it ends; the end itself is left to the caller.
        every: seconds between two checkpoints.

    Returns:
        ``(state, callback)``, the callback None if nothing is kept.

    Raises:
        OutputError: as ``restore`` and ``save``.

    >>> continued(None, {"w": 1}, {}, 10)
    ({'w': 1}, None)
    """
    if folder is None:
        return state, None
    kept, last = restore(folder, state, settings), time.monotonic()

    def keep(step, _, state):
        nonlocal last
        if step < steps and time.monotonic() - last >= every:
            save(folder, step, state, settings)
            last = time.monotonic()

    return (state if kept is None else kept[1]), keep


def _like(value: np.ndarray, leaf):
    """A restored array as the leaf was: a key, an array of JAX on the same devices, or of NumPy."""
    if not isinstance(leaf, jax.Array):
        return value
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return put(jax.random.wrap_key_data(jnp.asarray(value), impl=jax.random.key_impl(leaf)), leaf.sharding)
    return put(value, leaf.sharding)
