"""A server may open as many sockets as the system lets it."""

from __future__ import annotations

import resource
import subprocess
import sys

SCRIPT = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
from saccade.errors import ConfigError
from saccade_cloud.descriptors import allow_descriptors
assert allow_descriptors() == 128
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (128, 128)
try:
    allow_descriptors(1000)
except ConfigError as error:
    print(error)
"""


def test_the_limit_is_raised_as_far_as_it_goes_and_one_that_is_too_low_is_named() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    done = subprocess.run(  # a limit that was lowered stays low: not in this process
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    assert "1000 open files are needed and the system allows 128" in done.stdout
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
