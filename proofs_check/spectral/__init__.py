"""Recursively trained diffusion with truncation: the checks of SP-1 to SP-19.

``tools`` holds the definitions that every derivation starts from, ``laws`` normal mixtures in numbers; each other
module covers one part of the story.
"""

from proofs_check.spectral import (
    anchors,
    annealing,
    contraction,
    errors,
    modes,
    rounds,
    samples,
    size,
    slopes,
    variants,
)

__all__ = ["anchors", "annealing", "contraction", "errors", "modes", "rounds", "samples", "size", "slopes", "variants"]
