"""What the user says about budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from saccade.errors import ConfigError


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """``policy``: a name in `saccade_edge.budget.POLICIES`.

    ``point``: the only point of the policy ``fixed``, where ``robust`` begins, and of frames that
    go to the spool; None: the bundle's own, and ``robust`` begins small. ``deadline_s``: a frame
    that arrives later is late; the age gate shuts when a packet is not acknowledged after so long.
    ``interval_s``: between frames, until some were seen. ``overhead_bytes``: of gRPC, HTTP/2 and
    TLS around each packet (bench/end_to_end.py measures 101 without TLS). ``bytes_per_day``: of
    each camera, by UTC day, headers included; None: no cap. ``probe_every_s``: while the age gate
    is shut, the smallest frame goes out so often, so that an acknowledgement that was lost does not
    shut it for ever. ``max_point``: no frame goes at a better one; None: ``robust`` stops where the
    bundle marks that agreement is flat (``selection.flat_from``), or at ``point`` where that is
    better; "best": nothing stops it.
    """

    policy: str = "robust"
    point: int | None = None
    deadline_s: float = 2.0
    interval_s: float = 0.5
    overhead_bytes: int = 100
    bytes_per_day: int | None = None
    probe_every_s: float = 10.0
    max_point: int | Literal["best"] | None = None

    def __post_init__(self) -> None:
        """Raises ``ConfigError`` for what cannot be meant."""
        for name in ("deadline_s", "interval_s", "probe_every_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"budget: {name} is {value}, give a number above 0")
        most = self.max_point
        if isinstance(most, int) and self.point is not None and self.point > most:
            raise ConfigError(f"budget: point {self.point} is above max_point {most}")
        if self.overhead_bytes < 0:
            raise ConfigError(f"budget: overhead_bytes is {self.overhead_bytes}, at least 0")
        if self.bytes_per_day is not None and self.bytes_per_day < 1:
            raise ConfigError(f"budget: bytes_per_day is {self.bytes_per_day}, at least 1")
