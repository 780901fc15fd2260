"""The store on the command line: ``saccade cloud serve --store``, and ``saccade cloud store``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from saccade.redaction import redact
from saccade_cloud.store.base import Store
from saccade_cloud.store.store_opening import MEMORY, chosen_store, open_database, open_store
from saccade_cloud.store.store_types import CameraTotals, Totals

KEEP_DAYS = 30.0
KEEP_BYTES = 10 * 10**9
UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
NS_PER_S = 10**9


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Where packets and observations are kept, and how long; 0 sets no bound."""

    url: str
    keep_days: float
    keep_bytes: int

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> StoreOptions:
        """As `store_options` parsed them."""
        url = arguments.store or chosen_store()
        return cls(url, arguments.keep_days, arguments.keep_bytes)

    def open(self, timeout_s: float) -> Store:
        """Call it inside the event loop that uses the store. Raises ``ConfigError``."""
        return open_store(
            self.url, keep_days=self.keep_days, keep_bytes=self.keep_bytes, timeout_s=timeout_s
        )

    def __str__(self) -> str:
        days = f"{self.keep_days:g} days" if self.keep_days else "any time"
        size = f"{self.keep_bytes / 1e9:g} GB" if self.keep_bytes else "any size"
        return f"storing in {redact(self.url)} (for {days}, up to {size})"


def store_options(parser: argparse.ArgumentParser) -> None:
    """``--store`` and what is kept in it."""
    parser.add_argument(
        "--store",
        metavar="URL",
        help=f"sqlite:///PATH, a path, postgresql://..., or {MEMORY} to keep nothing (default: the "
        "variable SACCADE_STORE, else store.db in STATE_DIRECTORY or ~/.local/state/saccade)",
    )
    parser.add_argument(
        "--keep-days",
        type=_days,
        default=KEEP_DAYS,
        metavar="DAYS",
        help="delete what came earlier; 0: never (default: %(default)g)",
    )
    parser.add_argument(
        "--keep-bytes",
        type=size_in_bytes,
        default=KEEP_BYTES,
        metavar="SIZE",
        help="delete the oldest beyond it, as in 500M or 2G; 0: never (default: 10G)",
    )


def register_store(commands: Any) -> None:  # noqa: ANN401 - argparse's type for it is private
    """``saccade cloud store URL``."""
    parser = commands.add_parser("store", help="what a store holds, by camera")
    parser.add_argument("url", nargs="?", metavar="URL", help="default: that of cloud serve")
    parser.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> int:
    # Imported here: SQLAlchemy is not needed to serve without a store.
    from saccade_cloud.store.database import reading, require_newest
    from saccade_cloud.store.sql_store import totals_of

    database = open_database(arguments.url or chosen_store(), create=False)
    require_newest(database)
    with reading(database) as connection:
        totals = totals_of(database, connection)
    database.engine.dispose()
    print(_text(database.place, totals))
    return 0


def _text(place: str, totals: Totals) -> str:
    cameras = totals.cameras
    width = max([len("camera"), *(len(f"{c.device}/{c.camera}") for c in cameras)])
    head = f"{'packets':>10}{'bytes':>14}{'observations':>14}  {'first':20}  {'last':20}"
    packets = sum(camera.packets for camera in cameras)
    payload = sum(camera.payload_bytes for camera in cameras)
    return "\n".join(
        (
            f"{place}: {packets:,} packets of {payload:,} bytes, "
            f"{sum(camera.observations for camera in cameras):,} observations, "
            f"{totals.conflicts:,} conflicts; {totals.used_bytes:,} bytes in use",
            f"{'camera':{width}}{head}".rstrip(),
            *(_line(camera, width) for camera in cameras),
        )
    )


def _line(camera: CameraTotals, width: int) -> str:
    path = f"{camera.device}/{camera.camera}"
    return (
        f"{path:{width}}{camera.packets:>10,}{camera.payload_bytes:>14,}"
        f"{camera.observations:>14,}  {_when(camera.first_ns)}  {_when(camera.last_ns)}"
    )


def _when(unix_ns: int) -> str:
    if not unix_ns:
        return "-"
    return f"{datetime.fromtimestamp(unix_ns // NS_PER_S, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of days")
    return days


def size_in_bytes(text: str) -> int:
    """``500M`` or ``2G`` as bytes, for argparse."""
    unit = UNITS.get(text[-1:], 1)
    number = text[:-1] if unit > 1 else text
    try:
        size = int(float(number) * unit)
    except (ValueError, OverflowError):
        size = -1
    if size < 0:
        raise argparse.ArgumentTypeError(f"{text} is no size: give bytes, or as in 500M or 2G")
    return size
