"""Stages of ``spectral_images`` in pixel space: power spectra (S-F11) and pictures by round, raw and denoised.

Images are centred and scaled to a mean variance of 1 per pixel, the scale of the reference Gaussian. Raw truncated
output gains power where the images have less than white noise has, that is at high frequency (SP-16). Blur comes only
with a final denoising step, and only with the linear one: the exact denoiser of a finite pool gives back what it saw.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.compare import compare
from collapse_jax.data import images
from collapse_jax.metrics.images import radial_power, radial_power_of_moment
from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory import dae_mixed
from collapse_jax.trajectory import Prediction, Trajectory
from experiments.harness import Stage, observation, row
from experiments.image_chains import OUTPUTS, picture_chain
from experiments.image_gain_stages import ERROR_RATE, RELEVANT, gain_laws


def digits(settings, key) -> Stage:
    """S-F11 on the 8x8 digits."""
    seeds = {"raw": settings.picture_seeds, "linear": settings.picture_seeds, "memorised": settings.memorised_seeds}
    return _spectra(settings, key, images.load("digits"), seeds)


def clothing(settings, key) -> Stage:
    """S-F11 on Fashion-MNIST, if it is installed."""
    try:
        pictures = images.load("fashion-mnist")
    except FileNotFoundError as error:
        return Stage({}, remarks=[f"left out: {error}"])
    few = replace(pictures, images=pictures.images[: settings.clothing_images], labels=None)
    seeds = {name: settings.clothing_seeds for name in OUTPUTS}
    seeds["raw"] = settings.clothing_raw_seeds
    return _spectra(settings, key, few, seeds)


def scaled(pictures) -> tuple[np.ndarray, np.ndarray, float]:
    """Points ``[n, d]``, centred, of mean variance 1; the mean image and the factor that were taken out."""
    points, mean = images.centred(pictures)
    factor = np.sqrt((points**2).mean())
    return points.T / factor, mean, float(factor)


def _chains(settings, key, points, share: float, output: str, seeds: int):
    made = picture_chain(
        key,
        jnp.asarray(points),
        np.exp(-settings.truncation),
        round(share * settings.picture_pool),
        size=settings.picture_pool,
        rounds=settings.picture_rounds,
        seeds=seeds,
        output=output,
        shown=settings.shown,
    )
    return tuple(np.asarray(part) for part in made)


def _radial(second: np.ndarray, side: tuple[int, ...]) -> np.ndarray:
    return radial_power_of_moment(second, side)[1]


def _denoised_law(settings, spectrum: np.ndarray, share: float) -> np.ndarray:
    """Eigenvalues that the best linear denoiser makes of an infinite pool, by round: the DAE map, pool-fed."""
    noise = float(np.expm1(2 * settings.truncation))  # (1 - a^2)/a^2
    spec = DAESpec(spectrum=spectrum, noise_var=noise, resample_noise_var=noise, real_fraction=share, feed="pool")
    path = jax.jit(dae_mixed.mixed_spectrum, static_argnums=1)
    pool = np.asarray(path(spec, settings.picture_rounds).values)
    return np.concatenate([spectrum[None], pool[:-1] ** 2 / (pool[:-1] + noise)])


def _spectra(settings, key, pictures, seeds: dict[str, int]) -> Stage:
    points, _, _ = scaled(pictures)
    side, shares = pictures.images.shape[1:], settings.picture_shares
    real = points.T @ points / len(points)
    values, vectors = np.linalg.eigh(real)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    laws = {name: [] for name in ("raw", "raw_along", "linear", "linear_along")}
    # of "second moment - 1", by round: order 2 of SP-6
    gains = gain_laws(shares, settings.truncation, settings.picture_rounds, (2,))
    for share, gain in zip(shares, gains, strict=True):
        laws["raw_along"].append(1 + gain * (values - 1))
        laws["raw"].append(1 + gain * (_radial(real, side) - 1))
        laws["linear_along"].append(_denoised_law(settings, values, share))
        back = np.einsum("di,ki,ei->kde", vectors, laws["linear_along"][-1], vectors)
        laws["linear"].append(np.stack([_radial(second, side) for second in back]))
    arrays = {f"{name}_law": np.stack(law) for name, law in laws.items()}
    rows, remarks = [], []
    for j, output in enumerate(OUTPUTS):
        radial, along, founders = [], [], []
        for i, share in enumerate(shares):
            seed = jax.random.fold_in(key, 10 * i + j)
            second, alive, _ = _chains(settings, seed, points, share, output, seeds[output])
            radial.append(np.stack([[_radial(s, side) for s in run] for run in second]))
            along.append(np.einsum("di,skde,ei->ski", vectors, second, vectors, optimize=True))
            founders.append(alive)
            chain = f"{pictures.name}, {output}, a = {share:g}"
            if output == "raw":
                # linear in the second moment, so that pools of any size obey it in expectation
                prediction = Prediction(laws["raw"][i], result="SP-16", observable="radial power")
                verdict = compare(prediction, Trajectory(radial[i]), error_rate=ERROR_RATE, relevant=RELEVANT)
                rows.append(row(chain, verdict, samples=settings.picture_pool))
            elif output == "linear":
                rows.append(_carry(chain, share, radial[i][:, -1, 0] / laws["linear"][i][-1, 0], settings))
            else:
                ratio = radial[i][:, -1].mean(axis=0) / laws["raw"][i][0]
                remarks.append(
                    f"{chain}: after {settings.picture_rounds} rounds power is {ratio.min():.2f} to {ratio.max():.2f} "
                    f"of the real one, and {alive[:, -1].mean():.0f} founders of {settings.picture_pool} are left"
                )
        arrays |= {f"{output}_radial": np.stack(radial), f"{output}_founders": np.stack(founders)}
        arrays[f"{output}_along"] = np.stack(along)
    arrays |= {"shares": np.asarray(shares), "frequency": radial_power(pictures.images[:1])[0]}
    return Stage(arrays | {"samples": np.asarray(settings.picture_pool)}, rows, remarks)


def _carry(chain: str, share: float, ratio: np.ndarray, settings) -> dict:
    """How far the law of an infinite pool carries for the denoised chain."""
    return observation(
        "SP-16/denoised" if share == 0 else "DAE-13/curve",
        f"power in the lowest ring, round {settings.picture_rounds}",
        chain,
        samples=settings.picture_pool,
        deviation=float(ratio.mean() - 1),
        error=float(ratio.std(ddof=1) / np.sqrt(len(ratio))),
    )


def digits_grid(settings, key) -> Stage:
    """S-F11, the pictures themselves: generated digits by round, raw and denoised."""
    pictures = images.load("digits")
    points, mean, factor = scaled(pictures)
    shown, grids, founders = settings.shown, [], []
    for i, share in enumerate(settings.shares):
        for j, output in enumerate(OUTPUTS):
            seed = jax.random.fold_in(key, 10 * i + j)
            _, alive, made = _chains(settings, seed, points, share, output, 1)
            grids.append(made * factor + mean)
            founders.append(alive[0])
    arrays = {
        "shares": settings.shares,
        "founders": np.stack(founders).reshape(len(settings.shares), len(OUTPUTS), -1),
        "samples": settings.picture_pool,
        "pictures": np.stack(grids)
        .reshape(len(settings.shares), len(OUTPUTS), settings.picture_rounds + 1, shown, *pictures.images.shape[1:3])
        .astype(np.float32),
    }
    return Stage({name: np.asarray(value) for name, value in arrays.items()})
