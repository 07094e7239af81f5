from __future__ import annotations

import re

import pytest

from dlcvgrade.problems import Problem
from dlcvgrade.results.class_report import Mistake, chart, class_report_page, exercise_rows


@pytest.fixture
def small_class(put, result_json, entry):
    sign = {"diagnosis": "the wrong sign", "hint": "look at the last step"}
    return [
        put(result_json("a", entry("a1/one"), entry("a1/two"))),
        put(result_json("b", entry("a1/one"), entry("a1/two", "wrong", **sign))),
        put(result_json("c", entry("a1/one"), entry("a1/two", "wrong", **sign))),
        put(result_json("d", entry("a1/one", "missing", reason="f is not defined"), entry("a1/two", "wrong"))),
        put(result_json("e", entry("a1/one"), entry("a1/two", "could_not_check", reason="the worker was lost"))),
    ]


def test_the_histogram_counts_decided_submissions_only(small_class):
    drawn = chart(small_class)
    assert [bar.count for bar in drawn.bars] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 1]
    assert (drawn.total, drawn.median, drawn.lowest, drawn.highest, drawn.possible) == (4, 4, 0, 8, 8)
    assert drawn.told == "1 from 0, 2 from 4, 1 from 7.2"
    tallest = max(drawn.bars, key=lambda bar: bar.height)
    assert tallest.count == 2 and tallest.y + tallest.height == 110


def test_a_class_without_decided_points_has_no_histogram(put, result_json, entry):
    undecided = [put(result_json("a", entry("a1/one", "could_not_check")))]
    assert chart(undecided).bars == ()
    assert "No submission is decided yet" in class_report_page(undecided, [], {"a": "students/a.html"})
    worthless = [put(result_json("a", entry("a1/one", points=0.0, possible=0.0)))]
    assert chart(worthless).bars[0].count == 1


def test_pass_rates_and_mistakes_count_who_was_decided(small_class):
    one, two = exercise_rows(small_class)
    assert (one.name, one.right, one.decided, one.percent) == ("a1/one", 4, 5, 80)
    assert (two.name, two.right, two.decided, two.percent) == ("a1/two", 1, 4, 25)
    assert one.mistakes == [Mistake("missing", "f is not defined", 1)]
    assert two.mistakes == [Mistake("wrong", "the wrong sign", 2), Mistake("wrong", "fails in a hidden case", 1)]


def test_partial_submissions_count_where_they_have_the_exercise(put, result_json, entry):
    partial = put(result_json("a", entry("a1/two")))
    whole = put(result_json("b", entry("a1/one"), entry("a1/two", "wrong")))
    rows = exercise_rows([partial, whole])
    assert [(row.name, row.right, row.decided) for row in rows] == [("a1/one", 1, 1), ("a1/two", 1, 2)]


def test_the_page_says_all_of_it(small_class):
    links = {result.key: f"students/{result.key}.html" for result in small_class}
    html = class_report_page(small_class, [Problem("x.json", "is no JSON")], links)
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html))
    for told in (
        "5 submissions",
        "Isolation: 5 bubblewrap",
        "x.json: is no JSON",
        "Median 4, lowest 0, highest 8 of 8; 4 decided submissions",
        "a1/one 4 of 5",
        "2 × wrong: the wrong sign",
        "e, a1/two: the worker was lost",
        "e 4 / 8 so far",
    ):
        assert told in text
    assert 'aria-label="Histogram of points: 1 from 0, 2 from 4, 1 from 7.2"' in html
    assert 'href="students/a.html"' in html


def test_results_without_a_sandbox_are_pointed_out(small_class, put, result_json):
    unsafe = {"level": "none", "filters_system_calls": False, "why": "not installed"}
    links = dict.fromkeys("abcdez", "students/a.html")
    assert "without a sandbox" not in class_report_page(small_class, [], links)
    html = class_report_page([*small_class, put(result_json("z", isolation=unsafe))], [], links)
    assert "1 of them graded without a sandbox" in html
