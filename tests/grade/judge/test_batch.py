"""Submissions as files: from a folder to results."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest

from dlcvgrade import cli
from dlcvgrade.build import Built, build
from dlcvgrade.course import read_course
from dlcvgrade.judge import command
from dlcvgrade.judge.batch import Grader
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.material import answer_file
from dlcvgrade.judge.results import write_result
from dlcvgrade.judge.sandbox import Isolation, isolation
from dlcvgrade.judge.submissions import Release, find_submissions, read_work
from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import make_cell, make_notebook, notebook_bytes, read_notebook
from dlcvgrade.problems import CourseProblems
from dlcvgrade.session import failed, open_api


@pytest.fixture(scope="module")
def solved(knn_built: Built):
    """A function that returns a fresh correct submission, made from the release."""
    (released,) = knn_built.released.values()
    (solution,) = knn_built.solved.values()
    sources = {cell.id: without_markers(cell.source) for cell in read_notebook(solution).cells}

    def solved():
        notebook = read_notebook(released)
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code":
                cell.source = sources[cell.id]
        return notebook

    return solved


def lose_metadata(notebook):
    notebook.metadata = type(notebook.metadata)({"colab": {}})
    notebook.nbformat_minor = 0
    for number, cell in enumerate(notebook.cells):
        cell.metadata = type(cell.metadata)({"id": f"colab{number}"})
        del cell["id"]


def delete_checks(notebook):
    notebook.cells = [cell for cell in notebook.cells if not cell.metadata.get("nbgrader", {}).get("grade")]


def edit_checks(notebook):
    for cell in notebook.cells:
        entry = cell.metadata.get("nbgrader", {})
        if entry.get("grade"):
            cell.source, entry["points"] = "100.0", 100
        elif entry.get("solution"):
            cell.source = "x = 1"


def reverse_cells(notebook):
    notebook.cells = [notebook.cells[0], notebook.cells[1], *reversed(notebook.cells[2:])]


def duplicate_cells(notebook):
    again = [copy.deepcopy(cell) for cell in notebook.cells[2:]]
    for number, cell in enumerate(again):
        cell.id = f"again-{number}"
    notebook.cells += again


def spoil_one(notebook):
    next(cell for cell in notebook.cells if cell.get("id") == "predict_labels").source = "x = 1"


def exit_at_once(notebook):
    notebook.cells.insert(1, make_cell("code", "import os\nos._exit(1)", "evil"))


CHANGES = {
    "correct": lambda notebook: None,
    "no-metadata": lose_metadata,
    "deletes-checks": delete_checks,
    "edits-checks": edit_checks,
    "reversed": reverse_cells,
    "duplicates": duplicate_cells,
    "one-missing": spoil_one,
    "exits": exit_at_once,
}
DAMAGED = {
    "malformed": b'{"cells": [',
    "no-text": b"\xff\x00\xfe",
    "empty": b"",
    "a-list": b"[1, 2]",
    "deep": b"[" * 100_000,
    "odd-cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": 3, "cells": [1, {"cell_type": "code"}, {}]}',
}


@pytest.fixture(scope="module")
def results(knn_course, solved, tmp_path_factory):
    """Student to result as JSON, for a class graded two at a time."""
    root = tmp_path_factory.mktemp("class")
    for student, change in CHANGES.items():
        notebook = solved()
        change(notebook)
        (root / "submitted" / student / "a1").mkdir(parents=True)
        content = notebook_bytes(notebook)
        (root / "submitted" / student / "a1" / "knn.ipynb").write_bytes(content)
    for student, content in DAMAGED.items():
        (root / "submitted" / student).mkdir()
        (root / "submitted" / student / "knn.ipynb").write_bytes(content)
    (root / "submitted" / "linked").mkdir()
    (root / "submitted" / "linked" / "knn.ipynb").symlink_to(root / "submitted" / "correct" / "a1" / "knn.ipynb")
    (root / "submitted" / "x\udcffé").mkdir()
    shutil.copy(root / "submitted" / "correct" / "a1" / "knn.ipynb", root / "submitted" / "x\udcffé")
    from_stage = knn_course.stage("a1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        grader = Grader(knn_course, from_stage, isolation(), seed=3, registry=_subset(), limits=Limits(wall_seconds=15))
        for graded in grader.grade(find_submissions([root / "submitted"], from_stage), jobs=2):
            write_result(graded.student, graded.as_json(), root / "results")
    read = [json.loads(path.read_text()) for path in (root / "results").iterdir()]
    return {result["student"]: result for result in read}


def _subset():
    from dlcvgrade.registry import KitRegistry

    class Subset(KitRegistry):
        def ids(self, stage, notebook):
            return ["a1/knn_no_loops", "a1/kfold_indices", "a1/predict_labels"]

    return Subset()


def outcome(result):
    return [(e["verdict"], e["points"]) for e in result["exercises"]]


@pytest.mark.parametrize(
    "student", ["correct", "no-metadata", "deletes-checks", "reversed", "duplicates", "x?é"]
)  # fmt: skip
def test_correct_work_earns_everything_whatever_happened_to_the_notebook(results, student):
    assert outcome(results[student]) == [("pass", 4.0)] * 3, results[student]
    assert results[student]["points"] == results[student]["possible"] == 12.0


def test_demos_are_not_run_even_if_they_lost_their_tags_and_were_edited(tmp_path):
    demo = "losses = train(x, y, steps=1000, lr=0.1)\nplt.plot(losses)\nplt.show()"
    release = Release({}, frozenset({"demo-1"}), frozenset({demo}), frozenset())
    helper = "def train_with(x, y):\n    return x.sum() + y.sum()"
    cells = [
        make_cell("code", demo, "a"),
        make_cell("code", demo.replace("1000", "2000"), "b"),
        make_cell("code", "anything", "demo-1"),
        make_cell("code", "anything else", "c", {"tags": ["demo"]}),
        make_cell("code", helper, "d"),
        make_cell("markdown", "text", "e"),
    ]
    path = tmp_path / "x.ipynb"
    path.write_bytes(notebook_bytes(make_notebook(cells)))
    assert read_work(path, release).cells == (helper,)


def test_edited_checks_and_points_earn_nothing(results):
    assert outcome(results["edits-checks"]) == [("missing", 0.0)] * 3
    assert results["edits-checks"]["possible"] == 12.0


def test_one_missing_function_costs_its_exercise(results):
    assert outcome(results["one-missing"]) == [("pass", 4.0), ("pass", 4.0), ("missing", 0.0)]


@pytest.mark.parametrize("student", [*DAMAGED, "linked"])
def test_what_cannot_be_read_is_a_verdict_for_that_submission(results, student):
    verdicts = outcome(results[student])
    assert verdicts == [("not_run", 0.0)] * 3
    assert all(e["reason"] for e in results[student]["exercises"])


def test_exiting_costs_that_submission_only(results):
    assert outcome(results["exits"]) == [("crash", 0.0)] * 3


def test_result_says_how_it_came_about_and_gives_nothing_away(results):
    result = results["one-missing"]
    assert result["format"] == 1
    assert result["seed"] == 3
    assert result["isolation"] == {"level": "bubblewrap", "filters_system_calls": True, "why": ""}
    assert set(result["versions"]) == {"dlcvkit", "torch", "python"}
    assert set(result["hashes"]) == {"submission", "specs", "kit", "judge"}
    assert result["hashes"]["submission"] != results["correct"]["hashes"]["submission"]
    assert result["notes"] == []
    assert results["deletes-checks"]["notes"]
    text = json.dumps(results)
    assert "hidden_" not in text
    assert "Case(" not in text


def test_files_are_submissions_too(tmp_path, knn_course, solved):
    stage = knn_course.stage("a1")
    for name in ("ada_knn.ipynb", "knn.ipynb", "grace-knn.ipynb"):
        (tmp_path / name).write_bytes(notebook_bytes(solved()))
    found = find_submissions(sorted(tmp_path.iterdir()), stage)
    assert [s.student for s in found] == sorted(["ada", "grace", tmp_path.name])
    (tmp_path / "notes.ipynb").write_text("{}")
    for paths in ([tmp_path / "notes.ipynb"], [tmp_path / "gone"], [tmp_path]):
        with pytest.raises(CourseProblems):
            find_submissions(paths, stage)


def test_answer_file_is_what_the_releases_check_passes():
    from dlcvgrade.restore import Original

    def release(argument):
        source = f'check("a1/answer", {argument!r})'
        original = Original("check-answer", "grade", "code", source, 1.0)
        return Release({"check-answer": original}, frozenset(), frozenset(), frozenset())

    assert answer_file(release("w.safetensors"), "a1/answer") == "w.safetensors"
    with pytest.raises(ValueError, match="no file name"):
        answer_file(release("../w.safetensors"), "a1/answer")


def test_without_a_sandbox_it_refuses_unless_told(monkeypatch, capsys, knn_course):
    monkeypatch.setattr("dlcvgrade.judge.sandbox.isolation", lambda: Isolation("none", True, "it is not there"))
    monkeypatch.setattr("sys.argv", ["dlcvgrade", "grade", "a1", "--course", str(knn_course.root)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "no sandbox: it is not there" in capsys.readouterr().err


def test_a_file_that_cannot_be_opened_here_is_nobodys_fault(knn_course, solved, tmp_path, monkeypatch):
    (tmp_path / "ada").mkdir()
    path = tmp_path / "ada" / "knn.ipynb"
    path.write_bytes(notebook_bytes(solved()))

    def read_bytes(self, read=Path.read_bytes):
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    stage = knn_course.stage("a1")
    grader = Grader(knn_course, stage, isolation(), registry=_subset())
    (graded,) = grader.grade(find_submissions([tmp_path], stage))
    assert {verdict.verdict for verdict in graded.verdicts.values()} == {"could_not_check"}
    assert "Permission denied" in next(iter(graded.verdicts.values())).reason


def test_a_fault_of_the_grader_leaves_that_notebook_undecided(knn_course, solved, tmp_path, monkeypatch):
    def break_down(*arguments):
        raise KeyError("unforeseen")

    monkeypatch.setattr("dlcvgrade.judge.batch.judge_notebook", break_down)
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "knn.ipynb").write_bytes(notebook_bytes(solved()))
    stage = knn_course.stage("a1")
    (graded,) = Grader(knn_course, stage, isolation(), registry=_subset()).grade(find_submissions([tmp_path], stage))
    assert not graded.is_decided
    assert "KeyError" in next(iter(graded.verdicts.values())).reason


def test_no_cuda_is_one_line_and_exit_code_2(monkeypatch, capsys, knn_course):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = ["a1", "--device", "cuda", "--course", str(knn_course.root)]
    monkeypatch.setattr("sys.argv", ["dlcvgrade", "grade", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "dlcvgrade: --device cuda: torch finds no CUDA device on this machine\n"


def test_unsafe_grading_works_and_is_recorded(knn_course, solved, tmp_path):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "knn.ipynb").write_bytes(notebook_bytes(solved()))
    stage = knn_course.stage("a1")
    grader = Grader(knn_course, stage, Isolation("none", True, "told so"), registry=_subset())
    (graded,) = grader.grade(find_submissions([tmp_path], stage))
    assert graded.points == 12.0
    assert graded.as_json()["isolation"]["level"] == "none"


@pytest.mark.parametrize(
    "arguments", [["a9"], ["a1", "nowhere"], ["a1", "--jobs", "0"], ["a1", "--json", "course.toml"]]
)
def test_bad_arguments_are_exit_code_2(monkeypatch, capsys, knn_course, arguments):
    monkeypatch.chdir(knn_course.root)
    monkeypatch.setattr("sys.argv", ["dlcvgrade", "grade", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    ("students", "code"), [(["correct"], 0), (["correct", "one-missing"], 1)], ids=["all points", "points lost"]
)
def test_command_prints_who_got_what_and_why(monkeypatch, capsys, knn_course, solved, tmp_path, students, code):
    for student in students:
        notebook = solved()
        CHANGES[student](notebook)
        (tmp_path / "in" / student).mkdir(parents=True)
        (tmp_path / "in" / student / "knn.ipynb").write_bytes(notebook_bytes(notebook))
    monkeypatch.setattr("dlcvgrade.judge.material.KitRegistry", lambda: _subset())
    arguments = ["a1", str(tmp_path / "in"), "--json", str(tmp_path / "out"), "--course", str(knn_course.root)]
    monkeypatch.setattr("sys.argv", ["dlcvgrade", "grade", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == code
    told = capsys.readouterr().out
    assert "3 of 3 right" in told
    assert ("predict_labels is not defined" in told) is (code == 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{s}.json" for s in students)
    assert command.grade_command.__doc__


@pytest.mark.slow
def test_a_batch_gives_the_same_points_as_nbgraders_autograde(knn_course, solved, autograde_all, tmp_path):
    shutil.copytree(knn_course.root, tmp_path / "course", ignore=shutil.ignore_patterns("submitted", "*.db", "build"))
    course = read_course(tmp_path / "course")
    built = build(course, registry=_subset())
    for path, content in built.source.items():
        (course.root / path).parent.mkdir(parents=True, exist_ok=True)
        (course.root / path).write_bytes(content)
    api = open_api(course, course.root)
    assert failed(api.generate_assignment, "a1") is None
    for student in ("correct", "one-missing"):
        notebook = solved()
        CHANGES[student](notebook)
        (course.root / "submitted" / student / "a1").mkdir(parents=True)
        (course.root / "submitted" / student / "a1" / "knn.ipynb").write_bytes(notebook_bytes(notebook))
    recorded = {r.student: {e.exercise: e.points for e in r.exercises} for r in autograde_all(api, "a1")}
    stage = course.stage("a1")
    grader = Grader(course, stage, isolation(), registry=_subset())
    ours = {
        graded.student: {name: verdict.points for name, verdict in graded.verdicts.items()}
        for graded in grader.grade(find_submissions([course.root / "submitted"], stage))
    }
    assert ours == recorded
    assert ours["correct"] != ours["one-missing"]
