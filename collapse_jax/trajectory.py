"""Prediction and Trajectory: the two pytrees that theory and measurement both speak.

A *prediction* is what a numbered result says of one observable; a *trajectory* is what a simulation (or a trained
network) showed of the same observable, once per replicate. Both carry the generation axis first (after the
replicates), and entry 0 of that axis is the state before any retraining. Results that are no curves (a limit, a
threshold, a lifetime) have no generation axis on either side.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp

Kind = Literal["exact", "asymptotic", "upper bound", "lower bound"]
KINDS: tuple[Kind, ...] = ("exact", "asymptotic", "upper bound", "lower bound")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Prediction:
    """What a result says of an observable.

    Attributes:
        values: ``[generations + 1, ...]``, or ``[...]`` for a result that is not a curve.
        margin: absolute error that the statement itself allows (an asymptotic law with a stated error), same shape
            as ``values`` or a scalar; 0 for exact statements and bounds.
        result: id in the register, such as ``"DAE-5"``.
        observable: name of the measured quantity.
        kind: ``exact``, ``asymptotic``, ``upper bound`` or ``lower bound``.
    """

    values: Any
    margin: Any = 0.0
    result: str = field(default="", metadata={"static": True})
    observable: str = field(default="", metadata={"static": True})
    kind: Kind = field(default="exact", metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trajectory:
    """What a measurement showed of an observable.

    Attributes:
        values: ``[replicates, generations + 1, ...]``, or ``[replicates, ...]`` for what is not a curve.
        resolution: absolute size below which the measurement is rounding, broadcastable to ``values[0]``.
        observable: name of the measured quantity.
    """

    values: Any
    resolution: Any = 0.0
    observable: str = field(default="", metadata={"static": True})


def accuracy(dtype) -> float:
    """Relative accuracy that theory promises in this precision: 1e-5 in float32, 1e-12 in float64.

    Below ``exp(-1)`` times its scale a value is promised through its logarithm: ``|d log v| <= accuracy * |log v|``.

    >>> import jax.numpy as jnp
    >>> accuracy(jnp.float32)
    1e-05
    """
    return 1e-12 if jnp.finfo(dtype).bits == 64 else 1e-5
