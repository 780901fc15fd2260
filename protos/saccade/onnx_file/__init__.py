"""What an ONNX model opens beside itself and takes, read without the onnx package."""

from saccade.onnx_file.external import ExternalData, external_data
from saccade.onnx_file.graph_inputs import graph_inputs

__all__ = ["ExternalData", "external_data", "graph_inputs"]
