"""Questions as they travel, about one frame, in one line."""

from __future__ import annotations

from typing import Any

from saccade.turns import Question, asking
from saccade.v1 import fleet_pb2, tokens_pb2
from saccade.v1 import vision_pb2 as pb


def wire_question(
    question_id: int, sequence: int, text: str = "what color is it", max_tokens: int = 0
) -> pb.Question:
    """On ``Vision.Connect``."""
    turns, generation = asking(text, (sequence,)).within(max_tokens).to_wire()
    return pb.Question(id=question_id, turns=turns, generation=generation)


def infer_request(
    hello: pb.Hello | None,
    packet: tokens_pb2.FramePacket | None,
    question: Question | str = "how many",
    max_tokens: int = 0,
) -> pb.InferRequest:
    """Nothing is checked."""
    asked = asking(question) if isinstance(question, str) else question
    turns, generation = asked.within(max_tokens).to_wire()
    packets = [] if packet is None else [packet]
    return pb.InferRequest(hello=hello, packets=packets, turns=turns, generation=generation)


def ask_request(
    camera: str, question: Question | str = "how many", max_tokens: int = 0, **fields: Any
) -> fleet_pb2.AskRequest:
    """About a camera's newest frame."""
    asked = asking(question) if isinstance(question, str) else question
    turns, generation = asked.within(max_tokens).to_wire()
    return fleet_pb2.AskRequest(camera=camera, turns=turns, generation=generation, **fields)


def text_of(said: pb.Question) -> str:
    """What the user says last in it."""
    return Question.from_wire(said.turns, said.generation).text


def sequence_of(said: pb.Question) -> int:
    """Of the frame that it is about."""
    return max(Question.from_wire(said.turns, said.generation).frames)
