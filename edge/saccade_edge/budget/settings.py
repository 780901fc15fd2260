"""What the user says about budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    shut it for ever.
    """

    policy: str = "robust"
    point: int | None = None
    deadline_s: float = 2.0
    interval_s: float = 0.5
    overhead_bytes: int = 100
    bytes_per_day: int | None = None
    probe_every_s: float = 10.0

    def __post_init__(self) -> None:
        """Raises ``ConfigError`` for what cannot be meant."""
        for name in ("deadline_s", "interval_s", "probe_every_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"budget: {name} is {value}, give a number above 0")
        if self.overhead_bytes < 0:
            raise ConfigError(f"budget: overhead_bytes is {self.overhead_bytes}, at least 0")
        if self.bytes_per_day is not None and self.bytes_per_day < 1:
            raise ConfigError(f"budget: bytes_per_day is {self.bytes_per_day}, at least 1")
