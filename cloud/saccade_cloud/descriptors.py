"""How many files and sockets this process may have open: each edge is one."""

from __future__ import annotations

import resource

from saccade.errors import ConfigError


def allow_descriptors(needed: int = 0) -> int:
    """Raise the soft limit, often 1,024, as far as the system lets us; the limit from now on.

    Raises ``ConfigError`` where that is below ``needed``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"{needed} open files are needed and the system allows {hard}: raise it with "
            "ulimit -Hn, LimitNOFILE= of a systemd unit, or --ulimit nofile= of a container"
        )
    return hard
