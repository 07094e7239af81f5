"""``dlcvkit submit``: look through a stage's notebooks and pack them into one zip, whatever state they are in."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dlcvkit import __version__
from dlcvkit.commands.check import Folder
from dlcvkit.commands.course import Topic, topics_of
from dlcvkit.commands.inspection import inspect_notebook
from dlcvkit.commands.notebook_file import MAX_BYTES, parse_notebook
from dlcvkit.commands.terminal import CannotBeDone, say, say_json

MANIFEST = "manifest.json"
FORMAT = 1
_STUDENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,62}[A-Za-z0-9])?")


@dataclass
class HandIn:
    """What is handed in.

    Attributes:
        files: Name to content.
        missing: Names of notebooks and saved answers that are not there.
        warnings: What the student should know before it is too late, one line each.
        earned: Points on the public cases.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    earned: float = 0.0


def require_student(student: str) -> None:
    """Insist on an id that can name a folder everywhere.

    Raises:
        CannotBeDone: If it cannot.
    """
    if not _STUDENT.fullmatch(student):
        raise CannotBeDone(
            f"the student's id is {student!r}; expected up to 64 letters a-z, digits and . _ @ - inside, no spaces"
        )


def gather(topics: list[Topic], folder: Path, seconds: float) -> HandIn:
    """Return the files of a stage with everything that is worth a warning; nothing in them stops it.

    Args:
        topics: The notebooks of the stage.
        folder: Where they lie.
        seconds: Time for one cell, and for one exercise, of the public checks.
    """
    found = HandIn()
    for topic in topics:
        path = topic.find(folder)
        if path is None:
            found.missing.append(topic.file_name)
            found.warnings.append(f"{topic.file_name} is not in {folder.absolute()}")
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            found.missing.append(topic.file_name)
            found.warnings.append(f"{topic.file_name} cannot be read: {error.strerror or error}")
            continue
        found.files[topic.file_name] = content
        if len(content) > MAX_BYTES:
            size = f"{len(content)} bytes; grading reads {MAX_BYTES} at most"
            found.warnings.append(f"{topic.file_name} has {size}: clear its outputs")
            continue
        try:
            notebook = parse_notebook(path, content)
        except CannotBeDone as error:
            found.warnings.append(str(error))
            continue
        inspection = inspect_notebook(topic, notebook, seconds)
        found.earned += inspection.earned
        found.warnings += [f"{topic.file_name}: {warning}" for warning in inspection.warnings]
        for name in inspection.answers:
            _add_answer(found, path.parent / name)
    return found


def _add_answer(found: HandIn, path: Path) -> None:
    try:
        found.files[path.name] = path.read_bytes()
    except OSError as error:
        found.missing.append(path.name)
        found.warnings.append(f"{path.name}, a saved answer, cannot be read: {error.strerror or error}")


def manifest_of(found: HandIn, student: str, stage: str, now: datetime) -> dict[str, Any]:
    """Return what ``manifest.json`` says.

    Args:
        found: What is handed in.
        student: The student's id.
        stage: Such as ``a2``.
        now: When, in UTC.
    """
    return {
        "format": FORMAT,
        "student": student,
        "stage": stage,
        "dlcvkit": __version__,
        "created": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": [
            {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in sorted(found.files.items())
        ],
        "missing": found.missing,
        "warnings": found.warnings,
    }


def write_zip(path: Path, folder: str, files: dict[str, bytes], now: datetime) -> None:
    """Write files below ``folder`` to a zip, in one step; an earlier one is replaced.

    Raises:
        OSError: If it cannot be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(f"{folder}/{name}", date_time=now.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(buffer.getvalue())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(scratch)
        raise


def submit_command(
    stage: Annotated[str, typer.Argument(help="Such as a2.")],
    student: Annotated[str, typer.Option("--student", help="Your id, as the course knows it.")],
    folder: Folder = Path("."),
    out: Annotated[Path, typer.Option("--out", help="Where to put the zip.", show_default="here")] = Path("."),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Time for one cell or one exercise.")] = 30.0,
) -> None:
    """Look through a stage's notebooks and pack them into one zip to hand in.

    It is written whatever is missing or wrong, and a warning says so. Exit code 0: all is well; 1: written, with
    warnings; 2: not written.
    """
    require_student(student)
    topics = topics_of(stage, folder)
    found = gather(topics, folder, seconds)
    if not found.files:
        raise CannotBeDone(f"no notebook of {stage} lies in {folder.absolute()}; --folder names another place")
    now = datetime.now(UTC)
    manifest = manifest_of(found, student, stage, now)
    path = out / f"{stage}-{student}.zip"
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    write_zip(path, f"{student}/{stage}", {**found.files, MANIFEST: text.encode()}, now)
    possible = sum(topic.possible for topic in topics)
    if as_json:
        say_json({"zip": str(path), "earned": found.earned, "possible": possible, **manifest})
    else:
        for entry in manifest["files"]:
            say(f"{entry['name']}  sha256 {entry['sha256'][:12]}")
        for warning in found.warnings:
            say(f"warn  {warning}")
        say(f"{found.earned:g} / {possible:g} points on the public cases")
        notebooks = sum(topic.file_name in found.files for topic in topics)
        say(f"{path} is ready, with {notebooks} of {len(topics)} notebooks; hand it in", style="bold")
    if found.warnings:
        raise typer.Exit(1)
