"""Folders of pictures: what is read, what is written, what is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from collapse_jax.data import load
from collapse_jax.data.pictures import read_pictures, write_pictures

COLOURS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize("images", [COLOURS, COLOURS[..., :1]], ids=["colour", "grey"])
def test_round_trip(tmp_path, images):
    write_pictures(tmp_path / "new", images)
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [f"00000{i}.png" for i in range(4)]
    found = load(tmp_path / "new")
    np.testing.assert_array_equal(found.images, images)
    assert (found.name, found.labels, found.levels) == ("new", None, 255)


def test_jpeg_palettes_grey_and_transparency(tmp_path):
    flat = np.full((6, 5, 3), (200, 40, 40), np.uint8)
    Image.fromarray(flat).save(tmp_path / "a.JPG", quality=95)
    Image.fromarray(flat).quantize(4).save(tmp_path / "b.png")
    Image.fromarray(np.full((6, 5), 90, np.uint8)).save(tmp_path / "c.png")
    clear = np.dstack([flat, np.full((6, 5), 0, np.uint8)])
    Image.fromarray(clear).save(tmp_path / "d.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    found = read_pictures(tmp_path).images
    assert found.shape == (4, 6, 5, 3)
    assert abs(found[0].astype(int) - flat).max() < 5
    np.testing.assert_array_equal(found[1], flat)
    assert (found[2] == 90).all()
    assert (found[3] == 255).all()


def test_sizes_that_differ_are_named(tmp_path):
    write_pictures(tmp_path / "new", COLOURS)
    Image.fromarray(COLOURS[0, :4]).save(tmp_path / "new" / "odd.png")
    with pytest.raises(ValueError, match=r"different sizes, 000000\.png 5x6 and odd\.png 5x4") as caught:
        load(tmp_path / "new")
    assert "\n" not in str(caught.value)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no picture that can be read"),
        (b"GIF89a" + bytes(100), "no picture that can be read"),
        (
            png_header(5, 6) + chunk(b"IDAT", zlib.compress(b"short")) + chunk(b"IEND", b""),
            "no picture that can be read",
        ),
        (png_header(5, 6)[:20], "no picture that can be read"),
        (png_header(30_000, 30_000), "(over 2 GiB|no picture that can be read)"),
        (png_header(11_000, 11_000), "no picture that can be read"),
    ],
    ids=["empty", "gif", "pixels missing", "header cut", "bomb", "large and empty"],
)
def test_damaged_pictures_are_refused(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_oversized_sets_and_deep_pixels_are_refused(tmp_path, monkeypatch):
    Image.fromarray(np.ones((6, 5), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="mode I;16; save it with 8 bits"):
        load(tmp_path)
    write_pictures(tmp_path / "new", COLOURS)
    monkeypatch.setattr("collapse_jax.data.images.MAX_BYTES", 300)
    with pytest.raises(ValueError, match="4 pictures of 5x6 are over 2 GiB"):
        load(tmp_path / "new")


def test_folders_without_pictures(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="no PNG or JPEG is there"):
            read_pictures(folder)


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    write_pictures(tmp_path / "new", COLOURS)
    with pytest.raises(ValueError, match="is there already"):
        write_pictures(tmp_path / "new", COLOURS)
    for bad in (COLOURS.astype(float), COLOURS[0], COLOURS[..., :2], COLOURS[:0]):
        with pytest.raises(ValueError, match="images must be uint8"):
            write_pictures(tmp_path / "bad", bad)

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="disk full"):
        write_pictures(tmp_path / "other", COLOURS)
    assert [file.name for file in tmp_path.iterdir()] == ["new"]
