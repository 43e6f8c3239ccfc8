"""Measured rectified flows: laws of the draws, two samplers of one law, limits, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import SpecError
from collapse_jax.simulate import reflow
from collapse_jax.simulate.reflow_fits import Moments, endpoint, residual, slope, square_sums, step_times
from collapse_jax.specs.reflow import ReflowSpec

pytestmark = pytest.mark.usefixtures("x64", "quick_compilation")
KEY = jax.random.key(7)


def z_score(values, expected):
    values = np.asarray(values, float)
    return (values.mean(axis=0) - expected) / (values.std(axis=0, ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize("rows", [0.0, 1.0, 2.0, 7.0])
def test_sums_have_the_law_of_drawn_points(rows):
    """Means and variances of sums of w^2, w e, e^2 over few points: those of the Wishart law."""
    sums = [np.asarray(part) for part in square_sums(KEY, rows, (40000,), jnp.float64)]
    for part, mean, variance in zip(sums, (rows, 0, rows), (2 * rows, rows, 2 * rows), strict=True):
        if rows == 0:
            assert not part.any()
        else:
            assert abs(z_score(part, mean)) < 5
            assert abs(z_score((part - mean) ** 2, variance)) < 5


def test_slopes_are_those_of_least_squares_on_points():
    """Moments are all that a fit needs of the pairs."""
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=50), rng.normal(size=50) + 1.0
    moments = Moments(*(jnp.asarray([v]) for v in (np.mean(z**2), np.mean(x**2), np.mean(z * x))))
    for t in (0.0, 0.3, 1.0):
        place = (1 - t) * z + t * x
        fitted = np.linalg.lstsq(place[:, None], x - z, rcond=None)[0][0]
        np.testing.assert_allclose(float(slope(ReflowSpec(), moments, t)[0]), fitted, rtol=1e-12)


def test_solvers_agree_where_they_must():
    """Many steps of either solver approach the integral; the steps are those of the plain recursion."""
    moments = Moments(jnp.asarray([1.2]), jnp.asarray([0.5]), jnp.asarray([0.2]))
    exact = float(endpoint(ReflowSpec(), moments)[0])
    for solver, power in (("euler", 1), ("heun", 2)):
        off = [abs(float(endpoint(ReflowSpec(solver=solver, steps=steps), moments)[0]) - exact) for steps in (50, 200)]
        assert 0.9 < np.log(off[0] / off[1]) / np.log(4) / power < 1.1
    spec, state = ReflowSpec(solver="euler", steps=4), 1.0
    for t in np.arange(4) / 4:
        state *= 1 + float(slope(spec, moments, t)[0]) / 4
    np.testing.assert_allclose(float(endpoint(spec, moments)[0]), state, rtol=1e-13)


def test_equal_angle_times_rise_from_0_to_1_and_need_no_angle():
    spec = ReflowSpec(solver="euler", steps=5, grid="equal-angle")
    for cross in (0.3, 0.0, float(np.sqrt(0.6))):  # the last: one line
        moments = Moments(*(jnp.asarray([v]) for v in (1.2, 0.5, cross)))
        times = np.asarray(step_times(spec, moments))[0]
        assert abs(times[0]) < 1e-12
        assert abs(times[-1] - 1) < 1e-12
        assert (np.diff(times) > 0).all()


def test_loss_is_that_of_points_at_a_straight_coupling():
    """Pairs on a line leave nothing."""
    moments = Moments(*(jnp.asarray([v]) for v in (1.0, 4.0, 2.0)))
    assert abs(float(residual(ReflowSpec(), moments)[0])) < 1e-12


CHAINS = [
    {"noise": 0.6, "real_pairs": 0.5, "fit_loss": 0.05},
    {"real_pairs": 0.5, "inverter": "first", "frozen": 0.7, "solver": "euler", "steps": 3},
    {"real_pairs": 0.5, "noise": 1.0, "ridge": 0.1, "solver": "heun", "steps": 3},
    {"noise": 0.8, "real_pairs": 0.25, "solver": "euler", "steps": 2, "grid": "equal-angle"},
    {"coupling": "independent", "real_fraction": 0.25, "solver": "euler", "steps": 4},
    {"coupling": "independent", "solver": "exact", "fit_loss": 0.1},
]


@pytest.mark.parametrize("fields", [CHAINS[0], *(pytest.param(chain, marks=pytest.mark.slow) for chain in CHAINS[1:])])
def test_exact_and_brute_force_chains_have_one_law(fields):
    """Few pairs, where the noise is large: means, and means of squares, of every round."""
    spec = ReflowSpec([2.0, 0.5], size=12, **fields)
    runs = [
        np.asarray(chain(spec, 3, 1500, jax.random.key(seed))["relative_variance"].values)
        for seed, chain in enumerate((reflow.exact_chain, reflow.brute_force_chain))
    ]
    for power in (1, 2):
        left, right = (np.log(run[:, 1:]) ** power for run in runs)
        error = np.sqrt((left.var(axis=0) + right.var(axis=0)) / len(left))
        assert (abs(left.mean(axis=0) - right.mean(axis=0)) < 5 * error).all()


def test_pure_reflow_has_no_sampling_noise_at_all():
    """Three pairs are as good as any number, with one Euler step, and real pairs of the model itself add nothing."""
    spec = ReflowSpec([4.0], size=4, real_pairs=0.5, solver="euler", steps=1)
    values = np.asarray(reflow.exact_chain(spec, 10, 8, KEY)["relative_variance"].values)
    np.testing.assert_allclose(values, 1, rtol=1e-12)


def test_lifetime_is_interpolated_and_infinite_if_not_reached():
    spec = ReflowSpec([1.0], fit_loss=0.5, size=10, level=0.125)
    measured = reflow.exact_chain(spec, 5, 2, KEY)["lifetime"].values
    np.testing.assert_allclose(measured, 1.5, rtol=1e-12)
    assert np.isinf(reflow.exact_chain(spec, 1, 2, KEY)["lifetime"].values).all()


@pytest.mark.slow
def test_every_observable_is_reported_under_its_name():
    spec = ReflowSpec([1.0, 0.5], size=20)
    for name in reflow.MEASURES:
        found = reflow.measure(name, spec, 2, 2, KEY, samples=2)[name]
        assert found.observable == name
        assert found.values.shape[0] == 2


BAD = [
    ({}, {"observable": "error"}, "observable"),
    ({}, {"sampler": "fast"}, "sampler"),
    ({}, {"observable": "gain", "sampler": "brute-force"}, "sampler"),
    ({"size": 1e7}, {"sampler": "brute-force"}, "size"),
    ({"size": 7, "real_pairs": 0.3}, {}, "real_pairs"),
    ({"size": 1}, {"observable": "gain_matrix"}, "size"),
    ({"solver": "heun"}, {"observable": "endpoint_covariance"}, "solver"),
    ({}, {"generations": 0}, "generations"),
    ({}, {"samples": 0}, "samples"),
]


@pytest.mark.parametrize(("fields", "arguments", "name"), BAD)
def test_bad_arguments_are_refused_in_one_line(fields, arguments, name):
    given = {"observable": "variance", "generations": 2, "replicates": 2, "samples": 1, "sampler": "exact"} | arguments
    with pytest.raises(SpecError, match=name) as refused:
        reflow.measure(spec=ReflowSpec(**{"spectrum": [1.0, 2.0]} | fields), key=KEY, **given)
    assert "\n" not in str(refused.value)
