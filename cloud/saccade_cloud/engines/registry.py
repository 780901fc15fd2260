"""Engines by name: entry points of the group ``saccade.engines``, each an ``EngineFactory``.

An engine of another package joins by such an entry and needs nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol

from saccade.bundle import Bundle
from saccade.errors import BundleError, ConfigError
from saccade_cloud.engines.base import Capabilities, Engine, EngineLimits, Needs

GROUP = "saccade.engines"
DEFAULT = "onnx"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the server chooses. ``prefix_bytes``: for the caches of shared beginnings, None: as the
    engine has it by itself. ``checkpoints``: folders in which bundles' checkpoints are looked for.
    ``device`` and ``dtype``: where and in which numbers, for engines that have a choice.
    """

    limits: EngineLimits = field(default_factory=EngineLimits)
    threads: int = 1
    prefix_bytes: int | None = None
    checkpoints: tuple[Path, ...] = ()
    device: str = "cpu"
    dtype: str = "auto"


class EngineFactory(Protocol):
    """Opens engines of one kind."""

    def capabilities(self, bundle: Bundle) -> Capabilities | None:
        """What such an engine can do with the bundle's language model, which is not opened; None
        where the bundle has none for it.
        """
        ...

    def open(self, bundle: Bundle, options: EngineOptions) -> Engine:
        """Raises ``BundleError``, and ``ConfigError`` for options that cannot be had here."""
        ...


def names() -> tuple[str, ...]:
    """All that are installed, sorted."""
    return tuple(sorted(_entries()))


def open_engine(name: str, bundle: Bundle, needs: Needs, options: EngineOptions) -> Engine:
    """The engine ``name`` on the bundle's language model.

    Raises ``ConfigError`` for a name that is not installed or lacks a package, ``BundleError`` for
    a bundle that it cannot serve, with the names of engines that can.
    """
    factory = _load(name)
    able = factory.capabilities(bundle)
    if able is None:
        raise BundleError(
            f"the bundle {bundle.manifest.name!r} has no language model for the engine {name!r}; "
            f"{_instead(bundle, needs, name)}"
        )
    check_needs(bundle, needs, able, name)
    return factory.open(bundle, options)


def check_needs(bundle: Bundle, needs: Needs, able: Capabilities, name: str) -> None:
    """Raises ``BundleError`` where the engine ``name`` is not ``able`` to do what is needed, with
    the names of engines that are.
    """
    missing = able.missing(needs)
    if missing:
        raise BundleError(
            f"the bundle {bundle.manifest.name!r} needs {', '.join(missing)}, "
            f"which the engine {name!r} cannot do; {_instead(bundle, needs, name)}"
        )


def engines_for(bundle: Bundle, needs: Needs) -> tuple[str, ...]:
    """Names of the installed engines that can serve the bundle. Those that lack a package are not
    among them.
    """
    able = []
    for name in names():
        try:
            found = _load(name).capabilities(bundle)
        except ConfigError:
            continue
        if found is not None and not found.missing(needs):
            able.append(name)
    return tuple(able)


def _instead(bundle: Bundle, needs: Needs, name: str) -> str:
    others = [other for other in engines_for(bundle, needs) if other != name]
    if others:
        return f"these can: {', '.join(others)}"
    return f"no engine that is installed here can: {', '.join(names())}"


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _load(name: str) -> EngineFactory:
    entries = _entries()
    if name not in entries:
        raise ConfigError(f"there is no engine {name!r}, there are: {', '.join(sorted(entries))}")
    try:
        factory: EngineFactory = entries[name].load()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the engine {name!r} needs the package {error.name!r}, which is not installed"
        ) from error
    return factory
