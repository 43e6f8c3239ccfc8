"""Stages of ``spectral_images`` on non-Gaussianity along projections (S-F12): finite pools of images, fitted mixtures.

The data law is the empirical law of the images, so its Hermite coefficients are known exactly and the expectation of
every coefficient of a finite pool obeys SP-6 at every size. Orders 3 and 4 are taken in whitened coordinates, where
orders 1 and 2 vanish and stay so; orders 1 and 2 in standardised pixels, which have a mean and unequal variances.
"""

import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.check import check
from collapse_jax.compare import compare
from collapse_jax.data import images
from collapse_jax.metrics.hermite import columns
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory import spectral
from collapse_jax.theory.spectral_laws import generated_law, limit_law
from collapse_jax.theory.spectral_rounds import gain_path
from collapse_jax.trajectory import Prediction, Trajectory
from experiments.harness import Stage, row
from experiments.image_chains import hermite_chain

ORDER = 4
SIGNIFICANT = 5.0
"""A direction is used at an order where the coefficient of the real images is this many standard errors from zero."""

DIRECTIONS = ("skewest direction", "direction of largest order 4")

ERROR_RATE = 0.001
"""Of each row: the table has some thirty of one kind, so that all of them together stay at a few per cent."""

RELEVANT = 0.05
"""Relative deviation of a gain that matters here: non-Gaussianity of real images is small, and so is what is left."""


def digits(settings, key) -> Stage:
    """S-F12 on the 8x8 digits: whole images."""
    pictures = images.load("digits")
    return _whole_images(settings, key, pictures, settings.components)


def clothing(settings, key) -> Stage:
    """S-F12 on Fashion-MNIST, if it is installed: whole images."""
    try:
        pictures = _clothing(settings)
    except FileNotFoundError as error:
        return Stage({}, remarks=[f"left out: {error}"])
    return _whole_images(settings, key, pictures, settings.clothing_components)


def patches(settings, key) -> Stage:
    """S-F12 on patches of Fashion-MNIST, one from a random place of every picture."""
    try:
        pictures = _clothing(settings)
    except FileNotFoundError as error:
        return Stage({}, remarks=[f"left out: {error}"])
    side, grey = settings.patch_side, pictures.images[..., 0] / np.float64(pictures.levels)
    generator = np.random.default_rng(0)
    corners = generator.integers(0, grey.shape[1] - side + 1, (len(grey), 2))
    cut = np.stack([picture[i : i + side, j : j + side].ravel() for picture, (i, j) in zip(grey, corners, strict=True)])
    cut = cut[cut.std(axis=1) > 0.02]  # the empty background is no texture
    cut = cut - cut.mean(axis=1, keepdims=True)
    return _gains(settings, key, f"{side}x{side} patches", cut.T, settings.components)


def _clothing(settings):
    pictures = images.load("fashion-mnist")
    count = min(settings.clothing_images, len(pictures.images))
    return replace(pictures, images=pictures.images[:count], labels=None)


def _whole_images(settings, key, pictures, components: int) -> Stage:
    points, mean = images.centred(pictures)
    return _gains(settings, key, pictures.name, points + mean[:, None], components)


def _gains(settings, key, name: str, pixels: np.ndarray, components: int) -> Stage:
    """Gains in both coordinates; ``pixels`` ``[d, n]``."""
    white = images.whitening(pixels, components).apply(pixels).T
    plain = ((pixels - pixels.mean()) / pixels.std()).T
    generator = np.random.default_rng(0)
    # only projections are looked at, and those onto orthonormal directions are a chain of the same kind
    plain = plain @ _random_frame(generator, plain.shape[1], settings.random_directions)
    random = _random_frame(generator, components, settings.random_directions)
    # random and independent directions are projections of one chain in white coordinates
    both = np.concatenate([random, independent_directions(white)], axis=1)
    first, rest = slice(random.shape[1]), slice(random.shape[1], None)
    coordinates = (
        (plain, np.eye(plain.shape[1]), {"pixels": (slice(None), (1, 2))}),
        (white, both, {"random": (first, (3, 4)), "ica": (rest, (3, 4))}),
    )
    arrays: dict[str, np.ndarray] = {"shares": np.asarray(settings.shares), "samples": np.asarray(settings.gain_pool)}
    rows, remarks = [], []
    for number, (points, directions, kinds) in enumerate(coordinates):
        real, score = _real_coefficients(points, directions)
        runs = _runs(settings, jax.random.fold_in(key, number), points, directions)
        if number:
            remarks.append(_low_orders(name, runs[0]))
        for kind, (part, orders) in kinds.items():
            # a sum weighted with the real coefficients: a ratio of means, whose expectation is the law exactly
            weight = np.where(score[part] > SIGNIFICANT, real[part], 0)[:, orders]
            used = (weight != 0).sum(axis=0)
            remarks.append(f"{name}, {kind}: {_and(used)} of {len(weight)} directions used at orders {_and(orders)}")
            if not used.all():
                continue
            gain = np.einsum("askwm,wm->askm", runs[..., part, :][..., orders], weight) / (weight**2).sum(axis=0)
            law = gain_laws(settings.shares, settings.truncation, settings.gain_rounds, orders)
            for share, measured, predicted in zip(settings.shares, gain, law, strict=True):
                prediction = Prediction(predicted, result="SP-6", observable=f"gains of orders {_and(orders)}")
                verdict = compare(prediction, Trajectory(measured), error_rate=ERROR_RATE, relevant=RELEVANT)
                rows.append(row(f"{name}, {kind} directions, a = {share:g}", verdict, samples=settings.gain_pool))
            arrays |= {f"{kind}_gain": gain, f"{kind}_law": law, f"{kind}_used": used}
    return Stage(arrays, rows, remarks)


def _and(values) -> str:
    return " and ".join(f"{value}" for value in values)


def _random_frame(generator, dimension: int, count: int) -> np.ndarray:
    """Uniform unit columns ``[d, count]``, orthonormal in groups of at most d."""
    frames = [np.linalg.qr(generator.standard_normal((dimension, dimension)))[0] for _ in range(-(-count // dimension))]
    return np.concatenate(frames, axis=1)[:, :count]


def independent_directions(white: np.ndarray) -> np.ndarray:
    """``[r, r]`` unit columns along which white points ``[n, r]`` are least Gaussian (FastICA)."""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # components that are nearly Gaussian never settle, and any direction will do
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = FastICA(whiten="unit-variance", random_state=0, max_iter=300).fit(white[:20000])
    rows = np.asarray(fitted.components_)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T


def _real_coefficients(points, directions):
    """Coefficients of the real points ``[w, ORDER + 1]``, and their size in standard errors of a sample like this."""
    values = np.stack([np.asarray(c) for c in columns(jnp.asarray(points @ directions), ORDER)], axis=-1)
    real, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    error = np.where(spread > 0, spread, np.inf) / np.sqrt(len(points))
    return real, np.abs(real) / error


def gain_laws(shares, truncation: float, rounds: int, orders) -> np.ndarray:
    """Gains ``[shares, rounds + 1, orders]`` that SP-6 predicts for the mode of each order, from the data."""

    @jax.jit
    @jax.vmap
    def law(share):
        spec = SpectralSpec([1.0], [0.0], [1.0], real_fraction=share, truncation=truncation)
        return gain_path(spec, rounds, np.array(orders))

    return np.asarray(law(jnp.asarray(shares)))


def _runs(settings, key, points, directions) -> np.ndarray:
    """Coefficients ``[shares, seeds, rounds + 1, w, ORDER + 1]``."""
    runs = [
        hermite_chain(
            jax.random.fold_in(key, place),
            jnp.asarray(points),
            np.exp(-settings.truncation),
            round(share * settings.gain_pool),
            jnp.asarray(directions),
            size=settings.gain_pool,
            rounds=settings.gain_rounds,
            seeds=settings.gain_seeds,
            order=ORDER,
        )
        for place, share in enumerate(settings.shares)
    ]
    return np.stack([np.asarray(run) for run in runs])


def _low_orders(name: str, run: np.ndarray) -> str:
    """How far mean and variance of white data move, ``run`` ``[seeds, rounds + 1, w, ORDER + 1]``: largest of all."""
    low = run[..., 1:3]
    score = np.abs(low.mean(axis=0)) / (low.std(axis=0, ddof=1) / np.sqrt(len(low)))
    return (
        f"{name}, whitened, no real data: orders 1 and 2 stay zero, largest mean {np.abs(low.mean(axis=0)).max():.4f} "
        f"({score.max():.1f} standard errors, the largest of {score.size})"
    )


def mixture(settings, key) -> Stage:
    """S-F12 without finite pools: particles from a mixture fitted to the digits against its exact law."""
    from sklearn.mixture import GaussianMixture

    points, mean = images.centred(images.load("digits"))
    whitening = images.whitening(points, settings.mixture_dimension)
    white = whitening.apply(points).T
    fitted = GaussianMixture(settings.mixture_components, reg_covar=0.02, random_state=0).fit(white)
    # the fit's own mean and covariance are those of white data only nearly: nothing here needs them to be
    weights = np.asarray(fitted.weights_)
    base = SpectralSpec(
        weights / weights.sum(),
        fitted.means_,
        fitted.covariances_,
        real_fraction=0.1,
        truncation=settings.truncation,
        order=ORDER,
    )
    directions = independent_directions(white)
    along = jax.jit(jax.vmap(lambda w: spectral.data_modes(replace(base, direction=w)).values))
    coefficients = np.asarray(along(jnp.asarray(directions.T)))
    chosen = directions[:, [np.abs(coefficients[:, 3]).argmax(), np.abs(coefficients[:, 4]).argmax()]]
    rounds, particles = settings.mixture_rounds, settings.mixture_particles
    measured, law, rows = [], [], []
    for i, share in enumerate(settings.shares):
        for j, direction in enumerate(chosen.T):
            spec = replace(base, real_fraction=jnp.asarray(share), direction=jnp.asarray(direction))
            seed = jax.random.fold_in(key, 10 * i + j)
            checked = check("SP-6", spec, key=seed, generations=rounds, samples=particles)
            # orders 1 and 2 are next to nothing in a mixture fitted to white data: no scale to hold a deviation against
            predicted = np.asarray(checked.prediction.values)[:, 3 + j]
            found = np.asarray(checked.trajectory.values)[..., 3 + j]
            verdict = compare(
                Prediction(predicted, result="SP-6", observable=f"mode of order {3 + j}"),
                Trajectory(found),
                error_rate=ERROR_RATE,
                relevant=RELEVANT,
            )
            rows.append(row(f"digits mixture, {DIRECTIONS[j]}, a = {share:g}", verdict, samples=particles))
            measured.append(found)
            law.append(predicted)
    shape = (len(settings.shares), 2)
    arrays = {
        "shares": settings.shares,
        "mode": np.stack(measured).reshape(*shape, -1, rounds + 1),
        "law": np.stack(law).reshape(*shape, rounds + 1),
        "real": coefficients[:, 3:],
        "samples": particles,
        **_mixture_pictures(settings, key, base, whitening, mean),
    }
    return Stage({name: np.asarray(value) for name, value in arrays.items()}, rows)


def _mixture_pictures(settings, key, base, whitening, mean) -> dict:
    """Points of the exact laws, as pictures: real share 0.1, by round and in the limit."""
    ages = [0, 1, 3, 10]
    laws = [generated_law(base, age) for age in ages] + [limit_law(base)]
    pictures = []
    draw = jax.jit(lambda law, key: law.sample(key, settings.shown))
    for place, law in enumerate(laws):
        white = np.asarray(draw(law, jax.random.fold_in(key, 1000 + place)))
        pictures.append(whitening.invert(white.T).T + mean)
    return {"ages": ages, "pictures": np.stack(pictures).reshape(len(laws), settings.shown, 8, 8).astype(np.float32)}
