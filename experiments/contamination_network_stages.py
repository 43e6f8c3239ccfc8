"""Stages of ``contaminated_text``: a small transformer trained from scratch in every round. Numbers only.

An arm is a rule for the real share and the size of each round. Each round trains a new network on ``n_t`` characters:
real ones in fresh chunks, the others drawn by the last network after short real prompts, which are cut off. What
theory says of the size of a clean sample of the same worth is an observation here, not a check.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.data import text as corpus
from collapse_jax.errors import MeasurementError
from collapse_jax.generative import transformer
from experiments.harness import Stage, observation

TOKENS = len(corpus.ALPHABET)
PROMPT = 8
"""Real characters before every generated sequence; they are not trained on."""


@dataclass(frozen=True)
class Arm:
    """Real share and size of round t (in units of the first), and whether all data are kept."""

    title: str
    share: Callable[[int], float]
    size: Callable[[int], float] = lambda t: 1.0
    keep: bool = False


def constant(share: float) -> Arm:
    return Arm(f"a = {share:g}", lambda t: share)


ARMS = {
    "real_0": constant(0.0),
    "real_10": constant(0.1),
    "real_25": constant(0.25),
    "real_50": constant(0.5),
    "real_100": constant(1.0),
    "growing": Arm("a = 0.25, n grows", lambda t: 0.25, lambda t: 1.0 + t),
    "decaying": Arm("a = 1/sqrt t, n ~ t", lambda t: t**-0.5, lambda t: float(t)),
    "kept": Arm("a = 0.25, all kept", lambda t: 0.25, keep=True),
}


def inverse_sizes(arm: Arm, first: int, rounds: int) -> np.ndarray:
    """What CON-17 (or CON-11, if all is kept) says of one over the effective size, round by round."""
    path, total = [1 / first], float(first)
    for t in range(1, rounds + 1):
        share, size = arm.share(t), first * arm.size(t)
        total += size
        new = size / total if arm.keep else 1.0
        path.append((1 - share * new) ** 2 * path[-1] + new**2 / size)
    return np.array(path)


def _chunks(key, codes, number: int, length: int):
    places = jax.random.randint(key, (number, 1), 0, len(codes) - length + 1)
    return codes[places + jnp.arange(length)[None]]


def _generated(graph, parameters, key, codes, number: int, settings):
    """``[number, length]`` characters drawn after real prompts, in batches of one shape."""
    length, made = settings.context - PROMPT, []
    for place in range(-(-number // settings.draws)):
        prompt_key, draw_key = jax.random.split(jax.random.fold_in(key, place))
        prompts = _chunks(prompt_key, codes, settings.draws, PROMPT)
        drawn = transformer.generate(graph, parameters, draw_key, prompts, length=settings.context)
        made.append(drawn[:, PROMPT:])
    return jnp.concatenate(made)[:number] if made else jnp.zeros((0, length), codes.dtype)


def _vocabulary(codes) -> set[str]:
    return {word for word in corpus.decode(codes).split() if len(word) > 2}


def _variety(made, words: set[str]) -> tuple[float, float]:
    """Share of distinct strings of four characters, and of words (longer than two) that the real text has."""
    written = corpus.decode(np.ravel(made))
    fours = [written[i : i + 4] for i in range(len(written) - 3)]
    inner = [word for line in np.asarray(made) for word in corpus.decode(line).split()[1:-1] if len(word) > 2]
    known = sum(word in words for word in inner) / max(len(inner), 1)
    return len(set(fours)) / len(fours), known


def _chain(arm: Arm, codes, held_out, words, settings, key):
    """One chain: loss on held-out text, variety of what each network writes, and samples."""
    length, first = settings.context - PROMPT, settings.first
    counts = [first] + [round(first * arm.size(t)) for t in range(1, settings.network_rounds + 1)]
    places = sum(counts) if arm.keep else max(counts)
    store, weights = jnp.zeros((places, length), codes.dtype), jnp.zeros(places)
    losses, variety, samples, before, graph, parameters = [], [], [], 0, None, None

    def fitted(start_key, train_key, store, weights, where: str):
        """A new network; equal passes over the data in every arm and round."""
        sizes = {name: getattr(settings, name) for name in ("context", "width", "heads", "layers")}
        graph, parameters = transformer.fresh(start_key, TOKENS, **sizes)
        steps = max(10, round(settings.epochs * float(weights.sum()) / settings.batch))
        options = {"steps": steps, "batch": settings.batch, "dispatch": settings.dispatch}
        try:
            return graph, transformer.train(graph, parameters, train_key, store, weights, **options).parameters
        except MeasurementError as error:
            raise MeasurementError(f"{where} of arm {arm.title}: {error}") from None

    for t, count in enumerate(counts):
        real_key, made_key, origin_key, start_key, train_key = jax.random.split(jax.random.fold_in(key, t), 5)
        batch = _chunks(real_key, codes, count, length)
        if t:
            real = int(jax.random.binomial(origin_key, float(count), arm.share(t)))
            made = _generated(graph, parameters, made_key, codes, count - real, settings)
            batch = jnp.concatenate([batch[:real], made])
        at = before if arm.keep else 0
        weights = weights.at[at : at + count].set(1.0)
        weights = weights if arm.keep else weights.at[count:].set(0.0)
        store, before = store.at[at : at + count].set(batch), before + count
        graph, parameters = fitted(start_key, train_key, store, weights, f"round {t}")
        losses.append(float(transformer.loss(graph, parameters, held_out)))
        made = np.asarray(
            _generated(graph, parameters, jax.random.fold_in(made_key, 1), codes, settings.draws, settings)
        )
        variety.append(_variety(made, words))
        samples.append(corpus.decode(made[0]))
    # twice the first text, all of it real: what half of 1/n is worth to this network
    real_key, start_key, train_key = jax.random.split(jax.random.fold_in(key, len(counts)), 3)
    graph, parameters = fitted(
        start_key, train_key, _chunks(real_key, codes, 2 * first, length), jnp.ones(2 * first), "the clean run"
    )
    gained = losses[0] - float(transformer.loss(graph, parameters, held_out))
    return np.array(losses), np.array(variety), samples, gained


def arm_stage(name: str):
    """Stage of one arm: every seed has its own split of the text."""

    def stage(settings, key) -> Stage:
        # networks are trained in single precision; the harness asks for double
        with jax.enable_x64(False):
            return _arm(name, settings, jax.random.wrap_key_data(jnp.asarray(np.asarray(jax.random.key_data(key)))))

    return stage


def _arm(name: str, settings, key) -> Stage:
    arm, text = ARMS[name], corpus.standard_library(settings.network_characters)
    rounds, length = settings.network_rounds, settings.context - PROMPT
    losses, variety, samples, gained = [], [], [], []
    for seed in range(settings.network_seeds):
        cut = len(text) // 10
        turned = np.roll(text.codes, -seed * cut)
        held_out = turned[: (cut // (length + 1)) * (length + 1)].reshape(-1, length + 1)[: settings.held_out]
        codes = jnp.asarray(turned[cut:].astype(np.int32))
        done = _chain(
            arm,
            codes,
            jnp.asarray(held_out.astype(np.int32)),
            _vocabulary(text.codes),
            settings,
            jax.random.fold_in(key, seed),
        )
        for kept, value in zip((losses, variety, samples, gained), done, strict=True):
            kept.append(value)
    losses = np.array(losses)
    excess = losses - losses[:, :1]
    worth = inverse_sizes(arm, settings.first * length, rounds)
    line = 2 * np.mean(gained) * (worth / worth[0] - 1)
    mean, error = excess.mean(axis=0), excess.std(axis=0, ddof=min(1, len(excess) - 1)) / np.sqrt(len(excess))
    rows = []
    if abs(line[-1]) > 1e-9:  # a clean arm has no line to deviate from
        chain = f"transformer, {arm.title}, round {rounds}"
        size, off = settings.first * length, {"deviation": mean[-1] / line[-1] - 1, "error": error[-1] / abs(line[-1])}
        rows = [observation("CON-11" if arm.keep else "CON-17", "held-out loss", chain, samples=size, **off)]
    said = "better" if worth[-1] < worth[0] else "worse" if worth[-1] > worth[0] else "equal"
    remarks = [
        f"{arm.title}: a clean sample of the same worth would be {worth[0] / worth[-1]:.2f} times the first ({said})",
        f"loss {losses[:, 0].mean():.3f} nats, in the end {mean[-1]:+.3f} ± {error[-1]:.3f}; line {line[-1]:+.3f}",
    ]
    remarks += [f"round {t}: {samples[0][t]}" for t in sorted({0, min(3, rounds), rounds})]
    arrays = {
        "title": arm.title,
        "excess": excess,
        "loss": losses,
        "worth": worth,
        "line": line,
        "variety": np.array(variety),
        "samples": np.array(samples),
        "corpus": text.name,
        "sha256": text.sha256,
    }
    return Stage({name: np.asarray(value) for name, value in arrays.items()}, rows, remarks)


STAGES = {f"network_{name}": arm_stage(name) for name in ARMS}
