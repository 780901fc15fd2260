"""The engine ``onnx`` for the registry."""

from __future__ import annotations

from saccade.bundle import Bundle
from saccade.onnx_file import graph_inputs
from saccade_cloud.assemble import open_engine
from saccade_cloud.engines.base import Capabilities, Engine
from saccade_cloud.engines.decoder import graph_capabilities
from saccade_cloud.engines.onnx import PREFIX_BYTES
from saccade_cloud.engines.registry import EngineOptions


class OnnxFactory:
    """An ``EngineFactory``."""

    def capabilities(self, bundle: Bundle) -> Capabilities | None:
        """As the inputs of the bundle's decoder say."""
        language = bundle.manifest.language
        if language.onnx is None:
            return None
        content, _ = bundle.model(language.onnx.decoder).read()
        inputs = graph_inputs(content, language.onnx.decoder)
        return graph_capabilities(inputs, language.max_context)

    def open(self, bundle: Bundle, options: EngineOptions) -> Engine:
        """See ``EngineFactory``."""
        kept = PREFIX_BYTES if options.prefix_bytes is None else options.prefix_bytes
        return open_engine(
            bundle, limits=options.limits, threads=options.threads, prefix_bytes=kept
        )


FACTORY = OnnxFactory()
