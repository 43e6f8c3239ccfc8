"""Networks for flows and diffusion models: functions ``(t, x, cond)`` of a time, a point and, if wanted, a class.

``t`` ``[n]`` lies in [0, 1] (flow time, 0 noise and 1 data, or the ``flows.level`` of a diffusion); ``x`` is
``[n, d]`` for an ``MLP`` and ``[n, height, width, channels]`` for a ``PatchMixer`` here and the ``UNet`` next door;
``cond`` is None or whole numbers ``[n]``, one of them, ``classes``, standing for no class. What comes out has the shape
and the type of x. All start as the zero function: their last layer is zero.

Time enters as sines and cosines of ``t`` times frequencies from 1 to 1000, a class as a learned vector; both are added
and passed through one layer. Numbers: weights are kept in float32 (float64 if ``dtype`` says so), the arithmetic is
done in ``dtype``, bfloat16 on accelerators for speed. Groups of a norm are averaged in float32 all the same.

The patch mixer is the cheap network for images where convolutions are slow, as on CPUs: the picture is cut into square
patches, each becomes a token, and layers mix the tokens of a channel and the channels of a token in turn. Its cost is
matrix products only.
"""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import whole_number

FASTEST = 1000.0
"""Highest frequency of the time features [rad per unit time]; the lowest is 1."""

_SMALL = nnx.initializers.normal(0.02)  # one object: networks of the same sizes must be equal, or they compile anew
_ZERO = nnx.initializers.zeros


def at_least_float32(dtype):
    """float64 for float64, float32 for all narrower ones."""
    return jnp.float64 if jnp.dtype(dtype) == jnp.float64 else jnp.float32


def types(dtype) -> dict:
    """What layers are told: arithmetic in ``dtype``, weights in float32, or float64 where the arithmetic is."""
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise SpecError(f"dtype must be a floating type, got {dtype.name}: take float32, bfloat16 or float64.")
    return {"dtype": dtype, "param_dtype": at_least_float32(dtype)}


def time_features(t: Float[Array, " n"], width: int) -> Float[Array, "n width"]:
    """Cosines and sines of t times ``width / 2`` frequencies between 1 and ``FASTEST``, in a geometric series.

    >>> time_features(jnp.array([0.0]), 4).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    phase = t[:, None] * jnp.asarray(np.geomspace(1.0, FASTEST, width // 2), t.dtype)[None]
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)


class Conditioning(nnx.Module):
    """Time and class as one vector ``[n, width]``.

    Args:
        features: of the time, even and >= 2.
        width: of the vector.
        classes: how many there are; 0 for none. Label ``classes`` says that the class is not given.
    """

    def __init__(self, features: int, width: int, classes: int = 0, *, dtype=jnp.float32, rngs: nnx.Rngs):
        self.features, self.classes = features, whole_number("classes", classes, 0)
        kinds = types(dtype)
        self.inward = nnx.Linear(features, width, rngs=rngs, **kinds)
        self.outward = nnx.Linear(width, width, rngs=rngs, **kinds)
        self.labels = nnx.Embed(classes + 1, width, embedding_init=_SMALL, rngs=rngs, **kinds) if classes else None

    def __call__(self, t: Float[Array, " n"], cond: Int[Array, " n"] | None) -> Float[Array, "n width"]:
        # phases reach 1000: they are computed in at least float32 whatever the layers use
        vector = self.inward(time_features(t.astype(at_least_float32(t.dtype)), self.features))
        if self.labels is not None:
            vector = vector + self.labels(jnp.full(t.shape, self.classes) if cond is None else cond)
        elif cond is not None:
            raise SpecError("cond must be None for a network without classes: make the network with classes=...")
        return nnx.silu(self.outward(nnx.silu(vector)))


class MLP(nnx.Module):
    """A perceptron on points ``[n, d]``, the vector of time and class added before each hidden layer.

    Args:
        dimension: d >= 1.
        width, depth: of the hidden layers, width even.
        classes: how many classes a point may have, 0 for none.
        dtype: of the arithmetic.
        rngs: its ``params`` stream draws the start.

    Raises:
        SpecError: a size out of range.

    >>> model = MLP(2, width=32, depth=3, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros(5), jnp.ones((5, 2))).shape, parameter_count(model)
    ((5, 2), 7554)
    """

    def __init__(
        self, dimension: int, *, width: int = 128, depth: int = 3, classes: int = 0, dtype=jnp.float32, rngs: nnx.Rngs
    ):
        dimension, depth = whole_number("dimension", dimension, 1), whole_number("depth", depth, 1)
        even("width", whole_number("width", width, 2))
        kinds = types(dtype)
        self.conditioning = Conditioning(width, width, classes, dtype=dtype, rngs=rngs)
        sizes = [dimension, *[width] * depth]
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs, **kinds) for a, b in pairwise(sizes)])
        self.times = nnx.List([nnx.Linear(width, width, rngs=rngs, **kinds) for _ in range(depth)])
        self.head = nnx.Linear(width, dimension, kernel_init=_ZERO, rngs=rngs, **kinds)

    def __call__(self, t: Float[Array, " n"], x: Float[Array, "n d"], cond: Int[Array, " n"] | None = None):
        vector, hidden = self.conditioning(t, cond), x
        for layer, time in zip(self.layers, self.times, strict=True):
            hidden = nnx.silu(layer(hidden) + time(vector))
        return self.head(hidden).astype(x.dtype)


class MixerBlock(nnx.Module):
    """Mix the tokens of every channel, then the channels of every token; each is added to what came in.

    Before each, channels are normalised, then scaled and shifted by what time and class say.
    """

    def __init__(self, tokens: int, width: int, *, dtype, rngs: nnx.Rngs):
        kinds = types(dtype)
        plain = {"use_bias": False, "use_scale": False, "rngs": rngs, **kinds}
        self.before_tokens, self.before_channels = nnx.LayerNorm(width, **plain), nnx.LayerNorm(width, **plain)
        self.modulation = nnx.Linear(width, 4 * width, kernel_init=_ZERO, rngs=rngs, **kinds)
        self.token_up = nnx.Linear(tokens, 2 * tokens, rngs=rngs, **kinds)
        self.token_down = nnx.Linear(2 * tokens, tokens, rngs=rngs, **kinds)
        self.channel_up = nnx.Linear(width, 2 * width, rngs=rngs, **kinds)
        self.channel_down = nnx.Linear(2 * width, width, rngs=rngs, **kinds)

    def __call__(self, x, vector):
        scale, shift, next_scale, next_shift = jnp.split(self.modulation(vector)[:, None], 4, axis=-1)
        mixed = (self.before_tokens(x) * (1 + scale) + shift).mT
        x = x + self.token_down(nnx.silu(self.token_up(mixed))).mT
        mixed = self.before_channels(x) * (1 + next_scale) + next_shift
        return x + self.channel_down(nnx.silu(self.channel_up(mixed)))


class PatchMixer(nnx.Module):
    """A network of matrix products on images ``[n, size, size, channels]``, cut into patches.

    Args:
        size, channels: of the images.
        patch: edge of a patch; divides the size.
        width: channels of a token, even.
        blocks: of mixing, >= 1.
        classes: how many classes an image may have, 0 for none.
        dtype: of the arithmetic.
        rngs: its ``params`` stream draws the start.

    Raises:
        SpecError: a size out of range.

    >>> model = nnx.eval_shape(lambda: PatchMixer(28, 1, patch=4, width=64, blocks=3, rngs=nnx.Rngs(0)))
    >>> parameter_count(model)
    142613
    """

    def __init__(
        self,
        size: int,
        channels: int = 1,
        *,
        patch: int = 4,
        width: int = 64,
        blocks: int = 3,
        classes: int = 0,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.size, self.channels, self.patch = (
            whole_number("size", size, 1),
            whole_number("channels", channels, 1),
            patch,
        )
        even("width", whole_number("width", width, 2))
        if whole_number("patch", patch, 1) > size or size % patch:
            raise SpecError(f"patch must divide the size {size}, got {patch}.")
        kinds, tokens, entries = types(dtype), (size // patch) ** 2, patch**2 * channels
        self.conditioning = Conditioning(width, width, classes, dtype=dtype, rngs=rngs)
        self.inward = nnx.Linear(entries, width, rngs=rngs, **kinds)
        self.places = nnx.Param(_SMALL(rngs.params(), (tokens, width), kinds["param_dtype"]))
        self.blocks = nnx.List(
            [MixerBlock(tokens, width, dtype=dtype, rngs=rngs) for _ in range(whole_number("blocks", blocks, 1))]
        )
        self.norm = nnx.LayerNorm(width, rngs=rngs, **kinds)
        self.head = nnx.Linear(width, entries, kernel_init=_ZERO, rngs=rngs, **kinds)

    def __call__(
        self, t: Float[Array, " n"], x: Float[Array, "n size size channels"], cond: Int[Array, " n"] | None = None
    ):
        side, patch = self.size // self.patch, self.patch
        cut = x.reshape(-1, side, patch, side, patch, self.channels).transpose(0, 1, 3, 2, 4, 5)
        tokens = self.inward(cut.reshape(x.shape[0], side * side, -1))
        tokens = tokens + self.places[...][None].astype(tokens.dtype)
        vector = self.conditioning(t, cond)
        for block in self.blocks:
            tokens = block(tokens, vector)
        made = self.head(self.norm(tokens)).astype(x.dtype)
        made = made.reshape(-1, side, side, patch, patch, self.channels).transpose(0, 1, 3, 2, 4, 5)
        return made.reshape(x.shape)


def even(name: str, value: int) -> None:
    """Refuse an odd number.

    Raises:
        SpecError: it is odd.
    """
    if value % 2:
        raise SpecError(f"{name} must be even (half sines, half cosines of the time), got {value}.")


def parameter_count(model) -> int:
    """How many numbers the parameters of a network (or a pytree of parameters) hold.

    >>> parameter_count(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
    8
    """
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param) if isinstance(model, nnx.Module) else model)
    return sum(int(np.prod(np.shape(leaf))) for leaf in leaves)


# Drawn once: what counts is the time to compile the many small random draws, which this makes five times less.
_QUICK = {"xla_backend_optimization_level": 0}


@partial(jax.jit, static_argnames=("network", "sizes", "options"), compiler_options=_QUICK)
def _draw(key, network, sizes, options):
    """The parameters, by one program."""
    return nnx.split(network(*sizes, **dict(options), rngs=nnx.Rngs(params=key)))[1]


def fresh(key: PRNGKeyArray, network, *sizes, **options):
    """An untrained network as a pair ``(graph, parameters)``: its structure and its state.

    Graphs of networks made with the same sizes are equal, so programs compiled for one serve the other.

    Args:
        key: draws the parameters.
        network: ``MLP``, ``PatchMixer``, ``UNet`` or any module that takes ``rngs``.
        sizes, options: its other arguments, hashable.

    >>> graph, parameters = fresh(jax.random.key(0), MLP, 2, width=16)
    >>> nnx.merge(graph, parameters)(jnp.zeros(3), jnp.ones((3, 2))).shape
    (3, 2)
    """
    graph, _ = nnx.split(nnx.eval_shape(lambda: network(*sizes, **options, rngs=nnx.Rngs(params=0))))
    return graph, _draw(key, network, sizes, tuple(sorted(options.items())))
