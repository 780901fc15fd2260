"""The edge's end of the conversation with the cloud."""

from saccade_edge.uplink.bounds import LinkState, Owed
from saccade_edge.uplink.client import Uplink, UplinkSettings
from saccade_edge.uplink.events import (
    Acknowledged,
    Answered,
    AnswerPiece,
    Bounded,
    Connected,
    Kept,
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
    "Kept",
    "LinkState",
    "Lost",
    "Owed",
    "Refused",
    "Said",
    "Uplink",
    "UplinkEvent",
    "UplinkSettings",
]
