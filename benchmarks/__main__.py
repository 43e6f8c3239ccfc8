"""``python -m benchmarks``: every benchmark, one after the other."""

from benchmarks import dae_sampler, dae_theory

if __name__ == "__main__":
    for benchmark in (dae_theory, dae_sampler):
        print(f"== {benchmark.__doc__.strip().splitlines()[0]}")
        benchmark.main()
        print()
