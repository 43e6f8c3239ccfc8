"""Exact samplers of iterative maximum likelihood have the law of chains with all their points in memory.

Statistical tests have fixed keys and a family-wise error rate of 1e-3 over the file's comparisons of one kind. A
replicate of one chain is the chain itself, so that whole laws can be compared and not only their means.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.errors import SpecError
from collapse_jax.simulate import draws, mle, mle_counterexamples, mle_exact, mle_families, mle_seen
from collapse_jax.specs.mle import MLESpec

FAMILY = 1e-3
CHAINS = 1500
ROUNDS = 3

pytestmark = pytest.mark.usefixtures("x64", "quick_compilation")


def chains(run, spec, seed, count=CHAINS, rounds=ROUNDS):
    """One replicate a chain."""
    return {
        name: np.asarray(found.values)
        for name, found in run(spec, rounds, count, jax.random.key(seed), samples=1).items()
    }


COIN = {"family": "bernoulli", "mean": 0.3, "batch": 8.0}
BELL = {"family": "normal", "mean": 1.0, "variance": 2.0, "batch": 6.0}
CASES = {
    "coins": (COIN, "mean"),
    "coins, kept": (COIN | {"regime": "accumulate"}, "mean"),
    "coins, random share": (COIN | {"real_fraction": 0.25}, "mean"),
    "binomial": ({"family": "binomial", "mean": 2.0, "size": 5.0, "batch": 4.0}, "mean"),
    "poisson": ({"family": "poisson", "mean": 1.5, "batch": 4.0}, "mean"),
    "negative binomial": ({"family": "negative-binomial", "mean": 1.5, "size": 2.5, "batch": 4.0}, "mean"),
    "exponential, fixed share": (
        {"family": "exponential", "mean": 2.0, "batch": 8.0, "real_fraction": 0.25, "split": "fixed"},
        "mean",
    ),
    "gamma, weighted": (
        {"family": "gamma", "mean": 2.0, "size": 0.7, "batch": 8.0, "real_fraction": 0.25}
        | {"split": "fixed", "real_weight": 0.6},
        "mean",
    ),
    "gaussian, anchor": (
        {"family": "gaussian", "mean": 2.0, "variance": 0.5, "batch": 8.0, "real_fraction": 0.25}
        | {"split": "fixed", "real": "anchor"},
        "mean",
    ),
    "beta": ({"family": "beta", "mean": 0.5, "batch": 5.0}, "inverse_mean"),
    "normal": (BELL, "fitted_variance"),
    "normal, kept, unbiased": (BELL | {"regime": "accumulate", "divisor": "n-1"}, "fitted_variance"),
    "normal, random share": (BELL | {"real_fraction": 0.5}, "w2"),
    "normal in space": (BELL | {"variance": (2.0, 0.5)}, "log_volume"),
    "normal in space, kept": (BELL | {"variance": (2.0, 0.5), "regime": "accumulate"}, "log_volume"),
    "symbols": ({"family": "multinomial", "weights": (0.5, 0.3, 0.2), "batch": 6.0}, "diversity"),
}
LEVEL = FAMILY / (2 * len(CASES) * ROUNDS)


@pytest.mark.parametrize("name", CASES)
def test_exact_chains_and_chains_of_points_have_one_law(name):
    """Kolmogorov and Smirnov's test of an observable in every round, and of its change between the last two."""
    fields, observable = CASES[name]
    spec = MLESpec(**fields)
    exact, points = (
        chains(run, spec, seed)[observable] for seed, run in enumerate((mle.exact_chain, mle.brute_force_chain))
    )
    assert exact.shape == points.shape == (CHAINS, ROUNDS + 1)
    np.testing.assert_allclose(exact[:, 0], points[:, 0], rtol=1e-12, atol=1e-12)
    for t in range(1, ROUNDS + 1):
        assert stats.ks_2samp(np.round(exact[:, t], 9), np.round(points[:, t], 9)).pvalue > LEVEL, f"round {t}"
    moves = [np.round(v[:, -1] - v[:, -2], 9) for v in (exact, points)]
    assert stats.ks_2samp(*moves).pvalue > LEVEL


def test_that_comparison_sees_a_batch_that_is_two_points_larger():
    exact = chains(mle.exact_chain, MLESpec(**BELL), 0)["fitted_variance"]
    points = chains(mle.brute_force_chain, MLESpec(**BELL | {"batch": 8.0}), 1)["fitted_variance"]
    assert stats.ks_2samp(exact[:, -1], points[:, -1]).pvalue < LEVEL


def test_values_do_not_depend_on_replicates_in_other_ways_than_averages():
    """Ten replicates of four chains are the averages of forty replicates of one."""
    spec = MLESpec(**BELL)
    one = mle.exact_chain(spec, 2, 40, jax.random.key(3), samples=1)
    many = mle.exact_chain(spec, 2, 10, jax.random.key(3), samples=4)
    averages = np.asarray(one["fitted_variance"].values).reshape(10, 4, 3).mean(axis=1)
    np.testing.assert_allclose(many["fitted_variance"].values, averages, rtol=1e-12)


DRAWS = 40_000
LAWS = {
    "gamma .3": (lambda key: draws.gamma(key, jnp.full(DRAWS, 0.3)), stats.gamma(0.3)),
    "gamma 2.5": (lambda key: draws.gamma(key, jnp.full(DRAWS, 2.5)), stats.gamma(2.5)),
    "gamma 1e5": (lambda key: draws.gamma(key, jnp.full(DRAWS, 1e5)), stats.gamma(1e5)),
    "binomial 20": (
        lambda key: draws.binomial(key, jnp.full(DRAWS, 20.0), jnp.asarray(0.85)),
        stats.binom(20, 0.85),
    ),
    "binomial 100": (
        lambda key: draws.binomial(key, jnp.full(DRAWS, 100.0), jnp.asarray(0.4)),
        stats.binom(100, 0.4),
    ),
    "binomial 4000": (
        lambda key: draws.binomial(key, jnp.full(DRAWS, 4000.0), jnp.asarray(0.3)),
        stats.binom(4000, 0.3),
    ),
    "poisson 3": (lambda key: draws.poisson(key, jnp.full(DRAWS, 3.0)), stats.poisson(3)),
    "poisson 90": (lambda key: draws.poisson(key, jnp.full(DRAWS, 90.0)), stats.poisson(90)),
}


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("name", LAWS)
def test_draws_have_the_law_of_scipy(name, single):
    """Both precisions; counts by chi-squared over thirty bins, gamma numbers by Kolmogorov and Smirnov."""
    draw, law = LAWS[name]
    with jax.enable_x64(not single):
        found = np.asarray(draw(jax.random.key(11)), float)
    level = FAMILY / (2 * len(LAWS))
    if name.startswith("gamma"):
        assert stats.kstest(found, law.cdf).pvalue > level
        return
    assert (found == np.round(found)).all()
    edges = np.unique(np.concatenate([[-1.0], np.unique(law.ppf(np.linspace(0.02, 0.98, 30))), [1e9]]))
    seen, chances = np.histogram(found, edges + 0.5)[0], np.diff(law.cdf(edges))
    there = chances > 0
    assert seen[~there].sum() == 0
    assert stats.chisquare(seen[there], DRAWS * chances[there] / chances.sum()).pvalue > level


def test_shapes_and_trials_may_differ_and_may_be_zero():
    key = jax.random.key(0)
    shapes = jnp.array([0.0, 0.5, 3.0, 1e6])
    assert draws.gamma(key, shapes)[0] == 0
    counts = draws.binomial(key, jnp.array([0.0, 5.0, 5.0, 50.0]), jnp.array([0.5, 0.0, 1.0, 0.5]))
    assert counts[:3].tolist() == [0.0, 0.0, 5.0]
    assert draws.poisson(key, jnp.array([0.0, 100.0]))[0] == 0


def test_single_precision_keeps_variances_positive_far_from_zero():
    """A mean of a thousand standard deviations: no sums of squares, so that float32 still knows the variance."""
    with jax.enable_x64(False):
        spec = MLESpec("normal", mean=1000.0, variance=1.0, batch=50.0, regime="accumulate")
        run = mle.exact_chain(spec, 20, 64, jax.random.key(1), samples=20)
        found = np.asarray(run["fitted_variance"].values)
    assert found.dtype == np.float32
    assert found[:, -1].mean() == pytest.approx(np.prod(1 - 1 / (50 * np.arange(1, 21.0) ** 2)), abs=0.035)


def test_merging_batches_is_fitting_their_points():
    """Two sets of points: the merged statistics are those of all points, weighted by their shares."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(1, 5, 3)), rng.normal(size=(1, 7, 3)) + 2

    def of(points):
        mean = points.mean(axis=1)
        root = np.linalg.cholesky(np.cov(points[0].T, bias=True))[None]
        return {"mean": jnp.asarray(mean), "root": jnp.asarray(root)}

    merged = mle_exact.merge(of(first), of(second), 7 / 12)
    whole = np.concatenate([first, second], axis=1)[0]
    root = np.asarray(merged["root"][0])
    np.testing.assert_allclose(merged["mean"][0], whole.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(root @ root.T, np.cov(whole.T, bias=True), rtol=1e-12)
    assert (np.diagonal(root) > 0).all()
    np.testing.assert_array_equal(root, np.tril(root))


def test_fits_of_families_are_the_textbook_ones():
    rng = np.random.default_rng(1)
    points = rng.normal(size=9)
    weights = np.array([2.0, 1, 1, 1, 1, 1, 1, 1, 0])
    pool = mle_families.Family and type("Pool", (), {"data": jnp.asarray(points), "weights": jnp.asarray(weights)})
    whole = np.concatenate([points[:1], points[:8]])
    for divisor, less in (("n", 0), ("n-1", 1)):
        model = mle_families.family_of(MLESpec("normal", divisor=divisor)).fit(None, pool, None)
        assert float(model["mean"]) == pytest.approx(whole.mean())
        assert float(model["variance"]) == pytest.approx(whole.var(ddof=less))
    assert float(mle_families.family_of(MLESpec("poisson")).fit(None, pool, None)["mean"]) == pytest.approx(
        whole.mean()
    )


# --- families that collapse ------------------------------------------------------------------------------------------


def log_likelihood(points, alpha, mu, size):
    """Of the jump family by its definition, in logarithms."""
    log_width = float(mle_counterexamples.log_width(alpha, size))
    inside = points <= 1
    low = np.where(points <= 1 - 2 * alpha + 1e-15, 0.5 + (1 - alpha) / (2 * (1 - 2 * alpha)), 0.5)
    with np.errstate(divide="ignore"):
        within = (points >= mu - 1e-15) & (points <= mu + np.exp(log_width) + 1e-15)
        high = np.log(alpha / 4) + np.where(within, np.logaddexp(0, -log_width), 0)
        return np.where(inside, np.log(low), high).sum()


@pytest.mark.parametrize("beyond", [0, 1, 4])
def test_jump_fit_beats_every_grid(beyond):
    """Against a fine grid of alpha and every window that starts at a point; likelihood by its definition."""
    rng = np.random.default_rng(beyond)
    size = 20
    fit = jax.jit(mle_counterexamples.jump_fit)
    for _ in range(5):
        points = np.concatenate([rng.random(size - beyond), 2 + rng.random(beyond)])
        padded = np.concatenate([points, np.full(3, 0.7)])
        alpha, mu = (float(v) for v in fit(jnp.asarray(padded), jnp.arange(size + 3) < size, float(size)))
        best = log_likelihood(points, alpha, mu, size)
        starts = points[points >= 2] if beyond else np.array([2.0])
        for other in np.concatenate([np.linspace(1e-6, 0.25, 400), (1 - points[points <= 1]) / 2]):
            if 0 < other <= 0.25:
                assert max(log_likelihood(points, other, start, size) for start in starts) <= best + 1e-9, (
                    other,
                    alpha,
                )
        assert (alpha > 0.1) == (beyond > 0)


def test_first_fits_from_the_largest_points_are_those_of_all_points():
    """The quick sampler against whole runs: law of alpha(1), of what is usual, of a point in [2, 3]."""
    runs = mle_counterexamples.jump_paths(jax.random.key(0), count=30, generations=2, runs=2000)
    alpha = np.asarray(runs["alpha"][:, 1])
    spec = MLESpec("jump", batch=30)
    quick, usual, reached = (
        np.asarray(v) for v in mle_counterexamples._first_fits(spec, jax.random.key(1), runs=20_000)
    )
    assert stats.ks_2samp(np.round(alpha, 10), np.round(quick, 10)).pvalue > FAMILY
    whole = np.isclose(alpha, np.minimum(0.25, np.asarray(runs["first_gap"]) / 2), atol=1e-12).mean()
    assert abs(whole - (quick == usual).mean()) < 5 * (0.25 / 2000) ** 0.5
    assert abs((np.asarray(runs["beyond"][:, 1]) > 0).mean() - reached.mean()) < 5 * (0.25 / 2000) ** 0.5


def test_jump_samples_have_their_density():
    alpha, mu = jnp.asarray(0.09), jnp.asarray(2.4)
    points = np.asarray(mle_counterexamples.jump_sample(jax.random.key(0), alpha, mu, 20.0, 100_000))
    counts = np.histogram(points, [0, 0.82, 1, 2, 2.4, 2.4 + 1 / 39, 3])[0]
    inside, window = 0.5 + 0.91 / (2 * 0.82), 0.0225 * (1 / 39 + 1)
    chances = np.array([inside * 0.82, 0.5 * 0.18, 1e-12, 0.0225 * 0.4, window, 0.0225 * (0.6 - 1 / 39)])
    assert stats.chisquare(counts, 100_000 * chances / chances.sum()).pvalue > FAMILY


def test_waiting_times_are_those_of_the_rounds():
    """Jumps from visit to visit against rounds one by one; in the latter the second type never wins (B near 1)."""
    spec = MLESpec("fuse", batch=25, fuse=1.0001)
    paths = mle_counterexamples.fuse_paths(spec, jax.random.key(0), generations=25, runs=4000)
    assert (np.asarray(paths["type"]) == 0).all()
    farthest = np.asarray(paths["farthest"])
    times = np.asarray(mle_counterexamples.waits(spec, jax.random.key(1), intervals=2, runs=40_000))
    for place in (0, 1):
        for rounds in (1, 5, 20):
            by_round = (farthest[:, 1 + rounds] < place + 2).mean()
            by_jump = (times[:, place] > rounds).mean()
            assert abs(by_round - by_jump) < 5 * (0.25 / 4000) ** 0.5, (place, rounds)


def test_takeover_happens_when_the_likelihood_says_so():
    """The type switches in the round in which its log likelihood is larger, with the distance of the new type."""
    spec = MLESpec("fuse", batch=50, fuse=1000.0)
    paths = {
        k: np.asarray(v)
        for k, v in mle_counterexamples.fuse_paths(spec, jax.random.key(0), generations=15, runs=500).items()
    }
    won = paths["type"] > 0
    np.testing.assert_array_equal(won, paths["lead"] > 0)
    assert 0.5 < won[:, -1].mean() < 1
    assert (paths["tv"][won] >= 0.75 - 1e-12).all()
    assert (paths["tv"][~won] <= 0.5).all()
    # once it has won it stays, and it has won wherever [1, 2] was reached (N is below B)
    np.testing.assert_array_equal(won, np.maximum.accumulate(won, axis=1))
    np.testing.assert_array_equal(won, paths["farthest"] >= 2)


REFUSED = [
    ("nothing", {}, "exact", "observable must be one of"),
    ("variance", {"regime": "accumulate-subsample"}, "exact", "sampler must be brute-force"),
    ("variance", {"real_fraction": 0.5, "real": "anchor"}, "exact", "sampler must be brute-force"),
    ("variance", {}, "guess", "sampler must be exact or brute-force"),
    ("extinct", {}, "exact", "observable extinct is not one that family gaussian has"),
    ("limit_variance", {}, "exact", "regime must be accumulate"),
    ("best_weight", {"family": "poisson"}, "exact", "family must be gaussian"),
    ("waiting", {}, "exact", "family must be fuse"),
    ("waiting", {"family": "fuse"}, "brute-force", "sampler must be exact"),
    ("variance", {"family": "jump"}, "exact", "must be asked of a family of points"),
    ("visit_gap", {"family": "fuse"}, "exact", "samples must be 1"),
    ("variance", {"real_fraction": 0.33, "split": "fixed", "batch": 10.0}, "exact", "whole numbers of points"),
    ("variance", {"batch": [4.0, 4.0]}, "exact", "batch must list"),
]


@pytest.mark.parametrize(("observable", "fields", "sampler", "message"), REFUSED)
def test_what_cannot_be_measured_is_refused_in_one_line(observable, fields, sampler, message):
    spec = MLESpec(**{"family": "gaussian"} | fields)
    with pytest.raises(SpecError, match=message) as refused:
        mle.measure(observable, spec, 3, 3, jax.random.key(0), samples=5, sampler=sampler)
    assert "\n" not in str(refused.value)


def test_truth_is_model_zero():
    for fields, _ in CASES.values():
        model = mle_seen.truth(MLESpec(**fields), 3)
        assert all(leaf.shape[0] == 3 for leaf in model.values())
