"""A notebook file as it lies on disk, without Jupyter: its code cells, what was run in which order, its checksum."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcvkit.commands.terminal import CannotBeDone

MAX_BYTES = 32 * 2**20
"""Largest file that is read; grading has the same limit."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        number: Its place in the notebook, from 1.
        type: ``code``, ``markdown`` or ``raw``.
        source: Its text.
        tags: Its tags.
        grade: nbgrader's entry; empty if there is none.
        count: The number in its brackets; None if it was not run since its outputs were cleared.
    """

    number: int
    type: str
    source: str
    tags: frozenset[str]
    grade: dict[str, Any]
    count: int | None

    @property
    def is_code(self) -> bool:
        """Whether it holds code, and not nothing."""
        return self.type == "code" and bool(self.source.strip())


@dataclass(frozen=True)
class NotebookFile:
    """A notebook that could be read: where it lies, its bytes' SHA-256 and its cells."""

    path: Path
    sha256: str
    cells: tuple[Cell, ...]


def read_bytes(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        CannotBeDone: If it is no file, too large or not to be read.
    """
    try:
        if not path.is_file():
            raise CannotBeDone(f"{path} is no file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CannotBeDone(f"{path} has {size} bytes; expected at most {MAX_BYTES}: clear its outputs")
        return path.read_bytes()
    except OSError as error:
        raise CannotBeDone(f"{path} cannot be read: {error.strerror or error}") from None


def read_notebook(path: Path) -> NotebookFile:
    """Return what a notebook file holds.

    Raises:
        CannotBeDone: If it is no notebook of format 4; the message says what is wrong, and where.
    """
    return parse_notebook(path, read_bytes(path))


def parse_notebook(path: Path, content: bytes) -> NotebookFile:
    """Return what the content of a notebook file holds.

    Raises:
        CannotBeDone: As ``read_notebook``.
    """
    if not content.strip():
        raise CannotBeDone(f"{path} is empty; save the notebook again")
    if b"\n<<<<<<< " in content:
        raise CannotBeDone(f"{path} holds the marks of an unfinished merge (<<<<<<<); choose one of the two versions")
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise CannotBeDone(f"{path} is no notebook: it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise CannotBeDone(f"{path} is no notebook: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise CannotBeDone(f"{path} is no notebook: it is nested too deep") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise CannotBeDone(f"{path} is no notebook of format 4: it has no list of cells")
    cells = tuple(_cell(number, raw) for number, raw in enumerate(notebook["cells"], 1) if isinstance(raw, dict))
    return NotebookFile(path, hashlib.sha256(content).hexdigest(), cells)


def _cell(number: int, raw: dict[str, Any]) -> Cell:
    source, metadata, count = raw.get("source", ""), raw.get("metadata"), raw.get("execution_count")
    metadata = metadata if isinstance(metadata, dict) else {}
    tags, grade = metadata.get("tags"), metadata.get("nbgrader")
    return Cell(
        number,
        str(raw.get("cell_type", "")),
        "".join(map(str, source)) if isinstance(source, list) else str(source),
        frozenset(map(str, tags)) if isinstance(tags, list) else frozenset(),
        grade if isinstance(grade, dict) else {},
        count if isinstance(count, int) else None,
    )
