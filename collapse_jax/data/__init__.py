"""Real data to start a chain from."""

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

__all__ = [
    "ImageSet",
    "Whitening",
    "centred",
    "digits",
    "idx_images",
    "load",
    "read_idx",
    "read_npz",
    "whitening",
]
