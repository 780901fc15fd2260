"""Saccade's cloud: receives tokens, reconstructs what the edge saw, and answers."""
