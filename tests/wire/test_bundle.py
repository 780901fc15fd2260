"""A bundle is opened only if it is whole, its own, and keeps to its folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from saccade import codecs
from saccade.bundle import (
    GROUP,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    Bundle,
    find,
    named_or_demo,
    write_manifest,
)
from saccade.errors import BundleError, DigestMismatch
from saccade.limits import Limits
from saccade.manifest import digest_of, parse, token_digest_of
from saccade_testing.paper_bundle import ENCODER, fields, model, write_paper_bundle
from saccade_testing.tables import every_codec, klt_table
from saccade_testing.tokens import token_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole bundle."""
    write_paper_bundle(tmp_path)
    return tmp_path


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit the manifest and give it the digest of its new content."""
    data = json.loads((folder / MANIFEST).read_text())
    change(data)
    with contextlib.suppress(KeyError, TypeError, AttributeError):  # not where it fits no schema
        data["token_digest"] = token_digest_of(data).hex()
    data["digest"] = digest_of(data).hex()
    (folder / MANIFEST).write_text(json.dumps(data))


class TestWhole:
    def test_what_the_exporter_writes_is_opened_and_verified(self, folder: Path) -> None:
        bundle = Bundle.open(folder)
        bundle.verify()
        assert bundle.manifest.encoder.geometry.inputs == ((96, 160),)
        assert bundle.manifest.detector is None
        assert bundle.file("edge/encoder.onnx").read_bytes() == ENCODER
        assert len(bundle.digest) == len(bundle.token_digest) == 32

    def test_the_digest_is_of_the_content_alone(self, folder: Path) -> None:
        before = Bundle.open(folder).digest
        data = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(dict(reversed(data.items())), indent=7))
        assert Bundle.open(folder).digest == before

    def test_another_file_is_another_digest(self, folder: Path) -> None:
        before = Bundle.open(folder).digest
        (folder / "edge/encoder.onnx").write_bytes(model(b"Encoder"))
        write_manifest(folder, fields())
        assert Bundle.open(folder).digest != before

    def test_limits_are_the_bundles(self, folder: Path) -> None:
        limits = Limits.of(Bundle.open(folder).manifest)
        assert (limits.views, limits.tokens_per_view, limits.dim) == (5, 64, 32)
        assert limits.codecs == ("f16", "int8z")

    def test_keys_of_a_later_version_are_ignored(self, folder: Path) -> None:
        rewrite(folder, lambda data: data.update(later={"a": 1}))
        Bundle.open(folder).verify()


class TestWords:
    """What a bundle says to people, and what their questions are held to."""

    @pytest.mark.parametrize(
        ("domain", "says"),
        [
            (None, "domain is str, not None"),
            ("", "domain is '', it is one line of text"),
            (" ", "domain is ' ', it is one line of text"),
            ("two\nlines", "it is one line of text"),
            ("\x1b[2J", "it is one line of text"),
            ("x" * 201, "domain has 201 characters, 200 are allowed"),
        ],
    )
    def test_a_domain_is_a_short_line_of_text(
        self, folder: Path, domain: str | None, says: str
    ) -> None:
        rewrite(folder, lambda data: data.update(domain=domain))
        with pytest.raises(BundleError) as caught:
            Bundle.open(folder)
        assert says in caught.value.message

    def test_a_bundle_must_say_its_domain(self, folder: Path) -> None:
        rewrite(folder, lambda data: data.pop("domain"))
        with pytest.raises(BundleError, match="domain is missing"):
            Bundle.open(folder)

    @pytest.mark.parametrize(
        ("field", "value", "says"),
        [
            ("crop_name", "vehicle", "it holds {crop} once"),
            ("crop_name", "{crop} {crop}", "it holds {crop} once"),
            ("words", ["how", "traffic light"], "['traffic light']: each is one word"),
            ("words", [""], "['']: each is one word"),
        ],
    )
    def test_names_and_words_that_no_question_could_have_are_wrong(
        self, folder: Path, field: str, value: object, says: str
    ) -> None:
        rewrite(folder, lambda data: data["questions"].update({field: value}))
        with pytest.raises(BundleError) as caught:
            Bundle.open(folder)
        assert says in caught.value.message


class TestCodecTables:
    def test_codecs_come_with_the_bundles_tables(self, folder: Path) -> None:
        without = Bundle.open(folder).digest
        bundle = Bundle.open(with_tables(folder, {"klt": klt_table().to_bytes()}))
        assert bundle.digest != without
        known = codecs.of(bundle)
        assert known.names == ("f16", "int8z", "klt")
        tokens = token_set([3, 5])
        expected = every_codec().get("klt").encode([tokens])
        assert known.get("klt").encode([tokens]) == expected

    def test_tables_are_opened_when_they_are_used(self, folder: Path) -> None:
        bundle = Bundle.open(with_tables(folder, {"klt": klt_table().to_bytes()}))
        known = codecs.of(bundle)
        (folder / "codec/klt.bin").unlink()
        assert known.get("f16").wire_id == 0
        for _ in range(2):
            with pytest.raises(BundleError, match="codec/klt.bin is missing"):
                known.get("klt")

    def test_tables_are_opened_once(self, folder: Path) -> None:
        known = codecs.of(Bundle.open(with_tables(folder, {"klt": klt_table().to_bytes()})))
        with ThreadPoolExecutor(8) as pool:
            opened = set(pool.map(lambda _: id(known.by_wire_id(2)), range(16)))
        assert opened == {id(known.get("klt"))}

    def test_another_table_than_the_bundles_is_refused(self, folder: Path) -> None:
        table = klt_table().to_bytes()
        with_tables(folder, {"klt": table})
        (folder / "codec/klt.bin").write_bytes(table[:-1] + b"\0")
        with pytest.raises(DigestMismatch, match="codec/klt.bin has SHA-256"):
            codecs.of(Bundle.open(folder)).get("klt")

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (klt_table(16).to_bytes(), "for tokens of 16 features, the encoder's have 32"),
            (klt_table().to_bytes()[:-1], "are needed at byte"),
            (b"SACRVQ1\0" + bytes(90), "a codec table begins with b'SACKLT1"),
            (b"", "not b''"),
        ],
    )
    def test_a_table_that_does_not_fit_is_refused(
        self, folder: Path, table: bytes, message: str
    ) -> None:
        bundle = Bundle.open(with_tables(folder, {"klt": table}))
        with pytest.raises(BundleError, match=message):
            codecs.of(bundle).get("klt")

    def test_an_absurdly_large_table_is_not_read(self, folder: Path) -> None:
        with_tables(folder, {"klt": klt_table().to_bytes()})
        rewrite(folder, lambda data: data["files"]["codec/klt.bin"].update(bytes=1 << 40))
        with pytest.raises(BundleError, match="1099511627776 bytes, a codec table at most"):
            codecs.of(Bundle.open(folder))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"codecs": ["f16", "klt"]}, "codecs.klt has no codec_tables"),
            (
                {"codec_tables": {"f16": "cloud/embed.onnx"}},
                "codec_tables.f16 belongs to no calibrated codec",
            ),
            (
                {"codecs": ["klt"], "codec_tables": {"klt": "codec/klt.bin"}},
                "codec/klt.bin is not in files",
            ),
        ],
    )
    def test_codecs_and_tables_that_do_not_match_are_named(
        self, folder: Path, change: dict[str, Any], message: str
    ) -> None:
        rewrite(folder, lambda data: data.update(change))
        with pytest.raises(BundleError, match=message):
            Bundle.open(folder)


def with_tables(folder: Path, tables: dict[str, bytes]) -> Path:
    """Add calibrated codecs to the bundle in ``folder``."""
    data = fields()
    (folder / "codec").mkdir()
    for name, table in tables.items():
        (folder / f"codec/{name}.bin").write_bytes(table)
        data["files"][f"codec/{name}.bin"] = {"license": "Apache-2.0"}
    data["codecs"] = [*data["codecs"], *tables]
    data["codec_tables"] = {name: f"codec/{name}.bin" for name in tables}
    write_manifest(folder, data)
    return folder


class TestDamaged:
    def test_a_changed_file_is_named(self, folder: Path) -> None:
        (folder / "cloud/embed.onnx").write_bytes(model(b"EMBED"))
        bundle = Bundle.open(folder)
        with pytest.raises(DigestMismatch, match="'paper': cloud/embed.onnx has SHA-256"):
            bundle.file("cloud/embed.onnx")
        bundle.file("edge/encoder.onnx")

    def test_all_that_is_wrong_is_listed(self, folder: Path) -> None:
        (folder / "cloud/embed.onnx").unlink()
        (folder / "edge/encoder.onnx").write_bytes(b"cut")
        with pytest.raises(BundleError) as caught:
            Bundle.open(folder).verify()
        assert "cloud/embed.onnx is missing" in str(caught.value)
        assert "edge/encoder.onnx has 3 bytes, the manifest says 13" in str(caught.value)

    def test_a_manifest_edited_by_hand_is_refused(self, folder: Path) -> None:
        text = (folder / MANIFEST).read_text().replace('"vocab": 300', '"vocab": 301')
        (folder / MANIFEST).write_text(text)
        with pytest.raises(DigestMismatch, match="it was changed after export"):
            Bundle.open(folder)

    def test_a_file_that_is_not_listed_is_refused(self, folder: Path) -> None:
        with pytest.raises(BundleError, match="lists no file 'edge/other.onnx'"):
            Bundle.open(folder).file("edge/other.onnx")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "is not JSON"),
            ("[" * 100_000, "is nested deeper than 32 levels"),
            ("[]", "the manifest is an object, not"),
            ('{"format": 1}', "manifest format 1, this version reads format 2"),
            ('{"format": 2, "dim": NaN}', "NaN, which is not JSON"),
            ("\ufeff{}", "is not JSON"),
            (" " * (MAX_MANIFEST_BYTES + 1), "a manifest has at most"),
        ],
    )
    def test_what_is_no_manifest_is_refused(self, folder: Path, text: str, message: str) -> None:
        (folder / MANIFEST).write_text(text)
        with pytest.raises(BundleError, match=message):
            Bundle.open(folder)


class TestManifest:
    @pytest.mark.parametrize(
        ("where", "value", "message"),
        [
            (("encoder", "geometry", "grid"), [8], r"geometry.grid is a list of 2, not \[8\]"),
            (("encoder", "geometry", "grid"), [0, 8], r"encoder.geometry.grid is \[0, 8\]"),
            (("encoder", "geometry", "kind"), "pyramid", "kind is one of fixed, tiled, dynamic"),
            (
                ("encoder", "geometry", "size"),
                [96, 96],
                "has no graph for tiles of 96 x 96",
            ),
            (("encoder", "tokens", "parts"), [], r"parts are \[\], not \['main'\]"),
            (("encoder", "tokens", "parts", 0, "width"), "32", "width is int, not '32'"),
            (("encoder", "tokens", "parts", 0, "width"), True, "width is int, not True"),
            (("encoder", "preprocess", "resample"), "magic", "resample 'magic' is unknown"),
            (("encoder", "outputs", "saliency"), None, "cls_ensemble needs saliency"),
            (("regions", "max_crops"), 99, "a frame has 100 views, 64 are possible"),
            (("regions", "aspect"), "wide", "regions.aspect 'wide' is unknown"),
            (("encoder", "buckets", 0, "file"), "x.onnx", "x.onnx is not in files"),
            (("prompt", "chat_template"), "x.jinja", "x.jinja is not in files"),
            (("prompt", "positions"), "polar", "prompt.positions 'polar' is unknown"),
            (("prompt", "image", "separator"), "newline", "'newline' is not in vectors"),
            (("language", "projector"), None, "main is 32 wide and has no projector"),
            (("language", "onnx"), None, "onnx and checkpoint are both missing"),
            (("language", "onnx", "kv_heads"), 3, "heads is 4, kv_heads 3"),
            (("selection", "tokens_per_view"), 65, "is 65, 1..64 are allowed"),
            (("selection", "tokens_per_view"), 0, "tokens_per_view is 0, 1..64 are allowed"),
            (("selection", "method"), "best", "selection.method 'best' is unknown"),
            (("codecs",), ["png"], r"codecs \['png'\] are unknown"),
            (("codecs",), [], "codecs is empty"),
            (("files", "edge/encoder.onnx", "bytes"), None, "'edge/encoder.onnx'].bytes is int"),
            (("detector",), {"file": "a"}, "detector.layout is missing; detector.input is missing"),
        ],
    )
    def test_contradictions_are_named(
        self, folder: Path, where: tuple[Any, ...], value: object, message: str
    ) -> None:
        def change(data: Any) -> None:
            for key in where[:-1]:
                data = data[key]
            data[where[-1]] = value

        rewrite(folder, change)
        with pytest.raises(BundleError, match=message):
            Bundle.open(folder)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"tokens": {"overview": 65, "crop": 4, "closeup": 4}}, r"points\[1\].tokens are \[65"),
            ({"tokens": {"overview": 8, "crop": 0, "closeup": 4}}, "1..64 are allowed"),
            ({"crops": 5}, r"points\[1\].crops is 5, 0..4 are allowed"),
            ({"codec": "rvq"}, r"points\[1\].codec 'rvq' is not in codecs"),
            ({"layers": 17}, r"points\[1\].layers is 17, 1..16 are possible"),
            ({"bytes": 99.0}, "points do not rise in bytes and agreement"),
            ({"agreement": 0.5}, "points do not rise in bytes and agreement"),
        ],
    )
    def test_an_operating_point_that_can_not_be_is_named(
        self, folder: Path, change: dict[str, Any], message: str
    ) -> None:
        tokens = {"overview": 16, "crop": 4, "closeup": 4}
        low = {"crops": 4, "tokens": tokens, "codec": "f16", "layers": 1}
        points = [low | {"bytes": 99.0, "agreement": 0.9}, low | {"bytes": 199.0, "agreement": 1.0}]
        rewrite(folder, lambda data: data.update(points=points))
        assert len(Bundle.open(folder).manifest.points) == 2
        points[1] |= change
        rewrite(folder, lambda data: data.update(points=points))
        with pytest.raises(BundleError, match=message):
            Bundle.open(folder)

    def test_a_default_point_must_be_there(self, folder: Path) -> None:
        rewrite(folder, lambda data: data["selection"].update(point=0))
        with pytest.raises(BundleError, match="selection.point is 0, there are 0 points"):
            Bundle.open(folder)

    def test_all_problems_are_listed_at_once(self) -> None:
        with pytest.raises(BundleError) as caught:
            parse({"format": 2, "name": 3, "selection": {}})
        for problem in ("name is str, not 3", "encoder is missing", "selection.method is missing"):
            assert problem in str(caught.value)


class TestFolder:
    @pytest.mark.parametrize(
        "name",
        ["../secret", "/etc/passwd", "edge/../../x", "a\\b", "C:x", "", "./a", "a//b", MANIFEST],
    )
    def test_a_name_that_leaves_the_bundle_is_refused(self, folder: Path, name: str) -> None:
        def change(data: dict[str, Any]) -> None:
            data["files"][name] = data["files"]["edge/encoder.onnx"]

        rewrite(folder, change)
        with pytest.raises(BundleError, match="a bundle can't hold a file named"):
            Bundle.open(folder)

    def test_a_link_out_of_the_bundle_is_refused(self, folder: Path, tmp_path: Path) -> None:
        outside = tmp_path.parent / "outside.onnx"
        outside.write_bytes(ENCODER)
        (folder / "edge/encoder.onnx").unlink()
        (folder / "edge/encoder.onnx").symlink_to(outside)
        with pytest.raises(BundleError, match="edge/encoder.onnx is a link out of the bundle"):
            Bundle.open(folder).verify()

    def test_nothing_there_lists_what_is_installed(self, tmp_path: Path) -> None:
        names = ", ".join(sorted(entry.name for entry in entry_points(group=GROUP))) or "none"
        with pytest.raises(BundleError, match=f"no bundle at .*nope.*installed: {names}"):
            find(tmp_path / "nope")

    def test_a_folder_without_manifest_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="holds no manifest.json"):
            Bundle.open(tmp_path)

    def test_an_exporter_that_lists_too_much_is_told(self, folder: Path) -> None:
        more = fields()
        more["files"]["cloud/extra.onnx"] = {"license": "MIT"}
        with pytest.raises(BundleError, match="extra.onnx is listed and doesn't exist"):
            write_manifest(folder, more)


def test_where_no_bundle_is_named_the_demos_is_used_and_a_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert named_or_demo("mine") == "mine"
    assert not caplog.records
    assert named_or_demo(None) == "crossing"
    assert "no bundle is named: 'crossing' is used" in caplog.text
