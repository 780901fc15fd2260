"""Opens a checkpoint folder as a transformers model. Weights come from safetensors alone.

No code of the checkpoint runs: ``trust_remote_code`` is never set, and the class is one that
transformers itself has.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, GenerationMixin, PreTrainedModel

from saccade.errors import BundleError

MAX_CONFIG_BYTES = 1 << 20
DTYPES = {
    "auto": "auto",
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
}
# What transformers raises for a folder that is damaged, incomplete or made by somebody else.
_LOAD_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    SafetensorError,
)


def open_model(folder: Path, *, dtype: str = "auto", device: str = "cpu") -> PreTrainedModel:
    """The whole model, for inference. ``dtype``: "auto" is the checkpoint's own.

    Raises ``BundleError`` for a folder that is no checkpoint, one with files outside of it, an
    architecture that transformers does not have, and weights that are missing or damaged.
    """
    check_inside(folder)
    config = _config(folder)
    model_class = _model_class(config)
    try:
        model, info = model_class.from_pretrained(
            folder,
            config=config,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        # Without this transformers fills them with random numbers and goes on.
        missing = sorted(info["missing_keys"])
        if missing:
            raise BundleError(
                f"{folder.name} has no weights for {missing[0]} ({len(missing)} in all)"
            )
        model.to(torch.device(device))
    except _LOAD_ERRORS as error:
        raise BundleError(f"{folder.name} cannot be loaded: {_line(error)}") from error
    opened: PreTrainedModel = model.eval().requires_grad_(requires_grad=False)
    return opened


def check_inside(folder: Path) -> None:
    """Raises ``BundleError`` unless ``folder`` is a folder whose files are all inside of it."""
    if not folder.is_dir():
        raise BundleError(f"{folder} is no folder")
    root = folder.resolve()
    for file in folder.rglob("*"):
        if not file.resolve().is_relative_to(root):
            raise BundleError(
                f"{file.relative_to(folder)} leads out of the checkpoint: copy it into the folder"
            )


def _config(folder: Path) -> Any:  # noqa: ANN401 - a class of transformers, which types it by half
    path = folder / "config.json"
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise BundleError(f"config.json has more than {MAX_CONFIG_BYTES} bytes")
        if not isinstance(json.loads(path.read_bytes()), dict):
            raise BundleError("config.json is no JSON object")
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (*_LOAD_ERRORS, RecursionError) as error:
        raise BundleError(f"{folder.name} has no usable config.json: {_line(error)}") from error


def _model_class(config: Any) -> Any:  # noqa: ANN401 - as above
    names = config.architectures or []
    for name in names:
        found = getattr(transformers, name, None)
        if (
            isinstance(found, type)
            and issubclass(found, PreTrainedModel)
            and issubclass(found, GenerationMixin)
        ):
            return found
    raise BundleError(
        f"transformers {transformers.__version__} has no generative model called "
        f"{', '.join(names) or '(the config names none)'}"
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
