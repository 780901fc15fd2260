"""No process of ours looks up a name, or leaves a device's id in a home.

Each runs in a network namespace of its own, whose only name server writes down what is asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade_testing.commands import importing

ROOT = Path(__file__).resolve().parents[2]
# A name server that knows no name, and a file with all that it was asked.
SERVER = """
import os, socket, struct, sys
asked = open(sys.argv[1], "ab", buffering=0)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[2], 53))
os.write(1, b"ready\\n")
while True:
    query, sender = server.recvfrom(4096)
    asked.write(query[12:] + b"\\n")
    head = query[:2] + struct.pack("!H", 0x8183) + query[4:6] + bytes(6)
    server.sendto(head + query[12:], sender)
"""


def _unshare() -> list[str]:
    """How a process gets a network namespace here; empty where it cannot."""
    for words in (["unshare", "-n"], ["unshare", "-rn"]):
        if shutil.which("unshare") and not subprocess.run([*words, "true"], check=False).returncode:
            return words
    return []


ALONE = _unshare()
pytestmark = pytest.mark.skipif(
    not ALONE, reason="this user may make no network namespace, neither as root nor as a user"
)


def _name_server() -> str:
    found = re.search(r"^nameserver\s+([\d.]+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    return found[1] if found else "127.0.0.1"  # where the C library asks without one


def looked_up(folder: Path, *python: str) -> tuple[bytes, list[Path]]:
    """What ``python`` asked of the name server, and the files that it left in its home."""
    home, asked, server = folder / "home", folder / "asked", folder / "server.py"
    home.mkdir()
    asked.touch()
    server.write_text(SERVER)
    address = _name_server()
    script = (
        f"ip link set lo up && ip addr add {address}/32 dev lo 2>/dev/null\n"
        f"{{ {sys.executable} {server} {asked} {address} & }} | {{ read ready\n"
        '"$@"; status=$?; sleep 1; exit $status; }'
    )
    quiet = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {k: v for k, v in importing().items() if k not in quiet}
    done = subprocess.run(
        [*ALONE, "--kill-child", "-fp", "bash", "-c", script, "-", sys.executable, *python],
        env=environment | {"HOME": str(home), "ORT_DISABLE_TELEMETRY": "0"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=ROOT,
    )
    assert "Traceback" not in done.stderr, done
    return asked.read_bytes(), [path for path in home.rglob("*") if path.is_file()]


def test_the_name_server_hears_what_is_asked(tmp_path: Path) -> None:
    """Else the tests below would pass whatever happens."""
    look_up = "import socket\ntry: socket.getaddrinfo('asked.example', 1)\nexcept OSError: pass"
    assert b"asked\x07example" in looked_up(tmp_path, "-c", look_up)[0]


@pytest.mark.parametrize("process", ["edge", "cloud", "ask", "demo"])
def test_no_process_looks_up_a_name(
    process: str, bundle: Bundle, picture: Path, clip: Path, tmp_path: Path
) -> None:
    here = ("--bundle", str(bundle.folder))
    state = tmp_path / "state"
    words: dict[str, tuple[str, ...]] = {
        "edge": ("edge", "run", str(clip), "--cloud=127.0.0.1:2", "--patience=3", "--fps=1", *here),
        "cloud": ("cloud", "serve", "--listen=127.0.0.1:0", f"--store={state}", *here),
        "ask": ("ask", str(picture), "how many vehicles are there ?", *here),
        "demo": ("demo", "--fps=0.2", f"--out={tmp_path / 'out'}", *here),
    }
    script = (
        "import signal, sys, threading, os\n"
        "if 'serve' in sys.argv: threading.Timer(8, os.kill, (os.getpid(), 15)).start()\n"
        "from saccade.cli import main\n"
        "sys.exit(main())"
    )
    assert looked_up(tmp_path, "-c", script, *words[process]) == (b"", [])


@pytest.mark.parametrize("module", ["saccade_edge.onnx_model", "saccade_cloud.onnx_graph"])
def test_it_is_off_before_and_after_the_library_is_loaded(module: str, tmp_path: Path) -> None:
    for script in (
        f"import {module}, onnxruntime, os; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'",
        f"import saccade_export, {module}, os; assert os.environ['YOLO_OFFLINE'] == 'true'",
    ):
        subprocess.run(
            [sys.executable, "-c", script],
            env=importing() | {"ORT_DISABLE_TELEMETRY": "0", "HOME": str(tmp_path)},
            check=True,
            timeout=100,
        )


def test_nothing_of_ours_loads_it_by_another_way() -> None:
    """A module that imports ONNX Runtime itself would have to turn it off itself."""
    users = [
        str(path.relative_to(ROOT))
        for folder in ("protos", "edge", "cloud", "export", "bench")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) onnxruntime", path.read_text(), re.MULTILINE)
    ]
    assert "protos/saccade_onnx/sessions.py" in users
    for user in users:
        text = (ROOT / user).read_text()
        assert 0 < text.find("from saccade import telemetry") < text.find("import onnxruntime"), (
            user
        )
    assert os.path.exists(ROOT / users[0])
