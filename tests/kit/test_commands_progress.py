"""``dlcvkit progress``, ``dlcvkit hint`` and the file that they remember in."""

import json
import os
import stat
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from dlcvkit import memory
from dlcvkit.checking import Quantity, Report, check, exercises_of, find_exercise, session, stages
from dlcvkit.commands.hint import graded_hints
from dlcvkit.commands.progress import bar


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("DLCVKIT_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "progress.json"


def passing(exercise_id):
    exercise = find_exercise(exercise_id)
    return Report(exercise_id, [Quantity(name, points) for name, points in exercise.points.items()])


def test_nothing_checked_yet_is_said_with_where_to_begin(command):
    code, out, err = command("progress", "a2")
    assert (code, err) == (0, "")
    assert "two_layer_net                   ····················     0 / 36   not begun" in out
    assert "nothing has been checked yet" in out


def test_a_check_by_command_is_remembered_and_what_is_next_is_in_this_folder(command, save, correct):
    save(correct)
    command("check", "a2/two_layer_net")
    code, out, _ = command("progress")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("  two_layer_net")]
    assert line.split()[2:] == ["10", "/", "36", "4", "of", "6", "exercises", "open"]
    assert out.splitlines()[-1] == "next: a2/softmax_loss in two_layer_net.ipynb"


def test_a_later_check_takes_the_place_of_an_earlier_one(command, save, correct):
    save(correct)
    command("check", "a2/relu")
    save(correct[:3])
    command("check", "a2/relu")
    told = json.loads(command("progress", "a2", "--json")[1])
    (relu,) = [each for topic in told["notebooks"] for each in topic["exercises"] if each["exercise"] == "a2/relu"]
    assert relu["last"]["earned"] == 0 and relu["last"]["verdict"] == "missing"


def test_a_check_in_a_notebook_is_remembered(state, tmp_path):
    relu = (
        "def relu_forward(x):\n    return x.clamp(min=0), x\n\n\ndef relu_backward(dout, x):\n    return dout * (x > 0)"
    )
    call = "from dlcvkit import check\ncheck('a2/relu', relu_forward, relu_backward)"
    cells = [nbformat.v4.new_code_cell(source) for source in (relu, call)]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=120, kernel_name="python3").execute(cwd=tmp_path)
    entry = json.loads(state.read_text())["checks"]["a2/relu"]
    assert (entry["earned"], entry["by"]) == (3, "notebook")


def test_a_check_outside_of_a_notebook_is_not_remembered(state, capsys):
    check("a2/relu", lambda x: (x.clamp(min=0), x), lambda dout, x: dout * (x > 0))
    assert not state.exists()


def test_where_nothing_can_be_written_a_check_in_a_notebook_works_as_ever(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DLCVKIT_STATE", str(tmp_path / "file" / "state"))
    monkeypatch.setattr(session, "is_in_notebook", lambda: True)
    assert check("a2/relu", lambda x: (x.clamp(min=0), x), lambda dout, x: dout * (x > 0)) == 3
    assert memory.remember([passing("a2/relu")], "notebook") is False


def test_a_stage_that_is_done_has_nothing_next(command):
    memory.remember([passing(each) for each in exercises_of("a1")], "command")
    code, out, _ = command("progress", "a1")
    assert code == 0
    assert "done 20" in out
    assert out.splitlines()[-1] == "next: nothing; every point on the public cases is earned"


def test_an_exercise_whose_points_changed_counts_by_its_share(command, state):
    memory.store(memory.Memory(checks={"a2/relu": memory.LastCheck(5, 10, "wrong", "2027-01-01T00:00:00Z", "command")}))
    told = json.loads(command("progress", "a2", "--json")[1])
    assert {topic["notebook"]: topic["earned"] for topic in told["notebooks"]}["two_layer_net"] == 1.5


DAMAGED = ["", "{", "[]", "null", '{"version": 1, "checks": 3, "hints": []}', "\x00", "[" * 100_000]
ENTRIES = [3, {}, {"earned": -1, "possible": 3}, {"earned": float("nan"), "possible": float("inf")}]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_is_as_good_as_none_and_is_mended(command, state, text):
    state.parent.mkdir()
    state.write_text(text)
    assert command("progress", "a2")[0] == 0
    assert memory.remember([passing("a2/relu")], "command")
    assert list(memory.recall().checks) == ["a2/relu"]


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_a_damaged_entry_does_not_take_the_others_with_it(state, entry):
    memory.remember([passing("a2/relu")], "command")
    stored = json.loads(state.read_text())
    whole = {"verdict": "pass", "when": "", "by": "command"}
    stored["checks"]["a2/affine"] = {**whole, **entry} if isinstance(entry, dict) else entry
    state.write_text(json.dumps(stored))
    assert list(memory.recall().checks) == ["a2/relu"]


def test_a_file_of_a_newer_version_is_told_and_left_as_it_is(command, state):
    state.parent.mkdir()
    state.write_text('{"version": 2}')
    code, _, err = command("progress")
    assert code == 2 and "written by a newer dlcvkit" in err and err.count("\n") == 1
    assert memory.remember([passing("a2/relu")], "command") is False
    assert command("hint", "a2/relu")[0] == 2
    assert state.read_text() == '{"version": 2}'


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(state, monkeypatch):
    memory.remember([passing("a2/relu")], "command")
    before = state.read_text()

    def fail(*paths):
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    assert memory.remember([passing("a2/affine")], "command") is False
    assert state.read_text() == before
    assert [path.name for path in state.parent.iterdir()] == ["progress.json"]


def test_the_file_is_its_owner_s_alone(state):
    memory.remember([passing("a2/relu")], "command")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600


def test_without_a_setting_the_platform_s_folder_is_taken(monkeypatch):
    monkeypatch.delenv("DLCVKIT_STATE")
    assert memory.memory_file().parent.name == "dlcvkit"


def test_bars_are_full_and_empty_only_at_the_ends():
    assert [bar(share).count("·") for share in (0, 0.5, 1)] == [20, 10, 0]
    assert bar(0.0001) != bar(0) and bar(0.9999) != bar(1)
    assert {len(bar(share / 100)) for share in range(101)} == {20}


def test_hints_come_one_more_each_time_until_none_is_left(command):
    hints = graded_hints(find_exercise("a1/sample_batch"))
    assert len(hints) == 3
    for number in (1, 2, 3, 3):
        code, out, _ = command("hint", "a1/sample_batch")
        assert code == 0
        assert out.splitlines()[:-1] == [f"{n}. {hint}" for n, hint in enumerate(hints[:number], 1)]
    assert out.splitlines()[-1] == "a1/sample_batch: no hint left; --reset begins again"
    assert command("hint", "a1/sample_batch", "--reset")[1] == "a1/sample_batch: 3 hints left\n"
    assert json.loads(command("hint", "a1/linear_training/sample_batch", "--json")[1])["left"] == 2


def test_hints_do_not_disturb_what_was_checked(command):
    memory.remember([passing("a2/relu")], "command")
    command("hint", "a2/relu")
    memory.remember([passing("a2/affine")], "command")
    assert (set(memory.recall().checks), memory.recall().hints) == ({"a2/relu", "a2/affine"}, {"a2/relu": 1})


def test_where_nothing_can_be_written_the_first_hint_comes_with_a_warning(command, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DLCVKIT_STATE", str(tmp_path / "file"))
    code, out, err = command("hint", "a2/relu")
    assert code == 0 and out.startswith("1. ")
    assert "cannot be written" in err


def test_shared_hints_come_first_and_code_comes_last():
    hints = graded_hints(find_exercise("a2/affine"))
    assert hints[0] == "every row of the output gets b added", "two mistakes have it"
    assert hints[-1].startswith("b has shape (M,)")
    assert len(hints) == len(set(hints))


@pytest.mark.parametrize("stage", stages())
def test_every_exercise_has_at_least_two_hints(stage):
    assert {each for each, exercise in exercises_of(stage).items() if len(graded_hints(exercise)) < 2} == set()


@pytest.mark.parametrize("target", ["a2/afine", "a9/relu", "relu", "a2/knn/relu", "a2/two_layer_net/x/relu"])
def test_a_hint_for_an_unknown_exercise_is_refused_in_one_line(command, target):
    code, out, err = command("hint", target)
    assert (code, out) == (2, "")
    assert err.startswith("dlcvkit: no ") or "is no exercise id" in err
    assert err.count("\n") == 1


def test_the_kit_starts_without_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch')")
    run = subprocess.run(
        [sys.executable, "-c", "import dlcvkit; from dlcvkit.cli import main; main(['--help'])"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    for name in ("check", "data", "doctor", "exercises", "hint", "progress", "submit"):
        assert f"\n  {name} " in run.stdout
