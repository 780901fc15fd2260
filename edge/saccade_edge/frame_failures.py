"""One bad frame is one bad frame; many in a row are a fault that the next frame will have, too."""

from __future__ import annotations

from saccade.errors import FramesFailed, SaccadeError

MOST_IN_A_ROW = 10


class Failures:
    """Counts frames that failed one after the other."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._passed = False
        self._last: SaccadeError | None = None

    def passed(self) -> None:
        """A frame was looked at, and sent if it showed something new."""
        self._in_a_row, self._passed = 0, True

    def failed(self, error: SaccadeError) -> None:
        """Raises ``FramesFailed`` at the tenth in a row, with the reason of the last."""
        self._in_a_row += 1
        self._last = error
        if self._in_a_row >= MOST_IN_A_ROW:
            raise FramesFailed(f"{self._in_a_row} frames in a row failed, the last: {error}")

    def ended(self) -> None:
        """The source has no more frames. Raises ``FramesFailed`` where none of them passed."""
        if self._last is not None and not self._passed:
            number = self._in_a_row
            every = "the only frame" if number == 1 else f"all {number} frames"
            last = "" if number == 1 else ", the last"
            raise FramesFailed(f"{every} failed{last}: {self._last}")
