"""Unpack an archive that may be hostile: nothing outside its folder, no links, no bombs, all or nothing."""

import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from .errors import DataError

DEFAULT_LIMIT = 4 << 30
MAX_MEMBERS = 1_000_000
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    NotImplementedError,
)


class UnsafeArchiveError(DataError):
    """The archive is damaged or holds something that does not belong in a dataset."""


def unpack_archive(archive: Path, folder: Path, *, limit: int | None = None) -> list[Path]:
    """Unpack a tar (plain, gz, bz2, xz) or zip archive into ``folder``.

    The contents are written to a new folder beside their destination first and renamed at the end, so that a run that
    fails leaves ``folder`` as it was. What the archive holds at its top replaces what had the same name.

    Args:
        archive: The archive.
        folder: Where the contents go; made if need be.
        limit: Most bytes that the contents may take; ``DEFAULT_LIMIT`` if None.

    Returns:
        The regular files written, as paths below ``folder``, sorted.

    Raises:
        UnsafeArchiveError: If the archive is damaged, or holds a link, a device, an absolute path, ``..``, or too much.
        OSError: If writing fails, for instance because the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder))
    try:
        written: list[Path] = []
        total = 0
        for name, size, member in _members(archive):
            total += size
            if total > (limit or DEFAULT_LIMIT) or len(written) >= MAX_MEMBERS:
                raise UnsafeArchiveError(f"{archive.name} unpacks to more than {limit or DEFAULT_LIMIT} bytes")
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise UnsafeArchiveError(f"{archive.name} holds {name} twice")
            with member as source, path.open("xb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            written.append(path.relative_to(scratch))
        if not written:
            raise UnsafeArchiveError(f"{archive.name} holds no files")
        _move_into_place(scratch, folder)
        return sorted(written)
    except (*_BROKEN, FileExistsError, NotADirectoryError, ValueError) as error:
        reason = (str(error) or "it ends early").splitlines()[0].rstrip(":")
        raise UnsafeArchiveError(f"{archive.name} is damaged: {reason}") from error
    except OSError as error:
        if error.errno is None:  # gzip.BadGzipFile and kin are OSErrors that no system call raised
            raise UnsafeArchiveError(f"{archive.name} is damaged: {error}") from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Yield path, size and open contents of each file, after checking its name and kind."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                name = _safe_name(info.filename, archive)
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise UnsafeArchiveError(f"{archive.name} holds {info.filename!r}, which is a link or a device")
                if not info.is_dir():
                    yield name, info.file_size, bundle.open(info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            name = _safe_name(member.name, archive)
            if not member.isreg() and not member.isdir():
                raise UnsafeArchiveError(f"{archive.name} holds {member.name!r}, which is a link or a device")
            # Python's own opinion on top of ours; it raises a TarError for what it finds unsafe.
            tarfile.data_filter(member, os.fspath(archive.parent))
            contents = tar.extractfile(member) if member.isreg() else None
            if contents is not None:
                yield name, member.size, contents


def _safe_name(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise UnsafeArchiveError(f"{archive.name} holds {name!r}, which leads out of its folder")
    return path


def _move_into_place(scratch: Path, folder: Path) -> None:
    graveyard = Path(tempfile.mkdtemp(prefix=".replaced-", dir=folder))
    try:
        for entry in sorted(scratch.iterdir()):
            place = folder / entry.name
            if place.is_symlink() or place.exists():
                place.rename(graveyard / entry.name)
            try:
                entry.rename(place)
            except OSError:
                if (graveyard / entry.name).exists():
                    (graveyard / entry.name).rename(place)
                raise
    finally:
        shutil.rmtree(graveyard, ignore_errors=True)
