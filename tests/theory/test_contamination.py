"""Every result of contaminated training: loops in 40 digits, limits, gradients, anchors, late slopes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.errors import RegimeError
from collapse_jax.results import all_results, get
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.theory import contamination, contamination_policies, contamination_schedules, contamination_tails
from collapse_jax.theory import contamination_improvement as improvement
from collapse_jax.theory.contamination_recursion import affine_path, lost_path, mean_reciprocal, mixture_step
from collapse_jax.trajectory import accuracy
from tests.theory import contamination_reference as reference

pytestmark = pytest.mark.usefixtures("quick_compilation")

RESULTS = [result.id for result in all_results("contamination")]
ROUNDS = 4
TWO = ContaminationSpec([0.5, 0.5])

# fields whose values a result does not describe freely
NO_SHARE = ("CON-3", "CON-3/unrolled", "CON-3/limit", "CON-12/none")
NO_SHARE_ONLY = ("CON-3", "CON-3/limit", "CON-12/none")
WITH_SHARE = ("CON-8", "CON-9", "CON-10", "CON-14", "CON-17/limit")


def single(value):
    """A float32 number, so that both precisions are asked the same question."""
    return tuple(single(v) for v in value) if isinstance(value, tuple) else float(np.float32(value))


LAWS = {
    8: (0.25, 0.1875, 0.125, 0.125, 0.125, 0.0625, 0.0625, 0.0625),
    2: (0.625, 0.375),
    3: (0.5, 0.3125, 0.1875),
    5: (0.375, 0.25, 0.1875, 0.125, 0.0625),
}


def fields_of(id):
    """The example with float32 numbers, laws that sum to 1 in binary, and sizes for which exact sums are short."""
    fields = {name: single(value) if not isinstance(value, str) else value for name, value in get(id).example.items()}
    if "contexts" in fields:
        fields |= {"truth": LAWS[3] * 3, "contexts": LAWS[3]}
    else:
        fields["truth"] = LAWS[len(fields["truth"])]
    if id in ("CON-10", "CON-10/pool", "CON-16"):
        fields["size"] = 12.0
    return fields


def cases(id):
    """Specs of one structure: the example, and corners of share and size that the result covers."""
    fields = fields_of(id)
    out = [fields]
    if isinstance(fields.get("real_fraction"), float) and id not in NO_SHARE_ONLY and not id.startswith("CON-12/con"):
        shares = [1.0, single(1e-6)] + ([] if id.startswith(WITH_SHARE) else [0.0])
        out += [fields | {"real_fraction": share} for share in shares]
    if isinstance(fields["size"], float) and id not in ("CON-5/never",):
        out.append(fields | {"size": 1.0 if id not in ("CON-14/absence", "CON-14/fourth") else 400.0})
    if id not in ("CON-5/never", "CON-14/absence"):
        large = {"first_size": 1.0}
        out.append(fields | large)
    return [ContaminationSpec(**case) for case in out]


@functools.cache
def expected(id):
    with jax.enable_x64(False):
        return [reference.predictions(id, spec, rounds_of(id)) for spec in cases(id)]


def rounds_of(id):
    return 6 if id in ("CON-8", "CON-12") else ROUNDS


def values_of(id, spec):
    return get(id).predict(spec, rounds_of(id)).values


def stack(specs):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *specs)


def holds(id, found):
    for spec, actual, right in zip(cases(id), found, expected(id), strict=True):
        actual = np.asarray(actual)
        assert actual.shape == right.shape
        where = f"{id} at {spec}"
        # entries of one matrix or law by the largest; small numbers through their logarithm, down to the normal floats
        scale = accuracy(actual.dtype)
        size = np.abs(right[np.isfinite(right)]).max(initial=0) if id in ("CON-2", "CON-18") else 0
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = np.maximum(1, -np.log(np.abs(right)))
            slack = np.where(np.isfinite(depth), depth, 1) * np.abs(right) + size + np.finfo(actual.dtype).tiny / scale
            same = (actual == right) | (np.abs(actual - right) <= scale * slack)
        assert same.all(), f"{where}: {actual[~same]} is not {right[~same]}"


@pytest.mark.parametrize("id", RESULTS)
def test_values_are_right_and_gradients_finite(id, precision):
    """1e-5 or 1e-12 against 40 digits, under jit and vmap over every leaf; a derivative after every field exists.

    Corners: no real data, only real data, hardly any, rounds of one token, a first model of one token.
    """
    specs = (
        cases(id)
        if precision == "float32"
        else [
            ContaminationSpec(**{f.name: _double(getattr(spec, f.name)) for f in dataclasses.fields(spec)})
            for spec in cases32(id)
        ]
    )

    def total(spec):
        values = values_of(id, spec)
        return jnp.sum(jnp.where(jnp.isfinite(values), values, 0)), values

    derivative, found = jax.jit(jax.vmap(jax.grad(total, has_aux=True)))(stack(specs))
    assert found.dtype == np.dtype(precision)
    holds(id, found)
    for field in dataclasses.fields(ContaminationSpec):
        leaf = getattr(derivative, field.name)
        if hasattr(leaf, "shape"):
            assert np.isfinite(np.asarray(leaf)).all(), (id, field.name, np.asarray(leaf))


@functools.cache
def cases32(id):
    with jax.enable_x64(False):
        return cases(id)


def _double(value):
    return np.asarray(value, np.float64) if hasattr(value, "dtype") else value


def test_paper_and_project_are_told_apart():
    """Two statements are the paper's, one names its claim and says that the bound is not the paper's."""
    papers = {result.id for result in all_results("contamination") if result.tag == "paper"}
    assert papers == {"CON-1", "CON-5/never"}
    for result in all_results("contamination"):
        if result.id in papers:
            assert result.citation == "bakshi2026"
            assert "(paper" in result.function.__doc__
        elif result.id == "CON-7":
            assert "not the paper's" in result.function.__doc__
        else:
            assert result.citation == "collapse_jax"
            assert "(derived" in result.function.__doc__


def test_every_number_is_registered():
    assert {result.base for result in all_results("contamination")} == {f"CON-{k}" for k in range(1, 19)}
    assert set(reference.REFERENCES) == set(RESULTS)


# anchors of the sheet


def test_anchors(x64):
    spec = ContaminationSpec([0.5, 0.5], real_fraction=0.1, size=100)
    assert float(contamination.settled_size(spec)) == pytest.approx(19.81, abs=1e-12)
    better = [
        bool(contamination.settled_risk(dataclasses.replace(spec, first_size=n)).values < 0.5 / n) for n in (19.0, 20.0)
    ]
    assert better == [True, False]
    anchored = ContaminationSpec([0.5, 0.5], real_fraction=0.25, size=60, first_size=80, real="anchor")
    assert float(curve("CON-13", 200)(anchored)[-1] / 0.5) == pytest.approx(0.049330, abs=5e-7)


# identities and limits


def test_unrolled_scanned_and_closed_forms_are_one(x64):
    spec = ContaminationSpec([0.5, 0.5], real_fraction=0.03, size=50, first_size=20)
    one = curve("CON-1", 300)(spec)
    for other in ("CON-3/unrolled", "CON-4"):
        np.testing.assert_allclose(curve(other, 300)(spec), one, rtol=1e-12)
    assert float(one[-1]) == pytest.approx(float(contamination.settled_risk(spec).values), rel=1e-6)
    # a chain started where another one is after 100 rounds goes on like it
    later = jax.jit(affine_path)(*mixture_step(spec.sizes(200), spec.shares(200)), one[100] / 0.5)
    np.testing.assert_allclose(0.5 * later, one[100:], rtol=1e-12)


def test_sequential_and_associative_recursion_agree(x64):
    spec = ContaminationSpec([0.5, 0.5], real_fraction=1.0, real_power=0.7, size=3.0, size_power=1.1)
    shares, sizes = np.asarray(spec.shares(500)), np.asarray(spec.sizes(500))
    value, path = 1 / 30, [1 / 30]
    for share, size in zip(shares, sizes, strict=True):
        value = 1 / size + (1 - 1 / size) * (1 - share) ** 2 * value
        path.append(value)
    np.testing.assert_allclose(curve("CON-1", 500)(spec) / 0.5, path, rtol=1e-13)


def test_single_precision_keeps_its_digits_over_many_rounds():
    """Without real data and with huge rounds the risk is a sum of tiny steps; 1e5 rounds, 1e-5."""
    lost = jnp.full(100_000, 1e-7, jnp.float32)
    exact = -np.expm1(np.arange(1, 100_001) * np.log1p(-np.float64(np.float32(1e-7))))
    np.testing.assert_allclose(jax.jit(lost_path)(lost), exact, rtol=1e-5)


def test_mean_reciprocal_over_its_range(precision):
    """Against sums in 40 digits, and against 1/(n p) (1 + (1 - p)/(n p)) where no sum is short."""
    scale = accuracy(jnp.zeros(()).dtype)
    for size in (1, 2, 7, 60, 300):
        for share in (1e-6, 0.01, 0.3, 0.75, 1.0):
            share = float(np.float32(share))
            right = float(
                reference.binomial_mean(size, reference.mp.mpf(share), lambda k: 1 / reference.mp.mpf(k) if k else 0)
            )
            found = float(mean_reciprocal(jnp.asarray(float(size)), jnp.asarray(share)))
            assert found == pytest.approx(right, rel=scale), (size, share)
    np.testing.assert_allclose(mean_reciprocal(jnp.asarray(1e9), jnp.asarray(0.25)), 4e-9, rtol=2e-6)
    assert float(mean_reciprocal(jnp.asarray(10.0), jnp.asarray(0.0))) == 0


def test_stirling_ratio_and_beta_tail(precision):
    from scipy import special

    scale = accuracy(jnp.zeros(()).dtype)
    for a, b, low in ((0.1, 3.9, 0.005), (0.5, 1e6, 4e-7), (2.5, 0.5, 0.1), (1e-4, 200.0, 0.002), (0.3, 50.0, 0.02)):
        a, b, low = (float(np.float32(v)) for v in (a, b, low))
        found = contamination_tails.beta_below(*(jnp.asarray(v) for v in (low, a, b)))
        assert float(found) == pytest.approx(special.betainc(a, b, low), rel=10 * scale), (a, b, low)


# what is said of late rounds: the exact recursion, float64, up to 1e5 rounds


@functools.cache
def curve(id, rounds):
    """One program for all specs of a structure: step by step a long scan would be compiled hundreds of times."""
    return jax.jit(lambda spec: get(id).predict(spec, rounds).values)


def polynomial(a, b, c=1.0, n=2.0):
    return ContaminationSpec([0.5, 0.5], real_fraction=c, real_power=a, size=n, size_power=b)


LONG = 100_000


@functools.cache
def late(a, b, c=1.0, n=2.0, regime="replace"):
    spec = polynomial(a, b, c, n) if regime == "replace" else keeping(c, n)
    return np.asarray(curve("CON-1" if regime == "replace" else "CON-11", LONG)(spec))


def keeping(c, n):
    return ContaminationSpec([0.5, 0.5], real_fraction=c, size=n, first_size=n, regime="accumulate")


def slope_of(path):
    t = np.arange(len(path) // 10, len(path))
    x = np.log(t) - np.log(t).mean()
    return (x @ np.log(path[t])) / (x @ x)


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        (0.5, 1.0, 1),
        (0.5, 2.0, 1),
        (0.3, 0.9, 0.5),
        (0.8, 2.0, 1),
        (0.5, 0.2, 1),
        (0.5, 0.5, 1),
        (1, 1.0, 1),
        (1, 2.0, 1),
        (1, 2.5, 1),
        (1, 3.0, 1),
        (1, 4.0, 1),
        (1, 0.5, 1),
        (1, 1.8, 0.6),
        (1, 4.0, 0.6),
        (2.0, 3.0, 1),
    ],
)
def test_late_slopes_of_polynomial_schedules(a, b, c, x64):
    """CON-8: slope of the recursion from 1e4 to 1e5 rounds against the table, within the stated margin."""
    found = slope_of(late(a, b, c))
    if a > 1:
        assert abs(found) < 2e-3
        return
    predicted = contamination_schedules.late_slope(polynomial(a, b, c), LONG)
    assert abs(found - float(predicted.values)) <= float(predicted.margin) + 1e-3
    assert float(predicted.margin) < 0.15


@pytest.mark.parametrize(
    ("a", "b", "c", "id"),
    [
        (0.5, 1.0, 1.0, "CON-8/share"),
        (0.3, 2.0, 0.5, "CON-8/share"),
        (1.0, 2.0, 1.0, "CON-8/harmonic"),
        (1.0, 1.5, 0.6, "CON-8/harmonic"),
        (1.0, 3.0, 1.0, "CON-8/harmonic"),
        (0.5, 0.5, 1.0, "CON-8/balance"),
        (1.0, 1.0, 1.0, "CON-8/balance"),
        (0.5, 0.1, 0.7, "CON-8/collapse"),
        (1.0, 0.2, 1.0, "CON-8/collapse"),
    ],
)
def test_late_risks_of_polynomial_schedules(a, b, c, id, x64):
    """CON-8: constants, over the later half of 1e3 and 1e5 rounds, within the stated margin, which shrinks."""
    margins = []
    for rounds in (1000, LONG):
        predicted = get(id).predict(polynomial(a, b, c), rounds)
        found = late(a, b, c)[rounds // 2 + 1 : rounds + 1].mean()
        assert abs(found - float(predicted.values)) <= float(predicted.margin) * (1 + 1e-9), (found, predicted)
        margins.append(float(predicted.margin / predicted.values))
    assert margins[1] < margins[0]
    assert margins[1] < 0.25


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0])
def test_late_slopes_of_aggregation(share, x64):
    """CON-12: the phase change at one half."""
    found = late(0, 0, share, 20.0, "accumulate")
    predicted = contamination_policies.kept_slope(keeping(share, 20.0), LONG)
    assert abs(slope_of(found) - float(predicted.values)) <= float(predicted.margin) + 1e-3
    if share >= 0.5:
        law = contamination_policies.kept_late_risk(keeping(share, 20.0), LONG)
        assert abs(found[LONG // 2 + 1 :].mean() - float(law.values)) <= float(law.margin)


def test_no_real_data_and_all_data_kept_ends_below_its_bound(x64):
    """CON-12/none: the bound is the limit; for n_0 = n it is one minus a sine over its argument."""
    for first, size in ((20.0, 20.0), (5.0, 40.0), (2.0, 1.0), (100.0, 3.0)):
        spec = ContaminationSpec([0.5, 0.5], real_fraction=0.0, size=size, first_size=first, regime="accumulate")
        path, bound = (
            curve("CON-11", LONG)(spec),
            contamination_policies.kept_risk_bound(spec, 0).values[0],
        )
        assert float(path[-1]) < float(bound) < 0.5
        assert float(path[-1]) == pytest.approx(float(bound), rel=1e-3)
        if first == size:
            root = np.pi / np.sqrt(size)
            assert float(bound) == pytest.approx(0.5 * (1 - np.sin(root) / root), rel=1e-12)


def two_token(size, share, p):
    """Stationary law of the number of a token in rounds of ``size``, from its transition matrix."""
    from scipy import stats

    counts = np.arange(size + 1)
    matrix = stats.binom.pmf(counts[None], size, (share * p + (1 - share) * counts / size)[:, None])
    system = np.vstack([matrix.T - np.eye(size + 1), np.ones(size + 1)])
    return np.linalg.lstsq(system, np.r_[np.zeros(size + 1), 1.0], rcond=None)[0]


@pytest.mark.parametrize(
    ("size", "share", "p"), [(100, 0.02, 0.02), (200, 0.01, 0.05), (150, 0.03, 0.3), (100, 0.04, 0.1)]
)
def test_stationary_law_against_the_exact_two_token_chain(size, share, p, x64):
    """CON-14: variance, fourth moment and absence within their margins."""
    law, x = two_token(size, share, p), np.arange(size + 1) / size
    spec = ContaminationSpec([1 - p, p], real_fraction=share, size=float(size))
    for id, right in (
        ("CON-14", law @ (x - p) ** 2),
        ("CON-14/fourth", law @ (x - p) ** 4),
        ("CON-14/absence", law[0]),
    ):
        found = get(id).predict(spec, 0)
        assert abs(float(found.values[1]) - right) <= float(found.margin[1]) * (1 + 1e-6), (
            id,
            float(found.values[1]),
            right,
        )


# what is not covered


@pytest.mark.parametrize(
    ("id", "fields", "tells"),
    [
        ("CON-1", {"regime": "accumulate"}, "CON-11"),
        ("CON-1", {"real": "anchor"}, "CON-13"),
        ("CON-1", {"size_law": "poisson"}, "CON-16/random"),
        ("CON-1", {"smoothing": 1.0}, "CON-18"),
        ("CON-1", {"features": [1.0, 0.0]}, "CON-17"),
        ("CON-1", {"truth": [[0.5, 0.5]] * 2, "contexts": [0.5, 0.5]}, "CON-16"),
        ("CON-3", {}, "CON-1"),
        ("CON-4", {"real_power": 0.5}, "CON-1"),
        ("CON-4/limit", {"size": [10.0, 20.0]}, "CON-1"),
        ("CON-5/never", {"size": 40.0}, "CON-5"),
        ("CON-8", {"real_fraction": [0.1, 0.2]}, "CON-1"),
        ("CON-8", {"real_fraction": 0.0}, "CON-3"),
        ("CON-8/share", {"real_power": 1.0}, "real_power < 1"),
        ("CON-8/harmonic", {"real_power": 1.0, "size_power": 4.0}, "CON-8"),
        ("CON-8/balance", {"real_power": 0.5}, "real_power = size_power"),
        ("CON-8/collapse", {"size_power": 1.0}, "above size_power"),
        ("CON-8/summable", {"real_power": 1.0}, "above 1"),
        ("CON-10", {"real_fraction": 0.0}, "real data"),
        ("CON-11", {}, "CON-1"),
        ("CON-12", {"regime": "accumulate", "size_power": 1.0}, "CON-1"),
        ("CON-12/constant", {"regime": "accumulate", "real_fraction": 0.3}, "CON-12"),
        ("CON-12/none", {"regime": "accumulate"}, "CON-11"),
        ("CON-13", {}, "CON-1"),
        ("CON-14", {"real_fraction": 0.0}, "CON-3"),
        ("CON-15", {"truth": [1.0, 0.0]}, "without zeros"),
        ("CON-16", {}, "CON-1"),
        ("CON-16/random", {}, "CON-1"),
        ("CON-17", {}, "CON-1"),
        ("CON-17/limit", {"features": [1.0, 0.0], "real_fraction": 0.0}, "real data"),
        ("CON-18", {"regime": "accumulate"}, "replace"),
    ],
)
def test_other_chains_are_refused_with_what_covers_them(id, fields, tells):
    with pytest.raises(RegimeError, match=f"^{id} .*{tells}"):
        get(id).predict(ContaminationSpec(**{"truth": [0.5, 0.5]} | fields), 3)


def test_generation_zero_is_the_first_model(x64):
    for result in all_results("contamination"):
        if result.curve:
            spec = ContaminationSpec(**result.example)
            assert result.predict(spec, 0).values.shape[0] == 1
    assert float(contamination.relaxation(dataclasses.replace(TWO, real_fraction=0.01, size=100.0))) == pytest.approx(
        33.3, rel=0.01
    )


def test_infeasible_targets_are_infinite(x64):
    """CON-6: a round cannot cut the risk below (1 - alpha)^2 times the former one."""
    spec = ContaminationSpec([0.5, 0.5], real_fraction=0.5)
    found = improvement.designed_sizes(spec, 2, effective_size=jnp.array([10.0, 39.9, 160.0])).values
    assert np.isfinite(found[1])
    assert np.isinf(found[2])
