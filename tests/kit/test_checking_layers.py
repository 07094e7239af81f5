"""The protocols for layers, update rules and classes: what they call, what they compare, and what they say."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from dlcvkit.checking import (
    AUTOGRAD,
    TORCH_LAYERS,
    Case,
    ForwardBackward,
    Interrupted,
    Mistake,
    Module,
    Stepper,
    as_text,
    check_functions,
    gradients_by_autograd,
    labels,
    messages,
    normal,
)
from dlcvkit.checking.module import load_params

AFFINE = ForwardBackward(
    id="t/affine",
    functions=("affine_forward", "affine_backward"),
    reference=lambda x, w, b: linear(x.flatten(1), w.T, b),
    cases=[
        Case("four axes", x=normal(2, 3, 2), w=normal(6, 4), b=normal(4), dout=normal(2, 4)),
        Case("one image", x=normal(1, 5), w=normal(5, 3), b=normal(3), dout=normal(1, 3)).strided(),
    ],
    points={"out": 2, "dx": 2, "dw": 1, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake("leaves the bias out", lambda x, w, b: linear(x.flatten(1), w.T), hint="add b to every row"),
        Mistake(
            "takes the mean over the rows for db",
            lambda x, w, b, dout: (linear(x.flatten(1), w.T, b), x, w, dout.mean(0)),
            hint="b is added to every row",
        ),
    ],
)


def affine_forward(x, w, b):
    return x.flatten(1) @ w + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return (dout @ w.T).reshape(x.shape), x.flatten(1).T @ dout, dout.sum(0)


def earned(exercise: Any, *functions: Any) -> dict[str, float]:
    return {quantity.name: quantity.earned for quantity in check_functions(exercise, functions).quantities}


def test_a_correct_pair_earns_everything():
    report = check_functions(AFFINE, (affine_forward, affine_backward))
    assert report.earned == report.possible == 6, as_text(report)


def test_backward_is_given_the_cache_of_the_students_own_forward():
    seen = []

    def forward(x, w, b):
        return affine_forward(x, w, b)[0], {"mine": (x, w)}

    def backward(dout, cache):
        seen.append(set(cache))
        return affine_backward(dout, cache["mine"])

    assert sum(earned(AFFINE, forward, backward).values()) == 6
    assert all(keys == {"mine"} for keys in seen)


@pytest.mark.parametrize(
    ("backward", "text"),
    [
        (lambda dout, cache: 1 / 0, "affine_backward raised ZeroDivisionError"),
        (lambda dout, cache: None, messages.WRONG_TUPLE.format(
            name="affine_backward", got="None", count=3, names="dx, dw and db")),
        (lambda dout, cache: (dout, dout), "affine_backward returned a tuple of 2; expected a tuple of 3"),
    ],
    ids=["raises", "returns_none", "returns_two"],
)  # fmt: skip
def test_a_failing_backward_costs_the_gradients_alone(backward, text):
    def affine_backward(dout, cache):
        return backward(dout, cache)

    report = check_functions(AFFINE, (affine_forward, affine_backward))
    assert report.earned == 2
    assert report.problem is None
    assert text in as_text(report)


def test_an_unwritten_backward_is_called_unwritten():
    def affine_backward(dout, cache):
        raise NotImplementedError()

    report = check_functions(AFFINE, (affine_forward, affine_backward))
    assert report.earned == 2
    assert messages.NOT_WRITTEN.format(name="affine_backward") in as_text(report)


def test_a_forward_without_a_cache_is_told_so():
    report = check_functions(AFFINE, (lambda x, w, b: x.flatten(1) @ w + b, affine_backward))
    assert report.earned == 0
    assert "expected a tuple of 2: out and cache" in as_text(report)


def test_a_forbidden_forward_earns_nothing_even_if_backward_fails():
    def affine_forward(x, w, b):
        return torch.nn.functional.relu(x.flatten(1) @ w + b), (x, w)

    def affine_backward(dout, cache):
        raise NotImplementedError()

    report = check_functions(AFFINE, (affine_forward, affine_backward))
    assert report.verdict == "forbidden_op" and report.earned == 0


def test_a_backward_that_ignores_the_upstream_gradient_fails():
    def affine_backward(dout, cache):
        x, w = cache
        ones = torch.ones_like(dout)
        return (ones @ w.T).reshape(x.shape), x.flatten(1).T @ ones, ones.sum(0)

    assert earned(AFFINE, affine_forward, affine_backward) == {"out": 2, "dx": 0, "dw": 0, "db": 0}


def test_mistakes_in_either_direction_are_named():
    def no_bias(x, w, b):
        return x.flatten(1) @ w, (x, w)

    def mean_bias(dout, cache):
        dx, dw, _ = affine_backward(dout, cache)
        return dx, dw, dout.mean(0)

    assert "leaves the bias out" in as_text(check_functions(AFFINE, (no_bias, affine_backward)))
    assert "takes the mean over the rows for db" in as_text(check_functions(AFFINE, (affine_forward, mean_bias)))


def test_a_backward_that_changes_dout_is_refused():
    def affine_backward(dout, cache):
        dout *= 2
        return dout, dout, dout

    assert check_functions(AFFINE, (affine_forward, affine_backward)).verdict == "mutated_input"


def test_a_case_without_an_upstream_gradient_is_refused():
    with pytest.raises(ValueError, match="lacks the upstream gradient"):
        ForwardBackward(
            functions=("f", "g"), reference=lambda x: x, cases=[Case(x=normal(2))], points={"out": 1, "dx": 1}
        )


def test_a_function_of_torch_can_be_the_reference():
    exercise = ForwardBackward(
        functions=("f", "g"),
        reference=torch.sigmoid,
        cases=[Case(input=normal(3), dout=normal(3))],
        points={"out": 1, "dinput": 1},
    )
    pair = lambda x: (1 / (1 + torch.exp(-x)), 1 / (1 + torch.exp(-x))), lambda dout, s: dout * s * (1 - s)
    assert sum(earned(exercise, *pair).values()) == 2


TWO_OUTPUTS = ForwardBackward(
    id="t/two",
    functions=("two_forward", "two_backward"),
    reference=lambda a, b: ((a * b).tanh(), a + b, a.sum()),
    cases=[Case(a=normal(3, 2), b=normal(3, 2), dfirst=normal(3, 2), dsecond=normal(3, 2))],
    points={"first": 1, "second": 1, "total": 1, "da": 1, "db": 1},
    upstream={"first": "dfirst", "second": "dsecond"},
)


def test_several_outputs_have_an_upstream_gradient_each_and_a_state_has_none():
    def forward(a, b):
        first = torch.tanh(a * b)
        return first, a + b, a.sum(), (a, b, first)

    def backward(dfirst, dsecond, cache):
        a, b, first = cache
        inner = dfirst * (1 - first**2)
        return inner * b + dsecond, inner * a + dsecond

    assert sum(earned(TWO_OUTPUTS, forward, backward).values()) == 5


MOMENTUM = Stepper(
    id="t/momentum",
    functions=("sgd_momentum",),
    reference=lambda parameters, lr, momentum: torch.optim.SGD(parameters, lr=lr, momentum=momentum),
    cases=[
        Case("constant rate", w=normal(3, 2), dw=normal(20, 3, 2), lr=0.1, momentum=0.9),
        Case("changing rate", w=normal(4), dw=normal(20, 4), lr=[0.1 / (i + 1) for i in range(20)], momentum=0.5),
    ],
    points={"w": 3, "arguments": 1},
    mistakes=[
        Mistake(
            "leaves the momentum out",
            lambda w, dw, state, lr, momentum: (w - lr * dw, state),
            hint="the step is the velocity, not the gradient",
        )
    ],
)


def sgd_momentum(w, dw, state, lr, momentum=0.9):
    velocity = momentum * state.get("velocity", torch.zeros_like(w)) + dw
    return w - lr * velocity, {"velocity": velocity}


def test_an_update_rule_is_followed_over_all_its_steps():
    assert earned(MOMENTUM, sgd_momentum) == {"w": 3, "arguments": 1}


def test_a_rate_inside_the_velocity_is_seen_once_the_rate_changes():
    def caffe(w, dw, state, lr, momentum=0.9):
        velocity = momentum * state.get("velocity", torch.zeros_like(w)) - lr * dw
        return w + velocity, {"velocity": velocity}

    report = check_functions(MOMENTUM, (caffe,))
    assert report.earned == 1
    assert report.quantities[0].finding is not None and report.quantities[0].finding.case == "changing rate"


def test_a_rule_that_changes_its_state_in_place_loses_that_point_only():
    def in_place(w, dw, state, lr, momentum=0.9):
        state["velocity"] = momentum * state.get("velocity", torch.zeros_like(w)) + dw
        return w - lr * state["velocity"], state

    assert earned(MOMENTUM, in_place) == {"w": 3, "arguments": 0}


def test_the_mistakes_of_rules_are_named_and_results_that_are_none_refused():
    def plain(w, dw, state, lr, momentum=0.9):
        return w - lr * dw, state

    assert "leaves the momentum out" in as_text(check_functions(MOMENTUM, (plain,)))
    report = check_functions(MOMENTUM, (lambda w, dw, state, lr, momentum: w - lr * dw,))
    assert "expected a tuple of 2: w and state" in as_text(report)


def _loss(params, X, y, reg):
    scores = X @ params["W"] + params["b"]
    return scores, cross_entropy(scores, y) + 0.5 * reg * (params["W"] ** 2).sum()


def _reference(init, params, X, y):
    scores, _ = _loss(params, X, y, init["reg"])
    return scores, *gradients_by_autograd(lambda p: _loss(p, X, y, init["reg"])[1], params)


LINEAR = Module(
    id="t/linear",
    functions=("LinearNet",),
    reference=_reference,
    call=lambda net, X, y: (net.scores(X), *net.loss(X, y)),
    cases=[
        Case(
            f"reg = {reg}",
            init={"inputs": 4, "classes": 3, "reg": reg},
            params={"W": normal(4, 3), "b": normal(3)},
            X=normal(5, 4),
            y=labels(5, 3),
        )
        for reg in (0.0, 0.5, 30.0)
    ],
    points={"scores": 1, "loss": 1, "gradients": 2},
)


class LinearNet:
    def __init__(self, inputs, classes, reg):
        self.params = {"W": 0.01 * torch.randn(inputs, classes), "b": torch.zeros(classes)}
        self.reg = reg

    def scores(self, X):
        return X @ self.params["W"] + self.params["b"]

    def factor(self):
        return 1.0

    def loss(self, X, y):
        scores = self.scores(X)
        rows = torch.arange(len(X), device=X.device)
        p = (scores - scores.amax(1, keepdim=True)).softmax(1)
        loss = -p[rows, y].log().mean() + 0.5 * self.reg * (self.params["W"] ** 2).sum()
        dscores = p.clone()
        dscores[rows, y] -= 1
        dscores = dscores / len(X)
        dW = X.T @ dscores + self.factor() * self.reg * self.params["W"]
        return loss, {"W": dW, "b": dscores.sum(0)}


def test_a_class_is_given_the_cases_weights():
    assert earned(LINEAR, LinearNet) == {"scores": 1, "loss": 1, "gradients": 2}


def test_a_doubled_regulariser_is_named():
    class Doubled(LinearNet):
        def factor(self):
            return 2.0

    report = check_functions(LINEAR, (Doubled,))
    assert report.earned == 2
    assert "off by a multiple of W" in as_text(report)


class Renamed(LinearNet):
    def __init__(self, **given):
        super().__init__(**given)
        self.params["V"] = self.params.pop("W")


class Transposed(LinearNet):
    def __init__(self, inputs, classes, reg):
        super().__init__(classes, inputs, reg)


class Without(LinearNet):
    def __init__(self, **given):
        pass


@pytest.mark.parametrize(
    ("net", "text"),
    [
        (Renamed, "params of LinearNet has the names b and V; expected W and b"),
        (Transposed, "params['W'] of LinearNet has shape (3, 4); expected (4, 3)"),
        (Without, "LinearNet has nothing under params"),
    ],
    ids=["renamed", "transposed", "without"],
)
def test_weights_that_do_not_fit_are_told(net, text):
    assert text in as_text(check_functions(LINEAR, (net,)))


def test_an_unwritten_method_is_called_by_its_name():
    class LinearNet(Transposed):
        def __init__(self, inputs, classes, reg):
            super().__init__(classes, inputs, reg)

        def scores(self, X):
            raise NotImplementedError()

    assert messages.NOT_WRITTEN.format(name="LinearNet.scores") in as_text(check_functions(LINEAR, (LinearNet,)))


def unwritten_forward(x):
    raise NotImplementedError()


def test_an_unwritten_function_of_an_earlier_exercise_is_called_by_its_own_name():
    class LinearNet(Transposed):
        def __init__(self, inputs, classes, reg):
            super().__init__(classes, inputs, reg)

        def scores(self, X):
            return unwritten_forward(X)

    text = as_text(check_functions(LINEAR, (LinearNet,)))
    assert messages.NOT_WRITTEN.format(name="unwritten_forward") in text


class TorchNet(torch.nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.layer = torch.nn.Linear(inputs, classes)

    def forward(self, x):
        return self.layer(x)


def test_a_torch_module_is_loaded_by_its_state_dict():
    exercise = Module(
        id="t/torch",
        functions=("TorchNet",),
        reference=lambda init, params, x: linear(x, params["layer.weight"], params["layer.bias"]),
        call=lambda net, x: net(x),
        cases=[
            Case(
                init={"inputs": 4, "classes": 3},
                params={"layer.weight": normal(3, 4), "layer.bias": normal(3)},
                x=normal(5, 4),
            )
        ],
        points={"out": 1},
    )
    assert earned(exercise, TorchNet) == {"out": 1}


def test_a_case_draws_the_tensors_inside_of_dicts():
    case = Case("nested", params={"a": normal(2, 3), "b": normal(2, 3)}, n=3).strided()
    built = case.build(1)
    assert built["n"] == 3 and not built["params"]["a"].is_contiguous()
    assert not torch.equal(built["params"]["a"], built["params"]["b"])
    assert torch.equal(built["params"]["a"], case.build(1)["params"]["a"])


class _Unit(torch.nn.Module):
    def __init__(self, *names):
        super().__init__()
        for name in names:
            setattr(self, name, torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (None, r"Unit\(...\) is None; expected a torch.nn.Module"),
        ([], r"Unit\(...\) is a list of 0; expected a torch.nn.Module"),
        (_Unit(), "the state dict of Unit lacks fc.weight and fc.bias$"),
        (_Unit("head"), "lacks fc.weight and fc.bias; it has head.weight and head.bias instead"),
        (
            _Unit("fc", "a", "b", "c"),
            "entries that the exercise has not: a.weight, a.bias, b.weight, b.bias and 2 more",
        ),
    ],
)
def test_a_module_with_other_weights_is_told_by_what_differs(net, message):
    weights = {"fc.weight": torch.eye(2), "fc.bias": torch.zeros(2)}
    with pytest.raises(Interrupted) as stopped:
        load_params(net, weights, "Unit")
    assert re.search(message, stopped.value.cause.text)


def test_weights_reach_a_module():
    net = _Unit("fc")
    load_params(net, {"fc.weight": 3 * torch.eye(2, dtype=torch.float64), "fc.bias": torch.ones(2)}, "Unit")
    assert net.fc(torch.ones(1, 2, dtype=torch.float64)).tolist() == [[4, 4]]
