"""The edge's end of the conversation with the cloud."""

from saccade_edge.uplink.link_state import LinkState, Outstanding
from saccade_edge.uplink.uplink import Uplink, UplinkSettings
from saccade_edge.uplink.uplink_events import (
    Acknowledged,
    Answered,
    AnswerPiece,
    CloudBudget,
    Connected,
    ConnectionLost,
    PacketDeferred,
    PacketSent,
    Refused,
    UplinkEvent,
)

__all__ = [
    "Acknowledged",
    "AnswerPiece",
    "Answered",
    "CloudBudget",
    "Connected",
    "ConnectionLost",
    "LinkState",
    "Outstanding",
    "PacketDeferred",
    "PacketSent",
    "Refused",
    "Uplink",
    "UplinkEvent",
    "UplinkSettings",
]
