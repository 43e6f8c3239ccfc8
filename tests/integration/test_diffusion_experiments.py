"""Retrained diffusion models at tiny sizes: exact parts, compilation, the command, kill and resume."""

import dataclasses
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import SpecError
from collapse_jax.generative import samplers, training
from collapse_jax.metrics.hermite import basis, indices
from collapse_jax.specs.mixture import Mixture
from collapse_jax.theory.spectral_laws import mixture_modes_multi
from experiments import diffusion_chain, diffusion_stages, recursive_diffusion, storage

TINY = dataclasses.replace(
    recursive_diffusion.PRESETS["smoke"],
    stages={"line": 10},
    annealed_shares=(),
    shares=(0.5,),
    rounds=2,
    pool=200,
    width=8,
    steps=20,
    batch=16,
    sampler_steps=4,
    dispatch=20,
)
GAUSSIAN = ([1.0], [0.0], [0.25])

ENVIRONMENT = os.environ | {"PYTHONPATH": os.getcwd(), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
SCRIPT = (
    "import dataclasses, sys\n"
    "from experiments import harness\n"
    "from tests.integration.test_diffusion_experiments import TINY\n"
    "from experiments.recursive_diffusion import EXPERIMENT\n"
    "stages = {name: 5 for name in sys.argv[1].split(',')}\n"
    "tiny = dataclasses.replace(EXPERIMENT, presets={'tiny': dataclasses.replace(TINY, stages=stages)})\n"
    "sys.exit(max(harness.main(tiny, ['--out', out]) for out in sys.argv[2:]))\n"
)


@pytest.fixture(autouse=True)
def _as_in_experiments(quick_compilation):
    """Experiments run with JAX's own promotion; programs here run once."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def law(parts=GAUSSIAN):
    return Mixture(*(np.asarray(part, np.float32) for part in parts))


def test_exact_epsilon_of_a_gaussian_is_linear():
    """Of data N(0, v) at level u: s x / (a^2 v + s^2)."""
    u, x = jnp.array([0.1, 0.5, 0.9]), jnp.array([[1.0], [-2.0], [0.5]])
    a, s = np.cos(np.pi / 2 * u), np.sin(np.pi / 2 * u)
    expected = s[:, None] * x / (a**2 * 0.25 + s**2)[:, None]
    np.testing.assert_allclose(diffusion_chain.exact_epsilon(law())(u, x), expected, rtol=1e-5)


def test_the_sampler_with_the_exact_score_makes_the_ideal_variance():
    """1 + a^2 (v - 1) within the band of the sample, at steps enough."""
    settings = dataclasses.replace(TINY, sampler_steps=60)
    made = np.asarray(diffusion_chain.exact_output(settings, jax.random.key(0), law(), 20_000, 0.1), float)
    expected = 1 + np.exp(-0.2) * (0.25 - 1)
    assert abs(made.var() - expected) < 4 * expected * np.sqrt(2 / 20_000)
    assert abs(made.var() - (1 + np.exp(-0.1) * (0.25 - 1))) > 10 * expected * np.sqrt(2 / 20_000)


def test_gains_of_the_real_law_are_one_and_shrink_by_order():
    real = np.asarray(mixture_modes_multi(law(diffusion_stages.PLANE), 4)[1], float)
    order = indices(2, 4).sum(axis=1)
    np.testing.assert_allclose(diffusion_chain.gains(real, real, 2, (1, 2, 3, 4)), 1, rtol=1e-12)
    np.testing.assert_allclose(diffusion_chain.gains(0.5**order * real, real, 2, (1, 4)), [0.5, 0.0625], rtol=1e-12)
    np.testing.assert_array_equal(indices(2, 4), mixture_modes_multi(law(diffusion_stages.PLANE), 4)[0])


def test_projections_shrink_like_their_order_along_every_direction():
    """SP-7: from coefficients as from points along the direction; exact for points pushed through the ideal map."""
    real = np.asarray(mixture_modes_multi(law(diffusion_stages.PLANE), 4)[1], float)
    units, orders = diffusion_chain.directions(real, 2, (3, 4)), (3, 4)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, rtol=1e-12)
    start_key, noise_key = jax.random.split(jax.random.key(0))
    x = law(diffusion_stages.PLANE).sample(start_key, 200_000)
    kept = np.exp(-0.1)
    made = kept * x + np.sqrt(1 - kept**2) * jax.random.normal(noise_key, x.shape)
    found = diffusion_chain.coefficients(made, 4)
    for unit, order in zip(units, orders, strict=True):
        along = basis(np.asarray(made, np.float64) @ unit, order)[:, order]
        assert diffusion_chain.projected(found, unit, order) == pytest.approx(float(along.mean()), rel=1e-3)
        expected, error = diffusion_chain.projected(real, unit, order), float(along.std()) / np.sqrt(len(along))
        assert abs(along.mean() - kept**order * expected) < 4.5 * error
        assert abs(along.mean() - kept ** (order - 1) * expected) > 4.5 * error  # of another order


def test_where_the_ideal_law_is_left_is_told_by_order():
    ideal = np.ones((4, 2))
    mean = ideal + np.array([[0, 0], [0.01, 0], [0.08, 0], [0.08, 0]])
    error = np.full((4, 2), 0.01)
    assert diffusion_stages._carries(mean, error, ideal, (3, 4), 4).endswith("left by order 3 from round 2")
    assert diffusion_stages._carries(ideal, error, ideal, (3, 4), 4).startswith("no order is seen")
    # eight standard errors of two seeds are little
    assert diffusion_stages._carries(mean, error, ideal, (3, 4), 2).startswith("no order is seen")


def test_limits_and_first_rounds_of_the_ideal_law():
    orders = np.array([1, 2, 3])
    path = diffusion_stages.law_of(0.5, (0.1,) * 60, orders)
    np.testing.assert_allclose(path[1], np.exp(-0.1 * orders), rtol=1e-6)
    np.testing.assert_allclose(path[-1], diffusion_stages.limit_of(0.5, 0.1, orders), rtol=1e-5)
    assert not diffusion_stages.limit_of(0.0, 0.1, orders).any()


def test_ideal_gains_recover_under_annealing_with_a_real_share_alone():
    falling = tuple(0.1 / k for k in range(1, 31))
    orders = np.array([3, 4])
    with_share, without = (diffusion_stages.law_of(share, falling, orders) for share in (0.5, 0.0))
    assert (with_share[-1] > 0.95).all()
    assert (np.diff(with_share[2:], axis=0) > 0).all()
    assert (np.diff(without, axis=0) < 0).all()
    np.testing.assert_allclose(without[-1], np.exp(-orders * sum(falling)), rtol=1e-5)


def test_kept_outputs_follow_the_mean_of_all_laws_so_far():
    """SP-14 by hand: round k shrinks the plain mean of the gains 1, c_1 ... c_(k-1)."""
    orders = np.array([1, 2, 4])
    for truncations in ((0.1, 0.1, 0.1, 0.1), (0.2, 0.1, 0.05, 0.4)):
        laws = [np.ones(3)]
        for truncation in truncations:
            laws.append(np.exp(-truncation * orders) * np.mean(laws, axis=0))
        np.testing.assert_allclose(diffusion_stages.law_of(None, truncations, orders), laws, rtol=1e-5)
    # order 2, t = 0.1: e^-0.2, then e^-0.2 (1 + e^-0.2)/2
    two = diffusion_stages.law_of(None, (0.1, 0.1), (2,))
    np.testing.assert_allclose(two[:, 0], [1, 0.8187308, 0.7445254], rtol=1e-6)


def compilations():
    """A list that grows with every program compiled, and how to stop that."""
    compiled = []

    def listen(event: str, duration_secs: float, **_):
        compiled.extend([event] if "backend_compile" in event else [])

    jax.monitoring.register_event_duration_secs_listener(listen)
    return compiled, lambda: jax.monitoring.unregister_event_duration_listener(listen)


def test_a_pool_that_keeps_everything_holds_equal_parts_and_compiles_in_its_first_round_alone(monkeypatch):
    pools, made = [], []
    learned, generated = diffusion_chain.learned, diffusion_chain.generated

    def seen(settings, key, points, truncation, weights=None):
        pools.append((np.asarray(points), np.asarray(weights)))
        return learned(settings, key, points, truncation, weights)

    def kept(*arguments):
        made.append(generated(*arguments))
        return made[-1]

    monkeypatch.setattr(diffusion_chain, "learned", seen)
    monkeypatch.setattr(diffusion_chain, "generated", kept)
    size, rounds, by_round = 90, 4, []
    compiled, stop = compilations()
    try:
        diffusion_chain.chain(
            TINY,
            jax.random.key(3),
            lambda key, count: law().sample(key, count),
            np.ones(3),
            share=None,
            truncations=(0.1,) * rounds,
            orders=(1, 2),
            size=size,
            report=lambda number, found: by_round.append(len(compiled)),
        )
    finally:
        stop()
    assert 0 < by_round[0] == by_round[-1]
    first = pools[0][0][:size]
    assert first.std() > 0
    for number, (points, weights) in enumerate(pools, 1):
        assert points.shape == (rounds * size, 1)
        parts = weights.reshape(rounds, size)
        assert (parts[:number] == parts[0, 0]).all()
        assert not parts[number:].any()
        for part, expected in enumerate([first, *made[: number - 1]]):
            np.testing.assert_array_equal(points[part * size : (part + 1) * size], expected)


def test_truncations_and_generations_compile_one_program():
    """The first round compiles; further rounds, and a falling schedule, find every program."""

    def run(seed, truncations):
        return diffusion_chain.chain(
            TINY,
            jax.random.key(seed),
            lambda key, count: law().sample(key, count),
            np.ones(3),
            share=0.5,
            truncations=truncations,
            orders=(1, 2),
            size=100,
        )

    run(0, (0.1, 0.05))

    def held():
        return [program._cache_size() for program in (training._dispatch, samplers._diffuse_back)]  # pyright: ignore[reportAttributeAccessIssue]

    before = held()
    compiled, stop = compilations()
    try:
        run(1, (0.2, 0.1, 0.07))
    finally:
        stop()
    assert held() == before
    assert compiled == []


def test_a_set_that_is_not_there_is_named():
    with pytest.raises(SpecError, match="nowhere"):
        diffusion_stages.principal("nowhere", 4)
    with pytest.raises(SpecError, match="components"):
        diffusion_stages.principal("digits", 100)


def test_principal_coordinates_give_the_images_back():
    points, frame, mean, pictures = diffusion_stages.principal("digits", 61)
    assert points.var(axis=0).mean() == pytest.approx(1)
    back = (mean + points @ frame).reshape(pictures.images.shape) * pictures.levels
    np.testing.assert_allclose(back, pictures.images, atol=1e-8)


def test_the_command_survives_kill_to_the_identical_result(tmp_path):
    """Killed between two rounds, continued, and the same as a run at one go; all rows are observations.

    Killed in the arm that keeps everything: its pool is continued too.
    """

    def command(*names):
        return [sys.executable, "-c", SCRIPT, "line", *(str(tmp_path / name) for name in names)]

    with subprocess.Popen(command("run"), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        for line in process.stdout or ():
            if "accumulate, seed 2 of 2: round 1" in line:
                process.send_signal(signal.SIGKILL)
                break
    assert not (tmp_path / "run").exists()
    done = subprocess.run(command("run", "once"), capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    _, resumed, once = done.stdout.split("preset tiny")
    assert "continuing the run" in resumed
    assert "seed 1 of 2" not in resumed
    assert "a = 0.5, seed" not in resumed
    assert "seed 2 of 2: round 1" not in resumed
    assert "seed 1 of 2" in once
    first, second = (storage.read_arrays(tmp_path / name / "arrays.npz") for name in ("run", "once"))
    assert set(first) == set(second)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    rows = storage.read_json(tmp_path / "run" / "verdicts.json")
    assert {row["status"] for row in rows} == {"observed"}
    assert {row["result"] for row in rows} == {"SP-6", "SP-14"}
    assert (tmp_path / "run" / "s_f9_line.png").stat().st_size > 10_000


@pytest.mark.slow
def test_planes_and_pictures_run_by_the_command_and_only_observe(tmp_path):
    command = [sys.executable, "-c", SCRIPT, "plane,images", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in storage.read_json(tmp_path / "run" / "verdicts.json")} == {"observed"}
    arrays = storage.read_arrays(tmp_path / "run" / "arrays.npz")
    # the empirical law of the digits is the real one: the ideal laws start there
    np.testing.assert_allclose(arrays["images/along_law"][:, 0].mean(axis=-1), 1, rtol=1e-6)
    assert np.isfinite(arrays["images/power"]).all()
    assert len(list((tmp_path / "run").glob("s_f*.png"))) == 2


@pytest.mark.slow
def test_a_trained_score_of_a_gaussian_is_the_closed_form_within_the_band_over_seeds():
    """Regression of the learned on the exact epsilon, by level: slope 1 within 4 standard errors of 8 seeds."""
    settings = dataclasses.replace(TINY, width=32, steps=4000, batch=512, dispatch=1000, decay=0.999)
    exact = diffusion_chain.exact_epsilon(law())
    levels = jnp.array([0.35, 0.5, 0.7, 0.9])
    slopes = []
    for seed in range(8):
        key = jax.random.key(seed)
        graph, parameters = diffusion_chain.learned(settings, key, law().sample(key, 20_000), 0.1)
        found = []
        for u in levels:
            a, s = np.cos(np.pi / 2 * u), np.sin(np.pi / 2 * u)
            x = jnp.sqrt(a**2 * 0.25 + s**2) * jnp.linspace(-2, 2, 41)[:, None]
            model = diffusion_chain.epsilon_of(diffusion_chain.nnx.merge(graph, parameters))
            told, wanted = model(jnp.full(41, u), x), exact(jnp.full(41, u), x)
            found.append(float(jnp.sum(told * wanted) / jnp.sum(wanted**2)))
        slopes.append(found)
    mean, error = np.mean(slopes, axis=0), np.std(slopes, axis=0, ddof=1) / np.sqrt(len(slopes))
    print(mean, error)
    assert (np.abs(mean - 1) < 4 * error).all()
    assert (error < 0.01).all()


@pytest.mark.parametrize("name", ["default", "smoke", "gpu", "paper"])
def test_presets_name_stages_that_exist(name):
    settings = recursive_diffusion.PRESETS[name]
    assert set(settings.stages) <= set(recursive_diffusion.STAGES)
    assert settings.steps % settings.dispatch == 0
