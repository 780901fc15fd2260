"""Many questions about one frame in one training row.

A row is the visual prefix, then all questions with their answers, one after the other. A
question sees the prefix and itself, never its neighbours, and its positions start where the
prefix ends: each is trained as if it had been asked alone, but the prefix is computed once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from saccade_export.crossing.questions import Question, ask, stepping_stones
from saccade_export.crossing.scene import Scene
from saccade_export.training.shards import VIEW_SIZE
from saccade_export.training.targets import legible

PROMPT = "{question} answer :"
BOS, EOS = 1, 2


@dataclass(frozen=True)
class TextRows:
    """``ids`` int64 [B, L] (0 padding), ``segment`` int64 [B, L] (question 1, 2, …; 0 padding),
    ``position`` int64 [B, L] within the question, ``label`` int64 [B, L]: the next token where
    it is part of an answer, else -100."""

    ids: Tensor
    segment: Tensor
    position: Tensor
    label: Tensor


def questions_for(meta: dict[str, Any], rng: random.Random, stones: int = 3) -> list[Question]:
    """Questions about one stored frame, shuffled, with a few stepping stones."""
    scene = Scene.from_json(meta["scene"])
    asked = ask(readable(scene, meta), meta["subjects"], rng)
    extra = stepping_stones(readable(scene, meta), meta["subjects"], rng)
    rng.shuffle(extra)
    asked += extra[:stones]
    rng.shuffle(asked)
    return asked


def readable(scene: Scene, meta: dict[str, Any]) -> Scene:
    """The scene with only those plates that its crops show large enough to read."""
    windows = dict(zip(meta["subjects"], meta["windows"][1:], strict=True))
    vehicles = tuple(
        v if i in windows and legible(v, windows[i], VIEW_SIZE[1]) else replace(v, plate=None)
        for i, v in enumerate(scene.vehicles)
    )
    return replace(scene, vehicles=vehicles)


def pack(rows: Sequence[Sequence[Question]], tokenizer: Tokenizer, limit: int) -> TextRows:
    """Tokenise and lay out; questions that would pass ``limit`` tokens are left for another day."""
    laid = [_lay(questions, tokenizer, limit) for questions in rows]
    length = max(len(r[0]) for r in laid)
    columns = [
        torch.tensor([row[c] + [fill] * (length - len(row[c])) for row in laid])
        for c, fill in enumerate((0, 0, 0, -100))
    ]
    return TextRows(*columns)


def _lay(questions: Sequence[Question], tokenizer: Tokenizer, limit: int) -> tuple[list[int], ...]:
    ids: list[int] = []
    segment: list[int] = []
    position: list[int] = []
    label: list[int] = []
    prompts = tokenizer.encode_batch([PROMPT.format(question=q.text) for q in questions])
    answers = tokenizer.encode_batch([q.answer for q in questions])
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), 1):
        tokens = [*prompt.ids, *answer.ids]
        if len(ids) + len(tokens) > limit:
            continue
        ids += tokens
        segment += [number] * len(tokens)
        position += range(len(tokens))
        label += [-100] * (len(prompt.ids) - 1) + [*answer.ids, EOS]
    return ids, segment, position, label


def attention_mask(segment: Tensor, prefix: int) -> Tensor:
    """[B, 1, P+L, P+L] float, 0 where a row may look and very negative elsewhere; the first
    ``prefix`` columns are the visual prefix (segment 0 for all)."""
    batch = len(segment)
    head = torch.zeros(batch, prefix, dtype=segment.dtype, device=segment.device)
    whole = torch.cat([head, torch.where(segment == 0, -1, segment)], 1)
    query, key = whole[:, :, None], whole[:, None, :]
    length = whole.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment.device).tril()
    # Padding looks at itself only, so that no softmax row is empty.
    allowed = causal & ((key == 0) | (query == key))
    return torch.where(allowed, 0.0, torch.finfo(torch.float32).min)[:, None]
