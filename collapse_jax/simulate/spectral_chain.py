"""Measurements on independent particles: curves over the rounds, limits by running on, and limits drawn by age."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.metrics.hermite import by_quadrature
from collapse_jax.simulate.spectral_doors import checked_spec, require_constant, require_stationary
from collapse_jax.simulate.spectral_particles import (
    Layout,
    Side,
    curves,
    fresh_points,
    layout,
    over_blocks,
    rounds_to_forget,
    stationary,
    tables,
)
from collapse_jax.simulate.spectral_seen import modes_of, modes_resolution, rounding, spread_of
from collapse_jax.specs.ground import whole_number
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.trajectory import Trajectory

LOOKS = 128  # at the stationary chain, from round to round of the same particles
_GATHERED = "modes", "cdf", "mean", "second_moment"


def _trajectories(seen: dict, squares, count: int, names: dict) -> dict[str, Trajectory]:
    """Trajectories of what ``look`` saw, under the names of an observable."""
    floors: dict[str, Any] = {name: rounding(values, count) for name, values in seen.items()}
    floors["modes"] = modes_resolution(squares, count)
    floors["cdf"] = floors["cdf"] + float(jnp.finfo(squares.dtype).eps)
    return {name: Trajectory(seen[key], floors[key], observable=name) for key, found in names.items() for name in found}


def particle_chain(
    spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int, side: Side = "generated"
) -> dict[str, Trajectory]:
    """Curves of a chain of truncated models, from independent particles that follow its rounds (SP-4 to SP-15).

    One compiled program for all curves and all values in the spec; any schedule, process and real share.

    Args:
        spec: the chain. A schedule must have a truncation for each round.
        generations: rounds of retraining, >= 1.
        replicates: independent measurements, >= 1.
        key: random key.
        samples: particles of a replicate, >= 1; above ``BLOCK`` numbers rounded up to a whole number of equal blocks.
        side: look at what is generated (entry 0: real data), or at the pools (entry k: what round k + 1 trains on).

    Returns:
        By observable, values ``[replicates, generations + 1, ...]``. ``generated``: ``modes`` [order + 1] (also as
        ``annealed_modes`` and ``prior_modes``), ``cdf`` [probes], ``mean`` [d] [data], ``second_moment`` [d, d]
        [data^2], ``covariance_spectrum`` [d], descending [data^2], and ``added_variance`` along the direction beyond
        the data law's [data^2] (two samples at least). ``pool``: ``pool_modes`` (also as ``accumulate_modes``) and
        ``pool_cdf``.

    Raises:
        SpecError: a bad argument; names it, the value found and the requirement.

    >>> spec = SpectralSpec([0.5, 0.5], [-1.0, 1.0], [0.1, 0.1], real_fraction=0.1, truncation=0.05)
    >>> run = particle_chain(spec, 3, 2, jax.random.key(0), samples=100)
    >>> run["modes"].values.shape, run["cdf"].values.shape
    ((2, 4, 7), (2, 4, 9))
    """
    checked_spec(spec)
    generations, replicates = whole_number("generations", generations), whole_number("replicates", replicates)
    samples = whole_number("samples", samples)
    spec.require_rounds(generations)
    plan = layout(spec, replicates, samples)
    seen, squares = curves(spec, key, generations=generations, plan=plan, side=side)
    count = plan.chunks * plan.each
    if side == "pool":
        names = {"modes": ("pool_modes", "accumulate_modes"), "cdf": ("pool_cdf",)}
        return _trajectories(seen, squares, count, names)
    names = {name: (name,) for name in _GATHERED} | {"modes": ("modes", "annealed_modes", "prior_modes")}
    run = _trajectories(seen, squares, count, names)
    covariance = _covariance(run["mean"].values, run["second_moment"].values, count)
    spectrum = _eigenvalues(covariance)
    floor = run["second_moment"].resolution * spec.dimension
    run["covariance_spectrum"] = Trajectory(spectrum, floor, observable="covariance_spectrum")
    along = jnp.einsum("i,rtij,j->rt", spec.axis, covariance, spec.axis, precision="highest")
    added = along - spec.axis @ spec.data.covariance @ spec.axis
    run["added_variance"] = Trajectory(added, floor, observable="added_variance")
    return run


def pool_chain(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """``particle_chain`` with its eyes on the pools."""
    return particle_chain(spec, generations, replicates, key, samples=samples, side="pool")


def _covariance(mean, second_moment, count: int):
    """Unbiased covariance ``[..., d, d]`` of ``count`` independent particles."""
    return (second_moment - mean[..., :, None] * mean[..., None, :]) * (count / max(count - 1, 1))


def _eigenvalues(matrices):
    """Eigenvalues, descending. NumPy: thousands of small decompositions are no work for a compiled program."""
    found = np.linalg.eigvalsh(np.asarray(matrices, float))[..., ::-1]
    return jnp.asarray(found, matrices.dtype)


def limit_chain(
    spec: SpectralSpec,
    generations: int,
    replicates: int,
    key,
    *,
    samples: int,
    side: Side = "generated",
    waves: bool = False,
) -> dict[str, Trajectory]:
    """Limits of a chain, by running it from real data until its start has faded to 1e-9 (SP-5, SP-6, SP-7, SP-15).

    How long that takes is read off the chain alone: see ``rounds_to_forget``. Then the same particles are looked at
    ``LOOKS`` times, some rounds apart, which is nearly as good as new ones; means over the looks are reported.

    Args:
        spec: a chain with one truncation, a real share or a truncation that forgets, and the regime ``replace``.
        generations: not used (the limit takes the rounds it takes); here so that all measurements are called alike.
        replicates, key: as in ``particle_chain``.
        samples: points looked at in each replicate; rounded up to a multiple of ``LOOKS``.
        side: of the generated points, or of the pools.
        waves: look at the characteristic function too (cosines and sines take as long as all the rest).

    Returns:
        By observable, ``[replicates, ...]``: ``limit_modes`` [order + 1] (also as ``small_limit_modes``),
        ``limit_cdf`` [probes], ``limit_mean`` [d] [data], ``limit_second_moment`` [d, d] [data^2], with ``waves``
        ``fourier_modes`` [frequencies, 2], real and imaginary part of the characteristic function; for pools
        ``pool_limit_modes``, ``pool_limit_cdf``, ``pool_limit_mean`` and ``pool_limit_second_moment``.

    Raises:
        SpecError: a chain without a limit, or a bad argument.

    >>> spec = SpectralSpec([1.0], [1.0], [0.1], real_fraction=0.5, truncation=0.05)
    >>> limit_chain(spec, 1, 2, jax.random.key(0), samples=100)["limit_mean"].values.shape
    (2, 1)
    """
    checked_spec(spec)
    replicates, samples = whole_number("replicates", replicates), whole_number("samples", samples)
    require_constant(spec)
    rounds, stride = rounds_to_forget(spec)
    require_stationary(spec, rounds)
    plan = layout(spec, replicates, -(-samples // LOOKS))
    seen, squares = stationary(spec, key, rounds, stride, plan=plan, looks=LOOKS, side=side, waves=waves)
    if side == "pool":
        names = {name: ("pool_limit_" + name,) for name in _GATHERED}
    else:
        names = {name: ("limit_" + name,) for name in _GATHERED} | {"modes": ("limit_modes", "small_limit_modes")}
        names |= {"waves": ("fourier_modes",)} if waves else {}
    return _trajectories(seen, squares, LOOKS * plan.each, names)


def pool_limit_chain(
    spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """``limit_chain`` with its eyes on the pools."""
    return limit_chain(spec, generations, replicates, key, samples=samples, side="pool")


def fourier_modes(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """``limit_chain`` that looks at the characteristic function too."""
    return limit_chain(spec, generations, replicates, key, samples=samples, waves=True)


def pseudovalues(function, *means):
    """Jackknife over replicates of a smooth function of means, ``[replicates, ...]`` each.

    A function of noisy means is biased, and a ratio may have no mean at all. Its pseudovalues, R times the function of
    all replicates less R - 1 times that of all but one, average to the function of the overall means but for order
    1 / R^2, and spread as the replicates of a plain mean would.
    """
    count = means[0].shape[0]
    if count == 1:
        return function(*means)
    whole = function(*(values.mean(axis=0, keepdims=True) for values in means))
    without = function(*((values.sum(axis=0, keepdims=True) - values) / (count - 1) for values in means))
    return count * whole - (count - 1) * without


def gain_ratio(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """How much more the limit damps the next order: G_{m+1} / G_m for m = 1 .. order - 1 (SP-2).

    G_m is the mean of he_m in the limit over that of the data law, the latter by numerical integration. Replicates are
    jackknife pseudovalues. An order that the data do not have cannot be measured: its ratios are NaN.

    Args:
        spec, generations, replicates, key, samples: as in ``limit_chain``; order >= 2.

    Returns:
        ``gain_ratio`` [replicates, order - 1], with everything that ``limit_chain`` returns.

    Raises:
        SpecError: order 1, a data law with points (variance 0), or as ``limit_chain``.

    >>> spec = SpectralSpec([1.0], [1.0], [0.1], real_fraction=0.5, truncation=0.05, order=3)
    >>> gain_ratio(spec, 1, 2, jax.random.key(0), samples=1000)["gain_ratio"].values.shape
    (2, 2)
    """
    if checked_spec(spec).order < 2:
        raise SpecError(f"order must be at least 2 for ratios of gains, got {spec.order}.")
    run = limit_chain(spec, generations, replicates, key, samples=samples)
    real = _integrated_modes(spec)
    limit = run["limit_modes"]
    present = np.abs(real) > 1e-6  # below, integration in single precision is all that is seen
    real = jnp.asarray(np.where(present, real, np.nan), limit.values.dtype)

    def ratio(modes):
        gains = modes[:, 1:] / real[None, 1:]
        return gains[:, 1:] / gains[:, :-1]

    values = pseudovalues(ratio, limit.values)
    relative = limit.resolution[1:] / jnp.abs(jnp.mean(limit.values, axis=0))[1:]
    floor = jnp.abs(jnp.mean(values, axis=0)) * (relative[1:] + relative[:-1])
    return run | {"gain_ratio": Trajectory(values, floor, observable="gain_ratio")}


def _integrated_modes(spec: SpectralSpec) -> np.ndarray:
    """Coefficients of the projected data law by integrating its density, ``[order + 1]``."""
    line = spec.data.project(spec.axis)
    spread = np.sqrt(np.asarray(line.covariances).reshape(len(line.weights), -1)[:, 0])
    if (spread <= 0).any():
        raise SpecError("covariances must be positive for ratios of gains, got 0: points have no density to integrate.")
    ends = np.asarray(line.means[:, 0])
    low, high = float((ends - 12 * spread).min()), float((ends + 12 * spread).max())
    nodes = 20 * int(np.clip((high - low) / spread.min(), 20, 10**4))  # one panel for each narrowest deviation
    found = by_quadrature(
        lambda x: line.log_density(x[:, None]), spec.order, spec.reference_var, interval=(low, high), nodes=nodes
    )
    return np.asarray(found)


def limit_spectrum(
    spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """Eigenvalues of the covariance of the limit, descending: ``limit_covariance_spectrum`` [replicates, d] (SP-16).

    Arguments, further observables and errors as in ``limit_chain``. Replicates are jackknife pseudovalues, so that the
    sampling noise does not push eigenvalues apart.
    """
    run = limit_chain(spec, generations, replicates, key, samples=samples)
    mean, second = run["limit_mean"], run["limit_second_moment"]

    def spectrum(mean, second_moment):
        return _eigenvalues(second_moment - mean[..., :, None] * mean[..., None, :])

    values = pseudovalues(spectrum, mean.values, second.values)
    floor = second.resolution * spec.dimension * mean.values.shape[0]
    return run | {"limit_covariance_spectrum": Trajectory(values, floor, observable="limit_covariance_spectrum")}


def _seen_data(spec: SpectralSpec, key, plan: Layout):
    table = tables(spec.data)

    def block(key):
        points = fresh_points(key, table, (plan.together, plan.each))
        line = jnp.einsum("irn,i->rn", points, spec.axis, precision="highest")
        return modes_of(line, spec), spread_of(points, spec)

    return over_blocks(block, key, plan)


_jitted_data = jax.jit(_seen_data, static_argnames=("plan",))


def data_modes(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """``data_modes`` [replicates, order + 1] of real points alone (SP-18); arguments as in ``particle_chain``."""
    checked_spec(spec)
    replicates, samples = whole_number("replicates", replicates), whole_number("samples", samples)
    plan = layout(spec, replicates, samples)
    modes, squares = _jitted_data(spec, key, plan=plan)
    floor = modes_resolution(squares, plan.chunks * plan.each)
    return {"data_modes": Trajectory(modes, floor, observable="data_modes")}


def sample_limit(spec: SpectralSpec, key, count: int, which: Side = "generated"):
    """Independent points of the limit, drawn directly through the age of each (SP-5; derived).

    A point of the limit is a real point that went through G rounds, G geometric with mean 1 / real_fraction; a point of
    the limiting pool through G - 1.

    Args:
        spec: one truncation, real_fraction > 0 and the regime ``replace``.
        key: random key.
        count: points, >= 1.
        which: ``generated`` or ``pool``.

    Returns:
        ``[count, d]`` [data units].

    Raises:
        SpecError: a chain without such a limit, or a bad argument.

    >>> spec = SpectralSpec([0.5, 0.5], [-1.0, 1.0], [0.1, 0.1], real_fraction=0.1, truncation=0.05)
    >>> sample_limit(spec, jax.random.key(0), 5).shape
    (5, 1)
    """
    checked_spec(spec)
    count = whole_number("count", count)
    require_constant(spec)
    if which not in ("generated", "pool"):
        raise SpecError(f"which must be generated or pool, got {which!r}.")
    if spec.regime != "replace" or not float(spec.real_fraction) > 0:
        raise SpecError(
            f"regime and real_fraction must be replace and positive, got {spec.regime} and "
            f"{float(spec.real_fraction):g}: without fresh data a point has no age."
        )
    real_key, age_key, noise_key = jax.random.split(key, 3)
    real = spec.data.sample(real_key, count)
    # by inversion: the rounds that a point goes on without a fresh one
    wait = jnp.log1p(-jax.random.uniform(age_key, (count,), real.dtype))
    further = jnp.where(
        spec.real_fraction < 1, jnp.floor(wait / jnp.log1p(-jnp.minimum(spec.real_fraction, 0.9999999))), 0
    )
    age = further + (1 if which == "generated" else 0)
    log_scale = spec.log_scale
    # noise of age rounds: noise_var (1 - scale^2 age) / (1 - scale^2), and age times noise_var where nothing shrinks
    shrinks = log_scale < 0
    safe = jnp.where(shrinks, log_scale, -1)
    sums = jnp.where(shrinks, jnp.expm1(2 * age * safe) / jnp.expm1(2 * safe), age)
    noise = jax.random.normal(noise_key, real.shape, real.dtype)
    return jnp.exp(age * log_scale)[:, None] * real + jnp.sqrt(spec.noise_var * sums)[:, None] * noise
