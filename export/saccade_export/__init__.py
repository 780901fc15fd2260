"""From checkpoints to bundles: ``saccade export``.

What these libraries report to their makers is off before they are loaded.
"""

import os

os.environ.update(
    HF_HUB_DISABLE_TELEMETRY="1",  # huggingface_hub, and transformers through it
    DO_NOT_TRACK="1",
    YOLO_OFFLINE="true",  # ultralytics: no analytics, no look for a newer version
    YOLO_AUTOINSTALL="false",  # nor packages that it installs by itself
)
