"""Measurements of iterative maximum likelihood by name.

A replicate is an average over ``samples`` independent chains, each of batches of ``spec.batch`` points: statements are
about means over chains, and averages of many chains are nearly normal. Chains run on sufficient statistics, exact in
law (``mle_exact``), or with all their points in memory (``brute-force``: the general loop of ``recursion``). The
families that collapse have samplers of their own (``mle_counterexamples``).

Entry t of a curve belongs to model t, entry 0 to the truth: it is known before anything is drawn and proves nothing, so
that its resolution is infinite.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.recursion.regimes import chain
from collapse_jax.simulate import mle_counterexamples
from collapse_jax.simulate.choice import chosen
from collapse_jax.simulate.mle_exact import run
from collapse_jax.simulate.mle_families import family_of, real_of
from collapse_jax.simulate.mle_seen import averages, look_at, truth
from collapse_jax.specs.ground import whole_number
from collapse_jax.specs.mle import MLESpec
from collapse_jax.specs.regime import Regime
from collapse_jax.trajectory import Trajectory

__all__ = ["MEASURES", "best_weight", "brute_force_chain", "exact_chain", "limits", "measure"]

_CURVES = (
    "variance",
    "mean",
    "point_variance",
    "log_mean",
    "log_mean_spread",
    "inverse_mean",
    "mean_square",
    "kl",
    "alive",
    "extinct",
    "unfixed",
    "diversity",
    "distance",
    "support",
    "left_ball",
    "fitted_variance",
    "fitted_scale",
    "log_variance",
    "log_variance_spread",
    "w2",
    "survival",
    "log_volume",
    "rank",
)
_LAST = ("last_variance", "fixation_time", "fixed_symbol", "first_support")


def _checked(spec: MLESpec, generations: int, replicates: int, samples: int) -> None:
    if not isinstance(spec, MLESpec):
        raise SpecError(f"spec must be an MLESpec, got {type(spec).__name__}: build one with MLESpec(...).")
    for name, value in (("generations", generations), ("replicates", replicates), ("samples", samples)):
        whole_number(name, value)
    for name in ("batch", "real_fraction"):
        value = getattr(spec, name)
        if value.ndim and value.shape[0] < generations:
            raise SpecError(f"{name} must list a number for each of {generations} generations, got {value.shape[0]}.")


def _whole_parts(spec: MLESpec, generations: int) -> None:
    """A fixed split makes whole numbers of points; the regime of the general loop says so."""
    regime_of(spec, generations).sizes(generations)


def regime_of(spec: MLESpec, generations: int) -> Regime:
    """The regime of a spec, for the general loop."""
    sizes = np.broadcast_to(np.asarray(spec.batch, float), (generations,)) if spec.batch.ndim == 0 else spec.batch
    sizes = tuple(int(n) for n in np.asarray(sizes)[:generations])
    return Regime(
        sizes,
        spec.regime,
        spec.real_fraction,
        spec.split,
        spec.real,
        spec.real_weight,
        spec.replacement == "with",
    )


def _mixed(spec: MLESpec) -> bool:
    return spec.real_weight is not None or bool(np.any(np.asarray(spec.real_fraction) > 0))


_SHARES = ("alive", "extinct", "unfixed", "survival", "left_ball", "point_variance", "diversity")
"""Averages that few chains may carry: a share of one in a thousand chains is not known from a thousand of them."""


def _trajectories(shown: dict, spec: MLESpec, samples: int) -> dict[str, Trajectory]:
    """Curves with their resolutions, and what follows from whole curves.

    Means are known to a few roundings of their largest value, squared errors to those of the mean times the error, and
    what only some chains carry to the weight of three chains.
    """
    eps = float(jnp.finfo(spec.mean.dtype).eps)
    found = {}
    for name, values in shown.items():
        floor = jnp.full(values.shape[1:], 16 * eps, values.dtype) * jnp.max(jnp.abs(jnp.nan_to_num(values)))
        if name in ("variance", "distance"):
            floor = floor * 0 + 16 * eps * jnp.max(jnp.abs(jnp.nan_to_num(shown.get("mean", values))))
            floor = floor * jnp.sqrt(jnp.max(values))
        if name in _SHARES:
            floor = jnp.maximum(floor, 3 / (samples * len(values)) * jnp.max(values))
        found[name] = Trajectory(values, floor.at[0].set(jnp.inf), name)

    def last(name, values):
        found[name] = Trajectory(values, jnp.zeros(values.shape[1:], values.dtype), name)

    if "variance" in shown:
        last("last_variance", shown["variance"][:, -1])
    if "unfixed" in shown:
        # the time to fixation is the number of generations before it; it is unknown while a chain is under way
        over = shown["unfixed"][:, -1] == 0
        last("fixation_time", jnp.where(over, jnp.sum(shown["unfixed"], axis=1), jnp.nan))
    if "at_symbol" in shown:
        last("fixed_symbol", shown["at_symbol"][:, -1])
        del found["at_symbol"]
    if "support" in shown:
        last("first_support", shown["support"][:, 1])
    return found


def exact_chain(spec: MLESpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Chains by sufficient statistics, exact in law, at a cost that the size of batches does not raise.

    Args:
        spec: any family of points, regime replace or accumulate; with real points fresh, or a fixed split of an anchor.
        generations: number of fits, >= 1.
        replicates: independent replicates, >= 1; ``samples`` chains are averaged in each.
        key: random key.

    Returns:
        By observable, ``[replicates, generations + 1, ...]``: averages of the squared error of the mean (``variance``),
        of ``mean``, ``point_variance``, ``fitted_variance``, ``log_variance`` and so on, as the family has them; shares
        of chains (``alive``, ``extinct``, ``unfixed``, ``survival``, ``left_ball``). Without generations:
        ``last_variance``, ``fixation_time`` (NaN while a chain is not fixed), ``fixed_symbol``, ``first_support``.

    Raises:
        SpecError: a bad argument, or a regime without sufficient statistics (names ``brute-force``).

    >>> spec = MLESpec("poisson", mean=2.0, batch=10)
    >>> exact_chain(spec, 3, 2, jax.random.key(0), samples=5)["variance"].values.shape
    (2, 4)
    """
    _checked(spec, generations, replicates, samples)
    by_points = spec.regime == "accumulate-subsample" or (spec.real == "anchor" and spec.split == "random")
    if by_points and (_mixed(spec) or spec.regime == "accumulate-subsample"):
        raise SpecError(
            "sampler must be brute-force for regime accumulate-subsample and for random draws from an anchor: they "
            "have no sufficient statistics."
        )
    if spec.real_weight is not None and spec.family == "normal":
        raise SpecError("real_weight must be None for family normal with sampler exact: use brute-force.")
    _whole_parts(spec, generations)
    if _mixed(spec) and spec.real == "anchor" and (spec.batch.ndim or spec.real_fraction.ndim):
        raise SpecError("sampler must be brute-force for an anchor whose part changes with a schedule.")
    sizes = {"generations": generations, "replicates": replicates, "samples": samples}
    return _trajectories(run(spec, key, **sizes, mixed=_mixed(spec)), spec, samples)


@partial(jax.jit, static_argnames=("replicates",))
def _look_back(spec: MLESpec, models, replicates: int):
    chains = jax.tree.leaves(models)[0].shape[0]
    start, past = look_at(spec, truth(spec, chains))

    def step(past, model):
        seen, past = look_at(spec, model, past)
        return past, averages(seen, replicates)

    _, shown = jax.lax.scan(step, past, jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), models))
    first = averages(start, replicates)
    return jax.tree.map(lambda a, b: jnp.moveaxis(jnp.concatenate([a[None], b]), 0, 1), first, shown)


def brute_force_chain(spec: MLESpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """The same chains with their points in memory, under every regime: slow, and what ``exact_chain`` is held against.

    Args:
        spec: any family of points.
        generations, replicates, key, samples: as in ``exact_chain``.

    Returns:
        The observables of ``exact_chain``.

    Raises:
        SpecError: a bad argument.

    >>> spec = MLESpec("gaussian", batch=4, regime="accumulate-subsample")
    >>> brute_force_chain(spec, 2, 2, jax.random.key(0), samples=3)["variance"].values.shape
    (2, 3)
    """
    _checked(spec, generations, replicates, samples)
    models = chain(
        family_of(spec),
        real_of(spec),
        regime_of(spec, generations),
        generations,
        replicates * samples,
        key,
        observe=_whole,
    )
    return _trajectories(_look_back(spec, models, replicates), spec, samples)


def _whole(model):
    return model


def limits(spec: MLESpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Where curves of accumulation end: from rounds T and 2T of the same chains, linear in 1/(t + 1/2).

    Args:
        spec: regime accumulate.
        generations: T; 2T rounds are run.

    Returns:
        ``limit_variance``, and for a normal ``limit_fitted_variance``, ``[replicates, ...]``; what is left out is of
        relative order 1/T^3, the resolution is a quarter of that.

    Raises:
        SpecError: as in ``exact_chain``, or another regime.
    """
    if spec.regime != "accumulate":
        raise SpecError(f"regime must be accumulate where a limit is extrapolated, got {spec.regime}.")
    runs = exact_chain(spec, 2 * generations, replicates, key, samples=samples)
    found = {}
    for name in ("variance", "fitted_variance"):
        if name in runs:
            values = runs[name].values
            early, late = 1 / (generations + 0.5), 1 / (2 * generations + 0.5)
            end = (early * values[:, -1] - late * values[:, generations]) / (early - late)
            resolution = jnp.mean(jnp.abs(end), axis=0) / (4 * generations**3)
            found["limit_" + name] = Trajectory(end, resolution, "limit_" + name)
    return found


@partial(jax.jit, static_argnames=("generations", "replicates", "samples"))
def _best_weight(spec: MLESpec, key, *, generations: int, replicates: int, samples: int):
    shape, dtype = (generations, replicates, samples), spec.mean.dtype
    noise = jax.random.normal(key, (2, *shape), dtype)
    real = noise[0] / jnp.sqrt(spec.real_fraction * spec.batch)
    made = noise[1] / jnp.sqrt((1 - spec.real_fraction) * spec.batch)

    def last(weight):
        """Mean square of the last fit about the truth, in units of the variance, for weights ``[replicates]``."""
        weight = weight[:, None]

        def step(off, parts):
            return weight * parts[0] + (1 - weight) * (off + parts[1]), None

        off, _ = jax.lax.scan(step, jnp.zeros((replicates, samples), dtype), (real, made))
        return jnp.mean(off**2, axis=1)

    ratio = (np.sqrt(5) - 1) / 2

    def narrow(ends, _):
        low, high = ends
        inner = jnp.stack([high - ratio * (high - low), low + ratio * (high - low)])
        left = last(inner[0]) < last(inner[1])
        return (jnp.where(left, low, inner[0]), jnp.where(left, inner[1], high)), None

    ends = jnp.full(replicates, 0.02, dtype), jnp.ones(replicates, dtype)
    (low, high), _ = jax.lax.scan(narrow, ends, length=32)
    return (low + high) / 2


def best_weight(spec: MLESpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Weight of the real part at which the same noise gives the least squared error, by golden section.

    Args:
        spec: family gaussian with a fixed split; ``generations`` long enough that weights from .1 on forget the start.

    Returns:
        ``best_weight``, ``[replicates]``.

    Raises:
        SpecError: a bad argument, or another family.
    """
    _checked(spec, generations, replicates, samples)
    if spec.family != "gaussian":
        raise SpecError(f"family must be gaussian where the best weight is measured, got {spec.family}.")
    values = _best_weight(spec, key, generations=generations, replicates=replicates, samples=samples)
    return {"best_weight": Trajectory(values, jnp.asarray(1e-5, values.dtype), "best_weight")}


MEASURES = (
    {name: exact_chain for name in (*_CURVES, *_LAST)}
    | {"limit_variance": limits, "limit_fitted_variance": limits, "best_weight": best_weight}
    | mle_counterexamples.MEASURES
)


def measure(
    observable: str, spec: MLESpec, generations: int, replicates: int, key, *, samples, sampler: str = "exact"
) -> dict[str, Trajectory]:
    """Measure an observable by name; returns it with everything measured in the same run.

    Args:
        observable: a name in ``MEASURES``.
        spec, generations, replicates, key, samples: as in ``exact_chain``.
        sampler: ``exact``, or ``brute-force`` for what ``brute_force_chain`` measures.

    Raises:
        SpecError: an unknown observable or sampler (names the known ones), one that the family does not have, or a bad
            argument.

    >>> spec = MLESpec("gaussian", batch=9)
    >>> measure("variance", spec, 2, 3, jax.random.key(0), samples=9)["variance"].values.shape
    (3, 3)
    """
    taken = chosen(MEASURES, observable, sampler, exact_chain, brute_force_chain)
    if taken in (exact_chain, brute_force_chain, limits) and spec.family in ("jump", "fuse"):
        raise SpecError(f"observable {observable} must be asked of a family of points, not of {spec.family}.")
    found = taken(spec, generations, replicates, key, samples=int(samples))
    if observable not in found:
        raise SpecError(f"observable {observable} is not one that family {spec.family} has: {', '.join(found)}.")
    return found
