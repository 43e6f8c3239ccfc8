"""Rectified flow with linear velocities, retrained on what it generates itself.

Time 0 is noise z, time 1 is data x, and ``x_t = (1 - t) z + t x``. A velocity is fitted to pairs (z, x) by least
squares at every t and integrated from 0 to 1; in each eigen-direction of the data the model is then one number, its
endpoint gain A (data = A times noise), of relative variance ``u = A^2 / Lambda``. With coupling ``independent`` every
round pairs the images of the last model with fresh noise; with coupling ``reflow`` it keeps the noise that made them.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import as_float, check, parameter, pytree

Coupling = Literal["independent", "reflow"]
Grid = Literal["uniform", "equal-angle"]
Solver = Literal["exact", "euler", "heun"]
Inverter = Literal["current", "first"]

_CHOICES = {
    "coupling": ("independent", "reflow"),
    "solver": ("exact", "euler", "heun"),
    "grid": ("uniform", "equal-angle"),
    "inverter": ("current", "first"),
}
_POSITIVE = ("latent_variance", "frozen", "largest_noise", "level")
_SHARES = ("real_fraction", "real_pairs", "noise")
_SCALARS = (*_POSITIVE, *_SHARES, "size", "fit_loss", "ridge", "diffusion", "correlation", "rotation", "separation")


@pytree
@dataclass(frozen=True)
class ReflowSpec:
    """What a chain of rectified flows with linear velocities is.

    Attributes:
        spectrum: ``[d]`` variances Lambda > 0 of the real data along its eigen-directions [data^2].
        start: u_0 > 0, variance at round 0 over that of the data: of the first model, or (independent coupling) of the
            images that round 0 is fitted on; a number, or ``[d]``.
        coupling: what a round is fitted on: ``reflow`` (images with the noise they were made from) or ``independent``
            (images with fresh noise, drawn again in every pass: the law of z is known, that of x is sampled).
        solver: ``exact`` integration, or N steps of ``euler`` or ``heun`` (explicit trapezoid).
        steps: N >= 1, static.
        grid: of the steps: ``uniform``, or ``equal-angle`` (equal angles between neighbouring x_t).
        size: n >= 1, pairs (or images) that a round is fitted on.
        real_fraction: a in [0, 1], share of real images (independent coupling).
        real_pairs: b in [0, 1], share of real reverse pairs (reflow).
        noise: tau in [0, 1], weight of fresh noise in reversed latents, ``sqrt(1 - tau^2) z + tau eps``.
        inverter: model that makes reverse pairs: the ``current`` one, or the frozen ``first`` one.
        frozen: u_1 > 0, relative variance of the frozen model.
        fit_loss: eta in [0, 1), relative loss of gain a round by imperfect fitting; ``q = (1 - eta)^2`` is kept.
        ridge: mu >= 0, ridge of the velocity [data^2].
        diffusion: g >= 0 of the reverse SDE.
        correlation: rho in (-1, 1] of the pairs of a single fit.
        latent_variance: M_0 > 0, variance of z in a single fit.
        rotation: angle in (-pi, pi) by which the latents of a single fit are turned, in the planes of directions 1
            and 2, 3 and 4, ... [rad].
        separation: half the distance of the two modes of a data direction over its deviation, in [0, 1): 0 is Gaussian.
        largest_noise: s_max > 0 of a variance-exploding flow [data].
        level: relative variance > 0 at which a lifetime ends.

    Raises:
        SpecError: a value out of range; the message names the field, the value and the requirement.

    >>> spec = ReflowSpec([4.0, 1.0], fit_loss=0.1)
    >>> spec.dimension, spec.variance.tolist(), round(float(spec.kept), 6)
    (2, [4.0, 1.0], 0.81)
    """

    spectrum: Any = parameter("variances of the real data, Lambda [data^2]", default=(1.0,), range="> 0", type=list)
    start: Any = parameter("relative variance at round 0, u_0", default=1.0, range="> 0", type=list)
    coupling: Coupling = parameter(
        "what a round is fitted on", default="reflow", static=True, choices=_CHOICES["coupling"], type=str
    )
    solver: Solver = parameter(
        "how a velocity is integrated", default="exact", static=True, choices=_CHOICES["solver"], type=str
    )
    steps: int = parameter("steps of the sampler, N", default=10, range=">= 1", static=True, type=int)
    grid: Grid = parameter("times of the steps", default="uniform", static=True, choices=_CHOICES["grid"], type=str)
    size: Any = parameter("pairs that a round is fitted on, n", default=1e6, range=">= 1")
    real_fraction: Any = parameter("share of real images (independent coupling), a", default=0.0, range="[0, 1]")
    real_pairs: Any = parameter("share of real reverse pairs (reflow), b", default=0.0, range="[0, 1]")
    noise: Any = parameter("weight of fresh noise in reversed latents, tau", default=0.0, range="[0, 1]")
    inverter: Inverter = parameter(
        "model that makes reverse pairs", default="current", static=True, choices=_CHOICES["inverter"], type=str
    )
    frozen: Any = parameter("relative variance of the frozen model, u_1", default=1.0, range="> 0")
    fit_loss: Any = parameter("relative loss of gain by fitting, eta", default=0.0, range="[0, 1)")
    ridge: Any = parameter("ridge of the velocity, mu [data^2]", default=0.0, range=">= 0")
    diffusion: Any = parameter("g of the reverse SDE", default=0.0, range=">= 0")
    correlation: Any = parameter("correlation of the pairs of a single fit, rho", default=0.0, range="(-1, 1]")
    latent_variance: Any = parameter("variance of z in a single fit, M_0", default=1.0, range="> 0")
    rotation: Any = parameter("angle that turns the latents of a single fit [rad]", default=0.0, range="(-pi, pi)")
    separation: Any = parameter("half the distance of two modes over the deviation", default=0.0, range="[0, 1)")
    largest_noise: Any = parameter("s_max of a variance-exploding flow [data]", default=10.0, range="> 0")
    level: Any = parameter("relative variance at which a lifetime ends", default=0.1, range="> 0")

    def __post_init__(self):
        spectrum = as_float("spectrum", self.spectrum)
        if spectrum.ndim == 0 or spectrum.shape[-1] == 0:
            raise SpecError("spectrum must list at least one variance, got none: pass for example [4, 1].")
        object.__setattr__(self, "spectrum", spectrum)
        start = as_float("start", self.start, spectrum.dtype)
        start = start[None] if start.ndim == 0 else start
        if start.shape[-1] not in (1, spectrum.shape[-1]):
            raise SpecError(f"start must have {spectrum.shape[-1]} entries (or one for all), got {start.shape[-1]}.")
        object.__setattr__(self, "start", jnp.broadcast_to(start, (*start.shape[:-1], spectrum.shape[-1])))
        for name in _SCALARS:
            value = as_float(name, getattr(self, name), spectrum.dtype)
            if value.ndim:
                raise SpecError(f"{name} must be a number, got shape {value.shape}.")
            object.__setattr__(self, name, value)
        for name in ("spectrum", "start", *_POSITIVE):
            check(name, getattr(self, name), lambda v: np.isfinite(v) & (v > 0), "finite and positive")
        for name in _SHARES:
            check(name, getattr(self, name), lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
        for name in ("fit_loss", "separation"):
            check(name, getattr(self, name), lambda v: (v >= 0) & (v < 1), "in [0, 1)")
        for name in ("ridge", "diffusion"):
            check(name, getattr(self, name), lambda v: np.isfinite(v) & (v >= 0), "finite and >= 0")
        check("size", self.size, lambda v: np.isfinite(v) & (v >= 1) & (v == np.floor(v)), "a whole number >= 1")
        check("correlation", self.correlation, lambda v: (v > -1) & (v <= 1), "above -1 and at most 1")
        check("rotation", self.rotation, lambda v: np.abs(v) < np.pi, "between -pi and pi")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise SpecError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}.")
        if not isinstance(self.steps, int | np.integer) or isinstance(self.steps, bool) or self.steps < 1:
            raise SpecError(f"steps must be a whole number >= 1, got {self.steps!r}.")
        other = "real_pairs" if self.coupling == "independent" else "real_fraction"
        belongs = "reflow" if self.coupling == "independent" else "independent"
        check(other, getattr(self, other), lambda v: v == 0, f"0 unless the coupling is {belongs}")

    @property
    def dimension(self) -> int:
        """d, the number of directions."""
        return self.spectrum.shape[-1]

    @property
    def variance(self):
        """``[d]``: ``u_0 Lambda``, the variance at round 0; M_1 of a single fit."""
        return self.start * self.spectrum

    @property
    def kept(self):
        """q = (1 - eta)^2, the share of variance that fitting keeps."""
        return (1 - self.fit_loss) ** 2


TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Times at which velocities are compared."""

PLACES = (-1.5, -0.5, 0.5, 1.5)
"""Places at which velocities of two modes are compared, in deviations of x_t."""


def turned(spec: ReflowSpec):
    """``[d, d]``: the rotation of a single fit, by its angle in the planes of directions 1 and 2, 3 and 4, ...

    >>> turned(ReflowSpec([1.0, 1.0, 1.0], rotation=0.0)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    size, dtype = spec.dimension, spec.spectrum.dtype
    paired, skew = np.zeros((size, size)), np.zeros((size, size))
    for first in range(0, size - 1, 2):
        paired[first, first] = paired[first + 1, first + 1] = 1
        skew[first, first + 1], skew[first + 1, first] = -1, 1
    single = jnp.asarray(np.eye(size) - paired, dtype)
    return (
        single + jnp.cos(spec.rotation) * jnp.asarray(paired, dtype) + jnp.sin(spec.rotation) * jnp.asarray(skew, dtype)
    )
