"""A client's side of TLS: whom it trusts, and who it says it is.

The files are read anew for every connection, so that a renewed certificate counts from the next
one on, without a restart.
"""

from __future__ import annotations

import argparse
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from saccade.errors import ConfigError
from saccade.paths import expand


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM files. ``ca``: signed the cloud's certificate; None: the authorities that gRPC knows.

    ``cert`` (followed by its intermediates, if it has any) and ``key``: this client's own, both or
    neither.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def of(
        cls, ca: str | Path | None, cert: str | Path | None, key: str | Path | None
    ) -> ClientTls | None:
        """None where no file is named: plain text. Raises ``ConfigError`` for unusable files."""
        if not (ca or cert or key):
            return None
        files = cls(_path(ca), _path(cert), _path(key))
        files.check()
        return files

    def check(self) -> None:
        """Raises ``ConfigError`` for files that are missing or do not belong together."""
        if (self.cert is None) != (self.key is None):
            raise ConfigError("a certificate needs its key and a key its certificate: give both")
        if self.ca is not None:
            check_authorities(self.ca)
        if self.cert is not None and self.key is not None:
            check_pair(self.cert, self.key)

    def credentials(self) -> grpc.ChannelCredentials:
        """Of the files as they are now. Raises ``ConfigError`` as ``check`` does."""
        self.check()
        ca, key, cert = (
            None if path is None else read_pem(path) for path in (self.ca, self.key, self.cert)
        )
        return grpc.ssl_channel_credentials(ca, key, cert)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every command that connects to a cloud."""
    parser.add_argument(
        "--tls-ca", metavar="FILE", help="PEM of the authority that signed the cloud's certificate"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="PEM of this client's certificate")
    parser.add_argument("--tls-key", metavar="FILE", help="PEM of its key")
    parser.add_argument(
        "--insecure", action="store_true", help="allow plain text beyond this machine"
    )


def from_arguments(arguments: argparse.Namespace) -> ClientTls | None:
    """What ``add_arguments`` has read. Raises ``ConfigError``."""
    return ClientTls.of(arguments.tls_ca, arguments.tls_cert, arguments.tls_key)


def check_pair(cert: Path, key: Path) -> None:
    """Raises ``ConfigError`` unless ``key`` is that of ``cert``, and not behind a password."""
    for path in (cert, key):
        read_pem(path)
    try:
        # Without a password given, OpenSSL would ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{cert} and {key} are no certificate and its key: {error}") from error


def check_authorities(ca: Path) -> None:
    """Raises ``ConfigError`` unless there is a certificate in ``ca``."""
    text = read_pem(ca)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{ca} holds no certificate in PEM form: {error}") from error


def read_pem(path: Path) -> bytes:
    """Raises ``ConfigError`` with the system's reason."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _path(path: str | Path | None) -> Path | None:
    return expand(path) if path else None
