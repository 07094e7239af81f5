"""The sandbox and the worker when they are not there, do not work, or are lost."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import replace

import pytest

from dlcvgrade.judge import sandbox, syscalls
from dlcvgrade.judge.judging import Judge, exercise_seed
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.submissions import Work
from dlcvgrade.judge.workers import Worker, WorkerFailed


@pytest.fixture
def fresh_isolation():
    sandbox.isolation.cache_clear()
    yield sandbox.isolation
    sandbox.isolation.cache_clear()


@pytest.fixture
def broken_bwrap(tmp_path, monkeypatch):
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: no permission' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def test_isolation_says_that_bubblewrap_is_missing(fresh_isolation, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found = fresh_isolation()
    assert found.level == "none"
    assert "apt-get install bubblewrap" in found.why


def test_isolation_says_why_bubblewrap_does_not_work(fresh_isolation, broken_bwrap):
    assert fresh_isolation().as_json() == {
        "level": "none",
        "filters_system_calls": True,
        "why": "bubblewrap does not work here: bwrap: no permission",
    }


def test_worker_that_does_not_start_is_the_graders_fault(broken_bwrap, exercises, correct_cells):
    with Worker(list(exercises.values())) as worker:
        with pytest.raises(WorkerFailed, match="does not start: bwrap: no permission"):
            worker.run(b"", Limits(), 1)
        judge = Judge(exercises, worker)
        verdicts = judge.judge(Work(correct_cells), list(exercises), 1, time.monotonic() + 60)
    assert [(v.verdict, v.points) for v in verdicts.values()] == [("could_not_check", None)] * 3


def test_reference_that_fails_is_the_graders_fault(exercises, worker, correct_cells):
    def fails(**inputs):
        raise ZeroDivisionError

    broken = {**exercises, "a1/predict_labels": replace(exercises["a1/predict_labels"], reference=fails)}
    verdicts = Judge(broken, worker).judge(Work(correct_cells), list(broken), 1, time.monotonic() + 60)
    assert [(v.verdict, v.points) for v in verdicts.values()] == [
        ("pass", 4.0), ("pass", 4.0), ("could_not_check", None),
    ]  # fmt: skip


def test_worker_that_is_lost_is_replaced(exercises, correct_cells):
    with Worker(list(exercises.values())) as worker:
        judge = Judge(exercises, worker)
        for starts in (1, 2):
            verdicts = judge.judge(Work(correct_cells), list(exercises), 1, time.monotonic() + 60)
            assert [v.verdict for v in verdicts.values()] == ["pass"] * 3
            assert worker.starts == starts
            worker._process.kill()
            worker._process.wait()


def test_command_shows_the_worker_nothing_of_the_course(tmp_path, knn_course):
    command, environment = sandbox.worker_command(tmp_path / "box", is_sandboxed=True)
    bound = [command[i + 1] for i, word in enumerate(command) if word == "--ro-bind"]
    assert str(tmp_path / "box") in bound
    assert not [path for path in bound if str(knn_course.root).startswith(path)]
    assert not [word for word in command if word in ("--bind", "--dev-bind", "--share-net")]
    assert {"--unshare-all", "--clearenv", "--die-with-parent", "--new-session"} <= set(command)
    assert environment == {}


def test_seeds_of_exercises_differ():
    assert len({exercise_seed(seed, name) for seed in range(10) for name in ("a1/x", "a1/y")}) == 20


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_is_well_formed(machine):
    """Every jump stays inside the program, and every way through it ends in an answer."""
    code = syscalls.program(machine, own_pid=7)
    steps = [code[i : i + 8] for i in range(0, len(code), 8)]
    assert len(code) % 8 == 0
    assert steps[-1][0] == 0x06
    for place, step in enumerate(steps):
        opcode, if_true, if_false = step[0], step[2], step[3]
        if opcode in (0x15, 0x35, 0x45):
            assert place + 1 + max(if_true, if_false) < len(steps)


def test_this_machine_has_a_filter():
    assert syscalls.is_known() is (platform.machine() in ("x86_64", "aarch64"))
