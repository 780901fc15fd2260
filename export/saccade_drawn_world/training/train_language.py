"""Stage 2: the encoder is frozen; the language side learns to answer from its tokens.

It learns from any number of kept tokens, chosen by saliency or by chance, and from coarsely
quantised ones: whatever an edge may send later. Stage 3, ``registers``, is the same with registers
in the tokens' place, which learn along.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from saccade_drawn_world.tiny.registers import Registers
from saccade_drawn_world.tiny.tiny_encoder import Encoder
from saccade_drawn_world.tiny.tiny_language import Language
from saccade_drawn_world.training import sending, training_loop
from saccade_drawn_world.training.data_parallel import ALONE, Team, together
from saccade_drawn_world.training.packing import BOS, TextRows, attention_mask, pack, questions_for
from saccade_drawn_world.training.sending import Quantiser
from saccade_drawn_world.training.shards import FRAME_SIZE, Shard, shard_folders

F16 = npt.NDArray[np.float16]
Kept = tuple[Tensor, ...]  # what the projector reads, see `sending.keep`

TEXT_LIMIT = 190


@dataclass(frozen=True)
class Batch:
    """``features`` [B, V, T, D], ``scores`` [B, V, T], ``cls`` [B, V, dim], ``boxes`` [B, V, 4]
    normalised; ``slots`` and ``kinds`` [B, V] as the projector reads them.
    """

    features: Tensor
    scores: Tensor
    cls: Tensor
    boxes: Tensor
    slots: Tensor
    kinds: Tensor
    text: TextRows


@torch.no_grad()
def cache_features(encoder: Encoder, folder: Path, device: str, stamp: str) -> bool:
    """Run the frozen encoder over one shard; features, CLS and saliency scores go beside it.

    ``stamp`` names the encoder's weights: features of other weights are made anew. Returns whether
    there was anything to do.
    """
    made_by = folder / "features.stamp"
    if made_by.exists() and made_by.read_text() == stamp:
        return False
    encoder.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    views = np.load(folder / "views.npy", mmap_mode="r")
    features, scores, cls = [], [], []
    for start in range(0, len(views), 128):
        chunk = torch.from_numpy(views[start : start + 128].copy()).to(device)
        with torch.autocast(device, dtype=torch.bfloat16):
            f, s, _, c = encoder(chunk)
        features.append(f.half().cpu().numpy())
        cls.append(c.half().cpu().numpy())
        scores.append(s.float().mean(2).sum(1).cpu().numpy())
    np.save(folder / "scores.npy", np.concatenate(scores).astype(np.float32))
    np.save(folder / "cls.npy", np.concatenate(cls))
    np.save(folder / "features.npy", np.concatenate(features))
    made_by.write_text(stamp)
    return True


class Frames:
    """Batches of frames with equal numbers of views, so that no prefix needs padding."""

    def __init__(self, root: Path, tokenizer: Tokenizer, seed: int, team: Team = ALONE) -> None:
        self.tokenizer, self.random = tokenizer, random.Random(seed)
        self.shards: list[tuple[Shard, F16, npt.NDArray[np.float32], F16]] = []
        # By numbers of crops and close-ups: a batch's frames have the same kinds of views.
        self.by_views: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for folder in shard_folders(root)[team.rank :: team.size]:
            if (folder / "features.npy").exists():
                self._add(folder)

    def _add(self, folder: Path) -> None:
        shard = Shard.open(folder)
        features = np.load(folder / "features.npy", mmap_mode="r")
        cls = np.load(folder / "cls.npy", mmap_mode="r")
        self.shards.append((shard, features, np.load(folder / "scores.npy"), cls))
        for i, meta in enumerate(shard.frames):
            views = (len(meta["subjects"]), len(meta["closeups"]))
            self.by_views.setdefault(views, []).append((len(self.shards) - 1, i))

    def batch(self, size: int, *, all_easy: bool = False) -> Batch:
        kinds = list(self.by_views)
        # Rarely used slots need practice too: frames with many views weigh a little more.
        weights = [len(self.by_views[k]) * (1.1 + 0.1 * sum(k)) for k in kinds]
        pool = self.by_views[self.random.choices(kinds, weights)[0]]
        picks = [self.random.choice(pool) for _ in range(size)]
        rows = [self.frame(*pick) for pick in picks]
        metas = [self.shards[s][0].frames[i] for s, i in picks]
        asked = [questions_for(meta, self.random, all_easy=all_easy) for meta in metas]
        text = pack(asked, self.tokenizer, TEXT_LIMIT)
        return Batch(*columns(rows), text)

    def frame(self, s: int, i: int) -> tuple[npt.NDArray[Any], ...]:
        """The views of frame ``i`` of shard ``s``, as ``columns`` takes them."""
        shard, features, scores, cls = self.shards[s]
        here = slice(int(shard.offsets[i]), int(shard.offsets[i + 1]))
        scale = np.asarray([FRAME_SIZE[1], FRAME_SIZE[0]] * 2, np.float32)
        meta = shard.frames[i]
        boxes = np.asarray(meta["windows"], np.float32) / scale
        crops, closeups = len(meta["subjects"]), meta["closeups"]
        slots = np.asarray([*range(1 + crops), *closeups], np.int64)
        kinds = np.asarray([0] + [1] * crops + [2] * len(closeups), np.int64)
        return features[here], scores[here], cls[here], boxes.clip(0, 1), slots, kinds


def columns(
    rows: Sequence[tuple[npt.NDArray[Any], ...]],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Frames of equal numbers of views as a ``Batch``'s fields but the last."""
    stacked = (torch.from_numpy(np.stack(c)) for c in zip(*rows, strict=True))
    features, scores, cls, boxes, slots, kinds = stacked
    return features.float(), scores, cls.float(), boxes, slots, kinds


def loss_of(model: Language, batch: Batch, kept: Kept | None, device: str) -> Tensor:
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


class Sender(Protocol):
    """How views reach the language side. ``plain_share``: of the stage, from its begin, in which
    easy things are learned, see `sending.PLAIN_SHARE`.
    """

    plain_share: float

    @property
    def learner(self) -> Registers | None:
        """What learns along, if anything does."""
        ...

    def draw(self, batch: Batch, done: float, rng: random.Random, device: str) -> Kept:
        """As many tokens and as coarse as chance has it; ``done`` of the stage, 0..1."""
        ...


class Patches:
    """Some of the encoder's own tokens."""

    learner: Registers | None = None

    def __init__(self, quantiser: Quantiser, plain_share: float = sending.PLAIN_SHARE) -> None:
        self._quantiser = quantiser
        self.plain_share = plain_share

    def draw(self, batch: Batch, done: float, rng: random.Random, device: str) -> Kept:
        kinds = batch.kinds[0].tolist()
        if done < self.plain_share:
            counts = [rng.choice(sending.EARLY_BUDGETS)] * len(kinds)
            return sending.keep(batch, counts, by_score=True)
        counts = sending.budgets(kinds, done, rng)
        by_score = rng.random() < sending.SCORED_SHARE
        return sending.keep(batch, counts, by_score, self._quantiser, rng.choice(sending.STAGES))


class Condensed:
    """Some registers, with noise: they still move, and codebooks that fit them come later. The
    language side has learned easy things by then.
    """

    plain_share = 0.0

    def __init__(self, registers: Registers) -> None:
        self.learner: Registers | None = registers
        self._registers = registers

    def draw(self, batch: Batch, done: float, rng: random.Random, device: str) -> Kept:
        counts = sending.register_budgets(batch.kinds[0].tolist(), rng)
        features, *places = sending.condense(batch, counts, self._registers, device)
        return features + torch.randn_like(features) * rng.choice(sending.NOISE), *places


def train(
    root: Path, checkpoint: Path, model: Language, tokenizer: Tokenizer, plan: training_loop.Plan,
    device: str = "cpu", *, sent: Sender | None, processes: int = 1,
) -> None:  # fmt: skip
    """Train until ``plan.minutes`` are spent; resumes. ``sent`` None: the no-picture baseline.

    ``processes``, each with a batch of its own; at most one for each shard.
    """
    size = min(processes, len(shard_folders(root)))
    together(size, _train, root, checkpoint, model, tokenizer, plan, device, sent)
    state = training_loop.load(checkpoint)
    for name, module in _modules(model, sent).items():
        module.load_state_dict(state[name])


def _modules(model: Language, sent: Sender | None) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {"model": model}
    if sent and sent.learner:
        modules["registers"] = sent.learner
    return modules


def _train(
    team: Team, root: Path, checkpoint: Path, model: Language, tokenizer: Tokenizer,
    plan: training_loop.Plan, device: str, sent: Sender | None,
) -> None:  # fmt: skip
    torch.manual_seed(plan.seed + team.rank)
    modules = _modules(model, sent)
    for module in modules.values():
        module.to(device)
    parameters = [p for module in modules.values() for p in module.parameters()]
    descent = training_loop.optimizer(parameters, plan)
    step, spent = 0, 0.0
    if checkpoint.exists():
        state = training_loop.load(checkpoint)
        for name, module in modules.items():
            module.load_state_dict(state[name])
        descent.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent_s"]
    clock = training_loop.Clock(plan, spent)
    seed = team.seed(plan.seed + step)
    rng = random.Random(seed)
    frames = Frames(root, tokenizer, seed, team)
    plain_share = sent.plain_share if sent else 0.0
    batches = training_loop.prefetch(
        lambda: frames.batch(plan.batch, all_easy=clock.done < plain_share)
    )

    losses: list[float] = []

    def meet() -> None:
        clock.agree(team.meet(parameters, clock.own))

    def take_step() -> Callable[[], str]:
        batch = next(batches)
        with torch.autocast(device, dtype=torch.bfloat16):
            kept = sent.draw(batch, clock.done, rng, device) if sent else None
            loss = loss_of(model, batch, kept, device)
        training_loop.descend(loss, descent, parameters, plan, meet)
        losses.append(loss.item())
        return lambda: f"loss {np.mean(losses[-training_loop.REPORT_STEPS :]):.4f}"

    def store(steps: int) -> None:
        state = {name: module.state_dict() for name, module in modules.items()}
        state |= {"optimizer": descent.state_dict()}
        training_loop.save(checkpoint, {**state, "step": steps, "spent_s": clock.spent_s})

    training_loop.run(
        checkpoint.stem, clock, descent, step, take_step, store, silent=not team.leads
    )
