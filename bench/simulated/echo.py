"""What gRPC alone costs: the messages of a conversation, and nothing behind them.

    python -m bench.simulated.echo

Says welcome to hello and acknowledges each packet as it comes, with the options that the cloud
gives its own server. No rule is checked, nothing is decoded or kept.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc

from saccade.bundle import Bundle
from saccade.limits import Limits
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionServicer, add_VisionServicer_to_server
from saccade_cloud.descriptors import allow_descriptors
from saccade_cloud.handshake import welcome
from saccade_cloud.server import ENVELOPE_BYTES
from saccade_cloud.server_settings import channel_options


class Echo(VisionServicer):
    """``Vision.Connect`` without a mind."""

    def __init__(self, digest: bytes, limits: Limits) -> None:
        self._welcome = welcome(digest, limits, 0)

    async def Connect(  # noqa: N802 - the stub's name
        self,
        request_iterator: AsyncIterator[pb.EdgeMessage],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[pb.CloudMessage]:
        async for message in request_iterator:
            kind = message.WhichOneof("kind")
            if kind == "hello":
                yield pb.CloudMessage(welcome=self._welcome)
            elif kind == "packet":
                ack = pb.Acknowledgement(
                    sequence=message.packet.sequence,
                    bytes=message.packet.ByteSize(),
                    received_unix_ms=time.time_ns() // 1_000_000,
                    stored=True,
                )
                yield pb.CloudMessage(ack=ack)
            else:
                return

    def Infer(  # noqa: N802 - as above
        self, request: pb.InferRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.InferReply]:
        raise NotImplementedError("nobody asks a bare server")


async def serve(bundle: Bundle) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    limits = Limits.of(bundle.manifest)
    server = grpc.aio.server(options=channel_options(limits.message_bytes + ENVELOPE_BYTES))
    add_VisionServicer_to_server(Echo(bundle.token_digest, limits), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"serving echo on 127.0.0.1:{port}", flush=True)
    await stopped.wait()
    await server.stop(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bundle", default="crossing")
    options = parser.parse_args()
    allow_descriptors()
    asyncio.run(serve(Bundle.open(options.bundle)))


if __name__ == "__main__":
    main()
