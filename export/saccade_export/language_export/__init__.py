"""A checkpoint's language model as ONNX graphs, for the engine ``onnx``.

``export`` writes the files; ``shape`` reads what a configuration says; ``decoder`` and ``layers``
write the graphs node by node, so that no copy of the model is traced.
"""

from saccade_export.language_export.decoder import DecoderOptions
from saccade_export.language_export.export import LanguageFiles, export_language
from saccade_export.language_export.shape import LanguageShape, read_shape
from saccade_export.language_export.tensors import (
    FileTensors,
    MappedTensors,
    TensorSource,
)

__all__ = [
    "DecoderOptions",
    "FileTensors",
    "LanguageFiles",
    "LanguageShape",
    "MappedTensors",
    "TensorSource",
    "export_language",
    "read_shape",
]
