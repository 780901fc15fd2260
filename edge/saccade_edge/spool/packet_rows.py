"""One packet as a row, and back."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import google_crc32c

from saccade.turns import Question, asking
from saccade.v1 import vision_pb2
from saccade_edge.spool.spool_types import Asked, Entry

OVERHEAD_BYTES = 100  # of a row and its places in the indexes
COLUMNS = "sequence, camera, captured_unix_ms, deadline_unix_ms, packet, questions, crc32c"
INSERT = """
INSERT INTO packet (
  sequence, camera, captured_unix_ms, deadline_unix_ms, packet, questions, crc32c, bundle, bytes
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def to_row(entry: Entry, bundle: int) -> tuple[object, ...]:
    """The values of ``INSERT``."""
    questions = _questions_text(entry)
    return (
        entry.sequence,
        entry.camera,
        entry.captured_unix_ms,
        entry.deadline_unix_ms,
        entry.packet,
        questions,
        _checksum(entry.sequence, entry.packet, questions),
        bundle,
        cost(entry),
    )


def from_row(row: tuple[Any, ...]) -> Entry | None:
    """The entry of ``COLUMNS``; None where its checksum is wrong."""
    sequence, camera, captured_ms, deadline_ms, packet, questions, crc = row
    if not (isinstance(packet, bytes) and isinstance(questions, str)):
        return None
    if _checksum(sequence, packet, questions) != crc:
        return None
    asked = tuple(_asked(*sent) for sent in json.loads(questions))
    return Entry(sequence, camera, captured_ms, deadline_ms, packet, asked)


def cost(entry: Entry) -> int:
    """Bytes that count against the quota."""
    return len(entry.packet) + len(_questions_text(entry).encode()) + OVERHEAD_BYTES


def one(connection: sqlite3.Connection, query: str, *values: object) -> int:
    """A query's single number; 0 for none."""
    row = connection.execute(query, values).fetchone()
    return int(row[0] or 0) if row else 0


def _questions_text(entry: Entry) -> str:
    return json.dumps([_sent(asked) for asked in entry.questions])


def _sent(asked: Asked) -> list[int | str]:
    """Its number and text; where it is more than a text, the whole of it, too."""
    question = asked.question
    if question == asking(question.text):
        return [asked.id, question.text]
    turns, generation = question.to_wire()
    whole = vision_pb2.Question(turns=turns, generation=generation).SerializeToString()
    return [asked.id, question.text, whole.hex()]


def _asked(number: int, text: str, whole: str = "") -> Asked:
    if not whole:
        return Asked(number, asking(text))
    message = vision_pb2.Question.FromString(bytes.fromhex(whole))
    return Asked(number, Question.from_wire(message.turns, message.generation))


def _checksum(sequence: int, packet: bytes, questions: str) -> int:
    return int(google_crc32c.value(b"%d\n%s\n%s" % (sequence, packet, questions.encode())))
