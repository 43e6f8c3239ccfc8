"""Sampled chains, one subject a name: keys in, trajectories out."""

from collapse_jax.simulate import contamination, dae, mle, reflow, regression, spectral

__all__ = ["contamination", "dae", "mle", "reflow", "regression", "spectral"]
