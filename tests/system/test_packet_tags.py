"""A device's packets are its own, also behind a proxy that ends TLS and changes what it carries."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade.errors import TagError
from saccade.packet_tag import check_tag, new_key
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.packet_keys import PacketKeys, signed_session
from saccade_cloud.refusal_counts import REFUSALS
from saccade_cloud.server_tls import ServerTls
from saccade_edge.uplink import Acknowledged, Answered, Refused
from saccade_testing.certificates import Authority
from saccade_testing.cloud_server import Served, packet, serving
from saccade_testing.spooled_edge import SpooledEdge, spooled_edge
from saccade_testing.tiny_bundle import write_bundle
from saccade_testing.tls_proxy import flip_tokens, tls_proxy

KEY = new_key()
QUESTION = "what color is it"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("tiny"))


async def send(edge: SpooledEdge, *questions: str) -> int:
    """A packet that a cloud can read; its sequence."""
    sent = packet(edge.spool.next_sequence())
    sent.captured_ms = 0
    await edge.uplink.send(sent, questions)
    return sent.sequence


def play(
    tiny: Bundle,
    authority: Authority,
    folder: Path,
    change: Callable[[pb.EdgeMessage], None],
    *,
    key: bytes | None,
    known: bytes | None,
) -> tuple[SpooledEdge, list[bytes]]:
    """Two packets with a question each through the proxy; the edge, and what the cloud stored."""
    keys = PacketKeys({} if known is None else {"kerb": known})
    stored: list[bytes] = []

    async def main() -> SpooledEdge:
        cert, private, _ = authority.server
        credentials = ServerTls(cert, private).credentials(ask_client=False)
        async with (
            serving(tiny, store=str(folder / "store"), keys=keys) as served,
            tls_proxy(served.address, credentials, change) as address,
            spooled_edge(
                address, tiny, folder / "spool", tls=authority.trusting(), packet_key=key
            ) as edge,
        ):
            for _ in range(2):
                await send(edge, QUESTION)
            await edge.until(lambda: settled(edge) == 4)
            await edge.end()
            stored.extend(await payloads(served, edge))
            return edge

    return asyncio.run(asyncio.wait_for(main(), 60)), stored


def settled(edge: SpooledEdge) -> int:
    """Packets and questions that the cloud has answered for."""
    return sum(len(edge.told(kind)) for kind in (Acknowledged, Answered, Refused))


async def payloads(served: Served, edge: SpooledEdge) -> list[bytes]:
    boot = edge.spool.identity.boot
    records = [await served.cloud.store.packet("kerb", boot, number) for number in (1, 2)]
    for record in records:
        if record is not None and KEY:
            message = tokens_pb2.FramePacket.FromString(record.payload)
            if message.tag:
                check_tag(message, signed_session(record.session.hello()), KEY)
    return [record.payload for record in records if record is not None]


def honest(_: pb.EdgeMessage) -> None:
    pass


def flipping(message: pb.EdgeMessage) -> None:
    if message.WhichOneof("kind") == "packet" and message.packet.sequence == 2:
        flip_tokens(message.packet)


def test_a_signed_packet_passes_an_honest_proxy_and_is_stored_with_its_tag(
    tiny: Bundle, authority: Authority, tmp_path: Path
) -> None:
    edge, stored = play(tiny, authority, tmp_path, honest, key=KEY, known=KEY)
    assert len(edge.told(Acknowledged)) == len(edge.told(Answered)) == 2
    assert all(tokens_pb2.FramePacket.FromString(payload).tag for payload in stored)
    assert len(stored) == 2


def test_tokens_flipped_behind_the_end_of_tls_are_found_out(
    tiny: Bundle, authority: Authority, tmp_path: Path
) -> None:
    before = REFUSALS.counts["tag"]
    edge, stored = play(tiny, authority, tmp_path, flipping, key=KEY, known=KEY)
    refused = edge.told(Refused)
    # The packet, and with it the question about it.
    assert [(type(told.error), told.sequence) for told in refused] == [(TagError, 2)] * 2
    assert [told.sequence for told in edge.told(Answered)] == [1]
    assert REFUSALS.counts["tag"] == before + 1
    assert edge.spool.report().counts["refused:tag"] == 1
    assert len(stored) == 1


def test_without_keys_nobody_notices(tiny: Bundle, authority: Authority, tmp_path: Path) -> None:
    """What the proxy does is no accident that some checksum would find."""
    edge, stored = play(tiny, authority, tmp_path, flipping, key=None, known=None)
    assert len(edge.told(Acknowledged)) == 2
    assert edge.told(Refused) == []
    assert len({hashlib.sha256(payload[-40:]).digest() for payload in stored}) == 2


def moved_in_time(message: pb.EdgeMessage) -> None:
    if message.WhichOneof("kind") == "hello":
        message.hello.epoch_unix_ms += 3_600_000


@pytest.mark.parametrize(("key", "change"), [(None, honest), (new_key(), honest)])
def test_a_device_that_has_a_key_is_heard_with_no_other(
    tiny: Bundle, authority: Authority, tmp_path: Path, key: bytes | None,
    change: Callable[[pb.EdgeMessage], None],
) -> None:  # fmt: skip
    edge, stored = play(tiny, authority, tmp_path, change, key=key, known=KEY)
    assert {type(told.error) for told in edge.told(Refused)} == {TagError}
    assert (edge.told(Acknowledged), stored) == ([], [])


def test_packets_cannot_be_moved_to_another_time(
    tiny: Bundle, authority: Authority, tmp_path: Path
) -> None:
    edge, stored = play(tiny, authority, tmp_path, moved_in_time, key=KEY, known=KEY)
    assert {type(told.error) for told in edge.told(Refused)} == {TagError}
    assert stored == []
