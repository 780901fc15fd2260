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

from saccade_drawn_world.crossing.scene import Scene
from saccade_drawn_world.crossing.scene_questions import Question, ask, stepping_stones

PROMPT = "{question} answer :"
BOS, EOS = 1, 2
# Attributes are learned within minutes; what needs the whole frame is not, when all are asked
# alike (measured: counting and existence at chance after 20 minutes). So those are asked more.
HARD = frozenset({"count_kind", "count_colour", "count_people", "exist", "relation", "plate"})
HARD_EACH = 3
EASY_SHARE = 0.35
STONES = 3
# A question weighs 1, however long its answer, except for those that are hard and come alone: a
# frame has one number of people, and seldom more than one plate.
WEIGHTS = {"plate": 4.0, "count_people": 3.0, "describe": 2.0}


@dataclass(frozen=True)
class TextRows:
    """``ids`` int64 [B, L] (0 padding), ``segment`` int64 [B, L] (question 1, 2, …; 0 padding),
    ``position`` int64 [B, L] within the question, ``label`` int64 [B, L]: the next token where
    it is part of an answer, else -100; ``weight`` float32 [B, L] of that token in the loss.
    """

    ids: Tensor
    segment: Tensor
    position: Tensor
    label: Tensor
    weight: Tensor


def questions_for(
    meta: dict[str, Any], rng: random.Random, *, all_easy: bool = False
) -> list[Question]:
    """Questions about one stored frame, shuffled: mostly those that are hard to learn, and of the
    easy ones some, or all.
    """
    share = 1.0 if all_easy else EASY_SHARE
    scene = readable(Scene.from_json(meta["scene"]), meta)
    asked = [q for q in ask(scene, meta["subjects"], rng, per_kind=HARD_EACH) if q.kind in HARD]
    asked += [
        q for q in ask(scene, meta["subjects"], rng) if q.kind not in HARD and rng.random() < share
    ]
    extra = stepping_stones(scene, meta["subjects"], rng)
    rng.shuffle(extra)
    asked += extra[:STONES]
    rng.shuffle(asked)
    return asked


def readable(scene: Scene, meta: dict[str, Any]) -> Scene:
    """The scene with only those plates that its close-ups show."""
    shown = {meta["subjects"][slot - 1] for slot in meta["closeups"]}
    vehicles = tuple(
        v if i in shown else replace(v, plate=None) for i, v in enumerate(scene.vehicles)
    )
    return replace(scene, vehicles=vehicles)


def pack(rows: Sequence[Sequence[Question]], tokenizer: Tokenizer, limit: int) -> TextRows:
    """Tokenise and lay out; questions that would pass ``limit`` tokens are left for another day."""
    laid = [_lay(questions, tokenizer, limit) for questions in rows]
    length = max(len(r[0]) for r in laid)
    columns = [
        torch.tensor([row[c] + [fill] * (length - len(row[c])) for row in laid])
        for c, fill in enumerate((0, 0, 0, -100, 0.0))
    ]
    return TextRows(*columns)


def _lay(
    questions: Sequence[Question], tokenizer: Tokenizer, limit: int
) -> tuple[list[int], list[int], list[int], list[int], list[float]]:
    ids: list[int] = []
    segment: list[int] = []
    position: list[int] = []
    label: list[int] = []
    weight: list[float] = []
    prompts = tokenizer.encode_batch([PROMPT.format(question=q.text) for q in questions])
    answers = tokenizer.encode_batch([q.answer for q in questions])
    triples = zip(questions, prompts, answers, strict=True)
    for number, (question, prompt, answer) in enumerate(triples, 1):
        tokens = [*prompt.ids, *answer.ids]
        if len(ids) + len(tokens) > limit:
            continue
        ids += tokens
        segment += [number] * len(tokens)
        position += range(len(tokens))
        label += [-100] * (len(prompt.ids) - 1) + [*answer.ids, EOS]
        each = WEIGHTS.get(question.kind, 1.0) / (len(answer.ids) + 1)
        weight += [each] * len(tokens)
    return ids, segment, position, label, weight


def attention_mask(segment: Tensor, prefix: int) -> Tensor:
    """[B, 1, P+L, P+L] float, 0 where a row may look and very negative elsewhere; the first
    ``prefix`` columns are the visual prefix (segment 0 for all).
    """
    batch = len(segment)
    head = torch.zeros(batch, prefix, dtype=segment.dtype, device=segment.device)
    whole = torch.cat([head, torch.where(segment == 0, -1, segment)], 1)
    query, key = whole[:, :, None], whole[:, None, :]
    length = whole.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment.device).tril()
    # Padding looks at itself only, so that no softmax row is empty.
    allowed = causal & ((key == 0) | (query == key))
    return torch.where(allowed, 0.0, torch.finfo(torch.float32).min)[:, None]
