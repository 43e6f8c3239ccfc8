"""Regression chains by brute force: every row is drawn, every fit is a pseudo-inverse of the rows.

What a generation trains on comes from the general loop (``collapse_jax.recursion``): rows are inputs with labels, a
model is a vector of weights. Nothing here knows of Wishart matrices; ``exact_chain`` is held against it.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.recursion import Family, chain
from collapse_jax.simulate.regression_chain import looked
from collapse_jax.simulate.regression_doors import checked_sizes, checked_spec, rounds_of
from collapse_jax.simulate.wishart import dot
from collapse_jax.specs.regime import Regime
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.trajectory import Trajectory

_AMPLE = 4  # times as many rows as directions: columns of length 1 have a Gram matrix of condition 9 at most, or so


def fit_rows(inputs, labels, weights, ridge, plain: bool, ample: bool = False):
    """Ridge regression on rows ``[n, d]`` whose ``weights`` [n] are 1, or 0 where there is no row.

    ``plain`` (static): ridge 0, smallest norm, from the singular values of the rows; ``ample`` (static): they are so
    many that normal equations lose nothing, once each column is divided by its length.
    """
    here = jnp.sqrt(weights)
    inputs, labels = inputs * here[:, None], labels * here
    if plain and not ample:
        return dot(jnp.linalg.pinv(inputs), labels)
    gram, right = dot(inputs.T, inputs), dot(inputs.T, labels)
    if plain:
        length = jnp.sqrt(jnp.diagonal(gram))
        root = jnp.linalg.cholesky(gram / (length[:, None] * length[None, :]))
        return jax.scipy.linalg.cho_solve((root, True), right / length) / length
    penalty = jnp.sum(weights) * ridge * jnp.eye(inputs.shape[1], dtype=inputs.dtype)
    return jnp.linalg.solve(gram + penalty, right)


def _rows(key, spec: RegressionSpec, weights, noise, count: int):
    input_key, noise_key = jax.random.split(key)
    shape, dtype = (count, spec.dimension), spec.spectrum.dtype
    inputs = jax.random.normal(input_key, shape, dtype) * jnp.sqrt(spec.spectrum)[None, :]
    return inputs, dot(inputs, weights) + noise * jax.random.normal(noise_key, (count,), dtype)


@partial(jax.jit, static_argnames=("count", "plain", "ample"))
def _learn(spec, path, key, *, count, plain, ample):
    """Errors of learners on fresh rows labelled by every entry of ``path`` [chains, generations + 1, d]."""

    def one(pair):
        weights, key = pair
        inputs, labels = _rows(key, spec, weights, spec.learner_noise, count)
        learned = fit_rows(inputs, labels, jnp.ones(count, labels.dtype), spec.learner_ridge, plain, ample)
        return jnp.sum(spec.spectrum * (learned - spec.truth) ** 2)

    flat = path.reshape(-1, spec.dimension)
    pairs = flat, jax.random.split(key, len(flat))
    return jax.lax.map(one, pairs, batch_size=256).reshape(path.shape[:2])


def _itself(weights):
    return weights


def family_of(spec: RegressionSpec, generations: int):
    """``(family, real, regime)`` of the generators of a spec, for the general loop."""
    rounds = rounds_of(spec, generations)
    sizes = tuple(int(rows) for rows in rounds.made + rounds.real)
    noise, ridge = spec.generator_noise, spec.generator_ridge
    plain, ample = float(ridge) == 0, min(sizes) >= _AMPLE * spec.dimension

    def real(key, count):
        inputs, labels = _rows(key, spec, spec.truth, noise, count)
        return {"inputs": inputs, "labels": labels}

    def label(key, weights, count):
        inputs, labels = _rows(key, spec, weights, noise, count)
        return {"inputs": inputs, "labels": labels}

    def fit(key, pool, previous):
        return fit_rows(pool.data["inputs"], pool.data["labels"], pool.weights, ridge, plain, ample)

    regime = Regime(sizes, kind=spec.regime, real_fraction=spec.real_fraction, split="fixed")
    return Family(fit, label), real, regime


def brute_force_chain(
    spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int = 1
) -> dict[str, Trajectory]:
    """The chain of ``exact_chain`` with its rows in memory; sizes may change from round to round, noises may not.

    Args:
        spec, generations, replicates, key, samples: as in ``exact_chain``.

    Returns:
        The observables of ``exact_chain``.

    Raises:
        SpecError: a bad argument, a schedule of noises or ridges, or an infinite ridge.

    >>> spec = RegressionSpec([1.0], dimension=3, learner_samples=9, generator_samples=2)
    >>> brute_force_chain(spec, 4, 2, jax.random.key(0), samples=3)["error"].values.shape
    (2, 5)
    """
    checked_spec(spec)
    generations, replicates, samples = checked_sizes(generations, replicates, samples)
    if jnp.ndim(spec.generator_noise) or jnp.ndim(spec.generator_ridge):
        raise SpecError("generator_noise and generator_ridge must be single numbers by brute force: sample exactly.")
    for name in ("generator_ridge", "learner_ridge"):
        if not np.isfinite(float(getattr(spec, name))):
            raise SpecError(f"{name} must be finite by brute force, got infinity: sample exactly.")
    family, real, regime = family_of(spec, generations)
    chain_key, learn_key = jax.random.split(key)
    runs = replicates * samples
    path = chain(family, real, regime, generations, runs, chain_key, observe=_itself)
    path = jnp.concatenate([jnp.broadcast_to(spec.truth, (runs, 1, spec.dimension)), path], axis=1)
    count = int(spec.learner_samples)
    errors = _learn(
        spec,
        path,
        learn_key,
        count=count,
        plain=float(spec.learner_ridge) == 0,
        ample=count >= _AMPLE * spec.dimension,
    )
    weight, off = spec.spectrum[None, None], path - spec.truth[None, None]
    values = {
        "error": errors,
        "generator_error": jnp.sum(weight * off**2, axis=-1),
        "signal": jnp.sum(weight * path**2, axis=-1),
        "overlap": jnp.sum(weight * path * spec.truth[None, None], axis=-1),
        "coordinates": path,
    }
    means = {name: found.reshape(replicates, samples, *found.shape[1:]).mean(axis=1) for name, found in values.items()}
    return looked(means, spec)
