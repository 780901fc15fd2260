"""The contract of a store. Every durable one passes ``StoreContract`` (tests/cloud), which is this
page as tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from typing import Protocol

from saccade_cloud.store.store_types import Observation, PacketRecord


class Store(Protocol):
    """Used from one event loop, which it never blocks.

    Every method raises ``StorageError`` when the disk or the database does not do its part: full,
    read-only, gone. Nothing is half stored then, and the same call may be made again.
    """

    @property
    def durable(self) -> bool:
        """Whether anything here outlives the process."""
        ...

    async def put(self, packet: PacketRecord) -> asyncio.Future[bool]:
        """Take ``packet`` in, waiting for room; the future's result is what became of it.

        True: it is stored durably, now or when the same packet came before. False: this store is
        not durable and never will be. The future raises ``PacketError`` where another packet has
        the same identity (the first stays, and is not changed), or ``StorageError``.

        Two calls from one task are stored in their order; room is bounded, so a slow disk slows
        those who put.
        """
        ...

    async def note(self, observation: Observation) -> None:
        """Store ``observation`` durably. The same one again changes nothing: the first stays."""
        ...

    async def resume_after(self, device: str, boot: int) -> int:
        """The highest sequence that is stored; 0 when none. Lower ones may be missing."""
        ...

    async def stored(self, device: str, boot: int, sequences: Collection[int]) -> list[int]:
        """Those of ``sequences`` that are stored, ascending."""
        ...

    async def packet(self, device: str, boot: int, sequence: int) -> PacketRecord | None:
        """The packet with that identity, with its session; None when it is not stored."""
        ...

    def history(
        self, device: str, camera: str, since_ns: int, until_ns: int, limit: int
    ) -> AsyncGenerator[Observation, None]:
        """A camera's observations captured in [since, until), oldest first; ``limit`` 0: all.

        Read in pages, so that a slow reader holds nothing up. Raises ``QuestionError`` where
        this store keeps none.
        """
        ...

    async def close(self) -> None:
        """Store what was put, then let go of the disk. Closing twice is safe."""
        ...
