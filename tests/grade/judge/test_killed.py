"""A batch killed at any moment and run again ends as one that nobody disturbed: results, gradebook and notebooks."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from dlcvgrade.build import write_build
from dlcvgrade.course import read_course
from dlcvgrade.judge.scratch import PREFIX, ScratchFolder, remove_left_over
from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.session import demand, open_api

STUDENTS = tuple(f"s{number}" for number in range(8))
# Forks for each batch: importing torch anew every time would take longer than the batch.
SERVER = """\
import json, os, sys
from dlcvgrade import cli
import dlcvgrade.judge.batch, dlcvgrade.judge.command, dlcvgrade.judge.coordinator, dlcvgrade.judge.recording
from dlcvgrade.registry import KitRegistry
KitRegistry.ids = lambda self, stage, notebook: ["a1/knn_no_loops", "a1/kfold_indices", "a1/predict_labels"]
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        code = 70
        try:
            sys.argv = ["dlcvgrade", "grade", *json.loads(line)]
            with open(os.devnull, "w") as null, open("batch.log", "a") as log:
                os.dup2(null.fileno(), 1)
                os.dup2(log.fileno(), 2)
            cli.main()
        except SystemExit as stopped:
            code = stopped.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Server:
    """Runs one batch at a time."""

    def __init__(self, folder: Path):
        environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
        (folder / "tmp").mkdir()
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
        )

    def start(self, root: Path) -> int:
        arguments = ["a1", "--course", str(root), "--jobs", "2", "--seed", "7", "--gradebook"]
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def wait(self) -> int:
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "server").mkdir()
    started = Server(tmp_path / "server")
    yield started
    started.close()


@pytest.fixture
def make_course(knn_course, knn_built, tmp_path):
    """Return a function that makes a course with a gradebook in which everybody has handed in and nobody is graded."""
    first = tmp_path / "first"
    shutil.copytree(knn_course.root, first, ignore=shutil.ignore_patterns("submitted", "*.db", "build", "release"))
    write_build(read_course(first), knn_built)
    demand(open_api(read_course(first), first).generate_assignment, "a1")
    (solution,), (released,) = knn_built.solved.values(), knn_built.released.values()
    sources = {cell.id: without_markers(cell.source) for cell in read_notebook(solution).cells}
    notebook = read_notebook(released)
    cells = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    for number, student in enumerate(STUDENTS):
        for cell in (cell for cell in cells if cell.cell_type == "code"):
            cell.source = "x = 1" if number % 3 == 0 and cell.id == "kfold_indices" else sources[cell.id]
        folder = first / "submitted" / student / "a1"
        folder.mkdir(parents=True)
        (folder / "knn.ipynb").write_bytes(notebook_bytes(notebook))
        (folder / "timestamp.txt").write_text("2027-02-07 12:00:00 UTC" if number % 2 else "2027-02-01 12:00:00 UTC")

    def make(name: str) -> Path:
        return shutil.copytree(first, tmp_path / name)

    return make


def results(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return file name to inode and content; a result that is written again gets another inode."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in (root / "results" / "a1").glob("*.json")}


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key != "seconds"}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def outcome(root: Path) -> dict[str, object]:
    """Return everything that a batch leaves behind, but for times."""
    told = {name: without_times(json.loads(content)) for name, (_, content) in results(root).items()}
    notebooks = {
        path.relative_to(root).as_posix(): without_times(json.loads(path.read_bytes()))
        for path in sorted((root / "autograded").rglob("*.ipynb"))
    }
    grades = {}
    with Gradebook(f"sqlite:///{root}/gradebook.db") as gradebook:
        for submission in gradebook.assignment_submissions("a1"):
            (notebook,) = submission.notebooks
            grades[submission.student_id] = (
                submission.timestamp,
                notebook.late_submission_penalty,
                sorted((g.name, g.auto_score, g.manual_score, g.needs_manual_grade) for g in notebook.grades),
                sorted((comment.name, comment.comment) for comment in notebook.comments),
            )
    return {"results": told, "notebooks": notebooks, "gradebook": grades}


def descendants(pid: int) -> list[int]:
    """Return the living processes below a process."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(path.parent.name))
    found = list(children.get(pid, []))
    for process in found:
        found += children.get(process, [])
    return found


def are_gone(pids: list[int], seconds: float = 10) -> bool:
    """Wait until processes have ended; one that nobody collects has ended as well."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states = []
        for pid in pids:
            try:
                states.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
            except OSError:
                continue
        if all(state == "Z" for state in states):
            return True
        time.sleep(0.05)
    return False


def run_undisturbed(server: Server, root: Path) -> float:
    """Grade everybody and return for how long student code was being run and recorded."""
    pid = server.start(root)
    while not descendants(pid):
        time.sleep(0.01)
    start = time.monotonic()
    assert server.wait() == 1, (server.folder / "batch.log").read_text()
    return time.monotonic() - start


def kill_once(server: Server, root: Path, graded: int, delay: float) -> str | None:
    """Start a batch, kill it ``delay`` seconds after it has ``graded`` results; return what it was at, None if done.

    A moment on the clock would not do: where others need the processors, the next batch may end before it or begin
    after it.
    """
    before = results(root)
    folder = root / "results" / "a1"
    pid = server.start(root)
    alive = Path(f"/proc/{pid}/stat")
    while alive.exists() and not (descendants(pid) and len(list(folder.glob("*.json"))) >= graded):
        time.sleep(0.005)
    time.sleep(delay)
    sandboxes = descendants(pid)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        assert server.wait() == 1
        return None
    code = server.wait()
    assert are_gone(sandboxes), "a sandbox outlives the batch that was killed"
    after = results(root)
    assert before.items() <= after.items(), "a result was lost or graded twice"
    if code != -signal.SIGKILL:
        assert code == 1
        return None
    return f"{len(after)} of {len(STUDENTS)} graded"


def kill_and_compare(server: Server, make_course, kills: int, chance: random.Random) -> Counter[str]:
    """Kill batches until ``kills`` have met one at work, each followed by others or a run to the end.

    Returns:
        How many results there were to how many kills met the batch with so many.
    """
    whole = make_course("undisturbed")
    seconds = run_undisturbed(server, whole)
    expected = outcome(whole)
    assert len(expected["results"]) == len(expected["gradebook"]) == len(expected["notebooks"]) == len(STUDENTS)
    met: Counter[str] = Counter()
    batches = 0
    while met.total() < kills:
        batches += 1
        assert batches <= 3 * kills, f"the batches end before they are killed: {dict(met)}"
        root = make_course(f"killed-{batches}")
        for _ in range(min(6, kills - met.total())):
            # Soon after the last kill, so that the next one meets the batch at work as well.
            done = len(results(root))
            graded = min(done + chance.choice((0, 1, 1, 2)), len(STUDENTS))
            state = kill_once(server, root, graded, chance.uniform(0, seconds / len(STUDENTS) / 4))
            if state is None:
                break
            met[state] += 1
            if done == len(STUDENTS):  # killed while the last ones were written down: once is enough
                break
        assert server.start(root)
        assert server.wait() == 1
        assert outcome(root) == expected
        shutil.rmtree(root)
    assert not [path.name for path in (server.folder / "tmp").iterdir() if path.name.startswith(PREFIX)]
    print(f"{met.total()} kills in {batches} batches of {seconds:.1f} s at work: {dict(sorted(met.items()))}")
    return met


def test_a_batch_killed_at_any_moment_goes_on(server, make_course):
    assert kill_and_compare(server, make_course, 3, random.Random(5)).total() == 3


@pytest.mark.slow
def test_a_batch_killed_at_fifty_moments_goes_on(server, make_course):
    met = kill_and_compare(server, make_course, 50, random.Random(6))
    assert met.total() == 50
    under_way = [state for state in met if not state.startswith(("0 ", f"{len(STUDENTS)} "))]
    assert len(under_way) >= 3, "kills met the batch before its first result or after its last"


def test_the_comparison_sees_a_lost_and_a_changed_grade(server, make_course):
    root = make_course("undisturbed")
    run_undisturbed(server, root)
    before = outcome(root)
    assert outcome(root) == before
    with Gradebook(f"sqlite:///{root}/gradebook.db") as gradebook:
        grade = gradebook.find_grade("check-knn_no_loops", "knn", "a1", "s1")
        grade.auto_score = 3.0
        gradebook.db.commit()
    changed = outcome(root)
    assert [name for name in before if changed[name] != before[name]] == ["gradebook"]
    next((root / "results" / "a1").glob("s2.json")).unlink()
    assert outcome(root)["results"] != before["results"]


def test_folders_of_a_killed_grader_are_removed_and_those_in_use_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = "from dlcvgrade.judge.scratch import ScratchFolder\nprint(ScratchFolder().path, flush=True)\ninput()"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    theirs = Path(process.stdout.readline().strip())
    other = tmp_path / f"{PREFIX}made-by-hand"
    other.mkdir()
    (other / "notes").touch()
    without_a_lock = tmp_path / f"{PREFIX}killed-as-it-began"
    without_a_lock.mkdir()
    with ScratchFolder() as ours:
        assert theirs.is_dir() and theirs.parent == ours.parent == tmp_path
        assert not without_a_lock.exists()
        process.kill()
        process.communicate()
        remove_left_over()
        assert not theirs.exists()
        assert ours.is_dir()
    assert not ours.exists()
    assert other.is_dir()


def test_a_folder_that_another_grader_removes_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lock, others = fcntl.flock, []

    def after_another(fd, operation):
        if not others:
            others.append(None)
            remove_left_over()
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", after_another)
    with ScratchFolder() as folder:
        assert others
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
        assert [path.name for path in folder.iterdir()] == ["in-use"]


def test_a_removal_that_is_cut_short_is_finished_by_the_next_grader(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = ScratchFolder()
    (folder.path / "submission").mkdir()
    rmtree = shutil.rmtree

    def is_killed(path, **options):
        if path == folder.path:
            raise KeyboardInterrupt
        rmtree(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", is_killed)
        with pytest.raises(KeyboardInterrupt):
            folder.remove()
    assert [path.name for path in folder.path.iterdir()] == ["in-use"]
    os.close(folder._lock)
    remove_left_over()
    assert not folder.path.exists()
