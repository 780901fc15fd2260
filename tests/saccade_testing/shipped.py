"""Where the demo bundle lies: in the checkout, or where a wheel has put it."""

from __future__ import annotations

from pathlib import Path

import saccade_crossing

SHIPPED = Path(next(iter(saccade_crossing.__path__)))
