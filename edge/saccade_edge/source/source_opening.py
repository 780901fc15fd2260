"""From a URI to its source."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from saccade.errors import SourceError
from saccade.redaction import redact, remember
from saccade_edge.source.base import RecordedSource, Source
from saccade_edge.source.live import SILENCE_LIMIT_S, LiveSource
from saccade_edge.source.picture_files import PICTURE_SUFFIXES, list_pictures, picture_frames
from saccade_edge.source.uri import NETWORK, local_path, network_url, scheme_of
from saccade_edge.source.video import Video, video_frames


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
    remember(uri)
    if fps is not None and fps <= 0:
        raise SourceError(f"fps must be above 0, received {fps:g}")
    if is_camera(uri):
        return _open_camera(uri, camera, live, fps)
    return _open_path(local_path(uri), camera, live or False, fps)


def is_camera(uri: str) -> bool:
    """Whether what it shows is gone once it has been shown: a recording can be read again.

    Raises ``SourceError`` for a scheme that nothing here reads.
    """
    scheme = scheme_of(uri)
    if scheme in ("", "file"):
        return False
    if scheme not in (*NETWORK, "v4l2"):
        known = ", ".join(f"{each}://" for each in ("file", *NETWORK, "v4l2"))
        raise SourceError(
            f"cannot read {scheme}:// sources, known are {known} and paths of files and folders"
        )
    return True


def _open_camera(uri: str, camera: str, live: bool | None, fps: float | None) -> Source:
    if live is False:
        raise SourceError(f"{redact(uri)} is a camera: it cannot give every frame")
    if scheme_of(uri) == "v4l2":
        url, driver, options = str(local_path(uri)), "v4l2", {}
    else:
        # Over UDP a lost datagram smears the picture until the next key frame.
        url, driver, options = network_url(uri), None, {"rtsp_transport": "tcp"}
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
    if path.is_dir():
        return RecordedSource(picture_frames(list_pictures(path), camera), gated=False)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return RecordedSource(picture_frames([path], camera), gated=False)
    # "file:", else FFmpeg takes what stands before a colon for a protocol. What a playlist names
    # is then opened only where it is a file, too.
    opening = partial(Video, f"file:{path}", str(path))
    video = opening()
    if live:
        video.close()  # opened to have its errors here; the reading thread opens its own
        return LiveSource(opening, camera, fps=fps, endless=False)
    frames = video_frames(video, camera, time.time_ns(), fps)
    return RecordedSource(frames, video.close, interrupt=video.interrupt)
