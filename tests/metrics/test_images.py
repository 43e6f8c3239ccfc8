"""Radial power, share of high frequencies, chroma: waves, noise, flat pictures, sums, published colours."""

import numpy as np
import pytest

from collapse_jax.errors import SpecError
from collapse_jax.metrics import images as module
from collapse_jax.metrics.images import (
    high_frequency_share,
    mean_chroma,
    radial_power,
    radial_power_measure,
    radial_power_of_moment,
)

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


def test_power_with_error_bars_is_the_same_power(monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 1000)
    colours = np.random.default_rng(4).standard_normal((30, 6, 8, 3))
    frequency, found = radial_power_measure(colours)
    np.testing.assert_allclose(found.value, radial_power(colours)[1], rtol=1e-12)
    np.testing.assert_array_equal(frequency, radial_power(colours)[0])
    one_by_one = np.array([radial_power(colour[None])[1] for colour in colours])
    np.testing.assert_allclose(found.standard_error, one_by_one.std(axis=0, ddof=1) / np.sqrt(30), rtol=1e-10)


@pytest.mark.parametrize(("cycles", "share"), [(1, 0), (3, 0), (4, 1), (8, 1)])
def test_a_wave_is_all_low_or_all_high(cycles, share):
    """Sixteen pixels, cutoff 0.25: the fourth ring lies on it and belongs to the high ones."""
    wave = np.broadcast_to(7 + np.cos(2 * np.pi * cycles * np.arange(16) / 16), (2, 16, 16))
    found = high_frequency_share(wave)
    assert found.value == pytest.approx(share, abs=1e-12)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_share_of_high_frequencies_of_sums_and_flat_pictures():
    rows = np.arange(16) / 16
    low, high = np.cos(2 * np.pi * 2 * rows), np.cos(2 * np.pi * 6 * rows)
    pictures = np.broadcast_to(2 * low[:, None] + high, (3, 16, 16))
    assert high_frequency_share(pictures).value == pytest.approx(1 / 5, rel=1e-12)
    assert high_frequency_share(pictures, cutoff=0.1).value == pytest.approx(1, rel=1e-12)
    assert np.isnan(high_frequency_share(np.full((3, 16, 16), 0.1)).value)
    assert "0.25 cycles per pixel" in high_frequency_share(NOISE).name


def test_error_bar_of_the_share_is_the_spread_of_repetitions():
    generator = np.random.default_rng(5)
    blurred = generator.standard_normal((1000, 100, 4, 4)) * generator.uniform(size=(1000, 100, 1, 1))
    blurred = blurred + np.roll(blurred, 1, axis=3)
    found = np.array([high_frequency_share(stack, cutoff=0.4)[:2] for stack in blurred])
    ratio = found[:, 0].var(ddof=1) / np.mean(found[:, 1] ** 2)
    assert abs(ratio - 1) < 4 * np.sqrt(3 / 1000) + 2 / 100


# from the CIELAB coordinates (a, b) of sRGB primaries under D65, as published by B. Lindbloom and others
COLOURS = {
    (1, 0, 0): (80.09, 67.20),
    (0, 1, 0): (-86.18, 83.18),
    (0, 0, 1): (79.19, -107.86),
    (1, 1, 0): (-21.55, 94.48),
}


@pytest.mark.parametrize(("colour", "ab"), COLOURS.items())
def test_chroma_of_primaries(colour, ab):
    pictures = np.broadcast_to(np.array(colour, float), (2, 4, 4, 3))
    found = mean_chroma(pictures, white=1)
    assert found.value == pytest.approx(np.hypot(*ab), abs=0.02)
    assert mean_chroma((255 * pictures).astype(np.uint8), white=255).value == pytest.approx(found.value, rel=1e-12)


def test_greys_have_no_chroma_and_pixels_are_cut():
    greys = np.linspace(0, 1, 32).reshape(2, 4, 4, 1)
    assert mean_chroma(greys, white=1)[:2] == (0, 0)
    assert mean_chroma(np.repeat(greys, 3, axis=3), white=1).value < 1e-12
    loud = np.array([[[[2.0, -1.0, 0.0]]], [[[1.0, 0.0, -3.0]]]])
    assert mean_chroma(loud, white=1).value == pytest.approx(104.55, abs=0.01)


def test_chroma_is_a_mean_over_images(monkeypatch):
    colours = np.random.default_rng(6).uniform(size=(20, 4, 4, 3))
    found = mean_chroma(colours, white=1)
    alone = [mean_chroma(np.stack([one, one]), white=1).value for one in colours]
    assert found.value == pytest.approx(np.mean(alone), rel=1e-12)
    assert found.standard_error == pytest.approx(np.std(alone, ddof=1) / np.sqrt(20), rel=1e-10)
    monkeypatch.setattr(module, "_BATCH", 100)
    assert mean_chroma(colours, white=1)[:2] == pytest.approx(found[:2], rel=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean_chroma(np.ones((2, 4, 4, 2)), white=1), r"\[n, height, width, 3\]"),
        (lambda: mean_chroma(np.ones((1, 4, 4, 3)), white=1), "n >= 2"),
        (lambda: mean_chroma(np.ones((2, 4, 4, 3)), white=0), "white must be positive"),
        (lambda: high_frequency_share(NOISE, cutoff=0.6), "cutoff must be above 0 and at most 0.5"),
        (lambda: high_frequency_share(NOISE[:1]), "two lists of one length >= 2"),
        (lambda: radial_power_measure(NOISE[:1]), "two values or more"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(SpecError, match=words):
        call()
