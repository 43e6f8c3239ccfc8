"""Sampled chains, one subject a name: keys in, trajectories out."""

from collapse_jax.simulate import dae

__all__ = ["dae"]
