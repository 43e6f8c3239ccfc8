"""Training on a contaminated source: the checks of CON-1 to CON-18.

``tools`` holds the chain by its definition, in exact numbers: rounds of a few tokens with their whole distribution, and
second moments by the tower rule. Each other module covers one part of the story; ``library`` holds the code.
"""

from proofs_check.contamination import (
    improvement,
    library,
    policies,
    recursion,
    schedules,
    tails,
    variants,
)

__all__ = ["improvement", "library", "policies", "recursion", "schedules", "tails", "variants"]
