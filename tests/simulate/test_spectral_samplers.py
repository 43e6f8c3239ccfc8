"""Samplers with exact scores: closed forms for Gaussians, orders of convergence, and the law they end in."""

import itertools
import math

import jax
import numpy as np
import pytest
from scipy import special, stats

from collapse_jax.errors import SpecError
from collapse_jax.metrics import clouds
from collapse_jax.simulate import spectral_samplers as samplers
from collapse_jax.specs.mixture import Mixture, points

STOP, HORIZON = 0.05, 4.0
KEY = jax.random.key(0)

pytestmark = pytest.mark.usefixtures("x64")


def data():
    return Mixture([0.5, 0.3, 0.2], [-1.2, 0.4, 1.6], [0.0625, 0.0324, 0.1225])


def gauss():
    return Mixture([1.0], [0.7], [0.04])


def at(law, time):
    return law.smooth(math.exp(-time), -math.expm1(-2 * time))


def gaussian_steps(method, grid, mean, variance):
    """Mean and variance after the steps from the exact law at the horizon: every step is affine."""
    scale = math.exp(-grid[0])
    centre, spread = scale * mean, 1 + scale**2 * (variance - 1)

    def drift(time, weight):
        """x -> x + weight (m - x) / v."""
        level = math.exp(-time)
        return level * mean, 1 + level**2 * (variance - 1), weight

    def slope(time, weight):
        m, v, weight = drift(time, weight)
        return 1 - weight / v, weight * m / v

    for now, then in itertools.pairwise(grid):
        h = now - then
        a, b = slope(now, 2.0 if method == "euler-maruyama" else 1.0)
        gain, move = 1 + h * a, h * b
        if method == "heun":
            c, d = slope(then, 1.0)
            gain, move = 1 + h / 2 * (a + c * gain), h / 2 * (b + c * move + d)
        centre, spread = gain * centre + move, gain**2 * spread
        if method == "euler-maruyama":
            spread += 2 * h
    return centre, spread


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_flow_of_a_gaussian_is_the_affine_map(method):
    grid = np.asarray(samplers.times(9, STOP, HORIZON))
    start = np.linspace(-3, 3, 7)[:, None]
    m, v = (float(np.ravel(x)[0]) for x in (at(gauss(), HORIZON).means, at(gauss(), HORIZON).covariances))
    made = samplers.sample(gauss(), KEY, 7, grid, method=method, start=m + math.sqrt(v) * start)
    centre, spread = gaussian_steps(method, grid, 0.7, 0.04)
    np.testing.assert_allclose(np.asarray(made.points), centre + math.sqrt(spread) * start, rtol=1e-9)
    assert made.evaluations == 9 * {"euler": 1, "heun": 2}[method]


def test_euler_maruyama_of_a_gaussian_has_the_law_of_its_steps():
    grid, count = np.asarray(samplers.times(8, STOP, HORIZON)), 40_000
    start = at(gauss(), HORIZON).sample(jax.random.key(1), count)
    made = np.asarray(samplers.sample(gauss(), KEY, count, grid, method="euler-maruyama", start=start).points)[:, 0]
    centre, spread = gaussian_steps("euler-maruyama", grid, 0.7, 0.04)
    assert stats.kstest(made, stats.norm(centre, math.sqrt(spread)).cdf).pvalue > 1e-3
    # and the step is coarse enough for the exact law to be told apart
    true = at(gauss(), STOP)
    exact = stats.norm(float(true.means[0, 0]), math.sqrt(float(true.covariances[0])))
    assert stats.kstest(made, exact.cdf).pvalue < 1e-6


@pytest.mark.parametrize(("method", "order"), [("euler-maruyama", 1), ("euler", 1), ("heun", 2)])
def test_order_on_gaussians(method, order):
    """W2 between the law of the steps, which the tests above hold against the sampler, and the exact one."""
    true = at(gauss(), STOP)
    errors = []
    for steps in (128, 256):
        centre, spread = gaussian_steps(method, np.asarray(samplers.times(steps, STOP, HORIZON)), 0.7, 0.04)
        gap = math.sqrt(spread) - math.sqrt(float(true.covariances[0]))
        errors.append(math.hypot(centre - float(true.means[0, 0]), gap))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def quantiles(law, level):
    low, high = np.full(level.shape, -9.0), np.full(level.shape, 9.0)
    means, spreads = np.asarray(law.means)[:, 0], np.sqrt(np.asarray(law.covariances))
    for _ in range(55):
        middle = (low + high) / 2
        below = special.ndtr((middle[:, None] - means) / spreads) @ np.asarray(law.weights) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2)])
def test_order_on_a_mixture(method, order):
    """The flow is the monotone coupling: quantiles go to quantiles, and what is left is discretisation alone."""
    level = (np.arange(400) + 0.5) / 400
    start, wanted = quantiles(at(data(), HORIZON), level), quantiles(at(data(), STOP), level)
    errors = []
    for steps in (64, 128):
        grid = samplers.times(steps, STOP, HORIZON)
        made = samplers.sample(data(), KEY, 400, grid, method=method, start=start[:, None])
        errors.append(np.sqrt(np.mean((np.asarray(made.points)[:, 0] - wanted) ** 2)))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_euler_maruyama_tends_to_the_smoothed_mixture():
    """W2 to the exact quantiles falls in proportion to the step, from the start exact in law."""
    count = 30_000
    wanted = quantiles(at(data(), STOP), (np.arange(count) + 0.5) / count)
    start = at(data(), HORIZON).sample(jax.random.key(1), count)
    errors = []
    for steps in (8, 16, 32):
        made = samplers.sample(
            data(), KEY, count, samplers.times(steps, STOP, HORIZON), method="euler-maruyama", start=start
        )
        errors.append(float(np.sqrt(np.mean((np.sort(np.asarray(made.points)[:, 0]) - wanted) ** 2))))
    assert 1.5 < errors[0] / errors[1] < 2.7
    assert errors[2] < 0.6 * errors[1]


def test_adaptive_agrees_with_the_exact_flow_and_counts():
    level = (np.arange(50) + 0.5) / 50
    start, wanted = quantiles(at(data(), HORIZON), level)[:, None], quantiles(at(data(), STOP), level)
    evaluations = []
    for tolerance in (1e-3, 1e-5):
        made = samplers.adaptive(data(), KEY, 50, STOP, HORIZON, tolerance=tolerance, start=start)
        assert np.abs(np.asarray(made.points)[:, 0] - wanted).max() < 3 * tolerance
        evaluations.append(int(made.evaluations))
    assert 20 < evaluations[0] < evaluations[1] < 1000


@pytest.mark.parametrize("spread", [[0.1, 0.3], [[[0.1, 0.02], [0.02, 0.2]], [[0.3, 0.0], [0.0, 0.1]]]])
def test_score_is_that_of_the_smoothed_law(spread, monkeypatch):
    law = Mixture([0.4, 0.6], [[0.0, 1.0], [-1.0, 0.5]], spread)
    x = np.random.default_rng(0).normal(size=(20, 2))
    wanted = np.asarray(at(law, 0.3).score(jax.numpy.asarray(x)))
    for table in (samplers._TABLE, 0):
        monkeypatch.setattr(samplers, "_TABLE", table)
        np.testing.assert_allclose(np.asarray(samplers.score_at(law, 0.3, x, 1.0)), wanted, rtol=1e-10)


def test_rate_is_a_change_of_time():
    start = np.linspace(-2, 2, 5)[:, None]
    slow = samplers.sample(data(), KEY, 5, samplers.times(6, 0.1, 4.0), rate=0.5, start=start)
    fast = samplers.sample(data(), KEY, 5, samplers.times(6, 0.05, 2.0), start=start)
    np.testing.assert_allclose(np.asarray(slow.points), np.asarray(fast.points), rtol=1e-10)


def test_plane_from_the_reference_and_points():
    """A law of four points in the plane, from N(0, I): the end is the smoothed law up to exp(-horizon)."""
    law = points([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    made = samplers.sample(law, KEY, 800, samplers.times(40, 0.02))
    other = at(law, 0.02).sample(jax.random.key(5), 800)
    third = at(law, 0.02).sample(jax.random.key(6), 800)
    ours, noise = (clouds.sliced_w2(cloud, other, KEY).value for cloud in (made.points, third))
    assert float(ours) < 2 * float(noise)


def test_single_precision_and_seeds():
    with jax.enable_x64(False):
        law = Mixture([1.0], [0.0], [0.1])
        grid = samplers.times(4, 0.1)
        one, two, again = (
            samplers.sample(law, jax.random.key(seed), 10, grid, method="euler-maruyama").points for seed in (0, 1, 0)
        )
        assert one.dtype == np.float32
        assert not np.array_equal(one, two)
        assert np.array_equal(one, again)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: samplers.times(0, 0.1), "steps must be a whole number"),
        (lambda: samplers.times(3, 7.0), "horizon must be larger"),
        (lambda: samplers.sample(data(), KEY, 5, [1.0, 2.0]), "grid must fall strictly"),
        (lambda: samplers.sample(data(), KEY, 5, [1.0]), "at least two times"),
        (
            lambda: samplers.sample(data(), KEY, 5, samplers.times(3, 0.1), start=np.ones((4, 1))),
            "start must have shape",
        ),
        (lambda: samplers.sample(points([0.0]), KEY, 5, samplers.times(3, 0.0)), "no score at time 0"),
        (lambda: samplers.sample(data(), KEY, 5, samplers.times(3, 0.1), rate=0.0), "rate must be positive"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(SpecError, match=words):
        call()


def test_unknown_method():
    # annotations are enforced while testing: the library's own words come from the function beneath
    with pytest.raises((SpecError, TypeError), match="method"):
        samplers.sample(data(), KEY, 5, samplers.times(3, 0.1), method="ddpm")  # pyright: ignore[reportArgumentType]


def test_the_sde_through_diffrax_has_the_law_of_the_scan():
    """Two implementations of Euler-Maruyama on one grid of times, independent noise: one law at the 1 % level."""
    grid = samplers.times(40, STOP, HORIZON)
    ours = samplers.sample(data(), KEY, 20000, grid, method="euler-maruyama")
    theirs = samplers.stochastic(data(), jax.random.key(5), 20000, grid)
    assert theirs.evaluations == ours.evaluations == 40
    assert stats.ks_2samp(np.asarray(ours.points[:, 0]), np.asarray(theirs.points[:, 0])).pvalue > 0.01
    coarse = samplers.stochastic(data(), jax.random.key(6), 20000, samplers.times(6, STOP, HORIZON))
    assert stats.ks_2samp(np.asarray(ours.points[:, 0]), np.asarray(coarse.points[:, 0])).pvalue < 1e-6
