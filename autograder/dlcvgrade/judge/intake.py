"""What nbgrader's autograding takes from a student's folder.

nbgrader copies every file that lies beside a notebook. It follows links on the way, to a device without end or to
somebody else's work; formgrader serves the copies to whoever grades, pages with scripts among them, and feedback
carries them back to the student. The judge needs none of them: it reads in ``submitted``.
"""

from __future__ import annotations

import os
import shutil
import stat
import unicodedata
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters.autograde import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.utils import parse_utc

from dlcvgrade.judge.scratch import ScratchFolder

TIME = "timestamp.txt"
SHOWN = frozenset(".csv .gif .jpeg .jpg .json .npy .npz .pdf .png .pt .safetensors .txt .webp".split())
"""Endings of files that are copied: those of pictures, and of data that no browser runs."""
MOST_FILES = 1_000
MOST_BYTES = 64 * 2**20
_MOST_TIME_BYTES = 100
_REFUSED = frozenset('<>"\\`')
"""Characters that formgrader puts into its pages as they are."""
_FORMULA = frozenset("=+-@")
"""First characters of what a spreadsheet computes."""


class IntakeFailed(NbGraderException):  # type: ignore[misc]
    """A submission cannot be written into the books; the message says why, in one line."""


def require_name(student: str) -> None:
    """Insist on a student's id that can stand in formgrader's pages and in a table.

    Raises:
        IntakeFailed: If it cannot.
    """
    odd = sorted({c for c in student if c in _REFUSED or unicodedata.category(c).startswith("C")})
    if student[:1] in _FORMULA:
        odd.append(student[0])
    if odd:
        raise IntakeFailed(f"the student's id {student!r} holds {', '.join(map(repr, odd))}; rename the folder")


def read_time(folder: Path) -> str | None:
    """Return what a submission's time stamp says; None if there is none.

    Raises:
        IntakeFailed: If it is no file of a line, or says no time. Without it a late submission would count as in time.
    """
    path = folder / TIME
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_TIME_BYTES:
        raise IntakeFailed(f"{TIME} is no plain file of at most {_MOST_TIME_BYTES} bytes")
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    try:
        if text:
            parse_utc(text)
    except (ValueError, OverflowError):
        raise IntakeFailed(f"{TIME} holds no time: {text!r}") from None
    return text


def copy_shown(source: Path, target: Path) -> list[str]:
    """Copy what may be shown from a student's folder: plain files of harmless kinds, up to a number and a size.

    Args:
        source: The folder; links in it are not followed.
        target: An empty folder.

    Returns:
        What was left, notebooks apart: some names, relative to the folder.
    """
    left: list[str] = []
    seen = size = 0
    for here, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen += 1 + len(names)
        if seen > MOST_FILES:
            return [*left, f"the rest of more than {MOST_FILES} files and folders"]
        for name in names:
            path = Path(here, name)
            relative = path.relative_to(source)
            try:
                status = path.lstat()
                is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and str(relative).isprintable()
                if is_plain and path.suffix.lower() in SHOWN and size + status.st_size <= MOST_BYTES:
                    (target / relative).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target / relative, follow_symlinks=False)
                    size += status.st_size
                elif path.suffix != ".ipynb":
                    left.append(str(relative))
            except OSError:  # such as a name that is too long
                left.append(str(relative))
    return left


class Intake(Autograde):  # type: ignore[misc]
    """nbgrader's autograding for folders that may hold anything."""

    notebooks: list[str]
    _copy: Path | None = None

    def _format_source(self, assignment_id: str, student_id: str, escape: bool = False) -> str:
        if self._copy is not None:
            return str(self._copy)
        path: str = super()._format_source(assignment_id, student_id, escape=escape)
        return path

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        """Return whether a submission is to be graded.

        Raises:
            IntakeFailed: If its student or its time cannot be written into the books.
        """
        require_name(student_id)
        read_time(Path(self._format_source(assignment_id, student_id)))
        is_wanted: bool = super().init_destination(assignment_id, student_id)
        return is_wanted

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """Have nbgrader copy what may be shown and leave out notebooks that the assignment does not have."""
        source = Path(self._format_source(assignment_id, student_id))
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as gradebook:
            try:
                known = {notebook.name for notebook in gradebook.find_assignment(assignment_id).notebooks}
            except MissingEntry:
                known = set()
        if known:
            self.notebooks = [path for path in self.notebooks if Path(path).stem in known]
        with ScratchFolder() as scratch:
            folder = scratch / "shown"
            folder.mkdir()
            is_linked = source.is_symlink() or source.parent.is_symlink()
            left = [] if is_linked else copy_shown(source, folder)
            if left:
                some = ", ".join(map(ascii, left[:3]))
                self.log.warning("%s: not copied: %s%s", student_id, some, " and more" if len(left) > 3 else "")
            self._copy = folder
            try:
                super().init_assignment(assignment_id, student_id)
            finally:
                self._copy = None


def guard(converter: Any) -> None:
    """Make nbgrader's autograding an ``Intake``; nbgrader has no setting for its class."""
    if type(converter) is Autograde:
        converter.__class__ = Intake
