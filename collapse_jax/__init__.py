"""collapse_jax: predict, measure and compare model collapse.

A spec says what a chain of models trained on their predecessors' output is; theory predicts an observable along its
generations in closed form, simulation measures it, and a verdict says whether the two agree:

>>> import jax
>>> import collapse_jax as cj
>>> spec = cj.DAESpec(spectrum=[10.0, 5.0, 2.0], noise_var=1.0)
>>> predicted = cj.theory.dae.gain_norm(spec, 9)
>>> [round(float(gain), 3) for gain in predicted.values[::3]]
[0.909, 0.88, 0.825, 0.7]
>>> measured = cj.simulate.dae.exact_chain(spec, 9, 32, jax.random.key(0), samples=10**8)
>>> cj.compare(predicted, measured["gain_norm"]).status
'agrees'

``check(id, key=...)`` does the three steps for a registered result, ``all_results()`` lists the results, ``get(id)``
is one of them and ``cite(id)`` its citation. The command ``collapse`` answers the same questions in a terminal.
"""

from importlib import metadata as _metadata

from collapse_jax import simulate, theory
from collapse_jax.check import Check, check
from collapse_jax.compare import Rate, Verdict, band, compare, fit_rate
from collapse_jax.errors import (
    CollapseError,
    MeasurementError,
    OutputError,
    RegimeError,
    SpecError,
    UnknownResultError,
)
from collapse_jax.results import Result, all_results, cite, get
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.mixture import Mixture
from collapse_jax.specs.mle import MLESpec
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.specs.regression import RegressionSpec
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.trajectory import Prediction, Trajectory

try:
    __version__ = _metadata.version("collapse_jax")
except _metadata.PackageNotFoundError:  # a checkout on the path that nobody installed
    __version__ = "0+unknown"

__all__ = [
    "Check",
    "CollapseError",
    "ContaminationSpec",
    "DAESpec",
    "MLESpec",
    "MeasurementError",
    "Mixture",
    "OutputError",
    "Prediction",
    "Rate",
    "ReflowSpec",
    "RegimeError",
    "RegressionSpec",
    "Result",
    "SpecError",
    "SpectralSpec",
    "Trajectory",
    "UnknownResultError",
    "Verdict",
    "__version__",
    "all_results",
    "band",
    "check",
    "cite",
    "compare",
    "fit_rate",
    "get",
    "simulate",
    "theory",
]
