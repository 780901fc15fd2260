"""Every message of the wire has the bytes that it had when the wire was frozen, for ever.

A new file is written by hand: `python -m pytest tests/wire/test_golden_messages.py` prints what is
missing. One that differs is a change that older edges and clouds do not understand.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.message import Message

from saccade.limits import Limits
from saccade.turns import FrameReference, Generation, Question, Turn, asking
from saccade.v1 import fleet_pb2, tokens_pb2
from saccade.v1 import vision_pb2 as pb

GOLDEN = Path(__file__).parent / "golden"
DIGEST = bytes(range(32))
TALK = Question(
    (
        Turn("system", ("Answer in one word.\nNo more.",)),
        Turn("user", (FrameReference(300), "¿Qué es?")),
        Turn("assistant", ("un autobús",)),
        Turn("user", (FrameReference(301), "这是什么")),
    ),
    Generation(max_tokens=40, temperature=0.5, top_p=0.75, seed=1 << 40, stop=("\n", "。")),
)
TURNS, DRAWN = TALK.to_wire()
USUAL, _ = asking("how many vehicles are there ?", (300,)).to_wire()
PACKET = tokens_pb2.FramePacket(
    sequence=300,
    captured_ms=-5,
    views=b"\x01\x02",
    codec=2,
    layers=[b"base", b"more"],
    camera=1,
    owners=b"\x07",
    tag=b"8 bytes.",
    images=2,
    labels=[0, 3],
)
HELLO = pb.Hello(
    protocol=1,
    device="kerb",
    boot=(1 << 64) - 1,
    token_digest=DIGEST,
    cameras=["north", "夜"],
    epoch_unix_ms=1_700_000_000_000,
    software="saccade 1",
    in_doubt=[1, 300],
    recording=True,
)
STAGES = [pb.StageTime(stage="prefill", ms=1.5)]
MESSAGES: dict[str, Message] = {
    "hello": pb.EdgeMessage(hello=HELLO),
    "packet": pb.EdgeMessage(packet=PACKET),
    "question": pb.EdgeMessage(question=pb.Question(id=9, turns=TURNS, generation=DRAWN)),
    "question-usual": pb.EdgeMessage(question=pb.Question(id=9, turns=USUAL)),
    "bye": pb.EdgeMessage(bye=pb.Bye(reason="done")),
    "welcome": pb.CloudMessage(
        welcome=pb.Welcome(
            protocol=1,
            token_digest=DIGEST,
            codecs=["f16", "klt"],
            limits=Limits(context_tokens=4096, answer_tokens=512).to_wire(),
            resume_after=300,
            stored=[1],
        )
    ),
    "ack": pb.CloudMessage(
        ack=pb.Acknowledgement(sequence=300, bytes=470, received_unix_ms=1_700_000_000_001,
                               stored=True)
    ),
    "answer": pb.CloudMessage(
        answer=pb.AnswerChunk(question_id=9, sequence=300, text="un 车", last=True, finish="stop",
                              timing=STAGES, probability=0.5, least_probability=0.25)
    ),
    "budget": pb.CloudMessage(budget=pb.Budget(frames_per_minute=12, reason="busy")),
    "failure": pb.CloudMessage(
        failure=pb.Failure(code="tag", message="no", sequence=300, question_id=9, fatal=True)
    ),
    "infer-request": pb.InferRequest(hello=HELLO, packets=[PACKET], turns=TURNS, generation=DRAWN),
    "infer-reply": pb.InferReply(text="a", last=True, finish="length", timing=STAGES,
                                 probability=0.5, least_probability=0.25, domain="streets"),
    "ask-request": fleet_pb2.AskRequest(
        camera="kerb/north", max_age_ms=0, turns=USUAL, generation=DRAWN
    ),
    "ask-reply": fleet_pb2.AskReply(
        text="a", last=True, finish="stop", sequence=300, captured_unix_ms=1_700_000_000_000,
        timing=STAGES, packet_bytes=470, probability=0.5, least_probability=0.25,
        domain="streets", age_ms=0, clock_ahead_ms=7, connected=True,
    ),
    "watch-request": fleet_pb2.WatchRequest(camera="north"),
    "watch-reply": fleet_pb2.WatchReply(
        device="kerb", camera="north", sequence=300, captured_unix_ms=1_700_000_000_000,
        question="how many", answer="two", packet_bytes=470, probability=0.5,
        least_probability=0.25, answered_unix_ms=1_700_000_000_002, identity=DIGEST,
    ),
    "history-request": fleet_pb2.HistoryRequest(
        camera="kerb/north", since_unix_ms=1, until_unix_ms=2, limit=3
    ),
    "cameras-reply": fleet_pb2.ListCamerasReply(
        cameras=[
            fleet_pb2.Camera(
                device="kerb", name="north", connected=True, last_sequence=300,
                last_captured_unix_ms=1_700_000_000_000, frames=7, bytes=3000,
                damaged_layers=1, last_age_ms=0, clock_ahead_ms=5,
            )
        ],
        domain="streets",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_its_frozen_bytes(name: str) -> None:
    written = MESSAGES[name].SerializeToString(deterministic=True)
    file = GOLDEN / f"message-{name}.hex"
    assert file.is_file(), f"{file.name} is missing: {written.hex()}"
    assert written.hex() == file.read_text().strip()


@pytest.mark.parametrize("name", MESSAGES)
def test_frozen_bytes_are_read_as_the_message(name: str) -> None:
    raw = bytes.fromhex((GOLDEN / f"message-{name}.hex").read_text())
    assert type(MESSAGES[name]).FromString(raw) == MESSAGES[name]


def test_every_message_that_is_sent_is_among_them() -> None:
    edge = {m.WhichOneof("kind") for m in MESSAGES.values() if isinstance(m, pb.EdgeMessage)}
    cloud = {m.WhichOneof("kind") for m in MESSAGES.values() if isinstance(m, pb.CloudMessage)}
    assert edge == {field.name for field in pb.EdgeMessage.DESCRIPTOR.fields}
    assert cloud == {field.name for field in pb.CloudMessage.DESCRIPTOR.fields}


def test_no_field_is_left_out() -> None:
    """One that no golden message sets could change unseen."""
    seen: set[str] = set()
    for message in MESSAGES.values():
        _collect(message, seen)
    declared = {
        f"{kind.name}.{field.name}"
        for module in (pb, tokens_pb2, fleet_pb2)
        for kind in module.DESCRIPTOR.message_types_by_name.values()
        for field in kind.fields
    }
    assert declared - seen == set()


def _collect(message: Message, seen: set[str]) -> None:
    for field, value in message.ListFields():
        seen.add(f"{message.DESCRIPTOR.name}.{field.name}")
        for inner in value if field.is_repeated else [value]:
            if isinstance(inner, Message):
                _collect(inner, seen)
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and field.message_type is None and message.HasField(field.name):
            seen.add(f"{message.DESCRIPTOR.name}.{field.name}")
