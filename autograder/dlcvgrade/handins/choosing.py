"""Of all that a student handed in, the files that are graded."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dlcvgrade.course import Course, Stage
from dlcvgrade.handins.archives import Entry, Refused, Scratch, expand, student_budget
from dlcvgrade.handins.people import student_id
from dlcvgrade.handins.plain import MANIFEST, read_manifest
from dlcvgrade.handins.systems import HandIn, Note, Upload
from dlcvgrade.judge.submissions import MAX_NOTEBOOK_BYTES

_COPY_MARK = r"(?:[ _-]*\(\d{1,3}\)|[ _-]+\d{1,3}|[ _-]+copy(?:[ _-]?\d{1,3})?)?"
_ANSWER = ".safetensors"
_CHECKPOINTS = ".ipynb_checkpoints"


@dataclass(frozen=True)
class Wanted:
    """What a hand-in of a stage consists of.

    Attributes:
        stage: The stage.
        others: Names of the course's other stages.
        answers: Names of the files that notebooks have students save.
    """

    stage: Stage
    others: frozenset[str]
    answers: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """Names of all files, in order."""
        return [*(f"{name}.ipynb" for name in self.stage.notebooks), *self.answers]


@dataclass
class Chosen:
    """What becomes of a hand-in.

    Attributes:
        files: Name to contents, what is graded.
        aside: Name to contents, what something newer took the place of.
        notes: What there is to tell.
    """

    files: dict[str, Path] = field(default_factory=dict)
    aside: list[tuple[str, Path]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def wanted_of(course: Course, stage: Stage) -> Wanted:
    """Return what a hand-in of a stage consists of, as far as its sources are written."""
    others = frozenset(other.name for other in course.stages) - {stage.name}
    answers: list[str] = []
    for name in stage.notebooks:
        source = course.root / "solutions" / stage.name / f"{name}.py"
        answers += _answers_in(source.read_text(encoding="utf-8")) if source.is_file() else ()
    return Wanted(stage, others, tuple(dict.fromkeys(answers)))


def _answers_in(source: str) -> Iterator[str]:
    for line in source.splitlines():
        if line.startswith("check(") and _ANSWER in line:
            call = ast.parse(line).body[0]
            for node in ast.walk(call):
                if isinstance(node, ast.Constant) and str(node.value).endswith(_ANSWER):
                    yield str(node.value)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def choose(handin: HandIn, wanted: Wanted, scratch: Scratch, student: str) -> Chosen:
    """Choose the files that are graded.

    Args:
        handin: All that the student handed in.
        wanted: What the stage asks for.
        scratch: Receives the contents of archives.
        student: The student's id.
    """
    chosen = Chosen(notes=list(handin.notes))
    newest = _newest(handin.uploads, chosen)
    budget = student_budget()
    found: list[tuple[Upload, Entry]] = []
    for upload in newest:
        try:
            entries, problems = expand(upload.entry, scratch, budget)
        except Refused as error:
            entries, problems = [], [f"{upload.entry.name} {error}; nothing of it is taken"]
        found += [(upload, entry) for entry in entries]
        chosen.notes += [Note(problem) for problem in problems]
    rest = _fill(found, wanted, chosen)
    _compare_with_manifest(found, chosen, student if handin.is_certain else None)
    _tell_rest(rest, wanted, chosen)
    missing = [name for name in wanted.files if name not in chosen.files]
    if missing:
        chosen.notes.append(Note(f"missing: {', '.join(missing)}"))
    chosen.notes += [Note(f"{name} {why}") for name, path in chosen.files.items() if (why := _fault_of(name, path))]
    return chosen


def _newest(uploads: Sequence[Upload], chosen: Chosen) -> list[Upload]:
    """Return the newest upload of each series, and put what is older aside."""
    series: dict[str, list[Upload]] = defaultdict(list)
    for upload in uploads:
        series[upload.series].append(upload)
    newest = []
    for members in series.values():
        top = max(member.rank for member in members)
        newest += [member for member in members if member.rank == top]
        for member in members:
            if member.rank < top and member.entry.file is not None:
                chosen.aside.append((str(member.entry.name), member.entry.file))
                chosen.notes.append(Note(f"{member.entry.name} was handed in again; the newest counts", is_fine=True))
    return newest


def _target_of(name: PurePosixPath, wanted: Wanted) -> tuple[str | None, bool]:
    """Return the file of the stage that a name stands for, and whether it is called exactly so."""
    if name.name in wanted.files:
        return name.name, True
    for file in sorted(wanted.files, key=len, reverse=True):
        own = PurePosixPath(file)
        pattern = rf"(?:.+[ _-])?{re.escape(own.stem)}{_COPY_MARK}"
        if name.suffix.lower() == own.suffix and re.fullmatch(pattern, name.stem, re.IGNORECASE):
            return file, False
    return None, False


def _fill(found: Sequence[tuple[Upload, Entry]], wanted: Wanted, chosen: Chosen) -> list[PurePosixPath]:
    """Choose a file for each name of the stage, and return what was left over."""
    rest: list[PurePosixPath] = []
    candidates: dict[str, list[tuple[tuple[object, ...], Entry]]] = defaultdict(list)
    for upload, entry in found:
        folders = set(entry.name.parts[:-1])
        target, is_exact = _target_of(entry.name, wanted)
        if entry.file is None or target is None or _CHECKPOINTS in folders or folders & wanted.others:
            rest.append(entry.name)
            continue
        order = (upload.rank[::-1], is_exact, -len(entry.name.parts), str(entry.name))
        candidates[target].append((order, entry))
    for target, members in candidates.items():
        members.sort(key=lambda member: member[0], reverse=True)  # type: ignore[arg-type,return-value]
        best = members[0][1]
        assert best.file is not None
        chosen.files[target] = best.file
        if best.name.name != target:
            chosen.notes.append(Note(f"{best.name} is taken as {target}", is_fine=True))
        told = digest(best.file)
        for _, entry in members[1:]:
            if entry.file is not None and digest(entry.file) != told:
                chosen.aside.append((str(entry.name), entry.file))
                chosen.notes.append(Note(f"{target} is there more than once: {best.name} counts, not {entry.name}"))
    return rest


def _compare_with_manifest(found: Sequence[tuple[Upload, Entry]], chosen: Chosen, student: str | None) -> None:
    """Say where files are not those that ``dlcvkit submit`` packed, and where it was somebody else who packed them."""
    for _, entry in found:
        manifest = read_manifest(entry.file) if entry.name.name == MANIFEST and entry.file else None
        if manifest is None:
            continue
        packer = student_id(manifest.student)
        if student is not None and packer.casefold() != student.casefold():
            chosen.notes.append(Note(f"the manifest says that it is {manifest.student}'s"))
        beside = {other.name: other.file for _, other in found if other.file}
        for name, expected in manifest.files.items():
            path = beside.get(entry.name.parent / name)
            if path is None:
                chosen.notes.append(Note(f"{name} stands in the manifest and is not there"))
            elif digest(path) != expected:
                chosen.notes.append(Note(f"{name} was changed after it was packed"))


def _tell_rest(rest: Sequence[PurePosixPath], wanted: Wanted, chosen: Chosen) -> None:
    silent = [name for name in rest if name.name == MANIFEST or _CHECKPOINTS in name.parts]
    others = [name for name in rest if name not in silent]
    strange = [name for name in others if name.suffix.lower() in (".ipynb", ".rar", ".7z", ".gz", ".tar")]
    for name in strange:
        stage = next((part for part in name.parts[:-1] if part in wanted.others), None)
        why = f"lies in a folder of {stage}" if stage else f"is nothing that {wanted.stage.name} asks for"
        chosen.notes.append(Note(f"{name} {why}; left in the download"))
    plain = [name for name in others if name not in strange]
    if plain:
        more = ", ..." if len(plain) > 3 else ""
        some = ", ".join(map(str, plain[:3])) + more
        chosen.notes.append(Note(f"left in the download: {some} ({len(plain)})", is_fine=True))


def _fault_of(name: str, path: Path) -> str | None:
    """Return what will keep a notebook from being graded."""
    size = path.stat().st_size
    if size == 0:
        return "is empty"
    if size > MAX_NOTEBOOK_BYTES:
        return f"has {size} bytes; at most {MAX_NOTEBOOK_BYTES} are read"
    if name.endswith(_ANSWER):
        return None
    try:
        is_notebook = isinstance(json.loads(path.read_bytes())["cells"], list)
    except (ValueError, KeyError, TypeError, RecursionError):
        is_notebook = False
    return None if is_notebook else "cannot be read as a notebook"
