"""Chains through counts have the law of chains whose tokens are drawn one by one, each with its origin.

Two brute forces: the general loop of the library, and NumPy with its own random numbers. Fixed keys, and a family-wise
error rate of 1e-3 over the file's comparisons of one kind; tests that a wrong chain is seen stand beside them.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.errors import SpecError
from collapse_jax.simulate import contamination, contamination_chain, contamination_special, draws
from collapse_jax.simulate.contamination_brute import table_family
from collapse_jax.specs.contamination import ContaminationSpec

FAMILY = 1e-3
CHAINS, ROUNDS = 20_000, 3
TRUTH = [0.5, 0.3, 0.2]

pytestmark = pytest.mark.usefixtures("x64")


def toy(**changes) -> ContaminationSpec:
    return ContaminationSpec(**{"truth": TRUTH, "real_fraction": 0.3, "size": 8.0, "first_size": 6.0} | changes)


# counts

COUNTS = [(60, 0.3), (60, 0.97), (7, 0.5), (100, 0.01), (1000, 0.2), (1e6, 0.4), (1e6, 1e-6)]


def chi_square(draws, law):
    """p-value of counts against a discrete law, cells of small expectation joined."""
    edges = np.unique(np.concatenate([[-1], law.ppf(np.linspace(0, 1, 31)[1:-1]), [np.inf]]))
    expected = np.diff(law.cdf(edges)) * len(draws)
    found = np.histogram(draws, edges + 0.5)[0]
    keep = expected > 5
    return stats.chisquare(
        np.r_[found[keep], found[~keep].sum()], np.r_[expected[keep], expected[~keep].sum()] + 1e-300
    ).pvalue


@functools.cache
def sampler(dtype, count):
    return jax.jit(lambda key, n, p: draws.binomial(key, jnp.full(count, n, dtype), jnp.full(count, p, dtype)))


@pytest.mark.parametrize(("trials", "chance"), COUNTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binomials_have_their_law(trials, chance, dtype):
    found = np.asarray(sampler(dtype, 100_000)(jax.random.key(int(trials)), trials, chance), float)
    law = stats.binom(int(trials), float(np.asarray(chance, dtype)))
    assert chi_square(found, law) > FAMILY / 14
    assert abs(found.mean() - law.mean()) < 4.5 * law.std() / np.sqrt(len(found))


def test_counts_beyond_the_range_that_was_tried_are_refused():
    with jax.enable_x64(False):
        with pytest.raises(SpecError, match=r"^size must be at most 1e\+06 in float32"):
            contamination.exact_chain(toy(size=2e6), 1, 1, jax.random.key(0), samples=1)
        with pytest.raises(SpecError, match=r"^first_size must be at most"):
            contamination.exact_chain(toy(first_size=2e6), 1, 1, jax.random.key(0), samples=1)


def test_edges_of_the_binomial_are_exact():
    for trials in (0.0, 1.0, 50.0, 5000.0):
        for chance, right in ((0.0, 0.0), (1.0, trials)):
            assert set(np.asarray(sampler("float64", 100)(jax.random.key(0), trials, chance))) == {right}


def test_multinomials_have_their_law_and_keep_their_total():
    """Every pair of counts of 12 tokens of three kinds, a fourth being impossible; the law sums to a little over 1."""
    law = jnp.broadcast_to(jnp.array([0.5, 0.0, 0.3, 0.2]) * (1 + 1e-7), (50_000, 4))
    counts = np.asarray(jax.jit(draws.multinomial)(jax.random.key(3), jnp.full(50_000, 12.0), law))
    assert set(counts.sum(axis=1)) == {12.0}
    assert not counts[:, 1].any()
    cells, found = np.unique(counts[:, [0, 2]], axis=0, return_counts=True)
    expected = stats.multinomial.pmf(np.column_stack([cells, 12 - cells.sum(axis=1)]), 12, [0.5, 0.3, 0.2]) * 50_000
    keep = expected > 5
    found, expected = found[keep], expected[keep]
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > FAMILY
    last = draws.multinomial(jax.random.key(0), jnp.array([9.0]), jnp.array([[0.2, 0.8, 0.0]]))
    assert float(last[0, 2]) == 0


# chains: laws of the last table by three ways

CASES = {
    "mixture": {},
    "schedules": {"real_fraction": [0.9, 0.4, 0.1], "size": [5.0, 9.0, 7.0]},
    "powers": {"real_fraction": 1.0, "real_power": 0.7, "size_power": 0.4, "size": 5.0},
    "no real data": {"real_fraction": 0.0},
    "accumulate": {"regime": "accumulate"},
    "anchor": {"real": "anchor"},
    "smoothing": {"smoothing": 0.5},
}


@functools.partial(jax.jit, static_argnames=())
def laws_by_counts(spec, key):
    def step(state, inputs):
        key, share, size = inputs
        return contamination_chain.advance(key, spec, state, share, size), None

    keys = jax.random.split(key, ROUNDS + 1)
    state = contamination_chain.start(keys[0], spec, CHAINS)
    state, _ = jax.lax.scan(step, state, (keys[1:], spec.shares(ROUNDS), spec.sizes(ROUNDS)))
    return state.law[:, 0]


def laws_in_numpy(spec, seed, count=CHAINS):
    """Every token drawn with an origin of its own, chain by chain in parallel."""
    generator = np.random.default_rng(seed)
    truth, lam = np.asarray(spec.truth), float(spec.smoothing)
    shares, sizes = np.asarray(spec.shares(ROUNDS)), np.asarray(spec.sizes(ROUNDS)).astype(int)

    def draw(law, number):
        return (generator.random((count, number, 1)) > np.cumsum(law, axis=-1)[:, None, :-1]).sum(axis=-1)

    def tally(tokens):
        return (tokens[..., None] == np.arange(len(truth))).sum(axis=1)

    real = np.broadcast_to(truth, (count, len(truth)))
    kept = tally(draw(real, int(spec.start_size)))
    law = (kept + lam) / (kept + lam).sum(axis=1, keepdims=True)
    source = law if spec.real == "anchor" else real
    for share, size in zip(shares, sizes, strict=True):
        origin = generator.random((count, size)) < share
        made = tally(np.where(origin, draw(source, size), draw(law, size)))
        kept = kept + made if spec.regime == "accumulate" else made
        law = (kept + lam) / (kept + lam).sum(axis=1, keepdims=True)
    return law


def same_law(first, second):
    """p-value of a two-sample chi-square over the cells of both tables together, rare ones joined."""
    both = np.round(np.concatenate([first, second]), 9)
    _, place = np.unique(both[:, :2], axis=0, return_inverse=True)
    place = place.ravel()
    table = np.stack([np.bincount(part, minlength=place.max() + 1) for part in np.split(place, [len(first)])])
    common = table.sum(axis=0) >= 20
    table = np.column_stack([table[:, common], table[:, ~common].sum(axis=1)])
    return stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue


@functools.cache
def by_counts(name):
    return np.asarray(laws_by_counts(toy(**CASES[name]), jax.random.key(7)))


@pytest.mark.parametrize("name", CASES)
def test_counts_have_the_law_of_tokens_with_origins(name):
    assert same_law(by_counts(name), laws_in_numpy(toy(**CASES[name]), 8)) > FAMILY / len(CASES)


@pytest.mark.parametrize(
    "off", [{"real_fraction": 0.4}, {"size": 9.0}, {"first_size": 4.0, "real_fraction": 0.0}], ids=str
)
def test_the_law_test_sees_a_wrong_chain(off):
    assert same_law(by_counts("mixture"), laws_in_numpy(toy(**off), 8)) < FAMILY


SLOW_CASES = ("anchor", "smoothing")


@pytest.mark.parametrize(
    "name",
    ["mixture", "accumulate", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_CASES)],
)
def test_the_general_loop_measures_the_same(name):
    """Means of every observable over tokens drawn one by one, on ``recursion.regimes``; the sizes differ by round."""
    spec = toy(**CASES[name] | {"size": [5.0, 9.0, 7.0]})
    token = contamination.brute_force_chain(spec, ROUNDS, 40, jax.random.key(3), samples=60)
    count = contamination.exact_chain(spec, ROUNDS, 40, jax.random.key(4), samples=600)
    assert token.keys() == count.keys()
    for observable in ("risk", "chi2", "kl", "tv", "mean", "covariance"):
        first, second = (np.asarray(run[observable].values).reshape(40, -1) for run in (token, count))
        some = first.std(axis=0) > 1e-9
        p = stats.ttest_ind(first[:, some], second[:, some], equal_var=False).pvalue
        assert p.min() > FAMILY / (24 * p.size), (observable, p.min())


def test_the_anchor_is_one_sample_for_all_rounds():
    """With every token real the anchored model returns to its anchor in the mean, not to the truth."""
    spec = toy(real="anchor", real_fraction=1.0, size=5000.0, first_size=4.0)
    run = contamination.exact_chain(spec, 3, 200, jax.random.key(0), samples=1)
    np.testing.assert_allclose(run["risk"].values[:, 0], run["risk"].values[:, 3], atol=0.05)


def far(values, reference, error: Any = 0.0):
    """The largest deviation of the mean of replicates from a reference with an error of its own, in standard errors."""
    values, reference = np.asarray(values), np.asarray(reference)
    own = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return float(np.max(np.abs(values.mean(axis=0) - reference) / np.hypot(own, error)))


@pytest.mark.slow
def test_contexts_and_random_sizes_against_numpy():
    generator = np.random.default_rng(5)
    truth, weights = np.array([[0.7, 0.3], [0.2, 0.8]]), [0.8, 0.2]
    law = np.stack([generator.binomial(4, row[0], 40_000) / 4 for row in truth], axis=1)
    risks = [2 * (law - truth[:, 0]) ** 2]
    for _ in range(3):
        first = generator.binomial(10, weights[0], len(law))
        sizes = np.stack([first, 10 - first], axis=1)
        made = generator.binomial(sizes, 0.25 * truth[:, 0] + 0.75 * law)
        law = np.where(sizes > 0, made / np.maximum(sizes, 1), law)
        risks.append(2 * (law - truth[:, 0]) ** 2)
    spec = ContaminationSpec(truth, contexts=weights, real_fraction=0.25, size=10.0, first_size=4.0)
    run = contamination.measure("context_risk", spec, 3, 40, jax.random.key(1), samples=1000)
    error = np.std(risks, axis=1) / np.sqrt(len(law))
    assert far(run["context_risk"].values, np.mean(risks, axis=1), error) < 4.5
    np.testing.assert_allclose(run["total_risk"].values, run["context_risk"].values @ np.array(weights), rtol=1e-12)
    poisson = toy(size_law="poisson", size=1.0, real_fraction=1.0)
    run = contamination.exact_chain(poisson, 1, 20, jax.random.key(1), samples=500)
    assert far(run["risk"].values[:, 1], 0.62) < 4.5


def test_real_tokens_alone_against_numpy():
    generator = np.random.default_rng(6)
    first = generator.multinomial(6, TRUTH, 40_000)
    number = generator.binomial(8, 0.3, 40_000)
    fresh = np.stack([generator.multinomial(n, TRUTH) for n in number])
    some = number > 0
    filtered = ((fresh[some] / number[some, None] - TRUTH) ** 2).sum(axis=1)
    pooled = (((first + fresh) / (6 + number)[:, None] - TRUTH) ** 2).sum(axis=1)
    run = contamination.real_tokens(toy(), 1, 20, jax.random.key(2), samples=4000)
    for name, reference in (("filter_risk", filtered), ("pool_risk", pooled)):
        assert far(run[name].values[:, 1], reference.mean(), reference.std() / np.sqrt(len(reference))) < 4.5


def test_crossings():
    places = jnp.array([1.0, 2.0, 4.0, 8.0])
    assert float(contamination_special.crossing(places, 2 * places, jnp.asarray(9.0))) == 4.5
    assert float(contamination_special.crossing(places, 2 * places, jnp.asarray(1.0))) == 0.5
    assert np.isinf(contamination_special.crossing(places, -places, jnp.asarray(1.0)))
    hopeless = contamination.measure("critical_size", toy(real_fraction=0.0), 3, 2, jax.random.key(0), samples=200)
    assert np.isinf(hopeless["critical_size"].values).all()


def test_parametric_fit_is_the_maximum_of_the_likelihood():
    """The score vanishes at the fitted parameters, and the truth is fitted by zero."""
    spec = toy(features=[1.0, 0.0, -1.0, 0.5, -1.0, 0.5], size=50.0, first_size=50.0)
    state = contamination_chain.start(jax.random.key(0), spec, 200)
    wanted = np.asarray(state.counts[:, 0]) @ np.asarray(spec.features).T / 50
    np.testing.assert_allclose(np.asarray(state.law[:, 0]) @ np.asarray(spec.features).T, wanted, atol=1e-9)
    _, law = contamination_chain._fitted(spec, jnp.broadcast_to(spec.truth, (1, 1, 3)))
    np.testing.assert_allclose(law[0, 0], TRUTH, rtol=1e-12)


def test_series_of_the_divergences(precision):
    x = jnp.array([-1.0, -0.5, -0.0999, -1e-6, 0.0, 1e-7, 0.0999, 0.101, 3.0])
    wide = np.asarray(x, np.longdouble)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.where(wide > -1, (1 + wide) * np.log1p(wide), 0) - wide
    small = np.abs(wide) < 1e-3
    log = np.where(small, wide**2 / 2 - wide**3 / 6, log)
    exp = np.where(small, wide**2 / 2 + wide**3 / 6, np.expm1(wide) - wide)
    scale = 1e-5 if precision == "float32" else 1e-12
    np.testing.assert_allclose(contamination_chain._log_excess(x), log.astype(float), rtol=scale)
    np.testing.assert_allclose(contamination_chain._exp_excess(x), exp.astype(float), rtol=scale)


def test_single_precision_measures_the_same():
    specs = [toy(truth=np.asarray(TRUTH, dtype), size=40.0, first_size=30.0) for dtype in ("float32", "float64")]
    runs = [contamination.exact_chain(spec, 4, 40, jax.random.key(9), samples=500)["risk"] for spec in specs]
    assert [run.values.dtype for run in runs] == ["float32", "float64"]
    p = stats.ttest_ind(*(np.asarray(run.values, float) for run in runs)).pvalue
    assert p.min() > FAMILY / 5
    assert float(runs[0].resolution.max()) < 1e-2 * float(runs[0].values.mean())


def test_seeds_decide_and_replicates_differ():
    one, same, other = (
        np.asarray(contamination.exact_chain(toy(), 3, 4, jax.random.key(seed), samples=5)["risk"].values)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(np.unique(one[:, -1])) > 1


# doors


def test_what_cannot_be_measured_is_refused_in_one_line():
    key = jax.random.key(0)
    for wrong, message in (
        (lambda: contamination.measure("wrong", toy(), 2, 2, key, samples=2), "observable must be one of"),
        (lambda: contamination.measure("risk", toy(), 2, 2, key, samples=2, sampler="x"), "sampler must be exact or"),
        (
            lambda: contamination.measure("pool_risk", toy(), 2, 2, key, samples=2, sampler="brute-force"),
            "sampler must be",
        ),
        (
            lambda: contamination.measure("total_risk", toy(), 2, 2, key, samples=2),
            "observable total_risk is not shown",
        ),
        (
            lambda: contamination.measure("late_slope", toy(), 2, 2, key, samples=2),
            "observable late_slope is not shown",
        ),
        (lambda: contamination.exact_chain(toy(), 0, 2, key, samples=2), "generations"),
        (lambda: contamination.exact_chain(toy(), 2, 0, key, samples=2), "replicates"),
        (lambda: contamination.exact_chain(toy(), 2, 2, key, samples=0), "samples"),
        (
            lambda: contamination.brute_force_chain(toy(size_law="poisson"), 2, 2, key, samples=2),
            "sampler must be exact",
        ),
    ):
        with pytest.raises(SpecError, match=f"^{message}") as refused:
            wrong()
        assert "\n" not in str(refused.value)


def test_long_chains_report_risks_alone_and_late_laws():
    run = contamination.exact_chain(toy(size=3.0), contamination.LONG + 1, 2, jax.random.key(0), samples=2)
    assert {"risk", "late_slope", "late_risk", "final_risk"} <= run.keys()
    assert "kl" not in run
    power = jnp.concatenate([jnp.ones(1), jnp.arange(1.0, 101.0) ** -1.5])[None]
    assert float(contamination_chain.late_slope(power)[0]) == pytest.approx(-1.5, abs=1e-9)


def test_table_family_fits_proportions():
    family = table_family(3, 0.5)
    from collapse_jax.recursion.regimes import Pool

    pool = Pool(jnp.array([0.0, 0.0, 1.0, 2.0]), jnp.array([1.0, 1.0, 1.0, 0.0]))
    np.testing.assert_allclose(family.fit(jax.random.key(0), pool, None), np.array([2.5, 1.5, 0.5]) / 4.5)
    assert dataclasses.replace(toy(), size=3.0).tokens == 3
