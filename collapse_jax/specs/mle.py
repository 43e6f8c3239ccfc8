"""Iterative maximum likelihood: a family is fitted, sampled, and fitted again.

Model 0 is the truth. Model t is the maximum-likelihood fit on what generation t trains on: the first batch is real,
batch t >= 2 has ``batch`` points of which a share ``real_fraction`` is real and the rest drawn from model t - 1. What
becomes of the batches is the ``regime`` (as in ``specs.regime``).
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import as_float, check, concrete, parameter, pytree

Family = Literal[
    "bernoulli",
    "binomial",
    "poisson",
    "gaussian",
    "exponential",
    "gamma",
    "negative-binomial",
    "beta",
    "normal",
    "multinomial",
    "jump",
    "fuse",
]
FAMILIES: tuple[Family, ...] = get_args(Family)
MEANS: tuple[Family, ...] = FAMILIES[:8]
"""Families with one parameter whose fit is the sample mean (of -ln x for ``beta``)."""

WORDS = {
    "family": FAMILIES,
    "regime": ("replace", "accumulate", "accumulate-subsample"),
    "split": ("random", "fixed"),
    "real": ("fresh", "anchor"),
    "replacement": ("with", "without"),
    "divisor": ("n", "n-1"),
}
WHOLE = "whole numbers >= 1"


@pytree
@dataclass(frozen=True)
class MLESpec:
    """What a chain of maximum-likelihood fits is.

    Attributes:
        family: what is fitted. ``normal`` has mean and variance, ``gaussian`` the mean alone; ``beta`` is the density
            theta x^(theta-1), whose points are kept as -ln x; ``jump`` and ``fuse`` are the constructions of MLE-19
            and MLE-21.
        mean: true mean of a point (chance of a success for ``bernoulli``); true theta for ``beta``.
        size: trials of ``binomial``, shape of ``gamma``, r of ``negative-binomial``; > 0, whole for ``binomial``.
        variance: true variance of ``gaussian`` and ``normal``, > 0; ``[p]`` for a ``normal`` in p dimensions, in its
            principal axes.
        weights: ``[symbols]`` true chances of ``multinomial``, >= 0 with sum 1.
        batch: n_t >= 1, points of a batch, whole; one number, or one for each generation.
        regime, real_fraction, split, real, real_weight, replacement: as in ``specs.regime``; ``replacement`` is
            ``with`` or ``without``.
        divisor: of the fitted variance of ``normal``: ``n`` (maximum likelihood) or ``n-1`` (unbiased); n is the number
            of points fitted on.
        threshold: level of the results on chances, > 0: standard deviation that survives (MLE-10), radius of the ball
            (MLE-16), multiple of ln n / n (MLE-18).
        interval: J >= 2, interval at whose first visit ``fuse`` is looked at.
        fuse: B > 1 of ``fuse``: ln f(J) = -B^(J-1) ln(3J).

    Raises:
        SpecError: a value out of range; the message names the field, the value and the requirement.

    >>> MLESpec("normal", variance=[2.0, 1.0], batch=10).dimension
    2
    """

    family: Family = parameter("what is fitted", static=True, choices=FAMILIES, type=str)
    mean: Any = parameter("true mean of a point; theta of beta", default=0.5, range="that of the family")
    size: Any = parameter("trials of binomial, shape of gamma, r of negative-binomial", default=1.0, range="> 0")
    variance: Any = parameter(
        "true variance of gaussian and normal; one, or one per direction", default=1.0, range="> 0", type=list
    )
    weights: Any = parameter("true chances of multinomial", default=(0.5, 0.5), range=">= 0, sum 1", type=list)
    batch: Any = parameter("points of a batch, n; one, or one per generation", default=100.0, range=WHOLE, type=list)
    regime: Literal["replace", "accumulate", "accumulate-subsample"] = parameter(
        "what becomes of the batches", default="replace", static=True, choices=WORDS["regime"], type=str
    )
    real_fraction: Any = parameter("share of real points in a batch, alpha", default=0.0, range="[0, 1]")
    split: Literal["random", "fixed"] = parameter(
        "how the share is kept", default="random", static=True, choices=WORDS["split"], type=str
    )
    real: Literal["fresh", "anchor"] = parameter(
        "where real points come from", default="fresh", static=True, choices=WORDS["real"], type=str
    )
    real_weight: Any = parameter("weight of the real part of a batch, none = by count", default=None, range="[0, 1]")
    replacement: Literal["with", "without"] = parameter(
        "how accumulate-subsample draws", default="with", static=True, choices=WORDS["replacement"], type=str
    )
    divisor: Literal["n", "n-1"] = parameter(
        "of the fitted variance", default="n", static=True, choices=WORDS["divisor"], type=str
    )
    threshold: Any = parameter("level of the results on chances", default=1.0, range="> 0")
    interval: int = parameter(
        "interval J at whose first visit fuse is looked at", default=2, range=">= 2", static=True, type=int
    )
    fuse: Any = parameter("B of ln f(J) = -B^(J-1) ln(3J)", default=1000.0, range="> 1")

    def __post_init__(self):
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise SpecError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        variance = as_float("variance", self.variance)
        for name in ("variance", "mean", "size", "weights", "batch", "real_fraction", "threshold", "fuse"):
            value = as_float(name, getattr(self, name), variance.dtype)
            if name in ("variance", "batch") and concrete(value) and value.shape == (1,):
                value = value[0]  # a list of one number from the command line
            object.__setattr__(self, name, value)
        if self.real_weight is not None:
            object.__setattr__(self, "real_weight", as_float("real_weight", self.real_weight, variance.dtype))
            check("real_weight", self.real_weight, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
            if self.split != "fixed":
                raise SpecError("real_weight needs split fixed: a random share may leave no real point to weigh.")
        if not isinstance(self.interval, int | np.integer) or self.interval < 2:
            raise SpecError(f"interval must be a whole number >= 2, got {self.interval!r}.")
        self._check_shapes()
        check("variance", self.variance, lambda v: np.isfinite(v) & (v > 0), "finite and positive")
        check("size", self.size, lambda v: np.isfinite(v) & (v > 0), "finite and positive")
        check("weights", self.weights, lambda v: np.isfinite(v) & (v >= 0), "finite and >= 0")
        check("weights", self.weights, lambda v: np.abs(v.sum(axis=-1) - 1) <= 1e-5, "of sum 1")
        least = 2 if self.family == "normal" else 1
        check("batch", self.batch, lambda v: (v >= least) & (v == np.round(v)) & np.isfinite(v), f"whole, >= {least}")
        check("real_fraction", self.real_fraction, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
        check("threshold", self.threshold, lambda v: np.isfinite(v) & (v > 0), "finite and positive")
        check("fuse", self.fuse, lambda v: np.isfinite(v) & (v > 1), "finite and above 1")
        if self.family == "binomial":
            check("size", self.size, lambda v: v == np.round(v), "a whole number for binomial")
        self._check_mean()

    def _check_shapes(self) -> None:
        for name, most in (("mean", 0), ("size", 0), ("real_fraction", 1), ("batch", 1), ("variance", 1)):
            value = getattr(self, name)
            if concrete(value) and (value.ndim > most or value.size == 0):
                allowed = "a number or a list" if most else "a number"
                raise SpecError(f"{name} must be {allowed}, got shape {value.shape}.")
        if concrete(self.weights) and (self.weights.ndim != 1 or self.weights.size < 2):
            raise SpecError(f"weights must list at least two chances, got shape {self.weights.shape}.")
        if self.family != "normal" and concrete(self.variance) and self.variance.ndim:
            raise SpecError(f"variance must be a number for {self.family}, got shape {self.variance.shape}.")

    def _check_mean(self) -> None:
        finite = np.isfinite
        if self.family == "bernoulli":
            check("mean", self.mean, lambda v: (v >= 0) & (v <= 1), "in [0, 1] for bernoulli")
        elif self.family == "binomial" and concrete(self.size):
            trials = np.asarray(self.size)
            check("mean", self.mean, lambda v: (v >= 0) & (v <= trials), f"in [0, {trials:g}] for binomial")
        elif self.family in ("poisson", "negative-binomial"):
            check("mean", self.mean, lambda v: finite(v) & (v >= 0), f"finite and >= 0 for {self.family}")
        elif self.family in ("exponential", "gamma", "beta"):
            check("mean", self.mean, lambda v: finite(v) & (v > 0), f"finite and positive for {self.family}")
        else:
            check("mean", self.mean, finite, "finite")

    @property
    def dimension(self) -> int:
        """p, directions of ``normal``."""
        return self.variance.shape[-1] if self.variance.ndim else 1
