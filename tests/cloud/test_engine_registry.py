"""Engines by name, and what is said of one that cannot serve a bundle."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade.errors import BundleError, ConfigError
from saccade_cloud.engines import registry
from saccade_cloud.engines.base import Capabilities, Engine, EngineLimits, Needs
from saccade_cloud.engines.decoder import graph_capabilities
from saccade_cloud.engines.onnx import OnnxEngine
from saccade_cloud.engines.registry import EngineOptions

OPTIONS = EngineOptions(limits=EngineLimits(max_batch=3))


class AbleFactory:
    """Of another package: it says that it can do everything."""

    def capabilities(self, bundle: Bundle) -> Capabilities | None:
        return Capabilities(*[True] * 7, max_context=bundle.manifest.language.max_context)

    def open(self, bundle: Bundle, options: EngineOptions) -> Engine:
        raise ConfigError(f"{bundle.manifest.name} was opened with {options.threads} threads")


class UnableFactory(AbleFactory):
    """It takes another kind of language model."""

    def capabilities(self, bundle: Bundle) -> Capabilities | None:
        del bundle
        return None


ABLE, UNABLE = AbleFactory(), UnableFactory()


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed packages with engines: two of this module, one whose own package is missing."""
    folder = tmp_path / "others-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    monkeypatch.setitem(sys.modules, "other_engines", sys.modules[__name__])
    lines = ["able = other_engines:ABLE", "unable = other_engines:UNABLE", "lost = not_there:X"]
    (folder / "entry_points.txt").write_text("\n".join([f"[{registry.GROUP}]", *lines]))
    monkeypatch.syspath_prepend(str(tmp_path))


def test_the_embedded_engine_is_there_and_serves_the_bundle(bundle: Bundle) -> None:
    assert registry.DEFAULT in registry.names()
    assert len(entry_points(group=registry.GROUP)) >= 1

    async def work() -> None:
        engine = registry.open_engine("onnx", bundle, Needs(explicit_positions=True), OPTIONS)
        assert isinstance(engine, OnnxEngine)
        assert engine.limits.max_batch == 3
        assert engine.limits.max_context == bundle.manifest.language.max_context
        assert engine.capabilities.sampling
        await engine.close()

    asyncio.run(work())


@pytest.mark.usefixtures("others")
def test_an_unknown_engine_is_refused_with_the_names_that_there_are(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"no engine 'vllm', there are: able, lost, onnx,.*able"):
        registry.open_engine("vllm", bundle, Needs(), OPTIONS)


@pytest.mark.usefixtures("others")
def test_an_engine_whose_package_is_missing_says_which(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="'lost' needs the package 'not_there'"):
        registry.open_engine("lost", bundle, Needs(), OPTIONS)


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("name", ["mrope", "deepstack", "bidirectional", "prefix"])
def test_a_bundle_that_needs_more_is_refused_with_the_name_of_an_engine_that_can(
    bundle: Bundle, name: str
) -> None:
    needs = Needs(explicit_positions=True, **{name: True})
    with pytest.raises(BundleError, match=rf"needs {name}, which .* 'onnx' cannot do; .*: able$"):
        registry.open_engine("onnx", bundle, needs, OPTIONS)
    assert registry.engines_for(bundle, needs) == ("able",)


def test_where_no_engine_can_that_is_said(bundle: Bundle) -> None:
    needs = Needs(mrope=True, deepstack=True)
    able = registry.engines_for(bundle, needs)
    expected = f"these can: {', '.join(able)}" if able else "no engine that is installed here can"
    with pytest.raises(BundleError, match=f"needs mrope, deepstack, which .*{expected}"):
        registry.open_engine("onnx", bundle, needs, OPTIONS)


@pytest.mark.usefixtures("others")
def test_a_bundle_without_a_language_model_for_the_engine_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no language model for the engine 'unable'; .*onnx"):
        registry.open_engine("unable", bundle, Needs(), OPTIONS)


@pytest.mark.usefixtures("others")
def test_options_reach_the_engine(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="opened with 7 threads"):
        registry.open_engine("able", bundle, Needs(), EngineOptions(threads=7))


def test_a_graph_says_what_it_can_do() -> None:
    plain = graph_capabilities({"position_ids": ["B", "L"]}, 9)
    assert plain == Capabilities(explicit_positions=True, sampling=True, max_context=9)
    inputs = {"position_ids": (3, 0, 0), "visual_blocks": (0, 0), "deepstack": (2, 0, 0, 8)}
    assert graph_capabilities(inputs, 9) == replace(
        Capabilities(*[True] * 7, max_context=9), members=False
    )
