"""What a checkpoint's language model can do, found by trying it on a few tokens at start.

A class that ignored positions or a mask would give wrong answers without a word; one whose scores
are more than a head over the decoder's states would, too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel

from saccade.errors import BundleError, EngineError
from saccade.types import F32
from saccade_cloud.engines.base import Capabilities, Prompt, VisualSpan, text_prompt
from saccade_cloud.engines.reading import piece_of
from saccade_cloud.engines.transformers_engine.model import TorchLanguageModel
from saccade_cloud.engines.transformers_engine.rotary import AXES

PLACES = 6
GAP = 5
# Of the largest score; half floats keep 3 digits, and are added up in another order.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def probe(whole: PreTrainedModel, model: TorchLanguageModel) -> Capabilities:
    """What ``model``, the language model of ``whole``, can do.

    Raises ``BundleError`` when its scores for a text are not those of the whole model.
    """
    try:
        _compare(whole, model)
        return _capabilities(model)
    except EngineError as error:
        raise BundleError(f"{type(whole).__name__} cannot be run apart: {error.message}") from error


def _compare(whole: PreTrainedModel, model: TorchLanguageModel) -> None:
    prompt = _text(model)
    ids = torch.from_numpy(prompt.ids)[None].to(model.device)
    positions = torch.from_numpy(prompt.positions).to(model.device)
    if model.mrope:
        positions = positions.expand(AXES, 1, -1)
    with torch.inference_mode():
        output = whole(input_ids=ids, position_ids=positions, use_cache=False)
    expected: F32 = output.logits[0, -1].float().cpu().numpy()
    allowed = TOLERANCE.get(whole.dtype, 1e-4) * max(float(np.abs(expected).max()), 1e-3)
    # A text alone is causal in most classes, and all prefix in the others.
    prompts = (prompt, replace(prompt, prefix_attention=True))
    difference = min(_difference(_scores(model, each), expected) for each in prompts)
    if not difference <= allowed:
        raise BundleError(
            f"{type(whole).__name__} computes its scores in a way that is not known here: "
            f"apart from the whole model they differ by {difference:.3g}, allowed is {allowed:.3g}"
        )


def _capabilities(model: TorchLanguageModel) -> Capabilities:
    prompt = _text(model)
    plain = _scores(model, prompt)
    gap = prompt.positions + GAP * (np.arange(PLACES) == PLACES - 1)
    tilted = np.stack([gap[0], prompt.positions[0], prompt.positions[0]])
    seen_ahead = replace(prompt, prefix_attention=True)
    changed = _first_state(model, seen_ahead) != _first_state(model, prompt)
    mrope = model.mrope and _differ(plain, _scores(model, replace(prompt, positions=tilted)))
    return Capabilities(
        max_context=model.max_context,
        explicit_positions=_differ(plain, _scores(model, replace(prompt, positions=gap))),
        mrope=mrope,
        members=mrope and model.members,
        deepstack=model.deepstack and _takes_deepstack(model),
        bidirectional=bool(changed.any()),
        prefix=bool(changed.any()),
        sampling=True,
    )


def _takes_deepstack(model: TorchLanguageModel) -> bool:
    embeds = np.ones((2, model.width), np.float32)
    plain = replace(_text(model), spans=(VisualSpan(1, embeds),))
    added = replace(plain, spans=(VisualSpan(1, embeds, deepstack=embeds[None]),))
    return _differ(_scores(model, plain), _scores(model, added))


def _text(model: TorchLanguageModel) -> Prompt:
    return text_prompt([1 + place % max(model.vocab - 1, 1) for place in range(PLACES)])


def _scores(model: TorchLanguageModel, prompt: Prompt) -> F32:
    scores, _ = model.read([piece_of(prompt, 0, len(prompt))], model.empty(1))
    first: F32 = scores[0]
    return first


def _first_state(model: TorchLanguageModel, prompt: Prompt) -> F32:
    """Of the first place, which sees the others only where attention goes both ways."""
    with torch.inference_mode():
        hidden, _ = model.hidden([piece_of(prompt, 0, len(prompt))], model.empty(1))
    state: F32 = hidden[0, 0].float().cpu().numpy()
    return state


def _difference(found: F32, expected: F32) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(expected - found).max())


def _differ(one: F32, other: F32) -> bool:
    return bool(np.abs(one - other).max() > 0)
