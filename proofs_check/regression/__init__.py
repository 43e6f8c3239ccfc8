"""Regression on self-made labels: the checks of REG-1 to REG-17.

``tools`` draws chains by brute force and solves the equation of kappa in balls; each other module covers one part of
the story; ``library`` holds the code against the formulas evaluated in balls.
"""

from proofs_check.regression import equivalents, isotropic, kernels, library, rounds, scaling, shares, tools

__all__ = ["equivalents", "isotropic", "kernels", "library", "rounds", "scaling", "shares", "tools"]
