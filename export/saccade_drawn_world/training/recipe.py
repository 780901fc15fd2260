"""The whole recipe of the demo bundle, stage by stage; every stage resumes where it stopped.

    render -> detector -> encoder -> language -> registers -> blind

``CPU`` is for four cores and took 107 minutes there with nothing else running: render 3.2,
detector 22.2, encoder 30.3, language 39.5 (34 of them training, the rest features and codebooks),
registers 8.8, blind 3.1. ``python -m bench.accuracy --bundle`` then said 96.2 % (macro, all
tokens).

``GPU`` is for one GPU in 20 minutes with pre-rendered data: its stages train for 16.4 minutes at
most. It has not been run yet: its batches are reasoned, not tried.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from saccade_drawn_world.crossing.scene_questions import VOCABULARY
from saccade_drawn_world.tiny.registers import REGISTERS, Registers
from saccade_drawn_world.tiny.tiny_encoder import Encoder, EncoderConfig
from saccade_drawn_world.tiny.tiny_language import Language, LanguageConfig
from saccade_drawn_world.tiny.tiny_tokenizer import build, slot_ids
from saccade_drawn_world.training import (
    prerender,
    sampled_views,
    sending,
    train_detector,
    train_encoder,
    train_language,
    training_loop,
)
from saccade_drawn_world.training.shards import MAX_CROPS, shard_folders

TOKEN_BOOKS, REGISTER_BOOKS = "tokens.rvq", "registers.rvq"
STAGES = ("render", "detector", "encoder", "language", "registers", "blind")


@dataclass(frozen=True)
class Recipe:
    """Sizes of one run; minutes are training time of the stage alone."""

    frames: int
    encoder: training_loop.Plan
    language: training_loop.Plan
    registers: training_loop.Plan
    blind: training_loop.Plan
    detector_pictures: int
    detector_epochs: int
    detector_batch: int
    detector_hours: float | None
    device: str = "cpu"
    start: Path | None = None  # the folder of another run, to begin with its weights
    threads: int = os.cpu_count() or 1

    @property
    def processes(self) -> int:
        """How many train the encoder and the language side together."""
        return self.threads if self.device == "cpu" else 1


# Batches are those of one process, of which each core has one. Small ones: on a CPU time is scarce,
# not frames, and a step of a small batch is nearly as good. From nothing, the language side in 12
# minutes on three busy cores: five rows each answered 72 %, twelve 61 %. The encoder in 6 minutes
# on two: sum of its losses 3.8 with 24 views a step, 4.3 with 40.
CPU = Recipe(
    frames=40_000,
    encoder=training_loop.Plan(minutes=30, batch=6, rate=1e-3),
    language=training_loop.Plan(minutes=34, batch=3, rate=1e-3),
    registers=training_loop.Plan(minutes=7, batch=3, rate=8e-4),
    blind=training_loop.Plan(minutes=3, batch=3),
    detector_pictures=3000,
    detector_epochs=8,
    detector_batch=16,
    detector_hours=0.35,
)
# A step of so small a model waits for its kernels to start, whatever the batch, and one thread
# reads the views: several times the CPU's batches are as many as pay.
GPU = replace(
    CPU,
    frames=100_000,
    device="cuda",
    encoder=training_loop.Plan(minutes=5, batch=128, rate=1.5e-3),
    language=training_loop.Plan(minutes=7, batch=32, rate=1e-3),
    registers=training_loop.Plan(minutes=1.5, batch=32, rate=8e-4),
    blind=training_loop.Plan(minutes=0.5, batch=32),
    detector_epochs=30,
    detector_batch=32,
    detector_hours=0.04,
)
RECIPES = {"cpu": CPU, "gpu": GPU}


def scaled(recipe: Recipe, scale: float) -> Recipe:
    """A smaller (or larger) run of the same shape: fewer frames, shorter stages."""

    def plan(stage: training_loop.Plan) -> training_loop.Plan:
        return replace(
            stage,
            minutes=stage.minutes * scale,
            batch=max(min(8, stage.batch), round(stage.batch * min(scale * 8, 1.0))),
        )

    return replace(
        recipe,
        frames=max(20, round(recipe.frames * scale)),
        encoder=plan(recipe.encoder),
        language=plan(recipe.language),
        registers=plan(recipe.registers),
        blind=plan(recipe.blind),
        detector_pictures=max(16, round(recipe.detector_pictures * scale)),
        detector_epochs=max(1, round(recipe.detector_epochs * scale)),
        detector_hours=recipe.detector_hours and recipe.detector_hours * scale,
    )


def tokenizer() -> Tokenizer:
    """The tokenizer of the demo world."""
    return build([*VOCABULARY, "answer"], MAX_CROPS)


def new_language(words: Tokenizer, encoder: EncoderConfig) -> Language:
    """An untrained language side for ``encoder``'s tokens."""
    slots = slot_ids(words, MAX_CROPS)
    places = encoder.tokens + REGISTERS
    return Language(LanguageConfig(vocab=words.get_vocab_size()), encoder.out, places, slots)


def new_registers(encoder: EncoderConfig) -> Registers:
    """Untrained registers of ``encoder``'s tokens."""
    return Registers(encoder.out, encoder.dim, encoder.tokens)


def trained_encoder(work: Path) -> Encoder:
    """The encoder of the run in ``work``."""
    encoder = Encoder(EncoderConfig())
    encoder.load_state_dict(training_loop.load(work / "encoder.pt")["encoder"])
    return encoder.eval()


def trained_registers(work: Path) -> Registers:
    """The registers of the run in ``work``."""
    registers = new_registers(EncoderConfig())
    registers.load_state_dict(training_loop.load(work / "registers.pt")["registers"])
    return registers.eval()


def trained_language(work: Path, name: str = "language") -> tuple[Language, Tokenizer]:
    """The language side of the run in ``work``: ``language``, ``registers`` or ``blind``."""
    words = Tokenizer.from_file(str(work / "tokenizer.json"))
    model = new_language(words, EncoderConfig())
    model.load_state_dict(training_loop.load(work / f"{name}.pt")["model"])
    return model.eval(), words


def run(recipe: Recipe, work: Path, stages: tuple[str, ...] = STAGES) -> None:
    """Run ``stages`` in ``work``; what is finished there is not done again."""
    torch.set_num_threads(recipe.threads)
    work.mkdir(parents=True, exist_ok=True)
    steps = {
        "render": _render,
        "detector": _detector,
        "encoder": _encoder,
        "language": _language,
        "registers": _registers,
        "blind": _blind,
    }
    begun = time.monotonic()
    for stage in stages:
        stage_begun = time.monotonic()
        steps[stage](recipe, work)
        now = time.monotonic()
        minutes, so_far = (now - stage_begun) / 60, (now - begun) / 60
        print(f"{stage}: {minutes:.1f} minutes, {so_far:.1f} in all", flush=True)


def _render(recipe: Recipe, work: Path) -> None:
    prerender.prerender(work / "shards", recipe.frames, recipe.threads)


def _detector(recipe: Recipe, work: Path) -> None:
    root = work / "pictures"
    first = 900_000  # neither held-out seeds nor the model's own training seeds
    train_detector.write_pictures(root, "train", range(first, first + recipe.detector_pictures))
    train_detector.write_pictures(root, "val", range(first - 200, first))
    train_detector.train(
        root,
        work,
        epochs=recipe.detector_epochs,
        batch=recipe.detector_batch,
        threads=recipe.threads,
        device=recipe.device,
        hours=recipe.detector_hours,
        start=recipe.start / train_detector.BEST if recipe.start else None,
    )


def _encoder(recipe: Recipe, work: Path) -> None:
    start = recipe.start / "encoder.pt" if recipe.start else None
    train_encoder.train(
        work / "shards", work / "encoder.pt", recipe.encoder, recipe.device, start,
        processes=recipe.processes,
    )  # fmt: skip


def _language(recipe: Recipe, work: Path) -> None:
    encoder = trained_encoder(work).to(recipe.device)
    stamp = str(training_loop.load(work / "encoder.pt")["step"])
    folders = shard_folders(work / "shards")
    made = [train_language.cache_features(encoder, f, recipe.device, stamp) for f in folders]
    if any(made):
        (work / TOKEN_BOOKS).unlink(missing_ok=True)  # they fit features of other weights
    start = recipe.start / "language.pt" if recipe.start else None
    quantiser = sending.quantiser(work / TOKEN_BOOKS, lambda: sampled_views.tokens(work / "shards"))
    sent = train_language.Patches(quantiser, 0.0) if start else train_language.Patches(quantiser)
    _train_language(recipe, work, "language", recipe.language, start, sent)


def _registers(recipe: Recipe, work: Path) -> None:
    steps = training_loop.load(done)["step"] if (done := work / "registers.pt").exists() else 0
    torch.manual_seed(recipe.registers.seed)
    learned = new_registers(EncoderConfig())
    start = work / "language.pt"
    if recipe.start and (recipe.start / "registers.pt").exists():
        start = recipe.start / "registers.pt"
        learned.load_state_dict(training_loop.load(start)["registers"])
    _train_language(
        recipe, work, "registers", recipe.registers, start, train_language.Condensed(learned)
    )
    learned.to("cpu").eval()
    shards = work / "shards"
    if steps != training_loop.load(work / "registers.pt")["step"]:
        (work / REGISTER_BOOKS).unlink(missing_ok=True)
    sending.quantiser(work / REGISTER_BOOKS, lambda: sampled_views.condensed(shards, learned))


def _blind(recipe: Recipe, work: Path) -> None:
    _train_language(recipe, work, "blind", recipe.blind, None, None)


def _train_language(
    recipe: Recipe,
    work: Path,
    name: str,
    plan: training_loop.Plan,
    start: Path | None,
    sent: train_language.Sender | None,
) -> None:
    words = tokenizer()
    words.save(str(work / "tokenizer.json"))
    torch.manual_seed(plan.seed)
    model = new_language(words, EncoderConfig())
    if start:
        model.load_state_dict(training_loop.load(start)["model"])
    checkpoint = work / f"{name}.pt"
    train_language.train(
        work / "shards", checkpoint, model, words, plan, recipe.device,
        sent=sent, processes=recipe.processes,
    )  # fmt: skip
