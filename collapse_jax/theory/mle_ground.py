"""What the theory of iterative maximum likelihood shares: refusals, sizes of batches, and one recursion for means.

Let every batch be n points of mean m_(t-1) and variance V(m_(t-1)), V(m) = v_0 + v_1 m + v_2 m^2. Any chain whose model
t has a mean ``m_t = m_(t-1) + (a step of mean 0 and variance a_t V(m_(t-1)))`` is a martingale, and since V is
quadratic ``E V(m_t) = (1 + v_2 a_t) E V(m_(t-1))``. Hence ``E V(m_t) = V(m_0) prod (1 + v_2 a_i)`` and ``Var m_t = sum
a_i E V(m_(i-1))``: a sum of positive terms, right at v_2 = 0 and at a factor 0 alike.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import RegimeError, SpecError
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.mle import MEANS, MLESpec


def covers(holds: bool, result: str, needs: str) -> None:
    """Refuse a spec that a result does not describe.

    Raises:
        RegimeError: names the result and what it needs.
    """
    if not holds:
        raise RegimeError(f"{result} {needs}")


def is_zero(value) -> bool:
    """False only if ``value`` is known now and differs from zero."""
    return value is None or not concrete(value) or not np.any(np.asarray(value) != 0)


def family_in(spec: MLESpec, result: str, *families: str) -> None:
    """Refuse other families."""
    covers(spec.family in families, result, f"describes family {' or '.join(families)}, not {spec.family}.")


def mean_family(spec: MLESpec, result: str) -> None:
    """Refuse families whose fit is not one sample mean."""
    covers(spec.family in MEANS, result, f"describes families of one mean ({', '.join(MEANS)}), not {spec.family}.")


def plain(spec: MLESpec, result: str, *regimes: str) -> None:
    """Refuse real points after the first batch, and other regimes."""
    covers(spec.regime in regimes, result, f"describes regime {' or '.join(regimes)}, not {spec.regime}.")
    covers(is_zero(spec.real_fraction), result, "describes real_fraction 0; with a real share ask MLE-3.")


def shared(spec: MLESpec, result: str, real: str) -> None:
    """Refuse everything but ``replace`` with a real share from this source."""
    covers(spec.regime == "replace", result, f"describes regime replace, not {spec.regime}.")
    other = {"fresh": "MLE-5", "anchor": "MLE-3"}[real]
    covers(spec.real == real, result, f"describes real {real}; for real {spec.real} ask {other}.")


def one_batch(spec: MLESpec, result: str) -> None:
    """Refuse a schedule of batches or shares."""
    covers(spec.batch.ndim == 0 and spec.real_fraction.ndim == 0, result, "describes one batch size and one share.")


def batches(spec: MLESpec, generations: int):
    """``[generations]``, n_t.

    Raises:
        SpecError: the schedule is too short.
    """
    if spec.batch.ndim and spec.batch.shape[-1] < generations:
        raise SpecError(
            f"batch must list a size for each of {generations} generations, got {spec.batch.shape[-1]}: pass more, or "
            "one number."
        )
    return spec.batch[:generations] if spec.batch.ndim else jnp.broadcast_to(spec.batch, (generations,))


def shares(spec: MLESpec, generations: int):
    """``[generations]``, alpha_t.

    Raises:
        SpecError: the schedule is too short.
    """
    if spec.real_fraction.ndim and spec.real_fraction.shape[-1] < generations:
        raise SpecError(
            f"real_fraction must list a share for each of {generations} generations, got "
            f"{spec.real_fraction.shape[-1]}: pass more, or one number."
        )
    share = spec.real_fraction
    return share[:generations] if share.ndim else jnp.broadcast_to(share, (generations,))


def steps(spec: MLESpec, generations: int):
    """``[generations]``, a_t: 1/n_t (replace) or n_t/N_t^2 (accumulate)."""
    sizes = batches(spec, generations)
    if spec.regime == "accumulate":
        if spec.batch.ndim == 0:  # 1/(n t^2)
            return 1 / (spec.batch * jnp.arange(1, generations + 1, dtype=sizes.dtype) ** 2)
        return sizes / jnp.cumsum(sizes) ** 2
    return 1 / sizes


def quadratic(spec: MLESpec) -> tuple[Any, Any]:
    """V(m_0) and v_2 of a family whose fit is the sample mean (of -ln x for ``beta``)."""
    mean, one = spec.mean, jnp.ones_like(spec.mean)
    return {
        "bernoulli": lambda: (mean * (1 - mean), -one),
        "binomial": lambda: (mean * (1 - mean / spec.size), -1 / spec.size),
        "poisson": lambda: (mean, 0 * one),
        "gaussian": lambda: (spec.variance, 0 * one),
        "exponential": lambda: (mean**2, one),
        "gamma": lambda: (mean**2 / spec.size, 1 / spec.size),
        "negative-binomial": lambda: (mean + mean**2 / spec.size, 1 / spec.size),
        "beta": lambda: (1 / mean**2, one),
    }[spec.family]()


def started(values, first: Any = 0.0):
    """A curve of generations 1 ... T with its entry 0 before it."""
    start = jnp.full((1, *values.shape[1:]), first, values.dtype)
    return jnp.concatenate([start, values])


def products(logs):
    """``exp`` of running sums of ``logs`` ``[T, ...]``, 1 at generation 0; -inf gives zeros with finite gradients."""
    dead = jnp.cumsum(jnp.isneginf(logs), axis=0) > 0
    sums = jnp.cumsum(jnp.where(jnp.isneginf(logs), 0, logs), axis=0)
    return started(jnp.where(dead, 0, jnp.exp(sums)), 1)


def log_factor(change):
    """log(1 + change), -inf where that is not positive."""
    alive = change > -1
    return jnp.where(alive, jnp.log1p(jnp.where(alive, change, 0)), -jnp.inf)


def noise_path(start, curvature, moves):
    """E V(m_t) for t = 0 ... T from V(m_0), v_2 and a_1 ... a_T."""
    return start * products(log_factor(curvature * moves))


def variance_path(start, curvature, moves):
    """Var m_t for t = 0 ... T: the running sum of a_i E V(m_(i-1))."""
    return started(jnp.cumsum(moves * noise_path(start, curvature, moves)[:-1]))


def affine_path(factors, added):
    """D_t = factors_t D_(t-1) + added_t from D_0 = 0, ``[T + 1]``, by a tree of compositions."""

    def compose(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    return started(jax.lax.associative_scan(compose, (factors, added))[1]) if len(added) else started(added)
