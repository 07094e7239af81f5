"""Layers, update rules and classes are judged as functions are: run in the worker, compared outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.nn.functional import linear

from dlcvgrade.judge.judging import Judge, Verdict
from dlcvgrade.judge.submissions import Work
from dlcvgrade.judge.workers import Worker
from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Module, Stepper, normal


def _use(net, x):
    return net.forward(x)


EXERCISES = {
    exercise.id: exercise
    for exercise in (
        ForwardBackward(
            id="t/affine",
            functions=("affine_forward", "affine_backward"),
            reference=lambda x, w, b: linear(x, w.T, b),
            cases=[
                Case(x=normal(2, 3), w=normal(3, 4), b=normal(4), dout=normal(2, 4)),
                Case(x=normal(1, 3), w=normal(3, 2), b=normal(2), dout=normal(1, 2)).strided(),
            ],
            points={"out": 2, "dx": 1, "dw": 1, "db": 1},
            forbidden=TORCH_LAYERS | AUTOGRAD,
            is_hidden=True,
        ),
        Stepper(
            id="t/sgd",
            functions=("sgd",),
            reference=lambda parameters, lr: torch.optim.SGD(parameters, lr=lr),
            cases=[Case(w=normal(3), dw=normal(5, 3), lr=0.1)],
            points={"w": 2, "arguments": 1},
            is_hidden=True,
        ),
        Module(
            id="t/net",
            functions=("Net",),
            reference=lambda init, params, x: (x @ params["W"]).clamp(min=0),
            call=_use,
            cases=[Case(init={"inputs": 3, "outputs": 2}, params={"W": normal(3, 2)}, x=normal(4, 3)).strided()],
            points={"out": 3},
            is_hidden=True,
        ),
    )
}
CORRECT = """\
import torch

def affine_forward(x, w, b):
    return x @ w + b, (x, w)

def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(0)

def sgd(w, dw, state, lr=0.1):
    return w - lr * dw, state

class Net:
    def __init__(self, inputs, outputs):
        self.params = {"W": torch.randn(inputs, outputs)}

    def forward(self, x):
        return (x @ self.params["W"]).clamp(min=0)
"""

Grade = Callable[..., dict[str, Verdict]]


@pytest.fixture(scope="module")
def grade() -> Iterator[Grade]:
    with Worker(list(EXERCISES.values())) as worker:

        def grade(*cells: str) -> dict[str, Verdict]:
            judge = Judge(EXERCISES, worker)
            return judge.judge(Work((CORRECT, *cells)), list(EXERCISES), 1, time.monotonic() + 100)

        yield grade


def test_correct_layers_rules_and_classes_earn_everything(grade):
    assert {name: verdict.points for name, verdict in grade().items()} == {"t/affine": 5, "t/sgd": 3, "t/net": 3}


@pytest.mark.parametrize(
    ("body", "verdict"),
    [("raise NotImplementedError()", "missing"), ("return 1 / 0", "error"), ("return dout", "wrong")],
    ids=["unwritten", "raises", "one_result"],
)
def test_a_failing_backward_costs_the_gradients_alone(grade, body, verdict):
    found = grade(f"def affine_backward(dout, cache):\n    {body}")["t/affine"]
    assert (found.points, found.verdict) == (2, verdict)


def test_a_backward_with_wrong_values_keeps_the_forwards_points(grade):
    found = grade(
        "def affine_backward(dout, cache):\n    x, w = cache\n    return dout @ w.T, x.T @ dout, dout.mean(0)"
    )
    assert found["t/affine"].points == 4


def test_saying_that_everything_was_lost_gains_nothing(grade):
    lie = (
        "def affine_forward(x, w, b):\n    from dlcvgrade.judge import attempt\n    from dlcvkit.checking.interrupted "
        "import Interrupted\n    from dlcvkit.checking import Finding, Kind\n"
        "    raise Interrupted(Finding(Kind.STRUCTURE, ''), (x @ w + b, None, None, None), ('dx', 'dw', 'db', 'other'))"
    )
    assert grade(lie)["t/affine"].points == 0


def test_a_forbidden_operation_in_a_class_is_found_by_reading(grade):
    found = grade("def affine_forward(x, w, b):\n    return torch.nn.functional.relu(x @ w + b), (x, w)")
    assert found["t/affine"].verdict == "forbidden_op"


def test_weights_of_another_shape_cost_the_class_alone(grade):
    found = grade("class Net:\n    def __init__(self, inputs, outputs):\n        self.params = {}")
    assert found["t/net"].points == 0 and found["t/net"].verdict == "wrong"
    assert found["t/affine"].points == 5
