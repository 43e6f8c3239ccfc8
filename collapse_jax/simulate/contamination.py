"""Measurements of contaminated training by name.

Whole chains go through their counts (``contamination_chain``), at a cost that the number of tokens does not raise, or
token by token (``contamination_brute``). Models of the real tokens alone, and the sizes at which risks cross, are
measured by ``contamination_special``.
"""

import jax.numpy as jnp

from collapse_jax.errors import SpecError
from collapse_jax.simulate import contamination_brute, contamination_special
from collapse_jax.simulate.choice import chosen
from collapse_jax.simulate.contamination_chain import run, trajectories
from collapse_jax.simulate.draws import LARGEST
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.specs.ground import check, whole_number
from collapse_jax.trajectory import Trajectory

LONG = 250
"""Chains of more rounds than this report the risk alone."""

CURVES = ("risk", "mean", "covariance", "effective_size", "size", "risk_ratio", "chi2", "kl", "tv")
LATE = ("final_risk", "late_risk", "late_slope", "final_mean", "final_variance", "final_fourth_moment", "absence")
PARAMETRIC = ("excess_loss", "parameter_error", "final_loss")
CONTEXTS = ("total_risk", "context_risk", "alive")
_REAL = ("filter_risk", "pool_risk")


def _checked(spec, generations, replicates, samples) -> dict[str, int]:
    if not isinstance(spec, ContaminationSpec):
        raise SpecError(f"spec must be a ContaminationSpec, got {type(spec).__name__}: pass one, not its fields.")
    bits = jnp.finfo(spec.truth.dtype).bits
    generations = whole_number("generations", generations)
    for name, value in (("first_size", spec.start_size), ("size", spec.sizes(generations))):
        what = f"at most {LARGEST[bits]:.0e} in float{bits} (draws are rounded beyond)"
        check(name, value, lambda v: v <= LARGEST[bits], what)
    return {
        "generations": generations,
        "replicates": whole_number("replicates", replicates),
        "chains": whole_number("samples", samples),
    }


def exact_chain(
    spec: ContaminationSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """Chains through their counts, exact in law (CON-1 to CON-18; derived).

    Args:
        spec: the chain; its array fields may be traced.
        generations: rounds after round 0, >= 1.
        replicates: independent measurements, >= 1.
        key: random key.
        samples: chains that a replicate averages, >= 1.

    Returns:
        By observable, means over the chains of a replicate. For a single context, ``[replicates, generations + 1,
        ...]``: ``risk``, ``mean`` [K], ``covariance`` [K, K] (second moment about the truth), ``effective_size``
        (H* over risk), ``size`` (tokens of each round), ``risk_ratio``, ``chi2``, ``kl`` [nats], ``tv``; without
        generations: ``final_risk``, ``final_mean`` [K], ``final_variance`` [K], ``final_fourth_moment`` [K],
        ``absence`` [K], ``late_risk`` (mean over the later half) and ``late_slope`` (from a tenth of the rounds on,
        20 rounds or more). With features: ``excess_loss`` [nats], ``parameter_error``, ``final_loss``. With contexts
        only ``total_risk``, ``context_risk`` [C] and ``alive`` (entries of the table above 0). Chains of more than
        ``LONG`` rounds report risks alone.

    Raises:
        SpecError: a bad argument; names it, the value found and the requirement.

    >>> import jax
    >>> spec = ContaminationSpec([0.5, 0.3, 0.2])
    >>> exact_chain(spec, 3, 2, jax.random.key(0), samples=10)["risk"].values.shape
    (2, 4)
    """
    sizes = _checked(spec, generations, replicates, samples)
    return trajectories(spec, run(spec, key, **sizes, everything=sizes["generations"] <= LONG))


def brute_force_chain(
    spec: ContaminationSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """The same chains with every token drawn, and an origin for each; arguments and results as in ``exact_chain``.

    Raises:
        SpecError: also for contexts, random sizes and parametric models.

    >>> import jax
    >>> spec = ContaminationSpec([0.5, 0.3, 0.2])
    >>> brute_force_chain(spec, 3, 2, jax.random.key(0), samples=10)["risk"].values.shape
    (2, 4)
    """
    sizes = _checked(spec, generations, replicates, samples)
    return trajectories(spec, contamination_brute.run(spec, key, **sizes))


def real_tokens(
    spec: ContaminationSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """Models of real tokens alone: ``filter_risk`` and ``pool_risk``, ``[replicates, generations + 1]``.

    Args as in ``exact_chain``; the first is of the round's own real tokens, over the chains that have some.
    """
    seen = contamination_special.real_tokens(spec, key, **_checked(spec, generations, replicates, samples))
    return {name: Trajectory(values, observable=name) for name, values in seen.items()}


def critical_size(
    spec: ContaminationSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """``critical_size`` ``[replicates]``: the round size at which ``generations`` rounds neither help nor hurt.

    Args as in ``exact_chain``. Sizes from ``first_size`` to eight times that are tried; infinite if all of them hurt.
    """
    values = contamination_special.critical_size(spec, key, **_checked(spec, generations, replicates, samples))
    return {"critical_size": Trajectory(values, observable="critical_size")}


def break_even_size(
    spec: ContaminationSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """``break_even_size`` ``[replicates]``: the size of one more round at which the risk stays what it is.

    Args as in ``exact_chain``. Sizes up to eight effective sizes are tried; infinite if all of them hurt.
    """
    values = contamination_special.break_even_size(spec, key, **_checked(spec, generations, replicates, samples))
    return {"break_even_size": Trajectory(values, observable="break_even_size")}


_CHAINS = {name: exact_chain for name in (*CURVES, *LATE, *PARAMETRIC, *CONTEXTS)}
MEASURES = _CHAINS | dict.fromkeys(_REAL, real_tokens)
MEASURES |= {"critical_size": critical_size, "break_even_size": break_even_size}


def measure(
    observable: str, spec: ContaminationSpec, generations: int, replicates: int, key, *, samples, sampler: str = "exact"
) -> dict[str, Trajectory]:
    """Measure an observable by name; returns it with everything measured in the same run.

    Args:
        observable: a name in ``MEASURES``.
        spec, generations, replicates, key, samples: as in ``exact_chain``.
        sampler: ``exact``, or ``brute-force`` for what ``brute_force_chain`` measures.

    Raises:
        SpecError: an unknown observable or sampler (names the known ones), one that this spec does not show, or a bad
            argument.

    >>> import jax
    >>> spec = ContaminationSpec([0.5, 0.3, 0.2])
    >>> measure("risk", spec, 2, 3, jax.random.key(0), samples=9)["risk"].values.shape
    (3, 3)
    """
    chain = chosen(MEASURES, observable, sampler, exact_chain, brute_force_chain)
    measured = chain(spec, generations, replicates, key, samples=samples)
    if observable not in measured:
        raise SpecError(
            f"observable {observable} is not shown by this chain, got one that shows {', '.join(measured)}: change the "
            "spec or the number of generations."
        )
    return measured
