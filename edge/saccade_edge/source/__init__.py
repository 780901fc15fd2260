"""Where frames come from: video files, folders, pictures and live cameras."""

from saccade_edge.source.base import CameraState, FrameError, Source
from saccade_edge.source.source_opening import is_camera, open_source

__all__ = ["CameraState", "FrameError", "Source", "is_camera", "open_source"]
