"""An exported language model's files as those of a bundle."""

from __future__ import annotations

from saccade.bundle_files import ListedFile, ModelFile, measure
from saccade_export.language_export import LanguageFiles


def model_files(files: LanguageFiles) -> tuple[ModelFile, ModelFile]:
    """Embedding and decoder, with the file of their weights beside them."""
    folder = files.decoder.parent
    names = [path.name for path in (files.embedding, files.decoder, files.weights)]
    entries = {name: measure(folder, name) for name in names}
    embedding, decoder = (
        ModelFile(ListedFile(folder, name, entries[name]), entries) for name in names[:2]
    )
    return embedding, decoder
