"""Samples of a run as pictures or as one plain array, for programs that judge images, such as those that compute FID.

Pictures are numbered PNG files; the array is uint8 ``[n, height, width, channels]`` under the key ``images`` of an
``.npz``, which ``load`` reads too.
"""

import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from collapse_jax.data.images import PathLike
from collapse_jax.errors import OutputError, SpecError


def saved_array(source: PathLike, name: str | None = None) -> tuple[str, np.ndarray]:
    """An array of an ``.npz``, or of the ``arrays.npz`` of a results folder, and its name.

    Args:
        source: the file or folder.
        name: of the array; None takes the only one that could be images: uint8 or floats with three axes or more, the
            last of them 1 or 3 long if there are more than three.

    Raises:
        SpecError: no such array, or several that could be images; lists those there are.
        OutputError: the file cannot be read; pickled content is refused.
    """
    path = Path(source)
    path = path / "arrays.npz" if path.is_dir() else path
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no .npz" if path.exists() else "there is no such file")
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            names = list(file.files)
            if name is not None and name in names:
                return name, file[name]
            found = {} if name is not None else {each: file[each] for each in names}
    except (EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise OutputError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}; give a results folder or an .npz."
        ) from None
    if name is not None:
        raise SpecError(f"array {name!r} is not in {path}: there are {', '.join(names) or 'none'}.")
    likely = [each for each, array in found.items() if _could_be_images(array)]
    if len(likely) != 1:
        told = (
            f"several could be images: {', '.join(likely)}" if likely else f"none could be images: {', '.join(names)}"
        )
        raise SpecError(f"array must be named for {path}: {told}.")
    return likely[0], found[likely[0]]


def _could_be_images(array: np.ndarray) -> bool:
    kind = array.dtype == np.uint8 or array.dtype.kind == "f"
    return kind and (array.ndim == 3 or (array.ndim > 3 and array.shape[-1] in (1, 3))) and array.size > 0


def as_images(array, *, index=(), low: int | float | None = None, high: int | float | None = None) -> np.ndarray:
    """An array as uint8 images ``[n, height, width, 1 or 3]``.

    Args:
        array: ``[..., n, height, width, channels]`` or ``[..., n, height, width]``, uint8 or floats.
        index: the place on each of the leading axes, such as the generation.
        low, high: values of black and of full brightness, both or none; none is for uint8, 0 and 255. What lies outside
            is cut, as a screen does.

    Raises:
        SpecError: no images, a bad index or range, or numbers that are not finite.

    >>> as_images(np.array([[[-1.0, 0.0], [1.0, 3.0]]]), low=-1, high=1)[0, :, :, 0].tolist()
    [[0, 128], [255, 255]]
    """
    array = np.asarray(array)
    for axis, place in enumerate(index):
        images = array.ndim < 4 or (array.ndim == 4 and array.shape[3] in (1, 3))  # no axis left before them
        if images or not -len(array) <= place < len(array):
            raise SpecError(f"index {tuple(index)} must name places on axes before the images, got {place} at {axis}.")
        array = array[place]
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[3] not in (1, 3) or not array.size:
        raise SpecError(
            f"array must be [n, height, width] or [n, height, width, 1 or 3] after --index, got shape {array.shape}."
        )
    if (low is None) != (high is None) or (low is not None and high is not None and not low < high):
        raise SpecError(f"range must be two numbers, black below white, got {low} and {high}.")
    if low is None or high is None:
        if array.dtype != np.uint8:
            raise SpecError(f"range is needed for an array of {array.dtype}: pass --range BLACK WHITE, such as -1 1.")
        return array
    if array.dtype.kind not in "uif" or not np.isfinite(array).all():
        raise SpecError(f"array holds what is no finite number ({array.dtype}): look at the model that made it.")
    return np.rint(np.clip((array.astype(float) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def write_npz(path: PathLike, images: np.ndarray) -> None:
    """Write images under the key ``images`` of a compressed ``.npz``, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
        try:
            np.savez_compressed(file, allow_pickle=False, images=images)
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
