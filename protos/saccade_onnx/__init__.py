"""ONNX Runtime for both sides: sessions opened one way, and one list of its errors."""
