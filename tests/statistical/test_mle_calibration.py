"""Under true statements of iterative maximum likelihood the comparison raises false alarms at its nominal rate."""

import sys

import jax
import numpy as np
import pytest
from scipy import stats

from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.simulate.mle import exact_chain
from collapse_jax.specs.mle import MLESpec
from collapse_jax.trajectory import Trajectory

pytestmark = pytest.mark.slow
RATE, SETS, REPLICATES = 0.05, 400, 64
CASES = {
    "MLE-1": MLESpec("exponential", mean=1.5, batch=10),
    "MLE-1/accumulate": MLESpec("bernoulli", mean=0.3, batch=10, regime="accumulate"),
    "MLE-7/log": MLESpec("normal", batch=10),
    "MLE-8": MLESpec("normal", batch=10, regime="accumulate"),
    "MLE-14": MLESpec("poisson", mean=0.25, batch=12),
}


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """Critical values from fewer draws than usual: they scatter more, set by set, around the same rate."""
    monkeypatch.setattr(sys.modules["collapse_jax.compare"], "_DRAWS", 2000)
    monkeypatch.setattr(sys.modules["collapse_jax.compare"], "_WORK", 1e8)


@pytest.mark.parametrize("id", CASES)
def test_exact_chains(id, x64):
    """Four hundred sets of 64 replicates of 200 chains, six generations."""
    spec, result = CASES[id], get(id)
    run = exact_chain(spec, 6, SETS * REPLICATES, jax.random.key(1), samples=200)[result.observable]
    sets = np.asarray(run.values).reshape(SETS, REPLICATES, -1)
    prediction = result.predict(spec, 6)
    alarms = sum(
        compare(prediction, Trajectory(one, run.resolution), error_rate=RATE, relevant=0.5).status == "violates"
        for one in sets
    )
    low, high = stats.binom.interval(0.999, SETS, RATE)
    print(f"{id}: {alarms} of {SETS} = {alarms / SETS:.4f} at {RATE} (99.9 %: {low / SETS:.4f} ... {high / SETS:.4f})")
    assert low <= alarms <= high
