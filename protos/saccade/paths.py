"""Where a user's files are, for users who may have no home."""

from __future__ import annotations

import os
from pathlib import Path

from saccade.errors import ConfigError


def expand(path: str | Path) -> Path:
    """``~`` and ``~user`` at the beginning. Raises ``ConfigError`` where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: this user has no home folder: give a full path") from error


def state_folder(option: str) -> Path:
    """Where this user's or this service's programs keep their state.

    ``STATE_DIRECTORY`` is systemd's; otherwise the XDG Base Directory Specification decides.
    Raises ``ConfigError`` for a user without a home; ``option`` is what to give then.
    """
    if service := os.environ.get("STATE_DIRECTORY"):
        return Path(service.split(":")[0])
    if state := os.environ.get("XDG_STATE_HOME"):
        return Path(state) / "saccade"
    try:
        return Path.home() / ".local" / "state" / "saccade"
    except RuntimeError as error:
        raise ConfigError(
            f"this user has no home folder to keep state in: give {option}, or set STATE_DIRECTORY"
        ) from error
