"""The cloud's side of TLS: its certificate, and whose devices it lets in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from saccade.errors import ConfigError
from saccade.paths import expand
from saccade.tls import check_authorities, check_pair, read_pem
from saccade_cloud.reloaded_files import ReloadedFiles


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files. ``client_ca``: signs the certificates of devices; None: none is asked for."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(cls, cert: str | None, key: str | None, client_ca: str | None) -> ServerTls | None:
        """None where no file is named. Raises ``ConfigError`` for half of what is needed."""
        if cert and key:
            ca = expand(client_ca) if client_ca else None
            return cls(expand(cert), expand(key), ca)
        if cert or key or client_ca:
            raise ConfigError("TLS needs --tls-cert and --tls-key, both of them")
        return None

    def check(self) -> None:
        """Raises ``ConfigError`` for files that are missing or do not belong together."""
        check_pair(self.cert, self.key)
        if self.client_ca is not None:
            check_authorities(self.client_ca)

    def credentials(self, *, ask_client: bool) -> grpc.ServerCredentials:
        """For one port, reloaded when the files change. Raises ``ConfigError``.

        ``ask_client``: let in only whom ``client_ca`` has signed. gRPC asks for news before every
        handshake; streams that are open go on.
        """
        paths = [self.cert, self.key, *([self.client_ca] if self.client_ca else [])]
        files = ReloadedFiles(paths, self._read)
        return grpc.dynamic_ssl_server_credentials(
            files.value,
            files.renewed,  # type: ignore[arg-type]  # None is "no change"; the stub forgets it
            require_client_authentication=ask_client,
        )

    def _read(self) -> grpc.ServerCertificateConfiguration:
        self.check()
        return grpc.ssl_server_certificate_configuration(
            [(read_pem(self.key), read_pem(self.cert))],
            None if self.client_ca is None else read_pem(self.client_ca),
        )
