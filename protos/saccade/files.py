"""Files that are ours alone: looked at before anything is changed, replaced whole.

A path comes from a user, and may name anything: a device, a FIFO, a folder, another program's
file. Whoever writes to one asks here first. An empty file may be taken; one with content is ours
where it begins as ours do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from saccade.errors import ConfigError

_KINDS: Sequence[tuple[Callable[[int], bool], str]] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link to nothing"),
)


def look(path: Path, what: str) -> os.stat_result | None:
    """The file at ``path``, through links, None where nothing is there.

    ``what``: our name for it, such as "the spool". Raises ``ConfigError`` for what is no regular
    file or belongs to another user, ``OSError`` where the disk does not say.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise ConfigError(f"{what} {path} is a link to nothing: name a file") from None
        return None
    except ValueError as error:
        raise ConfigError(f"{what} {str(path)!r} is no path: {error}") from error
    for is_kind, name in _KINDS:
        if is_kind(found.st_mode):
            raise ConfigError(f"{what} {path} is {name}: name a file")
    if os.geteuid() not in (0, found.st_uid):
        raise ConfigError(f"{what} {path} belongs to another user (uid {found.st_uid})")
    return found


def head(path: Path, size: int) -> bytes:
    """The first bytes of what `look` has found to be a file."""
    with path.open("rb") as file:
        return file.read(size)


def check_ours(path: Path, what: str, begins: Sequence[bytes]) -> bool:
    """Whether it is there. Raises ``ConfigError`` as `look` does, and for a file with content that
    does not begin as ours do.
    """
    found = look(path, what)
    if found is None:
        return False
    size = max(map(len, begins))
    if found.st_size and not head(path, size).startswith(tuple(begins)):
        raise ConfigError(
            f"{what} would be {path}, and that is another program's file: name another, or move it"
        )
    return True


def replace(
    path: Path, data: bytes, what: str, begins: Sequence[bytes], *, mode: int = 0o600
) -> None:
    """Put ``data`` in the place of a file of ours, whole or not at all.

    A link is not followed: it would be replaced, so it is refused. The file is not synced. Raises
    ``ConfigError`` as `check_ours` does, and ``OSError``.
    """
    fresh = Path(f"{path}.new")
    for each in (path, fresh):
        if each.is_symlink():
            raise ConfigError(f"{what} {each} is a link: name a file")
        check_ours(each, what, begins)
    fresh.unlink(missing_ok=True)  # of a process that was killed
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def write_private(path: Path, make: Callable[[], str], what: str) -> None:
    """What ``make`` gives in a new file that only we may read; without a file it is not called.

    Raises ``ConfigError`` where something is there already or cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {what} to {path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(make())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def read_private(path: Path, what: str, most_bytes: int) -> str:
    """The text of a file that holds a secret. Raises ``ConfigError``: not there, not a file, not
    UTF-8, too large, or readable by others.

    As PostgreSQL has it: nobody but its owner may read it; of a file of root's that another user
    reads, the group may.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{what} {path} is not a file")
        others = 0o037 if found.st_uid == 0 and os.geteuid() != 0 else 0o077
        if found.st_mode & others:
            mode = stat.S_IMODE(found.st_mode)
            raise ConfigError(
                f"{what} {path} can be read or written by others (mode {mode:04o}): "
                f"chmod 600 {path}"
            )
        if found.st_size > most_bytes:
            raise ConfigError(f"{what} {path} is larger than {most_bytes} bytes")
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read {what} {path}: {reason}") from error
