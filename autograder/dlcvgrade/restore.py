"""Give a submitted notebook back the cells and metadata that nbgrader needs, whatever an editor has lost.

Colab and other editors drop metadata, students delete, copy and split cells. nbgrader by itself gives up on some of
that for the whole class, and leaves a deleted test cell ungraded for ever. What a cell is worth comes from the
gradebook here, never from the submission.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode
from nbgrader.api import Gradebook, Notebook
from nbgrader.preprocessors import NbGraderPreprocessor

from dlcvgrade.notebooks import make_cell

_CHECK_CALL = re.compile(r"""^\s*check\(\s*["']\w+/(\w+)["']""", re.MULTILINE)
_DEFINITION = re.compile(r"^(?:async\s+def|def|class)\s+(\w+)", re.MULTILINE)
_MARK_SCHEME = re.compile(r"^### BEGIN MARK SCHEME$.*?^### END MARK SCHEME$\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Original:
    """A cell as the gradebook knows it."""

    name: str
    role: str
    cell_type: str
    source: str
    points: float | None

    def metadata(self) -> dict[str, Any]:
        """Return the nbgrader metadata that the cell was released with."""
        flags = {flag: flag == self.role for flag in ("grade", "solution", "task")}
        entry: dict[str, Any] = {"schema_version": 3, "grade_id": self.name, "cell_type": self.cell_type, **flags}
        entry["locked"] = self.role != "solution"
        if self.points is not None:
            entry["points"] = self.points
        return entry

    def new_cell(self) -> NotebookNode:
        """Return the cell anew."""
        return make_cell(self.cell_type, self.source, self.name, {"nbgrader": self.metadata()})


def originals(notebook: Notebook) -> dict[str, Original]:
    """Return grade id to cell for a notebook of the gradebook."""
    points = {cell.name: float(cell.max_score) for cell in (*notebook.grade_cells, *notebook.task_cells)}
    roles = {cell.name: "solution" for cell in notebook.solution_cells}
    roles |= {cell.name: "task" for cell in notebook.task_cells}
    roles |= {cell.name: "grade" for cell in notebook.grade_cells}
    return {
        cell.name: Original(cell.name, roles[cell.name], cell.cell_type, cell.source, points.get(cell.name))
        for cell in notebook.source_cells
        if cell.name in roles
    }


def _defined_names(source: str) -> list[str]:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _DEFINITION.findall(source)
    return [node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


def _names_by_text(cell: NotebookNode, known: dict[str, Original]) -> list[str]:
    """Return the grade ids that a cell's text speaks for."""
    if cell.cell_type == "code":
        checks = [f"check-{name}" for name in _CHECK_CALL.findall(cell.source)]
        if any(name in known for name in checks):
            return checks
        return [name for name in _defined_names(cell.source) if name in known and known[name].role == "solution"]
    text = cell.source.strip()
    return [
        name
        for name, original in known.items()
        if original.role == "task" and text and text == _MARK_SCHEME.sub("", original.source).strip()
    ]


def restore(notebook: NotebookNode, known: dict[str, Original]) -> list[str]:
    """Find every cell of the release in a submission, set its metadata, and append the graded ones that are gone.

    Args:
        notebook: The submission; modified in place.
        known: Grade id to cell, from ``originals``.

    Returns:
        What was mended, one line each.
    """
    found: dict[str, tuple[int, int]] = {}
    claimed: list[str | None] = []
    for index, cell in enumerate(notebook.cells):
        entry = cell.metadata.get("nbgrader", {})
        name = entry.get("grade_id") if isinstance(entry, dict) else None
        claimed.append(name if isinstance(name, str) else None)
        by_text = _names_by_text(cell, known)
        # The surest sign counts; among equals the last copy, as in nbgrader itself.
        for trust, candidates in ((3, [claimed[index]]), (2, [cell.get("id")]), (1, by_text)):
            for candidate in candidates:
                if candidate in known and (trust, index) > found.get(str(candidate), (0, -1)):
                    found[str(candidate)] = (trust, index)
    holder: dict[int, str] = {}
    for name, (_, index) in sorted(found.items(), key=lambda item: item[1]):
        holder[index] = name

    mended = []
    for index, cell in enumerate(notebook.cells):
        name = holder.get(index)
        if name is None:
            if cell.metadata.pop("nbgrader", None) is not None:
                mended.append(f"a cell that claims to be {claimed[index]!r} is taken for an ordinary one")
        else:
            if claimed[index] != name:
                mended.append(f"the metadata of {name!r} was lost")
            cell.metadata["nbgrader"] = known[name].metadata()
    present = set(holder.values())
    for name, original in sorted(known.items()):
        if name not in present and original.role != "solution":
            notebook.cells.append(original.new_cell())
            mended.append(f"the cell {name!r} was missing and stands at the end now")
    return mended


class RestoreCells(NbGraderPreprocessor):  # type: ignore[misc]
    """The step of nbgrader's sanitizing that mends a submitted notebook from the gradebook."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Mend a notebook.

        Args:
            nb: The submission; modified in place.
            resources: nbgrader's record of the assignment, notebook and gradebook.
        """
        facts = resources["nbgrader"]
        with Gradebook(facts["db_url"]) as gradebook:
            known = originals(gradebook.find_notebook(facts["notebook"], facts["assignment"]))
        for line in restore(nb, known):
            self.log.warning("%s: %s", facts["student"], line)
        return nb, resources
