"""How a cloud serves: addresses, bounds and times, each with its reason."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from saccade.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """``HOST:PORT`` or ``[IPV6]:PORT``. Raises ``ConfigError``."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isdecimal() and int(port) < 65536):
            raise ConfigError(f"{text!r} is not an address: give HOST:PORT with a port below 65536")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check_free(self) -> None:
        """Raises ``ConfigError`` with the system's reason when nobody can listen here.

        gRPC itself says only that it failed, and logs the reason past us.
        """
        try:
            family, kind, _, _, place = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen(1)  # two sockets may be bound to one address, but only one listens
        except OSError as error:
            raise ConfigError(f"cannot listen on {self}: {error.strerror or error}") from error

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Bounds and times of a server; the bundle's limits are not here."""

    address: Address = Address("127.0.0.1", 7860)
    insecure: bool = False  # plain text beyond loopback: tokens are personal data
    max_concurrent_rpcs: int = 4096  # each edge holds one, each watching application another
    frames_per_camera: int = 16
    max_cameras: int = 2048
    hello_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0  # of one answer, from question to last chunk
    stalled_timeout_s: float = 60.0  # how long a peer may leave its messages unread
    drain_s: float = 10.0  # for running answers, once the server stops

    def check(self) -> None:
        """Raises ``ConfigError`` for an address that plain text must not serve."""
        if not (self.insecure or self.address.is_loopback):
            raise ConfigError(
                f"{self.address} can be reached from other machines and this server has no TLS: "
                "listen on 127.0.0.1, or accept plain text with --insecure"
            )


# NAT boxes forget idle connections after a few minutes, the strictest after one: an edge may
# ping every 10 s, and the server finds a vanished edge within 40 s.
def channel_options(message_bytes: int) -> list[tuple[str, int]]:
    """Options of gRPC for a server whose messages have at most ``message_bytes``."""
    return [
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        # Without it a second server takes the same port in silence and half the connections.
        ("grpc.so_reuseport", 0),
        # Bandwidth probing lets a writer run megabytes ahead of a slow reader.
        ("grpc.http2.bdp_probe", 0),
    ]
