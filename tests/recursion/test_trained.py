"""The loop on the host: the chains of ``regimes.chain`` number for number, networks, scikit-learn, resumption."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from collapse_jax.errors import MeasurementError, OutputError, SpecError
from collapse_jax.generative import training
from collapse_jax.generative.flows import Points, independent_flow_loss
from collapse_jax.generative.networks import MLP, fresh
from collapse_jax.generative.samplers import transport, uniform
from collapse_jax.recursion import regimes, trained
from collapse_jax.recursion.regimes import Family
from collapse_jax.recursion.retraining import LOG
from collapse_jax.specs.regime import Regime

pytestmark = pytest.mark.usefixtures("quick_compilation")
GENERATIONS = 4
ORIGIN = np.arange(GENERATIONS + 1, dtype=np.float32)
KEY = jax.random.key(0)


def fit(key, pool, previous):
    """A Gaussian of points (value, origin); the model tells how much weight its pool held of each origin, 0 real."""
    values, origins = pool.data.T
    mean = jnp.average(values, weights=pool.weights)
    held = jnp.sum(jnp.where(origins[:, None] == ORIGIN[None].astype(origins.dtype), pool.weights[:, None], 0), 0)
    return {
        "mean": mean,
        "variance": jnp.average((values - mean) ** 2, weights=pool.weights),
        "number": jnp.float32(1) if previous is None else previous["number"] + 1,
        "drawn": jax.random.uniform(key),
        "held": held,
    }


def sample(key, model, n):
    values = model["mean"] + jnp.sqrt(model["variance"]) * jax.random.normal(key, (n,))
    return jnp.stack([values, jnp.full(n, model["number"])], axis=1)


def normal(key, n):
    return jnp.stack([jax.random.normal(key, (n,)), jnp.zeros(n)], axis=1)


def last(number, key, points, model):
    """The model as it is; zeros of its shapes before there is one."""
    return LIKE if model is None else model


WITNESS = Family(jax.jit(fit), jax.jit(sample, static_argnums=2))
LIKE = {name: np.zeros((), np.float32) for name in ("mean", "variance", "number", "drawn")} | {"held": 0 * ORIGIN}
SIZES = (10, 20, 5, 10)
REGIMES = {
    "replace": Regime(SIZES),
    "accumulate": Regime(SIZES, "accumulate"),
    "subsample": Regime(SIZES, "accumulate-subsample"),
    "without replacement": Regime(10, "accumulate-subsample", replacement=False, real_fraction=[0.0, 0.2, 0.5, 1.0]),
    "fixed share": Regime(10, real_fraction=0.3, split="fixed", real_weight=0.6),
    "anchor": Regime(10, "accumulate", real_fraction=0.3, split="fixed", real="anchor"),
}


@functools.cache
def compiled(name):
    """One of two chains of ``regimes.chain``, and the key it hangs on."""
    seen = regimes.chain(WITNESS, normal, REGIMES[name], GENERATIONS, 2, KEY, observe=lambda model: model)
    return {name: np.asarray(values)[1] for name, values in seen.items()}, jax.random.split(KEY, 2)[1]


def called(regime, key, **options):
    seen = trained.chain(WITNESS, normal, regime, GENERATIONS, key, observe=last, like=LIKE, **options)
    return {name: values[1:] for name, values in seen.items()}


def same(one, two):
    return all(np.allclose(one[name], two[name], rtol=1e-5, atol=1e-6) for name in LIKE)


@pytest.mark.parametrize("name", REGIMES)
def test_it_is_the_compiled_chain_number_for_number(name):
    """The same points in the same pools: values, weights of every origin, keys, models before."""
    expected, key = compiled(name)
    found = called(REGIMES[name], key)
    assert same(found, expected)
    np.testing.assert_array_equal(found["number"], 1 + np.arange(GENERATIONS))
    np.testing.assert_allclose(found["held"], expected["held"], rtol=1e-6)


def test_pools_hold_what_the_regime_says():
    """Counted by hand, apart from the compiled chain, which shares the rules."""
    replaced, kept = (called(REGIMES[name], KEY)["held"] for name in ("replace", "accumulate"))
    np.testing.assert_array_equal(replaced, np.diag([*SIZES, 0])[:GENERATIONS])
    np.testing.assert_array_equal(kept, np.tril(np.tile([*SIZES, 0], (GENERATIONS, 1))))
    held = called(REGIMES["fixed share"], KEY)["held"]
    np.testing.assert_allclose(held[:, 0], [10, 6, 6, 6], rtol=1e-6)
    np.testing.assert_allclose(held.sum(axis=1), 10, rtol=1e-6)
    held = called(REGIMES["anchor"], KEY)["held"]
    np.testing.assert_array_equal(held, [[10, 0, 0, 0, 0], [13, 7, 0, 0, 0], [16, 7, 7, 0, 0], [19, 7, 7, 7, 0]])


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("fixed share", lambda monkeypatch: Regime(10, real_fraction=0.4, split="fixed", real_weight=0.6)),
        ("accumulate", lambda monkeypatch: monkeypatch.setattr(regimes, "_write", forgetful(regimes._write))),
        ("subsample", lambda monkeypatch: monkeypatch.setattr(trained, "training_pool", everything)),
        ("replace", lambda monkeypatch: monkeypatch.setattr(trained, "grown", a_point_short(trained.grown))),
    ],
)
def test_the_comparison_sees_a_broken_rule(monkeypatch, name, broken):
    """A real point too many, old data forgotten, no subsample, a synthetic point too few."""
    expected, key = compiled(name)
    assert not same(called(broken(monkeypatch) or REGIMES[name], key), expected)


def forgetful(write):
    return lambda store, batch, at: write(store, batch, 0)


def everything(regime, key, store, total, size, largest):
    return store


def a_point_short(grown):
    def short(regime, real, key, store, made, first, anchors, share, size, before):
        return grown(regime, real, key, store, made, first, anchors, share, size - 1, before)

    return short


def test_observe_sees_real_points_then_those_of_each_model():
    seen = []

    def observe(number, key, points, model):
        seen.append((number, None if model is None else int(model["number"]), set(points[:, 1].tolist())))
        return {"points": points, "key": jax.random.key_data(key)}

    found = trained.chain(WITNESS, normal, REGIMES["replace"], GENERATIONS, KEY, observe=observe, like=LIKE)
    assert seen == [(0, None, {0.0})] + [(k, k, {float(k)}) for k in range(1, GENERATIONS + 1)]
    assert found["points"].shape == (GENERATIONS + 1, max(SIZES), 2)
    assert len({tuple(row) for row in found["key"].tolist()}) == GENERATIONS + 1


# networks


def flow(steps=30):
    """Rectified flows in the plane, each trained on from the one before."""
    optimizer = optax.sgd(0.1)
    graph, untrained = fresh(jax.random.key(1), MLP, 2, width=16, depth=1)

    def fit(key, pool, previous):
        done = training.train(
            graph,
            training.begin(untrained if previous is None else previous, optimizer),
            key,
            Points(pool.data),
            independent_flow_loss,
            optimizer,
            steps=steps,
            batch=64,
            weights=pool.weights,
            decay=0.9,
        )
        return training.averaged(done.state)

    def sample(key, parameters, n):
        return transport(graph, parameters, jax.random.normal(key, (n, 2)), uniform(5), solver="euler")

    return Family(fit, sample), untrained


def ring(key, n):
    angle = jax.random.uniform(key, (n,), maxval=2 * np.pi)
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)


def spread(number, key, points, model):
    return {"variance": points.var(axis=0), "first": points[0]}


class Killed(Exception):
    """Stands for a power cut."""


def kill(number, seen):
    raise Killed


def test_a_network_compiles_nothing_after_the_first_round_and_is_resumed(tmp_path):
    family, like = flow()
    regime, key = Regime(128, "accumulate", real_fraction=0.25, split="fixed"), jax.random.key(3)
    events, counts = [], []

    def listen(event, seconds, **_):
        events.extend([event] if "backend_compile" in event else [])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        whole = trained.chain(
            family, ring, regime, 3, key, observe=spread, like=like, report=lambda *_: counts.append(len(events))
        )
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert counts[0] > 0  # the listener does listen
    assert counts[1:] == counts[:1] * 2
    assert np.isfinite(whole["variance"]).all()
    assert whole["variance"][1:].min() > 0.05

    with pytest.raises(Killed):
        trained.chain(family, ring, regime, 3, key, observe=spread, like=like, folder=tmp_path, report=kill)
    numbers = []
    again = trained.chain(
        family, ring, regime, 3, key, observe=spread, like=like, folder=tmp_path, report=lambda k, _: numbers.append(k)
    )
    assert numbers == [2, 3]
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)


# scikit-learn


def fit_mixture(key, pool, previous):
    points, _ = trained.filled(pool)
    return GaussianMixture(2, random_state=trained.seed(key)).fit(points)


def sample_mixture(key, model, n):
    return model.set_params(random_state=trained.seed(key)).sample(n)[0]


def modes(key, n):
    """A real data set on the host, in double precision."""
    random = np.random.default_rng(trained.seed(key))
    return random.normal(size=(n, 2)) / 4 + random.choice([-1.0, 1.0], size=(n, 1))


MIXTURES = Family(fit_mixture, sample_mixture)


def likelihood(number, key, points, model):
    test = modes(key, 100)
    return {"mean": points.mean(axis=0), "score": np.nan if model is None else model.score(test)}


@pytest.mark.parametrize("kind", ["replace", "accumulate"])
def test_scikit_learn_goes_through_and_is_resumed(tmp_path, kind):
    def run(**options):
        regime, key = Regime(60, kind, real_fraction=0.1), jax.random.key(5)
        return trained.chain(MIXTURES, modes, regime, 3, key, observe=likelihood, **options)

    whole = run()
    assert whole["mean"].shape == (4, 2)
    assert np.isfinite(whole["score"][1:]).all()
    with pytest.raises(Killed):
        run(folder=tmp_path, report=kill)
    again = run(folder=tmp_path)
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)
    assert len((tmp_path / LOG).read_text().splitlines()) == 4


def test_kernels_widen_under_replacement_and_less_if_all_is_kept():
    """A model has the variance of its pool and h^2 of its kernel, so model k has 1 + k h^2 if batches are replaced.

    A store's pool has the mean variance of all batches, which gives 1 + h^2 (1 + 1/2 + ... + 1/k). Each sample variance
    of n = 4000 points scatters by sqrt(2 / n) of itself, so the one of model k by less than sqrt(2 (k + 1) / n).
    """

    def fit(key, pool, previous):
        points, weights = trained.filled(pool)
        return KernelDensity(bandwidth=0.5).fit(points, sample_weight=weights)

    kernels = Family(fit, lambda key, model, n: model.sample(n, random_state=trained.seed(key)))
    rises = {"replace": np.ones(4), "accumulate": 1 / np.arange(1.0, 5)}
    for kind, rise in rises.items():
        seen = trained.chain(
            kernels,
            lambda key, n: jax.random.normal(key, (n, 1)),
            Regime(4000, kind),
            4,
            KEY,
            observe=lambda number, key, points, model: {"variance": points.var()},
        )
        expected = np.concatenate([[1], 1 + 0.25 * np.cumsum(rise)])
        assert (np.abs(seen["variance"] / expected - 1) < 4.5 * np.sqrt(2 * np.arange(1, 6) / 4000)).all()


# refusals


def test_checkpoints_of_another_regime_are_refused(tmp_path):
    called(Regime(10, real_fraction=0.1), KEY, folder=tmp_path)
    with pytest.raises(OutputError, match=r"regime.real_fraction was 0.1\d*, now 0.2"):
        called(Regime(10, real_fraction=0.2), KEY, folder=tmp_path)
    with pytest.raises(OutputError, match="width was 'nothing', now 8"):
        called(Regime(10, real_fraction=0.1), KEY, folder=tmp_path, settings={"width": 8})


def test_numbers_that_are_not_finite_name_their_generation():
    def breaks(key, model, n):
        return sample(key, model, n) + jnp.where(model["number"] > 1, jnp.nan, 0)

    with pytest.raises(MeasurementError, match=r"^generation 2: fit or sample returned a number that is not finite"):
        trained.chain(Family(fit, breaks), normal, Regime(10), 4, KEY, observe=last, like=LIKE)


GOOD = {"family": WITNESS, "real": normal, "regime": Regime(8), "generations": 2, "observe": last, "like": LIKE}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"generations": 0}, "generations must be a whole number >= 1, got 0"),
        ({"regime": Regime((8,))}, "samples must list a size for each of 2 generations"),
        ({"regime": "replace"}, "regime must be a Regime, got 'replace': pass for example"),
        ({"family": Family(None, sample)}, "family.fit must be a function, got NoneType"),
        ({"real": np.ones((8, 2))}, "real must be a function, got ndarray"),
        ({"observe": None}, "observe must be a function, got NoneType"),
        ({"like": GaussianMixture()}, "like must be a pytree of arrays, got GaussianMixture"),
        (
            {"real": lambda key, n: normal(key, 5)},
            r"real must return arrays of the 8 points asked for, got float32\[5,",
        ),
        ({"real": lambda key, n: object()}, "real must return a pytree of arrays, got object"),
        (
            {"family": Family(fit, lambda key, model, n: (sample(key, model, n), np.zeros(n)))},
            r"family.sample must return arrays like float32\[8, 2\], got \('float32\[8, 2\]', 'float32\[8\]'\)",
        ),
        (
            {"real": lambda key, n: normal(key, n).astype(int), "family": Family(lambda *_: LIKE, sample)},
            r"family.sample must return arrays like int32\[8, 2\], got float32\[8, 2\]",
        ),
        (
            {"like": {"mean": np.zeros(2)}},
            r"family.fit must return arrays like \{'mean': 'float32\[2\]'\}, got \{'drawn'",
        ),
        ({"like": None}, "like must be given for a fit that uses previous"),
        ({"observe": lambda *_: 1.0}, r"observe must return \{name: number or array\}, got float"),
        (
            {"observe": lambda number, *_: {"a": 0} | ({"b": 1} if number else {})},
            r"observe must return the same names for every number, got \['a', 'b'\] after \['a'\]",
        ),
    ],
)
def test_refusals(arguments, message):
    given = GOOD | arguments
    with pytest.raises(SpecError, match=f"^{message}") as caught:
        inspect.unwrap(trained.chain)(**given, key=KEY)  # without the type checker of the tests
    assert "\n" not in str(caught.value)
