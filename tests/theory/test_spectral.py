"""Every result of truncated diffusion: brute-force references in 30 digits, three ways to each mode, limits, slopes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from collapse_jax.design import optimal_schedule
from collapse_jax.errors import RegimeError, SpecError
from collapse_jax.results import all_results, get
from collapse_jax.specs.mixture import Mixture
from collapse_jax.specs.spectral import PROBES, SpectralSpec
from collapse_jax.theory import spectral, spectral_bounds, spectral_laws, spectral_schedules
from collapse_jax.theory.spectral_rounds import affine_path, age_rule, gain_path, kept, loss_path, spread_of_scales
from collapse_jax.trajectory import accuracy
from tests.theory import spectral_reference as reference

pytestmark = pytest.mark.usefixtures("quick_compilation")

RESULTS = [result.id for result in all_results("spectral")]
CURVES = [result.id for result in all_results("spectral") if result.curve]
SPACE = ("SP-7", "SP-7/mean", "SP-16", "SP-16/denoised", "SP-18")  # whose examples have three dimensions
ROUNDS = 6


def single(value):
    """A float32 number, so that both precisions are asked the same question."""
    return float(np.float32(value))


def example(id, **changes):
    return SpectralSpec(**{**get(id).example, **changes})


def values_of(id, spec, generations=ROUNDS):
    return get(id).predict(spec, generations).values


@functools.cache
def compiled(id, generations=ROUNDS):
    """The values as one compiled function of the spec, shared by all specs of one structure."""
    return jax.jit(lambda spec: values_of(id, spec, generations))


def stack(specs):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *specs)


def close(actual, expected, scale=1.0):
    """Equal up to the accuracy that theory promises, relative to the larger of the value and 1 (modes may cancel)."""
    actual, expected = np.asarray(actual), np.asarray(expected, float)
    tolerance = scale * accuracy(actual.dtype)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# the register


def test_paper_and_project_are_told_apart():
    """Every formula and constant is derived here; three statements name the claim of the paper that they sharpen."""
    for result in all_results("spectral"):
        assert (result.tag, result.citation) == ("derived", "collapse_jax")
        if result.base in ("SP-1", "SP-2", "SP-3"):
            assert "claim of arXiv:2606.13796" in result.statement
            assert "not the paper's" in " ".join(result.function.__doc__.split())
        else:
            assert "(derived" in result.function.__doc__


# against the definition


def one_dimensional(id):
    """Spec fields of the accuracy cases: those of the example, in one dimension, each a float32 number."""
    fields = dict(get(id).example)
    if id in SPACE:
        fields |= spectral.SKEW | {"direction": None}
    if id == "SP-16":
        fields |= {"weights": (0.5, 0.5), "means": (-0.75, 1.25), "covariances": (0.25, 0.5)}
    if id == "SP-16/denoised":
        fields |= {"weights": (1.0,), "means": (0.5,), "covariances": (2.0,)}
    # weights whose sum is 1 in single precision too
    fields |= {name: single(fields[name]) for name in ("error_scale", "error_power") if name in fields}
    fields["weights"] = {1: (1.0,), 2: (0.625, 0.375), 3: (0.5, 0.3125, 0.1875)}[len(fields["weights"])]
    for name in ("means", "covariances"):
        fields[name] = tuple(single(v) for v in fields[name])
    return fields


NO_SHARE = ("SP-10", "SP-10/w2", "SP-10/kl", "SP-14", "SP-16/denoised")
WITH_SHARE = ("SP-9/small", "SP-15/fourier", "SP-11/slow", "SP-11/geometric")


def cases(id):
    """Real shares and truncations of one shape, stacked into one batch; the first is the example's."""
    fields = one_dimensional(id)
    shares = (0.0,) if id in NO_SHARE else (0.0, 0.25, 1.0)
    shares = shares[1:] if id in WITH_SHARE else shares
    shares = (0.5, single(0.9)) if id == "SP-11/geometric" else shares
    times = fields.get("truncation", 0.05)
    if np.ndim(times):
        times = [tuple(single(factor * time) for time in times[:ROUNDS]) for factor in (1.0, 0.01)]
    else:
        times = [single(time) for time in (times, 0.003, 0.9)]
    return [SpectralSpec(**fields | {"real_fraction": share, "truncation": time}) for share in shares for time in times]


EDGE_SHARES, EDGE_TIMES = (0.0, 1e-6, 0.5, 1.0), (0.0, 1e-6, 0.3, 20.0)
NO_LIMIT = (*NO_SHARE, "SP-3", "SP-4", "SP-6", "SP-11", "SP-11/bound", "SP-15", "SP-15/ve")


def at_limits(id):
    """The example at every corner of real share and truncation that the result covers."""
    spec = cases(id)[0]
    shares = [0.0] if id in NO_SHARE else [share for share in EDGE_SHARES if share > 0 or id not in WITH_SHARE]
    if spec.truncation.ndim:
        times = [spec.truncation * factor for factor in (1.0, 1e-6, 100.0)]
        shares = [share for share in shares if share >= 0.5] if id == "SP-11/geometric" else shares
    else:
        times = [0.99 if time > 1 and spec.process == "rectified_flow" else time for time in EDGE_TIMES]
    return [
        dataclasses.replace(spec, real_fraction=share, truncation=time)
        for share in shares
        for time in times
        # without truncation rectified flow has no reference law, and without both there is no limit
        if not (np.ndim(time) == 0 and time == 0 and (id == "SP-15" or (share == 0 and id not in NO_LIMIT)))
    ]


@functools.cache
def expected(id):
    with jax.enable_x64(False):
        return [np.array(reference.predictions(id, spec, ROUNDS), float) for spec in cases(id)]


def holds(id, specs, found):
    for spec, actual, right in zip(specs, found, expected(id), strict=True):
        assert actual.shape == right.shape
        where = f"{id} at real share {spec.real_fraction}, truncation {spec.truncation}"
        tolerance = accuracy(actual.dtype) * max(1.0, np.abs(right).max(initial=0))  # modes may cancel
        np.testing.assert_allclose(actual, right, rtol=accuracy(actual.dtype), atol=tolerance, err_msg=where)


@pytest.mark.parametrize("id", RESULTS)
def test_values_in_single_precision_are_right_and_gradients_finite(id):
    """1e-5 against 30 digits, under jit and vmap over every leaf; derivatives of every value after every field exist.

    Gradients also at the limits: no truncation, no real data, only real data, only noise.
    """
    specs, corners = cases(id), at_limits(id)

    @jax.jit
    @jax.vmap
    def program(spec):
        def total(spec):  # a derivative of one value that is not finite makes that of the sum so
            values = values_of(id, spec)
            return values.sum(), values

        derivative, values = jax.grad(total, has_aux=True)(spec)
        return values, derivative

    found, derivative = program(stack(specs + corners))
    assert found.dtype == np.float32
    holds(id, specs, np.asarray(found)[: len(specs)])
    for field in ("weights", "means", "covariances", "real_fraction", "truncation", "rate", "error_scale"):
        leaf = np.asarray(getattr(derivative, field))
        finite = np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1)
        bad = [(specs + corners)[i] for i in np.flatnonzero(~finite)]
        assert not bad, (field, [(float(spec.real_fraction), np.asarray(spec.truncation)) for spec in bad])


@pytest.mark.parametrize("id", RESULTS)
def test_values_in_double_precision_are_right_and_gradients_the_slopes(id, x64):
    """1e-12 against 30 digits; the derivative along a direction in all fields against a fourth-order difference."""
    specs = cases(id)
    spec = next((spec for spec in specs if 0 < float(spec.real_fraction) < 1), specs[0])
    fields = ["weights", "means", "covariances", "truncation", "rate"]
    fields += ["real_fraction"] * (id not in NO_SHARE)

    def way(path, leaf):
        wave = 0.3 + 0.1 * jnp.cos(jnp.arange(leaf.size, dtype=float).reshape(leaf.shape) + len(path[0].name))
        return leaf * wave if path[0].name in fields else 0 * leaf

    tangent = jax.tree_util.tree_map_with_path(way, spec)
    h = 1e-3
    shifted = [
        jax.tree.map(lambda leaf, way, t=t: leaf + t * h * way, spec, tangent) for t in (-2.0, -1.0, 0.0, 1.0, 2.0)
    ]

    @jax.jit
    @jax.vmap
    def program(spec):
        return jax.jvp(lambda spec: values_of(id, spec), (spec,), (tangent,))

    values, slopes = (np.asarray(out) for out in program(stack(specs + shifted)))
    assert values.dtype == np.float64
    holds(id, specs, values[: len(specs)])
    values, slope = values[len(specs) :], slopes[-3]
    difference = (8 * (values[3] - values[1]) - (values[4] - values[0])) / (12 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=1e-8 * (1 + np.abs(values).max()))


@pytest.mark.parametrize("id", CURVES)
def test_curve_has_one_entry_more_than_generations(id):
    """Also for none at all; that entry 0 is the data is seen above."""
    for generations in (0, 1, 4):
        shape = jax.eval_shape(lambda spec, rounds=generations: values_of(id, spec, rounds), example(id)).shape
        assert shape[0] == generations + 1


@pytest.mark.parametrize("order", [0, 1, 2, 7.5, 64])
def test_gain_keeps_its_digits(order, precision):
    """Relative accuracy from no truncation to nothing but noise, from no real data to nothing else."""
    for share in (0.0, 1e-6, 0.1, 1.0):
        for time in (0.0, 1e-6, 0.05, 1.0):
            if share == time == 0:
                continue
            spec = SpectralSpec([1.0], [0.0], [1.0], real_fraction=single(share), truncation=single(time))
            right = reference.gains(spec, [reference.mpf(order)])[0]
            actual = np.asarray(spectral.gain(order, spec))
            assert actual == pytest.approx(float(right), rel=accuracy(actual.dtype) * max(1, order * time), abs=1e-37)


def test_long_annealing_keeps_its_digits(precision):
    """What 2000 rounds leave of a mode, to relative accuracy, though it is ten thousand times smaller than the mode."""
    times = np.float32(0.01) * np.arange(1, 2001, dtype=np.float32) ** np.float32(-1.0)
    spec = SpectralSpec(**spectral.DATA, real_fraction=0.125, truncation=times)
    left, scale = reference.mpf(0), [reference.mpmath.exp(-3 * reference.exact(time)) for time in times]
    for factor in scale:
        left = factor * left * reference.mpf("0.875") - (1 - factor)
    found = np.asarray(loss_path(spec, 2000, np.array([3])))[-1, 0]
    assert found == pytest.approx(float(left), rel=accuracy(found.dtype))


def test_what_is_nearly_lost_keeps_its_digits(precision):
    """A gain that falls by e^-10 a round, and a distance that starts at 1e-6, to relative accuracy."""
    spec = SpectralSpec([1.0], [0.0], [1.0], real_fraction=0.0, truncation=0.5)
    path = np.asarray(gain_path(spec, 8, np.array([1, 20])), float)
    logs = -0.5 * np.arange(9)[:, None] * np.array([1, 20])
    assert (np.abs(np.log(path) - logs) <= accuracy(spec.weights.dtype) * np.maximum(1, -logs)).all()
    for time in (1e-6, 1e-3):
        spec = SpectralSpec([1.0], [0.0], [1.0], real_fraction=0.125, truncation=single(time))
        right = reference.mpmath.sqrt(reference.limit_losses(spec)[0])
        assert float(spread_of_scales(spec)) == pytest.approx(float(right), rel=accuracy(spec.weights.dtype))


def test_long_denoising_keeps_its_digits(precision):
    """A thousand rounds that each take 1e-4 of the level, whatever a change is in units of rounding."""
    program = jax.jit(lambda spec: values_of("SP-16/denoised", spec, 1000))
    for time in (2e-4, 2.3e-4, 2.6e-4, 2.9e-4):
        fields = {"weights": [1.0], "means": [0.0], "covariances": [4.0], "real_fraction": 0.0}
        spec = SpectralSpec(**fields, truncation=single(time))
        found = np.asarray(program(spec))[-1, 0]
        right = float(reference.predictions("SP-16/denoised", spec, 1000)[-1][0])
        assert found == pytest.approx(right, rel=accuracy(found.dtype))


def test_fourier_gain_of_a_small_share_keeps_its_digits(precision):
    share, noise = 2.0**-10, single(0.0123)
    spec = SpectralSpec([1.0], [0.0], [1.0], process="ve", real_fraction=share, truncation=noise)
    found = np.asarray(values_of("SP-15/fourier", spec))[:, 0]
    for frequency, actual in zip(reference.FREQUENCIES, found, strict=True):
        left = reference.mpmath.exp(-((noise * frequency) ** 2) / 2)
        right = share * left / (1 - (1 - share) * left) * reference.mpmath.exp(-(frequency**2) / 2)
        assert actual == pytest.approx(float(right), rel=accuracy(found.dtype))


def test_modes_to_order_64_in_single_precision():
    """The orthonormal recurrence against 30 digits, on the scale of its parts."""
    law = Mixture([0.25, 0.75], [-1.5, 0.5], [0.0625, 2.0])
    actual = np.asarray(spectral.mixture_modes(law, 64), float)
    parts = [
        np.array(reference.modes([(w, reference.mpf(m), reference.mpf(v))], 64), float)
        for w, m, v in ((1, -1.5, 0.0625), (1, 0.5, 2.0))
    ]
    size = 0.25 * np.abs(parts[0]) + 0.75 * np.abs(parts[1])
    assert actual.dtype == float
    assert (np.abs(actual - 0.25 * parts[0] - 0.75 * parts[1]) <= 1e-5 * np.maximum(size, 1e-2)).all()


# three ways to a mode


def quadrature(law, order, unit=1.0):
    """Hermite coefficients of a one-dimensional mixture by integrating its density."""
    x = np.linspace(-14, 14, 20001)
    density = np.exp(np.asarray(law.log_density(jnp.asarray(x)[:, None])))
    basis = [special.eval_hermitenorm(m, x / np.sqrt(unit)) / np.sqrt(special.factorial(m)) for m in range(order + 1)]
    return np.array(basis) @ density * (x[1] - x[0])


PROCESSES = {"vp": 0.1, "rectified_flow": 0.4}
STARTS = [None, ([0.5, 0.5], [-2.0, 1.0], [0.5, 0.25])]


@pytest.mark.parametrize("process", PROCESSES)
def test_recursion_law_and_quadrature_give_the_same_modes(process, x64):
    spec = SpectralSpec(
        **spectral.DATA, real_fraction=0.3, truncation=PROCESSES[process], process=process, order=5, rate=0.7
    )
    unit = float(spec.reference_var)
    path = spectral.modes(spec, 4).values
    for generation in (0, 1, 4):
        law = spectral.generated_law(spec, generation)
        scaled = law.smooth(unit**-0.5, 0.0)
        np.testing.assert_allclose(spectral.mixture_modes(scaled, 5), path[generation], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(quadrature(law, 5, unit), path[generation], rtol=1e-9, atol=1e-10)
    for which, id in (("generated", "SP-6/limit"), ("pool", "SP-6/pool")):
        scaled = spectral.limit_law(spec, which).smooth(unit**-0.5, 0.0)
        np.testing.assert_allclose(spectral.mixture_modes(scaled, 5), values_of(id, spec), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("start", STARTS[1:])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_law_from_another_start_forgets_it_geometrically(start, share, x64):
    """The mode gap of any start falls by (1 - alpha) a^m a round; pool and generated law are one mixing apart."""
    spec, start = SpectralSpec(**spectral.DATA, real_fraction=share, truncation=0.2), Mixture(*start)
    gain = spectral.gain(np.arange(5), spec) * spectral_laws.line_modes(spec, 4)
    first = spectral.mixture_modes(start, 4) - gain
    for generation in (0, 1, 3):
        law = spectral.generated_law(spec, generation, start=start)
        factor = ((1 - share) * np.exp(-0.2 * np.arange(5))) ** generation
        np.testing.assert_allclose(spectral.mixture_modes(law, 4) - gain, factor * first, atol=1e-13)
        pool = spectral.mixture_modes(spectral.pool_law(spec, generation, start=start), 4)
        mixed = share * spectral_laws.line_modes(spec, 4) + (1 - share) * spectral.mixture_modes(law, 4)
        np.testing.assert_allclose(pool, mixed, atol=1e-13)
        assert float(law.weights.sum()) == pytest.approx(1, abs=1e-14)


def test_limit_is_the_end_of_the_curve(x64):
    for process, time in (("ve", 0.4), ("rectified_flow", 0.3)):
        spec = SpectralSpec(**spectral.DATA, real_fraction=0.5, truncation=time, process=process, order=4)
        np.testing.assert_allclose(compiled("SP-4", 40)(spec)[-1], compiled("SP-5")(spec), atol=1e-11)
        law = jax.jit(spectral.limit_law)(spec)
        np.testing.assert_allclose(law.cdf(jnp.asarray(PROBES)), compiled("SP-5")(spec), atol=1e-12)


def test_schedule_of_equal_times_is_no_schedule(x64):
    spec = SpectralSpec(**spectral.DATA, real_fraction=0.3, truncation=0.1)
    schedule = dataclasses.replace(spec, truncation=[0.1] * ROUNDS)
    for id in ("SP-4", "SP-6"):
        close(compiled(id)(schedule), compiled(id)(spec))
    assert len(spectral.generated_law(schedule, 5).weights) == 15


def test_multi_index_modes_agree_with_projections_and_products(x64):
    law = SpectralSpec(**spectral.SPACE).data
    indices, values = spectral.mixture_modes_multi(law, 4)
    assert len(indices) == 35
    table = dict(zip(map(tuple, indices.tolist()), np.asarray(values), strict=True))
    for axis in range(3):
        line = spectral.mixture_modes(law.project(jnp.eye(3)[axis]), 4)
        alone = [table[tuple(m * (i == axis) for i in range(3))] for m in range(5)]
        np.testing.assert_allclose(alone, line, atol=1e-14)
    # he_m of a unit projection is the multinomial sum of products
    w = np.array(spectral.SPACE["direction"])
    total = sum(
        np.sqrt(special.factorial(3) / np.prod(special.factorial(np.array(n)))) * np.prod(w ** np.array(n)) * value
        for n, value in table.items()
        if sum(n) == 3
    )
    np.testing.assert_allclose(total, spectral.mixture_modes(law.project(jnp.asarray(w)), 3)[3], atol=1e-14)


def test_limit_of_projections_is_the_projection_of_the_limit(x64):
    """SP-7: moments in three dimensions against the law itself and the modes along a direction."""
    spec = SpectralSpec(**spectral.SPACE)
    law = spectral.limit_law(spec)
    raw = law.covariance + jnp.outer(law.mean, law.mean)
    np.testing.assert_allclose(values_of("SP-7", spec), raw, atol=1e-11)
    np.testing.assert_allclose(values_of("SP-7/mean", spec), law.mean, atol=1e-11)
    np.testing.assert_allclose(
        spectral.mixture_modes(law.project(spec.axis), 4), values_of("SP-6/limit", spec), atol=1e-10
    )
    centred = example("SP-16")
    spectrum = np.linalg.eigvalsh(spectral.limit_law(centred).covariance)[::-1]
    np.testing.assert_allclose(values_of("SP-16", centred), spectrum, atol=1e-11)


# sums over ages


def test_age_rule_sums_every_mixture_of_ages(x64):
    """Against the plain sum of tens of thousands of ages, narrow data, small truncation and small real share."""
    _, counts = age_rule()
    assert counts[:32].tolist() == [1.0] * 32
    assert counts.sum() == pytest.approx(2.0**40, rel=1e-13)
    for width in (1e-2, 0.3):
        for share in (1e-3, 0.03, 0.5):
            for time in (0.0, 1e-5, 1e-3, 0.1):
                fields = {"weights": [0.5, 0.5], "means": [-1.5, 0.3], "covariances": [width**2] * 2}
                spec = SpectralSpec(**fields, real_fraction=share, truncation=time)
                j = np.arange(1, int(36 / share) + 2)
                weights = share * np.exp((j - 1) * np.log1p(-share))
                mean, spread = np.exp(-j * time), np.sqrt(1 + np.exp(-2 * j * time) * (width**2 - 1))
                off = np.array(PROBES)[:, None, None] - mean * np.array([-1.5, 0.3])[:, None]
                right = special.ndtr(off / spread).mean(axis=1) @ weights
                np.testing.assert_allclose(
                    values_of("SP-5", spec), right, atol=2e-12, err_msg=f"{width} {share} {time}"
                )


def test_condensed_limit_law_is_the_limit_law(x64):
    """More ages than components are kept, or a real share not known yet: the quadrature stands for the sum."""
    spec = SpectralSpec(**spectral.DATA, real_fraction=2e-4, truncation=1e-4, order=4)
    law = spectral.limit_law(spec)
    assert len(law.weights) < 4096
    np.testing.assert_allclose(spectral.mixture_modes(law, 4), values_of("SP-6/limit", spec), atol=1e-12)
    spec = dataclasses.replace(spec, real_fraction=0.2, truncation=0.1)
    traced = jax.jit(lambda spec: spectral.limit_law(spec, "pool").mean)(spec)
    np.testing.assert_allclose(traced, spectral.limit_law(spec, "pool").mean, atol=1e-12)


def test_without_real_data_the_limit_is_the_reference_law(x64):
    for process, time in (("vp", 0.1), ("rectified_flow", 0.5)):
        spec = SpectralSpec(**spectral.DATA, real_fraction=0.0, truncation=time, process=process)
        law = spectral.limit_law(spec)
        assert (law.mean.tolist(), len(law.weights[law.weights > 0])) == ([0.0], 1)
        assert float(law.covariance[0, 0]) == pytest.approx(float(spec.reference_var))
        np.testing.assert_allclose(compiled("SP-5")(spec), law.cdf(jnp.asarray(PROBES)), atol=1e-15)


# anchors


def densities(spec, laws, x):
    return [np.exp(np.asarray(law.log_density(jnp.asarray(x)[:, None]))) for law in laws]


def test_anchors_of_the_sheet(x64):
    """Gains at kappa = 1, t_0 = .05, alpha = .1; total variation of limit and one round; variance added by VE."""
    spec = SpectralSpec(**spectral.DATA, real_fraction=0.1, truncation=0.05)
    assert [round(float(spectral.gain(m, spec)), 4) for m in (1, 3)] == [0.6611, 0.3819]
    assert round(float(spectral.pool_gain(3, spec)), 4) == 0.4437
    x = np.linspace(-9, 9, 3001)
    real, limit, once = densities(spec, [spec.data, spectral.limit_law(spec), spectral.generated_law(spec, 1)], x)
    assert [round(float(np.abs(p - real).sum() * 0.006 / 2), 3) for p in (limit, once)] == [0.383, 0.227]
    ve = SpectralSpec(**spectral.DATA, real_fraction=0.1, truncation=0.15, process="ve")
    assert float(values_of("SP-15/ve", ve, 400)[-1]) == pytest.approx(0.225, rel=1e-12)


def test_accumulated_drift_is_a_ratio_of_gamma_functions_and_a_power(x64):
    spec = SpectralSpec(**spectral.SKEW, real_fraction=0.0, truncation=0.2, regime="accumulate", order=3)
    path = np.asarray(values_of("SP-14", spec, 2000))
    left = np.exp(-0.2 * np.arange(4))
    rounds = np.arange(2001)[:, None]
    logs = special.gammaln(rounds + 1 + left) - special.gammaln(1 + left) - special.gammaln(rounds + 2)
    np.testing.assert_allclose(path, np.exp(logs) * path[0], rtol=1e-11)
    late = 2000.0 ** -(1 - left) / special.gamma(1 + left)
    np.testing.assert_allclose(path[-1] / path[0], late, rtol=1e-3)


def test_small_truncation_bound_exceeds_the_asymptote_by_its_factor(x64):
    for share in (0.1, 0.5, 1.0):
        spec = example("SP-9/small", real_fraction=share, truncation=1e-9)
        ratio = float(values_of("SP-9", spec) / values_of("SP-9/small", spec))
        assert ratio == pytest.approx(np.sqrt(2 - share), rel=1e-7)


def test_asymptotic_laws_are_within_their_margins(x64):
    """SP-11 against the exact modes, SP-17 against the exact gain, over schedules and shares."""
    slow = [spectral_schedules.power_schedule(0.2, power, 60) for power in (0.1, 0.5, 1.0)]
    even = [spectral_schedules.geometric_schedule(0.2, ratio, 60) for ratio in (0.85, 0.95, 0.99)]
    for id, times in (("SP-11/slow", slow), ("SP-11/geometric", even)):
        within(
            id,
            [example(id, real_fraction=share, truncation=time) for share in (0.2, 0.5, 0.9) for time in times],
            lambda spec: loss_path(spec, 60, np.arange(spec.order + 1))[-1] * spectral_laws.line_modes(spec),
        )
    small = [(0.01, 0.02), (0.1, 0.1), (0.3, 0.01)]
    specs = [example("SP-17", real_fraction=share, truncation=time) for share, time in small]
    within("SP-17", specs, lambda spec: values_of("SP-6/limit", spec))


def within(id, specs, exact):
    @jax.jit
    @jax.vmap
    def both(spec):
        prediction = get(id).predict(spec, 60)
        return jnp.abs(prediction.values - exact(spec)), prediction.margin

    error, margin = both(stack(specs))
    assert (error <= margin + 1e-15).all(), id
    assert (error[:, 1:] > margin[:, 1:] / 50).any(), f"the margin of {id} says nothing"


def test_slow_geometric_limit_at_the_edge(x64):
    """r = 1 - alpha: the error is K rounds' worth, still -8 % away at K = 200 for alpha = .1, m = 3."""
    times = spectral_schedules.geometric_schedule(0.1, 0.9, 200)
    spec = SpectralSpec(**spectral.DATA, real_fraction=0.1, truncation=times)
    left = float(loss_path(spec, 200, np.array([3.0]))[-1, 0])
    assert left / (-3 * 0.1 / 0.9 * 200 * 0.9**200) - 1 == pytest.approx(-0.08, abs=0.005)


def test_fisher_information_of_narrow_and_wide_components(x64):
    """One Gaussian in closed form at any width; well-separated components add up."""
    for width, mean in ((1e-3, 0.5), (1.0, 0.0), (1.0, 2.0), (5.0, -3.0)):
        found = spectral_laws.fisher_information(Mixture([1.0], [mean], [width**2]))
        right = (1 - width**2) ** 2 / width**2 + mean**2
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-15)
    far = Mixture([0.25, 0.75], [-40.0, 40.0], [0.01, 4.0])
    parts = [99.0**2 / 100 + 1600, 9 / 4 + 1600]
    assert float(spectral_laws.fisher_information(far)) == pytest.approx(0.25 * parts[0] + 0.75 * parts[1], rel=1e-12)


# gradients


@pytest.mark.parametrize("id", ["SP-7", "SP-16", "SP-16/denoised"])
def test_gradients_in_three_dimensions(id):
    """Also of eigenvalues that coincide: white data."""
    spec = example(id)
    white = jnp.broadcast_to(jnp.eye(3), spec.covariances.shape)
    batch = stack([spec, dataclasses.replace(spec, means=0 * spec.means, covariances=white)])
    derivative = jax.jit(jax.vmap(jax.jacrev(lambda spec: values_of(id, spec, 2))))(batch)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(derivative))


def test_powers_of_the_share_have_their_slopes_at_both_ends():
    rounds = np.array([0.0, 1.0, 2.0, 5.0])
    for share, slope in ((0.0, -rounds), (1.0, [0.0, -1.0, 0.0, 0.0])):
        found = jax.jit(jax.jacrev(lambda share: kept(share, rounds)))(jnp.asarray(share))
        np.testing.assert_allclose(found, slope, atol=1e-6)


def test_no_rounds_are_a_path_too():
    start = jnp.array([2.0])
    assert affine_path(jnp.asarray(0.5), jnp.zeros((0, 1)), jnp.zeros((0, 1)), start).tolist() == [[2.0]]


# regimes that a result does not describe

SCHEDULE = (0.3, 0.2, 0.1, 0.1, 0.1, 0.1)
ELSEWHERE = {
    "accumulate": ({"regime": "accumulate", "real_fraction": 0.0, "truncation": 0.1}, "SP-14"),
    "schedule": ({"truncation": SCHEDULE}, "SP-11"),
    "ve": ({"process": "ve", "truncation": 0.1}, "SP-15"),
    "still": ({"real_fraction": 0.0, "truncation": 0.0}, "SP-4"),
    "diverges": ({"process": "ve", "real_fraction": 0.0, "truncation": 0.1}, "SP-15/ve"),
    "share": ({"real_fraction": 0.5}, "SP-6"),
    "flow": ({"process": "rectified_flow", "truncation": 0.1}, ""),
    "points": ({"covariances": (0.0, 0.1, 0.1)}, "SP-"),
}
LIMIT = ("accumulate", "schedule", "still", "diverges")
MODES = (*LIMIT, "ve")
REFUSED = {
    **dict.fromkeys(["SP-1", "SP-5", "SP-5/pool", "SP-8", "SP-8/w1", "SP-8/w2", "SP-12"], LIMIT),
    **dict.fromkeys(["SP-8/kl", "SP-8/chi2"], (*LIMIT, "points")),
    **dict.fromkeys(["SP-2", "SP-6/limit", "SP-6/pool", "SP-8/slope", "SP-9/moment", "SP-12/modes", "SP-13"], MODES),
    **dict.fromkeys(["SP-3", "SP-4"], ("accumulate",)),
    **dict.fromkeys(["SP-6", "SP-11"], ("accumulate", "ve")),
    "SP-9": (*MODES, "points"),
    "SP-9/small": (*MODES, "flow", "points"),
    **dict.fromkeys(["SP-10", "SP-10/w2"], ("accumulate", "ve", "share")),
    "SP-10/kl": ("accumulate", "ve", "share", "points"),
    "SP-11/bound": ("accumulate", "ve", "points"),
    "SP-11/slow": ("accumulate", "ve"),
    "SP-15/ve": ("accumulate", "flow"),
    "SP-15/fourier": ("accumulate", "flow", "diverges"),
    "SP-16/denoised": ("accumulate", "schedule", "ve", "share", "flow"),
    "SP-17": ("accumulate", "schedule", "flow"),
    "SP-19": ("accumulate", "ve", "flow"),
}


@pytest.mark.parametrize(("id", "case"), [(id, case) for id, cases in REFUSED.items() for case in cases])
def test_chain_that_a_result_does_not_describe_is_refused_in_one_line(id, case):
    changes, hint = ELSEWHERE[case]
    fields = spectral.DATA | {"order": 2, "error_scale": 0.1, "error_power": 1.0, "pool_size": 10, "real_fraction": 0.2}
    if id == "SP-16/denoised":
        fields |= {"weights": [1.0], "means": [0.0], "covariances": [1.0]}
    fields |= {"real_fraction": 0.0} if id in NO_SHARE else {}
    with pytest.raises(RegimeError, match=rf"^{get(id).base}\b") as refused:
        values_of(id, SpectralSpec(**fields | changes))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 160
    assert hint in str(refused.value) or id.startswith(("SP-11", "SP-19", "SP-16"))


MORE = [
    ("SP-2", {"order": 1}, "order to 2"),
    ("SP-13", {"real_fraction": 0.25, "pool_size": 10}, "whole number of real points, not 2.5"),
    ("SP-8/chi2", {"covariances": (9.0, 1.0, 1.0), "truncation": 2.0}, "infinite here"),
    ("SP-8/slope", {"means": (0.0, 0.0, 0.0), "covariances": (1.0, 1.0, 1.0)}, "differ from the prior"),
    ("SP-14", {"regime": "replace"}, "describes regime accumulate"),
    ("SP-15", {"process": "vp", "truncation": 0.1}, "describes process rectified_flow"),
    ("SP-15/ve", {"process": "vp"}, "describes process ve"),
    ("SP-16", {"means": (1.0, 0, 0, 1.0, 0, 0)}, "needs centred data"),
    (
        "SP-16/denoised",
        {"weights": (0.5, 0.5), "means": (0.0,) * 6, "covariances": (1.0, 1.0)},
        "describes one Gaussian",
    ),
    ("SP-11/slow", {"truncation": 0.1}, "describes a schedule"),
    ("SP-11/slow", {"real_fraction": 0.0}, "needs real_fraction > 0"),
    ("SP-11/geometric", {"truncation": (0.1, 0.05, 0.04, 0.01, 0.01, 0.01)}, "describes geometric schedules"),
    ("SP-11/geometric", {"real_fraction": 0.05}, "needs ratios r > 1 - real_fraction"),
    ("SP-19", {"error_scale": 0.0}, "needs error_scale > 0"),
    ("SP-18", {"process": "rectified_flow", "truncation": 0.0}, "needs truncation > 0"),
]


@pytest.mark.parametrize(("id", "changes", "message"), MORE)
def test_each_result_names_what_it_needs(id, changes, message):
    with pytest.raises(RegimeError, match=message):
        values_of(id, example(id, **changes))


def test_laws_refuse_what_they_are_not():
    spec = SpectralSpec(**spectral.DATA)
    with pytest.raises(RegimeError, match="generated and a law pool, not 'both'"):
        spectral.limit_law(spec, "both")
    with pytest.raises(RegimeError, match="ask SP-15/ve"):
        spectral.limit_law(dataclasses.replace(spec, process="ve", real_fraction=0.0))
    with pytest.raises(RegimeError, match="project the law"):
        spectral.mixture_modes(SpectralSpec(**spectral.SPACE).data, 2)
    with pytest.raises(SpecError, match="each of 3 rounds, got 2"):
        spectral.modes(dataclasses.replace(spec, truncation=[0.1, 0.1]), 3)


# the best schedule


def test_gradient_finds_a_schedule_that_no_search_beats(x64):
    """Against every constant, power and geometric schedule of a grid, and against moving any one round of it."""
    spec = SpectralSpec(**spectral.SMOOTH, real_fraction=0.3, error_scale=0.002, error_power=1.0)
    design = optimal_schedule(spec, 8)
    error = jax.jit(jax.vmap(lambda schedule: spectral_schedules.design_error(spec, schedule)))
    rounds, firsts = np.arange(1.0, 9), np.geomspace(0.01, 1, 40)[:, None]
    grid = [firsts * rounds**-power for power in (0.0, 0.1, 0.25, 0.5, 1.0)]
    grid += [firsts * ratio ** (rounds - 1) for ratio in (0.5, 0.8, 0.9, 0.95)]
    best = float(error(jnp.asarray(np.concatenate(grid))).min())
    found = float(design.error)
    assert found == pytest.approx(float(error(design.schedule[None])[0]), rel=1e-12)
    assert best * 0.98 < found <= best
    moved = np.asarray(design.schedule) * np.concatenate([1 + 0.02 * np.eye(8), 1 - 0.02 * np.eye(8)])
    assert found <= float(error(jnp.asarray(moved)).min())
    assert float(design.floor) == float(design.schedule.min())
    # of the order that balances truncation and error
    assert abs(np.log(float(design.floor)) - float(values_of("SP-19", spec))) < np.log(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"rounds": 0}, "rounds must be"), ({"steps": 0}, "steps must be"), ({"rate": -1.0}, "rate must be")],
)
def test_design_refuses_bad_sizes(arguments, message):
    spec = SpectralSpec(**spectral.SMOOTH, error_scale=0.002, error_power=1.0)
    with pytest.raises(SpecError, match=message):
        optimal_schedule(spec, **{"rounds": 5} | arguments)


def test_moment_bound_is_better_for_rough_data_and_the_other_for_smooth():
    rough, smooth = example("SP-9"), example("SP-9/small")
    assert float(spectral_bounds.moment_bound(rough).values) < float(spectral_bounds.fisher_bound(rough).values)
    assert float(spectral_bounds.fisher_bound(smooth).values) < float(spectral_bounds.moment_bound(smooth).values)
