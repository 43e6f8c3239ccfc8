"""Kernel ridge regression refitted on its own predictions: the same inputs every round, or rows drawn from a pool.

Both start from a kernel matrix and know nothing of its eigenvalues' law: predictions come from linear solves.
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from collapse_jax.errors import SpecError
from collapse_jax.simulate.regression_doors import (
    at_once,
    averaged,
    checked_sizes,
    checked_spec,
    program,
    rounds_of,
    trajectory,
)
from collapse_jax.simulate.wishart import after, dot
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.trajectory import Trajectory

POOL = 4
"""Inputs of the default pool, in units of d."""


def _frame(key, spec: RegressionSpec, count: int):
    """``[count, d]``, orthonormal columns in random directions."""
    return jnp.linalg.qr(jax.random.normal(key, (count, spec.dimension), spec.spectrum.dtype))[0]


@program(*("count", "generations", "replicates", "samples", "batch"))
def _in_sample(spec, key, *, count, generations, replicates, samples, batch):
    frame_key, key = jax.random.split(key)
    frame, dtype = _frame(frame_key, spec, count), spec.spectrum.dtype
    gram = dot(frame * (count * spec.spectrum)[None, :], frame.T)
    clean = dot(frame, jnp.sqrt(count * spec.spectrum) * spec.truth)
    penalty = count * spec.generator_ridge * jnp.eye(count, dtype=dtype)
    hat = dot(gram, jnp.linalg.pinv(after(gram, clean) + penalty, hermitian=True))

    def looks(values):
        along = dot(frame.T, values)
        return {"in_sample_error": jnp.mean((values - clean) ** 2), "along": along, "square": along**2}

    def one(key):
        def generation(values, key):
            noise = spec.generator_noise * jax.random.normal(key, (count,), dtype)
            after = dot(hat, values + noise)
            return after, looks(after)

        path = jax.lax.scan(generation, clean, jax.random.split(key, generations))[1]
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), looks(clean), path)

    return averaged(one, key, replicates, samples, batch)


def in_sample_chain(
    spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """Kernel ridge regression on one design of ``generator_samples`` inputs, relabelled and refitted (REG-16; derived).

    The kernel matrix has random eigenvectors and T times the ``spectrum`` as eigenvalues.

    Returns:
        ``in_sample_error`` ``[replicates, generations + 1]``, mean square distance to the clean targets [label^2];
        ``in_sample_mean`` and ``in_sample_variance`` ``[..., d]``, along the eigenvectors: means over ``samples``
        chains of the predictions, and of their squared distances from the mean of all chains.

    Raises:
        SpecError: a bad argument, a schedule, or fewer inputs than eigenvalues.

    >>> spec = RegressionSpec([2.0, 1.0], generator_samples=4, generator_ridge=0.1)
    >>> in_sample_chain(spec, 3, 2, jax.random.key(0), samples=5)["in_sample_mean"].values.shape
    (2, 4, 2)
    """
    checked_spec(spec)
    generations, replicates, samples = checked_sizes(generations, replicates, samples)
    if spec.scheduled or jnp.isinf(spec.generator_ridge):
        raise SpecError("generators on a fixed design must be alike and have a finite ridge: pass single numbers.")
    count = round(float(spec.generator_samples))
    if count < spec.dimension:
        raise SpecError(f"generator_samples must be at least {spec.dimension}, one input per eigenvalue, got {count}.")
    values = _in_sample(
        spec,
        key,
        count=count,
        generations=generations,
        replicates=replicates,
        samples=samples,
        batch=at_once(8 * (generations + 1) * count, spec.spectrum.dtype),
    )
    mean = values["along"]
    centre = mean.mean(axis=0, keepdims=True)
    runs = replicates * samples
    # a mean over the chains of a replicate of (f - centre)^2, centre the mean of all chains
    spread = (values["square"] - 2 * centre * mean + centre**2) * (runs / max(runs - 1, 1))
    size = jnp.max(jnp.abs(values["square"]))
    return {
        "in_sample_error": trajectory("in_sample_error", values["in_sample_error"], size / count),
        "in_sample_mean": trajectory("in_sample_mean", mean, jnp.sqrt(size)),
        "in_sample_variance": trajectory("in_sample_variance", jnp.maximum(spread, 0), size),
    }


def pool_fit(key, gram, labels, rows: int, noise, ridge, wait):
    """Predictions on the whole pool ``[N]`` of kernel ridge regression on ``rows`` rows drawn with replacement."""
    row_key, noise_key = jax.random.split(key)
    chosen = jax.random.randint(row_key, (rows,), 0, labels.shape[0])
    seen = labels[chosen] + noise * jax.random.normal(noise_key, (rows,), labels.dtype)
    across = gram[:, chosen]
    inner = after(across[chosen] + rows * ridge * jnp.eye(rows, dtype=gram.dtype), wait)
    return dot(across, cho_solve((jnp.linalg.cholesky(inner), True), seen))


@program(*("rows", "generations", "replicates", "samples", "batch"))
def _pool(gram, teacher, noises, ridges, key, *, rows, generations, replicates, samples, batch):
    def looks(key, labels):
        learned = pool_fit(key, gram, labels, rows[1], noises[1], ridges[1], labels)
        return {"pool_error": jnp.mean((learned - teacher) ** 2), "generator": jnp.mean((labels - teacher) ** 2)}

    def one(key):
        first_key, key = jax.random.split(key)

        def generation(labels, key):
            made_key, look_key = jax.random.split(key)
            labels = pool_fit(made_key, gram, labels, rows[0], noises[0], ridges[0], labels)
            return labels, looks(look_key, labels)

        first = looks(first_key, teacher)
        start = after(teacher, first["pool_error"])
        path = jax.lax.scan(generation, start, jax.random.split(key, generations))[1]
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, path)

    return averaged(one, key, replicates, samples, batch)


def pool_chain(
    spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int, gram=None, teacher=None
) -> dict[str, Trajectory]:
    """Kernel ridge regression whose rounds draw their rows from a finite pool of inputs (REG-17; derived).

    Args:
        spec: sizes, noises and ridges; without a pool also spectrum and truth of one with random eigenvectors.
        generations, replicates, key, samples: as in ``exact_chain``.
        gram: ``[N, N]`` kernel matrix of a pool, and teacher: ``[N]`` clean labels on it [label].

    Returns:
        ``pool_error`` ``[replicates, generations + 1]``, mean square distance of the learner to the teacher over the
        pool [label^2], and ``pool_generator_error``, of the generators.

    Raises:
        SpecError: a bad argument, a schedule, real rows, accumulation, or a ridge that is 0 or infinite.

    >>> spec = RegressionSpec([1.0], learner_samples=6, learner_ridge=0.1, generator_samples=8, generator_ridge=1.0)
    >>> pool_chain(spec, 3, 2, jax.random.key(0), samples=5)["pool_error"].values.shape
    (2, 4)
    """
    checked_spec(spec)
    generations, replicates, samples = checked_sizes(generations, replicates, samples)
    if spec.scheduled or rounds_of(spec, 1).real.any() or spec.regime != "replace":
        raise SpecError("generators on a pool must be alike, replaced, without real rows: pass single numbers.")
    ridges = (spec.generator_ridge, spec.learner_ridge)
    if not all(0 < float(ridge) < float("inf") for ridge in ridges):
        raise SpecError(f"generator_ridge and learner_ridge must be positive and finite on a pool, got {ridges}.")
    dtype = spec.spectrum.dtype
    if gram is None or teacher is None:
        frame_key, key = jax.random.split(key)
        count = POOL * spec.dimension
        frame = _frame(frame_key, spec, count)
        gram = dot(frame * (count * spec.spectrum)[None, :], frame.T)
        teacher = dot(frame, jnp.sqrt(count * spec.spectrum) * spec.truth)
    gram, teacher = jnp.asarray(gram, dtype), jnp.asarray(teacher, dtype)
    rows = round(float(spec.generator_samples)), round(float(spec.learner_samples))
    values = _pool(
        gram,
        teacher,
        (spec.generator_noise, spec.learner_noise),
        ridges,
        key,
        rows=rows,
        generations=generations,
        replicates=replicates,
        samples=samples,
        batch=at_once(4 * max(rows) * (max(rows) + gram.shape[0]), dtype),
    )
    size = jnp.max(values["pool_error"])
    return {
        "pool_error": trajectory("pool_error", values["pool_error"], size),
        "pool_generator_error": trajectory("pool_generator_error", values["generator"], size),
    }
