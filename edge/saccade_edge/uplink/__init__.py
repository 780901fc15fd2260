"""The edge's end of the conversation with the cloud."""

from saccade_edge.uplink.bounds import LinkState
from saccade_edge.uplink.client import Uplink, UplinkSettings
from saccade_edge.uplink.events import (
    Acknowledged,
    Answered,
    AnswerPiece,
    Bounded,
    Connected,
    Lost,
    Refused,
    Said,
    UplinkEvent,
)

__all__ = [
    "Acknowledged",
    "AnswerPiece",
    "Answered",
    "Bounded",
    "Connected",
    "LinkState",
    "Lost",
    "Refused",
    "Said",
    "Uplink",
    "UplinkEvent",
    "UplinkSettings",
]
