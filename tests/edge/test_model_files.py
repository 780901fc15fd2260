"""What a model opens is listed, hashed and inside the bundle, or the model is refused."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from saccade.bundle_files import ListedFile, ModelFile, measure
from saccade.errors import BundleError, DigestMismatch
from saccade.manifest import FileEntry
from saccade.onnx_file import external_data, graph_inputs, subset_pb2
from saccade_testing.external_models import ELSEWHERE, PLACES, VALUES, model, save, tensor

NAME = "edge/model.onnx"


def listed(folder: Path, *others: str) -> ModelFile:
    """The model in ``folder``, as a manifest would list it and ``others``."""
    files = {name: measure(folder, name) for name in (NAME, *others)}
    return ModelFile(ListedFile(folder, NAME, files[NAME]), files)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with one piece of external data beside it."""
    save(tmp_path, model(tensor(offset="4", length="16")))
    (tmp_path / "edge" / ELSEWHERE).write_bytes(b"head" + VALUES.tobytes() + b"tail")
    return tmp_path


class TestWhereTensorsLie:
    @pytest.mark.parametrize("place", PLACES)
    def test_external_data_is_found_wherever_it_is(self, place: str) -> None:
        found = external_data(PLACES[place]().SerializeToString(), "m.onnx")
        assert {piece.location for piece in found} == {ELSEWHERE}

    def test_a_model_without_has_none(self) -> None:
        assert external_data(model().SerializeToString(), "m.onnx") == []

    def test_every_way_to_a_tensor_in_onnx_is_known(self) -> None:
        """Against the installed onnx package: a later ONNX may put tensors elsewhere."""
        theirs = _ways(ModelProto.DESCRIPTOR, "TensorProto")
        ours = _ways(subset_pb2.Model.DESCRIPTOR, "Tensor")
        assert theirs == ours
        assert {n for way in ours for n in way} >= {5, 7, 15, 20, 22, 23, 25}

    def test_fields_have_onnx_numbers(self) -> None:
        theirs = ModelProto.DESCRIPTOR.file.message_types_by_name["TensorProto"].fields_by_name
        ours = subset_pb2.Tensor.DESCRIPTOR.fields_by_name
        for name in ("data_location", "external_data"):
            assert ours[name].number == theirs[name].number
        node = ModelProto.DESCRIPTOR.file.message_types_by_name["NodeProto"].fields_by_name
        kind = subset_pb2.Node.DESCRIPTOR.fields_by_name["op_type"]
        assert kind.number == node["op_type"].number

    def test_inputs_are_read_with_their_dimensions(self) -> None:
        ports = [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [3, "batch", None]),
            helper.make_tensor_value_info("b", TensorProto.INT64, []),
        ]
        graph = helper.make_graph([], "g", ports, [])
        content = helper.make_model(graph).SerializeToString()
        assert graph_inputs(content, "m.onnx") == {"a": (3, 0, 0), "b": ()}
        with pytest.raises(BundleError, match=r"m.onnx is no ONNX model"):
            graph_inputs(b"no model", "m.onnx")

    def test_a_tensor_in_two_halves_is_one(self) -> None:
        """protobuf joins a field that comes twice: the place in one, the mark in the other."""
        first, second = tensor(), tensor("other.bin")
        second.ClearField("data_location")
        graph = model().graph
        graph.node.add(op_type="Constant", output=["o"]).attribute.add(name="value", t=first)
        halves = helper.make_model(graph).SerializeToString()
        attribute = helper.make_model(graph).graph.node[-1].attribute[0]
        whole = attribute.SerializeToString()
        attribute.t.Clear()
        attribute.t.external_data.extend(second.external_data)
        rest = attribute.t.SerializeToString()
        twice = whole + b"\x2a" + bytes([len(rest)]) + rest
        joined = helper.make_model(graph)
        joined.graph.node[-1].attribute[0].ParseFromString(twice)
        assert len(joined.graph.node[-1].attribute[0].t.external_data) == 2
        assert halves != joined.SerializeToString()
        with pytest.raises(BundleError, match="not its location once"):
            external_data(joined.SerializeToString(), "m.onnx")


def _ways(root: Any, goal: str) -> set[tuple[int, ...]]:
    """Field numbers on the ways from the message ``root`` describes to those named ``goal``."""
    found: set[tuple[int, ...]] = set()
    rest: list[tuple[Any, tuple[int, ...], tuple[str, ...]]] = [(root, (), (root.name,))]
    while rest:
        message, way, seen = rest.pop()
        for field in message.fields:
            inner = field.message_type
            if inner is not None and inner.name == goal:
                found.add((*way, field.number))
            elif inner is not None and inner.name not in seen:
                rest.append((inner, (*way, field.number), (*seen, inner.name)))
    return found


class TestListed:
    def test_what_is_listed_is_checked_with_the_model(self, folder: Path) -> None:
        listed(folder, f"edge/{ELSEWHERE}").check()

    def test_what_is_not_listed_is_refused(self, folder: Path) -> None:
        with pytest.raises(BundleError, match="opens 'edge/weights.bin', which the manifest does"):
            listed(folder).check()

    def test_what_was_changed_is_refused(self, folder: Path) -> None:
        file = listed(folder, f"edge/{ELSEWHERE}")
        (folder / "edge" / ELSEWHERE).write_bytes(b"head" + VALUES.tobytes()[::-1] + b"tail")
        with pytest.raises(DigestMismatch, match=r"edge/weights.bin has SHA-256"):
            file.check()
        with pytest.raises(DigestMismatch, match=r"edge/weights.bin has SHA-256"), file.opened():
            pass

    @pytest.mark.parametrize(("offset", "length"), [("20", "16"), ("0", "25"), ("9999", "0")])
    def test_what_lies_behind_the_files_end_is_refused(
        self, folder: Path, offset: str, length: str
    ) -> None:
        save(folder, model(tensor(offset=offset, length=length)))
        with pytest.raises(BundleError, match=r"up to byte \d+, it has 24"):
            listed(folder, f"edge/{ELSEWHERE}").check()

    @pytest.mark.parametrize(
        "location",
        [
            *("../cloud/weights.bin", "/etc/passwd", "a/../../x", "C:\\x", "a\\b", ""),
            *("*/_ORT_MEM_ADDR_/*", "x\n", "\x00", "nul:"),
        ],
    )
    def test_a_place_outside_the_models_folder_is_refused(self, location: str) -> None:
        with pytest.raises(BundleError, match="outside its folder"):
            external_data(model(tensor(location)).SerializeToString(), "m.onnx")

    @pytest.mark.parametrize("number", ["-1", "0x10", "1e3", "9" * 5000, "", " 1", "\u0663"])
    def test_an_offset_that_is_no_number_is_refused(self, number: str) -> None:
        with pytest.raises(BundleError, match="which is no number") as caught:
            external_data(model(tensor(offset=number)).SerializeToString(), "m.onnx")
        assert len(str(caught.value)) < 200

    def test_a_place_that_is_stated_twice_or_not_at_all_is_refused(self) -> None:
        twice = tensor()
        twice.external_data.add(key="location", value="other.bin")
        nowhere = tensor()
        del nowhere.external_data[:]
        for odd in (twice, nowhere, tensor(prepacked_x="1")):
            with pytest.raises(BundleError, match="not its location once"):
                external_data(model(odd).SerializeToString(), "m.onnx")

    def test_a_mark_without_a_place_and_a_place_without_a_mark_are_both_seen(self) -> None:
        unmarked = tensor()
        unmarked.ClearField("data_location")
        assert len(external_data(model(unmarked).SerializeToString(), "m.onnx")) == 1


class TestOpened:
    def test_the_bytes_that_were_checked_are_what_is_opened(self, tmp_path: Path) -> None:
        """Whatever lies at the path a moment later."""
        path = save(tmp_path, model())
        before = path.read_bytes()
        with listed(tmp_path).opened() as opened:
            path.write_bytes(b"other")
            assert opened == before

    def test_external_data_is_opened_in_a_private_copy_that_goes(self, folder: Path) -> None:
        with listed(folder, f"edge/{ELSEWHERE}").opened() as opened:
            assert isinstance(opened, str)
            beside = Path(opened).with_name(ELSEWHERE)
            (folder / "edge" / ELSEWHERE).write_bytes(b"other")
            assert beside.read_bytes()[4:20] == VALUES.tobytes()
            assert os.stat(Path(opened).parents[1]).st_mode & 0o77 == 0
        assert not Path(opened).exists()

    def test_a_link_out_of_the_folder_is_refused(self, folder: Path, tmp_path: Path) -> None:
        weights = folder / "edge" / ELSEWHERE
        file = listed(folder, f"edge/{ELSEWHERE}")
        outside = tmp_path.parent / f"{tmp_path.name}-outside.bin"
        weights.rename(outside)
        weights.symlink_to(outside)
        with pytest.raises(BundleError, match=r"edge/weights.bin is a link out of the bundle"):
            file.check()

    def test_what_is_no_regular_file_is_refused_at_once(self, tmp_path: Path) -> None:
        save(tmp_path, model())
        file = listed(tmp_path)
        (tmp_path / NAME).unlink()
        os.mkfifo(tmp_path / NAME)
        with pytest.raises(BundleError, match="is no regular file"):
            file.check()

    def test_a_file_larger_than_a_model_can_be_is_not_read(self, tmp_path: Path) -> None:
        save(tmp_path, model())
        with (tmp_path / NAME).open("r+b") as stream:
            stream.truncate(1 << 31)  # sparse: it takes no room
        entry = FileEntry("0" * 64, 1 << 31, "unknown")
        file = ModelFile(ListedFile(tmp_path, NAME, entry), {NAME: entry})
        with pytest.raises(BundleError, match="2147483648 bytes, at most 2147483647 are read"):
            file.check()


class TestHostile:
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"\x1c\0\0\0ORTM" + bytes(40), "ONNX Runtime's own format"),
            (b"", "it has no graph"),
            (b"\x08\x09", "it has no graph"),
            (b"not a model at all", "is no ONNX model"),
            (b"\x3a\xff\xff\xff\xff\x0f", "is no ONNX model"),
        ],
    )
    def test_what_is_no_model_is_refused(self, content: bytes, says: str) -> None:
        with pytest.raises(BundleError, match=says):
            external_data(content, "m.onnx")

    def test_a_compiled_model_that_opens_files_is_refused(self) -> None:
        made = model()
        made.graph.node.add(op_type="EPContext", domain="com.microsoft", output=["o"])
        with pytest.raises(BundleError, match="has a node EPContext"):
            external_data(made.SerializeToString(), "m.onnx")

    def test_nesting_without_end_is_refused(self) -> None:
        content = b""
        for _ in range(2000):
            graph = b"\x0a" + _sized(b"\x2a" + _sized(b"\x32" + _sized(content)))
            content = graph
        with pytest.raises(BundleError, match="is no ONNX model"):
            external_data(b"\x3a" + _sized(content), "m.onnx")

    @given(st.binary(max_size=200))
    def test_damaged_bytes_are_a_model_or_a_typed_error(self, damage: bytes) -> None:
        whole = model(tensor()).SerializeToString()
        for content in (damage, whole[: len(damage)] + damage, whole + damage):
            with suppress(BundleError):
                external_data(content, "m.onnx")


def _sized(content: bytes) -> bytes:
    size, out = len(content), b""
    while size > 0x7F:
        out, size = out + bytes([size & 0x7F | 0x80]), size >> 7
    return out + bytes([size]) + content
