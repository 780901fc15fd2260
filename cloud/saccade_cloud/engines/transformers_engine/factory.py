"""The engine ``transformers`` for the registry: finds a bundle's checkpoint, and opens it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from saccade.bundle import Bundle
from saccade.bundle_files import ListedFile
from saccade.errors import BundleError
from saccade.manifest import FileEntry
from saccade.spec import CheckpointFile, CheckpointRef
from saccade_cloud.engines.base import Capabilities, Engine
from saccade_cloud.engines.registry import EngineOptions
from saccade_cloud.engines.transformers_engine.checkpoint import check_inside
from saccade_cloud.engines.transformers_engine.engine import (
    PREFIX_BYTES,
    CheckpointModel,
    TransformersEngine,
    check_options,
)
from saccade_cloud.tokenizer_file import open_tokenizer


class TransformersFactory:
    """An ``EngineFactory``."""

    def capabilities(self, bundle: Bundle) -> Capabilities | None:
        """All that transformers can; what the model's own class can is known when it is open."""
        language = bundle.manifest.language
        if language.checkpoint is None:
            return None
        return Capabilities(
            max_context=language.max_context,
            explicit_positions=True,
            mrope=True,
            members=True,
            deepstack=True,
            bidirectional=True,
            prefix=True,
            sampling=True,
        )

    def open(self, bundle: Bundle, options: EngineOptions) -> Engine:
        """See ``EngineFactory``. The checkpoint is the one that the bundle was made from."""
        language = bundle.manifest.language
        if language.checkpoint is None:
            raise BundleError(f"the bundle {bundle.manifest.name!r} names no checkpoint")
        check_options(options.dtype, options.device)
        folder = find(language.checkpoint, options.checkpoints)
        model = CheckpointModel.open(folder, dtype=options.dtype, device=options.device)
        if model.language.width != language.width:
            raise BundleError(
                f"{folder.name} reads embeddings {model.language.width} wide, "
                f"the bundle's are {language.width}"
            )
        return TransformersEngine(
            model,
            open_tokenizer(bundle),
            stop=bundle.manifest.prompt.stop,
            limits=replace(
                options.limits, max_tokens=language.max_tokens, max_context=language.max_context
            ),
            threads=options.threads,
            prefix_bytes=PREFIX_BYTES if options.prefix_bytes is None else options.prefix_bytes,
        )


def find(checkpoint: CheckpointRef, folders: Sequence[Path]) -> Path:
    """The folder among ``folders`` that holds ``checkpoint``, all its files checked.

    Raises ``BundleError`` where none has files of these names and sizes, ``DigestMismatch`` where
    one has, with other content.
    """
    if not folders:
        raise BundleError(
            "the bundle's language model is a checkpoint that is not in the bundle: "
            "give its folder with --checkpoint"
        )
    differences = [_difference(folder, checkpoint.files) for folder in folders]
    for folder, difference in zip(folders, differences, strict=True):
        if not difference:
            check_inside(folder)
            for name, file in sorted(checkpoint.files.items()):
                ListedFile(folder, name, FileEntry(file.sha256, file.bytes, "")).check()
            return folder
    raise BundleError(
        f"the bundle's checkpoint ({checkpoint.architecture}) is in none of the folders: "
        f"{'; '.join(differences)}"
    )


def _difference(folder: Path, files: Mapping[str, CheckpointFile]) -> str:
    """The first thing in which the folder is another checkpoint; empty where nothing shows."""
    for name, file in sorted(files.items()):
        try:
            size = (folder / name).stat().st_size
        except OSError:
            return f"{folder} has no {name}"
        if size != file.bytes:
            return f"{folder / name} has {size} bytes, not {file.bytes}"
    return ""


FACTORY = TransformersFactory()
