"""One cloud serves edges of several bundles, and an edge waits for a cloud that has its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saccade.bundle import Bundle
from saccade.errors import ConfigError, DigestMismatch
from saccade_cloud.assemble import open_cloud, open_engine
from saccade_cloud.server_settings import Address
from saccade_edge.event_lines import to_line
from saccade_edge.status_report import StatusReport
from saccade_edge.uplink import Acknowledged, Answered, Connected, ConnectionLost
from saccade_testing.cloud_server import QUICK, EdgeEnd, Served, hello, packet, question, serving
from saccade_testing.questions import ask_request, infer_request
from saccade_testing.spooled_edge import SpooledEdge, spooled_edge
from saccade_testing.tiny_bundle import write_bundle

QUESTION = "what color is it"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its tokens mean something else: its codecs are calibrated; its answers are other ones."""
    return write_bundle(tmp_path_factory.mktemp("second"), seed=5, max_tokens=7, calibrated=True)


def play(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def answered(served: Served, bundle: Bundle, device: str) -> str:
    """What an edge with that bundle hears about a frame."""
    edge = EdgeEnd(served, bundle)
    welcome = (await edge.greet(device=device)).welcome
    assert welcome.token_digest == bundle.token_digest
    assert welcome.limits.answer_tokens == bundle.manifest.language.max_tokens
    await edge.say(packet=packet(1))
    await edge.say(question=question(1, 1, QUESTION))
    text, _ = await edge.answer(1)
    edge.call.cancel()
    return text


async def inferred(served: Served, bundle: Bundle) -> str:
    request = infer_request(hello(bundle), packet(1), QUESTION)
    return "".join([reply.text async for reply in served.vision.Infer(request, timeout=20)])


def test_each_edge_hears_its_own_bundle_s_model(first: Bundle, second: Bundle) -> None:
    async def test() -> None:
        alone = []
        for bundle in (first, second):
            async with serving(bundle) as served:
                alone.append(await answered(served, bundle, "kerb"))
        assert alone[0] != alone[1], "two models that answer alike tell nothing"
        async with serving(first, more=[second]) as served:
            together = [
                await answered(served, first, "kerb"),
                await answered(served, second, "mast"),
            ]
            assert together == alone
            assert [await inferred(served, bundle) for bundle in (first, second)] == alone
            for device, text in zip(("kerb", "mast"), alone, strict=True):
                asked = served.fleet.Ask(ask_request(f"{device}/north", QUESTION), timeout=20)
                assert "".join([reply.text async for reply in asked]) == text

    play(test)


def test_two_bundles_whose_tokens_mean_the_same_are_refused(first: Bundle) -> None:
    async def test() -> None:
        engines = [open_engine(first), open_engine(first)]
        with pytest.raises(ConfigError, match="tokens of the same meaning"):
            open_cloud([(first, engine) for engine in engines], QUICK)
        for engine in engines:
            await engine.close()

    play(test)


async def send(edge: SpooledEdge) -> None:
    sent = packet(edge.spool.next_sequence())
    sent.captured_ms = 0
    await edge.uplink.send(sent, [QUESTION])


def test_an_edge_waits_for_its_bundle_says_so_and_loses_nothing(
    first: Bundle, second: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def test() -> None:
        store = str(tmp_path / "store")
        async with serving(first, store=store) as served:
            address = served.address
            edge_of_second = spooled_edge(
                address, second, tmp_path / "spool", live=True, deadline_s=0.5
            )
            edge = await edge_of_second.__aenter__()
            for _ in range(3):
                await send(edge)
            await edge.until(lambda: len(edge.told(ConnectionLost)) >= 3)
            says_that_it_waits(edge)
            assert not edge.running.done()
            assert (edge.told(Connected), edge.told(Acknowledged)) == ([], [])
        host, _, port = address.rpartition(":")
        again = replace(QUICK, address=Address(host, int(port)))
        async with serving(first, settings=again, store=store, more=[second]) as served:
            await edge.until(lambda: len(edge.told(Answered)) == 3)
            await send(edge)
            await edge.until(lambda: len(edge.told(Acknowledged)) == 4)
            assert await edge.end()
            counts = edge.spool.report().counts
            assert (counts["handed"], counts["delivered"]) == (4, 4)
            boot = edge.spool.identity.boot
            known = await served.cloud.store.stored("kerb", boot, range(1, 9))
            assert known == [1, 2, 3, 4]
        await edge_of_second.__aexit__(None, None, None)

    play(test)


def says_that_it_waits(edge: SpooledEdge) -> None:
    """In its events, its log line and its status."""
    status = StatusReport({"device": "kerb"})
    for event in edge.told(ConnectionLost):
        assert isinstance(event.error, DigestMismatch)
        assert str(to_line(event)).startswith("waiting for a bundle: the tokens are those of")
        status.on_event(event)
    assert status.waits_for_bundle
