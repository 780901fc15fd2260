"""How matrices are stored: float32, float16 (computed in float32) or 8-bit integers in blocks."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from saccade.types import F32
from saccade_export.language_export.writer import GraphWriter

Numbers = Literal["f32", "f16", "int8"]
# Integers of a row that share one scale. ONNX Runtime's kernel takes 16 to 256.
BLOCK = 32
HALF_MAX = float(np.finfo(np.float16).max)
ZERO = 128  # the integer that stands for 0
INT8_COMPUTE = 4  # MatMulNBits' accuracy_level: inputs are rounded to 8 bits, too


class Matrices:
    """Writes the products with stored matrices into graphs."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def multiply(self, g: GraphWriter, x: str, name: str, matrix: F32) -> str:
        """Product of x [..., K] and the transpose of ``matrix`` [N, K]: [..., N]."""
        if self._numbers == "int8":
            return self._in_blocks(g, x, name, matrix)
        return g.add("MatMul", x, self._float(g, name, matrix.T))

    def table(self, g: GraphWriter, name: str, matrix: F32) -> None:
        """Write a matrix [N, K] whose rows are looked up, and with which ``head`` may multiply."""
        if self._numbers == "int8":
            quantised, scales = quantise(matrix)
            g.weight(f"{name}.integers", quantised)
            g.weight(f"{name}.scales", scales)
        else:
            self._stored(g, name, matrix)

    def look_up(self, g: GraphWriter, ids: str, name: str, matrix: F32) -> str:
        """Rows [..., K] of ``matrix`` [N, K]."""
        self.table(g, name, matrix)
        if self._numbers != "int8":
            rows = g.add("Gather", self._name(g, name), ids, axis=0)
            return g.add("Cast", rows, to=TensorProto.FLOAT)
        width = matrix.shape[1]
        rows = g.add("Cast", g.add("Gather", f"{name}.integers", ids), to=TensorProto.FLOAT)
        scales = g.add("Gather", f"{name}.scales", ids)
        centred = g.add("Sub", rows, g.constant(float(ZERO)))
        scaled = g.add("Mul", centred, g.add("Unsqueeze", scales, g.constant([-1])))
        flat = g.add("Reshape", scaled, g.constant([0, 0, -1]))
        return g.add("Slice", flat, g.constant([0]), g.constant([width]), g.constant([2]))

    def head(self, g: GraphWriter, x: str, name: str, shape: tuple[int, int]) -> str:
        """Product of x [M, K] and the transpose of the table ``name``, of ``shape`` [N, K]."""
        if self._numbers == "int8":
            return self._product(g, x, name, shape)
        g.stored(self._name(g, name))
        matrix = self._name(g, name)
        if matrix.endswith(".half"):
            matrix = g.add("Cast", matrix, to=TensorProto.FLOAT)
        return g.add("Gemm", x, matrix, transB=1)

    def _in_blocks(self, g: GraphWriter, x: str, name: str, matrix: F32) -> str:
        self.table(g, name, matrix)
        return self._product(g, x, name, (matrix.shape[0], matrix.shape[1]))

    def _product(self, g: GraphWriter, x: str, name: str, shape: tuple[int, int]) -> str:
        for part in ("integers", "scales"):
            if g.weights.has(f"{name}.{part}"):
                g.stored(f"{name}.{part}")
        return g.contrib(
            "MatMulNBits", x, f"{name}.integers", f"{name}.scales",
            N=shape[0], K=shape[1], bits=8, block_size=BLOCK, accuracy_level=INT8_COMPUTE,
        )  # fmt: skip

    def _float(self, g: GraphWriter, name: str, matrix: F32) -> str:
        stored = self._stored(g, name, matrix)
        return g.add("Cast", stored, to=TensorProto.FLOAT) if stored.endswith(".half") else stored

    def _stored(self, g: GraphWriter, name: str, matrix: F32) -> str:
        """As float16 under another name; as float32 where that is wanted or would overflow."""
        if self._numbers == "f32" or np.abs(matrix).max(initial=0) > HALF_MAX:
            return g.weight(name, matrix)
        return g.weight(f"{name}.half", matrix.astype(np.float16))

    @staticmethod
    def _name(g: GraphWriter, name: str) -> str:
        return f"{name}.half" if g.weights.has(f"{name}.half") else name


def quantise(matrix: F32) -> tuple[npt.NDArray[np.uint8], F32]:
    """[N, K] to integers [N, blocks, BLOCK] and scales [N, blocks]: value = (integer - 128) scale.

    Each block's largest magnitude is 127 steps; a last block that is not full is padded with 0.
    """
    rows, width = matrix.shape
    blocks = -(-width // BLOCK)
    padded = np.zeros((rows, blocks * BLOCK), np.float32)
    padded[:, :width] = matrix
    cut = padded.reshape(rows, blocks, BLOCK)
    scales = np.abs(cut).max(-1) / np.float32(127)
    steps = np.rint(cut / np.maximum(scales, np.float32(1e-30))[..., None])
    return (steps + ZERO).astype(np.uint8), scales.astype(np.float32)
