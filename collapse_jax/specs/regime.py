"""What a generation trains on.

Generation t gets a *batch* of n_t points, a share alpha_t of them real and the rest made by model t - 1; the first
batch is all real. The regime says what becomes of the batches: *replace* trains on the last one, *accumulate* on all
of them, *accumulate-subsample* on n_t points drawn from all of them.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import as_float, check, concrete, parameter, pytree

Kind = Literal["replace", "accumulate", "accumulate-subsample"]
KINDS: tuple[Kind, ...] = ("replace", "accumulate", "accumulate-subsample")


@pytree
@dataclass(frozen=True)
class Regime:
    """What a generation trains on.

    Attributes:
        samples: n_t, points of a batch: one number, or a tuple with one for each generation, the first included.
        kind: ``replace``, ``accumulate`` or ``accumulate-subsample``.
        real_fraction: alpha_t in [0, 1], share of real points in a batch: one number, or ``[generations]``. The
            first batch is real whatever it says.
        split: ``random`` (every point is real with probability alpha_t) or ``fixed`` (exactly alpha_t n_t are).
        real: ``fresh`` (new real points in every generation) or ``anchor`` (those of the first batch again: its first
            alpha_t n_t points for a fixed split, points drawn from it with replacement for a random one).
        real_weight: weight in [0, 1] of the real part of a batch, the synthetic part has the rest; None weighs every
            point alike. For a fixed split.
        replacement: ``accumulate-subsample`` draws with replacement.

    Raises:
        SpecError: a value out of range or parts that do not go together; the message names the field, the value found
            and the requirement.

    >>> Regime(samples=100, kind="accumulate").sizes(3)
    (100, 100, 100)
    >>> Regime(samples=(100, 200, 300), real_fraction=0.1).sizes(2)
    (100, 200)
    """

    samples: int | tuple[int, ...] = parameter("points of a batch, n_t", range=">= 1", static=True, type=int)
    kind: Kind = parameter("what becomes of the batches", default="replace", static=True, choices=KINDS, type=str)
    real_fraction: Any = parameter("share of real points in a batch, alpha", default=0.0, range="[0, 1]")
    split: Literal["random", "fixed"] = parameter(
        "how the share is kept", default="random", static=True, choices=("random", "fixed"), type=str
    )
    real: Literal["fresh", "anchor"] = parameter(
        "where real points come from", default="fresh", static=True, choices=("fresh", "anchor"), type=str
    )
    real_weight: Any = parameter("weight of the real part of a batch", default=None, range="[0, 1]")
    replacement: bool = parameter("draw with replacement", default=True, static=True, type=bool)

    def __post_init__(self):
        sizes = self.samples if isinstance(self.samples, tuple | list) else (self.samples,)
        if not sizes or not all(isinstance(n, int | np.integer) and n >= 1 for n in sizes):
            raise SpecError(f"samples must be whole numbers >= 1, got {self.samples!r}.")
        many = isinstance(self.samples, tuple | list)
        object.__setattr__(self, "samples", tuple(int(n) for n in sizes) if many else int(sizes[0]))
        for name, known in (("kind", KINDS), ("split", ("random", "fixed")), ("real", ("fresh", "anchor"))):
            if getattr(self, name) not in known:
                raise SpecError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        object.__setattr__(self, "real_fraction", as_float("real_fraction", self.real_fraction))
        if self.real_fraction.ndim > 1:
            raise SpecError(f"real_fraction must be a number or a list, got shape {self.real_fraction.shape}.")
        check("real_fraction", self.real_fraction, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
        if self.real_weight is not None:
            object.__setattr__(self, "real_weight", as_float("real_weight", self.real_weight))
            check("real_weight", self.real_weight, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
            if self.split != "fixed":
                raise SpecError("real_weight needs split fixed: a random share may leave no real point to weigh.")

    def shares(self, generations: int):
        """``[generations]``, the real share of each batch; the first one is not used."""
        share = self.real_fraction
        return share[:generations] if share.ndim else jnp.broadcast_to(share, (generations,))

    def sizes(self, generations: int) -> tuple[int, ...]:
        """Points of the batches of generations 1 ... ``generations``.

        Raises:
            SpecError: a schedule is too short, or a fixed split asks for a broken number of points.
        """
        if isinstance(self.samples, tuple) and len(self.samples) < generations:
            raise SpecError(
                f"samples must list a size for each of {generations} generations, got {len(self.samples)}: "
                "pass a longer tuple, or one number."
            )
        if self.real_fraction.ndim and self.real_fraction.shape[0] < generations:
            raise SpecError(
                f"real_fraction must list a share for each of {generations} generations, got "
                f"{self.real_fraction.shape[0]}: pass a longer list, or one number."
            )
        sizes = self.samples[:generations] if isinstance(self.samples, tuple) else (self.samples,) * generations
        if self.split == "fixed" and concrete(self.real_fraction):
            shares = np.asarray(self.shares(generations), float)[1:]
            counts = shares * np.array(sizes[1:], float)
            broken = np.abs(counts - np.round(counts)) > 1e-3
            if broken.any():
                at = int(np.argmax(broken))
                raise SpecError(
                    f"real_fraction of a fixed split must make whole numbers of points, got {shares[at]:g} of "
                    f"{sizes[at + 1]} in generation {at + 2}: change samples, or take split random."
                )
            if self.real == "anchor" and counts.size and counts.max() > sizes[0] + 0.5:
                raise SpecError(
                    f"real_fraction asks for {round(counts.max())} anchor points, the first batch has {sizes[0]}: make "
                    "it larger, or take fresh real points."
                )
            self._require_both_parts(counts, np.array(sizes[1:]))
        return sizes

    def _require_both_parts(self, counts, sizes) -> None:
        if self.real_weight is not None and ((np.round(counts) < 1) | (np.round(counts) >= sizes)).any():
            raise SpecError(
                "real_weight needs real and synthetic points in every batch: take real_fraction inside (0, 1)."
            )
