"""Stages of ``reflow_images``: every arm of Reflow on images, at few evaluations of the network and at many.

Pixels are standardised by one mean and one deviation, those of the training images. Images are made from one cloud of
latents by Euler steps: 1, 2, 5, 10 and 50 evaluations are as many steps. All that is seen of them is held against
images that were never trained on: the Fréchet distance of two halves of real images is the dotted line, not zero.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.data.images import ImageSet, load
from collapse_jax.errors import SpecError
from collapse_jax.generative.checkpoints import restore, save
from collapse_jax.generative.features import Training, extractor
from collapse_jax.generative.networks import PatchMixer, fresh, parameter_count
from collapse_jax.generative.samplers import transport, uniform
from collapse_jax.generative.unet import UNet
from collapse_jax.metrics.features import frechet, total_variance
from collapse_jax.metrics.images import high_frequency_share, mean_chroma
from collapse_jax.metrics.neighbours import generalisation, neighbourhood
from collapse_jax.recursion.reflow import ARMS, Arm, Round, first_rectification, generation, start
from collapse_jax.recursion.retraining import retrain
from experiments.harness import Stage

MEASURES = ("Fréchet", "recall", "total variance", "high freq.", "generalisation", "chroma")
"""What is seen of images; chroma of colour images only."""


@dataclass(frozen=True, eq=False)
class Study:
    """The real images of a run, and how others are held against them.

    Attributes:
        training: standardised training images ``[n, height, width, channels]``, float32.
        train, held: the same and held-out images, as pixel values 0 ... ``levels``.
        mean, spread: of the training pixels.
        levels: of full brightness.
        features: their extractor.
        name: of the images.
    """

    training: Any
    train: np.ndarray
    held: np.ndarray
    mean: float
    spread: float
    levels: int
    features: Any
    name: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)``."""
        height, width, channels = self.train.shape[1:]
        return height, width, channels

    @property
    def measures(self) -> tuple[str, ...]:
        """Those that say something about these images."""
        return MEASURES if self.shape[2] == 3 else MEASURES[:-1]

    def pixels(self, standardised) -> np.ndarray:
        """Pixel values 0 ... ``levels`` of standardised images, cut as a screen does."""
        raw = np.asarray(standardised, float) * self.spread + self.mean
        return np.clip(raw, 0, self.levels)

    def look(self, made, key) -> np.ndarray:
        """``[measures, 2]`` values and standard errors of images with pixel values."""
        held, training = (images.reshape(len(images), -1) / self.levels for images in (self.held, self.train))
        flat = made.reshape(len(made), -1) / self.levels
        ours, real = self.features(made), self.features(self.held)
        found = [
            frechet(ours, real, extractor=self.features.name),
            neighbourhood(real, ours, key=key, k=3, repeats=4).recall,
            total_variance(flat),
            high_frequency_share(made),
            generalisation(flat, training, held).score,
        ]
        if self.shape[2] == 3:
            found.append(mean_chroma(made, white=self.levels))
        return np.array([[one.value, one.standard_error] for one in found], float)


def _split(settings) -> tuple[ImageSet, np.ndarray, np.ndarray]:
    """The set, its training images and those held out, chosen once for all seeds."""
    images = load(settings.data, least=settings.held + 20)
    if images.labels is None:
        raise SpecError(f"{images.name} has no labels, which the features are trained on: give a labelled set.")
    order = np.random.default_rng(0).permutation(len(images.images))
    held, train = order[: settings.held], order[settings.held : settings.held + settings.images]
    return images, images.images[train], images.images[held]


def study(settings) -> Study:
    """The images of a run and their features."""
    images, train, held = _split(settings)
    mean, spread = float(train.mean()), float(max(train.std(), 1e-3))
    standard = jnp.asarray((train - mean) / spread, jnp.float32)
    features = extractor(images, training=Training(epochs=settings.feature_epochs, images=settings.feature_images))
    return Study(standard, train, held, mean, spread, images.levels, features, images.name)


def network(settings, key, shape: tuple[int, int, int]):
    """Graph and parameters: a patch mixer on small images, a U-Net on others."""
    height, width, channels = shape
    if height != width:
        raise SpecError(f"data must hold square images, got {height} x {width}.")
    if height < 16:
        patch = 2 if height % 2 == 0 else 1
        return fresh(key, PatchMixer, height, channels, patch=patch, width=settings.width, blocks=settings.blocks)
    levels = (1, 2, 2) if height % 4 == 0 else (1,)
    return fresh(key, UNet, height, channels, width=settings.width, multipliers=levels, blocks=settings.blocks)


def _plan(settings) -> Round:
    return Round(
        pairs=settings.pairs,
        steps=settings.steps,
        batch=settings.batch,
        rate=settings.rate,
        solver_steps=settings.solver_steps,
        dispatch=settings.dispatch,
        decay=settings.decay,
        at_once=settings.at_once,
    )


_DECIDE = (
    "data", "rounds", "pairs", "images", "held", "steps", "first_steps", "batch", "rate", "decay", "width", "blocks",
    "solver_steps", "evaluations", "looked", "dispatch", "feature_epochs", "feature_images",
)  # fmt: skip


def _described(settings, **others) -> dict:
    return {name: getattr(settings, name) for name in _DECIDE} | others


def _images_of(settings, real: Study, graph, parameters, z, steps: int) -> np.ndarray:
    made = transport(graph, parameters, z, uniform(steps), solver="euler", at_once=settings.at_once)
    return real.pixels(made)


def _chain(settings, real: Study, key, arm: Arm, name: str, folder, say) -> dict:
    """One arm from one seed: ``seen`` ``[rounds + 1, nfe, measures, 2]`` and the ``grid`` of fixed latents."""
    net_key, train_key, latent_key, chain_key, look_key = jax.random.split(key, 5)
    graph, blank = network(settings, net_key, real.shape)
    plan, described = _plan(settings), _described(settings)
    kept = restore(folder / "first", blank, described)
    if kept is None:
        say(f"first rectification, {parameter_count(blank)} parameters, {settings.first_steps} steps")
        parameters = first_rectification(graph, blank, real.training, train_key, plan, settings.first_steps)
        save(folder / "first", 0, parameters, described)
    else:
        parameters = kept[1]
    z = jax.random.normal(latent_key, (settings.looked, *real.shape), jnp.float32)

    def observe(number, _, state):
        made = {steps: _images_of(settings, real, graph, state["current"], z, steps) for steps in settings.evaluations}
        return {
            "seen": np.stack([real.look(images, look_key) for images in made.values()]),
            "grid": made[settings.grid_evaluations][: settings.shown] / real.levels,
            "loss": state["loss"],
        }

    return retrain(
        generation(arm, graph, real.training, plan),
        start(parameters),
        settings.rounds,
        chain_key,
        observe=observe,
        folder=folder / name.replace(" ", "_").replace(",", ""),
        settings=described | {"arm": [arm.real_share, arm.noise, arm.inverter, arm.portions]},
        report=lambda number, seen: say(f"{name}, round {number} of {settings.rounds}"),
    )


def _reference(settings, real: Study, key) -> np.ndarray:
    """What training images, as many as are looked at, look like beside held-out ones: ``[measures]``."""
    found = real.look(real.train[: settings.looked].astype(float), key)[:, 0]
    found[MEASURES.index("generalisation")] = 1.0  # of held-out images, by definition
    return found


def _cost(settings, real: Study, key, chains: int) -> str:
    """Parameters and work of a stage, said before it starts."""
    count = parameter_count(network(settings, key, real.shape)[1])
    trained = settings.first_steps * settings.seeds + chains * settings.rounds * settings.steps
    pairs = chains * settings.rounds * _plan(settings).evaluations
    return (
        f"{real.name}: {len(real.train)} images {'x'.join(map(str, real.shape))}, network of {count} parameters; "
        f"{chains} chains: {trained} training steps of {settings.batch}, {pairs:.1e} evaluations for pairs"
    )


def rounds(settings, key, desk) -> Stage:
    """R-F8 and R-F10: all arms by round."""
    real, names = study(settings), list(settings.arms)
    cost = _cost(settings, real, key, settings.seeds * len(names))
    desk.say(cost)
    seen, grid = [], []
    for seed in range(settings.seeds):
        own, folder = jax.random.fold_in(key, seed), desk.folder / f"seed_{seed}"

        def say(line, seed=seed):
            desk.say(f"seed {seed + 1} of {settings.seeds}: {line}")

        runs = [_chain(settings, real, own, ARMS[name], name, folder, say) for name in names]
        seen.append(np.stack([run["seen"] for run in runs]))
        grid = [run["grid"] for run in runs] if seed == 0 else grid
    shown = [number for number in (0, 1, 3, 5, 10) if number <= settings.rounds]
    arrays = {
        "arms": np.array(names),
        "measures": np.array(real.measures),
        "seen": np.stack(seen),
        "real": _reference(settings, real, key),
        "evaluations_shown": np.array(settings.evaluations),
        "grid": np.stack(grid)[:, shown],
        "rounds_shown": np.array(shown),
        "grid_evaluations": np.asarray(settings.grid_evaluations),
    }
    return Stage(arrays, remarks=[cost, f"features: {real.features.name}"])


def share(settings, key, desk) -> Stage:
    """R-F9: the last round by real share and noise."""
    real = study(settings)
    pairs = [(noise, b) for noise in settings.noises for b in settings.shares]
    # without real pairs the noise does nothing: one chain serves every tau
    chains = settings.seeds * (sum(b > 0 for _, b in pairs) + (0.0 in settings.shares))
    cost = _cost(settings, real, key, chains)
    desk.say(cost)
    last = []
    for seed in range(settings.seeds):
        own, folder, found = jax.random.fold_in(key, seed), desk.folder / f"seed_{seed}", {}
        for noise, b in pairs:
            arm = Arm(real_share=b, noise=noise if b else 0.0)
            if arm not in found:
                name = f"b {arm.real_share:g} tau {arm.noise:g}"
                found[arm] = _chain(settings, real, own, arm, name, folder, desk.say)["seen"][-1]
        ends = [found[Arm(real_share=b, noise=noise if b else 0.0)] for noise, b in pairs]
        last.append(np.stack(ends).reshape(len(settings.noises), len(settings.shares), *ends[0].shape))
    arrays = {
        "last": np.stack(last),
        "shares": np.array(settings.shares),
        "noises": np.array(settings.noises),
        "measures": np.array(real.measures),
        "real": _reference(settings, real, key),
        "evaluations_shown": np.array(settings.evaluations),
        "evaluations_at": np.asarray(settings.evaluations.index(settings.grid_evaluations)),
        "rounds": np.asarray(settings.rounds),
    }
    return Stage(arrays, remarks=[cost, f"features: {real.features.name}"])
