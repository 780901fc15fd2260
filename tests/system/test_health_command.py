"""``saccade cloud health``: a monitor learns by the exit status whether a cloud serves."""

from __future__ import annotations

import socket
from pathlib import Path

from saccade.bundle import Bundle
from saccade_testing.certificates import Authority
from saccade_testing.commands import cloud_process, run


def test_a_cloud_that_serves_is_healthy(bundle: Bundle) -> None:
    with cloud_process(bundle.folder) as (_, address):
        done = run("cloud", "health", "--cloud", address)
    assert (done.returncode, done.stdout, done.stderr) == (0, "SERVING\n", "")


def test_health_needs_no_certificate_where_applications_are_served(
    bundle: Bundle, authority: Authority, tmp_path: Path
) -> None:
    api_keys = str(tmp_path / "api-keys.txt")
    assert run("cloud", "api-key", "app", "--api-keys", api_keys).returncode == 0
    cert, key, ca = map(str, authority.server)
    secured = ("--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca, "--api-keys", api_keys)
    with cloud_process(bundle.folder, *secured, "--apps", "127.0.0.1:0") as (process, _):
        assert process.stdout is not None
        apps = process.stdout.readline().split()[-1]
        done = run("cloud", "health", "--cloud", apps, "--tls-ca", ca)
    assert (done.returncode, done.stdout, done.stderr) == (0, "SERVING\n", "")


def test_nobody_at_the_address_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    done = run("cloud", "health", "--cloud", f"127.0.0.1:{port}", "--timeout", "2")
    assert done.returncode == 1
    assert done.stderr.startswith(f"saccade: error: 127.0.0.1:{port} does not answer: ")
    assert done.stdout == ""


def test_another_machine_is_not_asked_in_plain_text() -> None:
    done = run("cloud", "health", "--cloud", "192.0.2.1:7860")
    assert done.returncode == 1
    assert "192.0.2.1:7860 is another machine and no TLS is set up" in done.stderr
