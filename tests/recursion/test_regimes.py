"""Which points a generation trains on, read off families that write down where every point came from."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.recursion.regimes import Family, chain
from collapse_jax.specs.regime import Regime

GENERATIONS = 5
ORIGIN = np.arange(GENERATIONS + 1, dtype=np.float32)


def remember(key, pool, previous):
    """The model is its own number, and how much weight its pool held of points of each model (real ones are 0)."""
    number = jnp.float32(1) if previous is None else previous["number"] + 1
    held = jnp.sum(jnp.where(pool.data[:, None] == ORIGIN[None], pool.weights[:, None], 0), 0)
    return {"number": number, "held": held}


WITNESS = Family(remember, lambda key, model, n: jnp.full(n, model["number"]))


def real(key, n):
    return jnp.zeros(n)


def held(regime, replicates=2, generations=GENERATIONS):
    """``[replicates, generations, origins]``, points of each origin in the pool of each generation."""
    seen = chain(WITNESS, real, regime, generations, replicates, jax.random.key(0), observe=lambda m: m["held"])
    return np.asarray(seen)


def test_replace_trains_on_the_last_batch():
    np.testing.assert_array_equal(held(Regime(7))[0], 7 * np.eye(GENERATIONS + 1)[:GENERATIONS])


def test_sizes_follow_their_schedule():
    sizes = (3, 9, 2, 5, 4)
    np.testing.assert_array_equal(held(Regime(sizes))[1], np.diag([*sizes, 0])[:GENERATIONS])
    expected = np.tril(np.broadcast_to([*sizes, 0], (GENERATIONS + 1, GENERATIONS + 1)))[:GENERATIONS]
    np.testing.assert_array_equal(held(Regime(sizes, "accumulate"))[1], expected)


def test_one_generation_is_a_fit_on_real_data():
    np.testing.assert_array_equal(held(Regime(4, "accumulate"), generations=1), [[[4, 0, 0, 0, 0, 0]]] * 2)


def test_fixed_split_holds_its_share_in_every_batch():
    seen = held(Regime(8, real_fraction=0.25, split="fixed"))
    np.testing.assert_array_equal(seen[0, 1:, 0], 2)
    np.testing.assert_array_equal(seen[0].sum(1), 8)


def test_shares_follow_their_schedule():
    shares = [0.9, 1.0, 0.5, 0.0, 0.25]  # the first batch is real whatever it says
    np.testing.assert_array_equal(held(Regime(8, real_fraction=shares, split="fixed"))[0, :, 0], [8, 8, 4, 0, 2])
    seen = held(Regime(8, "accumulate", real_fraction=shares, split="fixed"))
    np.testing.assert_array_equal(seen[0, :, 0], np.cumsum([8, 8, 4, 0, 2]))


def test_random_split_draws_the_origin_of_every_point():
    counts = held(Regime(100, real_fraction=0.3), replicates=200)[:, 1:, 0].ravel()
    low, high = 0.3 * 100 + np.array([-1, 1]) * 4.5 * np.sqrt(21 / counts.size)
    assert low < counts.mean() < high
    spread = counts.var(ddof=1) / 21  # binomial, so not a fixed split
    assert abs(spread - 1) < 4.5 * np.sqrt(2 / counts.size)


def test_subsample_draws_the_batch_size_from_everything():
    with_replacement = held(Regime(60, "accumulate-subsample"), replicates=100)
    np.testing.assert_array_equal(with_replacement.sum(2), 60)
    last = with_replacement[:, -1, :GENERATIONS].mean(0)
    np.testing.assert_allclose(last, 12, atol=4.5 * np.sqrt(60 * 0.2 * 0.8 / 100))
    without = held(Regime((60, 1, 1, 1, 1), "accumulate-subsample", replacement=False))
    np.testing.assert_array_equal(without[:, 0, 0], 60)


def test_without_replacement_no_point_is_drawn_twice():
    """Every point has its own number, the model is the largest count of any."""
    points = Family(
        lambda key, pool, previous: jnp.max(
            jnp.sum(jnp.where(pool.data[:, None] == pool.data[None], pool.weights[:, None], 0), 0)
        ),
        lambda key, model, n: jax.random.uniform(key, (n,)),
    )

    def numbers(key, n):
        return jax.random.uniform(key, (n,))

    for replacement in (True, False):
        regime = Regime(50, "accumulate-subsample", replacement=replacement)
        worst = chain(points, numbers, regime, 4, 4, jax.random.key(1), observe=lambda m: m)
        assert (np.asarray(worst) > 1).any() == replacement


@pytest.mark.parametrize("split", ["fixed", "random"])
def test_anchor_is_the_first_batch_again(split):
    family = Family(
        lambda key, pool, previous: jnp.sort(jnp.where(pool.weights > 0, pool.data, 9.0)),
        lambda key, model, n: jnp.full(n, 5.0),
    )

    def numbers(key, n):
        return jax.random.uniform(key, (n,))

    regime = Regime(10, real_fraction=0.4, split=split, real="anchor")
    pools = np.asarray(chain(family, numbers, regime, 4, 3, jax.random.key(2), observe=lambda m: m))
    for first, *later in pools:
        used = [set(pool[pool < 1].tolist()) for pool in later]
        assert all(one <= set(first.tolist()) for one in used)
        if split == "fixed":
            assert all(len(one) == 4 and one == used[0] for one in used)


def test_weight_of_the_real_part():
    seen = held(Regime(8, real_fraction=0.25, split="fixed", real_weight=0.7))
    np.testing.assert_allclose(seen[0, 1:, 0], 0.7 * 8, rtol=1e-6)
    np.testing.assert_allclose(seen[0].sum(1), 8, rtol=1e-6)


def test_points_may_be_any_tree_and_replicates_differ(x64):
    def line(key, n):
        x = jax.random.normal(key, (n, 2))
        return x, x @ jnp.array([1.0, -2.0])

    def fit(key, pool, previous):
        x, y = pool.data
        gram = x.T @ (pool.weights[:, None] * x)
        return jnp.linalg.solve(gram, x.T @ (pool.weights * y))

    def sample(key, slope, n):
        x = jax.random.normal(key, (n, 2))
        return x, x @ slope

    slopes = chain(Family(fit, sample), line, Regime(20), 3, 2, jax.random.key(3), observe=lambda w: w)
    np.testing.assert_allclose(slopes, np.broadcast_to([1.0, -2.0], (2, 3, 2)), rtol=1e-9)


def test_points_may_be_whole_numbers():
    """Counts of symbols: a table of proportions, fitted and drawn from."""

    def fit(key, pool, previous):
        return jnp.sum(jnp.where(pool.data[:, None] == np.arange(3)[None], pool.weights[:, None], 0), 0) / 8

    def sample(key, chances, n):
        return jax.random.categorical(key, jnp.log(chances), shape=(n,))

    def symbols(key, n):
        return jax.random.randint(key, (n,), 0, 3)

    for kind in ("replace", "accumulate-subsample"):
        seen = chain(Family(fit, sample), symbols, Regime(8, kind), 3, 2, jax.random.key(5), observe=lambda m: m)
        np.testing.assert_allclose(np.sum(seen, 2), 1, rtol=1e-6)


def test_many_replicates_run_in_pieces_and_are_the_same(monkeypatch):
    from collapse_jax.recursion import regimes

    def mean(key, pool, previous):
        return jnp.average(pool.data, weights=pool.weights)

    def sample(key, model, n):
        return model + jax.random.normal(key, (n,))

    def normal(key, n):
        return jax.random.normal(key, (n,))

    def run(family):
        return chain(family, normal, Regime(10, "accumulate"), 4, 9, jax.random.key(4), observe=lambda m: m)

    whole = run(Family(mean, sample))
    monkeypatch.setattr(regimes, "_AT_ONCE", 80)
    pieces = run(Family(lambda *args: mean(*args), sample))
    np.testing.assert_allclose(pieces, whole, rtol=1e-6)


def test_a_fit_that_breaks_is_named():
    def fit(key, pool, previous):
        return jnp.float32(1) if previous is None else previous + jnp.where(previous > 2, jnp.nan, 1)

    family = Family(fit, lambda key, model, n: jnp.full(n, model))
    with pytest.raises(MeasurementError, match=r"generation 4, replicate 0 \(3 of 3 replicates\)"):
        chain(family, real, Regime(2), 6, 3, jax.random.key(0), observe=lambda m: m)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Regime(0), "samples must be whole numbers >= 1, got 0"),
        (lambda: Regime((10, 0)), r"samples must be whole numbers >= 1, got \(10, 0\)"),
        (lambda: Regime(10, real_fraction=1.5), r"real_fraction must be in \[0, 1\], got 1.5"),
        (lambda: Regime(10, real_fraction=float("nan")), "real_fraction must be in"),
        (lambda: Regime(10, real_weight=0.5), "real_weight needs split fixed"),
        (lambda: held(Regime((10, 10))), "samples must list a size for each of 5 generations, got 2"),
        (lambda: held(Regime(10, real_fraction=[0.1] * 3)), "real_fraction must list a share for each of 5"),
        (lambda: held(Regime(10, real_fraction=0.25, split="fixed")), "got 0.25 of 10 in generation 2"),
        (
            lambda: held(Regime((4, 10, 10, 10, 10), real_fraction=0.5, split="fixed", real="anchor")),
            "asks for 5 anchor points, the first batch has 4",
        ),
        (lambda: held(Regime(10, split="fixed", real_weight=0.5)), "real_weight needs real and synthetic points"),
        (lambda: held(Regime(10), replicates=0), "replicates must be a whole number >= 1, got 0"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(SpecError, match=words):
        make()


def test_wrong_kinds_are_refused_without_the_type_checker_of_the_tests():
    code = """
from collapse_jax.specs.regime import Regime
for fields in ({"kind": "forget"}, {"split": "half"}, {"samples": 2.5}, {"samples": (3, 2.5)}):
    try:
        Regime(**{"samples": 10} | fields)
    except ValueError as error:
        print(error)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [
        "kind must be one of replace, accumulate, accumulate-subsample, got 'forget'.",
        "split must be one of random, fixed, got 'half'.",
        "samples must be whole numbers >= 1, got 2.5.",
        "samples must be whole numbers >= 1, got (3, 2.5).",
    ]
