"""The linear denoising-autoencoder chain at finite n: exact in law at the cost of d x d matrices, and by brute force.

The chain. X_1 [d, n] has iid columns N(0, diag(spectrum)); S_real = X_1 X_1^T / n stays fixed. A round fits the exact
minimiser W on the training second moment S (S = S_real at first), makes X' = W (X_in + E) with E iid of variance
resample_noise_var, and trains next on a S_real + (1 - a) X' X'^T / n (``replace``) or on the mean second moment of all
blocks so far, the real one first (``accumulate``). The generator is fed

- ``chain``: the last synthetic block, in the first round X_1 itself;
- ``pool``: n fresh columns N(0, S), the Gaussian with the second moment of the training pool. This is a parametric
  bootstrap: to leading order in 1/n it has the noise of drawing Gaussian pool points with replacement, and it keeps
  the second moment a sufficient statistic;
- ``prior``: nothing, X_in = 0.

Why no points are needed. W depends on S alone. Write X_in = sqrt(n) F Q with F [d, d] a square root of its second
moment and Q of orthonormal rows (n >= d). Z = E Q^T is iid normal and independent of E (I - Q^T Q), whose second
moment is Wishart with n - d degrees of freedom; hence, exactly,

    (X_in + E)(X_in + E)^T / n = (F + s Z / sqrt n)(F + s Z / sqrt n)^T + s^2 Wishart_d(n - d) / n

with s^2 the variance of E; for n < d with n columns in F and Z and no Wishart term. Pool-fed, X_in + E is iid
N(0, S + s^2 I): one Wishart(n); prior-fed one Wishart(n) too, and so is S_real. Wishart factors are Bartlett's
(``wishart.bartlett``), so a round costs O(d^3) whatever n, and n may be traced. Entry j of every trajectory belongs to
the training set of round j + 1.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.simulate import dae_special
from collapse_jax.simulate.choice import chosen
from collapse_jax.simulate.dae_observables import CURVES, FUNCTIONALS, best_map, observe, trajectories
from collapse_jax.simulate.dae_rounds import (
    advance,
    checked_samples,
    checked_second_moment,
    checked_spec,
    fit,
    gains_of,
    may_mix,
    real_root,
    replicate_keys,
    root_of,
    start,
)
from collapse_jax.simulate.dae_special import border, event, norm_rises, tweedie_chain, two_starts
from collapse_jax.simulate.wishart import after, dot
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.ground import concrete, whole_number
from collapse_jax.trajectory import Trajectory

__all__ = [
    "border",
    "brute_force_chain",
    "event",
    "exact_chain",
    "measure",
    "norm_rises",
    "tweedie_chain",
    "two_starts",
]

MEMORY = 2**29  # bytes that the brute-force path lets its blocks of points take at a time


@partial(jax.jit, static_argnames=("generations", "replicates", "mixed"))
def _exact_chain(spec, key, samples, second_moment, *, generations: int, replicates: int, mixed: bool):
    def one(key):
        real_key, key = jax.random.split(key)
        root = real_root(real_key, spec, samples) if second_moment is None else root_of(second_moment, samples)
        real = dot(root, root.T) if second_moment is None else after(second_moment, root)
        best = best_map(real, spec)

        def generation(state, key):
            fitted = fit(state.second_moment, spec)
            seen = observe(fitted.eigenvalues, fitted.gains, fitted.map, real, best, spec)
            return advance(key, spec, state, fitted, real, samples, mixed), seen

        return jax.lax.scan(generation, start(real, root), jax.random.split(key, generations + 1))[1]

    return trajectories(jax.vmap(one)(replicate_keys(key, replicates)), spec)


def exact_chain(
    spec: DAESpec, generations: int, replicates: int, key, *, samples, second_moment=None
) -> dict[str, Trajectory]:
    """The finite-n chain, exact in law, at a cost of O(d^3) a round whatever n (DAE-3 to DAE-18; derived).

    One compiled program serves every n, key and value in the spec.

    Args:
        spec: the chain; its array fields may be traced.
        generations: rounds of retraining, >= 1.
        replicates: independent chains, >= 1.
        key: random key.
        samples: n >= 1, points per block; may be traced, 1e12 is as cheap as 10.
        second_moment: ``[d, d]`` realised second moment of the real block [data^2]; drawn for each replicate if None.

    Returns:
        By observable, values ``[replicates, generations + 1, ...]``: ``spectrum`` [d] eigenvalues of the training
        second moment, descending [data^2]; ``log_spectrum`` [d] their logarithms; ``gains`` [d] singular values of W,
        descending, in [0, 1); ``gain_norm`` the largest; ``effective_rank`` in [1, d]; ``excess_risk`` on real data
        [data^2]. Without generations, [d]: ``real_spectrum`` and ``limit_spectrum``, first and last entry of
        ``spectrum``; ``first_gains``, first entry of ``gains``; ``lifetime``, the log-interpolated generation at which
        each eigenvalue falls below noise_var (0: it starts there, NaN: it does not).

    Raises:
        SpecError: a bad argument; names it, the value found and the requirement.

    >>> from collapse_jax.specs.dae import DAESpec
    >>> spec = DAESpec(spectrum=[10.0, 5.0], noise_var=1.0)
    >>> run = exact_chain(spec, 3, 2, jax.random.key(0), samples=1e9)
    >>> bool((abs(run["spectrum"].values[:, 1, 0] - 10**2 / 11) < 0.01).all())
    True
    """
    checked_spec(spec)
    generations, replicates = whole_number("generations", generations), whole_number("replicates", replicates)
    samples = checked_samples(samples, spec.spectrum.dtype)
    if second_moment is not None:
        second_moment = checked_second_moment(second_moment, spec, samples)
    return _exact_chain(
        spec, key, samples, second_moment, generations=generations, replicates=replicates, mixed=may_mix(spec)
    )


def _fit_points(vectors, eigenvalues, second_moment, spec: DAESpec, linear: bool):
    """The minimiser by a linear solve, or (``linear`` False) from the SVD of the training points."""
    if linear:
        return best_map(after(second_moment, eigenvalues), spec)
    return dot(vectors * gains_of(eigenvalues, spec)[None, :], vectors.T)


def _decompose(points, dimension: int):
    """Eigenvectors and eigenvalues of points @ points.T by the SVD of ``points`` [d, m], padded with zeros to d."""
    vectors, singular, _ = jnp.linalg.svd(points, full_matrices=False)
    missing = dimension - singular.shape[0]
    return jnp.pad(vectors, ((0, 0), (0, missing))), jnp.pad(singular**2, (0, missing))


def _fed(key, points, vectors, eigenvalues, spec: DAESpec):
    """The points that enter the generator, before their noise, ``[d, n]``."""
    if spec.feed == "chain":
        return points
    if spec.feed == "prior":
        return jnp.zeros_like(points)
    return dot(vectors * jnp.sqrt(eigenvalues)[None, :], jax.random.normal(key, points.shape, points.dtype))


@partial(jax.jit, static_argnames=("samples", "generations", "replicates", "mixed", "linear", "batch"))
def _brute_force_chain(spec, key, data, *, samples, generations, replicates, mixed, linear, batch):
    dimension, dtype = spec.dimension, spec.spectrum.dtype
    grows = spec.regime == "accumulate"

    def one(key):
        real_key, key = jax.random.split(key)
        points = data
        if data is None:
            points = jnp.sqrt(spec.spectrum)[:, None] * jax.random.normal(real_key, (dimension, samples), dtype)
        real_points, real = points, dot(points, points.T) / samples
        best = best_map(real, spec)
        # every block ever made, or what a round trains on besides the synthetic block
        kept = jnp.zeros((generations + 2, dimension, samples), dtype).at[0].set(points) if grows else None

        def training(points, kept, number):
            if grows:
                return kept.transpose(1, 0, 2).reshape(dimension, -1) / jnp.sqrt(number * samples)
            if not mixed:
                return points / math.sqrt(samples)
            share = spec.real_fraction
            both = [jnp.sqrt(share) * real_points, jnp.sqrt(1 - share) * points]
            return jnp.concatenate(both, axis=1) / math.sqrt(samples)

        def generation(carry, step):
            points, kept, trained = carry
            number, key = step
            feed_key, noise_key = jax.random.split(key)
            vectors, eigenvalues = _decompose(trained, dimension)
            fitted = _fit_points(vectors, eigenvalues, dot(trained, trained.T), spec, linear)
            singular = jnp.linalg.svd(fitted, compute_uv=False)
            seen = observe(eigenvalues, singular, fitted, real, best, spec)
            noise = jnp.sqrt(spec.resample_noise_var) * jax.random.normal(noise_key, points.shape, dtype)
            points = dot(fitted, _fed(feed_key, points, vectors, eigenvalues, spec) + noise)
            if grows:
                kept = kept.at[number].set(points)
            return (points, kept, training(points, kept, (number + 1).astype(dtype))), seen

        first = real_points / math.sqrt(samples)
        if grows:
            first = training(points, kept, jnp.ones((), dtype))
        elif mixed:  # the first round sees the real block alone; its copy gives the carry the shape of later rounds
            first = jnp.concatenate([first, jnp.zeros_like(first)], axis=1)
        steps = (jnp.arange(1, generations + 2), jax.random.split(key, generations + 1))
        return jax.lax.scan(generation, (points, kept, first), steps)[1]

    return trajectories(jax.lax.map(one, replicate_keys(key, replicates), batch_size=batch), spec)


def brute_force_chain(
    spec: DAESpec, generations: int, replicates: int, key, *, samples: int, data=None
) -> dict[str, Trajectory]:
    """The same chain with its points [d, n] in memory: slow, and what ``exact_chain`` is held against.

    W comes from a linear solve at full width and from the SVD of the points with a bottleneck or weight decay. With
    ``data`` and resample_noise_var 0 the chain-fed run is deterministic (DAE-18; derived).

    Args:
        spec, generations, replicates, key: as in ``exact_chain``.
        samples: n >= 1, points per block, a Python int.
        data: ``[d, n]`` real block [data units] that all replicates share; drawn for each if None.

    Returns:
        The observables of ``exact_chain``.

    Raises:
        SpecError: a bad argument; names it, the value found and the requirement.

    >>> from collapse_jax.specs.dae import DAESpec
    >>> spec = DAESpec(spectrum=[1.0], resample_noise_var=0.0)
    >>> run = brute_force_chain(spec, 2, 1, jax.random.key(0), samples=1, data=jnp.ones((1, 1)))
    >>> run["spectrum"].values[0, :, 0].round(6).tolist()
    [1.0, 0.25, 0.009999999776482582]
    """
    checked_spec(spec)
    generations, replicates = whole_number("generations", generations), whole_number("replicates", replicates)
    samples, dtype = whole_number("samples", samples), spec.spectrum.dtype
    if data is not None:
        if np.shape(data) != (spec.dimension, samples):
            raise SpecError(
                f"data must have shape (d, samples) = {(spec.dimension, samples)}, got {np.shape(data)}: "
                "columns are points; pass samples=data.shape[1]."
            )
        if concrete(data) and not np.isfinite(np.asarray(data, float)).all():
            raise SpecError("data must be finite, got NaN or infinity: drop or repair those points.")
        data = jnp.asarray(data, dtype)
    linear = spec.rank is None and concrete(spec.weight_decay) and bool(np.all(np.asarray(spec.weight_decay) == 0))
    blocks = 12 + 4 * (generations + 2) * (spec.regime == "accumulate")
    batch = max(1, min(replicates, MEMORY // (blocks * spec.dimension * samples * np.dtype(dtype).itemsize)))
    return _brute_force_chain(
        spec,
        key,
        data,
        samples=samples,
        generations=generations,
        replicates=replicates,
        mixed=may_mix(spec),
        linear=linear,
        batch=batch,
    )


MEASURES = {name: exact_chain for name in (*CURVES, *FUNCTIONALS)} | {
    "collapse_threshold": dae_special.border,
    "limits": dae_special.two_starts,
    "upper_limit": dae_special.two_starts,
    "event_deviation": dae_special.event,
    "next_snr": dae_special.event,
    "norm_rises": dae_special.norm_rises_of,
    "tweedie_spectrum": dae_special.tweedie_chain,
}


def measure(
    observable: str, spec: DAESpec, generations: int, replicates: int, key, *, samples, sampler: str = "exact"
) -> dict[str, Trajectory]:
    """Measure an observable by name; returns it with everything measured in the same run.

    Args:
        observable: a name in ``MEASURES``.
        spec, generations, replicates, key, samples: as in ``exact_chain``.
        sampler: ``exact``, or ``brute-force`` for what ``brute_force_chain`` measures.

    Raises:
        SpecError: an unknown observable or sampler (names the known ones), or a bad argument.

    >>> from collapse_jax.specs.dae import DAESpec
    >>> measure("gain_norm", DAESpec(spectrum=[2.0]), 2, 3, jax.random.key(0), samples=9)["gain_norm"].values.shape
    (3, 3)
    """
    chain = chosen(MEASURES, observable, sampler, exact_chain, brute_force_chain)
    return chain(spec, generations, replicates, key, samples=samples)
