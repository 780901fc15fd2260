"""A fleet of edges without cameras, and the barest server that they can talk to."""
