"""Results on disk: a folder per run, written under a temporary name and renamed, so that it is whole or absent.

A finished folder holds ``settings.json`` (preset, seed, every setting), ``environment.json`` (versions, machine,
times), ``arrays.npz`` (everything the figures need, named ``stage/array``), ``verdicts.json``, the figures, and in
``logs`` a file of JSON lines for every run over generations. While a run is under way its finished stages lie in
``<out>.partial``; the same command continues from there.
"""

import json
import os
import platform
import shutil
import sys
import tempfile
import time
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from collapse_jax.data.logs import LOG
from collapse_jax.distributed import is_writer
from collapse_jax.errors import OutputError

PACKAGES = ("collapse_jax", "jax", "jaxlib", "numpy", "scipy", "flax", "optax", "scikit-learn", "matplotlib")


def write_json(path: Path, value) -> None:
    """Write JSON whole or not at all."""
    _replace(path, lambda file: file.write(json.dumps(value, indent=2, allow_nan=False).encode() + b"\n"))


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed ``.npz`` whole or not at all."""
    _replace(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def _replace(path: Path, write) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; free space or choose another --out.") from None
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path):
    """Read a JSON file of a results folder.

    Raises:
        OutputError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot read {path}: {error}; run the experiment again to make it.") from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an ``.npz`` of a results folder; pickled content is refused.

    Raises:
        OutputError: it is missing or malformed.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise OutputError(f"cannot read {path}: {error}; run the experiment again to make it.") from None


def require_writable(out: Path) -> None:
    """Refuse an output folder that could not be written, before any work is done.

    Raises:
        OutputError: the path is a file, or the nearest existing parent cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"--out {out} is a file: name a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / "settings.json").is_file():
        raise OutputError(f"--out {out} holds files that are no results of an experiment: name another folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise OutputError(f"--out {out} cannot be written: {error.strerror}; name another folder.") from None


class Partial:
    """The folder of a run under way: stages already done are read back instead of computed again."""

    def __init__(self, out: Path, settings: dict):
        self.folder = out.with_name(out.name + ".partial")
        self.settings = settings
        self.resumed = False
        identity = json.loads(json.dumps({"settings": settings, "versions": versions()}))
        marker = self.folder / "run.json"
        if marker.is_file():
            found = read_json(marker)
            if found != identity:
                from collapse_jax.generative.checkpoints import difference  # a slow import

                changed = difference(found, identity)
                # its stages would not be those of this run, and may be hours of work
                raise OutputError(
                    f"{self.folder} is a run that was not finished, of other settings: {changed}; name another --out, "
                    "or remove it."
                )
            self.resumed = True
        elif is_writer():
            shutil.rmtree(self.folder, ignore_errors=True)
            try:
                self.folder.mkdir(parents=True)
            except OSError as error:
                raise OutputError(
                    f"cannot make {self.folder}: {error.strerror}; free space or name another --out."
                ) from None
            write_json(marker, identity)

    def load(self, stage: str):
        """Arrays and record of a finished stage, or None."""
        if not (self.folder / f"{stage}.json").is_file():
            return None
        return read_arrays(self.folder / f"{stage}.npz"), read_json(self.folder / f"{stage}.json")

    def save(self, stage: str, arrays: dict[str, np.ndarray], record: dict) -> None:
        """Keep a finished stage; the record is written last and marks it as whole."""
        write_arrays(self.folder / f"{stage}.npz", arrays)
        write_json(self.folder / f"{stage}.json", record)

    def finish(self, out: Path, files: dict[str, object], arrays: dict[str, np.ndarray], figures) -> None:
        """Put everything into ``out`` at once: a complete folder takes the place of the former one."""
        ready = out.with_name(f".{out.name}.{os.getpid()}.ready")
        old = out.with_name(f".{out.name}.{os.getpid()}.old")
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir()
        try:
            for name, value in files.items():
                write_json(ready / name, value)
            write_arrays(ready / "arrays.npz", arrays)
            for log in sorted(self.folder.rglob(LOG)):
                place = log.parent.relative_to(self.folder)
                kept = ready / "logs" / place.parent / f"{place.name}.jsonl"
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, kept)
            figures(ready)
            if out.exists():
                os.replace(out, old)
            os.replace(ready, out)
        except OSError as error:
            raise OutputError(f"cannot write {out}: {error}; the finished stages are kept.") from None
        finally:
            shutil.rmtree(ready, ignore_errors=True)
            if old.exists() and not out.exists():  # stopped between the two: the former results stay
                os.replace(old, out)
            shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def environment(started: float, seconds: float) -> dict:
    """What the run was made with and on, and how long it took."""
    import jax

    return {
        "versions": versions(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "devices": [str(device) for device in jax.devices()],
        "x64": bool(jax.config.read("jax_enable_x64")),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(seconds, 1),
    }
