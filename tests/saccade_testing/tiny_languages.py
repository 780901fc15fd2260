"""Language models of each type with random weights: a few thousand numbers, but real classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers.models.gemma3.modeling_gemma3 import Gemma3ForCausalLM
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLTextModel
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLTextModel
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextModel

hf: Any = transformers  # half typed: Any is honest about it
VOCAB, WIDTH, LAYERS, KV_HEADS = 97, 32, 3, 2
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": WIDTH, "intermediate_size": 48,
    "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 512,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {
    "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
WINDOW = 6


def _llama(**more: Any) -> Any:
    return hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, **more))


def _gemma3() -> Any:
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    return hf.Gemma3TextConfig(
        **SIZES, head_dim=16, sliding_window=WINDOW, query_pre_attn_scalar=24, layer_types=kinds
    )


TEXT: dict[str, Callable[[], Any]] = {
    "llama": _llama,
    "llama, tied, llama3 rope": lambda: _llama(tie_word_embeddings=True, rope_parameters=LLAMA3),
    "llama, biases, wide heads, yarn": lambda: _llama(
        attention_bias=True, head_dim=16, rope_parameters=YARN
    ),
    "llama, linear rope": lambda: _llama(rope_parameters=LINEAR),
    "mistral, windows": lambda: hf.MistralForCausalLM(
        hf.MistralConfig(**SIZES, sliding_window=WINDOW, head_dim=8)
    ),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**SIZES)),
    "qwen2, windows": lambda: hf.Qwen2ForCausalLM(
        hf.Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1)
    ),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**SIZES, head_dim=16)),
    "gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**SIZES, head_dim=16)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(
        hf.Gemma2Config(**SIZES, head_dim=16, sliding_window=WINDOW, query_pre_attn_scalar=24)
    ),
    "gemma3": lambda: Gemma3ForCausalLM(_gemma3()),
}
# Three rows of positions; without a head of their own, as inside the vision-language model.
THREE_ROWS: dict[str, Callable[[], Any]] = {
    "qwen2-vl": lambda: Qwen2VLTextModel(
        Qwen2VLTextConfig(**SIZES, rope_parameters=_sections([1, 2, 1]))
    ),
    "qwen2.5-vl": lambda: Qwen2_5_VLTextModel(
        Qwen2_5_VLTextConfig(**SIZES, rope_parameters=_sections([1, 1, 2]))
    ),
    "qwen3-vl": lambda: Qwen3VLTextModel(
        Qwen3VLTextConfig(**SIZES, head_dim=16, rope_parameters=_sections([4, 2, 2]))
    ),
}


def _sections(sections: list[int]) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections}


def make(kind: str, seed: int = 0) -> Any:
    """The model, in float32 with eager attention; every weight random, so that none may be lost."""
    torch.manual_seed(seed)
    model = {**TEXT, **THREE_ROWS}[kind]()
    model.set_attn_implementation("eager")
    gemma = model.config.model_type.startswith("gemma")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(std=0.3 if weight.dim() > 1 else 0.2)
            if "norm" in name and not gemma:
                weight.add_(1)
    return model.eval()
