"""Where a language model's weights are read from: one tensor at a time, as float32."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from saccade.errors import BundleError
from saccade.types import F32

# What stands before "layers.0.": by itself, or inside a vision-language model, old names and new.
_FIRST_LAYER = "layers.0.input_layernorm.weight"
_LANGUAGE = ("language_model", "text_model")


class TensorSource(Protocol):
    """Named weights. ``read`` raises ``BundleError`` for a name that is not there."""

    def names(self) -> Collection[str]: ...

    def read(self, name: str) -> F32: ...


class MappedTensors:
    """The tensors of a ``state_dict``."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors

    def names(self) -> Collection[str]:
        return self._tensors.keys()

    def read(self, name: str) -> F32:
        if name not in self._tensors:
            raise BundleError(f"the checkpoint has no tensor {name!r}")
        return _float32(self._tensors[name])


class FileTensors:
    """Those of safetensors files, which are mapped and never read whole. ``files``: the file of
    each tensor, as ``Checkpoint.files``.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def names(self) -> Collection[str]:
        return self._files.keys()

    def read(self, name: str) -> F32:
        if name not in self._files:
            raise BundleError(f"the checkpoint has no tensor {name!r}")
        path = self._files[name]
        try:
            with safe_open(path, framework="pt") as file:
                return _float32(file.get_tensor(name))
        except (OSError, SafetensorError) as error:
            raise BundleError(f"{path.name} cannot be read: {error}") from error


def _float32(tensor: torch.Tensor) -> F32:
    return np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).numpy())


class ModelTensors:
    """A language model's tensors by their names in a model of its own: "layers.0.mlp.up_proj",
    whatever stands before them in ``source``. Raises ``BundleError`` where there is none.
    """

    def __init__(self, source: TensorSource) -> None:
        self._source = source
        names = source.names()
        self._prefix = _prefix([n for n in names if n.endswith(_FIRST_LAYER)])
        heads = [n for n in names if n == "lm_head.weight" or n.endswith(".lm_head.weight")]
        self._head = min(heads, key=len, default=None)
        self._names = frozenset(
            n.removeprefix(self._prefix) for n in names if n.startswith(self._prefix)
        )

    def has(self, name: str) -> bool:
        return name in self._names

    def head(self, vocab: int, width: int) -> F32 | None:
        """The output head [vocab, width]; None where it is the embedding's table."""
        if self._head is None:
            return None
        head = _shaped(self._head, self._source.read(self._head), (vocab, width))
        table = self.read("embed_tokens.weight", vocab, width)
        return None if np.array_equal(head, table) else head

    def read(self, name: str, *shape: int) -> F32:
        """The tensor, of ``shape``. Raises ``BundleError``."""
        return _shaped(self._prefix + name, self._source.read(self._prefix + name), shape)


def _shaped(name: str, value: F32, shape: tuple[int, ...]) -> F32:
    if value.shape != shape:
        raise BundleError(f"{name} has the shape {value.shape}, the configuration says {shape}")
    return value


def _prefix(found: Collection[str]) -> str:
    prefixes = sorted((name.removesuffix(_FIRST_LAYER) for name in found), key=len)
    language = [p for p in prefixes if any(word in p for word in _LANGUAGE)]
    chosen = language or prefixes
    if not chosen:
        raise BundleError("the checkpoint has no language model: no layers.0.input_layernorm")
    return chosen[0]
