"""Measurements of truncated-diffusion chains by name.

Two instruments, blind to theory. Independent particles follow the rounds one by one (``spectral_particles``): laws,
moments and Hermite coefficients, with the noise of finitely many particles. Distances between laws come from densities
on a grid (``spectral_grid``), with the error of the grid. Finite training pools (``spectral_pools``) and the denoised
Gaussian chain (``spectral_denoised``) have their own samplers.
"""

from collapse_jax.simulate import spectral_grid
from collapse_jax.simulate.choice import chosen
from collapse_jax.simulate.spectral_chain import (
    data_modes,
    fourier_modes,
    gain_ratio,
    limit_chain,
    limit_spectrum,
    particle_chain,
    pool_chain,
    pool_limit_chain,
    sample_limit,
)
from collapse_jax.simulate.spectral_denoised import denoised_spectrum
from collapse_jax.simulate.spectral_pools import pool_variance
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.trajectory import Trajectory

__all__ = [
    "MEASURES",
    "data_modes",
    "denoised_spectrum",
    "fourier_modes",
    "gain_ratio",
    "limit_chain",
    "limit_spectrum",
    "measure",
    "particle_chain",
    "pool_chain",
    "pool_limit_chain",
    "pool_variance",
    "sample_limit",
]

_CHAINS = {
    particle_chain: (
        "modes",
        "annealed_modes",
        "prior_modes",
        "cdf",
        "mean",
        "second_moment",
        "covariance_spectrum",
        "added_variance",
    ),
    pool_chain: ("pool_modes", "accumulate_modes", "pool_cdf"),
    limit_chain: (
        "limit_modes",
        "small_limit_modes",
        "limit_cdf",
        "limit_mean",
        "limit_second_moment",
    ),
    pool_limit_chain: ("pool_limit_modes", "pool_limit_cdf", "pool_limit_mean", "pool_limit_second_moment"),
}

MEASURES = {name: chain for chain, names in _CHAINS.items() for name in names} | {
    "fourier_modes": fourier_modes,
    "gain_ratio": gain_ratio,
    "limit_covariance_spectrum": limit_spectrum,
    "data_modes": data_modes,
    "pool_variance": pool_variance,
    "denoised_spectrum": denoised_spectrum,
    **spectral_grid.MEASURES,
}


def measure(
    observable: str, spec: SpectralSpec, generations: int, replicates: int, key, *, samples, sampler: str = "exact"
) -> dict[str, Trajectory]:
    """Measure an observable by name; returns it with everything measured in the same run.

    Args:
        observable: a name in ``MEASURES``.
        spec, generations, replicates, key, samples: as in the function found there.
        sampler: ``exact``; there is no other.

    Raises:
        SpecError: an unknown observable or sampler (names the known ones), or a bad argument.

    >>> import jax
    >>> spec = SpectralSpec([0.5, 0.5], [-1.0, 1.0], [0.1, 0.1])
    >>> measure("modes", spec, 2, 3, jax.random.key(0), samples=9)["modes"].values.shape
    (3, 3, 7)
    """
    return chosen(MEASURES, observable, sampler)(spec, generations, replicates, key, samples=samples)
