"""The U-Net of ``collapse_jax.generative.unet`` in PyTorch, layer by layer: what the benchmark is held against."""

# pyright: reportMissingImports=false

import math

import torch
from torch import nn
from torch.nn import functional


def _norm(channels):
    return nn.GroupNorm(math.gcd(32, channels // 4), channels, eps=1e-6)


def _zero(layer):
    nn.init.zeros_(layer.weight)
    return layer


class _Down(nn.Module):
    """Stride 2 with the padding SAME gives an even size: one row and column, below and to the right."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


class _Block(nn.Module):
    def __init__(self, inward, outward, vector):
        super().__init__()
        self.first_norm, self.second_norm = _norm(inward), _norm(outward)
        self.first = nn.Conv2d(inward, outward, 3, padding=1)
        self.second = _zero(nn.Conv2d(outward, outward, 3, padding=1))
        self.vector = nn.Linear(vector, outward)
        self.shortcut = nn.Identity() if inward == outward else nn.Conv2d(inward, outward, 1)

    def forward(self, x, vector):
        hidden = self.first(functional.silu(self.first_norm(x))) + self.vector(vector)[:, :, None, None]
        return self.shortcut(x) + self.second(functional.silu(self.second_norm(hidden)))


class _Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = _norm(channels)
        self.inward, self.outward = nn.Linear(channels, 3 * channels), _zero(nn.Linear(channels, channels))

    def forward(self, x):
        query, key, value = self.inward(self.norm(x).flatten(2).mT)[:, None].chunk(3, dim=-1)
        mixed = functional.scaled_dot_product_attention(query, key, value)[:, 0]
        return x + self.outward(mixed).mT.reshape(x.shape)


class _Stage(nn.Module):
    def __init__(self, inward, outward, vector, attends):
        super().__init__()
        self.block = _Block(inward, outward, vector)
        self.attention = _Attention(outward) if attends else nn.Identity()

    def forward(self, x, vector):
        return self.attention(self.block(x, vector))


class UNet(nn.Module):
    """The same layers and parameters; images ``[n, channels, size, size]``."""

    def __init__(self, size, channels, *, width, multipliers, blocks, attention):
        super().__init__()
        vector, last = 4 * width, len(multipliers) - 1
        sizes = [size // 2**level for level in range(len(multipliers))]
        self.register_buffer("frequencies", torch.logspace(0, 3, width // 2))
        self.times = nn.ModuleList([nn.Linear(width, vector), nn.Linear(vector, vector)])
        self.inward = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.halves, held, now = nn.ModuleList(), nn.ModuleList(), [width], width
        for level, multiplier in enumerate(multipliers):
            stages = nn.ModuleList()
            for _ in range(blocks):
                stages.append(_Stage(now, multiplier * width, vector, sizes[level] in attention))
                now = multiplier * width
                held.append(now)
            self.down.append(stages)
            if level < last:
                self.halves.append(_Down(now))
                held.append(now)
        self.middle = nn.ModuleList([_Stage(now, now, vector, True), _Stage(now, now, vector, False)])
        self.up, self.doubles = nn.ModuleList(), nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            stages = nn.ModuleList()
            for _ in range(blocks + 1):
                stages.append(_Stage(now + held.pop(), multiplier * width, vector, sizes[level] in attention))
                now = multiplier * width
            self.up.append(stages)
            if level:
                self.doubles.append(nn.Conv2d(now, now, 3, padding=1))
        self.norm, self.head = _norm(now), _zero(nn.Conv2d(now, channels, 3, padding=1))

    def forward(self, t, x):
        phase = t[:, None] * self.frequencies
        vector = self.times[0](torch.cat([phase.cos(), phase.sin()], dim=-1))
        vector = functional.silu(self.times[1](functional.silu(vector)))
        hidden = self.inward(x)
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
                hidden = stage(torch.cat([hidden, held.pop()], dim=1), vector)
            if level < len(self.doubles):
                hidden = self.doubles[level](functional.interpolate(hidden, scale_factor=2))
        return self.head(functional.silu(self.norm(hidden)))
