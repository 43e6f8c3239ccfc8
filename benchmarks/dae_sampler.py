"""What does a finite-n chain cost: exact second-moment sampling against brute force in JAX and a plain NumPy loop?

The chain is pure replacement, d = 64, 64 replicates, 30 generations. Brute force at large n takes minutes to hours, so
it is timed on fewer replicates and generations (at least one whole round) and scaled, as the table says.
"""

import time
from functools import partial

import jax
import numpy as np

from benchmarks.timing import best_of, machine, peak_flops
from collapse_jax.simulate.dae import brute_force_chain, exact_chain
from collapse_jax.specs.dae import DAESpec

DIMENSION, REPLICATES, GENERATIONS = 64, 64, 30
ROUNDS = REPLICATES * (GENERATIONS + 1)
SIZES = (10**3, 10**4, 10**5, 10**6)


def numpy_loop(spectrum, samples: int, replicates: int, rounds: int, seed: int = 0) -> list[float]:
    """The loop that one would write: actual points, a linear solve, the eigenvalues of each round."""
    generator = np.random.default_rng(seed)
    norms = []
    identity = np.eye(len(spectrum))
    for _ in range(replicates):
        points = np.sqrt(spectrum)[:, None] * generator.standard_normal((len(spectrum), samples))
        for _ in range(rounds):
            second_moment = points @ points.T / samples
            weights = np.linalg.solve(second_moment + identity, second_moment).T
            eigenvalues = np.linalg.eigvalsh(second_moment)
            norms.append(eigenvalues[-1] / (eigenvalues[-1] + 1))
            points = weights @ (points + generator.standard_normal(points.shape))
    return norms


def norms(chain, spec, generations: int, replicates: int, samples: int):
    """One observable of a chain, so that every run does the same work."""
    return chain(spec, generations, replicates, jax.random.key(0), samples=samples)["gain_norm"].values


def round_flops(d: int) -> float:
    """Floor of one exact round: what is left when every step is done by its cheapest dense algorithm.

    Eigenvalues and vectors 9 d^3 (tridiagonalisation 4/3, vectors and back-transformation, the usual count), map
    W = U g U^T 2 d^3, W times the d x 2d factor 4 d^3, Gram matrix of that 2 d^3 (one triangle), excess risk 2 d^3.
    """
    return (9 + 2 + 4 + 2 + 2) * d**3


def main() -> None:
    """Print the table: seconds for the whole job, ratio to the NumPy loop, flatness in n, distance from the floor."""
    jax.config.update("jax_enable_x64", True)
    spectrum = np.geomspace(20, 0.1, DIMENSION)
    spec = DAESpec(spectrum=spectrum)
    print(f"{machine()}\nd = {DIMENSION}, {REPLICATES} replicates, {GENERATIONS} generations\n")
    heads = (("n", 9), ("exact [s]", 10), ("JAX brute [s]", 14), ("NumPy loop [s]", 15), ("NumPy/exact", 12))
    print("  ".join(f"{name:>{width}}" for name, width in (*heads, ("JAX/exact", 10))))
    exact = {}
    for samples in SIZES:
        # enough rounds to time, few enough to wait for
        replicates, rounds = (2, 8) if samples <= 10**4 else (1, 3) if samples <= 10**5 else (1, 1)
        first, exact[samples] = best_of(partial(norms, exact_chain, spec, GENERATIONS, REPLICATES, samples), 5)
        brute = best_of(partial(norms, brute_force_chain, spec, rounds, replicates, samples), 2)[1]
        brute *= ROUNDS / (replicates * (rounds + 1))
        started = time.perf_counter()
        numpy_loop(spectrum, samples, replicates, rounds)
        loop = (time.perf_counter() - started) * ROUNDS / (replicates * rounds)
        note = f"   (first call {first:.1f} s, once for all n)" if samples == SIZES[0] else ""
        print(
            f"{samples:>9,}  {exact[samples]:>10.2f}  {brute:>14.1f}  {loop:>15.1f}  "
            f"{loop / exact[samples]:>12.0f}  {brute / exact[samples]:>10.0f}{note}"
        )
    flat = exact[10**6] / exact[10**3]
    peak = peak_flops()
    floor = ROUNDS * round_flops(DIMENSION) / peak
    print(f"\ncost at n = 1e6 over cost at n = 1e3: {flat:.2f} (wanted within 1.3)")
    print(
        f"floor: {round_flops(DIMENSION) / 1e6:.1f} MFLOP a round, {floor:.2f} s at the measured matrix peak of "
        f"{peak / 1e9:.0f} GFLOP/s; the exact sampler takes {exact[10**5] / floor:.1f} times that"
    )
    print("brute-force times are scaled from 1 to 2 replicates of 1 to 8 rounds")


if __name__ == "__main__":
    main()
