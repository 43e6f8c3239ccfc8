"""Timing that can be trusted on a busy machine: the best of several runs after a warm-up, results waited for."""

import os
import platform
import time

import jax
import numpy as np


def best_of(function, repeats: int = 3) -> tuple[float, float]:
    """Seconds of the first call (with compilation) and the least of ``repeats`` further calls."""
    started = time.perf_counter()
    jax.block_until_ready(function())
    first = time.perf_counter() - started
    least = np.inf
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(function())
        least = min(least, time.perf_counter() - started)
    return first, least


def peak_flops(size: int = 2048) -> float:
    """Measured float64 matrix-product rate of this machine, FLOP/s: the floor's yardstick."""
    matrix = jax.random.normal(jax.random.key(0), (size, size), float)
    product = jax.jit(lambda a: a @ a)
    return 2 * size**3 / best_of(lambda: product(matrix), 5)[1]


def machine() -> str:
    """One line on what the figures were measured on."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, jax {jax.__version__}, float64"
