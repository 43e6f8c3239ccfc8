"""What does a chain of truncated models cost, particle by particle, against a plain NumPy loop and the generator?

The chain is the default one-dimensional mixture (three components), real share 0.1, truncation 0.05; all curves are
read off in every round. Rates are particle-rounds per second, after compilation.
"""

import time
from functools import partial

import jax
import numpy as np

from benchmarks.timing import best_of, machine
from collapse_jax.simulate.spectral import limit_chain, particle_chain
from collapse_jax.specs.spectral import PROBES, SpectralSpec

LAW = {"weights": [0.5, 0.3, 0.2], "means": [-1.2, 0.4, 1.6], "covariances": [0.0625, 0.0324, 0.1225]}
PARTICLES, ROUNDS = 10**6, 50


def numpy_loop(law: dict, particles: int, rounds: int, order: int = 6, seed: int = 0) -> list:
    """The loop that one would write: a fresh point for each particle that wants one, then noise, then the averages."""
    generator = np.random.default_rng(seed)
    weights, means, stds = law["weights"], np.array(law["means"]), np.sqrt(law["covariances"])

    def real(count):
        which = generator.choice(len(weights), count, p=weights)
        return means[which] + stds[which] * generator.standard_normal(count)

    scale, noise = np.exp(-0.05), np.sqrt(-np.expm1(-0.1))
    points, seen = real(particles), []
    for _ in range(rounds):
        last, now = np.ones_like(points), points
        modes = [1.0, now.mean()]
        for m in range(1, order):
            last, now = now, (points * now - np.sqrt(m) * last) / np.sqrt(m + 1)
            modes.append(now.mean())
        seen.append((modes, [(points <= probe).mean() for probe in PROBES], (points**2).mean()))
        fresh = generator.random(particles) < 0.1
        pool = points.copy()
        pool[fresh] = real(fresh.sum())
        points = scale * pool + noise * generator.standard_normal(particles)
    return seen


def chain(spec, particles: int, rounds: int, replicates: int = 1):
    """The modes of one run, to wait for."""
    return particle_chain(spec, rounds, replicates, jax.random.key(0), samples=particles)["modes"].values


def spec_of(dtype, dimension: int = 1, order: int = 6) -> SpectralSpec:
    """The default mixture on the first of ``dimension`` axes, in one precision."""
    means = np.zeros((3, dimension), dtype)
    means[:, 0] = LAW["means"]
    law = {"weights": np.array(LAW["weights"], dtype), "means": means, "covariances": LAW["covariances"]}
    return SpectralSpec(**law, real_fraction=0.1, truncation=0.05, order=order)


def rate(particles: int, rounds: int, seconds: float) -> str:
    """Millions a second."""
    return f"{particles * rounds / seconds / 1e6:.1f} M/s"


def floor(dtype, block: int = 2**17, blocks: int = 64) -> float:
    """Seconds for one normal and one word of bits, in blocks that stay in cache: no sampler of this kind is faster."""

    def draw(total, key):
        words = jax.random.bits(key, (block,), np.uint32).astype(dtype)
        return total + jax.random.normal(key, (block,), dtype) * words, None

    run = jax.jit(lambda key: jax.lax.scan(draw, np.zeros(block, dtype), jax.random.split(key, blocks))[0])
    return best_of(lambda: run(jax.random.key(0)))[1] / (block * blocks)


def main() -> None:
    """Print rates: both precisions against NumPy and the floor, then growth with dimension, order and rounds."""
    jax.config.update("jax_enable_x64", True)
    print(f"{machine()}\n{PARTICLES:,} particles, {ROUNDS} rounds, one dimension, order 6\n")
    started = time.perf_counter()
    numpy_loop(LAW, PARTICLES, 3)
    loop = (time.perf_counter() - started) / 3 * ROUNDS
    print(f"NumPy loop   {loop:6.2f} s  {rate(PARTICLES, ROUNDS, loop)} (scaled from 3 rounds)")
    for dtype in (np.float64, np.float32):
        first, best = best_of(partial(chain, spec_of(dtype), PARTICLES, ROUNDS), 2)
        least = floor(dtype) * PARTICLES * ROUNDS
        print(
            f"{np.dtype(dtype).name:<12} {best:6.2f} s  {rate(PARTICLES, ROUNDS, best)}, first call {first:.1f} s, "
            f"NumPy/JAX {loop / best:.1f}, floor (one normal, one word) {least:.2f} s: {best / least:.1f} times that"
        )
    print("\ngrowth in float64, 100,000 particles:")
    for name, dimension, order, rounds in (
        ("base", 1, 6, 20),
        ("twice the rounds", 1, 6, 40),
        ("order 12", 1, 12, 20),
        ("d = 2", 2, 6, 20),
        ("d = 8", 8, 6, 20),
    ):
        best = best_of(partial(chain, spec_of(np.float64, dimension, order), 10**5, rounds), 2)[1]
        print(f"{name:<18} {best:6.2f} s  {rate(10**5, rounds, best)}")
    best = best_of(lambda: limit_chain(spec_of(np.float64), 1, 64, jax.random.key(0), samples=10**5), 1)
    print(f"\nlimit, 64 replicates of 100,000 looks: {best[1]:.2f} s (first call {best[0]:.1f} s)")


if __name__ == "__main__":
    main()
