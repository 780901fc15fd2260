"""The borders between packages hold, and the edge and the contract live without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [str(ROOT / name) for name in ("protos", "edge", "cloud", "export")]

IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path[:0] = {folders!r}
for blocked in {blocked!r}:
    sys.modules[blocked] = None  # importing it is an ImportError
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    # The transformers engine is what torch is for.
    if not module.name.endswith("__main__") and ".transformers_engine" not in module.name:
        importlib.import_module(module.name)
"""

TRAINING = ["torch", "transformers", "onnx", "ultralytics"]


@pytest.mark.parametrize(
    ("package", "blocked"),
    [
        ("saccade", [*TRAINING, "onnxruntime", "cv2", "av", "saccade_edge", "saccade_cloud"]),
        ("saccade_edge", [*TRAINING, "saccade_cloud", "saccade_export"]),
        ("saccade_cloud", [*TRAINING, "cv2", "av", "saccade_edge", "saccade_export"]),
    ],
)
def test_every_module_imports_without(package: str, blocked: list[str]) -> None:
    """What a package must not need can be absent."""
    if not list(ROOT.glob(f"*/{package}/__init__.py")):
        pytest.skip(f"{package} is not in this checkout")
    script = IMPORT_ALL.format(folders=FOLDERS, blocked=blocked, package=package)
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_import_contracts_are_kept() -> None:
    result = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        env={"PYTHONPATH": ":".join(FOLDERS), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_generated_code_has_not_drifted() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "protos" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
