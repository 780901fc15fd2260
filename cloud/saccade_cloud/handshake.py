"""Is the other side one that we understand? Decided before anything else is read."""

from __future__ import annotations

from collections.abc import Sequence

from saccade.errors import RemoteError, VersionMismatch
from saccade.limits import Limits, check
from saccade.session import PROTOCOL
from saccade.text import check_name
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.cloud_context import ServedBundle, ServedBundles

MAX_CAMERAS = 64  # of one device
MAX_SOFTWARE_CHARS = 128
# A stream has 64 packets in flight, and an edge may have lost several streams.
MAX_IN_DOUBT = 1024


def check_hello(hello: pb.Hello, bundles: ServedBundles) -> ServedBundle:
    """The bundle that it names.

    Raises ``VersionMismatch``, ``DigestMismatch``, ``LimitExceeded``, or ``RemoteError`` for
    unusable names.
    """
    if hello.protocol != PROTOCOL:
        raise VersionMismatch(
            f"the edge speaks protocol {hello.protocol}, the cloud speaks {PROTOCOL}"
        )
    bundle = bundles.of(hello.token_digest)
    check("cameras", len(hello.cameras), MAX_CAMERAS)
    if not hello.cameras or len(set(hello.cameras)) != len(hello.cameras):
        raise RemoteError(f"cameras are named once each, not {list(hello.cameras)}")
    for name in (hello.device, *hello.cameras):
        check_name(name, RemoteError)
    check("characters in a software's name", len(hello.software), MAX_SOFTWARE_CHARS)
    if not hello.software.isprintable():
        raise RemoteError(f"{hello.software!r} cannot name a software")
    check("sequences in doubt", len(hello.in_doubt), MAX_IN_DOUBT)
    return bundle


def welcome(
    token_digest: bytes, limits: Limits, resume_after: int = 0, stored: Sequence[int] = ()
) -> pb.Welcome:
    """The answer to a good hello; ``stored``: those of its ``in_doubt`` that are."""
    return pb.Welcome(
        protocol=PROTOCOL,
        token_digest=token_digest,
        codecs=limits.codecs,
        limits=limits.to_wire(),
        resume_after=resume_after,
        stored=stored,
    )
