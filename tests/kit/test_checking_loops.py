"""Loops are found in the compiled code of a function and of what it calls."""

from __future__ import annotations

import functools

import pytest
import torch

from dlcvkit.checking import Case, Function, check_functions, normal
from dlcvkit.checking.loops import find_loop


def with_for(x):
    total = 0
    for row in x:
        total = total + row
    return total


def with_while(x):
    i = 0
    while i < len(x):
        i += 1
    return i


def with_comprehension(x):
    return torch.stack([row * 2 for row in x])


def with_generator(x):
    return sum(row for row in x)


def with_dict_comprehension(x):
    return {i: i for i in x}


def with_map(x):
    return list(map(torch.sum, x))


def with_vmap(x):
    return torch.vmap(torch.sum)(x)


def with_apply(x):
    return x.apply_(abs)


def with_reduce(x):
    return functools.reduce(torch.add, x)


def in_lambda(x):
    return (lambda rows: [2 * row for row in rows])(x)


def in_inner_function(x):
    def inner():
        for row in x:
            return row
        return None

    return inner()


def in_called_function(x):
    return with_for(x) + 1


def two_calls_away(x):
    return in_called_function(x)


def recursion_without_loop(x):
    return x if len(x) == 1 else recursion_without_loop(x[1:])


LOOPS = [
    with_for, with_while, with_comprehension, with_generator, with_dict_comprehension, with_map, with_vmap, with_apply,
    with_reduce, in_lambda, in_inner_function, in_called_function, two_calls_away,
]  # fmt: skip


@pytest.mark.parametrize("function", LOOPS, ids=lambda f: f.__name__)
def test_a_loop_is_found(function):
    assert find_loop(function) is not None


def clean(x):
    mean = x.mean(0, keepdim=True)
    if len(x) > 1 and x.dim() == 2:
        return (x - mean) / x.std(0)
    return x - mean if x.dim() else x


def clean_with_error_handling(x):
    try:
        with torch.no_grad():
            return x @ x.T
    except RuntimeError:
        return None


@pytest.mark.parametrize(
    "function",
    [clean, clean_with_error_handling, recursion_without_loop, torch.sum, abs, print, functools.partial(clean), 3],
    ids=["clean", "error handling", "recursion", "torch", "abs", "print", "partial", "number"],
)
def test_code_without_a_loop_is_left_alone(function):
    assert find_loop(function) is None


def test_the_place_is_named():
    loop = find_loop(in_called_function)
    assert (loop.function, loop.line) == ("with_for", 3)


def test_a_decorated_function_is_looked_into():
    @functools.wraps(with_for)
    def wrapper(*args):
        return with_for(*args)

    assert find_loop(wrapper) is not None


def test_a_loop_is_found_where_the_source_text_is_gone():
    names = {}
    exec("def f(x):\n    return [row for row in x]", names)
    assert find_loop(names["f"]) is not None


def test_a_loop_costs_the_points_only_where_it_is_against_the_rules():
    def exercise(is_loop_free):
        return Function(
            functions=("f",), reference=lambda x: x.sum(0), cases=[Case(x=normal(3, 4))], points={"out": 2},
            is_loop_free=is_loop_free, id="t/f",
        )  # fmt: skip

    assert check_functions(exercise(False), [with_for]).earned == 2
    report = check_functions(exercise(True), [with_for])
    assert report.earned == 0 and report.verdict == "forbidden_op"
    assert report.problem.text == "with_for has a loop in line 3; expected none"
