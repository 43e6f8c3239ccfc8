"""CIFAR-10 as it is published: batches of pickles ("python version") or of records ("binary version"), packed or not.

The python version is a pickle, and a pickle can name any function to be called while it is read. Here none is: the few
names that an array of bytes needs are answered by stand-ins that only remember what they were told, and every other
name is refused. Archives are read as a stream, within limits; nothing of them is ever written to disk.
"""

import gzip
import io
import pickle
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from collapse_jax.data.images import ImageSet, PathLike

BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
MAX_FILE = 2**26  # bytes of one batch: those of CIFAR-10 have 31 million
MAX_ARCHIVE = 2**29  # bytes of a whole archive, unpacked
_PIXELS = 3 * 32 * 32

_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_NAMES = {(module, "_reconstruct") for module in _ARRAYS} | {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
_UNREADABLE = (
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)


class _StandIn:
    """What a pickle gets instead of a name of NumPy: it remembers arguments and state, and runs nothing."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple = ()):
        self.name, self.arguments, self.state = name, arguments, None

    def __call__(self, *arguments):
        if self.name == "encode":  # bytes in a pickle of protocol 2 that Python 3 wrote
            text, encoding = arguments
            if encoding not in ("latin1", b"latin1"):
                raise ValueError(f"bytes in {encoding!r}")
            return text.encode("latin1")
        return _StandIn(self.name, arguments)

    def __setstate__(self, state):
        self.state = state


# The unpickler in Python, not the one in C: it takes no memory beyond what the file holds, whatever the file claims.
class _Unpickler(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Reads plain data and arrays of bytes."""

    def find_class(self, module, name):
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not read")
        return _StandIn(name)

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("it refers to another file")


def unpickle(data: bytes):
    """Read a pickle of numbers, strings, bytes, lists, tuples, dicts and uint8 arrays; nothing of it is executed.

    Raises:
        ValueError: it is damaged, or holds anything else; names what.

    >>> unpickle(pickle.dumps({b"labels": [3, 1], b"data": np.zeros((2, 2), np.uint8)}, protocol=2))[b"data"].shape
    (2, 2)
    """
    try:
        return _plain(_Unpickler(io.BytesIO(data), encoding="bytes").load(), {})
    except _UNREADABLE as error:
        raise ValueError(f"no pickle of plain data: {str(error) or type(error).__name__}") from None


def _plain(value, known: dict):
    """The value with arrays in the place of stand-ins; each object once, however often it is referred to."""
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, _StandIn):
        made = _array(value)
    elif isinstance(value, dict):
        made = {key: _plain(entry, known) for key, entry in value.items()}
    elif isinstance(value, list | tuple):
        made = type(value)(_plain(entry, known) for entry in value)
    elif value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    else:
        raise ValueError(f"a {type(value).__name__}")
    known[id(value)] = made
    return made


def _array(part: _StandIn) -> np.ndarray:
    if part.name != "_reconstruct" or not isinstance(part.state, tuple) or len(part.state) != 5:
        raise ValueError(f"numpy's {part.name} without its data")
    _, shape, kind, by_columns, data = part.state
    code = kind.arguments[0] if isinstance(kind, _StandIn) and kind.name == "dtype" and kind.arguments else None
    if code not in ("u1", b"u1", "|u1", b"|u1") or not isinstance(data, bytes):
        raise ValueError(f"an array of {code!r}; only bytes ('u1') are read")
    if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise ValueError(f"an array of shape {shape!r}")
    return np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _Limited(io.RawIOBase):
    """A stream that ends with an error once more than ``limit`` bytes have come out of it."""

    def __init__(self, stream, limit: int):
        self.stream, self.left = stream, limit

    def readable(self):
        return True

    def read(self, size=-1):
        data = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise ValueError("it unpacks to more than 512 MiB")
        return data


def _from_archive(path: Path, wanted: set[str]) -> dict[str, bytes]:
    """Contents of the wanted regular files, wherever in the archive they are; none is written to disk."""
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path) as unpacked, tarfile.open(fileobj=_Limited(unpacked, MAX_ARCHIVE), mode="r|") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name not in wanted or not member.isreg():
                    continue
                if member.size > MAX_FILE or name in found:
                    raise ValueError(f"{member.name} has {member.size} bytes, or is there twice")
                opened = archive.extractfile(member)
                data = b"" if opened is None else opened.read()
                if len(data) != member.size:
                    raise ValueError(f"{member.name} ends early")
                found[name] = data
    except (EOFError, gzip.BadGzipFile, tarfile.TarError, zlib.error, ValueError) as error:
        raise ValueError(f"{path}: no archive of CIFAR-10 ({error}); get the file again") from None
    return found


def _from_folder(folder: Path, wanted: set[str]) -> dict[str, bytes]:
    found = {}
    for name in sorted(wanted):
        file = folder / name
        if file.is_file():
            if file.stat().st_size > MAX_FILE:
                raise ValueError(f"{file}: has {file.stat().st_size} bytes; a batch of CIFAR-10 has 31 million")
            found[name] = file.read_bytes()
    return found


def has_batches(folder: Path) -> bool:
    """Does a folder hold a batch of CIFAR-10, of either version?"""
    return any(
        (folder / f"{name}{end}").is_file() for names in BATCHES.values() for name in names for end in ("", ".bin")
    )


def read_cifar(path: PathLike, split: Literal["train", "test"] = "train") -> ImageSet:
    """Read CIFAR-10 from its archive (``.tar.gz``), the folder with its batches, or one file of binary records.

    Both published versions are read: pickles with ``data`` uint8 ``[n, 3072]`` (planes of red, green, blue) and
    ``labels``, and records of 3073 bytes, the label first. A training set may have fewer than its five batches.

    Raises:
        FileNotFoundError: it is not there, or holds no batch of that split.
        ValueError: a batch is malformed, truncated or too large, or holds more than plain data.
    """
    path = Path(path)
    names = BATCHES[split]
    wanted = {f"{name}{end}" for name in names for end in ("", ".bin")}
    if path.is_dir():
        found = _from_folder(path, wanted)
    elif path.suffix == ".bin" and path.is_file():
        own = path.name.removesuffix(".bin")
        if own in (*BATCHES["train"], *BATCHES["test"]) and own not in names:
            raise ValueError(f"{path}: is no batch of the {split} images; give the folder, or the other split")
        found = {path.name: _from_folder(path.parent, {path.name})[path.name]}
        names = (own,)
    elif path.is_file():
        found = _from_archive(path, wanted)
    else:
        raise FileNotFoundError(f"{path}: no such file or folder; give CIFAR-10's archive or the folder of its batches")
    parts = []
    for name in names:
        if name in found:
            parts.append(_pickled(f"{path}: {name}", found[name]))
        elif f"{name}.bin" in found:
            parts.append(_records(f"{path}: {name}.bin", found[f"{name}.bin"]))
    if not parts:
        raise FileNotFoundError(f"{path}: holds none of {', '.join(names)} (or the same with .bin)")
    planes = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([labels for _, labels in parts])
    return ImageSet(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels, "cifar10")


def _pickled(what: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = unpickle(data)
    except ValueError as error:
        raise ValueError(f"{what}: {error}; get the file again") from None
    batch = batch if isinstance(batch, dict) else {}
    pixels, labels = (batch.get(key, batch.get(key.decode())) for key in (b"data", b"labels"))
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS or not len(pixels):
        raise ValueError(f"{what}: holds no array data, uint8 [n, {_PIXELS}]; get the file again")
    if not isinstance(labels, list) or len(labels) != len(pixels) or not all(_is_class(label) for label in labels):
        raise ValueError(f"{what}: holds no list labels of {len(pixels)} numbers 0 ... 9; get the file again")
    return pixels, np.array(labels, np.int64)


def _is_class(label) -> bool:
    return isinstance(label, int) and 0 <= label <= 9


def _records(what: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    if not data or len(data) % (_PIXELS + 1):
        raise ValueError(f"{what}: has {len(data)} bytes, no whole number of records of {_PIXELS + 1}; get it again")
    records = np.frombuffer(data, np.uint8).reshape(-1, _PIXELS + 1)
    if records[:, 0].max() > 9:
        raise ValueError(f"{what}: a record has label {records[:, 0].max()}; those of CIFAR-10 are 0 ... 9")
    return records[:, 1:], records[:, 0].astype(np.int64)
