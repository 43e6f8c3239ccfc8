"""The character transformer: causal, cached sampling equals full passes, learns a periodic text, refuses NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.generative import transformer

SIZES = {"context": 12, "width": 16, "heads": 2, "layers": 2}
TOKENS = 5


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Flax and optax mix types of numbers."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def network():
    return transformer.fresh(jax.random.key(0), TOKENS, **SIZES)


def test_later_characters_do_not_change_earlier_logits(network):
    model = nnx.merge(*network)
    first = jnp.array([[0, 1, 2, 3, 4, 0, 1, 2]])
    second = first.at[0, 5:].set(4)
    np.testing.assert_allclose(model(first)[:, :5], model(second)[:, :5], atol=1e-6)
    assert not np.allclose(model(first)[:, 5:], model(second)[:, 5:], atol=1e-6)


def test_one_character_at_a_time_gives_the_logits_of_a_full_pass(network):
    model = nnx.merge(*network)
    tokens = jax.random.randint(jax.random.key(1), (3, 12), 0, TOKENS)
    empty = jnp.zeros((3, 12, 2, 8))
    caches, seen = [(empty, empty)] * 2, []
    for place in range(12):
        logits, caches = model.step(tokens[:, place], caches, jnp.asarray(place))
        seen.append(logits)
    np.testing.assert_allclose(jnp.stack(seen, axis=1), model(tokens), atol=1e-5)


def test_what_does_not_fit_is_refused(network):
    graph, parameters = network
    prompts, key = jnp.zeros((2, 3), int), jax.random.key(0)
    for length in (2, 14):
        with pytest.raises(SpecError, match=f"length must be between 3, that of the prompts, and 13, .* got {length}"):
            transformer.generate(graph, parameters, key, prompts, length=length)
    assert transformer.generate(graph, parameters, key, prompts, length=13).shape == (2, 13)
    with pytest.raises(SpecError, match="tokens must be at most 12 long"):
        transformer.loss(graph, parameters, jnp.zeros((2, 14), int))
    with pytest.raises(SpecError, match="steps must be"):
        transformer.train(graph, parameters, key, prompts, jnp.ones(2), steps=0)
    with pytest.raises(SpecError, match="weights must be numbers >= 0, not all of them 0"):
        transformer.train(graph, parameters, key, prompts, jnp.zeros(2), steps=1)


def test_samples_follow_the_network_and_keep_their_prompts(network):
    """Frequencies of the first drawn character against the softmax of a full pass."""
    graph, parameters = network
    prompts = jnp.tile(jnp.array([[1, 3, 0]]), (20_000, 1))
    made = np.asarray(transformer.generate(graph, parameters, jax.random.key(2), prompts, length=6))
    np.testing.assert_array_equal(made[:, :3], prompts)
    law = np.asarray(jax.nn.softmax(nnx.merge(graph, parameters)(prompts[:1])[0, -1]))
    found = np.bincount(made[:, 3], minlength=TOKENS) / len(made)
    assert np.all(np.abs(found - law) < 4.5 * np.sqrt(law * (1 - law) / len(made)))


@pytest.mark.slow
def test_training_learns_a_periodic_text_and_is_the_same_again(network):
    graph, parameters = network
    sequences = jnp.tile(jnp.arange(20) % TOKENS, (8, 1))
    weights = jnp.ones(8)
    options = {"steps": 120, "batch": 8, "dispatch": 60, "rate": 1e-2}
    one = transformer.train(graph, parameters, jax.random.key(3), sequences, weights, **options)
    before, after = (float(transformer.loss(graph, p, sequences[:, :12])) for p in (parameters, one.parameters))
    assert before > 0.9 * np.log(TOKENS)
    assert after < 0.2
    assert one.losses.shape == (2,)
    two = transformer.train(graph, parameters, jax.random.key(3), sequences, weights, **options)
    np.testing.assert_array_equal(one.losses, two.losses)
    made = transformer.generate(graph, one.parameters, jax.random.key(4), sequences[:4, :4], length=12)
    assert float(np.mean(np.asarray(made) == np.asarray(sequences[:4, :12]))) > 0.9


def test_step_sizes_are_those_of_optax():
    for total in (10, 101, 1000):
        warm = max(1, int(transformer.WARM_UP * total))
        schedule = optax.warmup_cosine_decay_schedule(0, 3e-3, warm, total, 3e-4)
        numbers = np.arange(total + 1)
        np.testing.assert_allclose(
            transformer.step_size(3e-3, jnp.asarray(numbers, float), total), schedule(numbers), rtol=1e-4, atol=1e-9
        )


def test_trainings_of_other_lengths_compile_nothing(network):
    graph, parameters = network
    data = jnp.zeros((4, 20), jnp.int32), jnp.ones(4)
    transformer.train(graph, parameters, jax.random.key(0), *data, steps=4, batch=2, dispatch=2)
    programs = transformer._train._cache_size()
    for steps in (2, 6, 8):
        transformer.train(graph, parameters, jax.random.key(0), *data, steps=steps, batch=2, dispatch=2)
    assert transformer._train._cache_size() == programs


def test_places_of_weight_zero_are_never_read():
    sequences = jnp.concatenate([jnp.zeros((4, 20), jnp.int32), jnp.full((4, 20), 4)])
    windows = transformer._windows(jax.random.key(0), sequences, jnp.array([1.0] * 4 + [0.0] * 4), 200, 10)
    assert set(np.asarray(windows).ravel()) == {0}


def test_a_loss_that_is_not_a_number_is_refused_with_its_steps(network):
    graph, parameters = network
    with pytest.raises(MeasurementError, match=r"^loss is nan between steps 0 and 5: lower the learning rate"):
        transformer.train(
            graph,
            parameters,
            jax.random.key(0),
            jnp.zeros((2, 20), jnp.int32),
            jnp.ones(2),
            steps=10,
            batch=2,
            dispatch=5,
            rate=float("nan"),
        )


@pytest.mark.parametrize(
    ("sizes", "message"), [({"heads": 3}, "heads must divide"), ({"context": 1}, "context must be >= 2")]
)
def test_bad_sizes_are_refused(sizes, message):
    with pytest.raises(SpecError, match=f"^{message}"):
        transformer.fresh(jax.random.key(0), TOKENS, **SIZES | sizes)
