from __future__ import annotations

import asyncio
from typing import Any

import google_crc32c
import grpc
import pytest

from saccade.bundle import Bundle
from saccade.errors import CodecError, DigestMismatch, PacketError, QuestionError, SaccadeError
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.wire_errors import from_rpc
from saccade_cloud.assemble import open_engine
from saccade_testing.cloud_server import (
    GatedEngine,
    Served,
    damaged_packet,
    hello,
    packet,
    serving,
    until,
)
from saccade_testing.questions import infer_request


def ask(bundle: Bundle, **fields: Any) -> list[pb.InferReply]:
    usual: dict[str, Any] = {
        "hello": hello(bundle),
        "packet": packet(),
        "question": "what color is it",
    }

    async def main() -> list[pb.InferReply]:
        async with serving(bundle) as served:
            return await infer(served, infer_request(**(usual | fields)))

    return asyncio.run(main())


async def infer(served: Served, request: pb.InferRequest) -> list[pb.InferReply]:
    return [reply async for reply in served.vision.Infer(request, timeout=20)]


def test_one_call_streams_one_answer(bundle: Bundle) -> None:
    replies = ask(bundle)
    assert "".join(reply.text for reply in replies)
    assert [reply.last for reply in replies] == [False] * (len(replies) - 1) + [True]
    assert replies[-1].finish in ("stop", "length")
    assert "decode_tokens" in [stage.stage for stage in replies[-1].timing]


def test_max_tokens_cuts_the_answer(bundle: Bundle) -> None:
    replies = ask(bundle, max_tokens=3)
    assert len(replies) == 3
    assert replies[-1].finish == "length"


@pytest.mark.parametrize(
    ("fields", "kind", "status"),
    [
        ({"question": ""}, QuestionError, grpc.StatusCode.INVALID_ARGUMENT),
        ({"packet": damaged_packet()}, PacketError, grpc.StatusCode.INVALID_ARGUMENT),
        ({"packet": tokens_pb2.FramePacket()}, PacketError, grpc.StatusCode.INVALID_ARGUMENT),
        ({"hello": pb.Hello(protocol=1)}, DigestMismatch, grpc.StatusCode.FAILED_PRECONDITION),
        ({"max_tokens": 4000}, SaccadeError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_what_cannot_be_answered_is_a_typed_error(
    bundle: Bundle, fields: dict[str, Any], kind: type[SaccadeError], status: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        ask(bundle, **fields)
    assert caught.value.code() is status
    assert isinstance(from_rpc(caught.value), kind)


def test_features_that_are_not_finite_are_refused(bundle: Bundle) -> None:
    poisoned = packet()
    poisoned.layers[0] = poison(poisoned.layers[0])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        ask(bundle, packet=poisoned)
    assert isinstance(from_rpc(caught.value), (PacketError, CodecError))


def poison(layer: bytes) -> bytes:
    """The same f16 layer with a not-a-number among its features and a good checksum."""
    body = layer[:-6] + b"\x00\x7e"
    return body + int(google_crc32c.value(body)).to_bytes(4, "little")


def test_fifty_callers_at_once_get_the_answers_of_one_by_one(bundle: Bundle) -> None:
    requests = [
        infer_request(hello(bundle), packet(kept=3 + i % 6), f"how many {'red ' * (i % 7)}")
        for i in range(50)
    ]

    async def main() -> None:
        async with serving(bundle) as served:
            alone = [text_of(await infer(served, request)) for request in requests]
            together = await asyncio.gather(*(infer(served, request) for request in requests))
            assert [text_of(replies) for replies in together] == alone

    asyncio.run(main())


def test_a_caller_that_gives_up_does_not_disturb_the_others(bundle: Bundle) -> None:
    request = infer_request(hello(bundle), packet())

    async def main() -> None:
        async with serving(bundle) as served:
            expected = text_of(await infer(served, request))
            calls = [served.vision.Infer(request, timeout=20) for _ in range(10)]
            first = [(await call.read()).text for call in calls]
            for call in calls[:5]:
                call.cancel()
            for start, call in zip(first[5:], calls[5:], strict=True):
                text = start
                while (reply := await call.read()) is not grpc.aio.EOF:
                    text += reply.text
                assert text == expected
            assert text_of(await infer(served, request)) == expected

    asyncio.run(main())


def test_a_caller_that_gives_up_frees_its_place(bundle: Bundle) -> None:
    engine = GatedEngine(open_engine(bundle))
    request = infer_request(hello(bundle), packet())

    async def main() -> None:
        async with serving(bundle, engine) as served:
            calls = [served.vision.Infer(request, timeout=20) for _ in range(6)]
            for call in calls:
                await call.read()
            assert engine.running == 6
            for call in calls:
                call.cancel()
            await until(lambda: engine.running == 0)

    asyncio.run(main())


def text_of(replies: list[pb.InferReply]) -> str:
    return "".join(reply.text for reply in replies)
