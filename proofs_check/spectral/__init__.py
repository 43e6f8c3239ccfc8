"""Recursively trained diffusion with truncation: the checks of SP-1 to SP-19.

``tools`` holds the definitions that every derivation starts from, ``laws`` normal mixtures in numbers; each other
module covers one part of the story. ``chains`` holds one chain in balls, against which ``library`` and
``library_bounds`` hold the code.
"""

from proofs_check.spectral import (
    anchors,
    annealing,
    contraction,
    errors,
    library,
    library_bounds,
    modes,
    rounds,
    samples,
    size,
    slopes,
    variants,
)

__all__ = [
    "anchors",
    "annealing",
    "contraction",
    "errors",
    "library",
    "library_bounds",
    "modes",
    "rounds",
    "samples",
    "size",
    "slopes",
    "variants",
]
