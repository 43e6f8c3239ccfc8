"""What the measurements of truncated diffusion accept: checks at the door, one line each."""

import jax.numpy as jnp

from collapse_jax.errors import SpecError
from collapse_jax.specs.spectral import SpectralSpec

MOST_ROUNDS = 10**6  # that a search for a limit runs


def checked_spec(spec) -> SpectralSpec:
    """The spec, if it is one chain.

    Raises:
        SpecError: not a SpectralSpec, or one with axes of ``vmap``.
    """
    if not isinstance(spec, SpectralSpec):
        raise SpecError(f"spec must be a SpectralSpec, got {type(spec).__name__}: build one with SpectralSpec(...).")
    if jnp.ndim(spec.weights) != 1 or jnp.ndim(spec.real_fraction) != 0:
        raise SpecError(
            f"weights and real_fraction must have one axis and none, got shapes {jnp.shape(spec.weights)} and "
            f"{jnp.shape(spec.real_fraction)}: measure one spec at a time."
        )
    return spec


def require_stationary(spec: SpectralSpec, rounds: int) -> None:
    """Refuse a chain without a limit, or one that needs too many rounds to reach it; ``rounds`` 0 says never.

    Raises:
        SpecError: names the field, the value found and the requirement.
    """
    if spec.regime != "replace":
        raise SpecError(f"regime must be replace where a limit is measured, got {spec.regime}: that chain only drifts.")
    if not 0 < rounds <= MOST_ROUNDS:
        found = "never" if rounds == 0 else f"after {rounds} rounds"
        share, truncation = float(spec.real_fraction), float(spec.truncation)
        raise SpecError(
            f"real_fraction and truncation must let the chain forget its start within {MOST_ROUNDS} rounds, "
            f"got {share:g} and {truncation:g} ({found}): raise one of them."
        )


def require_constant(spec: SpectralSpec) -> None:
    """Refuse a schedule.

    Raises:
        SpecError: more than one truncation.
    """
    if spec.truncation.ndim:
        raise SpecError(
            f"truncation must be one number where a limit is measured, got a schedule of {spec.truncation.shape[0]}."
        )
