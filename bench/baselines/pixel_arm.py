"""The pixel arm's model: encoder and language side, fine-tuned together on what image codecs leave.

    python -m bench.baselines.pixel_arm RUN OUT [--minutes 15] [--shards 12] [--threads 4]
        [--bundle DIR]

RUN is the folder of `saccade export train crossing`, OUT becomes another with the same names.
Every training frame goes through one image codec at one quality, drawn at random: a model that
knows clean pictures only reads them worse, and a ratio against it would flatter tokens.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from bench.baselines.bundles import write_arm
from bench.pixels import PictureCodec, codecs, cut, decode, mosaic
from saccade.bundle import Manifest
from saccade_drawn_world import view_forms as forms
from saccade_drawn_world.tiny.tiny_encoder import Encoder
from saccade_drawn_world.tiny.tiny_language import Language
from saccade_drawn_world.training import recipe, sending, train_language, training_loop
from saccade_drawn_world.training.shards import VIEW_SIZE, Shard, shard_folders

FRAMES = 500  # of each shard
BUDGETS = (64, 32, 32, 16)  # tokens a view: what need not be sent need not be pruned
# Training needs many pictures: the same codecs with faster settings. Their files are larger, what
# they leave of a picture looks the same.
FAST = {"AVIF": (("speed", 9),), "WEBP": (("method", 2),)}


def spoil(source: Path, target: Path) -> None:
    """Write the first frames of a shard as codecs leave them; features.npy holds their views."""
    if target.exists():
        return
    cut_short = Shard.open(source)
    rng = random.Random(source.name)
    views = [_through_a_codec(cut_short, frame, rng) for frame in range(FRAMES)]
    part = target.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    np.save(part / "features.npy", np.concatenate(views))
    part.rename(target)


def _through_a_codec(shard: Shard, frame: int, rng: random.Random) -> npt.NDArray[np.uint8]:
    views = list(shard.arrays["views"][shard.offsets[frame] : shard.offsets[frame + 1]])
    codec = rng.choice([_fast(codec) for codec in codecs().values()])
    quality = rng.randint(codec.qualities[0], codec.qualities[-1])
    if rng.random() < 0.5:
        return np.stack(cut(decode(codec.encode(mosaic(views), quality)), len(views), VIEW_SIZE))
    return np.stack([decode(codec.encode(view, quality)) for view in views])


def _fast(codec: PictureCodec) -> PictureCodec:
    return replace(codec, options=FAST.get(codec.name, codec.options))


class Spoiled(train_language.Frames):
    """``Frames`` whose features are pictures: uint8 [V, 96, 160, 3]."""

    def __init__(self, shards: Path, spoiled: Path, words: Tokenizer, seed: int) -> None:
        self._spoiled = spoiled
        super().__init__(shards, words, seed)

    def _add(self, folder: Path) -> None:
        pictures = self._spoiled / folder.name / "features.npy"
        if not pictures.exists():
            return
        shard = Shard.open(folder)
        views = np.load(pictures, mmap_mode="r")
        none = np.zeros((len(views), 1), np.float32)
        self.shards.append((shard, views, none, none.astype(np.float16)))
        for i, meta in enumerate(shard.frames[:FRAMES]):
            shown = (len(meta["subjects"]), len(meta["closeups"]))
            self.by_views.setdefault(shown, []).append((len(self.shards) - 1, i))


def train(run: Path, out: Path, spoiled: Path, plan: training_loop.Plan, device: str) -> None:
    """Fine-tune ``run``'s encoder and language side together; resumes from ``out``."""
    torch.manual_seed(plan.seed)
    model, words = recipe.trained_language(run)
    encoder = recipe.trained_encoder(run)
    parameters = [*encoder.train().parameters(), *model.train().parameters()]
    descent = training_loop.optimizer(parameters, plan)
    step, spent = 0, 0.0
    if (out / "both.pt").exists():
        state = training_loop.load(out / "both.pt")
        encoder.load_state_dict(state["encoder"])
        model.load_state_dict(state["model"])
        descent.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent_s"]
    encoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.to(device)
    clock, rng = training_loop.Clock(plan, spent), random.Random(plan.seed + step)
    frames = Spoiled(run / "shards", spoiled, words, plan.seed + step)
    batches = training_loop.prefetch(lambda: frames.batch(plan.batch))

    def take_step() -> Callable[[], str]:
        loss = _loss(encoder, model, next(batches), rng.choice(BUDGETS), device)
        training_loop.descend(loss, descent, parameters, plan)
        return lambda: f"loss {loss.item():.4f}"

    def store(steps: int) -> None:
        state: dict[str, Any] = {"encoder": encoder.state_dict(), "model": model.state_dict()}
        state |= {"optimizer": descent.state_dict(), "step": steps, "spent_s": clock.spent_s}
        training_loop.save(out / "both.pt", state)
        training_loop.save(out / "encoder.pt", {"encoder": state["encoder"], "step": steps})
        training_loop.save(out / "language.pt", {"model": state["model"], "step": steps})

    training_loop.run("pixels", clock, descent, step, take_step, store)


def _loss(
    encoder: Encoder, model: Language, batch: train_language.Batch, budget: int, device: str
) -> Tensor:
    """The batch's features are pictures [B, V, H, W, 3]; encode them, then ask as always."""
    pictures = batch.features.to(device)
    pixels = pictures.flatten(0, 1).permute(0, 3, 1, 2).float() * (1 / 255)
    with torch.autocast(device, dtype=torch.bfloat16):
        features, saliency, _, _ = encoder.think(encoder.look(pixels))
        shape = pictures.shape[:2]
        seen = replace(
            batch,
            features=torch.unflatten(features, 0, shape).cpu(),
            scores=torch.unflatten(saliency.detach().mean(2).sum(1), 0, shape).float().cpu(),
        )
        kept = sending.keep(seen, [budget] * shape[1], by_score=True)
        return train_language.loss_of(model, seen, kept, device)


def write_bundle(out: Path, bundle: Path) -> Manifest:
    """The arm trained in ``out``, as a bundle."""
    model, words = recipe.trained_language(out)
    form = forms.patches(recipe.trained_encoder(out), "crossing-pixels")
    command = "python -m bench.baselines.pixel_arm"
    return write_arm(bundle, form, model, words, command=command)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bundle", type=Path, help="also write the arm's bundle there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(options.run / "tokenizer.json", options.out / "tokenizer.json")
    sources = shard_folders(options.run / "shards")[: options.shards]
    targets = [options.out / "spoiled" / source.name for source in sources]
    with ProcessPoolExecutor(options.threads) as pool:
        list(pool.map(spoil, sources, targets))
    plan = training_loop.Plan(minutes=options.minutes, batch=12, rate=5e-4)
    train(options.run, options.out, options.out / "spoiled", plan, options.device)
    if options.bundle:
        write_bundle(options.out, options.bundle)


if __name__ == "__main__":
    main()
