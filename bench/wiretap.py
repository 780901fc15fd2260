"""A TCP forwarder that counts what passes, by HTTP/2 frame (RFC 9113), without changing it; and
cuts it off when told to.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES = 9
MESSAGE_PREFIX_BYTES = 5  # gRPC: one byte for compression, four for the length
_KINDS = {0: "DATA", 1: "HEADERS", 4: "SETTINGS", 6: "PING", 7: "GOAWAY", 8: "WINDOW_UPDATE"}


@dataclass
class Direction:
    """``total``: bytes at the socket; ``frames`` and ``payload``: by kind of HTTP/2 frame."""

    total: int = 0
    frames: Counter[str] = field(default_factory=Counter)
    payload: Counter[str] = field(default_factory=Counter)

    @property
    def control_bytes(self) -> int:
        """All but DATA frames: preface, headers, settings, pings, window updates."""
        data = self.payload["DATA"] + FRAME_HEADER_BYTES * self.frames["DATA"]
        return self.total - data


class _Reader:
    """Cuts a byte stream into frames."""

    def __init__(self, direction: Direction, skip: int) -> None:
        self._direction = direction
        self._skip = skip  # bytes that belong to no header: preface, then payloads
        self._header = b""

    def take(self, data: bytes) -> None:
        self._direction.total += len(data)
        while data:
            passed = min(self._skip, len(data))
            data, self._skip = data[passed:], self._skip - passed
            wanted = FRAME_HEADER_BYTES - len(self._header)
            self._header, data = self._header + data[:wanted], data[wanted:]
            if len(self._header) == FRAME_HEADER_BYTES:
                self._begin()

    def _begin(self) -> None:
        length = int.from_bytes(self._header[:3], "big")
        kind = _KINDS.get(self._header[3], "other")
        self._direction.frames[kind] += 1
        self._direction.payload[kind] += length
        self._skip, self._header = length, b""


class Wiretap:
    """Listens on a port of its own while the ``with`` statement lasts; forwards to ``target``."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self.up, self.down = Direction(), Direction()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Wiretap:  # noqa: PYI034 - typing.Self is Python 3.11
        self._thread.start()
        listening = asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        return self

    @property
    def address(self) -> str:
        """Where the edge connects to."""
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection, both ends; new ones are served as before."""
        self._loop.call_soon_threadsafe(self._abort)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        writers = {writer, far_writer}
        self._writers |= writers
        try:
            await asyncio.gather(
                _pump(reader, far_writer, _Reader(self.up, len(PREFACE))),
                _pump(far_reader, writer, _Reader(self.down, 0)),
            )
        finally:
            self._writers -= writers


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: _Reader
) -> None:
    try:
        while data := await reader.read(65536):
            counted.take(data)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # either end may leave as it likes
    finally:
        writer.close()
