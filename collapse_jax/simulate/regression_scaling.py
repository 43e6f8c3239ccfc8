"""Regressions under power laws: the error, its parts and their slopes against the number of rows (REG-12 to REG-14).

Eigenvalues ``i^-decay``, truth ``spectrum_i truth_i^2 = i^-(1 + 2 decay smoothness)``, ridge ``c T^-l``. In a family d
and T_0 grow with T, or stay; all its members are computed at the largest d, the directions that a member lacks masked
(the leading block of a Bartlett factor is a Bartlett factor). Least-squares generators leave ``w_0 + sigma_0 u`` with
``u = sum_m D^{-1} L_m^{-T} z_m``; the learner maps labels linearly to weights, so what bias, generators' noise and own
noise contribute is measured on one design, for unit noise; their products have mean zero (signs of the noises) and are
left out.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular

from collapse_jax.errors import SpecError
from collapse_jax.simulate.regression_chain import drawn
from collapse_jax.simulate.regression_doors import at_once, averaged, checked_sizes, checked_spec, program, trajectory
from collapse_jax.simulate.wishart import after, dot
from collapse_jax.specs.regression import RegressionSpec, power_law
from collapse_jax.trajectory import Trajectory

OCTAVES = (0.25, 0.5, 1.0)
"""Numbers of rows over which a slope is taken, in units of T."""
RIDGES = 13
"""Points of the grid on which the best ridge is sought: from ``c T^-decay``, the ridge for clean data, to c."""


class Parts(NamedTuple):
    """Contributions to the error: bias, generators' noise and own noise of unit variance; degrees of freedom."""

    bias: jax.Array
    fake: jax.Array
    own: jax.Array
    df: jax.Array


@program(*("generations", "replicates", "samples", "batch"))
def _parts(spec, members, ridges, key, *, generations, replicates, samples, batch):
    spectrum, truth, size = spec.spectrum, spec.truth, spec.dimension
    dtype, scale = spectrum.dtype, jnp.sqrt(spectrum)

    def one(key):
        def member(given):
            key, (rows, directions, made), ridges = given
            learn_key, key = jax.random.split(key)
            here = jnp.arange(size, dtype=dtype) < directions
            both = here[:, None] & here[None, :]
            own_truth = jnp.where(here, truth, 0)

            def generator(total, key):
                factors, noises = drawn(key, spec, made[None])
                factor = after(jnp.where(both, factors[0], jnp.eye(size, dtype=dtype)), total)
                noise = solve_triangular(factor, noises[0], lower=True, trans=1) / scale
                return total + jnp.where(here, noise, 0), None

            fake = jax.lax.scan(generator, jnp.zeros(size, dtype), jax.random.split(key, generations))[0]
            factors, noises = drawn(learn_key, spec, rows[None])
            factor, noise = after(jnp.where(both, scale[:, None] * factors[0], 0), fake), noises[0]
            gram = dot(factor.T, factor)
            right = jnp.stack([dot(factor.T, own_truth), dot(factor.T, fake), noise], axis=1)

            def learner(ridge):
                inverse = jnp.linalg.cholesky(gram + rows * ridge * jnp.eye(size, dtype=dtype))
                found = dot(factor, cho_solve((inverse, True), right))
                error = found.at[:, 0].add(-own_truth)
                parts = jnp.sum(spectrum[:, None] * error**2, axis=0)
                # z^T F^T F C^-1 z has the trace as its mean
                return Parts(parts[0], parts[1], parts[2], jnp.sum(dot(factor, noise) * found[:, 2]))

            return jax.lax.map(learner, ridges)

        return jax.lax.map(member, (jax.random.split(key, ridges.shape[0]), members, ridges))

    return averaged(one, key, replicates, samples, batch)


def parts(
    spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int, rows, ridges, grow: bool
) -> Parts:
    """Parts of the error for every number of ``rows`` [k], at the ``ridges`` [k, m] of each.

    The law is the power law of the spec; no noise variances enter. ``grow``: d and T_0 in the ratios of the spec to T,
    else those of the spec.

    Returns:
        Arrays ``[replicates, k, m]``, means over ``samples`` designs.

    Raises:
        SpecError: ratios that make no whole sizes, or more directions than the spec has.
    """
    dtype, rows = spec.spectrum.dtype, np.asarray(rows, float)
    share = rows / float(spec.learner_samples) if grow else np.ones_like(rows)
    members = np.stack([rows, share * spec.dimension, share * float(spec.generator_samples)])
    if (members != np.round(members)).any() or members[1].max() > spec.dimension:
        raise SpecError(
            f"dimension, learner_samples and generator_samples must be multiples of 4, got {members[:, -1]}."
        )
    law = power_law(spec.dimension, float(spec.decay), float(spec.smoothness))
    base = RegressionSpec(**{name: values.astype(dtype) for name, values in law.items()})
    return _parts(
        base,
        tuple(jnp.asarray(sizes, dtype) for sizes in members),
        jnp.asarray(ridges, dtype),
        key,
        generations=generations,
        replicates=replicates,
        samples=samples,
        batch=at_once(8 * spec.dimension**2, dtype),
    )


def _checked(spec, generations, replicates, samples):
    checked_spec(spec)
    if spec.scheduled or float(spec.real_fraction) or spec.regime != "replace" or float(spec.generator_ridge):
        raise SpecError("generators under a power law must be alike, ridge 0, regime replace, without real rows.")
    if float(spec.generator_samples) < spec.dimension:
        raise SpecError(
            f"generator_samples must be at least d = {spec.dimension} under a power law, "
            f"got {float(spec.generator_samples):g}."
        )
    return checked_sizes(generations, replicates, samples)


def _rows(spec: RegressionSpec, factors):
    return np.round(float(spec.learner_samples) * np.asarray(factors))


def _ridges(spec: RegressionSpec, rows):
    """``[k, 1]``, the ridge of the spec."""
    return (float(spec.learner_ridge) * rows ** -float(spec.ridge_exponent))[:, None]


def _grid(spec: RegressionSpec, rows):
    """``[k, RIDGES]``, ridges that are tried."""
    return float(spec.learner_ridge) * rows[:, None] ** -np.linspace(float(spec.decay), 0, RIDGES)[None, :]


def _total(spec: RegressionSpec, found: Parts):
    return found.bias + spec.generator_noise**2 * found.fake + spec.learner_noise**2 * found.own


def _pseudo(statistic, values):
    """``[replicates, ...]``, jackknife pseudo-values of a statistic of the mean of ``values`` [replicates, k].

    Their mean is the statistic without most of its bias (a logarithm of one noisy run lies below that of the mean),
    their spread its uncertainty.
    """
    count = values.shape[0]
    mean = values.mean(axis=0)
    whole = statistic(mean)
    if count == 1:
        return whole[None]
    without = jax.vmap(statistic)((count * mean[None] - values) / (count - 1))
    return count * whole - (count - 1) * without


def _slope(rows):
    """The least-squares slope of the log of ``values`` [..., k] against log rows, as a function of their means."""
    x = jnp.log(jnp.asarray(rows))
    x = x - x.mean()

    def slope(mean):
        return jnp.sum(jnp.log(mean) * x.astype(mean.dtype), axis=-1) / jnp.sum(x.astype(mean.dtype) ** 2)

    return slope


def _slopes(spec, generations, replicates, key, samples, grow):
    rows = _rows(spec, OCTAVES)
    found = parts(spec, generations, replicates, key, samples=samples, rows=rows, ridges=_ridges(spec, rows), grow=grow)
    found = Parts(*(values[:, :, 0] for values in found))
    slope = _slope(rows)
    fake, own = _pseudo(slope, found.fake), _pseudo(slope, found.own)
    return {
        "error_slope": _pseudo(slope, _total(spec, found)),
        "bias_slope": _pseudo(slope, found.bias),
        "noise_slope": jnp.stack([fake, own], axis=1),
        "df_slope": _pseudo(slope, found.df),
        "crossover_slope": _pseudo(
            lambda both: 1 / (slope(both[0]) - slope(both[1])), jnp.stack([found.bias, found.fake], axis=1)
        ),
        "rise_slope": fake,
    }


def power_law_slopes(
    spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """Slopes over T/4, T/2, T with the ridge ``c T^-l``, d and T_0 in fixed ratios to T (REG-12, REG-14; derived).

    Returns:
        ``error_slope``, ``bias_slope``, ``df_slope`` and ``crossover_slope`` ``[replicates]`` (jackknife pseudo-values
        of the slope of the mean), ``noise_slope`` ``[replicates, 2]`` (of what the generators' noise adds, of the
        learner's). Bias and fake part are equal, at every T, for the noise ``C = bias/fake``: the crossover's slope is
        that of log T against log C.

    Raises:
        SpecError: sizes that are no multiples of 4, or generators that are no plain least squares on d rows or more.

    >>> spec = RegressionSpec(dimension=8, learner_samples=8, generator_samples=16, learner_ridge=1, ridge_exponent=1)
    >>> power_law_slopes(spec, 1, 2, jax.random.key(0), samples=2)["noise_slope"].values.shape
    (2, 2)
    """
    generations, replicates, samples = _checked(spec, generations, replicates, samples)
    values = _slopes(spec, generations, replicates, key, samples, True)
    return {name: trajectory(name, slopes, 1.0) for name, slopes in values.items() if name != "rise_slope"}


def rise(spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Slope of what the generators' noise adds over T/4, T/2, T, d and T_0 as in the spec (REG-14/rise; derived).

    Returns:
        ``rise_slope`` ``[replicates]``.

    Raises:
        SpecError: as ``power_law_slopes``.
    """
    generations, replicates, samples = _checked(spec, generations, replicates, samples)
    values = _slopes(spec, generations, replicates, key, samples, False)
    return {"rise_slope": trajectory("rise_slope", values["rise_slope"], 1.0)}


def least_errors(
    spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int, rows, grow: bool
) -> tuple[jax.Array, np.ndarray]:
    """``[replicates, k]``, errors at the ridge of the grid that is best on the mean of all replicates; these ridges."""
    grid = _grid(spec, rows)
    found = parts(spec, generations, replicates, key, samples=samples, rows=rows, ridges=grid, grow=grow)
    total = _total(spec, found)
    place = jnp.argmin(total.mean(axis=0), axis=1)
    least = jnp.take_along_axis(total, place[None, :, None], axis=2)[:, :, 0]
    return least, np.take_along_axis(grid, np.asarray(place)[:, None], axis=1)[:, 0]


def adapted(spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Slope over T/4, T/2, T of the least error over a grid of ridges, d and T_0 in fixed ratios (REG-13; derived).

    Returns:
        ``adapted_slope`` ``[replicates]``.

    Raises:
        SpecError: as ``power_law_slopes``.
    """
    generations, replicates, samples = _checked(spec, generations, replicates, samples)
    rows = _rows(spec, OCTAVES)
    least, _ = least_errors(spec, generations, replicates, key, samples=samples, rows=rows, grow=True)
    return {"adapted_slope": trajectory("adapted_slope", _pseudo(_slope(rows), least), 1.0)}


def plateau(spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Least error over a grid of ridges at T over that at T/4, d and T_0 as in the spec (REG-13/plateau; derived).

    Returns:
        ``plateau_ratio`` ``[replicates]``.

    Raises:
        SpecError: as ``power_law_slopes``.
    """
    generations, replicates, samples = _checked(spec, generations, replicates, samples)
    rows = _rows(spec, OCTAVES)
    least, _ = least_errors(spec, generations, replicates, key, samples=samples, rows=rows, grow=False)
    return {"plateau_ratio": trajectory("plateau_ratio", _pseudo(lambda mean: mean[-1] / mean[0], least), 1.0)}
