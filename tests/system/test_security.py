"""Certificates and API keys on the command line and in the SDK: who is refused is told why."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import saccade
from saccade.bundle import Bundle
from saccade.errors import ConfigError, SaccadeError, Unauthenticated, Unreachable
from saccade.tls import ClientTls
from saccade_testing.certificates import MAKE, Authority
from saccade_testing.commands import cloud_process, run

QUESTION = "how many vehicles are there ?"


@dataclass(frozen=True)
class Secured:
    """A cloud process with TLS: where devices are served, and where applications are."""

    devices: str
    apps: str
    api_key: str
    api_key_file: Path


@pytest.fixture(scope="module")
def secured(
    bundle: Bundle, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    api_keys, api_key_file = folder / "api-keys.txt", folder / "api-key"
    made = run("cloud", "api-key", "dashboard", f"--api-keys={api_keys}", f"--out={api_key_file}")
    assert (made.returncode, made.stdout) == (0, ""), made
    cert, key, ca = map(str, authority.server)
    words: tuple[str, ...] = ("--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca)
    with cloud_process(
        bundle.folder, *words, "--api-keys", str(api_keys), "--apps", "127.0.0.1:0"
    ) as (
        process,
        address,
    ):
        assert process.stdout is not None
        apps = process.stdout.readline().split()[-1]
        yield Secured(address, apps, api_key_file.read_text().strip(), api_key_file)
        assert process.poll() is None, "the cloud ended before its time"


@pytest.fixture(autouse=True)
def still_serving(secured: Secured, authority: Authority) -> Iterator[None]:
    yield
    with saccade.connect(secured.apps, ca=authority.ca, api_key=secured.api_key) as vision:
        vision.cameras()


def words_of(tls: ClientTls) -> list[str]:
    named = {"--tls-ca": tls.ca, "--tls-cert": tls.cert, "--tls-key": tls.key}
    return [word for name, path in named.items() if path for word in (name, str(path))]


def edge(
    secured: Secured, bundle: Bundle, clip: Path, tls: ClientTls, *words: str
) -> subprocess.CompletedProcess[str]:
    common = ("--cloud", secured.devices, "--bundle", str(bundle.folder), "--patience", "1")
    more = ("--fps", "1", "--threads", "1", "--device", "kerb")
    return run("edge", "run", str(clip), *common, *more, *words_of(tls), *words)


def test_an_edge_and_an_application_meet_over_tls(
    secured: Secured, bundle: Bundle, authority: Authority, clip: Path, picture: Path
) -> None:
    done = edge(secured, bundle, clip, authority.device())
    assert (done.returncode, done.stderr) == (0, "")
    with saccade.connect(
        secured.apps, bundle=bundle, ca=authority.ca, api_key=secured.api_key
    ) as vision:
        assert "kerb/camera" in [camera.path for camera in vision.cameras()]
        assert vision.ask_camera("kerb/camera", QUESTION).text
        assert vision.ask(picture, QUESTION).text
    asked = run("ask", str(picture), QUESTION, "--bundle", str(bundle.folder), "--cloud",
                secured.apps, "--tls-ca", str(authority.ca), "--api-key-file",
                str(secured.api_key_file))  # fmt: skip
    assert (asked.returncode, asked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("nothing", "the cloud asks for a certificate and none was given"),
        ("foreign", "the cloud refused this client's certificate"),
        ("expired", "expired on 20"),
        ("another's", "the certificate is for device 'mast', the hello says 'kerb'"),
        ("plain text", "the cloud speaks TLS and plain text was sent"),
        ("no file", "cannot read /nowhere.pem: No such file or directory"),
        ("half", "give both"),
    ],
)
def test_an_edge_that_is_refused_says_why_in_one_line(
    secured: Secured,
    bundle: Bundle,
    authority: Authority,
    foreign: Authority,
    clip: Path,
    wrong: str,
    says: str,
) -> None:
    ours = authority.device()
    cases = {
        "nothing": authority.trusting(),
        "foreign": replace(foreign.device(), ca=authority.ca),
        "expired": authority.odd("kerb", ends=timedelta(minutes=-5)),
        "another's": authority.device("mast"),
        "plain text": ClientTls(),
        "no file": replace(ours, cert=Path("/nowhere.pem")),
        "half": replace(ours, key=None),
    }
    done = edge(secured, bundle, clip, cases[wrong])
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("saccade: error: ")


def test_an_application_that_is_refused_is_told_why(
    secured: Secured, authority: Authority, foreign: Authority
) -> None:
    ours, theirs = authority.device(), foreign.device()
    cases: list[tuple[str, dict[str, Any], type[SaccadeError], str]] = [
        (secured.apps, {"ca": ours.ca}, Unauthenticated, "none was given"),
        (secured.apps, {"ca": ours.ca, "api_key": "x"}, Unauthenticated, "not one of this cloud's"),
        (
            secured.apps,
            {"ca": theirs.ca, "api_key": secured.api_key},
            Unreachable,
            "is not signed by",
        ),
        (
            secured.apps,
            {"api_key": secured.api_key},
            Unreachable,
            "speaks TLS and plain text was sent",
        ),
        (
            secured.devices,
            {"ca": ours.ca, "api_key": secured.api_key},
            Unreachable,
            "none was given",
        ),
        (
            secured.devices,
            {"ca": ours.ca, "cert": ours.cert, "key": ours.key},
            Unauthenticated,
            "none was given",
        ),
    ]
    for cloud, more, kind, says in cases:
        with saccade.connect(cloud, **more) as vision, pytest.raises(kind, match=says):
            vision.cameras()
        with pytest.raises(kind, match=says):
            asyncio.run(_cameras(cloud, more))


async def _cameras(cloud: str, more: dict[str, Any]) -> None:
    async with saccade.connect_async(cloud, **more) as vision:
        await vision.cameras()


def test_an_api_key_that_no_cloud_has_made_is_not_sent() -> None:
    for api_key in ("", "two\nlines", "\N{SNOWMAN}"):
        with pytest.raises(ConfigError, match="one line of printable ASCII"):
            saccade.connect("127.0.0.1:9", api_key=api_key)


def test_an_api_key_is_printed_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    api_keys = tmp_path / "api-keys.txt"
    made = run("cloud", "api-key", "dashboard", "--api-keys", str(api_keys))
    api_key = made.stdout.strip()
    assert made.returncode == 0
    assert len(api_key) > 40
    assert api_key not in api_keys.read_text() + made.stderr
    assert api_keys.stat().st_mode & 0o777 == 0o600
    for name, says in (("dashboard", "has an API key named"), ("a:b", "cannot name an API key")):
        again = run("cloud", "api-key", name, "--api-keys", str(api_keys))
        assert (again.returncode, again.stderr.count("\n")) == (1, 1)
        assert says in again.stderr
    assert api_keys.read_text().count("\n") == 1


def test_the_script_that_makes_certificates_says_what_is_wrong(tmp_path: Path) -> None:
    """Also where there is no openssl."""
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "dirname", "uname", "cat"):
        (tmp_path / "bin" / tool).symlink_to(f"/usr/bin/{tool}")
    for words, path, says in (
        ((), tmp_path / "bin", "the openssl command is not installed"),
        (("--device", "../x/y"), None, "a device is named with letters"),
        (("--name", "a b"), None, "is no host name or address"),
        (("--days", "0"), None, "is no number of days"),
        (("--days",), None, "--days needs a value"),
        (("--what", "x"), None, "unknown option --what"),
    ):
        done = subprocess.run(
            ["/bin/sh", MAKE, "--out", tmp_path / "out", *words],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": str(path)} if path else None,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("make.sh: error: ")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_keys_that_the_script_makes_are_their_owners_alone(authority: Authority) -> None:
    modes = {path.stat().st_mode & 0o777 for path in authority.folder.glob("[!o]*.key")}
    assert modes == {0o600}
