"""What an answer's last message says of it, in all the messages that carry answers."""

from __future__ import annotations

from saccade.types import Probability
from saccade.v1 import fleet_pb2, vision_pb2

LastMessage = (
    vision_pb2.AnswerChunk | vision_pb2.InferReply | fleet_pb2.AskReply | fleet_pb2.WatchReply
)


def probability_of(message: LastMessage) -> Probability | None:
    """None where the other side does not say, or says what is no probability."""
    if not (message.HasField("probability") and message.HasField("least_probability")):
        return None
    mean, least = message.probability, message.least_probability
    return Probability(mean, least) if 0 <= least <= 1 and 0 <= mean <= 1 else None


def mean_and_least(probability: Probability | None) -> tuple[float | None, float | None]:
    """The two numbers, as fields of messages and records take them."""
    return (None, None) if probability is None else (probability.mean, probability.least)
