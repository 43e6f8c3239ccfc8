"""Laws of a truncated diffusion chain as Gaussian mixtures, and what is read off them.

From Gaussian-mixture data every law of the chain is a mixture over ages of ever more smoothed copies of the data
(SP-4, SP-5), so that its Hermite coefficients (SP-18), distribution function and Fisher information are closed forms
or a fixed quadrature. All of it was derived for this project; that the limit is such a mixture is the paper's claim.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.errors import RegimeError
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.mixture import Mixture
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory.spectral_rounds import (
    ancestry,
    covers,
    kept,
    limit_ages,
    noise_of,
    require_limit,
    require_replace,
)

_MOST_AGES = 4096  # components of a limit law, over which its ages are condensed
_REACH = 9  # standard deviations of a component that an integral covers on each side
_LEGENDRE = 20  # nodes of a panel of one standard deviation
_AT_ONCE = 2**22  # values that an integral holds at a time


@jax.jit
def aged(law: Mixture, weights, lags, noises) -> Mixture:
    """Mixture over ``J`` ages of the law of ``exp(lag) X + sqrt(noise) Z``; arguments ``[J]``."""

    def one(weight, lag, noise):
        older = law.smooth(jnp.exp(lag), noise)
        return weight * older.weights, older.means, older.covariances

    parts = jax.vmap(one)(weights, lags, noises)
    return _law(*(part.reshape(-1, *part.shape[2:]) for part in parts))


def _law(weights, means, covariances) -> Mixture:
    """A mixture that is right by construction and may be traced."""
    return jax.tree.unflatten(jax.tree.structure(Mixture([1.0], [0.0], [1.0])), (weights, means, covariances))


def _joined(first: Mixture, second: Mixture) -> Mixture:
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)


def generated_law(spec: SpectralSpec, generation: int, *, start: Mixture | None = None) -> Mixture:
    """Law p_k that the model of round ``generation`` generates, SP-4 (derived), exact.

    Formula: ``p_k = (1 - alpha)^k S_k p_0 + alpha sum_{j=1..k} (1 - alpha)^(j-1) S_j p*`` with the smoothings of the
    last j rounds; schedules and every process included.

    Args:
        spec: regime replace, any process.
        generation: k >= 0.
        start: p_0, a mixture of the same dimension and kind of covariances; None takes the data law.

    Returns:
        Mixture of ``max(1, k) K`` components (``k K`` and those of ``start``).

    Raises:
        RegimeError: regime accumulate. SpecError: the schedule is too short.

    >>> from collapse_jax.specs.spectral import SpectralSpec
    >>> spec = SpectralSpec([1.0], [2.0], [0.5], real_fraction=0.0, truncation=0.5)
    >>> round(float(generated_law(spec, 2).mean[0]), 4)
    0.7358
    """
    require_replace(spec, "SP-4")
    weights, lags, noises = (row[generation] for row in ancestry(spec, generation))
    count = max(1, generation)
    if start is None:
        return aged(spec.data, weights[:count], lags[:count], noises[:count])
    survive = kept(spec.real_fraction, generation)
    old = aged(start, survive[None], lags[:1], noises[:1])
    if generation == 0:
        return old
    weights = weights.at[0].set(spec.real_fraction * kept(spec.real_fraction, generation - 1))
    return _joined(old, aged(spec.data, weights[:count], lags[:count], noises[:count]))


def pool_law(spec: SpectralSpec, generation: int, *, start: Mixture | None = None) -> Mixture:
    """Law ``q_k = alpha p* + (1 - alpha) p_k`` of the pool that round ``generation + 1`` trains on, SP-4 (derived).

    Arguments and errors as in ``generated_law``.

    >>> from collapse_jax.specs.spectral import SpectralSpec
    >>> spec = SpectralSpec([1.0], [2.0], [0.5], real_fraction=0.5, truncation=0.5)
    >>> round(float(pool_law(spec, 1).mean[0]), 4)
    1.6065
    """
    made = generated_law(spec, generation, start=start)
    data = spec.data
    real = _law(spec.real_fraction * data.weights, data.means, data.covariances)
    return _joined(real, _law((1 - spec.real_fraction) * made.weights, made.means, made.covariances))


def limit_law(spec: SpectralSpec, which: str = "generated", *, tail: float = 1e-12) -> Mixture:
    """Limit of the generated law or of the pool, SP-5 (derived), exact up to the mass of the oldest ages.

    Formula: ``alpha sum_{j >= 1} (1 - alpha)^(j-1) S_j p*`` (generated), ``alpha sum_{j >= 0} (1 - alpha)^j S_j p*``
    (pool). Ages stop where the mass left is below ``tail`` (it goes to the last age) or where nothing but the
    reference Gaussian is left of the data (``a^j < 1e-17``; it takes the mass left). Where that would be more than
    4096 ages, or the real share is not known yet, the ages are those of a quadrature rule (``age_rule``) instead.

    Args:
        spec: regime replace, one truncation for all rounds.
        which: ``generated`` or ``pool``.
        tail: largest mass that may be moved.

    Raises:
        RegimeError: no such law: alpha = 0 and ve (diverges), or alpha = truncation = 0 (nothing moves).

    >>> from collapse_jax.specs.spectral import SpectralSpec
    >>> spec = SpectralSpec([1.0], [2.0], [0.5], real_fraction=0.5, truncation=0.1)
    >>> round(float(limit_law(spec).mean[0]), 4), round(float(limit_law(spec, "pool").mean[0]), 4)
    (1.6524, 1.8262)
    """
    require_limit(spec, "SP-5")
    covers(which in ("generated", "pool"), "SP-5", f"has a law generated and a law pool, not {which!r}.")
    if not (concrete(spec.real_fraction) and concrete(spec.truncation) and concrete(spec.rate)):
        return aged(spec.data, *limit_ages(spec, which))
    share, log_scale = float(spec.real_fraction), float(spec.log_scale)
    by_mass = np.log(tail) / np.log1p(-share) if 0 < share < 1 else (np.inf if share == 0 else 1)
    by_scale = np.log(1e-17) / log_scale if log_scale < 0 else np.inf
    if min(by_mass, by_scale) > _MOST_AGES and share > 0:
        return aged(spec.data, *limit_ages(spec, which))
    count = max(1, int(np.ceil(min(by_mass, by_scale)))) if share > 0 else 1
    younger = 1 if which == "generated" else 0
    ages = np.arange(younger, count + 1, dtype=float)
    weights = spec.real_fraction * kept(spec.real_fraction, ages - younger)
    rest = kept(spec.real_fraction, ages[-1] + 1 - younger)
    lags = jnp.asarray(ages, weights.dtype) * spec.log_scale
    noises = noise_of(spec, lags, lambda: jnp.asarray(ages, weights.dtype) * spec.noise_var)
    if by_mass <= by_scale:
        return aged(spec.data, weights.at[-1].add(rest), lags, noises)
    return _joined(aged(spec.data, weights, lags, noises), _reference(spec, rest))


def _reference(spec: SpectralSpec, weight) -> Mixture:
    data = spec.data
    spread = jnp.broadcast_to(spec.reference_var, (1,))
    if not data.isotropic:
        spread = spread[:, None, None] * jnp.eye(data.dimension, dtype=spread.dtype)[None]
    return _law(weight[None], jnp.zeros_like(data.means[:1]), spread)


def line(spec: SpectralSpec) -> Mixture:
    """One-dimensional law of the data along the direction of the scalar observables."""
    return spec.data.project(spec.axis)


def line_modes(spec: SpectralSpec, order: int | None = None) -> Float[Array, " order_plus_1"]:
    """c*_m of the projected data on the scale of the reference law, m = 0 .. order (None: that of the spec)."""
    scaled = line(spec).smooth(jax.lax.rsqrt(spec.reference_var), 0.0)
    return mixture_modes(scaled, spec.order if order is None else order)


@functools.partial(jax.jit, static_argnames="order")
def mixture_modes(mixture: Mixture, order: int) -> Float[Array, " order_plus_1"]:
    """Hermite coefficients ``E he_m(X)``, m = 0 .. order, of a one-dimensional mixture: SP-18 (derived), exact.

    Formula: for ``N(mu, v)`` ``c_{m+1} = (mu c_m - sqrt(m) (1 - v) c_{m-1})/sqrt(m + 1)``, ``c_0 = 1``; mixtures by
    weights. Any variance, also above 1 and 0.

    Raises:
        RegimeError: more than one dimension.

    >>> mixture_modes(Mixture([1.0], [0.0], [3.0]), 2).tolist()[2] == float(jnp.sqrt(2.0))
    True
    """
    covers(mixture.dimension == 1, "SP-18", "is of one dimension here: project the law, or take mixture_modes_multi.")
    means, excess = mixture.means[:, 0], mixture.covariances - 1

    def step(carry, m):
        before, now = carry
        after = (means * now + jnp.sqrt(m) * excess * before) / jnp.sqrt(m + 1)
        return (now, after), now

    ones = jnp.ones_like(means)
    _, path = jax.lax.scan(step, (0 * ones, ones), jnp.arange(order + 1, dtype=means.dtype))
    return path @ mixture.weights


def mixture_modes_multi(mixture: Mixture, order: int) -> tuple[np.ndarray, Float[Array, " n"]]:
    """Coefficients ``E he_n(X)`` of every multi-index of total order at most ``order``: SP-18 (derived), exact.

    Formula: ``sqrt(n_i + 1) c_{n + e_i} = mu_i c_n + sum_j (C - I)_ij sqrt(n_j) c_{n - e_j}`` for ``N(mu, C)``.

    Returns:
        ``(indices [n, d], values [n])``, sorted by total order; there are ``C(d + order, order)`` of them.

    >>> indices, values = mixture_modes_multi(Mixture([1.0], [[1.0, 2.0]], [1.0]), 2)
    >>> dict(zip(map(tuple, indices.tolist()), values.tolist()))[(1, 1)]
    2.0
    """
    dimension = mixture.dimension
    indices = [n for n in itertools.product(range(order + 1), repeat=dimension) if sum(n) <= order]
    indices.sort(key=lambda n: (sum(n), tuple(-v for v in n)))
    place = {n: position for position, n in enumerate(indices)}
    eye = jnp.eye(dimension, dtype=mixture.means.dtype)[None]
    full = mixture.covariances[:, None, None] * eye if mixture.isotropic else mixture.covariances
    excess = full - eye
    values = [jnp.ones_like(mixture.weights)]
    for n in indices[1:]:
        first = next(i for i, v in enumerate(n) if v)
        below = tuple(v - (i == first) for i, v in enumerate(n))
        total = mixture.means[:, first] * values[place[below]]
        for j, v in enumerate(below):
            if v:
                lower = tuple(u - (i == j) for i, u in enumerate(below))
                total = total + excess[:, first, j] * float(np.sqrt(v)) * values[place[lower]]
        values.append(total / float(np.sqrt(n[first])))
    return np.array(indices), jnp.stack(values) @ mixture.weights


@jax.jit
def cdf_at_ages(law: Mixture, lags, noises, x):
    """``[J, len(x)]``, distribution functions at ``x`` of ``exp(lag) X + sqrt(noise) Z`` for ``lags`` ``[J]``."""
    return jax.vmap(lambda lag, noise: law.smooth(jnp.exp(lag), noise).cdf(x))(lags, noises)


def over_ages(spec: SpectralSpec, which: str, values, end):
    """Mean over the ages of a limit: ``values(lags, noises) -> [J, M]``, ``end`` ``[M]`` at infinite age.

    Summed as distances from ``end``, so that neither the sum nor its slopes cancel as alpha or the truncation goes
    to 0.
    """
    weights, lags, noises = limit_ages(spec, which)
    return end + weights @ (values(lags, noises) - end[None])


def fisher_information(law: Mixture, reference_var: Any = 1.0) -> Float[Array, ""]:
    """``E (score + X/v)^2`` of a one-dimensional mixture: its Fisher information relative to ``N(0, v)``.

    By Gauss-Legendre panels one standard deviation wide around every component (their edges merged, so that narrow
    components inside wide ones are resolved), 9 standard deviations out: to rounding. I of the sheet for v = 1.

    Raises:
        RegimeError: a component without spread, whose Fisher information is infinite.

    >>> round(float(fisher_information(Mixture([1.0], [0.5], [0.25]))), 5)  # (1 - v)^2/v + mean^2
    2.5
    """
    covers(law.dimension == 1, "SP-9", "is of one dimension here: project the law first.")
    if concrete(law.covariances) and bool(np.any(np.asarray(law.covariances) == 0)):
        raise RegimeError("SP-9 needs data with a density: for points ask SP-9/moment.")
    return _fisher_information(law, reference_var)


@jax.jit
def _fisher_information(law, reference_var):
    dtype = law.means.dtype
    means, variances = law.means[:, 0], law.covariances
    steps = jnp.arange(-_REACH, _REACH + 1, dtype=dtype)[None]
    edges = jnp.sort((means[:, None] + jnp.sqrt(variances)[:, None] * steps).ravel())
    nodes, weights = (jnp.asarray(v, dtype) for v in np.polynomial.legendre.leggauss(_LEGENDRE))
    half, middle = jnp.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    x = middle[:, None] + half[:, None] * nodes[None]

    def integrand(x):
        off = x - means
        logs = jnp.log(law.weights) - off**2 / (2 * variances) - jnp.log(2 * np.pi * variances) / 2
        slopes = (1 / reference_var - 1 / variances) * x + means / variances
        return jnp.exp(jax.nn.logsumexp(logs)) * (jax.nn.softmax(logs) @ slopes) ** 2

    x = x.ravel()
    values = jax.vmap(integrand)(x) if x.size * means.size <= _AT_ONCE else jax.lax.map(integrand, x, batch_size=4096)
    values = values.reshape(-1, _LEGENDRE)
    return jnp.sum(values * weights[None] * half[:, None])
