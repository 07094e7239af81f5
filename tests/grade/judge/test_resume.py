"""What is graded again and what is not, and how a result is got again."""

from __future__ import annotations

import json
import shutil

import pytest

from dlcvgrade import cli
from dlcvgrade.build import Built
from dlcvgrade.judge.resume import Identity, stored_result
from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.registry import KitRegistry

STUDENTS = tuple(f"s{number}" for number in range(8))
HASHES = {"submission": "1", "specs": "2", "kit": "3"}
WANTED = Identity("ada", "a1", ("a1/x",), HASHES, "bubblewrap")
STORED = {
    "format": 1, "student": "ada", "stage": "a1", "points": 1.0, "possible": 1.0, "is_decided": True, "seed": 4,
    "exercises": [{"exercise": "a1/x"}], "isolation": {"level": "bubblewrap"}, "hashes": HASHES,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"student": "grace"},
        {"stage": "a2"},
        {"is_decided": False},
        {"exercises": []},
        {"exercises": 3},
        {"isolation": {"level": "none"}},
        *({"hashes": HASHES | {name: "other"}} for name in HASHES),
    ],
    ids=str,
)
def test_a_result_stands_only_for_what_it_was_made_from(tmp_path, change):
    path = tmp_path / "ada.json"
    path.write_text(json.dumps(STORED))
    assert stored_result(path, WANTED) == STORED
    path.write_text(json.dumps(STORED | change))
    assert stored_result(path, WANTED) is None


def test_another_seed_is_graded_anew_and_the_same_is_not(tmp_path):
    path = tmp_path / "ada.json"
    path.write_text(json.dumps(STORED))
    assert stored_result(path, Identity("ada", "a1", ("a1/x",), HASHES, "bubblewrap", 4)) == STORED
    assert stored_result(path, Identity("ada", "a1", ("a1/x",), HASHES, "bubblewrap", 5)) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000], ids=repr)
def test_a_damaged_result_counts_as_not_graded(tmp_path, content):
    (tmp_path / "ada.json").write_bytes(content)
    assert stored_result(tmp_path / "ada.json", WANTED) is None
    assert stored_result(tmp_path / "gone.json", WANTED) is None


@pytest.fixture
def submitted(knn_built: Built, tmp_path):
    """A folder with one quick correct submission for each student."""
    (solution,) = knn_built.solved.values()
    (released,) = knn_built.released.values()
    sources = {cell.id: without_markers(cell.source) for cell in read_notebook(solution).cells}
    notebook = read_notebook(released)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code":
            cell.source = sources[cell.id]
    for student in STUDENTS:
        (tmp_path / "in" / student).mkdir(parents=True)
        (tmp_path / "in" / student / "knn.ipynb").write_bytes(notebook_bytes(notebook))
    return tmp_path / "in"


def results(folder):
    """File name to inode and content; a result that is written again gets another inode."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.glob("*.json")}


def test_only_what_changed_or_is_asked_for_is_graded_again(submitted, knn_course, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        KitRegistry, "ids", lambda self, stage, notebook: ["a1/knn_no_loops", "a1/kfold_indices", "a1/predict_labels"]
    )
    for student in STUDENTS[3:]:
        shutil.rmtree(submitted / student)

    def grade(*more):
        arguments = ["a1", str(submitted), "--json", str(tmp_path / "out"), "--course", str(knn_course.root), *more]
        monkeypatch.setattr("sys.argv", ["dlcvgrade", "grade", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code, results(tmp_path / "out")

    code, first = grade()
    assert (code, set(first)) == (0, {"s0.json", "s1.json", "s2.json"})
    code, again = grade()
    assert (code, again) == (0, first)
    assert "3 of 3 submissions were graded before" in capsys.readouterr().out
    with (submitted / "s1" / "knn.ipynb").open("ab") as file:
        file.write(b"\n")
    code, third = grade("--regrade", "s2")
    assert code == 0
    assert {name for name in first if third[name] != first[name]} == {"s1.json", "s2.json"}
    code, fourth = grade("--regrade", "nobody")
    assert (code, fourth) == (2, third)


def test_replay_says_whether_verdict_and_points_are_the_same(submitted, knn_course, tmp_path, monkeypatch, capsys):
    ids = ["a1/knn_no_loops", "a1/kfold_indices", "a1/predict_labels"]
    monkeypatch.setattr(KitRegistry, "ids", lambda self, stage, notebook: ids)
    for student in STUDENTS[1:]:
        shutil.rmtree(submitted / student)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["dlcvgrade", *arguments, "--course", str(knn_course.root)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, capsys.readouterr()

    path = tmp_path / "out" / "s0.json"
    where = ("--submission", str(submitted / "s0"))
    assert run("grade", "a1", str(submitted), "--json", str(path.parent))[0] == 0
    code, told = run("replay", str(path), ids[1], *where)
    assert (code, told.out) == (0, "logged      pass, 4 points\nnow         pass, 4 points\nthe same\n")
    stored = json.loads(path.read_text())
    stored["exercises"][1] |= {"verdict": "wrong", "points": 0.0}
    stored["hashes"]["kit"] = "another"
    path.write_text(json.dumps(stored))
    code, told = run("replay", str(path), ids[1], *where)
    assert code == 1
    assert "differs     kit" in told.out
    assert told.out.endswith("not the same\n")
    assert run("replay", str(path), "a1/unknown", *where)[0] == 2
    path.write_text("{}")
    code, told = run("replay", str(path), ids[1], *where)
    assert code == 2
    assert "is no result of" in told.err
