"""Engines: each completes prompts, behind one contract (`base`)."""
