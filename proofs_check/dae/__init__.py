"""The linear denoising-autoencoder chain: the checks of DAE-1 to DAE-19.

``tools`` holds the definitions that every derivation starts from; each other module covers one part of the story.
"""

from proofs_check.dae import anchors, finite_sample, fit, kept_blocks, library, lifetime, real_share, replacement

__all__ = ["anchors", "finite_sample", "fit", "kept_blocks", "library", "lifetime", "real_share", "replacement"]
