"""One point, whatever the link does: the baseline, and what a user chooses with ``--point``."""

from __future__ import annotations

from saccade_edge.budget.base import Choice, Delivery, Moment


class Fixed:
    """``number``: the point's index; the best below it where the cloud or a cap forbids it."""

    name = "fixed"
    gated = False
    rate: float | None = None

    def __init__(self, number: int) -> None:
        self._number = number

    def delivered(self, delivery: Delivery) -> None:
        """Changes nothing."""

    def interrupted(self) -> None:
        """Changes nothing."""

    def choose(self, moment: Moment) -> Choice:
        return Choice(
            at_most(self._number, moment.allowed), "fixed", moment.unacknowledged.wire_bytes
        )


def at_most(number: int, allowed: tuple[int, ...]) -> int:
    """The last of the ``allowed`` (ascending) that is no higher, else the first."""
    return max((n for n in allowed if n <= number), default=allowed[0])
