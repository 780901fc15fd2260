"""From checkpoints to bundles; trains the demo world's model."""
