"""What every arm of the benchmark gives for every frame, kept in one file of lines."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROUNDS = 500  # of a bootstrap
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """One frame through one arm. ``sent``: bytes of the whole message; ``payload``: of those, what
    is left without the headers of picture files; ``hits``: by question, its kind and whether
    the answer was right.
    """

    arm: str
    frame: int
    sent: int
    payload: int
    hits: tuple[tuple[str, bool], ...]

    def to_line(self) -> str:
        return json.dumps([self.arm, self.frame, self.sent, self.payload, self.hits])

    @classmethod
    def from_line(cls, line: str) -> Result:
        arm, frame, sent, payload, hits = json.loads(line)
        return cls(arm, frame, sent, payload, tuple((kind, hit) for kind, hit in hits))


def read(path: Path) -> Iterator[Result]:
    """All whole lines of ``path``; none where it does not exist."""
    if path.exists():
        for line in path.read_text().splitlines():
            yield Result.from_line(line)


@dataclass(frozen=True)
class Score:
    """An arm over all frames. ``right`` and ``asked``: [frames, kinds] counts; ``sent`` and
    ``payload``: [frames] bytes.
    """

    arm: str
    kinds: tuple[str, ...]
    right: F64
    asked: F64
    sent: F64
    payload: F64

    @property
    def bytes(self) -> float:
        return float(self.sent.mean())

    def accuracy(self, measure: str, frames: npt.NDArray[np.int64] | None = None) -> float:
        """``measure``: "all" questions alike, "macro" over their kinds, or one kind's name;
        over ``frames`` where given (a bootstrap's draw).
        """
        pick = slice(None) if frames is None else frames
        right, asked = self.right[pick].sum(0), self.asked[pick].sum(0)
        if measure == "all":
            return float(right.sum() / asked.sum())
        share = right / np.maximum(asked, 1)
        return float(share.mean() if measure == "macro" else share[self.kinds.index(measure)])

    def interval(self, measure: str) -> tuple[float, float]:
        """95 % bootstrap interval of the accuracy, resampling whole frames."""
        rng = np.random.default_rng(0)
        draws = rng.integers(0, len(self.sent), (ROUNDS, len(self.sent)))
        found = [self.accuracy(measure, draw) for draw in draws]
        low, high = np.percentile(found, [2.5, 97.5])
        return float(low), float(high)


def scores(results: Sequence[Result]) -> dict[str, Score]:
    """One score per arm; every arm must have the same frames, or ValueError."""
    by_arm: dict[str, dict[int, Result]] = defaultdict(dict)
    for result in results:
        by_arm[result.arm][result.frame] = result
    frames = sorted(next(iter(by_arm.values())))
    kinds = tuple(sorted({kind for r in results for kind, _ in r.hits}))
    for arm, found in by_arm.items():
        if sorted(found) != frames:
            raise ValueError(f"arm {arm!r} has {len(found)} frames, others {len(frames)}")
    return {arm: _score(arm, kinds, [found[f] for f in frames]) for arm, found in by_arm.items()}


def _score(arm: str, kinds: tuple[str, ...], rows: Sequence[Result]) -> Score:
    right, asked = np.zeros((2, len(rows), len(kinds)))
    index: Mapping[str, int] = {kind: i for i, kind in enumerate(kinds)}
    for i, row in enumerate(rows):
        for kind, hit in row.hits:
            right[i, index[kind]] += hit
            asked[i, index[kind]] += 1
    sent = np.array([row.sent for row in rows], float)
    return Score(arm, kinds, right, asked, sent, np.array([row.payload for row in rows], float))
