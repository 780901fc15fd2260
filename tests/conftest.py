"""Settings that all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# `ci`: the same examples in every run, so that a red build is red again.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("dev", deadline=None, max_examples=100)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
