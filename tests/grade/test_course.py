from __future__ import annotations

import pytest

from dlcvgrade.course import read_course
from dlcvgrade.problems import CourseProblems


def complaints(root):
    with pytest.raises(CourseProblems) as caught:
        read_course(root)
    return [str(problem) for problem in caught.value.problems]


def test_reads_what_the_file_says(toy_root):
    course = read_course(toy_root)
    assert (course.id, course.late.percent_per_day, course.late.days) == ("toy", 10.0, 5)
    assert course.specs == toy_root / "autograder/specs"
    assert course.stage("a1").notebooks == ("toy",)
    assert course.stage("a1").due.utcoffset() is not None


def test_unknown_stage_is_named_with_the_known_ones(toy_root):
    with pytest.raises(CourseProblems, match=r"no stage 'a7'; there are a1"):
        read_course(toy_root).stage("a7")


def test_missing_file_says_where_to_run(tmp_path):
    assert complaints(tmp_path) == [f"course.toml: is missing in {tmp_path}; run this in the course's folder"]


def test_broken_toml_is_one_line(toy_root):
    (toy_root / "course.toml").write_text("[course\n")
    (line,) = complaints(toy_root)
    assert line.startswith("course.toml: is no valid TOML: ")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('id = "toy"', "", '[course] has no id; expected a short id such as "dlcv"'),
        ('id = "toy"', "id = 3", '[course] id is 3; expected a short id such as "dlcv"'),
        ("percent_per_day = 10", "percent_per_day = 140", "expected a number from 0 to 100"),
        ("days = 5", "days = 0", "[late] days is 0; expected at least 1"),
        ("days = 5", "days = true", "[late] days is True; expected a number of days"),
        ("23:59:00Z", "23:59:00", "due has no time zone; write 2027-02-05T23:59:00Z for UTC"),
        ('["toy"]', "[]", "has no notebooks"),
        ('["toy"]', '["toy", "toy"]', "lists the notebook 'toy' more than once"),
        ('["toy"]', '["../toy"]', "expected letters, digits and underscores"),
        ('name = "a1"', 'nmae = "a1"', "has an unknown key 'nmae'"),
    ],
)
def test_nonsense_is_told(toy_root, old, new, complaint):
    path = toy_root / "course.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert any(complaint in line for line in complaints(toy_root))


def test_everything_wrong_is_told_at_once(toy_root):
    path = toy_root / "course.toml"
    path.write_text(path.read_text().replace("days = 5", "days = 0").replace('id = "toy"', "id = 3"))
    assert len(complaints(toy_root)) == 2
