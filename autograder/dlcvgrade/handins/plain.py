"""Hand-ins that came by any other way: folders, zips and notebooks named after the student."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dlcvgrade.course import Stage
from dlcvgrade.handins.archives import Budget, Entry, Refused, Scratch, student_budget, unpack
from dlcvgrade.handins.systems import HandIn, Note, Sorted, Upload

MANIFEST = "manifest.json"
_MAX_MANIFEST = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What ``dlcvkit submit`` says of the zip that it wrote: whose it is, of which stage, and file to SHA-256."""

    student: str
    stage: str
    files: Mapping[str, str]


def read_manifest(path: Path) -> Manifest | None:
    """Return what a manifest says; None if it is none of ``dlcvkit submit``."""
    try:
        if path.stat().st_size > _MAX_MANIFEST:
            return None
        told = json.loads(path.read_bytes())
        files = {str(entry["name"]): str(entry["sha256"]) for entry in told["files"]}
        return Manifest(str(told["student"]), str(told["stage"]), files)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def manifest_of(archive: Path, scratch: Scratch, budget: Budget) -> Manifest | None:
    """Return the manifest in a zip of ``dlcvkit submit``; None if it is none, or holds more than one such zip does."""
    try:
        entries, _ = unpack(archive, scratch, budget)
    except Refused:
        return None
    found = [entry for entry in entries if entry.name.name == MANIFEST and entry.file]
    if len(found) != 1 or not all(entry.name.is_relative_to(found[0].name.parent) for entry in entries):
        return None
    return read_manifest(found[0].file) if found[0].file else None


def _student_of(name: PurePosixPath, stage: Stage) -> str | None:
    """Return the student in ``ada_knn.ipynb``, ``ada-a1.zip`` or ``a1-ada.zip``; None if there is none."""
    ends = [*stage.notebooks, stage.name] if name.suffix.lower() == ".ipynb" else [stage.name]
    for end in sorted(ends, key=len, reverse=True):
        match = re.fullmatch(rf"(?:(?P<student>.+)[ _-])?{re.escape(end)}", name.stem, re.IGNORECASE)
        if match:
            return match["student"]
    if name.suffix.lower() != ".zip":
        return None
    match = re.fullmatch(rf"{re.escape(stage.name)}[ _-](?P<student>.+)", name.stem, re.IGNORECASE)
    return match["student"] if match else name.stem


def sort_plain(entries: Sequence[Entry], stage: Stage, scratch: Scratch) -> Sorted:
    """Sort ``ada/...``, ``ada.zip``, ``ada_knn.ipynb`` and the zips of ``dlcvkit submit``."""
    found: dict[str, HandIn] = {}
    strays = []
    for entry in entries:
        top, *rest = entry.name.parts
        manifest = None
        if rest:
            student, own = top, PurePosixPath(*rest)
        else:
            own = entry.name
            if own.suffix.lower() == ".zip" and entry.file is not None:
                manifest = manifest_of(entry.file, scratch, student_budget())
            student = manifest.student if manifest else _student_of(own, stage) or ""
        if not student:
            strays.append(f"{entry.name} does not say whose it is; expected STUDENT/, STUDENT.zip or STUDENT_NOTEBOOK")
            continue
        handin = found.setdefault(student, HandIn(student, ids=(student,)))
        handin.uploads.append(Upload(Entry(own, entry.file), str(entry.name)))
        if manifest and own.stem != student and _student_of(own, stage) != student:
            handin.notes.append(Note(f"{own} says in its manifest that it is {student}'s", is_fine=True))
    return Sorted(list(found.values()), strays)
