"""Exact-match accuracy of a checkpoint on held-out shards, from one forward pass.

Greedy decoding gives exactly the answer when, with the answer as prefix, every next token is
the most likely one: so exact match needs no decoding loop here. ``bench/accuracy.py`` measures
the shipped bundle through the real pipeline.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from saccade_drawn_world.crossing.scene import Scene
from saccade_drawn_world.crossing.scene_questions import Question, ask
from saccade_drawn_world.tiny.tiny_language import Language
from saccade_drawn_world.training.packing import BOS, attention_mask, pack, readable
from saccade_drawn_world.training.train_language import Batch, Frames, columns

LIMIT = 400


@torch.no_grad()
def accuracy(
    root: Path, model: Language, tokenizer: Tokenizer,
    kept: Callable[[Batch], tuple[torch.Tensor, ...] | None], *, frames: int = 500,
) -> dict[str, float]:  # fmt: skip
    """Share of exactly right answers per question kind over the shards in ``root``.

    ``kept``: what the language side has of a batch, as `sending.keep` gives it.
    """
    data = Frames(root, tokenizer, 0)
    right: dict[str, list[bool]] = defaultdict(list)
    rng = random.Random(0)
    torch.manual_seed(0)
    left = frames
    for pool in data.by_views.values():
        for start in range(0, len(pool), 32):
            picks = pool[start : start + 32][: max(left, 0)]
            left -= len(picks)
            if not picks:
                break
            batch, asked = _batch(data, picks, rng)
            for questions, hits in zip(asked, _hits(model, batch, kept(batch)), strict=True):
                for number, question in enumerate(questions, 1):
                    if number in hits:
                        right[question.kind].append(hits[number])
    return {kind: float(np.mean(v)) for kind, v in sorted(right.items())}


def _batch(
    data: Frames, picks: list[tuple[int, int]], rng: random.Random
) -> tuple[Batch, list[list[Question]]]:
    metas = [data.shards[s][0].frames[i] for s, i in picks]
    asked = [ask(readable(Scene.from_json(m["scene"]), m), m["subjects"], rng) for m in metas]
    rows = [data.frame(*pick) for pick in picks]
    return Batch(*columns(rows), pack(asked, data.tokenizer, LIMIT)), asked


def _hits(
    model: Language, batch: Batch, kept: tuple[torch.Tensor, ...] | None
) -> list[dict[int, bool]]:
    """Per row: question number -> every token of the answer right."""
    text = batch.text
    embed = model.llama.get_input_embeddings()
    parts = [embed(torch.full((len(text.ids), 1), BOS)), embed(text.ids)]
    if kept is not None:
        parts.insert(1, model.visual(*kept))
    prefix = sum(p.shape[1] for p in parts[:-1])
    ahead = torch.arange(prefix).expand(len(text.ids), -1)
    hidden = model.llama.model(
        inputs_embeds=torch.cat(parts, 1), attention_mask=attention_mask(text.segment, prefix),
        position_ids=torch.cat([ahead, text.position + prefix], 1), use_cache=False,
    ).last_hidden_state[:, prefix:]  # fmt: skip
    ok = (model.llama.lm_head(hidden).argmax(-1) == text.label) | (text.label < 0)
    return [
        {int(n): bool(row[seg == n].all()) for n in seg.unique() if n > 0}
        for row, seg in zip(ok, text.segment, strict=True)
    ]


def table(results: dict[str, dict[str, float]]) -> str:
    """Columns: runs; rows: question kinds and their mean."""
    kinds = sorted({k for r in results.values() for k in r})
    lines = ["kind".ljust(16) + "".join(name.rjust(12) for name in results)]
    for kind in kinds:
        cells = (f"{100 * r.get(kind, float('nan')):12.1f}" for r in results.values())
        lines += ["".join([kind.ljust(16), *cells])]
    macro = "".join(f"{100 * np.mean(list(r.values())):12.1f}" for r in results.values())
    return "\n".join([*lines, "macro".ljust(16) + macro])
