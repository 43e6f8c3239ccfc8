"""The best that ridge and a shrink factor can do along a chain, found by trying (REG-15)."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.simulate.regression_chain import drawn, fit_factor
from collapse_jax.simulate.regression_doors import (
    at_once,
    averaged,
    checked_sizes,
    checked_spec,
    program,
    rounds_of,
    trajectory,
)
from collapse_jax.simulate.wishart import after, dot, eigen
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.trajectory import Trajectory

RIDGES = tuple(np.logspace(-3, 2, 61).tolist())
"""Ridges that are tried, in units of the mean eigenvalue."""


@program(*("replicates", "samples", "batch"))
def _best(spec, rounds, ridges, key, *, replicates, samples, batch):
    rows, scale = spec.learner_samples, jnp.sqrt(spec.spectrum)

    def generation(weights, step):
        key, step = step
        factors, noises = drawn(key, spec, jnp.stack([rows, step.made]))
        factor = scale[:, None] * factors[0]
        values, vectors = eigen(dot(factor, factor.T))
        right = dot(vectors.T, dot(factor, dot(factor.T, weights) + spec.learner_noise * noises[0]))
        learned = dot(vectors, right[:, None] / (values[:, None] + rows * ridges[None, :]))
        seen = {
            "square": jnp.sum(spec.spectrum[:, None] * learned**2, axis=0),
            "product": jnp.sum((spec.spectrum * spec.truth)[:, None] * learned, axis=0),
        }
        factor = after(factors[1], learned)
        return fit_factor(spec, weights, factor, step.noise * noises[1], step.made, step.ridge, True), seen

    def one(key):
        return jax.lax.scan(generation, spec.truth, (jax.random.split(key, rounds.made.shape[0]), rounds))[1]

    return averaged(one, key, replicates, samples, batch)


def best_chain(spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Least error of ``b`` times ridge over shrink factors b and a grid of ridges, and of plain ridge (REG-15;
    derived).

    Both are chosen, generation by generation, for the mean over all replicates.

    Returns:
        ``best_error`` and ``best_ridge_error`` ``[replicates, generations + 1]`` in label^2.

    Raises:
        SpecError: a bad argument, or generators that are no least squares with T_0 >= d.

    >>> spec = RegressionSpec([1.0], dimension=3, learner_samples=9, generator_samples=9)
    >>> best_chain(spec, 2, 2, jax.random.key(0), samples=3)["best_error"].values.shape
    (2, 3)
    """
    checked_spec(spec)
    generations, replicates, samples = checked_sizes(generations, replicates, samples)
    rounds, dtype = rounds_of(spec, generations), spec.spectrum.dtype
    if (rounds.made < spec.dimension).any() or rounds.real.any() or rounds.ridge.any() or spec.regime != "replace":
        raise SpecError("generators must be least squares on at least d replaced rows where the best ridge is sought.")
    ridges = jnp.asarray(RIDGES, dtype) * spec.spectrum.mean()
    batch = at_once(8 * spec.dimension * (spec.dimension + len(RIDGES)), dtype)
    seen = _best(
        spec,
        jax.tree.map(lambda values: jnp.asarray(np.append(values, values[-1]), dtype), rounds),
        ridges,
        key,
        replicates=replicates,
        samples=samples,
        batch=batch,
    )
    square, product = seen["square"], seen["product"]
    shrink = product.mean(axis=0) / square.mean(axis=0)

    def least(shrink):
        errors = spec.signal - 2 * shrink * product + shrink**2 * square
        place = jnp.argmin(errors.mean(axis=0), axis=-1)
        return jnp.take_along_axis(errors, place[None, :, None], axis=2)[:, :, 0]

    names = {"best_error": shrink[None], "best_ridge_error": jnp.ones_like(shrink)[None]}
    return {name: trajectory(name, least(factor), spec.signal) for name, factor in names.items()}
