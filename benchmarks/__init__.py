"""One question per file; ``python -m benchmarks`` asks them all."""
