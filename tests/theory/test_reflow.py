"""Every result of rectified flows: definitions in 40 digits, both precisions, gradients, limits, refusals, anchors."""

import functools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from collapse_jax.errors import RegimeError
from collapse_jax.results import all_results, get
from collapse_jax.specs.reflow import ReflowSpec
from collapse_jax.theory.reflow_ground import cos_root, sinc_root, square_angle
from collapse_jax.trajectory import accuracy
from proofs_check.reflow import library

pytestmark = pytest.mark.usefixtures("quick_compilation")

RESULTS = [result.id for result in all_results("reflow")]


def values_of(id, spec, generations=library.ROUNDS):
    return get(id).predict(spec, generations).values


def test_everything_is_derived_and_says_so():
    for result in all_results("reflow"):
        assert (result.tag, result.citation) == ("derived", "collapse_jax")
        assert "(derived" in result.function.__doc__
    assert {result.base for result in all_results("reflow")} == {f"RF-{number}" for number in range(3, 19)}


@functools.cache
def cases(id):
    """Random specs whose numbers are float32 numbers, so that both precisions are asked the same question."""
    drawn = [library.Case(single(case.fields), case.static) for case in library.drawn(id, 6)]
    with mp.workdps(library.DIGITS):
        return drawn, [library.REFERENCES[id][0](case) for case in drawn]


def single(fields):
    return {name: np.asarray(np.asarray(value, np.float32), float) for name, value in fields.items()}


@pytest.mark.parametrize(
    "id", [pytest.param(id, marks=pytest.mark.slow) if id in ("RF-17", "RF-13") else id for id in RESULTS]
)
def test_values_are_right_in_both_precisions_and_gradients_finite(id):
    """1e-12 and 1e-5, under jit and vmap over every leaf; the first cases are at the limits."""
    drawn, right = cases(id)
    columns = {name: np.stack([case.fields[name] for case in drawn]) for name in drawn[0].fields}
    for name in ("float32", "float64"):
        with jax.enable_x64(name == "float64"):

            def total(fields):
                values = values_of(id, ReflowSpec(**fields, **drawn[0].static))
                return values.sum(), values

            grads, found = jax.jit(jax.vmap(jax.grad(total, has_aux=True)))(
                {key: jnp.asarray(value, name) for key, value in columns.items()}
            )
            assert found.dtype == name
            assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grads))
            worst = max(library.difference(row, want) for row, want in zip(np.asarray(found), right, strict=True))
            # single precision of a value that a chain has carried through all rounds
            assert worst <= accuracy(found.dtype) * (1 if name == "float64" else 3)


def test_functions_of_the_angle_are_smooth_at_zero(x64):
    for value in (1.0, 1 - 1e-13, 0.97, 0.951, 0.949, 0.3, -0.9):
        w = float(square_angle(jnp.asarray(value)))
        assert abs(w - float(mp.acos(mp.mpf(value)) ** 2)) <= 1e-14 * max(w, 1e-13) + 1e-300
        assert abs(float(cos_root(jnp.asarray(w))) - value) < 1e-15
    assert float(jax.grad(square_angle)(1.0)) == -2.0
    assert abs(float(jax.grad(sinc_root)(0.0)) + 1 / 6) < 1e-15


def test_anchors():
    """The numbers of section 6 of the sheet."""
    spec = ReflowSpec([1.0], coupling="independent", solver="euler", steps=10)
    assert abs(float(values_of("RF-5", spec)[0]) ** 2 - 0.7726) < 5e-5
    spec = ReflowSpec([1.0], real_pairs=0.3, noise=0.6, fit_loss=0.03)
    assert abs(float(values_of("RF-13", spec)[0]) - 0.6043) < 5e-5
    assert float(values_of("RF-13", ReflowSpec([1.0], real_pairs=0.3, noise=0.2, fit_loss=0.03))[0]) == 0
    assert abs(float(values_of("RF-15", ReflowSpec([4.0]))[0]) - 2 * 1.5708) < 1e-4
    assert abs(float(values_of("RF-15/straightness", ReflowSpec([4.0]))[0]) - 2 * 0.4292) < 1e-4


def test_results_reduce_to_each_other(x64):
    """Noise 0 and no real pairs keep u; a frozen model without error is noise 1; exact pairs cost no step."""
    base = {"spectrum": [2.0], "start": 0.4}
    np.testing.assert_allclose(values_of("RF-12", ReflowSpec(**base, real_pairs=0.4)), 0.4)
    np.testing.assert_allclose(values_of("RF-12", ReflowSpec(**base, noise=0.7)), 0.4)
    lossy = base | {"real_pairs": 0.3, "fit_loss": 0.05}
    first = values_of("RF-14", ReflowSpec(**lossy, inverter="first"))
    np.testing.assert_allclose(first, values_of("RF-13/path", ReflowSpec(**lossy, noise=1.0)), rtol=1e-13)
    one = ReflowSpec(**lossy, solver="euler", steps=1)
    np.testing.assert_allclose(values_of("RF-16/steps", one), values_of("RF-11", one), rtol=1e-13)
    many = values_of("RF-16/steps", ReflowSpec(**lossy, noise=0.6, solver="euler", steps=4000))
    np.testing.assert_allclose(many, values_of("RF-13/path", ReflowSpec(**lossy, noise=0.6)), rtol=2e-3)


def test_vanished_variance_stays_zero_with_finite_gradients(x64):
    """Doubly exponential decay underflows: no number is lost in roots of zero."""
    spec = ReflowSpec([1e-3, 1.0], coupling="independent", solver="euler", steps=3)
    values = values_of("RF-7", spec, 40)
    assert float(values[-1].max()) == 0
    slope = jax.grad(lambda s: values_of("RF-7", s, 40).sum())(spec)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(slope))


REFUSED = [
    ("RF-3", {"correlation": 0.5}, "correlation"),
    ("RF-4", {"solver": "euler"}, "RF-5"),
    ("RF-4", {"ridge": 1.0}, "RF-10/ridge"),
    ("RF-5", {"solver": "heun"}, "RF-18"),
    ("RF-5/bound", {"solver": "euler", "correlation": -0.5}, "RF-5/never"),
    ("RF-5/equal-angle", {"solver": "euler"}, "equal-angle"),
    ("RF-5/one-step", {"solver": "euler"}, "steps 1"),
    ("RF-6", {"solver": "euler"}, "independent"),
    ("RF-6/two", {"coupling": "independent", "solver": "euler"}, "steps 2"),
    ("RF-7", {"coupling": "independent"}, "solver euler"),
    ("RF-7/lifetime", {"coupling": "independent", "solver": "euler", "level": 2.0}, "below start"),
    ("RF-7/tail", {"coupling": "independent", "solver": "euler", "steps": 1}, "steps 2"),
    ("RF-8/exploding", {}, "independent"),
    ("RF-9", {"fit_loss": 0.1}, "RF-10"),
    ("RF-9/velocity", {"spectrum": [4.0, 1.0], "rotation": 3.1}, "rotation"),
    ("RF-10", {"real_pairs": 0.1}, "RF-11"),
    ("RF-11", {"noise": 0.1}, "RF-13/path"),
    ("RF-12", {"inverter": "first"}, "RF-14"),
    ("RF-13", {}, "every u stays"),
    ("RF-13/threshold", {"fit_loss": 0.1}, "real_pairs > 0"),
    ("RF-14", {}, "inverter first"),
    ("RF-16/steps", {}, "solver euler"),
    ("RF-18", {"coupling": "independent", "solver": "euler"}, "solver heun"),
]


@pytest.mark.parametrize(("id", "fields", "told"), REFUSED)
def test_other_chains_are_refused_by_name(id, fields, told):
    with pytest.raises(RegimeError, match=told) as refused:
        get(id).predict(ReflowSpec(**{"spectrum": [1.0]} | fields), 3)
    assert "\n" not in str(refused.value)
