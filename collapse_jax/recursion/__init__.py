"""The generation loop for anything that can fit and sample."""

from collapse_jax.recursion.regimes import Family, Pool, chain
from collapse_jax.specs.regime import Regime

__all__ = ["Family", "Pool", "Regime", "chain"]
