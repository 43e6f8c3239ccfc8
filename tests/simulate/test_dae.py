"""The finite-n denoising-autoencoder chain: exact sampler and brute force have one law, and it is the right one.

Every statistical test has fixed keys and a family-wise error rate of 1e-3; two tests show what it can see.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from collapse_jax.errors import SpecError
from collapse_jax.simulate import dae, dae_observables, dae_rounds, wishart
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.ground import whole_number

FAMILY = 1e-3
REPLICATES = 12_000
GENERATIONS = (0, 1, 2, 5)
SPECTRUM = (4.0, 1.5, 0.5)


@pytest.fixture(autouse=True)
def strict():
    """Double precision, no silent promotion of dtypes or ranks."""
    wanted = {"jax_enable_x64": True, "jax_numpy_dtype_promotion": "strict", "jax_numpy_rank_promotion": "raise"}
    before = {name: getattr(jax.config, name) for name in wanted}
    for name, value in wanted.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def toy(**changes) -> DAESpec:
    return DAESpec(**{"spectrum": SPECTRUM, "noise_var": 1.0, "resample_noise_var": 0.8} | changes)


def in_numpy(function):
    """The same measurement with NumPy arrays in its trajectories."""
    return lambda *args, **kwargs: jax.tree.map(np.asarray, function(*args, **kwargs))


exact_chain, brute_force_chain, measure = map(in_numpy, (dae.exact_chain, dae.brute_force_chain, dae.measure))


# --- one law ---------------------------------------------------------------------------------------------------------

CASES = {
    "chain": ({}, 8),
    "chain n = 1": ({}, 1),
    "chain n < d": ({}, 2),
    "chain n = d": ({}, 3),
    "chain d < n < 2d": ({}, 5),
    "real share, chain": ({"real_fraction": 0.3}, 5),
    "real share, chain, n < d": ({"real_fraction": 0.3}, 2),
    "real share, pool": ({"real_fraction": 0.3, "feed": "pool"}, 4),
    "real share, prior, n < d": ({"real_fraction": 0.3, "feed": "prior"}, 2),
    "accumulate": ({"feed": "pool", "regime": "accumulate"}, 4),
    "accumulate, rank 2, n < d": ({"feed": "pool", "regime": "accumulate", "rank": 2}, 2),
    "rank 2, weight decay, real share": ({"rank": 2, "weight_decay": 0.3, "real_fraction": 0.3}, 5),
    "rank 2, weight decay, n < d": ({"rank": 2, "weight_decay": 0.3}, 2),
}
SCALARS = 4
LEVEL = FAMILY / (len(CASES) * len(GENERATIONS) * SCALARS)


def scalars(run, samples, floor):
    """Per generation: top, trace, the smallest eigenvalue that n points always have, and the excess risk.

    Below ``floor`` an eigenvalue is rounding, and that differs between the two samplers.
    """
    spectrum, risk = run["spectrum"].values, run["excess_risk"].values
    least = spectrum[:, :, min(samples, spectrum.shape[2]) - 1]
    least = np.maximum(least, floor)
    for generation in GENERATIONS:
        yield from (
            (f"{name} at {generation}", values[:, generation])
            for name, values in {
                "top": spectrum[:, :, 0],
                "trace": spectrum.sum(axis=2),
                "least": least,
                "risk": risk,
            }.items()
        )


def least_p(one, other, samples, floor=1e-10):
    """The smallest p-value of two-sample Kolmogorov-Smirnov tests, and the scalar it belongs to."""
    found = []
    for (name, first), (_, second) in zip(scalars(one, samples, floor), scalars(other, samples, floor), strict=True):
        if max(first.max(), second.max()) > floor:  # at generation 0 the risk is zero but for rounding
            found.append((stats.ks_2samp(first, second, method="asymp").pvalue, name))
    return min(found)


QUICK = {"chain", "chain n < d", "real share, chain", "real share, chain, n < d", "accumulate"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in CASES])
def test_exact_and_brute_force_have_one_law(name):
    changes, samples = CASES[name]
    spec = toy(**changes)
    exact = exact_chain(spec, 5, REPLICATES, jax.random.key(1), samples=samples)
    brute = brute_force_chain(spec, 5, REPLICATES, jax.random.key(2), samples=samples)
    p, scalar = least_p(exact, brute, samples)
    assert p > LEVEL, f"{name}: {scalar} differs, p = {p:.2g}"
    assert {k: v.values.shape for k, v in exact.items()} == {k: v.values.shape for k, v in brute.items()}


def test_the_law_test_sees_a_noise_two_percent_off():
    """Generation noise with a standard deviation 2 % too large is seen at n = 40."""
    brute = brute_force_chain(toy(), 5, REPLICATES, jax.random.key(2), samples=40)
    right = exact_chain(toy(), 5, REPLICATES, jax.random.key(1), samples=40)
    off = exact_chain(toy(resample_noise_var=0.8 * 1.02**2), 5, REPLICATES, jax.random.key(1), samples=40)
    assert least_p(right, brute, 40)[0] > LEVEL
    assert least_p(off, brute, 40)[0] < LEVEL


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["freedom n", "cross term dropped", "noise not masked"])
def test_the_law_test_sees_a_wrong_sampler(wrong, monkeypatch):
    """d too many degrees of freedom, Z independent of X (no cross term), or Z with d columns at n < d: all are seen."""
    samples = 2 if wrong == "noise not masked" else 8

    def factors(key, dimension, samples, dtype):
        along_key, across_key = jax.random.split(key)
        along = jax.random.normal(along_key, (dimension, dimension), dtype)
        if wrong == "freedom n":
            return along, wishart.bartlett(across_key, dimension, samples, dtype)
        if wrong == "cross term dropped":
            return jnp.zeros_like(along), wishart.bartlett(across_key, dimension, samples, dtype)
        return along, wishart.bartlett(across_key, dimension, jnp.maximum(samples - dimension, 0), dtype)

    brute = brute_force_chain(toy(), 5, REPLICATES, jax.random.key(2), samples=samples)
    monkeypatch.setattr(wishart, "noise_factors", factors)
    dae._exact_chain.clear_cache()
    exact = exact_chain(toy(), 5, REPLICATES, jax.random.key(1), samples=samples)
    dae._exact_chain.clear_cache()
    assert least_p(exact, brute, samples)[0] < LEVEL


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("freedom", [0, 1, 2, 3, 7, 1e4, 1e8, 1e12])
def test_wishart_moments(freedom, dtype):
    """E[T T^T] = m I, Var = m (1 + delta_ij) entry by entry, z-tests over all entries and 16 laws; rank min(m, d)."""
    count = 40_000
    keys = jax.random.split(jax.random.key(int(freedom) % 1000), count)
    factors = jax.vmap(lambda key: wishart.bartlett(key, 3, jnp.asarray(freedom, dtype)))(keys)
    assert factors.dtype == dtype
    second = np.einsum("rij,rkj->rik", np.asarray(factors, float), np.asarray(factors, float))
    if freedom == 0:
        assert not second.any()
        return
    off = second - freedom * np.eye(3)
    level = stats.norm.isf(FAMILY / (2 * 16 * 18))
    spread = np.sqrt(freedom * (1 + np.eye(3)))
    assert (np.abs(off.mean(0)) < level * spread / np.sqrt(count)).all()
    kurtosis = (off**4).mean(0) - (off**2).mean(0) ** 2
    assert (np.abs((off**2).mean(0) - spread**2) < level * np.sqrt(kurtosis / count)).all()
    assert (np.linalg.matrix_rank(np.asarray(factors[:50], float)) == min(freedom, 3)).all()


@jax.jit
def _rounds(keys, spec, moment, count):
    def once(key):
        state = dae_rounds.start(moment, dae_rounds.root_of(moment, count))
        fitted = dae_rounds.fit(moment, spec)
        return dae_rounds.advance(key, spec, state, fitted, moment, count, False).second_moment

    return jax.vmap(once)(keys)


@pytest.mark.parametrize("feed", ["chain", "pool", "prior"])
@pytest.mark.parametrize("samples", [1, 2, 3, 5, 40])
def test_mean_of_one_round(feed, samples):
    """E[S' | S] = W (S_in + s^2 I) W^T entry by entry: 90 z-tests (S_in = S for chain and pool, 0 for prior)."""
    spec, dimension = toy(feed=feed), 3
    points = np.random.default_rng(0).normal(size=(dimension, samples)) * np.sqrt(SPECTRUM)[:, None]
    moment = points @ points.T / samples
    fed = (feed != "prior") * moment + 0.8 * np.eye(dimension)
    fitted = np.linalg.solve(moment + np.eye(dimension), moment)
    wanted = fitted @ fed @ fitted.T

    keys = jax.random.split(jax.random.key(7), 30_000)
    drawn = np.asarray(_rounds(keys, spec, jnp.asarray(moment), jnp.asarray(float(samples))))
    error = drawn.std(0) / np.sqrt(len(drawn)) + 1e-14
    assert (np.abs(drawn.mean(0) - wanted) < stats.norm.isf(FAMILY / (2 * 90)) * error).all()


# --- the deterministic chain -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 2, 3, 7])
@pytest.mark.parametrize("changes", [{}, {"rank": 2}, {"weight_decay": 0.05}], ids=str)
def test_without_noise_the_chain_is_a_recursion_on_eigenvalues(samples, changes):
    data = np.random.default_rng(samples).normal(size=(3, samples)) * np.sqrt(SPECTRUM)[:, None]
    spec = toy(resample_noise_var=0.0, **changes)
    expected = [np.linalg.eigvalsh(data @ data.T / samples)[::-1]]
    for _ in range(5):
        last = expected[-1]
        gain = (
            np.maximum(last - changes.get("weight_decay", 0), 0) / (last + 1) * (np.arange(3) < changes.get("rank", 3))
        )
        expected.append(gain**2 * last)
    runs = {
        "brute": brute_force_chain(spec, 5, 2, jax.random.key(0), samples=samples, data=data),
        "exact": exact_chain(spec, 5, 2, jax.random.key(0), samples=samples, second_moment=data @ data.T / samples),
    }
    for run in runs.values():
        trajectory = run["spectrum"]
        assert (np.abs(trajectory.values - np.array(expected)) <= trajectory.resolution).all()


def test_observables_by_hand():
    """Excess risk, gains, effective rank and lifetime of one noise-free run, recomputed from its matrices in NumPy."""
    data = np.random.default_rng(3).normal(size=(3, 9)) * np.sqrt(SPECTRUM)[:, None]
    run = brute_force_chain(toy(resample_noise_var=0.0), 9, 1, jax.random.key(0), samples=9, data=data)
    real, points, eye = data @ data.T / 9, data, np.eye(3)
    best = np.linalg.solve(real + eye, real)
    tops = []
    for generation in range(10):
        moment = points @ points.T / 9
        fitted = np.linalg.solve(moment + eye, moment)
        values = np.maximum(np.linalg.eigvalsh(moment)[::-1], 1e-300)
        tops.append(values[0])
        share = values / values.sum()
        expected = {
            "gains": np.linalg.svd(fitted)[1],
            "gain_norm": np.linalg.norm(fitted, 2),
            "effective_rank": np.exp(-(share * np.log(share)).sum()),
            "excess_risk": np.trace((fitted - best) @ (real + eye) @ (fitted - best).T),
            "log_spectrum": np.log(values),
        }
        for name, value in expected.items():
            error = np.abs(run[name].values[0, generation] - value)
            known = np.isfinite(run[name].resolution[generation])
            assert (error <= 1e-13 + run[name].resolution[generation]).all(), name
            assert generation > 2 or known.all()
        points = fitted @ points
    last = int(np.argmax(np.array(tops) < 1))
    crossing = last - 1 + np.log(tops[last - 1]) / np.log(tops[last - 1] / tops[last])
    np.testing.assert_allclose(run["lifetime"].values[0, 0], crossing, rtol=1e-12)
    assert run["lifetime"].values[0, 2] == 0  # starts below the noise
    np.testing.assert_array_equal(run["real_spectrum"].values, run["spectrum"].values[:, 0])
    np.testing.assert_array_equal(run["limit_spectrum"].values, run["spectrum"].values[:, -1])
    np.testing.assert_array_equal(run["first_gains"].values, run["gains"].values[:, 0])


def test_lifetime_is_nan_while_a_direction_lives():
    run = exact_chain(toy(spectrum=[100.0, 0.5]), 3, 2, jax.random.key(0), samples=1e6)
    assert np.isnan(run["lifetime"].values[:, 0]).all()
    assert (run["lifetime"].values[:, 1] == 0).all()


# --- precision, compilation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [4.0, 50.0])
def test_single_precision_stays_within_the_resolution(top):
    """Float32 against float64 on the noise-free chain: every observable within the sum of its resolutions."""
    spectrum = [top, 1.5, 0.5, 1e-3, 0.0]
    moment = np.diag(spectrum)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    moment = rotation @ moment @ rotation.T
    runs = []
    for dtype in (np.float32, np.float64):
        spec = DAESpec(np.array(spectrum, dtype), resample_noise_var=0.0)
        runs.append(exact_chain(spec, 14, 1, jax.random.key(0), samples=9, second_moment=moment))
    for name, single in runs[0].items():
        double = runs[1][name]
        assert single.values.dtype == np.float32
        assert double.values.dtype == np.float64
        error = np.abs(single.values.astype(float) - double.values)[0]
        allowed = single.resolution.astype(float) + double.resolution
        both_nan = np.isnan(single.values[0]) & np.isnan(double.values[0])
        assert (both_nan | (error <= allowed)).all(), (name, error, allowed)
        finite = np.isfinite(single.values.astype(float)[0])
        assert finite.all() or name == "lifetime"
    assert np.isfinite(runs[0]["log_spectrum"].resolution[:5, 0]).all()


def test_single_precision_has_the_same_law():
    """Float32 against float64 at n = 1e4, family of 16 two-sample tests."""
    runs = [
        exact_chain(DAESpec(np.array(SPECTRUM, dtype)), 5, REPLICATES, jax.random.key(seed), samples=1e4)
        for seed, dtype in enumerate((np.float32, np.float64))
    ]
    assert least_p(*runs, 10, floor=1e-6)[0] > FAMILY / 16


@pytest.mark.parametrize("changes", [{"real_fraction": 0.2}, {"feed": "pool", "regime": "accumulate"}], ids=str)
def test_single_precision_specs_give_single_precision(changes):
    """Under strict promotion, with double precision enabled."""
    spec = DAESpec(np.array(SPECTRUM, np.float32), **changes)
    for chain in (exact_chain, brute_force_chain):
        for trajectory in chain(spec, 2, 2, jax.random.key(0), samples=4).values():
            assert trajectory.values.dtype == np.float32
            assert np.asarray(trajectory.resolution).dtype == np.float32


@pytest.mark.parametrize("changes", [{}, {"real_fraction": 0.2}, {"feed": "pool", "regime": "accumulate"}], ids=str)
def test_collapse_to_nothing_leaves_numbers(changes):
    spec = DAESpec(np.array([1e-3, 1e-5], np.float32), resample_noise_var=1.0, **changes)
    run = exact_chain(spec, 30, 2, jax.random.key(0), samples=50)
    for name, trajectory in run.items():
        assert np.isfinite(trajectory.values).all(), name
    if not changes:
        assert np.isinf(run["log_spectrum"].resolution[-1]).all()


def test_one_compiled_program():
    dae._exact_chain.clear_cache()
    for seed, samples in enumerate((1, 2, 7, 10**6, 1e12)):
        spec = toy(noise_var=1.0 + seed, resample_noise_var=0.1 * seed, weight_decay=0.1 * seed)
        exact_chain(spec, 2, 2, jax.random.key(seed), samples=samples)
    assert dae._exact_chain._cache_size() == 1


@pytest.mark.slow
def test_samples_and_spec_may_be_traced():
    """Pool-fed, where a run depends on eigenvalues alone and not on the signs that eigh gives to eigenvectors."""
    counts = jnp.array([2.0, 50.0, 1e9])

    def top(samples, noise):
        spec = dataclasses.replace(toy(feed="pool"), noise_var=noise)
        return dae.exact_chain(spec, 2, 3, jax.random.key(0), samples=samples)["spectrum"].values

    many = jax.jit(jax.vmap(top))(counts, jnp.array([1.0, 2.0, 3.0]))
    alone = exact_chain(toy(feed="pool", noise_var=2.0), 2, 3, jax.random.key(0), samples=50)["spectrum"].values
    np.testing.assert_allclose(many[1], alone, rtol=1e-10)


# --- symmetry --------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), noise=st.floats(0.1, 10.0), samples=st.sampled_from([2, 6]))
def test_rotating_data_and_permuting_points_changes_nothing(seed, noise, samples):
    generator = np.random.default_rng(seed)
    data = generator.normal(size=(3, samples))
    rotation = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    spec = toy(noise_var=noise, resample_noise_var=0.0)
    turned = rotation @ data[:, generator.permutation(samples)]
    one, other = (
        brute_force_chain(spec, 3, 1, jax.random.key(0), samples=samples, data=points) for points in (data, turned)
    )
    for name in ("spectrum", "gains", "excess_risk"):
        allowed = 4 * one[name].resolution
        assert (np.abs(one[name].values - other[name].values)[0] <= allowed).all(), name


@settings(max_examples=15, deadline=None)
@given(power=st.integers(-20, 20), samples=st.integers(1, 10**9))
def test_only_ratios_of_variances_matter(power, samples):
    """All variances times 2^k: the same (pool-fed) run, eigenvalues times 2^k."""
    scale = 2.0**power
    big = toy(
        spectrum=[scale * value for value in SPECTRUM],
        noise_var=scale,
        resample_noise_var=0.8 * scale,
        weight_decay=0.1 * scale,
        feed="pool",
    )
    run = exact_chain(toy(weight_decay=0.1, feed="pool"), 3, 2, jax.random.key(0), samples=samples)
    scaled = exact_chain(big, 3, 2, jax.random.key(0), samples=samples)
    error = np.abs(scaled["spectrum"].values / scale - run["spectrum"].values)
    assert (error <= 2 * run["spectrum"].resolution[None]).all()


def test_effective_rank_counts_equal_directions():
    np.testing.assert_allclose(
        dae_observables.effective_rank(jnp.array([[3.0, 3, 3], [1, 0, 0], [0, 0, 0]])), [3, 1, 1]
    )


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda k: dae_rounds.checked_spec("toy"), "spec"),
        (lambda k: exact_chain(toy(), 0, 2, k, samples=5), "generations"),
        (lambda k: exact_chain(toy(), 2, 0, k, samples=5), "replicates"),
        (lambda k: whole_number("replicates", 2.5), "replicates"),
        (lambda k: exact_chain(toy(), 2, 2, k, samples=0), "samples"),
        (lambda k: exact_chain(toy(), 2, 2, k, samples=2.5), "samples"),
        (lambda k: exact_chain(toy(), 2, 2, k, samples=np.inf), "samples"),
        (lambda k: exact_chain(toy(), 2, 2, k, samples=[3, 4]), "samples"),
        (lambda k: exact_chain(toy(), 2, 2, k, samples=5, second_moment=np.eye(2)), "second_moment"),
        (lambda k: exact_chain(toy(), 2, 2, k, samples=5, second_moment=-np.eye(3)), "second_moment"),
        (lambda k: exact_chain(toy(), 2, 2, k, samples=5, second_moment=np.nan * np.eye(3)), "second_moment"),
        (lambda k: exact_chain(toy(), 2, 2, k, samples=5, second_moment=np.triu(np.ones((3, 3)))), "second_moment"),
        (lambda k: exact_chain(toy(), 2, 2, k, samples=2, second_moment=np.eye(3)), "second_moment"),
        (lambda k: whole_number("samples", True), "samples"),
        (lambda k: brute_force_chain(toy(), 2, 2, k, samples=5, data=np.ones((3, 4))), "data"),
        (lambda k: brute_force_chain(toy(), 2, 2, k, samples=1, data=np.full((3, 1), np.nan)), "data"),
        (lambda k: dae.border(toy(), 2, 2, k, samples=5), "spectrum"),
        (lambda k: dae.border(toy(spectrum=[1.0]), 2, 2, k, samples=5, largest=-1.0), "largest"),
        (lambda k: dae.two_starts(toy(spectrum=[1.0]), 2, 2, k, samples=5, low=0.0), "low"),
        (lambda k: dae.event(toy(real_fraction=0.5), 1, 2, k, samples=5), "real_fraction"),
        (lambda k: dae.tweedie_chain(toy(weight_decay=0.5), 1, 2, k, samples=5), "weight_decay"),
        (lambda k: measure("beauty", toy(), 2, 2, k, samples=5), "observable"),
        (lambda k: exact_chain(DAESpec(np.ones((2, 3))), 2, 2, k, samples=5), "spectrum"),
        (lambda k: wishart.bartlett(k, 0, 5.0), "dimension"),
    ],
)
def test_bad_input_is_named(call, name):
    with pytest.raises(SpecError, match=name) as caught:
        call(jax.random.key(0))
    assert "\n" not in str(caught.value)
