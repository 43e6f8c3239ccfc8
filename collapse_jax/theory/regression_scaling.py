"""Exponents under power laws: what fake data do to a scaling law, and which ridge answers it (REG-12, REG-13, REG-14).

Eigenvalues ``i^-beta``, ``mu_i w_{0,i}^2 = i^-(1 + 2 beta r)``, ridge ``c T^-l`` with 0 < l <= beta, sizes that grow
with T in fixed ratios, T_0 > d. Comparing sums with integrals in the equivalents: ``kappa ~ T^-l`` and ``df_1 ~ df_2 ~
T^(l/beta)`` count the directions with mu_i > kappa. What these directions miss is the bias, ``kappa^(2 min(r, 1)) ~
T^(-2 min(r, 1) l)``; label noise, of the learner or left in the labels by the generators, enters each of them and gives
``df_2/T ~ T^-(1 - l/beta)`` (REG-12). The best l makes both equal (REG-13). With a ridge chosen for clean data the bias
wins until the noise part overtakes it (REG-14).

Exponents only: at finite size slopes are off by what the margin says, measured for c = 1 on the octaves below T = 128
and 256 (at r near 1 logarithms slow the approach down further). Derived for this project; that fake data modify the
law, with a crossover, and that an adapted ridge helps, are claims of arXiv:2402.07712.
"""

import jax.numpy as jnp
import numpy as np

from collapse_jax.results import register
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.theory.regression_equations import covers, require_constant, require_replace, surely

MARGIN = 0.2
"""By how much a slope over octaves of a few hundred rows differs from its exponent."""

FAMILY = {
    "spectrum": (1.0,),
    "dimension": 128,
    "learner_samples": 128,
    "generator_samples": 256,
    "learner_noise": 0.0,
    "generator_noise": 0.5,
    "learner_ridge": 1.0,
    "decay": 1.5,
    "smoothness": 0.5,
}

NOISY = FAMILY | {"ridge_exponent": 0.6, "learner_noise": 0.5}


def _require(spec: RegressionSpec, result: str) -> None:
    require_replace(spec, result)
    require_constant(spec, result, "REG-6")
    size = spec.dimension
    enough = surely(lambda rows: rows >= size + 2, spec.generator_samples)
    covers(enough, result, f"needs generator_samples >= d + 2 = {size + 2}; for fewer ask REG-6.")
    zero = surely(lambda ridge: ridge == 0, spec.generator_ridge)
    covers(zero, result, "describes generator_ridge 0; with a ridge ask REG-6.")
    positive = surely(lambda ridge: (ridge > 0) & (ridge < jnp.inf), spec.learner_ridge)
    covers(positive, result, "needs a finite learner_ridge > 0, the constant of the ridge c T^-l.")


def _require_exponent(spec: RegressionSpec, result: str) -> None:
    _require(spec, result)
    inside = surely(lambda power, beta: (power > 0) & (power <= beta), spec.ridge_exponent, spec.decay)
    covers(inside, result, "needs 0 < ridge_exponent <= decay: a smaller ridge than T^-decay changes nothing more.")


def _smooth(spec: RegressionSpec):
    return 2 * jnp.minimum(spec.smoothness, 1)


def _bias(spec: RegressionSpec):
    return _smooth(spec) * spec.ridge_exponent


def _noise(spec: RegressionSpec):
    return 1 - spec.ridge_exponent / spec.decay


def _noisy(spec: RegressionSpec, generations: int):
    own = spec.learner_noise > 0
    return own | (spec.generator_noise > 0) if generations > 0 else own


@register(
    "REG-12",
    statement="E ~ T^-min(2 min(r,1) l, 1 - l/beta) with any label noise, T^-(2 min(r,1) l) without.",
    kind="asymptotic",
    observable="error_slope",
    check="slope of log E over two octaves of T, Wishart designs",
    example=NOISY,
    generations=1,
    samples=8,
    relevant=0.6,
    curve=False,
)
def error_slope(spec: RegressionSpec, generations: int):
    """Exponent of the test error in T after ``generations`` generators, d, T and T_0 growing in fixed ratios.

    Formula: ``-min(2 min(r, 1) l, 1 - l/beta)`` if sigma > 0, or sigma_0 > 0 and n > 0; else ``-2 min(r, 1) l``. REG-12
    (derived), exponents only; margin 0.2, absolute, for T of a few hundred and ``learner_ridge`` of order 1.

    Returns:
        Prediction of ``error_slope``, a scalar without unit.

    Raises:
        RegimeError: accumulation, real rows, a schedule, a ridge in the generators, T_0 < d + 2, a learner without
            ridge, or an exponent outside (0, decay].

    >>> spec = RegressionSpec(**FAMILY | {"ridge_exponent": 0.6})
    >>> round(float(error_slope(spec, 2).values), 6)
    -0.6
    """
    _require_exponent(spec, "REG-12")
    both = jnp.minimum(_bias(spec), _noise(spec))
    return -jnp.where(_noisy(spec, generations), both, _bias(spec)), MARGIN


@register(
    "REG-12/bias",
    statement="The noiseless part of E falls like T^-(2 min(r,1) l); best at l = beta.",
    kind="asymptotic",
    observable="bias_slope",
    check="slope of the log of the error without noise, over two octaves of T",
    example=FAMILY | {"ridge_exponent": 1.5},
    generations=1,
    samples=8,
    relevant=0.6,
    curve=False,
)
def bias_slope(spec: RegressionSpec, generations: int):
    """Exponent of the error of a learner of clean noiseless labels: ``-2 min(r, 1) l``.

    REG-12/bias (derived), exponents only; margin and errors as REG-12.

    Returns:
        Prediction of ``bias_slope``, a scalar without unit.

    >>> float(bias_slope(RegressionSpec(**FAMILY | {"ridge_exponent": 1.5}), 1).values)
    -1.5
    """
    _require_exponent(spec, "REG-12/bias")
    return -_bias(spec), MARGIN


@register(
    "REG-12/noise",
    statement="What label noise adds falls like T^-(1 - l/beta), flat at l = beta: fake noise and own noise alike.",
    kind="asymptotic",
    observable="noise_slope",
    check="slopes of the logs of what the generators' noise and the learner's add, over two octaves of T",
    example=NOISY,
    generations=1,
    samples=8,
    relevant=0.6,
    curve=False,
)
def noise_slope(spec: RegressionSpec, generations: int):
    """Exponents of the parts of the error due to the generators' noise and to the learner's: both ``-(1 - l/beta)``.

    REG-12/noise (derived), exponents only; margin and errors as REG-12. Needs both noises positive.

    Returns:
        Prediction of ``noise_slope``, ``[2]`` (generators, learner), no unit.

    >>> spec = RegressionSpec(**FAMILY | {"ridge_exponent": 0.75, "learner_noise": 0.5})
    >>> noise_slope(spec, 1).values.tolist()
    [-0.5, -0.5]
    """
    _require_exponent(spec, "REG-12/noise")
    for name in ("learner_noise", "generator_noise"):
        noisy = surely(lambda noise: noise > 0, getattr(spec, name))
        covers(noisy, "REG-12/noise", f"needs {name} > 0.")
    return jnp.broadcast_to(-_noise(spec), (2,)), MARGIN


@register(
    "REG-12/df",
    statement="Degrees of freedom grow like T^(l/beta): directions with eigenvalue above kappa.",
    kind="asymptotic",
    observable="df_slope",
    check="slope of log tr X(X^T X + T ridge)^-1 X^T over two octaves of T",
    example=NOISY,
    generations=1,
    samples=8,
    relevant=0.8,
    curve=False,
)
def df_slope(spec: RegressionSpec, generations: int):
    """Exponent of the degrees of freedom of the fit, the mean trace of its hat matrix: ``l/beta``.

    REG-12/df (derived), exponents only; margin and errors as REG-12.

    Returns:
        Prediction of ``df_slope``, a scalar without unit.

    >>> float(df_slope(RegressionSpec(**FAMILY | {"ridge_exponent": 0.75}), 1).values)
    0.5
    """
    _require_exponent(spec, "REG-12/df")
    return spec.ridge_exponent / spec.decay, MARGIN


def _adapted(spec: RegressionSpec, generations: int):
    ridge = spec.decay / (_smooth(spec) * spec.decay + 1)
    return jnp.where(_noisy(spec, generations), ridge, spec.decay)


@register(
    "REG-13",
    statement="The best ridge is T^-l, l = beta/(2 beta min(r,1) + 1) with noise: E ~ T^-(2 min(r,1) l).",
    kind="asymptotic",
    observable="adapted_slope",
    check="slope over two octaves of T of the log of the least error over a grid of ridges",
    example=FAMILY,
    generations=1,
    samples=2,
    relevant=0.6,
    curve=False,
)
def adapted_slope(spec: RegressionSpec, generations: int):
    """Exponent of the test error when the ridge is adapted to the noise in the labels, sizes in fixed ratios (a = 0).

    Formula: ``-2 min(r, 1) l_crit``, ``l_crit = beta/(2 beta min(r, 1) + 1)`` if sigma > 0, or sigma_0 > 0 and n > 0;
    else ``l_crit = beta``. REG-13 (derived), exponents only; that an adapted ridge mitigates is the paper's claim.
    Margin 0.2; ``ridge_exponent`` is not used.

    Returns:
        Prediction of ``adapted_slope``, a scalar without unit.

    Raises:
        RegimeError: as REG-12.

    >>> round(float(adapted_slope(RegressionSpec(**FAMILY), 1).values), 6)
    -0.6
    """
    _require(spec, "REG-13")
    return -_smooth(spec) * _adapted(spec, generations), MARGIN


@register(
    "REG-13/plateau",
    statement="With T_0 and d fixed and T >> d no ridge helps: the best error stops falling (a = -1, l_crit = 0).",
    kind="asymptotic",
    observable="plateau_ratio",
    check="least error over a grid of ridges at T over that at T/4, d and T_0 fixed",
    example=FAMILY | {"learner_samples": 8192},
    generations=1,
    samples=2,
    relevant=0.6,
    curve=False,
)
def plateau(spec: RegressionSpec, generations: int):
    """Ratio of the best errors at T and T/4 rows when the generators do not grow with T: 1.

    Formula: ``E ~ T^-(2 min(r, 1) l_crit)`` with ``l_crit = 0`` for ``a = -1``. REG-13/plateau (derived), asymptotic
    for T >> d; margin 0.2 for T >= 64 d. Needs n >= 1 and generator_noise > 0.

    Returns:
        Prediction of ``plateau_ratio``, a scalar without unit.

    Raises:
        RegimeError: as REG-12, or generators without noise.

    >>> float(plateau(RegressionSpec(**FAMILY), 1).values)
    1.0
    """
    _require(spec, "REG-13/plateau")
    noisy = surely(lambda noise: noise > 0, spec.generator_noise)
    covers(noisy, "REG-13/plateau", "needs generator_noise > 0: without it there is no plateau, ask REG-13.")
    return jnp.ones((), spec.spectrum.dtype), MARGIN


@register(
    "REG-14",
    statement="With the clean-data ridge the fast rate ends at T* ~ C^(-1/e), e = 2 min(r,1) l + l/beta - 1.",
    kind="asymptotic",
    observable="crossover_slope",
    check="T at which bias and fake noise cross, for noises a factor apart: slope of log T* in log C",
    example=FAMILY | {"ridge_exponent": 1.5},
    generations=1,
    samples=8,
    relevant=0.6,
    curve=False,
)
def crossover_slope(spec: RegressionSpec, generations: int):
    """Exponent with which the crossover from the fast to the slow rate moves when the fake noise C grows.

    Formula: ``-1/e``, ``e = 2 min(r, 1) l + l/beta - 1 > 0``: below T* the error falls like ``T^(-2 min(r, 1) l)``,
    above like ``T^-(1 - l/beta)`` (flat, a plateau of height C, for l = beta). REG-14 (derived), exponents only; margin
    0.2 times ``1 + 1/e`` (both slopes err). Any noise of the spec: the crossing is sought at noises within its range.

    Returns:
        Prediction of ``crossover_slope``, a scalar without unit.

    Raises:
        RegimeError: as REG-12, or a ridge that is not smaller than the adapted one (e <= 0).

    >>> round(float(crossover_slope(RegressionSpec(**FAMILY | {"ridge_exponent": 1.5}), 1).values), 6)
    -0.666667
    """
    _require_exponent(spec, "REG-14")
    early = surely(
        lambda r, power, beta: 2 * np.minimum(r, 1) * power + power / beta > 1,
        spec.smoothness,
        spec.ridge_exponent,
        spec.decay,
    )
    covers(early, "REG-14", "needs a ridge_exponent above that of REG-13: with less ridge the slow rate holds at once.")
    e = _bias(spec) - _noise(spec)
    return -1 / e, MARGIN * (1 + 1 / e)


@register(
    "REG-14/rise",
    statement="With d and T_0 fixed, d << T << d^(beta/l): what fake noise adds rises like T^(l/beta).",
    kind="asymptotic",
    observable="rise_slope",
    check="slope of the log of the fake part over T/4, T/2, T, d and T_0 fixed",
    example=FAMILY | {"ridge_exponent": 0.75, "learner_samples": 2048},
    generations=1,
    samples=8,
    relevant=0.6,
    curve=False,
)
def rise_slope(spec: RegressionSpec, generations: int):
    """Exponent with which the fake part of the error rises while the generators stay as they are.

    Formula: ``l/beta`` for ``d << T << d^(beta/l)``: more directions are fitted, each with the same fake noise.
    REG-14/rise (derived), exponents only; margin 0.2. Needs l < beta; T = ``learner_samples`` is the end of the window.

    Returns:
        Prediction of ``rise_slope``, a scalar without unit.

    Raises:
        RegimeError: as REG-12, l = beta, or learner_samples < 16 d.

    >>> spec = RegressionSpec(**FAMILY | {"ridge_exponent": 0.75, "learner_samples": 4096})
    >>> float(rise_slope(spec, 1).values)
    0.5
    """
    _require_exponent(spec, "REG-14/rise")
    strict = surely(lambda power, beta: power < beta, spec.ridge_exponent, spec.decay)
    covers(strict, "REG-14/rise", "needs ridge_exponent < decay: at l = beta the rising branch is empty.")
    size = spec.dimension
    many = surely(lambda rows: rows >= 16 * size, spec.learner_samples)
    covers(many, "REG-14/rise", f"needs learner_samples >= 16 d = {16 * size}: the branch begins beyond d.")
    return spec.ridge_exponent / spec.decay, MARGIN
