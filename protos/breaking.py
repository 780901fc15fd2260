"""Compares the wire with the one frozen in ``frozen.json``; ``--write`` freezes what is new, too.

A field keeps its number, its name, its type and whether it is repeated or optional. One that goes
leaves its number reserved for ever. Messages, enums and calls stay. New ones may be added. Whoever
reads an older packet, or talks to an older edge, relies on it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf import descriptor_pb2

from saccade.v1 import fleet_pb2, question_pb2, tokens_pb2, vision_pb2

FROZEN = Path(__file__).resolve().with_name("frozen.json")
FILES = (fleet_pb2, question_pb2, tokens_pb2, vision_pb2)
RESERVED = "reserved"

# What a message, an enum or a service has: by number, or by a call's name, its declaration.
Shape = dict[str, str]
Shapes = Mapping[str, Shape]

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in _Field.Type.items()}


def shapes() -> dict[str, Shape]:
    """Of all that ``saccade.v1`` declares now."""
    found: dict[str, Shape] = {}
    for module in FILES:
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            found.update(_messages(file.package, message))
        for enum in file.enum_type:
            found[f"{file.package}.{enum.name}"] = {
                str(value.number): value.name for value in enum.value
            }
        for service in file.service:
            found[f"{file.package}.{service.name}"] = {
                method.name: _call(method) for method in service.method
            }
    return found


def broken(frozen: Shapes, now: Shapes) -> Iterator[str]:
    """What of ``frozen`` does not hold ``now``, a sentence for each."""
    for name, before in sorted(frozen.items()):
        after = now.get(name)
        if after is None:
            yield f"{name} is gone"
            continue
        for number, declared in before.items():
            there = after.get(number)
            if there in (declared, RESERVED):
                continue
            if there is None:
                yield f"{name}: {declared} = {number} is gone, and its number is not reserved"
            else:
                yield f"{name}: {number} was {declared}, and is {there}"


def read(path: Path = FROZEN) -> dict[str, Shape]:
    """What is frozen."""
    shapes_of_file: dict[str, Shape] = json.loads(path.read_text("utf-8"))
    return shapes_of_file


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="add what is new to the frozen wire")
    now, frozen = shapes(), read() if FROZEN.exists() else {}
    problems = list(broken(frozen, now))
    for problem in problems:
        print(f"breaks the wire: {problem}", file=sys.stderr)
    if parser.parse_args().write and not problems:
        FROZEN.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 1 if problems else 0


def _messages(scope: str, message: descriptor_pb2.DescriptorProto) -> Iterator[tuple[str, Shape]]:
    name = f"{scope}.{message.name}"
    shape = {str(field.number): _field(field, message) for field in message.field}
    for span in message.reserved_range:
        shape.update((str(number), RESERVED) for number in range(span.start, span.end))
    yield name, shape
    for inner in message.nested_type:
        yield from _messages(name, inner)


def _field(field: descriptor_pb2.FieldDescriptorProto, of: descriptor_pb2.DescriptorProto) -> str:
    """As in: optional float probability."""
    kind = field.type_name.removeprefix(".") or _TYPES[field.type]
    if field.label == _Field.LABEL_REPEATED:
        kind = f"repeated {kind}"
    elif field.proto3_optional:
        kind = f"optional {kind}"
    elif field.HasField("oneof_index"):
        kind = f"one of {of.oneof_decl[field.oneof_index].name}: {kind}"
    return f"{kind} {field.name}"


def _call(method: descriptor_pb2.MethodDescriptorProto) -> str:
    up, down = method.input_type.removeprefix("."), method.output_type.removeprefix(".")
    asked = f"stream {up}" if method.client_streaming else up
    return f"({asked}) returns ({'stream ' if method.server_streaming else ''}{down})"


if __name__ == "__main__":
    raise SystemExit(main())
