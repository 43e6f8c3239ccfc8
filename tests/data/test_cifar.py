"""CIFAR-10 in both versions, and everything that a file of that name must not be able to do."""

import gzip
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from collapse_jax.data import cifar, load
from collapse_jax.data.cifar import read_cifar, unpickle

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
LABELS = GENERATOR.integers(0, 10, 12)
ROWS = IMAGES.transpose(0, 3, 1, 2).reshape(12, 3072)  # planes of red, green, blue

# as Python 2 wrote it: names of the old NumPy, strings of bytes
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85q\x05U\x01b"
    b"\x87q\x06Rq\x07(K\x01K\x01M\x00\x0c\x86q\x08cnumpy\ndtype\nq\tU\x02u1K\x00K\x01\x87q\nRq\x0b(K\x03U\x01|NNNJ\xff\xff"
    b"\xff\xffJ\xff\xff\xff\xffK\x00tq\x0cb\x89T\x00\x0c\x00\x00"
    + bytes(ROWS[0])
    + b"tq\rbU\x06labelsq\x0e]q\x0fK\x07au."
)


def pickled(rows, labels, protocol=2, keys=(b"data", b"labels")):
    batch = {keys[0]: rows, keys[1]: labels.tolist(), b"batch_label": b"a batch", b"filenames": [b"a.png"] * len(rows)}
    return pickle.dumps(batch, protocol=protocol)


def records(rows, labels):
    return np.concatenate([labels[:, None].astype(np.uint8), rows], axis=1).tobytes()


def files(write, end=""):
    """Five batches of two images, and a test batch of two."""
    parts = {f"data_batch_{i + 1}{end}": write(ROWS[2 * i : 2 * i + 2], LABELS[2 * i : 2 * i + 2]) for i in range(5)}
    return parts | {f"test_batch{end}": write(ROWS[10:], LABELS[10:])}


def archive(path, contents, folder="cifar-10-batches-py/"):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in contents.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def holds(found, first, last):
    np.testing.assert_array_equal(found.images, IMAGES[first:last])
    np.testing.assert_array_equal(found.labels, LABELS[first:last])
    assert (found.name, found.levels, found.labels.dtype) == ("cifar10", 255, np.int64)


@pytest.mark.parametrize(("write", "end"), [(pickled, ""), (records, ".bin")])
def test_both_versions_as_folder_and_archive(tmp_path, write, end):
    contents = files(write, end)
    packed = archive(tmp_path / "cifar.tar.gz", contents)
    folder = tmp_path / "batches"
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    for place in (packed, folder):
        holds(load(place), 0, 10)
        holds(load(str(place), "test"), 10, 12)
    if end:
        holds(load(folder / "data_batch_1.bin"), 0, 2)
        with pytest.raises(ValueError, match="is no batch of the test images"):
            load(folder / "data_batch_1.bin", "test")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("keys", [(b"data", b"labels"), ("data", "labels")])
def test_pickles_of_any_age(protocol, keys):
    pixels, labels = cifar._pickled("x", pickled(ROWS, LABELS, protocol, keys))
    np.testing.assert_array_equal(pixels, ROWS)
    np.testing.assert_array_equal(labels, LABELS)


def test_pickle_of_python_2():
    pixels, labels = cifar._pickled("x", PYTHON_2)
    np.testing.assert_array_equal(pixels, ROWS[:1])
    assert labels.tolist() == [7]


def test_cifar_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="collapse download cifar10"):
        load("cifar10")
    folder = tmp_path / "collapse_jax" / "cifar10"
    folder.mkdir(parents=True)
    archive(folder / "cifar-10-python.tar.gz", files(pickled))
    holds(load("cifar10"), 0, 10)


class Malice:
    """Runs a command when it is unpickled the usual way."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {b"data": ROWS, b"labels": [evil]}])
def test_nothing_of_a_pickle_is_run(tmp_path, protocol, wrap):
    trace = tmp_path / "trace"
    for evil in (
        Malice(os.system, f"touch {trace}"),
        Malice(eval, f"open({str(trace)!r}, 'w')"),
        Malice(open, str(trace), "w"),
    ):
        data = pickle.dumps(wrap(evil), protocol=protocol)
        with pytest.raises(ValueError, match="which is not read"):
            unpickle(data)
    pickle.loads(pickle.dumps(Malice(open, str(trace), "w"))).close()
    assert trace.exists()  # the usual way does run it


BAD_PICKLES = {
    "empty": b"",
    "cut": pickled(ROWS, LABELS)[:-500],
    "no pickle": b"GIF89a",
    "stack": b"\x80\x02aaa.",
    "a name of numpy": pickle.dumps(np.load),
    "objects": pickle.dumps(np.array([{}, 1], object), protocol=2),
    "floats": pickle.dumps(np.ones(3), protocol=2),
    "a set": pickle.dumps({1, 2}, protocol=4),
    "wrong size": pickle.dumps(ROWS, protocol=2).replace(struct.pack("<H", 3072), struct.pack("<H", 3071)),
    "memory that it does not hold": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.",
    "room for notes": b"\x80\x04Nr\xff\xff\xff\x7fU\xff.",
    "state of a name": b"\x80\x02cnumpy\nndarray\n}U\x01aU\x01bsb.",
    "encoding": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00rot1\x86R.",
    "names of names": b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__class__\x93.",
    "another file": b"\x80\x02Pother\n.",
    "itself": b"\x80\x02]q\x00h\x00a.",
    "extension": b"\x80\x02\x82\x01.",
}


@pytest.mark.parametrize("data", BAD_PICKLES.values(), ids=BAD_PICKLES.keys())
def test_what_is_no_plain_pickle_is_refused(data):
    with pytest.raises(ValueError, match=r"no pickle of plain data: .+") as caught:
        unpickle(data)
    assert "\n" not in str(caught.value)


def test_lists_of_lists_of_one_list_cost_nothing():
    """2^60 entries, if each reference were followed."""
    nested: list = [1]
    for _ in range(60):
        nested = [nested, nested]
    found = unpickle(pickle.dumps(nested, protocol=2))
    assert found[0] is found[1]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pickle.dumps([1, 2], protocol=2), "holds no array data"),
        (pickled(ROWS[:, :3071], LABELS), "holds no array data"),
        (pickled(ROWS[:0], LABELS[:0], 4), "holds no array data"),
        (pickled(ROWS, LABELS[:-1]), "holds no list labels of 12"),
        (pickled(ROWS, LABELS + 1 - LABELS.min() + 9), "numbers 0 ... 9"),
        (pickled(ROWS, LABELS)[:-9], "no pickle of plain data"),
    ],
)
def test_batches_that_do_not_fit_are_refused(tmp_path, data, words):
    (tmp_path / "data_batch_1").write_bytes(data)
    with pytest.raises(ValueError, match=words) as caught:
        load(tmp_path)
    assert f"{tmp_path}: data_batch_1" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "has 0 bytes"),
        (records(ROWS, LABELS)[:-1], "no whole number of records of 3073"),
        (records(ROWS, LABELS + 10), "a record has label"),
    ],
)
def test_records_that_do_not_fit_are_refused(tmp_path, data, words):
    (tmp_path / "data_batch_1.bin").write_bytes(data)
    with pytest.raises(ValueError, match=words):
        load(tmp_path / "data_batch_1.bin")


def test_archives_are_read_where_they_are(tmp_path):
    """Members with any path are read by their last name, and nothing appears on the disk; links are no files."""
    packed = archive(tmp_path / "up.tar.gz", files(pickled), folder="../../../")
    before = sorted(tmp_path.parent.rglob("*"))
    holds(load(packed), 0, 10)
    assert sorted(tmp_path.parent.rglob("*")) == before
    with tarfile.open(tmp_path / "link.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("data_batch_1")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(FileNotFoundError, match="holds none of data_batch_1"):
        load(tmp_path / "link.tar.gz")


def test_bad_archives_are_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "bad.tar.gz", files(pickled))
    whole = path.read_bytes()
    for content in (whole[:-5000], b"", b"GIF89a", gzip.compress(b"no tar"), whole[:40] + b"\xff" * 40 + whole[80:]):
        path.write_bytes(content)
        with pytest.raises((ValueError, FileNotFoundError), match=r"bad\.tar\.gz: "):
            load(path)
    path.write_bytes(whole)
    monkeypatch.setattr(cifar, "MAX_FILE", 1000)
    with pytest.raises(ValueError, match=r"data_batch_1 has \d+ bytes"):
        load(path)
    monkeypatch.setattr(cifar, "MAX_ARCHIVE", 10_000)
    monkeypatch.setattr(cifar, "MAX_FILE", 2**26)
    with pytest.raises(ValueError, match="unpacks to more than"):
        load(path)


def test_an_archive_with_a_batch_twice_is_refused(tmp_path):
    path = tmp_path / "twice.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for folder in ("a/", "b/"):
            member = tarfile.TarInfo(folder + "data_batch_1.bin")
            member.size = 3073
            tar.addfile(member, io.BytesIO(bytes(3073)))
    with pytest.raises(ValueError, match="is there twice"):
        load(path)


def test_oversized_and_missing_files(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_cifar(tmp_path / "absent.tar.gz")
    with pytest.raises(FileNotFoundError, match="holds none of test_batch"):
        read_cifar(tmp_path, "test")
    (tmp_path / "test_batch.bin").write_bytes(records(ROWS, LABELS))
    monkeypatch.setattr(cifar, "MAX_FILE", 1000)
    with pytest.raises(ValueError, match="a batch of CIFAR-10 has 31 million"):
        load(tmp_path, "test")
