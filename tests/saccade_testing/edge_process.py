"""An edge without a camera, in a process of its own: the real uplink, the real spool, packets that
were made before. It starts in a third of a second, so that it can be killed hundreds of times.

`EdgePlan.start` is the parent's; the child is told what to do line by line:

    send N        capture N packets, one after the other
    clock S       from now on its clock is S seconds off: time.time and time_ns of its process
    readonly 0|1  whether its database takes writes, as on a disk that became read-only
    full 0|1      whether its database may not grow, as on a disk that is full
    drain         end when the cloud has all
    stop          end at once; what is not delivered stays in the spool
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from saccade import channel
from saccade.bundle import Bundle
from saccade.tls import ClientTls
from saccade.v1 import tokens_pb2
from saccade_edge.spool import Spool, SpoolEvent, SpoolFault, SpoolSettings
from saccade_edge.uplink import Acknowledged, Uplink, UplinkEvent, UplinkSettings, uplink_stream
from saccade_edge.uplink.link_state import Bounds
from saccade_testing.commands import importing
from saccade_testing.journal import Identity, Journal, JournalWriter
from saccade_testing.spools import Database

DEVICE, CAMERA = "kerb", "north"
NO_SPOOL = 3  # exit status
MOST_PAGES = 0xFFFFFFFE  # SQLite's own bound; it takes 1 for as many as there are
# A backlog of thousands of packets is through in seconds; bounds of memory stay as they are.
EAGER = {
    "bounds": Bounds(backlog_packets=32, backlog_bytes=1 << 18, backlog_bytes_per_s=1e9),
    "backoff_first_s": 0.02,
    "backoff_most_s": 0.25,
}
_clock, _clock_ns = time.time, time.time_ns


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """``packets``: a JSON list of packets in hex. ``every_s``: a packet each so many seconds, from
    the start on; 0: only when told to. ``ask_every``: every so many packets one has a question.
    """

    cloud: str
    bundle: Path
    packets: Path
    spool: Path
    journal: Path
    device: str = DEVICE
    every_s: float = 0.0
    ask_every: int = 0
    deadline_s: float = 0.5
    speed: float = 1.0
    quota_bytes: int = 1 << 30
    tls: ClientTls | None = None

    @asynccontextmanager
    async def start(self) -> AsyncIterator[EdgeProcess]:
        """Killed at the end, if it still runs."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "saccade_testing.edge_process", self.to_json()),
            stdin=pipe,
            stderr=pipe,
            env=importing(),
        )
        edge = EdgeProcess(process, Journal(self.journal))
        self.journal.touch()
        try:
            yield edge
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def to_json(self) -> str:
        tls = self.tls and [str(path or "") for path in (self.tls.ca, self.tls.cert, self.tls.key)]
        paths = {name: str(getattr(self, name)) for name in _PATHS}
        rest = {name: getattr(self, name) for name in _PLAIN}
        return json.dumps({**paths, **rest, "tls": tls})

    @classmethod
    def from_json(cls, text: str) -> EdgePlan:
        fields = json.loads(text)
        if (tls := fields.pop("tls")) is not None:
            fields["tls"] = ClientTls(*(Path(path) if path else None for path in tls))
        return cls(**{**fields, **{name: Path(fields[name]) for name in _PATHS}})


_PATHS = ("bundle", "packets", "spool", "journal")
_PLAIN = ("cloud", "device", "every_s", "ask_every", "deadline_s", "speed", "quota_bytes")


@dataclass
class EdgeProcess:
    """The parent's end."""

    process: asyncio.subprocess.Process
    journal: Journal

    async def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()

    async def until(self, condition: Callable[[Journal], bool], limit_s: float = 60.0) -> None:
        """Wait for something that the journal says."""
        ends = time.monotonic() + limit_s
        while True:
            self.journal.follow()
            if condition(self.journal):
                return
            assert time.monotonic() < ends, (
                f"not within {limit_s:g} s; {len(self.journal.handed)} handed over, told: "
                f"{self.journal.told[-5:]}"
            )
            assert self.process.returncode is None, await self.errors()
            await asyncio.sleep(0.02)

    async def send(self, packets: int, limit_s: float = 60.0) -> None:
        """Have it capture so many, until it has handed them over."""
        self.journal.follow()
        wanted = len(self.journal.handed) + packets
        await self.tell(f"send {packets}")
        await self.until(lambda journal: len(journal.handed) >= wanted, limit_s)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def end(self, how: str, limit_s: float = 60.0) -> None:
        """``how``: drain or stop. Raises ``AssertionError`` where it does not end well."""
        await self.tell(how)
        await self.ended(0, limit_s)

    async def ended(self, status: int, limit_s: float = 60.0) -> None:
        try:
            await asyncio.wait_for(self.process.wait(), limit_s)
        except asyncio.TimeoutError:
            self.journal.follow()
            raise AssertionError(f"it did not end: {self.journal.told[-5:]}") from None
        errors = await self.errors()
        assert self.process.returncode == status, errors
        self.journal.follow()

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024


class _Edge:
    """The child."""

    def __init__(
        self,
        plan: EdgePlan,
        bundle: Bundle,
        spool: Spool,
        database: Database,
        told: JournalWriter,
    ) -> None:
        self._plan = plan
        self._journal = told
        self._packets = [bytes.fromhex(each) for each in json.loads(plan.packets.read_text())]
        self._chance = random.Random()
        settings = UplinkSettings(
            plan.cloud,
            plan.device,
            (CAMERA,),
            live=True,
            tls=plan.tls,
            deadline_s=plan.deadline_s / plan.speed,
            connect_timeout_s=5.0 / plan.speed,
            **EAGER,  # type: ignore[arg-type]
        )
        self._spool = spool
        self._database = database
        self._uplink = Uplink(settings, bundle, self._hear, spool)

    async def run(self) -> None:
        running = asyncio.ensure_future(self._uplink.run())
        steady = asyncio.ensure_future(self._steadily())
        try:
            async for line in _lines():
                word, _, value = line.partition(" ")
                if word == "send":
                    for _ in range(int(value)):
                        await self._capture()
                elif word == "clock":
                    _set_clock(float(value))
                elif word == "readonly":
                    self._database.execute(f"PRAGMA query_only = {int(value)}")
                elif word == "full":
                    most = 1 if value == "1" else MOST_PAGES
                    self._database.execute(f"PRAGMA max_page_count = {most}")
                else:
                    return await self._end(running, word == "drain")
        finally:
            steady.cancel()
            await asyncio.wait({steady})
            await self._spool.close()

    async def _end(self, running: asyncio.Future[None], drain: bool) -> None:
        complete = await self._uplink.finish(55.0 if drain else 1.0, retire=not drain)
        await asyncio.wait_for(running, 20)
        self._uplink.abandon()
        report = self._spool.report()
        assert report.handed == report.ended + report.packets, report
        assert complete or not drain, report

    async def _steadily(self) -> None:
        while self._plan.every_s:
            await self._capture()
            await asyncio.sleep(self._plan.every_s)

    async def _capture(self) -> None:
        packet = tokens_pb2.FramePacket.FromString(self._chance.choice(self._packets))
        spool, identity = self._spool, self._uplink.identity
        packet.sequence = spool.next_sequence()
        packet.captured_ms = time.time_ns() // 1_000_000 - identity.epoch_unix_ms
        known: Identity = (identity.device, identity.boot, packet.sequence)
        self._journal.captured(known, packet.SerializeToString(deterministic=True))
        every = self._plan.ask_every
        asked = ["what color is it"] if every and packet.sequence % every == 0 else []
        await self._uplink.send(packet, asked)
        self._journal.handed(known)

    def _hear(self, event: UplinkEvent | SpoolEvent) -> None:
        if not isinstance(event, Acknowledged):  # thousands, and the store says it better
            self._journal.note("told", [type(event).__name__, str(event)])


def _compress(speed: float) -> None:
    """Times that are no settings, for all of this process."""
    channel.KEEPALIVE_MS = int(channel.KEEPALIVE_MS / speed)
    channel.KEEPALIVE_TIMEOUT_MS = int(channel.KEEPALIVE_TIMEOUT_MS / speed)
    uplink_stream.WELCOME_TIMEOUT_S /= speed


def _set_clock(off_s: float) -> None:
    """For all of this process: what Saccade calls by these names."""
    time.time = lambda: _clock() + off_s
    time.time_ns = lambda: _clock_ns() + int(off_s * 1e9)


async def _lines() -> AsyncIterator[str]:
    """Of the parent; "stop" when it is gone."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()
    yield "stop"


async def _child(plan: EdgePlan) -> int:
    _compress(plan.speed)
    journal = JournalWriter(plan.journal)
    bundle = Bundle.open(plan.bundle)
    database = Database()
    kept = SpoolSettings(
        plan.spool,
        quota_bytes=plan.quota_bytes,
        reserve_bytes=0,
        connect=database.connect,
    )
    try:
        spool = Spool.open(kept, plan.device, bundle.token_digest, CAMERA)
    except SpoolFault as fault:
        journal.note("told", ["SpoolFault", fault.fate.value])
        return NO_SPOOL
    await _Edge(plan, bundle, spool, database, journal).run()
    return 0


def at(plan: EdgePlan, folder: Path, device: str) -> EdgePlan:
    """The same with another name, spool and journal."""
    journal = folder / f"{device}.journal"
    return replace(plan, device=device, spool=folder / f"{device}.spool", journal=journal)


if __name__ == "__main__":
    sys.exit(asyncio.run(_child(EdgePlan.from_json(sys.argv[1]))))
