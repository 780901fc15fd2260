"""Vision towers of checkpoints as modules that export to static graphs.

Each takes views uint8 [B, H, W, 3] of one size and gives features [B, T, D], saliency [B, L, H, T]
and keys [B, T, Dk]. All that depends on the size alone (rotary angles, windows, positions) is
computed when the module is made and is a constant of its graph.
"""
