"""Measured comparisons; ``python -m benchmarks`` writes their tables to docs/benchmarks.md."""
