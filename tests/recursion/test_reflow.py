"""Reflow with networks: what the pairs of each arm are, what a round costs, and what it compiles."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.generative import checkpoints, samplers
from collapse_jax.generative.networks import MLP, fresh
from collapse_jax.recursion import reflow
from collapse_jax.recursion.reflow import (
    ARMS,
    Arm,
    Round,
    chosen_images,
    first_rectification,
    generation,
    make_pairs,
    noisy_latents,
    start,
)
from collapse_jax.recursion.retraining import retrain

PLAN = Round(40, 8, batch=16, dispatch=2, solver_steps=30)
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def flow():
    """A network that moves points, an ancestor that moves them otherwise, and distinct real points."""
    graph, parameters = fresh(jax.random.key(0), MLP, 2, width=8)
    teacher, first = (
        jax.tree.map(lambda leaf, k=k: leaf + 0.2 * jax.random.normal(jax.random.key(k), leaf.shape), parameters)
        for k in (1, 2)
    )
    real = 1 + jax.random.normal(jax.random.key(3), (25, 2))
    return graph, teacher, first, real


def made(flow, arm, plan=PLAN, **others):
    graph, teacher, first, real = flow
    return make_pairs(arm, graph, teacher, first, real, KEY, plan, **others)


@pytest.mark.parametrize("name", list(ARMS))
def test_every_arm_makes_equally_many_pairs_at_equal_cost(flow, name):
    found, portions = made(flow, ARMS[name]), ARMS[name].portions
    assert found.pairs.noise.shape == found.pairs.data.shape == (40 / portions, 2)
    assert found.evaluations * portions == PLAN.evaluations == 40 * 2 * 30


def test_pairs_are_a_union_with_the_share_asked_for(flow):
    """Real pairs hold real images as they are, in turn; the others hold none."""
    for share, count in ((0.0, 0), (0.3, 12), (1.0, 40)):
        data, real = np.asarray(made(flow, Arm(share, 0.5)).pairs.data), np.asarray(flow[3])
        same = (data[:, None] == real[None]).all(axis=-1)
        assert same.any(axis=1).tolist() == [False] * (40 - count) + [True] * count
        assert same.sum(axis=0).max(initial=0) - same.sum(axis=0).min() <= 1


def test_pairs_without_noise_are_on_the_flow(flow):
    """x = flow(z) exactly for synthetic pairs; up to solver error, which falls with the step, for real ones."""
    graph, teacher, first, _ = flow
    errors = []
    for steps in (15, 200):
        plan = Round(40, 8, solver_steps=steps)
        (noise, data, _), _ = made(flow, ARMS["RA"], plan)
        again = samplers.transport(graph, teacher, noise, samplers.uniform(steps))
        np.testing.assert_allclose(again[:28], data[:28], atol=1e-6)
        errors.append(float(jnp.sqrt(jnp.mean((again[28:] - data[28:]) ** 2))))
    assert errors[0] < 1e-3
    assert errors[1] < 0.5 * errors[0]
    (noise, data, _), _ = made(flow, ARMS["RA, first"])
    again = samplers.transport(graph, first, noise[28:], samplers.uniform(30))
    np.testing.assert_allclose(again, data[28:], atol=0.02)
    wrong = samplers.transport(graph, teacher, noise[28:], samplers.uniform(30))
    assert float(jnp.abs(wrong - data[28:]).max()) > 0.1


def test_full_noise_is_independent_of_the_image(flow):
    """tau = 1: the latents of two sets of real images, from one key, are the same N(0, I)."""
    graph, teacher, first, real = flow
    plan = Round(4000, 8, solver_steps=2)
    arm = Arm(1.0, 1.0)
    noise, data, _ = (np.asarray(p) for p in (*made(flow, arm, plan).pairs[:2], 0))
    other = make_pairs(arm, graph, teacher, first, real + 1, KEY, plan).pairs.noise
    np.testing.assert_allclose(noise, other, atol=1e-6)
    band = 4.5 / np.sqrt(len(noise))
    assert np.abs(np.corrcoef(np.hstack([noise, data]).T)[:2, 2:]).max() < band
    assert np.abs(noise.mean(axis=0)).max() < band
    assert np.abs(noise.var(axis=0) - 1).max() < band * np.sqrt(2)


def test_latents_are_not_brought_back_to_unit_variance():
    """(1 - tau^2) v + tau^2 for latents of variance v: the restoring force."""
    z = 2 * jax.random.normal(jax.random.key(1), (20_000, 1))
    variance = float(jnp.var(noisy_latents(jax.random.key(2), z, 0.6)))
    expected = 0.64 * 4 + 0.36
    assert abs(variance - expected) < 4.5 * expected * np.sqrt(2 / 20_000)


def test_every_image_has_its_turn():
    counts = np.bincount(chosen_images(KEY, 7, 24), minlength=7)
    assert set(counts.tolist()) == {3, 4}


def test_portions_share_the_images_of_a_round(flow):
    """All arms see equally many distinct images: a portion goes on where the one before it stopped."""
    graph, teacher, first, real = flow
    arm = Arm(0.3, 0.6, portions=4)
    parts = [make_pairs(arm, graph, teacher, first, real, KEY, PLAN, portion) for portion in range(4)]
    assert [part.pairs.data.shape[0] for part in parts] == [10] * 4
    assert sum(part.evaluations for part in parts) == PLAN.evaluations
    seen = np.concatenate([part.pairs.data[7:] for part in parts])
    np.testing.assert_array_equal(seen, made(flow, ARMS["RA"]).pairs.data[28:])
    assert len(np.unique(seen, axis=0)) == 12
    latents = np.concatenate([part.pairs.noise[:7] for part in parts])
    assert len(np.unique(latents, axis=0)) == 28


def test_arms_and_rounds_that_do_not_fit_are_refused(flow):
    for wrong in ({"real_share": 1.2}, {"noise": -0.1}, {"portions": 0}):
        with pytest.raises(SpecError, match=next(iter(wrong))):
            Arm(**wrong)
    for arm in (Arm(portions=3), Arm(real_share=0.3, portions=8)):  # 12 real pairs are no eight equal parts
        with pytest.raises(SpecError, match="portions must divide"):
            generation(arm, flow[0], flow[3], PLAN)
    for wrong in ({"pairs": 0}, {"steps": 0}, {"solver": "rk4"}, {"solver": "euler-maruyama"}):
        with pytest.raises(SpecError, match=next(iter(wrong))):
            Round(**({"pairs": 40, "steps": 8} | wrong))
    with pytest.raises(SpecError, match="form must be latent or sde"):
        Arm(form="ode")
    for wrong in ({"inverter": "current", "noise": 0.5}, {"inverter": "first", "noise": 1.0}):
        with pytest.raises(SpecError, match="form sde needs the score of independent pairs and noise below 1"):
            Arm(0.3, form="sde", **wrong)
    with pytest.raises(SpecError, match="solver must be heun beside an SDE"):
        Round(40, 8, dispatch=2, solver="euler").allows(ARMS["ORAS 0.6, SDE"])


def test_the_sde_starts_from_the_first_network(flow):
    """Synthetic pairs are those of the other arms; latents of real ones come from the first network and move with g."""
    graph, _, first, real = flow
    few, more = (made(flow, Arm(0.3, noise, "first", form="sde")).pairs for noise in (0.0, 0.6))
    np.testing.assert_array_equal(more.noise[:28], made(flow, ARMS["RA"]).pairs.noise[:28])
    back = samplers.transport(graph, first, few.data[28:], samplers.uniform(30, 1.0, 0.0))
    np.testing.assert_allclose(few.noise[28:], back, rtol=1e-5, atol=1e-5)
    assert float(jnp.abs(more.noise[28:] - back).min()) > 0
    other = make_pairs(Arm(0.3, 0.6, "first", form="sde"), graph, first, first, real, KEY, PLAN).pairs
    np.testing.assert_array_equal(other.noise[28:], more.noise[28:])


def run(flow, name, rounds=2, real=None, report=None, **others):
    graph, teacher, _, points = flow
    real = points if real is None else real
    step = generation(ARMS[name], graph, real, PLAN, **others)
    observe = lambda number, key, state: {"spent": state["evaluations"], "loss": state["loss"]}  # noqa: E731
    return retrain(step, start(teacher), rounds, jax.random.key(1), observe=observe, report=report)


def test_rounds_cost_the_same_in_every_arm_and_later_ones_compile_nothing(flow):
    compiled, counts = [], []

    def listen(event, seconds, **_):
        compiled.extend([event] if "backend_compile" in event else [])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for name in ("ORAS 0.6", "ORAS 0.6, SDE"):
            counts.clear()
            found = run(flow, name, 3, report=lambda *_: counts.append(len(compiled)))
            assert counts[1:] == counts[:1] * 2
            assert found["spent"].tolist() == [0, 2400, 4800, 7200]
            compiled.clear()
        jax.jit(lambda x: x + 1.5)(1.0)
        assert compiled  # the listener does listen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("name", ["Reflow", "ORAS 0.6"])
def test_a_round_interrupted_within_its_training_ends_in_the_identical_result(flow, tmp_path, monkeypatch, name):
    graph, teacher, _, real = flow
    monkeypatch.setattr(reflow, "continued", partial(checkpoints.continued, every=0.0))
    step, whole = generation(ARMS[name], graph, real, PLAN), start(teacher)
    wanted = step(1, KEY, whole, None)

    class Killed(Exception):
        pass

    def saving(folder, number, tree, settings, save=checkpoints.save):
        save(folder, number, tree, settings)
        if number == 6:  # of 8 steps, by dispatches of two
            raise Killed

    monkeypatch.setattr(checkpoints, "save", saving)
    with pytest.raises(Killed):
        step(1, KEY, whole, tmp_path)
    monkeypatch.undo()
    found = step(1, KEY, whole, tmp_path)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_round_keeps_the_types_of_its_state(flow):
    """A checkpoint is read back only into arrays of the same shapes and types."""
    graph, teacher, _, real = flow
    before = start(teacher)
    after = generation(ARMS["Reflow"], graph, real, PLAN)(1, KEY, before, None)
    kinds = [jax.tree.map(lambda leaf: (np.shape(leaf), np.asarray(leaf).dtype), state) for state in (before, after)]
    assert kinds[0] == kinds[1]


def test_first_rectification_learns_the_mean_and_scratch_starts_anew(flow):
    graph = flow[0]
    real = jnp.full((10, 2), 3.0)
    blank = fresh(jax.random.key(9), MLP, 2, width=8)[1]
    plan = Round(40, 200, batch=64, rate=1e-2, dispatch=50)
    found = first_rectification(graph, blank, real, KEY, plan)
    z = jax.random.normal(KEY, (200, 2))
    ends = samplers.transport(graph, found, z, samplers.uniform(20))
    assert float(jnp.abs(ends.mean() - 3)) < 0.3
    kept = run(flow, "Reflow", 1)["loss"][-1]
    anew = run(flow, "Reflow", 1, scratch=lambda key: blank)["loss"][-1]
    assert kept < anew  # the teacher is nearer to its own pairs than a network that knows nothing


def test_a_loss_that_is_no_number_names_the_generation(flow):
    with pytest.raises(MeasurementError, match=r"^generation 1: loss is nan in step 1"):
        run(flow, "real only", real=jnp.full((25, 2), jnp.nan))
