"""Models that the benchmarks compare with, and how they are trained."""
