from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace

import pytest
from nbgrader.plugins.export import CsvExportPlugin

from dlcvgrade.problems import CourseProblems
from dlcvgrade.results.exporters import TABLES, canvas_csv, gradescope_json, moodle_csv, nbgrader_csv
from dlcvgrade.results.roster import read_roster


def rows(text):
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def formulas(text):
    """Return the cells that a spreadsheet would calculate."""
    return [
        cell for row in rows(text) for cell in row if cell.strip()[:1] in tuple("=+-@＝＋－＠") and not _number(cell)
    ]


def _number(cell):
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True


@pytest.fixture
def entries(put, result_json, entry):
    wrong = entry("a1/two", "wrong", hint="look at <b> & axes", points=1.5)
    return [
        (put(result_json("ada", entry("a1/one"), wrong)), {}),
        (put(result_json("bob", entry("a1/one"), entry("a1/two", "could_not_check"))), {}),
    ]


def test_nbgraders_columns_are_nbgraders_own(entries, tmp_path):
    plugin = CsvExportPlugin(to=str(tmp_path / "theirs.csv"))
    plugin.export(SimpleNamespace(assignments=[], students=[]))
    header, ada, bob = rows(nbgrader_csv(entries))
    assert header == (tmp_path / "theirs.csv").read_text().strip().split(",")
    assert ada == ["a1", "", "", "ada", "", "", "", "5.5", "", "5.5", "8"]
    assert bob == ["a1", "", "", "bob", "", "", "", "", "", "", "8"]


def test_canvas_finds_students_by_login_and_reads_the_possible_points(entries):
    header, possible, ada, bob = rows(canvas_csv(entries))
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "a1"]
    assert possible == ["    Points Possible", "", "", "", "", "8"]
    assert ada == ["ada", "", "", "ada", "", "5.5"]
    assert bob == ["bob", "", "", "bob", "", ""]


def test_no_student_can_be_the_row_of_possible_points(hostile_class):
    names = [row[0] for row in rows(canvas_csv([(result, {}) for result in hostile_class]))]
    assert [name for name in names if "Points Possible" in name] == ["    Points Possible"]
    assert "Points_Possible" in names


def test_moodle_gets_a_worksheet_with_comments_as_html(entries):
    header, ada, bob = rows(moodle_csv(entries))
    assert header[:3] == ["Identifier", "Full name", "Email address"]
    assert header[3:] == ["Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments"]
    assert ada[:6] == ["ada", "", "", "5.5", "8", "never"]
    told = "a1/two: 1.5 / 4, wrong; fails in a hidden case; look at &lt;b&gt; &amp; axes"
    assert ada[6] == f"a1/one: 4 / 4, right<br>{told}"
    assert bob[3] == ""
    assert "a1/two: ? / 4, not decided" in bob[6]


def test_gradescope_gets_scores_and_none_where_undecided(entries):
    ada, bob = (json.loads(gradescope_json(result)) for result, _ in entries)
    assert ada["score"] == 5.5
    assert [test["score"] for test in ada["tests"]] == [4, 1.5]
    assert ada["tests"][1] == {
        "score": 1.5,
        "status": "failed",
        "max_score": 4.0,
        "name": "a1/two",
        "output": "wrong\nwhy: fails in a hidden case\nhint: look at <b> & axes",
        "visibility": "visible",
    }
    assert {ada[key] for key in ("output_format", "test_output_format", "test_name_format")} == {"text"}
    assert "score" not in bob
    assert ["score" in test for test in bob["tests"]] == [True, False]
    assert "1 of 2 exercises could not be checked" in bob["output"]


def test_formulas_are_noticed_where_nothing_is_done_about_them(hostile_class):
    text = io.StringIO()
    csv.writer(text).writerows([result.student] for result in hostile_class)
    assert len(formulas(text.getvalue())) == 5


@pytest.mark.parametrize("system", TABLES)
def test_no_cell_is_a_formula_and_every_row_is_whole(hostile_class, system):
    people = [{}, dict.fromkeys(["Full name", "Student", "Section", "Email address"], "=1+1")]
    for person in people:
        text = TABLES[system]([(result, person) for result in hostile_class])
        assert formulas(text) == []
        table = rows(text)
        assert {len(row) for row in table} == {len(table[0])}
        assert len(table) == len(hostile_class) + (2 if system == "canvas" else 1)
        assert all(sign.isprintable() or sign == "\n" for sign in text)


def test_moodles_comments_hold_no_markup_of_students(hostile_class):
    table = rows(moodle_csv([(result, {}) for result in hostile_class]))
    assert "<script" in table[1][0]
    assert all("<" not in row[-1].replace("<br>", "") for row in table)


def test_numbers_stay_numbers(entries):
    assert ",5.5,,5.5,8\n" in nbgrader_csv(entries)


def test_hostile_texts_are_one_line_each_for_gradescope(hostile_class):
    for result in hostile_class:
        data = json.loads(gradescope_json(result))
        assert all(test["name"].isprintable() for test in data["tests"])
        assert all(sign.isprintable() or sign == "\n" for test in data["tests"] for sign in test["output"])
        assert max(len(test["output"]) for test in data["tests"]) < 2000


CANVAS = """\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,Old (3)
    Points Possible,,,,,10
"Lovelace, Ada",4711,s-1,ada@example.org,Lab 1,9
"Twin, One",1,twin,t1,Lab 1,
"Twin, Two",2,t2,twin,Lab 1,
"""
MOODLE = """Identifier,Full name,Email address,Status,Grade,Last modified (grade),Feedback comments
Participant 99,Ada Lovelace,Ada@example.org,Submitted,,-,
"""


def test_a_roster_brings_the_other_systems_own_numbers(entries, tmp_path):
    (tmp_path / "canvas.csv").write_text(CANVAS, encoding="utf-8")
    (tmp_path / "moodle.csv").write_text(MOODLE, encoding="utf-8")
    result = entries[0][0]
    canvas = read_roster(tmp_path / "canvas.csv", "canvas")
    assert rows(canvas_csv([(result, canvas.find("ada"))]))[2] == [
        "Lovelace, Ada", "4711", "s-1", "ada@example.org", "Lab 1", "5.5",
    ]  # fmt: skip
    moodle = read_roster(tmp_path / "moodle.csv", "moodle")
    row = rows(moodle_csv([(result, moodle.find("ada"))]))[1]
    assert row[:6] == ["Participant 99", "Ada Lovelace", "Ada@example.org", "5.5", "8", "never"]
    assert canvas.find("bob") is None and canvas.find("twin") is None
    assert canvas.missing("twin").startswith("twin has two rows in canvas.csv")
    assert canvas.missing("bob").startswith("bob has no row in canvas.csv")


@pytest.mark.parametrize(
    ("content", "system", "told"),
    [
        (b"\xff\xfe\x00", "canvas", "is no CSV in UTF-8"),
        (b'a,"b\n1', "canvas", "is no CSV in UTF-8"),
        (b"", "moodle", "has no column and row with a student's id"),
        (b"Name\nAda\n", "moodle", "expected Identifier, Username, ID number, Email address"),
        (b"ID\n1\n", "nbgrader", "is of no use to nbgrader; expected canvas or moodle"),
    ],
)
def test_a_roster_that_is_none_is_told(tmp_path, content, system, told):
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(CourseProblems, match=told):
        read_roster(tmp_path / "r.csv", system)
