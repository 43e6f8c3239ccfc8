"""Under a true statement the comparison raises a false alarm at its nominal rate, within binomial error.

The true statements are that Gaussian curves have mean zero and that the exact sampler follows the population; the
measured rates are printed (``make test-slow`` shows them).
"""

import sys

import jax
import numpy as np
import pytest
from scipy import stats

from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.simulate import contamination, spectral
from collapse_jax.simulate.dae import exact_chain
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.trajectory import Prediction, Trajectory

pytestmark = pytest.mark.slow
RATES = (0.05, 0.01)
SAMPLES = 10**8
SETS = {8: 2000, 64: 1000}  # by replicates


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """Critical values from fewer draws than usual: they scatter more, set by set, around the same rate."""
    monkeypatch.setattr(sys.modules["collapse_jax.compare"], "_DRAWS", 2000)
    monkeypatch.setattr(sys.modules["collapse_jax.compare"], "_WORK", 1e8)


def nominal(sets, rate):
    """Two-sided 99.9 % interval of the number of false alarms."""
    return stats.binom.interval(0.999, sets, rate)


def alarms(prediction, sets, title):
    """Compare every set at every rate; print and check the rates of false alarms."""
    counts = {
        rate: sum(compare(prediction, one, error_rate=rate, relevant=0.5).status == "violates" for one in sets)
        for rate in RATES
    }
    for rate, count in counts.items():
        low, high = nominal(len(sets), rate)
        print(
            f"{title}: {count} of {len(sets)} = {count / len(sets):.4f} at {rate} "
            f"(99.9 %: {low / len(sets):.4f} ... {high / len(sets):.4f})"
        )
    return {rate: (nominal(len(sets), rate), count) for rate, count in counts.items()}


@pytest.mark.parametrize("replicates", [8, 64])
@pytest.mark.parametrize("memory", [0.5, 0.9])
def test_dependent_curves(replicates, memory):
    """Gaussian curves of 16 generations, each remembering the one before."""
    sets = SETS[replicates]
    fresh = np.random.default_rng(5).normal(size=(sets, replicates, 16))
    curves = np.empty_like(fresh)
    curves[..., 0] = fresh[..., 0]
    for point in range(1, 16):
        curves[..., point] = memory * curves[..., point - 1] + np.sqrt(1 - memory**2) * fresh[..., point]
    title = f"autoregression {memory}, {replicates} replicates"
    found = alarms(Prediction(np.zeros(16)), [Trajectory(one) for one in curves], title)
    for (low, high), count in found.values():
        assert low <= count <= high


@pytest.mark.parametrize("id", ["DAE-5", "DAE-13/curve"])
@pytest.mark.parametrize("replicates", [8, 64])
def test_exact_chain(id, replicates, x64):
    """The exact sampler at 1e8 points a block against the population, 15 generations of 3 directions at once."""
    changes = {"feed": "pool", "real_fraction": 0.3} if id == "DAE-13/curve" else {}
    spec = DAESpec([10.0, 5.0, 2.0], noise_var=0.8, resample_noise_var=1.0, **changes)
    sets, batch, measured = SETS[replicates], 100, []
    for key in jax.random.split(jax.random.key(11), sets // batch):
        run = exact_chain(spec, 15, batch * replicates, key, samples=SAMPLES)["spectrum"]
        values = np.asarray(run.values).reshape(batch, replicates, 16, 3)
        measured += [Trajectory(one, run.resolution, "spectrum") for one in values]
    found = alarms(get(id).predict(spec, 15), measured, f"{id}, {replicates} replicates")
    for (low, high), count in found.values():
        assert low <= count <= high


@pytest.mark.parametrize("id", ["SP-6", "SP-5"])
def test_particles(id, x64):
    """Particles of truncated diffusion against their law: nine probes at once, or modes over 15 rounds."""
    result, replicates, sets = get(id), 64, 300
    spec = SpectralSpec(**result.example)
    run = spectral.measure(
        result.observable, spec, result.generations, replicates * sets, jax.random.key(12), samples=1000
    )[result.observable]
    values = np.asarray(run.values)
    measured = [
        Trajectory(one, run.resolution, run.observable) for one in values.reshape(sets, replicates, *values.shape[1:])
    ]
    found = alarms(result.predict(spec, result.generations), measured, f"{id}, {replicates} replicates")
    for (low, high), count in found.values():
        assert low <= count <= high


@pytest.mark.parametrize("id", ["CON-1", "CON-3"])
def test_contaminated_chains(id, x64):
    """Means over chains of counts against the recursion, all rounds at once."""
    result, replicates, sets = get(id), 64, 300
    spec = ContaminationSpec(**result.example)
    run = contamination.exact_chain(spec, result.generations, replicates * sets, jax.random.key(12), samples=50)
    risk = run[result.observable]
    values = np.asarray(risk.values)
    measured = [
        Trajectory(one, risk.resolution, risk.observable) for one in values.reshape(sets, replicates, *values.shape[1:])
    ]
    found = alarms(result.predict(spec, result.generations), measured, f"{id}, {replicates} replicates")
    for (low, high), count in found.values():
        assert low <= count <= high
