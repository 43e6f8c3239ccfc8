"""Particles of truncated-diffusion chains have the law of chains that NumPy runs with all their points in memory.

Statistical tests have fixed keys and a family-wise error rate of 1e-3 over the file's comparisons of one kind; one test
shows what they can see. A run with one particle a replicate gives the particle itself: its mean is its place.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.errors import SpecError
from collapse_jax.metrics.hermite import basis, by_quadrature
from collapse_jax.simulate import spectral, spectral_chain, spectral_doors, spectral_particles, spectral_seen
from collapse_jax.specs.spectral import FREQUENCIES, PROBES, SpectralSpec

FAMILY = 1e-3
POINTS = 100_000
ROUNDS = 4

pytestmark = pytest.mark.usefixtures("x64", "quick_compilation")

ONE = {"weights": [0.5, 0.3, 0.2], "means": [-1.2, 0.4, 1.6], "covariances": [0.0625, 0.0324, 0.1225]}
FULL = {
    "weights": [0.6, 0.4],
    "means": [[1.0, 0.5, -0.5], [-1.5, 0.2, 1.0]],
    "covariances": [
        [[0.5, 0.1, 0.0], [0.1, 0.4, 0.1], [0.0, 0.1, 0.3]],
        [[0.3, -0.1, 0.0], [-0.1, 0.6, 0], [0, 0, 0.2]],
    ],
    "direction": [0.6, 0.0, 0.8],
}
MANY = {"weights": np.full(50, 0.02), "means": np.linspace(-2, 2, 100).reshape(50, 2), "covariances": np.zeros(50)}


def toy(**changes) -> SpectralSpec:
    return SpectralSpec(**(ONE | {"real_fraction": 0.3, "truncation": 0.2} | changes))


def in_numpy(function):
    """The same measurement with NumPy arrays in its trajectories."""
    return lambda *args, **kwargs: jax.tree.map(np.asarray, function(*args, **kwargs))


particle_chain, limit_chain, measure = map(in_numpy, (spectral.particle_chain, spectral.limit_chain, spectral.measure))


# --- the chain as one would write it in NumPy ------------------------------------------------------------------------


def rounds_of(spec):
    """Shrinking factor and added variance of each round, from the definition of the process."""
    truncation = np.broadcast_to(np.asarray(spec.truncation, float), ROUNDS)
    if spec.process == "vp":
        scale = np.exp(-float(spec.rate) * truncation)
        return scale, 1 - scale**2
    return (1 - truncation if spec.process == "rectified_flow" else np.ones(ROUNDS)), truncation**2


def real_points(spec, count, generator):
    which = generator.choice(len(spec.weights), count, p=np.asarray(spec.weights) / np.sum(spec.weights))
    means, covariances = np.asarray(spec.means), np.asarray(spec.covariances)
    if covariances.ndim == 1:
        return means[which] + np.sqrt(covariances[which])[:, None] * generator.normal(size=(count, spec.dimension))
    points = np.empty((count, spec.dimension))
    for component in range(len(means)):
        here = which == component
        points[here] = generator.multivariate_normal(means[component], covariances[component], here.sum())
    return points


def in_memory(spec, seed, count=POINTS):
    """Generated points and pool points of all rounds, ``[ROUNDS + 1, count, d]`` both."""
    generator = np.random.default_rng(seed)
    made, pools = [real_points(spec, count, generator)], []
    for scale, noise in zip(*rounds_of(spec), strict=True):
        pools.append(pool_of(spec, made, generator))
        made.append(scale * pools[-1] + np.sqrt(noise) * generator.normal(size=made[0].shape))
    return np.array(made), np.array([*pools, pool_of(spec, made, generator)])


def pool_of(spec, made, generator):
    count = len(made[0])
    if spec.regime == "accumulate":  # any of the states of each particle
        return np.array(made)[generator.integers(len(made), size=count), np.arange(count)]
    fresh = generator.random(count) < float(spec.real_fraction)
    return np.where(fresh[:, None], real_points(spec, count, generator), made[-1])


SCHEDULE = [0.4, 0.2, 0.1, 0.05]
SLOW = {"accumulate, schedule", "rectified flow"}  # programs of their own, made of parts of the others
CASES = {
    "vp": {},
    "vp, slow rate": {"rate": 0.5},
    "no real share": {"real_fraction": 0.0},
    "all real": {"real_fraction": 1.0},
    "no truncation": {"truncation": 0.0},
    "schedule": {"truncation": SCHEDULE},
    "ve": {"process": "ve"},
    "rectified flow": {"process": "rectified_flow"},
    "accumulate": {"regime": "accumulate", "real_fraction": 0.0},
    "accumulate, schedule": {"regime": "accumulate", "real_fraction": 0.0, "truncation": SCHEDULE},
    "three dimensions": FULL,
    "many points": MANY,
}
POOLS = {"vp", "no real share", "all real", "accumulate", "three dimensions"}
LEVEL = FAMILY / ((2 * len(CASES) + len(POOLS)) * (ROUNDS + 1))


def places(spec, seed, pools=False):
    """Single particles ``[POINTS, ROUNDS + 1, d]``, and projections of those of the pools ``[ROUNDS + 1, POINTS]``."""
    run = particle_chain(spec, ROUNDS, POINTS, jax.random.key(seed), samples=1)
    if not pools:
        return run["mean"].values, None
    run_of_pools = particle_chain(spec, ROUNDS, POINTS, jax.random.key(seed + 1), samples=1, side="pool")
    line = run_of_pools["pool_modes"].values[:, :, 1] * np.sqrt(float(spec.reference_var))
    return run["mean"].values, line.T


def least_p(spec, found, other):
    """Smallest p-value of Kolmogorov-Smirnov tests: both sides, all rounds, along the direction and along an axis."""
    made, pools = other
    axis = np.asarray(spec.axis)
    p = []
    for k in range(ROUNDS + 1):
        p.append(stats.ks_2samp(found[0][:, k] @ axis, made[k] @ axis, method="asymp").pvalue)
        p.append(stats.ks_2samp(found[0][:, k, -1], made[k][:, -1], method="asymp").pvalue)
        if found[1] is not None:
            p.append(stats.ks_2samp(found[1][k], pools[k] @ axis, method="asymp").pvalue)
    return min(p)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES])
def test_particles_have_the_law_of_the_chain(name):
    spec = toy(**CASES[name])
    p = least_p(spec, places(spec, 1, pools=name in POOLS), in_memory(spec, 2))
    assert p > LEVEL, f"{name}: p = {p:.2g}"


@pytest.mark.parametrize("off", [{"real_fraction": 0.4}, {"truncation": 0.25}], ids=str)
def test_the_law_test_sees_a_wrong_round(off):
    spec = toy()
    assert least_p(spec, places(toy(**off), 1), in_memory(spec, 2)) < LEVEL


def test_single_precision_has_the_same_law():
    spec = toy()
    single = toy(**{name: np.asarray(value, np.float32) for name, value in ONE.items()})
    found = places(single, 1)
    assert found[0].dtype == np.float32
    assert least_p(spec, found, in_memory(spec, 2)) > LEVEL


def scores(values, wanted, error=0.0):
    """Studentised means over replicates against known values."""
    values = np.asarray(values, float)
    spread = np.sqrt(values.var(axis=0, ddof=1) / len(values) + np.asarray(error) ** 2)
    return np.abs(values.mean(axis=0) - wanted) / np.where(spread > 0, spread, 1)


def critical(tests, replicates=200):
    return stats.t.isf(FAMILY / (2 * tests), replicates - 1)


def test_observables_are_what_they_say():
    """Means of modes, cdf, moments, spectrum and added variance against the same averages over the points of NumPy."""
    spec = toy(**FULL)
    run = particle_chain(spec, ROUNDS, 200, jax.random.key(3), samples=500)
    made, _ = in_memory(spec, 4, 200 * 500)
    line = made @ np.asarray(spec.axis)
    expected = {
        "modes": np.asarray(basis(jnp.asarray(line), spec.order)),
        "cdf": (line[..., None] <= np.array(PROBES)).astype(float),
        "mean": made,
        "second_moment": made[..., :, None] * made[..., None, :],
    }
    limit = critical(sum(value[:, 0].size for value in expected.values()))
    for name, value in expected.items():
        error = value.std(axis=1) / np.sqrt(value.shape[1])
        found = run[name].values
        assert (scores(found, value.mean(axis=1), error) < limit).all(), name
    for other in ("annealed_modes", "prior_modes"):
        np.testing.assert_array_equal(run[other].values, run["modes"].values)
    covariance = [np.cov(points.T) for points in made]
    # eigenvalues of 500 points are biased: of as many for NumPy
    each = made.reshape(len(made), 200, 500, -1)
    spectrum = np.linalg.eigvalsh([[np.cov(points.T) for points in row] for row in each])[..., ::-1]
    error = spectrum.std(axis=1, ddof=1) / np.sqrt(200)
    found = run["covariance_spectrum"].values
    assert (scores(found, spectrum.mean(axis=1), error) < critical(spectrum.mean(axis=1).size)).all()
    axis = np.asarray(spec.axis)
    added = run["added_variance"].values
    along = np.array([axis @ matrix @ axis for matrix in covariance]) - axis @ np.asarray(spec.data.covariance) @ axis
    error = (line - line.mean(1, keepdims=True)).var(axis=1) * np.sqrt(2 / line.shape[1])
    assert (scores(added, along, error) < critical(ROUNDS + 1)).all()


# --- identities ------------------------------------------------------------------------------------------------------


def test_a_schedule_of_equal_rounds_is_a_constant():
    one, other = (
        particle_chain(toy(truncation=truncation), 3, 4, jax.random.key(0), samples=50)["modes"].values
        for truncation in (0.2, [0.2, 0.2, 0.2, 0.2])
    )
    np.testing.assert_array_equal(one, other)


def test_keys_decide():
    runs = [particle_chain(toy(), 2, 4, jax.random.key(seed), samples=50)["modes"].values for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not (runs[0] == runs[2])[..., 1:].any()
    assert len(np.unique(runs[0][:, :, 1])) == 12  # no two replicates or rounds share their numbers


def test_without_change_nothing_changes():
    """No real share and no truncation: every particle stays where it is."""
    values = particle_chain(toy(real_fraction=0.0, truncation=0.0), 5, 3, jax.random.key(0), samples=20)["mean"].values
    np.testing.assert_allclose(values, np.broadcast_to(values[:, :1], values.shape), rtol=0, atol=1e-15)


def test_one_compiled_program():
    spectral_particles.curves.clear_cache()
    for alpha, truncation in ((0.0, 0.1), (0.5, 0.2), (1.0, 0.3)):
        particle_chain(toy(real_fraction=alpha, truncation=truncation), 2, 2, jax.random.key(0), samples=5)
    assert spectral_particles.curves._cache_size() == 1


def test_blocks(monkeypatch):
    """Replicates are cut into blocks and put together again; large ones into several, small ones together."""
    spec = toy()
    monkeypatch.setattr(spectral_particles, "BLOCK", 64)
    plan = spectral_particles.layout(spec, 7, 150)
    assert plan == (7, 7, 3, 1, 50)
    plan = spectral_particles.layout(spec, 7, 20)
    assert plan == (7, 3, 1, 3, 20)
    large = particle_chain(spec, 1, 200, jax.random.key(0), samples=150)["mean"].values
    small = particle_chain(spec, 1, 201, jax.random.key(1), samples=20)["mean"].values
    assert large.shape == (200, 2, 1)
    assert small.shape == (201, 2, 1)
    assert len(np.unique(small)) == small.size
    error = np.sqrt(float(spec.data.covariance[0, 0]))
    for values, count in ((large, 150), (small, 20)):
        # spread of a mean of count points at round 0, chi-square
        ratio = values[:, 0, 0].var(ddof=1) / (error**2 / count) * (len(values) - 1)
        low, high = stats.chi2.ppf([FAMILY / 2, 1 - FAMILY / 2], len(values) - 1)
        assert low < ratio < high


# --- limits ----------------------------------------------------------------------------------------------------------


def limit_points(spec, which, count=200_000):
    return np.asarray(spectral.sample_limit(spec, jax.random.key(11), count, which))


LIMITS = {
    "vp": {},
    "all real": {"real_fraction": 1.0},
    "ve": {"process": "ve"},
    "rectified flow": {"process": "rectified_flow"},
    "three dimensions": FULL,
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW | {"ve"} else []) for n in LIMITS]
)
def test_chain_runs_into_the_law_drawn_by_age(name):
    """Modes, cdf, moments and waves of the long chain against points of random age; both sides."""
    spec = toy(order=4, **LIMITS[name])
    for side, prefix in (("generated", "limit_"), ("pool", "pool_limit_")):
        waves = side == "generated"
        run = jax.tree.map(
            np.asarray,
            spectral_chain.limit_chain(spec, 1, 200, jax.random.key(5), samples=2000, side=side, waves=waves),
        )
        points = limit_points(spec, side)
        line = points @ np.asarray(spec.axis)
        turns = line[:, None] * np.array(FREQUENCIES)
        expected = {
            prefix + "modes": np.asarray(basis(jnp.asarray(line / np.sqrt(float(spec.reference_var))), 4)),
            prefix + "cdf": (line[:, None] <= np.array(PROBES)).astype(float),
            prefix + "mean": points,
            prefix + "second_moment": points[:, :, None] * points[:, None, :],
        } | ({"fourier_modes": np.stack([np.cos(turns), np.sin(turns)], -1)} if waves else {})
        tests = len(LIMITS) * 2 * sum(value[0].size for value in expected.values())
        for key, value in expected.items():
            error = value.std(axis=0) / np.sqrt(len(value))
            assert (scores(run[key].values, value.mean(axis=0), error) < critical(tests)).all(), key


def test_age_sampler_has_geometric_ages():
    """Points at one place that only grow noise: the variance of each is its age, so their law is known."""
    spec = SpectralSpec([1.0], [0.0], [0.0], real_fraction=0.25, truncation=1.0, process="ve")
    points = limit_points(spec, "generated", 50_000)[:, 0]
    ages = np.arange(1, 200)
    weights = 0.25 * 0.75 ** (ages - 1)

    def cdf(x):
        return (stats.norm.cdf(np.asarray(x)[:, None] / np.sqrt(ages)) * weights).sum(axis=1)

    assert stats.kstest(points, cdf).pvalue > FAMILY


def test_without_real_share_the_limit_is_the_prior():
    spec = toy(real_fraction=0.0, order=4)
    values = limit_chain(spec, 1, 200, jax.random.key(6), samples=2000)["limit_modes"].values
    assert (scores(values[:, 1:], 0.0) < critical(4)).all()


def test_more_data_narrow_the_limit_as_they_should():
    """Looks at the same particles are worth most of as many new ones: the spread is below twice that of new ones."""
    spec = toy(order=2)
    run = limit_chain(spec, 1, 400, jax.random.key(7), samples=12_800)
    spread = run["limit_modes"].values[:, 1].std(ddof=1)
    alone = limit_points(spec, "generated")[:, 0].std() / np.sqrt(12_800)
    assert alone * 0.9 < spread < 3 * alone


@pytest.mark.slow
def test_limit_spectrum_and_gain_ratio():
    spec = toy(**FULL)
    found = measure("limit_covariance_spectrum", spec, 1, 200, jax.random.key(8), samples=2000)
    values = found["limit_covariance_spectrum"].values
    matrices = np.array([np.cov(part.T) for part in np.split(limit_points(spec, "generated"), 200)])
    pooled = np.array([np.linalg.eigvalsh(matrices.mean(axis=0))[::-1]])
    error = np.linalg.eigvalsh(matrices)[:, ::-1].std(axis=0) / np.sqrt(200)
    assert (scores(values, pooled[0], error) < critical(6)).all()

    spec = toy(means=[0.8, 1.4, 2.0], order=3)
    found = measure("gain_ratio", spec, 1, 200, jax.random.key(9), samples=2000)["gain_ratio"].values
    line = spec.data.project(spec.axis)
    real = by_quadrature(lambda x: line.log_density(x[:, None]), 3, interval=(-3.0, 6.0))
    values = np.asarray(basis(jnp.asarray(limit_points(spec, "generated")[:, 0]), 3)).reshape(200, 1000, 4).mean(axis=1)
    gains = values.mean(axis=0) / np.asarray(real)
    # error of a ratio of means, to first order
    parts = values / values.mean(axis=0)
    error = (gains[2:] / gains[1:-1]) * (parts[:, 2:] - parts[:, 1:-1]).std(axis=0) / np.sqrt(200)
    assert (scores(found, gains[2:] / gains[1:-1], error) < critical(6)).all()


def test_pseudovalues_of_a_mean_are_its_replicates():
    values = np.random.default_rng(0).normal(size=(9, 2))
    np.testing.assert_allclose(spectral_chain.pseudovalues(lambda mean: 2 * mean, values), 2 * values, atol=1e-13)


def test_pseudovalues_of_a_ratio_have_less_bias():
    """exp of a mean of 8: bias exp(1/16) - 1 = 6 %, of the pseudovalues a twentieth of that."""
    draws = np.random.default_rng(1).normal(size=(200_000, 8))
    found = spectral_chain.pseudovalues(np.exp, draws.T).mean(axis=0)
    assert abs(found.mean() - 1) < 0.005 + 4 * found.std() / np.sqrt(len(found))


# --- data, finite pools, denoised chain ------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, FULL], ids=["one", "three"])
def test_data_modes(changes):
    spec = toy(**changes)
    values = measure("data_modes", spec, 1, 200, jax.random.key(1), samples=500)["data_modes"].values
    line = spec.data.project(spec.axis)
    variances = jnp.asarray(line.covariances).reshape(len(line.weights), -1)[:, 0]
    density = lambda x: jax.scipy.special.logsumexp(  # noqa: E731
        jax.scipy.stats.norm.logpdf(x[:, None], line.means[:, 0][None], jnp.sqrt(variances)[None]),
        b=line.weights[None],
        axis=1,
    )
    wanted = by_quadrature(density, spec.order, interval=(-8.0, 8.0))
    assert (scores(values, np.asarray(wanted)) < critical(12)).all()


@pytest.mark.parametrize("alpha", [pytest.param(0.0, marks=pytest.mark.slow), 0.4])
def test_pools_fluctuate_like_pools_in_memory(alpha):
    size, pools, rounds = 5, 40_000, 40
    spec = toy(real_fraction=alpha, truncation=0.5, pool_size=size, order=3)
    values = measure("pool_variance", spec, 1, 200, jax.random.key(2), samples=200)["pool_variance"].values
    generator = np.random.default_rng(3)
    state = real_points(spec, pools * size, generator).reshape(pools, size)
    fresh = round(alpha * size)
    scale = np.exp(-0.5)
    for _ in range(rounds):
        parents = generator.integers(size, size=(pools, size - fresh))
        made = scale * np.take_along_axis(state, parents, 1)
        made = made + np.sqrt(1 - scale**2) * generator.normal(size=made.shape)
        state = np.concatenate([real_points(spec, pools * fresh, generator).reshape(pools, fresh), made], axis=1)
    modes = np.asarray(basis(jnp.asarray(state), 3)).mean(axis=1)
    squares = size * (modes - modes.mean(axis=0)) ** 2
    error = squares.std(axis=0) / np.sqrt(pools)
    assert (values[:, 0] < 1e-20).all()
    assert (scores(values, squares.mean(axis=0), error)[1:] < critical(6)).all()


def test_denoised_spectrum_like_points_in_memory():
    count, runs = 6, 4000
    covariance = np.array([[4.0, 1.0], [1.0, 1.0]])
    spec = SpectralSpec([1.0], [[0.5, -1.0]], [covariance], real_fraction=0.0, truncation=[0.1, 0.3, 0.2])
    found = measure("denoised_spectrum", spec, 3, runs, jax.random.key(4), samples=count)["denoised_spectrum"].values
    generator = np.random.default_rng(5)
    expected = np.empty((runs, 4, 2))
    points = generator.multivariate_normal([0.5, -1.0], covariance, (runs, count))
    for k in range(4):
        mean = points.mean(axis=1, keepdims=True)
        matrix = (points - mean).swapaxes(1, 2) @ (points - mean) / (count - 1)
        expected[:, k] = np.linalg.eigvalsh(matrix)[:, ::-1]
        if k < 3:
            a = np.exp(-float(spec.truncation[k]))
            noised = a * points + np.sqrt(1 - a**2) * generator.normal(size=points.shape)
            gain = a * matrix @ np.linalg.inv(a**2 * matrix + (1 - a**2) * np.eye(2))
            points = mean + (noised - a * mean) @ gain.swapaxes(1, 2)
    p = [stats.ks_2samp(found[:, k, i], expected[:, k, i], method="asymp").pvalue for k in range(4) for i in range(2)]
    assert min(p) > FAMILY / 8


# --- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_stays_below_the_resolution(dtype):
    """Means in the precision of the run against sums in extended precision over the same points."""
    spec = toy(**{name: np.asarray(value, dtype) for name, value in ONE.items()}, order=8)
    points = jax.random.normal(jax.random.key(0), (1, 3, 50_000), dtype) * dtype(1.2)
    found = np.asarray(spectral_seen.modes_of(points[0], spec))
    squares = spectral_seen.spread_of(points, spec)
    floor = spectral_seen.modes_resolution(squares, 50_000)
    x = np.asarray(points[0]).astype(np.longdouble)
    wanted = [np.ones_like(x), x]
    for m in range(1, 8):
        wanted.append((x * wanted[-1] - np.sqrt(np.longdouble(m)) * wanted[-2]) / np.sqrt(np.longdouble(m + 1)))
    error = np.abs(found - np.stack([value.mean(axis=1) for value in wanted], axis=1))
    assert found.dtype == floor.dtype == dtype
    assert np.isinf(floor[0])
    assert (error <= floor).all()
    assert (floor[1:5] < (3e-3 if dtype == np.float32 else 1e-12)).all()


@pytest.mark.slow
def test_float32_specs_give_float32():
    spec = toy(**{name: np.asarray(value, np.float32) for name, value in ONE.items()}, pool_size=10)
    for name in ("gain_ratio", "pool_variance"):
        trajectory = measure(name, spec, 2, 3, jax.random.key(0), samples=20)[name]
        assert trajectory.values.dtype == np.float32, name
        assert np.isfinite(trajectory.values).all(), name


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda k: spectral_doors.checked_spec("toy"), "spec"),
        (lambda k: spectral_doors.checked_spec(jax.tree.map(lambda leaf: leaf[None], toy())), "one spec"),
        (lambda k: particle_chain(toy(), 0, 2, k, samples=5), "generations"),
        (lambda k: particle_chain(toy(), 2, 0, k, samples=5), "replicates"),
        (lambda k: particle_chain(toy(), 2, 2, k, samples=0), "samples"),
        (lambda k: particle_chain(toy(truncation=[0.1, 0.2]), 3, 2, k, samples=5), "truncation"),
        (lambda k: limit_chain(toy(truncation=[0.1, 0.2]), 2, 2, k, samples=5), "truncation"),
        (lambda k: limit_chain(toy(real_fraction=0.0, process="ve"), 2, 2, k, samples=5), "real_fraction"),
        (lambda k: limit_chain(toy(real_fraction=0.0, truncation=0.0), 2, 2, k, samples=5), "real_fraction"),
        (lambda k: limit_chain(toy(real_fraction=1e-6, truncation=0.0), 2, 2, k, samples=5), "rounds"),
        (lambda k: limit_chain(toy(regime="accumulate", real_fraction=0.0), 2, 2, k, samples=5), "regime"),
        (lambda k: spectral.sample_limit(toy(real_fraction=0.0), k, 5), "real_fraction"),
        (lambda k: spectral.sample_limit(toy(truncation=[0.1, 0.2]), k, 5), "truncation"),
        (lambda k: measure("gain_ratio", toy(order=1), 2, 2, k, samples=5), "order"),
        (lambda k: measure("gain_ratio", toy(covariances=[0.0, 0.1, 0.1]), 2, 2, k, samples=5), "covariances"),
        (lambda k: measure("pool_variance", toy(pool_size=4), 2, 2, k, samples=5), "real_fraction"),
        (lambda k: measure("denoised_spectrum", toy(real_fraction=0.0), 2, 2, k, samples=5), "weights"),
        (lambda k: measure("beauty", toy(), 2, 2, k, samples=5), "observable"),
        (lambda k: measure("modes", toy(), 2, 2, k, samples=5, sampler="brute-force"), "sampler"),
    ],
)
def test_bad_input_is_named(call, name):
    with pytest.raises(SpecError, match=name) as caught:
        call(jax.random.key(0))
    assert "\n" not in str(caught.value)
