"""The radial power spectrum: what it must give for waves, noise, flat pictures and sums."""

import numpy as np
import pytest

from collapse_jax.errors import SpecError
from collapse_jax.metrics.images import radial_power, radial_power_of_moment

NOISE = np.random.default_rng(0).standard_normal((40, 16, 16))


@pytest.mark.parametrize("cycles", [1, 3, 8])
def test_a_wave_lies_in_the_ring_of_its_frequency(cycles):
    """cos of an integer number of cycles: two coefficients of modulus^2 hw / 4 (one of hw at the Nyquist frequency)."""
    across = np.cos(2 * np.pi * cycles * np.arange(16) / 16)
    wave = np.broadcast_to(across, (1, 16, 16))
    frequency, power = radial_power(wave)
    assert np.argmax(power) == cycles - 1
    assert abs(frequency[cycles - 1] - cycles / 16) < 0.5 / 16
    np.testing.assert_allclose(np.delete(power, cycles - 1), 0, atol=1e-20)
    # the same whatever the direction of the wave
    np.testing.assert_allclose(radial_power(wave.swapaxes(1, 2))[1], power, atol=1e-12)


def test_white_noise_is_flat_and_powers_add_in_the_second_moment():
    generator = np.random.default_rng(1)
    noise = 2 * generator.standard_normal((100, 200, 8, 8))
    powers = np.array([radial_power(batch)[1] for batch in noise])
    error = powers.std(axis=0, ddof=1) / np.sqrt(len(powers))
    assert (np.abs(powers.mean(axis=0) - 4) < 4.5 * error).all()
    both = np.concatenate([NOISE, 3 * NOISE])
    np.testing.assert_allclose(radial_power(both)[1], 5 * radial_power(NOISE)[1], rtol=1e-12)


def test_rings_against_the_plain_sum():
    """Frequency by frequency, with loops."""
    picture = NOISE[0, :6, :8]
    frequency, power = radial_power(picture[None])
    rows, columns = np.arange(6), np.arange(8)
    rings: dict[int, list] = {}
    for u in range(-3, 3):
        for v in range(-4, 4):
            wave = np.exp(-2j * np.pi * (u * rows[:, None] / 6 + v * columns[None] / 8))
            radius = np.hypot(u / 6, v / 8)
            rings.setdefault(round(6 * radius), []).append((radius, abs((picture * wave).sum()) ** 2 / 48))
    expected = np.array([np.mean(rings[ring], axis=0) for ring in (1, 2, 3)])
    np.testing.assert_allclose(np.stack([frequency, power], axis=1), expected, rtol=1e-12)


def test_brightness_and_channels():
    """A constant adds nothing; channels are averaged."""
    _, power = radial_power(NOISE)
    np.testing.assert_allclose(radial_power(NOISE + 5)[1], power, rtol=1e-10)
    colours = np.stack([NOISE, NOISE, 2 * NOISE], axis=-1)
    np.testing.assert_allclose(radial_power(colours)[1], 2 * power, rtol=1e-12)


@pytest.mark.parametrize("shape", [(8, 8), (0, 8, 8), (3, 1, 8), (2, 2, 2, 2, 2)])
def test_what_is_no_stack_of_images_is_refused(shape):
    with pytest.raises(SpecError, match="images must be"):
        radial_power(np.zeros(shape))


@pytest.mark.parametrize("shape", [(6, 6), (5, 8), (4, 4, 3)])
def test_spectrum_of_a_second_moment_is_that_of_the_pictures(shape):
    pictures = np.random.default_rng(3).standard_normal((20, *shape))
    flat = pictures.reshape(20, -1)
    frequency, power = radial_power_of_moment(flat.T @ flat / 20, shape)
    np.testing.assert_allclose(frequency, radial_power(pictures)[0], rtol=1e-12)
    np.testing.assert_allclose(power, radial_power(pictures)[1], rtol=1e-10)


@pytest.mark.parametrize("shape", [(8, 8), (3, 5), (15,), (3, 5, 1, 1), (15, 1)])
def test_a_second_moment_that_does_not_fit_is_refused(shape):
    with pytest.raises(SpecError, match="second must be"):
        radial_power_of_moment(np.eye(15 if shape != (3, 5) else 14), shape)
