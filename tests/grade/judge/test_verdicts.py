"""What each verdict says, and what holds for a submission as a whole. Attacks and controls stand in corpora."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dlcvgrade.attacks.trial import descendants
from dlcvgrade.judge.workers import Worker


def test_the_last_definition_counts(grade):
    again = "def kfold_indices(n, folds):\n    return None"
    assert grade(again)["a1/kfold_indices"].verdict == "wrong"


@pytest.mark.parametrize(
    ("cells", "verdict", "words"),
    [
        ({"labels": "x = 1"}, "missing", "predict_labels is not defined"),
        ({"labels": "predict_labels = 3"}, "missing", "expected a function"),
        ({"labels": "def predict_labels(dists, y_train, k):\n    raise NotImplementedError"}, "missing", "not written"),
        ({"labels": "def predict_labels(dists, y_train, k):\n    dists += 1\n    return y_train[:1]"},
         "mutated_input", "dists changed"),
        ({"distances": "def compute_distances_no_loops(a, b):\n    return torch.cdist(b.flatten(1), a.flatten(1))**2"},
         "forbidden_op", "cdist"),
        ({"distances": "def compute_distances_no_loops(a, b):\n"
          "    return torch.stack([((a - row)**2).flatten(1).sum(1) for row in b])"}, "forbidden_op", "has a loop"),
        ({"distances": "compute_distances_no_loops = lambda a, b: torch.stack([((a - r)**2).sum((1, 2)) for r in b])"},
         "forbidden_op", "has a loop"),
        ({"labels": "def predict_labels(dists, y_train, k):\n    return torch.rand(len(dists)).argsort()"},
         "wrong", ""),
    ],
)  # fmt: skip
def test_verdicts_say_what_is_wrong_and_hide_the_values(grade, cells, verdict, words):
    verdicts = grade(**cells)
    name = "a1/predict_labels" if "labels" in cells else "a1/knn_no_loops"
    told = verdicts.pop(name).as_json()
    assert (told["verdict"], told["points"]) == (verdict, 0.0)
    assert words in told["reason"]
    assert [v.verdict for v in verdicts.values()] == ["pass"] * 2


def test_the_same_seed_gives_the_same_result_and_another_seed_other_inputs(grade, exercises):
    from dlcvgrade.judge.judging import exercise_seed

    wrong = "def predict_labels(dists, y_train, k):\n    return y_train[: len(dists)]"
    first, again = (grade(labels=wrong, seed=7)["a1/predict_labels"].report.quantities for _ in range(2))
    assert first == again
    case = exercises["a1/predict_labels"].cases[0]
    seeds = [exercise_seed(seed, "a1/predict_labels") for seed in (7, 8)]
    assert not case.build(seeds[0])["dists"].equal(case.build(seeds[1])["dists"])


def test_the_submissions_time_is_limited_as_a_whole(grade):
    hangs = "def {}(*args):\n    while True:\n        pass"
    start = time.monotonic()
    verdicts = grade(folds=hangs.format("kfold_indices"), labels=hangs.format("predict_labels"), wall=20, budget=3)
    assert time.monotonic() - start < 10
    assert [(v.verdict, v.points) for v in verdicts.values()] == [("pass", 4.0), ("timeout", 0.0), ("timeout", 0.0)]


def test_nothing_of_a_worker_is_left_when_it_is_stopped(exercises, tmp_path, monkeypatch):
    from dlcvgrade.judge.frames import pack
    from dlcvgrade.judge.limits import Limits

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(descendants(os.getpid()))
    with Worker(list(exercises.values())) as worker:
        request = {"cells": ["import time\ntime.sleep(100)"], "cell_seconds": 100, "functions": ["f"]}
        run = worker.run(pack(request), Limits(), wall_seconds=0.5)
        started = set(descendants(os.getpid())) - before
        assert run.is_timeout and started
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []
