"""``python -m benchmarks``: every benchmark, one after the other."""

from benchmarks import (
    dae_sampler,
    dae_theory,
    estimator_chains,
    generation_phases,
    spectral_laws,
    spectral_particles,
    unet_torch,
)

if __name__ == "__main__":
    for benchmark in (
        dae_theory,
        dae_sampler,
        estimator_chains,
        spectral_laws,
        spectral_particles,
        unet_torch,
        generation_phases,
    ):
        print(f"== {benchmark.__name__}")
        benchmark.main()
        print()
