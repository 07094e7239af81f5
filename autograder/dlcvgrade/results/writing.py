"""Write files in one step each, under names that suit every file system."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.plain import plain

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)\d|.*-[0-9a-f]{8}")


def file_name(student: str, key: str) -> str:
    """Return a name for a student's file, without an ending.

    Lower-case letters, digits, hyphens and underscores stand for themselves. Where anything else had to be replaced, a
    hash of ``key`` follows, so that no two students share a name, not even where file systems ignore case. It follows
    as well where a name ends like a hash, or is one that Windows keeps to itself.

    Args:
        student: The student's id.
        key: What tells this result from all others in its folder.

    >>> file_name("ada_2", "ada_2")
    'ada_2'
    >>> file_name("../Ada", "..%2FAda")
    'ada-39a2d2d0'
    """
    if student == key and _PLAIN.fullmatch(student) and not _RESERVED.fullmatch(student):
        return student
    start = re.sub(r"[^a-z0-9_]+", "-", student.lower()[:100]).strip("-")[:40] or "student"
    return f"{start}-{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder, each in one step, after all of them have been made.

    Args:
        folder: Made if it is not there.
        files: Path relative to the folder to text.

    Raises:
        CourseProblems: If the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise CourseProblems([Problem(plain(str(folder)), "is a file; expected a folder to write to")])
    for name, text in files.items():
        write_file(folder / name, text)


def write_file(path: Path, text: str) -> None:
    """Write a file as UTF-8 in one step: it is there as a whole or as it was before.

    Raises:
        CourseProblems: If there is a folder of this name.
    """
    _write(path, text.encode())


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a new zip in one step; the same files make the same zip.

    Args:
        path: Where nothing is yet.
        files: Name to contents.

    Raises:
        CourseProblems: If there is something of this name.
    """
    if path.exists() and not path.is_dir():
        raise CourseProblems([Problem(plain(str(path)), "is there already; expected the name of a new file")])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name)  # of 1980-01-01
            info.create_system = 3  # as on Unix, wherever it is made
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    if path.is_dir():
        raise CourseProblems([Problem(plain(str(path)), "is a folder; expected a file to write to")])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
