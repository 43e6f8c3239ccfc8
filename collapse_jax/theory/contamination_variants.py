"""Random sizes, many contexts, parametric models (CON-16, CON-17).

*Random sizes.* CON-1 holds given n_t; with n_t independent of the past its mean replaces ``1/n_t`` by ``E[1/n_t]``.
*Contexts.* Tokens that follow context c form a chain of their own; with contexts drawn from real text, ``n_{t,c}`` is
binomial. A context that gets no token keeps its former row, and then ``A_t = A_{t-1}``: in the mean ``A_t = i_t +
[z_t + (1 - z_t - i_t)(1 - alpha_t)^2] A_{t-1}`` with ``z_t = Pr(n_t = 0)`` and ``i_t = E[1/n_t; n_t >= 1]``.
*Parametric models.* d parameters, well specified: the maximum-likelihood fit is the mixture's mean of the score, to
first order ``theta_t = (1 - alpha_t) theta_{t-1} + I^-1 (noise of covariance I/n_t)`` about the truth, so its
covariance is ``V_t I^-1``, ``V_t = 1/n_t + (1 - alpha_t)^2 V_{t-1}``, and the excess log-loss half its trace with I.
All of it was derived for this project.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from collapse_jax.results import register
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.theory.contamination import ROUNDS, SAMPLES, TOY
from collapse_jax.theory.contamination_recursion import (
    affine_path,
    constant,
    covers,
    forgotten,
    known,
    mean_reciprocal,
    one_table,
)

CONTEXTS: dict[str, Any] = {
    "truth": (0.5, 0.3, 0.2, 0.2, 0.2, 0.6, 0.1, 0.4, 0.5),
    "contexts": (0.6, 0.3, 0.1),
    "size": 15.0,
    "first_size": 10.0,
    "real_fraction": 0.2,
}
PARAMETRIC: dict[str, Any] = {
    "truth": (0.3, 0.25, 0.2, 0.15, 0.1),
    "features": (-2.0, -1.0, 0.0, 1.0, 2.0, 1.0, -1.0, 0.0, -1.0, 1.0),
    "size": 300.0,
    "first_size": 250.0,
    "real_fraction": 0.3,
}


@register(
    "CON-16",
    statement="Contexts drawn from real text: sum_c pi_c R_{t,c}, one recursion a context; an empty one keeps its row.",
    kind="exact",
    observable="total_risk",
    check="mean squared distance of the rows from the truth, weighed by the contexts",
    example=CONTEXTS,
    generations=ROUNDS,
    samples=SAMPLES,
)
def total_risk(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk of a table of many contexts, each weighed by its probability.

    Formula: ``sum_c pi_c H*_c A_{t,c}``, ``A_t = i_t + [z_t + (1 - z_t - i_t)(1 - alpha_t)^2] A_{t-1}`` with
    ``z_t = (1 - pi_c)^{n_t}`` and ``i_t = E[1/n_{t,c}; n_{t,c} >= 1]``. CON-16 (derived), exact if contexts are drawn
    from real text; free-running generation drifts their law too.

    Args:
        spec: with ``contexts``; every context starts from ``first_size`` real tokens.

    Returns:
        Prediction of ``total_risk``, ``[generations + 1]``, no unit; entry 0 is the first model.

    Raises:
        RegimeError: a single context.

    >>> spec = ContaminationSpec([[0.5, 0.5], [0.9, 0.1]], contexts=[0.5, 0.5], first_size=10)
    >>> [round(float(v), 4) for v in total_risk(spec, 0).values]
    [0.034...]
    """
    covers(spec.contexts is not None, "CON-16", "describes many contexts: set contexts; for one ask CON-1.")
    covers(spec.features is None, "CON-16", "describes tables of proportions; for a parametric model ask CON-17.")
    shares, sizes = spec.shares(generations), spec.sizes(generations)

    def one(weight):
        inverse = mean_reciprocal(sizes, jnp.broadcast_to(weight, sizes.shape))
        alone = weight >= 1
        met = jnp.where(alone, 1, -jnp.expm1(sizes * jnp.log1p(-jnp.where(alone, 0.5, weight))))
        stays = (1 - shares) ** 2
        lost = met * forgotten(shares) + inverse * stays
        factor = (1 - met) + jnp.maximum(met - inverse, 0) * stays
        return affine_path(lost, factor, inverse, 1 / spec.start_size)

    return (spec.contexts * spec.diversity) @ jax.vmap(one)(spec.contexts)


@register(
    "CON-16/random",
    statement="Sizes random and independent of the past: CON-1 with E[1/n_t] for 1/n_t.",
    kind="exact",
    observable="risk",
    check="mean squared distance of the proportions from the truth, sizes 1 + Poisson",
    example=TOY | {"size": 6.0, "first_size": 8.0, "size_law": "poisson"},
    generations=ROUNDS,
    samples=SAMPLES,
)
def random_size_risk(spec: ContaminationSpec, generations: int) -> Float[Array, " generations_plus_1"]:
    """Risk when round sizes are random, here 1 + Poisson of mean ``size - 1``.

    Formula: ``R_t = H* e_t + (1 - e_t)(1 - alpha_t)^2 R_{t-1}``, ``e_t = E[1/n_t] = (1 - e^-mu)/mu`` and
    ``mu = size - 1``. CON-16 (derived), exact for sizes independent of the past.

    Args:
        spec: size_law poisson.

    Returns:
        Prediction of ``risk``, ``[generations + 1]``, no unit; entry 0 is the first model.

    Raises:
        RegimeError: fixed sizes, or another chain.

    >>> spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, size=2.0, first_size=1, size_law="poisson")
    >>> [round(float(v), 4) for v in random_size_risk(spec, 1).values]
    [0.5, 0.316...]
    """
    one_table(spec, "CON-16/random")
    covers(spec.size_law == "poisson", "CON-16/random", "describes random sizes; for fixed ones ask CON-1.")
    shares, more = spec.shares(generations), spec.sizes(generations) - 1
    some = more > 1e-3
    safe = jnp.where(some, more, 1)
    small = jnp.where(some, 0, more)
    inverse = jnp.where(some, -jnp.expm1(-safe) / safe, 1 - small / 2 + small**2 / 6 - small**3 / 24)
    rest = jnp.where(some, (jnp.expm1(-safe) + safe) / safe, small / 2 - small**2 / 6 + small**3 / 24)
    path = affine_path(inverse + rest * forgotten(shares), rest * (1 - shares) ** 2, inverse, 1 / spec.start_size)
    return spec.diversity * path


def _parametric(spec: ContaminationSpec, result: str) -> None:
    covers(spec.features is not None, result, "describes a parametric model: set features; for a table ask CON-1.")
    covers(known(spec.truth, lambda v: v > 0), result, "needs a truth without zeros: leave out tokens that never come.")


def _variances(spec: ContaminationSpec, generations: int):
    """V_t of CON-17."""
    shares, sizes = spec.shares(generations), spec.sizes(generations)
    return affine_path(forgotten(shares), (1 - shares) ** 2, 1 / sizes, 1 / spec.start_size)


def _curvature(spec: ContaminationSpec):
    """How far the model is from Gaussian on the scale of one standard deviation: ``sum_i 1/p_i``."""
    return jnp.sum(1 / jnp.where(spec.truth > 0, spec.truth, 1))


@register(
    "CON-17",
    statement="Parametric model of d parameters: E KL(p* | p_t) ~ d V_t/2, V_t = 1/n_t + (1 - a_t)^2 V_{t-1}.",
    kind="asymptotic",
    observable="excess_loss",
    check="relative entropy of the truth to the fitted model, an exponential family on the tokens",
    example=PARAMETRIC,
    generations=ROUNDS,
    samples=SAMPLES,
    relevant=0.1,
)
def excess_loss(spec: ContaminationSpec, generations: int):
    """Mean excess log-loss ``KL(p* | p_t)`` of a well-specified parametric model along the chain.

    Formula: ``(d/2) V_t``, ``V_t = 1/n_t + (1 - alpha_t)^2 V_{t-1}``, ``V_0 = 1/n_0``. CON-17 (derived), asymptotic for
    n_t -> infinity: alpha = 0 with t of the order of n is outside. Margin: relative ``V_t sum_i 1/(4 p_i)``, above
    the next order (attacked, not proved). A misspecified model adds a bias that does not shrink.

    Args:
        spec: with ``features``.

    Returns:
        Prediction of ``excess_loss``, ``[generations + 1]`` in nats; entry 0 is the first model.

    Raises:
        RegimeError: a table of proportions, or a token of probability 0.

    >>> spec = ContaminationSpec([0.5, 0.5], features=[0.0, 1.0], first_size=100.0)
    >>> round(float(excess_loss(spec, 0).values[0]), 6)
    0.005
    """
    _parametric(spec, "CON-17")
    variance = _variances(spec, generations)
    values = spec.features.shape[0] / 2 * variance
    return values, values * variance * _curvature(spec) / 4


@register(
    "CON-17/error",
    statement="The error covariance is V_t I^-1, I the information of one token.",
    kind="asymptotic",
    observable="parameter_error",
    check="squared parameter error in units of the information, over d",
    example=PARAMETRIC,
    generations=ROUNDS,
    samples=SAMPLES,
    relevant=0.15,
)
def parameter_error(spec: ContaminationSpec, generations: int):
    """Mean of ``(theta_t - theta*)' I (theta_t - theta*)/d`` along the chain: V_t. CON-17 (derived), asymptotic.

    Margin: relative ``V_t sum_i 1/(2 p_i)``, above the next order (attacked, not proved).

    Returns:
        Prediction of ``parameter_error``, ``[generations + 1]``, no unit.

    Raises:
        RegimeError: as for ``excess_loss``.

    >>> spec = ContaminationSpec([0.5, 0.5], features=[0.0, 1.0], first_size=100.0)
    >>> round(float(parameter_error(spec, 0).values[0]), 6)
    0.01
    """
    _parametric(spec, "CON-17/error")
    variance = _variances(spec, generations)
    return variance, variance**2 * _curvature(spec) / 2


@register(
    "CON-17/limit",
    statement="Constant schedule: the excess log-loss settles at d/(2 n a (2 - a)).",
    kind="asymptotic",
    observable="final_loss",
    check="relative entropy of the truth to the last fitted model, chains run to their limit",
    example=PARAMETRIC | {"real_fraction": 0.5},
    generations=ROUNDS,
    samples=SAMPLES,
    relevant=0.15,
)
def settled_loss(spec: ContaminationSpec):
    """Mean excess log-loss at the end of a constant schedule: ``d/(2 n alpha (2 - alpha))``.

    CON-17 (derived), asymptotic for large n. Margin as for ``excess_loss``.

    Returns:
        Prediction of ``final_loss``, a scalar in nats.

    Raises:
        RegimeError: no real data, a schedule, a table, or a token of probability 0.

    >>> spec = ContaminationSpec([0.5, 0.5], features=[0.0, 1.0], size=100.0, real_fraction=1.0)
    >>> round(float(settled_loss(spec).values), 6)
    0.005
    """
    _parametric(spec, "CON-17/limit")
    constant(spec, "CON-17/limit")
    covers(known(spec.real_fraction, lambda v: v > 0), "CON-17/limit", "needs real data: without any nothing settles.")
    variance = 1 / (spec.sizes(1)[0] * forgotten(spec.shares(1)[0]))
    value: Float[Array, ""] = spec.features.shape[0] / 2 * variance
    return value, value * variance * _curvature(spec) / 4
