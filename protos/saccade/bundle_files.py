"""The files of a bundle: read once, and what was read is what was checked.

A path can lead elsewhere between a check and the opening. So a file's bytes are hashed after they
were read, and the program works with those bytes, never with the path again.
"""

from __future__ import annotations

import mmap
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from saccade.errors import BundleError, DigestMismatch
from saccade.known_digests import DIGESTS, Identity
from saccade.manifest import FileEntry
from saccade.onnx_file import external_data

# protobuf reads no message beyond it: larger models keep their weights in external data.
MAX_MODEL_BYTES = (1 << 31) - 1
MAX_COPIED_BYTES = 1 << 26  # of external data; larger ones are opened where they are
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that the manifest lists as ``entry``. ``name``: its path in ``folder``.

    Everything raises ``BundleError`` where the file is missing, unreadable or leads out of the
    folder, ``DigestMismatch`` where it is another than the one that was exported.
    """

    folder: Path
    name: str
    entry: FileEntry

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def read(self, most_bytes: int) -> bytes:
        """The whole content, checked. At most ``most_bytes`` are read."""
        self._check_most(most_bytes)
        return b"".join(self._checked())

    def mapped(self, most_bytes: int) -> memoryview:
        """The whole content, checked, as pages of the file: memory is taken when it is looked at,
        and given back when the system needs it. A file that is replaced stays as it was; one that
        is written over in place does not.
        """
        self._check_most(most_bytes)
        try:
            with open_inside(self.folder, self.name) as stream:
                self._check_size(os.fstat(stream.fileno()).st_size)
                if not self.entry.bytes:
                    return memoryview(b"")
                pages = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise BundleError(f"{self.name} cannot be read: {error}") from error
        self._check_digest(sha256(pages).hexdigest())
        return pages

    def check(self) -> Identity:
        """Read it for nothing but its hash, or know that already; which file it was."""
        try:
            with open_inside(self.folder, self.name) as stream:
                identity = Identity.of(os.fstat(stream.fileno()))
                self._check_size(identity.size)
                known = DIGESTS.get(identity)
                actual = known or file_digest(stream)
                if Identity.of(os.fstat(stream.fileno())) != identity:
                    raise DigestMismatch(f"{self.name} was changed while it was read")
        except OSError as error:
            raise BundleError(f"{self.name} cannot be read: {error}") from error
        self._check_digest(actual)
        DIGESTS.put(identity, actual)
        return identity

    def copy(self, target: Path) -> None:
        """Write the checked content to ``target``, a new file, in folders that are made."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            for chunk in self._checked():
                stream.write(chunk)

    def _checked(self) -> Iterator[bytes]:
        """The content in pieces; what follows the last piece is an error, or nothing."""
        digest, total = sha256(), 0
        try:
            with open_inside(self.folder, self.name) as stream:
                self._check_size(os.fstat(stream.fileno()).st_size)
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    total += len(chunk)
                    if total > self.entry.bytes:
                        break
                    yield chunk
        except OSError as error:
            raise BundleError(f"{self.name} cannot be read: {error}") from error
        self._check_size(total)
        self._check_digest(digest.hexdigest())

    def _check_most(self, most_bytes: int) -> None:
        if self.entry.bytes > most_bytes:
            raise BundleError(
                f"{self.name} has {self.entry.bytes} bytes, at most {most_bytes} are read"
            )

    def _check_digest(self, digest: str) -> None:
        if digest != self.entry.sha256:
            raise DigestMismatch(
                f"{self.name} has SHA-256 {digest[:16]}, the manifest says {self.entry.sha256[:16]}"
            )

    def _check_size(self, size: int) -> None:
        if size != self.entry.bytes:
            raise DigestMismatch(
                f"{self.name} has {size} bytes, the manifest says {self.entry.bytes}"
            )


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An ONNX model among a bundle's files. ``files``: all that the manifest lists.

    Raises as ``ListedFile`` does, and ``BundleError`` for a model that opens what isn't listed.
    """

    file: ListedFile
    files: Mapping[str, FileEntry]

    @property
    def name(self) -> str:
        return self.file.name

    def read(self) -> tuple[bytes, tuple[ListedFile, ...]]:
        """The model, and the files in which its external data lies (not read yet)."""
        content = self.file.read(MAX_MODEL_BYTES)
        parent = PurePosixPath(self.name).parent
        beside: dict[str, ListedFile] = {}
        for piece in external_data(content, self.name):
            name = str(parent / piece.location)
            entry = self.files.get(name)
            if entry is None:
                raise BundleError(f"{self.name} opens {name!r}, which the manifest does not list")
            if piece.end > entry.bytes:
                raise BundleError(
                    f"{self.name} reads {name!r} up to byte {piece.end}, it has {entry.bytes}"
                )
            beside[name] = ListedFile(self.file.folder, name, entry)
        return content, tuple(beside.values())

    def check(self) -> None:
        """All that opening it would read, and nothing is opened."""
        _, beside = self.read()
        for file in beside:
            file.check()

    @contextmanager
    def opened(self) -> Iterator[bytes | str]:
        """What to give to ONNX Runtime, inside the ``with`` alone: the model's bytes, or a path
        where the model has external data. That is the path of a private copy, or, where the data
        are large, the path in the bundle: then they are mapped, and the same files must be there
        when the ``with`` ends.
        """
        content, beside = self.read()
        if not beside:
            yield content
            return
        if sum(file.entry.bytes for file in beside) > MAX_COPIED_BYTES:
            before = self._identities(beside)
            yield str(self.file.path)
            if self._identities(beside) != before:
                raise DigestMismatch(f"{self.name} was changed while it was opened")
            return
        with tempfile.TemporaryDirectory(prefix="saccade-model-") as private:
            for file in beside:
                file.copy(Path(private, file.name))
            model = Path(private, self.name)
            model.parent.mkdir(parents=True, exist_ok=True)
            model.write_bytes(content)
            yield str(model)

    def _identities(self, beside: tuple[ListedFile, ...]) -> list[Identity]:
        """Of the model and its data, which are what the manifest says."""
        return [file.check() for file in (self.file, *beside)]


def unlisted_model(path: Path) -> ModelFile:
    """A model that no manifest lists, as it is now; one with external data can't be opened."""
    path = path.resolve()
    return ModelFile(ListedFile(path.parent, path.name, measure(path.parent, path.name)), {})


def measure(folder: Path, name: str) -> FileEntry:
    """What a manifest says of a file but its licence. Raises ``BundleError``, ``OSError``."""
    with open_inside(folder, name) as stream:
        digest = file_digest(stream)
        return FileEntry(digest, stream.tell(), "unknown")


def file_digest(stream: BinaryIO) -> str:
    """SHA-256 of what is left of it, 64 hex digits."""
    digest = sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def open_inside(folder: Path, name: str) -> BinaryIO:
    """``name`` in ``folder`` for reading. Raises ``BundleError`` for what is no regular file or
    lies outside, ``OSError`` where it can't be opened.
    """
    path = folder / name
    try:
        # A pipe that nobody writes to would be waited for.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise BundleError(f"{name} is missing") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BundleError(f"{name} is no regular file")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"{name} is a link out of the bundle")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
