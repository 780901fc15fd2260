"""A procedural road crossing with exact ground truth: pictures, labels, questions, clips.

Everything follows from a seed; `render.render` is the way in.
"""
