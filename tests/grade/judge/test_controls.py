"""Correct but awkward work gets full points: each control is a change that must cost nothing."""

from __future__ import annotations

import pytest

WARNS = """
def predict_labels(dists, y_train, k):
    import logging, sys, warnings
    warnings.warn("careful")
    logging.error("careful")
    print("careful", file=sys.stderr)
    return y_train[dists.argsort(dim=1)[:, :k]].mode(dim=1).values
"""
BAR = """
from tqdm.auto import tqdm

def predict_labels(dists, y_train, k):
    rows = [y_train[row.argsort()[:k]].mode().values for row in tqdm(dists)]
    return torch.stack(rows)
"""
PRINTS = """
def predict_labels(dists, y_train, k):
    print(dists)
    return y_train[dists.argsort(dim=1)[:, :k]].mode(dim=1).values
"""
FLOAT32 = """
def compute_distances_no_loops(x_train, x_test):
    a, b = x_test.flatten(1).float(), x_train.flatten(1).float()
    return (a[:, None] - b[None]).square().sum(2)
"""
ANOTHER_FORMULA = """
def compute_distances_no_loops(x_train, x_test):
    return (x_test.flatten(1).unsqueeze(1) - x_train.flatten(1)).pow(2).sum(-1)
"""
NOT_CONTIGUOUS = """
def compute_distances_no_loops(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    return (b[:, None] - a[None]).square().sum(2).T
"""
HELPERS = """
def squares(rows):
    return (rows**2).sum(1)

class Table:
    def __init__(self, rows):
        self.rows = rows.flatten(1)

def compute_distances_no_loops(x_train, x_test):
    a, b = Table(x_test).rows, Table(x_train).rows
    return squares(a)[:, None] + squares(b) - 2 * a @ b.T
"""
LOOPS_WHERE_ALLOWED = """
from dataclasses import dataclass

@dataclass
class Votes:
    labels: torch.Tensor

    def winner(self):
        return torch.bincount(self.labels).argmax()

def predict_labels(dists, y_train, k):
    return torch.stack([Votes(y_train[row.argsort()[:k]]).winner() for row in dists])
"""
WRITES_A_FILE = """
import pathlib, tempfile

def predict_labels(dists, y_train, k):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "nearest.pt")
        torch.save(dists.argsort(dim=1)[:, :k], path)
        return y_train[torch.load(path)].mode(dim=1).values
"""
THREADS = """
from concurrent.futures import ThreadPoolExecutor

def predict_labels(dists, y_train, k):
    with ThreadPoolExecutor(2) as pool:
        nearest = list(pool.map(lambda row: row.argsort()[:k], dists))
    return y_train[torch.stack(nearest)].mode(dim=1).values
"""
CONTROLS = {
    "correct": {},
    "warns_on_stderr": {"labels": WARNS},
    "draws_a_bar": {"labels": BAR},
    "prints": {"labels": PRINTS},
    "float32": {"distances": FLOAT32},
    "another_formula": {"distances": ANOTHER_FORMULA},
    "not_contiguous": {"distances": NOT_CONTIGUOUS},
    "helper_functions_and_classes": {"distances": HELPERS},
    "loops_where_allowed": {"labels": LOOPS_WHERE_ALLOWED},
    "writes_a_file": {"labels": WRITES_A_FILE},
    "uses_threads": {"labels": THREADS},
    "magics_and_shell": {"setup": "%matplotlib inline\n!ls -l\nfiles = !ls\n%time import torch\nimport torch"},
    "cell_magic_around_code": {"setup": "%%time\nimport os\nimport torch"},
    "draws": {"setup": "import torch\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"},
    "shell_and_display": {"setup": "import torch\nget_ipython().run_line_magic('time', '1')\ndisplay(1)"},
}


@pytest.mark.parametrize("name", CONTROLS)
def test_correct_work_earns_everything(grade, name):
    verdicts = grade(**CONTROLS[name])
    assert [(v.verdict, v.points, v.reason) for v in verdicts.values()] == [("pass", 4.0, None)] * 3


@pytest.mark.parametrize(
    "cell",
    ["%%bash\nrm -rf /", "this is no python", "1 / 0", "raise SystemExit", "import sys; sys.exit(3)", "input()",
     "raise KeyboardInterrupt", "check('a1/predict_labels', predict_labels)", "check.summary()", "x = ?", "\x00"],
)  # fmt: skip
def test_a_cell_that_raises_costs_nothing_by_itself(grade, cell):
    assert [v.verdict for v in grade(cell).values()] == ["pass"] * 3


@pytest.mark.parametrize("cell", ["while True:\n    pass", "import time\ntime.sleep(1000)"])
def test_a_demo_that_should_not_be_there_does_not_cost_the_exercises(grade, cell):
    after = "def predict_labels(dists, y_train, k):\n    return y_train[dists.argsort(dim=1)[:, :k]].mode(dim=1).values"
    assert [v.verdict for v in grade(cell, after, wall=4).values()] == ["pass"] * 3


def test_a_later_function_that_fails_does_not_cost_an_earlier_one(grade):
    verdicts = grade(labels="def predict_labels(dists, y_train, k):\n    raise ValueError('not yet')")
    assert [v.verdict for v in verdicts.values()] == ["pass", "pass", "error"]
    assert verdicts["a1/predict_labels"].points == 0.0


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
