"""What several families read alike from a checkpoint: preprocessing, template, stop tokens."""

from __future__ import annotations

from typing import Any

from saccade.errors import BundleError
from saccade.spec.preprocess import Preprocess
from saccade.spec.tokens import TokenPart, TokenSpec
from saccade_export.checkpoint import Checkpoint

# Numbers of Pillow's filters, as configurations write them.
RESAMPLES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
BOS = "bos_token"
REGION_INTRO = "Region {number}, {label}, {place}:"


def preprocess(checkpoint: Checkpoint, **fields: Any) -> Preprocess:  # noqa: ANN401 - its fields
    """Resampling, rescaling and normalising as the image processor has them; ``fields``: the rest.

    Raises ``BundleError`` for a processor that leaves one of these steps out.
    """
    images = checkpoint.image_processor()
    for step in ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"):
        if not getattr(images, step, True):
            raise BundleError(f"{checkpoint.folder}: its processor has {step} off")
    number = int(images.resample)
    if number not in RESAMPLES:
        raise BundleError(f"{checkpoint.folder}: resample {number} is none of {RESAMPLES}")
    return Preprocess(
        resample=RESAMPLES[number],
        scale=float(images.rescale_factor),
        mean=_three(images.image_mean),
        std=_three(images.image_std),
        **fields,
    )


def levels(mean: Any) -> tuple[int, int, int]:  # noqa: ANN401 - a processor's number or triple
    """The colour with which processors of the LLaVA family pad: the mean, cut to whole levels."""
    red, green, blue = _three(mean)
    return int(red * 255), int(green * 255), int(blue * 255)


def _three(value: Any) -> tuple[float, float, float]:  # noqa: ANN401 - likewise
    red, green, blue = value if isinstance(value, (list, tuple)) else (value,) * 3
    return float(red), float(green), float(blue)


def narrower(checkpoint: Checkpoint, before: int) -> bool:
    """Whether tokens are narrower behind the projector than ``before`` it."""
    return int(checkpoint.model_config.get_text_config().hidden_size) < before


def main_part(checkpoint: Checkpoint, before: int, step: str) -> TokenSpec:
    """One part: ``before`` wide, after ``step``; behind the projector where that is narrower."""
    if narrower(checkpoint, before):
        width = int(checkpoint.model_config.get_text_config().hidden_size)
        return TokenSpec((TokenPart("main", width),), f"after the projector, which follows {step}")
    return TokenSpec((TokenPart("main", before),), f"after {step}")


def stop_tokens(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Strings of the tokens that end an answer, as the generation's configuration says."""
    tokenizer = checkpoint.tokenizer
    found = checkpoint.generation.get("eos_token_id")
    if found is None:
        found = checkpoint.model_config.get_text_config().eos_token_id
    ids = found if isinstance(found, list) else [found]
    named = [tokenizer.convert_ids_to_tokens(i) for i in ids if i is not None]
    own = [tokenizer.eos_token] if tokenizer.eos_token else []
    stops = tuple(dict.fromkeys(name for name in [*named, *own] if name))
    if not stops:
        raise BundleError(f"{checkpoint.folder} says of no token that it ends an answer")
    return stops


def template(checkpoint: Checkpoint) -> str:
    """The chat template; it writes the token that the tokenizer would have put first by itself."""
    text = checkpoint.chat_template()
    return "{{ bos_token }}" + text if _adds_bos(checkpoint) and BOS not in text else text


def template_args(checkpoint: Checkpoint) -> dict[str, str]:
    """Variables that transformers gives to templates."""
    tokenizer = checkpoint.tokenizer
    named = {name: getattr(tokenizer, name) for name in (BOS, "eos_token", "unk_token")}
    return {name: str(token) for name, token in named.items() if token}


def _adds_bos(checkpoint: Checkpoint) -> bool:
    tokenizer = checkpoint.tokenizer
    first = tokenizer("a").input_ids[:1]
    return tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id]


def token_name(checkpoint: Checkpoint, number: int) -> str:
    """The string of a token. Raises ``BundleError`` for one that the tokenizer lacks."""
    name = checkpoint.tokenizer.convert_ids_to_tokens(int(number))
    if not name:
        raise BundleError(f"{checkpoint.folder}: its tokenizer has no token {number}")
    return str(name)
