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
from collapse_jax.distributed import everywhere
from collapse_jax.errors import SpecError
from collapse_jax.generative.features import Training, extractor
from collapse_jax.generative.networks import PatchMixer, fresh, parameter_count
from collapse_jax.generative.samplers import transport, uniform
from collapse_jax.generative.unet import UNet
from collapse_jax.metrics.features import frechet, total_variance
from collapse_jax.metrics.images import high_frequency_share, mean_chroma
from collapse_jax.metrics.neighbours import generalisation, neighbourhood
from collapse_jax.recursion.reflow import ARMS, Arm, generation, start
from collapse_jax.recursion.retraining import retrain
from experiments.harness import Stage
from experiments.reflow_arms import beside, first_network, fitting, laws, lost_gain, plan

MEASURES = ("Fréchet", "recall", "total variance", "high freq.", "generalisation", "precision", "coverage", "chroma")
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
        near = neighbourhood(real, ours, key=key, k=3, repeats=4)
        found = [
            frechet(ours, real, extractor=self.features.name),
            near.recall,
            total_variance(flat),
            high_frequency_share(made),
            generalisation(flat, training, held).score,
            near.precision,
            near.coverage,
        ]
        if self.shape[2] == 3:
            found.append(mean_chroma(made, white=self.levels))
        return np.array([[one.value, one.standard_error] for one in found], float)


def _split(settings) -> tuple[ImageSet, ImageSet]:
    """The images to train on and those held out, chosen once for all seeds."""
    images = load(settings.data, least=settings.held + 20)
    order = np.random.default_rng(0).permutation(len(images.images))

    def part(places):
        labels = None if images.labels is None else images.labels[places]
        return ImageSet(images.images[places], labels, images.name, images.levels)

    return part(order[settings.held : settings.held + settings.images]), part(order[: settings.held])


def study(settings) -> Study:
    """The images of a run and their features."""
    train, held = _split(settings)
    mean, spread = float(train.images.mean()), float(max(train.images.std(), 1e-3))
    standard = jnp.asarray((train.images - mean) / spread, jnp.float32)
    about = Training(epochs=settings.feature_epochs, images=settings.feature_images)
    features = extractor(train, held, training=about)
    return Study(standard, train.images, held.images, mean, spread, train.levels, features, train.name)


def network(settings, key, shape: tuple[int, int, int]):
    """Graph and parameters: a patch mixer, quick on CPUs, or a U-Net."""
    height, width, channels = shape
    if height != width:
        raise SpecError(f"data must hold square images, got {height} x {width}.")
    if settings.network == "mixer":
        patch = max(edge for edge in range(1, max(2, height // 4) + 1) if height % edge == 0)
        return fresh(key, PatchMixer, height, channels, patch=patch, width=settings.width, blocks=settings.blocks)
    levels = (1, 2, 2) if height % 4 == 0 else (1,)
    about = {"width": settings.width, "multipliers": levels, "blocks": settings.blocks}
    attention = tuple(size for size in settings.attention if size <= height)
    return fresh(key, UNet, height, channels, attention=attention, dtype=jnp.dtype(settings.compute), **about)


_DECIDE = (
    "data", "rounds", "pairs", "images", "held", "steps", "first_steps", "batch", "rate", "decay", "width", "blocks",
    "solver_steps", "evaluations", "looked", "dispatch", "feature_epochs", "feature_images", "network", "attention",
    "compute",
)  # fmt: skip


def _described(settings, **others) -> dict:
    return {name: getattr(settings, name) for name in _DECIDE} | others


def _images_of(settings, real: Study, graph, parameters, z, steps: int) -> np.ndarray:
    made = transport(
        graph, parameters, z, uniform(steps), solver="euler", at_once=settings.at_once, mesh=everywhere(settings.batch)
    )
    return real.pixels(made)


def _chain(settings, real: Study, key, arm: Arm, name: str, folder, say) -> dict:
    """One arm from one seed.

    Returns:
        ``seen`` ``[rounds + 1, nfe, measures, 2]``, the ``grid`` of fixed latents by round, and ``samples``, those of
        the last round at the most evaluations, uint8.
    """
    net_key, train_key, latent_key, chain_key, look_key = jax.random.split(key, 5)
    graph, blank = network(settings, net_key, real.shape)
    described = _described(settings)
    parameters = first_network(settings, graph, blank, real.training, train_key, folder / "first", described, say)
    z = jax.random.normal(latent_key, (settings.looked, *real.shape), jnp.float32)

    def observe(number, _, state):
        made = {steps: _images_of(settings, real, graph, state["current"], z, steps) for steps in settings.evaluations}
        looks = {f"{steps} evaluations": real.look(images, look_key) for steps, images in made.items()}
        named = {
            f"{measure}, {steps}": look[place]
            for steps, look in looks.items()
            for place, measure in enumerate(real.measures)
        }
        return named | {"grid": made[settings.grid_evaluations][: settings.shown] / real.levels, "loss": state["loss"]}

    def last(state):
        made = _images_of(settings, real, graph, state["current"], z, max(settings.evaluations))
        return {"samples": np.rint(made * (255 / real.levels)).astype(np.uint8)}

    found = retrain(
        generation(arm, graph, real.training, plan(settings)),
        start(parameters),
        settings.rounds,
        chain_key,
        observe=observe,
        folder=folder / name.replace(" ", "_").replace(",", ""),
        settings=described | {"arm": [arm.real_share, arm.noise, arm.inverter, arm.portions, arm.form]},
        report=lambda number, seen: say(f"{name}, round {number} of {settings.rounds}", number),
        last=last,
    )
    seen = [
        np.stack([found[f"{measure}, {steps} evaluations"] for measure in real.measures], axis=1)
        for steps in settings.evaluations
    ]
    return {"seen": np.stack(seen, axis=1), "grid": found["grid"], "samples": found["samples"]}


def _reference(settings, real: Study, key) -> np.ndarray:
    """What training images, as many as are looked at, look like beside held-out ones: ``[measures]``."""
    found = real.look(real.train[: settings.looked].astype(float), key)[:, 0]
    found[MEASURES.index("generalisation")] = 1.0  # of held-out images, by definition
    return found


def _cost(settings, real: Study, key, chains: int) -> str:
    """Parameters and work of a stage, said before it starts."""
    count = parameter_count(network(settings, key, real.shape)[1])
    trained = settings.first_steps * settings.seeds + chains * settings.rounds * settings.steps
    pairs = chains * settings.rounds * plan(settings).evaluations
    return (
        f"{real.name}: {len(real.train)} images {'x'.join(map(str, real.shape))}, network of {count} parameters; "
        f"{chains} chains: {trained} training steps of {settings.batch}, {pairs:.1e} evaluations for pairs"
    )


def _say(settings, desk, seed: int, place: int, chains: int):
    """Progress of chain ``place`` of the ``chains`` of a seed."""
    title = f"seed {seed + 1} of {settings.seeds}"
    return desk.chain(title, seed * chains + place, settings.seeds * chains, settings.rounds)


def rounds(settings, key, desk) -> Stage:
    """R-F8 and R-F10: all arms by round."""
    names = list(settings.arms)
    fitting(settings, names)
    real = study(settings)
    cost = _cost(settings, real, key, settings.seeds * len(names))
    desk.say(cost)
    seen, first = [], []
    for seed in range(settings.seeds):
        own, folder = jax.random.fold_in(key, seed), desk.folder / f"seed_{seed}"
        runs = [
            _chain(settings, real, own, ARMS[name], name, folder, _say(settings, desk, seed, place, len(names)))
            for place, name in enumerate(names)
        ]
        seen.append(np.stack([run["seen"] for run in runs]))
        first = first or runs
    shown = [number for number in (0, 1, 3, 5, 10) if number <= settings.rounds]
    arrays = {
        "arms": np.array(names),
        "measures": np.array(real.measures),
        "seen": np.stack(seen),
        "real": _reference(settings, real, key),
        "evaluations_shown": np.array(settings.evaluations),
        "grid": np.stack([run["grid"] for run in first])[:, shown],
        "samples": np.stack([run["samples"] for run in first]),
        "rounds_shown": np.array(shown),
        "grid_evaluations": np.asarray(settings.grid_evaluations),
    }
    relative, error, trace = _relative(settings, real, arrays["seen"])
    lost = lost_gain(relative[:, names.index("Reflow")]).mean(axis=-1)
    law = laws([ARMS[name] for name in names], relative, lost)
    rows, carries = beside(names, relative, error, law, title=real.name, samples=len(real.train))
    arrays |= {"variance_law": law * trace, "lost": lost}
    shown = ", ".join(f"{100 * one:+.2f} %" for one in lost)
    remarks = [cost, f"features: {real.features.name}", f"gain lost a round by Reflow, by seed: {shown}", *carries]
    return Stage(arrays, rows, remarks)


def _relative(settings, real: Study, seen) -> tuple[np.ndarray, np.ndarray, float]:
    """Total variance over that of the training images at the most evaluations, its error, and the latter."""
    trace = total_variance(real.train.reshape(len(real.train), -1) / real.levels).value
    most, place = int(np.argmax(settings.evaluations)), real.measures.index("total variance")
    return seen[..., most, place, 0] / trace, seen[..., most, place, 1] / trace, float(trace)


def share(settings, key, desk) -> Stage:
    """R-F9: the last round by real share and noise."""
    real = study(settings)
    pairs = [(noise, b) for noise in settings.noises for b in settings.shares]
    # without real pairs the noise does nothing: one chain serves every tau
    chains = settings.seeds * (sum(b > 0 for _, b in pairs) + (0.0 in settings.shares))
    cost = _cost(settings, real, key, chains)
    desk.say(cost)
    if 0.0 not in settings.shares:
        raise SpecError(f"shares must hold 0, Reflow itself, got {settings.shares}.")
    runs = []
    for seed in range(settings.seeds):
        own, folder, found = jax.random.fold_in(key, seed), desk.folder / f"seed_{seed}", {}
        for noise, b in pairs:
            arm = Arm(real_share=b, noise=noise if b else 0.0)
            if arm not in found:
                name = f"b {arm.real_share:g} tau {arm.noise:g}"
                say = _say(settings, desk, seed, len(found), chains // settings.seeds)
                found[arm] = _chain(settings, real, own, arm, name, folder, say)["seen"]
        runs.append(np.stack([found[Arm(real_share=b, noise=noise if b else 0.0)] for noise, b in pairs]))
    seen, grid = np.stack(runs), (len(settings.noises), len(settings.shares))  # [seeds, pairs, rounds + 1, ...]
    relative, _, trace = _relative(settings, real, seen)
    lost = lost_gain(relative[:, pairs.index((settings.noises[0], 0.0))]).mean(axis=-1)
    law = trace * laws([Arm(real_share=b, noise=noise if b else 0.0) for noise, b in pairs], relative, lost)[..., -1]
    arrays = {
        "last": seen[:, :, -1].reshape(settings.seeds, *grid, *seen.shape[3:]),
        "variance_law": law.reshape(settings.seeds, *grid),
        "shares": np.array(settings.shares),
        "noises": np.array(settings.noises),
        "measures": np.array(real.measures),
        "real": _reference(settings, real, key),
        "evaluations_shown": np.array(settings.evaluations),
        "evaluations_at": np.asarray(settings.evaluations.index(settings.grid_evaluations)),
        "rounds": np.asarray(settings.rounds),
    }
    return Stage(arrays, remarks=[cost, f"features: {real.features.name}"])
