"""Nothing that JSON can say about a bundle ends in anything but a manifest or a BundleError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.bounded_json import MAX_DEPTH, MAX_INTEGER, loads, shown
from saccade.bundle import MANIFEST, Bundle, read_fields, write_manifest
from saccade.errors import BundleError, SaccadeError
from saccade.limits import Limits
from saccade.manifest import digest_of, parse
from saccade_testing.paper_bundle import write_paper_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle")
    write_paper_bundle(path)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("9" * 5000, "an integer beyond 64 bits"),
        ("1" + "0" * 400, "an integer beyond 64 bits"),
        (str(MAX_INTEGER + 1), "an integer beyond 64 bits"),
        (f"-{MAX_INTEGER + 1}", "an integer beyond 64 bits"),
        ("1e999", "a number beyond 64 bits"),
        ("-1e999", "a number beyond 64 bits"),
        ("1" * 400 + ".5", "a number beyond 64 bits"),
        ("NaN", "NaN, which is not JSON"),
        ("Infinity", "Infinity, which is not JSON"),
        ("-Infinity", "-Infinity, which is not JSON"),
        ('{"a": 1, "b": 2, "a": 1}', "the key 'a' twice in one object"),
        ('"\\ud800"', "which is no Unicode"),
        ('{"\\udfff": 1}', "which is no Unicode"),
        ("[" * 33 + "]" * 33, "nested deeper than 32 levels"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper than 32 levels"),
        ('{"a":' * 100_000, "nested deeper than 32 levels"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
    ],
    ids=lambda text: text[:16],
)
def test_what_a_program_cannot_work_with_is_refused_in_a_short_line(text: str, says: str) -> None:
    with pytest.raises(BundleError, match=says) as caught:
        loads(f'{{"x": {text}}}'.encode(), "m")
    assert len(str(caught.value)) < 200


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(BundleError, match="is not JSON"):
        loads(b'{"a": "\xff"}', "m")


def test_what_is_just_within_bounds_is_read() -> None:
    text = "[" * (MAX_DEPTH - 1) + str(MAX_INTEGER) + "]" * (MAX_DEPTH - 1)
    value: Any = loads(text.encode(), "m")
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == MAX_INTEGER


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_values_are_read_as_they_are_or_refused(value: object) -> None:
    text = json.dumps(value)
    try:
        read = loads(text.encode(), "m")
    except BundleError:
        return
    assert read == value


@given(JSON)
def test_a_shown_value_is_short(value: object) -> None:
    assert len(shown(value)) <= 60


class TestManifests:
    """Every field of a manifest, with a value that it can't have."""

    @pytest.mark.parametrize(
        "odd",
        [
            *(10**18, -1, 1e300, -0.5, "", "x" * 5000, [], {}, None, True, [[]], "\u202e\x1b[2J"),
            *([1] * 3000, {"a": {}}),
        ],
        ids=lambda odd: repr(odd)[:12],
    )
    def test_an_odd_value_anywhere_is_a_manifest_or_a_short_typed_error(
        self, folder: Path, odd: object
    ) -> None:
        whole = json.loads((folder / MANIFEST).read_text())
        for place in _places(whole):
            changed = json.loads(json.dumps(whole))
            *way, last = place
            target = changed
            for key in way:
                target = target[key]
            target[last] = odd
            error = _outcome(changed)
            assert len(error) < 3000, place

    @pytest.mark.parametrize(
        ("where", "value", "says"),
        [
            (
                ("questions", "chars"),
                1 << 40,
                "chars is 1099511627776, at most 2147483647",
            ),
            (("language", "onnx", "layers"), 0, r"language.onnx.layers is 0, 1..2147483647"),
            (("regions", "max_crops"), -1, "regions.max_crops is -1, at least 0"),
            (("regions", "crop_margin"), -0.1, "regions.crop_margin is -0.1, at least 0"),
            (("files", "cloud/embed.onnx", "sha256"), "x", "not 64 hex digits"),
            (("files", "cloud/embed.onnx", "bytes"), -1, "bytes is -1"),
        ],
    )
    def test_a_number_out_of_range_is_named(
        self, folder: Path, where: tuple[str, ...], value: object, says: str
    ) -> None:
        fields = read_fields(folder)
        *way, last = where
        target = fields
        for key in way:
            target = target[key]
        target[last] = value
        with pytest.raises(BundleError, match=says):
            parse(fields)

    def test_an_exporters_value_that_is_no_json_is_a_bundle_error(self, folder: Path) -> None:
        fields = read_fields(folder)
        for odd in (float("nan"), 10**5000, b"bytes", 10**400):
            with pytest.raises(BundleError):
                write_manifest(folder, fields | {"accuracy": {"x": odd}})

    def test_a_manifest_that_is_a_link_out_of_the_bundle_is_refused(self, tmp_path: Path) -> None:
        write_paper_bundle(tmp_path / "bundle")
        moved = tmp_path / "elsewhere.json"
        (tmp_path / "bundle" / MANIFEST).rename(moved)
        (tmp_path / "bundle" / MANIFEST).symlink_to(moved)
        with pytest.raises(BundleError, match="is a link out of the bundle"):
            Bundle.open(tmp_path / "bundle")


def _places(value: object, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside ``value``, the first two of a list alone."""
    items: list[tuple[Any, object]] = []
    if isinstance(value, dict):
        items = [*value.items()]
    elif isinstance(value, list):
        items = [*enumerate(value)][:2]
    return [p for key, inner in items for p in ((*way, key), *_places(inner, (*way, key)))]


def _outcome(fields: Any) -> str:
    """What reading it and stating its limits ends in: nothing, or an error's words."""
    try:
        manifest = parse(loads(json.dumps(fields).encode(), MANIFEST))
        digest_of(fields)
        Limits.of(manifest).to_wire()
    except SaccadeError as error:
        return error.message
    return ""
