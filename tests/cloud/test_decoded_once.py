"""A frame is decoded and projected once, however often somebody asks about it, within its bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from saccade.bundle import Bundle
from saccade.types import Timing
from saccade_cloud.frame_cache import FrameCache, ProjectedFrame
from saccade_cloud.frame_decoder import Decoded
from saccade_cloud.server_settings import ServerSettings
from saccade_testing.cloud_server import QUICK, EdgeEnd, Served, hello, packet, question, serving
from saccade_testing.questions import ask_request, infer_request

TEXTS = ("what color is it", "how many", "is it red")


def run(
    bundle: Bundle, work: Callable[[Served], Awaitable[None]], settings: ServerSettings = QUICK
) -> None:
    async def main() -> None:
        async with serving(bundle, settings=settings) as served:
            await work(served)

    asyncio.run(asyncio.wait_for(main(), 60))


def counted(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sequences of packets in the order in which they are decoded."""
    decode, sequences = served.cloud.decoder.decode, list[int]()

    async def counting(packet: Any, *others: Any) -> Decoded:
        sequences.append(packet.sequence)
        return await decode(packet, *others)

    monkeypatch.setattr(served.cloud.decoder, "decode", counting)
    return sequences


async def asked_thrice(served: Served, bundle: Bundle) -> list[tuple[str, Timing]]:
    edge = EdgeEnd(served, bundle)
    await edge.greet()
    await edge.say(packet=packet(1))
    answers = []
    for number, text in enumerate(TEXTS, 1):
        await edge.say(question=question(number, 1, text))
        answer, last = await edge.answer(number)
        answers.append((answer, Timing({each.stage: each.ms for each in last.timing})))
    edge.call.cancel()
    return answers


def test_three_questions_about_a_frame_decode_and_project_it_once(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(served: Served) -> None:
        decoded = counted(served, monkeypatch)
        answers = await asked_thrice(served, bundle)
        assert decoded == [1]
        projected = [timing.stages["reconstruct"] > 0 for _, timing in answers]
        assert projected == [True, False, False]

    run(bundle, work)


def test_without_room_a_frame_is_decoded_anew_and_the_answers_are_the_same(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[list[str]] = []
    for room in (QUICK.device_decoded_bytes, 0):

        async def work(served: Served, room: int = room) -> None:
            decoded = counted(served, monkeypatch)
            answers = await asked_thrice(served, bundle)
            texts.append([text for text, _ in answers])
            assert len(decoded) == (1 if room else 4)

        run(bundle, work, replace(QUICK, device_decoded_bytes=room))
    assert texts[0] == texts[1]


def test_a_picture_under_a_device_s_name_does_not_take_its_frame_s_place(bundle: Bundle) -> None:
    """What comes with a call of an application is no frame of any device."""

    async def ask(served: Served) -> str:
        replies = served.fleet.Ask(ask_request("kerb/north", TEXTS[0]), timeout=20)
        return "".join([reply.text async for reply in replies])

    async def work(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        await edge.say(packet=packet(1))
        assert (await edge.hear()).HasField("ack")
        other = infer_request(hello(bundle), packet(1, kept=3), TEXTS[0])
        inferred = "".join([r.text async for r in served.vision.Infer(other, timeout=20)])
        assert inferred != await ask(served)
        again = "".join([r.text async for r in served.vision.Infer(other, timeout=20)])
        assert again == inferred
        edge.call.cancel()

    run(bundle, work)


def test_the_cache_counts_bytes(bundle: Bundle) -> None:
    cache = FrameCache(1 << 20, 1 << 20)

    async def work(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        await edge.say(packet=packet(1))
        assert (await edge.hear()).HasField("ack")
        frame = served.cloud.frames.get("kerb", 1, 1)
        assert frame is not None
        decoded, _ = await served.bundle.reader.seen(frame, "")
        assert not isinstance(decoded, ProjectedFrame)
        features = sum(view.tokens.features.nbytes for view in decoded.tokens.views)
        cache.put(frame, decoded)
        assert features < cache.bytes < features + 64 * 1024
        assert cache.get(frame) is decoded
        other = replace(frame.tokens, packet=packet(1, kept=3).SerializeToString())
        assert cache.get(replace(frame, tokens=other)) is None, "one number, two packets"
        edge.call.cancel()

    run(bundle, work)
