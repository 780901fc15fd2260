"""Turns off what ONNX Runtime reports to its maker. Import this before `onnxruntime`.

From 1.29 on its Linux wheels send usage events: the process looks up a server of Microsoft's and
keeps a device id under ``~/.cache``. The environment is the only switch that works before the
library is loaded, and processes that we start inherit it. It is set even where it has a value, so
that no environment turns the events on again.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
