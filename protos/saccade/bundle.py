"""The bundle: the one thing that edge and cloud must agree on.

A folder with `manifest.json` and the files that it lists. It is found by path, or by name through
the entry-point group ``saccade.bundles``, whose entries name packages that hold one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from saccade import manifest as manifests
from saccade.errors import BundleError, DigestMismatch
from saccade.manifest import FileEntry, Manifest

__all__ = ["Bundle", "Manifest", "find", "sample_clip", "sha256_of", "write_manifest"]

GROUP = "saccade.bundles"
MANIFEST = "manifest.json"
DEMO, CLIP = "crossing", "clip.mp4"
MAX_MANIFEST_BYTES = 1 << 20  # a manifest is a few kilobytes; this bounds what is parsed
_CHUNK_BYTES = 1 << 20


class Bundle:
    """An opened bundle: its manifest is read and agrees with its digest.

    Files are checked when they are asked for: `file` the one, `verify` all.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._verified: set[str] = set()

    @classmethod
    def open(cls, path_or_name: str | Path) -> Bundle:
        """Raises BundleError for a bundle that isn't there or whose manifest is wrong,
        DigestMismatch for a manifest that was edited after it was written.
        """
        folder = find(path_or_name)
        fields = _read_fields(folder / MANIFEST)
        manifest = manifests.parse(fields)
        actual = manifests.digest_of(fields).hex()
        if actual != manifest.digest:
            raise DigestMismatch(
                f"{folder / MANIFEST} states digest {manifest.digest[:16]}, its content has "
                f"{actual[:16]}: it was changed after export"
            )
        for name in manifest.files:
            _check_name(name)
        return cls(folder, manifest)

    @property
    def digest(self) -> bytes:
        """32 bytes, exchanged in the handshake."""
        return bytes.fromhex(self.manifest.digest)

    def file(self, name: str) -> Path:
        """A listed file, once it is known to be the one that was exported.

        Raises BundleError if it isn't listed or is missing, DigestMismatch if it is another.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"bundle {self.manifest.name!r} lists no file {name!r}")
        path = self.folder / name
        if name not in self._verified:
            problem = _problem(self.folder, name, entry)
            if problem:
                kind = DigestMismatch if path.is_file() else BundleError
                raise kind(f"bundle {self.manifest.name!r}: {problem}")
            self._verified.add(name)
        return path

    def verify(self) -> None:
        """Check every file. Raises BundleError that lists all that is wrong."""
        checks = (_problem(self.folder, *item) for item in sorted(self.manifest.files.items()))
        problems = [problem for problem in checks if problem]
        if problems:
            raise BundleError(f"bundle {self.manifest.name!r}: {'; '.join(problems)}")
        self._verified.update(self.manifest.files)


def find(path_or_name: str | Path) -> Path:
    """The folder of a bundle. A path wins over a name; raises BundleError, listing the names."""
    path = Path(path_or_name)
    if (path / MANIFEST).is_file():
        return path
    named: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
    entry = named.get(str(path_or_name))
    if entry is not None:
        return _package_folder(entry)
    if path.exists():
        raise BundleError(f"{path} holds no {MANIFEST}")
    known = ", ".join(sorted(named)) or "none"
    raise BundleError(f"no bundle at {path}, and none of that name (installed: {known})")


def sample_clip(bundle: Bundle) -> Path:
    """The bundle's sample clip, or that of the demo bundle whose world it was trained in.

    Raises ``BundleError`` where there is none.
    """
    folders = [bundle.folder]
    demo = Bundle.open(DEMO)
    folders += [demo.folder] if demo.manifest.family == bundle.manifest.family else []
    for folder in folders:
        if (folder / CLIP).is_file():
            return folder / CLIP
    raise BundleError(f"bundle {bundle.manifest.name!r} has no sample clip")


def write_manifest(folder: Path, fields: Mapping[str, Any]) -> Manifest:
    """Write `manifest.json` for the exported files in ``folder``; returns what it says.

    ``fields``: the manifest without ``digest``; ``fields["files"]`` maps each file's name to
    ``{"license": SPDX}``, size and SHA-256 are measured here. Raises BundleError.
    """
    files = {}
    for name, entry in sorted(fields["files"].items()):
        _check_name(name)
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path} is listed and doesn't exist")
        measured = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        files[name] = {**measured, "license": entry["license"]}
    complete = {"format": manifests.FORMAT, **fields, "files": files}
    complete["digest"] = manifests.digest_of(complete).hex()
    # What is written is what JSON keeps: tuples become lists before the check.
    text = json.dumps(complete, indent=1, allow_nan=False) + "\n"
    manifest = manifests.parse(json.loads(text))
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def sha256_of(path: Path) -> str:
    """64 hex digits, read in chunks: models are larger than memory should be."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _read_fields(path: Path) -> Any:  # noqa: ANN401 - JSON, judged by the manifest's schema
    size = path.stat().st_size
    if size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} has {size} bytes, a manifest has at most {MAX_MANIFEST_BYTES}")
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from error


def _no_constant(name: str) -> None:
    raise BundleError(f"the manifest holds {name}, which is not JSON")


def _check_name(name: str) -> None:
    """A file's name stays inside the bundle on every system."""
    path = PurePosixPath(name)
    odd = not name or "\\" in name or ":" in name or "\0" in name
    if odd or path.is_absolute() or ".." in path.parts or str(path) != name or name == MANIFEST:
        raise BundleError(f"a bundle can't hold a file named {name!r}")


def _problem(folder: Path, name: str, entry: FileEntry) -> str:
    """What is wrong with a file, cheapest check first; empty if nothing is."""
    path = folder / name
    if not path.is_file():
        return f"{name} is missing"
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"{name} is a link out of the bundle"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"{name} has {size} bytes, the manifest says {entry.bytes}"
    actual = sha256_of(path)
    if actual != entry.sha256:
        return f"{name} has SHA-256 {actual[:16]}, the manifest says {entry.sha256[:16]}"
    return ""


def _package_folder(entry: EntryPoint) -> Path:
    """Where a bundle's package lies, without importing it."""
    spec = find_spec(entry.module)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in map(Path, folders):
        if (folder / MANIFEST).is_file():
            return folder
    raise BundleError(f"bundle {entry.name!r}: package {entry.module} holds no {MANIFEST}")
