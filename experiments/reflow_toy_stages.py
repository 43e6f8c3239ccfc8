"""Stages of ``reflow_toy``: every arm of Reflow on two-dimensional laws, and how much variance a fit loses a round.

What is seen of a round is seen of one cloud of latents, the same in every round, arm and width of a seed, so that
differences between rounds carry little of its noise. The predictions beside it: ``reflow_arms``.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from collapse_jax.generative.networks import MLP, fresh
from collapse_jax.generative.samplers import heun, one_step_error, round_trip_error, uniform
from collapse_jax.generative.samplers import straightness as path_straightness
from collapse_jax.metrics.clouds import sliced_w2
from collapse_jax.metrics.features import total_variance
from collapse_jax.metrics.measure import mean_of
from collapse_jax.metrics.neighbours import modes
from collapse_jax.recursion.reflow import ARMS, generation, start
from collapse_jax.recursion.retraining import retrain
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.theory.reflow import straightness as paths
from collapse_jax.theory.reflow_pairs import pair_correlation, settled_variance
from experiments.harness import Stage, observation
from experiments.reflow_arms import beside, first_network, fitting, laws, lost_gain, plan

SPECTRUM = (2.0, 0.5)
"""Variances of the Gaussian along its axes."""

SPREAD = 0.15
"""Standard deviation of a mode of the ring, per coordinate."""

ANGLES = np.arange(8) * np.pi / 4
CENTRES = 1.5 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
"""``[8, 2]`` centres of the ring."""

SEEN = ("w2", "variance", "one_step", "straightness", "round_trip")


def gaussian_cloud(key, count: int):
    """``[count, 2]`` points of the Gaussian, in float32."""
    scale = jnp.asarray(np.sqrt(SPECTRUM), jnp.float32)
    return scale[None] * jax.random.normal(key, (count, 2), jnp.float32)


def ring_cloud(key, count: int):
    """``[count, 2]`` points of the ring of eight Gaussians, in float32."""
    mode_key, noise_key = jax.random.split(key)
    centres = jnp.asarray(CENTRES, jnp.float32)[jax.random.randint(mode_key, (count,), 0, 8)]
    return centres + jnp.float32(SPREAD) * jax.random.normal(noise_key, (count, 2), jnp.float32)


@partial(jax.jit, static_argnames="graph")
def _look(graph, parameters, z, x, fine, rough):
    """Endpoints on a fine grid; one-step error, straightness and round trip (on the grid of the pairs), by point."""
    model = nnx.merge(graph, parameters)
    one = one_step_error(model, z, fine)
    return heun(model, z, fine), one, path_straightness(model, z, fine), round_trip_error(model, x, rough)


def observer(settings, graph, cloud, key):
    """What ``retrain`` sees of a state: each of ``SEEN`` with its standard error, ``[2]``; modes of the ring."""
    latent_key, data_key, direction_key = jax.random.split(key, 3)
    z = jax.random.normal(latent_key, (settings.looked, 2), jnp.float32)
    x = cloud(data_key, settings.looked)
    fine, rough = uniform(settings.fine_steps), uniform(settings.solver_steps)

    def observe(number, _, state):
        ends, *each = _look(graph, state["current"], z, x, fine, rough)
        points = np.asarray(ends, float)
        found = [
            sliced_w2(points, np.asarray(x, float), direction_key, directions=settings.directions),
            total_variance(points),
            *(mean_of(np.asarray(values, float), "mean over points") for values in each),
        ]
        seen = {
            name: np.array([one.value, one.standard_error], float) for name, one in zip(SEEN, found, strict=True)
        } | {"evaluations": state["evaluations"], "loss": state["loss"]}
        if cloud is ring_cloud:
            at = modes(points, CENTRES, radius=4 * SPREAD)
            seen |= {
                "mode_weights": np.asarray(at.weights.value),
                "mode_spreads": np.asarray(at.spreads.value),
                "outside": np.array([at.outside.value, at.outside.standard_error]),
            }
        return seen

    return observe


def _described(settings, **others) -> dict:
    """Settings that decide the numbers of a chain, for its checkpoint."""
    names = (
        "rounds",
        "pairs",
        "steps",
        "first_steps",
        "batch",
        "rate",
        "decay",
        "width",
        "solver_steps",
        "fine_steps",
        "looked",
        "directions",
        "dispatch",
        "depth",
    )
    return {name: getattr(settings, name) for name in names} | others


def _first(settings, key, cloud, width: int, folder, say):
    """Graph, parameters and real points of round 0, read back if they were made before."""
    net_key, data_key, train_key = jax.random.split(key, 3)
    graph, parameters = fresh(net_key, MLP, 2, width=width, depth=settings.depth)
    real = cloud(data_key, settings.pairs)
    described = _described(settings, cloud=cloud.__name__, network=width)
    return graph, first_network(settings, graph, parameters, real, train_key, folder, described, say), real


def _chain(settings, key, cloud, width, steps, name, folder, say):
    """One arm from one seed: ``{observable: [rounds + 1, ...]}``.

    Keys do not hang on the arm: arms are compared in pairs.
    """
    first_key, look_key, chain_key = jax.random.split(key, 3)
    graph, parameters, real = _first(settings, first_key, cloud, width, folder / f"first_{width}", say)
    return retrain(
        generation(ARMS[name], graph, real, plan(settings, steps)),
        start(parameters),
        settings.rounds,
        chain_key,
        observe=observer(settings, graph, cloud, look_key),
        folder=folder / f"{name}_{width}_{steps}".replace(" ", "_").replace(",", ""),
        settings=_described(settings, cloud=cloud.__name__, arm=name, network=width, round_steps=steps),
        report=lambda number, seen: say(
            f"{name}, round {number} of {settings.rounds}: variance {seen['variance'][0]:.3f}, W2 {seen['w2'][0]:.3f}",
            number,
        ),
    )


def _stacked(runs) -> dict:
    """A list of dictionaries as one of arrays with a leading axis."""
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def straight(arm, spectrum) -> float:
    """Straightness of paths by RF-15 with the correlation of RF-16 at u = 1, mean over the directions of a Gaussian.

    The noise of an SDE differs between directions (RF-17).
    """
    found = []
    for variance in spectrum:
        kept = np.exp(-np.pi * arm.diffusion**2 / (4 * np.sqrt(variance))) if arm.form == "sde" else None
        noise = arm.noise if kept is None else np.sqrt(1 - kept**2)
        pairs = pair_correlation(ReflowSpec([variance], real_pairs=arm.real_share, noise=noise)).values[0]
        found.append(float(paths(ReflowSpec([variance], correlation=float(pairs))).values[0]))
    return float(np.mean(found))


def _arms(settings, key, desk, cloud, trace: float, spectrum=None) -> Stage:
    """All arms on one law."""
    names, runs, round_of = list(settings.arms), [], plan(settings)
    fitting(settings, names)
    chains = settings.seeds * len(names)
    cost = (
        f"{chains} chains of {settings.rounds} rounds of {settings.steps} training steps of {settings.batch}; a round "
        f"{round_of.evaluations} evaluations for its {round_of.pairs} pairs in every arm; every arm sees the same "
        f"{settings.pairs} real points"
    )
    desk.say(cost)
    for seed in range(settings.seeds):
        own, folder, each = jax.random.fold_in(key, seed), desk.folder / f"seed_{seed}", []
        for place, name in enumerate(names):
            title = f"seed {seed + 1} of {settings.seeds}"
            say = desk.chain(title, seed * len(names) + place, chains, settings.rounds)
            each.append(_chain(settings, own, cloud, settings.width, settings.steps, name, folder, say))
        runs.append(_stacked(each))
    seen = _stacked(runs)  # [seeds, arms, rounds + 1, ...]
    relative, error = (seen["variance"][..., at] / trace for at in (0, 1))
    lost = lost_gain(relative[:, names.index("Reflow")]).mean(axis=-1)
    law = laws([ARMS[name] for name in names], relative, lost)
    title = cloud.__name__.partition("_")[0]
    rows, carries = beside(names, relative, error, law, title=title, samples=settings.pairs)
    arrays = {name: np.asarray(values) for name, values in seen.items()}
    if spectrum is not None:
        arrays["straight_law"] = np.array([straight(ARMS[name], spectrum) for name in names])
        for place, name in enumerate(names):
            (ends, alone), said = seen["straightness"][:, place, -1].T, arrays["straight_law"][place]
            if said < 1e-3:  # pairs of a deterministic map: paths are straight
                continue
            rows.append(
                observation(
                    "RF-15/straightness",
                    f"straightness, round {settings.rounds}",
                    f"{title}, {name}",
                    samples=settings.pairs,
                    deviation=float(ends.mean() / said - 1),
                    error=float((ends.std(ddof=1) / np.sqrt(seeds) if (seeds := len(ends)) > 1 else alone[0]) / said),
                )
            )
    shown = ", ".join(f"{100 * one:+.2f} %" for one in lost)
    remarks = [
        cost,
        f"gain lost a round by Reflow, by seed: {shown}",
        *carries,
    ]
    arrays |= {"arms": np.array(names), "relative": relative, "law": law, "lost": lost, "trace": np.asarray(trace)}
    return Stage(arrays, rows, remarks)


def gaussian(settings, key, desk) -> Stage:
    """R-F6 on a Gaussian."""
    return _arms(settings, key, desk, gaussian_cloud, sum(SPECTRUM), SPECTRUM)


def ring(settings, key, desk) -> Stage:
    """R-F6 on the ring of eight modes."""
    return _arms(settings, key, desk, ring_cloud, 1.5**2 + 2 * SPREAD**2)


def shrink(settings, key, desk) -> Stage:
    """R-F7: gain that Reflow loses a round, by width and length of training, and the level RF-13 makes of it."""
    lost, last = [], []
    for seed in range(settings.seeds):
        own, folder = jax.random.fold_in(key, seed), desk.folder / f"seed_{seed}"
        found, grid = [], len(settings.widths) * len(settings.lengths)
        for width in settings.widths:
            for steps in settings.lengths:
                title, place = f"width {width}, {steps} steps", seed * grid + len(found)
                say = desk.chain(title, place, settings.seeds * grid, settings.rounds)
                seen = _chain(settings, own, gaussian_cloud, width, steps, "Reflow", folder, say)
                found.append(seen["variance"][:, 0] / sum(SPECTRUM))
        shape = (len(settings.widths), len(settings.lengths), -1)
        last.append(np.stack(found).reshape(shape))
        lost.append(lost_gain(last[-1]))
    eta = np.stack(lost)  # [seeds, widths, lengths, rounds]
    mean = eta.mean(axis=(0, 3))
    level = np.array([[[_settled(b, t, one) for one in row] for row in mean] for b, t in LEVELS])
    remarks = [
        f"width {width}: gain lost a round {', '.join(f'{100 * one:+.2f} %' for one in row)} at "
        f"{', '.join(map(str, settings.lengths))} steps"
        for width, row in zip(settings.widths, mean, strict=True)
    ]
    arrays = {"eta": eta, "relative": np.stack(last), "level": level, "levels": np.array(LEVELS)}
    arrays |= {"widths": np.array(settings.widths), "lengths": np.array(settings.lengths)}
    return Stage(arrays, remarks=remarks)


LEVELS = ((0.3, 0.3), (0.3, 0.6), (0.3, 1.0))
"""Pairs (b, tau) whose level RF-13 is asked for."""


def _settled(share: float, noise: float, lost: float) -> float:
    """u* of RF-13 at the loss found; a fit that gains counts as one that loses nothing."""
    spec = ReflowSpec([1.0], real_pairs=share, noise=noise, fit_loss=max(0.0, float(lost)))
    return float(np.asarray(settled_variance(spec).values)[0])
