"""Whatever lies in tokenizer.json: a tokenizer that works, or a BundleError."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saccade.bundle import Bundle, read_fields, write_manifest
from saccade.errors import BundleError
from saccade_cloud.assemble import open_engine
from saccade_cloud.tokenizer_file import MAX_TOKENIZER_BYTES, open_tokenizer, parse_tokenizer
from saccade_testing.tiny_bundle import write_bundle, write_tokenizer

Fields = dict[str, Any]
TOKENIZER = "cloud/tokenizer.json"


@pytest.fixture
def good(tmp_path: Path) -> Fields:
    write_tokenizer(tmp_path / "tokenizer.json")
    loaded: Fields = json.loads((tmp_path / "tokenizer.json").read_text())
    return loaded


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{}", b"[]", b"null", b'"x"', b"1" * 5000, b"1e999", b"NaN", b"\xff\xfe"),
        *(b"[" * 1_000_000, b'{"a":' * 100_000, b'{"model":' + b"[" * 500 + b"]" * 500 + b"}"),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_tokenizer_is_a_bundle_error(content: bytes) -> None:
    with pytest.raises(BundleError, match="the tokenizer cannot be read") as caught:
        parse_tokenizer(content)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "change",
    [
        # The library panics, outside of Exception.
        lambda f: f.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        lambda f: f["model"].update(vocab={}),  # found only when it encodes
        lambda f: f["model"].update(vocab=7),
        lambda f: f.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}, "behavior": "Removed",
                           "invert": False}
        ),
        lambda f: f.update(model={"type": "Unigram", "vocab": [], "unk_id": 5}),
        lambda f: f.update(model={"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}),
    ],
)  # fmt: skip
def test_a_tokenizer_that_contradicts_itself_is_a_bundle_error(
    good: Fields, change: Callable[[Fields], None]
) -> None:
    change(good)
    with pytest.raises(BundleError, match="the tokenizer cannot be read"):
        parse_tokenizer(json.dumps(good).encode())


def test_a_tokenizer_neither_cuts_nor_fills_up_a_question(good: Fields) -> None:
    plain = parse_tokenizer(json.dumps(good).encode()).encode("what color is the car").ids
    good["padding"] = {
        "strategy": {"Fixed": 10**15}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>",
    }  # fmt: skip
    good["truncation"] = {
        "direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    odd = parse_tokenizer(json.dumps(good).encode())
    assert odd.encode("what color is the car").ids == plain


class TestOfABundle:
    def test_a_file_too_large_is_not_read(self, tmp_path: Path) -> None:
        write_bundle(tmp_path)
        with (tmp_path / TOKENIZER).open("r+b") as stream:
            stream.truncate(500_000_000)  # sparse: it takes no room
        with pytest.raises(BundleError, match=f"at most {MAX_TOKENIZER_BYTES} are read"):
            open_tokenizer(rewritten(tmp_path))

    def test_a_token_beyond_the_vocabulary_is_refused(self, tmp_path: Path) -> None:
        bundle = write_bundle(tmp_path)
        vocab = bundle.manifest.language.vocab
        fields = read_fields(tmp_path)
        fields["language"]["vocab"] = vocab - 1
        with pytest.raises(BundleError, match=f"has a token {vocab - 1}, the manifest states"):
            open_tokenizer(rewritten(tmp_path, fields))

    def test_a_bundle_with_an_empty_tokenizer_opens_no_engine(self, tmp_path: Path) -> None:
        write_bundle(tmp_path)
        (tmp_path / TOKENIZER).write_text("{}")
        with pytest.raises(BundleError, match="the tokenizer cannot be read"):
            open_engine(rewritten(tmp_path))

    def test_a_tokenizer_that_was_changed_is_refused(self, tmp_path: Path) -> None:
        bundle = write_bundle(tmp_path)
        content = (tmp_path / TOKENIZER).read_text()
        (tmp_path / TOKENIZER).write_text(content.replace('"red"', '"der"'))
        with pytest.raises(BundleError, match=r"'tiny': cloud/tokenizer.json has SHA-256"):
            open_tokenizer(bundle)


def rewritten(folder: Path, fields: Fields | None = None) -> Bundle:
    """The bundle with a manifest of its files as they are now."""
    stated = fields or read_fields(folder)
    write_manifest(folder, {k: v for k, v in stated.items() if k not in ("digest", "format")})
    return Bundle.open(folder)
