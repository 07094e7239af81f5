"""``dlcvgrade attack-report`` on a small corpus."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dlcvgrade import cli
from dlcvgrade.attacks.command import report_table, summary
from dlcvgrade.attacks.corpus import read_corpus
from dlcvgrade.attacks.stock import Stock
from dlcvgrade.attacks.trial import Trial

HERE = Path(__file__).parent
GAINS = "[gains]\ntries = 'is right and calls it an attack'\nverdict = 'wrong'\nbody = 'RIGHT'\n"
FAILS = "[fails]\ntries = 'is wrong'\nverdict = 'wrong'\nbody = 'WRONG'\n"


def run(monkeypatch, root, *arguments):
    monkeypatch.setattr("sys.argv", ["dlcvgrade", "attack-report", "--course", str(root), *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code


@pytest.fixture
def root(tmp_path):
    shutil.copytree(HERE / "course", tmp_path / "tests/grade/attacks/course")
    (tmp_path / "tests/grade/attacks/small.toml").write_text(GAINS + FAILS)
    return tmp_path


@pytest.mark.parametrize(("name", "code", "told"), [("fails", 0, "0 gained, 0 did"), ("gains", 1, "1 gained, 0 did")])
def test_report_says_who_gained_and_by_its_exit_code(monkeypatch, capsys, root, name, code, told):
    assert run(monkeypatch, root, name, "--no-stock") == code
    out = capsys.readouterr().out
    assert told in out
    assert name in out


def test_course_without_a_corpus_is_told_in_one_line(monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, tmp_path) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_attack_that_is_not_there_is_told(monkeypatch, capsys, root):
    assert run(monkeypatch, root, "nobody") == 2
    assert "no attack or family nobody" in capsys.readouterr().err


def test_summary_counts_both_sides(tmp_path):
    (tmp_path / "small.toml").write_text(GAINS + FAILS)
    gains, fails = read_corpus(tmp_path)
    rows = [
        (Trial(gains, 4.0, {}, ("earned",)), Stock(4.0, False, "")),
        (Trial(fails, 0.0, {}, ()), Stock(0.0, True, "not graded")),
        (Trial(fails, 0.0, {}, ("left a process",)), Stock(None, False, "not run: it would fill the disk")),
    ]
    ours, stock = summary(rows)
    assert ours == "ours    3 attacks in 1 families: 1 gained, 1 did other harm"
    assert stock.endswith("1 gained, 1 changed or stopped the next student's grading")
    assert report_table(rows).row_count == 4


@pytest.mark.slow
def test_stock_is_run_for_real(monkeypatch, capsys, root):
    """Correct work gets its points from nbgrader itself, and wrong work none: its column says something."""
    assert run(monkeypatch, root, "small") == 1
    out = capsys.readouterr().out
    assert "4 of 4" in out and "0 of 4" in out
    assert "2 of them run by nbgrader itself: 1 gained, 0 changed" in out
