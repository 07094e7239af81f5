"""How the downloads of learning platforms name students and attempts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import yaml

from dlcvgrade.handins.archives import Entry
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.plain import plain

METADATA = "submission_metadata.yml"
_MAX_METADATA = 64 << 20
_CANVAS = re.compile(r"(?P<name>.+?)(?P<late>_LATE)?_(?P<user>[0-9]+)_(?P<upload>[0-9]+)_(?P<file>.+)")
_ATTEMPT = re.compile(r"(?P<stem>.+?)-(?P<attempt>\d{1,3})")
# The first number counts, as on Moodle itself: what follows may be a name that a student gave a file.
_MOODLE = re.compile(r"(?P<name>.+?)_(?P<number>[0-9]+)_assignsubmission_(?:file|onlinetext)(?:_(?P<file>.*))?")


@dataclass(frozen=True)
class Note:
    """Something to tell of a hand-in; ``is_fine`` if nobody has to do anything about it."""

    text: str
    is_fine: bool = False


@dataclass(frozen=True)
class Upload:
    """A file as it was handed in.

    Attributes:
        entry: The file, named relative to the hand-in.
        series: Uploads of one series replace each other.
        rank: The higher, the newer.
    """

    entry: Entry
    series: str
    rank: tuple[float, ...] = ()


@dataclass
class HandIn:
    """What one student handed in.

    Attributes:
        name: The student's name as the platform writes it.
        number: The platform's number for the student; empty if it has none, or several.
        newest: The highest of the numbers that the platform gave the student's files; 0 if it gives none.
        ids: What the platform knows the student by, the best first; empty if it says the name alone.
        uploads: The files.
        when: When the last of it was handed in, if the platform says so.
        notes: What there is to tell.
        is_certain: Whether the student's id was told, and not made from the name.
    """

    name: str
    number: str = ""
    newest: int = 0
    ids: tuple[str, ...] = ()
    uploads: list[Upload] = field(default_factory=list)
    when: datetime | None = None
    notes: list[Note] = field(default_factory=list)
    is_certain: bool = False


@dataclass
class Sorted:
    """A download by student; ``strays`` are lines about what belongs to nobody."""

    handins: list[HandIn]
    strays: list[str] = field(default_factory=list)


def _below(entries: Sequence[Entry], folder: str) -> list[Entry]:
    return [Entry(entry.name.relative_to(folder), entry.file) for entry in entries if entry.name.is_relative_to(folder)]


def _without_shell(entries: Sequence[Entry], is_known: Callable[[str], object]) -> list[Entry]:
    """Return the files without a folder around all of them, unless its name says whose they are."""
    tops = {entry.name.parts[0] for entry in entries}
    if len(tops) == 1 and all(len(entry.name.parts) > 1 for entry in entries) and not is_known(*tops):
        return _without_shell(_below(entries, *tops), is_known)
    return list(entries)


def sort_canvas(entries: Sequence[Entry]) -> Sorted:
    """Sort ``lovelaceada_LATE_USER_UPLOAD_knn-1.ipynb``; -1 is Canvas' mark for the second attempt."""
    found: dict[str, HandIn] = {}
    strays = []
    for entry in _without_shell(entries, _CANVAS.fullmatch):
        match = _CANVAS.fullmatch(entry.name.parts[0])
        if match is None or len(entry.name.parts) > 1:
            strays.append(f"{entry.name} is not named as Canvas names files")
            continue
        handin = found.setdefault(match["user"], HandIn(match["name"], match["user"], ids=(match["user"],)))
        handin.newest = max(handin.newest, int(match["upload"]))
        own = PurePosixPath(match["file"])
        again = _ATTEMPT.fullmatch(own.stem)
        stem, attempt = (again["stem"], int(again["attempt"])) if again else (own.stem, 0)
        rank = (attempt, int(match["upload"]))
        handin.uploads.append(Upload(Entry(own, entry.file), f"{stem}{own.suffix}".casefold(), rank))
        if match["late"] and not handin.notes:
            handin.notes.append(Note("late, says Canvas, and not when: write timestamp.txt for the late penalty"))
    return Sorted(list(found.values()), strays)


def sort_moodle(entries: Sequence[Entry]) -> Sorted:
    """Sort ``Ada Lovelace_NUMBER_assignsubmission_file_/knn.ipynb``, and the same without folders."""
    found: dict[str, HandIn] = {}
    strays = []
    for entry in _without_shell(entries, _MOODLE.fullmatch):
        top, *rest = entry.name.parts
        match = _MOODLE.fullmatch(top)
        if match is None or not (rest or match["file"]):
            strays.append(f"{entry.name} is not named as Moodle names files")
            continue
        number = match["number"]
        handin = found.setdefault(number, HandIn(match["name"], number, ids=(f"Participant {number}",)))
        own = PurePosixPath(*rest) if rest else PurePosixPath(match["file"])
        handin.uploads.append(Upload(Entry(own, entry.file), str(own)))
    return Sorted(list(found.values()), strays)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads Ruby's own types as what they are made of."""


def _construct_ruby(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_Loader.add_multi_constructor("!ruby/", _construct_ruby)


def _time_of(value: object) -> datetime | None:
    if isinstance(value, dict):
        value = value.get("utc", value.get(":utc"))
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return None


def _read_metadata(entry: Entry) -> dict[str, Any]:
    problem = Problem(plain(str(entry.name)), "is no list of submissions as Gradescope exports it")
    assert entry.file is not None
    if entry.file.stat().st_size > _MAX_METADATA:
        raise CourseProblems([problem])
    try:
        table = yaml.load(entry.file.read_bytes(), Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise CourseProblems([problem]) from None
    if not isinstance(table, dict):
        raise CourseProblems([problem])
    return {str(key): value for key, value in table.items()}


def sort_gradescope(entries: Sequence[Entry]) -> Sorted:
    """Sort ``submission_N/`` by ``submission_metadata.yml``; a group's work goes to each of its members.

    Raises:
        CourseProblems: If there is no such file, or it is not Gradescope's.
    """
    lists = [entry for entry in entries if entry.name.name == METADATA]
    if not lists:
        raise CourseProblems([Problem(METADATA, "is missing; expected the export of submissions from Gradescope")])
    listed = min(lists, key=lambda entry: len(entry.name.parts))
    table = _read_metadata(listed)
    home = listed.name.parent
    handins, strays, seen = [], [], {listed.name}
    for folder, told in table.items():
        facts = told if isinstance(told, dict) else {}
        members = [entry for entry in entries if entry.name.is_relative_to(home / folder)]
        seen |= {entry.name for entry in members}
        when = _time_of(facts.get(":created_at"))
        rank = (when.timestamp() if when else 0.0,)
        people = [person for person in facts.get(":submitters") or () if isinstance(person, dict)]
        if not people:
            strays.append(f"{folder} names nobody who handed it in")
        for person in people:
            keys = [str(person.get(key) or "").strip() for key in (":sid", ":email")]
            name = str(person.get(":name") or "").strip()
            handin = HandIn(name or folder, folder.rpartition("_")[2], ids=tuple(filter(None, keys)), when=when)
            own = [Entry(entry.name.relative_to(home / folder), entry.file) for entry in members]
            handin.uploads = [Upload(entry, str(entry.name).casefold(), rank) for entry in own]
            if not members:
                handin.notes.append(Note(f"{folder} is not in the download"))
            if len(people) > 1:
                handin.notes.append(Note(f"{folder} was handed in by {len(people)} together", is_fine=True))
            if when is None:
                handin.notes.append(Note("Gradescope does not say when it was handed in"))
            handins.append(handin)
    strays += [f"{entry.name} stands in no entry of {METADATA}" for entry in entries if entry.name not in seen]
    return Sorted(handins, strays)
