"""A scripted cloud that stores what it hears by its identity, as a durable one does."""

from __future__ import annotations

from dataclasses import dataclass, field

from saccade.bundle import Bundle
from saccade.limits import Limits
from saccade.session import PROTOCOL
from saccade.v1 import vision_pb2 as pb
from saccade_testing.scripted_cloud import Line


@dataclass
class Store:
    """``packets``: (boot, sequence) -> what was stored; ``mistaken``: identities under which a
    packet came that is not the one that is stored.
    """

    bundle: Bundle
    packets: dict[tuple[int, int], bytes] = field(default_factory=dict)
    mistaken: list[tuple[int, int]] = field(default_factory=list)

    async def script(self, line: Line) -> None:
        """Of every conversation."""
        message = await line.hear()
        if message is None:
            return
        hello = message.hello
        await line.say(welcome=self._welcome(hello))
        while (message := await line.hear()) is not None:
            kind = message.WhichOneof("kind")
            if kind == "packet":
                self._put((hello.boot, message.packet.sequence), message.packet.SerializeToString())
                await line.ack(message.packet)
            elif kind == "question":
                await line.answer(message.question, "blue", " car")
            else:
                return

    def _welcome(self, hello: pb.Hello) -> pb.Welcome:
        known = {sequence for boot, sequence in self.packets if boot == hello.boot}
        return pb.Welcome(
            protocol=PROTOCOL,
            token_digest=self.bundle.token_digest,
            codecs=self.bundle.manifest.codecs,
            limits=Limits.of(self.bundle.manifest).to_wire(),
            resume_after=max(known, default=0),
            stored=[sequence for sequence in hello.in_doubt if sequence in known],
        )

    def _put(self, identity: tuple[int, int], packet: bytes) -> None:
        stored = self.packets.setdefault(identity, packet)
        if stored != packet:
            self.mistaken.append(identity)
