"""Image sets: the digits that ship with scikit-learn, IDX files (MNIST, Fashion-MNIST), ``.npz``; ``load`` knows more.

Nothing here reaches for the network. Every reader checks what it reads and refuses what does not fit in one line
that names the file, what was found there and what would do; a set that is missing is never replaced by another.
"""

import gzip
import io
import math
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from collapse_jax.data.cache import cache_folder

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
MAX_BYTES = 2**31  # of pixels in one file: more is a mistake or an attack, not a set for this project

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels.

    Attributes:
        images: uint8 ``[n, height, width, channels]``, pixel values 0 … ``levels``.
        labels: int64 ``[n]``, the class of each image, or None where the source has none.
        name: what the set is called in tables and captions.
        levels: the value that stands for full brightness.

    Raises:
        ValueError: if the parts do not fit together.
    """

    images: np.ndarray
    labels: np.ndarray | None
    name: str
    levels: int = 255

    def __post_init__(self):
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
            raise ValueError(
                f"{self.name}: images are {images.dtype} of shape {images.shape}; "
                "give a non-empty uint8 array [n, height, width, channels]"
            )
        if images.max() > self.levels:
            raise ValueError(
                f"{self.name}: a pixel has value {images.max()} but levels is {self.levels}; raise levels (at most 255)"
            )
        if labels is not None and (labels.dtype != np.int64 or labels.shape != images.shape[:1]):
            raise ValueError(
                f"{self.name}: labels are {labels.dtype} of shape {labels.shape}; "
                f"give int64 of shape ({len(images)},), one for each image"
            )


def centred(images: ImageSet) -> tuple[Float[np.ndarray, "d n"], Float[np.ndarray, " d"]]:
    """Return the images as columns in [-1, 1] with their mean removed, and that mean.

    Pixels are scaled to [0, 1] first; ``d = height * width * channels``. The mean goes because the theory is about
    the second moment, in which a mean would be one large direction that outlives all others.

    >>> points, mean = centred(digits())
    >>> points.shape, mean.shape, bool(abs(points.mean(axis=1)).max() < 1e-12)
    ((64, 1797), (64,), True)
    """
    flat = images.images.reshape(len(images.images), -1)
    points = flat.T / np.float64(images.levels)
    mean = points.mean(axis=1)
    return points - mean[:, None], mean


@dataclass(frozen=True, eq=False)
class Whitening:
    """The affine map that gives points unit covariance along their strongest principal directions.

    Attributes:
        mean: ``[d]``, removed first.
        directions: ``[d, r]``, orthonormal, strongest first; each turned so that its largest entry is positive.
        variances: ``[r]`` of the points along them.
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray

    def apply(self, points: Float[np.ndarray, "d n"]) -> Float[np.ndarray, "r n"]:
        """Whitened coordinates of points."""
        return self.directions.T @ (points - self.mean[:, None]) / np.sqrt(self.variances)[:, None]

    def invert(self, whitened: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "d n"]:
        """Points with given whitened coordinates; what the directions left out leave is the mean."""
        return self.directions @ (whitened * np.sqrt(self.variances)[:, None]) + self.mean[:, None]


def whitening(points: Float[np.ndarray, "d n"], components: int) -> Whitening:
    """Return the map onto the ``components`` strongest principal directions, each scaled to variance 1.

    Raises:
        ValueError: if the points do not spread in that many directions.

    >>> points, _ = centred(digits())
    >>> white = whitening(points, 20).apply(points)
    >>> white.shape, bool(abs(white @ white.T / white.shape[1] - np.eye(20)).max() < 1e-12)
    ((20, 1797), True)
    """
    mean = points.mean(axis=1)
    off = points - mean[:, None]
    variances, directions = np.linalg.eigh(off @ off.T / points.shape[1])
    variances, directions = variances[::-1], directions[:, ::-1]
    # what rounding leaves of a direction without spread would be blown up to noise of variance 1
    rank = int((variances > 1e-10 * variances[0]).sum())
    if not 1 <= components <= rank:
        raise ValueError(
            f"components must be 1 ... {rank}, the directions in which the points spread, got {components}"
        )
    directions = directions[:, :components]
    strongest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)
    return Whitening(mean, directions * np.sign(strongest), variances[:components])


def load(source: PathLike, split: Literal["train", "test"] = "train", *, least: int = 1) -> ImageSet:
    """Return the images that a ``--data`` flag names.

    Args:
        source: ``"digits"``, ``"fashion-mnist"``, ``"cifar10"``, or a path: a folder of IDX files, of CIFAR-10 batches
            or of pictures of one size, CIFAR-10's archive (``.tar.gz``) or its records (``.bin``), an ``.npz``.
        split: the part that the source itself sets aside for tests, where it does: Fashion-MNIST, CIFAR-10, IDX files.
        least: fewer images are refused.

    Raises:
        FileNotFoundError: if it is not there; for a set that can be fetched the message says by which command.
        ValueError: if what is there is no image set, has no such part, or too few images.

    >>> load("digits").images.shape
    (1797, 8, 8, 1)
    """
    found = _found(source, split)
    if len(found.images) < least:
        raise ValueError(f"{source}: holds {len(found.images)} images; {least} or more are needed")
    return found


def _found(source: PathLike, split: Literal["train", "test"]) -> ImageSet:
    from collapse_jax.data import cifar, pictures

    path = Path(source)
    if source == "fashion-mnist":
        return idx_images(_fashion_mnist(), split, name="fashion-mnist")
    if source == "cifar10":
        return cifar.read_cifar(_cifar10(), split)
    if path.is_dir():
        if any(_idx_file(path / f"{prefix}-images-idx3-ubyte") for prefix in ("train", "t10k")):
            return idx_images(path, split)
        if cifar.has_batches(path):
            return cifar.read_cifar(path, split)
    if path.name.endswith((".tar.gz", ".tgz")) or (path.suffix == ".bin" and path.is_file()):
        return cifar.read_cifar(path, split)
    if split == "test":
        raise ValueError(f"{source}: sets no images aside for tests; hold some of them out")
    if source == "digits":
        return digits()
    if path.suffix == ".npz":
        return read_npz(path)
    if path.is_dir():
        if pictures.picture_files(path):
            return pictures.read_pictures(path)
        raise FileNotFoundError(
            f"{path}: holds neither IDX files (train-images-idx3-ubyte, plain or .gz), batches of CIFAR-10 nor PNG or "
            "JPEG pictures; put one of them there"
        )
    if path.exists():
        raise ValueError(f"{path}: neither a folder, an .npz file, a .tar.gz nor a .bin; give one of these")
    raise FileNotFoundError(
        f"{path}: no such image set; give digits, fashion-mnist, cifar10, a folder of IDX files, of CIFAR-10 batches "
        "or of pictures, CIFAR-10's .tar.gz or an .npz archive"
    )


def _fashion_mnist() -> Path:
    kept = cache_folder() / "fashion-mnist"
    for folder in (kept, FASHION_MNIST):
        if _idx_file(folder / "train-images-idx3-ubyte"):
            return folder
    raise FileNotFoundError(
        f"fashion-mnist: is neither in {kept} nor in {FASHION_MNIST}; get it with: collapse download fashion-mnist "
        "(on Debian also: apt-get install dataset-fashion-mnist), or give the path of a folder with its IDX files"
    )


def _cifar10() -> Path:
    kept = cache_folder() / "cifar10"
    for archive in ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"):
        if (kept / archive).is_file():
            return kept / archive
    raise FileNotFoundError(
        f"cifar10: no archive in {kept}; get it with: collapse download cifar10 (or give the path of "
        "cifar-10-python.tar.gz, or of a folder with its batches)"
    )


def digits() -> ImageSet:
    """Return the 1797 grey 8x8 digits that scikit-learn bundles, with pixel values 0 … 16.

    >>> digits().images.shape, digits().levels
    ((1797, 8, 8, 1), 16)
    """
    from sklearn.datasets import load_digits  # takes a second to import, and only this function needs it

    pixels, labels = load_digits(return_X_y=True)
    return ImageSet(pixels.reshape(-1, 8, 8, 1).astype(np.uint8), labels.astype(np.int64), "digits", levels=16)


def idx_images(folder: PathLike, split: Literal["train", "test"] = "train", *, name: str | None = None) -> ImageSet:
    """Read grey images and labels from a folder with the IDX files of MNIST or Fashion-MNIST, plain or ``.gz``.

    The set is called ``name``; None calls it after the folder.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is malformed or the two do not belong together.
    """
    folder = Path(folder)
    prefix = {"train": "train", "test": "t10k"}[split]
    images = read_idx(_plain_or_gz(folder / f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_plain_or_gz(folder / f"{prefix}-labels-idx1-ubyte"))
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise ValueError(
            f"{folder}: the {split} files hold images of shape {images.shape} and labels of shape {labels.shape}; "
            "expected (n, height, width) and (n,)"
        )
    return ImageSet(images[..., None], labels.astype(np.int64), name or folder.resolve().name)


def _idx_file(path: Path) -> Path | None:
    both = (path, path.with_name(f"{path.name}.gz"))
    return next((candidate for candidate in both if candidate.is_file()), None)


def _plain_or_gz(path: Path) -> Path:
    if found := _idx_file(path):
        return found
    raise FileNotFoundError(f"{path.parent}: neither {path.name} nor {path.name}.gz is there; put one of them there")


def read_idx(path: PathLike) -> UInt8[np.ndarray, "..."]:
    """Read one IDX file of unsigned bytes, gzip-compressed or not, in the shape that its header states.

    The format is two zero bytes, a type code, the number of axes, their big-endian 32-bit sizes, then the values.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an IDX file of bytes, or holds fewer or more bytes than it says, or over 2 GiB.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of an IDX file")
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _read_idx(path, gzip.GzipFile(fileobj=file) if compressed else file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip data ({error}); get the file again") from error


def _read_idx(path: Path, file: io.BufferedIOBase) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"{path}: starts with bytes {magic.hex(' ') or 'none'}; an IDX file starts with 00 00")
    code, rank = magic[2:]
    if code != 0x08 or rank == 0:
        raise ValueError(
            f"{path}: holds type 0x{code:02x} with {rank} axes; only bytes (0x08) with an axis or more are read"
        )
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError(f"{path}: ends within its header; get the file again")
    shape = struct.unpack(f">{rank}i", sizes)
    if min(shape) < 1 or (expected := math.prod(shape)) > MAX_BYTES:
        raise ValueError(f"{path}: header says shape {shape}; every axis must be positive and the whole at most 2 GiB")
    # In pieces, and never past one byte too many: a header that lies costs no more memory than the file holds.
    data = bytearray()
    while len(data) <= expected and (piece := file.read(min(expected + 1 - len(data), 2**20))):
        data += piece
    if len(data) != expected:
        found = f"{len(data)}" if len(data) < expected else "more"
        raise ValueError(f"{path}: header says shape {shape}, {expected} bytes, but {found} follow; get the file again")
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_npz(path: PathLike) -> ImageSet:
    """Read an ``.npz`` archive: ``images``, uint8 ``[n, height, width, channels]``, and optionally integer ``labels``.

    Pickled arrays are refused: they could run code.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such an archive, or holds over 2 GiB of pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of an .npz archive")
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
        if "images.npy" not in sizes:
            raise ValueError("no array 'images'")
        if max(sizes.values()) > MAX_BYTES:
            raise ValueError("an array of over 2 GiB")
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays["images"]
            labels = arrays.get("labels")
    except (EOFError, MemoryError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: {error}; give an archive made by numpy.savez(file, images=..., labels=...)"
        ) from error
    if labels is not None:
        if labels.dtype.kind not in "iu":
            raise ValueError(f"{path}: labels are {labels.dtype}; give integers")
        labels = labels.astype(np.int64)
    return ImageSet(images, labels, path.stem)
