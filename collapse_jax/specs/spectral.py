"""Recursively trained diffusion models whose reverse process is stopped early.

Round by round an ideal diffusion model learns the law of its training pool and generates from it, but stops the reverse
process at a truncation time, so that what it makes still carries noise: if X is drawn from the pool, the generated
point is ``scale X + sqrt(noise_var) Z``. The next pool mixes a share of real data with generated data. What happens
depends on the data law, the real share and the truncation of each round.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import as_float, check, parameter, pytree
from collapse_jax.specs.mixture import Mixture

Process = Literal["vp", "ve", "rectified_flow"]
Regime = Literal["replace", "accumulate"]

PROBES = tuple(np.linspace(-2, 2, 9).tolist())
"""Where distribution functions are compared [data units]."""

FREQUENCIES = (0.5, 1.0, 2.0)
"""Where characteristic functions are compared [1 / data units]."""


@pytree
@dataclass(frozen=True)
class SpectralSpec:
    """What a chain of truncated diffusion models is.

    Attributes:
        weights, means, covariances: the data law, a ``Mixture``: ``[K]``, ``[K, d]``, ``[K]`` or ``[K, d, d]``.
        real_fraction: alpha in [0, 1], the share of real data in every round's pool.
        truncation: when the reverse process stops: for ``vp`` the time t0 >= 0 of dX = -rate X dt + sqrt(2 rate) dW,
            for ``ve`` the noise level s >= 0 that is left [data units], for ``rectified_flow`` the delta in [0, 1] left
            of the unit time. One number, or ``[rounds]``, one for each round (an annealing schedule).
        rate: kappa > 0 of the VP process [1 / time].
        process: ``vp`` (Ornstein-Uhlenbeck), ``ve``, or ``rectified_flow``.
        regime: ``replace`` (real share ``real_fraction``, the rest from the last model), or ``accumulate`` (real data
            and the output of every model so far in equal parts; real_fraction 0).
        direction: ``[d]`` unit vector along which scalar observables are taken; None takes the first axis.
        order: highest Hermite order reported, >= 1.
        pool_size: M >= 2, points in a finite training pool (SP-13).
        error_scale, error_power: error of a round, B t^-p for truncation t (SP-12, SP-19) [data units, 1].

    Raises:
        SpecError: a value out of range; the message names the field, the value and the requirement.

    >>> spec = SpectralSpec([0.5, 0.5], [-1.0, 1.0], [0.1, 0.1], real_fraction=0.1, truncation=0.05)
    >>> spec.dimension, round(float(spec.scale), 4)
    (1, 0.9512)
    """

    weights: Any = parameter("weights of the data mixture, sum 1", range=">= 0", type=list)
    means: Any = parameter("means of the data mixture, component by component [data]", type=list)
    covariances: Any = parameter(
        "variances, or full covariances row by row, of the data mixture [data^2]", range="> 0", type=list
    )
    real_fraction: Any = parameter("share of real data in every round, alpha", default=0.1, range="[0, 1]")
    truncation: Any = parameter(
        "where the reverse stops: time t0 (vp), noise level s (ve), delta (rectified_flow); one, or one per round",
        default=0.05,
        range=">= 0",
        type=list,
    )
    rate: Any = parameter("rate kappa of the VP process [1/time]", default=1.0, range="> 0")
    process: Process = parameter(
        "forward process", default="vp", static=True, choices=("vp", "ve", "rectified_flow"), type=str
    )
    regime: Regime = parameter(
        "what a round trains on", default="replace", static=True, choices=("replace", "accumulate"), type=str
    )
    direction: Any = parameter("unit vector of scalar observables", default=None, range="norm 1", type=list)
    order: int = parameter("highest Hermite order reported", default=6, range=">= 1", static=True, type=int)
    pool_size: int = parameter("points in a finite pool, M", default=500, range=">= 2", static=True, type=int)
    error_scale: Any = parameter("error of a round is B t^-p: B [data]", default=0.0, range=">= 0")
    error_power: Any = parameter("error of a round is B t^-p: p", default=0.0, range=">= 0")

    def __post_init__(self):
        law = Mixture(self.weights, self.means, self.covariances)
        for name in ("weights", "means", "covariances"):
            object.__setattr__(self, name, getattr(law, name))
        for name in ("real_fraction", "truncation", "rate", "error_scale", "error_power"):
            object.__setattr__(self, name, as_float(name, getattr(self, name), law.weights.dtype))
        if self.truncation.ndim == 1 and self.truncation.shape[0] == 1:
            object.__setattr__(self, "truncation", self.truncation[0])
        if self.truncation.ndim > 1 or self.truncation.size == 0:
            raise SpecError(f"truncation must be a number or one for each round, got shape {self.truncation.shape}.")
        check("real_fraction", self.real_fraction, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
        check("truncation", self.truncation, lambda v: np.isfinite(v) & (v >= 0), "finite and >= 0")
        if self.truncation.ndim:
            check("truncation", self.truncation, lambda v: v > 0, "positive in every round of a schedule")
        check("rate", self.rate, lambda v: np.isfinite(v) & (v > 0), "finite and positive")
        for name in ("error_scale", "error_power"):
            check(name, getattr(self, name), lambda v: np.isfinite(v) & (v >= 0), "finite and >= 0")
        if self.process not in ("vp", "ve", "rectified_flow"):
            raise SpecError(f"process must be vp, ve or rectified_flow, got {self.process!r}.")
        if self.regime not in ("replace", "accumulate"):
            raise SpecError(f"regime must be replace or accumulate, got {self.regime!r}.")
        if self.process == "rectified_flow":
            check("truncation", self.truncation, lambda v: v < 1, "below 1 for rectified_flow")
            if self.truncation.ndim:
                raise SpecError("truncation must be one number for rectified_flow: its reference law changes with it.")
        if self.regime == "accumulate":
            check("real_fraction", self.real_fraction, lambda v: v == 0, "0 with regime accumulate")
        for name, least in (("order", 1), ("pool_size", 2)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                raise SpecError(f"{name} must be a whole number >= {least}, got {value!r}.")
        if self.direction is not None:
            direction = as_float("direction", self.direction, law.weights.dtype)
            if direction.shape != (law.dimension,):
                raise SpecError(f"direction must have {law.dimension} entries, got shape {direction.shape}.")
            check("direction", direction, lambda v: abs(np.linalg.norm(v) - 1) <= 1e-5, "a vector of norm 1")
            object.__setattr__(self, "direction", direction)

    @property
    def dimension(self) -> int:
        """d, the dimension of the data."""
        return self.means.shape[-1]

    @property
    def data(self) -> Mixture:
        """The data law."""
        law = object.__new__(Mixture)
        for name in ("weights", "means", "covariances"):
            object.__setattr__(law, name, getattr(self, name))
        return law

    @property
    def axis(self):
        """``[d]``, the unit vector of scalar observables."""
        if self.direction is None:
            return jnp.zeros(self.dimension, self.means.dtype).at[0].set(1)
        return self.direction

    @property
    def log_scale(self):
        """Logarithm of the factor by which a round shrinks, of the shape of ``truncation``."""
        if self.process == "ve":
            return jnp.zeros_like(self.truncation)
        return jnp.log1p(-self.truncation) if self.process == "rectified_flow" else -self.rate * self.truncation

    @property
    def scale(self):
        """beta: a round makes ``scale X + sqrt(noise_var) Z``."""
        return jnp.exp(self.log_scale)

    @property
    def noise_var(self):
        """Variance per direction that a round adds [data units^2]."""
        return -jnp.expm1(2 * self.log_scale) if self.process == "vp" else self.truncation**2

    @property
    def reference_var(self):
        """Variance per direction of the Gaussian that the round leaves alone: 1, or delta / (2 - delta) for rectified
        flow; VE has none and its observables are taken on the scale 1."""
        one = jnp.ones((), self.means.dtype)
        return self.truncation / (2 - self.truncation) if self.process == "rectified_flow" else one

    def require_rounds(self, generations: int) -> None:
        """Refuse more rounds than the schedule has.

        Raises:
            SpecError: fewer truncation times than rounds.
        """
        if self.truncation.ndim and self.truncation.shape[0] < generations:
            raise SpecError(
                f"truncation must list a value for each of {generations} rounds, got {self.truncation.shape[0]}: "
                "lengthen the schedule or lower generations."
            )
