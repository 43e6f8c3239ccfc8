"""Under true statements of contaminated training the comparison raises false alarms at its nominal rate."""

import sys

import jax
import numpy as np
import pytest
from scipy import stats

from collapse_jax.compare import compare
from collapse_jax.results import get
from collapse_jax.simulate.contamination import exact_chain
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.trajectory import Trajectory

pytestmark = pytest.mark.slow
SETS, REPLICATES, CHAINS = 400, 64, 50
LAW = [0.4, 0.3, 0.2, 0.1]
CASES = {
    "CON-1": ContaminationSpec(LAW, real_fraction=0.2, size=30.0, first_size=30.0),
    "CON-1 growing": ContaminationSpec(LAW, real_fraction=1.0, real_power=0.5, size=30.0, size_power=1.0),
    "CON-11": ContaminationSpec(LAW, real_fraction=0.2, size=30.0, first_size=30.0, regime="accumulate"),
    "CON-13": ContaminationSpec(LAW, real_fraction=0.2, size=30.0, first_size=30.0, real="anchor"),
}


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """Critical values from fewer draws than usual: they scatter more, set by set, around the same rate."""
    monkeypatch.setattr(sys.modules["collapse_jax.compare"], "_DRAWS", 2000)


@pytest.mark.parametrize("rate", [0.05, 0.01])
@pytest.mark.parametrize("id", CASES)
def test_exact_chains(id, rate, x64):
    """Four hundred sets of 64 replicates of fifty chains, six rounds."""
    spec, result = CASES[id], get(id.partition(" ")[0])
    run = exact_chain(spec, 6, SETS * REPLICATES, jax.random.key(1), samples=CHAINS)[result.observable]
    sets = np.asarray(run.values).reshape(SETS, REPLICATES, -1)
    prediction = result.predict(spec, 6)
    alarms = sum(
        compare(prediction, Trajectory(one, run.resolution), error_rate=rate, relevant=0.5).status == "violates"
        for one in sets
    )
    low, high = stats.binom.interval(0.999, SETS, rate)
    print(f"{id}: {alarms} of {SETS} = {alarms / SETS:.4f} at {rate} (99.9 %: {low / SETS:.4f} ... {high / SETS:.4f})")
    assert low <= alarms <= high
