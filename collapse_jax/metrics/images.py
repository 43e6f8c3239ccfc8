"""What images look like to the eye of a spectrum analyser.

The radial power spectrum averages the squared modulus of the discrete Fourier transform over images, channels and
rings of equal spatial frequency. It is linear in the second moment of the pixels: independent noise of variance v in
every pixel has power v at every frequency, and the powers of independent parts of an image add up.
"""

import numpy as np
from jaxtyping import Float

from collapse_jax.errors import SpecError


def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Radius of every Fourier coefficient [cycles per pixel], and the ring that it falls into."""
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    return radius, np.rint(radius * min(height, width)).astype(int)


def radial_power(images) -> tuple[Float[np.ndarray, " rings"], Float[np.ndarray, " rings"]]:
    """Mean power of images over rings of spatial frequency, without the constant part of the picture.

    Ring j = 1, 2, ... holds the frequencies nearest to j cycles per shorter side. Only whole rings are reported, up to
    half the shorter side (the Nyquist frequency along an axis); the corners of the frequency plane are left out.

    Args:
        images: ``[n, height, width]`` or ``[n, height, width, channels]``, two pixels a side or more.

    Returns:
        ``(frequency, power)``: mean frequency of each ring [cycles per pixel] and mean squared modulus over the ring,
        divided by the number of pixels [pixel units^2].

    Raises:
        SpecError: not a stack of images.

    >>> frequency, power = radial_power(np.random.default_rng(0).standard_normal((2000, 8, 8)))
    >>> frequency.round(2).tolist(), bool(abs(power - 1).max() < 0.02)
    ([0.15, 0.27, 0.38, 0.5], True)
    """
    images = np.asarray(images)
    if images.ndim not in (3, 4) or not images.size or min(images.shape[1:3]) < 2:
        raise SpecError(f"images must be [n, height, width] or [n, height, width, channels], got shape {images.shape}.")
    height, width = images.shape[1:3]
    others = (0,) if images.ndim == 3 else (0, 3)
    return _over_rings(np.mean(np.abs(np.fft.fft2(images, axes=(1, 2))) ** 2, axis=others) / (height * width))


def radial_power_of_moment(second, shape) -> tuple[Float[np.ndarray, " rings"], Float[np.ndarray, " rings"]]:
    """The same of a law of images, from the second moment of its pixels: for laws that are known by that alone.

    Args:
        second: ``[d, d]`` second moment of images flattened in the order of ``shape`` [pixel units^2].
        shape: ``(height, width)`` or ``(height, width, channels)``, with product d.

    Returns:
        ``(frequency, power)`` as ``radial_power``.

    Raises:
        SpecError: sizes that do not fit.

    >>> radial_power_of_moment(np.eye(64), (8, 8))[1].round(12).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    second, shape = np.asarray(second), tuple(shape)
    if len(shape) not in (2, 3) or min(shape[:2]) < 2 or second.shape != (np.prod(shape),) * 2:
        raise SpecError(f"second must be [d, d] for images of shape {shape}, got shape {second.shape}.")
    height, width, channels = (*shape, 1)[:3]
    pixels = np.einsum("ijcklc->ijkl", second.reshape(height, width, channels, height, width, channels)) / channels
    # F S F^H, F the transform: divided by the number of pixels where the inverse transform is
    spectrum = np.fft.fft2(np.fft.ifft2(pixels, axes=(2, 3)), axes=(0, 1))
    return _over_rings(np.einsum("uvuv->uv", spectrum).real)


def _over_rings(power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean frequency and mean of ``power`` ``[height, width]`` in each whole ring."""
    radius, ring = _rings(*power.shape)
    ring = np.where(ring <= min(power.shape) // 2, ring, 0).ravel()
    count = np.bincount(ring)[1:]
    return np.bincount(ring, radius.ravel())[1:] / count, np.bincount(ring, power.ravel())[1:] / count
