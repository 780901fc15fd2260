"""The file of packet keys: made, read and refused, and what a cloud does with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from saccade.errors import ConfigError, TagError
from saccade.packet_tag import KEY_BYTES, parse_key, tag_of
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.packet_keys import PacketKeys, add_key, read_keys, signed_session
from saccade_testing.commands import run

HELLO = pb.Hello(device="kerb", boot=5, epoch_unix_ms=9, cameras=["north"], token_digest=bytes(32))
KEY = bytes(KEY_BYTES)


def signed(key: bytes) -> tokens_pb2.FramePacket:
    packet = tokens_pb2.FramePacket(sequence=1, layers=[b"tokens"])
    packet.tag = tag_of(packet, signed_session(HELLO), key)
    return packet


def test_the_command_gives_both_sides_the_same_key_and_prints_none(tmp_path: Path) -> None:
    keys, out = tmp_path / "keys", tmp_path / "kerb.key"
    made = run("cloud", "packet-key", "kerb", f"--packet-keys={keys}", f"--out={out}")
    assert (made.returncode, made.stdout) == (0, "")
    key = parse_key(out.read_text(), "out")
    assert read_keys(keys) == {"kerb": key}
    assert key.hex() not in made.stderr
    assert (keys.stat().st_mode & 0o777, out.stat().st_mode & 0o777) == (0o600, 0o600)


def test_keys_of_several_devices_are_told_apart(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    for number, device in enumerate(("kerb", "mast: north", "夜")):
        add_key(keys, device, tmp_path / f"{number}.key")
    known = PacketKeys.read(keys)
    assert known.devices == 3
    known.check(signed(read_keys(keys)["kerb"]), signed_session(HELLO))
    with pytest.raises(TagError):
        known.check(signed(read_keys(keys)["夜"]), signed_session(HELLO))


def test_a_device_keeps_its_key(tmp_path: Path) -> None:
    add_key(tmp_path / "keys", "kerb", tmp_path / "a.key")
    with pytest.raises(ConfigError, match="has a key of 'kerb'"):
        add_key(tmp_path / "keys", "kerb", tmp_path / "b.key")
    assert not (tmp_path / "b.key").exists()
    with pytest.raises(ConfigError, match="cannot write the packet key"):
        add_key(tmp_path / "keys", "mast", tmp_path / "a.key")
    assert list(read_keys(tmp_path / "keys")) == ["kerb"]


@pytest.mark.parametrize("line", ["kerb", "kerb:12", f"kerb:{'0' * 63}x", f"a/b:{'0' * 64}"])
def test_a_line_that_is_none_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# of the crossing\nmast:{KEY.hex()}\n{line}\n")
    keys.chmod(0o600)
    with pytest.raises(ConfigError, match=r"line 3|cannot name a device"):
        read_keys(keys)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"kerb:{KEY.hex()}\n")
    keys.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read or written by others"):
        PacketKeys.read(keys)


def test_who_is_not_listed_is_refused_only_where_keys_are_required() -> None:
    plain = tokens_pb2.FramePacket(sequence=1, layers=[b"tokens"])
    stranger = signed_session(HELLO)
    PacketKeys().check(plain, stranger)
    PacketKeys({"mast": KEY}).check(plain, stranger)
    with pytest.raises(TagError, match="no packet key of 'kerb', and requires one"):
        PacketKeys({"mast": KEY}, required=True).check(plain, stranger)
    with pytest.raises(TagError, match="has no tag"):
        PacketKeys({"kerb": KEY}).check(plain, stranger)
    with pytest.raises(ConfigError, match="no file of them"):
        PacketKeys.read(None, required=True)
