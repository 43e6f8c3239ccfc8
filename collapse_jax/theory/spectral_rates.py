"""How fast a truncated diffusion chain reaches its limit (SP-8).

``p_k - p_inf = (1 - alpha)^k S^k (p_0 - p_inf)`` exactly. Mixing contracts convex distances by ``1 - alpha`` (``W2^2``
is convex, W2 takes the root), smoothing contracts transport by ``a``. Late, only the lowest mode in which the laws
differ is left, and with it the true factor ``(1 - alpha) a^n``. Everything here was derived for this project; that
convergence is geometric is the paper's result (SP-1), these rates are not.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory.spectral import DATA, GRID
from collapse_jax.theory.spectral_laws import line, line_modes
from collapse_jax.theory.spectral_rounds import (
    covers,
    has_density,
    kept,
    require_limit,
    require_reference,
    safe_sqrt,
)

GAPS = DATA | {"real_fraction": 0.2, "truncation": 0.1}
LATE = DATA | {"real_fraction": 0.1, "truncation": 0.2}

_ORDERS = 16  # among which the lowest differing mode is looked for
_SAME = 1e-5  # modes smaller than this count as zero


def _gap(spec: SpectralSpec, generations: int, result: str, initial, of_scale: float = 0.0, root: bool = False):
    """``initial factor^k``; factor (1 - alpha) a^of_scale, with the root of 1 - alpha if ``root``."""
    require_limit(spec, result)
    rounds = np.arange(generations + 1)
    mixed = kept(spec.real_fraction, rounds)
    mixed = safe_sqrt(mixed) if root else mixed
    start = jnp.ones_like(spec.real_fraction) if initial is None else jnp.asarray(initial, mixed.dtype)
    return start * mixed * jnp.exp(of_scale * jnp.asarray(rounds, mixed.dtype) * spec.log_scale)


@register(
    "SP-8",
    statement="TV(p_k, p_inf) falls by 1 - a a round, at least.",
    kind="upper bound",
    observable="tv_gap",
    check="total variation on a density grid, from its own value at the start",
    example=GAPS,
    samples=GRID,
    given=("initial_tv_gap",),
)
def tv_bound(spec: SpectralSpec, generations: int, *, initial_tv_gap=None) -> Float[Array, " generations_plus_1"]:
    """Upper bound on ``TV(p_k, p_inf)``.

    Formula: ``(1 - alpha)^k TV(p_0, p_inf)``. SP-8 (derived), an upper bound for any start and process; equality at
    k = 0. Along ``direction``.

    Args:
        spec: regime replace, one truncation for all rounds, a limit exists.
        initial_tv_gap: the distance at the start; None takes 1, which gives the factor alone.

    Returns:
        Prediction (upper bound) of ``tv_gap``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: a schedule, regime accumulate, or no limit.

    >>> tv_bound(SpectralSpec(**GAPS | {"real_fraction": 0.5}), 2).values.tolist()
    [1.0, 0.5, 0.25]
    """
    return _gap(spec, generations, "SP-8", initial_tv_gap)


@register(
    "SP-8/w1",
    statement="W1(p_k, p_inf) falls by (1 - alpha) a a round, at least.",
    kind="upper bound",
    observable="w1_gap",
    check="W1 on a density grid, from its own value at the start",
    example=GAPS,
    samples=GRID,
    given=("initial_w1_gap",),
)
def w1_bound(spec: SpectralSpec, generations: int, *, initial_w1_gap=None) -> Float[Array, " generations_plus_1"]:
    """Upper bound on ``W1(p_k, p_inf)``: ``[(1 - alpha) a]^k W1(p_0, p_inf)``.

    SP-8 (derived), an upper bound for any start and process (a = 1 for ve). Arguments and errors as in ``tv_bound``.

    Returns:
        Prediction (upper bound) of ``w1_gap``, ``[generations + 1]`` in data units.

    >>> bound = w1_bound(SpectralSpec(**GAPS), 1).values
    >>> round(float(bound[1]), 4)
    0.7239
    """
    return _gap(spec, generations, "SP-8/w1", initial_w1_gap, 1.0)


@register(
    "SP-8/w2",
    statement="W2(p_k, p_inf) falls by a sqrt(1 - alpha) a round, at least.",
    kind="upper bound",
    observable="w2_gap",
    check="W2 on a density grid, from its own value at the start",
    example=GAPS,
    samples=GRID,
    given=("initial_w2_gap",),
)
def w2_bound(spec: SpectralSpec, generations: int, *, initial_w2_gap=None) -> Float[Array, " generations_plus_1"]:
    """Upper bound on ``W2(p_k, p_inf)``: ``[a sqrt(1 - alpha)]^k W2(p_0, p_inf)``.

    SP-8 (derived), an upper bound for any start and process; the root of ``1 - alpha`` cannot be improved (two narrow
    bumps far from the data, shifted a little). Its infinite slope at alpha = 1 is given as 0. Arguments and errors as
    in ``tv_bound``.

    Returns:
        Prediction (upper bound) of ``w2_gap``, ``[generations + 1]`` in data units.

    >>> bound = w2_bound(SpectralSpec(**GAPS), 2).values
    >>> round(float(bound[2]), 4)
    0.655
    """
    return _gap(spec, generations, "SP-8/w2", initial_w2_gap, 1.0, root=True)


@register(
    "SP-8/kl",
    statement="KL(p_k | p_inf) falls by 1 - a a round, at least.",
    kind="upper bound",
    observable="kl_gap",
    check="relative entropy on a density grid, from its own value at the start",
    example=GAPS,
    samples=GRID,
    given=("initial_kl_gap",),
)
def kl_bound(spec: SpectralSpec, generations: int, *, initial_kl_gap=None) -> Float[Array, " generations_plus_1"]:
    """Upper bound on ``KL(p_k | p_inf)``: ``(1 - alpha)^k KL(p_0 | p_inf)``.

    SP-8 (derived), an upper bound where the entropy is finite. Arguments and errors as in ``tv_bound``.

    Returns:
        Prediction (upper bound) of ``kl_gap``, ``[generations + 1]`` in nats.

    Raises:
        RegimeError: also for data without a density, whose entropy is infinite.

    >>> round(float(kl_bound(SpectralSpec(**GAPS), 3).values[3]), 4)
    0.512
    """
    covers(has_density(spec), "SP-8/kl", "needs data with a density: for points ask SP-8/w2.")
    return _gap(spec, generations, "SP-8/kl", initial_kl_gap)


def _heavy_enough(spec: SpectralSpec) -> bool:
    """False only if chi^2(p_0 | p_inf) is known to be infinite: a component more than twice as wide as all the limit.

    The limit's widest part is the reference law, which the oldest ages approach, or the youngest age of the widest
    component; at alpha = 1 the latter alone. For ve widths grow without end.
    """
    if not (concrete(spec.covariances) and concrete(spec.real_fraction) and concrete(spec.truncation)):
        return True
    with jax.ensure_compile_time_eval():  # known now, also while something else is traced
        widest = float(np.max(np.asarray(line(spec).covariances, float)))
        scale, noise, prior = float(spec.scale), float(spec.noise_var), float(spec.reference_var)
    reach = scale**2 * widest + noise
    if float(spec.real_fraction) < 1:
        reach = np.inf if spec.process == "ve" else max(reach, prior)
    return widest < 2 * reach


@register(
    "SP-8/chi2",
    statement="chi^2(p_k | p_inf) falls by 1 - a a round, at least.",
    kind="upper bound",
    observable="chi2_gap",
    check="chi^2 on a density grid, from its own value at the start",
    example=GAPS,
    samples=GRID,
    given=("initial_chi2_gap",),
)
def chi2_bound(spec: SpectralSpec, generations: int, *, initial_chi2_gap=None) -> Float[Array, " generations_plus_1"]:
    """Upper bound on ``chi^2(p_k | p_inf)``: ``(1 - alpha)^k chi^2(p_0 | p_inf)``.

    SP-8 (derived), an upper bound where chi^2 is finite: the variance of every component along ``direction`` must be
    below twice that of the limit's widest part. Arguments and errors as in ``tv_bound``.

    Returns:
        Prediction (upper bound) of ``chi2_gap``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: also where chi^2 is infinite: data without a density, or wide data forgotten too fast.

    >>> round(float(chi2_bound(SpectralSpec(**GAPS), 3).values[3]), 4)
    0.512
    """
    require_limit(spec, "SP-8/chi2")
    covers(has_density(spec), "SP-8/chi2", "needs data with a density: for points ask SP-8/w2.")
    covers(_heavy_enough(spec), "SP-8/chi2", "is infinite here, the limit's tails are too light: ask SP-8 or SP-8/kl.")
    return _gap(spec, generations, "SP-8/chi2", initial_chi2_gap)


@register(
    "SP-8/slope",
    statement="Late, TV, W1 and W2 to the limit fall by (1 - alpha) a^n a round, n the lowest mode that differs.",
    kind="asymptotic",
    observable="late_factor",
    check="ratio of the last two distances on a density grid: TV, W1, W2",
    example=LATE,
    generations=60,
    samples=GRID,
)
def late_factor(spec: SpectralSpec):
    """Factor per round of TV, W1 and W2 to the limit, late in the chain.

    Formula: ``(1 - alpha) a^n``, n the lowest order >= 1 at which ``c*_n`` is not 0 (below 1e-5 counts as 0; orders up
    to 16 are looked at): 1 in general, 2 for centred, 3 for white data. SP-8 (derived), asymptotic as k -> infinity for
    smooth light-tailed data, from ``p_0 = p*``; KL and chi^2 fall by its square. Margin: 0.5 %, reached when
    ``|c*_l/c*_n| a^{k (l - n)}`` is below 1e-2 for the next order l that differs.

    Returns:
        Prediction of ``late_factor``, ``[3]`` (TV, W1, W2), no unit.

    Raises:
        RegimeError: process ve, a schedule, regime accumulate, no limit, or data that are the prior.

    >>> [round(float(factor), 4) for factor in late_factor(SpectralSpec(**LATE)).values]
    [0.7369, 0.7369, 0.7369]
    """
    require_limit(spec, "SP-8/slope")
    require_reference(spec, "SP-8/slope")
    differs = jnp.abs(line_modes(spec, _ORDERS)[1:]) > _SAME
    covers(
        not concrete(differs) or bool(differs.any()),
        "SP-8/slope",
        "needs data that differ from the prior in a mode of order 16 or less: nothing moves, ask SP-4.",
    )
    lowest = jnp.asarray(1 + jnp.argmax(differs), spec.weights.dtype)
    factor = (1 - spec.real_fraction) * jnp.exp(lowest * spec.log_scale)
    factors = jnp.broadcast_to(factor, (3,))
    return factors, 0.005 * factors
