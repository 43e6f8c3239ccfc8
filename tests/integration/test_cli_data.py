"""The commands ``download`` and ``export``: what they write, answer and refuse."""

import json
import pickle

import jax
import numpy as np
import pytest
from PIL import Image

from collapse_jax import cli
from collapse_jax.data import digits, load
from collapse_jax.data import download as downloads
from collapse_jax.data.export import as_images, saved_array
from collapse_jax.errors import OutputError, SpecError

COLOURS = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 6, 3), dtype=np.uint8)  # two generations of five
SMOOTH = np.linspace(-1.5, 1.5, 48).reshape(3, 4, 4)


@pytest.fixture(autouse=True)
def precision():
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def collapse(capsys):
    def run(*argv):
        try:
            code = cli.main([str(word) for word in argv])
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def results(tmp_path):
    """A results folder."""
    folder = tmp_path / "results"
    folder.mkdir()
    curves = {"run/curve": np.ones((3, 4)), "run/grid": np.ones((3, 4, 5, 6))}
    np.savez(folder / "arrays.npz", **{"run/samples": COLOURS, **curves})
    return folder


def test_export_of_a_results_folder(collapse, results, tmp_path):
    code, out, err = collapse(
        "export", results, "--index", -1, "--png", tmp_path / "png", "--npz", tmp_path / "x.npz", "--json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "array": "run/samples",
        "shape": [5, 4, 6, 3],
        "written": [str(tmp_path / "png"), str(tmp_path / "x.npz")],
    }
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["images"], COLOURS[1])
    np.testing.assert_array_equal(load(tmp_path / "x.npz").images, COLOURS[1])
    np.testing.assert_array_equal(load(tmp_path / "png").images, COLOURS[1])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "png" / "000003.png")), COLOURS[1, 3])


def test_export_of_floats_takes_a_range(collapse, tmp_path):
    np.savez(tmp_path / "a.npz", smooth=SMOOTH)
    code, out, err = collapse("export", tmp_path / "a.npz", "--npz", tmp_path / "x.npz", "--range", -1, 1)
    assert (code, err) == (0, "")
    assert out == f"3 grey images of 4x4 from smooth: {tmp_path / 'x.npz'}\n"
    known = np.clip(np.rint((SMOOTH + 1) * 127.5), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(load(tmp_path / "x.npz").images[..., 0], known)


def test_export_of_real_images(collapse, tmp_path):
    code, out, err = collapse("export", "digits", "--npz", tmp_path / "real.npz", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["array"] == "digits"
    found = load(tmp_path / "real.npz").images
    np.testing.assert_array_equal(np.rint(found / 255 * 16), digits().images)
    assert found.max() == 255
    for words, told in ((["--index", "0"], "are for saved samples"), ([], "no such image set")):
        code, _, err = collapse("export", "digits" if words else "absent", "--npz", tmp_path / "no.npz", *words)
        assert code == 2
        assert told in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to write: pass --png FOLDER, --npz FILE or both"),
        (["--npz", "x.zip"], "must be a file name that ends in .npz"),
        (["--npz", "x.npz", "--array", "none"], "array 'none' is not in"),
        (["--npz", "x.npz", "--array", "run/curve"], "array must be [n, height, width]"),
        (["--npz", "x.npz"], "after --index, got shape (2, 5, 4, 6, 3)"),
        (["--npz", "x.npz", "--index", "2"], "index (2,) must name places"),
        (["--npz", "x.npz", "--index", "0", "0", "0"], "got 0 at 1"),
        (["--npz", "x.npz", "--index", "0", "--range", "1", "0"], "black below white"),
        (["--png", "results"], "is there already"),
    ],
)
def test_bad_exports_are_refused(collapse, results, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    index = ["--index", "0"] if words[:1] == ["--png"] else []
    code, out, err = collapse("export", results, *words, *index)
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "x.npz").exists()


def test_bad_sources_are_refused(collapse, results, tmp_path):
    evil = tmp_path / "evil.npz"
    evil.write_bytes(pickle.dumps(COLOURS))
    objects = tmp_path / "objects.npz"
    np.savez(objects, images=np.array([{}, []], object))
    alone = tmp_path / "alone.npz"
    np.save(alone.with_suffix(".npy"), COLOURS)
    alone.with_suffix(".npy").rename(alone)
    for source in (evil, objects, alone, tmp_path / "absent.npz", tmp_path):
        with pytest.raises(OutputError, match=r"give a results folder or an \.npz"):
            saved_array(source)
        assert collapse("export", source, "--npz", tmp_path / "x.npz")[0] == 2
    np.savez(tmp_path / "two.npz", a=COLOURS, b=COLOURS)
    with pytest.raises(SpecError, match="several could be images: a, b"):
        saved_array(tmp_path / "two.npz")
    np.savez(tmp_path / "none.npz", a=np.ones(3))
    with pytest.raises(SpecError, match="none could be images: a"):
        saved_array(tmp_path / "none.npz")


def test_numbers_that_are_none_are_refused():
    with pytest.raises(SpecError, match="range is needed for an array of float64"):
        as_images(SMOOTH)
    with pytest.raises(SpecError, match="no finite number"):
        as_images(np.full((1, 2, 2), np.nan), low=0, high=1)


def test_download_says_where_the_files_are(collapse, tmp_path, monkeypatch):
    (tmp_path / "a.gz").write_bytes(b"content")
    there = downloads.Remote("a.gz", "http://127.0.0.1:9/a.gz", downloads.md5_of(tmp_path / "a.gz"))
    monkeypatch.setitem(downloads.SETS, "cifar10", (there,))
    monkeypatch.setenv("no_proxy", "*")
    assert collapse("download", "cifar10", "--folder", tmp_path) == (0, f"{tmp_path / 'a.gz'}\n", "")
    code, out, _ = collapse("download", "cifar10", "--folder", tmp_path, "--json")
    assert (code, json.loads(out)) == (0, {"set": "cifar10", "files": [str(tmp_path / "a.gz")]})
    (tmp_path / "a.gz").unlink()
    code, out, err = collapse("download", "cifar10", "--folder", tmp_path)
    assert (code, out) == (2, "")
    assert "look at the network and try again, or put a.gz" in err
    assert collapse("download", "svhn")[2] == (
        "collapse: set must be one of fashion-mnist, cifar10, cifar10-binary, got 'svhn'.\n"
    )


@pytest.mark.parametrize("name", ["download", "export"])
def test_help(collapse, name):
    code, out, _ = collapse(name, "--help")
    assert code == 0
    assert "--json" in out
