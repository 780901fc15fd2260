"""Tiny Qwen2-VL, Qwen2.5-VL and Qwen3-VL checkpoints: views of any size, M-RoPE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from saccade_testing.checkpoint_parts import processor_class, save, tokenizer

hf: Any = transformers  # its annotations of configurations do not fit how they are made
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
QWEN2_CHAT = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3_CHAT = (
    "{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\n' }}"
    "{%- if messages[0].content is string %}{{- messages[0].content }}{%- else %}"
    "{%- for content in messages[0].content %}{%- if 'text' in content %}{{- content.text }}"
    "{%- endif %}{%- endfor %}{%- endif %}{{- '<|im_end|>\n' }}{%- endif %}"
    "{%- set image_count = namespace(value=0) %}{%- for message in messages %}"
    "{%- if message.role == 'user' %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}"
    "{%- for content in message.content %}{%- if content.type == 'image' or 'image' in content %}"
    "{%- set image_count.value = image_count.value + 1 %}"
    "{%- if add_vision_id %}Picture {{ image_count.value }}: {% endif -%}"
    "<|vision_start|><|image_pad|><|vision_end|>{%- elif 'text' in content %}"
    "{{- content.text }}{%- endif %}{%- endfor %}{%- endif %}{{- '<|im_end|>\n' }}"
    "{%- elif message.role == 'assistant' %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}"
    "{%- for content_item in message.content %}{%- if 'text' in content_item %}"
    "{{- content_item.text }}{%- endif %}{%- endfor %}{%- endif %}{{- '<|im_end|>\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
# Half of a head's 12 channels turn with t, h and w; the parts are even for PPE with two members.
SECTIONS = [2, 2, 2]


def _text(text: Any, **more: Any) -> dict[str, Any]:
    """Sizes of a tiny language model with grouped-query attention and M-RoPE."""
    return {
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(text),
        "max_position_embeddings": 4096,
        "bos_token_id": text.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": text.eos_token_id,
        "pad_token_id": text.pad_token_id,
        **more,
    }


def _ids(text: Any) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
    }  # fmt: skip
    return {name: text.convert_tokens_to_ids(token) for name, token in names.items()}


def _tokenizer() -> Any:
    return tokenizer(SPECIAL, None, "<|im_end|>")


def _save(folder: Path, kind: str, config: Any, text: Any, patch: int, saving: Any) -> Path:
    """``kind``: "Qwen2VL", "Qwen2_5_VL" or "Qwen3VL"."""
    unit = 2 * patch
    clip = patch == 14
    images = hf.Qwen2VLImageProcessorPil(
        patch_size=patch,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 4 * unit**2, "longest_edge": 24 * unit**2},
        **({} if clip else {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
    )
    processor = processor_class(f"{kind}Processor")(images, text, video_processor=None)
    torch.manual_seed(0)
    model = getattr(hf, f"{kind}ForConditionalGeneration")(config)
    chat = QWEN3_CHAT if kind == "Qwen3VL" else QWEN2_CHAT
    model.generation_config.eos_token_id = [
        text.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")
    ]
    return save(folder, model, processor, chat, **saving)


def qwen2_vl(folder: Path, **saving: Any) -> Path:
    """Qwen2-VL: a token of 28 x 28 pixels, 4 to 24 of them."""
    text = _tokenizer()
    rope = {"type": "mrope", "rope_type": "default", "mrope_section": SECTIONS, "rope_theta": 1e6}
    config = hf.Qwen2VLConfig(
        vision_config={
            "depth": 3, "embed_dim": 32, "hidden_size": 48, "num_heads": 4, "mlp_ratio": 2,
        },
        text_config=_text(text, rope_parameters=rope),
        **_ids(text),
    )  # fmt: skip
    return _save(folder, "Qwen2VL", config, text, 14, saving)


def qwen2_5_vl(folder: Path, **saving: Any) -> Path:
    """Qwen2.5-VL: windows of 2 x 2 tokens in all blocks but one."""
    text = _tokenizer()
    rope = {"type": "mrope", "rope_type": "default", "mrope_section": SECTIONS, "rope_theta": 1e6}
    config = hf.Qwen2_5_VLConfig(
        vision_config={
            "depth": 3, "hidden_size": 32, "out_hidden_size": 48, "num_heads": 4,
            "intermediate_size": 64, "window_size": 56, "fullatt_block_indexes": [1],
        },
        text_config=_text(text, rope_parameters=rope),
        **_ids(text),
    )  # fmt: skip
    return _save(folder, "Qwen2_5_VL", config, text, 14, saving)


def qwen3_vl(folder: Path, **saving: Any) -> Path:
    """Qwen3-VL: learned positions, two rows of deepstack, interleaved M-RoPE."""
    text = _tokenizer()
    rope = {
        "rope_type": "default", "mrope_section": SECTIONS, "mrope_interleaved": True,
        "rope_theta": 5e6,
    }  # fmt: skip
    config = hf.Qwen3VLConfig(
        vision_config={
            "depth": 4, "hidden_size": 32, "out_hidden_size": 48, "num_heads": 4, "patch_size": 16,
            "intermediate_size": 64, "num_position_embeddings": 36,
            "deepstack_visual_indexes": [0, 2],
        },
        text_config=_text(text, rope_parameters=rope, head_dim=12),
        **_ids(text),
    )  # fmt: skip
    return _save(folder, "Qwen3VL", config, text, 16, saving)


FAMILIES = {"qwen2-vl": qwen2_vl, "qwen2.5-vl": qwen2_5_vl, "qwen3-vl": qwen3_vl}
