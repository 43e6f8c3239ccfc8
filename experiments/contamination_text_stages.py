"""Stages of ``contaminated_text``: table language models on real text, contexts from real text or running freely."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.compare import compare
from collapse_jax.data import text as corpus
from collapse_jax.generative import table
from collapse_jax.recursion.regimes import chain
from collapse_jax.results import get
from collapse_jax.simulate.contamination import measure
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.specs.regime import Regime
from experiments.harness import ROW_RATE, Stage, observation, row

TOKENS = len(corpus.ALPHABET)


def truth_of(codes, order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Law of the next character after each context that the text shows, weights and numbers of these contexts."""
    counts = np.asarray(table.count(jnp.asarray(codes)[None].astype(jnp.int32), jnp.ones(1), order, TOKENS))
    seen = np.flatnonzero(counts.sum(axis=1) >= 1)
    kept = counts[seen]
    return kept / kept.sum(axis=1, keepdims=True), kept.sum(axis=1) / kept.sum(), seen


def shown(law: np.ndarray, order: int, length: int, seed: int) -> str:
    """A sample of a table, started after a blank."""
    start = jnp.zeros((1, order), jnp.int32)
    made = table.generate(jax.random.key(seed), start, jnp.asarray(law), order, TOKENS, length + order)
    return corpus.decode(np.asarray(made)[0, order:])


def free_run(text, order: int, share: float, settings, key):
    """Tables fitted round by round on sequences, real or free: ``[seeds, rounds + 1, contexts, tokens]``."""
    codes, length = jnp.asarray(text.codes).astype(jnp.int32), settings.sequence
    family = table.family(order, TOKENS, length)

    def real(key, number):
        places = jax.random.randint(key, (number, 1), 0, len(codes) - length)
        return codes[places + jnp.arange(length)[None]].astype(float)

    regime = Regime(samples=settings.sequences, real_fraction=jnp.asarray(share, float))
    return np.asarray(
        chain(family, real, regime, settings.rounds + 1, settings.seeds, key, observe=lambda model: model[0])
    )


def _table(order: int, settings, key) -> Stage:
    text = corpus.standard_library(settings.characters)
    rows_law, weights, seen = truth_of(text.codes, order)
    size = float(settings.sequences * (settings.sequence - order))
    per_context = max(1.0, round(size / len(seen)))
    looks = np.arange(settings.rounds + 1)
    arrays: dict = {"rounds": looks, "shares": settings.shares, "contexts": len(seen), "size": size}
    rows, remarks = [], [f"{text.name}, {len(text):,} characters, SHA-256 {text.sha256[:16]}"]
    remarks.append(f"{len(seen)} contexts, {int((rows_law > 0).sum())} successions, {size:g} characters a round")
    law, fixed, free, alive_fixed, alive_free, samples = [], [], [], [], [], []
    for place, share in enumerate(settings.shares):
        spec = ContaminationSpec(rows_law, contexts=weights, real_fraction=share, size=size, first_size=per_context)
        seed = jax.random.fold_in(key, place)
        run = measure("total_risk", spec, settings.rounds, settings.seeds, seed, samples=1)
        predicted = get("CON-16").predict(spec, settings.rounds)
        judged = compare(predicted, run["total_risk"], relevant=0.3, error_rate=ROW_RATE)
        rows.append(row(f"order {order}, real contexts, a = {share:g}", judged, samples=int(size)))
        law.append(np.asarray(predicted.values))
        fixed.append(np.asarray(run["total_risk"].values))
        alive_fixed.append(np.asarray(run["alive"].values))
        tables = free_run(text, order, share, settings, jax.random.fold_in(seed, 1))
        inside = tables[:, :, seen]
        free.append(((inside - rows_law) ** 2).sum(axis=-1) @ weights)
        # a context that was never met has a uniform row: nothing of it is alive
        met = np.ptp(inside, axis=-1, keepdims=True) > 0
        alive_free.append(((inside > 0) & met).sum(axis=(2, 3)))
        late, said = free[-1][:, -1], law[-1][-1]
        deviation, error = late.mean() / said - 1, late.std(ddof=1) / np.sqrt(len(late)) / said
        rows.append(
            observation(
                "CON-16",
                "total_risk",
                f"order {order}, running freely, a = {share:g}",
                samples=int(size),
                deviation=float(deviation),
                error=float(error),
            )
        )
        for number in (0, settings.rounds // 3, settings.rounds):
            samples.append(shown(tables[0, number], order, 60, place))
    remarks += [
        f"a = {s:g}, round {r}: {t}"
        for (s, r), t in zip(
            [(s, r) for s in settings.shares for r in (0, settings.rounds // 3, settings.rounds)], samples, strict=True
        )
    ]
    arrays |= {"law": law, "fixed": fixed, "free": free, "alive_fixed": alive_fixed, "alive_free": alive_free}
    arrays |= {"samples": np.array(samples), "corpus": text.name, "sha256": text.sha256, "characters": len(text)}
    return Stage({name: np.asarray(values) for name, values in arrays.items()}, rows, remarks)


def pairs(settings, key) -> Stage:
    """Figure 7, first part: the next character given the last one."""
    return _table(1, settings, key)


def triples(settings, key) -> Stage:
    """Figure 7, second part: the next character given the last two."""
    return _table(2, settings, key)
