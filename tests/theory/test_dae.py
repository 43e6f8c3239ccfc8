"""Every result of the denoising-autoencoder chain: a ladder from generation 0 to 50-digit references and gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import theory
from collapse_jax.errors import RegimeError
from collapse_jax.results import all_results, get
from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory import dae, dae_mixed, dae_variants
from collapse_jax.trajectory import accuracy
from tests.theory import dae_reference as reference

RESULTS = [result.id for result in all_results("dae")]
CURVES = [result.id for result in all_results("dae") if result.curve]
SHARED = ("DAE-10", "DAE-12", "DAE-13", "DAE-13/chain", "DAE-13/curve", "DAE-14", "DAE-14/border")  # know a real share
LARGEST_RATIO = {"DAE-7": 2.0, "DAE-8": 2.0, "DAE-8/integral": 1.5}
FIXED_RATIO = {"DAE-18": 0.0, "DAE-19": 1.0, "DAE-15/law": 1.0}

# from 1e-6 to 1e4, each exactly a float32 number, so that both precisions are asked the same question
SNRS = tuple(float(np.float32(v)) for v in (1e4, 100.0, 7.0, 3.0, 1.0, 0.3, 1e-3, 1e-6))
RATIOS = tuple(float(np.float32(v)) for v in (0.0, 0.1, 1.0, 1.9, 2.0, 2.5, 5.0))
SHARES = tuple(float(np.float32(v)) for v in (0.0, 1e-6, 0.1, 0.5, 1.0))
LONG = 1000


def example(id, **changes):
    return DAESpec(**{**get(id).example, **changes})


def values_of(id, spec, generations=12):
    return get(id).predict(spec, generations).values


@functools.cache
def compiled(id, generations):
    """The values as one compiled function of the spec, shared by all specs of one structure."""
    return jax.jit(lambda spec: values_of(id, spec, generations))


def close(actual, expected, scale=1.0):
    """Equal up to the accuracy that theory promises."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    tolerance = scale * accuracy(actual.dtype)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * 1e-3)


# generation 0, shapes, restarts


@pytest.mark.parametrize("id", CURVES)
def test_curve_has_one_entry_more_than_generations_and_does_not_depend_on_their_number(
    id, precision, quick_compilation
):
    spec = example(id)
    long, none = values_of(id, spec, 9), values_of(id, spec, 0)
    assert (len(long), len(none)) == (10, 1)
    assert long.dtype == precision
    close(none, long[:1])


@pytest.mark.parametrize("id", ["DAE-5", "DAE-13/curve", "DAE-15", "DAE-17", "DAE-18", "DAE-19"])
def test_spectrum_starts_with_the_real_data(id, precision):
    spec = example(id)
    close(values_of(id, spec)[0], spec.spectrum)


def test_first_gains_are_those_of_the_real_data(precision):
    spec = example("DAE-3", rank=3)
    close(values_of("DAE-16", spec)[0], values_of("DAE-4", spec))
    close(values_of("DAE-5/gain", spec)[0], values_of("DAE-3", spec)[0])
    close(values_of("DAE-10", example("DAE-10"))[0], 0.0)


@pytest.mark.parametrize("id", ["DAE-5", "DAE-17", "DAE-18", "DAE-19", "DAE-5/log"])
@pytest.mark.parametrize("stop", [1, 5])
def test_chain_restarted_from_the_middle_goes_on_as_before(id, stop, precision, quick_compilation):
    spec = example(id)
    whole = values_of(id, spec, 9)
    middle = jnp.exp(whole[stop]) if id == "DAE-5/log" else whole[stop]
    close(values_of(id, dataclasses.replace(spec, spectrum=middle), 9 - stop), whole[stop:], scale=10)


# limits


def test_replacement_ends_in_nothing(precision):
    spec = example("DAE-5")
    assert (values_of("DAE-5", spec, 60)[-1] == 0).all()
    assert float(values_of("DAE-5/gain", spec, 60)[-1]) == 0
    close(values_of("DAE-9", spec, 60)[-1], 1.0)
    lost = jnp.sum(spec.spectrum**2 / (spec.spectrum + spec.noise_var))
    close(values_of("DAE-10", spec, 60)[-1], lost)


def test_log_spectrum_goes_on_where_the_spectrum_has_underflowed(precision):
    spec = example("DAE-5")
    logs = values_of("DAE-5/log", spec, 40)
    assert (jnp.diff(logs, axis=0) < 0).all()
    assert float(logs[-1, 0]) < -1e5


@pytest.mark.parametrize("feed", ["chain", "pool"])
def test_curve_with_a_real_share_ends_at_its_limit(feed, precision):
    spec = example("DAE-13", feed=feed)
    close(values_of("DAE-13/curve", spec, 300)[-1], values_of("DAE-13", spec))


def test_prior_fed_chain_ends_at_its_fixed_point_or_at_nothing(precision):
    spec = example("DAE-17", spectrum=[10.0, 0.2])
    end = values_of("DAE-17", spec, 200)[-1] / spec.noise_var
    close(end[0], values_of("DAE-17/limit", spec))
    assert float(end[1]) == 0


@pytest.mark.parametrize("feed", ["chain", "pool"])
def test_no_real_share_is_replacement_and_only_real_data_is_no_chain(feed, precision):
    spec = example("DAE-13/curve", feed=feed, real_fraction=0.0)
    close(values_of("DAE-13/curve", spec), values_of("DAE-5", spec))
    assert (values_of("DAE-13", spec) == 0).all()
    only_real = dataclasses.replace(spec, real_fraction=1.0)
    close(values_of("DAE-13/curve", only_real), jnp.broadcast_to(spec.spectrum, (13, 5)))
    close(values_of("DAE-13", only_real), spec.spectrum)


def test_no_weight_decay_is_replacement(precision):
    spec = example("DAE-5")
    close(values_of("DAE-16", spec)[:, 0], values_of("DAE-5/gain", spec))


@pytest.mark.parametrize("id", RESULTS)
def test_full_rank_is_no_bottleneck(id):
    spec = example(id, rank=None)
    with jax.disable_jit():
        same = values_of(id, dataclasses.replace(spec, rank=spec.dimension))
        np.testing.assert_array_equal(same, values_of(id, spec))


# anchors


def test_norm_of_the_sheet(precision):
    """c = 1, x = 10: 0.9091, 0.8652, 0.6998 in rounds 1, 5, 10."""
    norm = values_of("DAE-5/gain", DAESpec([10.0]), 9)
    assert [round(float(norm[j]), 4) for j in (0, 4, 9)] == [0.9091, 0.8652, 0.6998]


def test_real_share_of_the_sheet(precision):
    """c = 1, A = 2, a = 1/2: bound 0.5, chain-fed 0.5486, pool-fed 2 - sqrt 2, real only 2/3."""
    spec = DAESpec([2.0], real_fraction=0.5)
    gain = {feed: values_of("DAE-13", dataclasses.replace(spec, feed=feed))[0] for feed in ("chain", "pool")}
    gain = {feed: float(y / (y + 1)) for feed, y in gain.items()}
    assert float(values_of("DAE-12", spec)[0, 0]) == 0.5
    assert round(gain["chain"], 4) == 0.5486
    close(jnp.asarray(gain["pool"]), 2 - 2**0.5)
    close(values_of("DAE-3", spec)[0], 2 / 3)


def test_threshold_of_the_sheet(precision):
    """c = 2.5: border 2, a start of 1.9 collapses, one of 2.1 grows."""
    spec = DAESpec([2.1, 1.9], resample_noise_var=2.5)
    close(values_of("DAE-6", spec), 2.0)
    grown, fallen = values_of("DAE-5", spec, 60)[-1]
    assert grown > 10
    assert fallen < 1e-3


def test_three_states_need_enough_noise_and_a_small_real_part(precision):
    """As a -> 0 there are three pool-fed states exactly when max(0, 2 - c) < aA < 1/(4 (c - 1))."""
    for ratio, level, three in ((1.6, 0.405, True), (1.6, 0.38, False), (1.6, 0.43, False), (1.4, 0.61, False)):
        spec = DAESpec([level / 1e-6], resample_noise_var=ratio, real_fraction=1e-6, feed="pool")
        assert bool(jnp.isfinite(values_of("DAE-14/border", spec))) is three, (ratio, level)


def test_pool_fed_growth_is_capped(precision):
    """c > 2: the upper limit is about A + (1 - a)(c - 2)/a, up to (1 - a)(3 - 2c)/(a y)."""
    spec = DAESpec([5.0], resample_noise_var=4.0, real_fraction=0.01, feed="pool")
    high, cap = float(values_of("DAE-14", spec)[1, 0]), 5 + 0.99 * 2 / 0.01
    assert abs(high - cap) < 1.5 * 0.99 * 5 / (0.01 * cap)


def test_scale_of_sufficient_samples():
    assert float(dae.sufficient_samples(DAESpec([10.0] * 5))) == 5 * 12**2


# batches and compilation


def scaled(spec, factor):
    return dataclasses.replace(spec, spectrum=spec.spectrum * factor)


@pytest.mark.parametrize("id", RESULTS)
def test_batched_and_compiled_calls_equal_single_ones(id, precision):
    """vmap over stacked leaves, compiled, gives what single calls give, step by step."""
    specs = [scaled(example(id), factor) for factor in (1.0, 0.5, 1.25)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *specs)
    batched = jax.jit(jax.vmap(lambda spec: values_of(id, spec)))(stacked)
    with jax.disable_jit():
        single = np.stack([values_of(id, spec) for spec in specs])
    close(batched, single, scale=10)


# accuracy


def accuracy_cases():
    wide = {"spectrum": SNRS}
    for ratio in RATIOS:
        noisy = wide | {"resample_noise_var": ratio}
        for id in ("DAE-5", "DAE-5/gain", "DAE-5/log", "DAE-9", "DAE-10"):
            yield id, noisy, LONG if id == "DAE-5/log" and ratio in (0.0, 1.0, 2.0) else 60
        yield "DAE-6", noisy, 0
        yield "DAE-8/tail", noisy | {"spectrum": SNRS[-3:]}, 8
        yield "DAE-11", noisy, 0
        yield "DAE-16", noisy | {"weight_decay": 0.25}, 60
        yield "DAE-15", noisy | {"feed": "pool", "regime": "accumulate"}, LONG if ratio == 1 else 30
        if ratio <= 2:
            yield "DAE-8", noisy, 0
            for snr in SNRS:
                yield "DAE-7", noisy | {"spectrum": (snr,)}, 60
        if ratio <= 1.9:
            yield "DAE-8/integral", noisy, 0
        for feed in ("chain", "pool"):
            for share in SHARES:
                mixed = noisy | {"feed": feed, "real_fraction": share}
                long = (ratio, share, feed) in ((2.0, SHARES[1], "chain"), (1.0, 0.5, "pool"), (2.0, SHARES[2], "pool"))
                yield "DAE-13/curve", mixed, LONG if long else 30
                yield "DAE-13", mixed, 0
                yield "DAE-14", mixed, 0
                for snr in (7.0, SNRS[5]):
                    yield "DAE-14/border", mixed | {"spectrum": (snr,)}, 0
            yield "DAE-12", noisy | {"feed": feed, "real_fraction": SHARES[2]}, 3
        yield "DAE-13/chain", noisy | {"real_fraction": SHARES[2]}, 0
    for ratio in (0.0, 1.0, 4.0, 4.5, 1e4):
        prior = wide | {"feed": "prior", "resample_noise_var": ratio}
        yield "DAE-17", prior, 60
        yield "DAE-17/border", prior, 0
        yield "DAE-17/limit", prior, 0
    yield "DAE-3", wide, 0
    yield "DAE-4", wide | {"rank": 3}, 0
    yield "DAE-5", wide | {"rank": 3, "noise_var": 0.5}, 10
    yield "DAE-18", wide | {"resample_noise_var": 0.0, "noise_var": 4.0}, 60
    yield "DAE-19", wide, 60
    yield "DAE-15/law", {"spectrum": (1e4, 50.0, 6.0, 1.0, 0.25), "feed": "pool", "regime": "accumulate"}, 60


CASES = {id: [(fields, t) for name, fields, t in accuracy_cases() if name == id] for id in RESULTS}
ROWS = np.unique(np.round(np.geomspace(1, LONG, 12)).astype(int))


@pytest.mark.parametrize("id", RESULTS)
def test_value_is_right_to_the_promised_accuracy(id):
    """1e-5 in float32 and 1e-12 in float64 against 50 digits, over the documented range, up to 1000 generations."""
    assert CASES[id]
    for fields, generations in CASES[id]:
        rows = [0, *(row for row in ROWS if row <= generations)]
        exact = None
        for x64 in (False, True):
            with jax.enable_x64(x64):
                spec = DAESpec(**fields)
                values = np.asarray(compiled(id, generations)(spec))
                if exact is None:
                    exact = reference.predictions(id, spec, generations)
                    exact = [exact[row] for row in rows] if get(id).curve else exact
                values = values[rows] if get(id).curve else values
                underflow = 0 if get(id).observable == "log_spectrum" else 2 * float(jnp.finfo(values.dtype).tiny)
                error, place = reference.worst_error(values, exact, underflow)
                assert error <= accuracy(values.dtype), (fields, generations, values.dtype, place, error)


# gradients


def at_limits(id):
    """Specs of one shape at every limit that the result covers, stacked."""
    spec = example(id)
    snr, noise = np.asarray(spec.spectrum), float(spec.noise_var)
    ratios = [0.0, 1.0, 1.5, 2.0, 2.5, 4.0]
    ratios = [ratio for ratio in ratios if ratio <= LARGEST_RATIO.get(id, 4.0)]
    ratios = [FIXED_RATIO[id]] if id in FIXED_RATIO else ratios
    spectra = [
        snr,
        np.append(snr[:-1], 0.0),
        0 * snr,
        1e6 * snr,
        1e-9 * snr,
        np.full_like(snr, noise),
        3 * noise + 0 * snr,
    ]
    shares = [0.0, 1e-6, 0.3, 1.0] if id in SHARED else [0.0]
    decays = [0.0, float(snr[-1]), 0.3] if id == "DAE-16" else [0.0]
    specs = [
        dataclasses.replace(
            spec, spectrum=spectrum, resample_noise_var=ratio * noise, real_fraction=share, weight_decay=decay
        )
        for spectrum in spectra
        for ratio in ratios
        for share in shares
        for decay in decays
    ]
    return specs, jax.tree.map(lambda *leaves: jnp.stack(leaves), *specs)


def statics(id, x64):
    """Static choices under which gradients are tried: every feed in single precision, a bottleneck in double."""
    if x64:
        return [{"rank": 1}]
    feeds = {"DAE-13": ("chain", "pool"), "DAE-13/curve": ("chain", "pool"), "DAE-14": ("chain", "pool")}
    return [{"feed": feed} for feed in feeds.get(id, (example(id).feed,))]


@pytest.mark.parametrize("id", RESULTS)
def test_gradients_are_finite_at_every_limit(id, precision, quick_compilation):
    """Derivatives of every value after every field: no noise, equal noise, dead directions, no real data, ...

    Forward and backward in single precision, where they overflow first; backward, with a bottleneck, in double.
    """
    specs, stacked = at_limits(id)
    modes = (jax.jacfwd, jax.jacrev) if precision == "float32" else (jax.jacrev,)
    for static in statics(id, precision == "float64"):

        @jax.jit
        def derivatives(batch):
            def values(spec):
                return values_of(id, spec, 20)

            return [jax.vmap(mode(values))(batch) for mode in modes]

        for derivative in derivatives(dataclasses.replace(stacked, **static)):
            for field in ("spectrum", "noise_var", "resample_noise_var", "real_fraction", "weight_decay"):
                finite = np.isfinite(getattr(derivative, field)).reshape(len(specs), -1).all(axis=1)
                bad = np.flatnonzero(~finite)
                assert not len(bad), (static, field, len(bad), specs[bad[0]])


@pytest.mark.parametrize("id", CURVES)
def test_gradient_at_generation_zero_is_finite(id, quick_compilation):
    derivative = jax.jit(jax.jacrev(lambda spec: values_of(id, spec, 0)))(example(id))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(derivative))


@pytest.mark.parametrize("id", RESULTS)
def test_gradient_is_the_slope(id, x64, quick_compilation):
    """Derivative along a fixed direction in all fields that may move, against a fourth-order difference."""
    fixed = {
        "DAE-18": ("resample_noise_var",),
        "DAE-19": ("resample_noise_var",),
        "DAE-15/law": ("resample_noise_var",),
    }
    spec = example(id)
    fields = ["spectrum", "noise_var", "resample_noise_var"]
    fields += ["real_fraction"] * (id in SHARED) + ["weight_decay"] * (id == "DAE-16")
    start = {name: getattr(spec, name) for name in fields if name not in fixed.get(id, ())}
    tangent = {
        name: value * (0.3 + 0.1 * jnp.cos(jnp.arange(value.size).reshape(value.shape) + len(name)))
        for name, value in start.items()
    }
    if id == "DAE-10":
        spec = dataclasses.replace(spec, feed="pool")
    result = get(id)

    @jax.jit
    def along(t):
        moved = {name: value + t * tangent[name] for name, value in start.items()}
        if id in ("DAE-19", "DAE-15/law"):
            moved["resample_noise_var"] = moved["noise_var"]
        return result.predict(dataclasses.replace(spec, **moved), 8).values

    _, slope = jax.jvp(along, (0.0,), (1.0,))
    h = 1e-3
    difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    curvature = jnp.abs(along(2 * h) - along(-2 * h)).max() / h  # scale of what is differentiated
    both_infinite = ~jnp.isfinite(along(0.0))
    gap = jnp.where(both_infinite, 0, jnp.abs(slope - difference))
    # h^4/30 f''''' with derivatives of up to a hundred times the slope, and 1e-16/h of the value
    bound = 1e-8 * (curvature + jnp.where(both_infinite, 0, jnp.abs(along(0.0))).max())
    assert float(gap.max()) <= float(bound)


# regimes that a result does not describe

ELSEWHERE = {
    "accumulate": {"regime": "accumulate", "feed": "pool"},
    "prior": {"feed": "prior"},
    "share": {"real_fraction": 0.5},
    "decay": {"weight_decay": 0.5},
    "ratio": {"resample_noise_var": 2.5},
}
REPLACEMENT = ("accumulate", "prior", "share", "decay")
REFUSED = {
    **dict.fromkeys(["DAE-5", "DAE-5/gain", "DAE-5/log", "DAE-6", "DAE-8/tail", "DAE-9", "DAE-11"], REPLACEMENT),
    **dict.fromkeys(["DAE-7", "DAE-8", "DAE-8/integral", "DAE-18", "DAE-19"], (*REPLACEMENT, "ratio")),
    "DAE-12": ("decay",),
    **dict.fromkeys(["DAE-13", "DAE-13/chain", "DAE-13/curve", "DAE-14"], ("accumulate", "prior", "decay")),
    "DAE-14/border": ("accumulate", "prior", "decay"),
    "DAE-16": ("accumulate", "prior", "share"),
    **dict.fromkeys(["DAE-17", "DAE-17/border", "DAE-17/limit"], ("share", "decay")),
}


@pytest.mark.parametrize(("id", "case"), [(id, case) for id, cases in REFUSED.items() for case in cases])
def test_chain_that_a_result_does_not_describe_is_refused_in_one_line(id, case):
    base = {
        "spectrum": get(id).example["spectrum"],
        "resample_noise_var": 1.0,
        "feed": get(id).example.get("feed", "chain"),
    }
    with pytest.raises(RegimeError, match=f"^{get(id).base}") as refused:
        values_of(id, DAESpec(**base | ELSEWHERE[case]))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("id", ["DAE-15", "DAE-15/law"])
def test_accumulation_results_refuse_replacement(id):
    with pytest.raises(RegimeError, match=rf"^{id} .*set regime to accumulate"):
        values_of(id, DAESpec([2.0], feed="pool"))


def test_chain_fed_limit_refuses_a_pool():
    with pytest.raises(RegimeError, match="ask DAE-13"):
        dae_mixed.chain_fed_limit(DAESpec([2.0], real_fraction=0.5, feed="pool"))


def test_truncation_at_no_decay_has_no_noise():
    assert dae_variants.truncation_noise_var(1.0) == 0
    assert theory.dae_variants.truncation_noise_var(0.5) == 3
