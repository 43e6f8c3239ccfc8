"""More directions than rows, and what no learner can undo: an isotropic spectrum (REG-8, REG-9, REG-10, REG-15).

The smallest-norm fit on T_0 < d rows projects the labels' weights on the span of the rows and adds noise there. For an
isotropic spectrum the span is uniform: a projection keeps the share ``eta = T_0/d`` of any square in the mean, so the
squares of a generator follow a scalar recursion that is exact at every size (REG-8); without noise the generator dies
out at the rate eta^n (REG-9). Downstream of it a ridge regression sees weights whose squares alone matter (REG-10).

With as many rows as directions or more, the labels come from ``w_0 + c^{1/2} z``; the best predictor linear in Y for
a Gaussian truth is the mean of w_0 given the data, which is ridge at ``sigma^2/(T tau^2)`` times a shrink factor b;
plain ridge cannot shrink by b at that ridge and stays above (REG-15).

Squares are those of the label signal, ``|w|_Sigma^2`` [label^2]. Formulas and constants were derived for this project;
that a noise-free collapse exists is the claim of arXiv:2402.07712.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.theory.regression_equations import (
    covers,
    fit,
    powers,
    require_constant,
    require_equivalent,
    require_gap,
    require_isotropic,
    require_mean,
    require_replace,
    require_ridgeless,
    sums_of_powers,
    surely,
)

FEW = {
    "spectrum": (0.5,),
    "dimension": 10,
    "truth": (1.0,),
    "generator_samples": 5,
    "generator_noise": 0.6,
    "learner_noise": 0.4,
}
_ERROR = 1.5  # relative error of an equivalent in units of 1/(T - df_2); measured


def _require(spec: RegressionSpec, result: str) -> None:
    require_isotropic(spec, result)
    require_replace(spec, result)
    require_constant(spec, result, "REG-6")
    require_ridgeless(spec, result, "generator_ridge")
    require_gap(spec, result, "generator_samples")


def _parts(spec: RegressionSpec, generations: int):
    """``eta^n``, ``1 - eta^n`` and ``nu_n``, each ``[generations + 1]``."""
    rows, size = spec.generator_samples, spec.dimension
    eta = jnp.asarray(jnp.minimum(rows / size, 1), spec.spectrum.dtype)
    sums = sums_of_powers(eta, generations)
    own = spec.generator_noise**2 * jnp.minimum(rows, size) / (jnp.abs(size - rows) - 1)
    lost = jnp.maximum(size - rows, 0) / size
    return powers(eta, generations), lost * sums, own * sums


@register(
    "REG-8",
    statement="Isotropic, T_0 < d: |w_n - w_0|^2 = (1 - eta^n)|w_0|^2 + nu_n, eta = T_0/d.",
    kind="exact",
    observable="generator_error",
    check="mean square error of the generators, trapezoidal Wishart factors",
    example=FEW,
    generations=4,
    samples=150,
    relevant=0.02,
)
def generator_error(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Error of smallest-norm least-squares generators, isotropic inputs.

    Formula: ``(1 - eta^n)|w_0|^2 + nu_n``, ``eta = T_0/d``,
    ``nu_n = sigma_0^2 T_0/(d - T_0 - 1) (1 - eta^n)/(1 - eta)``; for T_0 >= d + 2 ``eta = 1``,
    ``nu_n = n sigma_0^2 d/(T_0 - d - 1)``. REG-8 (derived), exact at every size. Range: T_0 <= d - 2 or >= d + 2.

    Returns:
        Prediction of ``generator_error``, ``[generations + 1]`` in label^2; entry 0 is the truth, error 0.

    Raises:
        RegimeError: unequal eigenvalues, a ridge, a schedule, real rows, accumulation, or T_0 in {d - 1, d, d + 1}.

    >>> spec = RegressionSpec([1.0], dimension=4, generator_samples=2, generator_noise=0.0)
    >>> generator_error(spec, 3).values.tolist()
    [0.0, 2.0, 3.0, 3.5]
    """
    _require(spec, "REG-8")
    _, gone, made = _parts(spec, generations)
    return gone * spec.signal + made


@register(
    "REG-8/signal",
    statement="|w_n|^2 = eta^n |w_0|^2 + nu_n: the truth dies out, noise takes its place.",
    kind="exact",
    observable="signal",
    check="squared norm of the generators, trapezoidal Wishart factors",
    example=FEW,
    generations=4,
    samples=150,
    relevant=0.02,
)
def signal(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean square of the generators, ``|w_n|_Sigma^2``: ``eta^n |w_0|^2 + nu_n``.

    REG-8/signal (derived), exact; range and errors as REG-8.

    Returns:
        Prediction of ``signal``, ``[generations + 1]`` in label^2.

    >>> spec = RegressionSpec([1.0], dimension=4, generator_samples=2, generator_noise=1.0)
    >>> signal(spec, 1).values.tolist()
    [4.0, 4.0]
    """
    _require(spec, "REG-8/signal")
    left, _, made = _parts(spec, generations)
    return left * spec.signal + made


@register(
    "REG-8/overlap",
    statement="<w_n, w_0> = eta^n |w_0|^2: what is left of the truth.",
    kind="exact",
    observable="overlap",
    check="product of the generators with the truth, trapezoidal Wishart factors",
    example=FEW,
    generations=4,
    samples=150,
    relevant=0.02,
)
def overlap(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean product of the generators with the truth, ``<w_n, w_0>_Sigma``: ``eta^n |w_0|^2``.

    REG-8/overlap (derived), exact; range and errors as REG-8.

    Returns:
        Prediction of ``overlap``, ``[generations + 1]`` in label^2.

    >>> overlap(RegressionSpec([1.0], dimension=4, generator_samples=2), 2).values.tolist()
    [4.0, 2.0, 1.0]
    """
    _require(spec, "REG-8/overlap")
    return _parts(spec, generations)[0] * spec.signal


def _noiseless(spec: RegressionSpec, result: str) -> None:
    _require(spec, result)
    quiet = surely(lambda noise: noise == 0, spec.generator_noise)
    covers(quiet, result, "describes generator_noise 0; with noise ask REG-8.")


@register(
    "REG-9",
    statement="Without any noise |w_n|^2 = eta^n |w_0|^2: generators with T_0 < d rows die out exponentially.",
    kind="exact",
    observable="signal",
    check="squared norm of the generators, trapezoidal Wishart factors",
    example=FEW | {"generator_noise": 0.0},
    generations=4,
    samples=150,
    relevant=0.02,
)
def noiseless_signal(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Mean square of generators without label noise: a product of random projections applied to the truth.

    Formula: ``eta^n |w_0|^2``. REG-9 (derived), exact; that collapse without noise exists is the paper's claim, the
    rate and constant are not. Range and errors as REG-8, generator_noise 0.

    Returns:
        Prediction of ``signal``, ``[generations + 1]`` in label^2.

    >>> noiseless_signal(RegressionSpec([1.0], dimension=4, generator_samples=2, generator_noise=0), 2).values.tolist()
    [4.0, 2.0, 1.0]
    """
    _noiseless(spec, "REG-9")
    return _parts(spec, generations)[0] * spec.signal


@register(
    "REG-9/error",
    statement="Without any noise the error tends to |w_0|^2: (1 - eta^n)|w_0|^2.",
    kind="exact",
    observable="generator_error",
    check="mean square error of the generators, trapezoidal Wishart factors",
    example=FEW | {"generator_noise": 0.0},
    generations=4,
    samples=150,
    relevant=0.02,
)
def noiseless_error(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Error of generators without label noise: ``(1 - eta^n)|w_0|^2``.

    REG-9/error (derived), exact; range and errors as REG-9.

    Returns:
        Prediction of ``generator_error``, ``[generations + 1]`` in label^2.

    >>> noiseless_error(RegressionSpec([1.0], dimension=4, generator_samples=2, generator_noise=0), 2).values.tolist()
    [0.0, 2.0, 3.0]
    """
    _noiseless(spec, "REG-9/error")
    return _parts(spec, generations)[1] * spec.signal


@register(
    "REG-10",
    statement="Ridge downstream of REG-8: E(n) = a_2(eta^n |w_0|^2 + nu_n) - 2 a_1 eta^n |w_0|^2 + |w_0|^2 + noise.",
    kind="asymptotic",
    observable="error",
    check="mean square error of the learner, Wishart designs",
    example=FEW
    | {"dimension": 60, "truth": (0.3,), "generator_samples": 40, "learner_samples": 90, "learner_ridge": 0.1},
    generations=4,
    samples=30,
    relevant=0.1,
)
def downstream_error(spec: RegressionSpec, generations: int):
    """Test error of a ridge learner of labels made by the generators of REG-8.

    Formula: the statement with ``q = kappa/(mu + kappa)``, ``a_1 = 1 - q``, ``a_2 = 1 - 2q + q^2/(1 - df_2/T)`` and the
    noise term ``sigma^2 df_2/(T - df_2)``; computed as
    ``(1 - eta^n + eta^n q^2/(1 - df_2/T))|w_0|^2 + a_2 nu_n + noise``. REG-10 (derived), asymptotic in the learner,
    exact in the generators; relative margin ``1.5/(T - df_2)``.

    Returns:
        Prediction of ``error``, ``[generations + 1]`` in label^2.

    Raises:
        RegimeError: as REG-8, or a learner without ridge on about d rows.

    >>> spec = RegressionSpec([1.0], dimension=4, generator_samples=2, generator_noise=0, learner_ridge=float("inf"))
    >>> downstream_error(spec, 2).values.tolist()
    [4.0, 4.0, 4.0]
    """
    _require(spec, "REG-10")
    require_equivalent(spec, "REG-10", "learner")
    kept, lost, freedom = fit(spec.spectrum, spec.learner_samples, spec.learner_ridge)
    spread, q = jnp.sum(kept**2) / freedom, lost[0]
    left, gone, made = _parts(spec, generations)
    lost_square = q**2 * (1 + spread)
    square = kept[0] ** 2 + q**2 * spread
    values = (gone + left * lost_square) * spec.signal + square * made + spec.learner_noise**2 * spread
    return values, _ERROR / freedom * values


@register(
    "REG-10/ridgeless",
    statement="Least squares downstream of REG-8: a_1 = a_2 = min(1, T/d), noise sigma^2 min(T, d)/(|d - T| - 1).",
    kind="exact",
    observable="error",
    check="mean square error of the learner, trapezoidal Wishart factors",
    example=FEW | {"learner_samples": 4},
    generations=4,
    samples=150,
    relevant=0.02,
)
def ridgeless_error(spec: RegressionSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Test error of a least-squares learner of labels made by the generators of REG-8.

    Formula: ``(1 - a eta^n)|w_0|^2 + a nu_n + noise``, ``a = min(1, T/d)``; noise ``sigma^2 T/(d - T - 1)`` for
    T <= d - 2 and ``sigma^2 d/(T - d - 1)`` for T >= d + 2. REG-10/ridgeless (derived), exact.

    Returns:
        Prediction of ``error``, ``[generations + 1]`` in label^2.

    Raises:
        RegimeError: as REG-8, or a learner with a ridge or with d - 1, d or d + 1 rows.

    >>> spec = RegressionSpec([1.0], dimension=4, generator_samples=2, generator_noise=0, learner_samples=2)
    >>> round(float(ridgeless_error(spec, 1).values[1]), 6)  # 3 + 0.25 * 2
    3.5
    """
    _require(spec, "REG-10/ridgeless")
    require_ridgeless(spec, "REG-10/ridgeless", "learner_ridge")
    require_gap(spec, "REG-10/ridgeless", "learner_samples")
    rows, size = spec.learner_samples, spec.dimension
    share, missing = jnp.minimum(rows, size) / size, jnp.maximum(size - rows, 0) / size
    left, gone, made = _parts(spec, generations)
    own = spec.learner_noise**2 * jnp.minimum(rows, size) / (jnp.abs(size - rows) - 1)
    return (gone + left * missing) * spec.signal + share * made + own


@register(
    "REG-15",
    statement="No predictor linear in Y beats R^2(1 - b) + b^2 [ridge error at lambda_u]: the floor rises to R^2.",
    kind="lower bound",
    observable="error",
    check="mean square error of the learner at the ridge of the spec, Wishart designs",
    example={
        "spectrum": (1.0,),
        "dimension": 60,
        "truth": (0.15,),
        "learner_samples": 90,
        "learner_ridge": 0.3,
        "generator_samples": 120,
    },
    generations=4,
    samples=30,
    relevant=0.1,
)
def floor(spec: RegressionSpec, generations: int):
    """Lower bound on the error of every learner linear in its labels that knows its inputs, isotropic, T_0 > d.

    For a truth of given signal ``R^2 = |w_0|^2`` and random direction. Formula: ``R^2(1 - b) + b^2 [tau^2 d q^2/(1 -
    df_2/T) + sigma^2 df_2/(T - df_2)]``, ``c = n sigma_0^2/(T_0 - d - 1)``, ``tau^2 = R^2/d + c``, ``b = R^2/(d
    tau^2)``, kappa at ``lambda_u = sigma^2/(T tau^2)``. REG-15 (derived): the value is a deterministic equivalent,
    relative margin ``1.5/(T - df_2)``. Attained by b times ridge at lambda_u (REG-15/attained); by plain ridge only for
    n = 0.

    Returns:
        Prediction (lower bound) of ``error``, ``[generations + 1]`` in label^2.

    Raises:
        RegimeError: unequal eigenvalues, a ridge or a schedule in the generators, T_0 < d + 2, real rows,
            accumulation, or learner_noise 0.

    >>> spec = RegressionSpec([1.0], dimension=4, truth=[1.0], generator_samples=9, generator_noise=1e6)
    >>> [round(float(value), 3) for value in floor(spec, 1).values]
    [0.01, 4.0]
    """
    values, margin = _floor(spec, generations, "REG-15")
    return values, margin


@register(
    "REG-15/attained",
    statement="The floor is reached by ridge at lambda_u times the shrink factor b.",
    kind="asymptotic",
    observable="best_error",
    check="least error over ridges and shrink factors, Wishart designs",
    example={
        "spectrum": (1.0,),
        "dimension": 40,
        "truth": (0.15,),
        "learner_samples": 60,
        "generator_samples": 80,
    },
    generations=4,
    samples=20,
    relevant=0.1,
)
def attained(spec: RegressionSpec, generations: int):
    """Least error of a ridge learner whose weights may be shrunk: the floor of REG-15.

    REG-15/attained (derived), asymptotic; formula, margin, range and errors as REG-15.

    Returns:
        Prediction of ``best_error``, ``[generations + 1]`` in label^2.

    >>> spec = RegressionSpec([1.0], dimension=4, truth=[1.0], generator_samples=9, generator_noise=1e6)
    >>> bool((attained(spec, 1).values == floor(spec, 1).values).all())
    True
    """
    return _floor(spec, generations, "REG-15/attained")


def _floor(spec: RegressionSpec, generations: int, result: str):
    _require(spec, result)
    require_mean(spec, result, "generator_samples")
    noisy = surely(lambda noise: noise > 0, spec.learner_noise)
    covers(noisy, result, "needs learner_noise > 0: without, the best ridge is 0, ask REG-1.")
    some = surely(lambda truth: np.any(truth != 0), spec.truth)
    covers(some, result, "needs a truth that is not 0: for that one the best is to predict 0.")
    size, rows, scale = spec.dimension, spec.learner_samples, spec.spectrum[0]
    per_direction = spec.signal / size
    n = jnp.arange(generations + 1, dtype=spec.spectrum.dtype)
    made = n * (spec.generator_noise**2 / (spec.generator_samples - size - 1))
    total = per_direction + made
    noise = spec.learner_noise**2

    def one(total):
        kept, lost, freedom = fit(spec.spectrum, rows, scale * noise / (rows * total))
        spread = jnp.sum(kept**2) / freedom
        return total * size * lost[0] ** 2 * (1 + spread) + noise * spread, freedom

    # one fit after another: as many roots at once would be compiled for each
    ridged, freedom = jax.lax.map(one, total)
    values = size * per_direction * made / total + (per_direction / total) ** 2 * ridged
    return values, _ERROR / freedom * values
