"""Theory with one slip in it: the rooms of a subject run again from their source text, one occurrence replaced."""

import inspect
import sys
import types
from unittest import mock

import jax

import collapse_jax.results
from collapse_jax.check import REPLICATES, SPECS, measure, predict_given
from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.theory import (
    contamination,
    contamination_improvement,
    contamination_policies,
    contamination_recursion,
    contamination_schedules,
    contamination_tails,
    contamination_variants,
    dae,
    dae_limits,
    dae_mixed,
    dae_recursion,
    dae_variants,
    mle,
    mle_consistency,
    mle_counterexamples,
    mle_discrete,
    mle_gaussian,
    mle_ground,
    mle_policies,
    mle_special,
    reflow,
    reflow_ground,
    reflow_independent,
    reflow_pairs,
    regression,
    regression_equations,
    regression_equivalents,
    regression_fixed,
    regression_isotropic,
    regression_scaling,
    spectral,
    spectral_bounds,
    spectral_laws,
    spectral_moments,
    spectral_pools,
    spectral_rates,
    spectral_rounds,
    spectral_schedules,
    spectral_variants,
)

# in the order of their imports
ROOMS = {
    "CON": (
        contamination_recursion,
        contamination,
        contamination_improvement,
        contamination_schedules,
        contamination_policies,
        contamination_tails,
        contamination_variants,
    ),
    "DAE": (dae_recursion, dae_limits, dae, dae_mixed, dae_variants),
    "MLE": (
        mle_special,
        mle_ground,
        mle,
        mle_policies,
        mle_gaussian,
        mle_discrete,
        mle_consistency,
        mle_counterexamples,
    ),
    "REG": (
        regression_equations,
        regression,
        regression_equivalents,
        regression_isotropic,
        regression_scaling,
        regression_fixed,
    ),
    "RF": (reflow_ground, reflow, reflow_independent, reflow_pairs),
    "SP": (
        spectral_rounds,
        spectral_laws,
        spectral,
        spectral_moments,
        spectral_schedules,
        spectral_rates,
        spectral_bounds,
        spectral_pools,
        spectral_variants,
    ),
}


def mutant(id, function, old, new):
    """The registered result ``id`` of a library in which ``function`` says ``new`` where it said ``old``."""
    rooms = ROOMS[id.partition("-")[0]]
    holders = [room for room in rooms if f"def {function}(" in inspect.getsource(room)]
    assert len(holders) == 1, f"{function} is not the name of one function"
    source = inspect.getsource(holders[0])
    start = source.index(f"def {function}(")
    end = source.find("\n\n\n", start)
    body = source[start : end if end > 0 else None]
    assert body.count(old) == 1, f"{old!r} occurs {body.count(old)} times in {function}"
    return _run(rooms, {holders[0].__name__: source.replace(body, body.replace(old, new))})[id]


def _run(rooms, changed):
    again = {}
    with mock.patch.object(collapse_jax.results, "_REGISTER", {}) as register, mock.patch.dict(sys.modules):
        for room in rooms:
            name = room.__name__
            again[name] = types.ModuleType(name)
            sys.modules[name] = again[name]
            exec(compile(changed.get(name) or inspect.getsource(room), name, "exec"), again[name].__dict__)
        return dict(register)


_SEEN = {}  # runs by what was simulated: several results look at the same chains


def measured(id):
    """The default measurement of a result, in double precision, and its spec."""
    result = get(id)
    spec = SPECS[result.subject](**result.example)
    runs = _SEEN.setdefault(repr((result.example, result.generations, result.samples, result.sampler)), [])
    needed = {result.observable, *result.given}
    found = next((run for run in runs if needed <= run.keys()), None)
    if found is None:
        sizes = {"samples": result.samples, "sampler": result.sampler}
        key = jax.random.key(20)
        found = measure(result.subject, result.observable, spec, result.generations, REPLICATES, key, **sizes)
        runs.append(found)
    return spec, found


def verdict(result, error_rate=0.01):
    """The verdict on a result, or on a mutant of it, at the project's default budget."""
    spec, trajectories = measured(result.id)
    with jax.disable_jit():  # each mutant is called once: compiling it would cost more
        prediction = predict_given(result, spec, result.generations, trajectories)
    return compare(prediction, trajectories[result.observable], error_rate=error_rate, relevant=result.relevant)


def survives(id, among):
    """A result is not contradicted, and its budget would show a deviation that matters.

    ``among`` so many true statements at 1 % each a false alarm is to be expected: it is their family that errs in 1 %.
    What a budget can show is a statement about one result, at the rate at which one is judged.
    """
    calm = verdict(get(id), error_rate=0.01 / among).status != "violates"
    return calm and verdict(get(id)).detectable <= get(id).relevant


def missed(id, slips):
    """Slips ``(function, old, new)`` of a result that the comparison does not contradict."""
    return [slip for slip in slips if verdict(mutant(id, *slip)).status != "violates"]
