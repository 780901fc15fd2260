"""No secret of a URL is shown, whatever it looks like and whoever repeats it."""

from __future__ import annotations

import logging
import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade import redaction
from saccade.logs import ScrubbingFormatter
from saccade.redaction import redact, remember, scrub, secrets_of


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process remembered their URLs."""
    monkeypatch.setattr(redaction, "_remembered", {})


SECRET = "S3cret2026"
ODD = ["@", "/", "[", "]", "#", "?", "%", ":", "&", " ", "é", "\\", "'", '"', "_", "=", ";"]
NAMES = [
    *(
        "password",
        "PASSWORD",
        "passwd",
        "pass",
        "pwd",
        "token",
        "access_token",
        "api_key",
        "apikey",
    ),
    *("key", "secret", "auth", "Authorization", "sig", "signature", "X-Amz-Signature", "loginpas"),
    *("user_password", "sessionid", "jwt", "p"),
]
HOSTS = ["10.0.0.5", "camera.local:554", "[fe80::1]", "[fe80::1%25eth0]:8554"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("scheme", ["rtsp", "RTSPS", "http", "postgresql"])
def test_a_password_with_odd_characters_is_not_shown(scheme: str, odd: str, host: str) -> None:
    for password in (f"{SECRET}{odd}{SECRET}", quote(f"{SECRET}{odd}{SECRET}", safe="")):
        url = f"{scheme}://admin:{password}@{host}/live"
        assert redact(url) == f"{scheme}://{host}/live"
        remember(url)
        said = scrub(f"cannot open {url}: {password}, {SECRET}{odd}{SECRET}")
        assert SECRET not in said


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_in_a_query_or_a_path_is_not_shown(name: str) -> None:
    for url in (
        f"rtsp://h/live?channel=1&{name}={SECRET}",
        f"rtsp://h/live?{name}={SECRET}/{SECRET}#{SECRET}&subtype=0",
        f"rtsp://h/live?{name}={SECRET}&{SECRET}",
        f"rtsp://h/user=admin_{name}={SECRET}_{SECRET}_channel=1_stream=0.sdp",
        f"rtsp://h/user=admin&{name}={SECRET}&channel=1&stream=0.sdp?",
        f"rtsp://h/live;{name}={SECRET}",
        f"postgresql://h/db?{name}={SECRET}",
        f"host=h {name}='{SECRET} {SECRET}' dbname=d",
        f"host=h {name} = {SECRET} dbname=d",
    ):
        assert SECRET not in redact(url), url
        assert redact(redact(url)) == redact(url)
        remember(url)
        assert SECRET not in scrub(f"it said {SECRET}")


def test_what_is_no_secret_stays_readable() -> None:
    for url in (
        "rtsp://10.0.0.5:554/Streaming/Channels/101",
        "rtsp://10.0.0.5/cam/realmonitor?channel=1&subtype=0",
        "rtsp://10.0.0.5/h264Preview_01_main",
        "rtsp://camera/axis-media@1/media.amp",
        "postgresql://h:5432/db?sslmode=require&host=/run/postgresql",
        "sqlite:////data/store.db",
        "v4l2:///dev/video0",
        "file:///clips/13:30@gate.mp4",
        "/clips/me@home/13:30.mp4",
    ):
        assert redact(url) == url
        assert scrub(f"see {url}") == f"see {url}"


def test_keys_without_a_name_are_not_shown() -> None:
    assert redact(f"rtsps://h:7441/{SECRET}AbCdEf12?enableSrtp") == "rtsps://h:7441/***?***"
    assert redact(f"rtsp://h/live#{SECRET}") == "rtsp://h/live#***"
    assert redact(f"http://{SECRET}@h/live") == "http://h/live"
    assert redact(f" rtsp:/admin:{SECRET}@h/live") == "***@h/live"


@given(st.text(max_size=60), st.text(min_size=3, max_size=20))
def test_no_text_at_all_makes_it_fail(before: str, password: str) -> None:
    for text in (
        before,
        f"rtsp://{before}",
        f"rtsp://u:{password}@{before}",
        f"{before}={password}",
    ):
        redact(text)
        secrets_of(text)
        scrub(text)


@given(st.text(st.characters(exclude_characters="@"), min_size=3, max_size=20))
def test_what_stands_before_the_last_at_sign_is_hidden(password: str) -> None:
    shown = redact(f"rtsp://admin:{password}@host/live")
    assert shown == "rtsp://host/live"


def test_other_libraries_log_records_and_tracebacks_are_scrubbed() -> None:
    url = f"rtsp://admin:{SECRET}%40x@127.0.0.1/live"
    remember(url)
    try:
        raise OSError(f"{url}: {SECRET}@x refused")
    except OSError:
        record = logging.LogRecord(
            "libav.rtsp", logging.ERROR, "", 0, "%s of %r", (url, f"{SECRET}@x"), sys.exc_info()
        )
    said = ScrubbingFormatter("%(message)s").format(record)
    assert "rtsp://127.0.0.1/live" in said
    assert "Traceback" in said
    assert SECRET not in said


HERE = ("--bundle=crossing",)


@pytest.mark.parametrize(
    "words",
    [
        ("edge", "run", *HERE, f"rtsp://admin:{SECRET}@h/x", f"postgresql://u:{SECRET}@h/d"),
        ("edge", "run", *HERE, f"nosuch://admin:{SECRET}@h/x", "--cloud=127.0.0.1:2"),
        ("edge", "run", *HERE, f"admin:{SECRET}@h/live", "--cloud=127.0.0.1:2"),
        ("edge", "run", *HERE, f" rtsp:/admin:{SECRET}@h", "--cloud=127.0.0.1:2"),
        ("edge", "run", *HERE, "rtsp://h/x", f"--cloud=admin:{SECRET}@h"),
        ("--debug", "edge", "run", *HERE, f"rtsp://admin:{SECRET}@:1", "--cloud=127.0.0.1:2"),
        ("--debug", "cloud", "store", f"postgresql://u:{SECRET}@127.0.0.1:notaport/d"),
        ("--debug", "cloud", "store", f"postgresql://u:{SECRET}/x@127.0.0.1:1/d"),
        ("cloud", "store", f"host=127.0.0.1 port=1 password={SECRET} dbname=d"),
        ("cloud", "serve", *HERE, "--listen=127.0.0.1:0", f"--store=mysql://u:{SECRET}@h/d"),
    ],
)  # fmt: skip
def test_a_command_that_fails_says_no_secret(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "saccade", *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode in (1, 2), done
    assert done.stderr
    assert SECRET not in done.stdout + done.stderr
