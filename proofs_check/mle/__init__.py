"""Iterative maximum likelihood: the checks of MLE-1 to MLE-21.

``reference`` runs chains of moments in 40 digits, against which ``library`` holds the code; each other module covers
one part of the story.
"""

from proofs_check.mle import consistency, counterexamples, discrete, gaussian, library, means, policies

__all__ = ["consistency", "counterexamples", "discrete", "gaussian", "library", "means", "policies"]
