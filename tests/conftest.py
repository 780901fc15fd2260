"""Settings that all tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from saccade_testing.certificates import Authority

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
# `mutation`: many runs that only ask whether something fails, not which example is the smallest.
settings.register_profile(
    "mutation",
    parent=settings.get_profile("ci"),
    max_examples=20,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
# `quick`: where the same properties run again, on another Python or another processor.
settings.register_profile(
    "quick", derandomize=True, deadline=None, suppress_health_check=INHERITED, max_examples=15
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the cloud's certificate and those of its devices."""
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another one, which nobody has told the cloud of."""
    return Authority.make(tmp_path_factory.mktemp("foreign"))
