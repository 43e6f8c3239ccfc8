"""What does the limit law cost: to make, to evaluate, to expand; and how does that grow?

The limit is a mixture of ages: about 28/alpha of them times the components of the data. Its density at a point costs
one term for each; a plain NumPy/SciPy loop over the ages pays the same and is what the compiled sum is held against.
"""

import time
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from benchmarks.spectral_particles import LAW
from benchmarks.timing import best_of, machine
from collapse_jax.specs.spectral import SpectralSpec
from collapse_jax.theory import spectral
from collapse_jax.theory.spectral_laws import generated_law, limit_law, mixture_modes, mixture_modes_multi

POINTS = 10**4


def spec_of(dimension: int, real_fraction: float = 0.1, full: bool = False) -> SpectralSpec:
    """Three components on the first of ``dimension`` axes."""
    means = np.zeros((3, dimension))
    means[:, 0] = LAW["means"]
    spreads = np.array(LAW["covariances"])
    spreads = spreads[:, None, None] * np.eye(dimension) if full else spreads
    law = {"weights": np.array(LAW["weights"]), "means": means, "covariances": spreads}
    return SpectralSpec(**law, real_fraction=real_fraction, truncation=0.05)


def age_loop(x, real_fraction: float = 0.1, truncation: float = 0.05, tail: float = 1e-12):
    """The log-density that one would write: SciPy's normal density, age after age, component after component."""
    count = int(np.ceil(np.log(tail) / np.log1p(-real_fraction)))
    parts = []
    for age in range(1, count + 1):
        scale = np.exp(-truncation * age)
        for weight, mean, variance in zip(LAW["weights"], LAW["means"], LAW["covariances"], strict=True):
            spread = np.sqrt(scale**2 * variance + 1 - scale**2)
            share = weight * real_fraction * (1 - real_fraction) ** (age - 1)
            parts.append(np.log(share) + norm.logpdf(x, scale * mean, spread))
    return logsumexp(parts, axis=0)


def main() -> None:
    """Print milliseconds after compilation, and the growth with dimension, real share, order and rounds."""
    jax.config.update("jax_enable_x64", True)
    print(f"{machine()}\n\nlimit law and its log-density at {POINTS:,} points")
    print(f"{'d':>3} {'alpha':>6} {'covariances':<12} {'terms':>6} {'make':>8} {'density':>8} {'a term':>8}")
    for dimension, share, full in (
        (1, 0.1, False),
        (1, 0.01, False),
        (1, 0.5, False),
        (2, 0.1, False),
        (8, 0.1, False),
        (64, 0.1, False),
        (8, 0.1, True),
    ):
        spec = spec_of(dimension, share, full)
        made = best_of(partial(limit_law, spec))[1]
        law = limit_law(spec)
        x = jax.random.normal(jax.random.key(0), (POINTS, dimension))
        density = jax.jit(lambda law, x: law.log_density(x))
        then = best_of(partial(density, law, x))[1]
        terms = law.weights.size
        shown = "full" if full else "isotropic"
        print(
            f"{dimension:>3} {share:>6} {shown:<12} {terms:>6} {made * 1e3:>5.1f} ms {then * 1e3:>5.0f} ms "
            f"{then / POINTS / terms * 1e9:>5.1f} ns"
        )
    x = np.random.default_rng(0).standard_normal(POINTS)
    started = time.perf_counter()
    loop = age_loop(x)
    seconds = time.perf_counter() - started
    law, density = limit_law(spec_of(1)), jax.jit(lambda law, x: law.log_density(x))
    then = best_of(partial(density, law, jnp.asarray(x)[:, None]))[1]
    apart = np.abs(np.asarray(density(law, jnp.asarray(x)[:, None])) - loop).max()
    print(f"SciPy loop over the ages of the first row: {seconds * 1e3:.0f} ms, {seconds / then:.0f} times the sum;")
    print(f"largest difference {apart:.1e}")
    exponential = jax.jit(lambda x: jnp.sum(jnp.exp(x)))
    many = jax.random.normal(jax.random.key(1), (POINTS * 1000,))
    print(f"floor: one exponential a term, {best_of(partial(exponential, many))[1] / many.size * 1e9:.1f} ns\n")

    print("Hermite coefficients")
    for order in (6, 12, 24, 64):
        spec = replace(spec_of(1), order=order)
        terms = best_of(partial(mixture_modes, law, order))[1]
        gains = best_of(partial(spectral.limit_modes, spec))[1]
        print(f"d = 1, order {order:>2}: {terms * 1e3:6.2f} ms from the terms, {gains * 1e3:6.2f} ms by gains")
    for dimension, order in ((2, 6), (2, 12), (4, 6), (8, 4)):
        narrow = spec_of(dimension, full=True).data
        then = best_of(lambda narrow=narrow, order=order: mixture_modes_multi(narrow, order)[1], 1)[1]
        count = mixture_modes_multi(narrow, order)[1].size
        print(f"d = {dimension}, total order {order:>2}: {then * 1e3:6.0f} ms, {count} coefficients of the data law")

    print("\nlaw after k rounds")
    for rounds in (10, 100, 1000):
        then = best_of(partial(generated_law, spec_of(1), rounds))[1]
        print(f"k = {rounds:>4}: {then * 1e3:6.1f} ms, {generated_law(spec_of(1), rounds).weights.size} terms")


if __name__ == "__main__":
    main()
