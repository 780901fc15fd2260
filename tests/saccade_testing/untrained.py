"""The folder of a training run whose models have learned nothing: what they compute is as good."""

from __future__ import annotations

from pathlib import Path

import torch

from saccade_drawn_world.tiny.tiny_encoder import Encoder, EncoderConfig
from saccade_drawn_world.training import recipe, train_language, training_loop
from saccade_drawn_world.training.shards import FIRST_TRAINING_SEED, write_shard


def write_run(folder: Path, frames: int) -> Path:
    """Checkpoints, tokenizer and one shard of ``frames`` frames, as training leaves them."""
    torch.manual_seed(5)
    encoder, words = Encoder(EncoderConfig()).eval(), recipe.tokenizer()
    registers = recipe.new_registers(encoder.config)
    model = recipe.new_language(words, encoder.config)
    training_loop.save(folder / "encoder.pt", {"encoder": encoder.state_dict(), "step": 0})
    learned = {"model": model.state_dict(), "registers": registers.state_dict()}
    for stage in ("language", "registers"):
        training_loop.save(folder / f"{stage}.pt", {**learned, "step": 0})
    words.save(str(folder / "tokenizer.json"))
    shard = folder / "shards" / "shard-00000"
    write_shard(shard, range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + frames))
    train_language.cache_features(encoder, shard, "cpu", "0")
    return folder
