"""One round of truncated diffusion as a matrix on densities over uniform grids, one random grid per replicate.

A round takes a density p to ``int N(y; scale x + shift, noise_var) p(x) dx``. On a uniform grid of spacing h the sum
over x has an error of about exp(-2 pi^2 (s/h)^2), with s the spread of the integrand: nothing once s is larger than h
by half. Kernels are diagonals, cut where they fall below rounding; the grids of all replicates stand one after the
other in one vector. Everything is in float64 NumPy, whatever precision JAX is set to.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from scipy import sparse

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import concrete, whole_number
from collapse_jax.specs.spectral import SpectralSpec

CELLS = 1.5
"""Spacings that the spread of what is summed must have."""

REACH = 9.0
"""Standard deviations at which a Gaussian is cut: it has fallen to 3e-18 of its peak."""

_SPREAD = 0.1  # grids differ in spacing by up to this share
_ROUNDS = 100_000
_BYTES = 2**31  # of one operator


class Line(NamedTuple):
    """The projected chain: the data law ``[K]``, alpha, and what the grid must hold, in float64."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    real: float
    reference_var: float | None  # None: no Gaussian is left alone by the round

    def density(self, x: np.ndarray) -> np.ndarray:
        """Data density."""
        return sum(w * gaussian(x - m, v) for w, m, v in zip(self.weights, self.means, self.variances, strict=True))  # pyright: ignore[reportReturnType]


class Grids(NamedTuple):
    """Nodes ``[R, N]`` of every replicate and their spacings ``[R]``."""

    nodes: np.ndarray
    spacing: np.ndarray


class Round(NamedTuple):
    """What a round does to a point: ``scale X + shift + sqrt(noise_var) Z``."""

    scale: float
    noise_var: float
    shift: float = 0.0


def gaussian(x, variance):
    """Density of N(0, variance)."""
    return np.exp(-(x**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def line(spec: SpectralSpec, *, scheduled: bool) -> Line:
    """The projected chain of a concrete spec.

    Args:
        scheduled: whether a schedule of truncations is welcome.

    Raises:
        SpecError: another spec or regime, a schedule where one number is needed, or a data law with points.
    """
    if not isinstance(spec, SpectralSpec):
        raise SpecError(f"spec must be a SpectralSpec, got {type(spec).__name__}.")
    if not all(concrete(leaf) for leaf in jax.tree.leaves(spec)):
        raise SpecError("spec must hold numbers here, got traced values: the density grid runs outside jit and vmap.")
    if spec.regime != "replace":
        raise SpecError(f"regime must be replace on a density grid, got {spec.regime!r}: use the particle chain.")
    if spec.truncation.ndim and not scheduled:
        raise SpecError("truncation must be one number here, got a schedule: a limit needs rounds that are all alike.")
    axis, means = np.asarray(spec.axis, float), np.asarray(spec.means, float)
    spread = np.asarray(spec.covariances, float)
    variances = spread * (axis @ axis) if spread.ndim == 1 else np.einsum("i,kij,j->k", axis, spread, axis)
    weights = np.asarray(spec.weights, float)
    held = weights > 0
    weights, means, variances = weights[held] / weights[held].sum(), (means @ axis)[held], variances[held]
    if (variances == 0).any():
        raise SpecError("covariances must be positive on a density grid, got a point (variance 0): smooth the data.")
    reference = None if spec.process == "ve" else float(spec.reference_var)
    return Line(weights, means, variances, float(spec.real_fraction), reference)


def rounds(spec: SpectralSpec, count: int) -> list[Round]:
    """What each of the rounds does, from the spec's process.

    Raises:
        SpecError: fewer truncations than rounds, or a truncation of 0.
    """
    spec.require_rounds(count)
    times = np.asarray(spec.truncation, float)
    times = times[:count] if times.ndim else np.full(count, times)
    return [round_at(spec, float(time)) for time in times]


def round_at(spec: SpectralSpec, time: float, shift: float = 0.0) -> Round:
    """The round of truncation ``time``; computed here in float64, since small ones would lose digits in float32."""
    if time <= 0:
        raise SpecError(f"truncation must be positive on a density grid, got {time}: a kernel without width is no sum.")
    if spec.process == "vp":
        rate = float(spec.rate)
        return Round(math.exp(-rate * time), -math.expm1(-2 * rate * time), shift)
    return Round(1 - time if spec.process == "rectified_flow" else 1.0, time**2, shift)


def make_grids(
    about: Line, steps: list[Round], replicates: int, key, samples, spec: SpectralSpec, *, order: int = 0
) -> Grids:
    """Grids of ``samples`` nodes with random phases and spacings, wide enough for the chain.

    ``order``: highest Hermite order that is to be integrated; its weight asks for more of the tails.

    Raises:
        SpecError: sizes out of range, or a kernel too narrow for the spacing: names the smallest truncation possible.
    """
    replicates, samples = whole_number("replicates", replicates), whole_number("samples", int(samples))
    if samples < 32:
        raise SpecError(f"samples must be at least 32 nodes of a density grid, got {samples}: pass for example 500.")
    spreads, far = np.sqrt(about.variances), REACH + order / 3
    low, high = np.min(about.means - far * spreads), np.max(about.means + far * spreads)
    if about.reference_var is not None:
        reach = far * math.sqrt(about.reference_var)
        low, high = min(low, -reach), max(high, reach)
    else:
        wander = REACH * math.sqrt(sum(step.noise_var for step in steps))
        if about.real:
            wander = max(wander, 40 * math.sqrt(steps[0].noise_var / (2 * about.real)))
        low, high = low - wander, high + wander
    first = steps[0]
    high += first.shift / (1 - first.scale * (1 - about.real)) if first.shift else 0.0
    narrow = (high - low) / (samples - 2)
    _require_cells(about, steps, narrow * (1 + _SPREAD), samples, spec)
    phase_key, spread_key = jax.random.split(key)
    phase, spread = (np.asarray(jax.random.uniform(key, (replicates,)), float) for key in (phase_key, spread_key))
    spacing = narrow * (1 + _SPREAD * spread)
    start = (low + high) / 2 + spacing * (phase - 1 / 2 - (samples - 1) / 2)
    return Grids(start[:, None] + spacing[:, None] * np.arange(samples), spacing)


def smallest_truncation(about: Line, spacing: float, spec: SpectralSpec) -> float:
    """Below it the kernel spans too few cells of a grid; infinite where the data do."""
    room = 1 / (CELLS * spacing) ** 2 - 1 / about.variances.min()
    if room <= 0:
        return math.inf
    ratio = 1 / room  # noise_var / scale^2
    if spec.process == "vp":
        return math.log1p(ratio) / (2 * float(spec.rate))
    return math.sqrt(ratio) if spec.process == "ve" else math.sqrt(ratio) / (1 + math.sqrt(ratio))


def _require_cells(about: Line, steps: list[Round], spacing: float, samples: int, spec: SpectralSpec) -> None:
    kernel = min(step.noise_var / step.scale**2 for step in steps)
    spread = 1 / math.sqrt(1 / about.variances.min() + 1 / kernel)
    if spread >= CELLS * spacing:
        return
    needed = math.ceil(samples * CELLS * spacing / spread) + 2
    smallest = smallest_truncation(about, spacing, spec)
    cure = f"truncation must be at least {smallest:.3g}" if math.isfinite(smallest) else "the data are too narrow"
    raise SpecError(
        f"{cure} on a grid of {samples} nodes, got a kernel and data that span {spread / spacing:.2g} cells "
        f"(needed: {CELLS}): pass samples={needed} or more."
    )


def operator(grids: Grids, step: Round) -> sparse.dia_array:
    """The round as a matrix on densities of all replicates, ``[R N, R N]``."""
    (count, size), spacing = grids.nodes.shape, grids.spacing[:, None]
    drift = (step.scale - 1) * grids.nodes + step.shift
    spread = math.sqrt(step.noise_var)
    low = max(1 - size, math.floor(((drift - REACH * spread) / spacing).min()))
    high = min(size - 1, math.ceil(((drift + REACH * spread) / spacing).max()))
    if (high - low + 1) * count * size * 8 > _BYTES:
        raise SpecError(
            f"samples must be smaller: a kernel over {high - low + 1} cells of {size} nodes does not fit into memory "
            f"for {count} replicates."
        )
    diagonals = np.empty((high - low + 1, count, size))
    scaled = spacing / math.sqrt(2 * math.pi * step.noise_var)
    for row, cells in enumerate(range(low, high + 1)):
        np.multiply(np.exp(-((spacing * cells - drift) ** 2) / (2 * step.noise_var)), scaled, out=diagonals[row])
        diagonals[row, :, : max(0, -cells)] = 0  # beyond the grid of this replicate
        diagonals[row, :, size - max(0, cells) :] = 0
    offsets = -np.arange(low, high + 1)
    return sparse.dia_array((diagonals.reshape(len(offsets), -1), offsets), shape=(count * size, count * size))


def apply(matrix: sparse.dia_array, density: np.ndarray) -> np.ndarray:
    """One round of ``[R, N]`` densities."""
    return (matrix @ density.ravel()).reshape(density.shape)


def fixed_point(matrix, source, keep: float, start, accuracy: float = 0.0) -> np.ndarray:
    """Iterate ``f <- keep K f + source`` from ``start`` until a round changes nothing beyond rounding (or accuracy).

    Raises:
        SpecError: no convergence in 100,000 rounds.
    """
    enough = max(accuracy, 4 * np.finfo(float).eps)
    state = start
    for _ in range(_ROUNDS):
        following = keep * apply(matrix, state) + source
        change = np.abs(following - state).max()
        state = following
        if change <= enough * np.abs(state).max():
            return state
    raise SpecError(
        f"real_fraction and truncation are too small for a limit on the grid: still moving after {_ROUNDS} rounds."
    )
