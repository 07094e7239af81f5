"""A gradebook on a real PostgreSQL server, started for this test alone."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from term import NOTEBOOK, STAGE, WHO, make_course, make_exchange, solve

pytestmark = pytest.mark.postgres


def program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = shutil.which(name) or (str(found[-1]) if found else None)
    if path is None:
        pytest.fail(f"no {name} here; Debian: apt-get install postgresql")
    return path


@pytest.fixture
def server() -> Iterator[str]:
    """Start a server in a folder of its own; returns the address of an empty database."""
    # The server refuses to run as root, and its owner has to reach the folder.
    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    owner = "postgres" if as_owner else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="gradebook-", dir="/tmp"))
    if as_owner:
        shutil.chown(folder, owner)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*command: str) -> None:
        done = subprocess.run([*as_owner, *command], capture_output=True, text=True, cwd="/", timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(folder / "data")
    run(program("initdb"), "-D", data, "-A", "trust", "-U", "grader", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(program("pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        run(program("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "grader", "vision")
        yield f"postgresql://grader@127.0.0.1:{port}/vision"
    finally:
        run(program("pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def test_a_course_keeps_its_books_on_postgresql(tmp_path, server):
    course = make_course(tmp_path, make_exchange(tmp_path / "exchange"), "--db-url", server)
    course.run("dlcvgrade", "build")
    course.run("nbgrader", "generate_assignment", STAGE, "--force")
    released = course.root / "assignments" / STAGE / f"{NOTEBOOK}.ipynb"
    solved = course.root / "build" / "source" / STAGE / f"{NOTEBOOK}.ipynb"
    for who, exercises in (("all", 99), ("some", 2), (WHO, 0)):
        home = course.root / "submitted" / who / STAGE
        home.mkdir(parents=True)
        shutil.copy(released, home)
        solve(home / f"{NOTEBOOK}.ipynb", solved, exercises)
    course.run("dlcvgrade", "grade", STAGE, "--jobs", "2", code=1)
    assert not (course.root / "gradebook.db").exists()

    def scores() -> dict[str, float]:
        with Gradebook(server.replace("postgresql:", "postgresql+psycopg:"), "vision") as gradebook:
            return {each.student.id: each.score for each in gradebook.assignment_submissions(STAGE)}

    first = scores()
    assert first["all"] > first["some"] > first[WHO] == 0
    # nbgrader's own command, and a second batch that finds everything done.
    course.run("nbgrader", "autograde", STAGE, "--student", "some", "--force")
    course.run("dlcvgrade", "grade", STAGE, code=1)
    assert scores() == first
    course.run("nbgrader", "export", "--to", "grades.csv")
    assert (course.root / "grades.csv").read_text(encoding="utf-8").count("\n") == 4
