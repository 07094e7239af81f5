"""Tensors made without a device are found on the CPU, before a GPU would refuse them."""

from __future__ import annotations

import pytest
import torch

from dlcvkit.checking import Case, Function, check_functions, normal
from dlcvkit.checking.watching import HomelessTensors

CASE = Case(x=normal(3, 4))


def report(function, reference=None):
    exercise = Function(functions=("f",), reference=reference or function, cases=[CASE], points={"out": 1}, id="t/f")
    return check_functions(exercise, [function])


FACTORIES = {
    "zeros": lambda x: x + torch.zeros(3, 4, dtype=x.dtype),
    "ones": lambda x: x * torch.ones(4, dtype=x.dtype),
    "empty": lambda x: x * torch.empty(4, dtype=x.dtype).fill_(1.0),
    "full": lambda x: x + torch.full((4,), 2.0, dtype=x.dtype),
    "arange": lambda x: x * torch.arange(4),
    "linspace": lambda x: x * torch.linspace(0, 1, 4),
    "logspace": lambda x: x * torch.logspace(0, 1, 4),
    "eye": lambda x: x @ torch.eye(4, dtype=x.dtype),
    "tensor": lambda x: x * torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "as_tensor": lambda x: x * torch.as_tensor([1.0, 2.0, 3.0, 4.0]),
    "asarray": lambda x: x * torch.asarray([1.0, 2.0, 3.0, 4.0]),
    "rand": lambda x: x + 0 * torch.rand(4),
    "randn": lambda x: x + 0 * torch.randn(4),
    "randint": lambda x: x + 0 * torch.randint(0, 2, (4,)),
    "randperm": lambda x: x + 0 * torch.randperm(4),
    "computed from homeless": lambda x: x + (torch.ones(4) * 2).exp().reshape(1, 4),
    "stacked": lambda x: x + torch.stack([torch.ones(4), torch.zeros(4)]).sum(0),
    "written in place": lambda x: torch.zeros(3, 4, dtype=x.dtype).add_(x),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_a_tensor_made_without_a_device_is_found(name):
    found = report(FACTORIES[name]).problem
    assert found is not None, f"{name} passes"
    assert found.text.startswith("would break on a GPU: line ") and found.hint.startswith("make tensors with device=")


HOUSED = {
    "device": lambda x: x + torch.zeros(3, 4, device=x.device),
    "like": lambda x: x + torch.zeros_like(x) + torch.ones_like(x) + torch.rand_like(x) * 0,
    "new": lambda x: x + x.new_zeros(4) + x.new_tensor([1.0, 2.0, 3.0, 4.0]) + x.new_full((4,), 2.0),
    "moved": lambda x: x * torch.arange(4).to(x.device),
    "moved with dtype": lambda x: x * torch.arange(4).to(x.device, x.dtype),
    "moved like another": lambda x: x * torch.arange(4).to(x),
    "index on the CPU": lambda x: x[torch.arange(2)],
    "pair of indices": lambda x: x[torch.arange(3), torch.tensor([0, 1, 2])],
    "number": lambda x: x * torch.tensor(2.0, dtype=x.dtype),
    "python numbers": lambda x: 2 * x + 1,
    "shape arithmetic": lambda x: x / (x.shape[0] * x.shape[1]),
}


@pytest.mark.parametrize("name", HOUSED)
def test_what_works_on_a_gpu_is_left_alone(name):
    assert report(HOUSED[name]).verdict == "pass"


def test_filling_a_homeless_tensor_and_returning_it_is_found():
    def fill(x):
        out = torch.zeros(3, dtype=x.dtype)
        out[:] = x.sum(1)
        return out

    found = report(fill, lambda x: x.sum(1)).problem
    assert found is not None
    assert found.text.startswith("would break on a GPU: ")


def make_weights():
    return torch.ones(4, dtype=torch.float64)


def test_a_tensor_made_in_another_function_is_found():
    assert report(lambda x: x * make_weights()).problem is not None


def test_the_line_is_where_the_two_meet():
    def mix(x):
        weights = torch.ones(4, dtype=x.dtype)
        return x * weights

    found = report(mix).problem
    line = mix.__code__.co_firstlineno + 2
    assert found.text == f"would break on a GPU: line {line} combines an input with a tensor made without device="


def test_a_homeless_result_is_found_though_it_meets_nothing():
    found = report(lambda x: torch.ones(3, dtype=x.dtype)).problem
    assert found.text == "would break on a GPU: the result was made without device="


def test_functions_of_numbers_may_make_tensors_anywhere():
    exercise = Function(
        functions=("f",), reference=lambda n: torch.arange(n), cases=[Case(n=4)], points={"out": 1}, id="t/f"
    )
    assert check_functions(exercise, [lambda n: torch.arange(n)]).verdict == "pass"


def test_a_wrong_value_is_told_before_a_homeless_tensor():
    exercise = Function(functions=("f",), reference=lambda x: x + 1, cases=[CASE], points={"out": 1}, id="t/f")
    finding = check_functions(exercise, [lambda x: x + torch.zeros(4, dtype=x.dtype)]).findings[0]
    assert finding.text.startswith("differs from the reference")


def test_marks_are_not_made_outside_the_block():
    with HomelessTensors() as watch:
        pass
    assert not watch.is_homeless(torch.zeros(3))
