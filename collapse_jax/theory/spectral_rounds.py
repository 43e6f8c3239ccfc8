"""Ages, weights and gains of truncated diffusion chains, in numbers that keep their digits.

A round mixes a share alpha of real data into the last output and shrinks and smooths the mixture. So a point of round k
descends from a real point that entered before round ``j + 1`` (weight ``alpha (1 - alpha)^(k - 1 - j)``, or
``(1 - alpha)^(k - 1)`` for j = 0 when the chain starts from the data) and has gone through the rounds since. The *lag*
of that descent is the sum of the logarithms of their scales: a mode of order m carries the factor ``exp(m lag)``.

Everything is a sum of terms of one sign: powers of ``1 - alpha`` by ``log1p``, ``1 - a^m`` by ``expm1``, recursions
with a compensated sum, so that rounding does not grow with the number of rounds. Sums over
infinitely many ages are taken by a fixed rule (``age_rule``) that is right for every real share and truncation at once,
and so can be compiled, batched and differentiated.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import RegimeError
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.spectral import SpectralSpec

_PLAIN_AGES = 32  # summed one by one
_BLOCKS = 35  # then blocks that double: up to age 2^40
_NODES = 32  # ages that stand for a block


def covers(holds: bool, result: str, needs: str) -> None:
    """Refuse a spec that a result does not describe.

    Raises:
        RegimeError: names the result and what it needs.
    """
    if not holds:
        raise RegimeError(f"{result} {needs}")


def known_zero(value) -> bool:
    """True only if ``value`` is known now and contains a zero."""
    return concrete(value) and bool(np.any(np.asarray(value) == 0))


def known_nonzero(value) -> bool:
    """True only if ``value`` is known now and differs from zero somewhere."""
    return concrete(value) and bool(np.any(np.asarray(value) != 0))


def require_replace(spec: SpectralSpec, result: str) -> None:
    """Refuse accumulation."""
    covers(spec.regime == "replace", result, "describes regime replace; for accumulate ask SP-14.")


def require_constant(spec: SpectralSpec, result: str) -> None:
    """Refuse accumulation and schedules."""
    require_replace(spec, result)
    covers(spec.truncation.ndim == 0, result, "describes one truncation for all rounds; for a schedule ask SP-11.")


def require_reference(spec: SpectralSpec, result: str) -> None:
    """Refuse processes without a stationary Gaussian, whose Hermite modes mix."""
    covers(spec.process != "ve", result, "describes process vp or rectified_flow; for ve ask SP-15/fourier.")
    covers(
        not (spec.process == "rectified_flow" and known_zero(spec.truncation)),
        result,
        "needs truncation > 0 for rectified_flow: without it there is no reference law; for no truncation use vp.",
    )


def require_limit(spec: SpectralSpec, result: str) -> None:
    """Refuse chains without a unique limit."""
    require_constant(spec, result)
    if not known_zero(spec.real_fraction):
        return
    covers(spec.process != "ve", result, "needs real_fraction > 0 for ve, which diverges without: ask SP-15/ve.")
    covers(
        not known_zero(spec.truncation),
        result,
        "needs real_fraction > 0 or truncation > 0: with neither every law stays as it is, ask SP-4.",
    )


def has_density(spec: SpectralSpec) -> bool:
    """False only if a component of the data is known to be a point."""
    return spec.covariances.ndim == 3 or not known_zero(spec.covariances)


def kept(share, rounds):
    """(1 - share)^rounds for rounds 0 or >= 1/2, with its right slope also at share 0 and 1."""
    rounds = jnp.asarray(rounds, share.dtype)
    small = share < 0.5
    slow = jnp.exp(rounds * jnp.log1p(-jnp.where(small, share, 0)))
    base = jnp.where(small, 1, 1 - share)  # exact, and may be 0
    positive = rounds > 0
    fast = jnp.where(positive, base ** jnp.where(positive, rounds, 1), 1)
    return jnp.where(small, slow, fast)


def round_logs(spec: SpectralSpec, generations: int):
    """``[generations]``, logarithm of the scale of each round."""
    spec.require_rounds(generations)
    return jnp.broadcast_to(spec.log_scale[:generations] if spec.truncation.ndim else spec.log_scale, (generations,))


def gain(order, spec: SpectralSpec):
    """G_m = alpha a^m/(1 - (1 - alpha) a^m), the gain of the generated limit at order m (any shape, may be real).

    SP-6 (derived). The denominator is computed as ``alpha a^m + (1 - a^m)``. G_0 = 1.

    >>> spec = SpectralSpec([1.0], [0.5], [0.5], real_fraction=0.1, truncation=0.05)
    >>> [round(float(gain(m, spec)), 4) for m in (0, 1, 3)]
    [1.0, 0.6611, 0.3819]
    """
    require_limit(spec, "SP-6")
    require_reference(spec, "SP-6")
    return _share_of(order, spec, spec.log_scale)


def pool_gain(order, spec: SpectralSpec):
    """alpha/(1 - (1 - alpha) a^m), the gain of the pool's limit at order m: SP-6 (derived); at least alpha.

    >>> spec = SpectralSpec([1.0], [0.5], [0.5], real_fraction=0.1, truncation=0.05)
    >>> round(float(pool_gain(3, spec)), 4)
    0.4437
    """
    require_limit(spec, "SP-6")
    require_reference(spec, "SP-6")
    return _share_of(order, spec, jnp.zeros_like(spec.log_scale))


def _share_of(order, spec, log_top):
    order = jnp.asarray(order, spec.weights.dtype)
    below = restoring(order, spec)
    some = order > 0
    return jnp.where(some, spec.real_fraction * jnp.exp(order * log_top) / jnp.where(some, below, 1), 1)


def restoring(order, spec: SpectralSpec):
    """1 - (1 - alpha) a^m without cancellation: what a round takes off the distance to the limit, at order m."""
    order = jnp.asarray(order, spec.weights.dtype)
    return spec.real_fraction * jnp.exp(order * spec.log_scale) - jnp.expm1(order * spec.log_scale)


def spread_of_scales(spec: SpectralSpec):
    """sqrt(1 - 2 G_1 + G_2), the root mean square of 1 - a^age; as (1 - a) sqrt((1 + (1 - alpha) a)/(D_1 D_2))."""
    scale = spec.scale
    return -jnp.expm1(spec.log_scale) * jnp.sqrt(
        (1 + (1 - spec.real_fraction) * scale) / (restoring(1, spec) * restoring(2, spec))
    )


def safe_sqrt(value):
    """Square root with value and slope 0 at and below 0 (the true slope at 0 is infinite)."""
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1)), 0)


@jax.jit
def affine_path(share, log_factors, added, start):
    """``x_{k+1} = (1 - share) exp(log_factors_k) x_k + added_k``: ``[T, M]``, ``[T, M]``, ``[M]`` to ``[T + 1, M]``.

    While a round takes off less than half, its change is added with a compensated sum: the rounding of a factor next to
    one would otherwise grow with the number of rounds.
    """
    stays = (1 - share) * jnp.exp(log_factors)
    takes = share * jnp.exp(log_factors) - jnp.expm1(log_factors)

    def step(carry, now):
        value, carried = carry
        take, stay, more = now
        change = carried + (more - take * value)
        total, slow = value + change, take < 0.5
        after = jnp.where(slow, total, stay * value + more)
        return (after, jnp.where(slow, change - (total - value), 0)), after

    _, path = jax.lax.scan(step, (start, jnp.zeros_like(start)), (takes, stays, added))
    return jnp.concatenate([start[None], path])


def gain_path(spec: SpectralSpec, generations: int, orders):
    """Gain of the mode of each order after each round, from the data: ``[generations + 1, len(orders)]``."""
    factors = round_logs(spec, generations)[:, None] * jnp.asarray(orders, spec.weights.dtype)[None]
    added = spec.real_fraction * jnp.exp(factors)
    return affine_path(spec.real_fraction, factors, added, jnp.ones_like(factors, shape=factors.shape[1:]))


def loss_path(spec: SpectralSpec, generations: int, orders):
    """The same minus one (what annealing leaves), computed without the subtraction."""
    factors = round_logs(spec, generations)[:, None] * jnp.asarray(orders, spec.weights.dtype)[None]
    start = jnp.zeros_like(factors, shape=factors.shape[1:])
    return affine_path(spec.real_fraction, factors, jnp.expm1(factors), start)


@functools.partial(jax.jit, static_argnames="generations")
def ancestry(spec: SpectralSpec, generations: int):
    """(weights, lags, noises), each ``[T + 1, T + 1]``: entry [k, j] of descent from real points of before round j + 1.

    A point of round k is ``exp(lag) X + sqrt(noise) Z`` with the probability of the row; the chain starts from the
    data. Lags beyond the diagonal are 0.
    """
    after, since = np.arange(1, generations + 1)[:, None], np.arange(generations + 1)[None]

    def passed(values):
        sums = jnp.cumsum(jnp.where(after > since, values[:, None], 0), axis=0)
        return jnp.concatenate([jnp.zeros_like(sums, shape=(1, generations + 1)), sums])

    age = np.arange(generations + 1)[:, None] - since
    first = kept(spec.real_fraction, np.maximum(age - 1, 0))
    weights = jnp.where(since == 0, first, jnp.where(age > 0, spec.real_fraction * first, 0))
    lags = passed(round_logs(spec, generations))
    return weights, lags, noise_of(spec, lags, lambda: passed(_round_noise(spec, generations)))


def noise_of(spec: SpectralSpec, lags, added):
    """Noise variance beside a lag: that of the reference law, or, where there is none, what was ``added()``."""
    return added() if spec.process == "ve" else -spec.reference_var * jnp.expm1(2 * lags)


def _round_noise(spec: SpectralSpec, generations: int):
    noise = spec.noise_var
    return jnp.broadcast_to(noise[:generations] if noise.ndim else noise, (generations,))


@functools.cache
def age_rule() -> tuple[np.ndarray, np.ndarray]:
    """(ages, counts): ``sum_j f(j)`` over the ages j = 1 .. 2^40 is ``sum(counts * f(ages))`` for smooth f.

    Ages up to 32 one by one; each doubling after that by the 32 real ages that are exact for polynomials of degree 63
    in j (Gauss quadrature of the discrete Chebyshev polynomials: their recurrence in closed form, its eigenvalues).
    Accurate to rounding for what is analytic in the age and decays, at any rate: a mixture's distribution function; not
    for what changes within a small part of a block, as narrow laws of rectified flow do (``limit_cdf``).
    """
    degree = np.arange(1, _NODES)
    ages, counts = [np.arange(1.0, _PLAIN_AGES + 1)], [np.ones(_PLAIN_AGES)]
    for block in range(_BLOCKS):
        size = _PLAIN_AGES * 2.0**block
        off = degree * np.sqrt((1 - (degree / size) ** 2) / (4 * (4.0 * degree**2 - 1)))
        nodes, vectors = np.linalg.eigh(np.diag(off, 1) + np.diag(off, -1))
        ages.append(1.5 * size + 0.5 + size * nodes)
        counts.append(size * vectors[0] ** 2)
    return np.concatenate(ages), np.concatenate(counts)


@functools.partial(jax.jit, static_argnames="which")
def limit_ages(spec: SpectralSpec, which: str = "generated"):
    """(weights, lags, noises) of the limit's mixture over ages by ``age_rule``, each ``[n]``; the last is the rest."""
    ages, counts = age_rule()
    dtype = spec.weights.dtype
    younger = 1 if which == "generated" else 0
    weights = spec.real_fraction * kept(spec.real_fraction, ages - younger) * jnp.asarray(counts, dtype)
    oldest = _PLAIN_AGES * 2.0**_BLOCKS
    rest = kept(spec.real_fraction, oldest + 1 - younger)
    ages = np.append(ages, oldest)
    weights = jnp.append(weights, rest)
    if which == "pool":
        ages, weights = np.append(0, ages), jnp.append(spec.real_fraction, weights)
    ages = jnp.asarray(ages, dtype)
    lags = ages * spec.log_scale
    return weights, lags, noise_of(spec, lags, lambda: ages * spec.noise_var)
