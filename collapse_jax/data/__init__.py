"""Real data to start a chain from."""

from collapse_jax.data.images import ImageSet, centred, digits, idx_images, load, read_idx, read_npz

__all__ = ["ImageSet", "centred", "digits", "idx_images", "load", "read_idx", "read_npz"]
