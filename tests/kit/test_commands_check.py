"""``dlcvkit check``: which file is run, what of it, and what comes out."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dlcvgrade.course import read_course
from dlcvgrade.release import _readme
from dlcvkit.commands import check
from dlcvkit.commands.course import choose
from dlcvkit.commands.definitions import definitions_of
from dlcvkit.commands.notebook_file import read_notebook
from dlcvkit.commands.terminal import CannotBeDone


def verdicts(out):
    (told,) = [json.loads(line) for line in out.splitlines()]
    return {each["exercise"]: each["verdict"] for notebook in told["notebooks"] for each in notebook["exercises"]}


def check_json(command, *arguments):
    code, out, _ = command("check", *arguments, "--json")
    return code, verdicts(out)


def test_a_right_exercise_earns_its_points_and_the_file_is_named_with_its_hash(command, save, correct):
    path = save(correct)
    code, out, err = command("check", "a2/two_layer_net/affine")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"two_layer_net.ipynb  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    assert "a2/affine   7 / 7" in out
    assert out.splitlines()[-1] == "7 / 7 points on the public cases"


def test_a_wrong_exercise_loses_points_with_exit_code_1(command, save, correct):
    correct[3] = correct[3].replace("(x > 0)", "(x < 0)")
    save(correct)
    code, out, _ = command("check", "a2/relu")
    assert code == 1
    assert "FAIL  0/2  dx" in out


def test_demos_checks_and_everything_but_definitions_are_not_run(command, save, correct, tmp_path):
    mark = f"open({str(tmp_path / 'ran')!r}, 'w')"
    demo = {"cell_type": "code", "source": f"x = {mark}", "metadata": {"tags": ["demo"]}}
    save([*correct, demo, mark, f"for _ in range(3):\n    {mark}", 'check("a2/relu", relu_forward, relu_backward)'])
    assert check_json(command, "a2/affine") == (0, {"a2/affine": "pass"})
    assert not (tmp_path / "ran").exists()
    save([*correct, f"x = {mark}"])
    check_json(command, "a2/affine")
    assert (tmp_path / "ran").exists(), "then this test could not fail"


def test_magics_and_constants_are_understood(command, save, correct):
    correct[3] = "%%time\n" + correct[3].replace("min=0", "min=ZERO")
    save(["%matplotlib inline\n!ls", *correct, "import math\nZERO = math.floor(0.5)"])
    assert check_json(command, "a2/relu") == (0, {"a2/relu": "pass"})


def test_a_variable_that_is_not_computed_is_named_with_the_reason(command, save, correct):
    correct[3] = correct[3].replace("min=0", "min=ZERO")
    save([*correct, "def zero():\n    return 0\n\n\nZERO = zero()"])
    code, out, _ = command("check", "a2/relu")
    assert code == 1
    assert "name 'ZERO' is not defined; ZERO was not computed: cell 5 computes it with zero(...)" in out


def test_a_cell_that_is_no_python_is_noted_and_the_others_are_checked(command, save, correct):
    correct[3] = "def relu_forward(x:\n    return x"
    save(correct)
    code, out, _ = command("check", "a2/two_layer_net")
    assert code == 1
    assert "note  cell 4 is no Python: line 1" in out
    assert "a2/affine   7 / 7" in out
    assert "relu_forward is not defined in two_layer_net.ipynb" in out


def test_an_import_that_fails_is_noted(command, save, correct):
    save(["import no_such_library", *correct])
    code, out, _ = command("check", "a2/affine")
    assert code == 0
    assert "note  cell 1, line 1 raised ModuleNotFoundError" in out


def test_an_endless_loop_a_crash_and_an_exit_cost_their_own_exercise_only(command, save, correct):
    loop = "def softmax_loss(scores, y):\n    while True:\n        pass"
    crash = "def svm_loss(scores, y):\n    import os\n    os._exit(3)"
    leave = "def initialize_weights(*rest):\n    raise SystemExit"
    save([*correct, loop, crash, leave])
    code, found = check_json(command, "a2/two_layer_net", "--seconds", "5")
    assert code == 1
    assert found == {
        "a2/affine": "pass",
        "a2/relu": "pass",
        "a2/softmax_loss": "timeout",
        "a2/svm_loss": "crash",
        "a2/initialize_weights": "error",
        "a2/two_layer_net": "missing",
    }


def test_a_cell_without_end_is_named(command, save, correct):
    save([*correct, "class Slow:\n    while True:\n        pass"])
    code, out, _ = command("check", "a2/affine", "--seconds", "2")
    assert code == 1
    assert "cell 5 ran longer than 2 s and was stopped" in out


@pytest.mark.skipif(sys.platform != "linux", reason="looks the process up in /proc, which Linux alone has")
def test_an_endless_loop_ends_with_the_command(save, correct, tmp_path):
    """Killed outright, the command cannot stop what it has started."""
    pid = f"import os, pathlib\n    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))"
    correct[3] = correct[3].replace("return x.clamp", f"{pid}\n    while True:\n        pass\n    return x.clamp")
    save(correct)
    run = "from dlcvkit.cli import main; main(['check', 'a2/relu', '--seconds', '300'])"
    with subprocess.Popen([sys.executable, "-c", run], cwd=tmp_path, stdout=subprocess.DEVNULL) as started:
        child = Path("/proc", wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        assert child.exists()
        started.kill()
    assert wait_for(lambda: not child.exists() or "State:\tZ" in (child / "status").read_text())


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return value


@pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="memory is limited on Linux without a GPU only"
)
def test_memory_is_limited(command, save, correct):
    correct[3] = correct[3].replace("return x.clamp", "torch.ones(2**33)\n    return x.clamp")
    save(correct)
    code, out, _ = command("check", "a2/relu")
    assert code == 1
    assert "allocate" in out


def test_what_student_code_prints_is_no_part_of_the_report(command, save, correct):
    correct[3] = correct[3].replace("return x.clamp", "print('look here')\n    return x.clamp")
    save(correct)
    code, out, err = command("check", "a2/relu", "--json")
    assert code == 0
    assert "look here" in err
    assert json.loads(out)["earned"] == 3


def test_a_saved_answer_is_looked_for_where_the_check_cell_says(command, save):
    save(['check("a1/linear_answer", "mine.safetensors")'], "linear_training.ipynb")
    code, out, _ = command("check", "a1/linear_answer")
    assert code == 1
    assert "mine.safetensors does not exist" in out
    save(["import torch"], "linear_training.ipynb")
    assert "has no cell check('a1/linear_answer', ...)" in command("check", "a1/linear_answer")[1]


BROKEN = {
    "empty": ("", "is empty"),
    "cut short": ('{"cells": [', "is no notebook: line 1"),
    "a merge": ('{\n<<<<<<< mine\n "cells": []}', "unfinished merge"),
    "a list": ("[]", "has no list of cells"),
    "binary": (b"\xff\xfe\x00", "not UTF-8"),
    "deep": ("[" * 100_000, "is no notebook"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_notebook_is_told_in_one_line_with_exit_code_2(command, tmp_path, name):
    content, words = BROKEN[name]
    path = tmp_path / "two_layer_net.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, _, err = command("check", "a2/two_layer_net")
    assert code == 2
    assert words in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("a9", "no stage 'a9'"),
        ("a2/two_layer_ne", "the nearest is 'a2/two_layer_net'"),
        ("a2/two_layer_net/afine", "has no exercise 'afine'"),
        ("a2/nothing/affine", "has no notebook 'nothing'"),
        ("a2/knn", "the notebooks of a2 are"),
    ],
)
def test_an_unknown_target_is_told_in_one_line_with_exit_code_2(command, target, words):
    code, out, err = command("check", target)
    assert (code, out) == (2, "")
    assert words in err and err.count("\n") == 1


def test_without_notebooks_nothing_can_be_checked(command, tmp_path):
    code, _, err = command("check")
    assert code == 2 and "no notebook of the course lies in" in err
    code, _, err = command("check", "a2/two_layer_net")
    assert code == 2 and "two_layer_net.ipynb is not in" in err


def test_without_a_target_every_notebook_that_is_there_is_meant(save, correct, tmp_path):
    save(correct)
    save([], "a1/knn.ipynb")
    assert [topic.name for topic in choose(None, tmp_path)] == ["knn", "two_layer_net"]


def test_a_name_of_both_a_notebook_and_an_exercise_means_the_notebook(tmp_path):
    assert len(choose("a2/two_layer_net", tmp_path)[0].exercises) > 1
    assert list(choose("a2/two_layer_net/two_layer_net", tmp_path)[0].exercises) == ["a2/two_layer_net"]


def test_the_order_of_the_notebooks_is_the_course_s(tmp_path):
    (tmp_path / "course.toml").write_text('[[stage]]\nname = "a1"\nnotebooks = ["tensors", "knn"]\n')
    assert [topic.name for topic in choose("a1", tmp_path)][:2] == ["tensors", "knn"]
    (tmp_path / "course.toml").unlink()
    assert choose("a1", tmp_path)[0].name == "features"


def test_a_release_s_readme_gives_the_order(tmp_path):
    course = read_course(Path(__file__).parents[2])
    stage = course.stage("a1")
    (tmp_path / "README.md").write_bytes(_readme(course, stage, list(stage.notebooks)))
    (tmp_path / "MANIFEST.sha256").touch()
    assert [topic.name for topic in choose("a1", tmp_path)] == list(stage.notebooks)


def test_a_saved_file_is_noticed(save, correct, tmp_path, monkeypatch):
    save(correct)
    topics = choose("a2", tmp_path)
    saved = iter([lambda: None, lambda: save(correct[:2]), lambda: save(correct, "optimizers.ipynb")])
    monkeypatch.setattr(time, "sleep", lambda seconds: next(saved)())
    seen = check.changes(topics, tmp_path)
    assert [topic.name for topic in next(seen)] == ["two_layer_net"]
    assert [topic.name for topic in next(seen)] == ["optimizers"]


def test_watching_checks_again_until_it_is_interrupted(command, save, correct, monkeypatch):
    save(correct[:3])

    def saves(seconds):
        monkeypatch.setattr(time, "sleep", interrupts)
        save(correct)

    def interrupts(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", saves)
    code, out, _ = command("check", "a2/relu", "--watch", "--json")
    assert [json.loads(line)["earned"] for line in out.splitlines()] == [0, 3]
    assert code == 0


def test_every_cell_of_a_deep_expression_can_be_sent(command, save, correct):
    save([*correct, "DEEP = " + "+".join(["1"] * 2000)])
    assert check_json(command, "a2/affine")[1] == {"a2/affine": "pass"}


def test_conditions_monkeypatches_and_fallback_imports_are_definitions(save):
    cells = [
        "try:\n    import scipy\nexcept ImportError:\n    scipy = None",
        "import torch\ndevice = 'cuda' if torch.cuda.is_available() else 'cpu'\nif device:\n    n = 1",
        "class Net:\n    pass\n\n\nNet.size = 3",
        "net = Net()\nprint(net)\na, b = 1, 2",
    ]
    found = definitions_of(read_notebook(save(cells)).cells)
    assert [piece.kept for piece in found.pieces] == [(0,), (0, 1, 2), (0, 1), (2,)]
    assert found.left_out == {"net": "cell 4 computes it with Net(...)"}


def test_a_notebook_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("dlcvkit.commands.notebook_file.MAX_BYTES", 3)
    (tmp_path / "x.ipynb").write_text("{   }")
    with pytest.raises(CannotBeDone, match="clear its outputs"):
        read_notebook(tmp_path / "x.ipynb")
