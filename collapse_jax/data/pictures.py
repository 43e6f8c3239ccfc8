"""A folder of pictures, PNG or JPEG, all of one size: read for a chain to start from, written for others to judge."""

import os
import shutil
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np

from collapse_jax.data import images as _images
from collapse_jax.data.images import ImageSet, PathLike

ENDINGS = (".png", ".jpg", ".jpeg")

_BROKEN = (EOFError, MemoryError, OSError, SyntaxError, ValueError, struct.error, zlib.error)


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS and file.is_file())


def read_pictures(folder: PathLike) -> ImageSet:
    """Read every PNG and JPEG of a folder, in the order of their names; no labels.

    Grey if all are grey, else in colour. What is transparent lies on white.

    Raises:
        FileNotFoundError: no such folder, or no picture in it.
        ValueError: sizes differ (names two files), a file is damaged, has more than 8 bits a channel, or all hold over
            2 GiB of pixels.
    """
    from PIL import Image  # takes a while to import, and only this function needs it

    folder = Path(folder)
    files = picture_files(folder) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"{folder}: no PNG or JPEG is there; give a folder of pictures of one size")
    pictures: list[np.ndarray] = []
    first = (0, 0)
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is looked at below
                opened = Image.open(file, formats=("PNG", "JPEG"))
            with opened as picture:
                first = first if pictures else picture.size
                if picture.size != first:
                    raise _Refused(
                        f"{folder}: pictures of different sizes, {files[0].name} {first[0]}x{first[1]} and {file.name} "
                        f"{picture.width}x{picture.height}; bring all to one size"
                    )
                if len(files) * first[0] * first[1] * 3 > _images.MAX_BYTES:
                    raise _Refused(
                        f"{folder}: {len(files)} pictures of {first[0]}x{first[1]} are over 2 GiB; give fewer"
                    )
                pictures.append(_pixels(file, picture))
        except _Refused as refusal:
            raise ValueError(str(refusal)) from None
        except (*_BROKEN, Image.DecompressionBombError) as error:
            raise ValueError(f"{file}: no picture that can be read ({error}); save it again as PNG or JPEG") from None
    if any(picture.ndim == 3 for picture in pictures):
        pictures = [np.stack([p] * 3, axis=-1) if p.ndim == 2 else p for p in pictures]
    stacked = np.stack(pictures)
    return ImageSet(stacked if stacked.ndim == 4 else stacked[..., None], None, folder.resolve().name)


class _Refused(Exception):
    """A refusal that is no damage of the file."""


def _pixels(file: Path, picture) -> np.ndarray:
    """uint8 ``[height, width]`` of a grey picture, ``[height, width, 3]`` of any other."""
    from PIL import Image

    if picture.mode in ("1", "L") and "transparency" not in picture.info:
        return np.asarray(picture.convert("L"))
    if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
        raise _Refused(f"{file}: has pixels of mode {picture.mode}; save it with 8 bits a channel")
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return np.asarray(picture.convert("RGB"))


def write_pictures(folder: PathLike, images: np.ndarray) -> None:
    """Write uint8 images ``[n, height, width, 1 or 3]`` as ``000000.png`` ... into a new folder, whole or not at all.

    Raises:
        ValueError: the folder is there already and holds something, or the images are none.
        OSError: it cannot be written.
    """
    from PIL import Image

    folder = Path(folder)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        raise ValueError(f"images must be uint8 [n, height, width, 1 or 3], got {images.dtype} of shape {images.shape}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: is there already and not an empty folder; name a new one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        for number, image in enumerate(images):
            Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(partial / f"{number:06d}.png")
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
