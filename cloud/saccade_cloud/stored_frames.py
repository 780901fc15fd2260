"""Between streams and the store: what an edge is told of it, and frames that only it has."""

from __future__ import annotations

import logging
from dataclasses import replace

from google.protobuf.message import DecodeError

from saccade.errors import DigestMismatch, LimitExceeded, PacketError, QuestionError, StorageError
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.cloud_context import CloudContext, short
from saccade_cloud.frame_store import StoredFrame
from saccade_cloud.packet_keys import signed_session
from saccade_cloud.store.base import Store
from saccade_cloud.store.store_types import PacketRecord, SessionFacts

log = logging.getLogger(__name__)


async def known(store: Store, hello: pb.Hello) -> tuple[int, list[int]]:
    """(the highest stored sequence of this boot, those in doubt that are stored).

    A store that can't say knows nothing: the edge then says again what it doubts, which changes
    nothing, and meanwhile its frames can be asked about.
    """
    try:
        resume_after = await store.resume_after(hello.device, hello.boot)
        return resume_after, await store.stored(hello.device, hello.boot, hello.in_doubt)
    except StorageError as error:
        log.warning("what is stored of %r is not known: %s", hello.device, error)
        return 0, []


def record_of(frame: StoredFrame, hello: pb.Hello) -> PacketRecord:
    """An unpacked packet as it is stored; the same message has the same bytes each time."""
    return PacketRecord(
        session=SessionFacts.of(hello),
        sequence=frame.tokens.sequence,
        camera=frame.tokens.camera,
        captured_ns=frame.tokens.captured_ns,
        received_ns=frame.received_ns,
        payload=frame.tokens.packet,
    )


async def frame_of(cloud: CloudContext, device: str, boot: int, sequence: int) -> StoredFrame:
    """A frame at hand, or decoded anew from the store.

    Raises ``QuestionError`` when it is in neither, its tokens are another bundle's, or its bytes
    were changed or damaged on the disk: a device that has a key signs each packet, and every layer
    has a checksum.
    """
    frame = cloud.frames.get(device, boot, sequence)
    if frame is not None:
        return frame
    record = await cloud.store.packet(device, boot, sequence)
    if record is None:
        raise QuestionError(f"there is no frame {sequence} here: it never came, or is too old")
    hello = record.session.hello()
    try:
        reader = cloud.bundles.of(hello.token_digest).reader
    except DigestMismatch as error:
        raise QuestionError(
            f"frame {sequence} was coded with bundle {short(hello.token_digest)}, "
            f"the cloud serves {cloud.bundles}"
        ) from error
    try:
        packet = tokens_pb2.FramePacket.FromString(record.payload)
        cloud.keys.check(packet, signed_session(hello))
        frame, decoded = await reader.receive(packet, hello)
    except (DecodeError, PacketError, LimitExceeded) as error:
        log.error("the stored packet %d of %r cannot be read: %s", sequence, device, error)
        raise QuestionError(f"frame {sequence} cannot be read in the store: {error}") from error
    reader.keep(frame, decoded)
    return replace(frame, received_ns=record.received_ns)
