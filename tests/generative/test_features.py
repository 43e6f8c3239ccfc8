"""The feature extractor: what it is called, that it is one and the same each time, and what its cache may hold."""

import dataclasses
import pickle

import numpy as np
import pytest

from collapse_jax.data import ImageSet, digits, load
from collapse_jax.data.images import FASHION_MNIST
from collapse_jax.errors import SpecError
from collapse_jax.generative import features
from collapse_jax.generative.features import FEATURES, Training, extractor

QUICK = Training(images=2000, channels=(8, 8, 8))


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return folder, extractor(digits(), training=QUICK, folder=folder)


def test_name_and_features(cached):
    folder, found = cached
    assert found.name == f"small CNN on digits, 64 features, test accuracy {found.accuracy:.3f}"
    assert (found.test_images, found.shape, found.levels) == (359, (8, 8, 1), 16)
    # of 359 images: far above the 0.1 of guessing even by luck
    assert found.accuracy > 0.5
    made = found(digits().images)
    assert made.shape == (1797, FEATURES)
    assert made.dtype == np.float64
    assert (made.std(axis=0) > 0).all()
    assert len(list(folder.iterdir())) == 1


def test_images_without_labels_are_learnt_by_their_quarter_turns(tmp_path):
    real = digits()
    found = extractor(ImageSet(real.images, None, "plain", 16), training=QUICK, folder=tmp_path)
    assert found.name == f"small CNN on plain by quarter turns, 64 features, test accuracy {found.accuracy:.3f}"
    assert found.test_images == 4 * 359
    # guessing gives a quarter; its deviation among 359 digits, whose four turns may all go together, is 0.023
    assert found.accuracy > 0.25 + 6 * 0.023
    turned = features._turned(ImageSet(real.images[:2], None, "plain", 16))
    np.testing.assert_array_equal(turned.images[2], np.rot90(real.images[0]))
    assert turned.labels is not None
    assert turned.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_features_do_not_depend_on_the_batch(cached):
    _, found = cached
    images = digits().images
    np.testing.assert_allclose(found(images[:502])[499:], found(images[499:502]), rtol=1e-5, atol=1e-5)
    assert found(images[:1]).shape == (1, FEATURES)


def test_cache_gives_the_same_without_training(cached, monkeypatch):
    folder, found = cached
    monkeypatch.setattr(features, "_fit", pytest.fail)
    again = extractor(digits(), training=QUICK, folder=folder)
    assert again.name == found.name
    np.testing.assert_array_equal(again(digits().images[:9]), found(digits().images[:9]))


def test_one_seed_trains_one_extractor_whatever_the_caller_computes_in(cached, tmp_path, x64):
    _, found = cached
    again = extractor(digits(), training=QUICK, folder=tmp_path)
    assert again.accuracy == found.accuracy
    np.testing.assert_array_equal(again(digits().images[:9]), found(digits().images[:9]))


def test_cache_knows_images_and_settings():
    images = digits()
    train, held = features._halved(images, None, 0)
    names = {features._identity(train, held, QUICK)}
    names.add(features._identity(train, held, dataclasses.replace(QUICK, seed=1)))
    names.add(features._identity(held, train, QUICK))
    changed = train.images.copy()
    changed[0, 0, 0, 0] ^= 1
    names.add(features._identity(dataclasses.replace(train, images=changed), held, QUICK))
    assert len(names) == 4


@pytest.mark.parametrize("damage", ["cut", "pickle", "other"])
def test_damaged_cache_is_trained_anew(cached, tmp_path, monkeypatch, damage):
    folder, found = cached
    (good,) = folder.iterdir()
    path = tmp_path / good.name
    if damage == "cut":
        path.write_bytes(good.read_bytes()[:-100])
    elif damage == "pickle":
        path.write_bytes(pickle.dumps({"p0": 1}))
    else:
        np.savez(path, p0=np.ones(3), accuracy=1.0)
    fitted = []

    def fit(images, training, classes, mean, spread):
        fitted.append(images.name)
        return found._graph, found._parameters

    monkeypatch.setattr(features, "_fit", fit)
    assert extractor(digits(), training=QUICK, folder=tmp_path).accuracy == found.accuracy
    assert fitted == ["digits"]
    assert features._read(path, found._parameters) is not None


def test_a_cache_that_cannot_be_written_is_no_error(cached, tmp_path, monkeypatch):
    _, found = cached
    (tmp_path / "file").touch()
    monkeypatch.setattr(features, "_fit", lambda *_: (found._graph, found._parameters))
    assert extractor(digits(), training=QUICK, folder=tmp_path / "file").accuracy == found.accuracy


PICTURES = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: extractor(ImageSet(PICTURES[:, :3], None, "colours")), r"has no labels and is not square \(3 x 4"),
        (lambda: extractor(ImageSet(PICTURES, np.arange(10) - 1, "colours")), "labels of colours must be 0"),
        (lambda: extractor(ImageSet(PICTURES[:3], np.arange(3), "colours")), "colours has 3 images: 5 or more"),
        (
            lambda: extractor(ImageSet(PICTURES, np.arange(10), "colours"), digits()),
            "test must hold images like those of colours",
        ),
    ],
)
def test_refusals(call, words):
    with pytest.raises(SpecError, match=words):
        call()


def test_images_of_another_shape_are_refused(cached):
    with pytest.raises(SpecError, match=r"images must be \[n, 8, 8, 1\]"):
        cached[1](PICTURES)


@pytest.mark.slow
@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="apt-get install dataset-fashion-mnist")
def test_default_training_of_fashion_mnist_is_accurate(tmp_path):
    found = extractor(load("fashion-mnist"), load("fashion-mnist", "test"), folder=tmp_path)
    print(found.name)
    assert found.accuracy > 0.88


@pytest.mark.slow
def test_default_training_of_digits_is_accurate(tmp_path):
    assert extractor(digits(), folder=tmp_path).accuracy > 0.96
