"""Any family under any regime, when training is a program of its own: networks, scikit-learn, anything on the host.

``regimes.chain`` compiles fit and sample of a family; here they are called, one generation after the other, by
``retraining.retrain``: a log, a checkpoint after every generation, and a run that was killed and is started again ends
in the identical result. Family, regime, pool and keys are those of ``regimes.chain``, which does the same with models
that can be compiled: ``chain(..., key)`` here is the replicate r there whose key is ``jax.random.split(key_there,
replicates)[r]``.

Pools are buffers of the same size in every generation, with weight 0 where a place is empty, so that a compiled
training step serves all generations. What a checkpoint holds is the store of points and, if ``like`` says what a model
is made of, the last model. Any other model, such as a scikit-learn object, lives within its own generation.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.recursion.regimes import Family, Pool, all_finite, begun, grown, training_pool
from collapse_jax.recursion.retraining import retrain
from collapse_jax.specs.ground import whole_number
from collapse_jax.specs.regime import Regime


def filled(pool: Pool) -> tuple[Any, np.ndarray]:
    """The points of a pool and their weights as arrays of NumPy, without its empty places.

    >>> filled(Pool(jnp.array([5.0, 6.0, 7.0]), jnp.array([1.0, 0.0, 2.0])))[0].tolist()
    [5.0, 7.0]
    """
    weights = np.asarray(pool.weights)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[weights > 0], pool.data), weights[weights > 0]


def seed(key) -> int:
    """A whole number in [0, 2^31 - 1) for libraries with random numbers of their own.

    >>> seed(jax.random.key(0)) == seed(jax.random.key(0)) != seed(jax.random.key(1))
    True
    """
    return int(jax.random.randint(key, (), 0, 2**31 - 1))


def chain(
    family: Family,
    real: Callable,
    regime: Regime,
    generations: int,
    key,
    *,
    observe: Callable,
    like: Any = None,
    folder: Path | str | None = None,
    settings: Mapping[str, Any] | None = None,
    report: Callable[[int, dict], None] | None = None,
) -> dict[str, np.ndarray]:
    """Train, sample and train again: what ``observe`` sees of the real data and of models 1 ... ``generations``.

    Args:
        family: ``fit(key, pool, previous) -> model``, any object, and ``sample(key, model, n) -> points``, a pytree of
            arrays ``[n, ...]`` like those of the real data. ``previous`` is None in the first generation.
        real: ``(key, n) -> points``, real data; the same ones for the same key.
        regime: what a generation trains on.
        generations: number of models, >= 1; the first is fitted on real data alone.
        key: ``jax.random`` key.
        observe: ``(number, key, points, model) -> {name: number or array}``, the same names and shapes every time;
            ``points``, as many as in the largest batch, are real and ``model`` is None for number 0, later both are
            those of model ``number``.
        like: a pytree of arrays of the shapes and types of a model, such as an untrained network's parameters: for
            families whose ``fit`` uses ``previous``. None: checkpoints hold no model, using ``previous`` is refused.
        folder: for the checkpoint and the log; None keeps nothing.
        settings: what the family was made with (numbers, texts, lists): a checkpoint of other settings is refused, and
            one of another regime, key or number of generations too.
        report: called with the number and what was seen after each generation: progress.

    Returns:
        ``{name: [generations + 1, ...]}``.

    Raises:
        SpecError: an argument, or what a function returns, that does not fit; names it.
        MeasurementError: a model or points with a number that is not finite; says of which generation.
        OutputError: a checkpoint is of other settings, or cannot be written.

    >>> from sklearn.neighbors import KernelDensity
    >>> def fit(key, pool, previous):
    ...     points, weights = filled(pool)
    ...     return KernelDensity(bandwidth=0.5).fit(points, sample_weight=weights)
    >>> kernels = Family(fit, lambda key, model, n: model.sample(n, random_state=seed(key)))
    >>> real = lambda key, n: jax.random.normal(key, (n, 2))
    >>> spread = lambda number, key, points, model: {"variance": points.var(axis=0)}
    >>> seen = chain(kernels, real, Regime(500), 4, jax.random.key(0), observe=spread)  # grows by 0.25 each time
    >>> seen["variance"].shape, bool(seen["variance"][4].min() > 1.5)
    ((5, 2), True)
    """
    functions = {"family.fit": getattr(family, "fit", None), "family.sample": getattr(family, "sample", None)}
    for name, function in (functions | {"real": real, "observe": observe}).items():
        if not callable(function):
            raise SpecError(f"{name} must be a function, got {type(function).__name__}.")
    if not isinstance(regime, Regime):
        raise SpecError(f"regime must be a Regime, got {regime!r}: pass for example Regime(1000, 'accumulate').")
    generations = whole_number("generations", generations)
    sizes, shares = regime.sizes(generations), regime.shares(generations)
    largest, totals = max(sizes), np.cumsum(sizes).tolist()
    mixed = bool(np.any(np.asarray(shares[1:])))
    like = None if like is None else _arrays("like must be", like)
    # as in regimes.chain; what follows the last model is only looked at
    real_key, first_key, sub_key, rounds_key = jax.random.split(key, 4)
    rounds = [*jax.random.split(rounds_key, generations - 1), jax.random.fold_in(rounds_key, generations - 1)]
    made_keys, sub_keys, fit_keys = zip(*(jax.random.split(each, 3) for each in rounds), strict=True)
    sub_keys, fit_keys = (sub_key, *sub_keys), (first_key, *fit_keys)

    first = _arrays("real must return", real(real_key, largest))
    if {leaf.shape[:1] for leaf in jax.tree.leaves(first)} != {(largest,)}:
        raise SpecError(f"real must return arrays of the {largest} points asked for, got {_shown(first)}.")
    shown, names = (first, None), None

    def more(key, n):
        return _alike("real", real(key, n), first)

    def generation(number, _, state, __):
        nonlocal shown
        at, store = number - 1, state["store"]
        pool = training_pool(regime, sub_keys[at], store, totals[at], sizes[at], largest)
        previous = None if number == 1 else state.get("model", _NotKept())
        model = family.fit(fit_keys[at], pool, previous)
        points = _alike("family.sample", family.sample(made_keys[at], model, largest), first)
        kept = {} if like is None else {"model": _alike("family.fit", model, like)}
        if not all_finite((points, kept)):
            raise MeasurementError(
                "fit or sample returned a number that is not finite: look at fit for small or one-sided pools, or give "
                "it more samples."
            )
        if number < generations:
            share = shares[number] if mixed else None
            anchors, size = sizes[0], sizes[number]
            store = grown(regime, more, made_keys[at], store, points, first, anchors, share, size, totals[at])
        shown = points, model
        return {"store": store} | kept

    def look(number, key, _):
        nonlocal names
        seen = observe(number, key, *shown)
        if not isinstance(seen, Mapping):
            raise SpecError(f"observe must return {{name: number or array}}, got {type(seen).__name__}.")
        names = sorted(seen) if names is None else names
        if sorted(seen) != names:
            raise SpecError(f"observe must return the same names for every number, got {sorted(seen)} after {names}.")
        return seen

    return retrain(
        generation,
        {"store": begun(regime, first, sizes)} | ({} if like is None else {"model": like}),
        generations,
        jax.random.fold_in(key, 4),  # none of those above
        observe=look,
        folder=None if folder is None else Path(folder),
        settings=dict(settings or {}) | {"regime": _described(regime)},
        report=report,
    )


class _NotKept:
    """The model before where checkpoints hold none: a run taken up again would not have it, so no run has it."""

    def _refuse(self, *_):
        raise SpecError("like must be given for a fit that uses previous: a pytree of arrays such as a model.")

    __getattr__ = __getitem__ = __iter__ = __call__ = _refuse


def _described(regime: Regime) -> dict[str, Any]:
    """A regime as numbers, texts and lists."""
    values = {field.name: getattr(regime, field.name) for field in fields(regime)}
    return {name: np.asarray(value).tolist() if hasattr(value, "dtype") else value for name, value in values.items()}


def _shown(tree) -> str:
    shapes = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree)
    return " ".join(str(shapes).split())[:200]


def _arrays(what: str, tree):
    """A pytree as arrays of JAX."""
    try:
        return jax.tree.map(jnp.asarray, tree)
    except (TypeError, ValueError):
        raise SpecError(f"{what} a pytree of arrays, got {type(tree).__name__}.") from None


def _alike(name: str, found, like):
    """What a function returned, if it is of the shapes and kinds of ``like``."""
    found = _arrays(f"{name} must return", found)
    fits = jax.tree.structure(found) == jax.tree.structure(like) and all(
        new.shape == old.shape and jnp.issubdtype(new.dtype, jnp.inexact) <= jnp.issubdtype(old.dtype, jnp.inexact)
        for new, old in zip(jax.tree.leaves(found), jax.tree.leaves(like), strict=True)
    )
    if not fits:
        raise SpecError(f"{name} must return arrays like {_shown(like)}, got {_shown(found)}.")
    return jax.tree.map(lambda new, old: new.astype(old.dtype), found, like)
