"""Deterministic equivalents of ridge regression on Gaussian inputs, round by round.

A fit on T rows with ridge lambda acts, for large d and T, like one on infinitely many rows with the larger ridge kappa,
``kappa - lambda = kappa df_1(kappa)/T``, ``df_m(k) = sum_i [mu_i/(mu_i + k)]^m``: direction i keeps the share
``A_i = mu_i/(mu_i + kappa)`` of what the labels say, loses ``q_i = 1 - A_i``, and gains a variance
``A_i^2/mu_i * (sum_j mu_j q_j^2 M_j + s^2)/(T - df_2)`` from the label noise s and from what the fit could not explain,
``M_j`` the mean square of coordinate j of the weights that made the labels.

Nothing here subtracts. The chain carries the share g of the truth that is lost, ``g' = A g + q``, the mean square M of
the weights and D of their distance to the truth, ``D' = A^2 D + 2 A q g w_0^2 + q^2 w_0^2 + variance``, all sums of
positive terms. The equation for kappa is solved in ``log k`` in the form
``(d - T)_+ + T lambda/k = (T - d)_+ + sum_i k/(mu_i + k)`` (where 2T < d: ``T lambda/k + df_1(k) = T``), logarithm
against logarithm: falling against rising or constant, with slopes between -1 and 1, so that bisection finds the root to
rounding for every spectrum, also where a fixed-point iteration stalls. Its derivative is that of the implicit function.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.errors import RegimeError
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.regression import RegressionSpec

_HUGE = 1e25  # stands for an infinite ridge while the equation is solved: its products stay finite in float32
_NEAR = 0.05  # ridgeless fits with |T - d| below this share of d have no useful equivalent


def covers(holds: bool, result: str, needs: str) -> None:
    """Refuse a spec that a result does not describe.

    Raises:
        RegimeError: names the result and what it needs.
    """
    if not holds:
        raise RegimeError(f"{result} {needs}")


def surely(condition, *values) -> bool:
    """False only if all values are known now and ``condition`` fails for some entry of them."""
    if not all(concrete(value) for value in values):
        return True
    return bool(np.all(condition(*(np.asarray(value) for value in values))))


def require_replace(spec: RegressionSpec, result: str) -> None:
    """Refuse accumulation and real rows in later rounds."""
    covers(spec.regime == "replace", result, "describes regime replace; for accumulate ask REG-3.")
    none = surely(lambda share: share == 0, spec.real_fraction)
    covers(none, result, "describes real_fraction 0; with a real share ask REG-5.")


def require_constant(spec: RegressionSpec, result: str, other: str) -> None:
    """Refuse schedules."""
    covers(not spec.scheduled, result, f"describes equal rounds; for a schedule ask {other}.")


def require_ridgeless(spec: RegressionSpec, result: str, *names: str) -> None:
    """Refuse ridges."""
    for name in names:
        good = surely(lambda ridge: ridge == 0, getattr(spec, name))
        covers(good, result, f"describes least squares, {name} 0; with a ridge ask REG-6.")


def require_mean(spec: RegressionSpec, result: str, *names: str) -> None:
    """Refuse least squares on d + 1 rows or fewer: with d or d + 1 its mean square error is infinite."""
    size = spec.dimension
    for name in names:
        rows = getattr(spec, name)
        finite = surely(lambda rows: (rows < size) | (rows > size + 1), rows)
        covers(finite, result, f"needs {name} >= d + 2 = {size + 2}: at d or d + 1 rows the mean error is infinite.")
        enough = surely(lambda rows: rows > size, rows)
        covers(enough, result, f"needs {name} >= d + 2 = {size + 2}; for fewer rows than directions ask REG-6.")


def require_gap(spec: RegressionSpec, result: str, *names: str) -> None:
    """Refuse least squares with d - 1, d or d + 1 rows, where the mean error is infinite on one side or the other."""
    size = spec.dimension
    for name in names:
        clear = surely(lambda rows: abs(rows - size) >= 2, getattr(spec, name))
        covers(clear, result, f"needs {name} <= d - 2 or >= d + 2 (d = {size}): in between the mean is infinite.")


def require_equivalent(spec: RegressionSpec, result: str, *roles: str) -> None:
    """Refuse fits without ridge on about as many rows as there are directions."""
    size, room = spec.dimension, max(1.0, _NEAR * spec.dimension)
    for role in roles:
        rows, ridge = getattr(spec, f"{role}_samples"), getattr(spec, f"{role}_ridge")
        good = surely(lambda rows, ridge: (ridge > 0) | (abs(rows - size) > room), rows, ridge)
        covers(good, result, f"needs {role}_ridge > 0 where {role}_samples is within {room:g} of d = {size}.")


def require_isotropic(spec: RegressionSpec, result: str) -> None:
    """Refuse spectra with unequal entries."""
    equal = surely(lambda values: values == values[..., :1], spec.spectrum)
    covers(equal, result, "describes an isotropic spectrum, all entries equal; for others ask REG-6.")


def _gap(log_k, known):
    """Falls in ``log_k`` through 0 at the root; ``log_k`` is relative to a given base."""
    spectrum, ridge_rows, rows, base = known
    size, k = spectrum.shape[-1], base * jnp.exp(log_k)
    few = 2 * rows < size  # then counting what is kept loses fewer digits than counting what is lost
    ridged = ridge_rows / k
    kept, lost = jnp.sum(spectrum / (spectrum + k)), jnp.sum(k / (spectrum + k))
    left = jnp.where(few, ridged + kept, jnp.maximum(size - rows, 0) + ridged)
    return jnp.log(left) - jnp.log(jnp.where(few, rows, jnp.maximum(rows - size, 0) + lost))


def kappa(spectrum: Float[Array, " d"], rows, ridge) -> Float[Array, ""]:
    """Effective ridge: the non-negative root of ``k - ridge = k df_1(k)/rows``; ``ridge`` and ``rows`` scalars.

    0 for ridge 0 and rows >= d; infinite for an infinite ridge. Relative accuracy is that of the floating type, for
    every spectrum and size; differentiable through the root.

    >>> float(kappa(jnp.ones(4), 2.0, 0.0).round(5))  # d/(1 + k) = rows
    1.0
    >>> float(kappa(jnp.ones(4), 8.0, 0.0))
    0.0
    """
    import optimistix  # adds most of a second to the import of the library, and few results need it

    dtype, size = spectrum.dtype, spectrum.shape[-1]
    rows, ridge = jnp.asarray(rows, dtype), jnp.asarray(ridge, dtype)
    never, always = (ridge == 0) & (rows >= size), ridge == jnp.inf
    solved = jnp.where(never, 1, jnp.where(always, _HUGE, ridge))
    low = jnp.maximum(solved, jnp.min(spectrum) * jnp.maximum(size - rows, 0) / rows)
    high = solved + jnp.sum(spectrum) / rows
    low, high = jax.lax.stop_gradient((low, high))
    reach, margin = jnp.log(high / low), jnp.asarray(0.5, dtype)  # so that rounding leaves the root inside
    tolerance = float(jnp.finfo(dtype).eps)
    found = optimistix.root_find(
        _gap,
        optimistix.Bisection(rtol=tolerance, atol=tolerance, flip=True),
        reach / 2,
        args=(spectrum, rows * solved, rows, low),
        options={"lower": -margin, "upper": reach + margin},
        max_steps=100,
        throw=False,
    )
    # without ridge kappa starts as ridge/(1 - d/rows)
    spare = rows > size
    begins = jnp.where(never, ridge, 0) * rows / jnp.where(spare, rows - size, 1)
    return jnp.where(never, begins, jnp.where(always, ridge, low * jnp.exp(found.value)))


class Fit(NamedTuple):
    """One fit in equivalents: shares ``[d]`` kept and lost in each direction, and T - df_2."""

    kept: Float[Array, " d"]
    lost: Float[Array, " d"]
    freedom: Float[Array, ""]


def fit(spectrum: Float[Array, " d"], rows, ridge) -> Fit:
    """Shares kept ``A = mu/(mu + kappa)`` and lost ``q = kappa/(mu + kappa)``, and ``T - df_2(kappa)``.

    The latter is ``T - df_1 + sum A q``, with ``T - df_1 = T ridge/kappa`` for T < d and ``T - d + sum q`` otherwise.
    """
    size = spectrum.shape[-1]
    rows, ridge = jnp.asarray(rows, spectrum.dtype), jnp.asarray(ridge, spectrum.dtype)
    k = kappa(spectrum, rows, ridge)
    below = k <= spectrum
    small, large = jnp.where(below, k, 0), jnp.where(below, 1, k)
    kept = jnp.where(below, spectrum / (spectrum + small), spectrum / large / (1 + spectrum / large))
    lost = jnp.where(below, small / (spectrum + small), 1 / (1 + spectrum / large))
    few, finite = rows < size, jnp.isfinite(ridge)
    ridged = jnp.where(finite, ridge, 1) / jnp.where(few & finite, k, 1)
    spare = jnp.where(few, rows * ridged, jnp.maximum(rows - size, 0) + jnp.sum(lost))
    return Fit(kept, lost, spare + jnp.sum(kept * lost))


class Moments(NamedTuple):
    """Weights of a generator in equivalents, ``[d]`` each: share of the truth that is lost, mean square, and mean
    square distance to the truth."""

    lost: Float[Array, " d"]
    square: Float[Array, " d"]
    distance: Float[Array, " d"]


def step(spec: RegressionSpec, before: Moments, fitted: Fit, noise) -> Moments:
    """Moments after one more fit on labels that ``before`` made, with label noise of standard deviation ``noise``."""
    kept, lost, freedom = fitted
    truth = spec.truth**2
    unexplained = jnp.sum(spec.spectrum * lost**2 * before.square) + noise**2
    variance = kept**2 / spec.spectrum * (unexplained / freedom)
    return Moments(
        kept * before.lost + lost,
        kept**2 * before.square + variance,
        kept**2 * before.distance + (2 * kept * before.lost + lost) * lost * truth + variance,
    )


def start(spec: RegressionSpec) -> Moments:
    """The truth itself."""
    return Moments(jnp.zeros_like(spec.truth), spec.truth**2, jnp.zeros_like(spec.truth))


def chain(spec: RegressionSpec, generations: int) -> tuple[Moments, Float[Array, " generations_plus_1"]]:
    """Moments of the generators ``[generations + 1, d]``, entry 0 the truth, and the largest 1/(T - df_2) so far."""
    names = ("generator_samples", "generator_ridge", "generator_noise")
    rows, ridges, noises = (spec.per_round(name, generations) for name in names)
    equal = not (jnp.ndim(spec.generator_samples) or jnp.ndim(spec.generator_ridge))
    if equal:
        one = fit(spec.spectrum, spec.generator_samples, spec.generator_ridge)
        fits = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (generations, *leaf.shape)), one)
    else:
        fits = jax.lax.map(lambda pair: fit(spec.spectrum, *pair), (rows, ridges))

    def generation(state, given):
        after = step(spec, state, given[0], given[1])
        return after, after

    first = start(spec)
    path = jax.lax.scan(generation, first, (fits, noises))[1]
    whole = jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, path)
    coarse = jnp.concatenate([jnp.zeros(1, spec.spectrum.dtype), jax.lax.cummax(1 / fits.freedom)])
    return whole, coarse


def sums_of_powers(ratio, generations: int):
    """``[generations + 1]``, ``1 + ratio + ... + ratio^(m - 1)`` for m = 0 ... generations."""
    zero = jnp.zeros_like(ratio)
    path = jax.lax.scan(lambda total, _: (1 + ratio * total,) * 2, zero, length=generations)[1]
    return jnp.concatenate([zero[None], path])


def powers(ratio, generations: int):
    """``[generations + 1]``, ``ratio^m`` for m = 0 ... generations."""
    path = jax.lax.scan(lambda power, _: (ratio * power,) * 2, jnp.ones_like(ratio), length=generations)[1]
    return jnp.concatenate([jnp.ones_like(ratio)[None], path])
