"""From the edge's events to one row per frame, with its answers judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from saccade.types import U8
from saccade_demo.baselines import Sizes, sizes
from saccade_demo.clip_frames import Pictures
from saccade_demo.edge_records import Event, Reply, Sent, Skipped
from saccade_demo.standing_questions import Truth, judge
from saccade_drawn_world.crossing.question_makers import View


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer. ``truth`` None: nobody knows; ``right`` None: then nobody can say."""

    kind: str
    question: str
    answer: str
    truth: str | None
    reply: Reply

    @property
    def right(self) -> bool | None:
        return None if self.truth is None else self.answer == self.truth


@dataclass(frozen=True, slots=True)
class Row:
    """One frame with all its answers. ``picture``: uint8 [H, W, 3] RGB."""

    sent: Sent
    picture: U8
    sizes: Sizes
    asked: tuple[Asked, ...]


@dataclass
class _Open:
    sent: Sent
    picture: U8
    sizes: Sizes
    view: View | None
    asked: list[Asked]


class Rows:
    """``take`` every event; a frame's row comes with its last answer, in the frames' order."""

    def __init__(
        self,
        pictures: Pictures,
        truth: Truth,
        view_size: tuple[int, int],
        questions: Sequence[str],
    ) -> None:
        self._pictures = pictures
        self._truth = truth
        self._view_size = view_size
        self._questions = list(questions)
        self._open: dict[int, _Open] = {}
        self.skipped = 0

    def take(self, event: Event) -> Iterator[Row]:
        """The rows that ``event`` completes."""
        if isinstance(event, Skipped):
            self.skipped += 1
        elif isinstance(event, Sent):
            self._open[event.sequence] = self._begin(event)
        elif event.sequence in self._open:
            self._open[event.sequence].asked.append(self._judged(event))
        while self._open and (done := self._done(next(iter(self._open)))):
            yield done

    def _begin(self, sent: Sent) -> _Open:
        picture = self._pictures.at(sent.sequence)
        windows = [view.window for view in sent.views]
        measured = sizes(picture, windows, self._view_size)
        view = self._truth.of(sent.sequence, sent.shown)
        return _Open(sent, picture, measured, view, [])

    def _judged(self, reply: Reply) -> Asked:
        verdict = judge(reply.question, self._open[reply.sequence].view)
        return Asked(verdict.kind, reply.question, reply.text, verdict.truth, reply)

    def _done(self, sequence: int) -> Row | None:
        row = self._open[sequence]
        if len(row.asked) < len(self._questions):
            return None
        del self._open[sequence]
        asked = sorted(row.asked, key=lambda each: self._questions.index(each.question))
        return Row(row.sent, row.picture, row.sizes, tuple(asked))
