"""The linear denoising-autoencoder chain: collapse without real data (DAE-3 ... DAE-11).

Training noise of variance ``s = noise_var`` averaged out, the loss of a linear map W on points of second moment S is
``tr[(W - W*)(S + s I)(W - W*)^T] + const`` with ``W* = S (S + s I)^{-1}``: W shares the eigenvectors of S and has the
gain ``g = x/(x + 1)`` in a direction of SNR ``x = lambda/s`` (DAE-3); a bottleneck keeps the top directions (DAE-4).
The generator makes W(X + E), whose second moment in the population is
``W (S + s_hat I) W``: eigenvectors stay, and each SNR moves by itself, ``x' = h_c(x) = x^2 (x + c)/(x + 1)^2`` with
``c = s_hat/s`` (DAE-5). ``h_c(x) < x`` everywhere iff ``c <= 2``, else above ``1/(c - 2)`` the chain grows (DAE-6). The
ratio ``x'/x`` increases with x, which bounds the norm by a geometric sequence (DAE-7), makes weak directions die first
(DAE-9), and the fall is first linear, then doubly exponential (DAE-8). Real shares and accumulation: ``dae_mixed``;
weight decay, prior feed, no noise, truncated diffusion: ``dae_variants``.

Every result here was derived for this project; the paper's own statements (DAE-1: the norm decays at least
geometrically; DAE-2: a real share keeps it above a positive constant) are qualitative and have no function.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory.dae_recursion import (
    LOG_FLOOR,
    covers,
    fall,
    gain,
    log_snr_path,
    noise_ratio,
    passes,
    ratio_at_most,
    real_snr,
    replacement,
    snr_path,
)

# noise variances that differ from each other and from 1, so that a comparison can tell them apart
TOY = {"spectrum": (10.0, 5.0, 2.0, 1.0, 0.5), "noise_var": 0.8, "resample_noise_var": 1.0}
TOP = {"spectrum": (10.0,), "noise_var": 0.8, "resample_noise_var": 1.0}


@register(
    "DAE-3",
    statement="The noise-averaged loss is least at W* = S (S + sigma^2 I)^-1: gains x/(x + 1).",
    kind="exact",
    observable="first_gains",
    check="singular values of W fitted on real points, n -> infinity",
    example=TOY,
)
def optimal_gains(spec: DAESpec) -> Float[Array, " d"]:
    """Gains of the best linear denoiser of the real data, full width.

    Formula: ``g_i = lambda_i / (lambda_i + sigma^2)``; by singular values of X, ``s_i^2/(s_i^2 + n sigma^2)``.
    DAE-3 (derived), exact for every d and n (also n < d) with the realised spectrum. Range: spectrum >= 0,
    noise_var > 0. sigma -> 0 gives the projector on the span of X, sigma -> infinity gives 0.

    Args:
        spec: only ``spectrum`` and ``noise_var`` are used.

    Returns:
        Prediction of ``first_gains``, ``[d]``, no unit.

    >>> optimal_gains(DAESpec([3.0, 1.0])).values.tolist()
    [0.75, 0.5]
    """
    return spec.spectrum / (spec.spectrum + spec.noise_var)


@register(
    "DAE-4",
    statement="With a bottleneck of width k the best map keeps the top k gains and drops the rest.",
    kind="exact",
    observable="first_gains",
    check="singular values of the best rank-k map on real points, n -> infinity",
    example=TOY | {"rank": 3},
)
def rank_gains(spec: DAESpec) -> Float[Array, " d"]:
    """Gains of the best denoiser of rank at most k.

    Formula: ``g_i = lambda_i / (lambda_i + sigma^2)`` for i <= k, else 0. DAE-4 (derived), exact; tied and untied
    factors reach the same product. The map is unique if k = d, ``lambda_k = 0`` or ``lambda_k > lambda_{k+1}``; the
    gains always are.

    Returns:
        Prediction of ``first_gains``, ``[d]``, no unit.

    >>> rank_gains(DAESpec([3.0, 1.0], rank=1)).values.tolist()
    [0.75, 0.0]
    """
    return jnp.where(passes(spec), spec.spectrum / (spec.spectrum + spec.noise_var), 0)


@register(
    "DAE-5",
    statement="Replacement keeps eigenvectors and maps every SNR by x' = x^2 (x + c)/(x + 1)^2.",
    kind="exact",
    observable="spectrum",
    check="eigenvalues of the training second moment, n -> infinity",
    example=TOY,
)
def spectrum(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Eigenvalues of the training second moment along the generations of pure replacement.

    Formula: ``x' = x^2 (x + c)/(x + 1)^2`` with ``x = lambda/sigma^2``, ``c = sigma-hat^2/sigma^2``; directions beyond
    the rank are 0 after one round. DAE-5 (derived), exact in the population (n -> infinity, d fixed). Near 0
    ``x' ~ c x^2`` (``x^3`` for c = 0); at large x ``x' = x + (c - 2) + (3 - 2c)/x + ...``. Values underflow to 0 in the
    doubly exponential end: ``log_spectrum`` goes on.

    Args:
        spec: regime replace, feed chain or pool, real_fraction 0, weight_decay 0.
        generations: number of retrainings, >= 0.

    Returns:
        Prediction of ``spectrum``, ``[generations + 1, d]`` in data^2; entry 0 is the real data.

    Raises:
        RegimeError: the spec describes another chain.

    >>> spectrum(DAESpec([1.0]), 2).values[:, 0].round(4).tolist()[:2]
    [1.0, 0.5]
    """
    replacement(spec, "DAE-5")
    return spec.noise_var * snr_path(spec, generations)


@register(
    "DAE-5/gain",
    statement="The operator norm of W in round j is x_j/(x_j + 1) of the top direction.",
    kind="exact",
    observable="gain_norm",
    check="largest singular value of W, n -> infinity",
    example=TOY,
)
def gain_norm(spec: DAESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Operator norm of the fitted map along the generations: the curve that collapse is about.

    Formula: ``||W_j|| = x_j/(x_j + 1)``, ``x_j`` from DAE-5 (derived), exact in the population. Entry j is the map
    trained in round j + 1, entry 0 the one trained on real data.

    Returns:
        Prediction of ``gain_norm``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: the spec describes another chain.

    >>> [round(float(v), 4) for v in gain_norm(DAESpec([10.0]), 9).values[jnp.array([0, 4, 9])]]
    [0.9091, 0.8652, 0.6998]
    """
    replacement(spec, "DAE-5/gain")
    return gain(spec, snr_path(spec, generations)).max(axis=-1)


@register(
    "DAE-5/log",
    statement="The same recursion in logarithms, through the doubly exponential end.",
    kind="exact",
    observable="log_spectrum",
    check="log eigenvalues of the training second moment, n -> infinity",
    example=TOY,
    generations=18,
)
def log_spectrum(spec: DAESpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Natural logarithm of the eigenvalues of DAE-5 (derived), exact in the population.

    A logarithm doubles (c > 0) or triples (c = 0) each generation at the end; it stops at -1e15 so that gradients stay
    finite, and is -inf for a direction that is zero.

    Returns:
        Prediction of ``log_spectrum``, ``[generations + 1, d]``, log of data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> float(log_spectrum(DAESpec([1e-3]), 12).values[-1, 0]) < -20000
    True
    """
    replacement(spec, "DAE-5/log")
    return log_snr_path(spec, generations) + jnp.log(spec.noise_var)


@register(
    "DAE-6",
    statement="Every start collapses iff c <= 2; for c > 2 starts above x* = 1/(c - 2) grow.",
    kind="exact",
    observable="collapse_threshold",
    check="bisection on the start of a 1-D chain, up or down",
    example=TOP | {"resample_noise_var": 2.0},
    generations=60,
)
def collapse_threshold(spec: DAESpec) -> Float[Array, ""]:
    """SNR above which a purely synthetic chain grows instead of collapsing.

    Formula: ``x* = 1/(c - 2)`` for c > 2, else infinity. DAE-6 (derived), exact in the population. x* is an unstable
    fixed point with slope ``1 + (1 - 1/(c - 1))^2``; beyond it the SNR gains about ``c - 2`` a generation.

    Returns:
        Prediction of ``collapse_threshold``, a scalar SNR (no unit).

    Raises:
        RegimeError: the spec describes another chain.

    >>> float(collapse_threshold(DAESpec([10.0], resample_noise_var=2.5)).values)
    2.0
    """
    replacement(spec, "DAE-6")
    ratio = noise_ratio(spec)
    grows = ratio > 2
    return jnp.where(grows, 1 / jnp.where(grows, ratio - 2, 1), jnp.inf)


def _norm_ratio_log(snr, ratio):
    """log of ||W_2||/||W_1|| = x (x+1)(x+c) / (x^3 + (c+1) x^2 + 2x + 1), exact at both ends."""
    total = ((snr + ratio + 1) * snr + 2) * snr + 1
    high = snr > 1
    near_one = jnp.log1p(-jnp.where(high, ((2 - ratio) * snr + 1) / total, 0))
    product = snr * (snr + 1) * (snr + ratio)
    return jnp.where(high, near_one, jnp.log(jnp.where(product > 0, product, 1) / total)), product > 0


@register(
    "DAE-7",
    statement="||W_j|| <= rho^(j-1) x_1/(x_1 + 1): at least geometric decay for c <= 2.",
    kind="upper bound",
    observable="gain_norm",
    check="largest singular value of W, n -> infinity; equality at the second round",
    example=TOP | {"spectrum": (1.5, 1.0, 0.5)},
    generations=6,
)
def norm_bound(spec: DAESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Geometric upper bound on the operator norm.

    Formula: ``rho^j x/(x + 1)`` at generation j, with ``x`` the top SNR of the real data and
    ``rho = 1 - ((2 - c) x + 1)/(x^3 + (c + 1) x^2 + 2x + 1)``. DAE-7 (derived), an upper bound in the population for
    0 <= c <= 2; equality at generations 0 and 1. At high SNR ``1 - rho`` is about ``x^-2`` and the bound is loose.

    Returns:
        Prediction (upper bound) of ``gain_norm``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: another chain, or c > 2.

    >>> norm_bound(DAESpec([1.0]), 1).values.tolist()
    [0.5, 0.3333333432674408]
    """
    replacement(spec, "DAE-7")
    covers(ratio_at_most(spec, 2.0), "DAE-7", "needs resample_noise_var <= 2 noise_var; above, DAE-6 decides.")
    snr = real_snr(spec)[0]
    log_rho, positive = _norm_ratio_log(snr, noise_ratio(spec))
    rounds = jnp.arange(generations + 1, dtype=snr.dtype)
    powers = jnp.where(positive, jnp.exp(rounds * jnp.where(positive, log_rho, 0)), (rounds == 0).astype(snr.dtype))
    return powers * snr / (snr + 1)


def integral_of_fall(snr, ratio):
    """The integral of dx/f(x) from 1 to ``snr``, f(x) = x - h_c(x): continuous-time rounds from x down to 1 (DAE-8).

    ``log x + [(3 - beta) t phi(b t) + t^2 psi(b t)]/(beta + 1)`` with ``t = x - 1``, ``b = beta/(beta + 1)``,
    ``phi(z) = log(1 + z)/z``, ``psi(z) = (z - log(1 + z))/z^2``: the same as the sheet's partial fractions, which
    cancel as beta -> 0.
    """
    beta = 2 - ratio
    rest = snr - 1
    z = beta / (beta + 1) * rest
    small = jnp.abs(z) < 0.3
    near, far = jnp.where(small, z, 0), jnp.where(small, 1, z)
    series_phi = sum((-1.0) ** k / (k + 1) * near**k for k in range(28))
    series_psi = sum((-1.0) ** k / (k + 2) * near**k for k in range(28))
    phi = jnp.where(small, series_phi, jnp.log1p(far) / far)
    psi = jnp.where(small, series_psi, (far - jnp.log1p(far)) / far**2)
    return jnp.log(snr) + ((3 - beta) * rest * phi + rest**2 * psi) / (beta + 1)


@register(
    "DAE-8",
    statement="Rounds from x_1 down to 1: T - (1/2) ln(f(x_1)/f(1)), T the integral of dx/f, f(x) = x - h_c(x).",
    kind="asymptotic",
    observable="lifetime",
    check="log-interpolated crossing of SNR 1, n -> infinity",
    example=TOP | {"spectrum": (40.0, 16.0, 4.0)},
    generations=80,
)
def lifetime(spec: DAESpec):
    """Generations until the SNR of each direction has fallen to 1 (log-interpolated between generations).

    Formula: ``T - (1/2) ln(f(x)/f(1))`` with ``f(x) = x (beta x + 1)/(x + 1)^2``, ``beta = 2 - c`` and
    ``T = (x-1)/beta + ln x - ((beta-1)/beta)^2 ln((beta x + 1)/(beta + 1))``; c = 1: ``T = x - 1 + ln x``; c = 2:
    ``T = (x^2-1)/2 + 2(x-1) + ln x``. DAE-8 (derived), asymptotic: within 0.06 generations for 0 <= c <= 2, x >= 2
    (the margin of the prediction). Directions with x < 2 get an infinite margin, those with x <= 1 the value 0.

    Returns:
        Prediction of ``lifetime``, ``[d]`` in generations.

    Raises:
        RegimeError: another chain, or c > 2.

    >>> float(lifetime(DAESpec([1.0])).values[0])
    0.0
    """
    replacement(spec, "DAE-8")
    covers(ratio_at_most(spec, 2.0), "DAE-8", "needs resample_noise_var <= 2 noise_var; above, DAE-6 decides.")
    snr, ratio = real_snr(spec), noise_ratio(spec)
    lived = jnp.maximum(snr, 1)
    corrected = integral_of_fall(lived, ratio) - jnp.log(fall(lived, ratio) / fall(1, ratio)) / 2
    return jnp.where(snr > 1, jnp.maximum(corrected, 0), 0), jnp.where(snr >= 2, 0.06, jnp.inf)


@register(
    "DAE-8/integral",
    statement="Leading order: the integral T alone is within 0.55 rounds for c <= 1.9.",
    kind="asymptotic",
    observable="lifetime",
    check="log-interpolated crossing of SNR 1, n -> infinity",
    example=TOP | {"spectrum": (40.0, 16.0, 4.0)},
    generations=80,
)
def lifetime_integral(spec: DAESpec):
    """Leading order of ``lifetime``: ``T``, the integral of dx/f(x) from 1 to x.

    Formula: as in ``lifetime`` without the correction; c = 1: ``x - 1 + ln x``. DAE-8 (derived), asymptotic:
    within 0.55 generations for c <= 1.9, x >= 2 (the margin); its error grows like ``(1/2) ln x`` as c -> 2.

    Returns:
        Prediction of ``lifetime``, ``[d]`` in generations; 0 for directions that start at or below 1.

    Raises:
        RegimeError: another chain, or c > 1.9.

    >>> round(float(lifetime_integral(DAESpec([100.0])).values[0]), 3)
    103.605
    """
    replacement(spec, "DAE-8/integral")
    covers(ratio_at_most(spec, 1.9), "DAE-8/integral", "needs resample_noise_var <= 1.9 noise_var; ask DAE-8.")
    snr = real_snr(spec)
    return integral_of_fall(jnp.maximum(snr, 1), noise_ratio(spec)), jnp.where(snr >= 2, 0.55, jnp.inf)


@register(
    "DAE-8/tail",
    statement="Once x << min(1, c) the fall is doubly exponential: x_m = (c x_0)^(2^m)/c in logarithms.",
    kind="asymptotic",
    observable="log_spectrum",
    check="log eigenvalues of a chain started at low SNR, n -> infinity",
    example=TOP | {"spectrum": (1e-3, 1e-4)},
    generations=5,
)
def tail(spec: DAESpec, generations: int):
    """Doubly exponential end of the collapse, in logarithms.

    Formula: ``log x_m = 2^m log(c x_0) - log c`` for c > 0 and ``3^m log x_0`` for c = 0. DAE-8 (derived), asymptotic.
    Margin (derived here from ``log(1 + x/c) - 2 log(1 + x)``, at most ``max(2, 1/c) x`` a round, doubled each round):
    ``2^m max(2, 1/c) x_0``; for c = 0 ``3^m x_0``.

    Returns:
        Prediction of ``log_spectrum``, ``[generations + 1, d]``, log of data^2.

    Raises:
        RegimeError: the spec describes another chain.

    >>> round(float(tail(DAESpec([1e-3]), 2).values[2, 0]), 3)
    -27.631
    """
    replacement(spec, "DAE-8/tail")
    snr, ratio = real_snr(spec), noise_ratio(spec)
    rounds = jnp.arange(generations + 1, dtype=snr.dtype)[:, None]
    noisy = ratio > 0
    log_snr = jnp.log(jnp.where(snr > 0, snr, 1))[None]
    log_ratio = jnp.log(jnp.where(noisy, ratio, 1))
    path = jnp.where(noisy, 2**rounds * (log_snr + log_ratio) - log_ratio, 3**rounds * log_snr)
    slack = jnp.maximum(2, 1 / jnp.where(noisy, ratio, 1))
    margin = jnp.where(noisy, 2**rounds * slack, 3**rounds) * snr[None]
    alive = (snr > 0)[None] & (passes(spec)[None] | (rounds == 0))
    return jnp.where(alive, path + jnp.log(spec.noise_var), -jnp.inf), jnp.where(rounds == 0, 0, margin)


@register(
    "DAE-9",
    statement="The spectrum gets more concentrated each round: directions die in order of SNR, effective rank falls.",
    kind="exact",
    observable="effective_rank",
    check="exp of the entropy of the normalised eigenvalues, n -> infinity",
    example=TOY,
)
def effective_rank(spec: DAESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Effective rank (exp of the entropy of the normalised spectrum) along pure replacement.

    Formula: ``exp(-sum p_i log p_i)``, ``p_i = x_i / sum x``, ``x`` from DAE-5. DAE-9 (derived), exact in the
    population; for 0 <= c <= 2 it never rises, and falls to the number of tied top directions while the total goes to
    zero. Computed from logarithms, so it stays right when every eigenvalue has underflowed.

    Returns:
        Prediction of ``effective_rank``, ``[generations + 1]``, between 1 and d.

    Raises:
        RegimeError: the spec describes another chain.

    >>> effective_rank(DAESpec([2.0, 2.0, 0.0]), 40).values[jnp.array([0, 40])].tolist()
    [2.0, 2.0]
    """
    replacement(spec, "DAE-9")
    log_snr = log_snr_path(spec, generations)
    log_share = jax.nn.log_softmax(jnp.where(jnp.isfinite(log_snr), log_snr, 4 * LOG_FLOOR), axis=-1)
    share = jnp.exp(log_share)
    return jnp.exp(-jnp.sum(jnp.where(share > 0, share * jnp.where(share > 0, log_share, 0), 0), axis=-1))


@register(
    "DAE-10",
    statement="Excess denoising risk on real data: sum (lambda + sigma^2)(g_j - g_real)^2.",
    kind="exact",
    observable="excess_risk",
    check="trace of (W - W*)(S_real + sigma^2 I)(W - W*)^T, n -> infinity",
    example=TOY,
)
def excess_risk(spec: DAESpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Excess denoising risk of the map of each generation on *real* data, over the best linear denoiser.

    Formula: ``sum_i (lambda_i + sigma^2)(g_{i,j} - lambda_i/(lambda_i + sigma^2))^2``; at full collapse
    ``sum_i lambda_i^2/(lambda_i + sigma^2)``. DAE-10 (derived), exact in the population for every regime, feed and
    rank of the spec (all keep the eigenvectors of the real data).

    Returns:
        Prediction of ``excess_risk``, ``[generations + 1]`` in data^2 (sum over directions).

    >>> float(excess_risk(DAESpec([1.0]), 60).values[-1])
    0.5
    """
    real = spec.spectrum
    noisy = real + spec.noise_var
    off = gain(spec, snr_path(spec, generations)) - (real / noisy)[None]
    return jnp.sum(noisy[None] * off**2, axis=-1)


@register(
    "DAE-11",
    statement="If noise moments deviate by at most delta, the top SNR obeys x' <= g^2 [(1+delta) x + (1+2 delta) c].",
    kind="upper bound",
    observable="next_snr",
    check="top SNR after one round at finite n, run by run with its own delta",
    example=TOP | {"spectrum": (1.0,)},
    samples=100,
    given=("real_spectrum", "event_deviation"),
)
def event_bound(spec: DAESpec, event_deviation=None) -> Float[Array, ""]:
    """Top SNR after one round of replacement on any finite sample whose noise moments deviate by at most delta.

    Formula: ``x' <= g^2 [(1 + delta) x + (1 + 2 delta) c]``, ``g = x/(x + 1)``, where
    ``||E E^T/n - sigma-hat^2 I|| <= delta sigma-hat^2`` and ``||X E^T/n|| <= delta sigma-hat sqrt(lambda_1)``. DAE-11
    (derived), an upper bound on that event, 0 <= c <= 2; for c <= 1 it is below x whenever
    ``delta <= 1/(x + 2)``. Gaussian E has delta about ``2 sqrt(d/n)``: see ``sufficient_samples``.

    Args:
        spec: replacement chain; ``spectrum`` is the realised spectrum of the round's data.
        event_deviation: delta >= 0; None takes ``1/(x + 2)``, the largest that guarantees a fall for c <= 1.

    Returns:
        Prediction (upper bound) of ``next_snr``, a scalar (no unit).

    Raises:
        RegimeError: the spec describes another chain.

    >>> bool(event_bound(DAESpec([10.0])).values < 10.0)
    True
    """
    replacement(spec, "DAE-11")
    snr, ratio = real_snr(spec)[0], noise_ratio(spec)
    delta = 1 / (snr + 2) if event_deviation is None else event_deviation
    return (snr / (snr + 1)) ** 2 * ((1 + delta) * snr + (1 + 2 * delta) * ratio)


def sufficient_samples(spec: DAESpec) -> Float[Array, ""]:
    """Scale ``n = d (x_1 + 2)^2`` from which DAE-11 (derived) makes every round a fall with high probability, c <= 1.

    A sufficient scale (its constant is about 4), not a threshold.

    >>> float(sufficient_samples(DAESpec([10.0] * 5)))
    720.0
    """
    return spec.dimension * (real_snr(spec)[0] + 2) ** 2
