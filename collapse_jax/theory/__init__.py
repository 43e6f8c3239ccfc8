"""Closed forms: arrays in, arrays out. No keys, no files, no networks. One subject a name."""

from collapse_jax.theory import (
    dae,
    dae_mixed,
    dae_variants,
    spectral,
    spectral_bounds,
    spectral_laws,
    spectral_moments,
    spectral_pools,
    spectral_rates,
    spectral_schedules,
    spectral_variants,
)

__all__ = [
    "dae",
    "dae_mixed",
    "dae_variants",
    "spectral",
    "spectral_bounds",
    "spectral_laws",
    "spectral_moments",
    "spectral_pools",
    "spectral_rates",
    "spectral_schedules",
    "spectral_variants",
]
