"""The uplink over TLS: a refusal says why, and whoever mends it loses nothing."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from saccade.bundle import Bundle
from saccade.errors import ConfigError, Forbidden, Unauthenticated, Unreachable
from saccade.tls import ClientTls
from saccade.v1 import tokens_pb2
from saccade.wire_errors import to_status
from saccade_edge.spool import SpoolEvent
from saccade_edge.uplink import (
    Acknowledged,
    ConnectionLost,
    Uplink,
    UplinkEvent,
    UplinkSettings,
)
from saccade_testing.certificates import Authority
from saccade_testing.scripted_cloud import Line, honest, scripted_cloud


class Edge:
    """An uplink that runs, and the events that it has told."""

    def __init__(self, cloud: str, bundle: Bundle, tls: ClientTls | None, **more: Any) -> None:
        quick = {"backoff_first_s": 0.02, "backoff_most_s": 0.1, "patience_s": 30.0}
        settings = UplinkSettings(cloud, "kerb", ("north",), tls=tls, **{**quick, **more})
        self.events: list[UplinkEvent | SpoolEvent] = []
        self._told = asyncio.Event()
        self.uplink = Uplink(settings, bundle, self._hear)
        self.running = asyncio.ensure_future(self.uplink.run())

    def _hear(self, event: UplinkEvent | SpoolEvent) -> None:
        self.events.append(event)
        self._told.set()

    async def until(self, kind: type[UplinkEvent], says: str = "") -> Any:
        """The first event of a kind that says so."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and says in str(event):
                    return event
            self._told.clear()
            await self._told.wait()

    async def send(self, *sequences: int) -> None:
        for sequence in sequences:
            packet = tokens_pb2.FramePacket(sequence=sequence, layers=[bytes(100)])
            await self.uplink.send(packet, [])

    async def end(self) -> bool:
        complete = await self.uplink.finish(10)
        await asyncio.wait_for(self.running, 10)
        return complete


def play(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def credentials(authority: Authority, tls: ClientTls | None = None) -> grpc.ServerCredentials:
    """Of the cloud, or of whoever serves with another certificate; devices must show theirs."""
    cert, key, ca = authority.server
    if tls is not None and tls.cert and tls.key:
        cert, key = tls.cert, tls.key
    pair = (key.read_bytes(), cert.read_bytes())
    return grpc.ssl_server_credentials([pair], ca.read_bytes(), True)


def installed(tls: ClientTls, folder: Path) -> ClientTls:
    """A copy at places where a renewal will replace it."""
    places = replace(tls, cert=folder / "edge.pem", key=folder / "edge.key")
    for source, place in ((tls.key, places.key), (tls.cert, places.cert)):
        assert source
        assert place
        shutil.copy(source, place.with_suffix(".new"))
        place.with_suffix(".new").replace(place)
    return places


def test_packets_go_over_tls(bundle: Bundle, authority: Authority) -> None:
    async def test() -> None:
        async with scripted_cloud(bundle, credentials=credentials(authority)) as cloud:
            edge = Edge(cloud.address, bundle, authority.device())
            await edge.send(1, 2)
            assert await edge.end()
            assert [p.sequence for p in cloud.lines[0].said("packet")] == [1, 2]

    play(test)


DATE = r"20\d\d-\d\d-\d\d \d\d:\d\d UTC"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("no certificate", "asks for a certificate and none was given .--tls-cert, --tls-key."),
        ("foreign", f"refused this client's certificate .*, valid until {DATE}: .* not signed it"),
        ("expired", f"this client's certificate .* expired on {DATE}"),
        ("future", f"is not valid before {DATE}, and this machine's clock says {DATE}"),
        ("server's", "refused this client's certificate .* or it is not made for clients"),
        ("unknown cloud", "the cloud's certificate is not signed by .*ca.pem"),
        ("expired cloud", f"the cloud's certificate expired on {DATE}"),
        ("other cloud", "the cloud's certificate is not accepted: .*127.0.0.1"),
        ("plain cloud", "the cloud does not speak TLS"),
        ("plain edge", "the cloud speaks TLS and plain text was sent"),
    ],
)
def test_a_handshake_that_fails_says_why_and_is_tried_again(
    bundle: Bundle, authority: Authority, foreign: Authority, wrong: str, says: str
) -> None:
    ours, theirs = authority.device(), None
    alternative = "IP:127.0.0.1, DNS:localhost"
    match wrong:
        case "no certificate":
            ours = authority.trusting()
        case "foreign":
            ours = replace(foreign.device(), ca=authority.ca)
        case "expired":
            ours = authority.odd("kerb", ends=timedelta(minutes=-5))
        case "future":
            ours = authority.odd("kerb", begins=timedelta(minutes=30))
        case "server's":
            ours = authority.odd("kerb", usage="serverAuth")
        case "unknown cloud":
            ours = replace(ours, ca=foreign.ca)
        case "expired cloud":
            past = timedelta(minutes=-5)
            theirs = authority.odd("cloud", names=alternative, ends=past, usage="serverAuth")
        case "other cloud":
            theirs = authority.odd("cloud", names="DNS:cloud.example", usage="serverAuth")

    async def test() -> None:
        served = None if wrong == "plain cloud" else credentials(authority, theirs)
        async with scripted_cloud(bundle, credentials=served) as cloud:
            edge = Edge(cloud.address, bundle, None if wrong == "plain edge" else ours)
            lost = await edge.until(ConnectionLost)
            assert isinstance(lost.error, Unreachable)
            assert re.search(says, str(lost.error)), str(lost.error)
            assert "\n" not in str(lost.error)
            assert cloud.lines == []
            assert not edge.running.done(), "it goes on trying"
            assert await edge.end()

    play(test)


def test_a_certificate_that_expired_while_offline_is_renewed_and_nothing_is_lost(
    bundle: Bundle, authority: Authority, tmp_path: Path
) -> None:
    expired = authority.odd("kerb", ends=timedelta(minutes=-5))

    async def breaks(line: Line) -> None:
        """Acknowledges nothing, and by then the certificate has expired."""
        await line.greet()
        while len(line.said("packet")) < 2:
            await line.hear()
        installed(expired, tmp_path)
        await line.context.abort(grpc.StatusCode.UNAVAILABLE, "the tunnel")

    async def test() -> None:
        tls = installed(authority.device(), tmp_path)
        served = credentials(authority)
        async with scripted_cloud(bundle, breaks, honest, credentials=served) as cloud:
            edge = Edge(cloud.address, bundle, tls)
            await edge.send(1, 2)
            await edge.until(ConnectionLost, "expired on")
            installed(authority.device(), tmp_path)
            await edge.send(3)
            assert await edge.end()
            assert [p.sequence for p in cloud.lines[1].said("packet")] == [1, 2, 3]
            assert len([e for e in edge.events if isinstance(e, Acknowledged)]) == 3

    play(test)


def test_half_a_renewal_is_waited_out(bundle: Bundle, authority: Authority, tmp_path: Path) -> None:
    good, other = authority.device(), authority.device("mast")

    async def test() -> None:
        assert good.key
        tls = installed(other, tmp_path)
        assert tls.key
        shutil.copy(good.key, tls.key)
        async with scripted_cloud(bundle, credentials=credentials(authority)) as cloud:
            edge = Edge(cloud.address, bundle, tls)
            await edge.until(ConnectionLost, "are no certificate and its key")
            installed(good, tmp_path)
            await edge.send(1)
            assert await edge.end()
            assert [p.sequence for p in cloud.lines[0].said("packet")] == [1]

    play(test)


@pytest.mark.parametrize("error", [Forbidden("the certificate is for 'mast'"), Unauthenticated("")])
def test_a_cloud_that_does_not_take_this_device_is_not_asked_again(
    bundle: Bundle, error: Forbidden | Unauthenticated
) -> None:
    async def refuses(line: Line) -> None:
        await line.hear()
        await line.context.abort(*to_status(error))

    async def test() -> None:
        async with scripted_cloud(bundle, refuses) as cloud:
            edge = Edge(cloud.address, bundle, None)
            with pytest.raises(type(error)):
                await edge.running
            assert len(cloud.lines) == 1

    play(test)


def test_plain_text_leaves_this_machine_only_when_that_is_said(
    bundle: Bundle, authority: Authority
) -> None:
    async def test() -> None:
        with pytest.raises(ConfigError, match="--tls-ca.*--insecure"):
            await Edge("192.0.2.1:7860", bundle, None).running
        for tls, insecure in ((None, True), (authority.device(), False)):
            quick = {"connect_timeout_s": 0.1, "patience_s": 0.2, "insecure": insecure}
            with pytest.raises(Unreachable):
                await Edge("192.0.2.1:7860", bundle, tls, **quick).running

    play(test)
