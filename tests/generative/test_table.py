"""Tables of characters: counts against loops, samples against the table, both modes of the recursion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.generative import table
from collapse_jax.recursion.regimes import Pool, chain
from collapse_jax.specs.regime import Regime

TOKENS = 3


@pytest.mark.parametrize("order", [1, 2])
def test_counts_are_those_of_a_loop(order):
    generator = np.random.default_rng(0)
    sequences, weights = generator.integers(0, TOKENS, (4, 9)), np.array([1.0, 2.0, 0.0, 0.5], np.float32)
    right = np.zeros((TOKENS,) * (order + 1))
    for line, weight in zip(sequences, weights, strict=True):
        for place in range(order, len(line)):
            right[tuple(line[place - order : place + 1])] += weight
    found = table.count(jnp.asarray(sequences), jnp.asarray(weights), order, TOKENS)
    np.testing.assert_allclose(found, right.reshape(-1, TOKENS))


@pytest.mark.parametrize("order", [1, 2])
def test_samples_follow_the_table(order, precision):
    """Chi-square of successions in 3000 free sequences, context by context; prompts are kept."""
    rows = TOKENS**order
    law = np.random.default_rng(1).dirichlet(np.ones(TOKENS), rows)
    start = jnp.zeros((3000, order), jnp.int32).at[:, 0].set(2)
    made = table.generate(jax.random.key(2), start, jnp.asarray(law, jnp.float32), order, TOKENS, 12)
    np.testing.assert_array_equal(made[:, :order], start)
    counts = np.asarray(table.count(made, jnp.ones(3000), order, TOKENS))
    p = [stats.chisquare(row, one * row.sum()).pvalue for row, one in zip(counts, law, strict=True) if row.sum() > 50]
    assert len(p) >= TOKENS
    assert min(p) > 1e-3 / len(p)


def test_a_context_without_characters_keeps_its_row():
    family = table.family(1, TOKENS, 4)
    pool = Pool(jnp.array([[0, 1, 0, 1]]), jnp.ones(1))
    law, starts = family.fit(jax.random.key(0), pool, None)
    np.testing.assert_allclose(law, [[0, 1, 0], [1, 0, 0], [1 / 3] * 3], rtol=1e-6)
    np.testing.assert_allclose(starts, [2 / 3, 1 / 3, 0], rtol=1e-6)
    law, _ = family.fit(jax.random.key(0), Pool(jnp.array([[2, 0, 2, 0]]), jnp.ones(1)), (law, starts))
    np.testing.assert_allclose(law, [[0, 0, 1], [1, 0, 0], [1, 0, 0]], rtol=1e-6)


@pytest.mark.slow
def test_a_chain_without_real_text_loses_successions_and_one_with_it_does_not():
    def real(key, number):
        return jax.random.randint(key, (number, 20), 0, TOKENS).astype(float)

    alive = []
    for share in (0.0, 1.0):
        laws = chain(
            table.family(1, TOKENS, 20),
            real,
            Regime(samples=2, real_fraction=share),
            60,
            8,
            jax.random.key(3),
            observe=lambda model: model[0],
        )
        alive.append(float((laws[:, -1] > 0).sum() / 8))
    assert alive[0] < 0.7 * alive[1]
