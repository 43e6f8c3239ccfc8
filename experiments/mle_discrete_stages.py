"""Stage of ``iterative_mle``: symbols, a watched symbol, and the words of a real text. Numbers only, no figures."""

import re
from collections import Counter

import jax
import numpy as np

from collapse_jax.data.text import decode, standard_library
from collapse_jax.results import get
from collapse_jax.simulate.mle import exact_chain
from collapse_jax.specs.mle import MLESpec
from experiments.harness import Stage
from experiments.mle_mean_stages import REPLICATES, judged

COUNTS = (1, 5, 20)


def word_chances(words: int) -> np.ndarray:
    """Chances of the most frequent words of the corpus that every Python carries."""
    found = Counter(re.findall(r"[a-z]+", decode(standard_library().codes).lower()))
    counts = np.array([count for _, count in found.most_common(words)], float)
    return counts / counts.sum()


def path(rng, chances: np.ndarray, size: int, rounds: int, *, kept: bool = False, share: float = 0.0) -> np.ndarray:
    """``[rounds + 1, symbols]`` fitted chances of one chain."""
    model, total, out = chances, np.zeros(len(chances)), [chances]
    for t in range(1, rounds + 1):
        mixed = model if t == 1 else share * chances + (1 - share) * model
        counts = rng.multinomial(size, mixed / mixed.sum())
        total = total + counts if kept else counts
        model = total / total.sum()
        out.append(model)
    return np.array(out)


def discrete(settings, key) -> Stage:
    """M-F5: shares of twenty symbols, survival of a watched symbol, surviving words of a real text."""
    rng = np.random.default_rng(int(jax.random.randint(key, (), 0, 2**31 - 1)))
    even = np.full(20, 1 / 20)
    muller = np.stack([path(rng, even, 100, settings.symbol_rounds, kept=kept) for kept in (False, True)])
    alive, least, branching, rows = [], [], [], []
    for place, count in enumerate(COUNTS):
        spec = MLESpec("bernoulli", mean=count / 1000, batch=1000)
        run = exact_chain(spec, 40, REPLICATES, jax.random.fold_in(key, place), samples=40)
        alive.append(np.asarray(run["alive"].values).mean(axis=0))
        least.append(np.asarray(get("MLE-13").predict(spec, 40).values))
        branching.append(np.asarray(get("MLE-13/branching").predict(spec, 40).values))
        rows.append(judged("MLE-13", f"count {count}", spec, run, 40))
        rows.append(judged("MLE-13/branching", f"count {count}", spec, run, 40, relevant=0.5))
    chances = word_chances(settings.words)
    rounds, size = settings.word_rounds, settings.tokens
    policies = {"replace": {}, "accumulate": {"kept": True}, "10 % real": {"share": 0.1}}
    words = np.stack([(path(rng, chances, size, rounds, **how) > 0).sum(axis=1) for how in policies.values()])
    dead, law = 0.0, [float(len(chances))]
    for _ in range(rounds):
        dead = np.exp(dead - 1)
        law.append(float((1 - dead ** (size * chances)).sum()))
    arrays = {
        "muller": muller,
        "counts": np.array(COUNTS),
        "alive": np.stack(alive),
        "least": np.stack(least),
        "branching": np.stack(branching),
        "words": words,
        "word_law": np.array(law),
        "word_names": np.array(list(policies)),
        "tokens": np.array(size),
    }
    return Stage(arrays, rows)
