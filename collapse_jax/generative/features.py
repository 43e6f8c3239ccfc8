"""Features to hold images against each other by: the last hidden layer of a small classifier of the real images.

Three 3x3 convolutions, the later ones of stride 2 (the first too, for sides above 16), then a layer of ``FEATURES``
units and one of the classes. The convolutions are written as products with patches: on a CPU a convolution inside a
scan is an order of magnitude slower. Training and its seed are fixed, so one data set gives one extractor; it is kept
in the user's cache under a name that hashes the images, the settings and the versions, as plain arrays.

Images without labels are told apart by how they are turned: each is shown in all four quarter turns, and the classifier
says which one it is. A distance on these features is as good as the classifier: its name carries what it was trained to
tell and the test accuracy. It is no FID.
"""

import hashlib
import json
import os
import platform
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from collapse_jax.data.cache import cache_folder
from collapse_jax.data.images import ImageSet
from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.generative.training import adam

FEATURES = 64
"""Width of the last hidden layer."""

HELD_OUT = 5
"""Without a test set, one image in so many is kept from training."""

_STEPS = 50  # of training in one dispatch
_BATCH = 500  # images whose features are computed at a time


@dataclass(frozen=True)
class Training:
    """How the classifier is trained.

    Attributes:
        images: how many are shown in all, at least, each as often as any other.
        epochs: how often each is shown, at least.
        batch: images of a step.
        rate: largest step size of Adam.
        channels: of the three convolutions.
        seed: of the start and of the order of the images.
    """

    images: int = 20_000
    epochs: int = 3
    batch: int = 100
    rate: float = 2e-3
    channels: tuple[int, int, int] = (24, 48, 48)
    seed: int = 0


def _patches(x, stride: int):
    """Every 3x3 patch ``[batch, height, width, 9 channels]``, zeros around the picture."""
    height, width = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = [x[:, i : i + height : stride, j : j + width : stride] for i in range(3) for j in range(3)]
    return jnp.concatenate(parts, axis=-1)


class Classifier(nnx.Module):
    """Three convolutions and two layers: pictures ``[batch, height, width, channels]`` to logits of classes."""

    def __init__(self, shape: tuple[int, ...], classes: int, channels: tuple[int, int, int], *, rngs: nnx.Rngs):
        height, width, inward = shape
        self.strides = (2 if min(height, width) > 16 else 1, 2, 2)
        layers = []
        for stride, outward in zip(self.strides, channels, strict=True):
            layers.append(nnx.Linear(9 * inward, outward, rngs=rngs))
            height, width, inward = -(-height // stride), -(-width // stride), outward
        self.convolutions = nnx.List(layers)
        self.hidden = nnx.Linear(height * width * inward, FEATURES, rngs=rngs)
        self.head = nnx.Linear(FEATURES, classes, rngs=rngs)

    def features(self, x):
        """``[batch, FEATURES]``; a smooth unit keeps them from being 0 for every image."""
        for stride, layer in zip(self.strides, self.convolutions, strict=True):
            x = jax.nn.relu(layer(_patches(x, stride)))
        return jax.nn.gelu(self.hidden(x.reshape(len(x), -1)))

    def __call__(self, x):
        return self.head(self.features(x))


@dataclass(frozen=True, eq=False)
class Extractor:
    """Features of images, and what they are.

    Attributes:
        name: in full, for the measures made on them.
        accuracy: share of the test images that the classifier tells right.
        test_images: how many there were.
        shape: ``(height, width, channels)`` of the images it takes.
        levels: the value that stands for full brightness.
    """

    name: str
    accuracy: float
    test_images: int
    shape: tuple[int, int, int]
    levels: int
    _graph: Any
    _parameters: Any
    _scale: tuple[float, float]

    def __call__(self, images) -> np.ndarray:
        """Features ``[n, FEATURES]`` in float64 of images ``[n, *shape]`` with pixel values 0 ... ``levels``.

        Raises:
            SpecError: images of another shape, or none.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.shape or not len(images):
            raise SpecError(f"images must be [n, {', '.join(map(str, self.shape))}], got shape {images.shape}.")
        found = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            missing = min(_BATCH, len(images)) - len(batch)  # one shape, one program
            batch = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
            shown = (batch.astype(np.float32) / np.float32(self.levels) - self._scale[0]) / self._scale[1]
            made = _features(self._graph, self._parameters, jnp.asarray(shown, jnp.float32))
            found.append(np.asarray(made, float)[: _BATCH - missing])
        return np.concatenate(found)[: len(images)]


@partial(jax.jit, static_argnames="graph")
def _features(graph, parameters, x):
    return nnx.merge(graph, parameters).features(x)


@partial(jax.jit, static_argnames="graph")
def _classes(graph, parameters, x):
    return jnp.argmax(nnx.merge(graph, parameters)(x), axis=-1)


@partial(jax.jit, static_argnames=("graph", "optimizer"))
def _train(graph, parameters, state, pictures, labels, scale, order, *, optimizer):
    """A step of Adam for every row of ``order`` ``[steps, batch]``, in one program."""

    def objective(parameters, x, y):
        logits = nnx.merge(graph, parameters)(x)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    def step(carry, places):
        parameters, state = carry
        x = (pictures[places].astype(jnp.float32) - scale[0]) / scale[1]
        loss, slope = jax.value_and_grad(objective)(parameters, x, labels[places])
        move, state = optimizer.update(slope, state, parameters)
        return (optax.apply_updates(parameters, move), state), loss

    (parameters, state), losses = jax.lax.scan(step, (parameters, state), order)
    return parameters, state, losses[-1]


def _fresh(shape, classes: int, training: Training):
    rngs = nnx.Rngs(params=jax.random.key(training.seed))
    return nnx.split(Classifier(shape, classes, training.channels, rngs=rngs))


def _fit(images: ImageSet, training: Training, classes: int, mean: float, spread: float):
    """The trained classifier as ``(graph, parameters)``."""
    graph, parameters = _fresh(images.images.shape[1:], classes, training)
    n = len(images.images)
    batch = min(training.batch, n)
    epochs = max(training.epochs, -(-training.images // n))
    generator = np.random.default_rng(training.seed)
    order = np.concatenate([generator.permutation(n)[: n - n % batch].reshape(-1, batch) for _ in range(epochs)])
    optimizer = adam(training.rate, len(order))
    pictures, labels = jnp.asarray(images.images), jnp.asarray(np.asarray(images.labels, np.int32))
    scale = jnp.asarray([mean * images.levels, spread * images.levels], jnp.float32)
    with jax.numpy_dtype_promotion("standard"):  # optax raises its counter to a float
        state = optimizer.init(parameters)
        for start in range(0, len(order), _STEPS):
            some = jnp.asarray(order[start : start + _STEPS].astype(np.int32))
            parameters, state, loss = _train(
                graph, parameters, state, pictures, labels, scale, some, optimizer=optimizer
            )
            if not np.isfinite(loss):
                raise MeasurementError(f"loss of the classifier is {loss} by step {start + _STEPS}: lower the rate.")
    return graph, parameters


def _halved(images: ImageSet, test: ImageSet | None, seed: int) -> tuple[ImageSet, ImageSet]:
    """Images to train on and to test with."""
    if test is not None:
        if test.images.shape[1:] != images.images.shape[1:] or test.levels != images.levels:
            raise SpecError(f"test must hold images like those of {images.name}, got shape {test.images.shape}.")
        return images, test
    order = np.random.default_rng(seed).permutation(len(images.images))
    held = len(order) // HELD_OUT
    if held < 1:
        raise SpecError(f"{images.name} has {len(order)} images: {HELD_OUT} or more are needed.")

    def part(places):
        labels = None if images.labels is None else images.labels[places]
        return ImageSet(images.images[places], labels, images.name, images.levels)

    return part(order[held:]), part(order[:held])


def _turned(images: ImageSet) -> ImageSet:
    """Images in all four quarter turns, which are their classes."""
    if images.images.shape[1] != images.images.shape[2]:
        shape = " x ".join(map(str, images.images.shape[1:3]))
        raise SpecError(f"{images.name} has no labels and is not square ({shape}): give labels, or square images.")
    turned = np.concatenate([np.rot90(images.images, quarters, axes=(1, 2)) for quarters in range(4)])
    return ImageSet(turned, np.repeat(np.arange(4), len(images.images)), images.name, images.levels)


def _identity(images: ImageSet, test: ImageSet, training: Training) -> str:
    """A hash of everything that decides the extractor."""
    digest = hashlib.sha256()
    for one in (images, test):
        for array in (one.images, np.asarray(one.labels)):
            digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    packages = {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    facts = {
        "training": asdict(training),
        "features": FEATURES,
        "levels": images.levels,
        "layout": 1,  # raise it when the network or its training changes
        "machine": [platform.machine(), jax.default_backend()],
        "packages": packages,
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def _read(path: Path, parameters):
    """Parameters and accuracy from the cache, in the shapes of ``parameters``; None if they are not there whole."""
    leaves, structure = jax.tree.flatten(parameters)
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = [file[f"p{place}"] for place in range(len(leaves))]
            accuracy = float(file["accuracy"])
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    fit = all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip(arrays, leaves, strict=True))
    if not fit or not 0 <= accuracy <= 1 or not all(np.isfinite(array).all() for array in arrays):
        return None
    return jax.tree.unflatten(structure, [jnp.asarray(array) for array in arrays]), accuracy


def _write(path: Path, parameters, accuracy: float) -> None:
    """Whole or not at all; a cache that cannot be written costs time the next time, and no more."""
    arrays = {f"p{place}": np.asarray(leaf) for place, leaf in enumerate(jax.tree.leaves(parameters))}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            try:
                np.savez(file, allow_pickle=False, accuracy=accuracy, **arrays)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError:
        return


def extractor(
    images: ImageSet, test: ImageSet | None = None, *, training: Training | None = None, folder: Path | None = None
) -> Extractor:
    """The feature extractor of a set of real images: read from the cache, or trained and kept there.

    Args:
        images: real images, with labels to learn; square ones without are learnt by their quarter turns.
        test: others of the same kind; None keeps every fifth image from training, chosen by the seed.
        training: settings; None takes the defaults.
        folder: of the cache; None is the user's.

    Returns:
        The extractor; its ``name`` says what it is, such as "small CNN on digits, 64 features, test accuracy 0.980".

    Raises:
        SpecError: no labels and no squares, or a test set of another kind.
        MeasurementError: the training diverges.
    """
    training = Training() if training is None else training
    train, held = _halved(images, test, training.seed)
    by_turns = train.labels is None or held.labels is None
    if by_turns:
        train, held = _turned(train), _turned(held)
    assert train.labels is not None and held.labels is not None  # noqa: PT018  (for the type checker)
    classes = int(max(train.labels.max(), held.labels.max())) + 1
    if min(train.labels.min(), held.labels.min()) < 0 or classes < 2:
        raise SpecError(f"labels of {images.name} must be 0 ... classes - 1 with two classes or more.")
    pixels = train.images.reshape(-1)[:: max(1, train.images.size // 10**7)] / train.levels
    mean, spread = float(pixels.mean()), float(max(pixels.std(), 1e-3))
    shape = train.images.shape[1:]
    place = cache_folder() if folder is None else Path(folder)
    path = place / f"features-{_identity(train, held, training)[:32]}.npz"
    with jax.enable_x64(False):  # one extractor, whatever the caller computes in
        graph, parameters = _fresh(shape, classes, training)
        known = _read(path, parameters)
        if known is None:
            graph, parameters = _fit(train, training, classes, mean, spread)
            accuracy = _accuracy(graph, parameters, held, mean, spread)
            _write(path, parameters, accuracy)
        else:
            parameters, accuracy = known
    told = " by quarter turns" if by_turns else ""
    name = f"small CNN on {images.name}{told}, {FEATURES} features, test accuracy {accuracy:.3f}"
    return Extractor(name, accuracy, len(held.images), shape, train.levels, graph, parameters, (mean, spread))


def _accuracy(graph, parameters, test: ImageSet, mean: float, spread: float) -> float:
    right = 0
    assert test.labels is not None
    for start in range(0, len(test.images), _BATCH):
        x = (test.images[start : start + _BATCH].astype(np.float32) / np.float32(test.levels) - mean) / spread
        found = _classes(graph, parameters, jnp.asarray(x, jnp.float32))
        right += int((np.asarray(found) == test.labels[start : start + _BATCH]).sum())
    return right / len(test.images)
