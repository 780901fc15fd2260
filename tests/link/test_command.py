"""The emulator in a process of its own, as benchmarks use it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench.link.ends import echo, ping, serving
from bench.link.proxy import LinkProxy
from bench.link.running import running_link
from bench.link.wire import Shape

from saccade.errors import ConfigError

ROOT = Path(__file__).parents[2]
PATHS = ":".join(str(ROOT / name) for name in ("protos", "cloud", "."))


@contextmanager
def emulator(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bench.link.emulator", *words]
    process = subprocess.Popen(
        command, cwd=ROOT, env={"PYTHONPATH": PATHS}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_says_where_it_listens_takes_commands_and_reports() -> None:
    async def main() -> None:
        async with serving(echo) as target:
            with emulator("--to", target, "--trace", "1M", "--delay", "0.01", "--commands") as link:
                assert link.stdin
                assert link.stdout
                line = await asyncio.to_thread(link.stdout.readline)
                found = re.fullmatch(r"emulating a link to \S+ on (127\.0\.0\.1:\d+)\n", line)
                assert found, line
                assert (await ping(found[1], 1))[0] >= 0.02
                link.stdin.write("delay 0.3\nexplode\n")
                link.stdin.flush()
                assert link.stderr
                assert "no event 'explode'" in await asyncio.to_thread(link.stderr.readline)
                assert (await ping(found[1], 1))[0] >= 0.6
                link.send_signal(signal.SIGTERM)
                said, errors = await asyncio.to_thread(link.communicate, timeout=30)
                assert (link.returncode, errors) == (0, "")
                report = json.loads(said.splitlines()[-1])
                assert report["connections"]["accepted"] == 2
                assert report["up"]["packets"] >= 4

    asyncio.run(main())


def test_the_end_of_its_commands_is_its_end() -> None:
    with emulator("--to", "127.0.0.1:1", "--commands", "--speed", "10") as link:
        said, errors = link.communicate("reset\nblackhole 1", timeout=30)
    assert (link.returncode, errors) == (0, "")
    assert json.loads(said.splitlines()[-1])["connections"]["accepted"] == 0


def test_beside_code_that_is_not_asyncio_it_is_handled_by_lines() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"127.0.0.1:{server.getsockname()[1]}"
        with running_link(LinkProxy(target, Shape(None, 0.01))) as link:
            host, _, port = link.address.rpartition(":")
            with socket.create_connection((host, int(port))) as edge:
                cloud, _ = server.accept()
                with cloud:
                    edge.sendall(b"before")
                    assert cloud.recv(100) == b"before"
                    link.do("reset")
                    with pytest.raises(ConnectionResetError):
                        cloud.recv(100)
            with pytest.raises(ConfigError, match="no event 'explode'"):
                link.do("explode")
            assert link.report()["connections"]["reset"] == 1
    nowhere = LinkProxy(target, Shape(), listen="192.0.2.1:1")
    with pytest.raises(ConfigError, match="cannot listen"), running_link(nowhere):
        pass


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "nowhere"], "error: 'nowhere' is not an address"),
        (["--to", "127.0.0.1:1", "--trace", "absent"], "error: absent: cannot be read"),
        (["--to", "127.0.0.1:1", "--at", "5 explode"], "error: 'explode': no event"),
        (["--to", "127.0.0.1:1", "--speed", "0"], "error: a speed of 0"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    with emulator(*words) as link:
        said, errors = link.communicate(timeout=30)
    assert (link.returncode, said) == (1, "")
    assert errors.startswith(message)
    assert errors.count("\n") == 1
