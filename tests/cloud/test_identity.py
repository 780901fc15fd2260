"""Who is let in, over real TLS, while those who are in go on undisturbed."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from saccade.bundle import Bundle
from saccade.errors import ConfigError
from saccade.tls import ClientTls
from saccade.v1 import fleet_pb2
from saccade.v1.fleet_pb2_grpc import FleetStub
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade_cloud.api_keys import add_api_key
from saccade_cloud.server_settings import Address, ServerSettings
from saccade_cloud.server_tls import ServerTls
from saccade_testing.certificates import Authority
from saccade_testing.cloud_server import (
    QUICK,
    EdgeEnd,
    Served,
    channel_to,
    hello,
    packet,
    serving,
)
from saccade_testing.questions import infer_request

Work = Callable[[Served], Awaitable[None]]
HERE = Address("127.0.0.1", 0)
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def api_keys(tmp_path: Path) -> Path:
    return tmp_path / "api-keys.txt"


@pytest.fixture
def api_key(api_keys: Path) -> str:
    return add_api_key(api_keys, "dashboard")


@pytest.fixture
def settings(authority: Authority, api_keys: Path, api_key: str) -> ServerSettings:
    """Devices by certificate, applications by API key, at an address of their own too."""
    assert api_key
    return replace(QUICK, tls=ServerTls(*authority.server), api_keys=api_keys, apps=HERE)


def run(bundle: Bundle, work: Work, settings: ServerSettings, tls: ClientTls) -> None:
    """``work`` while a device is in the middle of its session, which must feel nothing of it."""

    async def main() -> None:
        async with serving(bundle, settings=settings, tls=tls) as served:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await work(served)
            await edge.say(packet=packet(77))
            assert (await edge.hear()).ack.sequence == 77

    asyncio.run(main())


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call, 20)
    return caught.value.code(), caught.value.details() or ""


async def greeting(
    served: Served, bundle: Bundle, tls: ClientTls, device: str
) -> tuple[grpc.StatusCode, str]:
    """How a hello of ``device`` ends; OK when it is welcome."""
    async with channel_to(served.address, tls) as channel:
        edge = EdgeEnd(served, bundle, channel)
        with suppress(grpc.aio.AioRpcError):
            message = await edge.greet(device=device)
            if message.HasField("welcome"):
                return grpc.StatusCode.OK, ""
        return await refusal(edge.hear_all())


def fleet(channel: grpc.aio.Channel) -> Any:
    return FleetStub(channel)


def bearer(api_key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {api_key}"),)


class TestDevices:
    @pytest.mark.parametrize("said", ["mast", "Kerb", "kerb "])
    def test_a_device_cannot_speak_for_another(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority, said: str
    ) -> None:
        async def work(served: Served) -> None:
            status, details = await greeting(served, bundle, authority.device(), said)
            assert status is DENIED
            assert details == (
                f"forbidden: the certificate is for device 'kerb', the hello says {said!r}"
            )

        run(bundle, work, settings, authority.device())

    def test_a_certificate_names_its_device_by_uri_or_else_by_common_name(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority
    ) -> None:
        named = "URI:spiffe://fleet.example/device/mast"

        async def work(served: Served) -> None:
            by_name = authority.odd("cam-8")
            assert (await greeting(served, bundle, by_name, "cam-8"))[0] is grpc.StatusCode.OK
            by_uri = authority.odd("kerb", names=named)
            assert (await greeting(served, bundle, by_uri, "mast"))[0] is grpc.StatusCode.OK
            assert (await greeting(served, bundle, by_uri, "kerb"))[0] is DENIED

        run(bundle, work, settings, authority.device())

    @pytest.mark.parametrize("path", ["server/cloud", "device/kerb/north", "device/", "kerb"])
    def test_a_certificate_of_another_kind_is_no_device(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority, path: str
    ) -> None:
        async def work(served: Served) -> None:
            other = authority.odd("kerb", names=f"URI:spiffe://fleet.example/{path}")
            status, details = await greeting(served, bundle, other, "kerb")
            assert status in (DENIED, grpc.StatusCode.UNAVAILABLE)
            assert status is grpc.StatusCode.UNAVAILABLE or "names no device" in details

        run(bundle, work, settings, authority.device())

    @pytest.mark.parametrize(
        ("common_name", "names", "says"),
        [
            (
                "kerb",
                "URI:spiffe://fleet.example/device/kerb, URI:spiffe://fleet.example/device/mast",
                "it has 2 URIs and may have one",
            ),
            ("kerb", "URI:spiffe://fleet.example/device/kerb, URI:urn:x", "it has 2 URIs"),
            ("kerb", "URI:https://fleet.example/kerb", "its URI is https://fleet.example/kerb"),
            ("kerb", "URI:SPIFFE://fleet.example/device/kerb", "its URI is SPIFFE:"),
            ("kerb", "URI:spiffe://fleet.example/device/%6Berb", "is for device '%6Berb'"),
            ("kerb", "URI:spiffe://fleet.example/device/*", "is for device '*'"),
            ("*", "DNS:kerb, DNS:*", "is for device '*'"),
            ("k*", "", "is for device 'k*'"),
            ("kerb/CN=mast", "", "it has no URI, and 2 common names"),
            ("mast/CN=kerb", "", "it has no URI, and 2 common names"),
            ("mast", "DNS:kerb, email:kerb@fleet.example, IP:127.0.0.1", "is for device 'mast'"),
            ("ke\trb", "", "its common name is not printable"),
        ],
    )
    def test_a_certificate_names_exactly_one_device_letter_by_letter_or_none(
        self,
        bundle: Bundle,
        settings: ServerSettings,
        authority: Authority,
        common_name: str,
        names: str,
        says: str,
    ) -> None:
        async def work(served: Served) -> None:
            odd = authority.odd(common_name, names=names)
            status, details = await greeting(served, bundle, odd, "kerb")
            assert status is DENIED, details
            assert says in details

        run(bundle, work, settings, authority.device())

    @pytest.mark.parametrize(
        ("common_name", "device"), [("mast/O=a,CN=kerb", "mast"), ("m,CN=kerb", "m,CN=kerb")]
    )
    def test_a_common_name_may_look_like_two(
        self,
        bundle: Bundle,
        settings: ServerSettings,
        authority: Authority,
        common_name: str,
        device: str,
    ) -> None:
        async def work(served: Served) -> None:
            odd = authority.odd(common_name)
            assert (await greeting(served, bundle, odd, device))[0] is grpc.StatusCode.OK
            assert (await greeting(served, bundle, odd, "kerb"))[0] is DENIED

        run(bundle, work, settings, authority.device())

    def test_who_has_no_good_certificate_gets_no_connection(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority, foreign: Authority
    ) -> None:
        theirs = foreign.device()
        wrong = {
            "none": authority.trusting(),
            "foreign": replace(theirs, ca=authority.ca),
            "expired": authority.odd("kerb", ends=timedelta(minutes=-1)),
            "not yet valid": authority.odd("kerb", begins=timedelta(minutes=30)),
            "a server's": authority.odd("kerb", usage="serverAuth"),
        }

        async def work(served: Served) -> None:
            for what, tls in wrong.items():
                status, _ = await greeting(served, bundle, tls, "kerb")
                assert status is grpc.StatusCode.UNAVAILABLE, what

        run(bundle, work, settings, authority.device())

    def test_a_stream_lasts_no_longer_than_its_certificate(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority
    ) -> None:
        async def work(served: Served) -> None:
            short = authority.odd("mast", ends=timedelta(seconds=6))
            async with channel_to(served.address, short) as channel:
                edge = EdgeEnd(served, bundle, channel)
                assert (await edge.greet(device="mast")).HasField("welcome")
                status, details = await refusal(edge.hear_all())
                assert status is grpc.StatusCode.UNAVAILABLE
                assert "certificate that opened this stream has expired" in details

        run(bundle, work, settings, authority.device())


class TestApplications:
    def test_an_api_key_is_what_an_application_needs(
        self,
        bundle: Bundle,
        settings: ServerSettings,
        authority: Authority,
        api_key: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def work(served: Served) -> None:
            request = fleet_pb2.ListCamerasRequest()
            async with channel_to(str(served.server.apps), authority.trusting()) as channel:
                calls = fleet(channel)
                for metadata, says in (
                    ((), "none was given"),
                    ((("authorization", api_key),), "none was given"),
                    (bearer(api_key[:-1]), "not one of this cloud's"),
                    (bearer(""), "not one of this cloud's"),
                    ((("authorization", "Basic " + api_key),), "none was given"),
                ):
                    status, details = await refusal(calls.ListCameras(request, metadata=metadata))
                    assert (status, says in details) == (UNKNOWN, True), details
                assert api_key not in caplog.text
                assert await calls.ListCameras(request, metadata=bearer(api_key))
                asked = infer_request(hello(bundle), packet())
                vision: Any = VisionStub(channel)
                replies = [r async for r in vision.Infer(asked, metadata=bearer(api_key))]
                assert replies[-1].last

        with caplog.at_level(logging.INFO, "saccade.access"):
            run(bundle, work, settings, authority.device())
        assert "dashboard calls /saccade.v1.Fleet/ListCameras" in caplog.text

    def test_a_devices_certificate_alone_is_not_enough(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority, api_key: str
    ) -> None:
        async def work(served: Served) -> None:
            request = fleet_pb2.ListCamerasRequest()
            assert (await refusal(served.fleet.ListCameras(request)))[0] is UNKNOWN
            watch = served.fleet.Watch(fleet_pb2.WatchRequest())
            assert (await refusal(watch.read()))[0] is UNKNOWN
            asked = infer_request(hello(bundle), packet())
            assert (await refusal(served.vision.Infer(asked).read()))[0] is UNKNOWN
            assert await served.fleet.ListCameras(request, metadata=bearer(api_key))

        run(bundle, work, settings, authority.device())

    def test_an_api_key_alone_opens_no_stream_of_a_device(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority, api_key: str
    ) -> None:
        async def work(served: Served) -> None:
            async with channel_to(str(served.server.apps), authority.trusting()) as channel:
                stub: Any = VisionStub(channel)
                call = stub.Connect(metadata=bearer(api_key))
                status, details = await refusal(call.read())
                assert (status, "an API key is for applications" in details) == (UNKNOWN, True)

        run(bundle, work, settings, authority.device())

    def test_without_api_keys_a_cloud_of_devices_serves_no_application(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority
    ) -> None:
        async def work(served: Served) -> None:
            status, details = await refusal(
                served.fleet.ListCameras(fleet_pb2.ListCamerasRequest())
            )
            assert (status, "has no API keys" in details) == (DENIED, True)

        run(bundle, work, replace(settings, api_keys=None, apps=None), authority.device())

    def test_health_is_open_and_reflection_is_not(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority, api_key: str
    ) -> None:
        async def work(served: Served) -> None:
            async with channel_to(str(served.server.apps), authority.trusting()) as channel:
                untyped: Any = channel
                health: Any = health_pb2_grpc.HealthStub(untyped)
                reply = await health.Check(health_pb2.HealthCheckRequest())
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
                reflection: Any = reflection_pb2_grpc.ServerReflectionStub(untyped)
                call = reflection.ServerReflectionInfo()
                assert (await refusal(call.read()))[0] is UNKNOWN
                call = reflection.ServerReflectionInfo(metadata=bearer(api_key))
                await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
                assert (await call.read()).list_services_response.service

        run(bundle, work, settings, authority.device())

    def test_api_keys_come_and_go_while_the_cloud_runs(
        self,
        bundle: Bundle,
        settings: ServerSettings,
        authority: Authority,
        api_keys: Path,
        api_key: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def work(served: Served) -> None:
            request = fleet_pb2.ListCamerasRequest()
            second = add_api_key(api_keys, "phone")
            assert await served.fleet.ListCameras(request, metadata=bearer(second))
            kept = [line for line in api_keys.read_text().splitlines() if "phone" in line]
            api_keys.write_text("# the dashboard's is revoked\n" + "\n".join(kept) + "\n")
            call = served.fleet.ListCameras(request, metadata=bearer(api_key))
            assert (await refusal(call))[0] is UNKNOWN
            api_keys.write_text("this is no file of API keys\n")
            assert await served.fleet.ListCameras(request, metadata=bearer(second))
            assert "line 1: not a new name and a SHA-256" in caplog.text

        run(bundle, work, settings, authority.device())


class TestRenewal:
    def test_a_renewed_certificate_counts_from_the_next_connection_on(
        self, bundle: Bundle, settings: ServerSettings, authority: Authority, tmp_path: Path
    ) -> None:
        """The stream of the device that is there already goes on: see ``run``."""
        cert, key = (
            Path(shutil.copy(authority.folder / name, tmp_path / name))
            for name in ("server.pem", "server.key")
        )
        settings = replace(settings, tls=ServerTls(cert, key, authority.ca))

        async def work(served: Served) -> None:
            before = await _certificate(served.address, authority)
            authority.run("--name", "cloud.example")
            os.replace(_copy(authority.folder / "server.pem"), cert)
            assert await _certificate(served.address, authority) == before, "half a renewal"
            os.replace(_copy(authority.folder / "server.key"), key)
            after = await _certificate(served.address, authority)
            assert before != after
            assert after == (authority.folder / "server.pem").read_text()
            mast = authority.device("mast")
            assert (await greeting(served, bundle, mast, "mast"))[0] is grpc.StatusCode.OK

        run(bundle, work, settings, authority.device())

    def test_another_authority_of_devices_counts_from_the_next_connection_on(
        self,
        bundle: Bundle,
        settings: ServerSettings,
        authority: Authority,
        foreign: Authority,
        tmp_path: Path,
    ) -> None:
        trusted = Path(shutil.copy(authority.ca, tmp_path / "clients.pem"))
        assert settings.tls is not None
        settings = replace(settings, tls=replace(settings.tls, client_ca=trusted))
        theirs = replace(foreign.device("mast"), ca=authority.ca)

        async def work(served: Served) -> None:
            refused = await greeting(served, bundle, theirs, "mast")
            assert refused[0] is grpc.StatusCode.UNAVAILABLE
            both = trusted.read_text() + foreign.ca.read_text()
            trusted.write_text(both)
            assert (await greeting(served, bundle, theirs, "mast"))[0] is grpc.StatusCode.OK

        run(bundle, work, settings, authority.device())


class TestRules:
    @pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "cloud.example"])
    def test_beyond_this_machine_devices_are_known_by_certificate(
        self, authority: Authority, api_keys: Path, host: str
    ) -> None:
        far = replace(QUICK, address=Address.parse(f"{host}:0"))
        half = replace(ServerTls(*authority.server), client_ca=None)
        with pytest.raises(ConfigError, match="no TLS"):
            far.check()
        with pytest.raises(ConfigError, match="take anyone for a device: give --tls-client-ca"):
            replace(far, tls=half).check()
        replace(far, tls=half, insecure=True).check()
        replace(far, tls=ServerTls(*authority.server)).check()

    def test_applications_have_an_address_only_with_certificates_and_api_keys(
        self, authority: Authority, api_keys: Path
    ) -> None:
        for changes in (
            {},
            {"tls": ServerTls(*authority.server)},
            {"api_keys": api_keys},
            {"tls": replace(ServerTls(*authority.server), client_ca=None), "api_keys": api_keys},
        ):
            with pytest.raises(ConfigError, match="would be open to all"):
                replace(QUICK, apps=HERE, insecure=True, **changes).check()

    def test_files_that_are_of_no_use_are_refused_at_the_start(
        self, authority: Authority, foreign: Authority, tmp_path: Path
    ) -> None:
        good = ServerTls(*authority.server)
        nowhere, other = tmp_path / "nowhere.pem", ServerTls(*foreign.server)
        text = tmp_path / "text.pem"
        text.write_text("no certificate")
        for wrong, says in (
            (replace(good, cert=nowhere), "cannot read .*nowhere.pem: No such file"),
            (replace(good, key=nowhere), "cannot read"),
            (replace(good, key=other.key), "are no certificate and its key"),
            (replace(good, cert=text), "are no certificate and its key"),
            (replace(good, client_ca=text), "holds no certificate"),
        ):
            with pytest.raises(ConfigError, match=says):
                replace(QUICK, tls=wrong).check()

    def test_half_of_what_tls_needs_is_refused(self) -> None:
        for words in (("a", None, None), (None, "b", None), (None, None, "c")):
            with pytest.raises(ConfigError, match="--tls-cert and --tls-key"):
                ServerTls.of(*words)


def _copy(path: Path) -> Path:
    """Beside it, to be moved: a file is replaced at once or not at all."""
    return Path(shutil.copy(path, path.with_suffix(".copy")))


async def _certificate(address: str, authority: Authority) -> str:
    """What a new connection is shown."""

    context = ssl.create_default_context(cafile=str(authority.ca))
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    connection = writer.get_extra_info("ssl_object")
    writer.close()
    return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))
