"""Tiny LLaVA-1.5, LLaVA-OneVision, SmolVLM, Idefics3 and InternVL checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from saccade_testing.checkpoint_parts import processor_class, save, tokenizer

hf: Any = transformers  # its annotations of configurations do not fit how they are made
IMAGE_SIZE, PATCH = 56, 14
LLAVA_CHAT = (
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ message['role'].upper() + ': '}}{% endif %}{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
ONEVISION_CHAT = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>' }}{% endfor %}{# Render all video then #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'video') %}"
    "{{ '<video>' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ '\n' + content['text'] }}{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ '\n' + content['text'] }}{% endgeneration %}{% endfor %}{% endif %}"
    "{{'<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMOLVLM_CHAT = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
INTERNVL_CHAT = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'video' %}{{ '<video>\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)


def text_fields(text: Any) -> dict[str, Any]:
    """Sizes of a tiny language model with grouped-query attention."""
    return {
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(text),
        "max_position_embeddings": 4096,
        "bos_token_id": text.bos_token_id,
        "eos_token_id": text.eos_token_id,
        "pad_token_id": text.pad_token_id,
    }


VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "patch_size": PATCH,
}


def llava(folder: Path, **saving: Any) -> Path:
    """LLaVA-1.5: CLIP with CLS, the last layer but one, 4 x 4 tokens."""
    text = tokenizer(["<s>", "</s>", "<image>"], "<s>", "</s>")
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION, image_size=IMAGE_SIZE),
        text_config=hf.LlamaConfig(**text_fields(text)),
        image_token_index=text.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(IMAGE_SIZE // PATCH) ** 2,
    )
    images = hf.CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    )
    processor = hf.LlavaProcessor(
        images, text, patch_size=PATCH, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = hf.LlavaForConditionalGeneration(config)
    return save(folder, model, processor, LLAVA_CHAT, **saving)


def llava_onevision(folder: Path, **saving: Any) -> Path:
    """LLaVA-OneVision: SigLIP, 4 x 4 tokens a tile, up to 6 x 6 tiles."""
    text = tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"], None, "<|im_end|>"
    )
    pinpoints = [[r * IMAGE_SIZE, c * IMAGE_SIZE] for r in range(1, 7) for c in range(1, 7)]
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**VISION, image_size=IMAGE_SIZE),
        text_config=hf.Qwen2Config(**text_fields(text)),
        image_token_index=text.convert_tokens_to_ids("<image>"),
        video_token_index=text.convert_tokens_to_ids("<video>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=pinpoints,
    )
    images = hf.LlavaOnevisionImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_grid_pinpoints=pinpoints,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    processor = processor_class("LlavaOnevisionProcessor")(
        images, text, num_image_tokens=(IMAGE_SIZE // PATCH) ** 2,
        vision_feature_select_strategy="full",
    )  # fmt: skip
    torch.manual_seed(0)
    model = hf.LlavaOnevisionForConditionalGeneration(config)
    return save(folder, model, processor, ONEVISION_CHAT, **saving)


def _idefics(folder: Path, kind: str, saving: dict[str, Any]) -> Path:
    """SmolVLM and Idefics3 differ by name alone: pixel shuffle by 2, tiles of 56 up to 4 x 4."""
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    special = ["<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>"]
    text = tokenizer([*special, "<global-img>", *tiles], "<|im_start|>", "<end_of_utterance>")
    vision = getattr(hf, f"{kind}VisionConfig")(**VISION, image_size=IMAGE_SIZE)
    config = getattr(hf, f"{kind}Config")(
        vision_config=vision,
        text_config=hf.LlamaConfig(**text_fields(text)),
        image_token_id=text.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=text.pad_token_id,
    )
    images = getattr(hf, f"{kind}ImageProcessorPil")(
        size={"longest_edge": 4 * IMAGE_SIZE}, max_image_size={"longest_edge": IMAGE_SIZE},
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    length = (IMAGE_SIZE // PATCH // 2) ** 2
    made = processor_class(f"{kind}Processor")
    extra = {"video_processor": None} if kind == "SmolVLM" else {}
    processor = made(images, text, image_seq_len=length, **extra)
    torch.manual_seed(0)
    model = getattr(hf, f"{kind}ForConditionalGeneration")(config)
    return save(folder, model, processor, SMOLVLM_CHAT, **saving)


def smolvlm(folder: Path, **saving: Any) -> Path:
    """SmolVLM."""
    return _idefics(folder, "SmolVLM", saving)


def idefics3(folder: Path, **saving: Any) -> Path:
    """Idefics3."""
    return _idefics(folder, "Idefics3", saving)


def internvl(folder: Path, **saving: Any) -> Path:
    """InternVL: its own ViT with CLS, pixel shuffle by 2, up to 6 tiles."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
    named = {
        "start_image_token": "<img>", "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>",
    }  # fmt: skip
    text = tokenizer([*special, "<video>"], None, "<|im_end|>", extra_special_tokens=named)
    fields = {**VISION, "patch_size": [PATCH, PATCH], "image_size": [IMAGE_SIZE, IMAGE_SIZE]}
    config = hf.InternVLConfig(
        vision_config=hf.InternVLVisionConfig(**fields),
        text_config=hf.Qwen2Config(**text_fields(text)),
        image_token_id=text.convert_tokens_to_ids("<IMG_CONTEXT>"),
        downsample_ratio=0.5,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(IMAGE_SIZE // PATCH // 2) ** 2,
    )
    images = hf.GotOcr2ImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, crop_to_patches=True, max_patches=6,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    processor = processor_class("InternVLProcessor")(
        images, text, image_seq_length=(IMAGE_SIZE // PATCH // 2) ** 2, video_processor=None
    )
    torch.manual_seed(0)
    model = hf.InternVLForConditionalGeneration(config)
    return save(folder, model, processor, INTERNVL_CHAT, **saving)


FAMILIES = {
    "llava": llava,
    "llava-onevision": llava_onevision,
    "smolvlm": smolvlm,
    "idefics3": idefics3,
    "internvl": internvl,
}
