"""Measurements of the denoising-autoencoder chain that are no curves: borders, limits, events, truncated diffusion.

All run on the exact second-moment sampler of ``simulate.dae``: any n >= 1, traced, at the same cost.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.simulate.dae_observables import spectrum_resolution
from collapse_jax.simulate.dae_rounds import (
    advance,
    checked_samples,
    checked_spec,
    fit,
    may_mix,
    real_root,
    replicate_keys,
    start,
)
from collapse_jax.simulate.wishart import bartlett, dot, eigen, noise_factors
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.ground import concrete, whole_number
from collapse_jax.trajectory import Trajectory

SMALLEST = 1e-3  # SNR of the lowest start of a border search
BISECTIONS = 40
ONE_LIMIT = 1.25  # two starts whose ends are closer than this factor have one limit


def _one_dimension(spec: DAESpec) -> None:
    if spec.dimension != 1:
        raise SpecError(f"spectrum must have one entry here, got {spec.dimension}: measure direction by direction.")


def _snr(name: str, value, dtype):
    if concrete(value) and not (np.ndim(value) == 0 and np.isfinite(value) and value > 0):
        raise SpecError(f"{name} must be a finite SNR > 0, got {value!r}: pass for example {name}=100.0.")
    return jnp.asarray(value, dtype)


def _run_from(key, spec: DAESpec, snr, samples, generations: int, mixed: bool):
    """Start and end training SNR of a 1-D chain whose first training second moment is ``snr`` times noise_var.

    The real second moment is ``spec.spectrum``. With real data and chain feed the first synthetic block is what, mixed
    with the real share, gives the training SNR asked for (nothing, if the real share alone exceeds it).
    """
    real = spec.spectrum[:, None]
    second_moment = snr * spec.noise_var * jnp.ones_like(real)
    synthetic = second_moment
    if mixed and spec.feed == "chain":
        share = spec.real_fraction
        synthetic = jnp.maximum(second_moment - share * real, 0) / jnp.where(share < 1, 1 - share, 1)
        second_moment = share * real + (1 - share) * synthetic

    def generation(state, key):
        return advance(key, spec, state, fit(state.second_moment, spec), real, samples, mixed), None

    keys = jax.random.split(key, generations)
    last, _ = jax.lax.scan(generation, start(second_moment, jnp.sqrt(synthetic)), keys)
    return second_moment[0, 0] / spec.noise_var, last.second_moment[0, 0] / spec.noise_var


@partial(jax.jit, static_argnames=("generations", "replicates", "mixed"))
def _border(spec, key, samples, largest, *, generations, replicates, mixed):
    def one(key):
        low_key, high_key, key = jax.random.split(key, 3)
        smallest = jnp.asarray(SMALLEST, samples.dtype)
        _, from_low = _run_from(low_key, spec, smallest, samples, generations, mixed)
        _, from_high = _run_from(high_key, spec, largest, samples, generations, mixed)
        bottom, ceiling = jnp.maximum(smallest, from_low), jnp.minimum(largest, from_high)
        apart = ceiling > ONE_LIMIT * bottom

        def halve(step, found):
            low, high = found
            middle = jnp.exp((low + high) / 2)
            first, last = _run_from(jax.random.fold_in(key, step), spec, middle, samples, generations, mixed)
            up = last > first
            return jnp.where(up, low, jnp.log(middle)), jnp.where(up, jnp.log(middle), high)

        ends = jnp.log(bottom), jnp.log(jnp.where(apart, ceiling, bottom))
        low, high = jax.lax.fori_loop(0, BISECTIONS, halve, ends)
        found = apart & (low > ends[0]) & (high < ends[1])
        return jnp.where(found, jnp.exp((low + high) / 2), jnp.inf)

    return jax.vmap(one)(replicate_keys(key, replicates))


def border(spec: DAESpec, generations: int, replicates: int, key, *, samples, largest=1e3) -> dict[str, Trajectory]:
    """Training SNR above which a 1-D chain ends higher than it started (DAE-6, DAE-14, DAE-17; derived).

    Bisection in log SNR, 40 whole chains with fresh noise, between the ends of a chain started at 1e-3 and of one
    started at ``largest`` (or these starts, where the chain leaves the range). With a real share the real second moment
    stays at ``spec.spectrum``; without it ``spec.spectrum`` is not used.

    Args:
        spec: chain with one direction.
        generations: length of every chain; replicates: independent searches; key: random key.
        samples: n >= 1, may be traced.
        largest: highest start, an SNR (no unit).

    Returns:
        ``collapse_threshold`` [replicates], an SNR; infinity where there is no border: all starts below ``largest`` go
        down, all go up, or all go to one limit (ends within 25 % of each other). Resolution: rounding of the SNR.

    Raises:
        SpecError: more than one direction, or a bad argument.

    >>> spec = DAESpec(spectrum=[1.0], resample_noise_var=2.5)
    >>> float(border(spec, 40, 1, jax.random.key(0), samples=1e10)["collapse_threshold"].values[0].round(2))
    2.0
    """
    _one_dimension(checked_spec(spec))
    generations, replicates = whole_number("generations", generations), whole_number("replicates", replicates)
    dtype = spec.spectrum.dtype
    samples, largest = checked_samples(samples, dtype), _snr("largest", largest, dtype)
    values = _border(spec, key, samples, largest, generations=generations, replicates=replicates, mixed=may_mix(spec))
    size = jnp.max(jnp.where(jnp.isfinite(values), values, 0))
    floor = float(jnp.finfo(dtype).eps) * (1 + 8 * generations) * size
    return {"collapse_threshold": Trajectory(values, floor, observable="collapse_threshold")}


@partial(jax.jit, static_argnames=("generations", "replicates", "mixed"))
def _two_starts(spec, key, samples, starts, *, generations, replicates, mixed):
    def one(key):
        def run(key, snr):
            return _run_from(key, spec, snr, samples, generations, mixed)[1]

        return jax.vmap(run)(jax.random.split(key, 2), starts)

    return jax.vmap(one)(replicate_keys(key, replicates))


def two_starts(
    spec: DAESpec, generations: int, replicates: int, key, *, samples, low=1e-3, high=1e3
) -> dict[str, Trajectory]:
    """Final training SNR of a 1-D chain from a low and from a high start (DAE-14, DAE-17/limit; derived).

    The real second moment stays at ``spec.spectrum``. Growth without end shows as a large number, not as infinity.

    Args:
        spec: chain with one direction.
        generations, replicates, key, samples: as in ``border``.
        low, high: starting training SNRs.

    Returns:
        ``limits`` [replicates, 2, 1] (from ``low``, from ``high``) and ``upper_limit`` [replicates], SNRs (no unit).
        Resolution: rounding relative to the larger of start and end.

    Raises:
        SpecError: more than one direction, or a bad argument.

    >>> spec = DAESpec(spectrum=[0.5], resample_noise_var=3.0, real_fraction=0.1, feed="pool")
    >>> low, high = two_starts(spec, 90, 1, jax.random.key(0), samples=1e9)["limits"].values[0, :, 0]
    >>> bool(low < 0.1 and high > 5)
    True
    """
    _one_dimension(checked_spec(spec))
    generations, replicates = whole_number("generations", generations), whole_number("replicates", replicates)
    dtype = spec.spectrum.dtype
    starts = jnp.stack([_snr("low", low, dtype), _snr("high", high, dtype)])
    samples = checked_samples(samples, dtype)
    values = _two_starts(
        spec, key, samples, starts, generations=generations, replicates=replicates, mixed=may_mix(spec)
    )[:, :, None]
    floor = float(jnp.finfo(dtype).eps) * (1 + 8 * generations) * jnp.max(values, axis=0)
    return {
        "limits": Trajectory(values, floor, observable="limits"),
        "upper_limit": Trajectory(values[:, 1, 0], floor[1, 0], observable="upper_limit"),
    }


@partial(jax.jit, static_argnames=("replicates",))
def _event(spec, key, samples, *, replicates):
    def one(key):
        real_key, key = jax.random.split(key)
        root = real_root(real_key, spec, samples)
        fitted = fit(dot(root, root.T), spec)
        along, across = noise_factors(key, spec.dimension, samples, root.dtype)
        dimension = spec.dimension
        own = (dot(along, along.T) + dot(across, across.T)) / samples - jnp.eye(dimension, dtype=root.dtype)
        top = fitted.eigenvalues[0]
        cross = dot(root, along.T) / jnp.sqrt(samples * jnp.where(top > 0, top, 1))
        scale = jnp.sqrt(spec.resample_noise_var / samples)
        factor = dot(fitted.map, jnp.concatenate([root + scale * along, scale * across], axis=1))
        wide = [jnp.pad(matrix, ((0, 0), (0, dimension))) for matrix in (own, cross)]
        norms = jnp.linalg.svd(jnp.stack([*wide, factor]), compute_uv=False)[:, 0]
        return jnp.maximum(norms[0], norms[1]), norms[2] ** 2 / spec.noise_var, fitted.eigenvalues

    return jax.vmap(one)(replicate_keys(key, replicates))


def event(spec: DAESpec, generations: int, replicates: int, key, *, samples) -> dict[str, Trajectory]:
    """One chain-fed replacement round and how far its noise strays from its mean (DAE-11; derived).

    delta = max(||E E^T/n - s^2 I|| / s^2, ||X E^T/n|| / (s sqrt(top eigenvalue))), operator norms, s^2 the variance of
    the generation noise E; delta does not depend on s and is reported at s = 0 too.

    Args:
        spec: chain-fed replacement chain without real share.
        generations: not used (one round); here so that all measurements are called alike.
        replicates, key, samples: as in ``border``.

    Returns:
        ``event_deviation`` [replicates], delta >= 0; ``next_snr`` [replicates], the top SNR of the synthetic block;
        ``real_spectrum`` [replicates, d], eigenvalues of the round's data [data^2]. Resolution: rounding of each.

    Raises:
        SpecError: another feed or regime, a real share, or a bad argument.

    >>> run = event(DAESpec(spectrum=[10.0]), 1, 2, jax.random.key(0), samples=10**8)
    >>> bool((run["event_deviation"].values < 1e-3).all())
    True
    """
    checked_spec(spec)
    replicates = whole_number("replicates", replicates)
    if spec.feed != "chain" or spec.regime != "replace" or (concrete(spec.real_fraction) and spec.real_fraction > 0):
        raise SpecError(
            f"feed, regime and real_fraction must be chain, replace and 0 here, got {spec.feed}, {spec.regime} and "
            f"{spec.real_fraction}: the event is about one purely synthetic round."
        )
    samples = checked_samples(samples, spec.spectrum.dtype)
    deviation, snr, real = _event(spec, key, samples, replicates=replicates)
    eps, dimension = float(jnp.finfo(real.dtype).eps), spec.dimension
    relative = eps * (dimension + 16)
    return {
        "event_deviation": Trajectory(deviation, relative * (1 + jnp.max(deviation)), observable="event_deviation"),
        "next_snr": Trajectory(snr, relative * jnp.max(snr), observable="next_snr"),
        "real_spectrum": Trajectory(
            real, spectrum_resolution(real[:, None, 0], dimension)[0], observable="real_spectrum"
        ),
    }


def norm_rises(gain_norm: Trajectory) -> Trajectory:
    """Whether the operator norm rises: 1 or 0, ``[replicates, 2]``, in the first round and in any round (figure D-F7).

    A rise is an increase beyond the resolutions of both generations.

    Args:
        gain_norm: ``[replicates, generations + 1]``.

    >>> norm_rises(Trajectory(jnp.array([[0.9, 0.8, 0.85], [0.9, 0.8, 0.7]]))).values.tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    floor = jnp.broadcast_to(gain_norm.resolution, gain_norm.values.shape[1:])
    rises = jnp.diff(gain_norm.values, axis=1) > (floor[1:] + floor[:-1])[None, :]
    values = jnp.stack([rises[:, 0], jnp.any(rises, axis=1)], axis=1)
    return Trajectory(values.astype(gain_norm.values.dtype), 0.0, observable="norm_rises")


@partial(jax.jit, static_argnames=("generations", "replicates"))
def _tweedie(spec, key, samples, *, generations, replicates):
    signal = 1 / jnp.sqrt(1 + spec.noise_var)
    noise = spec.noise_var / (1 + spec.noise_var)

    def generation(second_moment, key):
        eigenvalues, vectors = eigen(second_moment)
        noised = signal**2 * eigenvalues + noise  # spectrum of the model at the truncation time
        scale = signal * eigenvalues / noised * jnp.sqrt(noised / samples)  # posterior mean of draws from it
        factor = dot(vectors * scale[None, :], bartlett(key, spec.dimension, samples, eigenvalues.dtype))
        return dot(factor, factor.T), eigenvalues

    def one(key):
        real_key, key = jax.random.split(key)
        root = real_root(real_key, spec, samples)
        return jax.lax.scan(generation, dot(root, root.T), jax.random.split(key, generations + 1))[1]

    return jax.vmap(one)(replicate_keys(key, replicates))


def tweedie_chain(spec: DAESpec, generations: int, replicates: int, key, *, samples) -> dict[str, Trajectory]:
    """A truncated diffusion refitted on its own output, finished by one posterior-mean step (DAE-19; derived).

    With a = 1/sqrt(1 + noise_var), that is noise_var = (1 - a^2)/a^2: each round fits the Gaussian N(0, S) to n points,
    draws n points y ~ N(0, a^2 S + (1 - a^2) I), where the reverse process is stopped, and puts out the posterior means
    E[x|y] = a S (a^2 S + (1 - a^2) I)^{-1} y, the points of the next round. Exact: one Wishart(n) a round.

    Args:
        spec: ``spectrum`` and ``noise_var`` are used, in replacement without bottleneck, real share or decay.
        generations, replicates, key, samples: as in ``exact_chain``.

    Returns:
        ``tweedie_spectrum`` [replicates, generations + 1, d], eigenvalues of S, descending [data^2]; resolution as for
        the spectrum of ``exact_chain``.

    Raises:
        SpecError: a spec with parts that have no meaning here, or a bad argument.

    >>> run = tweedie_chain(DAESpec(spectrum=[10.0, 5.0]), 4, 2, jax.random.key(0), samples=100)
    >>> run["tweedie_spectrum"].values.shape
    (2, 5, 2)
    """
    checked_spec(spec)
    generations, replicates = whole_number("generations", generations), whole_number("replicates", replicates)
    extra = {"real_fraction": spec.real_fraction, "weight_decay": spec.weight_decay}
    for name, value in extra.items():
        if concrete(value) and np.any(np.asarray(value) != 0):
            raise SpecError(f"{name} must be 0 for a truncated diffusion, got {value}: set it to 0.")
    if spec.regime != "replace" or spec.width != spec.dimension:
        raise SpecError(
            f"regime must be replace and rank full for a truncated diffusion, got {spec.regime} and {spec.rank}."
        )
    samples = checked_samples(samples, spec.spectrum.dtype)
    values = _tweedie(spec, key, samples, generations=generations, replicates=replicates)
    floor = spectrum_resolution(values[:, :, 0], spec.dimension)
    return {"tweedie_spectrum": Trajectory(values, floor, observable="tweedie_spectrum")}


def norm_rises_of(spec: DAESpec, generations: int, replicates: int, key, *, samples) -> dict[str, Trajectory]:
    """``norm_rises`` of a chain run for it; arguments as in ``exact_chain``."""
    from collapse_jax.simulate.dae import exact_chain

    run = exact_chain(spec, generations, replicates, key, samples=samples)
    return {"norm_rises": norm_rises(run["gain_norm"]), "gain_norm": run["gain_norm"]}
