"""What a run came to: answers right, bytes, times, frames per second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from statistics import fmean
from typing import Any

from saccade_demo.baselines import Sizes
from saccade_demo.rows import Row


@dataclass(frozen=True, slots=True)
class Score:
    """How many of the answers with a known truth were right."""

    right: int
    judged: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Means are per frame sent, ``stages_ms`` per answer. ``frames`` counts skipped ones, too;
    ``not_in_frame`` those of ``refused`` that ask about what the frame does not show. ``score``
    None: nobody knew what is right.
    """

    frames: int
    sent: int
    answers: int
    refused: int
    not_in_frame: int
    score: Score | None
    by_kind: Mapping[str, Score]
    tokens: float
    packet_bytes: float
    pictures_bytes: Mapping[str, float]
    stages_ms: Mapping[str, float]
    seconds: float

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return asdict(self) | {"fps": round(self.fps, 2)}


class Tally:
    """Counts rows; ``between`` hears when events came, in monotonic seconds."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._bytes: list[int] = []
        self._sizes: list[Sizes] = []
        self._judged: dict[str, list[bool]] = defaultdict(list)
        self._stages: dict[str, list[float]] = defaultdict(list)
        self._answers = self._refused = self._not_in_frame = 0
        self._first_s = self._last_s = 0.0

    def between(self, at_s: float) -> None:
        """An event came at ``at_s``."""
        self._first_s = self._first_s or at_s
        self._last_s = at_s

    def add(self, row: Row) -> None:
        self._tokens.append(row.sent.tokens)
        self._bytes.append(row.sent.packet_bytes)
        self._sizes.append(row.sizes)
        for asked in row.asked:
            self._answers += not asked.reply.refused
            self._refused += asked.reply.refused
            self._not_in_frame += asked.reply.not_in_frame
            if asked.right is not None:
                self._judged[asked.kind].append(asked.right)
            for stage, ms in asked.reply.stages_ms.items():
                self._stages[stage].append(ms)

    @property
    def score(self) -> Score | None:
        """Over all kinds, so far; None where no answer could be judged."""
        return _summed(self._by_kind()) if self._judged else None

    def totals(self, skipped: int) -> Totals:
        by_kind = self._by_kind()
        return Totals(
            frames=len(self._bytes) + skipped,
            sent=len(self._bytes),
            answers=self._answers,
            refused=self._refused,
            not_in_frame=self._not_in_frame,
            score=self.score,
            by_kind=by_kind,
            tokens=_mean(self._tokens),
            packet_bytes=_mean(self._bytes),
            pictures_bytes={
                field.name: _mean([getattr(each, field.name) for each in self._sizes])
                for field in fields(Sizes)
            },
            stages_ms={stage: round(fmean(ms), 2) for stage, ms in self._stages.items()},
            seconds=round(self._last_s - self._first_s, 2),
        )

    def _by_kind(self) -> dict[str, Score]:
        return {kind: Score(sum(each), len(each)) for kind, each in self._judged.items()}


def _summed(by_kind: Mapping[str, Score]) -> Score:
    scores = by_kind.values()
    return Score(sum(s.right for s in scores), sum(s.judged for s in scores))


def _mean(values: list[int]) -> float:
    return round(fmean(values), 1) if values else 0.0
