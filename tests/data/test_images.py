import gzip
import pickle
import struct
import zipfile

import numpy as np
import pytest

from collapse_jax.data import ImageSet, centred, digits, idx_images, load, read_idx, read_npz, whitening
from collapse_jax.data.images import FASHION_MNIST

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 5), dtype=np.uint8)
LABELS = np.arange(6, dtype=np.uint8)


def idx_header(*shape, code=0x08):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}i", *shape)


def idx_bytes(array, code=0x08):
    return idx_header(*array.shape, code=code) + array.tobytes()


def write_folder(folder, images=PIXELS, labels=LABELS, split="train"):
    (folder / f"{split}-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    return folder


def test_digits_are_the_bundled_images():
    images = digits()
    assert images.images.shape == (1797, 8, 8, 1)
    assert images.images.dtype == np.uint8
    assert images.images.max() == images.levels == 16
    assert images.labels is not None
    assert set(images.labels) == set(range(10))


def test_centred_columns_are_images():
    images = ImageSet(PIXELS[..., None], None, "noise")
    points, mean = centred(images)
    assert points.shape == (20, 6)
    assert points.dtype == mean.dtype == np.float64
    np.testing.assert_allclose(points.mean(axis=1), 0, atol=1e-15)
    np.testing.assert_allclose((points[:, 2] + mean) * 255, PIXELS[2].ravel(), rtol=1e-13)


def test_centred_scales_by_levels():
    points, mean = centred(digits())
    restored = points + mean[:, None]
    assert restored.min() >= -1e-15
    assert restored.max() == pytest.approx(1.0)


def test_whitening_gives_unit_covariance_and_goes_back():
    points, _ = centred(digits())
    full = whitening(points, 61)  # three corner pixels are always dark
    white = full.apply(points)
    np.testing.assert_allclose(white @ white.T / white.shape[1], np.eye(61), atol=1e-11)
    np.testing.assert_allclose(full.invert(white), points, atol=1e-12)
    few = whitening(points, 5)
    np.testing.assert_allclose(few.apply(points), white[:5], atol=1e-12)
    np.testing.assert_allclose(few.apply(few.invert(white[:5])), white[:5], atol=1e-12)
    assert (np.diff(full.variances) <= 0).all()


def test_whitening_does_not_depend_on_signs_or_on_where_the_points_lie():
    generator = np.random.default_rng(1)
    points = np.diag([3.0, 2.0, 1.0]) @ generator.standard_normal((3, 500))
    moved = whitening(points + 7, 2)
    np.testing.assert_allclose(moved.apply(points + 7), whitening(points, 2).apply(points), atol=1e-12)
    assert (moved.directions.max(axis=0) == np.abs(moved.directions).max(axis=0)).all()


@pytest.mark.parametrize("components", [0, 62])
def test_whitening_refuses_directions_without_spread(components):
    points, _ = centred(digits())
    with pytest.raises(ValueError, match=rf"components must be 1 ... 61, .* got {components}"):
        whitening(points, components)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4, 1), (1, 1)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_idx_round_trip(tmp_path, shape, pack):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = tmp_path / "x-ubyte"  # compression is told by the content, not by the name
    path.write_bytes(pack(idx_bytes(array)))
    np.testing.assert_array_equal(read_idx(path), array)


GOOD = idx_bytes(PIXELS)


MALFORMED = {
    "empty": (b"", "starts with bytes none"),
    "short magic": (GOOD[:3], "starts with bytes 00 00 08;"),
    "wrong magic": (b"\x01" + GOOD[1:], "starts with bytes 01 00 08 03"),
    "pickle": (pickle.dumps(PIXELS), "starts with bytes 80 04"),
    "floats": (idx_bytes(PIXELS.astype(">f4"), code=0x0D), "type 0x0d with 3 axes"),
    "no axes": (b"\0\0\x08\0", "type 0x08 with 0 axes"),
    "short header": (GOOD[:10], "ends within its header"),
    "no values": (GOOD[:16], "120 bytes, but 0 follow"),
    "one value short": (GOOD[:-1], "120 bytes, but 119 follow"),
    "trailing byte": (GOOD + b"\0", "120 bytes, but more follow"),
    "negative axes": (idx_header(-2, -3) + bytes(6), r"shape \(-2, -3\)"),
    "empty axis": (idx_header(0, 3), r"shape \(0, 3\)"),
    "oversized": (idx_header(2**16, 2**16), "at most 2 GiB"),
    "lying header": (idx_header(2**31 - 1) + b"liar", "2147483647 bytes, but 4 follow"),
}


@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_malformed_idx_is_refused(tmp_path, content, message, pack):
    path = tmp_path / "bad-ubyte"
    path.write_bytes(pack(content))
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-12],
        lambda data: data[:5],
        lambda data: data[:10] + b"\xff" * 20 + data[30:],
        lambda data: data[:-8] + bytes(4) + data[-4:],
    ],
    ids=["data cut short", "header cut short", "data overwritten", "wrong checksum"],
)
def test_damaged_gzip_is_refused(tmp_path, damage):
    path = tmp_path / "bad.gz"
    path.write_bytes(damage(gzip.compress(GOOD)))
    with pytest.raises(ValueError, match="damaged gzip data"):
        read_idx(path)


@pytest.mark.parametrize("reader", [read_idx, read_npz, load])
def test_missing_file(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz: no such file"):
        reader(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_idx_folder_round_trip(tmp_path, split, prefix):
    images = idx_images(write_folder(tmp_path, split=prefix), split)
    np.testing.assert_array_equal(images.images[..., 0], PIXELS)
    np.testing.assert_array_equal(images.labels, LABELS)
    assert (images.name, images.levels) == (tmp_path.name, 255)


def test_idx_folder_without_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither train-images-idx3-ubyte nor train-images-idx3-ubyte\.gz"):
        idx_images(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds neither IDX files .*, batches of CIFAR-10 nor PNG or JPEG"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels"), [(PIXELS, LABELS[:5]), (PIXELS[0], LABELS[:4]), (PIXELS, LABELS[:, None])]
)
def test_idx_folder_that_does_not_fit(tmp_path, images, labels):
    with pytest.raises(ValueError, match="the train files hold images of shape"):
        load(write_folder(tmp_path, images, labels))


@pytest.mark.parametrize("labels", [{}, {"labels": LABELS}])
def test_npz_round_trip(tmp_path, labels):
    path = tmp_path / "colours.npz"
    colours = PIXELS.reshape(2, 4, 5, 3)
    np.savez_compressed(path, images=colours, **{name: array[:2] for name, array in labels.items()})
    images = load(str(path))
    np.testing.assert_array_equal(images.images, colours)
    assert images.name == "colours"
    if labels:
        np.testing.assert_array_equal(images.labels, LABELS[:2])
    else:
        assert images.labels is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": PIXELS}, "no array 'images'"),
        ({"images": PIXELS.astype(object)}, "allow_pickle=False"),
        ({"images": PIXELS[..., None], "labels": LABELS.astype(object)}, "allow_pickle=False"),
        ({"images": PIXELS}, r"uint8 of shape \(6, 4, 5\)"),
        ({"images": PIXELS[..., None].astype(float)}, r"float64 of shape \(6, 4, 5, 1\)"),
        ({"images": PIXELS[:0, ..., None]}, r"uint8 of shape \(0, 4, 5, 1\)"),
        ({"images": PIXELS[..., None], "labels": LABELS[:5]}, r"labels are int64 of shape \(5,\)"),
        ({"images": PIXELS[..., None], "labels": LABELS.astype(float)}, "labels are float64"),
    ],
)
def test_npz_that_does_not_fit_is_refused(tmp_path, arrays, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message):
        load(path)


def test_npz_that_is_no_archive(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, images=PIXELS[..., None])
    whole = path.read_bytes()
    header = len(b"PK\3\4") + 200  # inside the stored array
    for content in (b"", GOOD, whole[:-30], whole[:header] + b"\xff" + whole[header + 1 :]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"give an archive made by numpy\.savez"):
            load(path)


def test_oversized_npz_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "big.npz"
    np.savez(path, images=PIXELS[..., None])
    monkeypatch.setattr("collapse_jax.data.images.MAX_BYTES", 100)
    with pytest.raises(ValueError, match="over 2 GiB"):
        load(path)


def test_load_tells_what_it_knows(tmp_path):
    with pytest.raises(FileNotFoundError, match="give digits, fashion-mnist, cifar10, a folder"):
        load("cifra")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"neither a folder, an \.npz file"):
        load(tmp_path / "notes.txt")


def test_image_set_checks_itself():
    with pytest.raises(ValueError, match="a pixel has value"):
        ImageSet(PIXELS[..., None], None, "noise", levels=16)


def test_missing_fashion_mnist_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("collapse_jax.data.images.FASHION_MNIST", tmp_path / "absent")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for words in ("collapse download fashion-mnist", "apt-get install dataset-fashion-mnist"):
        with pytest.raises(FileNotFoundError, match=words):
            load("fashion-mnist")


def test_downloaded_fashion_mnist_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "collapse_jax" / "fashion-mnist"
    folder.mkdir(parents=True)
    write_folder(folder)
    write_folder(folder, images=PIXELS[:2], labels=LABELS[:2], split="t10k")
    assert load("fashion-mnist").name == "fashion-mnist"
    assert (len(load("fashion-mnist").images), len(load("fashion-mnist", "test").images)) == (6, 2)


def test_too_few_images_and_no_test_part_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds 6 images; 7 or more are needed"):
        load(write_folder(tmp_path), least=7)
    assert len(load(tmp_path, least=6).images) == 6
    with pytest.raises(ValueError, match="digits: sets no images aside for tests"):
        load("digits", "test")


def npy_of(header):
    """A whole ``.npy`` of 120 bytes behind a header of our own."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(120)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 8, 8, 1), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-6, 4, 5, 1), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (15,), }",
        "__import__('os').system('false')",
    ],
)
def test_npz_with_a_lying_header_is_refused(tmp_path, header):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", npy_of(header))
    with pytest.raises(ValueError, match=r"bad\.npz: .*"):
        load(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """A thousand bytes of nothing for each that is stored; the limit is looked at first."""
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, images=np.zeros((1000, 32, 32, 3), np.uint8))
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("collapse_jax.data.images.MAX_BYTES", 10**6)
    monkeypatch.setattr("numpy.load", pytest.fail)
    with pytest.raises(ValueError, match="over 2 GiB"):
        load(path)


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="apt-get install dataset-fashion-mnist")
def test_fashion_mnist():
    train, test = load("fashion-mnist"), idx_images(FASHION_MNIST, "test")
    assert (train.name, train.images.shape, test.images.shape) == (
        "fashion-mnist",
        (60000, 28, 28, 1),
        (10000, 28, 28, 1),
    )
    assert train.labels is not None
    assert set(np.bincount(train.labels)) == {6000}
