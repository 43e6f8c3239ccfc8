"""Regression chains exact in law through Wishart factors, at a cost that does not depend on the number of rows.

Write the whitened rows as ``X = Q L^T D`` with ``L`` the trapezoidal factor of Bartlett (``wishart.bartlett``; its
columns beyond T are zero), ``D^2`` the spectrum and Q of orthonormal columns, independent of L. A fit needs ``X^T X = F
F^T``, ``F = D L``, and ``X^T eps = F Q^T eps = F z`` with z standard normal. So

- ridge or smallest norm: ``w' = F (F^T F + T lambda I)^{-1} (F^T w + s z)``, unused columns apart;
- least squares with T >= d: ``w' = w + D^{-1} L^{-T} s z``. The law of ``L^{-T} z`` has no direction, and its squared
  length is ``|z|^2`` over an independent chi-square of T - d + 1 degrees of freedom (Hotelling), so that it is
  ``z / sqrt(chi-square)``: where all fits are of this kind no factor is drawn, at a cost of O(d) a round;
- rows labelled by two models, or kept from former rounds: sums of such Gram matrices and right-hand sides.

Each generation's generator is followed by a learner on fresh rows of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular

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

CURVES = ("error", "generator_error", "signal", "overlap", "coordinates")


_TRIES = 10  # a proposal is refused with probability below 0.05: none of ten is accepted once in 1e13


def chi_squares(freedom, points, levels):
    """Independent chi-squares ``[...]``, one for each entry of ``freedom`` (0 where that is below 1).

    By the rejection of Marsaglia and Tsang (2000), all proposals drawn at once: ``points`` ``[..., tries]`` standard
    normal and ``levels`` ``[..., tries - 1]`` uniform on (0, 1). (``jax.random.gamma`` makes a key for each number and
    takes twenty times as long, most of the time of a chain.)
    """
    # one degree of freedom is the square of a normal; gamma(a) from a = 1 on, a = freedom/2
    size = jnp.maximum(freedom / 2, 1)[..., None] - 1 / 3
    cube = (1 + points[..., 1:] / jnp.sqrt(9 * size)) ** 3
    positive = jnp.where(cube > 0, cube, 1)
    good = (cube > 0) & (jnp.log(levels) < points[..., 1:] ** 2 / 2 + size * (1 - positive + jnp.log(positive)))
    first = jnp.argmax(good, axis=-1, keepdims=True)
    made = 2 * size[..., 0] * jnp.take_along_axis(positive, first, axis=-1)[..., 0]
    return jnp.where(freedom >= 2, made, jnp.where(freedom >= 1, points[..., 0] ** 2, 0))


def drawn(key, spec: RegressionSpec, rows):
    """Bartlett factors ``[k, d, d]`` for ``rows`` [k], and as many standard normal vectors ``[k, d]``.

    The law is that of ``wishart.bartlett``. All normal numbers come from one call, which compiles in half the time.
    """
    normal_key, level_key = jax.random.split(key)
    size, dtype, count = spec.dimension, spec.spectrum.dtype, rows.shape[0]
    normal = jax.random.normal(normal_key, (count, size, size + _TRIES + 2), dtype)
    levels = jax.random.uniform(level_key, (count, size, _TRIES), dtype, minval=float(jnp.finfo(dtype).tiny))
    left = rows[:, None] - jnp.arange(size, dtype=dtype)[None]
    roots = jnp.sqrt(chi_squares(left, normal[..., size + 1 :], levels))
    below = jnp.where((left > 0)[:, None, :], jnp.tril(normal[..., :size], -1), 0)
    return below + jnp.eye(size, dtype=dtype)[None] * roots[:, None, :], normal[..., size]


def _least_squares(key, spec: RegressionSpec, weights, noise, rows):
    """Least squares on at least d fresh rows labelled by ``weights`` [d] with noise of deviation ``noise``."""
    normal_key, level_key = jax.random.split(key)
    size, dtype = spec.dimension, spec.spectrum.dtype
    normal = jax.random.normal(normal_key, (size + _TRIES + 1,), dtype)
    levels = jax.random.uniform(level_key, (_TRIES,), dtype, minval=float(jnp.finfo(dtype).tiny))
    root = jnp.sqrt(chi_squares(rows - (size - 1), normal[size:], levels))
    return weights + noise * normal[:size] / (root * jnp.sqrt(spec.spectrum))


def fit_factor(spec: RegressionSpec, weights, factor, noise, rows, ridge, plain: bool):
    """A fit on fresh rows labelled by ``weights`` [d] with ``noise`` [d], whitened factor ``factor`` of the rows.

    ``plain`` (static): least squares on at least d rows.
    """
    scale = jnp.sqrt(spec.spectrum)
    if plain:
        return weights + solve_triangular(factor, noise, lower=True, trans=1) / scale
    rooted = scale[:, None] * factor
    unused = jnp.arange(spec.dimension, dtype=weights.dtype) >= rows
    endless = jnp.isinf(ridge)
    penalty = rows * jnp.where(endless, 1, ridge) + jnp.where(unused, 1, 0)
    inverse = jnp.linalg.cholesky(dot(rooted.T, rooted) + jnp.diag(penalty))
    right = dot(rooted.T, weights) + jnp.where(unused, 0, noise)
    return jnp.where(endless, 0, dot(rooted, cho_solve((inverse, True), right)))


def _solve(spec: RegressionSpec, gram, right, penalty):
    """Weights of a ridge regression from whitened sums over its rows; ``penalty``: rows times ridge."""
    endless, scale = jnp.isinf(penalty), jnp.sqrt(spec.spectrum)
    added = jnp.diag(jnp.where(endless, 0, penalty) / spec.spectrum)
    inverse = jnp.linalg.cholesky(gram + added)
    return jnp.where(endless, 0, cho_solve((inverse, True), right) / scale)


def _mixed(spec: RegressionSpec, state, step, factors, noises):
    """A generator with rows of the last generator and rows of the truth."""
    scale, total = jnp.sqrt(spec.spectrum), step.made + step.real
    made, real = (dot(factor, factor.T) for factor in factors)
    noise = sum(dot(factor, one) for factor, one in zip(factors, noises, strict=True))
    right = dot(made, scale * state) + dot(real, scale * spec.truth) + step.noise * noise
    return _solve(spec, made + real, right, total * step.ridge)


def _accumulated(spec: RegressionSpec, state, step, factor, noise):
    """A generator on all rows so far; the state holds weights, sums over rows, and their number."""
    weights, gram, right, rows = state
    fresh = dot(factor, factor.T)
    gram, rows = gram + fresh, rows + step.made
    right = right + dot(fresh, jnp.sqrt(spec.spectrum) * weights) + step.noise * dot(factor, noise)
    return _solve(spec, gram, right, rows * step.ridge), gram, right, rows


def _looks(spec: RegressionSpec, weights, learned):
    def product(left, right):
        return jnp.sum(spec.spectrum * left * right)

    off, missed = weights - spec.truth, learned - spec.truth
    return {
        "error": product(missed, missed),
        "generator_error": product(off, off),
        "signal": product(weights, weights),
        "overlap": product(weights, spec.truth),
        "coordinates": weights,
    }


@program(*("replicates", "samples", "batch", "how", "plain"))
def _exact_chain(spec, rounds, key, *, replicates, samples, batch, how, plain):
    dimension, dtype = spec.dimension, spec.spectrum.dtype

    def generation(state, step):
        """What the state and a learner of its labels show; then the next generator."""
        key, step = step
        counts = [spec.learner_samples, step.made] + ([step.real] if how == "mixed" else [])
        factors, noises = drawn(key, spec, jnp.stack(counts))
        weights = state[0] if how == "accumulate" else state
        learned = fit_factor(
            spec,
            weights,
            factors[0],
            spec.learner_noise * noises[0],
            spec.learner_samples,
            spec.learner_ridge,
            plain[1],
        )
        factors = after(factors[1:], learned)
        if how == "accumulate":
            state = _accumulated(spec, state, step, factors[0], noises[1])
        elif how == "mixed":
            state = _mixed(spec, state, step, factors, noises[1:])
        else:
            state = fit_factor(spec, state, factors[0], step.noise * noises[1], step.made, step.ridge, plain[0])
        return state, _looks(spec, weights, learned)

    def squares(weights, step):
        """``generation`` where every fit is by least squares and fresh."""
        key, step = step
        learn_key, fit_key = jax.random.split(key)
        learned = _least_squares(learn_key, spec, weights, spec.learner_noise, spec.learner_samples)
        return _least_squares(fit_key, spec, weights, step.noise, step.made), _looks(spec, weights, learned)

    def one(key):
        state = spec.truth
        if how == "accumulate":
            nothing = jnp.zeros(dimension, dtype)
            state = (state, jnp.zeros((dimension, dimension), dtype), nothing, jnp.zeros((), dtype))
        step = squares if how == "replace" and all(plain) else generation
        return jax.lax.scan(step, state, (jax.random.split(key, rounds.made.shape[0]), rounds))[1]

    return averaged(one, key, replicates, samples, batch)


def exact_chain(
    spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int = 1
) -> dict[str, Trajectory]:
    """The chain, exact in law, at no more than O(d^3) a round whatever the number of rows (REG-1 to REG-11; derived).

    Args:
        spec: the chain; every regime, ridge and schedule.
        generations: rounds, >= 1.
        replicates: independent replicates, >= 1, each the mean of ``samples`` independent chains.
        key: random key.

    Returns:
        By observable, values ``[replicates, generations + 1]``, entry 0 the truth: ``error``, of a learner of the
        labels of each generator, ``generator_error``, of the generator itself, ``signal`` its mean square, ``overlap``
        its product with the truth, all in the norm of Sigma [label^2]; ``coordinates`` ``[..., d]`` of its weights.
        ``final_generator_error`` ``[replicates]``: last entry of ``generator_error``.

    Raises:
        SpecError: a bad argument, or least squares on fewer rows than directions where rows are mixed or kept.

    >>> spec = RegressionSpec([1.0], dimension=3, learner_samples=9, generator_samples=2)
    >>> exact_chain(spec, 4, 2, jax.random.key(0), samples=3)["error"].values.shape
    (2, 5)
    """
    checked_spec(spec)
    generations, replicates, samples = checked_sizes(generations, replicates, samples)
    rounds, size = rounds_of(spec, generations), spec.dimension
    rows = rounds.made + rounds.real
    how = spec.regime if spec.regime == "accumulate" else "mixed" if rounds.real.any() else "replace"
    seen = rows if how == "mixed" else np.cumsum(rows)
    if how != "replace" and ((seen < size) & (rounds.ridge == 0)).any():
        raise SpecError(
            f"generator_samples must be at least d = {size} (or generator_ridge positive) where rows are mixed or "
            f"kept, got {seen.min():g}."
        )
    plain = (
        bool((rounds.ridge == 0).all() and (rounds.made >= size).all()),
        bool(float(spec.learner_ridge) == 0 and float(spec.learner_samples) >= size),
    )
    dtype = spec.spectrum.dtype
    # one step more than rounds: each looks first, so that what the last one makes is seen by nobody
    given = jax.tree.map(lambda values: jnp.asarray(np.append(values, values[-1]), dtype), rounds)
    batch = at_once(10 * size**2 + (generations + 1) * (size + 4), dtype)
    values = _exact_chain(spec, given, key, replicates=replicates, samples=samples, batch=batch, how=how, plain=plain)
    return looked(values, spec)


def looked(values, spec: RegressionSpec) -> dict[str, Trajectory]:
    """Trajectories of what ``_looks`` saw."""
    largest = {name: float(jnp.max(jnp.abs(found))) for name, found in values.items()}
    seen = {name: trajectory(name, values[name], largest[name]) for name in CURVES}
    last = values["generator_error"][:, -1]
    return seen | {"final_generator_error": trajectory("final_generator_error", last, jnp.max(last))}


@program(*("replicates", "samples", "batch"))
def _kept_error(spec, made, real, key, *, replicates, samples, batch):
    def one(key):
        draw_key, way_key = jax.random.split(key)
        factors, _ = drawn(draw_key, spec, jnp.stack([made, real]))
        synthetic, true = (dot(factor, factor.T) for factor in factors)
        way = jax.random.normal(way_key, (spec.dimension,), spec.spectrum.dtype)
        way = way / jnp.linalg.norm(way)
        inverse = jnp.linalg.cholesky(synthetic + true)
        return jnp.sum(cho_solve((inverse, True), dot(synthetic, way)) ** 2)

    return averaged(one, key, replicates, samples, batch)


def kept_error(spec: RegressionSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Squared length of what a round leaves of a unit error, real rows mixed in (REG-5; derived).

    Returns:
        ``kept_error`` ``[replicates]``: means over ``samples`` rounds of ``|V^{-1} V_p v|^2``.

    Raises:
        SpecError: a bad argument, or fewer rows than directions.

    >>> spec = RegressionSpec([1.0], generator_samples=4, real_fraction=1.0)
    >>> kept_error(spec, 1, 2, jax.random.key(0), samples=3)["kept_error"].values.tolist()
    [0.0, 0.0]
    """
    checked_spec(spec)
    _, replicates, samples = checked_sizes(1, replicates, samples)
    rounds, dtype = rounds_of(spec, 1), spec.spectrum.dtype
    made, real = (jnp.asarray(rows[0], dtype) for rows in (rounds.made, rounds.real))
    if made + real < spec.dimension:
        raise SpecError(f"generator_samples must be at least d = {spec.dimension}, got {float(made + real):g}.")
    batch = at_once(8 * spec.dimension**2, dtype)
    values = _kept_error(spec, made, real, key, replicates=replicates, samples=samples, batch=batch)
    return {"kept_error": trajectory("kept_error", values, 1.0)}
