"""Regression chains: Wishart factors and every row have one law, and the parts of the samplers are right.

Every statistical test has fixed keys and a family-wise error rate of 1e-3; one test shows what they can see.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.errors import SpecError
from collapse_jax.simulate import regression
from collapse_jax.simulate.regression_chain import chi_squares, drawn
from collapse_jax.simulate.regression_scaling import parts
from collapse_jax.specs.regression import RegressionSpec

FAMILY = 1e-3
REPLICATES = 3000
ROUNDS = 2
LAW = {"spectrum": [2.0, 0.7, 0.2], "truth": [1.0, -0.5, 2.0], "learner_noise": 0.4, "generator_noise": 0.6}

pytestmark = pytest.mark.usefixtures("x64")


def toy(**changes) -> RegressionSpec:
    return RegressionSpec(**LAW | {"learner_samples": 7, "generator_samples": 8} | changes)


def in_numpy(function):
    """The same measurement with NumPy arrays in its trajectories."""
    return lambda *args, **kwargs: jax.tree.map(np.asarray, function(*args, **kwargs))


exact_chain, brute_force_chain, measure = map(
    in_numpy, (regression.exact_chain, regression.brute_force_chain, regression.measure)
)

# --- one law ---------------------------------------------------------------------------------------------------------

CASES = {
    "least squares": {},
    "fewer rows than directions, smallest norm": {"generator_samples": 2, "learner_samples": 1},
    "ridge, many rows": {"generator_ridge": 0.3, "learner_ridge": 0.1},
    "ridge, one row": {"generator_samples": 1, "generator_ridge": 0.3, "learner_samples": 2, "learner_ridge": 0.1},
    "real rows": {"real_fraction": 0.25},
    "real rows, ridge": {"real_fraction": 0.5, "generator_samples": 2, "generator_ridge": 0.2},
    "accumulate, uneven": {"regime": "accumulate", "generator_samples": [6, 2]},
    "accumulate, ridge": {"regime": "accumulate", "generator_samples": [2, 5], "generator_ridge": 0.3},
}
SCALARS = ("error", "generator_error", "signal", "overlap")
LEVEL = FAMILY / (len(CASES) * (4 * ROUNDS + 1))


def runs(case, sampler, seed):
    return sampler(toy(**CASES[case]), ROUNDS, REPLICATES, jax.random.key(seed))


def p_values(one, other):
    """Two-sample tests of every observable at every generation after the first, and of the first learner."""
    for name in SCALARS:
        for generation in range(ROUNDS + 1) if name == "error" else range(1, ROUNDS + 1):
            pair = (run[name].values[:, generation] for run in (one, other))
            yield name, generation, stats.ks_2samp(*pair).pvalue


FAST = ("fewer rows than directions, smallest norm", "real rows", "accumulate, uneven")


@pytest.mark.parametrize(
    "case", [case if case in FAST else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_factors_and_rows_have_one_law(case):
    found = list(p_values(runs(case, exact_chain, 1), runs(case, brute_force_chain, 2)))
    assert min(p for *_, p in found) > LEVEL, min(found, key=lambda one: one[2])


def test_comparison_sees_two_rows_less_and_a_fifth_more_noise():
    """What the test above would have seen."""
    base = runs("least squares", exact_chain, 1)
    for change in ({"generator_samples": 6}, {"generator_noise": 0.72}, {"learner_samples": 9}):
        other = exact_chain(toy(**change), ROUNDS, REPLICATES, jax.random.key(3))
        assert min(p for *_, p in p_values(base, other)) < LEVEL


def test_first_entry_is_the_truth_and_its_learner():
    run = exact_chain(toy(), ROUNDS, 5, jax.random.key(0))
    signal = float(toy().signal)
    for name, value in (("generator_error", 0.0), ("signal", signal), ("overlap", signal)):
        np.testing.assert_allclose(run[name].values[:, 0], value, rtol=1e-14)
    np.testing.assert_allclose(run["coordinates"].values[:, 0], np.broadcast_to(LAW["truth"], (5, 3)))
    last = run["final_generator_error"].values
    np.testing.assert_array_equal(last, run["generator_error"].values[:, -1])


def test_least_squares_does_not_know_the_covariance():
    """Whitened, the same numbers: errors are equal to rounding for every spectrum."""
    runs = [
        exact_chain(toy(spectrum=spectrum), ROUNDS, 20, jax.random.key(4))
        for spectrum in ([1.0, 1.0, 1.0], [5.0, 1.0, 1e-3])
    ]
    for name in ("error", "generator_error"):
        np.testing.assert_allclose(runs[0][name].values, runs[1][name].values, rtol=1e-10)


def test_endless_ridge_makes_nothing():
    spec = toy(generator_ridge=np.inf, learner_ridge=np.inf)
    run = exact_chain(spec, ROUNDS, 3, jax.random.key(0))
    np.testing.assert_array_equal(run["signal"].values[:, 1:], 0)
    np.testing.assert_allclose(run["error"].values, float(spec.signal), rtol=1e-14)


def test_replicates_are_means_of_their_chains_and_single_precision_is_as_good(precision):
    spec = toy(learner_samples=30, generator_samples=30)  # light tails
    wide = exact_chain(spec, ROUNDS, 200, jax.random.key(5), samples=50)["error"].values
    assert wide.dtype == precision
    single = exact_chain(spec, ROUNDS, 2000, jax.random.key(6))["error"].values
    assert wide.var(axis=0) == pytest.approx(single.var(axis=0) / 50, rel=0.6)
    assert wide.mean(axis=0) == pytest.approx(single.mean(axis=0), rel=0.1)


# --- the parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freedom", [1.0, 2.0, 3.0, 50.0, 1e6])
def test_chi_squares_have_their_law(freedom, precision):
    """Kolmogorov and Smirnov against SciPy, at a level of 1e-4 each."""
    keys, dtype = jax.random.split(jax.random.key(7)), jnp.dtype(precision)
    points = jax.random.normal(keys[0], (50_000, 11), dtype)
    levels = jax.random.uniform(keys[1], (50_000, 10), dtype)
    found = np.asarray(chi_squares(jnp.full(50_000, freedom, dtype), points, levels), float)
    assert stats.kstest(found, stats.chi2(freedom).cdf).pvalue > 1e-4
    assert float(chi_squares(jnp.zeros(1, dtype), points[:1], levels[:1])[0]) == 0


def test_factors_have_the_moments_of_wishart_matrices():
    """E W = T I, E tr W^2 = T d (T + d + 1), also with fewer rows than directions."""
    rows, spec = jnp.asarray([2.0, 9.0]), toy()
    keys = jax.random.split(jax.random.key(8), 20_000)
    factors = np.asarray(jax.jit(jax.vmap(lambda key: drawn(key, spec, rows)[0]))(keys))
    grams = factors @ factors.transpose(0, 1, 3, 2)
    for place, count in enumerate((2, 9)):
        means = grams[:, place].mean(axis=0)
        errors = grams[:, place].std(axis=0) / np.sqrt(len(keys))
        assert (abs(means - count * np.eye(3)) < 5 * errors + 1e-12).all()
        square = np.einsum("rij,rij->r", grams[:, place], grams[:, place])
        expected = count * 3 * (count + 4)
        assert abs(square.mean() - expected) < 5 * square.std() / np.sqrt(len(keys))
    assert (np.linalg.matrix_rank(grams[:50, 0]) == 2).all()


def test_kept_error_of_a_round_is_that_of_the_chain():
    """Without label noise one round leaves g of an error: chain from a wrong start against the matrix itself."""
    spec = toy(generator_samples=8, real_fraction=0.5)
    kept = measure("kept_error", spec, 1, 400, jax.random.key(9), samples=50)["kept_error"].values
    rng = np.random.default_rng(9)
    inputs = rng.normal(size=(20_000, 8, 3))
    made = np.einsum("ctd,cte->cde", inputs[:, :4], inputs[:, :4])
    whole = np.einsum("ctd,cte->cde", inputs, inputs)
    direct = (np.linalg.solve(whole, made[:, :, :1])[..., 0] ** 2).sum(axis=1)
    error = np.hypot(kept.std() / 20, direct.std() / np.sqrt(20_000))
    assert abs(kept.mean() - direct.mean()) < 4 * error


def test_parts_of_a_power_law_add_up_to_the_chain():
    """Bias, fake and own noise by linearity against whole chains of the same member, half the size masked off."""
    fields = {"learner_noise": 0.5, "generator_noise": 0.7, "learner_ridge": 0.05}
    full = RegressionSpec(dimension=8, learner_samples=8, generator_samples=20, decay=1.5, smoothness=0.5, **fields)
    found = parts(
        full, 2, 300, jax.random.key(10), samples=20, rows=np.array([8.0, 4.0]), ridges=[[0.05], [0.05]], grow=True
    )
    rank = np.arange(1, 5.0)
    law = {"spectrum": rank**-1.5, "truth": rank**-0.5}
    small = RegressionSpec(**law, learner_samples=4, generator_samples=10, **fields)
    direct = exact_chain(small, 2, 300, jax.random.key(11), samples=20)["error"].values[:, 2]
    total = np.asarray(found.bias + 0.49 * found.fake + 0.25 * found.own)[:, 1, 0]
    error = np.hypot(total.std(), direct.std()) / np.sqrt(300)
    assert abs(total.mean() - direct.mean()) < 4 * error
    assert (np.asarray(found.df)[:, :, 0].mean(axis=0) < [8, 4]).all()


def test_in_sample_chain_of_a_singular_kernel_without_ridge_keeps_the_targets_in_the_mean():
    """Ridge 0: the hat matrix is the projection on the range of K."""
    spec = RegressionSpec([2.0, 1.0], generator_samples=6, generator_noise=0.5)
    run = measure("in_sample_error", spec, 3, 400, jax.random.key(12), samples=50)
    expected = np.arange(4) * 0.25 * 2 / 6
    values = run["in_sample_error"].values
    assert (abs(values.mean(axis=0) - expected) <= 4 * values.std(axis=0) / 20 + 1e-12).all()


def test_pool_chain_on_all_rows_of_one_input_averages_its_labels():
    """A pool of equal inputs: ridge regression is a shrunk mean of the noisy labels."""
    spec = RegressionSpec([1.0], learner_samples=5, learner_ridge=1.0, generator_samples=5, generator_ridge=1.0)
    teacher = np.full(3, 2.0)
    run = regression.pool_chain(spec, 1, 2000, jax.random.key(13), samples=1, gram=np.ones((3, 3)), teacher=teacher)[
        "pool_error"
    ].values
    expected = 1.0 + 0.25 / 4 / 5  # (2/2 - 2)^2 + variance of half a mean of five
    assert abs(np.asarray(run)[:, 0].mean() - expected) < 5 * np.asarray(run)[:, 0].std() / np.sqrt(2000)


REFUSED = [
    ("error", toy, {"real_fraction": 0.3}, {}, "^real_fraction must make a whole number of rows"),
    ("error", toy, {"regime": "accumulate", "generator_samples": 2}, {}, "^generator_samples must be at least d = 3"),
    ("error", toy, {"generator_samples": [5]}, {}, None),
    ("error", toy, {"generator_samples": [5, 6]}, {"generations": 3}, "each of 3 rounds, got 2"),
    ("error", toy, {}, {"replicates": 0}, "^replicates must be a whole number"),
    ("error", toy, {}, {"samples": 0}, "^samples must be a whole number"),
    ("error", toy, {}, {"sampler": "magic"}, "^sampler must be exact or brute-force"),
    ("error", toy, {"generator_noise": [0.1, 0.2]}, {"sampler": "brute-force"}, "^generator_noise and generator_ridge"),
    ("error", toy, {"learner_ridge": np.inf}, {"sampler": "brute-force"}, "^learner_ridge must be finite"),
    ("taste", toy, {}, {}, "^observable must be one of"),
    ("best_error", toy, {}, {"sampler": "brute-force"}, "^sampler must be exact for best_error"),
    ("best_error", toy, {"generator_samples": 2}, {}, "^generators must be least squares"),
    ("error_slope", toy, {"generator_samples": 2}, {}, "^generator_samples must be at least d"),
    ("error_slope", toy, {"learner_samples": 6}, {}, "must be multiples of 4"),
    ("adapted_slope", toy, {"generator_ridge": 0.1}, {}, "^generators under a power law"),
    ("in_sample_error", toy, {"generator_samples": 2}, {}, "^generator_samples must be at least 3"),
    ("pool_error", toy, {}, {}, "^generator_ridge and learner_ridge must be positive"),
    ("kept_error", toy, {"generator_samples": 2}, {}, "^generator_samples must be at least d"),
]


@pytest.mark.parametrize(("name", "make", "fields", "sizes", "says"), REFUSED)
def test_bad_input_is_refused(name, make, fields, sizes, says):
    sizes = {"generations": 1, "replicates": 2, "samples": 1} | sizes
    call = (name, make(**fields), sizes.pop("generations"), sizes.pop("replicates"), jax.random.key(0))
    if says is None:
        measure(*call, **sizes)
        return
    with pytest.raises(SpecError, match=says) as refused:
        measure(*call, **sizes)
    assert "\n" not in str(refused.value)


def test_spec_must_be_known_and_one():
    with pytest.raises(SpecError, match="measure outside of jit"):
        jax.jit(lambda noise: exact_chain(dataclasses.replace(toy(), learner_noise=noise), 1, 2, jax.random.key(0)))(
            1.0
        )
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), toy())
    with pytest.raises(SpecError, match="one spec at a time"):
        exact_chain(batch, 1, 2, jax.random.key(0))
