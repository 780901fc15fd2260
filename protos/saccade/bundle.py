"""The bundle: the one thing that edge and cloud must agree on.

A folder with `manifest.json` and the files that it lists. It is found by path, or by name through
the entry-point group ``saccade.bundles``, whose entries name packages that hold one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from saccade import bounded_json, schema
from saccade import manifest as manifests
from saccade.bundle_files import MAX_MODEL_BYTES, ListedFile, ModelFile, measure, open_inside
from saccade.bundle_names import check_names
from saccade.errors import BundleError, DigestMismatch
from saccade.manifest import Manifest
from saccade.onnx_file import external_data

__all__ = [
    "Bundle",
    "Manifest",
    "find",
    "named_or_demo",
    "read_fields",
    "sample_clip",
    "write_manifest",
]

log = logging.getLogger(__name__)

GROUP = "saccade.bundles"
MANIFEST = "manifest.json"
DEMO, CLIP = "crossing", "clip.mp4"
MAX_MANIFEST_BYTES = 1 << 20  # a manifest is a few kilobytes; this bounds what is parsed
MAX_NAME_CHARS = 200  # of a file's path in the bundle


class Bundle:
    """An opened bundle: its manifest is read and agrees with its digest.

    Files are checked when they are read: `read`, `model` and `file` the one, `verify` all.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, path_or_name: str | Path) -> Bundle:
        """Raises BundleError for a bundle that isn't there or whose manifest is wrong,
        DigestMismatch for a manifest that was edited after it was written.
        """
        folder = find(path_or_name)
        fields = read_fields(folder)
        manifest = manifests.parse(fields)
        _check_digest(folder, "digest", manifest.digest, manifests.digest_of(fields))
        _check_digest(
            folder, "token_digest", manifest.token_digest, manifests.token_digest_of(fields)
        )
        for name in manifest.files:
            _check_name(name)
        check_names(manifest)
        return cls(folder, manifest)

    @property
    def digest(self) -> bytes:
        """32 bytes over everything, for audits."""
        return bytes.fromhex(self.manifest.digest)

    @property
    def token_digest(self) -> bytes:
        """32 bytes over what a token means, exchanged in the handshake."""
        return bytes.fromhex(self.manifest.token_digest)

    def listed(self, name: str) -> ListedFile:
        """A file that the manifest lists, not read yet. Raises BundleError if it isn't listed."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"bundle {self.manifest.name!r} lists no file {name!r}")
        return ListedFile(self.folder, name, entry)

    def read(self, name: str, most_bytes: int) -> bytes:
        """A listed file's content, the one that was exported. Raises as `ListedFile` does."""
        with self._named():
            return self.listed(name).read(most_bytes)

    def mapped(self, name: str, most_bytes: int) -> memoryview:
        """The same as pages of the file. Raises as `ListedFile` does."""
        with self._named():
            return self.listed(name).mapped(most_bytes)

    def model(self, name: str) -> ModelFile:
        """A listed ONNX model, not read yet. Raises BundleError if it isn't listed.

        The encoder's graphs open no file that the token digest does not cover.
        """
        encoder, files = self.manifest.encoder, self.manifest.files
        if name in encoder.files.values():
            files = {data: files[data] for data in encoder.data}
        return ModelFile(self.listed(name), files)

    def file(self, name: str) -> Path:
        """The path of a listed file that is now the one that was exported. For programs that can
        only work with a path: what lies there can change later. Raises as `ListedFile` does.
        """
        with self._named():
            file = self.listed(name)
            file.check()
        return file.path

    @property
    def is_edge_half(self) -> bool:
        """Whether only what an edge opens is there."""
        edge = self.manifest.edge_files()
        others = [name for name in self.manifest.files if name not in edge]
        return bool(others) and not any((self.folder / name).exists() for name in others)

    def verify(self) -> None:
        """Check every file, and all that models open; of an edge's half what is there. Raises
        BundleError that lists all that is wrong.
        """
        names = self.manifest.edge_files() if self.is_edge_half else self.manifest.files
        checks = map(self._problem, sorted(names))
        problems = [problem for problem in checks if problem]
        if problems:
            raise BundleError(f"bundle {self.manifest.name!r}: {'; '.join(problems)}")

    def _problem(self, name: str) -> str:
        """What is wrong with a file, or with one that it opens; empty if nothing is."""
        is_model = name in self.manifest.models()
        try:
            (self.model(name) if is_model else self.listed(name)).check()
        except BundleError as error:
            return error.message
        return ""

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors say which bundle's file it is."""
        try:
            yield
        except BundleError as error:
            raise type(error)(f"bundle {self.manifest.name!r}: {error.message}") from error


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


def named_or_demo(path_or_name: str | Path | None) -> str | Path:
    """What is named; where nothing is, the demo's bundle, with a warning that says so."""
    if path_or_name is not None:
        return path_or_name
    log.warning("no bundle is named: %r is used, which knows one drawn street crossing", DEMO)
    return DEMO


def sample_clip(bundle: Bundle) -> Path:
    """The bundle's sample clip, or that of the bundle which shows what it was made for.

    Raises ``BundleError`` where there is none.
    """
    folders = [bundle.folder]
    folders += [find(bundle.manifest.clip_of)] if bundle.manifest.clip_of else []
    for folder in folders:
        if (folder / CLIP).is_file():
            return folder / CLIP
    raise BundleError(f"bundle {bundle.manifest.name!r} has no sample clip")


def write_manifest(folder: Path, fields: Mapping[str, Any]) -> Manifest:
    """Write `manifest.json` for the exported files in ``folder``; returns what it says.

    ``fields``: the manifest without its digests; ``fields["files"]`` maps each file's name to
    ``{"license": SPDX}``, size and SHA-256 are measured here, and which files the encoder's graphs
    keep their weights in. Specs can be dataclasses. Raises BundleError.
    """
    fields = schema.write(fields)
    files = {}
    for name, entry in sorted(fields["files"].items()):
        _check_name(name)
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path} is listed and doesn't exist")
        measured = measure(folder, name)
        files[name] = {
            "sha256": measured.sha256, "bytes": measured.bytes, "license": entry["license"],
        }  # fmt: skip
    # What is written is what JSON keeps: tuples become lists before the check.
    text = _to_json({"format": manifests.FORMAT, **fields, "files": files})
    complete = bounded_json.loads(text.encode(), MANIFEST)
    _note_encoder_data(folder, complete)
    # The digests are of fields that fit the schema: it is asked with others in their place.
    manifests.parse({**complete, "digest": "", "token_digest": ""})
    complete["token_digest"] = manifests.token_digest_of(complete).hex()
    complete["digest"] = manifests.digest_of(complete).hex()
    text = _to_json(complete)
    manifest = manifests.parse(complete)
    check_names(manifest)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def _note_encoder_data(folder: Path, fields: dict[str, Any]) -> None:
    """Put the names of the encoder's external data into its specification."""
    encoder = fields.get("encoder")
    if not isinstance(encoder, dict):
        return  # the schema says what is wrong
    buckets = encoder.get("buckets")
    names = [b.get("file") for b in buckets or () if isinstance(b, dict)]
    data: set[str] = set()
    for name in names:
        if isinstance(name, str) and name in fields["files"]:
            with open_inside(folder, name) as stream:
                pieces = external_data(stream.read(MAX_MODEL_BYTES + 1), name)
            data |= {str(PurePosixPath(name).parent / piece.location) for piece in pieces}
    if data:
        encoder["data"] = sorted(data)


def _check_digest(folder: Path, name: str, stated: str, actual: bytes) -> None:
    if actual.hex() != stated:
        raise DigestMismatch(
            f"{folder / MANIFEST} states {name} {stated[:16]}, its content has "
            f"{actual.hex()[:16]}: it was changed after export"
        )


def _to_json(fields: Mapping[str, Any]) -> str:
    try:
        return json.dumps(fields, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"the manifest cannot be written as JSON: {error}") from error


def read_fields(folder: Path) -> Any:  # noqa: ANN401 - JSON, judged by the manifest's schema
    """The JSON in a bundle's manifest, whatever it says. Raises BundleError."""
    path = folder / MANIFEST
    try:
        with open_inside(folder, MANIFEST) as stream:
            data = stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if len(data) > MAX_MANIFEST_BYTES:
        size = path.stat().st_size
        raise BundleError(f"{path} has {size} bytes, a manifest has at most {MAX_MANIFEST_BYTES}")
    return bounded_json.loads(data, str(path))


def _check_name(name: str) -> None:
    """A file's name stays inside the bundle on every system."""
    path = PurePosixPath(name)
    odd = not name.isprintable() or "\\" in name or ":" in name or len(name) > MAX_NAME_CHARS
    leaves = not name or path.is_absolute() or ".." in path.parts or str(path) != name
    if odd or leaves or name == MANIFEST:
        raise BundleError(f"a bundle can't hold a file named {bounded_json.shown(name)}")


def _package_folder(entry: EntryPoint) -> Path:
    """Where a bundle's package lies, without importing it."""
    spec = find_spec(entry.module)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in map(Path, folders):
        if (folder / MANIFEST).is_file():
            return folder
    raise BundleError(f"bundle {entry.name!r}: package {entry.module} holds no {MANIFEST}")
