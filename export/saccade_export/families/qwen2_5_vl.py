"""Qwen2.5-VL: Qwen2-VL with windows in most blocks of its vision tower."""

from __future__ import annotations

from typing import ClassVar

from saccade_export.families import qwen2_vl


class Adapter(qwen2_vl.Adapter):
    """See `FamilyAdapter`."""

    name: ClassVar[str] = "qwen2.5-vl"
    architectures: ClassVar[tuple[str, ...]] = ("Qwen2_5_VLForConditionalGeneration",)
