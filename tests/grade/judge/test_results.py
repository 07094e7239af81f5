"""What a result says and where it is kept."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dlcvgrade.judge import material, progress
from dlcvgrade.judge.judged import report_of
from dlcvgrade.judge.judging import failed
from dlcvgrade.judge.material import Material
from dlcvgrade.judge.progress import BatchProgress
from dlcvgrade.judge.results import result_path
from dlcvgrade.judge.submissions import Release
from dlcvgrade.restore import Original
from dlcvkit.checking import Finding, Kind, Quantity, Report
from dlcvkit.checking.render import as_text


def test_no_two_students_share_a_file(tmp_path):
    long = "a" * 300
    shortened = result_path(tmp_path, long).stem
    students = [long, long + "b", "é" * 100, "é" * 101, "a.b", "a%2Eb", "a/b", "x\udcff", "~", shortened]
    paths = {result_path(tmp_path, student) for student in students}
    assert len(paths) == len(students)
    assert all(path.parent == tmp_path and len(path.name) <= 210 for path in paths)
    assert result_path(tmp_path, "ada_2").name == "ada_2.json"


@pytest.mark.parametrize("verdict", ["timeout", "not_run", "could_not_check"])
def test_every_part_of_an_exercise_that_ended_badly_has_the_same_reason(exercises, verdict):
    entry = failed(exercises["a1/kfold_indices"], verdict, "took too long").as_json()
    assert entry["quantities"]
    assert {entry["reason"], *(part["reason"] for part in entry["quantities"])} == {"took too long"}


def test_a_report_from_a_result_says_what_the_judge_said():
    right = Quantity("out", 2.0)
    wrong = Quantity("dx", 1.0, Finding(Kind.VALUE, "x", hint="look there", diagnosis="it is twice too large"))
    for report in (
        Report("a1/x", [right, wrong], is_hidden=True),
        Report("a1/x", [right], is_hidden=True),
        Report("a1/x", [wrong], Finding(Kind.MISSING, "f is not written yet", hint="write it"), is_hidden=True),
    ):
        entry = failed_or_not(report)
        assert as_text(report_of(entry)) == as_text(report)


def failed_or_not(report):
    from dlcvgrade.judge.judging import Verdict

    return Verdict(report, report.verdict).as_json()


@pytest.mark.parametrize("part", ["release", "torch", "own code", "kit", "specs"])
def test_a_result_goes_stale_with_whatever_decides_about_points(tmp_path, monkeypatch, part):
    def make(source="pass"):
        original = Original("check-x", "grade", "code", source, 1.0)
        return Material(
            "a1", {"x": Release({"check-x": original}, frozenset(), frozenset(), frozenset())}, {}, tmp_path
        )

    before = make().hashes
    assert make().hashes == before
    if part == "torch":
        monkeypatch.setattr(material.torch, "__version__", "0.0")
    elif part in ("own code", "kit"):
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / "__init__.py").write_text("")
        package = material.dlcvgrade if part == "own code" else material.dlcvkit
        monkeypatch.setattr(package, "__file__", str(tmp_path / "copy" / "__init__.py"))
    elif part == "specs":
        (tmp_path / "a1").mkdir()
        (tmp_path / "a1" / "x.py").write_text("x = 1")
    after = make("changed" if part == "release" else "pass").hashes
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {{"kit": "kit", "specs": "specs"}.get(part, "judge")}


def test_progress_shows_rate_time_left_and_verdicts(monkeypatch):
    clock = iter([0.0, *(x for second in (20, 40, 60) for x in [float(second)] * 6)])
    last = [0.0]

    def monotonic():
        last[0] = next(clock, last[0])
        return last[0]

    monkeypatch.setattr(progress.time, "monotonic", monotonic)
    text = io.StringIO()
    result = {"exercises": [{"verdict": "pass"}, {"verdict": "pass"}, {"verdict": "wrong"}]}
    with BatchProgress(Console(file=text, width=130), 4) as shown:
        shown.add(result, False)
        shown.add(result, True)
        shown.add(result, True)
        assert shown.verdicts() == "6 pass, 3 wrong"
        line = shown.line()
    assert line.startswith("graded      3 of 4, ")
    assert "/min, " in line
    assert "min left (6 pass, 3 wrong)" in line
