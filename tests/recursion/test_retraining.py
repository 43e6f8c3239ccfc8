"""The loop over generations of trained models: what is seen, what is kept, and that an interruption changes nothing."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import MeasurementError, OutputError
from collapse_jax.recursion.retraining import LOG, retrain

SETTINGS = {"size": 3}


class Killed(Exception):
    """Stands for a power cut."""


def step(number, key, state, folder):
    return {"w": 0.5 * state["w"] + jax.random.normal(key, state["w"].shape)}


def observe(number, key, state):
    return {"mean": jnp.mean(state["w"]), "drawn": jax.random.uniform(key, (2,))}


def run(folder=None, generation=step, settings=SETTINGS, **others):
    start = {"w": jnp.arange(3.0)}
    return retrain(generation, start, 5, jax.random.key(4), observe=observe, folder=folder, settings=settings, **others)


@pytest.mark.parametrize("last", [1, 2, 4])
def test_a_killed_run_continues_to_the_identical_result(tmp_path, last):
    def killed(number, key, state, folder):
        if number > last:
            raise Killed
        return step(number, key, state, folder)

    with pytest.raises(Killed):
        run(tmp_path, killed)
    numbers = []
    found = run(tmp_path, report=lambda number, seen: numbers.append(number))
    assert numbers == list(range(last + 1, 6))
    for name, values in run().items():
        np.testing.assert_array_equal(found[name], values)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["generation"] for line in lines] == list(range(6))
    assert [line["mean"] for line in lines] == found["mean"].tolist()


def test_the_log_leaves_images_to_the_results(tmp_path):
    def seen(number, key, state):
        return {"mean": jnp.mean(state["w"]), "images": np.zeros((4, 8, 8))}

    start = {"w": jnp.arange(3.0)}
    found = retrain(step, start, 1, jax.random.key(4), observe=seen, folder=tmp_path, settings=SETTINGS)
    assert found["images"].shape == (2, 4, 8, 8)
    assert [sorted(json.loads(line)) for line in (tmp_path / LOG).read_text().splitlines()] == [
        ["generation", "mean"]
    ] * 2


def test_a_finished_run_is_read_back(tmp_path):
    first = run(tmp_path)
    second = run(tmp_path, lambda *_: pytest.fail("trained again"))
    np.testing.assert_array_equal(first["mean"], second["mean"])


def test_checkpoints_of_other_settings_are_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(OutputError, match="size was 3, now 4"):
        run(tmp_path, settings={"size": 4})


def test_a_failing_generation_is_named_and_the_last_good_one_stays(tmp_path):
    def failing(number, key, state, folder):
        if number == 3:
            raise MeasurementError("loss is nan in step 7")
        return step(number, key, state, folder)

    with pytest.raises(MeasurementError, match=r"^generation 3: loss is nan in step 7"):
        run(tmp_path, failing)
    np.testing.assert_array_equal(run(tmp_path)["mean"], run()["mean"])
