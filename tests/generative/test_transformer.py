"""The small decoder: causal, sampled from the law it assigns, trained from a buffer of any fill."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from collapse_jax.errors import SpecError
from collapse_jax.generative import transformer as tr

SHAPE = tr.Shape(symbols=3, context=4, layers=2, width=16, heads=2)


@pytest.fixture(scope="module")
def coins():
    """Chunks of a Markov chain: the first character is 0 or 1, each later one repeats it with probability 0.9."""
    rng = np.random.default_rng(0)
    chunks = np.empty((400, 4), np.int32)
    chunks[:, 0] = rng.random(400) < 0.3
    for place in range(1, 4):
        chunks[:, place] = np.where(rng.random(400) < 0.9, chunks[:, place - 1], 2)
    return jnp.asarray(chunks)


@pytest.fixture(scope="module")
def trained(coins):
    return tr.fit(jax.random.key(0), coins, 400, SHAPE, epochs=20, learning_rate=0.01)[0]


def test_no_character_sees_itself_or_what_follows():
    model = tr.Decoder(SHAPE, rngs=nnx.Rngs(0))
    chunk = jnp.array([[0, 1, 2, 0]])
    logits = model(chunk)
    for place in range(4):
        other = model(chunk.at[0, place].set((chunk[0, place] + 1) % 3))
        np.testing.assert_allclose(other[0, : place + 1], logits[0, : place + 1], atol=1e-6)
        if place < 3:
            assert np.abs(other[0, place + 1] - logits[0, place + 1]).max() > 1e-4


def test_kept_keys_and_values_give_the_same_logits(trained, coins):
    model = tr.restore(trained, SHAPE)
    whole, cache = model(coins[:5]), model.empty_cache(5)
    before = jnp.full(5, SHAPE.symbols)
    for place in range(4):
        logits, cache = model.step(before, jnp.asarray(place), cache)
        np.testing.assert_allclose(logits, whole[:, place], rtol=2e-4, atol=2e-4)
        before = coins[:5, place]


def test_chunks_are_drawn_from_the_law_that_the_loss_scores(trained):
    """Frequencies of whole chunks against their probabilities, chi-square at 0.001."""
    every = jnp.stack(jnp.meshgrid(*[jnp.arange(3)] * 4, indexing="ij"), -1).reshape(-1, 4)
    chances = np.exp(-4 * np.asarray(tr.held_out(trained, every, shape=SHAPE), float))
    assert chances.sum() == pytest.approx(1, abs=1e-4)
    count = 20000
    drawn = np.asarray(tr.generate(trained, jax.random.key(1), shape=SHAPE, count=count))
    seen = np.bincount(drawn @ 3 ** np.arange(4)[::-1], minlength=81)
    likely = chances * count >= 5
    expected = np.append(chances[likely], chances[~likely].sum()) * count
    found = np.append(seen[likely], seen[~likely].sum())
    statistic = ((found - expected) ** 2 / np.maximum(expected, 1)).sum()
    from scipy.stats import chi2

    assert statistic < chi2.isf(1e-3, len(expected) - 1)


def test_training_reaches_the_entropy_of_its_data(trained, coins):
    entropy = -0.3 * np.log(0.3) - 0.7 * np.log(0.7)
    step = -0.9 * np.log(0.9) - 0.1 * np.log(0.1)
    # characters 2 repeat too: from place 1 on each has the entropy of a step unless the one before it was 2
    stays = np.array([0.9**place for place in range(1, 4)])
    floor = (entropy + step * (1 + stays[0] + stays[1])) / 4
    reached = float(tr.held_out(trained, coins, shape=SHAPE).mean())
    assert reached < floor + 0.05


def test_chunks_beyond_the_count_are_never_seen(coins):
    short = tr.fit(jax.random.key(2), coins, 64, SHAPE, epochs=2)[0]
    spoiled = tr.fit(jax.random.key(2), coins.at[64:].set(2), 64, SHAPE, epochs=2)[0]
    for one, other in zip(jax.tree.leaves(short), jax.tree.leaves(spoiled), strict=True):
        np.testing.assert_array_equal(one, other)


def test_sizes_that_do_not_fit_are_refused(coins):
    with pytest.raises(SpecError, match="chunks must have 5 characters, got 4"):
        tr.fit(jax.random.key(0), coins, 4, SHAPE._replace(context=5))
    with pytest.raises(SpecError, match="heads must divide the width 16, got 3"):
        tr.fit(jax.random.key(0), coins, 4, SHAPE._replace(heads=3))
