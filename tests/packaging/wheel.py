"""Tests of the built wheel, without the sources beside it.

    python tests/packaging/wheel.py --python python3.12 --kind demo [pytest options]

builds the wheel, installs it with the extras of ``--kind`` into a fresh environment of that Python,
copies the tests (and what they start: bench, the certificate script) into a folder of their own
and runs there those that apply. Nothing of the checkout's packages can be imported by accident.

``--floors`` installs the oldest release of every dependency that pyproject.toml allows (its newest
patch), to test that the stated lower bounds are true.

Kinds: ``bare`` (no extra), ``edge`` (no torch, no server), ``cloud`` (no torch, no video), ``demo``
(both halves together). Each runs its own part of the tests. The environment and the wheel stay in
``.venv-wheel`` for the next run.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".venv-wheel"
# What tests need beyond the product: onnx builds their small graphs.
TOOLS = ("pytest>=8.2", "pytest-timeout>=2.3", "hypothesis>=6.100")
GRAPHS = ("onnx>=1.16",)
# Tests of the checkout itself: its borders, its generated code, its benchmarks and training.
OF_THE_CHECKOUT = (
    "tests/wire/test_borders.py",
    "tests/wire/test_frozen.py",
    "tests/wire/test_no_family.py",
    "tests/edge/test_budget_bench.py",
)


@dataclass(frozen=True)
class Kind:
    """``absent``: packages that must not be there, so that a hidden need of them is found."""

    extras: str
    tests: tuple[str, ...]
    tools: tuple[str, ...] = TOOLS
    ignored: tuple[str, ...] = ()
    absent: tuple[str, ...] = ("torch", "transformers", "ultralytics")


KINDS = {
    "bare": Kind(
        "",
        ("tests/wire",),
        (*TOOLS, *GRAPHS),
        absent=("torch", "onnxruntime", "av", "cv2", "sqlalchemy"),
    ),
    "edge": Kind(
        "[edge]",
        ("tests/edge",),
        (*TOOLS, *GRAPHS),
        # Edges beside a real cloud: in the kind `demo`.
        ("tests/edge/test_spool_killed.py", "tests/edge/test_spooled_uplink.py"),
        ("torch", "transformers", "ultralytics", "sqlalchemy", "grpc_health"),
    ),
    "cloud": Kind(
        "[cloud]",
        ("tests/cloud",),
        (*TOOLS, *GRAPHS),
        # The engine that needs torch, and what is compared with transformers: `make test` does it.
        (
            "tests/cloud/test_transformers_checkpoint.py",
            "tests/cloud/test_transformers_engine.py",
            "tests/cloud/test_transformers_factory.py",
            "tests/cloud/test_chat_template.py",
        ),
        absent=("torch", "transformers", "ultralytics", "av", "cv2"),
    ),
    "demo": Kind(
        "[demo]",
        ("tests/wire", "tests/system/test_sdk.py", "tests/system/test_two_processes.py",
         "tests/system/test_demo.py", "tests/edge/test_spool_killed.py",
         "tests/edge/test_spooled_uplink.py"),
        (*TOOLS, *GRAPHS, "pillow-heif>=0.18", "psycopg[binary]>=3.2"),
    ),
}  # fmt: skip


def main(words: Sequence[str]) -> int:
    """Exit status of pytest, or 1 where something is there that must not be."""
    options, pytest_options = _parse(words)
    kind = KINDS[options.kind]
    python = environment(options.python, options.kind, kind, build(), floors=options.floors)
    if found := [name for name in kind.absent if importable(python, name)]:
        print(f"error: {', '.join(found)} can be imported with {options.kind!r}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="saccade-wheel-") as folder:
        copy_tests(Path(folder))
        return run_tests(python, Path(folder), kind, pytest_options)


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--python", default=sys.executable, help="(default: this one)")
    parser.add_argument("--kind", choices=KINDS, default="demo", help="(default: %(default)s)")
    parser.add_argument("--floors", action="store_true", help="the oldest allowed dependencies")
    return parser.parse_known_args(words)


def build() -> Path:
    """The wheel of this checkout, built in isolation."""
    folder = WORK / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _call(sys.executable, *_pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)))
    (wheel,) = folder.glob("saccade_vlm-*.whl")
    return wheel


def environment(python: str, name: str, kind: Kind, wheel: Path, *, floors: bool) -> Path:
    """The interpreter of an environment with the wheel and its extras, and nothing left over."""
    folder = WORK / f"{Path(python).name}-{name}{'-floors' if floors else ''}"
    _call(python, "-m", "venv", "--clear", str(folder))
    inside = folder / "bin" / "python"
    bounds = [f"--constraint={constraints(folder / 'floors.txt')}"] if floors else []
    _call(str(inside), *_pip("install", *bounds, *kind.tools, f"{wheel}{kind.extras}"))
    return inside


def constraints(path: Path) -> Path:
    """A pip constraints file: each dependency of the product at its lower bound."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = text[text.index("dependencies = [") : text.index("dev = [")]
    bounds = re.findall(r'"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)', listed)
    # "13" means 13.0: "==13.*" would install the newest 13.
    lowest = {name: floor if "." in floor else f"{floor}.0" for name, floor in bounds}
    path.write_text("".join(f"{name}=={floor}.*\n" for name, floor in sorted(lowest.items())))
    return path


def importable(python: Path, name: str) -> bool:
    """Whether ``name`` is installed there."""
    script = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return subprocess.run([str(python), "-c", script], check=False).returncode == 0


def copy_tests(folder: Path) -> None:
    """Tests, and what they start, without the product's packages."""
    for name in ("tests", "bench", "deploy/certs", "docs"):
        skipped = shutil.ignore_patterns("__pycache__", "out", ".hypothesis")
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    (folder / "pytest.ini").write_text(
        "[pytest]\n"
        "addopts = --import-mode=importlib --strict-markers\n"
        "pythonpath = tests .\n"
        "timeout = 120\n"
        "markers =\n    slow: takes more than a few seconds\n"
        "filterwarnings = error:coroutine .* was never awaited:RuntimeWarning\n"
    )


def run_tests(python: Path, folder: Path, kind: Kind, pytest_options: Sequence[str]) -> int:
    """Exit status of pytest."""
    ignored = [f"--ignore={path}" for path in (*OF_THE_CHECKOUT, *kind.ignored)]
    words = [str(python), "-m", "pytest", *ignored, *kind.tests, *pytest_options]
    return subprocess.run(words, cwd=folder, check=False).returncode


def _pip(*words: str) -> tuple[str, ...]:
    return ("-m", "pip", "--quiet", "--disable-pip-version-check", *words)


def _call(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
