"""Copy a bundle, or the half of it that an edge needs."""

from __future__ import annotations

import shutil
from pathlib import Path

from saccade.bundle import MANIFEST, Bundle
from saccade.bundle_files import open_inside
from saccade.errors import BundleError


def pack(bundle: Bundle, out: Path, *, edge: bool = False) -> int:
    """Write the bundle to ``out``, a new or empty folder; the bytes of its files.

    ``edge``: only what an edge opens. The manifest stays as it is, so a cloud that has the whole
    bundle knows the edge's tokens. Every file is checked on its way. Raises BundleError; then
    ``out`` is as it was.
    """
    names = bundle.manifest.edge_files() if edge else frozenset(bundle.manifest.files)
    if bundle.is_edge_half and not edge:
        raise BundleError(f"bundle {bundle.manifest.name!r} is an edge's half: the rest is missing")
    existed = out.exists()
    if existed and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} is there already: name a new folder")
    try:
        for name in sorted(names):
            bundle.listed(name).copy(out / name)
        _copy_manifest(bundle, out)
    except (BundleError, OSError) as error:
        _remove(out, existed=existed)
        if isinstance(error, OSError):
            raise BundleError(f"{out} cannot be written: {error}") from error
        raise
    return sum(bundle.manifest.files[name].bytes for name in names)


def _copy_manifest(bundle: Bundle, out: Path) -> None:
    """Last: a folder with a manifest is a whole one."""
    out.mkdir(parents=True, exist_ok=True)
    with open_inside(bundle.folder, MANIFEST) as stream:
        (out / MANIFEST).write_bytes(stream.read())
    # It could have been replaced meanwhile.
    if Bundle.open(out).digest != bundle.digest:
        raise BundleError(f"bundle {bundle.manifest.name!r} was changed while it was packed")


def _remove(out: Path, *, existed: bool) -> None:
    if existed:
        for path in out.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif out.exists():
        shutil.rmtree(out)
