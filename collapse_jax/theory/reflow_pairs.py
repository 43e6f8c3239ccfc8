"""Chains of Reflow: pairs are kept, real pairs are made by running a model backwards (RF-9 to RF-14, RF-16; derived).

A model of gain A makes pairs (z, A z); their coupling is deterministic, so the fit on them is exact and straight:
nothing changes, for ever (RF-9). What a round loses is put in by hand: a relative gain eta by imperfect fitting, ``q =
(1 - eta)^2``, or a ridge (RF-10). A real image x run backwards by the current model is the pair (x/A, x), again on the
line x = A z: real pairs change nothing (RF-11). With noise, ``z' = sqrt(1 - tau^2) x/A + tau eps``, the union of both
kinds has per direction, with ``u = A^2/Lambda`` and real share b,

    M_0 = 1 - b + b ((1 - tau^2)/u + tau^2),  M_1 = Lambda ((1 - b) u + b),  C = (1 - b) A + b sqrt(1 - tau^2) Lambda/A,

and exact integration gives ``u' = q M_1/(Lambda M_0)`` (RF-4): the map of RF-12. Its derivative at u = 0 is ``q/(1 -
tau^2)``: noise holds the chain up iff ``tau^2 > 1 - q`` (RF-13). A frozen inverter has u_1 for u in M_0 (RF-14). N
Euler steps cost the angle of the coupling (RF-16).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.reflow import TIMES, ReflowSpec, turned
from collapse_jax.theory.reflow import SAMPLES
from collapse_jax.theory.reflow_ground import covers, euler_gain, is_zero, known, path, zero

CHAIN: dict[str, Any] = {"spectrum": (4.0, 0.25), "start": (0.5, 2.0), "size": 1e8}
LOSSY: dict[str, Any] = CHAIN | {"fit_loss": 0.03}
MIXED: dict[str, Any] = LOSSY | {"real_pairs": 0.3}
NOISY: dict[str, Any] = MIXED | {"noise": 0.6}
TURNED: dict[str, Any] = {"spectrum": (4.0, 1.0, 0.25), "start": 1.2, "rotation": 0.7, "size": 8}


def _covers(spec: ReflowSpec, result: str, *, exact: bool = True, ridge: bool = False, current: bool = True) -> None:
    covers(spec.coupling == "reflow", result, "describes coupling reflow; for independent ask RF-7.")
    if exact:
        covers(spec.solver == "exact", result, "describes solver exact; for euler ask RF-16/steps.")
    if not ridge:
        covers(is_zero(spec.ridge), result, "describes fits without a ridge; with one ask RF-10/ridge.")
    if current:
        covers(spec.inverter == "current", result, "describes inverter current; for first ask RF-14.")


def step(spec: ReflowSpec, u):
    """``F(u)`` of RF-12."""
    b, square = spec.real_pairs, spec.noise**2
    lost = (1 - spec.noise) * (1 + spec.noise)
    return u * ((1 - b) * u + b) / ((1 - b + b * square) * u + b * lost)


def _start(spec: ReflowSpec, result: str):
    """A_0, if no map (1-t) I + t A_0 on the way is singular."""
    start = jnp.sqrt(spec.variance)[:, None] * turned(spec)

    def stands(matrix):
        values = np.linalg.eigvals(matrix)
        return not np.any((abs(values.imag) <= 1e-12 * abs(values)) & (values.real <= 0))

    covers(known(start, stands), result, "needs a map without eigenvalues in (-inf, 0]: take a smaller rotation.")
    return start


@register(
    "RF-9",
    statement="Linear Reflow changes nothing: A_{k+1} = A_k in every dimension, from any n >= d pairs.",
    kind="exact",
    observable="gain_matrix",
    check="d x d maps fitted to few sampled pairs of the last map, one Euler step, round after round",
    example=TURNED | {"solver": "euler", "steps": 1},
    generations=10,
    samples=1,
)
def gain_matrix(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d d"]:
    """Endpoint map along a chain of pure Reflow.

    Formula: ``A_k = A_0 = diag(sqrt(start Lambda)) R``, R the rotation. RF-9 (derived), exact for every n >= d, with
    one Euler step or exact integration.

    Args:
        spec: coupling reflow, real_pairs 0, fit_loss 0; no eigenvalue of the map in (-inf, 0].

    Returns:
        Prediction of ``gain_matrix``, ``[generations + 1, d, d]``.

    Raises:
        RegimeError: another chain; names the result that describes it.

    >>> gain_matrix(ReflowSpec([4.0]), 2).values.ravel().tolist()
    [2.0, 2.0, 2.0]
    """
    _covers(spec, "RF-9", exact=False)
    covers(is_zero(spec.fit_loss), "RF-9", "describes perfect fits; with fit_loss ask RF-10.")
    covers(is_zero(spec.real_pairs), "RF-9", "describes pure Reflow; with real pairs ask RF-11.")
    start = _start(spec, "RF-9")
    return jnp.broadcast_to(start, (generations + 1, *start.shape))


@register(
    "RF-9/velocity",
    statement="The fit on pairs (z, A z) is V_t = (A - I)((1-t) I + t A)^-1.",
    kind="exact",
    observable="velocity_matrix",
    check="d x d least squares of x - z on x_t at every t, few sampled pairs",
    example=TURNED,
    generations=1,
    samples=1,
)
def velocity_matrix(spec: ReflowSpec) -> Float[Array, "times d d"]:
    """Linear velocity fitted to pairs (z, A z) at ``TIMES``.

    Formula: ``(A - I)((1 - t) I + t A)^{-1}``. RF-9 (derived), exact for every n >= d.

    Returns:
        Prediction of ``velocity_matrix``, ``[times, d, d]``, per unit of time.

    Raises:
        RegimeError: as for ``gain_matrix``.

    >>> [round(float(v), 3) for v in velocity_matrix(ReflowSpec([4.0])).values.ravel()]  # 1/(1 + t)
    [0.909, 0.769, 0.667, 0.588, 0.526]
    """
    _covers(spec, "RF-9/velocity", exact=False)
    start = _start(spec, "RF-9/velocity")
    one = jnp.eye(spec.dimension, dtype=start.dtype)
    t = jnp.asarray(TIMES, start.dtype)[:, None, None]
    between = (1 - t) * one[None] + t * start[None]
    right = jnp.broadcast_to((start - one).T[None], between.shape)
    return jnp.linalg.solve(jnp.swapaxes(between, 1, 2), right).swapaxes(1, 2)


def _decay(spec: ReflowSpec, generations: int):
    rounds = jnp.arange(generations + 1, dtype=spec.spectrum.dtype)[:, None]
    return spec.start[None] * jnp.exp(2 * rounds * jnp.log1p(-spec.fit_loss))


@register(
    "RF-10",
    statement="Pure Reflow with relative loss eta of gain a round: u_j = (1-eta)^(2j) u_0.",
    kind="exact",
    observable="relative_variance",
    check="square of the gain over the variance of the data, no real pairs",
    example=LOSSY,
    generations=60,
    samples=1,
)
def reflow_variance(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Relative variance along a chain of Reflow whose fits lose gain.

    Formula: ``q^j u_0``, ``q = (1 - eta)^2``. RF-10 (derived), exact for any number of pairs and steps (RF-9).

    Args:
        spec: coupling reflow, real_pairs 0, no ridge.

    Returns:
        Prediction of ``relative_variance``, ``[generations + 1, d]``.

    Raises:
        RegimeError: another chain; names the result that describes it.

    >>> reflow_variance(ReflowSpec([1.0], fit_loss=0.5), 2).values.ravel().tolist()
    [1.0, 0.25, 0.0625]
    """
    _covers(spec, "RF-10", exact=False)
    covers(is_zero(spec.real_pairs), "RF-10", "describes pure Reflow; with real pairs ask RF-11 or RF-13/path.")
    return _decay(spec, generations)


@register(
    "RF-10/ridge",
    statement="A ridge on the velocity pulls towards the noise: A_j^2 - 1 = (A_0^2 - 1)(1 + mu)^-j.",
    kind="exact",
    observable="variance",
    check="square of the gain, velocities fitted with a ridge and integrated exactly",
    example=CHAIN | {"ridge": 0.1},
    generations=20,
    samples=1,
)
def ridged_variance(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Variance along a chain of Reflow whose velocities are fitted with a ridge.

    Formula: ``A'^2 = (A^2 + mu)/(1 + mu)``, so ``A_j^2 = 1 + (A_0^2 - 1)(1 + mu)^{-j}``: the fixed point is the law of
    the noise, not zero. RF-10 (derived), exact for many pairs and exact integration.

    Args:
        spec: coupling reflow, solver exact, real_pairs 0, fit_loss 0.

    Returns:
        Prediction of ``variance``, ``[generations + 1, d]`` [data^2].

    Raises:
        RegimeError: another chain.

    >>> ridged_variance(ReflowSpec([5.0], ridge=1.0), 2).values.ravel().tolist()
    [5.0, 3.0, 2.0]
    """
    _covers(spec, "RF-10/ridge", ridge=True)
    covers(is_zero(spec.real_pairs), "RF-10/ridge", "describes pure Reflow: set real_pairs to 0.")
    covers(is_zero(spec.fit_loss), "RF-10/ridge", "describes fits without another loss: set fit_loss to 0.")
    rounds = jnp.arange(generations + 1, dtype=spec.spectrum.dtype)[:, None]
    left = rounds * jnp.log1p(spec.ridge)
    return spec.variance[None] * jnp.exp(-left) - jnp.expm1(-left)


@register(
    "RF-11",
    statement="Real reverse pairs of the current model are neutral: any share b, u_j = (1-eta)^(2j) u_0 (RA and ORA).",
    kind="exact",
    observable="relative_variance",
    check="square of the gain over the variance of the data, unions with real pairs inverted by the current model",
    example=MIXED,
    generations=60,
    samples=1,
)
def reverse_pairs_variance(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Relative variance along a chain of RA or ORA Reflow.

    Formula: ``q^j u_0`` whatever the share b of pairs ``(x/A, x)``: they lie on the line of the others. RF-11
    (derived), exact for any number of pairs.

    Args:
        spec: coupling reflow, noise 0, inverter current, no ridge.

    Returns:
        Prediction of ``relative_variance``, ``[generations + 1, d]``.

    Raises:
        RegimeError: another chain.

    >>> reverse_pairs_variance(ReflowSpec([1.0], real_pairs=0.5), 2).values.ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    _covers(spec, "RF-11", exact=False)
    covers(is_zero(spec.noise), "RF-11", "describes reverse pairs without noise; with noise ask RF-13/path.")
    return _decay(spec, generations)


@register(
    "RF-12",
    statement="Noise tau on reversed latents: u' = u [(1-b) u + b] / [(1-b+b tau^2) u + b (1-tau^2)].",
    kind="exact",
    observable="relative_variance",
    check="square of the gain over the variance of the data, noisy reverse pairs, perfect fits",
    example=NOISY | {"fit_loss": 0.0},
    generations=30,
    samples=1,
)
def noisy_variance(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Relative variance along a chain of ORAS Reflow with perfect fits.

    Formula: ``u' = F(u)``; tau = 0 or b = 0 leave u alone, tau = 1 gives ``(1 - b) u + b``. RF-12 (derived), exact for
    many pairs and exact integration.

    Args:
        spec: coupling reflow, solver exact, inverter current, fit_loss 0, no ridge.

    Returns:
        Prediction of ``relative_variance``, ``[generations + 1, d]``.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1.0], start=2.0, real_pairs=0.5, noise=1.0)
    >>> noisy_variance(spec, 2).values.ravel().tolist()
    [2.0, 1.5, 1.25]
    """
    _covers(spec, "RF-12")
    covers(is_zero(spec.fit_loss), "RF-12", "describes perfect fits; with fit_loss ask RF-13/path.")
    return path(lambda u: step(spec, u), spec.start, generations)


@register(
    "RF-12/contraction",
    statement="Near u = 1 a round multiplies the distance by 1 - b tau^2.",
    kind="exact",
    observable="contraction",
    check="difference of one round from u = 1.001 and 0.999 on the same draws",
    example=NOISY | {"fit_loss": 0.0},
    generations=1,
    samples=SAMPLES,
)
def contraction(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Derivative of a round at the fixed point u = 1.

    Formula: ``1 - b tau^2``. RF-12 (derived), exact; the default comparison sees it within the 1e-6 of a difference.

    Returns:
        Prediction of ``contraction``, ``[d]``.

    Raises:
        RegimeError: as for ``noisy_variance``.

    >>> contraction(ReflowSpec([1.0], real_pairs=0.5, noise=1.0)).values.tolist()
    [0.5]
    """
    _covers(spec, "RF-12/contraction")
    covers(is_zero(spec.fit_loss), "RF-12/contraction", "describes perfect fits: set fit_loss to 0.")
    value = 1 - spec.real_pairs * spec.noise**2
    return jnp.broadcast_to(value, spec.spectrum.shape), 1e-5


def _level(spec: ReflowSpec):
    """u* of RF-13."""
    b, lost = spec.real_pairs, spec.fit_loss * (2 - spec.fit_loss)
    anchor = b * spec.noise**2
    free = (1 - b) * lost + anchor
    return jnp.maximum(0, (anchor - b * lost) / jnp.where(free > 0, free, 1))


@register(
    "RF-13",
    statement="u* = max(0, b (tau^2 - (1-q)) / ((1-b)(1-q) + b tau^2)).",
    kind="exact",
    observable="final_relative_variance",
    check="last relative variance of a chain run to its limit",
    example=NOISY,
    generations=150,
    samples=1,
)
def settled_variance(spec: ReflowSpec) -> Float[Array, " d"]:
    """Relative variance at the end of a chain of ORAS Reflow whose fits lose gain.

    Formula: ``max(0, b (tau^2 - (1 - q))/((1 - b)(1 - q) + b tau^2))``; tau = 1 gives ``q b/(1 - q (1 - b))``. RF-13
    (derived), exact in the limit from every u_0 > 0.

    Args:
        spec: as for ``noisy_variance``, with a fit_loss, or real pairs with noise.

    Returns:
        Prediction of ``final_relative_variance``, ``[d]``.

    Raises:
        RegimeError: nothing moves u (no fit_loss, and no noisy real pairs), or another chain.

    >>> spec = ReflowSpec([1.0], real_pairs=0.3, noise=0.6, fit_loss=0.03)
    >>> round(float(settled_variance(spec).values[0]), 4)
    0.6043
    """
    _covers(spec, "RF-13")
    stays = zero(spec.fit_loss) and (zero(spec.real_pairs) or zero(spec.noise))
    covers(not stays, "RF-13", "needs fit_loss > 0, or noisy real pairs: else every u stays.")
    return jnp.broadcast_to(_level(spec), spec.spectrum.shape)


@register(
    "RF-13/path",
    statement="With fit loss a round is u' = q F(u).",
    kind="exact",
    observable="relative_variance",
    check="square of the gain over the variance of the data, noisy reverse pairs",
    example=NOISY,
    generations=60,
    samples=1,
)
def lossy_variance(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Relative variance along a chain of ORAS Reflow whose fits lose gain.

    Formula: ``u' = q F(u)``, F of RF-12. RF-13 (derived), exact for many pairs and exact integration.

    Returns:
        Prediction of ``relative_variance``, ``[generations + 1, d]``.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1.0], real_pairs=0.5, noise=1.0, fit_loss=0.5)
    >>> lossy_variance(spec, 1).values.ravel().tolist()
    [1.0, 0.25]
    """
    _covers(spec, "RF-13/path")
    return path(lambda u: spec.kept * step(spec, u), spec.start, generations)


@register(
    "RF-13/threshold",
    statement="Noise prevents collapse iff tau^2 > 1 - q, for every real share b > 0.",
    kind="exact",
    observable="critical_noise",
    check="noise at which one round from u = 1e-6 neither grows nor shrinks, by bisection on the same draws",
    example=MIXED,
    generations=1,
    samples=SAMPLES,
)
def critical_noise(spec: ReflowSpec) -> tuple[Float[Array, " d"], Any]:
    """Noise on reversed latents above which the variance does not collapse.

    Formula: ``tau_c = sqrt(1 - q) = sqrt(eta (2 - eta))``, whatever b > 0. RF-13 (derived), exact.

    Returns:
        Prediction of ``critical_noise``, ``[d]``; the measurement starts from u = 1e-6, not 0: margin 1e-5/b.

    Raises:
        RegimeError: no real pairs, or another chain.

    >>> round(float(critical_noise(ReflowSpec([1.0], real_pairs=0.3, fit_loss=0.03)).values[0]), 4)
    0.2431
    """
    _covers(spec, "RF-13/threshold")
    covers(known(spec.real_pairs, lambda b: b > 0), "RF-13/threshold", "needs real_pairs > 0: else nothing helps.")
    lost = spec.fit_loss * (2 - spec.fit_loss)
    safe = jnp.where(lost > 0, lost, 1)
    value = jnp.where(lost > 0, jnp.sqrt(safe), 0)
    return jnp.broadcast_to(value, spec.spectrum.shape), 1e-5 / spec.real_pairs


FROZEN: dict[str, Any] = MIXED | {"inverter": "first", "frozen": 0.8}


def _covers_frozen(spec: ReflowSpec, result: str) -> None:
    _covers(spec, result, current=False)
    covers(spec.inverter == "first", result, "describes inverter first; for current ask RF-13/path.")
    covers(is_zero(spec.noise), result, "describes reverse pairs without noise: set noise to 0.")


@register(
    "RF-14",
    statement="Reverse pairs of a frozen model of relative variance u_1: u' = q [(1-b) u + b] / [(1-b) + b/u_1].",
    kind="exact",
    observable="relative_variance",
    check="square of the gain over the variance of the data, real pairs inverted by the frozen model",
    example=FROZEN,
    generations=40,
    samples=1,
)
def frozen_variance(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Relative variance along a chain of Reflow with real pairs of a frozen model.

    Formula: ``u' = q ((1 - b) u + b)/(1 - b + b/u_1)``. RF-14 (derived), exact for many pairs, exact integration.

    Args:
        spec: inverter first, noise 0, solver exact, coupling reflow, no ridge.

    Returns:
        Prediction of ``relative_variance``, ``[generations + 1, d]``.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1.0], start=3.0, real_pairs=0.5, inverter="first")
    >>> frozen_variance(spec, 2).values.ravel().tolist()
    [3.0, 2.0, 1.5]
    """
    _covers_frozen(spec, "RF-14")
    b = spec.real_pairs
    return path(
        lambda u: spec.kept * ((1 - b) * u + b) * spec.frozen / ((1 - b) * spec.frozen + b), spec.start, generations
    )


@register(
    "RF-14/level",
    statement="u* = q b / ((1-b)(1-q) + b/u_1): positive for every b > 0; without loss it returns to u_1.",
    kind="exact",
    observable="final_relative_variance",
    check="last relative variance of a chain run to its limit, frozen inverter",
    example=FROZEN,
    generations=100,
    samples=1,
)
def frozen_level(spec: ReflowSpec) -> Float[Array, " d"]:
    """Relative variance at the end of a chain with real pairs of a frozen model.

    Formula: ``q b/((1 - b)(1 - q) + b/u_1)``. RF-14 (derived), exact in the limit, b > 0.

    Returns:
        Prediction of ``final_relative_variance``, ``[d]``.

    Raises:
        RegimeError: no real pairs, or another chain.

    >>> spec = ReflowSpec([1.0], real_pairs=0.5, inverter="first", frozen=0.8)
    >>> frozen_level(spec).values.round(6).tolist()
    [0.8...]
    """
    _covers_frozen(spec, "RF-14/level")
    covers(known(spec.real_pairs, lambda b: b > 0), "RF-14/level", "needs real_pairs > 0; without them ask RF-10.")
    b, lost = spec.real_pairs, spec.fit_loss * (2 - spec.fit_loss)
    value = spec.kept * b * spec.frozen / ((1 - b) * lost * spec.frozen + b)
    return jnp.broadcast_to(value, spec.spectrum.shape)


def moments(spec: ReflowSpec, u):
    """Of RF-16: M_0, M_1/Lambda, and the correlation of the pairs."""
    b, square = spec.real_pairs, spec.noise**2
    lost = (1 - spec.noise) * (1 + spec.noise)
    safe = jnp.where(lost > 0, lost, 1)
    root = jnp.where(lost > 0, jnp.sqrt(safe), 0)
    # everything of z times sqrt u: nothing is divided by a small u
    first, second = (1 - b + b * square) * u + b * lost, (1 - b) * u + b
    cross = (1 - b) * u + b * root
    return first / u, second, cross / jnp.sqrt(first * second)


@register(
    "RF-16",
    statement="Price of the noise: rho of the pairs, 1 - b (1 - sqrt(1-tau^2)) at u = 1.",
    kind="exact",
    observable="pair_correlation",
    check="correlation of latents and images in the union of both kinds of pairs",
    example=NOISY,
    generations=1,
    samples=SAMPLES,
)
def pair_correlation(spec: ReflowSpec) -> Float[Array, " d"]:
    """Correlation of the pairs that the first retraining is fitted on.

    Formula: ``C/sqrt(M_0 M_1)`` with the moments of the module docstring at ``u = start``. RF-16 (derived), exact.

    Args:
        spec: coupling reflow, inverter current.

    Returns:
        Prediction of ``pair_correlation``, ``[d]``.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([4.0], real_pairs=0.3, noise=0.6)
    >>> round(float(pair_correlation(spec).values[0]), 4)
    0.94
    """
    _covers(spec, "RF-16", exact=False, ridge=True)
    return moments(spec, spec.start)[2]


@register(
    "RF-16/steps",
    statement="N Euler steps multiply a round by prod cos^2 theta_k of the pairs: u' = q F(u) prod cos^2 theta_k.",
    kind="exact",
    observable="relative_variance",
    check="square of the gain over the variance of the data, noisy reverse pairs, a few Euler steps",
    example=NOISY | {"solver": "euler", "steps": 2},
    generations=40,
    samples=1,
)
def stepped_variance(spec: ReflowSpec, generations: int) -> Float[Array, "generations_plus_1 d"]:
    """Relative variance along a chain of ORAS Reflow that samples with N Euler steps.

    Formula: ``u' = q A_N^2/Lambda`` with A_N of RF-5 on the pairs of RF-16. RF-16 (derived), exact for many pairs.

    Args:
        spec: solver euler, coupling reflow, inverter current (run exactly backwards), no ridge.

    Returns:
        Prediction of ``relative_variance``, ``[generations + 1, d]``.

    Raises:
        RegimeError: another chain.

    >>> spec = ReflowSpec([1.0], real_pairs=0.3, noise=1.0, solver="euler", steps=1)
    >>> [round(float(v), 4) for v in stepped_variance(spec, 1).values.ravel()]  # rho^2 = 0.49
    [1.0, 0.49]
    """
    _covers(spec, "RF-16/steps", exact=False)
    covers(spec.solver == "euler", "RF-16/steps", "describes solver euler; for exact ask RF-13/path.")

    def advance(u):
        first, second, correlation = moments(spec, u)
        return spec.kept * euler_gain(spec, first, second * spec.spectrum, correlation) ** 2 / spec.spectrum

    return path(advance, spec.start, generations)
