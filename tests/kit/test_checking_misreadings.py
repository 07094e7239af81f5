"""What students do that could be taken for something else: the report has to name what it is."""

from __future__ import annotations

import functools

import pytest
import torch

from dlcvkit.checking import (
    AUTOGRAD,
    Case,
    Function,
    Invariant,
    Kind,
    Mistake,
    as_text,
    check_functions,
    find_exercise,
    normal,
)
from dlcvkit.checking.loops import find_loop

DOUBLE = Function(
    id="test/double",
    functions=("double",),
    reference=lambda x: 2 * x,
    cases=[Case(x=normal(3, 4))],
    points={"out": 2},
    mistakes=[Mistake("leaves it as it is", lambda x: x, hint="twice")],
    forbidden=AUTOGRAD,
)


def finding_of(function, exercise=DOUBLE):
    report = check_functions(exercise, [function])
    assert report.earned == 0
    return report.findings[0]


def answers_with_method(x):
    return x.mean  # the parentheses are missing


def answers_with_generator(x):
    yield 2 * x


@pytest.mark.parametrize("function", [answers_with_method, answers_with_generator, lambda x: object()])
def test_an_answer_that_is_no_tensor_is_not_called_random(function):
    assert finding_of(function).kind is Kind.STRUCTURE


@pytest.mark.parametrize(
    "change",
    [lambda x: x.to("meta"), lambda x: x.to_sparse(), lambda x: torch.nested.nested_tensor([x])],
    ids=["meta", "sparse", "nested"],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_strange_tensor_is_no_fault_of_the_check_though_there_are_mistakes_to_compare_with(change):
    assert check_functions(DOUBLE, [lambda x: change(2 * x)]).verdict == "wrong"


def test_a_loss_that_is_nan_is_called_not_finite():
    exercise = Function(
        functions=("loss",), reference=lambda x: x.square().sum(), cases=[Case(x=normal(3))], points={"loss": 1}
    )
    assert finding_of(lambda x: float("nan"), exercise).kind is Kind.NOT_FINITE


def by_backward(x):
    w = x.clone().requires_grad_()
    (w**2).sum().backward()
    return w.grad


def by_grad(x):
    w = x.clone()
    w.requires_grad = True
    return torch.autograd.grad((w**2).sum(), w)[0]


@pytest.mark.parametrize("function", [by_backward, by_grad])
def test_autograd_is_named_though_it_raises_during_a_check(function):
    found = finding_of(function)
    assert found.kind is Kind.FORBIDDEN
    assert "autograd" in found.text


def mean(rows):
    for row in rows:
        row.sum()


def uses_method_of_the_same_name(x):
    return x.mean(0)


def has_local_named_map(x):
    map = 2 * x
    return map + len("reduce")


class Looping:
    def method(self, x):
        for row in x:
            row.sum()


def test_a_name_alone_makes_no_loop():
    assert find_loop(uses_method_of_the_same_name) is None
    assert find_loop(has_local_named_map) is None


def test_a_loop_in_a_method_or_a_partial_is_found():
    assert find_loop(Looping().method).function == "method"
    assert find_loop(functools.partial(mean)).function == "mean"


def test_a_wrong_signature_is_told_without_a_line_of_the_kit():
    found = finding_of(lambda: 1)
    assert found.kind is Kind.RAISED
    assert found.first is None
    assert found.hint == "keep the arguments that the function had in the cell you were given"


def test_default_dtype_and_device_of_the_notebook_do_not_matter_and_are_kept():
    exercise = Function(
        functions=("ones",), reference=lambda n: torch.ones(n), cases=[Case(n=3)], points={"out": 1}
    )  # fmt: skip
    torch.set_default_dtype(torch.float64)
    try:
        assert check_functions(exercise, [lambda n: torch.ones(n)]).verdict == "pass"
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_default_device_set_by_a_function_does_not_outlive_the_check():
    def sets_device(x):
        torch.set_default_device("meta")
        return 2 * x

    check_functions(DOUBLE, [sets_device])
    assert torch.zeros(1).device.type == "cpu"


def test_values_that_look_alike_get_more_digits():
    found = finding_of(lambda x: 2 * x * (1 + 2e-6))
    have, want = found.first.partition(" is ")[2].split("; expected ")
    assert have != want


def test_an_exception_class_named_after_the_inputs_gives_nothing_away():
    def tells(x):
        raise type("X" + str(x.flatten()[:2].tolist()), (Exception,), {})

    report = check_functions(DOUBLE.with_hidden([Case("a hidden one", x=normal(2, 2))]), [tells])
    assert "X[" not in as_text(report)
    assert "an exception of its own" in as_text(report)


def test_a_property_that_cannot_be_examined_says_so():
    exercise = Invariant(
        functions=("pair",),
        call=lambda pair, n: {"recorded": pair(n)},
        cases=[Case(n=2)],
        properties={"order": lambda result, n: None if result["recorded"][1] else "no"},
        points={"order": 1},
    )
    assert "the function did not return what its docstring says" in finding_of(lambda n: 1, exercise).text


def test_folds_may_be_shuffled_but_have_to_be_tensors():
    def shuffled(n, folds):
        parts = torch.randperm(n).tensor_split(folds)
        return [(torch.cat([p for j, p in enumerate(parts) if j != i]), parts[i]) for i in range(folds)]

    kfold = find_exercise("a1/kfold_indices")
    assert check_functions(kfold, [shuffled]).verdict == "pass"
    lists = check_functions(kfold, [lambda n, f: [(t.tolist(), v.tolist()) for t, v in shuffled(n, f)]])
    assert [q.name for q in lists.quantities if not q.is_right] == ["dtype"]


def test_the_position_of_the_best_k_is_not_taken_for_another_mistake():
    def position(accuracies):
        means = [sum(row) / len(row) for row in accuracies.values()]
        return means.index(max(means))

    assert finding_of(position, find_exercise("a1/knn_best_k")).diagnosis is None


def test_losses_handed_back_as_a_tensor_are_as_good_as_a_list():
    def train_linear_classifier(loss_fn, X, y, lr, reg, steps, batch_size, generator):
        classes = int(y.max()) + 1
        W = 0.001 * torch.randn(X.shape[1], classes, generator=generator, dtype=X.dtype, device=X.device)
        losses = []
        for _ in range(steps):
            rows = torch.randint(len(X), (batch_size,), generator=generator, device=X.device)
            loss, dW = loss_fn(W, X[rows], y[rows], reg)
            W = W - lr * dW
            losses.append(loss)
        return W, torch.tensor(losses)

    report = check_functions(find_exercise("a1/train_linear_classifier"), (train_linear_classifier,))
    assert report.verdict == "pass"
