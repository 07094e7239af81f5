"""Correct but awkward work gets all points: each control is something that must cost nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dlcvgrade.attacks.corpus import read_corpus

CORPUS = read_corpus(Path(__file__).parent)


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: f"{entry.family}-{entry.name}")
def test_correct_work_earns_everything(ground, entry):
    assert ground.try_entry(entry).problems == ()


def test_corpus_is_large_enough():
    assert len(CORPUS) >= 25
    assert len([entry for entry in CORPUS if entry.target]) < 5, "a control that may lose points is one no more"


def test_control_that_loses_points_is_noticed(ground):
    wrong = {"predict_labels": "def predict_labels(dists, y_train, k):\n    return y_train[: len(dists)]"}
    assert ground.try_entry(replace(CORPUS[0], cells=wrong)).problems
