"""What comes in is judged once, on arrival: kept is what decoding used, and only what a question
could be answered about.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from saccade.bundle import Bundle, write_manifest
from saccade.packet import pack
from saccade.types import FrameTokens
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.assemble import open_engine
from saccade_cloud.memory_frames import MemoryFrames
from saccade_cloud.quotas import Quota
from saccade_cloud.server_settings import ServerSettings
from saccade_testing.cloud_server import (
    QUICK,
    EdgeEnd,
    HeldEngine,
    Served,
    hello,
    packet,
    question,
    serving,
)
from saccade_testing.questions import infer_request, wire_question
from saccade_testing.tables import every_codec
from saccade_testing.tiny_bundle import write_bundle
from saccade_testing.tokens import EPOCH_UNIX_MS, usual_frame

Work = Callable[[Served], Awaitable[None]]
JUNK = 100_000
CODECS = every_codec()


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("calibrated"), calibrated=True)


def run(
    bundle: Bundle, work: Work, settings: ServerSettings = QUICK, store: str = "memory:"
) -> None:
    async def main() -> None:
        async with serving(bundle, settings=settings, store=store) as served:
            await work(served)

    asyncio.run(main())


def changed(bundle: Bundle, folder: Path, section: str, **values: Any) -> Bundle:
    """The bundle with other values in a section of its manifest."""
    shutil.copytree(bundle.folder, folder)
    fields = json.loads((folder / "manifest.json").read_text())
    fields[section].update(values)
    write_manifest(folder, fields)
    return Bundle.open(folder)


def unknown_field(size: int = JUNK) -> bytes:
    """Field 900, bytes, as protobuf writes it: no message of this version has it."""
    length, out = size, [0xA2, 0x38]
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length]) + bytes(size)


def stuffed(message: Message) -> Any:
    """The same message with an unknown field, as a later version could send it."""
    return type(message).FromString(message.SerializeToString() + unknown_field())


def layered(sequence: int = 1, codec: str = "klt", frame: FrameTokens | None = None) -> Any:
    whole = replace(frame or usual_frame(), sequence=sequence)
    return pack(whole, codec, epoch_unix_ms=EPOCH_UNIX_MS, codecs=CODECS)


def kept_packet(served: Served, sequence: int = 1) -> bytes:
    frame = served.cloud.frames.get("kerb", 1, sequence)
    assert frame is not None
    return frame.tokens.packet


class TestKept:
    def test_unknown_fields_are_counted_and_not_kept(self, bundle: Bundle, tmp_path: Path) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.say(hello=stuffed(hello(bundle)))
            assert (await edge.hear()).HasField("welcome")
            sent = stuffed(packet(1))
            await edge.call.write(stuffed(pb.EdgeMessage(packet=sent)))
            ack = (await edge.hear()).ack
            assert (ack.bytes, ack.stored) == (sent.ByteSize(), True)
            assert kept_packet(served) == packet(1).SerializeToString()
            frame = served.cloud.frames.get("kerb", 1, 1)
            assert frame is not None
            assert frame.tokens.hello == hello(bundle)
            assert served.cloud.frames.cameras()[0].bytes == sent.ByteSize()
            record = await served.cloud.store.packet("kerb", 1, 1)
            assert record is not None
            assert record.payload == packet(1).SerializeToString()

        run(bundle, work, store=str(tmp_path / "store.db"))

    def test_doubts_are_answered_and_not_kept(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet(in_doubt=range(1, 1000))
            await edge.say(packet=packet(1))
            await edge.hear()
            frame = served.cloud.frames.get("kerb", 1, 1)
            assert frame is not None
            assert not frame.tokens.hello.in_doubt

        run(bundle, work)

    def test_damaged_layers_and_those_behind_them_are_not_kept(self, calibrated: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, calibrated)
            await edge.greet()
            sent = layered()
            first = sent.layers[0]
            sent.layers[1] = bytes(JUNK)
            await edge.say(packet=sent)
            assert (await edge.hear()).ack.bytes == sent.ByteSize()
            kept = tokens_pb2.FramePacket.FromString(kept_packet(served))
            assert list(kept.layers) == [first]
            assert served.cloud.frames.cameras()[0].damaged_layers == 1
            await edge.say(question=question(1))
            assert (await edge.answer(1))[0], "what is kept is enough for an answer"

        run(calibrated, work)

    @pytest.mark.parametrize(("codec", "most"), [("f16", 1), ("int8z", 1), ("klt", 3), ("rvq", 2)])
    @pytest.mark.parametrize("surplus", [b"", bytes(JUNK), b"\0\0\0\0"])
    def test_more_layers_than_the_codec_writes_are_refused_also_damaged(
        self, calibrated: Bundle, codec: str, most: int, surplus: bytes
    ) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, calibrated)
            await edge.greet()
            sent = layered(codec=codec)
            assert len(sent.layers) == most
            sent.layers.append(surplus)
            await edge.say(packet=sent)
            failure = (await edge.hear()).failure
            assert (failure.code, failure.sequence) == ("packet", 1)
            assert f"{codec} has 1 to {most} layers, received {most + 1}" in failure.message
            assert served.cloud.frames.get("kerb", 1, 1) is None

        run(calibrated, work)

    def test_one_devices_frames_stay_within_its_bytes(self, calibrated: Bundle) -> None:
        """Damaged layers, unknown fields, and a new session for every few frames."""
        settings = replace(QUICK, frame_bytes=400_000, device_frame_bytes=100_000)

        async def work(served: Served) -> None:
            quiet = EdgeEnd(served, calibrated)
            await quiet.greet(device="quiet")
            for sequence in range(1, 6):
                await quiet.say(packet=packet(sequence, kept=4))
                await quiet.hear()
            frames = served.cloud.frames
            assert isinstance(frames, MemoryFrames)
            names = [f"{number:02}" + "n" * 62 for number in range(64)]
            for round_ in range(8):
                edge = EdgeEnd(served, calibrated)
                await edge.greet(cameras=names, boot=round_, device="greedy")
                for sequence in range(1, 33):
                    sent = layered(sequence)
                    sent.camera = sequence % 64
                    sent.layers[2] = bytes(JUNK)
                    await edge.say(packet=stuffed(sent))
                    assert (await edge.hear()).HasField("ack")
                    assert frames.held_bytes <= 100_000 + 5 * 4000
                edge.call.cancel()
            assert all(frames.get("quiet", 1, sequence) for sequence in range(1, 6))

        run(calibrated, work, settings)

    def test_a_question_that_waits_holds_its_text_and_no_more(self, bundle: Bundle) -> None:
        async def main() -> None:
            held = HeldEngine(open_engine(bundle))
            async with serving(bundle, held) as served:
                edge = EdgeEnd(served, bundle)
                await edge.greet()
                await edge.say(packet=packet(1))
                await edge.hear()
                await edge.say(question=question(7, text="w" * JUNK))
                failure = (await edge.hear()).failure
                assert (failure.code, failure.question_id) == ("question", 7)
                assert "the bundle allows 200" in failure.message
                await edge.say(question=stuffed(question(8)))
                held.gate.set()
                assert (await edge.answer(8))[0]

        asyncio.run(main())


class TestAnswerable:
    """Refused are packets about which no question could be answered; the stream goes on."""

    async def refused(self, served: Served, bundle: Bundle, sent: Any, code: str) -> str:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        await edge.say(packet=sent)
        failure = (await edge.hear()).failure
        assert (failure.code, failure.sequence, failure.fatal) == (code, sent.sequence, False)
        assert served.cloud.frames.get("kerb", 1, sent.sequence) is None
        assert await served.cloud.store.packet("kerb", 1, sent.sequence) is None
        small = replace(usual_frame(views=2, kept=2), sequence=99)
        await edge.say(packet=pack(small, "f16", epoch_unix_ms=EPOCH_UNIX_MS))
        assert (await edge.hear()).HasField("ack"), "the stream goes on"
        return failure.message

    def test_more_crops_than_the_model_knows(self, bundle: Bundle, tmp_path: Path) -> None:
        few = changed(bundle, tmp_path / "few", "regions", max_crops=3)

        async def work(served: Served) -> None:
            said = await self.refused(served, few, packet(1), "limit")
            assert said == "received 5 views, the limit is 4"

        run(few, work, store=str(tmp_path / "store.db"))

    def test_more_closeups_than_the_model_knows(self, bundle: Bundle, tmp_path: Path) -> None:
        few = changed(bundle, tmp_path / "few", "regions", max_crops=3, max_closeups=1)
        views = list(usual_frame(5).views)
        views[3:] = [replace(view, closeup_of=view.slot - 2) for view in views[3:]]
        frame = replace(usual_frame(5), views=tuple(views))

        async def work(served: Served) -> None:
            sent = pack(frame, "f16", epoch_unix_ms=EPOCH_UNIX_MS)
            said = await self.refused(served, few, sent, "limit")
            assert said == "received 2 close-ups, the limit is 1"

        run(few, work, store=str(tmp_path / "store.db"))

    def test_no_token_at_all(self, bundle: Bundle, tmp_path: Path) -> None:
        async def work(served: Served) -> None:
            said = await self.refused(served, bundle, packet(1, kept=0), "packet")
            assert said == "frame 1 has no tokens"

        run(bundle, work, store=str(tmp_path / "store.db"))

    def test_more_tokens_than_the_context_has_room_for(
        self, bundle: Bundle, tmp_path: Path
    ) -> None:
        # "<bos>", "question : a answer :" in the tiny vocabulary, and one token of the answer.
        text = 1 + 5 + 1
        small = changed(bundle, tmp_path / "small", "language", max_context=5 * 16 + text)
        least = changed(bundle, tmp_path / "least", "language", max_context=5 * 16 + text - 1)

        async def fits(served: Served) -> None:
            edge = EdgeEnd(served, small)
            await edge.greet()
            await edge.say(packet=packet(1))
            assert (await edge.hear()).HasField("ack")
            await edge.say(question=wire_question(1, 1, "a", max_tokens=1))
            assert (await edge.answer(1))[1].finish

        async def does_not(served: Served) -> None:
            said = await self.refused(served, least, packet(1), "limit")
            assert said == "received 80 visual tokens in a frame, the limit is 79"

        run(small, fits)
        run(least, does_not, store=str(tmp_path / "store.db"))

    def test_a_picture_of_an_application_is_refused_alike(
        self, bundle: Bundle, tmp_path: Path
    ) -> None:
        few = changed(bundle, tmp_path / "few", "regions", max_crops=3)

        async def work(served: Served) -> None:
            call = served.vision.Infer(infer_request(hello(few), packet(1), "a"))
            with pytest.raises(grpc.aio.AioRpcError, match="received 5 views, the limit is 4"):
                await call.read()

        run(few, work)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_streams_hold_no_memory_of_what_their_hellos_carried_beside(bundle: Bundle) -> None:
    """Sixty streams, each with a megabyte beside its hello that nobody knows."""
    padding = unknown_field(1_000_000)

    async def work(served: Served) -> None:
        edges, before = [], 0
        for number in range(61):
            if number == 1:  # the first one has warmed up what is shared
                before = resident_bytes()
            edge = EdgeEnd(served, bundle)
            mine = hello(bundle, cameras=[f"camera {number}"])
            whole = pb.EdgeMessage.FromString(
                pb.EdgeMessage(hello=mine).SerializeToString() + padding
            )
            await edge.call.write(whole)
            assert (await edge.hear()).HasField("welcome")
            del whole, mine
            await edge.say(packet=packet(1))  # gRPC itself holds the last message of a stream
            assert (await edge.hear()).HasField("ack")
            edges.append(edge)
        grown = resident_bytes() - before
        assert grown < 30_000_000

    settings = replace(QUICK, quota=Quota(streams=100, bytes_per_s=1e9))
    run(bundle, work, settings)
