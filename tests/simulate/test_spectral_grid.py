"""The density grid against the age mixture computed in closed form, and against Gaussians."""

import math

import jax
import numpy as np
import pytest

from collapse_jax.errors import SpecError
from collapse_jax.metrics import grid, laws
from collapse_jax.simulate import spectral_grid
from collapse_jax.specs.mixture import Mixture, mix, points
from collapse_jax.specs.spectral import PROBES, SpectralSpec

DATA = {
    "weights": [0.5, 0.3, 0.2],
    "means": [-1.2, 0.4, 1.6],
    "covariances": [0.0625, 0.0324, 0.1225],
}
ROUNDS = 6

pytestmark = pytest.mark.usefixtures("x64")


def toy(**changes) -> SpectralSpec:
    return SpectralSpec(**(DATA | {"real_fraction": 0.2, "truncation": 0.05} | changes))


def measure(observable, spec, generations=ROUNDS, replicates=3, samples=400):
    found = spectral_grid.MEASURES[observable](spec, generations, replicates, jax.random.key(0), samples=samples)
    assert set(found) >= {observable}
    assert all(name == one.observable for name, one in found.items())
    return jax.tree.map(np.asarray, found)


def exact_law(spec, steps) -> Mixture:
    """Law after rounds of (scale, noise_var), by following the components of the mixture itself."""
    law, share = spec.data, float(spec.real_fraction)
    for scale, noise in steps:
        law = mix([share, 1 - share], [spec.data, law]).smooth(scale, noise)
    return law


def limit_law(spec, scale, noise, ages=160) -> Mixture:
    share, law = float(spec.real_fraction), spec.data
    weights, parts = [], []
    for age in range(ages):
        law = law.smooth(scale, noise)
        weights.append(share * (1 - share) ** age)
        parts.append(law)
    return mix(list(np.array(weights) / sum(weights)), parts)


def vp(time):
    return math.exp(-time), -math.expm1(-2 * time)


@pytest.fixture(scope="module")
def run():
    with jax.enable_x64(True):
        return measure("tv_gap", toy(), samples=500), limit_law(toy(), *vp(0.05))


def test_gaps_agree_with_the_closed_form(run):
    found, limit = run
    for generation in (0, 1, ROUNDS):
        wanted = laws.all(exact_law(toy(), [vp(0.05)] * generation), limit)
        for name, accuracy in {"tv": 1e-4, "w1": 1e-4, "w2": 2e-7, "kl": 1e-9, "chi2": 1e-9}.items():
            values = found[f"{name}_gap"].values[:, generation]
            np.testing.assert_allclose(values, wanted[name], rtol=accuracy, err_msg=name)
            np.testing.assert_array_equal(found[f"initial_{name}_gap"].values, found[f"{name}_gap"].values[:, 0])


def test_limit_and_distribution_functions_agree_with_the_closed_form(run):
    found, limit = run
    np.testing.assert_allclose(found["limit_w2"].values, laws.w2(limit, toy().data), rtol=1e-7)
    for generation in (0, ROUNDS):
        law = exact_law(toy(), [vp(0.05)] * generation)
        wanted = np.abs(np.asarray(law.cdf(np.array(PROBES)) - limit.cdf(np.array(PROBES))))
        np.testing.assert_allclose(found["cdf_gap"].values[:, generation], np.stack([wanted] * 3), atol=1e-13)


def test_grids_differ_and_their_spread_is_the_error(run):
    found, limit = run
    values = found["tv_gap"].values[:, 0]
    assert np.unique(values).size == 3
    coarse = measure("tv_gap", toy(), 1, 24, 200)["tv_gap"].values[:, 0]
    error = coarse.mean() - laws.total_variation(toy().data, limit)
    assert abs(error) < 5 * coarse.std() / math.sqrt(24)


def test_gaps_stay_accurate_below_rounding_of_densities():
    """From Gaussian data far in the chain: the gap is that of the second mode alone, factor (1 - alpha) a^2."""
    spec = toy(weights=[1.0], means=[0.0], covariances=[0.5], real_fraction=0.5, truncation=0.2)
    found = measure("late_factor", spec, 80, 2, 200)
    np.testing.assert_allclose(found["late_factor"].values, 0.5 * math.exp(-0.4), rtol=1e-6)
    assert found["tv_gap"].values[0, -1] < 1e-30
    assert found["tv_gap"].resolution[-1] < 1e-3 * found["tv_gap"].values[0, -1]


@pytest.mark.parametrize("process", ["vp", "ve", "rectified_flow"])
def test_other_processes_and_projections(process):
    """A plane turned by its direction; the projected chain is the chain of the projection."""
    spec = SpectralSpec(
        [0.4, 0.6],
        [[1.0, -0.5], [-0.5, 1.0]],
        [[[0.3, 0.1], [0.1, 0.2]], [[0.5, 0.0], [0.0, 0.3]]],
        real_fraction=0.4,
        truncation=0.3,
        process=process,
        direction=[0.6, 0.8],
    )
    step = {"vp": vp(0.3), "ve": (1.0, 0.09), "rectified_flow": (0.7, 0.09)}[process]
    flat = spec.data.project(spec.axis)
    line = SpectralSpec(flat.weights, flat.means, flat.covariances, real_fraction=0.4)
    found = measure("limit_w2", spec, 1, 2, 400)
    np.testing.assert_allclose(found["limit_w2"].values, laws.w2(limit_law(line, *step), flat), rtol=1e-6)


def test_prior():
    spec = toy(real_fraction=0.0)
    found = measure("prior_w2", spec)
    for generation in (0, 3):
        law = exact_law(spec, [vp(0.05)] * generation)
        wanted = laws.all(law, Mixture([1.0], [0.0], [1.0]))
        np.testing.assert_allclose(found["prior_w2"].values[:, generation], wanted["w2"], rtol=1e-7)
        np.testing.assert_allclose(found["prior_kl"].values[:, generation], wanted["kl"], rtol=1e-8)
    np.testing.assert_array_equal(found["initial_prior_kl"].values, found["prior_kl"].values[:, 0])


SCHEDULE = [0.2, 0.1, 0.05, 0.02]


def test_annealing():
    spec = toy(truncation=SCHEDULE)
    found = measure("annealed_w2", spec, 4)["annealed_w2"].values
    assert (found[:, 0] == 0).all()
    for generation in (1, 4):
        law = exact_law(spec, [vp(t) for t in SCHEDULE[:generation]])
        np.testing.assert_allclose(found[:, generation], laws.w2(spec.data, law), rtol=1e-6)


def test_mode_errors_of_a_schedule():
    """Against the recursion of each coefficient, from moments of the mixture by Gauss-Hermite quadrature."""
    spec = toy(truncation=SCHEDULE, order=5)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    real = sum(
        w * grid.basis(m + math.sqrt(v) * nodes, 5) @ weights / math.sqrt(2 * math.pi)
        for w, m, v in zip(*DATA.values(), strict=True)
    )
    error = np.zeros(6)
    for time in SCHEDULE:
        shrink = np.exp(-np.arange(6) * time)
        error = shrink * 0.8 * error + np.expm1(-np.arange(6) * time) * real
    found = measure("mode_error", spec, 4)["mode_error"]
    np.testing.assert_allclose(found.values, np.stack([error] * 3), atol=1e-12)
    assert (found.resolution < 1e-11).all()


def test_ball_of_gaussians_is_the_drift():
    """With all data real a shift in every round moves the law by itself once."""
    spec = toy(real_fraction=1.0, error_scale=0.02, error_power=0.5)
    np.testing.assert_allclose(measure("ball_w2", spec)["ball_w2"].values, 0.02 * 0.05**-0.5, rtol=1e-8)
    # otherwise the mean, which W2 is at least, moves by the sum of what is left of every shift
    half = measure("ball_w2", toy(error_scale=0.02))["ball_w2"].values
    assert (half >= 0.02 / (1 - 0.8 * math.exp(-0.05))).all()


def test_mode_bias_settles_order_by_order():
    found = measure("mode_bias", toy(error_scale=1e-3, order=8))["mode_bias"]
    wanted = 1e-3 / (1 - 0.8 * np.exp(-0.05 * np.arange(9)))
    wanted[0] = 0
    np.testing.assert_allclose(found.values, np.stack([wanted] * 3), atol=1e-11)


def test_best_truncation_minimises():
    """With all data real the chain is one round: the best truncation found by a fine scan in closed form."""
    spec = toy(weights=[1.0], means=[0.0], covariances=[0.5], real_fraction=1.0, error_scale=1e-3, error_power=1.0)
    times = np.geomspace(0.005, 0.5, 4000)
    spread = np.sqrt(1 - 0.5 * np.exp(-2 * times)) - math.sqrt(0.5)
    best = times[np.argmin(spread**2 + (1e-3 / times) ** 2)]
    found = measure("log_best_truncation", spec, samples=500)["log_best_truncation"].values
    np.testing.assert_allclose(found, math.log(best), atol=0.01)


def test_precision_is_that_of_the_spec():
    with jax.enable_x64(False):
        found = spectral_grid.gaps(toy(), 2, 2, jax.random.key(0), samples=200)
        assert found["w2_gap"].values.dtype == np.float32
        assert found["w2_gap"].resolution.dtype == np.float32


@pytest.mark.parametrize(
    ("observable", "changes", "samples", "words"),
    [
        ("tv_gap", {"truncation": 1e-4}, 400, r"truncation must be at least 0\.00.*samples="),
        ("tv_gap", {"covariances": [1e-6, 1.0, 1.0]}, 400, "data are too narrow.*samples="),
        ("tv_gap", {"truncation": 0.0}, 400, "truncation must be positive"),
        ("tv_gap", {"covariances": [0.0, 1.0, 1.0]}, 400, "covariances must be positive"),
        ("tv_gap", {"real_fraction": 0.0}, 400, "real_fraction must be positive.*prior_w2"),
        ("tv_gap", {"truncation": [0.1, 0.2]}, 400, "truncation must be one number"),
        ("tv_gap", {}, 8, "samples must be at least 32"),
        ("tv_gap", {"real_fraction": 0.0, "regime": "accumulate"}, 400, "regime must be replace"),
        ("prior_w2", {}, 400, "real_fraction must be 0"),
        ("annealed_w2", {"truncation": [0.1, 0.2]}, 400, "lengthen the schedule"),
        ("mode_bias", {"process": "ve"}, 400, "process must be vp or rectified_flow"),
        ("log_best_truncation", {}, 400, "error_scale must be positive"),
        ("log_best_truncation", {"error_scale": 1e-9}, 400, "samples must be larger"),
    ],
)
def test_refusals(observable, changes, samples, words):
    with pytest.raises(SpecError, match=words) as caught:
        measure(observable, toy(**changes), samples=samples)
    assert "\n" not in str(caught.value)


def test_smallest_truncation_named_is_possible():
    with pytest.raises(SpecError, match="at least") as caught:
        measure("limit_w2", toy(truncation=1e-4), 1, 1, 400)
    named = float(str(caught.value).split("at least ")[1].split()[0])
    measure("limit_w2", toy(truncation=1.01 * named), 1, 1, 400)
    needed = int(str(caught.value).split("samples=")[1].split()[0])
    measure("limit_w2", toy(truncation=1e-4), 1, 1, needed)


def test_points_are_laws_without_density():
    data = points([0.0, 1.0])
    with pytest.raises(SpecError, match="variance 0"):
        measure("tv_gap", SpectralSpec(data.weights, data.means, data.covariances))
