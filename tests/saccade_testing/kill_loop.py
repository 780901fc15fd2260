"""An edge process that is killed again and again, and what is left of its packets.

`kill_loop` is a parent's: it starts this module as a child, lets it send packets, kills it with
SIGKILL at a moment that a seed chooses, and starts it again on the same spool. The child prints a
packet's content once it was handed over; every content is unlike every other.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from saccade.bundle import Bundle
from saccade.v1 import tokens_pb2
from saccade_testing.commands import importing
from saccade_testing.spooled_edge import spooled_edge

DRAIN = "drain"


@dataclass
class Handed:
    """What the child said: contents that were handed over, and the last run's counters."""

    contents: set[str] = field(default_factory=set)
    cycles: int = 0


async def kill_loop(
    cloud: str, bundle: Path, spool: Path, *, cycles: int, seed: int, most_s: float = 1.0
) -> Handed:
    """``cycles`` runs that are killed within ``most_s`` after their first packet, then one that
    sends nothing new and ends when the cloud has all. Raises ``AssertionError`` where that fails.
    """
    chance = random.Random(seed)
    handed = Handed()
    for _ in range(cycles):
        await _killed_run(cloud, bundle, spool, chance.uniform(0.0, most_s), handed)
        handed.cycles += 1
    last = await _start(cloud, bundle, spool, DRAIN)
    _, errors = await asyncio.wait_for(last.communicate(), 90)
    assert last.returncode == 0, errors.decode()
    return handed


async def _killed_run(
    cloud: str, bundle: Path, spool: Path, after_s: float, handed: Handed
) -> None:
    child = await _start(cloud, bundle, spool, "send")
    assert child.stdout is not None
    first = await asyncio.wait_for(child.stdout.readline(), 60)
    assert first, "the child sent nothing"
    await asyncio.sleep(after_s)
    child.send_signal(signal.SIGKILL)
    rest = await child.stdout.read()
    await child.wait()
    lines = (first + rest).decode().split("\n")[:-1]  # a line that was cut off was not said
    handed.contents.update(lines)


async def _start(cloud: str, bundle: Path, spool: Path, what: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    words = ("-m", "saccade_testing.kill_loop", cloud, str(bundle), str(spool), what)
    return await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=pipe, stderr=pipe, env=importing()
    )


async def _child(cloud: str, bundle: Path, spool: Path, what: str) -> None:
    async with spooled_edge(cloud, Bundle.open(bundle), spool, deadline_s=0.2) as edge:
        if what == DRAIN:
            assert await edge.end(60), edge.spool.report()
            report = edge.spool.report()
            assert report.handed == report.ended + report.packets, report
            return
        while True:
            content = uuid.uuid4().hex
            packet = tokens_pb2.FramePacket(
                sequence=edge.spool.next_sequence(), layers=[content.encode()]
            )
            await edge.uplink.send(packet, ["what is it?"] if content[0] < "4" else [])
            sys.stdout.write(f"{content}\n")
            sys.stdout.flush()
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(_child(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
