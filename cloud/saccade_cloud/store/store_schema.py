"""The tables as queries know them; ``migrations.py`` creates and changes them.

Boots, epochs and sequences are unsigned 64 bits on the wire and signed in databases: `signed` and
`unsigned` turn one into the other, bit by bit.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

# Facts of a session, under a digest of them: a hello that says the same has the same row.
session = Table(
    "session",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("device", Text),
    Column("boot", BigInteger),
    Column("epoch_unix_ms", BigInteger),
    Column("cameras", Text),  # a JSON list
    Column("token_digest", LargeBinary),
    Column("software", Text),
    Column("seen_ns", BigInteger),  # when the last of its packets came
)

packet = Table(
    "packet",
    metadata,
    Column("device", Text, primary_key=True),
    Column("boot", BigInteger, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("session", LargeBinary),
    Column("camera", Text),
    Column("captured_ns", BigInteger),
    Column("received_ns", BigInteger),
    Column("payload", LargeBinary),
)

observation = Table(
    "observation",
    metadata,
    Column("device", Text, primary_key=True),
    Column("boot", BigInteger, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("identity", LargeBinary, primary_key=True),  # digest of question, engine and seed
    Column("camera", Text),
    Column("captured_ns", BigInteger),
    Column("question", Text),
    Column("answer", Text),
    Column("finish", Text),
    Column("packet_bytes", BigInteger),
    Column("answered_ns", BigInteger),
    Column("probability", Double),  # of the answer's tokens, geometric mean; NULL in old rows
    Column("least_probability", Double),
)

# What each device's rows take, as `retention` estimates them; no row for a device without any.
share = Table(
    "share",
    metadata,
    Column("device", Text, primary_key=True),
    Column("bytes", BigInteger),
)

# One row: what would take a walk through everything to count.
total = Table(
    "total",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("bytes", BigInteger),  # the sum of all shares
    Column("conflicts", BigInteger),
)


def signed(number: int) -> int:
    """As it is stored."""
    return number - (1 << 64) if number >= 1 << 63 else number


def unsigned(number: int) -> int:
    """As it came."""
    return number + (1 << 64) if number < 0 else number
