"""Closed forms: arrays in, arrays out. No keys, no files, no networks. One subject a name."""

from collapse_jax.theory import dae, dae_mixed, dae_variants

__all__ = ["dae", "dae_mixed", "dae_variants"]
