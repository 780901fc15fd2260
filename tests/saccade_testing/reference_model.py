"""A family's whole model in transformers, on pixels: what the split path is compared with.

Pruning is told to it in its own words: dropped places are masked out of attention, and every other
place keeps the position that it has in the whole prompt. No part of Saccade takes part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPooling

from saccade.turns import Turn
from saccade.types import F32
from saccade_cloud.engines.base import I64, Prompt, VisualSpan
from saccade_testing.whole_model import WholeModel

Picture = npt.NDArray[np.uint8]  # [H, W, 3] RGB
# Inputs with a value for each place, and what a generated token has there.
_PER_PLACE = {"token_type_ids", "mm_token_type_ids"}
_NOT_VISUAL = {"input_ids", "attention_mask", *_PER_PLACE}


@dataclass(frozen=True, eq=False)
class Asked:
    """A prompt with pixels, as the family's processor makes it.

    ``dropped``: places that are pruned away; ``replaced``: embeddings (and deepstack rows) of all
    visual tokens in place of the model's own, for merged tokens.
    """

    inputs: Mapping[str, torch.Tensor]
    dropped: tuple[int, ...] = ()
    replaced: Visual | None = None

    @property
    def ids(self) -> I64:
        ids: I64 = self.inputs["input_ids"][0].numpy()
        return ids


@dataclass(frozen=True, eq=False)
class Visual:
    """``places`` [K] of the visual tokens; ``embeds`` [K, D]; ``deepstack`` [L, K, D] or None."""

    places: I64
    embeds: F32
    deepstack: F32 | None = None


class ReferenceModel:
    """``attention``: as in ``PromptSpec``, which transformers does not say anywhere."""

    def __init__(
        self, folder: Path, attention: str = "causal", dtype: torch.dtype = torch.float32
    ) -> None:
        self.whole = WholeModel(folder, dtype)
        self.model = self.whole.model
        self.attention = attention
        self.dtype = dtype

    def ask(self, turns: Sequence[Turn], pictures: Sequence[Picture]) -> Asked:
        """The prompt of ``turns``, whose frames are ``pictures`` in order."""
        return Asked(self.whole.inputs(pictures, turns))

    def generate(self, asked: Asked, count: int) -> list[int]:
        """``count`` greedy tokens; whatever they are, none ends the answer."""
        if asked.dropped or asked.replaced is not None:
            return self._generate_by_hand(asked, count)
        with torch.inference_mode():
            ids = self.model.generate(
                **asked.inputs,
                max_new_tokens=count,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
        found: list[int] = ids[0, len(asked.ids) :].tolist()
        return found

    def scores(self, asked: Asked, continuation: Sequence[int]) -> F32:
        """[M, V] logits of the M tokens of ``continuation``, as ``Scorer.scores``."""
        inputs = self._given(asked, list(continuation)[:-1])
        with torch.inference_mode():
            logits = self.model(**inputs, use_cache=False).logits
        scores: F32 = logits[0, len(asked.ids) - 1 :].float().numpy()
        return scores

    def positions(self, asked: Asked) -> tuple[I64, int]:
        """[1 | 3, N] of the whole prompt, and the next one."""
        inner = self.model.model
        if hasattr(inner, "get_rope_index"):
            wanted = ("input_ids", "image_grid_thw", "attention_mask", "mm_token_type_ids")
            given = {name: asked.inputs[name] for name in wanted if name in asked.inputs}
            rows: I64 = inner.get_rope_index(**given)[0][:, 0].numpy()
            return rows, int(rows.max()) + 1
        first = 1 if self.attention == "prefix" else 0  # PaliGemma counts from 1
        return np.arange(first, first + len(asked.ids))[None], first + len(asked.ids)

    def visual(self, asked: Asked) -> Visual:
        """What the model's own vision half gives."""
        places = np.flatnonzero(asked.ids == self.model.config.image_token_id)
        given = {k: v for k, v in asked.inputs.items() if k not in _NOT_VISUAL}
        if not given:
            width = self.model.config.get_text_config().hidden_size
            return Visual(places, np.zeros((0, width), np.float32))
        with torch.inference_mode():
            outputs = self.model.get_image_features(**given)
        deep = getattr(outputs, "deepstack_features", None)
        return Visual(
            places,
            _flat(outputs.pooler_output),
            None if deep is None else np.stack([_flat(layer) for layer in deep]),
        )

    def prompt(self, asked: Asked) -> Prompt:
        """The same for an engine: kept tokens at their true positions."""
        visual = asked.replaced or self.visual(asked)
        kept = np.setdiff1d(np.arange(len(asked.ids)), asked.dropped)
        positions, last = self.positions(asked)
        of_place = {int(place): row for row, place in enumerate(visual.places)}
        spans = []
        for run in _runs([n for n, place in enumerate(kept) if int(place) in of_place]):
            rows = [of_place[int(kept[n])] for n in run]
            deep = None if visual.deepstack is None else visual.deepstack[:, rows]
            both = self.attention == "bidirectional"
            spans.append(VisualSpan(run[0], visual.embeds[rows], deep, both))
        prefix = self.attention == "prefix"
        shared = 0 if prefix or not spans else spans[-1].stop
        return Prompt(
            asked.ids[kept], positions[:, kept], last, tuple(spans), shared, prefix_attention=prefix
        )

    def _generate_by_hand(self, asked: Asked, count: int) -> list[int]:
        cache = DynamicCache(config=self.model.config)
        inputs, found = self._given(asked, []), list[int]()
        positions, last = self.positions(asked)
        while True:
            with torch.inference_mode():
                output = self.model(**inputs, use_cache=True, cache=cache)
            found.append(int(output.logits[0, -1].argmax()))
            if len(found) == count:
                return found
            # As a step of ``generate``: one token, and the mask of all before it.
            mask = self._extended(asked, found)["attention_mask"]
            place = torch.full((len(positions), 1, 1), last + len(found) - 1)
            inputs = {
                "input_ids": torch.tensor([found[-1:]]),
                "attention_mask": mask,
                "position_ids": place[0] if len(place) == 1 else place,
            }

    def _given(self, asked: Asked, added: Sequence[int]) -> dict[str, Any]:
        """The inputs of one forward over the prompt and the tokens ``added`` to it."""
        inputs: dict[str, Any] = {**asked.inputs, **self._extended(asked, added)}
        positions, last = self.positions(asked)
        more = np.tile(last + np.arange(len(added)), (len(positions), 1))
        rows = torch.from_numpy(np.concatenate([positions, more], axis=1))
        inputs["position_ids"] = rows if len(rows) == 1 else rows[:, None]
        if asked.replaced is not None:
            inputs = {k: v for k, v in inputs.items() if k in {*_NOT_VISUAL, "position_ids"}}
            inputs["mm_encoder_outputs"] = {"image": _outputs(asked.replaced, self.dtype)}
        return inputs

    def _extended(self, asked: Asked, added: Sequence[int]) -> dict[str, torch.Tensor]:
        """The inputs with a value a place, with the generated tokens behind."""
        ids = torch.tensor([[*asked.ids.tolist(), *added]])
        mask = torch.ones_like(ids)
        mask[0, list(asked.dropped)] = 0
        more = {"input_ids": ids, "attention_mask": mask}
        for name in _PER_PLACE & asked.inputs.keys():
            value = 1 if self.attention == "prefix" else 0  # PaliGemma: 1 is causal
            fill = torch.full((1, len(added)), value)
            more[name] = torch.cat([asked.inputs[name], fill], dim=1)
        return more


def dropping(asked: Asked, places: Iterable[int]) -> Asked:
    """The same prompt without ``places``."""
    return Asked(asked.inputs, tuple(sorted(int(place) for place in places)), asked.replaced)


def _flat(features: Any) -> F32:
    """[all, D] float32 of one tensor or of one for each image."""
    parts = [features] if isinstance(features, torch.Tensor) else list(features)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts]).float().numpy()


def _outputs(visual: Visual, dtype: torch.dtype) -> Any:
    outputs: Any = BaseModelOutputWithPooling()
    outputs.pooler_output = (torch.from_numpy(visual.embeds).to(dtype),)
    if visual.deepstack is not None:
        outputs.deepstack_features = [torch.from_numpy(r).to(dtype) for r in visual.deepstack]
    return outputs


def _runs(places: Sequence[int]) -> list[list[int]]:
    """Neighbouring places together; pruned neighbours of one image stay together."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs
