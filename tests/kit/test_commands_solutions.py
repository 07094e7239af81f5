"""``dlcvkit solutions``: solved notebooks and single solutions, out of a repository that has them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def solutions(command):
    def run(*arguments):
        return command("solutions", *arguments, "--folder", str(ROOT))

    return run


def test_one_exercise_is_printed_as_code_that_runs(solutions):
    code, out, err = solutions("a2/relu")
    assert (code, err) == (0, "")
    assert "###" not in out
    names = {}
    exec(out, names)
    assert names.keys() >= {"relu_forward", "relu_backward"} and "affine_forward" not in names


def test_a_class_is_found_as_well(solutions):
    assert "class TwoLayerNet" in solutions("a2/two_layer_net/two_layer_net")[1]


def test_a_notebook_is_copied(solutions, tmp_path):
    code, out, _ = solutions("a2/two_layer_net", "--to", str(tmp_path / "mine"))
    path = tmp_path / "mine" / "a2" / "two_layer_net.ipynb"
    assert code == 0 and out.strip() == str(path)
    assert path.read_bytes() == (ROOT / "solutions/a2/two_layer_net.ipynb").read_bytes()


def test_a_stage_is_copied_whole(solutions, tmp_path):
    solutions("a1", "--to", str(tmp_path))
    assert len(list((tmp_path / "a1").glob("*.ipynb"))) == 5


def test_work_that_is_there_is_not_replaced_unless_asked(solutions, tmp_path):
    mine = tmp_path / "a1" / "tensors.ipynb"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    code, _, err = solutions("a1", "--to", str(tmp_path))
    assert code == 2 and "is there already; --force replaces it" in err
    assert [path.name for path in mine.parent.iterdir()] == ["tensors.ipynb"] and mine.read_text() == "mine"
    assert solutions("a1/tensors", "--to", str(tmp_path), "--force")[0] == 0
    assert mine.read_text() != "mine"


def test_outside_of_a_repository_it_says_where_solutions_are(command, tmp_path):
    code, _, err = command("solutions", "a1", "--folder", str(tmp_path))
    assert code == 2 and "lies in no repository with solutions" in err


@pytest.mark.parametrize("target", ["a9", "a1/nothing", "a1/tensors/nothing"])
def test_what_does_not_exist_gets_one_line(solutions, target):
    code, out, err = solutions(target)
    assert (code, out) == (2, "") and err.count("\n") == 1


def test_a_file_where_the_folder_should_be_gets_one_line(solutions, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = solutions("a1", "--to", str(tmp_path / "file"))
    assert code == 2 and "cannot be written" in err
