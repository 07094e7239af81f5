"""A result as nbgrader's books take it: points for the gradebook, reports for the cells that grade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from dlcvkit.checking import Finding, Kind, Quantity, Report
from dlcvkit.checking.render import as_html, as_text

REPORT = "application/vnd.dlcvkit.report+json"
WORTH = "it is worth {exercise:g} points and the gradebook says {gradebook:g}; run nbgrader generate_assignment again"


@dataclass(frozen=True)
class Judged:
    """What a result says about one notebook.

    Attributes:
        entries: Exercise id to its entry in the result.
        notes: What was mended in the notebook, one line each.
        stamp: What tells this result from any other of the same submission: its seed and hashes.
        isolation: Level of isolation.
    """

    entries: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]
    stamp: Mapping[str, Any]
    isolation: str

    def points(self, exercise_id: str) -> float | None:
        """Return the points of an exercise; None if they are undecided."""
        points = self.entries[exercise_id]["points"]
        return None if points is None else float(points)

    def output(self, exercise_id: str) -> NotebookNode:
        """Return the output of the cell that grades an exercise: the report for people and for programs."""
        entry = self.entries[exercise_id]
        shown = report_of(entry)
        record = {
            **entry,
            "hidden": True,
            "seed": self.stamp["seed"],
            "isolation": self.isolation,
            "notes": list(self.notes),
        }
        make: Any = new_output
        data = {"text/html": as_html(shown), "text/plain": as_text(shown), REPORT: record}
        output: NotebookNode = make("display_data", data=data)
        return output


def stamp_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an autograded notebook carries of the result that it was made from."""
    return {"seed": result["seed"], "hashes": result["hashes"]}


def judged_from(result: Mapping[str, Any], notebook: str, worth: Mapping[str, float]) -> Judged:
    """Return what a result says about one notebook.

    Args:
        result: As ``Graded.as_json`` has it.
        notebook: The notebook's name.
        worth: Exercise id to its points in the gradebook; what differs from the result's is left undecided, for more
            points than the maximum could be written otherwise.
    """
    entries = {}
    for entry in result["exercises"]:
        name = entry["exercise"]
        if entry["notebook"] == notebook and name in worth:
            is_same = entry["possible"] == worth[name]
            reason = WORTH.format(exercise=entry["possible"], gradebook=worth[name])
            entries[name] = entry if is_same else _undecided(entry, reason)
    start = f"{notebook}: "
    notes = tuple(note.removeprefix(start) for note in result["notes"] if note.startswith(start))
    return Judged(entries, notes, stamp_of(result), result["isolation"]["level"])


def _undecided(entry: Mapping[str, Any], reason: str) -> dict[str, Any]:
    same = {"reason": reason, "diagnosis": None, "hint": None}
    parts = [{**part, **same, "earned": 0.0, "ok": False} for part in entry["quantities"]]
    return {**entry, **same, "verdict": "could_not_check", "points": None, "quantities": parts}


def report_of(entry: Mapping[str, Any]) -> Report:
    """Return the report of an entry of a result; it holds what a student may read and nothing else."""

    def finding(told: Mapping[str, Any]) -> Finding:
        # The reason is what may be told already; this kind is shown as it stands.
        return Finding(Kind.MISSING, told["reason"] or "", hint=told.get("hint"), diagnosis=told.get("diagnosis"))

    quantities = [
        Quantity(part["name"], float(part["possible"]), None if part["ok"] else finding(part))
        for part in entry["quantities"]
    ]
    concerns_all = entry["verdict"] not in ("pass", "wrong")
    return Report(entry["exercise"], quantities, finding(entry) if concerns_all else None, entry["notes"], True)
