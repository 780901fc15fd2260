"""``saccade.v1.Vision``: what edges and one-shot clients call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from saccade.answer_probability import mean_and_least
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionServicer
from saccade_cloud.access import caller
from saccade_cloud.call_errors import translated
from saccade_cloud.edge_stream import EdgeStream
from saccade_cloud.handshake import check_hello
from saccade_cloud.hub import Hub
from saccade_cloud.peer_identity import Peer
from saccade_cloud.stages import stage_times

Context = grpc.aio.ServicerContext[Any, Any]


class Vision(VisionServicer):
    """Every call is translated at its edge; the work is in ``EdgeStream`` and ``Hub``."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def Connect(  # noqa: N802 - the stub's name
        self, request_iterator: AsyncIterator[pb.EdgeMessage], context: Context
    ) -> AsyncIterator[pb.CloudMessage]:
        peer = Peer.of(context.auth_context()) if self._hub.settings.certified else None
        conversation = EdgeStream(self._hub, aiter(request_iterator), peer)
        async with translated(context), aclosing(conversation.replies()) as replies:
            async for reply in replies:
                yield reply

    async def Infer(  # noqa: N802 - as above
        self, request: pb.InferRequest, context: Context
    ) -> AsyncIterator[pb.InferReply]:
        async with translated(context):
            check_hello(request.hello, self._hub.digest)
            frame = await self._hub.unpack(request.packet, request.hello, caller())
            answer = self._hub.answer(frame, request.question, request.max_tokens, client=caller())
            async with aclosing(answer) as chunks:
                async for chunk in chunks:
                    last = chunk.finish is not None
                    probability, least = mean_and_least(chunk.probability)
                    yield pb.InferReply(
                        text=chunk.text,
                        last=last,
                        finish=chunk.finish or "",
                        timing=stage_times(chunk.timing),
                        domain=self._hub.domain if last else "",
                        probability=probability,
                        least_probability=least,
                    )
