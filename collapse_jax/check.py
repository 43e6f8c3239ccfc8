"""One call from a result's id to a verdict: predict, measure, compare.

This is the comparison that the project trusts: the ``collapse compare`` command, the experiments and the mutation
tests all go through ``check``. It only wires the two sides together; neither sees the other.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.compare import Verdict, compare
from collapse_jax.errors import SpecError
from collapse_jax.results import Result, Sampler, get
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.mle import MLESpec
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.trajectory import Prediction, Trajectory

REPLICATES = 64
"""Default number of independent chains of a comparison."""

SPECS: dict[str, Any] = {
    "contamination": ContaminationSpec,
    "dae": DAESpec,
    "mle": MLESpec,
    "reflow": ReflowSpec,
    "regression": RegressionSpec,
    "spectral": SpectralSpec,
}
"""Spec class of each subject."""


def measure(
    subject: str,
    observable: str,
    spec,
    generations: int,
    replicates: int,
    key,
    *,
    samples: int,
    sampler: Sampler = "exact",
) -> dict[str, Trajectory]:
    """Measure an observable of a subject by simulation, with everything else that the same chains show.

    Raises:
        SpecError: unknown subject, observable or sampler, or sizes out of range.
    """
    import collapse_jax.simulate

    if subject not in SPECS:
        raise SpecError(f"subject must be one of {', '.join(SPECS)}, got {subject!r}.")
    room = getattr(collapse_jax.simulate, subject)
    return room.measure(observable, spec, generations, replicates, key, samples=samples, sampler=sampler)


def predict_given(result: Result, spec, generations: int, measured: dict[str, Trajectory]) -> Prediction:
    """Prediction of a result; for a conditional one, one prediction per replicate from its realised quantities.

    A realised ``real_spectrum`` takes the place of the spec's spectrum, others are passed by name.
    """
    if not result.given:
        return result.predict(spec, generations)
    realised = {name: measured[name].values for name in result.given}

    def one(realised):
        spectrum = realised.pop("real_spectrum", None)
        about = spec if spectrum is None else replace(spec, spectrum=spectrum)
        prediction = result.predict(about, generations, **realised)
        return replace(prediction, margin=jnp.broadcast_to(prediction.margin, prediction.values.shape))

    return jax.vmap(one)(realised)


@dataclass(frozen=True)
class Check:
    """What ``check`` found: both sides and the verdict."""

    result: Result
    spec: Any
    prediction: Prediction
    trajectory: Trajectory
    verdict: Verdict


def check(
    id: str,
    spec=None,
    *,
    key,
    generations: int | None = None,
    replicates: int = REPLICATES,
    samples: int | None = None,
    sampler: Sampler | None = None,
    error_rate: float = 0.01,
    relevant: float | None = None,
) -> Check:
    """Hold a registered result against a simulation of the same spec.

    Args:
        id: of the result; its own example, length, samples and sampler are the defaults.
        spec: the chain; None takes the result's example.
        key: ``jax.random`` key of the measurement.
        error_rate, relevant: as in ``compare``; None takes the result's own relevant deviation.

    Raises:
        UnknownResultError, RegimeError, SpecError, MeasurementError: in one line, from the part that refused.

    >>> check("DAE-3", key=jax.random.key(0), replicates=16).verdict.status
    'agrees'
    """
    result = get(id)
    spec = SPECS[result.subject](**result.example) if spec is None else spec
    generations = result.generations if generations is None else generations
    result.predict(spec, generations)  # refuses a spec that the result does not cover before it is measured
    measured = measure(
        result.subject,
        result.observable,
        spec,
        generations,
        replicates,
        key,
        samples=result.samples if samples is None else samples,
        sampler=result.sampler if sampler is None else sampler,
    )
    prediction = predict_given(result, spec, generations, measured)
    trajectory = measured[result.observable]
    relevant = result.relevant if relevant is None else relevant
    verdict = compare(prediction, trajectory, error_rate=error_rate, relevant=relevant)
    return Check(result, spec, prediction, trajectory, verdict)
