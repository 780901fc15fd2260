"""Whose spool it is: the device, its boot and its cameras, and whose tokens are in it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from saccade.errors import ConfigError
from saccade_edge.spool.spool_schema import VERSION, names_of, read_meta, write_meta
from saccade_edge.spool.spool_types import Identity

MAX_CAMERAS = 64  # what a cloud accepts of one device


def identity_of(meta: Mapping[str, str], fresh: Identity) -> Identity:
    """The file's, with our cameras: names are only ever added, rows know them by their place.

    Raises ``ConfigError`` for a spool of another device, or of 64 other cameras.
    """
    if "boot" not in meta:
        return fresh
    if meta["device"] != fresh.device:
        raise ConfigError(
            f"the spool belongs to device {meta['device']!r}, this one is {fresh.device!r}: give "
            "it that name (--device), or use another spool"
        )
    known = names_of(meta.get("cameras"))
    cameras = (*known, *(name for name in fresh.cameras if name not in known))
    if len(cameras) > MAX_CAMERAS:
        raise ConfigError(
            f"the spool would know {len(cameras)} cameras, the limit is {MAX_CAMERAS}: use another"
        )
    return Identity(fresh.device, int(meta["boot"], 16), int(meta["epoch_unix_ms"]), cameras)


def enrol(
    connection: sqlite3.Connection, identity: Identity, digest: bytes, quota_bytes: int
) -> int:
    """Write down who we are; the number by which the file knows our bundle."""
    known = names_of(read_meta(connection).get("bundles"))
    bundles = known if digest.hex() in known else (*known, digest.hex())
    bundle = bundles.index(digest.hex())
    write_meta(
        connection,
        version=VERSION,
        device=identity.device,
        boot=f"{identity.boot:016x}",
        epoch_unix_ms=identity.epoch_unix_ms,
        cameras=json.dumps(identity.cameras),
        bundles=json.dumps(bundles),
        quota_bytes=quota_bytes,
        bundle=bundle,
    )
    return bundle
