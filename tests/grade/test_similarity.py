"""Who wrote the same: copies are found under other names and layouts, independent work and released code are not."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from dlcvgrade.cli import app
from dlcvgrade.similarity.comparing import similar_pairs
from dlcvgrade.similarity.handed_in import Cell, HandedIn

ROOT = Path(__file__).parents[2]
STUB = 'def distances(x, y):\n    """Return all distances."""\n    raise NotImplementedError()\n'
RELEASED = [STUB]

LOOPS = """\
def distances(x, y):
    # one by one
    result = torch.zeros(len(y), len(x))
    for row in range(len(y)):
        for column in range(len(x)):
            difference = x[column] - y[row]
            result[row, column] = (difference * difference).sum()
    biggest = result.max()
    if biggest < 0:
        raise ValueError("negative")
    return result
"""
RENAMED = """\
def distances(x, y):
    out = torch.zeros(len(y), len(x))
    for i in range(len(y)):

        for j in range(len(x)):
            d = x[j]-y[i]   # the vector
            out[i, j] = (d * d).sum()
    m = out.max()
    if m < 0:
        raise ValueError('cannot be')
    return out
"""
EXPANDED = """\
def distances(x, y):
    a = x.flatten(1)
    b = y.flatten(1)
    squares = a.pow(2).sum(1).unsqueeze(0) + b.pow(2).sum(1).unsqueeze(1)
    product = torch.matmul(b, a.transpose(0, 1))
    return torch.clamp(squares - 2 * product, min=0)
"""


def student(name, code, **more):
    return HandedIn(name, [Cell("knn", code)], **more)


def names(pairs):
    return [tuple(one.student for one in pair.students) for pair in pairs]


def test_a_copy_with_other_names_and_comments_is_found():
    (pair,) = similar_pairs(
        [student("a", LOOPS), student("b", RENAMED), student("c", EXPANDED)], RELEASED, at_least=0.5
    )
    assert names([pair]) == [("a", "b")]
    assert min(pair.shares) > 0.8
    for one, passages in zip(pair.students, pair.passages, strict=True):
        shared = "".join(one.code[start:end] for start, end in passages)
        assert ".sum()" in shared and "range(len(y))" in shared
        assert all(0 <= a < b <= len(one.code) for a, b in passages)


def test_a_part_of_a_longer_text_counts_for_who_has_it_all():
    longer = EXPANDED + "\n\n" + RENAMED
    (pair,) = similar_pairs([student("a", LOOPS), student("b", longer)], RELEASED, at_least=0.5)
    assert pair.shares[0] > 0.8 > pair.shares[1]


def test_what_was_released_does_not_count():
    untouched = [HandedIn(name, [Cell("knn", STUB)] * 5) for name in "ab"]
    assert similar_pairs(untouched, RELEASED, at_least=0) == []
    assert names(similar_pairs(untouched, [], at_least=0)) == [("a", "b")], "so the line above checks something"


def test_what_many_wrote_does_not_count():
    assert names(similar_pairs([student(n, LOOPS) for n in "abc"], [], at_least=0.5)) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert similar_pairs([student(n, LOOPS) for n in "abcdefgh"], [], at_least=0) == []


def test_a_copy_of_what_is_left_is_found_among_what_many_wrote():
    rest = [student(f"s{i}", EXPANDED) for i in range(20)]
    found = similar_pairs([student("a", EXPANDED + LOOPS), student("b", EXPANDED + RENAMED), *rest], [], at_least=0.5)
    assert names(found) == [("a", "b")]


def test_an_earlier_class_is_compared_with_but_not_among_itself():
    earlier = [student("old", LOOPS, is_earlier=True), student("older", RENAMED, is_earlier=True)]
    assert similar_pairs(earlier, [], at_least=0) == []
    assert names(similar_pairs([student("a", LOOPS), earlier[1]], [], at_least=0.5)) == [("a", "older")]


def test_a_text_that_repeats_itself_loses_only_what_is_common():
    """The library's own way of leaving code out takes repeated fingerprints for common ones."""
    twice = LOOPS + "\n\n" + LOOPS
    (pair,) = similar_pairs([student("a", twice), student("b", twice)], RELEASED, at_least=0.5)
    assert pair.shares == pytest.approx((1, 1), abs=0.05)


@pytest.mark.parametrize("code", ["", "\n", "x", "def f(:\n  'open", "\0\x1b[31m" * 50, "é" * 300])
def test_odd_code_is_compared_like_any(code):
    pairs = similar_pairs([student("a", code), student("b", code), student("c", LOOPS)], RELEASED, at_least=0)
    assert all(0 <= share <= 1 for pair in pairs for share in pair.shares)
    assert not [pair for pair in pairs if "c" in {each.student for each in pair.students} and max(pair.shares) > 0.5]


def test_students_who_wrote_differently_are_not_told():
    choose = random.Random(3).choice
    ends = ["sum", "mean", "max", "prod", "norm", "exp", "log"]
    statements = [f"v{i} = torch.tensor([{i}.5]) {choose('+-*/@')} x[{i}:].{choose(ends)}()" for i in range(400)]
    class_of = [student(f"s{i}", "\n".join(random.Random(i).sample(statements, 12))) for i in range(12)]
    assert similar_pairs(class_of, [], at_least=0.5) == []


# The command, on notebooks of stage a1.


def hand_in(folder, who, code):
    notebook = nbformat.read(ROOT / "assignments/a1/knn.ipynb", as_version=4)
    solutions = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    solutions[0].source = code
    home = folder / who / "a1"
    home.mkdir(parents=True)
    nbformat.write(notebook, home / "knn.ipynb")
    return home / "knn.ipynb"


@pytest.fixture
def submitted(tmp_path):
    for who, code in {"ada": LOOPS, "ben": RENAMED, "cleo": EXPANDED, "dan": ""}.items():
        hand_in(tmp_path / "submitted", who, code)
    return tmp_path / "submitted"


def run(*arguments):
    result = CliRunner().invoke(app, ["similarity", "a1", "--course", str(ROOT), *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_report_shows_the_pair_and_says_that_it_is_no_verdict(submitted, tmp_path):
    out = tmp_path / "report.html"
    result = run(submitted, "--out", out)
    assert result.exit_code == 0
    assert "4 submissions compared, 1 pair has much in common (ada and ben)" in result.output
    page = out.read_text(encoding="utf-8")
    assert "not a verdict" in page and "<mark>" in page
    assert "cleo" not in page and "NotImplementedError" not in page
    assert "<script" not in page


def test_nothing_in_common_is_a_report_too(submitted, tmp_path):
    shutil.rmtree(submitted / "ben")
    out = tmp_path / "report.html"
    assert "0 pairs have" in run(submitted, "--out", out).output
    assert "No two submissions" in out.read_text(encoding="utf-8")


def test_markup_and_control_characters_are_shown_not_obeyed(submitted, tmp_path):
    evil = LOOPS + "\n# <script>alert(1)</script> \x1b[31m\u202e\n"
    for who in ("eve", "fay"):
        hand_in(submitted, who, evil)
    out = tmp_path / "report.html"
    run(submitted, "--out", out)
    page = out.read_text(encoding="utf-8")
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page


def test_who_cannot_be_read_is_told_and_the_rest_is_compared(submitted, tmp_path):
    (submitted / "dan/a1/knn.ipynb").write_text("{", encoding="utf-8")
    out = tmp_path / "report.html"
    result = run(submitted, "--out", out)
    assert result.exit_code == 2
    assert "dan" in result.output and "it is not compared" in result.output
    assert "ada" in out.read_text(encoding="utf-8")


def test_an_earlier_class_is_marked(submitted, tmp_path):
    hand_in(tmp_path / "last-year", "zoe", RENAMED)
    shutil.rmtree(submitted / "ben")
    out = tmp_path / "report.html"
    assert "(ada and zoe)" in run(submitted, "--earlier", tmp_path / "last-year", "--out", out).output
    assert "zoe (earlier)" in out.read_text(encoding="utf-8")


def test_a_folder_without_submissions_gets_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, ["similarity", "a1", "--course", str(ROOT), str(tmp_path / "empty")])
    assert result.exit_code != 0
