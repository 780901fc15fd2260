"""``python -m saccade``."""

from __future__ import annotations

from saccade.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
