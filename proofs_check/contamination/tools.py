"""Definitions from which the checks start: multinomial rounds, enumerated in rationals or by their second moments."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import comb

import numpy as np
import sympy as sp

alpha, A, n, m, H = sp.symbols("alpha A n m H", positive=True)
# positive numbers whose images run over (0, 1) and (1, infinity)
u, v, w = sp.symbols("u v w", positive=True)


def inside(expression, **symbols):
    """The expression with alpha in (0, 1), A in (0, 1), n and m above 1, written in positive symbols."""
    images = {alpha: 1 / (1 + u), A: 1 / (1 + v), n: 1 + w}
    return sp.cancel(sp.together(expression.subs(images, simultaneous=True)))


def rho(share=alpha, size=n):
    """Factor of one round."""
    return (1 - 1 / size) * (1 - share) ** 2


def after(before, share=alpha, size=n):
    """One round of the scalar recursion."""
    return 1 / size + rho(share, size) * before


@cache
def compositions(total: int, parts: int) -> tuple:
    """All counts of ``total`` tokens."""
    if parts == 1:
        return ((total,),)
    return tuple((k, *rest) for k in range(total + 1) for rest in compositions(total - k, parts - 1))


def multinomial(counts: Sequence[int], law: Sequence[Fraction]) -> Fraction:
    """Probability of the counts."""
    left, out = sum(counts), Fraction(1)
    for count, chance in zip(counts, law, strict=True):
        out *= comb(left, count) * chance**count
        left -= count
    return out


def round_of(states: dict, truth, share: Fraction, size: int, smoothing: Fraction = Fraction(0)) -> dict:
    """The law of the next table from that of this one, every origin and token summed over."""
    grown: dict = {}
    total = size + len(truth) * smoothing
    for table, weight in states.items():
        law = [share * p + (1 - share) * q for p, q in zip(truth, table, strict=True)]
        for counts in compositions(size, len(truth)):
            made = tuple((count + smoothing) / total for count in counts)
            grown[made] = grown.get(made, Fraction(0)) + weight * multinomial(counts, law)
    return grown


def first_of(truth, size: int, smoothing: Fraction = Fraction(0)) -> dict:
    """The law of the first table."""
    return round_of({tuple(truth): Fraction(1)}, truth, Fraction(1), size, smoothing)


def mean_of(states: dict, function):
    """Mean of a function of the table."""
    return sum(weight * function(table) for table, weight in states.items())


def squared(table, truth):
    """Squared distance."""
    return sum((q - p) ** 2 for p, q in zip(truth, table, strict=True))


def random_truth(rng: np.random.Generator, tokens: int) -> tuple[Fraction, ...]:
    """A law of small rationals, every token possible."""
    parts = [int(k) for k in rng.integers(1, 6, tokens)]
    return tuple(Fraction(k, sum(parts)) for k in parts)


def random_share(rng: np.random.Generator) -> Fraction:
    """A share in [0, 1], its ends included."""
    return Fraction(int(rng.integers(0, 5)), 4)


def diversity(truth):
    """H*."""
    return 1 - sum(p * p for p in truth)
