"""A wrong answer that comes from another exercise's function says so, and no other does."""

from __future__ import annotations

import pytest

from dlcvgrade.judge.causes import CALLS, with_causes
from dlcvgrade.judge.judging import Verdict
from dlcvgrade.judge.rules import read_text
from dlcvkit.checking import Finding, Kind, Quantity, Report, find_exercise

NO_FOLDS = "def kfold_indices(n, folds):\n    return None\n"
CALLING = """\
def halve(n):
    return kfold_indices(n, 2)[0][0]

def predict_labels(dists, y_train, k):
    halve(4)
    return y_train[dists.argsort(dim=1)[:, :k]].mode(dim=1).values
"""
NOTE = CALLS.format(names="kfold_indices")


def notes(verdicts):
    return {name.removeprefix("a1/"): list(verdict.report.notes) for name, verdict in verdicts.items()}


def test_a_function_that_calls_a_wrong_one_says_so(grade):
    verdicts = grade(folds=NO_FOLDS, labels=CALLING)
    assert verdicts["a1/predict_labels"].verdict == "error"
    assert notes(verdicts) == {"knn_no_loops": [], "kfold_indices": [], "predict_labels": [NOTE]}
    assert verdicts["a1/predict_labels"].as_json()["notes"] == [NOTE]


@pytest.mark.parametrize(
    "cells",
    [
        {"labels": CALLING},
        {"labels": CALLING.replace("k]].mode", "k]].max")},  # wrong by itself; what it calls is right
        {"folds": NO_FOLDS},  # calls nothing of another exercise
        {"folds": NO_FOLDS, "labels": "def predict_labels(kfold_indices, y_train, k):\n    return kfold_indices\n"},
    ],
)
def test_no_other_does(grade, cells):
    assert not any(notes(grade(**cells)).values())


AFFINE, NET = "a2/affine", "a2/relu"
TEXT = """\
def affine_forward(x, w, b): ...
def affine_backward(dout, cache): ...
def relu_forward(x): return affine_forward(x, x, x)
def relu_backward(dout, cache): return CALLED(dout, cache)
"""


def verdict(exercise, *wrong):
    finding = Finding(Kind.VALUE, "differs")
    parts = [Quantity(name, 1.0, finding if name in wrong else None) for name in exercise.points]
    report = Report(exercise.id, parts, is_hidden=True)
    return Verdict(report, report.verdict)


@pytest.mark.parametrize(
    ("wrong", "called", "names"),
    [
        (["out"], "affine_backward", "affine_backward and affine_forward"),
        (["dw"], "affine_backward", "affine_backward"),  # its forward is right
        (["dw"], "print", None),
    ],
)
def test_of_a_pair_the_half_that_is_right_is_not_blamed(wrong, called, names):
    exercises = {name: find_exercise(name) for name in (AFFINE, NET)}
    verdicts = {AFFINE: verdict(exercises[AFFINE], *wrong), NET: verdict(exercises[NET], *exercises[NET].points)}
    told = with_causes(verdicts, exercises, read_text([TEXT.replace("CALLED", called)]))
    assert list(told[NET].report.notes) == ([CALLS.format(names=names)] if names else [])
    assert told[AFFINE] is verdicts[AFFINE]


def test_of_a_chain_the_first_link_is_named():
    names = ("a2/affine", "a2/relu", "a2/gelu")
    exercises = {name: find_exercise(name) for name in names}
    text = """\
def affine_forward(x, w, b): ...
def affine_backward(dout, cache): ...
def relu_forward(x): return affine_forward(x, x, x)
def relu_backward(dout, cache): ...
def gelu_forward(x): return relu_forward(x)
def gelu_backward(dout, cache): ...
"""
    verdicts = {name: verdict(exercise, "out") for name, exercise in exercises.items()}
    told = with_causes(verdicts, exercises, read_text([text]))
    note = CALLS.format(names="affine_forward")
    assert [list(told[name].report.notes) for name in names] == [[], [note], [note]]
    # Two that call each other are both named to a third.
    text = text.replace("affine_forward(x, w, b): ...", "affine_forward(x, w, b): return relu_forward(x)")
    told = with_causes(verdicts, exercises, read_text([text]))
    assert list(told[names[2]].report.notes) == [CALLS.format(names="affine_forward and relu_forward")]
