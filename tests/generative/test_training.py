"""The train step: what it converges to, averages, resumption, weights, compilation, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from scipy import stats

from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.generative import training
from collapse_jax.generative.flows import Pairs, Points, independent_flow_loss, rectified_flow_errors
from collapse_jax.generative.networks import MLP, fresh

VARIANCE = 2.0
STEPS = 8  # of the Euler sampler: velocities are fitted at k / STEPS
SEEDS = 16


class LinearAtEachTime(nnx.Module):
    """v(k / STEPS, x) = slope_k x: least squares at every time, with no network between."""

    def __init__(self, *, rngs):
        self.slopes = nnx.Param(jnp.zeros(STEPS))

    def __call__(self, t, x, cond=None):
        return self.slopes[...][jnp.round(t * STEPS).astype(jnp.int32)][:, None] * x


def loss_on_grid(model, key, points):
    time_key, noise_key = jax.random.split(key)
    count = points.data.shape[0]
    t = jax.random.randint(time_key, (count,), 0, STEPS).astype(jnp.float32) / STEPS
    noise = jax.random.normal(noise_key, points.data.shape)
    return jnp.mean(rectified_flow_errors(model, t, Pairs(noise, points.data)))


@pytest.fixture(scope="module")
def slopes():
    """Slopes of SEEDS trainings ``[SEEDS, STEPS]`` by plain descent.

    Its gradient is linear in the slopes, so once the start is forgotten they scatter around the best ones without bias.
    """
    data = jax.random.normal(jax.random.key(0), (2000, 1))
    data = Points(jnp.sqrt(VARIANCE) * (data - data.mean()) / data.std())  # mean and variance known exactly
    optimizer, found = optax.sgd(0.5), []
    for seed in range(SEEDS):
        graph, parameters = fresh(jax.random.key(0), LinearAtEachTime)
        done = training.train(
            graph,
            training.begin(parameters, optimizer),
            jax.random.key(1 + seed),
            data,
            loss_on_grid,
            optimizer,
            steps=8000,
            batch=256,
            dispatch=4000,
            decay=0.999,
        )
        found.append(np.asarray(jax.tree.leaves(done.state.average)[0], float))
    return np.array(found)


def meets(found, expected, error_rate=1e-4):
    """Do means over seeds meet what is expected, all of them, by their own scatter?"""
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    band = stats.t.isf(error_rate / 2 / found[0].size, len(found) - 1) * error
    return bool(np.all(np.abs(found.mean(axis=0) - expected) < band))


def exact_slopes(variance):
    """RF-4, independent pairs."""
    t = np.arange(STEPS) / STEPS
    return (t * variance - (1 - t)) / (t**2 * variance + (1 - t) ** 2)


def test_training_finds_the_velocity_of_gaussian_data(slopes):
    assert meets(slopes, exact_slopes(VARIANCE))
    assert not meets(slopes, exact_slopes(1.02 * VARIANCE))


def test_euler_with_a_trained_velocity_shrinks_by_the_cosines(slopes):
    """RF-5 on the uniform grid."""
    t = np.arange(STEPS + 1) / STEPS
    cross = (1 - t[:-1]) * (1 - t[1:]) + t[:-1] * t[1:] * VARIANCE
    each = (1 - t) ** 2 + t**2 * VARIANCE
    expected = np.sqrt(VARIANCE) * np.prod(cross / np.sqrt(each[:-1] * each[1:]))
    gains = np.prod(1 + slopes / STEPS, axis=1)[:, None]
    assert meets(gains, expected)
    assert not meets(gains, np.sqrt(VARIANCE))
    assert not meets(gains, 1.02 * expected)
    assert not meets(gains, 0.98 * expected)


@pytest.fixture(scope="module")
def small():
    data = Points(jax.random.normal(jax.random.key(0), (40, 2)) + 1)
    return *fresh(jax.random.key(1), MLP, 2, width=8, depth=1), data, training.adam(1e-2, 40)


def run(small, state=None, steps=20, **options):
    graph, parameters, data, optimizer = small
    state = training.begin(parameters, optimizer) if state is None else state
    options = {"batch": 16, "dispatch": 5} | options
    objective = options.pop("objective", independent_flow_loss)
    return training.train(
        graph, state, jax.random.key(2), options.pop("data", data), objective, optimizer, steps=steps, **options
    )


def equal(one, two):
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), one, two)))


def test_continued_training_is_the_same_bit_for_bit(small):
    whole = run(small)
    half = run(small, steps=10)
    copy = jax.tree.map(lambda leaf: jnp.array(np.asarray(leaf)), half.state)  # as from a file
    rest = run(small, state=copy)
    assert equal(whole.state, rest.state)
    np.testing.assert_array_equal(whole.losses, [*half.losses, *rest.losses])
    assert equal(run(small, state=whole.state).state.step, 20)  # nothing left to do


def test_dispatches_only_group_the_steps(small):
    one, five = run(small, dispatch=1), run(small)
    assert one.losses.shape == (20,)
    np.testing.assert_allclose(one.losses.reshape(4, 5).mean(axis=1), five.losses, rtol=1e-5)


def test_average_follows_the_parameters(small):
    seen = []

    def note(step, losses, state):
        assert losses.shape == (1,)
        seen.append(
            (step, *(np.asarray(jax.tree.leaves(tree)[0], float) for tree in (state.parameters, state.average)))
        )

    run(small, steps=6, dispatch=1, decay=0.3, callback=note)
    average = np.asarray(jax.tree.leaves(small[1])[0], float)
    for step, parameters, found in seen:
        share = min(0.3, step / (9 + step))  # (1 + n) / (10 + n) of the n steps before
        average = share * average + (1 - share) * parameters
        np.testing.assert_allclose(found, average, rtol=1e-5, atol=1e-7)
    assert [step for step, *_ in seen] == [1, 2, 3, 4, 5, 6]


def test_the_next_generation_compiles_nothing(small):
    """Another start, other data, another argument of the objective: the same programs."""
    _, _, data, optimizer = small

    def train(number):
        again, parameters = fresh(jax.random.key(number), MLP, 2, width=8, depth=1)
        pool = Points(data.data + number)
        return training.train(
            again,
            training.begin(parameters, optimizer),
            jax.random.key(number),
            pool,
            shifted,
            optimizer,
            steps=10,
            batch=16,
            dispatch=5,
            weights=np.ones(40) + number,
            arguments=(float(number),),
        )

    train(0)
    compiled = []

    def listen(event, seconds, **_):
        compiled.extend([event] if "backend_compile" in event else [])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        held = training._dispatch._cache_size()
        train(1)
        assert training._dispatch._cache_size() == held
        assert compiled == []
        jax.jit(lambda x: x + 1.5)(1.0)
        assert compiled  # the listener does listen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def shifted(model, key, points, shift):
    return independent_flow_loss(model, key, Points(points.data + shift))


def test_weights_decide_how_often_a_place_is_drawn():
    weights = np.array([0.0, 1.0, 0.0, 3.0, 6.0, 0.0])
    chosen = np.asarray(training.draw_places(jax.random.key(0), jnp.asarray(np.cumsum(weights), float), 20_000, 6))
    counts = np.bincount(chosen, minlength=6)
    assert not counts[[0, 2, 5]].any()
    assert stats.chisquare(counts[[1, 3, 4]], 2000 * weights[[1, 3, 4]]).pvalue > 1e-6
    alike = np.bincount(np.asarray(training.draw_places(jax.random.key(0), None, 20_000, 5)), minlength=5)
    assert stats.chisquare(alike).pvalue > 1e-6


def test_places_without_weight_are_never_read(small):
    data = Points(jnp.concatenate([small[2].data, jnp.full((3, 2), jnp.nan)]))
    assert np.isfinite(run(small, data=data, weights=[1.0] * 40 + [0.0] * 3).losses).all()


def test_a_loss_that_is_not_a_number_names_its_step(small):
    def breaks(model, key, points):
        # the loss of step 8 alone: its key is known
        seventh = jax.random.split(jax.random.fold_in(jax.random.key(2), 7))[1]
        bad = jnp.all(jax.random.key_data(key) == jax.random.key_data(seventh))
        return independent_flow_loss(model, key, points) + jnp.where(bad, jnp.nan, 0.0)

    with pytest.raises(MeasurementError, match=r"^loss is nan in step 8 of 20: lower the learning rate"):
        run(small, objective=breaks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be a whole number >= 1"),
        ({"steps": 18}, "steps must be 0 .* dispatches of 5 steps, got 18"),
        ({"decay": 1.0}, r"decay must be in \[0, 1\)"),
        ({"weights": [1.0] * 39}, "weights must be one number"),
        ({"weights": [0.0] * 40}, "weights must be one number"),
        ({"data": Points(jnp.ones((3, 2)), jnp.ones(2, int))}, "data must hold arrays of one number of places"),
    ],
)
def test_bad_arguments_are_refused(small, options, message):
    with pytest.raises(SpecError, match=f"^{message}"):
        run(small, **options)
