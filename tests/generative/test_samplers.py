"""Samplers on linear fields, where gains are known: Euler's cosines, orders, round trips, diffusions, counts."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.distributed import data_mesh
from collapse_jax.errors import SpecError
from collapse_jax.generative import flows, samplers
from collapse_jax.generative.networks import MLP, fresh

VARIANCE = 2.5


def exact_velocity(t, x, cond=None):
    t = t[:, None]
    return (t * VARIANCE - (1 - t)) / (t**2 * VARIANCE + (1 - t) ** 2) * x


def exact_epsilon(u, x, cond=None):
    a, s = jnp.cos(jnp.pi / 2 * u[:, None]), jnp.sin(jnp.pi / 2 * u[:, None])
    return s / (a**2 * VARIANCE + s**2) * x


def cosines(grid):
    """RF-5 for independent pairs and a unit start: sqrt(variance) times the product of the cosines."""
    t = np.asarray(grid, float)
    cross = (1 - t[:-1]) * (1 - t[1:]) + t[:-1] * t[1:] * VARIANCE
    each = (1 - t) ** 2 + t**2 * VARIANCE
    return np.sqrt(VARIANCE) * np.prod(cross / np.sqrt(each[:-1] * each[1:]))


def gain(solver, grid):
    return float(solver(exact_velocity, jnp.ones((1, 1)), grid)[0, 0])


@pytest.mark.parametrize("grid", [np.linspace(0, 1, 2), np.linspace(0, 1, 8), np.linspace(0, 1, 12) ** 2])
def test_gain_of_euler_is_a_product_of_cosines(x64, grid):
    np.testing.assert_allclose(gain(samplers.euler, jnp.asarray(grid)), cosines(grid), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("solver", "order"), [(samplers.euler, 1), (samplers.heun, 2)])
@pytest.mark.parametrize("ends", [(0, 1), (1, 0)])
def test_order_of_convergence(x64, solver, order, ends):
    """Errors at 128 and 256 steps: their ratio is 2^order up to the next order."""
    end = np.sqrt(VARIANCE) ** (1 if ends == (0, 1) else -1)
    errors = [abs(gain(solver, samplers.uniform(steps, *ends)) - end) for steps in (128, 256)]
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.05


def test_heun_inflates_and_shrinks_by_the_second_order_law(x64):
    """RF-18: A^2 / variance - 1 = (1/variance - variance) / (4 N^2) to leading order."""
    found = gain(samplers.heun, samplers.uniform(400)) ** 2 / VARIANCE - 1
    assert abs(found * 4 * 400**2 / (1 / VARIANCE - VARIANCE) - 1) < 0.02


def test_round_trip_and_one_step_errors(x64):
    x = jnp.array([[1.0], [2.0]])
    fine = [samplers.round_trip_error(exact_velocity, x, samplers.uniform(steps)) for steps in (64, 128)]
    # there and back the errors of order 2 cancel, those of order 3 stay, squared; errors go with x^2
    assert np.all(np.abs(np.log2(fine[0] / fine[1]) - 6) < 0.05)
    np.testing.assert_allclose(fine[0][1] / fine[0][0], 4, rtol=1e-10)
    rough = samplers.round_trip_error(exact_velocity, x, samplers.uniform(64), solver=samplers.euler)
    assert np.all(rough > 10 * fine[0])
    # one Euler step of independent pairs gives the mean of the data, 0: all of the point is error
    single = samplers.one_step_error(exact_velocity, x, samplers.uniform(500))
    np.testing.assert_allclose(single, VARIANCE * x[:, 0] ** 2, rtol=1e-4)


def test_straightness_of_independent_pairs(x64):
    """RF-15: (2 - pi/2) sqrt(variance) for a unit start."""
    found = samplers.straightness(exact_velocity, jnp.array([[1.0], [-2.0]]), samplers.uniform(500))
    np.testing.assert_allclose(found, (2 - np.pi / 2) * np.sqrt(VARIANCE) * np.array([1, 4]), rtol=1e-4)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_evaluations_are_counted_right(solver):
    calls = []

    def velocity(t, x, cond):
        jax.debug.callback(lambda: calls.append(1))
        return x

    jax.block_until_ready(samplers._SOLVERS[solver](velocity, jnp.ones((2, 1)), samplers.uniform(5)))
    jax.effects_barrier()
    assert len(calls) == samplers.evaluations(solver, 5)


def test_blocks_change_nothing():
    graph, parameters = fresh(jax.random.key(0), MLP, 2, width=8, classes=2)
    parameters = jax.tree.map(lambda leaf: leaf + 0.1, parameters)
    x, cond = jax.random.normal(jax.random.key(1), (10, 2)), jnp.arange(10) % 2
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        one = samplers.transport(graph, parameters, x, samplers.uniform(4), cond)
        two = samplers.transport(graph, parameters, x, samplers.uniform(4), cond, at_once=4)
        back = samplers.transport(graph, parameters, one, samplers.uniform(64, 1.0, 0.0), cond, solver="heun")
        solved = samplers.transport_adaptive(graph, parameters, x, 0.0, 1.0, cond, tolerance=1e-6)
        fine = samplers.transport(graph, parameters, x, samplers.uniform(4000), cond)
    assert one.shape == back.shape == x.shape
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(one - x)).max() > 0.1
    np.testing.assert_allclose(solved.points, fine, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(("stop", "tolerance"), [(1.0, 1e-5), (-3.0, 1e-3)])
def test_adaptive_steps_count_their_evaluations(stop, tolerance):
    calls = []

    def field(t, x):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sin(3 * t) * x

    with jax.numpy_dtype_promotion("standard"):
        solved = samplers.adaptive(field, jnp.ones((1, 1)), 0.0, stop, tolerance=tolerance)
    jax.block_until_ready(solved.points)
    jax.effects_barrier()
    assert len(calls) == int(solved.evaluations)


def vp_variance(t):
    return 1 + np.exp(-2 * t) * (VARIANCE - 1)


def test_probability_flow_ends_at_the_truncation(x64):
    """The flow keeps the law: from the horizon to the truncation points scale by the ratio of standard deviations."""
    truncation, horizon = 0.1, 4.0
    expected = np.sqrt(vp_variance(truncation) / vp_variance(horizon))
    flow = samplers.probability_flow(exact_epsilon)
    made = samplers.heun(flow, jnp.ones((1, 1)), samplers.vp_grid(1000, truncation, horizon))
    np.testing.assert_allclose(made[0, 0], expected, rtol=1e-5)
    solved = samplers.adaptive(lambda t, x: flow(jnp.full(1, t), x), jnp.ones((1, 1)), horizon, truncation)
    np.testing.assert_allclose(solved.points[0, 0], expected, rtol=1e-4)
    # half the rate takes twice the time
    slow = samplers.heun(
        samplers.probability_flow(exact_epsilon, 0.5), jnp.ones((1, 1)), 2 * samplers.vp_grid(1000, truncation, horizon)
    )
    np.testing.assert_allclose(slow, made, rtol=1e-10)


@pytest.mark.parametrize("by_diffrax", [False, True])
def test_reverse_sde_has_the_variance_of_its_steps(by_diffrax):
    """Euler-Maruyama on a Gaussian: the variance after the steps is a recursion, met within its sampling error."""
    count, grid = 20_000, samplers.vp_grid(60, 0.1, 4.0)
    t = np.asarray(grid, float)
    variance = 1.0
    for now, following in pairwise(t):
        h = now - following
        variance = (1 + h * (1 - 2 / vp_variance(now))) ** 2 * variance + 2 * h
    x = jax.random.normal(jax.random.key(0), (count, 1))
    function = samplers.reverse_sde_by_diffrax if by_diffrax else samplers.reverse_sde
    made = np.asarray(function(exact_epsilon, jax.random.key(1), x, grid), float)
    assert abs(np.mean(made**2) / variance - 1) < stats.norm.isf(1e-6) * np.sqrt(2 / count)
    assert abs(variance / vp_variance(0.1) - 1) < 0.1


def test_diffusion_by_blocks_draws_new_noise_in_every_block():
    graph, parameters = fresh(jax.random.key(0), MLP, 1, width=4)
    x = jnp.zeros((6, 1))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        made = samplers.diffuse_back(
            graph,
            parameters,
            jax.random.key(2),
            x,
            samplers.vp_grid(3, 0.1),
            solver="euler-maruyama",
            at_once=2,
            prediction=flows.epsilon_of,
        )
        flowed = samplers.diffuse_back(graph, parameters, jax.random.key(2), x, samplers.vp_grid(3, 0.1), at_once=2)
    assert len(set(np.asarray(made)[:, 0].tolist())) == 6
    np.testing.assert_array_equal(flowed, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, x: samplers.transport(*net, x, samplers.uniform(2), solver="rk4"), "solver must be one of"),
        (lambda net, x: samplers.transport(*net, x, jnp.array([0.0, 0.5, 0.5])), "grid must rise or fall strictly"),
        (lambda net, x: samplers.transport(*net, x, jnp.array([0.0])), "grid must list at least two"),
        (lambda net, x: samplers.diffuse_back(*net, jax.random.key(0), x, samplers.uniform(2)), "grid must fall"),
        (
            lambda net, x: samplers.diffuse_back(
                *net, jax.random.key(0), x, samplers.vp_grid(2, 0.1), solver="euler-maruyama", mesh=data_mesh(1)
            ),
            "mesh must be None for euler-maruyama",
        ),
        (
            lambda net, x: samplers.diffuse_back(*net, jax.random.key(0), x, samplers.vp_grid(2, 0.0)),
            "grid must be a list of times above 0",
        ),
        (lambda net, x: samplers.evaluations("rk4", 3), "solver must be one of"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(SpecError, match=f"^{message}"):
        call(fresh(jax.random.key(0), MLP, 1, width=4), jnp.zeros((2, 1)))


def carried(steps, diffusion):
    """Exact mean factor and variance of ``noisy_reversal`` at time 0 for a point of variance 1 at time 1."""

    def slope(t):
        return (t * VARIANCE - (1 - t)) / (t**2 * VARIANCE + (1 - t) ** 2)

    kept, variance = 1.0, VARIANCE
    for t, following in pairwise(np.linspace(1, 0, steps + 1)):
        h = t - following
        predicted = 1 - h * slope(t)
        score = -predicted / (following**2 * VARIANCE + (1 - following) ** 2)
        factor = 1 - h / 2 * (slope(t) + slope(following) * predicted) + h * diffusion**2 / 2 * score
        kept, variance = kept * factor, factor**2 * variance + (t - following) * diffusion**2
    return kept, variance


def test_noise_of_the_reversed_sde_is_that_of_its_law(x64):
    """RF-17: what is kept of a point, and the variance, for many steps; the sampler itself is these steps."""
    diffusion, count = 0.7, 40_000
    kept, variance = carried(4000, diffusion)
    correlation = np.exp(-np.pi * diffusion**2 / (4 * np.sqrt(VARIANCE)))
    assert abs(kept * np.sqrt(VARIANCE) / correlation - 1) < 1e-3
    assert abs(variance - 1) < 1e-3
    assert abs(kept * np.sqrt(VARIANCE) / np.exp(-np.pi * diffusion**2 / 4) - 1) > 0.1  # not that of unit variance
    kept, variance = carried(12, diffusion)
    x = np.sqrt(VARIANCE) * jax.random.normal(jax.random.key(0), (count, 1))
    grid = samplers.uniform(12, 1.0, 0.0)
    back, noise = (
        np.asarray(samplers.noisy_reversal(exact_velocity, jax.random.key(1), start, grid, diffusion))[:, 0]
        for start in (x, jnp.zeros_like(x))
    )
    # the velocity is linear: one key, one noise, and the rest is what is kept of the points
    np.testing.assert_allclose(back - noise, kept * np.asarray(x)[:, 0], rtol=1e-9, atol=1e-12)
    spread = variance - kept**2 * VARIANCE
    error = np.sqrt(2 / count) * spread
    assert abs(noise.mean()) < stats.norm.isf(1e-5 / 2) * np.sqrt(spread / count)
    assert abs((noise**2).mean() - spread) < stats.norm.isf(1e-5 / 2) * error
    assert abs((noise**2).mean() - 1.04 * spread) > stats.norm.isf(1e-2 / 2) * error  # of a diffusion of 2 % more


def test_few_steps_of_the_reversed_sde_keep_the_variance(x64):
    """Latents that Euler's steps alone shrink by k/N (RF-6) keep unit variance to a hundredth at 20 steps."""
    assert abs(carried(20, 0.533)[1] - 1) < 0.01
    assert gain(samplers.euler, samplers.uniform(20, 1.0, 0.0)) ** 2 * VARIANCE < 0.9


def test_noisy_reversal_without_noise_is_heun():
    x = jax.random.normal(jax.random.key(0), (5, 2))
    grid = samplers.uniform(7, 1.0, 0.0)
    back = samplers.noisy_reversal(exact_velocity, jax.random.key(1), x, grid, 0.0)
    np.testing.assert_allclose(back, samplers.heun(exact_velocity, x, grid), rtol=1e-6)
    model = fresh(jax.random.key(0), MLP, 2, width=8)
    whole, blocks = (samplers.transport_noisily(*model, jax.random.key(1), x, grid, 0.0, at_once=b) for b in (None, 2))
    np.testing.assert_allclose(whole, blocks, rtol=1e-6)
    with pytest.raises(SpecError, match="diffusion must be"):
        samplers.transport_noisily(*model, jax.random.key(1), x, grid, -1.0)
    with pytest.raises(SpecError, match="grid must fall"):
        samplers.transport_noisily(*model, jax.random.key(1), x, grid[::-1], 1.0)
