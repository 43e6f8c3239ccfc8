"""The truncated diffusion chain on densities: an independent referee for distances that samples are too noisy for.

The density of the projected data stands on a uniform grid; a round mixes it with the last density and applies the
Gaussian kernel of ``scale X + sqrt(noise_var) Z`` as a matrix. The limit is found by iterating to rest. What is
measured near the limit is the signed difference to it, which a round shrinks linearly,
``p_{k+1} - p_inf = (1 - alpha) K (p_k - p_inf)``, so that gaps stay accurate far below the rounding of the densities.

Replicates are the same chain on grids of random phase and slightly different spacing: nothing is random but the
discretisation, and the spread of the replicates shows it. Smooth quantities spread by rounding only; those with
kinks (total variation, W1) by the third order of the spacing; W2 by about the sixth.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.metrics import grid
from collapse_jax.simulate.spectral_kernel import (
    Grids,
    Line,
    apply,
    fixed_point,
    gaussian,
    line,
    make_grids,
    operator,
    round_at,
    rounds,
    smallest_truncation,
)
from collapse_jax.specs.ground import whole_number
from collapse_jax.specs.spectral import PROBES, SpectralSpec
from collapse_jax.trajectory import Trajectory

DISTANCES = ("tv", "w1", "w2", "kl", "chi2")

_ROUNDING = 1e-13  # of a difference of densities, relative to the first one
_SEARCH = 1e-6  # accuracy of the stationary laws between which a best truncation is searched


def _trajectory(observable: str, values, floor, dtype) -> Trajectory:
    """In the precision of the spec; below its smallest number everything is rounding."""
    tiny = 100 * float(jnp.finfo(dtype).tiny)
    return Trajectory(jnp.asarray(values, dtype), jnp.asarray(np.maximum(floor, tiny), dtype), observable=observable)


def _trajectories(found: dict[str, tuple[Any, Any]], dtype) -> dict[str, Trajectory]:
    return {name: _trajectory(name, values, floor, dtype) for name, (values, floor) in found.items()}


def _limit(about: Line, matrix, data, *, accuracy: float = 0.0, start=None):
    source = about.real * apply(matrix, data)
    return fixed_point(matrix, source, 1 - about.real, data if start is None else start, accuracy)


def _without_mass(difference, density):
    """A difference of two laws has no mass; rounding gives it one, which fades more slowly than the rest."""
    return difference - density * (difference.sum(axis=1) / density.sum(axis=1))[:, None]


def _require_limit(about: Line) -> None:
    if about.real == 0:
        raise SpecError(
            "real_fraction must be positive for a limit that depends on the data, got 0: ask for prior_w2 or prior_kl."
        )


def _stride(about: Line, grids: Grids) -> int:
    """Every how many nodes the data density is still smooth."""
    return max(1, int(np.sqrt(about.variances.min()) / (2 * grids.spacing.max())))


def _modes(about: Line, grids: Grids, difference, order: int):
    """Hermite coefficients ``[R, order + 1]`` of a difference of densities, and their rounding."""
    basis = grid.basis(grids.nodes / np.sqrt(about.reference_var or 1.0), order)
    terms = basis * difference
    spacing = grids.spacing[:, None]
    return terms.sum(axis=2).T * spacing, np.abs(terms).sum(axis=2).T.max(axis=0) * spacing.max()


def _distances(base, difference, to: grid.Target) -> list[np.ndarray]:
    """Of ``base = to.density + difference``, in the order of ``DISTANCES``."""
    second, spacing = to.density, to.spacing
    return [
        grid.total_variation(difference, spacing),
        grid.w1(difference, spacing),
        grid.w2(base, difference, to),
        grid.kl(difference, second, spacing),
        grid.chi2(difference, second, spacing),
    ]


def gaps(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Distances of every round's law to the limit, from the data law (SP-1, SP-8, SP-9; derived).

    Args:
        spec: chain with one truncation and a positive real share; the projection on ``spec.axis`` is measured.
        generations: rounds, >= 1.
        replicates: grids.
        key: of their phases and spacings.
        samples: nodes of each grid; the spacing must resolve kernel and data, 500 do for truncations down to 1e-3.

    Returns:
        ``tv_gap``, ``w1_gap``, ``w2_gap``, ``kl_gap`` (to the limit as second argument), ``chi2_gap``
        [replicates, generations + 1] and ``initial_...`` [replicates] of each; ``cdf_gap``
        [replicates, generations + 1, probes]; ``late_factor`` [replicates, 3], factor per round of tv, w1, w2 over the
        last quarter; ``limit_w2`` [replicates] between limit and data. Resolution: rounding of the difference to the
        limit, which fades more slowly than the difference itself.

    Raises:
        SpecError: a bad argument, or a grid too coarse for the kernel: names the smallest truncation possible.

    >>> import jax
    >>> spec = SpectralSpec([1.0], [0.0], [0.25], real_fraction=0.5, truncation=0.1)
    >>> found = gaps(spec, 3, 2, jax.random.key(0), samples=200)
    >>> found["tv_gap"].values.shape, bool((found["late_factor"].values < 0.5).all())
    ((2, 4), True)
    """
    about, generations = line(spec, scheduled=False), whole_number("generations", generations)
    _require_limit(about)
    steps = rounds(spec, 1)
    grids = make_grids(about, steps, replicates, key, samples, spec)
    matrix, data = operator(grids, steps[0]), about.density(grids.nodes)
    limit = _limit(about, matrix, data)
    to = grid.target(limit, grids.spacing)
    difference = _without_mass(data - limit, limit)
    of_limit = grid.w2(data, difference, to)
    seen, probes = [], []
    for number in range(generations + 1):
        seen.append(_distances(limit + difference, difference, to))
        probes.append(np.abs(grid.cumulative_at(np.asarray(PROBES), difference, grids.nodes[:, 0], grids.spacing)))
        if number < generations:
            difference = _without_mass((1 - about.real) * apply(matrix, difference), limit)
    curves = np.asarray(seen).transpose(1, 2, 0)  # distances, replicates, rounds
    fading = ((1 - about.real) * steps[0].scale) ** np.arange(generations + 1)
    floors = np.minimum(1, _ROUNDING * fading * curves[0, :, :1] / curves[0]).max(axis=0) * curves.max(axis=1)
    found: dict[str, tuple[Any, Any]] = {}
    for name, curve, floor in zip(DISTANCES, curves, floors, strict=True):
        found[f"{name}_gap"] = curve, floor
        found[f"initial_{name}_gap"] = curve[:, 0], floor[0]
    found["cdf_gap"] = np.stack(probes, axis=1), _ROUNDING * fading[:, None]
    last = max(1, generations // 4)
    late = curves[:3, :, -1] / curves[:3, :, -1 - last]
    found["late_factor"] = late.T ** (1 / last), (floors[:3, -1] / curves[:3, :, -1].min(axis=1)) / last
    found["limit_w2"] = of_limit, 1e-11 * np.max(of_limit)
    return _trajectories(found, spec.means.dtype)


def prior(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Distances of every round's law to the reference Gaussian without real data (SP-10; derived).

    Args:
        spec: chain with real_fraction 0, one truncation and a process that has a reference law.
        generations, replicates, key, samples: as in ``gaps``.

    Returns:
        ``prior_w2`` and ``prior_kl`` [replicates, generations + 1] and ``initial_...`` [replicates] of each.

    Raises:
        SpecError: real data, VE (it has no reference law), or as in ``gaps``.

    >>> import jax
    >>> spec = SpectralSpec([1.0], [0.0], [0.25], real_fraction=0.0, truncation=0.1)
    >>> round(float(prior(spec, 2, 2, jax.random.key(0), samples=200)["prior_w2"].values[0, 0]), 5)
    0.5
    """
    about, generations = line(spec, scheduled=False), whole_number("generations", generations)
    if about.real or about.reference_var is None:
        raise SpecError(
            f"real_fraction must be 0 and process vp or rectified_flow for a chain that ends at its reference law, "
            f"got {about.real} and {spec.process}."
        )
    steps = rounds(spec, 1)
    grids = make_grids(about, steps, replicates, key, samples, spec)
    matrix = operator(grids, steps[0])
    reference = gaussian(grids.nodes, about.reference_var)
    to, difference = grid.target(reference, grids.spacing), about.density(grids.nodes) - reference
    seen, sizes = [], []
    for _ in range(generations + 1):
        w2 = grid.w2(reference + difference, difference, to)
        seen.append([w2, grid.kl(difference, reference, grids.spacing)])
        sizes.append(grid.total_variation(difference, grids.spacing).min())
        difference = _without_mass(apply(matrix, difference), reference)
    curves = np.asarray(seen).transpose(1, 2, 0)
    fading = steps[0].scale ** np.arange(generations + 1)
    relative = np.minimum(1, _ROUNDING * fading * sizes[0] / np.asarray(sizes))
    found: dict[str, tuple[Any, Any]] = {}
    for name, curve in zip(("w2", "kl"), curves, strict=True):
        floor = relative * curve.max(axis=0)
        found[f"prior_{name}"] = curve, floor
        found[f"initial_prior_{name}"] = curve[:, 0], floor[0]
    return _trajectories(found, spec.means.dtype)


def _annealing(spec: SpectralSpec, generations: int, replicates: int, key, samples, observe: Callable, order=0):
    """Run the chain from the data under its schedule; ``observe(data, difference)`` after every round."""
    about, generations = line(spec, scheduled=True), whole_number("generations", generations)
    steps = rounds(spec, generations)
    grids = make_grids(about, steps, replicates, key, samples, spec, order=order)
    data = about.density(grids.nodes)
    difference, last, matrix = np.zeros_like(data), steps[0], operator(grids, steps[0])
    source = apply(matrix, data) - data
    seen = [observe(about, grids, data, difference)]
    for step in steps:
        if step != last:
            matrix, last = operator(grids, step), step
            source = apply(matrix, data) - data
        difference = (1 - about.real) * apply(matrix, difference) + source
        seen.append(observe(about, grids, data, difference))
    return about, grids, difference, seen


def annealed(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """W2 between every round's law and the data, under a schedule of truncations (SP-3, SP-11; derived).

    Args:
        spec: chain with a schedule, or with one truncation for all rounds.
        generations, replicates, key, samples: as in ``gaps``; the last truncations ask for the finest grid.

    Returns:
        ``annealed_w2`` [replicates, generations + 1].

    Raises:
        SpecError: as in ``gaps``.

    >>> import jax
    >>> spec = SpectralSpec([1.0], [0.0], [0.25], real_fraction=1.0, truncation=[0.2, 0.1])
    >>> found = annealed(spec, 2, 2, jax.random.key(0), samples=200)["annealed_w2"].values[0]
    >>> bool(abs(found[2] - ((1 - 0.75 * jnp.exp(-0.2)) ** 0.5 - 0.5)) < 1e-6)
    True
    """

    def observe(about, grids, data, difference):
        if not difference.any():
            return np.zeros(len(data))
        to = grid.target(data + difference, grids.spacing)
        return grid.w2(data, -difference, to, stride=_stride(about, grids))

    seen = _annealing(spec, generations, replicates, key, samples, observe)[3]
    return {"annealed_w2": _trajectory("annealed_w2", np.stack(seen, axis=1), 1e-11, spec.means.dtype)}


def mode_errors(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Hermite coefficients of the last round's law minus those of the data, under a schedule (SP-11; derived).

    Args:
        spec, generations, replicates, key, samples: as in ``annealed``.

    Returns:
        ``mode_error`` [replicates, order + 1]. Resolution: rounding of the sums.

    Raises:
        SpecError: as in ``gaps``.
    """
    about, grids, difference, _ = _annealing(spec, generations, replicates, key, samples, lambda *_: None, spec.order)
    values, _ = _modes(about, grids, difference, spec.order)
    _, size = _modes(about, grids, about.density(grids.nodes), spec.order)
    floor = 1e-14 * size / max(about.real, 1 / generations)
    return {"mode_error": _trajectory("mode_error", values, floor, spec.means.dtype)}


def _shift(spec: SpectralSpec, time: float) -> float:
    return float(spec.error_scale) * time ** -float(spec.error_power)


def ball(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """How far an error of W2 size B t^-p in every round moves the limit: here each round also shifts (SP-12; derived).

    Args:
        spec: as in ``gaps``; ``error_scale`` and ``error_power`` give the shift.
        generations: not used, the chain is iterated to rest.
        replicates, key, samples: as in ``gaps``.

    Returns:
        ``ball_w2`` [replicates], W2 between the limits with and without shifts.

    Raises:
        SpecError: as in ``gaps``.
    """
    about = line(spec, scheduled=False)
    _require_limit(about)
    time = float(spec.truncation)
    shifted, plain = round_at(spec, time, _shift(spec, time)), round_at(spec, time)
    grids = make_grids(about, [shifted], replicates, key, samples, spec)
    data = about.density(grids.nodes)
    limits = [_limit(about, operator(grids, step), data) for step in (shifted, plain)]
    to = grid.target(limits[1], grids.spacing)
    values = grid.w2(limits[0], limits[0] - limits[1], to)
    return {"ball_w2": _trajectory("ball_w2", values, 1e-11, spec.means.dtype)}


def mode_biases(spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """What an additive error of every Hermite coefficient in every round settles at (SP-12/modes; derived).

    Every round adds ``error_scale * he_m * reference density`` for every order m from 1 to ``spec.order``.

    Args:
        spec, generations, replicates, key, samples: as in ``ball``; the process must have a reference law.

    Returns:
        ``mode_bias`` [replicates, order + 1], coefficients of the stationary density minus those of the limit.

    Raises:
        SpecError: VE, or as in ``gaps``.
    """
    about = line(spec, scheduled=False)
    _require_limit(about)
    if about.reference_var is None:
        raise SpecError("process must be vp or rectified_flow for errors of Hermite modes, got 've': it has no basis.")
    steps = rounds(spec, 1)
    grids = make_grids(about, steps, replicates, key, samples, spec, order=spec.order)
    matrix = operator(grids, steps[0])
    data, reference = about.density(grids.nodes), gaussian(grids.nodes, about.reference_var)
    basis = grid.basis(grids.nodes / np.sqrt(about.reference_var), spec.order)[1:]
    error = float(spec.error_scale) * basis.sum(axis=0) * reference
    # the stationary density minus the limit solves the same equation without its data term
    difference = fixed_point(matrix, error, 1 - about.real, np.zeros_like(data))
    values, size = _modes(about, grids, difference, spec.order)
    return {"mode_bias": _trajectory("mode_bias", values, _ROUNDING * size, spec.means.dtype)}


def best_truncation(
    spec: SpectralSpec, generations: int, replicates: int, key, *, samples: int
) -> dict[str, Trajectory]:
    """The truncation whose shifted chain settles nearest to the data (SP-19; derived).

    Every round of truncation t also shifts by B t^-p. Truncations from the smallest that the grid resolves are tried in
    steps of 4, then around the best in steps of 2 and of sqrt 2; a parabola through three of them gives the minimum.

    Args:
        spec: as in ``ball``, with a positive ``error_scale``; its own truncation is not used.
        generations: not used.
        replicates, key, samples: as in ``gaps``; more nodes allow smaller truncations.

    Returns:
        ``log_best_truncation`` [replicates], natural logarithm of the best truncation.

    Raises:
        SpecError: the best one lies below what the grid resolves, or as in ``gaps``.
    """
    about = line(spec, scheduled=False)
    _require_limit(about)
    if float(spec.error_scale) == 0:
        raise SpecError("error_scale must be positive for a best truncation, got 0: without errors smaller is better.")
    largest = 0.5 if spec.process == "rectified_flow" else 1.0 / float(spec.rate)
    grids = make_grids(about, [round_at(spec, largest)], replicates, key, samples, spec)
    smallest = smallest_truncation(about, float(grids.spacing.max()), spec)
    data = about.density(grids.nodes)
    tried: dict[float, np.ndarray] = {}

    def distance(exponent: float) -> None:
        time = smallest * 2**exponent
        matrix = operator(grids, round_at(spec, time, _shift(spec, time)))
        law = _limit(about, matrix, data, accuracy=_SEARCH)
        to = grid.target(law, grids.spacing)
        tried[exponent] = grid.w2(data, data - law, to, stride=_stride(about, grids))

    def best() -> float:
        return min(tried, key=lambda exponent: float(tried[exponent].mean()))

    for exponent in np.arange(0, max(np.log2(largest / smallest), 0) + 2, 2.0):
        distance(float(exponent))
    for width in (1.0, 0.5):
        centre = best()
        for exponent in (centre - width, centre + width):
            if exponent >= 0:
                distance(exponent)
    centre = best()
    if centre - 0.5 not in tried or centre + 0.5 not in tried:
        raise SpecError(
            f"samples must be larger: the best truncation lies below {smallest * 2**0.5:.3g}, the smallest that a grid "
            f"of {samples} nodes can tell."
        )
    left, middle, right = (tried[centre + offset] for offset in (-0.5, 0.0, 0.5))
    vertex = centre + 0.25 * (left - right) / (left - 2 * middle + right)
    values = np.log(smallest) + np.log(2) * vertex
    return {"log_best_truncation": _trajectory("log_best_truncation", values, 1e-6, spec.means.dtype)}


MEASURES: dict[str, Callable[..., dict[str, Trajectory]]] = {
    **{f"{prefix}{name}_gap": gaps for name in DISTANCES for prefix in ("", "initial_")},
    "cdf_gap": gaps,
    "late_factor": gaps,
    "limit_w2": gaps,
    **{f"{prefix}prior_{name}": prior for name in ("w2", "kl") for prefix in ("", "initial_")},
    "annealed_w2": annealed,
    "mode_error": mode_errors,
    "ball_w2": ball,
    "mode_bias": mode_biases,
    "log_best_truncation": best_truncation,
}
"""What this room measures, by observable: ``function(spec, generations, replicates, key, *, samples)``."""
