"""What is read from a submission's text, and what is cut out of the exercises for the worker."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import replace
from functools import partial
from types import ModuleType

import pytest

from dlcvgrade.judge.calls import calls_module, slice_of
from dlcvgrade.judge.rules import find_forbidden, find_loop_in, find_tampering, read_text
from dlcvkit.checking import Case, Function, SavedAnswer, exercises_of, find_exercise, stages

NO_LOOPS = find_exercise("a1/knn_no_loops")
LABELS = find_exercise("a1/predict_labels")
NAME = "compute_distances_no_loops"


@pytest.mark.parametrize(
    ("cells", "has_loop"),
    [
        ([f"def {NAME}(a, b):\n    return a - b"], False),
        ([f"def {NAME}(a, b):\n    for x in a: pass"], True),
        ([f"def {NAME}(a, b):\n    return [x for x in a]"], True),
        ([f"def {NAME}(a, b):\n    return rows(a)", "def rows(a):\n    while a: pass"], True),
        ([f"def {NAME}(a, b):\n    for x in a: pass", f"def {NAME}(a, b):\n    return a"], False),
        (["for i in range(3): pass", f"def {NAME}(a, b):\n    return a"], False),
        (["%time x", f"%%time\ndef {NAME}(a, b):\n    for x in a: pass"], True),
        ([f"%%bash\ndef {NAME}(a, b):\n    for x in a: pass"], False),
        (["not python at all", "(" * 10**5, "-" * 10**5 + "1", "\x00"], False),
    ],
)
def test_loops_are_found_in_what_the_exercise_reaches(cells, has_loop):
    assert (find_loop_in(NO_LOOPS, read_text(cells)) is not None) is has_loop
    assert find_loop_in(LABELS, read_text(cells)) is None


@pytest.mark.parametrize(
    ("setup", "expression", "found"),
    [
        ("import torch", "torch.cdist(a, b)", "torch.cdist"),
        ("import torch as t", "t.cdist(a, b)", "torch.cdist"),
        ("from torch import cdist as c", "c(a, b)", "torch.cdist"),
        ("import torch", "torch.matmul(a, b)", None),
        ("import mine", "mine.cdist(a, b)", None),
        ("", "a.cdist(b)", None),
    ],
)
def test_forbidden_operations_are_found_by_name(setup, expression, found):
    text = read_text([setup, f"def {NAME}(a, b):\n    return {expression}", "import torch\ntorch.cdist(1, 2)"])
    assert find_forbidden(NO_LOOPS, text) == found
    assert find_forbidden(LABELS, text) is None


ELSEWHERE = [
    # (a cell before it, the function's body, what is used; None for the innocent twin)
    ("import threading", "threading.Thread(target=a).start()", "threading.Thread"),
    ("import threading", "threading = a - b\n    return threading.square()", None),
    ("from threading import Thread", "Thread(target=a).start()", "threading.Thread"),
    ("class Thread:\n    pass", "Thread()", None),
    ("", "import concurrent.futures as c\n    c.ThreadPoolExecutor()", "concurrent.futures.ThreadPoolExecutor"),
    ("import sklearn.metrics as m", "return m.pairwise_distances(a, b)", "sklearn.metrics.pairwise_distances"),
    ("import sklearn.metrics as m\nprint(m.pairwise_distances)", "m = a.mean()\n    return m.sum()", None),
    ("from scipy.stats import norm", "return norm(a)", "scipy.stats.norm"),
    ("from scipy.stats import norm\nnorm.pdf(0)", "norm = (a**2).sum()\n    return norm.sqrt()", None),
    ("import scipy.stats\na = scipy.stats.norm", "return a - b", None),
    ("import scipy.stats\nf = scipy.stats.norm", "return f(a)", "scipy.stats.norm"),
    ("import scipy.stats\nf: object = scipy.stats.norm", "return f(a)", "scipy.stats.norm"),
    ("import scipy.stats\nf, g = scipy.stats.norm, 1", "return f(a)", "scipy.stats.norm"),
    ("import scipy.stats\nif True:\n    f = scipy.stats.norm", "return f(a)", "scipy.stats.norm"),
    ("import scipy.stats\nf = scipy.stats.norm\nif 0:\n    f = 1", "return f(a)", "scipy.stats.norm"),
    ("import scipy.stats\nf = scipy.stats.norm\nf = torch.sqrt", "return f(a)", None),
    ("", "return eval('torch.cd' + 'ist')(a, b)", "eval"),
    ("", "model.eval()\n    evaluate = a.eval\n    return evaluate", None),
    ("", "eval = a.mean()\n    return eval.sum()", None),
    ("", "def inner():\n        eval = 1\n    return eval('1')", "eval"),
    ("", "return (lambda x, eval=eval: eval(x))('1')", "eval"),
    ("import builtins", "return builtins.eval('1')", "eval"),
    ("f = exec", "f('import scipy')", "exec"),
    ("", "text = 'exec and eval and import'\n    return text", None),
    ("", "return __import__('scipy')", "__import__"),
    ("import importlib", "return importlib.import_module('scipy')", "importlib.import_module"),
    ("from importlib import import_module as take", "return take('scipy')", "importlib.import_module"),
    ("def import_module(x):\n    return x", "return import_module('scipy')", None),
    ("import numpy as np", "return np.array(a) - np.sqrt(b)", None),
    ("def softmax(x):\n    return x.exp()", "return softmax(a)", None),
    ("def cdist(x, y):\n    return x - y", "return cdist(a, b)", None),
]


@pytest.mark.parametrize(("before", "body", "found"), ELSEWHERE)
def test_other_libraries_threads_and_hidden_names_are_found_and_their_twins_are_not(before, body, found):
    cells = ["import torch", before, f"def {NAME}(a, b):\n    {body}"]
    text = read_text(cells)
    assert NAME in text.functions, "the cell cannot be read, so this checks nothing"
    assert find_forbidden(NO_LOOPS, text) == found
    assert find_forbidden(LABELS, text) is None


HONEST = """\
import gc, sys, time
import torch
from torch import nn
import torch.nn.functional as F
from dlcvkit import check
from dlcvkit.checking import Case, Function
torch.backends.cudnn.deterministic = True
torch.manual_seed(0)
model = nn.Linear(2, 3)
model.weight.data = torch.zeros(3, 2)
for m in model.modules():
    m.extra = 1
x = torch.ones(2)
x.grad = None
vars(model)
setattr(model, "name", 1)
gc.collect()
"""


def test_honest_code_is_not_taken_for_tampering():
    text = read_text([HONEST])
    assert text.trees
    assert text.tampering == []


@pytest.mark.parametrize(
    "line",
    ["import ctypes", "from dlcvkit.exercises.a1 import knn", "import torch.overrides", "torch.cdist = 1",
     "import dlcvkit\ndlcvkit.checking.observe.observe = 1", "import torch as t\nt.Tensor.sum = 1",
     "import sys\nsys.modules",
     "import torch.nn.functional as F\nF.pad = 1", "import builtins\nbuiltins.len = 1", "import gc\ngc.get_objects()",
     "import sys\nsys._getframe(1)", "import torch\nsetattr(torch, 'x', 1)", "from dlcvkit.checking import observe"],
)  # fmt: skip
def test_tampering_is_named_and_counts_where_there_are_rules(line):
    text = read_text([line])
    assert find_tampering(NO_LOOPS, text)
    assert find_tampering(LABELS, text) is None
    inside = read_text(["def other():\n    " + line.replace("\n", "\n    ")])
    assert find_tampering(NO_LOOPS, inside) is None
    assert find_tampering(NO_LOOPS, read_text([line], frozenset({line}))) is None


def sliced(source, names):
    return "\n\n".join(map(ast.unparse, slice_of(source, names)))


def test_slice_takes_what_is_used_and_nothing_else():
    source = "import a\nimport b\nX = b.y\ndef f():\n    return g(X)\ndef g(x):\n    return x\nsecret = 42\n"
    assert sliced(source, ["f"]) == "import b\n\nX = b.y\n\ndef f():\n    return g(X)\n\ndef g(x):\n    return x"
    with pytest.raises(KeyError):
        slice_of(source, ["h"])


def test_names_bound_together_come_along():
    source = "A, (B, *C) = 1, (2, 3)\ndef f():\n    return B\n"
    assert sliced(source, ["f"]).startswith("A, (B, *C) = ")


def test_a_parameter_named_like_an_exercise_is_not_that_exercise():
    source = "secret = 42\ndef call(secret, x):\n    return secret(x)\n"
    assert "42" not in sliced(source, ["call"])


def leaky_call(function, **inputs):
    return leaky.reference(**inputs)


leaky = Function(functions=("f",), cases=[Case(x=1)], points={"y": 1}, reference=lambda x: x, call=leaky_call, id="a/b")


def test_a_call_that_would_take_its_reference_along_is_refused():
    sys.modules[__name__] = ModuleType(__name__)
    vars(sys.modules[__name__]).update(leaky=leaky, leaky_call=leaky_call, __file__=__file__)
    with pytest.raises(ValueError, match="uses the exercise leaky"):
        calls_module([leaky])


def lost_call(function, **inputs):
    return function(defined_nowhere, **inputs)  # noqa: F821


def test_a_call_that_uses_what_cannot_be_cut_out_is_refused():
    sys.modules[__name__] = ModuleType(__name__)
    vars(sys.modules[__name__]).update(lost_call=lost_call, __file__=__file__)
    with pytest.raises(ValueError, match="uses defined_nowhere, which no plain statement there defines"):
        calls_module([replace(leaky, call=lost_call)])


def made_here(function):
    return lambda f, x: function(x)


@pytest.mark.parametrize("call", [lambda f, x: f(x), made_here(abs), partial(leaky_call, x=1)])
def test_a_call_without_a_name_of_its_own_is_refused(call):
    with pytest.raises(ValueError, match="the call of a/b has to be a function at the top level"):
        calls_module([replace(leaky, call=call)])


@pytest.mark.parametrize("stage", stages())
def test_workers_calls_hold_no_reference_case_or_mistake(stage):
    exercises = exercises_of(stage).values()
    text = calls_module(exercises)
    words = ("Case(", "Mistake(", "reference", "_search(", "_centred", "properties", "dlcvkit.exercises")
    # beam_search is what a student wrote; _search is a reference.
    assert not [word for word in words if re.search(rf"(?<!\w){re.escape(word)}", text)]
    namespace: dict = {}
    exec(text, namespace)
    assert set(namespace["CALLS"]) == {e.id for e in exercises if e.call is not None and not isinstance(e, SavedAnswer)}


def test_what_a_call_imports_from_another_module_of_exercises_comes_along():
    namespace: dict = {}
    exec(calls_module([find_exercise("a3/residual_block")]), namespace)
    assert callable(namespace["CALLS"]["a3/residual_block"])
    assert len(namespace["SCOPES"]) > 1
