"""Stages of ``spectral_robustness`` (S-F6): discretised samplers with the exact score. Numbers only, no figures."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.check import check
from collapse_jax.compare import compare
from collapse_jax.metrics import laws
from collapse_jax.metrics.clouds import sliced_w2
from collapse_jax.simulate import spectral_samplers
from collapse_jax.specs.mixture import Mixture
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory.spectral_bounds import error_ball, mode_bias
from collapse_jax.theory.spectral_laws import generated_law, limit_law
from collapse_jax.trajectory import Prediction, Trajectory
from experiments.harness import Stage, row
from experiments.spectral_sampler_laws import START, Grid, Line, euler_maruyama_laws, quantiles, times

DATA = {"weights": [0.5, 0.3, 0.2], "means": [-1.2, 0.4, 1.6], "covariances": [0.25**2, 0.18**2, 0.35**2]}
"""The default data on the line."""

PLANE = {
    "weights": [0.5, 0.3, 0.2],
    "means": [[-1.2, -0.4], [0.4, 1.0], [1.6, -0.8]],
    "covariances": [0.25**2, 0.18**2, 0.35**2],
}
"""The same in the plane: what is seen along its first axis is the default data."""

METHODS = ("euler-maruyama", "euler", "heun")
REACH = 6.5
"""Half length of the grid: beyond lies 1e-10 of the laws."""


def _spec(settings, **fields) -> SpectralSpec:
    return SpectralSpec(**DATA, real_fraction=settings.real_fraction, truncation=settings.truncation, **fields)


def _smooth(law: Mixture, t: float) -> Mixture:
    """The law after the forward process up to ``t``."""
    return law.smooth(np.exp(-t), -np.expm1(-2 * t))


def fitted_order(steps, errors) -> tuple[float, float]:
    """Least-squares order of convergence with its standard error from the scatter around the power law."""
    x, y = -np.log(np.asarray(steps, float)), np.log(np.asarray(errors, float))
    x, y = x - x.mean(), y - y.mean()
    slope = (x @ y) / (x @ x)
    return float(slope), float(np.sqrt(((y - slope * x) ** 2).sum() / max(1, len(x) - 2) / (x @ x)))


def samplers(settings, key) -> Stage:
    """S-F6, one round from real data: distance to the ideal law against the cost of the sampler."""
    steps = np.asarray(settings.steps)
    line, costs = _line_errors(settings)
    plane, floor = _plane_errors(settings, key)
    adaptive = _adaptive_errors(settings, key)
    remarks = []
    for i, method in enumerate(METHODS):
        order, error = fitted_order(steps, line[i])
        remarks.append(
            f"{method}: order {order:.3f} ± {error:.3f} in one dimension (W2 {line[i][0]:.2g} to {line[i][-1]:.2g})"
        )
        mean, error = plane[i].mean(axis=1), plane[i].std(axis=1, ddof=1) / np.sqrt(settings.cloud_seeds)
        seen = mean > 3 * error
        if seen.sum() > 2:
            order, error = fitted_order(steps[seen], np.sqrt(mean[seen]))
            remarks.append(f"{method}: order {order:.3f} ± {error:.3f} in the plane, sliced, {seen.sum()} step counts")
    remarks.append(f"in the plane two clouds of the ideal law are {floor.mean():.2g} apart")
    arrays = {
        "steps": steps,
        "evaluations": costs,
        "line": line,
        "plane": plane,
        "floor": floor,
        "adaptive": adaptive,
        "tolerances": settings.tolerances,
        "cloud": settings.cloud,
    }
    return Stage({name: np.asarray(value) for name, value in arrays.items()}, [], remarks)


def _line_errors(settings):
    """W2 of the law made to the ideal one, and the evaluations of the score, both ``[methods, steps]``."""
    data = _spec(settings).data
    ideal = _smooth(data, settings.truncation)
    levels = jnp.asarray((np.arange(settings.quantiles) + 0.5) / settings.quantiles)
    start, target = quantiles(_smooth(data, START), levels), quantiles(ideal, levels)
    found, costs = np.empty((len(METHODS), len(settings.steps))), np.empty((len(METHODS), len(settings.steps)), int)
    for j, steps in enumerate(settings.steps):
        grid = Grid(REACH, settings.grid)
        made = euler_maruyama_laws(data, 1.0, settings.truncation, steps, 1, grid)[1]
        found[0, j], costs[0, j] = laws.w2(made, ideal), steps
        for i, method in enumerate(METHODS[1:], 1):
            moved = spectral_samplers.sample(
                data,
                jax.random.key(0),  # nothing is drawn: the flow from given quantiles
                settings.quantiles,
                times(steps, settings.truncation),
                method=method,
                start=start[:, None],
            )
            # the flow is monotone, so that quantiles stay quantiles
            found[i, j] = jnp.sqrt(jnp.mean((jnp.sort(moved.points[:, 0]) - target) ** 2))
            costs[i, j] = moved.evaluations
    return found, costs


def _plane_errors(settings, key):
    """Sliced W2^2 ``[methods, steps, seeds]`` in the plane, and how far two ideal clouds are apart, ``[seeds]``.

    The flow is held against the same points moved without error: a cloud of the ideal law that fluctuates as the cloud
    to be judged does. (Where points move by less than the gaps between them no pair is exchanged, and the value is
    how far they move: at least the distance of the laws.) Euler-Maruyama is held against independent points; what two
    clouds of one law are apart is measured and taken off.
    """
    data = Mixture(**PLANE)
    ideal = _smooth(data, settings.truncation)
    squares = np.empty((len(METHODS), len(settings.steps), settings.cloud_seeds))
    floor = np.empty(settings.cloud_seeds)

    def apart(first, second, key):
        return float(sliced_w2(first, second, key, directions=settings.cloud_directions).value) ** 2

    @jax.jit
    def without_error(start):
        # nothing is drawn: the start is given
        fixed, stop = jax.random.key(0), settings.truncation
        return spectral_samplers.adaptive(data, fixed, settings.cloud, stop, START, tolerance=1e-8, start=start).points

    for k in range(settings.cloud_seeds):
        start_key, other_key, noise_key, unit_key = jax.random.split(jax.random.fold_in(key, k), 4)
        start = _smooth(data, START).sample(start_key, settings.cloud)
        other = ideal.sample(other_key, settings.cloud)
        moved = without_error(start)
        floor[k] = apart(moved, other, unit_key)
        for i, method in enumerate(METHODS):
            for j, steps in enumerate(settings.steps):
                grid = times(steps, settings.truncation)
                made = spectral_samplers.sample(data, noise_key, settings.cloud, grid, method=method, start=start)
                squares[i, j, k] = apart(made.points, moved if i else other, unit_key)
    squares[0] -= floor.mean()
    return squares, np.sqrt(floor)


def _adaptive_errors(settings, key):
    """``[tolerances, 2]``: evaluations of the score, and W2 on the line, of diffrax's adaptive solver."""
    data = _spec(settings).data
    levels = jnp.asarray((np.arange(settings.quantiles) + 0.5) / settings.quantiles)
    start = quantiles(_smooth(data, START), levels)
    target = quantiles(_smooth(data, settings.truncation), levels)
    found = []
    for tolerance in settings.tolerances:
        made = spectral_samplers.adaptive(
            data,
            key,
            settings.quantiles,
            settings.truncation,
            START,
            tolerance=tolerance,
            start=start[:, None],
        )
        error = jnp.sqrt(jnp.mean((jnp.sort(made.points[:, 0]) - target) ** 2))
        found.append([float(made.evaluations), float(error)])
    return np.array(found)


def ball(settings, key) -> Stage:
    """S-F6, with feedback: distance to the ideal limit by round, and the ball of SP-12 from the measured error."""
    spec = _spec(settings)
    share, stop = settings.real_fraction, settings.truncation
    data, limit = Line(spec.data), Line(limit_law(spec))
    ideal_end = Line(generated_law(spec, settings.rounds))
    distance = np.empty((len(settings.steps), settings.rounds + 1))
    errors = np.empty((len(settings.steps), settings.rounds))
    modes = np.empty((len(settings.steps), 3, settings.order + 1))
    for j, steps in enumerate(settings.steps):
        made = euler_maruyama_laws(spec.data, share, stop, steps, settings.rounds, Grid(REACH, settings.grid))
        wanted = [Line(_smooth(_pool(spec.data, law, share), stop)) for law in made[:-1]]
        lines = [data, *(Line(law) for law in made[1:])]
        distance[j] = [law.w2(limit) for law in lines]
        errors[j] = [law.w2(ideal) for law, ideal in zip(lines[1:], wanted, strict=True)]
        # all that has gathered, what the last round added, what the first one added
        pairs = ((lines[-1], ideal_end), (lines[-1], wanted[-1]), (lines[1], wanted[0]))
        modes[j] = [law.modes(settings.order) - ideal.modes(settings.order) for law, ideal in pairs]
    largest = errors.max(axis=1)
    radius = np.array([float(error_ball(replace(spec, error_scale=jnp.asarray(e))).values) for e in largest])
    factor = float(spec.scale) * np.sqrt(1 - share)
    forgotten = factor ** np.arange(settings.rounds + 1)
    # before the start is forgotten the same argument gives what is left of it, and a partial sum of the errors
    bound = forgotten * distance[:, :1] + (1 - forgotten) * radius[:, None]
    prediction = Prediction(bound, result="SP-12", observable="W2 to the limit", kind="upper bound")
    verdict = compare(prediction, Trajectory(distance, observable="W2 to the limit"))
    rows = [
        row(
            "Euler-Maruyama, every round, run by run",
            verdict,
            samples=f"{settings.steps[0]}-{settings.steps[-1]} steps",
        )
    ]
    checked = check("SP-12", replace(spec, error_scale=jnp.asarray(largest[0])), key=key)
    rows.append(row(f"every round shifted by the error of {settings.steps[0]} steps", checked.verdict, samples="grid"))
    order, error = fitted_order(settings.steps, largest)
    remarks = [f"error of a round: order {order:.3f} ± {error:.3f} in the steps"]
    for j, steps in enumerate(settings.steps):
        remarks.append(
            f"{steps} steps: error of a round at most {largest[j]:.4g}, last distance {distance[j, -1]:.4g}, "
            f"ball {radius[j]:.4g} (ratio {distance[j, -1] / radius[j]:.2f})"
        )
    remarks.append(_grid_error(settings, spec, distance[0, -1]))
    arrays = {
        "steps": settings.steps,
        "distance": distance,
        "bound": bound,
        "error": errors,
        "radius": radius,
        "modes": modes,
        "size": data.w2(limit),
        "real_fraction": share,
        "truncation": stop,
    }
    return Stage({name: np.asarray(value) for name, value in arrays.items()}, rows, remarks)


def _pool(data: Mixture, made: Mixture, share: float) -> Mixture:
    return Mixture(
        np.concatenate([share * np.asarray(data.weights), (1 - share) * np.asarray(made.weights)]),
        np.concatenate([data.means, made.means]),
        np.concatenate([data.covariances, made.covariances]),
    )


def _grid_error(settings, spec, before: float) -> str:
    """What a finer grid and an exact distance change."""
    finer, steps = Grid(REACH, 2 * settings.grid - 1), settings.steps[0]
    made = euler_maruyama_laws(spec.data, settings.real_fraction, settings.truncation, steps, settings.rounds, finer)
    change = abs(laws.w2(made[-1], limit_law(spec)) / before - 1)
    return f"half the grid spacing and exact quadrature change the last distance at {steps} steps by {change:.1e} of it"


def amplification(settings, key) -> Stage:
    """S-F6, inset: what a constant additive error of every mode settles at, by order."""
    measured, law, rows = [], [], []
    for place, share in enumerate(settings.shares):
        spec = replace(_spec(settings, order=settings.order, error_scale=1e-3), real_fraction=jnp.asarray(share))
        checked = check("SP-12/modes", spec, key=jax.random.fold_in(key, place))
        rows.append(row(f"default data, a = {share:g}", checked.verdict, samples="grid"))
        measured.append(np.asarray(checked.trajectory.values)[:, 1:] / 1e-3)
        law.append(np.asarray(mode_bias(spec).values)[1:] / 1e-3)
    arrays = {
        "shares": np.asarray(settings.shares),
        "orders": np.arange(1, settings.order + 1),
        "measured": np.stack(measured),
        "law": np.stack(law),
        "truncation": np.asarray(settings.truncation),
    }
    return Stage(arrays, rows)
