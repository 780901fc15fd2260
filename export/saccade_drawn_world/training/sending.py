"""What an edge may send, in training: how many tokens of each view, which, and how coarsely."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from saccade.codecs.rvq_table import RvqTable
from saccade_calibration.fit_rvq import fit_rvq
from saccade_calibration.fit_usage import fit_usage
from saccade_calibration.sample_views import SampleView, fitted
from saccade_drawn_world.tiny.registers import Registers

if TYPE_CHECKING:
    from saccade_drawn_world.training.train_language import Batch

# Kept tokens per view, all views alike. Mostly few: a step is then several times cheaper, and
# steps are what counting and searching take; the last share of a stage sees the mixture evenly.
#
# What tokens say is learned first, from the best ones as they are, with every easy question asked;
# the second half learns to live with fewer, others and coarser ones. From nothing, in a quarter of
# an hour on one core, that answered 60 % where all at once answered 46.
PLAIN_SHARE = 0.5
EARLY_BUDGETS = (16, 16, 16, 8, 32)
BUDGETS = (64, 64, 64, 32, 32, 16, 16, 8)
EARLY_SHARE = 0.7
# By kind of view: the overview is searched, a crop shows one thing, a close-up is read.
BY_KIND = ((48, 32, 24, 24, 16, 16, 12), (16, 8, 8, 6, 4, 4, 3), (24, 16, 12, 12, 8, 8, 6))
REGISTERS_BY_KIND = ((8, 8, 6, 4, 2), (8, 4, 3, 2, 1), (8, 6, 4, 3, 2))
ALIKE_SHARE = 0.45
SCORED_SHARE = 0.85  # the rest is chosen by chance
STAGES = (0, 0, 1, 1, 1, 2, 2)  # of residual quantisation; 0: none
NOISE = (0.0, 0.1, 0.2, 0.3, 0.4)  # in place of quantisation, which leaves as much
FITTED_TOKENS = 200_000  # k-means takes time for each


class Quantiser:
    """Residual codebooks as tensors: what `rvq` leaves of features."""

    def __init__(self, table: RvqTable) -> None:
        books = [np.ldexp(stage.entries.astype(np.float32), -table.shift) for stage in table.stages]
        self.books = [torch.from_numpy(book) for book in books]

    @torch.no_grad()
    def __call__(self, features: Tensor, stages: int) -> Tensor:
        """[..., D] -> as the first ``stages`` stages say it."""
        left = features.flatten(0, -2).float()
        said = torch.zeros_like(left)
        for book in self.books[:stages]:
            entries = book.to(left.device)
            chosen = entries[torch.cdist(left, entries).argmin(-1)]
            said, left = said + chosen, left - chosen
        return said.view(features.shape)


def quantiser(path: Path, sample: Callable[[], Sequence[SampleView]]) -> Quantiser:
    """The codebooks in ``path``; fitted to a sample first where there are none."""
    if not path.exists():
        views = sample()
        path.write_bytes(fit_usage(fit_rvq(fitted(views)[:FITTED_TOKENS]), views).to_bytes())
    return Quantiser(RvqTable.from_bytes(path.read_bytes()))


def budgets(kinds: Sequence[int], done: float, rng: random.Random) -> list[int]:
    """Tokens of each view; ``kinds``: 0 overview, 1 crop, 2 close-up."""
    if rng.random() < ALIKE_SHARE:
        return [rng.choice(EARLY_BUDGETS if done < EARLY_SHARE else BUDGETS)] * len(kinds)
    drawn = [rng.choice(choices) for choices in BY_KIND]
    # Quotas that look at the picture give every view its own.
    spread = rng.choice((0.0, 0.5))
    return [max(round(drawn[k] * (1 + spread * (rng.random() - 0.5))), 1) for k in kinds]


def register_budgets(kinds: Sequence[int], rng: random.Random) -> list[int]:
    """Registers of each view."""
    drawn = [rng.choice(choices) for choices in REGISTERS_BY_KIND]
    return [drawn[k] for k in kinds]


def keep(
    batch: Batch, counts: Sequence[int], by_score: bool, quantised: Quantiser | None = None,
    stages: int = 0,
) -> tuple[Tensor, ...]:  # fmt: skip
    """``counts[v]`` tokens of view v -> what the projector reads: features [B, K, D], ids, slots,
    boxes and kinds [B, K, ...].
    """
    b, v, t, d = batch.features.shape
    order = batch.scores if by_score else torch.rand(b, v, t)
    ids = [order[:, i].topk(n, -1).indices.sort(-1).values for i, n in enumerate(counts)]
    kept = [
        batch.features[:, i].gather(1, x[..., None].expand(-1, -1, d)) for i, x in enumerate(ids)
    ]
    features = torch.cat(kept, 1)
    if quantised and stages:
        features = quantised(features, stages)
    return features, torch.cat(ids, 1), *_placed(batch, counts)


def condense(
    batch: Batch, counts: Sequence[int], registers: Registers, device: str
) -> tuple[Tensor, ...]:
    """As ``keep``, of each view's first ``counts[v]`` registers. Their ids follow the patches'."""
    b, v, t, _ = batch.features.shape
    seen = (x.flatten(0, 1).to(device) for x in (batch.features, batch.cls))
    made = registers(*seen).unflatten(0, (b, v))
    features = torch.cat([made[:, i, :n] for i, n in enumerate(counts)], 1)
    ids = torch.cat([t + torch.arange(n) for n in counts]).expand(b, -1)
    return features, ids, *_placed(batch, counts)


def _placed(batch: Batch, counts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    times = torch.tensor(list(counts))
    slots, boxes, kinds = (
        x.repeat_interleave(times, 1) for x in (batch.slots, batch.boxes, batch.kinds)
    )
    return slots, boxes, kinds
