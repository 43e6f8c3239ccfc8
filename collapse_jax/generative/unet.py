"""The U-Net of diffusion models, on images of any size that its levels can halve: 8x8, 28x28 (28, 14, 7), 32x32.

On the way down every level runs ``blocks`` residual blocks (group norm, SiLU, 3x3 convolution, the vector of time and
class added between the two halves), with self-attention over all places where the size is one of ``attention``, then a
convolution of stride 2; the middle is block, attention, block; on the way up every level runs ``blocks + 1`` blocks,
each on its input joined to what the way down had at that point, then doubles the size and convolves. The second half of
a block, the last layer of an attention and of the network start at zero, so that an untrained network is the zero
function and blocks are first the identity. With ``width=128, multipliers=(1, 2, 2, 2), blocks=2, attention=(16,)`` on
32x32 colour images it is the common network of 35.7 million parameters.

On the CPU a *training step* whose convolutions stand inside ``lax.scan`` runs many times slower than outside: train
with one step per dispatch there (``training.train(..., dispatch=1)``). Sampling in a scan is not affected.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from collapse_jax.errors import SpecError
from collapse_jax.generative.networks import _ZERO, Conditioning, types
from collapse_jax.specs.ground import whole_number


def _norm(channels: int, rngs, kinds):
    return nnx.GroupNorm(channels, num_groups=math.gcd(32, channels // 4), rngs=rngs, **kinds)


def _conv(inward: int, outward: int, rngs, kinds, *, edge: int = 3, stride: int = 1, **options):
    return nnx.Conv(inward, outward, (edge, edge), strides=stride, padding="SAME", rngs=rngs, **options, **kinds)


class ResidualBlock(nnx.Module):
    """Two convolutions with time and class between them, added to the input (through a 1x1 one if channels change)."""

    def __init__(self, inward: int, outward: int, vector: int, *, dtype, rngs: nnx.Rngs):
        kinds = types(dtype)
        self.first_norm = _norm(inward, rngs, kinds)
        self.first = _conv(inward, outward, rngs, kinds)
        self.vector = nnx.Linear(vector, outward, rngs=rngs, **kinds)
        self.second_norm = _norm(outward, rngs, kinds)
        self.second = _conv(outward, outward, rngs, kinds, kernel_init=_ZERO)
        self.shortcut = None if inward == outward else _conv(inward, outward, rngs, kinds, edge=1)

    def __call__(self, x, vector):
        hidden = self.first(nnx.silu(self.first_norm(x))) + self.vector(vector)[:, None, None]
        hidden = self.second(nnx.silu(self.second_norm(hidden)))
        return hidden + (x if self.shortcut is None else self.shortcut(x))


class Attention(nnx.Module):
    """Self-attention of one head over all places of an image, added to the input."""

    def __init__(self, channels: int, *, dtype, rngs: nnx.Rngs):
        kinds = types(dtype)
        self.norm = _norm(channels, rngs, kinds)
        self.inward = nnx.Linear(channels, 3 * channels, rngs=rngs, **kinds)
        self.outward = nnx.Linear(channels, channels, kernel_init=_ZERO, rngs=rngs, **kinds)

    def __call__(self, x):
        places = self.inward(self.norm(x)).reshape(x.shape[0], -1, 1, 3 * x.shape[-1])
        mixed = jax.nn.dot_product_attention(*jnp.split(places, 3, axis=-1))
        return x + self.outward(mixed.reshape(x.shape))


class Stage(nnx.Module):
    """A residual block and, at the chosen sizes, attention after it."""

    def __init__(self, inward: int, outward: int, vector: int, attends: bool, *, dtype, rngs: nnx.Rngs):
        self.block = ResidualBlock(inward, outward, vector, dtype=dtype, rngs=rngs)
        self.attention = Attention(outward, dtype=dtype, rngs=rngs) if attends else None

    def __call__(self, x, vector):
        x = self.block(x, vector)
        return x if self.attention is None else self.attention(x)


class UNet(nnx.Module):
    """A U-Net on images ``[n, size, size, channels]``.

    Args:
        size, channels: of the images; the size must halve ``len(multipliers) - 1`` times.
        width: channels of the first level, a multiple of 4.
        multipliers: channels of each level, in units of the width.
        blocks: residual blocks of a level on the way down, one more on the way up.
        attention: sizes at which blocks are followed by attention; the middle always has one.
        classes: how many classes an image may have, 0 for none.
        dtype: of the arithmetic.
        rngs: its ``params`` stream draws the start.

    Raises:
        SpecError: a size out of range.

    >>> def made(t, x):
    ...     return UNet(28, 1, width=32, multipliers=(1, 2, 2), rngs=nnx.Rngs(0))(t, x)
    >>> jax.eval_shape(made, jnp.zeros(2), jnp.ones((2, 28, 28, 1))).shape
    (2, 28, 28, 1)
    """

    def __init__(
        self,
        size: int,
        channels: int = 1,
        *,
        width: int = 32,
        multipliers: tuple[int, ...] = (1, 2),
        blocks: int = 1,
        attention: tuple[int, ...] = (),
        classes: int = 0,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        for name, value in (("size", size), ("channels", channels), ("blocks", blocks), ("width", width)):
            whole_number(name, value, 1)
        if width % 4:
            raise SpecError(f"width must be a multiple of 4, got {width}.")
        if not multipliers or any(not isinstance(m, int) or m < 1 for m in multipliers):
            raise SpecError(f"multipliers must list whole numbers >= 1, got {multipliers!r}.")
        sizes = [size // 2**level for level in range(len(multipliers))]
        if size % 2 ** (len(multipliers) - 1):
            raise SpecError(f"size must halve {len(multipliers) - 1} times, got {size}: take fewer multipliers.")
        if not set(attention) <= set(sizes):
            raise SpecError(f"attention must name sizes of levels, {sizes}, got {tuple(attention)!r}.")
        kinds, vector = types(dtype), 4 * width
        self.dtype = jnp.dtype(dtype)
        self.conditioning = Conditioning(width, vector, classes, dtype=dtype, rngs=rngs)
        self.inward = _conv(channels, width, rngs, kinds)
        down, halves, held, now = [], [], [width], width
        for level, multiplier in enumerate(multipliers):
            stages = []
            for _ in range(blocks):
                stages.append(Stage(now, multiplier * width, vector, sizes[level] in attention, dtype=dtype, rngs=rngs))
                now = multiplier * width
                held.append(now)
            down.append(nnx.List(stages))
            if level < len(multipliers) - 1:
                halves.append(_conv(now, now, rngs, kinds, stride=2))
                held.append(now)
        self.down, self.halves = nnx.List(down), nnx.List(halves)
        self.middle = nnx.List([Stage(now, now, vector, attends, dtype=dtype, rngs=rngs) for attends in (True, False)])
        up, doubles = [], []
        for level, multiplier in reversed(list(enumerate(multipliers))):
            stages = []
            for _ in range(blocks + 1):
                stages.append(
                    Stage(
                        now + held.pop(), multiplier * width, vector, sizes[level] in attention, dtype=dtype, rngs=rngs
                    )
                )
                now = multiplier * width
            up.append(nnx.List(stages))
            if level:
                doubles.append(_conv(now, now, rngs, kinds))
        self.up, self.doubles = nnx.List(up), nnx.List(doubles)
        self.norm = _norm(now, rngs, kinds)
        self.head = _conv(now, channels, rngs, kinds, kernel_init=_ZERO)

    def __call__(
        self, t: Float[Array, " n"], x: Float[Array, "n size size channels"], cond: Int[Array, " n"] | None = None
    ):
        vector, hidden = self.conditioning(t, cond), self.inward(x.astype(self.dtype))
        held = [hidden]
        for level, stages in enumerate(self.down):
            for stage in stages:
                hidden = stage(hidden, vector)
                held.append(hidden)
            if level < len(self.halves):
                hidden = self.halves[level](hidden)
                held.append(hidden)
        for stage in self.middle:
            hidden = stage(hidden, vector)
        for level, stages in enumerate(self.up):
            for stage in stages:
                hidden = stage(jnp.concatenate([hidden, held.pop()], axis=-1), vector)
            if level < len(self.doubles):
                hidden = self.doubles[level](jnp.repeat(jnp.repeat(hidden, 2, axis=1), 2, axis=2))
        return self.head(nnx.silu(self.norm(hidden))).astype(x.dtype)
