"""An error crosses real gRPC and comes out as the same kind, with its values and no secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from saccade import errors
from saccade.errors import LocalError, RemoteError, SaccadeError
from saccade.v1 import fleet_pb2, fleet_pb2_grpc, vision_pb2, vision_pb2_grpc
from saccade.wire_errors import CATALOGUE, from_failure, from_rpc, to_failure, to_status


class Failing(fleet_pb2_grpc.FleetServicer):
    """Fails every call with ``error``."""

    error: Exception = SaccadeError("no error was set")

    def ListCameras(  # noqa: N802 - the name is the protocol's
        self, request: fleet_pb2.ListCamerasRequest, context: grpc.ServicerContext
    ) -> fleet_pb2.ListCamerasReply:
        context.abort(*to_status(self.error))

    def Ask(  # noqa: N802 - the name is the protocol's
        self, request: fleet_pb2.AskRequest, context: grpc.ServicerContext
    ) -> Iterator[fleet_pb2.AskReply]:
        yield fleet_pb2.AskReply(text="a")
        context.abort(*to_status(self.error))

    def Watch(  # noqa: N802 - the name is the protocol's
        self, request: fleet_pb2.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[fleet_pb2.WatchReply]:
        context.abort(*to_status(self.error))

    def History(  # noqa: N802 - the name is the protocol's
        self, request: fleet_pb2.HistoryRequest, context: grpc.ServicerContext
    ) -> Iterator[fleet_pb2.WatchReply]:
        context.abort(*to_status(self.error))


Link = tuple[Failing, fleet_pb2_grpc.FleetStub]


@pytest.fixture(scope="module")
def servicer() -> Failing:
    return Failing()


@pytest.fixture(scope="module")
def address(servicer: Failing) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    fleet_pb2_grpc.add_FleetServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def link(servicer: Failing, address: str) -> Iterator[Link]:
    with grpc.insecure_channel(address) as channel:
        yield servicer, fleet_pb2_grpc.FleetStub(channel)


def raised(link: Link, error: Exception) -> SaccadeError:
    servicer, stub = link
    servicer.error = error
    with pytest.raises(grpc.RpcError) as caught:
        stub.ListCameras(fleet_pb2.ListCamerasRequest(), timeout=10)
    return from_rpc(caught.value)


ALL = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def test_every_error_is_in_the_catalogue_under_its_own_code() -> None:
    kinds = [kind for kind in ALL if issubclass(kind, SaccadeError)]
    assert {kind.code for kind in kinds} == set(CATALOGUE)
    assert len({kind.code for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("code", sorted(set(CATALOGUE) - {"remote_protocol", "local_protocol"}))
def test_an_error_comes_out_as_its_own_kind(link: Link, code: str) -> None:
    kind = CATALOGUE[code].error
    assert type(raised(link, kind("received 70 tokens, the limit is 64"))) is kind


def test_who_erred_turns_round_on_the_way(link: Link) -> None:
    assert type(raised(link, RemoteError("packet before hello"))) is LocalError
    assert type(raised(link, LocalError("answered twice"))) is RemoteError


def test_values_in_public_messages_arrive(link: Link) -> None:
    error = raised(link, errors.LimitExceeded("received 70 tokens, the limit is 64"))
    assert str(error) == "received 70 tokens, the limit is 64"


@pytest.mark.parametrize(
    "error",
    [
        errors.EngineError("onnxruntime: /srv/models/decoder.onnx is gone"),
        errors.BundleError("/srv/models/manifest.json is not JSON"),
        errors.StorageError("/var/lib/saccade/store.db: database or disk is full"),
        errors.ConfigError("/etc/saccade/cloud.toml: no such key"),
        KeyError("/srv/models"),
        ValueError("secret"),
    ],
)
def test_what_concerns_only_the_server_stays_there(link: Link, error: Exception) -> None:
    arrived = str(raised(link, error))
    assert "/" not in arrived
    assert "secret" not in arrived
    assert arrived


def test_a_message_of_many_lines_arrives_as_one_bounded_line(link: Link) -> None:
    error = raised(link, errors.QuestionError("too\nlong " * 1000))
    assert "\n" not in str(error)
    assert len(str(error)) <= 500


def test_nobody_listening_is_unreachable() -> None:
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        stub = fleet_pb2_grpc.FleetStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListCameras(fleet_pb2.ListCamerasRequest(), timeout=10)
    assert isinstance(from_rpc(caught.value), errors.Unreachable)


def test_a_method_that_is_not_there_is_another_version(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = vision_pb2_grpc.VisionStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Infer(vision_pb2.InferRequest(), timeout=10))
    assert isinstance(from_rpc(caught.value), errors.VersionMismatch)


def test_an_error_in_the_middle_of_a_stream_comes_out_too(link: Link) -> None:
    servicer, stub = link
    servicer.error = errors.QuestionError("no frame of 'north' yet")
    chunks = stub.Ask(fleet_pb2.AskRequest(), timeout=10)
    assert next(chunks).text == "a"
    with pytest.raises(grpc.RpcError) as caught:
        next(chunks)
    assert str(from_rpc(caught.value)) == "no frame of 'north' yet"


def test_an_asyncio_caller_sees_the_same(link: Link, address: str) -> None:
    link[0].error = errors.PacketError("a packet without views")

    async def call() -> SaccadeError:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = fleet_pb2_grpc.FleetStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListCameras(fleet_pb2.ListCamerasRequest(), timeout=10)
            return from_rpc(caught.value)

    error = asyncio.run(call())
    assert type(error) is errors.PacketError
    assert str(error) == "a packet without views"


def test_a_failure_on_the_stream_keeps_kind_and_place() -> None:
    failure = to_failure(errors.PacketError("layer 0 has 3 bytes"), sequence=9)
    assert (failure.code, failure.sequence, failure.fatal) == ("packet", 9, False)
    error = from_failure(failure)
    assert type(error) is errors.PacketError
    assert str(error) == "layer 0 has 3 bytes"
