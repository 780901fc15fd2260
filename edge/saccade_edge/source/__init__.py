"""Where frames come from: video files, folders, pictures and live cameras."""

from saccade_edge.source.base import Source
from saccade_edge.source.opening import open_source

__all__ = ["Source", "open_source"]
