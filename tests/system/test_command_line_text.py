"""Text, homes and signals as they come on a real machine: processes that say what is wrong."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade.cli import SUMMARIES
from saccade_testing.commands import cloud_process, command, importing

NOWHERE = "127.0.0.1:9"
SECRET = "S3cret2026"


def run(
    *words: str | bytes, timeout_s: float = 100, **environment: str | None
) -> subprocess.CompletedProcess[bytes]:
    """``environment``: None takes a variable away."""
    given = {k: v for k, v in {**importing(), **environment}.items() if v is not None}
    return subprocess.run(
        [*command(), *words], capture_output=True, timeout=timeout_s, check=False, env=given
    )


def refused(done: subprocess.CompletedProcess[bytes], says: str, status: int = 1) -> None:
    assert done.returncode == status, done
    assert says.encode() in done.stderr, done
    assert done.stderr.count(b"\n") == 1, done


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((b"--ask", b"voitures \xe0 droite ?"), "the question has no UTF-8: U+DCE0"),
        ((b"--ask", b"a\abell"), "the control character U+0007"),
        ((b"--ask", b""), "the question is empty"),
        ((b"--ask", b"x" * 5000), "5000 characters"),
        ((b"--camera", b"caf\xe9"), "cannot name a device or a camera"),
        ((b"--camera", b"../../evil"), "cannot name a device or a camera"),
        ((b"--camera", b""), "cannot name a device or a camera"),
        ((b"--device", b"a/b"), "cannot name a device or a camera"),
        ((b"--device", b"d" * 65), "received 65 characters in a name"),
    ],
)
def test_unusable_text_is_refused_before_anything_is_made(
    words: tuple[bytes, ...], says: str, bundle: Bundle, tmp_path: Path
) -> None:
    state = tmp_path / "home" / "state"
    here = ("--cloud", NOWHERE, "--bundle", str(bundle.folder))
    done = run("edge", "run", "rtsp://127.0.0.1:1/x", *here, *words, XDG_STATE_HOME=str(state))
    refused(done, says)
    assert list(tmp_path.iterdir()) == []


def test_a_question_about_a_picture_is_checked_like_an_edges(bundle: Bundle, picture: Path) -> None:
    refused(run("ask", str(picture), b"o\xf9 ?", "--bundle", str(bundle.folder)), "no UTF-8")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_terminal_gets_every_line(
    encoding: str, bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    spool = ("--spool", str(tmp_path / "spool"))
    asked = ("--ask", "how many cars are there ? 🚗", "--fps", "0.2")
    # With a store: a spool would wait a minute for a cloud that keeps nothing.
    with cloud_process(bundle.folder, "--store", str(tmp_path / "store.db")) as (_, address):
        words = ("--cloud", address, "--bundle", str(bundle.folder), "--camera", "Hof🚗", *spool)
        done = run("edge", "run", str(clip), *words, *asked, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b""), done
    assert ("🚗".encode() if encoding == "utf-8" else b"\\U0001f697") in done.stdout
    status = run("edge", "status", *spool, "--camera", "Hof🚗", PYTHONIOENCODING=encoding)
    assert status.returncode == 0, status


def test_a_user_without_home_and_name_gets_help_and_can_serve(bundle: Bundle) -> None:
    """The password database has no entry of the number that it is asked for."""
    script = (
        "import os, sys, runpy\n"
        "os.getuid = lambda: 987654\n"  # what the password database is asked for
        "sys.argv[0] = 'saccade'\n"
        "from saccade.cli import main\n"
        "sys.exit(main())"
    )
    homes = ("HOME", "XDG_STATE_HOME", "STATE_DIRECTORY")
    environment = {k: v for k, v in importing().items() if k not in homes}

    def nobody(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-c", script, *words],
            capture_output=True, timeout=100, check=False, env=environment,
        )  # fmt: skip

    for command_words in ("cloud serve", "cloud store", "edge run", "edge status", "ask", "demo"):
        assert nobody(*command_words.split(), "--help").returncode == 0
    refused(nobody("cloud", "store"), "give --store, or set STATE_DIRECTORY")
    here = ("--cloud", NOWHERE, "--bundle", str(bundle.folder))
    done = nobody("edge", "run", "~/x.mp4", *here)
    assert b"~/x.mp4: this user has no home folder" in done.stderr.splitlines()[-1]
    refused(nobody("edge", "run", "rtsp://127.0.0.1:1/x", *here), "give --spool PATH")
    serving = subprocess.Popen(
        [
            *(sys.executable, "-c", script, "cloud", "serve", *here[2:]),
            *("--store=memory:", "--listen=127.0.0.1:0"),
        ],
        stdout=subprocess.PIPE, env=environment,
    )  # fmt: skip
    with serving:
        assert serving.stdout is not None
        line = serving.stdout.readline()
        serving.terminate()
    assert line.startswith(b"serving "), line


@pytest.fixture
def edge(bundle: Bundle, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """It waits for a camera that is not there; its spool is tmp_path/spool."""
    yield from watching(bundle, tmp_path, command())


def watching(
    bundle: Bundle, folder: Path, start: list[str], source: str = "rtsp://127.0.0.1:1/x"
) -> Iterator[subprocess.Popen[bytes]]:
    spool, status = folder / "spool", folder / "spool.status"
    words = ("--cloud", NOWHERE, "--bundle", str(bundle.folder), "--spool", str(spool))
    process = subprocess.Popen(
        [*start, "edge", "run", source, *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=importing(),
    )  # fmt: skip
    with process:
        ends = time.monotonic() + 60
        while not status.exists():
            assert process.poll() is None
            assert time.monotonic() < ends, "it has not begun"
            time.sleep(0.05)
        yield process
        process.kill()


def test_a_terminal_that_closes_ends_an_edge_in_good_order(
    edge: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    edge.send_signal(signal.SIGHUP)
    said, _ = edge.communicate(timeout=60)
    assert edge.returncode == 0
    assert said.count(b" frames, ") == 1
    assert json.loads((tmp_path / "spool.status").read_text())["running"] is False


def test_an_edge_ends_in_good_order_with_the_terminal_that_it_writes_to(
    bundle: Bundle, tmp_path: Path
) -> None:
    """Then every line that it writes fails, too."""
    master, terminal = os.openpty()
    status = tmp_path / "spool.status"
    words = ("--cloud", NOWHERE, "--bundle", str(bundle.folder), "--spool", str(tmp_path / "spool"))
    edge = subprocess.Popen(
        [*command(), "edge", "run", "rtsp://127.0.0.1:1/x", *words],
        stdin=terminal, stdout=terminal, stderr=terminal, env=importing(), start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(terminal)
    with edge:
        ends = time.monotonic() + 60
        while not status.exists():
            assert time.monotonic() < ends, "it has not begun"
            time.sleep(0.05)
        os.close(master)  # the kernel sends SIGHUP
        assert edge.wait(60) == 0
    assert json.loads(status.read_text())["running"] is False


def test_under_nohup_an_edge_outlives_its_terminal(bundle: Bundle, tmp_path: Path) -> None:
    for edge in watching(bundle, tmp_path, ["nohup", *command()]):
        edge.send_signal(signal.SIGHUP)
        time.sleep(1.0)
        assert edge.poll() is None
        edge.terminate()
        edge.communicate(timeout=60)
        assert edge.returncode == 0


def test_a_terminal_that_closes_ends_a_cloud_in_good_order(bundle: Bundle) -> None:
    with cloud_process(bundle.folder) as (process, _):
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    "source",
    [
        f"rtsp://admin:{SECRET}@127.0.0.1:1/x?token={SECRET}",
        f"rtsp://admin:Ge/{SECRET}@127.0.0.1:1/x",
    ],
)
def test_a_camera_that_is_down_shows_no_secret_anywhere(
    source: str, bundle: Bundle, tmp_path: Path
) -> None:
    for edge in watching(bundle, tmp_path, command(), source):
        time.sleep(1.5)
        edge.terminate()
        said, _ = edge.communicate(timeout=60)
        assert b"rtsp://127.0.0.1:1/x" in said
        status = run("edge", "status", "--spool", str(tmp_path / "spool"))
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert SECRET.encode() not in said + status.stdout + status.stderr + files
        assert b"Traceback" not in said


def test_credentials_come_from_a_private_file_or_the_environment(
    bundle: Bundle, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"admin:{SECRET}\n")
    file.chmod(0o644)
    words = ("edge", "run", "--cloud", NOWHERE, "--bundle", str(bundle.folder), "--spool", "none")
    source = "rtsp://127.0.0.1:1/x"
    done = run(*words, source, "--credentials-file", str(file))
    refused(done, "can be read or written by others (mode 0644): chmod 600")
    refused(run(*words), "name a SOURCE, or set SACCADE_SOURCE")
    done = run(*words, SACCADE_SOURCE=f"rtsp://u:{SECRET}@h/x", SACCADE_CAMERA_CREDENTIALS="a:b")
    refused(done, "has a user already")
    done = run(*words, SACCADE_SOURCE=source, SACCADE_CAMERA_CREDENTIALS=SECRET)
    refused(done, "one line: user:password")
    assert SECRET.encode() not in done.stdout + done.stderr


def test_plain_text_to_another_machine_is_warned_of(bundle: Bundle, clip: Path) -> None:
    words = ("--bundle", str(bundle.folder), "--insecure", "--patience", "0.5")
    done = run("edge", "run", str(clip), "--cloud", "192.0.2.1:9", *words)
    assert b"WARNING plain text to 192.0.2.1:9" in done.stderr
    process = subprocess.Popen(
        [
            *(*command(), "cloud", "serve", "--bundle", str(bundle.folder)),
            *("--listen=0.0.0.0:0", "--insecure", "--store=memory:"),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=importing(),
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert b"WARNING plain text on 0.0.0.0:0" in errors


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _parsers(child)


@pytest.mark.parametrize("name", SUMMARIES)
def test_help_says_what_each_option_is_and_its_default(name: str) -> None:
    from importlib.metadata import entry_points

    from saccade import cli

    (entry,) = entry_points(group=cli.GROUP, name=name)
    parser = cli._Parser(prog=name)
    entry.load()(parser)
    for each in _parsers(parser):
        shown = " ".join(each.format_help().split())
        for action in each._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue
            what = f"{each.prog} {action.option_strings or action.dest}"
            assert action.help, f"{what} has no help"
            if action.default not in (None, False, [], argparse.SUPPRESS):
                formatter = each._get_formatter()
                assert "default" in formatter._expand_help(action) or str(action.default) in (
                    formatter._expand_help(action)
                ), f"{what}: {shown}"
                assert "default" in shown or str(action.default) in shown
