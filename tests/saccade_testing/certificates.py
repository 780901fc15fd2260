"""Certificates of a real authority, made by the openssl command: usual ones and wrong ones."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from saccade.tls import ClientTls

MAKE = Path(__file__).resolve().parents[2] / "deploy" / "certs" / "make.sh"
HOUR = timedelta(hours=1)

_CONFIG = """
[req]
distinguished_name = name
[name]
[ca]
default_ca = here
[here]
database = {folder}/index.txt
rand_serial = yes
unique_subject = no
new_certs_dir = {folder}
default_md = sha256
policy = policy
[policy]
commonName = supplied
[extensions]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = {usage}
{names}
"""


@dataclass(frozen=True)
class Authority:
    """What ``deploy/certs/make.sh`` makes in ``folder``, and what it would not."""

    folder: Path
    _count: itertools.count[int]

    @classmethod
    def make(cls, folder: Path) -> Authority:
        """Skips the test where there is no openssl."""
        if shutil.which("openssl") is None:
            pytest.skip("the openssl command is not installed: no certificates to test with")
        authority = cls(folder, itertools.count())
        authority.run("--device", "kerb")
        (folder / "index.txt").touch()
        return authority

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def run(self, *words: str) -> None:
        subprocess.run([MAKE, "--out", self.folder, *words], check=True, capture_output=True)

    @property
    def server(self) -> tuple[Path, Path, Path]:
        """A cloud's certificate, its key, and who signs its devices."""
        return self.folder / "server.pem", self.folder / "server.key", self.ca

    def trusting(self) -> ClientTls:
        """A client that knows this authority and shows nothing."""
        return ClientTls(ca=self.ca)

    def device(self, name: str = "kerb") -> ClientTls:
        cert = self.folder / f"device-{name}.pem"
        if not cert.exists():
            self.run("--device", name)
        return ClientTls(self.ca, cert, cert.with_suffix(".key"))

    def odd(
        self,
        common_name: str,
        *,
        names: str = "",
        begins: timedelta = -HOUR,
        ends: timedelta = HOUR,
        usage: str = "clientAuth",
    ) -> ClientTls:
        """``names``: of the subject, as openssl takes them; times from now."""
        cert = self.folder / f"odd-{next(self._count)}.pem"
        key, request, config = (cert.with_suffix(end) for end in (".key", ".csr", ".cnf"))
        alternatives = f"subjectAltName = {names}" if names else ""
        config.write_text(_CONFIG.format(folder=self.folder, usage=usage, names=alternatives))
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key)
        subject = ("-subj", f"/CN={common_name}")
        _openssl("req", "-config", config, "-new", *new, *subject, "-out", request)
        signer = ("-cert", self.ca, "-keyfile", self.folder / "ca.key", "-extensions", "extensions")
        now = datetime.now(timezone.utc)
        times = ("-startdate", _time(now + begins), "-enddate", _time(now + ends))
        files = ("-in", request, "-out", cert)
        _openssl("ca", "-batch", "-notext", "-config", config, *signer, *times, *files)
        return ClientTls(self.ca, cert, key)


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _time(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M%SZ}"
