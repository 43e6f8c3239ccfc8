"""Regression on labels that earlier regressions made.

Inputs are always real, ``x ~ N(0, Sigma)``, only labels are synthetic. A generator of round m is fitted on
``generator_samples`` fresh inputs labelled by the generator before it (the truth at first) with noise; after n rounds a
learner is fitted on ``learner_samples`` fresh inputs labelled by the last generator. Every fit is a ridge regression
``(X^T X + T ridge I)^{-1} X^T Y``, least squares of smallest norm at ridge 0. Everything lives in the eigenbasis of
Sigma, where only its eigenvalues and the coordinates of the truth matter.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import as_float, check, concrete, parameter, pytree

Regime = Literal["replace", "accumulate"]

SCHEDULES = ("generator_samples", "generator_noise", "generator_ridge")
"""Fields that may list a value for each round."""


def power_law(dimension: int, decay: float, smoothness: float) -> dict[str, Any]:
    """Spectrum ``i^-decay`` and truth with ``spectrum_i truth_i^2 = i^-(1 + 2 decay smoothness)``, as spec fields.

    >>> power_law(2, 1.5, 0.5)["spectrum"].round(4).tolist()
    [1.0, 0.3536]
    """
    rank = np.arange(1, dimension + 1, dtype=float)
    return {"spectrum": rank**-decay, "truth": rank ** ((decay - 1) / 2 - decay * smoothness)}


@pytree
@dataclass(frozen=True)
class RegressionSpec:
    """What a chain of regressions on self-made labels is.

    Attributes:
        spectrum: ``[d]`` eigenvalues of the input covariance, descending, > 0 [input^2]; a single one is repeated
            ``dimension`` times.
        truth: ``[d]`` coordinates of w_0 in the eigenbasis [label / input]; a single one is repeated.
        dimension: d; None takes the length of ``spectrum``.
        learner_samples, learner_noise, learner_ridge: T >= 1, sigma >= 0 [label], lambda >= 0 [input^2] of the learner
            downstream. A ridge may be infinite.
        generator_samples, generator_noise, generator_ridge: T_0, sigma_0, lambda_0 of every generator; one number, or
            ``[rounds]``, one for each round.
        real_fraction: share of a generator's rows that the truth labels, in [0, 1] (REG-5).
        regime: ``replace`` (a generator sees its own rows alone), or ``accumulate`` (it sees all rows so far).
        decay, smoothness, ridge_exponent: beta > 1, r > 0 and l of the power-law families of REG-12 to REG-14:
            eigenvalues ``i^-beta``, ``spectrum_i truth_i^2 = i^-(1 + 2 beta r)``, ridge ``learner_ridge T^-l``. In a
            family the sizes grow in the ratios that ``dimension``, ``learner_samples``, ``generator_samples`` have;
            ``spectrum`` and ``truth`` are not used.

    Raises:
        SpecError: a value out of range; the message names the field, the value and the requirement.

    >>> RegressionSpec(spectrum=[1.0], dimension=5, learner_samples=20, generator_samples=30).truth.tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    spectrum: Any = parameter(
        "eigenvalues of the input covariance [input^2]", default=(1.0,), range="> 0, descending", type=list
    )
    truth: Any = parameter("coordinates of the true weights in the eigenbasis", default=(1.0,), type=list)
    dimension: Any = parameter(  # a whole number once made
        "number of directions, d", default=None, range=">= 1", static=True, type=int
    )
    learner_samples: Any = parameter("rows of the learner downstream, T", default=100, range=">= 1")
    learner_noise: Any = parameter("label noise of the learner's rows, sigma", default=0.5, range=">= 0")
    learner_ridge: Any = parameter("ridge of the learner, lambda [input^2]", default=0.0, range=">= 0")
    generator_samples: Any = parameter(
        "rows of a generator, T_0; one number, or one per round", default=100, range=">= 1", type=list
    )
    generator_noise: Any = parameter(
        "label noise of a generator's rows, sigma_0; one number, or one per round", default=0.5, range=">= 0", type=list
    )
    generator_ridge: Any = parameter(
        "ridge of the generators, lambda_0; one number, or one per round", default=0.0, range=">= 0", type=list
    )
    real_fraction: Any = parameter("share of rows that the truth labels", default=0.0, range="[0, 1]")
    regime: Regime = parameter(
        "what a generator trains on", default="replace", static=True, choices=("replace", "accumulate"), type=str
    )
    decay: Any = parameter("beta of a power-law family", default=1.5, range="> 1")
    smoothness: Any = parameter("r of a power-law family", default=0.5, range="> 0")
    ridge_exponent: Any = parameter("l of a power-law family: ridge c T^-l", default=0.0, range=">= 0")

    def __post_init__(self):
        spectrum = as_float("spectrum", self.spectrum)
        dtype = spectrum.dtype
        size = self.dimension
        if size is not None and (not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1):
            raise SpecError(f"dimension must be a whole number >= 1 or None, got {size!r}.")
        if spectrum.ndim == 0 or spectrum.shape[-1] == 0:
            raise SpecError("spectrum must list at least one eigenvalue, got none: pass for example [1, 0.5].")
        size = spectrum.shape[-1] if size is None else int(size)
        for name, value in (("spectrum", spectrum), ("truth", as_float("truth", self.truth, dtype))):
            value = value[None] if value.ndim == 0 else value
            if value.shape[-1] not in (1, size):
                raise SpecError(f"{name} must have {size} entries (or one for all), got {value.shape[-1]}.")
            if value.shape[-1] != size:
                value = jnp.broadcast_to(value, (*value.shape[:-1], size))
            object.__setattr__(self, name, value)
        object.__setattr__(self, "dimension", size)
        check("spectrum", self.spectrum, lambda v: np.isfinite(v) & (v > 0), "finite and positive")
        check("spectrum", self.spectrum, lambda v: np.all(np.diff(v, axis=-1) <= 0), "sorted from largest to smallest")
        check("truth", self.truth, np.isfinite, "finite")
        scalars = ("learner_samples", "learner_noise", "learner_ridge", "real_fraction")
        for name in (*scalars, *SCHEDULES, "decay", "smoothness", "ridge_exponent"):
            value = as_float(name, getattr(self, name), dtype)
            if name in SCHEDULES and value.ndim == 1 and value.shape[0] == 1:
                value = value[0]
            if value.ndim > (name in SCHEDULES) or value.size == 0:
                shape = "a number or one for each round" if name in SCHEDULES else "a number"
                raise SpecError(f"{name} must be {shape}, got shape {value.shape}.")
            object.__setattr__(self, name, value)
        for name in ("learner_samples", "generator_samples"):
            whole = "a whole number >= 1"
            check(name, getattr(self, name), lambda v: np.isfinite(v) & (v >= 1) & (v == np.floor(v)), whole)
        for name in ("learner_noise", "generator_noise", "ridge_exponent"):
            check(name, getattr(self, name), lambda v: np.isfinite(v) & (v >= 0), "finite and >= 0")
        for name in ("learner_ridge", "generator_ridge"):
            check(name, getattr(self, name), lambda v: v >= 0, ">= 0")
        check("real_fraction", self.real_fraction, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
        check("decay", self.decay, lambda v: np.isfinite(v) & (v > 1), "finite and above 1")
        check("smoothness", self.smoothness, lambda v: np.isfinite(v) & (v > 0), "finite and positive")
        if self.regime not in ("replace", "accumulate"):
            raise SpecError(f"regime must be replace or accumulate, got {self.regime!r}.")
        if self.regime == "accumulate":
            check("real_fraction", self.real_fraction, lambda v: v == 0, "0 with regime accumulate")

    def per_round(self, name: str, generations: int):
        """``[generations]``, a field of the generators by round.

        Raises:
            SpecError: a schedule with fewer values than rounds.
        """
        value = getattr(self, name)
        if jnp.ndim(value) and value.shape[0] < generations:
            raise SpecError(
                f"{name} must list a value for each of {generations} rounds, got {value.shape[0]}: lengthen the "
                "schedule or lower generations."
            )
        return jnp.broadcast_to(value[:generations] if jnp.ndim(value) else value, (generations,))

    @property
    def scheduled(self) -> bool:
        """Whether any field of the generators changes from round to round."""
        return any(jnp.ndim(getattr(self, name)) for name in SCHEDULES)

    @property
    def signal(self):
        """``|w_0|_Sigma^2``, variance of the true labels [label^2]."""
        return jnp.sum(self.spectrum * self.truth**2, axis=-1)


def known(*values) -> bool:
    """True if all values can be looked at now."""
    return all(concrete(value) for value in values)
