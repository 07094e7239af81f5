"""The command ``dlcvkit``."""

import pytest

from dlcvkit.checking import exercises_of
from dlcvkit.cli import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return stopped.value.code, capsys.readouterr()


def test_exercises_are_listed_with_points_and_functions(capsys):
    code, printed = run(capsys, "exercises", "a1")
    assert code == 0
    lines = printed.out.splitlines()
    assert len(lines) == len(exercises_of("a1")) + 1
    assert any(line.split()[:2] == ["a1/knn_no_loops", "4"] and "compute_distances_no_loops" in line for line in lines)
    assert lines[-1].endswith(f"{sum(e.total for e in exercises_of('a1').values()):g} points")


def test_an_unknown_stage_gets_one_line_and_exit_code_2(capsys):
    code, printed = run(capsys, "exercises", "a9")
    assert code == 2
    assert printed.err.startswith("dlcvkit: no stage 'a9'; expected one of a1")
    assert printed.err.count("\n") == 1


def test_data_takes_what_the_script_takes(capsys, tmp_path):
    code, printed = run(capsys, "data", "cifar11", "--dest", str(tmp_path))
    assert code == 2
    assert "cifar10" in printed.err
    assert not list(tmp_path.iterdir())
