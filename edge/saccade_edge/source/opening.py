"""From a URI to its source."""

from __future__ import annotations

import re
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from saccade.errors import SourceError
from saccade_edge.source.base import RecordedSource, Source
from saccade_edge.source.live import SILENCE_LIMIT_S, LiveSource
from saccade_edge.source.pictures import PICTURE_SUFFIXES, list_pictures, picture_frames
from saccade_edge.source.video import Video, video_frames

_NETWORK = ("rtsp", "rtsps")


def open_source(
    uri: str, camera: str, *, live: bool | None = None, fps: float | None = None
) -> Source:
    """The frames at ``uri``, named ``camera``.

    ``uri``: a video file, a picture, a folder of pictures, ``rtsp://…`` or
    ``v4l2:///dev/video0``. ``live`` None: cameras are live (newest frame only), files give
    every frame; True plays a video file in its own time like a camera. ``fps``: at most so
    many frames per second of the video's own time; pictures have no time and all come.
    Raises ``SourceError`` when there is nothing to read; a camera that is down is waited for.
    """
    if fps is not None and fps <= 0:
        raise SourceError(f"fps must be above 0, received {fps:g}")
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme in _NETWORK or scheme == "v4l2":
        return _open_camera(uri, scheme, camera, live, fps)
    if scheme not in ("", "file"):
        known = ", ".join(("file", *_NETWORK, "v4l2"))
        raise SourceError(f"cannot read {scheme}:// sources, known are {known}")
    return _open_path(Path(uri.removeprefix("file://")).expanduser(), camera, live or False, fps)


def is_camera(uri: str) -> bool:
    """Whether what it shows is gone once it has been shown: a recording can be read again."""
    return "://" in uri and urlsplit(uri).scheme != "file"


def _open_camera(
    uri: str, scheme: str, camera: str, live: bool | None, fps: float | None
) -> Source:
    if live is False:
        raise SourceError(f"{redact(uri)} is a camera: it cannot give every frame")
    if scheme == "v4l2":
        device = uri.removeprefix("v4l2://")
        url, driver, options = device, "v4l2", {}
    else:
        # Over UDP a lost datagram smears the picture until the next key frame.
        url, driver, options = uri, None, {"rtsp_transport": "tcp"}
    opening = partial(
        Video,
        url,
        redact(uri),
        driver=driver,
        options=options,
        timeout_s=SILENCE_LIMIT_S,
        prompt=True,
    )
    return LiveSource(opening, camera, fps=fps)


def _open_path(path: Path, camera: str, live: bool, fps: float | None) -> Source:
    if not path.exists():
        raise SourceError(f"no such file or folder: {path}")
    if path.is_dir():
        return RecordedSource(picture_frames(list_pictures(path), camera), gated=False)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return RecordedSource(picture_frames([path], camera), gated=False)
    video = Video(str(path), str(path))
    if live:
        video.close()  # opened to have its errors here; the reading thread opens its own
        return LiveSource(partial(Video, str(path), str(path)), camera, fps=fps, endless=False)
    frames = video_frames(video, camera, time.time_ns(), fps)
    return RecordedSource(frames, video.close, interrupt=video.interrupt)


def redact(uri: str) -> str:
    """``uri`` without user name and password, for logs and errors."""
    return re.sub(r"//[^/@]*@", "//", uri)
