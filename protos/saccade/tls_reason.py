"""Why a cloud and this machine could not agree on TLS, in words.

gRPC reports a refused handshake as "unavailable", and a cloud that refuses a client's certificate
just hangs up (TLS 1.3 checks it after the client's last word). So after a connection has failed,
this looks once, with Python's own TLS, and says what it found.
"""

from __future__ import annotations

import socket
import ssl
from datetime import datetime, timezone

from saccade.channel import host_of
from saccade.errors import ConfigError
from saccade.tls import ClientTls, read_pem
from saccade.x509 import Validity, validity_of_der, validity_of_pem

TIMEOUT_S = 3.0  # for connecting and for each answer

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)


def tls_reason(cloud: str, tls: ClientTls | None) -> str | None:
    """One clause, None when TLS is not what stands between this machine and ``cloud``.

    Blocks for a few seconds at most; ``cloud`` as `saccade.channel` takes it.
    """
    try:
        if tls is None:
            return _reason_plain(cloud)
        return _reason_own(tls) or _reason_handshake(cloud, tls)
    except ConfigError as error:
        return str(error)
    except OSError:  # not reachable at all: gRPC says that better
        return None


def _reason_plain(cloud: str) -> str | None:
    try:
        with _connected(cloud, _anyone()):
            return "the cloud speaks TLS and plain text was sent: name its authority (--tls-ca)"
    except ssl.SSLError:
        return None


def _reason_own(tls: ClientTls) -> str | None:
    if tls.cert is None:
        return None
    now, valid = datetime.now(timezone.utc), _own_validity(tls)
    if now > valid.not_after:
        return f"this client's certificate {tls.cert} expired on {_date(valid.not_after)}"
    if now < valid.not_before:
        return (
            f"this client's certificate {tls.cert} is not valid before {_date(valid.not_before)}, "
            f"and this machine's clock says {_date(now)}"
        )
    return None


def _own_validity(tls: ClientTls) -> Validity:
    assert tls.cert is not None
    return validity_of_pem(read_pem(tls.cert).decode("ascii", "replace"))


def _reason_handshake(cloud: str, tls: ClientTls) -> str | None:
    tls.check()
    try:
        with _connected(cloud, _context(tls)) as connection:
            return _reason_hung_up(connection, tls)
    except ssl.SSLCertVerificationError as error:
        return _reason_server(error, cloud, tls)
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return "the cloud does not speak TLS"
        return f"the TLS handshake failed: {error.reason or error}"


def _reason_server(error: ssl.SSLCertVerificationError, cloud: str, tls: ClientTls) -> str:
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        return _reason_server_date(cloud)
    if error.verify_code in _UNKNOWN_ISSUER:
        return f"the cloud's certificate is not signed by {tls.ca or 'a known authority'}"
    return f"the cloud's certificate is not accepted: {error.verify_message}"


def _reason_server_date(cloud: str) -> str:
    with _connected(cloud, _anyone()) as connection:
        valid = validity_of_der(connection.getpeercert(binary_form=True) or b"")
    now = datetime.now(timezone.utc)
    if now < valid.not_before:
        return (
            f"the cloud's certificate is not valid before {_date(valid.not_before)}, "
            f"and this machine's clock says {_date(now)}"
        )
    return f"the cloud's certificate expired on {_date(valid.not_after)}"


def _reason_hung_up(connection: ssl.SSLSocket, tls: ClientTls) -> str | None:
    """A cloud that has accepted us speaks first: its HTTP/2 settings."""
    try:
        if connection.recv(1):
            return None
    except TimeoutError:
        return None
    except OSError:
        pass
    if tls.cert is None:
        return "the cloud asks for a certificate and none was given (--tls-cert, --tls-key)"
    return (
        f"the cloud refused this client's certificate {tls.cert}, valid until "
        f"{_date(_own_validity(tls).not_after)}: the cloud's --tls-client-ca has not signed it, "
        "or it is not made for clients"
    )


def _connected(cloud: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Closes what it has opened when the handshake fails."""
    host, port = host_of(cloud), int(cloud.rpartition(":")[2])
    plain = socket.create_connection((host, port), TIMEOUT_S)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _context(tls: ClientTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
    context.set_alpn_protocols(["h2"])
    if tls.cert is not None and tls.key is not None:
        context.load_cert_chain(tls.cert, tls.key, password="")
    return context


def _anyone() -> ssl.SSLContext:
    """Trusts everyone, and so is told nothing: for looking at a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
