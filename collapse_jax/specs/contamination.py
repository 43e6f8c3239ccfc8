"""Iterative training of a next-token table on real data mixed, unlabelled, with the last model's own output.

Round 0 estimates the law p* of the next token by the proportions of ``first_size`` real tokens. Every later round t
sees ``n_t`` tokens, each of them real with probability ``alpha_t`` and else drawn from the model of the round before,
and estimates by proportions again: it does not know which token is which.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import as_float, check, concrete, parameter, pytree

Regime = Literal["replace", "accumulate"]
Source = Literal["fresh", "anchor"]
SizeLaw = Literal["fixed", "poisson"]

_CHOICES = {"regime": ("replace", "accumulate"), "real": ("fresh", "anchor"), "size_law": ("fixed", "poisson")}


@pytree
@dataclass(frozen=True)
class ContaminationSpec:
    """What a chain of models trained on a contaminated source is.

    Attributes:
        truth: ``[K]`` probabilities of the next token, K >= 2; with ``contexts`` ``[C, K]``, a row for each context.
        real_fraction: alpha in [0, 1], probability that a token of a later round is real: a number, or ``[rounds]``.
        size: n >= 1, tokens of a later round: a number, or ``[rounds]``.
        first_size: n_0 >= 1, real tokens of round 0 (in every context).
        real_power, size_power: a, b: round t has ``alpha_t = min(1, real_fraction t^-a)`` and
            ``n_t = ceil(size t^b)``; a >= 0, b >= 0.
        regime: ``replace`` (a round is fitted on its own tokens) or ``accumulate`` (on those of all rounds so far).
        real: ``fresh`` real tokens in every round, or the ``anchor``: tokens of round 0 drawn again with replacement.
        size_law: ``fixed``, or ``poisson``: n_t is 1 + a Poisson number of mean ``size - 1``.
        smoothing: lambda >= 0, added to every count.
        contexts: ``[C]`` probabilities of the contexts in real text, or None for a single context. A context that
            gets no token in a round keeps its former row.
        features: ``[d, K]`` features f of a parametric model ``p* exp(theta . f)``, fitted by maximum likelihood, or
            None for the table of proportions.

    Raises:
        SpecError: a value out of range; the message names the field, the value and the requirement.

    >>> spec = ContaminationSpec([0.5, 0.3, 0.2], real_fraction=1.0, real_power=0.5, size=100, size_power=0.5)
    >>> spec.tokens, spec.shares(4).round(3).tolist()[1:], spec.sizes(4).tolist()
    (3, [0.70..., 0.57..., 0.5], [100.0, 142.0, 174.0, 200.0])
    """

    truth: Any = parameter("probabilities of the next token, sum 1", range=">= 0", type=list)
    real_fraction: Any = parameter("probability that a token is real, alpha", default=0.2, range="[0, 1]", type=list)
    size: Any = parameter("tokens of a later round, n", default=60.0, range=">= 1", type=list)
    first_size: Any = parameter("real tokens of round 0, n_0", default=30.0, range=">= 1")
    real_power: Any = parameter("alpha falls like t^-a: a", default=0.0, range=">= 0")
    size_power: Any = parameter("n grows like t^b: b", default=0.0, range=">= 0")
    regime: Regime = parameter(
        "what a round is fitted on", default="replace", static=True, choices=_CHOICES["regime"], type=str
    )
    real: Source = parameter(
        "where later real tokens come from", default="fresh", static=True, choices=_CHOICES["real"], type=str
    )
    size_law: SizeLaw = parameter(
        "how many tokens a round has", default="fixed", static=True, choices=_CHOICES["size_law"], type=str
    )
    smoothing: Any = parameter("added to every count, lambda", default=0.0, range=">= 0")
    contexts: Any = parameter("probabilities of contexts, sum 1", default=None, range=">= 0", type=list)
    features: Any = parameter("features of a parametric model, one after the other", default=None, type=list)

    def __post_init__(self):
        truth = as_float("truth", self.truth)
        for name in ("real_fraction", "size", "first_size", "real_power", "size_power", "smoothing"):
            value = as_float(name, getattr(self, name), truth.dtype)
            object.__setattr__(self, name, value[0] if value.ndim == 1 and value.shape[0] == 1 else value)
        for name in ("real_fraction", "size"):
            value = getattr(self, name)
            if value.ndim > 1 or value.size == 0:
                raise SpecError(f"{name} must be a number or one for each round, got shape {value.shape}.")
        rows = 1
        if self.contexts is not None:
            contexts = as_float("contexts", self.contexts, truth.dtype)
            if contexts.ndim != 1 or contexts.size == 0:
                raise SpecError(f"contexts must list a probability for each context, got shape {contexts.shape}.")
            object.__setattr__(self, "contexts", contexts)
            rows = contexts.shape[0]
            _law("contexts", contexts)
        if self.contexts is not None and truth.ndim == 1 and truth.size % rows == 0:
            truth = truth.reshape(rows, -1)  # a flat list, row by row
        shape = (rows, truth.shape[-1]) if truth.ndim and self.contexts is not None else (truth.size,)
        if truth.shape != shape or shape[-1] < 2:
            wanted = "at least 2 probabilities" if self.contexts is None else f"{rows} rows of probabilities"
            raise SpecError(f"truth must have {wanted}, got shape {truth.shape}.")
        _law("truth", truth)
        object.__setattr__(self, "truth", truth)
        if self.features is not None:
            features = as_float("features", self.features, truth.dtype)
            if features.ndim == 1 and features.size % self.tokens == 0:
                features = features.reshape(-1, self.tokens)
            if features.ndim != 2 or features.shape[1] != self.tokens or features.shape[0] == 0:
                raise SpecError(
                    f"features must have {self.tokens} entries each, one a token, got shape {features.shape}."
                )
            object.__setattr__(self, "features", features)
            check("features", features, np.isfinite, "finite")
        self._check_ranges()

    def _check_ranges(self) -> None:
        check("real_fraction", self.real_fraction, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
        for name in ("size", "first_size"):
            check(name, getattr(self, name), lambda v: np.isfinite(v) & (v >= 1), "finite and >= 1")
        for name in ("real_power", "size_power", "smoothing"):
            check(name, getattr(self, name), lambda v: np.isfinite(v) & (v >= 0), "finite and >= 0")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise SpecError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}.")
        alone = "a chain of one context, replacement, fresh real tokens and fixed sizes"
        others = (self.contexts is not None) + (self.regime != "replace") + (self.real != "fresh")
        others += (self.size_law != "fixed") + (self.features is not None)
        if others > 1:
            raise SpecError(
                f"contexts, regime, real, size_law and features must be those of {alone}, but for one; got {others}."
            )
        if others and concrete(self.smoothing) and np.any(np.asarray(self.smoothing) > 0):
            raise SpecError(f"smoothing must be 0 but for {alone}, got {float(np.max(np.asarray(self.smoothing))):g}.")

    @property
    def tokens(self) -> int:
        """K, the number of tokens."""
        return self.truth.shape[-1]

    @property
    def diversity(self):
        """H* = 1 - sum p*^2, the risk of a model that knows a single token; ``[C]`` with contexts."""
        return jnp.sum(self.truth * (1 - self.truth), axis=-1)

    @property
    def start_size(self):
        """n_0, a whole number; its derivative is that before rounding up."""
        return _whole(self.first_size)

    def shares(self, generations: int):
        """``[generations]``: alpha_1 ... alpha_T.

        Raises:
            SpecError: a list of shares is too short.
        """
        self._require_rounds("real_fraction", generations)
        fraction = self.real_fraction[:generations] if self.real_fraction.ndim else self.real_fraction
        return jnp.minimum(fraction * jnp.exp(-self.real_power * _log_rounds(generations, fraction.dtype)), 1)

    def sizes(self, generations: int):
        """``[generations]``: n_1 ... n_T, whole numbers; derivatives are those before rounding up.

        Raises:
            SpecError: a list of sizes is too short.
        """
        self._require_rounds("size", generations)
        size = self.size[:generations] if self.size.ndim else self.size
        return _whole(size * jnp.exp(self.size_power * _log_rounds(generations, size.dtype)))

    def _require_rounds(self, name: str, generations: int) -> None:
        value = getattr(self, name)
        if value.ndim and value.shape[0] < generations:
            raise SpecError(
                f"{name} must list a value for each of {generations} rounds, got {value.shape[0]}: lengthen the list "
                "or lower generations."
            )


def _whole(count):
    # a power that is whole but for rounding is meant to be whole
    whole = jnp.ceil(count * (1 - 16 * float(jnp.finfo(count.dtype).eps)))
    return count + jax.lax.stop_gradient(whole - count)


def _log_rounds(generations: int, dtype):
    return jnp.asarray(np.log(np.arange(1, generations + 1)), dtype)


def _law(name: str, values) -> None:
    """Refuse what is no probability vector (or stack of them)."""
    check(name, values, lambda v: np.isfinite(v) & (v >= 0), "finite and >= 0")
    check(name, values, lambda v: np.abs(v.sum(axis=-1, dtype=float) - 1) <= 1e-5, "probabilities of sum 1")
