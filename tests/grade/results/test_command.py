from __future__ import annotations

import csv
import json

import pytest


def test_feedback_writes_pages_and_says_where(dlcvgrade, put, result_json, folder, tmp_path):
    put(result_json("ada"))
    out = tmp_path / "out"
    code, said, errors = dlcvgrade("feedback", folder, "--out", out)
    assert (code, errors) == (0, "")
    assert said == f"1 page in {out}/students; the class report is {out}/index.html\n"
    assert sorted(path.name for path in out.rglob("*.html")) == ["ada.html", "index.html"]


@pytest.mark.parametrize("system", ["nbgrader", "canvas", "moodle", "gradescope"])
def test_export_is_the_same_when_run_again(dlcvgrade, hostile_class, folder, tmp_path, system):
    contents = []
    for _ in range(2):
        assert dlcvgrade("export", folder, "--to", system, "--out", tmp_path / "out")[0] == 0
        files = [tmp_path / "out"] if (tmp_path / "out").is_file() else sorted((tmp_path / "out").rglob("*.json"))
        contents.append({path: path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    assert len(contents[0]) == (len(hostile_class) if system == "gradescope" else 1)


def test_a_broken_result_is_named_and_the_others_are_written(dlcvgrade, put, result_json, folder, tmp_path):
    put(result_json("ada"))
    (folder / "bob.json").write_text(json.dumps({**result_json("bob"), "format": 9}))
    for arguments in (["feedback"], ["export", "--to", "canvas"]):
        out = tmp_path / arguments[0]
        code, _, errors = dlcvgrade(*arguments, folder, "--out", out)
        assert (code, errors) == (2, "dlcvgrade: bob.json: format: is 9; expected 1, the one that this version reads\n")
        assert out.exists()


def test_two_results_of_one_student_are_exported_as_none(dlcvgrade, put, result_json, folder, tmp_path):
    put(result_json("ada"))
    put(result_json("bob"), "one")
    put(result_json("bob"), "two")
    code, said, errors = dlcvgrade("export", folder, "--to", "nbgrader", "--out", tmp_path / "out.csv")
    assert code == 2 and said.startswith("1 student in ")
    assert len(errors.splitlines()) == 2 and "one.json: is one of 2 results of bob" in errors
    with (tmp_path / "out.csv").open() as file:
        assert [row["student_id"] for row in csv.DictReader(file)] == ["ada"]


def test_a_student_that_the_roster_lacks_is_named(dlcvgrade, put, result_json, folder, tmp_path):
    put(result_json("ada"))
    put(result_json("bob"))
    (tmp_path / "r.csv").write_text("Identifier,Email address\nParticipant 1,ada@example.org\n")
    arguments = ("export", folder, "--to", "moodle", "--roster", tmp_path / "r.csv", "--out", tmp_path / "out.csv")
    code, _, errors = dlcvgrade(*arguments)
    assert code == 2
    told = "bob.json: bob has no row in r.csv; expected one by Identifier or Email address"
    assert errors == f"dlcvgrade: {told}\n"
    assert "Participant 1" in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["feedback", "{empty}", "--out", "{new}"], "holds no result"),
        (["feedback", "{broken}", "--out", "{new}"], "x.json: is no JSON"),
        (["feedback", "{good}", "--out", "{file}"], "is a file; expected a folder"),
        (["feedback", "{good}"], "Missing option '--out'"),
        (["export", "{good}", "--to", "blackboard", "--out", "{new}"], "'blackboard' is not one of"),
        (["export", "{good}", "--to", "canvas", "--out", "{good}"], "is a folder; expected a file"),
        (["export", "{good}", "--to", "gradescope", "--out", "{file}"], "is a file; expected a folder"),
        (
            ["export", "{good}", "--to", "gradescope", "--out", "{new}", "--roster", "{file}"],
            "is of no use to gradescope",
        ),
        (["export", "{good}", "--to", "canvas", "--out", "{new}", "--roster", "{new}"], "No such file"),
        (["export", "{broken}", "--to", "canvas", "--out", "{new}"], "x.json: is no JSON"),
    ],
)
def test_bad_input_writes_nothing(dlcvgrade, put, result_json, folder, tmp_path, arguments, told):
    put(result_json("ada"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/x.json").write_text("{")
    (tmp_path / "file").write_text("mine")
    places = {name: tmp_path / name for name in ("empty", "broken", "file", "new")} | {"good": folder}
    before = sorted(tmp_path.rglob("*"))
    code, _, errors = dlcvgrade(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert told in errors
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "mine"
