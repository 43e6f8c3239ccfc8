"""One round of the linear denoising-autoencoder chain on second moments: fit, synthesise, mix. Also the door checks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.simulate.wishart import bartlett, dot, eigen, noisy_root, square_root
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.ground import concrete


class Fit(NamedTuple):
    """The minimiser on a second moment: its eigenvalues, gains ``[d]`` descending, eigenvectors and map ``[d, d]``."""

    eigenvalues: Any
    gains: Any
    vectors: Any
    map: Any


class State(NamedTuple):
    """What a chain carries: training second moment, root of the synthetic block, number of blocks in the pool."""

    second_moment: Any
    root: Any
    blocks: Any


def gains_of(eigenvalues, spec: DAESpec):
    """Gains of the fitted map for descending ``eigenvalues`` [d]: the minimiser of the loss, direction by direction.

    In an eigen-direction of second moment l the loss is (g - 1)^2 l + noise_var g^2 + 2 weight_decay |g| (the cheapest
    factors of a map with singular value g cost 2 g), least at g = max(0, (l - weight_decay) / (l + noise_var)); what
    it saves grows with l, so a bottleneck keeps the top directions.
    """
    gains = jnp.maximum(eigenvalues - spec.weight_decay, 0) / (eigenvalues + spec.noise_var)
    return jnp.where(jnp.arange(spec.dimension) < spec.width, gains, 0)


def fit(second_moment, spec: DAESpec) -> Fit:
    """The exact minimiser of the denoising loss on a second moment ``[d, d]``, through its eigenvectors."""
    eigenvalues, vectors = eigen(second_moment)
    gains = gains_of(eigenvalues, spec)
    return Fit(eigenvalues, gains, vectors, dot(vectors * gains[None, :], vectors.T))


def synthesise(key, spec: DAESpec, fitted: Fit, root, samples):
    """Factor ``[d, d or 2d]`` of the second moment of the next n synthetic points, exactly in law.

    ``root`` is a square root of the second moment of the points fed in (chain feed alone reads it).
    """
    if spec.feed == "chain":
        return dot(fitted.map, noisy_root(key, root, jnp.sqrt(spec.resample_noise_var), samples))
    # pool: columns N(0, S + noise), prior: columns N(0, noise); both share the eigenvectors of the map
    fed = spec.resample_noise_var + (fitted.eigenvalues if spec.feed == "pool" else jnp.zeros_like(fitted.eigenvalues))
    factor = bartlett(key, spec.dimension, samples, root.dtype)
    scale = fitted.gains * jnp.sqrt(fed / samples)
    return dot(fitted.vectors * scale[None, :], factor)


def advance(key, spec: DAESpec, state: State, fitted: Fit, real, samples, mixed: bool) -> State:
    """The state after one more round: synthesise from ``fitted``, then mix with ``real`` [d, d] or join the pool.

    ``mixed`` (static) says that real_fraction may differ from zero. Without it the synthetic block is the training
    set, and the eigenvectors of the fit give its root for nothing; with it the root is carried along.
    """
    root = state.root
    if spec.feed == "chain" and not mixed:
        seen = jnp.arange(spec.dimension, dtype=root.dtype) < samples
        root = fitted.vectors * jnp.where(seen, jnp.sqrt(fitted.eigenvalues), 0)[None, :]
    factor = synthesise(key, spec, fitted, root, samples)
    synthetic = dot(factor, factor.T)
    if spec.regime == "accumulate":
        blocks = state.blocks + 1
        return State(state.second_moment + (synthetic - state.second_moment) / blocks, root, blocks)
    if not mixed:
        return State(synthetic, state.root, state.blocks)
    if spec.feed == "chain":
        root = square_root(factor, samples)
    share = spec.real_fraction
    return State(share * real + (1 - share) * synthetic, root, state.blocks)


def start(second_moment, root) -> State:
    """The state before any retraining: the pool is the real block alone."""
    return State(second_moment, root, jnp.ones((), second_moment.dtype))


def may_mix(spec: DAESpec) -> bool:
    """Whether real data may enter later rounds (True where real_fraction is traced and cannot be looked at)."""
    return not concrete(spec.real_fraction) or bool(np.any(np.asarray(spec.real_fraction) > 0))


def checked_spec(spec) -> DAESpec:
    """The spec, if it is one chain.

    Raises:
        SpecError: not a DAESpec, or a spectrum with more than one axis.
    """
    if not isinstance(spec, DAESpec):
        raise SpecError(f"spec must be a DAESpec, got {type(spec).__name__}: build one with DAESpec(spectrum=[...]).")
    if jnp.ndim(spec.spectrum) != 1:
        raise SpecError(
            f"spectrum must have one axis here, got shape {jnp.shape(spec.spectrum)}: use jax.vmap over the spec."
        )
    return spec


def checked_samples(value, dtype):
    """Points per block as a scalar of ``dtype``; a tracer passes unchecked.

    Raises:
        SpecError: not one whole number >= 1.
    """
    if concrete(value):
        array = np.asarray(value)
        good = array.ndim == 0 and array.dtype.kind in "iuf" and np.isfinite(array) and array >= 1
        if isinstance(value, bool) or not good or array != np.floor(array):
            raise SpecError(f"samples must be a whole number >= 1, got {value!r}: pass the points per block.")
        return jnp.asarray(array, dtype)
    if jnp.ndim(value) != 0:
        raise SpecError(f"samples must be a scalar, got shape {jnp.shape(value)}: use jax.vmap over it.")
    return jnp.asarray(value, dtype)


def checked_second_moment(value, spec: DAESpec, samples):
    """A second moment ``[d, d]`` in the dtype of the spec (tracers are checked for shape only).

    Raises:
        SpecError: wrong shape, not finite, not symmetric, not positive semidefinite, or of a rank that ``samples``
            points cannot have where the generator is fed these points.
    """
    dimension = spec.dimension
    if np.shape(value) != (dimension, dimension):
        raise SpecError(
            f"second_moment must have shape {(dimension, dimension)}, got {np.shape(value)}: pass X @ X.T / n."
        )
    if concrete(value):
        array = np.asarray(value, float)
        rounding = 1e-5 * np.max(np.abs(array), initial=0.0)
        if not np.isfinite(array).all():
            raise SpecError("second_moment must be finite, got NaN or infinity: check the data behind it.")
        if np.max(np.abs(array - array.T)) > rounding:
            found = np.max(np.abs(array - array.T))
            raise SpecError(f"second_moment must be symmetric, got asymmetry {found:.3g}: pass X @ X.T / n.")
        eigenvalues = np.linalg.eigvalsh(array)
        if eigenvalues[0] < -rounding:
            raise SpecError(
                f"second_moment must be positive semidefinite, got eigenvalue {eigenvalues[0]:.3g}: pass X @ X.T / n."
            )
        rank = int(np.sum(eigenvalues > rounding))
        if spec.feed == "chain" and concrete(samples) and rank > float(samples):
            raise SpecError(
                f"second_moment must have rank <= samples = {float(samples):g}, got {rank}: pass samples >= {rank}."
            )
    return jnp.asarray(value, spec.spectrum.dtype)


def real_root(key, spec: DAESpec, samples):
    """Root ``[d, d]`` of the second moment of n real points N(0, diag(spectrum)); its columns from n on are zero."""
    factor = bartlett(key, spec.dimension, samples, spec.spectrum.dtype)
    return jnp.sqrt(spec.spectrum / samples)[:, None] * factor


def root_of(second_moment, samples):
    """Root ``[d, d]`` of a given second moment, by eigenvectors in descending order, columns from n on zero."""
    eigenvalues, vectors = eigen(second_moment)
    seen = jnp.arange(second_moment.shape[0], dtype=second_moment.dtype) < samples
    return vectors * jnp.where(seen, jnp.sqrt(eigenvalues), 0)[None, :]


def replicate_keys(key, replicates: int):
    """One key per replicate."""
    return jax.random.split(key, replicates)
