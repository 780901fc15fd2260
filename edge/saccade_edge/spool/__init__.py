"""Store and forward: packets on disk until the cloud has stored them."""

from saccade_edge.spool.spool import Spool
from saccade_edge.spool.spool_faults import SpoolFault
from saccade_edge.spool.spool_types import (
    Asked,
    Entry,
    Fate,
    Identity,
    SpoolEvent,
    SpoolMended,
    SpoolReborn,
    SpoolReport,
    SpoolSettings,
    SpoolTroubled,
    refused,
)

__all__ = [
    "Asked",
    "Entry",
    "Fate",
    "Identity",
    "Spool",
    "SpoolEvent",
    "SpoolFault",
    "SpoolMended",
    "SpoolReborn",
    "SpoolReport",
    "SpoolSettings",
    "SpoolTroubled",
    "refused",
]
