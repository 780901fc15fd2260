"""Tiny Gemma 3 and PaliGemma checkpoints: SigLIP, attention that is not causal everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from saccade_testing.checkpoint_parts import processor_class, save, tokenizer

hf: Any = transformers  # its annotations of configurations do not fit how they are made
PATCH = 14
GEMMA3_CHAT = (
    "{{ bos_token }}\n{%- if messages[0]['role'] == 'system' -%}\n"
    "    {%- if messages[0]['content'] is string -%}\n"
    "        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}\n    {%- else -%}\n"
    "        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}\n"
    "    {%- endif -%}\n    {%- set loop_messages = messages[1:] -%}\n{%- else -%}\n"
    '    {%- set first_user_prefix = "" -%}\n    {%- set loop_messages = messages -%}\n'
    "{%- endif -%}\n{%- for message in loop_messages -%}\n"
    "    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}\n"
    '        {{ raise_exception("Conversation roles must alternate user/assistant/...") }}\n'
    "    {%- endif -%}\n    {%- if (message['role'] == 'assistant') -%}\n"
    '        {%- set role = "model" -%}\n    {%- else -%}\n'
    "        {%- set role = message['role'] -%}\n    {%- endif -%}\n"
    "    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else \"\") }}\n"
    "    {%- if message['content'] is string -%}\n        {{ message['content'] | trim }}\n"
    "    {%- elif message['content'] is iterable -%}\n"
    "        {%- for item in message['content'] -%}\n"
    "            {%- if item['type'] == 'image' -%}\n                {{ '<start_of_image>' }}\n"
    "            {%- elif item['type'] == 'text' -%}\n"
    "                {{ item['text'] | trim }}\n            {%- endif -%}\n"
    "        {%- endfor -%}\n    {%- else -%}\n"
    '        {{ raise_exception("Invalid content type") }}\n    {%- endif -%}\n'
    "    {{ '<end_of_turn>\n' }}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n"
    "    {{'<start_of_turn>model\n'}}\n{%- endif -%}\n"
)


def _vision(side: int) -> Any:
    """``side`` x ``side`` patches."""
    return hf.SiglipVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        patch_size=PATCH, image_size=side * PATCH, vision_use_head=False,
    )  # fmt: skip


def _text(text: Any) -> dict[str, Any]:
    return {
        "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "head_dim": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": len(text),
        "max_position_embeddings": 4096, "bos_token_id": text.bos_token_id,
        "eos_token_id": text.eos_token_id, "pad_token_id": text.pad_token_id,
    }  # fmt: skip


def gemma3(folder: Path, **saving: Any) -> Path:
    """Gemma 3: 8 x 8 patches averaged to 2 x 2 tokens, two layers of three with a window."""
    special = (
        "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
        "<image_soft_token>",
    )  # fmt: skip
    named = {
        "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }  # fmt: skip
    text = tokenizer(special, "<bos>", "<eos>", extra_special_tokens=named)
    config = hf.Gemma3Config(
        vision_config=_vision(8),
        text_config=hf.Gemma3TextConfig(
            **_text(text), sliding_window=64, query_pre_attn_scalar=16,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        ),
        mm_tokens_per_image=4,
        boi_token_index=text.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=text.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=text.convert_tokens_to_ids("<image_soft_token>"),
    )  # fmt: skip
    images = hf.Gemma3ImageProcessorPil(size={"height": 8 * PATCH, "width": 8 * PATCH})
    processor = processor_class("Gemma3Processor")(images, text, image_seq_length=4)
    torch.manual_seed(0)
    model = hf.Gemma3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = [
        text.convert_tokens_to_ids(token) for token in ("<eos>", "<end_of_turn>")
    ]
    return save(folder, model, processor, GEMMA3_CHAT, **saving)


def paligemma(folder: Path, **saving: Any) -> Path:
    """PaliGemma: 4 x 4 tokens, the whole prompt sees itself, no chat template."""
    text = tokenizer(
        ("<bos>", "<eos>", "<image>"), "<bos>", "<eos>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    images = hf.SiglipImageProcessorPil(
        size={"height": 4 * PATCH, "width": 4 * PATCH}, image_seq_length=16
    )
    images.image_seq_length = 16
    processor = processor_class("PaliGemmaProcessor")(images, text)  # adds <loc0000>, ...
    config = hf.PaliGemmaConfig(
        vision_config=_vision(4),
        text_config=hf.GemmaConfig(**_text(text)),
        image_token_index=text.convert_tokens_to_ids("<image>"),
        projection_dim=48,
        hidden_size=48,
    )
    torch.manual_seed(0)
    model = hf.PaliGemmaForConditionalGeneration(config)
    save(folder, model, processor, "", **saving)
    (folder / "chat_template.jinja").unlink()
    return folder


FAMILIES = {"gemma3": gemma3, "paligemma": paligemma}
