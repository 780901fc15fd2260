"""Codec tables, operating points: what a bundle gains from pictures that its own edge has seen."""
