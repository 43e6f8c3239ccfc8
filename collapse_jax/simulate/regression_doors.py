"""What the measurements of regression chains accept, and how they are averaged."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import concrete, whole_number
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.trajectory import Trajectory

MEMORY = 2**26  # bytes that the chains run at a time may take


def checked_spec(spec) -> RegressionSpec:
    """The spec, if it is one chain whose sizes are known.

    Raises:
        SpecError: not a RegressionSpec, one with axes of ``vmap``, or one that is traced.
    """
    if not isinstance(spec, RegressionSpec):
        raise SpecError(
            f"spec must be a RegressionSpec, got {type(spec).__name__}: build one with RegressionSpec(...)."
        )
    if not all(concrete(leaf) for leaf in jax.tree.leaves(spec)):
        raise SpecError("spec must be known when a regression is measured, got traced fields: measure outside of jit.")
    if jnp.ndim(spec.spectrum) != 1 or jnp.ndim(spec.learner_samples) != 0:
        raise SpecError(
            f"spectrum and learner_samples must have one axis and none, got shapes {jnp.shape(spec.spectrum)} and "
            f"{jnp.shape(spec.learner_samples)}: measure one spec at a time."
        )
    return spec


def checked_sizes(generations, replicates, samples) -> tuple[int, int, int]:
    """Rounds, replicates, and chains averaged within a replicate.

    Raises:
        SpecError: not whole numbers >= 1.
    """
    sizes = {"generations": generations, "replicates": replicates, "samples": samples}
    first, second, third = (whole_number(name, value) for name, value in sizes.items())
    return first, second, third


def program(*static: str):
    """``jax.jit`` with these static arguments, compiled with the first level of optimisation only.

    That halves the time of compilation; the linear algebra of a chain is in libraries and runs as fast.
    """
    return functools.partial(jax.jit, static_argnames=static, compiler_options={"xla_backend_optimization_level": 1})


class Rounds(NamedTuple):
    """The generators round by round, ``[generations]`` each: synthetic and real rows, noise, ridge."""

    made: np.ndarray
    real: np.ndarray
    noise: np.ndarray
    ridge: np.ndarray


def rounds_of(spec: RegressionSpec, generations: int) -> Rounds:
    """What each generator is fitted on.

    Raises:
        SpecError: a schedule that is too short, or a real share that is no whole number of rows.
    """
    rows, noise, ridge = (
        np.asarray(spec.per_round(name, generations), float)
        for name in ("generator_samples", "generator_noise", "generator_ridge")
    )
    real = rows * float(spec.real_fraction)
    if np.any(abs(real - np.round(real)) > 1e-3):
        raise SpecError(
            f"real_fraction must make a whole number of rows of generator_samples, got {float(spec.real_fraction):g} "
            f"of {rows[0]:g}: choose sizes that fit."
        )
    real = np.round(real)
    return Rounds(rows - real, real, noise, ridge)


def averaged(one, key, replicates: int, samples: int, batch: int):
    """Means of ``one(key)`` over ``samples`` independent chains, for each replicate: leaves ``[replicates, ...]``."""

    def replicate(key):
        runs = jax.lax.map(one, jax.random.split(key, samples), batch_size=min(batch, samples))
        return jax.tree.map(lambda values: values.mean(axis=0), runs)

    together = min(replicates, max(1, batch // samples))
    return jax.lax.map(replicate, jax.random.split(key, replicates), batch_size=together)


def at_once(numbers: int, dtype) -> int:
    """How many chains of ``numbers`` numbers each fit into memory together."""
    return max(1, MEMORY // (int(numbers) * np.dtype(dtype).itemsize))


def trajectory(name: str, values, size) -> Trajectory:
    """A trajectory whose resolution is the rounding of numbers of order ``size``."""
    floor = 64 * float(jnp.finfo(values.dtype).eps) * float(size)
    return Trajectory(values, floor, observable=name)
