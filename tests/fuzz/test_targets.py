"""The fuzzer's targets tell a finding from a refusal."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st


def load() -> ModuleType:
    """``targets`` lies beside this file, as the fuzzer finds it."""
    spec = importlib.util.spec_from_file_location("targets", Path(__file__).parent / "targets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TARGETS = load()
SEEDS = dict(TARGETS.seeds())


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_are_no_findings(name: str) -> None:
    TARGETS.one_input(SEEDS[name])


@pytest.mark.parametrize("codec", ["f16", "int8z", "klt", "rvq"])
def test_seeds_reach_the_codecs(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that is refused before it is decoded would teach the fuzzer little."""

    def finding(*_: object) -> None:
        raise AssertionError("reached")

    monkeypatch.setattr(type(TARGETS.CODECS.get(codec)), "decode", finding)
    for form in ("raw", "resealed"):
        with pytest.raises(AssertionError, match="reached"):
            TARGETS.one_input(SEEDS[f"packet-{codec}-{form}"])


@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_damaged_seeds_are_no_findings(name: str, data: st.DataObject) -> None:
    raw = bytearray(SEEDS[name])
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(1, len(raw) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(1, len(raw)) | st.just(len(raw)))
    TARGETS.one_input(bytes(raw[:end]))
