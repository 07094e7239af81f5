"""Read folders and zips that may hold anything: nothing is written under a name that an archive chose."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

NEEDED = frozenset((".ipynb", ".safetensors", ".zip"))
NEEDED_NAMES = frozenset(("manifest.json", "submission_metadata.yml"))
"""Endings and names of what is unpacked; of anything else only the name is read."""
MAX_RATIO = 200
MAX_DEPTH = 3
_SMALL = 1 << 20
_DIRECTORY_BYTES = 200
"""Bytes that an entry of a zip's directory may take on average."""
_LITTER = frozenset(("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"))
_BROKEN = (
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    struct.error,
    OverflowError,
)
_END = b"PK\x05\x06"
_END_BYTES, _LONGEST_COMMENT = 22, 1 << 16
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20


class Refused(Exception):
    """An archive is not unpacked; the message says why in one line."""


@dataclass
class Budget:
    """What may still be unpacked.

    Attributes:
        size: Bytes.
        members: Files and folders.
        takes_large: Whether archives of the kind for over 4 GiB are read.
    """

    size: int
    members: int
    takes_large: bool = False

    def spend(self, size: int = 0, members: int = 0) -> None:
        """Take from what is left.

        Raises:
            Refused: If it is not enough.
        """
        self.size -= size
        self.members -= members
        if self.members < 0:
            raise Refused("holds too many files")
        if self.size < 0:
            raise Refused("unpacks to too many bytes")


def download_budget() -> Budget:
    """Return what the download of a whole class may hold."""
    return Budget(32 << 30, 200_000, takes_large=True)


def student_budget() -> Budget:
    """Return what the archives of one student may hold, nested ones included."""
    return Budget(256 << 20, 20_000)


@dataclass(frozen=True)
class Entry:
    """A file of a download.

    Attributes:
        name: Where it lies in the download, archives counted as folders.
        file: Where its contents are; None if nobody needs them.
    """

    name: PurePosixPath
    file: Path | None


class Scratch:
    """A folder for contents, each under a number."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, count()

    def path(self) -> Path:
        """Return a path that nothing has been written to."""
        return self._folder / f"{next(self._numbers):07}"


def is_needed(name: PurePosixPath) -> bool:
    """Say whether anybody looks into a file of this name."""
    return name.suffix.lower() in NEEDED or name.name in NEEDED_NAMES


def _is_litter(name: PurePosixPath) -> bool:
    return bool(_LITTER & set(name.parts)) or name.name.startswith("._")


def list_folder(folder: Path) -> tuple[list[Entry], list[str]]:
    """Return the plain files below a folder, and a line for each that is none."""
    entries, problems = [], []
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted([*names, *(f for f in folders if Path(here, f).is_symlink())]):
            path = Path(here, name)
            relative = PurePosixPath(path.relative_to(folder).as_posix())
            if _is_litter(relative):
                continue
            if not stat.S_ISREG(path.lstat().st_mode):
                problems.append(f"{relative} is a link or a device; nothing of it is taken")
            else:
                entries.append(Entry(relative, path if is_needed(relative) else None))
    return entries, problems


def unpack(archive: Path, scratch: Scratch | None, budget: Budget) -> tuple[list[Entry], list[str]]:
    """Unpack what is needed of a zip.

    Args:
        archive: The zip.
        scratch: Receives the contents; None if only the names are wanted.
        budget: What may be unpacked; less of it is left afterwards.

    Returns:
        The files, and a line for each that was not taken because of what it is.

    Raises:
        Refused: If it is no zip, is damaged, or holds more than the budget allows.
    """
    entries, problems = [], []
    try:
        _require_small_directory(archive, budget)
        with zipfile.ZipFile(archive) as bundle:
            budget.spend(members=len(bundle.infolist()))
            for info in bundle.infolist():
                name, why = _name_of(info), _fault_of(info)
                if why is None and not info.is_dir() and not _is_litter(name):
                    path = scratch.path() if scratch and is_needed(name) else None
                    entries.append(Entry(name, path))
                    if path is not None:
                        budget.spend(size=info.file_size)
                        why = _extract(bundle, info, path)
                if why is not None:
                    problems.append(f"{name} {why}")
    except _BROKEN as error:
        raise Refused(f"is no zip or a damaged one ({type(error).__name__})") from None
    return [entry for entry in entries if entry.file is None or entry.file.exists()], problems


def _extract(bundle: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> str | None:
    try:
        with bundle.open(info) as source, path.open("xb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    except _BROKEN as error:
        path.unlink(missing_ok=True)
        return f"is damaged ({type(error).__name__})"
    return None


def _name_of(info: zipfile.ZipInfo) -> PurePosixPath:
    name = info.filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):  # macOS writes UTF-8 without saying so
            name = name.encode("cp437").decode("utf-8")
    return PurePosixPath(name.replace("\\", "/"))


def _fault_of(info: zipfile.ZipInfo) -> str | None:
    name = _name_of(info)
    if name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", str(name)):
        return "leads out of its folder"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.file_size > _SMALL and info.file_size > MAX_RATIO * info.compress_size:
        return f"grows more than {MAX_RATIO}-fold when unpacked"
    return None


def _require_small_directory(archive: Path, budget: Budget) -> None:
    """Refuse a directory of millions of entries before Python reads all of it into memory."""
    with archive.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - _END_BYTES - _LONGEST_COMMENT - _LOCATOR_BYTES))
        tail = file.read()
    at = len(tail) - _END_BYTES
    if not (tail[at:].startswith(_END) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END)
    if at < 0:
        raise Refused("is no zip")
    is_large = tail[max(0, at - _LOCATOR_BYTES) : at].startswith(_LOCATOR)
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if is_large and budget.takes_large:
        return
    if is_large or size > budget.members * _DIRECTORY_BYTES:
        raise Refused("holds too many files")


def expand(entry: Entry, scratch: Scratch, budget: Budget, depth: int = 0) -> tuple[list[Entry], list[str]]:
    """Return a file, or what is in it if it is a zip, and what is in the zips in there.

    Args:
        entry: The file.
        scratch: Receives the contents.
        budget: What may be unpacked.
        depth: How many zips it lies in.

    Returns:
        The files, and why nothing of an archive was taken: one that is hostile or damaged is left as a whole.
    """
    if entry.file is None or entry.name.suffix.lower() != ".zip":
        return [entry], []
    if depth == MAX_DEPTH:
        return [], [f"{entry.name} lies in {depth} other archives; nothing of it is taken"]
    try:
        inner, faults = unpack(entry.file, scratch, budget)
    except Refused as error:
        faults = [str(error)]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return [], [f"{entry.name}: {faults[0]}{more}; nothing of this archive is taken"]
    entries, problems = [], []
    for member in inner:
        found, told = expand(Entry(entry.name / member.name, member.file), scratch, budget, depth + 1)
        entries += found
        problems += told
    return entries, problems
