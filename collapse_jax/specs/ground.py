"""Checks that specs share.

A registered dataclass runs ``__post_init__`` again whenever JAX rebuilds it, with tracers, batched leaves or
placeholders inside. Only concrete numbers are checked; everything else passes.
"""

from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError


def parameter(help: str, *, default: Any = ..., range: str = "", static: bool = False, choices: tuple = (), type=float):
    """A spec field with what a user must know of it: meaning, unit, range. Flags and their help are made from it."""
    metadata = {"help": help, "range": range, "static": static, "choices": choices, "type": type}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


def concrete(value) -> bool:
    """True for numbers and arrays whose values can be looked at now."""
    return isinstance(value, int | float | np.ndarray | np.generic | list | tuple) or (
        isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
    )


def as_float(name: str, value, dtype=None):
    """Convert a concrete number or list to a floating JAX array; leave tracers and placeholders alone."""
    if not concrete(value):
        return value
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise TypeError
    except (TypeError, ValueError):
        raise SpecError(f"{name} must be numeric, got {value!r}: pass a number or a list of numbers.") from None
    if dtype is None:
        dtype = array.dtype if array.dtype.kind == "f" else float
        dtype = jax.dtypes.canonicalize_dtype(dtype)
    return jnp.asarray(array, dtype)


def check(name: str, value, holds, requirement: str) -> None:
    """Raise ``SpecError`` unless ``holds(value)`` for a concrete ``value``.

    Raises:
        SpecError: names the field, the first value that fails and the requirement.
    """
    if not concrete(value):
        return
    array = np.asarray(value)
    good = np.asarray(holds(array))
    if not good.all():
        found = array if array.ndim == 0 or good.ndim == 0 else array[~good].ravel()[0]
        raise SpecError(f"{name} must be {requirement}, got {np.array2string(np.asarray(found), threshold=8)}.")
