"""What a source's text means: every path is a file of this machine, every camera a URL."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.errors import ConfigError, SourceError
from saccade.redaction import secrets_of
from saccade_edge.image_encoder import ImageEncoder
from saccade_edge.source import is_camera, open_source
from saccade_edge.source.uri import network_url, scheme_of, with_credentials

MakeVideo = Callable[..., Path]

NAMES = [
    "13:30:00.mp4", "concat:a|b.mp4", "subfile,,start,0,end,9,,:x.mp4", "http:x.mp4",
    "file:x.mp4", "pipe:0", "data:video.mp4", "-loop.mp4", "100% ?#&.mp4", "my clip.mp4",
    "caf\udce9.mp4", "摄像头🚗.mp4", "13:30@gate.mp4", "%20.mp4", "a=b;c.mp4", "rtsp:x.mp4",
]  # fmt: skip


def frames_of(uri: str) -> int:
    with open_source(uri, "gate") as source:
        return sum(1 for _ in source)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_read_whatever_its_name(
    name: str, make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / name
    make_video(5).rename(path)
    monkeypatch.chdir(path.parent)
    uri = path.as_uri()
    for text in (
        name,
        f"./{name}",
        str(path),
        uri,
        uri.replace("file://", "file://localhost", 1),
        uri.replace("file://", "FILE://LocalHost", 1),
        uri.replace("file://", "file:", 1),
    ):
        assert frames_of(text) == 5, text
        assert not is_camera(text)


@pytest.mark.parametrize("name", ["13:30:00.png", "my picture%20.png", "concat:a.png"])
def test_so_is_a_picture_also_by_the_sdk(
    name: str, tmp_path: Path, bundle: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2
    import numpy as np

    from saccade.bundle import Bundle

    assert isinstance(bundle, Bundle)
    encoded = cv2.imencode(".png", np.full((96, 160, 3), 90, np.uint8))[1]
    (tmp_path / name).write_bytes(encoded.tobytes())
    monkeypatch.chdir(tmp_path)
    encoder = ImageEncoder(bundle)
    for text in (name, (tmp_path / name).as_uri()):
        assert frames_of(text) == 1
        assert encoder.encode(text)[0].size == (96, 160)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://host/clip.mp4", "cannot read http:// sources, known are file://, rtsp://, rtsps://"),
        ("rstp://u:Geheim@host/x", "cannot read rstp:// sources"),
        ("file://host/clip.mp4", "names no path of this machine"),
        ("file://clip.mp4", "names no path of this machine"),
        ("file:///no%00where.mp4", "no such file or folder: '/no.x00where.mp4'"),
        ("/nowhere/clip.mp4", "no such file or folder: /nowhere/clip.mp4"),
        ("n" * 5000, "cannot be a path: File name too long"),
        ("rtsp://", "names no host"),
        ("rtsp:///live", "names no host"),
        ("rtsp://u:Geheim@:554/live", "rtsp://:554/live names no host"),
        ("~nobody-has-this-name/clip.mp4", "no home folder"),
        ("", "no such file|cannot be|no video|is a|holds no picture"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_source_error(
    uri: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=says) as refused:
        open_source(uri, "gate")
    assert "Geheim" not in str(refused.value)


def test_capitals_and_spaces_around_a_url_do_not_matter() -> None:
    assert scheme_of(" RTSP://HOST/Live ") == "rtsp"
    assert network_url(" RTSP://HOST/Live ") == "rtsp://HOST/Live"
    assert network_url("rtsp://h/my camera\r\nX-Evil: 1") == "rtsp://h/my%20camera%0D%0AX-Evil:%201"


@pytest.mark.parametrize(
    ("password", "sent"),
    [
        ("Ge@heim", "Ge%40heim"), ("Ge/heim", "Ge%2Fheim"), ("Ge#h?", "Ge%23h%3F"),
        ("Ge[heim]", "Ge%5Bheim%5D"), ("Ge%40heim", "Ge%40heim"), ("Ge heim", "Ge%20heim"),
    ],
)  # fmt: skip
def test_a_password_reaches_the_camera_percent_encoded(password: str, sent: str) -> None:
    url = network_url(f"rtsp://admin:{password}@127.0.0.1:554/live?x=1")
    assert url == f"rtsp://admin:{sent}@127.0.0.1:554/live?x=1"


def test_credentials_are_put_into_a_url() -> None:
    url = with_credentials("rtsp://h:554/live", "admin:Ge@h%e:im\n")
    assert url == "rtsp://admin:Ge%40h%25e%3Aim@h:554/live"
    assert "Ge@h%e:im" in secrets_of(url)
    for uri, text, says in (
        ("clip.mp4", "a:b", "takes no credentials"),
        ("rtsp://u:p@h/x", "a:b", "has a user already"),
        ("rtsp://h/x", "password", "user:password"),
        ("rtsp://h/x", ":b", "user:password"),
        ("rtsp://h/x", "a:b\nc:d", "user:password"),
    ):
        with pytest.raises(ConfigError, match=says):
            with_credentials(uri, text)


@pytest.mark.parametrize("kind", ["list.ffconcat", "list.m3u8"])
def test_a_playlist_makes_this_machine_connect_nowhere(kind: str, tmp_path: Path) -> None:
    called = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.mp4"
        (tmp_path / kind).write_text(
            {
                "list.ffconcat": f"ffconcat version 1.0\nfile '{url}'\n",
                "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
                f"{url}\n#EXT-X-ENDLIST\n",
            }[kind]
        )

        def accept() -> None:
            try:
                listener.accept()[0].close()
            except TimeoutError:
                return
            called.set()

        thread = threading.Thread(target=accept)
        thread.start()
        with pytest.raises(SourceError):
            frames_of(str(tmp_path / kind))
        thread.join()
    assert not called.is_set()
