"""The store that keeps nothing: for a demo, and for clouds that only answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection

from saccade.errors import QuestionError
from saccade_cloud.store.store_types import Observation, PacketRecord


class NoStore:
    """A ``Store`` that leaves no file behind; packets are acknowledged as not stored."""

    durable = False

    async def put(self, packet: PacketRecord) -> asyncio.Future[bool]:
        """See ``Store.put``."""
        result = asyncio.get_running_loop().create_future()
        result.set_result(False)
        return result

    async def note(self, observation: Observation) -> None:
        """See ``Store.note``."""

    async def resume_after(self, device: str, boot: int) -> int:
        """See ``Store.resume_after``."""
        return 0

    async def stored(self, device: str, boot: int, sequences: Collection[int]) -> list[int]:
        """See ``Store.stored``."""
        return []

    async def packet(self, device: str, boot: int, sequence: int) -> PacketRecord | None:
        """See ``Store.packet``."""
        return None

    async def history(
        self, device: str, camera: str, since_ns: int, until_ns: int, limit: int
    ) -> AsyncGenerator[Observation, None]:
        """See ``Store.history``."""
        raise QuestionError("this cloud keeps no history: it was started with --store memory:")
        yield  # a generator like the others

    async def close(self) -> None:
        """See ``Store.close``."""
