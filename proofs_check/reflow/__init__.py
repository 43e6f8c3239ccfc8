"""Rectified flow refitted on itself: the checks of RF-3 to RF-18.

``tools`` integrates fitted velocities from their definition; ``single`` covers one fit, ``independent`` chains with
fresh noise, ``pairs`` chains that keep their pairs; ``library`` holds the code against the definitions in 40 digits.
"""

from proofs_check.reflow import independent, library, pairs, single, tools

__all__ = ["independent", "library", "pairs", "single", "tools"]
