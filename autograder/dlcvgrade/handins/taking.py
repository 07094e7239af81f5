"""From a download to ``submitted``: read, sort, choose, write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dlcvgrade.handins.archives import Entry, Refused, Scratch, download_budget, list_folder, unpack
from dlcvgrade.handins.choosing import Wanted, choose
from dlcvgrade.handins.people import by_student
from dlcvgrade.handins.placing import Shelf
from dlcvgrade.handins.plain import manifest_of, sort_plain
from dlcvgrade.handins.systems import HandIn, Note, Sorted, sort_canvas, sort_gradescope, sort_moodle
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.plain import plain
from dlcvgrade.results.roster import Roster


@dataclass(frozen=True)
class Row:
    """What became of a student's hand-in; ``files`` counts those that are graded."""

    student: str
    name: str
    files: int
    notes: tuple[Note, ...]

    @property
    def is_fine(self) -> bool:
        """Whether nobody has to look at it."""
        return all(note.is_fine for note in self.notes)


@dataclass
class Taken:
    """What became of a download.

    Attributes:
        rows: One for each student, sorted.
        strays: Lines about what belongs to nobody.
        absent: Students of the roster who handed in nothing.
        written: Number of hand-ins that were written, or would be.
    """

    rows: list[Row] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    written: int = 0


_SORTERS: Mapping[str, Callable[[Sequence[Entry]], Sorted]] = {
    "canvas": sort_canvas,
    "moodle": sort_moodle,
    "gradescope": sort_gradescope,
}


def _list(download: Path, scratch: Scratch | None) -> tuple[list[Entry], list[str]]:
    shown = plain(str(download))
    if download.is_dir():
        return list_folder(download)
    if not download.is_file():
        raise CourseProblems([Problem(shown, "does not exist; expected a folder or a zip")])
    try:
        return unpack(download, scratch, download_budget())
    except Refused as error:
        raise CourseProblems([Problem(shown, f"{error}; expected a folder or a zip")]) from None


def _read_plain(download: Path, scratch: Scratch) -> tuple[list[Entry], list[str]]:
    if download.is_file() and manifest_of(download, scratch, download_budget()):
        return [Entry(PurePosixPath(download.name), download)], []
    entries, problems = _list(download, scratch)
    if download.is_file() and {entry.name.parts[0] for entry in entries} == {download.stem}:
        entries = [Entry(entry.name.relative_to(download.stem), entry.file) for entry in entries]
    return entries, problems


def _require_handins(found: Sorted, problems: Sequence[str], download: Path, system: str) -> None:
    if not found.handins:
        why = "; ".join([*problems, *found.strays][:3]) or "it is empty"
        raise CourseProblems([Problem(plain(str(download)), f"holds no hand-in as {system} names them: {plain(why)}")])


def people_of(download: Path, system: str, roster: Roster | None) -> dict[str, HandIn]:
    """Return who is in a download, as the import of it called them; only the names of files are read.

    Args:
        download: A folder or a zip; not modified.
        system: ``canvas`` or ``moodle``.
        roster: The class as the platform exports it, if the import had one.

    Returns:
        Student's id to hand-in, sorted.

    Raises:
        CourseProblems: If the download cannot be read, or holds no hand-in.
    """
    entries, problems = _list(download, None)
    found = _SORTERS[system](entries)
    _require_handins(found, problems, download, system)
    return by_student(found.handins, roster, system)


def take_in(
    download: Path,
    system: str,
    wanted: Wanted,
    roster: Roster | None,
    out: Path,
    workspace: Path,
    *,
    is_replacing: bool = False,
    is_trial: bool = False,
) -> Taken:
    """Sort a download into a folder of submissions.

    Args:
        download: A folder or a zip; not modified.
        system: ``canvas``, ``moodle``, ``gradescope`` or ``plain``.
        wanted: What the stage asks for.
        roster: The class as the platform exports it; None if nobody gave it.
        out: The folder of submissions.
        workspace: An empty folder, on the file system of ``out``.
        is_replacing: Whether a hand-in takes the place of one that is there.
        is_trial: Whether to write nothing into ``out``.

    Raises:
        CourseProblems: If the download cannot be read, or holds no hand-in.
    """
    (workspace / "contents").mkdir()
    (workspace / "staging").mkdir()
    scratch = Scratch(workspace / "contents")
    if system == "plain":
        entries, problems = _read_plain(download, scratch)
        found = sort_plain(entries, wanted.stage, scratch)
    else:
        entries, problems = _list(download, scratch)
        found = _SORTERS[system](entries)
    _require_handins(found, problems, download, system)
    taken = Taken(strays=[*problems, *found.strays])
    shelf = Shelf(out, wanted.stage.name, is_replacing=is_replacing, is_trial=is_trial)
    students = by_student(found.handins, roster, system)
    for student, handin in students.items():
        chosen = choose(handin, wanted, scratch, student)
        told = shelf.put(student, chosen, handin.when, workspace / "staging")
        taken.written += told.is_written
        taken.rows.append(Row(student, handin.name, len(chosen.files), (*chosen.notes, *told.notes)))
    taken.absent = _absent(roster, {key for handin in found.handins for key in handin.ids}) if roster else []
    return taken


def _absent(roster: Roster, present: Collection[str]) -> list[str]:
    """Return those of the roster of whom nothing came in, as it calls them."""
    seen = {id(person) for key in present if (person := roster.find(key))}
    people = {id(person): person for person in roster.people.values() if person is not None}
    columns = ("Student", "Full name", *roster.columns)
    told = (
        next((person[c] for c in columns if person.get(c)), "") for key, person in people.items() if key not in seen
    )
    return sorted(filter(None, told))
