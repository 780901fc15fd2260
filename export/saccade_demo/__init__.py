"""``saccade demo``: two real processes, a cloud's and an edge's, watched from a third."""
