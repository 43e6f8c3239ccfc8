"""Measurements of regression chains by name.

Whole chains come from ``regression_chain`` (Wishart factors, exact in law) or ``regression_brute`` (every row); slopes
of power-law families from ``regression_scaling``, kernels from ``regression_kernel``, the best of all ridges from
``regression_best``. ``samples`` is everywhere the number of independent chains that a replicate averages; the numbers
of rows are in the spec.
"""

from collapse_jax.simulate.choice import chosen
from collapse_jax.simulate.regression_best import best_chain
from collapse_jax.simulate.regression_brute import brute_force_chain
from collapse_jax.simulate.regression_chain import CURVES, exact_chain, kept_error
from collapse_jax.simulate.regression_kernel import in_sample_chain, pool_chain
from collapse_jax.simulate.regression_scaling import adapted, plateau, power_law_slopes, rise
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.trajectory import Trajectory

__all__ = [
    "MEASURES",
    "adapted",
    "best_chain",
    "brute_force_chain",
    "exact_chain",
    "in_sample_chain",
    "kept_error",
    "measure",
    "plateau",
    "pool_chain",
    "power_law_slopes",
    "rise",
]

_CHAINS = {
    exact_chain: (*CURVES, "final_generator_error"),
    in_sample_chain: ("in_sample_error", "in_sample_mean", "in_sample_variance"),
    pool_chain: ("pool_error", "pool_generator_error"),
    best_chain: ("best_error", "best_ridge_error"),
    kept_error: ("kept_error",),
    power_law_slopes: ("error_slope", "bias_slope", "noise_slope", "df_slope", "crossover_slope"),
    adapted: ("adapted_slope",),
    plateau: ("plateau_ratio",),
    rise: ("rise_slope",),
}

MEASURES = {name: chain for chain, names in _CHAINS.items() for name in names}


def measure(
    observable: str, spec: RegressionSpec, generations: int, replicates: int, key, *, samples, sampler: str = "exact"
) -> dict[str, Trajectory]:
    """Measure an observable by name; returns it with everything measured in the same run.

    Args:
        observable: a name in ``MEASURES``.
        spec, generations, replicates, key, samples: as in ``exact_chain``.
        sampler: ``exact``, or ``brute-force`` for what ``brute_force_chain`` measures.

    Raises:
        SpecError: an unknown observable or sampler (names the known ones), or a bad argument.

    >>> import jax
    >>> measure("error", RegressionSpec(), 2, 3, jax.random.key(0), samples=9)["error"].values.shape
    (3, 3)
    """
    chain = chosen(MEASURES, observable, sampler, exact_chain, brute_force_chain)
    return chain(spec, generations, replicates, key, samples=samples)
