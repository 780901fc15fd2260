"""Every container and codec: as many frames as FFmpeg counts, from the stream that is the video."""

from __future__ import annotations

import io
import itertools
import shutil
import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.stream import Disposition

from saccade.errors import SourceError
from saccade.types import Frame
from saccade_edge.source import open_source
from saccade_testing.clips import B_FRAMES, Making, clip_bytes, moving, write_clip
from saccade_testing.frames import read_all

# Encoders that need another pixel format than yuv420p, or another size than 96 x 160.
FORMATS = {
    "mjpeg": "yuvj420p", "gif": "rgb8", "apng": "rgb24", "png": "rgb24", "qtrle": "rgb24",
    "prores_ks": "yuv422p10le", "dnxhd": "yuv422p", "huffyuv": "yuv422p", "cinepak": "rgb24",
    "flashsv": "bgr24", "roqvideo": "yuvj444p",
}  # fmt: skip
SIZES = {"h263": (144, 176), "h261": (144, 176), "dvvideo": (576, 720), "dnxhd": (720, 1280)}
OPTIONS = {
    "libx264": {**B_FRAMES, "preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:bframes=2:keyint=10:pools=1"},
    "libsvtav1": {"preset": "11", "svtav1-params": "lp=1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "mpeg4": {"bf": "2", "g": "10"},
    "mpeg2video": {"bf": "2", "g": "10"},
}
PAIRS = {
    "mp4": "libx264 libx265 mpeg4 libsvtav1 libvpx-vp9 mjpeg mpeg2video",
    "mov": "libx264 prores_ks dnxhd mjpeg qtrle png mpeg4",
    "matroska": "libx264 libx265 ffv1 libvpx libvpx-vp9 libsvtav1 mjpeg rawvideo mpeg2video",
    "webm": "libvpx libvpx-vp9 libsvtav1",
    "avi": "mpeg4 mjpeg rawvideo huffyuv libx264 msmpeg4v2 ffv1 cinepak",
    "mpegts": "libx264 libx265 mpeg2video mpeg4",
    "flv": "flv libx264 flashsv",
    "mpeg": "mpeg1video mpeg2video",
    "vob": "mpeg2video",
    "ogg": "libvpx",
    "gif": "gif",
    "apng": "apng",
    "mxf": "mpeg2video dnxhd libx264",
    "nut": "libx264 rawvideo mpeg4 ffv1",
    "asf": "wmv1 wmv2 msmpeg4",
    "3gp": "h263 mpeg4 libx264",
    "3g2": "libx264",
    "yuv4mpegpipe": "wrapped_avframe",
    "h264": "libx264",
    "hevc": "libx265",
    "mjpeg": "mjpeg",
    "m4v": "mpeg4",
    "mpeg1video": "mpeg1video",
    "mpeg2video": "mpeg2video",
    "ivf": "libvpx libvpx-vp9 libsvtav1",
    "obu": "libsvtav1",
    "avif": "libsvtav1",
    "rm": "rv10 rv20",
    "swf": "flv",
    "dv": "dvvideo",
    "roq": "roqvideo",
    "ismv": "libx264",
    "h263": "h263",
    "h261": "h261",
    "wtv": "mpeg2video",
    "ipod": "libx264",
}
ALL = [(container, codec) for container, codecs in PAIRS.items() for codec in codecs.split()]
COUNT = 20


def written(codec: str) -> bool:
    try:
        return Codec(codec, "w").is_encoder
    except UnknownCodecError:
        return False


def ffmpegs_count(path: Path) -> int:
    """Frames of the first video stream, by ffprobe; where it is not installed, or too old for the
    codec, by PyAV's plain decoding, with what the decoder holds at the end.
    """
    if shutil.which("ffprobe"):
        command = (
            "ffprobe -v quiet -count_frames -select_streams v:0 -of csv=p=0"
            f" -show_entries stream=nb_read_frames {path}"
        )
        shown = subprocess.run(command.split(), capture_output=True, text=True, check=False).stdout
        count = shown.split("\n")[0].strip(",")
        if count.isdigit():
            return int(count)
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def frames_of(path: Path) -> list[Frame]:
    with open_source(str(path), "gate") as source:
        frames, failures = read_all(source)
    assert failures == []
    return frames


@pytest.mark.parametrize(("container", "codec"), ALL, ids=[f"{c}-{k}" for c, k in ALL])
def test_as_many_frames_come_as_ffmpeg_counts(container: str, codec: str, tmp_path: Path) -> None:
    if not written(codec):
        pytest.skip(f"this PyAV has no encoder {codec}")
    making = Making(
        container,
        codec,
        FORMATS.get(codec, "yuv420p"),
        rate=25,
        options=OPTIONS.get(codec, {}),
        bit_rate=90_000_000 if codec == "dnxhd" else None,
    )
    count = 4 if codec in ("dnxhd", "roqvideo", "cinepak") else COUNT
    path = write_clip(tmp_path / "clip.bin", moving(count, SIZES.get(codec, (96, 160))), making)
    frames = frames_of(path)
    assert [frame.sequence for frame in frames] == list(range(1, count + 1))
    assert len(frames) == ffmpegs_count(path)
    seconds = np.diff([frame.captured_ns for frame in frames]) / 1e9
    assert (seconds > 0).all()
    # H.261 and H.263 know 29.97 frames a second only.
    assert seconds.sum() == pytest.approx((count - 1) / 25, rel=0.2)


def test_an_open_gop_gives_what_ffmpeg_gives(tmp_path: Path) -> None:
    options = {"bf": "2", "g": "6", "b_strategy": "0", "x264-params": "open-gop=1"}
    whole = clip_bytes(moving(30), Making("mpegts", options=options))
    path = tmp_path / "whole.ts"
    path.write_bytes(whole)
    assert len(frames_of(path)) == ffmpegs_count(path) == 30
    # Cut before its second key frame, the pictures that lead it cannot be decoded.
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole[len(whole) // 3 // 188 * 188 :])
    with open_source(str(cut), "gate") as source:
        frames, _ = read_all(source)
    assert len(frames) == ffmpegs_count(cut)


@pytest.mark.parametrize(
    ("container", "first"),
    [
        (container, first)
        for container in ("matroska", "mpegts", "nut", "mp4")
        for first in (-9_000, 0, 10**9, 2**33 - 45_000)
        if (container, first) != ("nut", -9_000)  # its muxer refuses
    ],
)
def test_stamps_may_begin_anywhere(container: str, first: int, tmp_path: Path) -> None:
    making = Making(
        container,
        stamps=[first + n * 9_000 for n in range(COUNT)],
        options=B_FRAMES,
        container_options={"avoid_negative_ts": "disabled"},
    )
    path = write_clip(tmp_path / "clip.bin", moving(COUNT), making)
    frames = frames_of(path)
    assert len(frames) == ffmpegs_count(path)
    if container != "mp4":  # its edit list leaves out what is before zero
        assert len(frames) == COUNT
    steps = np.diff([frame.captured_ns for frame in frames]) / 1e9
    assert np.allclose(steps, 0.1, atol=0.002)


def test_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    at_ms = [0, 40, 500, 540, 4_000, 4_033, 9_000]
    making = Making("matroska", stamps=[ms * 90 for ms in at_ms], options=B_FRAMES)
    frames = frames_of(write_clip(tmp_path / "clip.mkv", moving(len(at_ms)), making))
    since_ms = [round((f.captured_ns - frames[0].captured_ns) / 1e6) for f in frames]
    assert np.abs(np.array(since_ms) - at_ms).max() <= 1


def test_an_edit_list_is_kept(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", moving(COUNT), Making(options=B_FRAMES))
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12  # version, count; then duration, media time, rate
    duration, media = struct.unpack_from(">Ii", data, at)
    scale = duration // COUNT  # movie units a frame
    ticks = int.from_bytes(data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20], "big") // 10
    struct.pack_into(">Ii", data, at, duration - 5 * scale, media + 5 * ticks)
    path.write_bytes(data)
    frames = frames_of(path)
    assert len(frames) == ffmpegs_count(path) == COUNT - 5


def _mux(path: Path, container: str, sizes: dict[str, tuple[int, int]], audio: str | None) -> Path:
    """A stream for each of ``sizes``, a still picture where its name is "cover"; audio before."""
    with av.open(str(path), "w", format=container) as out:
        sound = None
        if audio is not None:
            sound = out.add_stream(audio, rate=16_000)
            sound.codec_context.layout = "mono"
        streams = {name: out.add_stream(
            "mjpeg" if name == "cover" else "libx264", rate=10
        ) for name in sizes}  # fmt: skip
        for name, stream in streams.items():
            stream.height, stream.width = sizes[name]
            stream.pix_fmt = "yuvj420p" if name == "cover" else "yuv420p"
            if name == "cover":
                # A number: older versions of PyAV take no other.
                stream.disposition = cast("Disposition", Disposition.attached_pic.value)
        if sound is not None:
            _add_silence(out, sound)
        for number in range(COUNT):
            for name, stream in streams.items():
                if name != "cover" or number == 0:
                    picture = moving(number + 1, sizes[name])[-1]
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    frame = frame.reformat(format=stream.pix_fmt)
                    frame.pts = number
                    out.mux(stream.encode(frame))
        for stream in streams.values():
            out.mux(stream.encode())
    return path


def _add_silence(out: OutputContainer, sound: av.AudioStream) -> None:
    size = sound.codec_context.frame_size or 1_024
    for number in range(2 * 16_000 // size):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, size), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16_000, number * size
        frame.time_base = Fraction(1, 16_000)
        out.mux(sound.encode(frame))
    out.mux(sound.encode())


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "mov"])
def test_audio_that_comes_first_changes_nothing(container: str, tmp_path: Path) -> None:
    path = _mux(tmp_path / "clip.bin", container, {"street": (96, 160)}, audio="aac")
    frames = frames_of(path)
    assert len(frames) == ffmpegs_count(path) == COUNT


def test_the_larger_of_two_video_streams_is_read(tmp_path: Path) -> None:
    sizes = {"sub": (48, 80), "main": (96, 160)}
    path = _mux(tmp_path / "clip.mkv", "matroska", sizes, audio=None)
    frames = frames_of(path)
    assert {frame.size for frame in frames} == {(96, 160)}
    assert len(frames) == COUNT


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    sizes = {"cover": (480, 640), "street": (96, 160)}
    path = _mux(tmp_path / "clip.mp4", "mp4", sizes, audio=None)
    with av.open(str(path)) as container:
        marked = [stream.disposition for stream in container.streams.video]
    assert any(each & Disposition.attached_pic for each in marked)
    frames = frames_of(path)
    assert {frame.size for frame in frames} == {(96, 160)}
    assert len(frames) == COUNT


def test_a_song_with_a_cover_holds_no_video(tmp_path: Path) -> None:
    path = _mux(tmp_path / "song.mp4", "mp4", {"cover": (480, 640)}, audio="aac")
    with pytest.raises(SourceError, match="holds no video stream"):
        open_source(str(path), "gate")


def test_frames_that_the_decoder_holds_back_come_although_the_file_is_cut(tmp_path: Path) -> None:
    whole = clip_bytes(moving(30), Making("mpegts", options=B_FRAMES))
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[: len(whole) // 2])
    with open_source(str(path), "gate") as source:
        frames, _ = read_all(source)
    assert len(frames) == ffmpegs_count(path) > 5


def test_damage_is_one_failure_for_all_packets_in_a_row_and_the_rest_comes(tmp_path: Path) -> None:
    making = Making("nut", "mpeg4", options={"g": "1"})
    data = bytearray(clip_bytes(moving(COUNT), making))
    with av.open(io.BytesIO(data)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for packet in (*packets[5:17], packets[18]):
        at = data.index(packet)
        data[at : at + len(packet)] = bytes(len(packet))
    path = tmp_path / "clip.nut"
    path.write_bytes(data)
    with open_source(str(path), "gate") as source:
        frames, failures = read_all(source)
    whole = [*range(1, 6), 18, 20]
    assert [frame.sequence for frame in frames] == whole
    assert [failure.sequence for failure in failures] == [6, 19]
    assert "packets 6 to 17 cannot be decoded" in failures[0].message
    assert all(a.captured_ns < b.captured_ns for a, b in itertools.pairwise(frames))
