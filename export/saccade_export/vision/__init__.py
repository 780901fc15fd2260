"""Vision towers of checkpoints as modules that export to static graphs.

Each takes normalised pixels [B, 3, H, W] of one size. All that depends on the size alone (rotary
angles, windows, positions) is computed when the module is made and is a constant of its graph.
"""
