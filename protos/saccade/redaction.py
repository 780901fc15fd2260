"""URLs without their secrets, and text of others without the secrets of our URLs.

Everything that shows a URL shows `redact` of it. Where another library's words are shown (an
error of FFmpeg's or of a database, a traceback, a log record), `scrub` removes what `remember` was
told of.

Rules:

- User name and password go, up to the *last* ``@``: a password that was not percent-encoded may
  hold any character. Where it is not clear what belongs to it, more is hidden, not less.
- ``name=value`` in a query or in a path is shown only for names that are known to be harmless.
- A fragment, a query without names, and a path's part that looks like a key are hidden.
- Nothing here raises, whatever the text is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

HIDDEN = "***"
# Shorter ones cannot be removed from text without spoiling it.
LEAST_SECRET_CHARS = 3
LEAST_KEY_CHARS = 8  # of a user without a password: a key, not a name that other words contain
MOST_REMEMBERED = 1024

# Names whose values are shown. Every camera maker has other names for its secrets.
SHOWN = frozenset(
    {
        *("channel", "ch", "chn", "stream", "streamtype", "subtype", "profile", "inst", "camera"),
        *("codec", "videocodec", "audio", "video", "resolution", "fps", "framerate", "compression"),
        *("transport", "transportmode", "proto", "unicast", "tcp", "udp", "timeout", "mode"),
        *("dbname", "host", "hostaddr", "port", "sslmode", "connect_timeout", "cache"),
        *("application_name", "target_session_attrs"),
    }
)
_USERS = frozenset({"user", "usr", "username", "login"})
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")
_LOCAL = frozenset({"file", "v4l2", "sqlite"})
# A name, "=", and a value up to where the next name begins: "user=a_password=b_channel=1".
_PAIR = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9.-]*(?:_[A-Za-z][A-Za-z0-9.-]*)*)(?P<sign>\s*=\s*)"
    r"(?P<value>'[^']*'|.*?)"
    r"(?=_[A-Za-z][A-Za-z0-9.-]*\s*=|[&;\s,/?]+[A-Za-z][A-Za-z0-9._-]*\s*=|$)",
    re.DOTALL,
)
_LIKE_A_LOGIN = re.compile(
    r"^\S*:\S*@\S|(?:pass|pwd|token|secret|key)[a-z_]*\s*=\s*\S", re.IGNORECASE
)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_KEY = re.compile(r"(?<=/)(?=[^/]*\d)(?=[^/]*[A-Za-z])[A-Za-z0-9-]{16,}(?=/|$)")


def redact(url: str) -> str:
    """``url``, or a database's ``name=value`` words, without what must not be read by others."""
    found = _SCHEME.match(url)
    if found is None:
        return _without_pairs(_without_login(url))
    scheme, rest = found[1], url[found.end() :].strip()
    if scheme.lower() in _LOCAL:
        return f"{scheme}://{_without_pairs(rest)}"
    place, _, query = _without_user(rest).partition("?")
    place, mark, _ = place.partition("#")
    query, hash_mark, _ = query.partition("#")
    shown = _KEY.sub(HIDDEN, _without_pairs(place))
    if query:
        shown += "?" + (_without_pairs(query) if "=" in query else HIDDEN)
    return f"{scheme}://{shown}{f'#{HIDDEN}' if mark or hash_mark else ''}"


def _without_user(rest: str) -> str:
    """What follows ``scheme://`` without user name and password."""
    before, at, after = rest.rpartition("@")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # "camera/stream@1" names nobody; "camera:554/stream@1" might, and is cut.
    return after if at and ("@" in authority or ":" in before) else rest


def _without_login(text: str) -> str:
    """``user:password@host`` without a scheme, or with half of one."""
    before, at, after = text.rpartition("@")
    return f"{HIDDEN}@{after}" if at and ":" in before.partition("/")[0] else text


def _without_pairs(text: str) -> str:
    return _PAIR.sub(_shown_pair, text)


def _shown_pair(pair: re.Match[str]) -> str:
    value = pair["value"] if _harmless(pair["name"]) else HIDDEN
    return f"{pair['name']}{pair['sign']}{value}"


def _harmless(name: str) -> bool:
    return name.lower() in SHOWN


def secrets_of(url: str) -> frozenset[str]:
    """What `redact` hides of ``url``, as it stands there, decoded, and percent-encoded."""
    found = {form for secret in _hidden(url) for form in _forms(secret)}
    return frozenset(each for each in found if len(each) >= LEAST_SECRET_CHARS)


def _hidden(url: str) -> Iterator[str]:
    found = _SCHEME.match(url)
    rest = url[found.end() :].strip() if found else url
    if found is None or found[1].lower() not in _LOCAL:
        kept = _without_user(rest) if found else _without_login(rest).removeprefix(f"{HIDDEN}@")
        yield from _of_user(rest[: len(rest) - len(kept)].removesuffix("@"))
        place, _, query = kept.partition("?")
        yield from _KEY.findall(place)
        yield kept.partition("#")[2]
        yield query if "=" not in query else ""
        rest = kept
    for pair in _PAIR.finditer(rest):
        if not _harmless(pair["name"]) and pair["name"].lower() not in _USERS:
            yield pair["value"].strip("'")


def _of_user(user: str) -> Iterator[str]:
    """What of ``user:password`` no text may have."""
    _, colon, password = user.partition(":")
    if colon or len(user) >= LEAST_KEY_CHARS:
        yield user
    yield password
    # A library that splits at another "@", "/" or "#" than we do repeats a piece.
    yield from re.split(r"[@/?#]", password)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    decoded = unquote(secret)
    yield decoded
    yield quote(decoded, safe="", errors="surrogateescape")
    yield quote(decoded, errors="surrogateescape")


_lock = threading.Lock()
_remembered: dict[str, str] = {}  # what is looked for, and what is shown in its place


def remember(url: str) -> None:
    """From now on `scrub` removes this URL's secrets."""
    secrets = secrets_of(url)
    if not secrets:
        return
    with _lock:
        known = {**_remembered, url: redact(url), **dict.fromkeys(secrets, HIDDEN)}
        _remembered.clear()
        # Long ones first: a part of a secret would spoil the whole.
        for each in sorted(known, key=len, reverse=True)[:MOST_REMEMBERED]:
            _remembered[each] = known[each]


def remember_words(words: Iterable[str]) -> None:
    """`remember` those words of a command line or an environment that look like a URL."""
    for word in words:
        value = re.sub(r"^--[a-z-]+=", "", word)
        if _SCHEME.match(value) or _LIKE_A_LOGIN.search(value):
            remember(value)


def scrub(text: str) -> str:
    """``text`` without the secrets that we were told of, its URLs as `redact` shows them."""
    with _lock:
        known = list(_remembered.items())
    for secret, shown in known:
        text = text.replace(secret, shown)
    return _WORD.sub(lambda word: redact(word[0]), text)
