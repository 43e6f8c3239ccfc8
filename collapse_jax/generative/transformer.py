"""A small decoder for text: characters in chunks of one length, fitted from scratch and sampled at temperature 1.

A chunk is ``context`` characters. It is read behind a start token, so that the model is a law of whole chunks,
``p(c_1) p(c_2 | c_1) ...``, whose loss is the mean of ``-log p`` per character: an honest likelihood family, sampled
without a prompt. No real character can leak into generated text.

The network is the standard pre-norm decoder: learned positions, causal attention, a GELU layer four times as wide.
``fit`` takes a buffer of chunks of which the first ``count`` are filled, so that pools of all sizes are one program;
its steps run in one loop on the device. ``generate`` keeps keys and values and samples all positions in one scan.
Parameters and activations are float32, whatever the default is.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from collapse_jax.errors import SpecError

_F32 = jnp.float32
WARM_UP = 0.1
"""Share of the steps over which the step size rises before it falls along a cosine."""


class Shape(NamedTuple):
    """Sizes of a decoder.

    Attributes:
        symbols: characters of the alphabet; codes are 0 ... symbols - 1, the start token is ``symbols``.
        context: characters of a chunk.
        layers, width, heads: of the network; ``heads`` divides ``width``.
    """

    symbols: int
    context: int = 64
    layers: int = 2
    width: int = 64
    heads: int = 4


def _linear(ins: int, outs: int, rngs: nnx.Rngs, *, scale: float = 1.0, bias: bool = True) -> nnx.Linear:
    start = nnx.initializers.normal(scale * ins**-0.5)
    return nnx.Linear(ins, outs, use_bias=bias, kernel_init=start, param_dtype=_F32, dtype=_F32, rngs=rngs)


class Block(nnx.Module):
    """Attention and a wide layer, each behind a norm and added to what came in."""

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        width, depth = shape.width, (2 * shape.layers) ** -0.5
        self.heads = shape.heads
        self.norms = nnx.List([nnx.LayerNorm(width, param_dtype=_F32, dtype=_F32, rngs=rngs) for _ in range(2)])
        self.mixed = _linear(width, 3 * width, rngs)
        self.out = _linear(width, width, rngs, scale=depth)
        self.wide = _linear(width, 4 * width, rngs)
        self.narrow = _linear(4 * width, width, rngs, scale=depth)

    def split(self, x):
        """Queries, keys and values ``[..., heads, width / heads]`` of what comes in."""
        mixed = self.mixed(self.norms[0](x))
        return jnp.split(mixed.reshape(*x.shape[:-1], self.heads, -1), 3, axis=-1)

    def close(self, x, attended):
        """What goes out, from what came in and what was attended to."""
        x = x + self.out(attended.reshape(x.shape))
        return x + self.narrow(jax.nn.gelu(self.wide(self.norms[1](x))))


def _attend(query, key, value, seen):
    """Attention of ``query`` ``[b, t, h, k]`` over ``[b, s, h, k]`` where ``seen`` ``[t, s]``."""
    logits = jnp.einsum("bthk,bshk->bhts", query, key) * jnp.asarray(query.shape[-1] ** -0.5, _F32)
    weights = jax.nn.softmax(jnp.where(seen[None, None], logits, jnp.asarray(-1e30, _F32)))
    return jnp.einsum("bhts,bshk->bthk", weights, value)


class Decoder(nnx.Module):
    """Next-character model.

    >>> model = Decoder(Shape(symbols=5, context=8), rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((2, 8), jnp.int32)).shape
    (2, 8, 5)
    """

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        small = nnx.initializers.normal(0.02)
        embed = partial(nnx.Embed, features=shape.width, embedding_init=small, param_dtype=_F32, dtype=_F32, rngs=rngs)
        self.shape = shape
        self.characters, self.places = embed(shape.symbols + 1), embed(shape.context)
        self.blocks = nnx.List([Block(shape, rngs) for _ in range(shape.layers)])
        self.norm = nnx.LayerNorm(shape.width, param_dtype=_F32, dtype=_F32, rngs=rngs)
        self.head = _linear(shape.width, shape.symbols, rngs, scale=0.1)

    def __call__(self, chunks: Int[Array, "batch context"]) -> Float[Array, "batch context symbols"]:
        """Logits of every character given those before it."""
        length = chunks.shape[1]
        before = jnp.pad(chunks[:, :-1], ((0, 0), (1, 0)), constant_values=self.shape.symbols)
        x = self.characters(before) + self.places(jnp.arange(length))[None]
        seen = jnp.tril(jnp.ones((length, length), bool))
        for block in self.blocks:
            x = block.close(x, _attend(*block.split(x), seen))
        return self.head(self.norm(x))

    def step(self, before: Int[Array, " batch"], place, cache):
        """Logits ``[batch, symbols]`` of the character at ``place`` given the one before it, and the new ``cache``."""
        x = (self.characters(before) + self.places(place)[None])[:, None]
        seen = (jnp.arange(self.shape.context) <= place)[None]
        kept = []
        for block, (keys, values) in zip(self.blocks, cache, strict=True):
            query, key, value = block.split(x)
            keys = jax.lax.dynamic_update_slice_in_dim(keys, key, place, axis=1)
            values = jax.lax.dynamic_update_slice_in_dim(values, value, place, axis=1)
            kept.append((keys, values))
            x = block.close(x, _attend(query, keys, values, seen))
        return self.head(self.norm(x))[:, 0], kept

    def empty_cache(self, batch: int):
        """Keys and values of no character yet."""
        shape = self.shape
        zeros = jnp.zeros((batch, shape.context, shape.heads, shape.width // shape.heads), _F32)
        return [(zeros, zeros) for _ in self.blocks]


def count_parameters(model: nnx.Module) -> int:
    """Number of parameters.

    >>> count_parameters(Decoder(Shape(symbols=5, context=8, layers=1, width=8, heads=2), rngs=nnx.Rngs(0)))
    1045
    """
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def losses(model: Decoder, chunks: Int[Array, "batch context"]) -> Float[Array, " batch"]:
    """Mean over the characters of a chunk of ``-log p(character | those before it)``, in nats; chunk by chunk.

    >>> model = Decoder(Shape(symbols=4, context=8), rngs=nnx.Rngs(0))
    >>> bool(abs(losses(model, jnp.zeros((1, 8), jnp.int32))[0] - jnp.log(4.0)) < 0.3)
    True
    """
    return optax.softmax_cross_entropy_with_integer_labels(model(chunks), chunks).mean(axis=1)


def fit(
    key: PRNGKeyArray,
    chunks: Int[Array, "places context"],
    count,
    shape: Shape,
    *,
    epochs: int | float = 12,
    batch: int = 32,
    learning_rate: int | float = 3e-3,
):
    """Train a decoder from scratch on the first ``count`` chunks, by Adam on random batches.

    Args:
        key: random key of the start and of the batches.
        chunks: buffer of chunks, codes 0 ... symbols - 1; may be longer than ``count``, which may be traced.
        count: chunks to train on, >= 1.
        shape: of the network.
        epochs: steps are ``ceil(epochs count / batch)``: equal for each character, whatever the size of the pool.
        batch: chunks of a step, drawn with replacement.
        learning_rate: largest step size; it rises over the first tenth of the steps and falls to zero along a cosine.

    Returns:
        ``(parameters, last loss)``: the state of a ``Decoder`` (for ``restore``), and the mean loss [nats] of the last
        tenth of the steps. A loss that is not finite is for the caller to refuse.

    Raises:
        SpecError: sizes that do not go together.

    >>> shape = Shape(symbols=3, context=4, layers=1, width=8, heads=2)
    >>> found, last = fit(jax.random.key(0), jnp.zeros((5, 4), jnp.int32), 5, shape, epochs=100, batch=4)
    >>> bool(last < 0.1)
    True
    """
    if chunks.shape[1] != shape.context:
        raise SpecError(f"chunks must have {shape.context} characters, got {chunks.shape[1]}: cut them to the context.")
    if shape.width % shape.heads:
        raise SpecError(f"heads must divide the width {shape.width}, got {shape.heads}.")
    rate = jnp.asarray(learning_rate, _F32)
    return _fit(key, chunks, jnp.asarray(count), rate, jnp.asarray(epochs, _F32), shape=shape, batch=batch)


@partial(jax.jit, static_argnames=("shape", "batch"))
def _fit(key, chunks, count, rate, epochs, *, shape: Shape, batch: int):
    start_key, key = jax.random.split(key)
    graph, start = nnx.split(Decoder(shape, rngs=nnx.Rngs(params=start_key)))
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.98))
    steps = jnp.ceil(epochs * count.astype(_F32) / batch)

    def objective(params, drawn):
        return losses(nnx.merge(graph, params), drawn).mean()

    def step(number, state):
        params, memory, total = state
        drawn = chunks[jax.random.randint(jax.random.fold_in(key, number), (batch,), 0, count)]
        value, slope = jax.value_and_grad(objective)(params, drawn)
        update, memory = adam.update(slope, memory)
        done = jnp.asarray(number, _F32) / steps
        size = rate * jnp.minimum(done / WARM_UP, (1 + jnp.cos(jnp.pi * done)) / 2)
        params = jax.tree.map(lambda value, change: value - size * change, params, update)
        return params, memory, total + jnp.where(done >= 0.9, value, 0)

    with jax.numpy_dtype_promotion("standard"):  # optax counts its steps in integers
        whole = steps.astype(jnp.int32)
        params, _, total = jax.lax.fori_loop(0, whole, step, (start, adam.init(start), jnp.zeros((), _F32)))
        late = whole - jnp.ceil(0.9 * steps).astype(jnp.int32)
        return params, total / jnp.maximum(late, 1)


def restore(params, shape: Shape) -> Decoder:
    """The decoder of these parameters."""
    graph, _ = nnx.split(nnx.eval_shape(lambda: Decoder(shape, rngs=nnx.Rngs(0))))
    return nnx.merge(graph, params)


@partial(jax.jit, static_argnames=("shape", "count"))
def generate(params, key: PRNGKeyArray, *, shape: Shape, count: int) -> Int[Array, "count context"]:
    """``count`` chunks drawn from the model at temperature 1, all positions in one scan.

    >>> shape = Shape(symbols=3, context=4, layers=1, width=8, heads=2)
    >>> _, params = nnx.split(Decoder(shape, rngs=nnx.Rngs(0)))
    >>> generate(params, jax.random.key(1), shape=shape, count=2).shape
    (2, 4)
    """
    model = restore(params, shape)

    def one(carry, place):
        before, cache = carry
        logits, cache = model.step(before, place, cache)
        drawn = jax.random.categorical(jax.random.fold_in(key, place), logits).astype(jnp.int32)
        return (drawn, cache), drawn

    first = jnp.full(count, shape.symbols, jnp.int32), model.empty_cache(count)
    return jax.lax.scan(one, first, jnp.arange(shape.context))[1].T


@partial(jax.jit, static_argnames="shape")
def held_out(params, chunks: Int[Array, "n context"], *, shape: Shape) -> Float[Array, " n"]:
    """Loss of every chunk [nats per character]; a loop over batches of 64."""
    model = restore(params, shape)
    return jax.lax.map(lambda chunk: losses(model, chunk[None])[0], chunks, batch_size=64)
