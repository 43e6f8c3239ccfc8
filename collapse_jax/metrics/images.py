"""What images look like to the eye of a spectrum analyser, and how colourful they are.

The radial power spectrum averages the squared modulus of the discrete Fourier transform over images, channels and
rings of equal spatial frequency. It is linear in the second moment of the pixels: independent noise of variance v in
every pixel has power v at every frequency, and the powers of independent parts of an image add up.

Chroma is that of CIELAB (CIE 15:2004), C = sqrt(a^2 + b^2): how far a colour is from the grey of its lightness, in
steps that look about equal. Pixels are read as sRGB (IEC 61966-2-1), white D65.
"""

import numpy as np
from jaxtyping import Float

from collapse_jax.errors import SpecError
from collapse_jax.metrics.measure import Measure, mean_of, ratio_of

_BATCH = 2**22  # Fourier coefficients held at a time

# linear sRGB to XYZ, from the primaries and the white point
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


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
    images = _stack(images)
    totals = [power.sum(axis=0) for power in _powers(images)]
    return _over_rings(np.sum(totals, axis=0) / len(images))


def _stack(images) -> np.ndarray:
    """``[n, height, width, channels]`` of what may lack the channels."""
    images = np.asarray(images)
    if images.ndim not in (3, 4) or not images.size or min(images.shape[1:3]) < 2:
        raise SpecError(f"images must be [n, height, width] or [n, height, width, channels], got shape {images.shape}.")
    return images[..., None] if images.ndim == 3 else images


def _powers(images: np.ndarray):
    """Power of each Fourier coefficient ``[batch, height, width]``, mean over channels, a batch of images at a time."""
    height, width, channels = images.shape[1:]
    step = max(1, _BATCH // (height * width * channels))
    for start in range(0, len(images), step):
        transform = np.fft.fft2(images[start : start + step], axes=(1, 2))
        yield np.mean(np.abs(transform) ** 2, axis=3) / (height * width)


def radial_power_measure(images) -> tuple[Float[np.ndarray, " rings"], Measure]:
    """``radial_power`` with the standard error of every ring, over independent images.

    Args:
        images: as ``radial_power``, two or more.

    Returns:
        ``(frequency, measure)``, the measure's parts ``[rings]``.

    Raises:
        SpecError: not a stack of two images or more.

    >>> _, found = radial_power_measure(np.random.default_rng(0).standard_normal((500, 8, 8)))
    >>> bool((abs(found.value - 1) < 4 * found.standard_error).all())
    True
    """
    images = _stack(images)
    frequency, _ = _over_rings(np.ones(images.shape[1:3]))
    rings = np.concatenate([[_over_rings(one)[1] for one in power] for power in _powers(images)])
    return frequency, mean_of(rings, "radial power spectrum")


def high_frequency_share(images, *, cutoff: float = 0.25) -> Measure:
    """Share of the power of images at spatial frequencies of ``cutoff`` and above, without the constant part.

    Sum of the mean power over all Fourier coefficients at |f| >= cutoff, corners included, over the sum at |f| > 0.

    Args:
        images: ``[n, height, width]`` or ``[n, height, width, channels]``, two or more.
        cutoff: in cycles per pixel, between 0 and 0.5 (the Nyquist frequency along an axis).

    Returns:
        The share and its standard error over independent images; NaN if every picture is flat.

    Raises:
        SpecError: not a stack of two images or more, or a bad cutoff.

    >>> noise = np.random.default_rng(0).standard_normal((500, 8, 8))
    >>> found = high_frequency_share(noise)  # 55 of the 63 frequencies of an 8x8 picture
    >>> abs(found.value - 55 / 63) < 4 * found.standard_error
    True
    """
    images = _stack(images)
    if not 0 < cutoff <= 0.5:
        raise SpecError(f"cutoff must be above 0 and at most 0.5 cycles per pixel, got {cutoff}.")
    radius, _ = _rings(*images.shape[1:3])
    # a frequency on the cutoff belongs above it, whatever rounding does to its radius
    sums = [
        (power[:, radius >= cutoff - 1e-9].sum(axis=1), power[:, radius > 0].sum(axis=1)) for power in _powers(images)
    ]
    high, every = (np.concatenate(parts) for parts in zip(*sums, strict=True))
    flat = every <= 1e-24 * np.mean(images.astype(float) ** 2)  # what rounding leaves of pictures without contrast
    high, every = np.where(flat, 0, high), np.where(flat, 0, every)
    return ratio_of(high, every, f"share of power at spatial frequencies >= {cutoff:g} cycles per pixel")


def mean_chroma(images, *, white: int | float) -> Measure:
    """Mean CIELAB chroma of colour images: 0 for greys, 104.55 for pure red, 133.81 for pure blue [CIELAB units].

    C = sqrt(a^2 + b^2) of CIE 15:2004 under D65, pixels read as sRGB, averaged over all pixels. Grey images (one
    channel) have 0.

    Args:
        images: ``[n, height, width, 3]`` in the order red, green, blue, or ``[n, height, width, 1]``; two or more.
        white: pixel value of full brightness, such as 255 or 1; pixels are cut to 0 ... white, as a screen does.

    Returns:
        The mean and its standard error over independent images.

    Raises:
        SpecError: not a stack of two such images or more, or white is not positive.

    >>> red = np.zeros((2, 4, 4, 3)) + [1.0, 0.0, 0.0]
    >>> round(mean_chroma(red, white=1).value, 2)
    104.55
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or len(images) < 2 or not images.size:
        raise SpecError(f"images must be [n, height, width, 3] or [n, height, width, 1], n >= 2, got {images.shape}.")
    if not white > 0:
        raise SpecError(f"white must be positive, the pixel value of full brightness, got {white}.")
    name = "mean CIELAB chroma"
    if images.shape[3] == 1:
        return Measure(0.0, 0.0, name)
    step = max(1, _BATCH // images[0].size)
    batches = range(0, len(images), step)
    return mean_of(np.concatenate([_chroma(images[b : b + step] / white) for b in batches]), name)


def _chroma(pixels: np.ndarray) -> np.ndarray:
    """Mean chroma ``[n]`` of sRGB images."""
    pixels = np.clip(pixels, 0, 1)
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    relative = (
        linear @ (_XYZ / _XYZ.sum(axis=1, keepdims=True)).T
    )  # over the white point, so that greys have equal parts
    least = (6 / 29) ** 3
    x, y, z = np.moveaxis(np.where(relative > least, np.cbrt(relative), relative * 841 / 108 + 4 / 29), 3, 0)
    return np.hypot(500 * (x - y), 200 * (y - z)).mean(axis=(1, 2))


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
