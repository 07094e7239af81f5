"""Grading on a Dask cluster of real processes: lost workers, poisonous submissions, no scheduler."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from dlcvgrade import cli
from dlcvgrade.build import Built
from dlcvgrade.judge import cluster
from dlcvgrade.judge.batch import Grader
from dlcvgrade.judge.parcels import LINK, kit_of, pack
from dlcvgrade.judge.sandbox import Isolation, isolation
from dlcvgrade.judge.submissions import MAX_NOTEBOOK_BYTES, Submission, find_submissions
from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.registry import KitRegistry

IDS = ["a1/knn_no_loops", "a1/kfold_indices", "a1/predict_labels"]
PRELOAD = """\
import os, pathlib, time
from dlcvgrade.judge.batch import Examiner

def grade_one(self, submission, worker, grade=Examiner.grade_one):
    folder = pathlib.Path(os.environ["DLCVGRADE_TEST_FOLDER"])
    (folder / "begun" / f"{submission.student}-{os.getpid()}-{time.monotonic_ns()}").touch()
    if submission.student == "poisonous":
        os._exit(1)
    while (folder / "hold").exists() and str(os.getpid()) == (folder / "hold").read_text():
        time.sleep(0.05)
    return grade(self, submission, worker)

if Examiner.grade_one.__module__ == Examiner.__module__:  # a preload is run more than once
    Examiner.grade_one = grade_one
"""


class Cluster:
    """A scheduler and workers without nannies, each a process of its own."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "begun").mkdir()
        (folder / "preload.py").write_text(PRELOAD)
        self.processes = []
        self.environment = {**os.environ, "DLCVGRADE_TEST_FOLDER": str(folder), "OMP_NUM_THREADS": "1"}
        where = folder / "scheduler.json"
        self._start("scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(where))
        end = time.monotonic() + 120
        while not where.exists() and time.monotonic() < end:
            time.sleep(0.1)
        self.address = json.loads(where.read_text())["address"]

    def _start(self, *arguments):
        command = [sys.executable, "-m", "dask", *arguments]
        with (self.folder / f"log{len(self.processes)}").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment, cwd=self.folder)
        self.processes.append(process)
        return process

    def add_worker(self, *, nanny="--no-nanny"):
        preload = ("--preload", str(self.folder / "preload.py"))
        return self._start(
            "worker", self.address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", nanny, *preload
        )

    def wait_for_workers(self):
        """Wait until every worker has told the scheduler that it is there; importing torch takes a while."""
        logs = [self.folder / f"log{number}" for number in range(1, len(self.processes))]
        end = time.monotonic() + 600
        while not all("Registered to" in log.read_text() for log in logs):
            assert time.monotonic() < end, logs[0].read_text()
            time.sleep(0.2)

    def begun(self, student=""):
        return sorted(path.name for path in (self.folder / "begun").iterdir() if path.name.startswith(student))

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def dask(tmp_path):
    started = Cluster(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def hand_in(knn_built: Built, tmp_path, monkeypatch):
    """A function that has students hand in a correct notebook each and returns the folder."""
    monkeypatch.setattr(KitRegistry, "ids", lambda self, stage, notebook: IDS)
    (solution,), (released,) = knn_built.solved.values(), knn_built.released.values()
    sources = {cell.id: without_markers(cell.source) for cell in read_notebook(solution).cells}
    notebook = read_notebook(released)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code":
            cell.source = sources[cell.id]

    def hand_in(*students):
        for student in students:
            (tmp_path / "in" / student).mkdir(parents=True)
            (tmp_path / "in" / student / "knn.ipynb").write_bytes(notebook_bytes(notebook))
        return tmp_path / "in"

    return hand_in


@pytest.fixture
def grade(knn_course, tmp_path, monkeypatch, capsys):
    """A function that runs the command and returns exit code, results by student, and what was printed."""

    def grade(submitted, address, *more):
        out = tmp_path / "out"
        arguments = [str(submitted), "--json", str(out), "--course", str(knn_course.root), "--scheduler", address]
        monkeypatch.setattr("sys.argv", ["dlcvgrade", "grade", "a1", *arguments, *more])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        results = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")} if out.exists() else {}
        return stopped.value.code or 0, results, capsys.readouterr()

    return grade


def verdicts(result):
    return [entry["verdict"] for entry in result["exercises"]]


def test_a_worker_that_is_killed_loses_nothing(dask, hand_in, grade):
    students = [f"s{number}" for number in range(8)]
    first, _ = dask.add_worker(), dask.add_worker()
    dask.wait_for_workers()
    (dask.folder / "hold").write_text(str(first.pid))  # it stays at work on its first submission until it is killed
    killer = subprocess.Popen([sys.executable, "-c", KILLER, str(dask.folder / "begun"), str(first.pid)])
    code, results, told = grade(hand_in(*students), dask.address)
    assert killer.wait(10) == 0
    assert first.wait(10) == -signal.SIGKILL
    assert code == 0, told
    assert set(results) == set(students)
    assert all(result["points"] == 12.0 for result in results.values())
    met = {re.sub(r"-\d+-\d+$", "", name) for name in dask.begun() if f"-{first.pid}-" in name}
    assert met, "the kill met nobody at work"
    for student in met:
        assert len(dask.begun(f"{student}-")) == 2  # once there, once elsewhere
    assert sum(len(dask.begun(f"{student}-")) for student in students) == len(students) + len(met)
    before = {path: path.stat().st_ino for path in (dask.folder / "out").iterdir()}
    code, _, told = grade(dask.folder / "in", dask.address)
    assert code == 0
    assert "8 of 8 submissions were graded before" in told.out
    assert {path: path.stat().st_ino for path in (dask.folder / "out").iterdir()} == before


KILLER = """\
import os, pathlib, signal, sys, time
folder, pid = pathlib.Path(sys.argv[1]), int(sys.argv[2])
end = time.monotonic() + 600
while not any(f"-{pid}-" in path.name for path in folder.iterdir()):
    if time.monotonic() > end:
        sys.exit(1)
    time.sleep(0.05)
time.sleep(0.3)
os.kill(pid, signal.SIGKILL)
"""


def test_a_poisonous_submission_is_given_up_after_two_tries_and_costs_nobody_else(dask, hand_in, grade):
    for _ in range(2):
        dask.add_worker(nanny="--nanny")  # which starts the next when one is gone
    dask.wait_for_workers()
    code, results, told = grade(hand_in("ada", "poisonous", "zoe", "yan"), dask.address)
    assert (code, set(results)) == (2, {"ada", "poisonous", "zoe", "yan"}), told
    assert len(dask.begun("poisonous-")) == 2
    assert verdicts(results["poisonous"]) == ["could_not_check"] * 3
    assert "went down 2 times" in results["poisonous"]["exercises"][0]["reason"]
    assert results["poisonous"]["is_decided"] is False
    assert {results[name]["points"] for name in ("ada", "zoe", "yan")} == {12.0}


def test_no_scheduler_is_one_line_and_exit_code_2(hand_in, grade, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    start = time.monotonic()
    code, results, told = grade(hand_in("ada"), "tcp://127.0.0.1:9")
    assert (code, results) == (2, {})
    (line,) = told.err.strip().splitlines()
    assert "tcp://127.0.0.1:9" in line
    assert "no Dask scheduler answers" in line
    assert time.monotonic() - start < 60
    assert grade(hand_in("grace"), "nonsense://x")[0] == 2


def test_a_parcel_is_the_same_submission_elsewhere(knn_course, hand_in, tmp_path):
    home = hand_in("ada")
    stage = knn_course.stage("a1")
    (home / "linked").mkdir()
    (home / "linked" / "knn.ipynb").symlink_to(home / "ada" / "knn.ipynb")
    (home / "shared").mkdir()
    (home / "shared" / "knn.ipynb").write_bytes((home / "ada" / "knn.ipynb").read_bytes())
    (tmp_path / "other").hardlink_to(home / "shared" / "knn.ipynb")
    (home / "large").mkdir()
    with (home / "large" / "knn.ipynb").open("wb") as file:
        file.truncate(MAX_NOTEBOOK_BYTES + 1)
    grader = Grader(knn_course, stage, Isolation("none", True), seed=1)
    for number, submission in enumerate(find_submissions([home], stage)):
        parcel = pack(submission, grader.answers(submission))
        (tmp_path / str(number)).mkdir()
        there = parcel.unpack(tmp_path / str(number))
        assert isinstance(there, Submission)
        assert grader.hashes_of(there) == grader.hashes_of(submission)
        if submission.student == "linked":
            assert parcel.files == {"knn.ipynb": LINK}
        with grader.worker() as worker:
            here, elsewhere = grader.grade_one(submission, worker), grader.grade_one(there, worker)
        told = [[(v.verdict, v.reason) for v in graded.verdicts.values()] for graded in (here, elsewhere)]
        assert told[0] == told[1], submission.student


def test_a_worker_without_a_sandbox_refuses(knn_course, hand_in, monkeypatch):
    monkeypatch.setattr(cluster, "isolation", lambda: Isolation("none", True, "it is not there"))
    stage = knn_course.stage("a1")
    (submission,) = find_submissions([hand_in("ada")], stage)
    grader = Grader(knn_course, stage, isolation())
    kit = kit_of(grader, needs_sandbox=True)
    with pytest.raises(cluster.NoSandbox, match="it is not there"):
        cluster.grade_parcel(kit, kit.key(), pack(submission, []))
