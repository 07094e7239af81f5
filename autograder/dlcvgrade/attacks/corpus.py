"""The corpora of attacks and controls as data: each entry is a submission, made from a correct one.

``tests/grade/attacks/README.md`` says how an entry is written.
"""

from __future__ import annotations

import importlib.util
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from nbformat import NotebookNode

from dlcvgrade.build import Built
from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import make_cell, read_notebook
from dlcvgrade.problems import CourseProblems, Problem

STAGE, NOTEBOOK = "a1", "knn"
CELLS = {
    "distances": "compute_distances_no_loops",
    "folds": "kfold_indices",
    "labels": "predict_labels",
    "penalty": "elastic_net_penalty",
}
"""Key of an entry to the function whose cell it replaces."""
CODE = tuple(f"{STAGE}/{name}" for name in ("knn_no_loops", "kfold_indices", "predict_labels", "elastic_net_penalty"))
ANSWER = f"{STAGE}/linear_answer"
EXERCISES = (*CODE, ANSWER)
WRONG = "return y_train[: len(dists)] * 0"
RIGHT = "return y_train[dists.argsort(dim=1)[:, :k]].mode(dim=1).values"

_KEYS: dict[str, Any] = {
    "tries": str, "body": str, "look": str, "setup": str, "first": str, "last": str, "change": str, "student": str,
    "target": str, "others": (str, list), "stock": str, "wall": (int, float), "slow": bool, "nbgrader": bool,
    "verdict": (str, list), **dict.fromkeys(CELLS, str),
}  # fmt: skip
_LOOKER = """\
def look(dists, y_train, k):
{look}

def predict_labels(dists, y_train, k):
    try:
        seen = look(dists, y_train, k)
    except (OSError, ImportError):
        seen = False
    if seen:
        {right}
    {wrong}
"""


@dataclass(frozen=True)
class Entry:
    """A submission of a corpus, and what must come of it.

    Attributes:
        name: Its name, unique in the corpus.
        family: Name of the file that it stands in.
        tries: What it tries, in a line.
        cells: Name of a function to the text of its cell; those not named are correct.
        setup: Text of the first code cell; the release's if None.
        first: A cell that stands before all others, or None.
        last: A cell that stands after all others, or None.
        change: Does to the notebook and its folder what no text can; None if nothing.
        student: The folder's name.
        target: Exercises that it is to earn nothing in.
        verdict: Verdicts that are right for those.
        others: Verdicts that are right for the other exercises that are code.
        wall: Seconds that an exercise may take.
        is_slow: Whether it takes more than a few seconds.
        is_for_nbgrader: Whether it is handed in to nbgrader with the judge as well.
        not_on_stock: Why it is not run by nbgrader's own execution; empty if it is.
    """

    name: str
    family: str
    tries: str
    cells: Mapping[str, str] = field(default_factory=dict)
    setup: str | None = None
    first: str | None = None
    last: str | None = None
    change: Callable[[Place], None] | None = None
    student: str = "attacker"
    target: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ("pass",)
    others: tuple[str, ...] = ("pass",)
    wall: float = 15
    is_slow: bool = False
    is_for_nbgrader: bool = False
    not_on_stock: str = ""

    def hand_in(self, base: NotebookNode, folder: Path, course: Path, neighbour: Path) -> None:
        """Write the submission.

        Args:
            base: A correct notebook of its own; modified.
            folder: Where to, an empty folder for the stage.
            course: The course's folder.
            neighbour: The folder of somebody else's submission.
        """
        for cell in base.cells:
            role = cell.metadata.get("nbgrader", {})
            if role.get("solution"):
                cell.source = self.cells.get(role["grade_id"], cell.source)
            elif "setup" in cell.metadata.get("tags", []) and self.setup is not None:
                cell.source = self.setup
        if self.first is not None:
            base.cells.insert(0, make_cell("code", self.first, "added-first"))
        if self.last is not None:
            base.cells.append(make_cell("code", self.last, "added-last"))
        place = Place(base, folder, course, neighbour)
        if self.change is not None:
            self.change(place)
        if place.content is None:
            place.content = json.dumps(base).encode()
        if place.content and place.folder.is_dir():
            (place.folder / f"{NOTEBOOK}.ipynb").write_bytes(place.content)


@dataclass
class Place:
    """What a change of an entry works on.

    Attributes:
        notebook: The notebook that will be written; may be modified.
        folder: The submission's folder; files may be put there.
        course: The course's folder.
        neighbour: The folder of somebody else's submission.
        content: Bytes to write in place of the notebook; empty bytes write nothing.
    """

    notebook: NotebookNode
    folder: Path
    course: Path
    neighbour: Path
    content: bytes | None = None

    def cell(self, name: str) -> NotebookNode:
        """Return the cell of a function, or ``check-`` and an exercise's name: the one that grades it."""
        found: NotebookNode = next(
            cell for cell in self.notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == name
        )
        return found

    def checks(self) -> list[NotebookNode]:
        """Return the cells that grade."""
        return [cell for cell in self.notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]

    def leave_empty(self) -> None:
        """Leave every function out."""
        for name in CELLS.values():
            self.cell(name).source = "x = 1"


def correct_notebook(built: Built) -> NotebookNode:
    """Return a new notebook in which everything is right, made from the release as a student would."""
    (released,), (solved,) = built.released.values(), built.solved.values()
    sources = {cell.id: without_markers(cell.source) for cell in read_notebook(solved).cells}
    notebook = read_notebook(released)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = sources[cell.id]
    return notebook


def read_corpus(folder: Path) -> list[Entry]:
    """Return the entries of a corpus, in the order of its files.

    Args:
        folder: Holds a ``FAMILY.toml`` for every family, and ``changes.py`` if an entry names a change.

    Raises:
        CourseProblems: If there is none, or an entry makes no sense; all of it at once.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise CourseProblems([Problem(str(folder), "holds no corpus; expected a FAMILY.toml for every family")])
    changes = _changes(folder / "changes.py")
    problems: list[Problem] = []
    entries: dict[str, Entry] = {}
    for path in files:
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problems.append(Problem(str(path), f"is no valid TOML: {error}"))
            continue
        for name, table in tables.items():
            wrong = _what_is_wrong(table, changes)
            if name in entries:
                wrong.append(f"{entries[name].family}.toml has one of that name")
            problems += [Problem(str(path), f"[{name}] {what}") for what in wrong]
            if not wrong:
                entries[name] = _entry(name, path.stem, table, changes)
    if problems:
        raise CourseProblems(problems)
    return list(entries.values())


def _changes(path: Path) -> ModuleType:
    module = ModuleType("changes")
    if path.is_file():
        spec = importlib.util.spec_from_file_location("corpus_changes", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def _what_is_wrong(table: Any, changes: ModuleType) -> list[str]:
    if not isinstance(table, dict):
        return ["is no table"]
    wrong = [f"has an unknown key {key!r}" for key in table if key not in _KEYS]
    wrong += [f"{key} is {table[key]!r}" for key, kind in _KEYS.items() if key in table
              and not isinstance(table[key], kind)]  # fmt: skip
    if not table.get("tries"):
        wrong.append("does not say what it tries")
    if len({"body", "look", "labels"} & set(table)) > 1:
        wrong.append("has more than one of body, look and labels")
    change = table.get("change")
    if isinstance(change, str) and not callable(getattr(changes, change, None)):
        wrong.append(f"names the change {change!r}, which changes.py does not define")
    return wrong


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip("\n").split("\n"))


def _entry(name: str, family: str, table: Mapping[str, Any], changes: ModuleType) -> Entry:
    cells = {function: str(table[key]) for key, function in CELLS.items() if key in table}
    if "body" in table:
        body = table["body"].replace("WRONG", WRONG).replace("RIGHT", RIGHT)
        cells["predict_labels"] = f"def predict_labels(dists, y_train, k):\n{_indented(body)}\n"
    if "look" in table:
        cells["predict_labels"] = _LOOKER.format(look=_indented(table["look"]), right=RIGHT, wrong=WRONG)
    verdict = _words(table.get("verdict", "wrong" if "look" in table else "pass"))
    is_attack = "pass" not in verdict
    return Entry(
        name=name, family=family, tries=table["tries"], cells=cells, setup=table.get("setup"),
        first=table.get("first"), last=table.get("last"),
        change=getattr(changes, table["change"]) if "change" in table else None,
        student=table.get("student", "attacker"),
        target=_target(table.get("target", "predict_labels")) if is_attack else (),
        verdict=verdict, others=_words(table.get("others", "pass")), wall=table.get("wall", 15),
        is_slow=table.get("slow", False), is_for_nbgrader=table.get("nbgrader", False),
        not_on_stock=table.get("stock", ""),
    )  # fmt: skip


def _words(told: str | list[str]) -> tuple[str, ...]:
    return (told,) if isinstance(told, str) else tuple(told)


def _target(told: str) -> tuple[str, ...]:
    return CODE if told == "all" else tuple(f"{STAGE}/{name}" for name in told.split())


def families(entries: Sequence[Entry]) -> list[str]:
    """Return the families of entries, each once, in order."""
    return list(dict.fromkeys(entry.family for entry in entries))
