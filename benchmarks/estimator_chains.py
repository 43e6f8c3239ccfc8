"""What does a chain of estimators cost: by sufficient statistics, with all its points, and as the loop one would write?

Three chains under replacement: mean and variance of a Gaussian, least squares in 20 dimensions, 50 symbols. The job is
1000 replicates of 100 generations of 1000 points; loops are timed on fewer replicates and scaled.
"""

import time
from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from benchmarks.timing import best_of, machine
from collapse_jax.recursion import chain
from collapse_jax.simulate import mle, regression, regression_brute
from collapse_jax.specs.mle import MLESpec
from collapse_jax.specs.regression import RegressionSpec

REPLICATES, GENERATIONS, POINTS = 1000, 100, 1000


def gaussian_loop(replicates: int, generations: int, points: int) -> None:
    """Fit mean and standard deviation, sample, again."""
    rng = np.random.default_rng(0)
    for _ in range(replicates):
        mean, spread = 0.0, 1.0
        for _ in range(generations):
            x = rng.normal(mean, spread, points)
            mean, spread = x.mean(), x.std()


def regression_loop(replicates: int, generations: int, points: int, dimension: int = 20) -> None:
    """Draw inputs, label them by the last weights, fit, again."""
    rng = np.random.default_rng(0)
    for _ in range(replicates):
        weights = np.ones(dimension)
        for _ in range(generations):
            x = rng.standard_normal((points, dimension))
            y = x @ weights + 0.5 * rng.standard_normal(points)
            weights = np.linalg.lstsq(x, y, rcond=None)[0]


def symbols_loop(replicates: int, generations: int, points: int, symbols: int = 50) -> None:
    """Draw symbols, count them, again."""
    rng = np.random.default_rng(0)
    for _ in range(replicates):
        chances = np.full(symbols, 1 / symbols)
        for _ in range(generations):
            drawn = rng.choice(symbols, points, p=chances)
            chances = np.bincount(drawn, minlength=symbols) / points


def gaussian(points: int) -> MLESpec:
    """Mean and variance, divisor n."""
    return MLESpec("normal", mean=np.float32(0), variance=np.float32(1), batch=np.float32(points))


def symbols(points: int, count: int = 50) -> MLESpec:
    """A uniform law on ``count`` symbols."""
    return MLESpec("multinomial", variance=np.float32(1), weights=np.full(count, 1 / count), batch=points)


def squares(points: int, dimension: int = 20) -> RegressionSpec:
    """Least squares."""
    return RegressionSpec(np.ones(1, np.float32), dimension=dimension, learner_samples=points, generator_samples=points)


def job(room, sampler: str, spec, replicates: int = REPLICATES, generations: int = GENERATIONS):
    """All curves of a chain, to wait for."""
    run = getattr(room, sampler)(spec, generations, replicates, jax.random.key(0), samples=1)
    return [trajectory.values for trajectory in run.values()]


def weights(model):
    """What is kept of a chain of least squares by brute force."""
    return model


def rows(replicates: int):
    """Generators of least squares with every row in memory: what the loop does, and no learners downstream."""
    family, real, regime = regression_brute.family_of(squares(POINTS), GENERATIONS)
    return chain(family, real, regime, GENERATIONS, replicates, jax.random.key(0), observe=weights)


def points_of(make, replicates: int):
    """A chain of maximum likelihood with all its points."""
    return job(mle, "brute_force_chain", make(POINTS), replicates)


def scaled(function: Callable[[int], None], replicates: int) -> float:
    """Seconds of the whole job, from ``replicates`` of it."""
    started = time.perf_counter()
    function(replicates)
    return (time.perf_counter() - started) / replicates * REPLICATES


def main() -> None:
    """Print the three chains by three ways, then how the exact one grows."""
    print(f"{machine().replace('float64', 'float32')}\n{REPLICATES:,} x {GENERATIONS} x {POINTS:,}\n")
    print(f"{'chain':<22} {'exact':>9} {'brute force':>12} {'NumPy loop':>11} {'loop/exact':>11} {'loop/brute':>11}")
    for name, room, make, brute, loop, many, few in (
        ("Gaussian", mle, gaussian, partial(points_of, gaussian), gaussian_loop, REPLICATES, 100),
        ("least squares, d = 20", regression, squares, rows, regression_loop, 100, 5),
        ("50 symbols", mle, symbols, partial(points_of, symbols), symbols_loop, REPLICATES, 50),
    ):
        exact = best_of(partial(job, room, "exact_chain", make(POINTS)))[1]
        points = best_of(partial(brute, many), 2)[1] * REPLICATES / many
        plain = scaled(lambda count, loop=loop: loop(count, GENERATIONS, POINTS), few)
        gained = f"{plain / exact:>10.0f}x {plain / points:>10.1f}x"
        print(f"{name:<22} {exact:>7.3f} s {points:>10.2f} s {plain:>9.2f} s {gained}")
    print("\ngrowth of the exact chains [s]")
    for name, room, make in (
        ("Gaussian", mle, gaussian),
        ("least squares", regression, squares),
        ("symbols", mle, symbols),
    ):
        base = {"generations": GENERATIONS, "replicates": REPLICATES}
        for change, points, sizes in (
            ("base", POINTS, base),
            ("points x 1000", 1000 * POINTS, base),
            ("generations x 4", POINTS, base | {"generations": 4 * GENERATIONS}),
            ("replicates x 4", POINTS, base | {"replicates": 4 * REPLICATES}),
        ):
            print(f"{name:<14} {change:<16} {best_of(partial(job, room, 'exact_chain', make(points), **sizes))[1]:.3f}")
    for dimension in (5, 20, 80):
        spent = best_of(partial(job, regression, "exact_chain", squares(POINTS, dimension), 100))[1]
        print(f"least squares, d = {dimension:<3} 100 replicates: {spent:.3f}")
    print(f"\n100,000 replicates of a scalar chain over {GENERATIONS} generations of 100 points [s]")
    for family in ("gaussian", "exponential", "gamma", "bernoulli", "poisson", "negative-binomial", "normal"):
        start = 0.3 if family == "bernoulli" else 1.0
        scalar = MLESpec(family, mean=np.float32(start), variance=np.float32(1), batch=100)
        print(f"{family:<18} {best_of(partial(job, mle, 'exact_chain', scalar, 10**5), 2)[1]:.2f}")


if __name__ == "__main__":
    main()
