"""A Hugging Face checkpoint folder, read without running anything that it brings.

Only `config.json`, the processor's and tokenizer's files and safetensors are opened; Python files
in the folder and ``auto_map`` are ignored, pickled weights are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from saccade.errors import BundleError
from saccade_export import safetensors_files
from saccade_export.safetensors_files import read_json, read_text

hf: Any = transformers  # half typed: Any is honest about it
CONFIG = "config.json"
PREPROCESSOR = ("preprocessor_config.json", "processor_config.json")
MAX_CONFIG_BYTES = 4 << 20
MAX_NAMES_SHOWN = 5
# Where the language model sits in every supported class: what a vision half may lack.
LANGUAGE = ("language_model.", "text_model.", "lm_head.")


class Checkpoint:
    """An opened checkpoint. Raises ``BundleError`` for a folder that is no complete checkpoint.

    ``config``: the fields of config.json; ``architectures``: class names of transformers;
    ``dtype``: of the stored weights.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BundleError(f"{folder} is not a folder")
        self.folder = folder
        self.config = read_json(folder / CONFIG, MAX_CONFIG_BYTES)
        named = self.config.get("architectures")
        if not isinstance(named, list) or not named or not all(isinstance(n, str) for n in named):
            raise BundleError(f"{folder / CONFIG} names no architectures")
        self.architectures = tuple(named)
        self.files = safetensors_files.locate(folder)

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """All files with weights, sorted."""
        return tuple(sorted(set(self.files.values())))

    @property
    def weight_bytes(self) -> int:
        """Their size."""
        return sum(path.stat().st_size for path in self.weight_files)

    @cached_property
    def model_config(self) -> Any:  # noqa: ANN401 - a class of transformers
        """The built-in configuration class of this architecture, filled from config.json."""
        with _readable(self.folder / CONFIG):
            return self._class().config_class.from_pretrained(
                str(self.folder), local_files_only=True
            )

    @cached_property
    def preprocessor(self) -> dict[str, Any]:
        """The image processor's fields, whichever of its two files they are in."""
        for name in PREPROCESSOR:
            path = self.folder / name
            if path.is_file():
                fields = read_json(path, MAX_CONFIG_BYTES)
                return dict(fields.get("image_processor", fields))
        raise BundleError(f"{self.folder} has none of {', '.join(PREPROCESSOR)}")

    @cached_property
    def processor_fields(self) -> dict[str, Any]:
        """The processor's own fields; empty where the checkpoint has no processor_config.json."""
        path = self.folder / "processor_config.json"
        return read_json(path, MAX_CONFIG_BYTES) if path.is_file() else {}

    @cached_property
    def generation(self) -> dict[str, Any]:
        """Fields of generation_config.json; empty where there is none."""
        path = self.folder / "generation_config.json"
        return read_json(path, MAX_CONFIG_BYTES) if path.is_file() else {}

    def chat_template(self) -> str:
        """The Jinja text, wherever the checkpoint has it. Raises ``BundleError`` if nowhere."""
        own = self.folder / "chat_template.jinja"
        if own.is_file():
            return read_text(own, MAX_CONFIG_BYTES)
        for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
            path = self.folder / name
            text = read_json(path, MAX_CONFIG_BYTES).get("chat_template") if path.is_file() else ""
            if isinstance(text, str) and text:
                return text
        raise BundleError(f"{self.folder} has no chat template")

    @cached_property
    def tokenizer(self) -> Any:  # noqa: ANN401 - a class of transformers
        """The checkpoint's fast tokenizer."""
        with _readable(self.folder):
            return hf.AutoTokenizer.from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False
            )

    def image_processor(self) -> Any:  # noqa: ANN401 - a class of transformers
        """The family's own image processor on PIL, which golden tests compare with."""
        with _readable(self.folder):
            return hf.AutoImageProcessor.from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False, backend="pil"
            )

    def processor(self) -> Any:  # noqa: ANN401 - a class of transformers
        """The family's own processor: images and text to the whole model's input."""
        with _readable(self.folder):
            return hf.AutoProcessor.from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False, backend="pil"
            )

    def vision(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """The model without its language layers, on the CPU: what the edge runs and the projector.

        Only the tensors of these parts are read. Raises ``BundleError`` with the names of those
        that are missing or have another shape than the configuration says.
        """
        config = copy.deepcopy(self.model_config)
        text = config.get_text_config()
        text.num_hidden_layers = 0
        # Nor its table of embeddings, which can weigh as much as the vision half.
        text.vocab_size, text.pad_token_id = 1, None
        for name in ("layer_types", "max_window_layers"):
            if getattr(text, name, None):
                setattr(text, name, [] if name == "layer_types" else 0)
        return self._load(config, dtype, optional=LANGUAGE)

    def whole(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """The whole model on the CPU."""
        return self._load(copy.deepcopy(self.model_config), dtype, optional=("lm_head.",))

    def _class(self) -> Any:  # noqa: ANN401 - a class of transformers
        found = getattr(transformers, self.architectures[0], None)
        if found is None:
            raise BundleError(f"transformers {hf.__version__} has no class {self.architectures[0]}")
        return found

    def _load(self, config: Any, dtype: torch.dtype, optional: tuple[str, ...]) -> nn.Module:  # noqa: ANN401
        with _readable(self.folder), _quiet():
            model, report = self._class().from_pretrained(
                str(self.folder),
                config=config,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # reported below, so that the message has the names
                attn_implementation="sdpa",  # a name of a kernel in config.json is never followed
                output_loading_info=True,
            )
        for problem in ("missing_keys", "mismatched_keys"):
            names = sorted({_name(key) for key in report[problem]})
            lost = [name for name in names if not any(part in name for part in optional)]
            if lost:
                shown = ", ".join(lost[:MAX_NAMES_SHOWN])
                raise BundleError(
                    f"{self.folder}: {len(lost)} {problem.replace('_keys', '')} tensors: {shown}"
                )
        module: nn.Module = model.eval().requires_grad_(requires_grad=False)
        return module


def _name(key: Any) -> str:  # noqa: ANN401 - a name, or a tuple that starts with it
    return key if isinstance(key, str) else str(key[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the report of tensors that were left out on purpose, and without its bar."""
    logs = hf.logging
    level, bar = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if bar:
            logs.enable_progress_bar()


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    """What transformers raises about a broken checkpoint, as one typed error."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        raise BundleError(
            f"transformers can't read {place}: {type(error).__name__}: "
            f"{(reason[0] if reason else 'no reason given')[:300]}"
        ) from error
