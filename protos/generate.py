"""Writes the generated protobuf code beside its .proto files; ``--check`` only compares.

The generator's version is the runtime's floor: grpcio-tools 1.76.0 writes code for
protobuf >= 6.31.1 and grpcio >= 1.76, which exist for Python 3.10 and newer.
"""

from __future__ import annotations

import argparse
import filecmp
import sys
import sysconfig
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(target: Path) -> list[Path]:
    """Compile every .proto under ``target``; returns the written files relative to it."""
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto"))
    scripts = sysconfig.get_path("scripts")  # the environment's, whether activated or not
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT}",
            f"--plugin=protoc-gen-mypy={scripts}/protoc-gen-mypy",
            f"--plugin=protoc-gen-mypy_grpc={scripts}/protoc-gen-mypy_grpc",
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_out=quiet:{target}",
            f"--mypy_grpc_out=quiet:{target}",
            *sources,
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")
    written = (path for pattern in PATTERNS for path in target.rglob(pattern))
    return sorted(path.relative_to(target) for path in written)


def drifted() -> list[str]:
    """Generated files that differ from what the .proto files say now, or are missing."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        _, differing, missing = filecmp.cmpfiles(folder, ROOT, map(str, fresh), shallow=False)
    return sorted([*differing, *missing])


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail on drift, write nothing")
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    stale = drifted()
    for path in stale:
        print(f"out of date: protos/{path} (run `make protos`)", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
