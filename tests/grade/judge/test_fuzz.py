"""Whatever is done to a notebook, reading it ends in work or in a reason, and judging it in verdicts."""

from __future__ import annotations

import json
import math
import random
from collections import Counter

import pytest

from dlcvgrade.judge.batch import judge_notebook
from dlcvgrade.judge.judging import Judge
from dlcvgrade.judge.submissions import Submission, Unreadable, Work, read_work, release_of
from dlcvgrade.judge.workers import Run
from dlcvgrade.notebooks import read_notebook

NOTEBOOKS = 2_000
PARTS = 20
KEYS = ["cells", "metadata", "nbformat", "nbformat_minor", "cell_type", "source", "nbgrader", "grade_id", "tags", "id",
        "outputs", "points", "worksheets", "input", "execution_count", "attachments", "schema_version"]  # fmt: skip
ODD = [
    None, True, 0, -1, 10**400, -(10**4000), 1.5, math.nan, math.inf, "", "x", "\ud800", "\x00", "\u202e", "code",
    "raw", "x" * 10_000, [], [[]], {}, [None, 1, "x"], {"x": {}}, [{}], {"nbgrader": 3}, {"grade_id": ["a"]}, ["code"],
    "check-predict_labels", "def predict_labels(:", "(" * 2000, "%%bash\nrm", {"cell_type": "code"}, 3, 4, 5, "4",
]  # fmt: skip


def places(value):
    """Return the path of every container's every entry; not of those that are buried deep."""
    found, waiting = [], [((), value)]
    while waiting:
        path, home = waiting.pop()
        entries = home.items() if isinstance(home, dict) else enumerate(home) if isinstance(home, list) else ()
        for key, item in entries:
            found.append((*path, key))
            if len(path) < 12:
                waiting.append(((*path, key), item))
    return found


def change_structure(notebook, draw):
    """Delete, replace, rename, swap, repeat or bury something."""
    found = places(notebook)
    if not found or len(found) > 5_000:  # it grows with every part that is repeated
        return
    path = draw.choice(found)
    home = notebook
    for key in path[:-1]:
        home = home[key]
    key, act = path[-1], draw.randrange(6)
    if act == 0:
        del home[key]
    elif act == 1:
        home[key] = draw.choice(ODD)
    elif act == 2 and isinstance(home, dict):
        home[draw.choice([*KEYS, "\ud800", ""])] = home.pop(key)
    elif act == 3 and isinstance(home, list):
        draw.shuffle(home)
    elif act == 4 and isinstance(home, list):
        home += [home[key]] * (50 if len(str(home)) < 1_000 else 1)
    else:
        for _ in range(draw.choice([1, 5, 900])):
            home[key] = [home[key]]


def change_bytes(content, draw):
    """Cut, flip, repeat, insert or encode anew."""
    act, at = draw.randrange(6), draw.randrange(len(content) + 1)
    if act == 0:
        return content[:at]
    if act == 1:
        flipped = bytearray(content)
        for _ in range(draw.choice([1, 3, 30])):
            flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    if act == 2:
        return content[:at] + content[at // 2 : at] + content[at:]
    if act == 3:
        return (
            content[:at]
            + draw.choice([b"\x00", b"\xff\xfe", b"NaN", b"1e999", b"[" * 5000, b'"cells": []'])
            + content[at:]
        )
    if act == 4:
        key = draw.choice(KEYS).encode()
        return content.replace(b"{", b'{"' + key + b'": ' + draw.choice([b"1", b"[]", b"{}", b'"x"']) + b", ", 3)
    return content.decode("utf-8", "replace").encode(draw.choice(["utf-16", "utf-8-sig", "utf-32", "cp037"]), "replace")


def mutated(base, draw):
    """Return a damaged notebook as bytes."""
    notebook = json.loads(base)
    for _ in range(draw.choice([1, 1, 2, 5])):
        try:
            change_structure(notebook, draw)
        except RecursionError:
            break
    try:
        content = json.dumps(notebook).encode("utf-8", "surrogatepass")
    except (RecursionError, ValueError):
        content = base
    for _ in range(draw.choice([0, 0, 1, 2])):
        content = change_bytes(content, draw) or content
    return content


class NoWorker:
    """Says that the process ended at once: reading is what is tried here."""

    def run(self, request, limits, wall_seconds):
        return Run(status=9)


@pytest.fixture(scope="module")
def release(knn_built):
    (solved,) = knn_built.solved.values()
    return release_of(read_notebook(solved))


@pytest.fixture(scope="module")
def base(knn_built):
    (released,) = knn_built.released.values()
    return released


# nbformat remarks on what it mends, which is no error where notebooks are graded.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_notebook_is_work_or_unreadable_and_gets_a_verdict(part, base, release, exercises, tmp_path):
    draw = random.Random(f"notebooks/{part}")
    judge = Judge(exercises, NoWorker())
    path = tmp_path / "knn.ipynb"
    outcomes = Counter()
    for number in range(NOTEBOOKS // PARTS):
        path.write_bytes(mutated(base, draw))
        try:
            work = read_work(path, release)
        except Unreadable as error:
            outcomes["unreadable"] += 1
            is_told = str(error).isprintable()
        else:
            outcomes["work"] += 1
            is_told = True
            assert isinstance(work, Work)
            assert all(isinstance(cell, str) for cell in work.cells), number
        assert is_told, number
        submission = Submission("x", tmp_path, {"knn": path})
        verdicts, notes = judge_notebook(judge, submission, "knn", release, list(exercises), 1, math.inf)
        assert set(verdicts) == set(exercises)
        assert {verdict.verdict for verdict in verdicts.values()} <= {"crash", "not_run"}, (part, number)
        json.dumps([verdict.as_json() for verdict in verdicts.values()], allow_nan=False)
        assert all(isinstance(note, str) for note in notes)
    assert min(outcomes["work"], outcomes["unreadable"]) >= 5, "mutations that only break, or never do, try nothing"


def test_fuzzing_notices_a_reader_that_stumbles(base, release, exercises, tmp_path, monkeypatch):
    def stumbles(notebook):
        raise OSError("it stumbled")

    monkeypatch.setattr("dlcvgrade.judge.submissions._make_sound", stumbles)
    with pytest.raises(AssertionError):
        test_damaged_notebook_is_work_or_unreadable_and_gets_a_verdict(0, base, release, exercises, tmp_path)
