"""The linear denoising-autoencoder chain with real data in it (DAE-12 ... DAE-15).

Training on ``S_mix = a S_real + (1 - a) S_syn`` gives, whatever the synthetic data are, ``S_mix >= a S_real``, and
``S -> S (S + s I)^{-1}`` is operator monotone: every gain stays above ``a lambda/(a lambda + s)`` (DAE-12). The
population recursion of a direction is ``y' = a A + (1 - a) g^2 (y + c)`` if the generator is fed from the pool, and
``s' = g^2 (s + c), y = a A + (1 - a) s`` if it is fed with its own previous block (A the real SNR, y that of the mixed
second moment, ``g = y/(y + 1)``). Both stop at a positive level that can be computed (DAE-13); with strong generation
noise they may have two stable states or grow (DAE-14). Keeping every block instead lets the real share fall like 1/N,
and the level with it: ``m_{N+1} = m_N [1 - (1 - g_N)/(N + 1)]`` for c = 1 (DAE-15).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory.dae import TOY
from collapse_jax.theory.dae_limits import fixed_points
from collapse_jax.theory.dae_recursion import covers, equal_noise, is_zero, passes, real_snr, snr_path

MIXED = TOY | {"real_fraction": 0.3}
BISTABLE = {"spectrum": (0.48,), "noise_var": 0.8, "resample_noise_var": 2.4, "real_fraction": 0.1}


def _mixed(spec: DAESpec, result: str) -> None:
    covers(spec.regime == "replace", result, "describes a fixed real share; for accumulate ask DAE-15.")
    covers(spec.feed != "prior", result, "describes feed chain or pool; for feed prior ask DAE-17.")
    covers(is_zero(spec.weight_decay), result, "describes weight_decay 0.")


@register(
    "DAE-12",
    statement="With a real share a the i-th gain is at least a lambda/(a lambda + sigma^2), whatever else is used.",
    kind="lower bound",
    observable="gains",
    check="singular values of W at small n, run by run from the realised real spectrum",
    example=MIXED,
    samples=4,
    sampler="brute-force",
    given=("real_spectrum",),
)
def gain_floor(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Lower bound on every gain, for any synthetic data and any generation.

    Formula: ``a lambda_i/(a lambda_i + sigma^2)`` for i <= k, else 0, with the *realised* real eigenvalues; the i-th
    largest gain obeys it. In regime accumulate the real share of generation j is ``a = 1/(j + 1)``. DAE-12 (derived),
    a deterministic lower bound at every n. Two equal blocks are a = 1/2.

    Args:
        spec: any feed; ``weight_decay`` 0.
        generations: number of retrainings, >= 0.

    Returns:
        Prediction (lower bound) of ``gains``, ``[generations + 1, d]``, no unit.

    Raises:
        RegimeError: weight decay is set.

    >>> gain_floor(DAESpec([2.0], real_fraction=0.5), 1).values[:, 0].tolist()
    [0.5, 0.5]
    """
    covers(is_zero(spec.weight_decay), "DAE-12", "describes weight_decay 0.")
    rounds = jnp.arange(generations + 1, dtype=spec.spectrum.dtype)[:, None]
    share = 1 / (rounds + 1) if spec.regime == "accumulate" else jnp.full_like(rounds, 1) * spec.real_fraction
    real = share * real_snr(spec)[None]
    return jnp.where(passes(spec)[None], real / (real + 1), 0)


@register(
    "DAE-13",
    statement="A real share a stops the collapse at the fixed point y = aA + (1-a) s, s = g^2 (input + c).",
    kind="exact",
    observable="limit_spectrum",
    check="training spectrum after many generations, n -> infinity",
    example=MIXED | {"feed": "pool"},
    generations=80,
)
def mixed_limit(spec: DAESpec) -> Float[Array, " d"]:
    """Eigenvalues of the training second moment after infinitely many generations with a real share, from real data.

    Formula (in SNR): pool-fed ``y = a A + (1 - a) h_c(y)``, for c = 1
    ``y = 2 a A/[(1 - a A) + sqrt((1 - a A)^2 + 4 a^2 A)]``; chain-fed ``(2 - (1-a) c) y^2 + (1 - 2 a A) y - a A = 0``.
    DAE-13 (derived), exact in the population. Where there are several fixed points (DAE-14) the one that the chain
    reaches from ``y = A`` is given; ``inf`` if it grows without end. a = 1 gives A, a = 0 the limit of DAE-6.

    Args:
        spec: feed chain or pool, regime replace, weight_decay 0; 0 <= real_fraction <= 1.

    Returns:
        Prediction of ``limit_spectrum``, ``[d]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(mixed_limit(DAESpec([2.0], real_fraction=0.5, feed="pool")).values[0]), 6)
    1.414214
    """
    _mixed(spec, "DAE-13")
    lower, border, upper = fixed_points(spec)
    limit = jnp.where(real_snr(spec) > border, upper, lower)
    endless = jnp.isinf(limit)
    return jnp.where(endless, jnp.inf, spec.noise_var * jnp.where(endless, 0, limit))


@register(
    "DAE-13/chain",
    statement="The same for a generator fed with its own previous block.",
    kind="exact",
    observable="limit_spectrum",
    check="training spectrum after many generations, n -> infinity",
    example=MIXED,
    generations=80,
)
def chain_fed_limit(spec: DAESpec) -> Float[Array, " d"]:
    """Chain-fed limit by itself: DAE-13 (derived) for ``feed = "chain"``, the closed form of the quadratic.

    ``y = [-(1 - 2aA) + sqrt((1 - 2aA)^2 + 4 (2 - (1-a)c) a A)] / [2 (2 - (1-a) c)]``. Exact in the population.

    Returns:
        Prediction of ``limit_spectrum``, ``[d]`` in data^2.

    Raises:
        RegimeError: feed is not chain, or the spec describes another chain.

    >>> y = float(chain_fed_limit(DAESpec([2.0], real_fraction=0.5)).values[0])
    >>> round(y / (1 + y), 4)
    0.5486
    """
    covers(spec.feed == "chain", "DAE-13/chain", "describes feed chain; for pool ask DAE-13.")
    return mixed_limit(spec).values


@register(
    "DAE-13/curve",
    statement="The population recursion with a real share, generation by generation.",
    kind="exact",
    observable="spectrum",
    check="eigenvalues of the training second moment, n -> infinity",
    example=MIXED | {"feed": "pool"},
)
def mixed_spectrum(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Eigenvalues of the mixed training second moment along the generations.

    Formula (in SNR): ``y' = a A + (1 - a) g^2 (y + c)`` pool-fed; ``s' = g^2 (s + c)``, ``y = a A + (1 - a) s``
    chain-fed; ``g = y/(y + 1)``, 0 beyond the rank; both start at A. DAE-13 (derived), exact in the population.

    Returns:
        Prediction of ``spectrum``, ``[generations + 1, d]`` in data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> mixed_spectrum(DAESpec([1.0], real_fraction=1.0), 2).values[:, 0].tolist()
    [1.0, 1.0, 1.0]
    """
    _mixed(spec, "DAE-13/curve")
    return spec.noise_var * snr_path(spec, generations)


@register(
    "DAE-14",
    statement="Strong generation noise (c > 3/2) gives two stable states: from a low and from a high start.",
    kind="exact",
    observable="limits",
    check="final SNR of 1-D chains from a low and a high start, n -> infinity",
    example=BISTABLE | {"feed": "pool"},
    generations=300,
)
def mixed_limits(spec: DAESpec) -> Float[Array, "2 d"]:
    """Both stable limits of the training SNR: from a start below and from one above the border.

    Formula: the positive roots of ``a y^3 + [2 - aA - (1-a) c] y^2 + (1 - 2aA) y - aA`` (pool-fed) or of
    ``(2 - (1-a) c) y^2 + (1 - 2aA) y - aA`` (chain-fed). Three can exist pool-fed for c > 3/2, the middle one unstable;
    equal entries mean that every start goes to one limit; ``inf`` is growth without end (chain-fed, or a = 0). At
    large y the pool-fed upper limit is about ``A + (1-a)(c-2)/a``. DAE-14 (derived), exact in the population.

    Returns:
        Prediction of ``limits``, ``[2, d]`` SNR (lower, upper).

    Raises:
        RegimeError: the spec describes another chain.

    >>> low, high = mixed_limits(DAESpec([0.6], resample_noise_var=3.0, real_fraction=0.1, feed="pool")).values[:, 0]
    >>> bool(low < 0.1 and high > 6)
    True
    """
    _mixed(spec, "DAE-14")
    lower, _, upper = fixed_points(spec)
    return jnp.stack([lower, upper])


@register(
    "DAE-14/border",
    statement="The unstable state between them: starts above it go up.",
    kind="exact",
    observable="collapse_threshold",
    check="bisection on the start of a 1-D chain, up or down",
    example=BISTABLE | {"feed": "pool"},
    generations=150,
)
def mixed_border(spec: DAESpec) -> Float[Array, ""]:
    """Training SNR that separates starts with a low from starts with a high limit, top direction.

    Formula: the middle root of the cubic of ``mixed_limits``, or the upper root of the quadratic; infinity if there is
    none. DAE-14 (derived), exact in the population.

    Returns:
        Prediction of ``collapse_threshold``, a scalar SNR.

    Raises:
        RegimeError: the spec describes another chain.

    >>> float(mixed_border(DAESpec([2.0], real_fraction=0.5, feed="pool")).values)
    inf
    """
    _mixed(spec, "DAE-14/border")
    return fixed_points(spec)[1][0]


def _accumulates(spec: DAESpec, result: str) -> None:
    covers(spec.regime == "accumulate", result, "describes regime accumulate: set regime to accumulate, feed to pool.")
    covers(is_zero(spec.weight_decay), result, "describes weight_decay 0.")


@register(
    "DAE-15",
    statement="Keeping every block, m_{N+1} = m_N [1 - (1 - g_N)/(N + 1)] for c = 1.",
    kind="exact",
    observable="spectrum",
    check="eigenvalues of the pool's second moment, n -> infinity",
    example=TOY | {"spectrum": (6.0, 2.0, 0.5), "feed": "pool", "regime": "accumulate"},
    generations=60,
)
def accumulate_spectrum(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Eigenvalues of the pool's second moment when every block is kept (N = generation + 1 blocks, the first real).

    Formula (in SNR): ``m_{N+1} = m_N + (h_c(m_N) - m_N)/(N + 1)``, for c = 1 ``m_N [1 - (1 - g_N)/(N + 1)]``. DAE-15
    (derived), exact in the population; the sheet states c = 1, the step for general c is the same average.

    Returns:
        Prediction of ``spectrum``, ``[generations + 1, d]`` in data^2.

    Raises:
        RegimeError: regime is not accumulate.

    >>> accumulate_spectrum(DAESpec([1.0], feed="pool", regime="accumulate"), 1).values[:, 0].tolist()
    [1.0, 0.75]
    """
    _accumulates(spec, "DAE-15")
    return spec.noise_var * snr_path(spec, generations)


KAPPA = math.exp(1 - np.euler_gamma)


@register(
    "DAE-15/law",
    statement="m_N e^{m_N} is about e^{1-gamma} A e^A / N: accumulation slows collapse to about A e^A rounds.",
    kind="asymptotic",
    observable="spectrum",
    check="eigenvalues of the pool's second moment after many generations",
    example={"spectrum": (3.0,), "noise_var": 0.5, "resample_noise_var": 0.5, "feed": "pool", "regime": "accumulate"},
    generations=2000,
)
def accumulate_law(spec: DAESpec, generations: int):
    """Large-N law of the accumulating pool, c = 1.

    Formula: the solution of ``m e^m = kappa A e^A / N``, ``kappa = e^{1 - gamma} = 1.526``, N = generation + 1. DAE-15
    (derived), asymptotic in N with A not small: as N -> infinity it is too high by 0.9 % at A = 6, 6.9 % at A = 2,
    15 % at A = 1, 38 % at A = 0.2. Margin, from 15 blocks on: 0.95 % of the value for A >= 6, 7 % for A >= 2, 16 % for
    A >= 1 (measured against the recursion); infinite below.

    Returns:
        Prediction of ``spectrum``, ``[generations + 1, d]`` in data^2.

    Raises:
        RegimeError: regime is not accumulate, or c is not 1.

    >>> spec = DAESpec([6.0], feed="pool", regime="accumulate")
    >>> late = accumulate_law(spec, 10000).values[-1, 0] / accumulate_spectrum(spec, 10000).values[-1, 0]
    >>> bool(1.0 < late < 1.02)
    True
    """
    _accumulates(spec, "DAE-15/law")
    covers(equal_noise(spec), "DAE-15/law", "needs resample_noise_var = noise_var (c = 1).")
    real = real_snr(spec)
    positive = real > 0
    safe = jnp.where(positive, real, 1)
    blocks = jnp.arange(1, generations + 2, dtype=real.dtype)[:, None]
    level = jnp.log(KAPPA * safe)[None] + safe[None] - jnp.log(blocks)
    # m + log m = level, in u = log m: convex and increasing, so Newton from above cannot miss
    u = jnp.where(level > 1, jnp.log(jnp.maximum(level, 1)), level)
    u = jax.lax.stop_gradient(u)
    for _ in range(8):
        u = jax.lax.stop_gradient(u - (jnp.exp(u) + u - jax.lax.stop_gradient(level)) / (jnp.exp(u) + 1))
    u = u - (jnp.exp(u) + u - level) / (jnp.exp(u) + 1)
    values = spec.noise_var * jnp.where(positive[None], jnp.exp(u), 0)
    error = jnp.select([real >= 6, real >= 2, real >= 1], [0.0095, 0.07, 0.16], jnp.inf)
    return values, jnp.where(blocks >= 15, error[None] * values, jnp.inf)
