"""Stage 2: the encoder is frozen; the language side learns to answer from its tokens.

It learns from any number of kept tokens, chosen by saliency or by chance, and from coarsely
quantised ones: whatever an edge may send later.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from saccade_export.tiny.encoder import Encoder
from saccade_export.tiny.language import Language
from saccade_export.training import loop
from saccade_export.training.packing import BOS, TextRows, attention_mask, pack, questions_for
from saccade_export.training.shards import FRAME_SIZE, Shard, shard_folders

TEXT_LIMIT = 190
# Kept tokens per view. Mostly few: a step is then several times cheaper, and steps are what
# counting and searching take; the last share of the stage sees the mixture evenly.
EARLY_BUDGETS = (16, 16, 16, 8, 32)
BUDGETS = (64, 64, 32, 32, 16, 16, 8, 4)
EARLY_SHARE = 0.7
STEPS = (0.0, 0.0, 0.25, 0.5, 1.0)  # quantiser steps, in units of a feature's deviation


@dataclass(frozen=True)
class Batch:
    """``features`` [B, V, T, D], ``scores`` [B, V, T], ``boxes`` [B, V, 4] normalised; ``slots``
    and ``kinds`` [B, V] as the projector reads them.
    """

    features: Tensor
    scores: Tensor
    boxes: Tensor
    slots: Tensor
    kinds: Tensor
    text: TextRows


@torch.no_grad()
def cache_features(encoder: Encoder, folder: Path, device: str, stamp: str) -> None:
    """Run the frozen encoder over one shard; features float16 and saliency scores beside it.

    ``stamp`` names the encoder's weights: features of other weights are made anew.
    """
    made_by = folder / "features.stamp"
    if made_by.exists() and made_by.read_text() == stamp:
        return
    encoder.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    views = np.load(folder / "views.npy", mmap_mode="r")
    features, scores = [], []
    for start in range(0, len(views), 128):
        chunk = torch.from_numpy(views[start : start + 128].copy()).to(device)
        with torch.autocast(device, dtype=torch.bfloat16):
            f, s, _, _ = encoder(chunk)
        features.append(f.half().cpu().numpy())
        scores.append(s.float().mean(2).sum(1).cpu().numpy())
    np.save(folder / "scores.npy", np.concatenate(scores).astype(np.float32))
    np.save(folder / "features.npy", np.concatenate(features))
    made_by.write_text(stamp)


class Frames:
    """Batches of frames with equal numbers of views, so that no prefix needs padding."""

    def __init__(self, root: Path, tokenizer: Tokenizer, seed: int) -> None:
        self.tokenizer, self.random = tokenizer, random.Random(seed)
        self.shards: list[tuple[Shard, npt.NDArray[np.float16], npt.NDArray[np.float32]]] = []
        self.by_views: dict[int, list[tuple[int, int]]] = {}
        for folder in shard_folders(root):
            if (folder / "features.npy").exists():
                self._add(folder)

    def _add(self, folder: Path) -> None:
        shard = Shard.open(folder)
        features = np.load(folder / "features.npy", mmap_mode="r")
        self.shards.append((shard, features, np.load(folder / "scores.npy")))
        for i, count in enumerate(np.diff(shard.offsets)):
            self.by_views.setdefault(int(count), []).append((len(self.shards) - 1, i))

    def batch(self, size: int) -> Batch:
        kinds = list(self.by_views)
        # Rarely used slots need practice too: frames with many views weigh a little more.
        weights = [len(self.by_views[k]) * (1 + 0.1 * k) for k in kinds]
        pool = self.by_views[self.random.choices(kinds, weights)[0]]
        picks = [self.random.choice(pool) for _ in range(size)]
        rows = [self.frame(*pick) for pick in picks]
        metas = [self.shards[s][0].frames[i] for s, i in picks]
        asked = [questions_for(meta, self.random) for meta in metas]
        text = pack(asked, self.tokenizer, TEXT_LIMIT)
        return Batch(*columns(rows), text)

    def frame(self, s: int, i: int) -> tuple[npt.NDArray[Any], ...]:
        """Features, scores, boxes, slots and kinds of the views of frame ``i`` of shard ``s``."""
        shard, features, scores = self.shards[s]
        here = slice(int(shard.offsets[i]), int(shard.offsets[i + 1]))
        scale = np.asarray([FRAME_SIZE[1], FRAME_SIZE[0]] * 2, np.float32)
        meta = shard.frames[i]
        boxes = np.asarray(meta["windows"], np.float32) / scale
        crops, closeups = len(meta["subjects"]), meta["closeups"]
        slots = np.asarray([*range(1 + crops), *closeups], np.int64)
        kinds = np.asarray([0] + [1] * crops + [2] * len(closeups), np.int64)
        return features[here], scores[here], boxes.clip(0, 1), slots, kinds


def columns(
    rows: Sequence[tuple[npt.NDArray[Any], ...]],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Frames of equal numbers of views as the first five fields of a ``Batch``."""
    features, *rest = (torch.from_numpy(np.stack(c)) for c in zip(*rows, strict=True))
    scores, boxes, slots, kinds = rest
    return features.float(), scores, boxes, slots, kinds


def keep(batch: Batch, budget: int, step: float, by_score: bool) -> tuple[Tensor, ...]:
    """Keep ``budget`` tokens per view -> what the projector reads: features [B, V*K, D], ids,
    slots, boxes and kinds [B, V*K, ...].
    """
    b, v, t, d = batch.features.shape
    order = batch.scores if by_score else torch.rand(b, v, t)
    ids = order.topk(budget, -1).indices.sort(-1).values
    features = batch.features.gather(2, ids[..., None].expand(-1, -1, -1, d))
    if step > 0:
        features = features + (torch.rand_like(features) - 0.5) * step
    slots, kinds = (x[:, :, None].expand(b, v, budget) for x in (batch.slots, batch.kinds))
    boxes = batch.boxes[:, :, None].expand(b, v, budget, 4)
    return tuple(x.flatten(1, 2) for x in (features, ids, slots, boxes, kinds))


def loss_of(model: Language, batch: Batch, kept: tuple[Tensor, ...] | None, device: str) -> Tensor:
    """Cross entropy of the answers' tokens; ``kept`` None: no picture at all."""
    text = TextRows(*(t.to(device) for t in vars(batch.text).values()))
    embed = model.llama.get_input_embeddings()
    start = embed(torch.full((len(text.ids), 1), BOS, device=device))
    parts = [start, embed(text.ids)]
    if kept is not None:
        parts.insert(1, model.visual(*(k.to(device) for k in kept)))
    prefix = sum(p.shape[1] for p in parts[:-1])
    ahead = torch.arange(prefix, device=device).expand(len(start), -1)
    out = model.llama.model(
        inputs_embeds=torch.cat(parts, 1),
        attention_mask=attention_mask(text.segment, prefix),
        position_ids=torch.cat([ahead, text.position + prefix], 1), use_cache=False,
    )  # fmt: skip
    asked = text.label >= 0
    logits = model.llama.lm_head(out.last_hidden_state[:, prefix:][asked])
    each = functional.cross_entropy(logits.float(), text.label[asked], reduction="none")
    weight = text.weight[asked]
    return (each * weight).sum() / weight.sum()


def train(
    root: Path, checkpoint: Path, model: Language, tokenizer: Tokenizer, plan: loop.Plan,
    device: str = "cpu", *, blind: bool = False,
) -> Language:  # fmt: skip
    """Train until ``plan.minutes`` are spent; resumes. ``blind``: the no-picture baseline."""
    torch.manual_seed(plan.seed)
    model.to(device)
    descent = loop.optimizer(model.parameters(), plan)
    step, spent = 0, 0.0
    if checkpoint.exists():
        state = loop.load(checkpoint)
        model.load_state_dict(state["model"])
        descent.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent_s"]
    clock = loop.Clock(plan, spent)
    rng = random.Random(plan.seed + step)
    frames = Frames(root, tokenizer, plan.seed + step)
    batches = loop.prefetch(lambda: frames.batch(plan.batch))

    losses: list[float] = []

    def take_step() -> Callable[[], str]:
        loss = _loss(model, next(batches), clock.done, rng, device, blind)
        loop.descend(loss, descent, model.parameters(), plan)
        losses.append(loss.item())
        return lambda: f"loss {np.mean(losses[-loop.REPORT_STEPS :]):.4f}"

    def store(steps: int) -> None:
        state = {"model": model.state_dict(), "optimizer": descent.state_dict()}
        loop.save(checkpoint, {**state, "step": steps, "spent_s": clock.spent_s})

    loop.run("answer", clock, descent, step, take_step, store)
    return model


def _loss(
    model: Language, batch: Batch, done: float, rng: random.Random, device: str, blind: bool
) -> Tensor:
    budget = rng.choice(EARLY_BUDGETS if done < EARLY_SHARE else BUDGETS)
    kept = None if blind else keep(batch, budget, rng.choice(STEPS), rng.random() < 0.8)
    with torch.autocast(device, dtype=torch.bfloat16):
        return loss_of(model, batch, kept, device)
