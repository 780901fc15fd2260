"""What peers did wrong: counted always, logged a little, never with a traceback.

A stranger decides how often this happens, so it must not decide how much is written: one line for
each kind and host in ``EVERY_S``, with the number of those that were left out before it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

EVERY_S = 10.0
MOST_HOSTS = 64  # remembered apart; further ones share a line
OTHERS = "other hosts"

# What gRPC logs as an error, with a traceback, and only a peer can cause: header bytes that are no
# UTF-8, and a connection or message that breaks while it is read.
_GRPC_LOGGER = "grpc._cython.cygrpc"
_GRPC_SOURCES = "src/python/grpcio/"  # of its compiled part, as tracebacks name it
_PEER_FAULTS = {
    "Invalid encoding on": "headers",
    "ExecuteBatchError raised in core by servicer method": "broken call",
}


@dataclass(slots=True)
class _Line:
    logged_s: float
    left_out: int = 0


class Refusals:
    """``counts``: by kind, since the start."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: dict[tuple[str, str], _Line] = {}
        self.counts: Counter[str] = Counter()

    def note(self, kind: str, peer: str, reason: str, level: int = logging.INFO) -> None:
        """``peer``: as gRPC names it, "ipv4:192.0.2.7:4711"."""
        self.counts[kind] += 1
        if not log.isEnabledFor(level):
            return
        now_s = self._clock()
        key = self._key(kind, host_of(peer), now_s)
        line = self._lines.get(key)
        if line is not None and now_s - line.logged_s < EVERY_S:
            line.left_out += 1
            return
        left_out = line.left_out if line else 0
        self._lines[key] = _Line(now_s)
        more = f" (and {left_out} more since the last line)" if left_out else ""
        log.log(level, "refused %s: %s: %s%s", key[1], kind, reason, more)

    def _key(self, kind: str, host: str, now_s: float) -> tuple[str, str]:
        if (kind, host) in self._lines:
            return kind, host
        if len(self._lines) >= MOST_HOSTS:
            old = [k for k, line in self._lines.items() if now_s - line.logged_s >= EVERY_S]
            for key in old:
                if not self._lines[key].left_out:
                    del self._lines[key]
        return kind, (host if len(self._lines) < MOST_HOSTS else OTHERS)


def host_of(peer: str) -> str:
    """The peer without its port, which changes with every connection."""
    kind, _, place = peer.partition(":")
    return place.rpartition(":")[0] if kind in ("ipv4", "ipv6") else peer


class _PeerFaults(logging.Filter):
    """Takes out of gRPC's log what its peers caused, and counts it."""

    def filter(self, record: logging.LogRecord) -> bool:
        for begins, kind in _PEER_FAULTS.items():
            if str(record.msg).startswith(begins):
                REFUSALS.note(kind, "a peer", "gRPC could not read it", logging.WARNING)
                return False
        if _asserted_in_grpc(record):
            REFUSALS.note("broken call", "a peer", "it broke inside gRPC", logging.WARNING)
            return False
        return True


def _asserted_in_grpc(record: logging.LogRecord) -> bool:
    """Whether an assertion of gRPC's own failed: a call that breaks at the wrong moment does that.
    Assertions of our code are defects, and stay.
    """
    if not record.exc_info or not isinstance(record.exc_info[1], AssertionError):
        return False
    trace = record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(_GRPC_SOURCES)


REFUSALS = Refusals()  # of this process
_FILTER = _PeerFaults()


def hear_grpc() -> None:
    """From now on gRPC's lines about its peers' faults are counted here. Twice is once."""
    logging.getLogger(_GRPC_LOGGER).addFilter(_FILTER)
