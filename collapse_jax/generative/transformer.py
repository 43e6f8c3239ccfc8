"""A small decoder transformer on characters: trained from scratch, sampled with a cache, nothing else.

Pre-norm blocks (layer norm, causal self-attention, layer norm, two-layer perceptron with GELU), learned positions, a
separate output layer. ``train`` runs many steps of Adam in one program, each on windows drawn from a weighted pool of
sequences; ``generate`` draws characters at temperature 1, keys and values of earlier characters kept, as one scan.
``loss`` is the mean cross-entropy over the characters that have a full context, in nats per character.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.specs.ground import concrete, whole_number

WARM_UP = 0.05
"""Share of the steps over which the step size grows from 0; afterwards it falls to a tenth along a cosine."""


class Block(nnx.Module):
    """Attention and perceptron, each after a layer norm and added to what came in."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.before_attention = nnx.LayerNorm(width, rngs=rngs)
        self.before_perceptron = nnx.LayerNorm(width, rngs=rngs)
        self.inward = nnx.Linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.outward = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)

    def _split(self, x):
        """Queries, keys and values ``[..., length, heads, width / heads]``."""
        parts = jnp.split(self.inward(self.before_attention(x)), 3, axis=-1)
        return [part.reshape(*part.shape[:-1], self.heads, -1) for part in parts]

    def _finish(self, x, mixed):
        x = x + self.outward(mixed.reshape(x.shape))
        return x + self.down(jax.nn.gelu(self.up(self.before_perceptron(x))))

    def __call__(self, x):
        """``[batch, length, width]`` to the same, no position seeing later ones."""
        query, key, value = self._split(x)
        return self._finish(x, jax.nn.dot_product_attention(query, key, value, is_causal=True))

    def step(self, x, cache, place):
        """One position ``[batch, 1, width]`` with the keys and values of all positions before ``place``."""
        query, key, value = self._split(x)
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(old, new, place, axis=1)
            for old, new in zip(cache, (key, value), strict=True)
        )
        seen = (jnp.arange(keys.shape[1]) <= place)[None, None, None]
        return self._finish(x, jax.nn.dot_product_attention(query, keys, values, mask=seen)), (keys, values)


class Transformer(nnx.Module):
    """A decoder over ``tokens`` characters and a context of ``context`` of them.

    Args:
        tokens: size of the alphabet, >= 2.
        context: longest context, >= 2.
        width, heads, layers: of the network; ``heads`` divides ``width``.
        rngs: its ``params`` stream draws the start.

    Raises:
        SpecError: a size out of range.

    >>> model = Transformer(5, context=8, width=16, heads=2, layers=1, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((3, 8), jnp.int32)).shape
    (3, 8, 5)
    """

    def __init__(self, tokens: int, *, context: int, width: int = 64, heads: int = 4, layers: int = 2, rngs: nnx.Rngs):
        for name, value, least in (("tokens", tokens, 2), ("context", context, 2), ("layers", layers, 1)):
            if value < least:
                raise SpecError(f"{name} must be >= {least}, got {value}.")
        if heads < 1 or width % heads:
            raise SpecError(f"heads must divide the width {width}, got {heads}.")
        self.context = context
        scaled = nnx.initializers.normal(0.02)
        self.letters = nnx.Embed(tokens, width, embedding_init=scaled, rngs=rngs)
        self.places = nnx.Embed(context, width, embedding_init=scaled, rngs=rngs)
        self.blocks = nnx.List([Block(width, heads, rngs=rngs) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, tokens, use_bias=False, rngs=rngs)

    def __call__(self, tokens):
        """Logits ``[batch, length, tokens]`` of the character after each, length at most ``context``.

        Raises:
            SpecError: longer sequences.
        """
        length = tokens.shape[-1]
        if length > self.context:
            raise SpecError(f"tokens must be at most {self.context} long, the context, got {length}.")
        x = self.letters(tokens) + self.places(jnp.arange(length))[None]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def step(self, tokens, caches, place):
        """Logits ``[batch, tokens]`` after one character ``[batch]`` at ``place``, and the caches with it."""
        x = self.letters(tokens)[:, None] + self.places(place)[None, None]
        grown = []
        for block, cache in zip(self.blocks, caches, strict=True):
            x, cache = block.step(x, cache, place)
            grown.append(cache)
        return self.head(self.norm(x))[:, 0], grown


class Trained(NamedTuple):
    """A trained network: its parameters, and the mean training loss of each dispatch [nats per character]."""

    parameters: Any
    losses: np.ndarray


def cross_entropy(model: Transformer, windows):
    """Mean cross-entropy of ``windows`` ``[batch, length]``, each character given those before it [nats]."""
    logits = model(windows[:, :-1])
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]))


def fresh(key, tokens: int, **sizes):
    """An untrained network as a pair ``(graph, parameters)``: its structure and its state."""
    return nnx.split(Transformer(tokens, **sizes, rngs=nnx.Rngs(params=key)))


def _windows(key, sequences, weights, batch: int, length: int):
    """``[batch, length]`` windows: a sequence by its weight, then a place within it."""
    row_key, place_key = jax.random.split(key)
    above = jnp.cumsum(weights)
    drawn = jax.random.uniform(row_key, (batch,), above.dtype) * above[-1]
    row = jnp.minimum(jnp.searchsorted(above, drawn, side="right"), len(sequences) - 1)
    place = jax.random.randint(place_key, (batch,), 0, sequences.shape[1] - length + 1)
    return jax.vmap(lambda r, p: jax.lax.dynamic_slice(sequences, (r, p), (1, length))[0])(row, place)


_DIRECTION = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
"""Adam with clipped gradients, but for the step size."""


def step_size(rate, number, total):
    """Size of step ``number`` of ``total``: it warms up from 0 to ``rate``, then falls to a tenth along a cosine.

    >>> [round(float(step_size(1.0, n, 101)), 2) for n in (0, 5, 53, 101)]
    [0.0, 1.0, 0.55, 0.1]
    """
    warm = jnp.maximum(1, jnp.floor(WARM_UP * total))
    fallen = jnp.clip((number - warm) / jnp.maximum(total - warm, 1), 0, 1)
    return rate * jnp.where(number < warm, number / warm, 0.1 + 0.45 * (1 + jnp.cos(jnp.pi * fallen)))


@partial(jax.jit, static_argnames=("graph", "batch", "steps"))
def _train(graph, parameters, state, key, sequences, weights, rate, done, total, *, batch: int, steps: int):
    """``steps`` steps of training as one program, which serves trainings of every length ``total``."""

    def objective(parameters, windows):
        return cross_entropy(nnx.merge(graph, parameters), windows)

    model_context = nnx.merge(graph, parameters).context

    def step(carry, inputs):
        number, key = inputs
        parameters, state = carry
        windows = _windows(key, sequences, weights, batch, min(model_context, sequences.shape[1] - 1) + 1)
        loss, slope = jax.value_and_grad(objective)(parameters, windows)
        move, state = _DIRECTION.update(slope, state, parameters)
        size = step_size(rate, (done + number).astype(rate.dtype), total)
        return (jax.tree.map(lambda leaf, way: leaf - (size * way).astype(leaf.dtype), parameters, move), state), loss

    numbered = jnp.arange(steps), jax.random.split(key, steps)
    (parameters, state), losses = jax.lax.scan(step, (parameters, state), numbered)
    return parameters, state, jnp.mean(losses)


def train(
    graph, parameters, key, sequences, weights, *, steps: int, batch: int = 32, rate: float = 1e-3, dispatch: int = 50
) -> Trained:
    """Train by Adam on windows of a weighted pool of sequences.

    Args:
        graph, parameters: from ``fresh``.
        key: draws the windows.
        sequences: whole numbers ``[places, length]``; ``weights`` ``[places]``, 0 where there is none.
        steps: of Adam, rounded up to whole dispatches of ``dispatch`` steps.
        batch: windows of a step.
        rate: largest size of a step (``step_size``).

    Raises:
        SpecError: a size below 1, or weights that are all 0.
        MeasurementError: the loss is not finite; names the step.
    """
    for name, value in (("steps", steps), ("batch", batch), ("dispatch", dispatch)):
        whole_number(name, value)
    if concrete(weights) and not np.asarray(weights).sum() > 0:
        raise SpecError("weights must be numbers >= 0, not all of them 0.")
    dispatch = min(dispatch, steps)
    count = -(-steps // dispatch)
    kind = jax.tree.leaves(parameters)[0].dtype
    largest, total = jnp.asarray(rate, kind), jnp.asarray(count * dispatch, kind)
    with jax.numpy_dtype_promotion("standard"):  # optax raises its counter to a float
        state, losses = _DIRECTION.init(parameters), []
        for number in range(count):
            parameters, state, loss = _train(
                graph,
                parameters,
                state,
                jax.random.fold_in(key, number),
                sequences,
                weights,
                largest,
                jnp.asarray(number * dispatch),
                total,
                batch=batch,
                steps=dispatch,
            )
            losses.append(float(loss))
            if not np.isfinite(losses[-1]):
                raise MeasurementError(
                    f"loss is {losses[-1]} between steps {number * dispatch} and {(number + 1) * dispatch}: lower the "
                    "learning rate, or look at the data."
                )
    return Trained(parameters, np.array(losses))


@partial(jax.jit, static_argnames="graph")
def loss(graph, parameters, windows):
    """Mean cross-entropy of ``windows`` ``[n, length]`` [nats per character]."""
    return cross_entropy(nnx.merge(graph, parameters), windows)


@partial(jax.jit, static_argnames=("graph", "length"))
def generate(graph, parameters, key, prompts, *, length: int):
    """``[n, length]`` characters: prompts ``[n, p]`` and what the network draws after them, at temperature 1.

    A sequence may be as long as the context; keys and values of earlier characters are kept, so the cost of a character
    does not grow with its place but for attention itself.

    Raises:
        SpecError: sequences longer than the context, or shorter than their prompts.
    """
    model = nnx.merge(graph, parameters)
    number, given = prompts.shape
    if not given <= length <= model.context + 1:
        raise SpecError(
            f"length must be between {given}, that of the prompts, and {model.context + 1}, the context and one "
            f"character more, got {length}."
        )
    heads = model.blocks[0].heads
    width = model.letters.embedding.shape[1]
    empty = jnp.zeros((number, length, heads, width // heads), model.letters.embedding.dtype)
    caches = [(empty, empty) for _ in model.blocks]
    padded = jnp.pad(prompts, ((0, 0), (0, length - given)))

    def step(carry, inputs):
        token, caches = carry
        place, key = inputs
        logits, caches = model.step(token, caches, place)
        drawn = jax.random.categorical(key, logits).astype(prompts.dtype)
        following = jnp.where(place + 1 < given, padded[:, jnp.minimum(place + 1, length - 1)], drawn)
        return (following, caches), following

    places = jnp.arange(length - 1)
    _, rest = jax.lax.scan(step, (prompts[:, 0], caches), (places, jax.random.split(key, length - 1)))
    return jnp.concatenate([prompts[:, :1], rest.T], axis=1)
