"""Stage 1: the encoder learns to see, without dropping a token, so that tokens stay local."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saccade_drawn_world.tiny.tiny_encoder import Encoder, EncoderConfig
from saccade_drawn_world.tiny.training_heads import Heads, total
from saccade_drawn_world.training import training_loop
from saccade_drawn_world.training.data_parallel import Team, together
from saccade_drawn_world.training.encoder_targets import NAMES
from saccade_drawn_world.training.shards import Shard, shard_folders

Array = npt.NDArray[Any]

SHARDS_PER_BATCH = 8
LEAST_OF_SHARD = 5  # fewer cannot be shared out as below
# Reading and finding people are the hardest things to learn, and only one view in ten is a
# close-up, one in four an overview.
CLOSEUP_SHARE, OVERVIEW_SHARE = 0.2, 0.4


class Views:
    """Random views out of all shards."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random = root, np.random.default_rng(seed)
        self.shards: list[Shard] = []
        self.closeups: list[npt.NDArray[np.int64]] = []
        self._known: set[Path] = set()
        self.refresh()

    def refresh(self) -> None:
        for folder in shard_folders(self.root):
            if folder not in self._known:
                shard = Shard.open(folder)
                self.shards.append(shard)
                self.closeups.append(np.flatnonzero((shard.arrays["chars"] > 0).any(1)))
                self._known.add(folder)

    def batch(self, size: int) -> dict[str, Array]:
        """``size`` views: arrays named as in ``Targets`` and "views"."""
        count = max(min(SHARDS_PER_BATCH, size // LEAST_OF_SHARD), 1)
        picks = self.random.integers(0, len(self.shards), count)
        parts: dict[str, list[Array]] = {n: [] for n in ("views", *NAMES)}
        for i, pick in enumerate(picks):
            rows = self._rows(int(pick), size // count + (i < size % count))
            for name in parts:
                parts[name].append(self.shards[pick].arrays[name][rows])
        return {name: np.concatenate(rows) for name, rows in parts.items()}

    def _rows(self, pick: int, count: int) -> npt.NDArray[np.int64]:
        shard, closeups = self.shards[pick], self.closeups[pick]
        near = self.random.choice(closeups, round(count * CLOSEUP_SHARE) if len(closeups) else 0)
        whole = self.random.choice(shard.offsets[:-1], round(count * OVERVIEW_SHARE))
        rest = count - len(near) - len(whole)
        anywhere = self.random.integers(0, len(shard.arrays["views"]), rest)
        return np.sort(np.concatenate([near, whole, anywhere]))


def augment(views: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 [B, H, W, 3] -> float [B, 3, H, W] in 0..1: gain, offset, tint and noise of cameras."""
    x = views.permute(0, 3, 1, 2).float() * (1 / 255)

    def normal(*shape: int) -> Tensor:
        return torch.randn(len(x), *shape, generator=generator, device=x.device)

    noise = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) * 0.02
    gain, tint, offset = (
        1 + 0.15 * normal(1, 1, 1),
        1 + 0.03 * normal(3, 1, 1),
        0.03 * normal(1, 1, 1),
    )
    return (x * gain * tint + offset + noise * normal(*x.shape[1:])).clamp_(0, 1)


def train(
    root: Path,
    checkpoint: Path,
    plan: training_loop.Plan,
    device: str = "cpu",
    start: Path | None = None,
    *,
    processes: int = 1,
) -> None:
    """Train until ``plan.minutes`` are spent; resumes from ``checkpoint`` when it is there, else
    begins with the weights in ``start``. ``processes``, each with a batch of its own.
    """
    together(processes, _train, root, checkpoint, plan, device, start)


def _train(
    team: Team,
    root: Path,
    checkpoint: Path,
    plan: training_loop.Plan,
    device: str,
    start: Path | None,
) -> None:
    torch.manual_seed(plan.seed)
    config = EncoderConfig()
    encoder = Encoder(config).to(device)
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    heads = Heads(config.dim, config.out, config.stem[-1]).to(device)
    parameters = [*encoder.parameters(), *heads.parameters()]
    descent = training_loop.optimizer(parameters, plan)
    step, spent = 0, 0.0
    if checkpoint.exists():
        state = training_loop.load(checkpoint)
        encoder.load_state_dict(state["encoder"])
        heads.load_state_dict(state["heads"])
        descent.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent_s"]
    elif start:
        state = training_loop.load(start)
        encoder.load_state_dict(state["encoder"])
        heads.load_state_dict(state["heads"])
    clock = training_loop.Clock(plan, spent)
    seed = team.seed(plan.seed + step)
    data = Views(root, seed)
    batches = training_loop.prefetch(lambda: data.batch(plan.batch))
    generator = torch.Generator(device).manual_seed(seed)

    def meet() -> None:
        clock.agree(team.meet(parameters, clock.own))

    def take_step() -> Callable[[], str]:
        losses = _losses(encoder, heads, next(batches), generator, device)
        training_loop.descend(total(losses), descent, parameters, plan, meet)
        return lambda: " ".join(f"{n} {v.item():.3f}" for n, v in losses.items())

    def store(steps: int) -> None:
        state: dict[str, Any] = {"encoder": encoder.state_dict(), "heads": heads.state_dict()}
        state |= {"optimizer": descent.state_dict(), "step": steps, "spent_s": clock.spent_s}
        training_loop.save(checkpoint, state)

    training_loop.run("encoder", clock, descent, step, take_step, store, silent=not team.leads)


def _losses(
    encoder: Encoder,
    heads: Heads,
    arrays: dict[str, Array],
    generator: torch.Generator,
    device: str,
) -> dict[str, Tensor]:
    batch = {n: torch.from_numpy(a).to(device) for n, a in arrays.items()}
    pixels = augment(batch["views"], generator).to(memory_format=torch.channels_last)
    with torch.autocast(device, dtype=torch.bfloat16):
        cells = encoder.look(pixels)
        features, _, _, cls = encoder.think(cells)
        losses: dict[str, Tensor] = heads(features, cls, batch)
        losses["walkers"] = heads.walkers(cells, batch["walkers"])
    return losses
