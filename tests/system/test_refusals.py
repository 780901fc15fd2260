"""What one side gets wrong is one clear error there, and the other side goes on serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import saccade
from saccade.bundle import Bundle
from saccade.client.call_messages import infer_request
from saccade.client.packet_encoder import PacketEncoder
from saccade.errors import (
    DigestMismatch,
    LimitExceeded,
    PacketError,
    SaccadeError,
    VersionMismatch,
)
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade.wire_errors import from_rpc
from saccade_testing.commands import run

QUESTION = "how many vehicles are there ?"
NOBODY = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def still_serving(cloud: str, bundle: Bundle, picture: Path) -> Iterator[None]:
    """After every test another client gets its answer."""
    yield
    with saccade.connect(cloud, bundle=bundle) as vision:
        assert vision.ask(picture, QUESTION).text


@pytest.fixture(scope="module")
def good(bundle: Bundle, picture: Path) -> pb.InferRequest:
    encoder = PacketEncoder(bundle, saccade.EncodeOptions())
    return infer_request(bundle, encoder.encode_for_question(picture, QUESTION))


def refusal(cloud: str, request: pb.InferRequest) -> SaccadeError:
    unbounded = [("grpc.max_send_message_length", -1)]
    with (
        grpc.insecure_channel(cloud, unbounded) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        list(VisionStub(channel).Infer(request, timeout=20))
    return from_rpc(caught.value)


def changed(good: pb.InferRequest) -> pb.InferRequest:
    request = pb.InferRequest()
    request.CopyFrom(good)
    return request


def test_another_version_is_refused(cloud: str, good: pb.InferRequest) -> None:
    request = changed(good)
    request.hello.protocol = 7
    error = refusal(cloud, request)
    assert isinstance(error, VersionMismatch)
    assert error.message == "the edge speaks protocol 7, the cloud speaks 1"


def test_another_bundle_is_refused(cloud: str, other_bundle: Bundle, picture: Path) -> None:
    with (
        saccade.connect(cloud, bundle=other_bundle) as vision,
        pytest.raises(DigestMismatch, match="the tokens are those of bundle .*, the cloud serves "),
    ):
        vision.ask(picture, QUESTION)


def test_an_oversized_message_is_refused(cloud: str, good: pb.InferRequest) -> None:
    request = changed(good)
    request.packets[0].layers.append(b"\0" * (4 << 20))
    assert isinstance(refusal(cloud, request), LimitExceeded)


def test_a_packet_larger_than_agreed_is_refused(cloud: str, good: pb.InferRequest) -> None:
    request = changed(good)
    request.packets[0].layers.append(b"\0" * (1 << 20))
    error = refusal(cloud, request)
    assert isinstance(error, LimitExceeded)
    assert "bytes in a packet, the limit is 1048576" in error.message


def test_a_damaged_packet_is_refused(cloud: str, good: pb.InferRequest) -> None:
    request = changed(good)
    layer = bytearray(request.packets[0].layers[0])
    layer[5] ^= 1
    request.packets[0].layers[0] = bytes(layer)
    error = refusal(cloud, request)
    assert isinstance(error, PacketError)
    assert "checksum" in error.message


def test_bytes_that_are_no_message_are_refused(cloud: str) -> None:
    with grpc.insecure_channel(cloud) as channel:
        call: Any = channel.unary_stream("/saccade.v1.Vision/Infer")
        with pytest.raises(grpc.RpcError):
            list(call(b"\xff" * 100, timeout=20))


@pytest.fixture(scope="module")
def no_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "noise.mp4"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def edge(source: str | Path, cloud: str, bundle: Bundle, *words: str) -> str:
    """The one line in which the edge says what is wrong."""
    common = ("--cloud", cloud, "--bundle", str(bundle.folder), "--patience", "1")
    done = run("edge", "run", str(source), *common, *words)
    assert done.returncode == 1
    assert done.stderr.startswith("saccade: error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_missing_file_is_one_line(cloud: str, bundle: Bundle) -> None:
    assert "no such file or folder: /nowhere.mp4" in edge("/nowhere.mp4", cloud, bundle)


def test_an_unreadable_video_is_one_line(cloud: str, bundle: Bundle, no_video: Path) -> None:
    assert f"cannot open {no_video}: " in edge(no_video, cloud, bundle)


def test_a_cloud_that_is_not_there_is_one_line(bundle: Bundle, clip: Path) -> None:
    assert f"the cloud at {NOBODY} is not reachable" in edge(clip, NOBODY, bundle)


def test_an_edge_with_another_bundle_is_one_line(
    cloud: str, other_bundle: Bundle, clip: Path
) -> None:
    assert "the tokens are those of bundle" in edge(clip, cloud, other_bundle, "--detector", "none")


def test_an_edge_with_impossible_options_is_one_line(
    cloud: str, bundle: Bundle, clip: Path
) -> None:
    assert "65 tokens per view: the bundle allows 1 to 64" in edge(
        clip, cloud, bundle, "--tokens", "65"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("/nowhere.png", "how many ?"), "no such file or folder: /nowhere.png"),
        ((__file__, "how many ?"), "neither PNG, JPEG nor WebP"),
        (("PICTURE", ""), "the question is empty"),
        (("PICTURE", "how many ?", "--cloud", NOBODY), f"the cloud at {NOBODY} does not answer"),
        (("PICTURE", "how many ?", "--cloud", "nowhere"), "give HOST:PORT"),
        (("PICTURE", "how many ?", "--bundle", "/nowhere"), "no bundle at /nowhere"),
    ],
)
def test_asking_wrongly_is_one_line(words: tuple[str, ...], says: str, picture: Path) -> None:
    here = () if "--bundle" in words else ("--bundle", "crossing")
    done = run("ask", *(str(picture) if word == "PICTURE" else word for word in words), *here)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
