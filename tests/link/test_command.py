"""The emulator in a process of its own, as benchmarks use it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from saccade_testing.links import echo, round_trip, serving

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
                assert await round_trip(found[1]) >= 0.02
                link.stdin.write("delay 0.3\nexplode\n")
                link.stdin.flush()
                assert link.stderr
                assert "no event 'explode'" in await asyncio.to_thread(link.stderr.readline)
                assert await round_trip(found[1]) >= 0.6
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
