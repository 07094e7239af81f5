"""Results of a small class, made by hand, and a run of the commands on them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlcvgrade import cli
from dlcvgrade.results.reading import Result, read_result

EXERCISES = ("a1/one", "a1/two", "a1/three")

HOSTILE = [
    "<script>alert(1)</script>",
    "<svg onload=alert(1)>",
    "</style><img src=https://example.org/x onerror=alert(1)>",
    "\"><a href='javascript:alert(1)'>x</a>",
    "{{ 7 * 7 }}{% raw %}",
    '=HYPERLINK("https://example.org")',
    "\t=1+1",
    "  @SUM(A1)",
    "+1-1",
    "-2+3",
    'a,b;"c"',
    "\x1b[2J\x1b]0;title\x07",
    "abc\u202egpj.exe\u2066",
    "line\nbreak\r\nfeed\x00",
    "../../etc/passwd",
    "index",
    "CON",
    "Points Possible",
    "\ud800",
    "x" * 10_000,
]


def entry(name: str, verdict: str = "pass", **changes: Any) -> dict[str, Any]:
    """Return an exercise worth 4 points in two parts."""
    is_right = verdict == "pass"
    reason = None if is_right else "fails in a hidden case"
    points = None if verdict == "could_not_check" else 4.0 * is_right
    parts = [
        {"name": part, "earned": 2.0 * is_right, "possible": 2.0, "ok": is_right, "reason": reason}
        for part in ("out", "dx")
    ]
    told = {"reason": reason, "diagnosis": None, "hint": None, "quantities": parts, "notes": [], "seconds": 0.1}
    made = {"notebook": "knn", "exercise": name, "verdict": verdict, "points": points, "possible": 4.0, **told}
    return {**made, **changes}


def result_json(student: str = "ada", *exercises: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a result whose totals fit its exercises."""
    listed = list(exercises) or [entry(name) for name in EXERCISES]
    return {
        "format": 1,
        "student": student,
        "stage": "a1",
        "points": sum(exercise["points"] or 0 for exercise in listed),
        "possible": sum(exercise["possible"] for exercise in listed),
        "is_decided": all(exercise["points"] is not None for exercise in listed),
        "exercises": copy.deepcopy(listed),
        "notes": [],
        "seed": 7,
        "isolation": {"level": "bubblewrap", "filters_system_calls": True, "why": ""},
        "versions": {"dlcvkit": "0.1.0", "torch": "2.15.0", "python": "3.11.7"},
        "hashes": {"submission": "a" * 64, "specs": "b" * 64, "kit": "c" * 64},
        "seconds": 1.5,
        **changes,
    }


@pytest.fixture(name="entry")
def entry_fixture() -> Callable[..., dict[str, Any]]:
    return entry


@pytest.fixture(name="result_json")
def result_json_fixture() -> Callable[..., dict[str, Any]]:
    return result_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for results."""
    made = tmp_path / "results"
    made.mkdir()
    return made


@pytest.fixture
def put(folder: Path) -> Callable[..., Result]:
    """Write a result to the folder and return it as it is read."""

    def put(data: dict[str, Any], name: str | None = None) -> Result:
        path = folder / f"{name or data['student']}.json"
        path.write_text(json.dumps(data), encoding="utf-8")
        return read_result(path)

    return put


@pytest.fixture
def hostile_class(put: Callable[..., Result]) -> list[Result]:
    """A submission for every hostile text, in which every text that can be is hostile."""
    results = []
    for number, text in enumerate(HOSTILE):
        bad = {"reason": text, "diagnosis": f"it is {text}", "hint": text, "notes": [text]}
        parts = [{"name": text, "earned": 0.0, "possible": 4.0, "ok": False, "reason": text}] * 2
        exercises = [
            entry("a1/one", "wrong", **bad, quantities=parts),
            entry("a1/two", "could_not_check", **bad),
            entry(text, notebook=text),
        ]
        results.append(put(result_json(text, *exercises, notes=[text] * 60), f"r{number:02d}"))
    return results


@pytest.fixture
def dlcvgrade(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command; return exit code, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["dlcvgrade", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(exited.value.code, int)
        return exited.value.code, captured.out, captured.err

    return run
