"""Sampled chains, one subject a name: keys in, trajectories out."""

from collapse_jax.simulate import contamination, dae, mle, regression, spectral

__all__ = ["contamination", "dae", "mle", "regression", "spectral"]
