"""The whole model on pixels, as transformers' users run it: the split path's reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from saccade.turns import Turn
from saccade_testing.checkpoint_parts import processor

hf: Any = transformers
# Belongs to the processor of families without a chat template, which writes the prompt itself.
LABELS = "labels"


class WholeModel:
    """Of a checkpoint. ``pictures`` stand where the turns refer to frames, in order.

    Families with views of any size get the pictures as they are: give them in a bucket's size.
    """

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        config = hf.AutoConfig.from_pretrained(folder)
        kind = getattr(hf, config.architectures[0])
        self.model: Any = kind.from_pretrained(folder, dtype=dtype).eval()
        self.processor: Any = processor(folder)

    def inputs(self, pictures: Sequence[np.ndarray], turns: Sequence[Turn]) -> dict[str, Any]:
        """What the model is called with. ``pictures``: uint8 [H, W, 3] RGB."""
        images = [Image.fromarray(picture) for picture in pictures]
        if self.processor.chat_template:
            messages = _messages(images, turns)
            made = self.processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True,
                return_tensors="pt", processor_kwargs={},
            )  # fmt: skip
        else:
            text = "\n".join(turn.text for turn in turns)
            token = self.processor.image_token
            made = self.processor(
                images=[images], text=token * len(images) + text, return_tensors="pt"
            )
        dtype = self.model.dtype
        return {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in made.items()
            if name != LABELS
        }

    def logits(self, pictures: Sequence[np.ndarray], turns: Sequence[Turn]) -> torch.Tensor:
        """[N, V] of the prompt."""
        with torch.no_grad():
            logits: torch.Tensor = self.model(**self.inputs(pictures, turns)).logits[0]
        return logits

    def generate(
        self, pictures: Sequence[np.ndarray], turns: Sequence[Turn], steps: int
    ) -> list[int]:
        """The greedy answer of at most ``steps`` tokens, without the token that ends it."""
        inputs = self.inputs(pictures, turns)
        with torch.no_grad():
            ids = self.model.generate(**inputs, do_sample=False, max_new_tokens=steps)
        answer = [int(token) for token in ids[0, inputs["input_ids"].shape[1] :]]
        ends = self.model.generation_config.eos_token_id
        last = answer[-1] in (ends if isinstance(ends, list) else [ends])
        return answer[:-1] if last else answer


def _messages(images: Sequence[Image.Image], turns: Sequence[Turn]) -> list[dict[str, Any]]:
    waiting = iter(images)
    return [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image", "image": next(waiting)}
                for part in turn.content
            ],
        }
        for turn in turns
    ]
