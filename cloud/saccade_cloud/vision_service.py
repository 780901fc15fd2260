"""``saccade.v1.Vision``: what edges and one-shot clients call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from saccade.answer_probability import mean_and_least
from saccade.errors import PacketError, QuestionError
from saccade.limits import check
from saccade.turns import Question
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionServicer
from saccade_cloud.access import caller
from saccade_cloud.answer_service import Asked
from saccade_cloud.call_errors import translated
from saccade_cloud.cloud_context import CloudContext, ServedBundle
from saccade_cloud.edge_stream import EdgeStream
from saccade_cloud.frame_cache import DecodedFrame
from saccade_cloud.frame_store import StoredFrame
from saccade_cloud.handshake import check_hello
from saccade_cloud.peer_identity import Peer
from saccade_cloud.stages import stage_times

Context = grpc.aio.ServicerContext[Any, Any]


class Vision(VisionServicer):
    """Every call is translated at its edge; the work is in ``EdgeStream`` and ``AnswerService``."""

    def __init__(self, cloud: CloudContext) -> None:
        self._cloud = cloud

    async def Connect(  # noqa: N802 - the stub's name
        self, request_iterator: AsyncIterator[pb.EdgeMessage], context: Context
    ) -> AsyncIterator[pb.CloudMessage]:
        peer = Peer.of(context.auth_context()) if self._cloud.settings.certified else None
        stream = EdgeStream(self._cloud, aiter(request_iterator), peer)
        async with translated(context), aclosing(stream.replies()) as replies:
            async for reply in replies:
                yield reply

    async def Infer(  # noqa: N802 - as above
        self, request: pb.InferRequest, context: Context
    ) -> AsyncIterator[pb.InferReply]:
        async with translated(context):
            bundle = check_hello(request.hello, self._cloud.bundles)
            asked = await self._asked(request, bundle)
            async with aclosing(bundle.answers.answer(asked)) as chunks:
                async for chunk in chunks:
                    last = chunk.finish is not None
                    probability, least = mean_and_least(chunk.probability)
                    yield pb.InferReply(
                        text=chunk.text,
                        last=last,
                        finish=chunk.finish or "",
                        timing=stage_times(chunk.timing),
                        domain=bundle.domain if last else "",
                        probability=probability,
                        least_probability=least,
                    )

    async def _asked(self, request: pb.InferRequest, bundle: ServedBundle) -> Asked:
        """Its packets are for this call alone: they carry no tag, and nothing of them is kept."""
        question = Question.from_wire(request.turns, request.generation)
        check("packets with a question", len(request.packets), bundle.limits.question_frames)
        frames: dict[int, StoredFrame] = {}
        decoded: dict[int, DecodedFrame] = {}
        if request.packets:
            question = question.at_hand(request.packets[0].sequence)
        bundle.answers.check(question)
        for packet in request.packets:
            if packet.sequence in frames or packet.sequence not in question.frames:
                raise PacketError(f"packet {packet.sequence} came twice, or nothing asks about it")
            number = packet.sequence
            frames[number], decoded[number] = await bundle.reader.receive(
                packet, request.hello, caller()
            )
        if missing := [number for number in question.frames if number not in frames]:
            raise QuestionError(f"the question speaks of frame {missing[0]}, which did not come")
        return Asked(question, frames, caller(), came_along=decoded)
