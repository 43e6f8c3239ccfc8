"""What the trained runs of Reflow share: sizes of a round, the first network, and the prediction beside every arm.

The prediction RF-13 (RF-14 where the first model reverses) is for linear velocities: what a network does beside it is
observed, it is no verdict. Its one unknown, the gain that a fit loses, is measured on Reflow without real pairs; a fit
that gains variance counts as one that loses nothing. A seed is predicted from the other seeds: the end of a run is no
prediction from its own losses.
"""

import numpy as np

from collapse_jax.distributed import everywhere
from collapse_jax.errors import SpecError
from collapse_jax.generative.checkpoints import restore, save
from collapse_jax.generative.networks import parameter_count
from collapse_jax.recursion.reflow import ARMS, Arm, Round, first_rectification
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.theory.reflow_pairs import frozen_variance, lossy_variance
from experiments.harness import observation


def plan(settings, steps: int | None = None) -> Round:
    """Sizes of a round, on all devices; ``steps`` of training if they are not those of the settings."""
    return Round(
        pairs=settings.pairs,
        steps=settings.steps if steps is None else steps,
        batch=settings.batch,
        rate=settings.rate,
        solver_steps=settings.solver_steps,
        dispatch=settings.dispatch,
        decay=settings.decay,
        at_once=getattr(settings, "at_once", None),
        mesh=everywhere(settings.batch),
    )


def fitting(settings, arms) -> None:
    """Refuse arms that do not fit the sizes, or leave out Reflow itself, before anything is trained.

    Raises:
        SpecError: names what does not fit.
    """
    if "Reflow" not in arms:
        raise SpecError(f"arms must hold Reflow, whose loss of gain the prediction needs, got {', '.join(arms)}.")
    for name in arms:
        plan(settings).allows(ARMS[name])


def first_network(settings, graph, blank, real, key, folder, described: dict, say):
    """Averaged parameters of the first rectification of ``blank``, read back if they were made before."""
    kept = restore(folder, blank, described)
    if kept is not None:
        return kept[1]
    say(f"first rectification, {parameter_count(blank)} parameters, {settings.first_steps} steps")
    under_way = folder.with_name(f"{folder.name}_under_way")
    parameters = first_rectification(
        graph, blank, real, key, plan(settings), settings.first_steps, folder=under_way, settings=described
    )
    save(folder, 0, parameters, described)
    return parameters


def lost_gain(variance):
    """eta-hat of every round: 1 - sqrt(tr Cov_{k+1} / tr Cov_k) of variances ``[..., rounds + 1]`` (R-F7).

    >>> lost_gain(np.array([1.0, 0.81])).round(3).tolist()
    [0.1]
    """
    variance = np.asarray(variance, float)
    return 1 - np.sqrt(variance[..., 1:] / variance[..., :-1])


def others(lost) -> np.ndarray:
    """For each of ``[seeds]`` losses the mean of those of the other seeds; a single one stands for itself.

    >>> others([0.1, 0.2, 0.3]).round(3).tolist()
    [0.25, 0.2, 0.15]
    """
    lost = np.asarray(lost, float)
    return lost if len(lost) == 1 else (lost.sum() - lost) / (len(lost) - 1)


def predicted(arm: Arm, first: float, lost: float, rounds: int) -> np.ndarray:
    """Relative variance ``[rounds + 1]`` by RF-13, or RF-14 for pairs reversed by the first model, loss ``lost``.

    Noise on the latents of the first model (RF-12 with its u_1 in place of u) is a first model of another variance:
    1/u_1 becomes (1 - tau^2)/u_1 + tau^2.
    """
    frozen = arm.inverter == "first"
    spec = ReflowSpec(
        [1.0],
        start=first,
        real_pairs=arm.real_share,
        noise=0.0 if frozen else arm.noise,
        inverter="first" if frozen else "current",
        frozen=1 / ((1 - arm.noise**2) / first + arm.noise**2) if frozen else 1.0,
        fit_loss=max(0.0, lost),
    )
    return np.asarray((frozen_variance if frozen else lossy_variance)(spec, rounds).values)[:, 0]


def laws(arms: list[Arm], relative, lost) -> np.ndarray:
    """``[seeds, arms, rounds + 1]`` predictions from relative variances of those shapes and losses ``[seeds]``."""
    rounds = relative.shape[-1] - 1
    return np.stack(
        [
            [predicted(arm, relative[seed, place, 0], one, rounds) for place, arm in enumerate(arms)]
            for seed, one in enumerate(others(lost))
        ]
    )


def beside(names: list[str], relative, error, law, *, title: str, samples: int) -> tuple[list[dict], list[str]]:
    """Rows of the last round of every arm, and remarks that say how far the linear theory carries.

    Args:
        names: of the arms.
        relative, law: relative variances ``[seeds, arms, rounds + 1]``, measured and predicted.
        error: standard errors of ``relative``, of the sampling of points alone.
        title: of the data.
        samples: real points.
    """
    seeds, off, rows, remarks = len(relative), relative / law - 1, [], []
    # between seeds everything counts; a single one leaves the error of its sample
    spread = off.std(axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else (error / law)[0]
    for place, name in enumerate(names):
        if name == "Reflow" and seeds == 1:
            continue  # it would be predicted from itself
        arm, mean = ARMS[name], off[:, place].mean(axis=0)
        rows.append(
            observation(
                "RF-14" if arm.inverter == "first" else "RF-13",
                f"relative variance, round {relative.shape[-1] - 1}",
                f"{title}, {name}",
                samples=samples,
                deviation=float(mean[-1]),
                error=float(spread[place, -1]),
            )
        )
        # one sampling error at least: few seeds may lie together by chance
        sampling = np.sqrt(np.mean((error / law)[:, place] ** 2, axis=0) / seeds)
        out = np.abs(mean[1:]) > 4 * np.maximum(spread[place, 1:], sampling[1:])
        remarks.append(
            f"{title}, {name}: linear theory "
            + (f"left by round {int(out.argmax()) + 1}, {100 * mean[1 + out.argmax()]:+.1f} %" if out.any() else "kept")
            + f"; {100 * mean[-1]:+.1f} % in the end"
        )
    return rows, remarks
