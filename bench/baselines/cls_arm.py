"""The published edge-cloud scheme: of every view one vector is sent, what its CLS token holds.

    python -m bench.baselines.cls_arm RUN OUT [--minutes 15] [--threads 2]
        [--bundle DIR]

RUN is the folder of `saccade export train crossing` and is only read. Its encoder stays as it is;
its language side goes on learning, with a new first layer, from one token per view. The edge has
no more to choose from, and the cloud no more to look at. A finished OUT is not trained again.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from bench.baselines.bundles import write_arm
from saccade.bundle import Manifest
from saccade_drawn_world.tiny.tiny_encoder import Encoder, EncoderConfig
from saccade_drawn_world.tiny.tiny_language import Language
from saccade_drawn_world.training import recipe, sending, train_language, training_loop
from saccade_drawn_world.view_forms import Form

FIRST_LAYER = "projector.up."  # reads tokens of another width than the run's
ROUNDED_SHARE = 0.5  # of the steps


def pooled(batch: train_language.Batch) -> train_language.Batch:
    """Views with one token, the CLS vector: features [B, V, 1, dim]."""
    return replace(
        batch, features=batch.cls[:, :, None], scores=torch.zeros_like(batch.cls[..., :1])
    )


def rounded(features: Tensor) -> Tensor:
    """[..., D] -> what a signed byte per value and a scale per token leave of it."""
    step = features.abs().amax(-1, keepdim=True).clamp_min(1e-6) / 127
    return (features / step).round() * step


def new_language(words: Tokenizer) -> Language:
    """An untrained language side for CLS vectors."""
    config = EncoderConfig()
    return recipe.new_language(words, replace(config, out=config.dim))


def started(run: Path) -> tuple[Language, Tokenizer]:
    """``run``'s language side with a first layer that knows nothing yet."""
    words = Tokenizer.from_file(str(run / "tokenizer.json"))
    model = new_language(words)
    weights = training_loop.load(run / "language.pt")["model"]
    known = {name: w for name, w in weights.items() if not name.startswith(FIRST_LAYER)}
    model.load_state_dict({**model.state_dict(), **known})
    return model, words


def train(run: Path, out: Path, plan: training_loop.Plan) -> None:
    """Teach ``run``'s language side to read CLS vectors; resumes from ``out``."""
    torch.manual_seed(plan.seed)
    model, words = started(run)
    parameters = list(model.train().parameters())
    descent = training_loop.optimizer(parameters, plan)
    step, spent = 0, 0.0
    if (out / "language.pt").exists():
        state = training_loop.load(out / "language.pt")
        model.load_state_dict(state["model"])
        descent.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent_s"]
    clock, rng = training_loop.Clock(plan, spent), random.Random(plan.seed + step)
    frames = train_language.Frames(run / "shards", words, plan.seed + step)
    batches = training_loop.prefetch(lambda: pooled(frames.batch(plan.batch)))
    losses: list[float] = []

    def take_step() -> Callable[[], str]:
        loss = _loss(model, next(batches), rng.random() < ROUNDED_SHARE)
        training_loop.descend(loss, descent, parameters, plan)
        losses.append(loss.item())
        return lambda: f"loss {np.mean(losses[-training_loop.REPORT_STEPS :]):.4f}"

    def store(steps: int) -> None:
        state = {"model": model.state_dict(), "optimizer": descent.state_dict()}
        training_loop.save(out / "language.pt", {**state, "step": steps, "spent_s": clock.spent_s})

    training_loop.run("cls", clock, descent, step, take_step, store)


def _loss(model: Language, batch: train_language.Batch, coarse: bool) -> Tensor:
    seen = replace(batch, features=rounded(batch.features)) if coarse else batch
    kept = sending.keep(seen, [1] * batch.kinds.shape[1], by_score=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return train_language.loss_of(model, seen, kept, "cpu")


class Glancing(nn.Module):
    """The encoder with its CLS vector as the only token of a view."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [B, H, W, 3] -> features and keys [B, 1, dim], saliency [B, 1, 1, 1]."""
        vector = self.encoder(views)[3][:, None]
        return vector, torch.ones_like(vector[:, None, :, :1]), vector.clone()


def write_bundle(out: Path, bundle: Path) -> Manifest:
    """The arm trained in ``out``, as a bundle."""
    encoder = recipe.trained_encoder(out)
    words = Tokenizer.from_file(str(out / "tokenizer.json"))
    model = new_language(words)
    model.load_state_dict(training_loop.load(out / "language.pt")["model"])
    form = Form(
        name="crossing-cls",
        tokens="the CLS vector of each view",
        config=encoder.config,
        seeing=Glancing(encoder),
        grid=(1, 1),
        kept=1,
    )
    command = "python -m bench.baselines.cls_arm"
    return write_arm(bundle, form, model.eval(), words, command=command)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bundle", type=Path, help="also write the arm's bundle there")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "encoder.pt"):
        shutil.copyfile(options.run / name, options.out / name)
    train(
        options.run, options.out, training_loop.Plan(minutes=options.minutes, batch=16, rate=1e-3)
    )
    if options.bundle:
        write_bundle(options.out, options.bundle)


if __name__ == "__main__":
    main()
