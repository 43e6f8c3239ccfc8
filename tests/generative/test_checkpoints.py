"""Checkpoints: the same state back, other settings and broken files refused, the last good one kept."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import OutputError
from collapse_jax.generative import checkpoints

SETTINGS = {"seed": 0, "network": {"width": 8, "sizes": (1, 2)}, "rate": 0.1}


def tree(value=1.0):
    return {
        "parameters": [jnp.full((300, 2), value), jnp.arange(3, dtype=jnp.bfloat16)],
        "step": jnp.asarray(int(value), jnp.int32),
        "key": jax.random.key(int(value)),
        "plain": np.array([value]),
        "none": None,
    }


def same(one, two):
    def bits(leaf):
        keys = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if keys else leaf)

    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert type(a) is type(b)
        assert bits(a).dtype == bits(b).dtype
        np.testing.assert_array_equal(bits(a), bits(b))


def largest(place):
    """Data files of the arrays, the one with the numbers first."""
    return sorted((f for f in (place / "arrays").rglob("*") if f.is_file()), key=lambda f: -f.stat().st_size)


def test_what_was_saved_comes_back(tmp_path):
    assert checkpoints.restore(tmp_path / "none", tree(), SETTINGS) is None
    for step in (3, 20, 100):
        checkpoints.save(tmp_path, step, tree(float(step)), SETTINGS, keep=2)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["step_100", "step_20"]
    step, found = checkpoints.restore(tmp_path, tree(), SETTINGS)
    assert step == 100
    same(found, tree(100.0))
    checkpoints.save(tmp_path, 100, tree(7.0), SETTINGS)  # the same step again
    assert [place.name for place in tmp_path.iterdir()] == ["step_100"]
    same(checkpoints.restore(tmp_path, tree(), SETTINGS)[1], tree(7.0))


def test_other_settings_are_refused_and_named(tmp_path):
    checkpoints.save(tmp_path, 1, tree(), SETTINGS)
    changed = SETTINGS | {"network": {"width": 16, "sizes": (1, 2)}, "new": 1}
    with pytest.raises(OutputError, match=r"other settings: network.width was 8, now 16; new was 'nothing', now 1;"):
        checkpoints.restore(tmp_path, tree(), changed)
    with pytest.raises(OutputError, match=r"is of another network: .*float32\[300, 2\]"):
        checkpoints.restore(tmp_path, tree() | {"parameters": [jnp.ones((300, 3)), jnp.zeros(3)]}, SETTINGS)
    with pytest.raises(OutputError, match="settings of a checkpoint must be numbers"):
        checkpoints.save(tmp_path, 2, tree(), {"rate": float("nan")})


@pytest.fixture
def full_disk():
    """Files of more than 100,000 bytes cannot be written any more."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_in_one_line_and_the_last_good_checkpoint_stays(tmp_path, full_disk):
    large = {"w": np.random.default_rng(0).normal(size=100_000)}
    checkpoints.save(tmp_path, 1, large, SETTINGS)
    full_disk()
    with pytest.raises(OutputError, match=r"cannot write checkpoint .*step_2: File too large; free space\.$"):
        checkpoints.save(tmp_path, 2, large, SETTINGS)
    assert [place.name for place in tmp_path.iterdir()] == ["step_1"]
    step, found = checkpoints.restore(tmp_path, large, SETTINGS)
    assert step == 1
    same(found, large)


def test_what_comes_after_a_broken_checkpoint_is_kept_instead_of_it(tmp_path):
    """Step 10 is broken, the training goes on from 5: its next checkpoint stays, whatever its number."""
    checkpoints.save(tmp_path, 5, tree(), SETTINGS)
    checkpoints.save(tmp_path, 10, tree(), SETTINGS, keep=2)
    for file in (tmp_path / "step_10").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            cut(file)
    assert checkpoints.restore(tmp_path, tree(), SETTINGS)[0] == 5
    checkpoints.save(tmp_path, 6, tree(6.0), SETTINGS)
    assert [place.name for place in tmp_path.iterdir()] == ["step_6"]
    same(checkpoints.restore(tmp_path, tree(), SETTINGS)[1], tree(6.0))


def test_a_training_is_kept_while_it_goes_on(tmp_path):
    """At every dispatch if no time need pass, never at the end; taken up from there."""
    state, keep = checkpoints.continued(tmp_path, tree(), SETTINGS, 20, every=0.0)
    same(state, tree())
    for step in (10, 20):
        keep(step, None, tree(float(step)))
    again, _ = checkpoints.continued(tmp_path, tree(), SETTINGS, 20, every=0.0)
    same(again, tree(10.0))
    _, keep = checkpoints.continued(tmp_path / "later", tree(), SETTINGS, 20)
    keep(10, None, tree())
    assert not (tmp_path / "later").exists()  # a minute has not passed


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, flip, lambda file: file.unlink()], ids=["cut", "flipped", "missing"])
def test_a_broken_checkpoint_is_refused_in_one_line_and_the_one_before_taken(tmp_path, damage):
    for step in (1, 2):
        checkpoints.save(tmp_path, step, tree(float(step)), SETTINGS, keep=2)
    for file in [f for f in largest(tmp_path / "step_2") if f.parent.name == "d"]:
        damage(file)
    step, found = checkpoints.restore(tmp_path, tree(), SETTINGS)
    assert step == 1
    same(found, tree(1.0))
    damage(tmp_path / "step_1" / "record.json")
    with pytest.raises(OutputError, match=r"^checkpoint .*step_2 is broken \(.*\): remove it\.$") as raised:
        checkpoints.restore(tmp_path, tree(), SETTINGS)
    assert "\n" not in str(raised.value)


def test_changed_numbers_are_noticed(tmp_path):
    """Arrays swapped for others of the same shapes: whole files, but not the ones that were saved."""
    checkpoints.save(tmp_path / "a", 1, tree(1.0), SETTINGS)
    checkpoints.save(tmp_path / "b", 1, tree(2.0), SETTINGS)
    (tmp_path / "a" / "step_1" / "arrays").rename(tmp_path / "gone")
    (tmp_path / "b" / "step_1" / "arrays").rename(tmp_path / "a" / "step_1" / "arrays")
    with pytest.raises(OutputError, match=r"is missing, new or changed\): remove it"):
        checkpoints.restore(tmp_path / "a", tree(), SETTINGS)


def test_an_interrupted_save_leaves_the_last_good_one(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, 1, tree(1.0), SETTINGS)

    def full(place, arrays):
        place.mkdir()
        (place / "half").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write", full)
    with pytest.raises(OutputError, match=r"^cannot write checkpoint .*step_2: No space left on device; free space\.$"):
        checkpoints.save(tmp_path, 2, tree(2.0), SETTINGS)
    assert [place.name for place in tmp_path.iterdir()] == ["step_1"]
    same(checkpoints.restore(tmp_path, tree(), SETTINGS)[1], tree(1.0))


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpickled")

    checkpoints.save(tmp_path, 1, tree(1.0), SETTINGS)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    same(checkpoints.restore(tmp_path, tree(), SETTINGS)[1], tree(1.0))
    record = json.loads((tmp_path / "step_1" / "record.json").read_text())
    assert record["settings"]["network"] == {"width": 8, "sizes": [1, 2]}
