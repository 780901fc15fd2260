"""From checkpoints to bundles: ``saccade export``."""
