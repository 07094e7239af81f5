"""The last look at a release before anybody gets it: nothing in it may give a solution or a hidden case away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from dlcvgrade.confidential import CASE, Secrets, is_telling, normalised
from dlcvgrade.markers import meant_marker
from dlcvgrade.problems import Problem

KIT = PurePosixPath("kit")
_KIT_RUN = 4
_BAD_PARTS = ("__pycache__", ".ipynb_checkpoints", ".git", ".venv")
_BAD_KINDS = (".pyc", ".pyo", ".db", ".swp", ".bak", ".orig", ".log")
_BINARY_KINDS = (".png", ".jpg", ".safetensors", ".npz", ".npy", ".whl")
_NOTEBOOK_METADATA = {"kernelspec", "language_info"}
_CELL_METADATA = {"nbgrader", "tags", "deletable", "editable"}
_NBGRADER_METADATA = {
    "cell_type", "checksum", "grade", "grade_id", "locked", "points", "schema_version", "solution", "task",
}  # fmt: skip
_PERSONAL_PATH = re.compile(r"(?:/home|/Users)/[\w.-]+|/root/[\w.-]+|[A-Za-z]:\\+Users\\+[\w.-]+")


def _path_findings(path: PurePosixPath) -> Iterator[str]:
    for part in path.parts:
        if part in _BAD_PARTS:
            yield f"lies in {part}, which is a left-over"
    if path.suffix in _BAD_KINDS:
        yield f"ends in {path.suffix}, which is a left-over"
    if path.suffix == ".py" and path.parts[0] != KIT.name:
        yield "is a Python file outside the kit, such as the source of a notebook"


def _text_findings(text: str, root: str) -> Iterator[tuple[int, str]]:
    """Yield (line from 1, finding) for what no text may hold."""
    for number, line in enumerate(text.split("\n"), 1):
        personal = _PERSONAL_PATH.search(line)
        if personal or root in line:
            yield number, f"names a path of the author's machine: {personal.group() if personal else root}"


def _secret_findings(text: str, secrets: Secrets, run: int) -> Iterator[tuple[int, str]]:
    """Yield where ``run`` telling lines in a row are all secret; lines that tell nothing do not end a row.

    A line that makes a hidden case is a finding by itself.
    """
    kinds = (("a line of a solution", secrets.solution), ("a line of a hidden case", secrets.hidden))
    for what, lines in kinds:
        row = 0
        for number, line in enumerate(map(normalised, text.split("\n")), 1):
            if not is_telling(line):
                continue
            row = row + 1 if line in lines else 0
            if row == run or (row and secrets.hidden is lines and CASE in line):
                yield number, f"holds {what}: {line[:60]!r}"


def _cell_findings(cell: Mapping[str, Any]) -> Iterator[str]:
    if cell.get("outputs"):
        yield "has outputs"
    if cell.get("execution_count") is not None:
        yield f"has the execution count {cell['execution_count']}"
    if cell.get("attachments"):
        yield "has attachments"
    metadata = cell.get("metadata", {})
    for key in sorted(set(metadata) - _CELL_METADATA):
        yield f"has metadata {key!r}"
    for key in sorted(set(metadata.get("nbgrader", {})) - _NBGRADER_METADATA):
        yield f"has nbgrader metadata {key!r}"
    source = "".join(cell["source"])
    if "hidden_check(" in source:
        yield "calls hidden_check"
    for line in source.split("\n"):
        if meant_marker(line):
            yield f"holds the marker {line.strip()!r}"


def _notebook_findings(content: bytes, root: str, secrets: Secrets) -> Iterator[tuple[int | None, str]]:
    """Yield (cell from 1 or None, finding)."""
    try:
        notebook = json.loads(content)
        cells = notebook["cells"]
        metadata = notebook["metadata"]
    except (ValueError, KeyError, TypeError):
        yield None, "is no notebook"
        return
    for key in sorted(set(metadata) - _NOTEBOOK_METADATA):
        yield None, f"has metadata {key!r}"
    for key in sorted(set(metadata.get("language_info", {})) - {"name"}):
        yield None, f"has language metadata {key!r}, which only a run writes"
    for number, cell in enumerate(cells, 1):
        source = "".join(cell["source"])
        for finding in _cell_findings(cell):
            yield number, finding
        for _, finding in _text_findings(json.dumps(cell, ensure_ascii=False), root):
            yield number, finding
        for _, finding in _secret_findings(source, secrets, 1):
            yield number, finding


def audit(files: Mapping[PurePosixPath, bytes], secrets: Secrets, *, root: str) -> list[Problem]:
    """Look through a release.

    In a notebook or a text beside it one telling line of a solution or a spec is a finding. In the kit it takes four
    in a row, or one that makes a hidden case: its references are public, and some of them are written as a solution
    would be.

    Args:
        files: Path below the release to content.
        secrets: What must not be in it.
        root: Absolute path of the course's folder, which must not be named.

    Returns:
        The findings; empty if the release is fit to be given out.
    """
    problems = []
    for path, content in sorted(files.items()):
        problems += [Problem(str(path), what) for what in _path_findings(path)]
        if path.suffix == ".ipynb":
            found = _notebook_findings(content, root, secrets)
            problems += [Problem(str(path), what, cell=cell) for cell, what in found]
            continue
        if path.suffix in _BINARY_KINDS:
            continue
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            problems.append(Problem(str(path), "is neither UTF-8 text nor a known kind of binary file"))
            continue
        run = _KIT_RUN if path.parts[0] == KIT.name else 1
        lines = [*_text_findings(text, root), *_secret_findings(text, secrets, run)]
        problems += [Problem(str(path), what, line=line) for line, what in lines]
    return problems
