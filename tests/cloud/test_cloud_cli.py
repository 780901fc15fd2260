from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from saccade.bundle import Bundle
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade_testing.cloud_server import hello, packet
from saccade_testing.commands import KEEP_NOTHING
from saccade_testing.questions import infer_request

READY = r"serving tiny \(digest [0-9a-f]{12}\) on (127\.0\.0\.1:\d+)\n"


def of(bundle: Bundle) -> tuple[str, ...]:
    return "--bundle", str(bundle.folder), *KEEP_NOTHING


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "saccade", *words]


@contextmanager
def serving(bundle: Bundle) -> Iterator[tuple[subprocess.Popen[str], str]]:
    words = ("cloud", "serve", "--listen", "127.0.0.1:0", *of(bundle))
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            found = re.fullmatch(
                r"serving tiny \(digest [0-9a-f]{12}\) on (127\.0\.0\.1:\d+)\n", line
            )
            assert found, line
            assert process.stdout.readline() == "trained for random tokens\n"
            yield process, found[1]
        finally:
            process.kill()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_then_ends_in_silence(
    bundle: Bundle, number: signal.Signals
) -> None:
    with serving(bundle) as (process, address), grpc.insecure_channel(address) as channel:
        request = infer_request(hello(bundle), packet())
        replies = list(VisionStub(channel).Infer(request, timeout=20))
        assert replies[-1].last
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_one_line(bundle: Bundle) -> None:
    with serving(bundle) as (_, address):
        second = run("cloud", "serve", "--listen", address, *of(bundle))
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"cannot listen on {address}" in second.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--listen", "0.0.0.0:0"), "--insecure"),
        (("--listen", "nowhere"), "HOST:PORT"),
        (("--bundle", "/nonexistent"), "no bundle at /nonexistent"),
        (("--threads", "0"), "0 is below 1"),
        (("--store", "mysql://there"), "'mysql' is no kind of store"),
        (("--store", "/dev/null/store.db"), "no store at /dev/null/store.db"),
        (("--keep-days", "-1"), "-1 is no number of days"),
        (("--keep-bytes", "many"), "many is no size"),
    ],
)
def test_a_wrong_option_is_one_line(words: tuple[str, str], says: str, bundle: Bundle) -> None:
    failed = run("cloud", "serve", *of(bundle), *words)
    assert failed.returncode in (1, 2)
    assert says in failed.stderr
    assert failed.stderr.count("\n") == 1
