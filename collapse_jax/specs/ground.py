"""What specs share: fields that explain themselves, registration as pytrees, and checks.

A spec is checked when somebody makes one. JAX rebuilds specs that are no chains (gradients, batches, axes of ``vmap``,
tracers): rebuilding checks nothing. A tracer given to the constructor passes too, its value is not known yet.
"""

from dataclasses import field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from collapse_jax.errors import SpecError


def parameter(
    help: str, *, default: Any = ..., range: str = "", static: bool = False, choices: tuple = (), type: type = float
):
    """A spec field with what a user must know of it: meaning, unit, range. Flags and their help are made from it."""
    metadata = {"help": help, "range": range, "static": static, "choices": choices, "type": type}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


def pytree(cls):
    """Register a frozen dataclass of ``parameter`` fields with JAX; fields marked static are no leaves."""
    leaves = [f.name for f in fields(cls) if not f.metadata["static"]]
    static = [f.name for f in fields(cls) if f.metadata["static"]]
    keys = [jax.tree_util.GetAttrKey(name) for name in leaves]

    def flatten(spec):
        return [getattr(spec, name) for name in leaves], tuple(getattr(spec, name) for name in static)

    def flatten_with_keys(spec):
        values, rest = flatten(spec)
        return list(zip(keys, values, strict=True)), rest

    def unflatten(rest, values):
        spec = object.__new__(cls)
        for name, value in zip([*leaves, *static], [*values, *rest], strict=True):
            object.__setattr__(spec, name, value)
        return spec

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def concrete(value) -> bool:
    """True for numbers and arrays whose values can be looked at now."""
    return isinstance(value, int | float | np.ndarray | np.generic | list | tuple) or (
        isinstance(value, jax.Array) and not isinstance(value, Tracer)
    )


def as_float(name: str, value, dtype=None):
    """Convert a number or list to a floating JAX array; leave tracers alone.

    Raises:
        SpecError: not numeric.
    """
    if isinstance(value, Tracer):
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
    with jax.ensure_compile_time_eval():  # known now, also while something else is traced
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
        shown = f"{found:g}" if np.ndim(found) == 0 else np.array2string(found, threshold=8)
        raise SpecError(f"{name} must be {requirement}, got {shown}.")


def whole_number(name: str, value, least: int = 1) -> int:
    """A whole number that is known now, >= ``least``.

    Raises:
        SpecError: anything else.

    >>> whole_number("generations", 8)
    8
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise SpecError(f"{name} must be a whole number >= {least}, got {value!r}: pass for example {name}=8.")
    return int(value)
