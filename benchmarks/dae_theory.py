"""What does a prediction cost: 10,000 specs of 1,000 generations each, and how does that grow?"""

import jax
import jax.numpy as jnp

from benchmarks.timing import best_of, machine
from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory import dae, dae_mixed


def main() -> None:
    """Print seconds after compilation for three results, and the floor by memory traffic."""
    jax.config.update("jax_enable_x64", True)
    print(f"{machine()}\n{'specs':>7} {'generations':>12}  {'result':<14} {'first call [s]':>15} {'then [s]':>9}")
    for specs, generations in ((10**3, 1000), (10**4, 100), (10**4, 1000)):
        tops = jnp.linspace(0.1, 100, specs)
        for name, law in (
            ("DAE-5/gain", lambda top, g: dae.gain_norm(DAESpec(top[None]), g).values),
            ("DAE-5/log", lambda top, g: dae.log_spectrum(DAESpec(top[None]), g).values[:, 0]),
            (
                "DAE-13/curve",
                lambda top, g: dae_mixed.mixed_spectrum(DAESpec(top[None], real_fraction=0.1), g).values[:, 0],
            ),
        ):
            compiled = jax.jit(jax.vmap(lambda top, law=law, generations=generations: law(top, generations)))
            first, then = best_of(lambda compiled=compiled, tops=tops: compiled(tops), 5)
            print(f"{specs:>7,} {generations:>12,}  {name:<14} {first:>15.2f} {then:>9.3f}")
    print("floor: 10,000 x 1,001 values of 8 bytes written once, 80 MB: about 0.01 s at 10 GB/s")


if __name__ == "__main__":
    main()
