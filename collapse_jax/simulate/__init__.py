"""Sampled chains, one subject a name: keys in, trajectories out."""

from collapse_jax.simulate import dae, spectral

__all__ = ["dae", "spectral"]
