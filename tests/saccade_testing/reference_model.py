"""A family's whole model in transformers, on pixels: what the split path is compared with.

Pruning is told to it in its own words: dropped places are masked out of attention, and every other
place keeps the position that it has in the whole prompt. No part of Saccade takes part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache

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
    visual tokens in place of the model's own, for merged tokens. ``rows``: [3 * K, N] positions of
    all places in place of the model's own, for merged tokens that keep the places of K members.
    """

    inputs: Mapping[str, torch.Tensor]
    dropped: tuple[int, ...] = ()
    replaced: Visual | None = None
    rows: I64 | None = None

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

    @property
    def stops(self) -> set[int]:
        """Tokens that end an answer, as the checkpoint says."""
        ends = self.model.generation_config.eos_token_id
        return set(ends if isinstance(ends, list) else [ends])

    def ask(self, turns: Sequence[Turn], pictures: Sequence[Picture]) -> Asked:
        """The prompt of ``turns``, whose frames are ``pictures`` in order."""
        return Asked(self.whole.inputs(pictures, turns))

    def generate(self, asked: Asked, count: int) -> list[int]:
        """``count`` greedy tokens; whatever they are, none ends the answer."""
        if asked.dropped or asked.replaced is not None or asked.rows is not None:
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
        """[1 | 3 | 3 * K, N] of the whole prompt, and the next one."""
        if asked.rows is not None:
            return asked.rows, int(asked.rows[:, -1].max()) + 1
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
        if not len(places):
            width = self.model.config.get_text_config().hidden_size
            return Visual(places, np.zeros((0, width), np.float32))
        outputs = self._features(asked)
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

    @contextmanager
    def members(self, interleaved: bool) -> Iterator[None]:
        """Rotary embeddings of [3 * K, N] positions, written out channel by channel."""
        decoder = self.model.model.language_model
        own = decoder.rotary_emb
        decoder.rotary_emb = _MemberRotary(own.inv_freq, own.mrope_section, interleaved)
        try:
            yield
        finally:
            decoder.rotary_emb = own

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
            inputs["mm_encoder_outputs"] = {"image": self._outputs(asked, asked.replaced)}
        return inputs

    def _outputs(self, asked: Asked, visual: Visual) -> Any:
        """What the vision half would give, with other numbers in it."""
        outputs = self._features(asked)
        outputs.pooler_output = _filled(outputs.pooler_output, visual.embeds)
        if visual.deepstack is not None:
            pairs = zip(outputs.deepstack_features, visual.deepstack, strict=True)
            outputs.deepstack_features = [_filled(like, rows) for like, rows in pairs]
        return outputs

    def _features(self, asked: Asked) -> Any:
        given = {k: v for k, v in asked.inputs.items() if k not in _NOT_VISUAL}
        with torch.inference_mode():
            return self.model.get_image_features(**given)

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


class _MemberRotary(torch.nn.Module):
    """The angles of PPE (arXiv 2510.22936) for M-RoPE: channel j of the s that an axis turns takes
    the place of member j * K // s.
    """

    def __init__(
        self, frequencies: torch.Tensor, sections: Sequence[int], interleaved: bool
    ) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.channels: list[tuple[int, int, int]] = []  # axis, place in it, size of it
        counts = [0, 0, 0]
        for channel in range(sum(sections)):
            if interleaved:
                axis = channel % 3 if channel < 3 * sections[channel % 3] else 0
            else:
                axis = next(a for a in range(3) if channel < sum(sections[: a + 1]))
            self.channels.append((axis, counts[axis], sections[axis]))
            counts[axis] += 1

    def forward(
        self, x: torch.Tensor, position_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        members = max(len(position_ids) // 3, 1)
        rows = position_ids.expand(3 * members, -1, -1).float()
        places = [rows[axis * members + j * members // size] for axis, j, size in self.channels]
        angles = torch.stack(places, dim=-1) * self.frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def dropping(asked: Asked, places: Iterable[int]) -> Asked:
    """The same prompt without ``places``."""
    return replace(asked, dropped=tuple(sorted(int(place) for place in places)))


def _flat(features: Any) -> F32:
    """[all, D] float32 of one tensor or of one for each image."""
    parts = [features] if isinstance(features, torch.Tensor) else list(features)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts]).float().numpy()


def _filled(like: Any, rows: F32) -> Any:
    """``rows`` in the shape of ``like``, a tensor or a list of them."""
    tensor = torch.from_numpy(rows)
    if isinstance(like, torch.Tensor):
        return tensor.to(like.dtype).reshape(like.shape)
    ends = np.cumsum([part.numel() // part.shape[-1] for part in like])[:-1]
    pairs = zip(like, np.split(rows, ends), strict=True)
    return type(like)(_filled(part, own) for part, own in pairs)


def _runs(places: Sequence[int]) -> list[list[int]]:
    """Neighbouring places together; pruned neighbours of one image stay together."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs
