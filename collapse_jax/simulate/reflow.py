"""Measurements of rectified flows by name.

Whole chains come from ``reflow_chain`` (second moments of the pairs, exact in law) or ``reflow_brute`` (every pair);
single fits, reverse SDEs, maps in d dimensions and velocities of two modes from ``reflow_single``. ``samples`` is
everywhere the number of independent chains (or fits) that a replicate averages; the number of pairs is in the spec.
"""

from collapse_jax.simulate.choice import chosen
from collapse_jax.simulate.reflow_brute import brute_force_chain
from collapse_jax.simulate.reflow_chain import (
    CURVES,
    LATE,
    contraction,
    critical_noise,
    exact_chain,
    exploding_chain,
    one_round,
)
from collapse_jax.simulate.reflow_single import (
    CONDITIONAL,
    FITS,
    LATENTS,
    conditional,
    endpoint_covariance,
    gain_matrix,
    pair_correlation,
    reverse_sde,
    single_fit,
    velocity_matrix,
)
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.trajectory import Trajectory

__all__ = [
    "MEASURES",
    "brute_force_chain",
    "conditional",
    "contraction",
    "critical_noise",
    "endpoint_covariance",
    "exact_chain",
    "exploding_chain",
    "gain_matrix",
    "measure",
    "one_round",
    "pair_correlation",
    "reverse_sde",
    "single_fit",
    "velocity_matrix",
]


def lifetimes(spec: ReflowSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """``exact_chain``, for what brute force does not show: the round in which the variance is gone."""
    return exact_chain(spec, generations, replicates, key, samples=samples)


_CHAINS = {
    exact_chain: [name for name in (*CURVES, *LATE) if name != "lifetime"],
    lifetimes: ("lifetime",),
    one_round: ("log_drift", "log_spread"),
    contraction: ("contraction",),
    critical_noise: ("critical_noise",),
    exploding_chain: ("exploding_variance",),
    single_fit: FITS,
    reverse_sde: LATENTS,
    pair_correlation: ("pair_correlation",),
    endpoint_covariance: ("endpoint_covariance",),
    velocity_matrix: ("velocity_matrix",),
    gain_matrix: ("gain_matrix",),
    conditional: CONDITIONAL,
}

MEASURES = {name: chain for chain, names in _CHAINS.items() for name in names}


def measure(
    observable: str, spec: ReflowSpec, generations: int, replicates: int, key, *, samples, sampler: str = "exact"
) -> dict[str, Trajectory]:
    """Measure an observable by name; returns it with everything measured in the same run.

    Args:
        observable: a name in ``MEASURES``.
        spec, generations, replicates, key, samples: as in ``exact_chain``.
        sampler: ``exact``, or ``brute-force`` for what ``brute_force_chain`` measures.

    Raises:
        SpecError: an unknown observable or sampler (names the known ones), or a bad argument.

    >>> import jax
    >>> spec = ReflowSpec([1.0], size=9)
    >>> measure("variance", spec, 2, 3, jax.random.key(0), samples=2)["variance"].values.shape
    (3, 3, 1)
    """
    chain = chosen(MEASURES, observable, sampler, exact_chain, brute_force_chain)
    return chain(spec, generations, replicates, key, samples=samples)
