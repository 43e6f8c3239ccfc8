"""The generation loop for models whose training is a program of its own: checkpoints, a log, resume.

``regimes.chain`` compiles fit and sample of a small family into one program over all generations. A network is trained
in many dispatches, so its generations are a loop on the host: ``generation`` makes state k + 1 out of state k (train,
sample, whatever a regime asks for), ``observe`` says what is seen of a state. Keys hang on the number of the generation
alone, and after each generation the state and all that was seen go into one checkpoint: a run that was killed at any
moment and is started again ends in the identical result. Of several processes each holds the whole state; one writes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from collapse_jax.data.logs import LOG
from collapse_jax.distributed import is_writer
from collapse_jax.errors import MeasurementError, OutputError
from collapse_jax.generative.checkpoints import restore, save
from collapse_jax.specs.ground import whole_number

LONGEST = 100
"""Arrays of more numbers are no metrics: images, say, go to the results alone."""


def retrain(
    generation: Callable,
    state: Any,
    generations: int,
    key,
    *,
    observe: Callable,
    folder: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    report: Callable[[int, dict], None] | None = None,
    last: Callable[[Any], dict] | None = None,
) -> dict[str, np.ndarray]:
    """Train and sample again and again: what ``observe`` sees of states 0 ... ``generations``.

    Args:
        generation: ``(number, key, state, folder) -> state``, numbers 1 ... ``generations``; ``folder`` is a place of
            its own for checkpoints of a long training, removed afterwards, or None.
        state: what there is before the first generation, a pytree of arrays whose shapes never change.
        generations: how many, >= 1.
        key: ``jax.random`` key.
        observe: ``(number, key, state) -> {name: number or array}``, of the same shapes every time.
        folder: for the checkpoint and the log; None keeps nothing.
        settings: what the run was made with (numbers, texts, lists): a checkpoint of other settings is refused.
        report: called with the number and what was seen after each generation: progress.
        last: ``state -> {name: array}``, what to keep of the state after the last generation alone, such as images.

    Returns:
        ``{name: [generations + 1, ...]}``, and what ``last`` gives.

    Raises:
        MeasurementError: training failed (says in which generation; the last good checkpoint stays).
        OutputError: a checkpoint is of other settings, or cannot be written.

    >>> seen = retrain(
    ...     lambda number, key, state, folder: state / 2,
    ...     np.ones(2),
    ...     3,
    ...     jax.random.key(0),
    ...     observe=lambda number, key, state: {"sum": state.sum()},
    ... )
    >>> seen["sum"].tolist()
    [2.0, 1.0, 0.5, 0.25]
    """
    generations = whole_number("generations", generations)
    settings = dict(settings or {}) | {"generations": generations, "key": jax.random.key_data(key).ravel().tolist()}

    def look(number, state):
        seen = observe(number, jax.random.fold_in(jax.random.fold_in(key, number), 1), state)
        return {name: np.asarray(value) for name, value in seen.items()}

    mark = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]
    first = look(0, state)
    seen = {name: np.full((generations + 1, *v.shape), np.nan, np.result_type(v, float)) for name, v in first.items()}
    start = 0
    if folder is not None:
        kept = restore(folder, {"state": state, "seen": seen}, settings)
        if kept is not None:
            start, state, seen = kept[0], kept[1]["state"], kept[1]["seen"]
            seen = {name: np.array(values) for name, values in seen.items()}
            if is_writer():  # it may have been killed before it wrote the last line
                _log(folder / LOG, seen, start)
                _remove(folder / f"generation_{start}_{mark}")
    if start == 0:
        for name, value in first.items():
            seen[name][0] = value
    for number in range(start + 1, generations + 1):
        # of these settings: what other ones left behind is not taken up
        inner = None if folder is None else folder / f"generation_{number}_{mark}"
        try:
            state = generation(number, jax.random.fold_in(jax.random.fold_in(key, number), 0), state, inner)
        except MeasurementError as error:
            raise MeasurementError(f"generation {number}: {error}") from None
        found = look(number, state)
        for name, value in found.items():
            seen[name][number] = value
        if folder is not None:
            save(folder, number, {"state": state, "seen": seen}, settings)
            if is_writer():
                _log(folder / LOG, seen, number)
                _remove(inner)
        if report is not None:
            report(number, found)
    return seen | ({} if last is None else {name: np.asarray(value) for name, value in last(state).items()})


def _log(path: Path, seen: Mapping[str, np.ndarray], last: int) -> None:
    """The log of generations 0 ... ``last``, written anew: whole, whatever was interrupted before."""
    short = {name: values for name, values in seen.items() if values[0].size <= LONGEST}
    lines = (
        json.dumps({"generation": number} | {name: _plain(values[number]) for name, values in short.items()})
        for number in range(last + 1)
    )
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.write_text("\n".join(lines) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; free space.") from None


def _plain(value):
    """A number or a list of numbers; None for what is not finite."""
    value = np.asarray(value, float).astype(object)
    value[~np.isfinite(value.astype(float))] = None
    return value.tolist()


def _remove(folder: Path | None) -> None:
    import shutil

    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
