"""Settings that all tests share."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A contract's properties are inherited by one test class per implementation, on purpose.
INHERITED = [HealthCheck.differing_executors]
# `ci`: the same examples in every run, so that a red build is red again.
settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=INHERITED, max_examples=60
)
settings.register_profile("dev", deadline=None, suppress_health_check=INHERITED, max_examples=100)
settings.register_profile(
    "thorough", deadline=None, suppress_health_check=INHERITED, max_examples=2000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
