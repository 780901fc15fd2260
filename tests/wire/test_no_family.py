"""Nothing outside the adapters knows a model family: what differs is data in the bundle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("protos", "edge", "cloud", "export/saccade_calibration", "export/saccade_demo")
FAMILIES = re.compile(r"llava|onevision|smolvlm|idefics|qwen|internvl|gemma|saccade-tiny", re.I)


def modules() -> list[Path]:
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "_pb2" not in path.name]


def knowing(tree: ast.Module) -> Iterator[str]:
    """Names and texts of a family in code; docstrings may say whose rule something is."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        texts = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            texts.append(node.value)
        elif isinstance(node, ast.Name):
            texts.append(node.id)
        elif isinstance(node, ast.Attribute):
            texts.append(node.attr)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.arg)):
            texts.append(getattr(node, "name", "") or getattr(node, "arg", ""))
        line = getattr(node, "lineno", 0)
        yield from (f"line {line}: {text[:60]}" for text in texts if FAMILIES.search(text))
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
            if any(isinstance(part, ast.Attribute) and part.attr == "family" for part in parts):
                yield f"line {node.lineno}: a family is compared"


def test_there_is_something_to_look_at() -> None:
    assert len(modules()) > 200


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_knows_a_family(path: Path) -> None:
    assert not list(knowing(ast.parse(path.read_text("utf-8"))))


@pytest.mark.parametrize(
    "code",
    [
        "if manifest.family == other: pass",
        "x = 'Qwen2-VL'",
        "from a import b\nb.gemma_scale()",
        "def internvl_tiles(): pass",
    ],
)
def test_knowing_one_is_found(code: str) -> None:
    assert list(knowing(ast.parse(code)))
