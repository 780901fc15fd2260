"""A small RTSP camera: H.264 over RTP, interleaved in the RTSP connection (RFC 2326, 3984).

It plays the same pictures to each caller, in real time, with the RTP time stamps that a test wants.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import av

from saccade_testing.clips import as_frame, moving

if TYPE_CHECKING:
    from typing_extensions import Self

RTP_CLOCK_HZ = 90_000
FRAGMENT_BYTES = 1_400
_SPS, _PPS, _FRAGMENT = 7, 8, 28  # types of NAL units; FU-A


@dataclass(frozen=True, slots=True)
class Habits:
    """What the camera does. ``stamp_s``: the time stamp of frame ``n``, which is sent after
    ``n / rate`` seconds. From frame ``noise_from`` on the pictures are noise that no decoder takes,
    from ``silent_from`` on nothing comes, and at ``hangs_up_at`` the connection ends.
    ``answers``: False: it takes the connection and says nothing.
    """

    frames: int = 60
    rate: float = 30
    stamp_s: Callable[[int], float] | None = None
    noise_from: int | None = None
    silent_from: int | None = None
    hangs_up_at: int | None = None
    answers: bool = True


class RtspCamera:
    """Serves until it is closed; ``calls`` counts who asked for pictures."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits
        self._units = _encode(habits.frames)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._callers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.calls = 0
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stop.set()
        with self._lock:
            for each in (self._listener, *self._callers):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._callers.append(caller)
                thread = threading.Thread(target=self._serve, args=(caller,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, caller: socket.socket) -> None:
        with contextlib.suppress(OSError):
            received = caller.makefile("rb")
            while not self._stop.is_set():
                request = _request(received)
                if request is None:
                    return
                if self._habits.answers:
                    self._answer(caller, *request)
                if request[0] == "PLAY":
                    self.calls += 1
                    self._play(caller)
                    caller.shutdown(socket.SHUT_RDWR)
                    return

    def _answer(self, caller: socket.socket, method: str, url: str, number: str) -> None:
        body = _description(self._units[0]) if method == "DESCRIBE" else ""
        more = {
            "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
            "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Base: {url}/\r\n",
            "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
            "PLAY": "Session: 1\r\nRange: npt=0.000-\r\n",
        }.get(method, "")
        head = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        caller.sendall((head + body).encode())

    def _play(self, caller: socket.socket) -> None:
        habits, sequence, began_s = self._habits, 0, time.monotonic()
        for number, units in enumerate(self._units):
            if number == habits.hangs_up_at:
                return
            if habits.silent_from is not None and number >= habits.silent_from:
                self._stop.wait()
                return
            self._stop.wait(began_s + number / habits.rate - time.monotonic())
            stamp_s = habits.stamp_s(number) if habits.stamp_s else number / habits.rate
            noisy = habits.noise_from is not None and number >= habits.noise_from
            sent = [bytes([0x41]) + bytes(60)] if noisy else units
            for payload, last in _payloads(sent):
                _send(caller, sequence, round(stamp_s * RTP_CLOCK_HZ), payload, last=last)
                sequence += 1
        self._stop.wait(1 / habits.rate)


def _encode(frames: int) -> list[list[bytes]]:
    """Each frame's NAL units, with a key frame and its parameter sets every ten frames."""
    context = av.CodecContext.create("libx264", "w")
    context.height, context.width, context.pix_fmt = 96, 160, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 10), Fraction(10)
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "g": "10",
        "x264-params": "repeat-headers=1",
    }
    packets = []
    for number, picture in enumerate(moving(frames)):
        frame = as_frame(picture, "yuv420p")
        frame.pts = number
        packets.extend(context.encode(frame))
    packets.extend(context.encode(None))
    return [
        [unit.strip(b"\0") for unit in bytes(packet).split(b"\0\0\1") if unit.strip(b"\0")]
        for packet in packets
    ]


def _request(received: BinaryIO) -> tuple[str, str, str] | None:
    """Method, URL and number of the next request; reports of the receiver are left out."""
    lines: list[str] = []
    while True:
        first = received.read(1)
        if not first:
            return None
        if first == b"$":
            _, size = struct.unpack(">BH", received.read(3))
            received.read(size)
            continue
        line = (first + received.readline()).decode().strip()
        if line:
            lines.append(line)
        elif lines:
            method, url, _ = lines[0].split(" ", 2)
            numbers = [each.split(":")[1] for each in lines if each.lower().startswith("cseq")]
            return method, url, numbers[0].strip()


def _description(units: list[bytes]) -> str:
    sets = [unit for unit in units if unit[0] & 31 in (_SPS, _PPS)]
    words = ",".join(base64.b64encode(each).decode() for each in sets)
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
        "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={words}\r\na=control:track1\r\n"
    )


def _payloads(units: list[bytes]) -> list[tuple[bytes, bool]]:
    """A frame's RTP payloads, and which one is its last."""
    payloads: list[bytes] = []
    for unit in units:
        if len(unit) <= FRAGMENT_BYTES:
            payloads.append(unit)
            continue
        head, body = unit[0], unit[1:]
        cuts = range(0, len(body), FRAGMENT_BYTES)
        for cut in cuts:
            begins, ends = cut == cuts[0], cut == cuts[-1]
            mark = begins << 7 | ends << 6 | head & 31
            fragment = bytes([head & 0xE0 | _FRAGMENT, mark]) + body[cut : cut + FRAGMENT_BYTES]
            payloads.append(fragment)
    return [(each, at == len(payloads) - 1) for at, each in enumerate(payloads)]


def _send(caller: socket.socket, sequence: int, stamp: int, payload: bytes, *, last: bool) -> None:
    head = struct.pack(
        ">BBHII", 0x80, 96 | last << 7, sequence & 0xFFFF, stamp & 0xFFFFFFFF, 0x1234
    )
    caller.sendall(b"$\0" + struct.pack(">H", len(head) + len(payload)) + head + payload)
