"""What a language model's configuration says, and what its tensors show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedConfig

from saccade.errors import BundleError

Activation = Literal["silu", "gelu", "gelu_tanh"]
_ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
}


@dataclass(frozen=True, slots=True)
class Traits:
    """What a type's code does and no number in its configuration says.

    ``norm_offset``: added to the weights of each norm; ``scaled_embedding``: a token's vector is
    multiplied by the root of its width; ``window_everywhere``: a sliding window is every layer's;
    ``sections``: of rotary frequencies that turn by time, height and width, unless the
    configuration has others; ``interleaved``: those rows take turns.
    """

    norm_offset: float = 0.0
    scaled_embedding: bool = False
    window_everywhere: bool = False
    sections: tuple[int, ...] = ()
    interleaved: bool = False


_GEMMA = Traits(norm_offset=1.0, scaled_embedding=True)
TYPES: Mapping[str, Traits] = {
    "llama": Traits(),
    "mistral": Traits(window_everywhere=True),
    "qwen2": Traits(),
    "qwen2_vl_text": Traits(sections=(16, 24, 24)),
    "qwen2_5_vl_text": Traits(sections=(16, 24, 24)),
    "qwen3": Traits(),
    "qwen3_vl_text": Traits(sections=(24, 20, 20), interleaved=True),
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
}


@dataclass(frozen=True, slots=True)
class LanguageShape:
    """Sizes, constants and the kind of each layer. ``windows``: how many positions back layer i
    looks, its own included; 0: all. ``kinds``: each layer's kind, by which its rotary frequencies
    are found. ``head_cap`` and ``score_cap``: soft caps of logits and attention scores; 0: none.
    """

    traits: Traits
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    inner: int
    vocab: int
    context: int
    eps: float
    activation: Activation
    score_scale: float
    score_cap: float
    head_cap: float
    windows: tuple[int, ...]
    kinds: tuple[str, ...]

    @property
    def groups(self) -> int:
        """Query heads that share a key and value head."""
        return self.heads // self.kv_heads


def read_shape(config: PreTrainedConfig) -> LanguageShape:
    """Of the language model's own configuration (a vision-language model's ``text_config``).

    Raises ``BundleError`` for a type that is not in ``TYPES`` and for numbers that don't fit.
    """
    traits = TYPES.get(config.model_type)
    if traits is None:
        raise BundleError(
            f"language models of type {config.model_type!r} cannot be exported, "
            f"only {', '.join(sorted(TYPES))}"
        )
    layers, heads = _size(config, "num_hidden_layers"), _size(config, "num_attention_heads")
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    if heads % kv_heads:
        raise BundleError(f"{heads} heads cannot share {kv_heads} key and value heads")
    head_dim = getattr(config, "head_dim", None) or _size(config, "hidden_size") // heads
    kinds = tuple(getattr(config, "layer_types", None) or ["full_attention"] * layers)
    if len(kinds) != layers:
        raise BundleError(f"the configuration has {layers} layers and {len(kinds)} layer types")
    return LanguageShape(
        traits=traits,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=_size(config, "hidden_size"),
        inner=_size(config, "intermediate_size"),
        vocab=_size(config, "vocab_size"),
        context=_size(config, "max_position_embeddings"),
        eps=float(config.rms_norm_eps),
        activation=_activation(config),
        score_scale=float(getattr(config, "query_pre_attn_scalar", None) or head_dim) ** -0.5,
        score_cap=float(getattr(config, "attn_logit_softcapping", None) or 0),
        head_cap=float(getattr(config, "final_logit_softcapping", None) or 0),
        windows=_windows(config, traits, kinds),
        kinds=kinds,
    )


def _size(config: PreTrainedConfig, name: str) -> int:
    value = getattr(config, name, None)
    if not isinstance(value, int) or value < 1:
        raise BundleError(f"the configuration's {name} is {value!r}")
    return value


def _activation(config: PreTrainedConfig) -> Activation:
    name = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
    found = _ACTIVATIONS.get(str(name))
    if found is None:
        raise BundleError(f"the activation {name!r} is none of {', '.join(_ACTIVATIONS)}")
    return found


def _windows(config: PreTrainedConfig, traits: Traits, kinds: tuple[str, ...]) -> tuple[int, ...]:
    window = getattr(config, "sliding_window", None) or 0
    for kind in kinds:
        if kind not in ("full_attention", "sliding_attention"):
            raise BundleError(f"layers of type {kind!r} cannot be exported")
        if kind == "sliding_attention" and not window:
            raise BundleError("the configuration has sliding layers and no sliding_window")
    everywhere = traits.window_everywhere
    return tuple(window if everywhere or kind == "sliding_attention" else 0 for kind in kinds)
