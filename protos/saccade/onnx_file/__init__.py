"""What an ONNX model opens beside itself, read without the onnx package."""

from saccade.onnx_file.external import ExternalData, external_data

__all__ = ["ExternalData", "external_data"]
