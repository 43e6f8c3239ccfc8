"""Real data to start a chain from."""

from collapse_jax.data.cifar import read_cifar
from collapse_jax.data.images import (
    ImageSet,
    Whitening,
    centred,
    digits,
    idx_images,
    load,
    read_idx,
    read_npz,
    whitening,
)
from collapse_jax.data.pictures import read_pictures, write_pictures
from collapse_jax.data.text import Text, from_file, from_string, standard_library

__all__ = [
    "ImageSet",
    "Text",
    "Whitening",
    "centred",
    "digits",
    "from_file",
    "from_string",
    "idx_images",
    "load",
    "read_cifar",
    "read_idx",
    "read_npz",
    "read_pictures",
    "standard_library",
    "whitening",
    "write_pictures",
]
