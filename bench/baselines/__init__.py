"""What Saccade is compared with: models that are trained, and shipped, for benchmarks only."""
