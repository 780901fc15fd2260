"""What the tiny random checkpoints of all families share: a tokenizer, weights, saving.

They are made from each family's real configuration and processor classes, and saved as users have
them, so that exporting one is exporting a real one, but for its size.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

hf: Any = transformers
# Enough words for a few merges; any other text is written byte by byte.
CORPUS = (
    "the picture shows a red car and a bus, what is in region 1? user assistant system",
    "How many people are there? Grüße aus Köln, 猫が二匹います。 Region 2, car, lower left:",
)
VOCABULARY = 320
SPREAD = 0.2  # of random weights: large enough that next tokens are no ties


def tokenizer(
    special: Sequence[str], bos: str | None = None, eos: str | None = None, **fields: Any
) -> Any:
    """A small byte-level BPE tokenizer with these special tokens at the end of its vocabulary.

    ``fields``: more of tokenizer_config.json, as ``image_token="<image>"``.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    core.add_special_tokens(list(special))
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=bos, eos_token=eos, pad_token=eos, **fields
    )


def processor_class(kind: str) -> Any:
    """A processor class of transformers that needs no video half (that one needs torchvision)."""
    base = getattr(transformers, kind)

    def check(self: Any, name: str, argument: object) -> object:
        if name == "video_processor" and argument is None:
            return type(None)
        return base.check_argument_for_proper_class(self, name, argument)

    members = {
        "check_argument_for_proper_class": check,
        "__init__": base.__init__,  # what a processor is made of is read from its parameters
        "apply_chat_template": hf.ProcessorMixin.apply_chat_template,
    }
    return type(kind, (base,), members)


def processor(folder: Path) -> Any:
    """The saved processor of a checkpoint, without its video half."""
    fields = json.loads((folder / "processor_config.json").read_text())
    kind = processor_class(fields.pop("processor_class"))
    kept = {k: v for k, v in fields.items() if not k.endswith("_processor")}
    images = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    text = hf.AutoTokenizer.from_pretrained(folder)
    written = folder / "chat_template.jinja"
    template = written.read_text() if written.exists() else None
    more = {"video_processor": None} if "video_processor" in kind.get_attributes() else {}
    made = kind(images, text, chat_template=template, **more, **kept)
    _forget_video(made)
    return made


def randomise(model: Any, seed: int) -> None:
    """Weights that differ from place to place: fresh ones are often zeros and ones, which hide
    mistakes.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * SPREAD
            one = ("norm" in name and name.endswith("weight")) or "lambda" in name
            parameter.copy_((noise + 1.0 if one else noise).to(parameter.dtype))
    if hasattr(model, "tie_weights"):
        model.tie_weights()


def save(
    folder: Path,
    model: Any,
    processor: Any,
    chat_template: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    shard_bytes: int | None = None,
) -> Path:
    """Write a checkpoint: config.json, safetensors, the processor's and tokenizer's files.

    ``shard_bytes``: most bytes of a file with weights; more files and their index from there on.
    """
    randomise(model, seed)
    model.to(dtype).eval()
    most = {} if shard_bytes is None else {"max_shard_size": shard_bytes}
    model.save_pretrained(folder, **most)
    processor.chat_template = chat_template
    _forget_video(processor)
    processor.save_pretrained(folder)
    return folder


def _forget_video(processor: Any) -> None:
    """Save, and count, only the halves that are there."""
    kind = type(processor)
    there = [name for name in kind.get_attributes() if getattr(processor, name) is not None]
    if len(there) < len(kind.get_attributes()):  # only of our own subclass, see processor_class
        kind.get_attributes = classmethod(lambda cls: there)


def edit_json(path: Path, **fields: Any) -> None:
    """Change fields of a saved JSON object."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
