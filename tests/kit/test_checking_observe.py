"""What student code does besides returning a value: raising, changing inputs, drawing random numbers."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
import torch

from dlcvkit.checking import Case, Function, check_functions, given, normal
from dlcvkit.checking.findings import Kind


def exercise(**changes):
    fields = {
        "functions": ("double",),
        "reference": lambda x: 2 * x,
        "cases": [Case("first", x=normal(3, 4)), Case("second", x=normal(1, 2))],
        "points": {"out": 2},
        "id": "t/double",
    }
    return Function(**{**fields, **changes})


def double(x):
    return 2 * x


def stub(x):
    # YOUR CODE HERE
    raise NotImplementedError()


def calls_stub(x):
    return stub(x)


def raises(x):
    raise ValueError("the sizes differ")


def raises_deep_in_torch(x):
    return x @ torch.ones(99, 99, dtype=x.dtype)


def own_not_implemented(x):
    raise NotImplementedError("only for images")


def changes_input(x):
    x *= 2
    return x


def changes_and_restores(x):
    x *= 2
    result = x.clone()
    x /= 2
    return result


def is_random(x):
    return 2 * x + 1e-3 * torch.randn(x.shape, dtype=x.dtype, device=x.device)


def is_random_by_numpy(x):
    return 2 * x + 1e-9 * np.random.rand()


def is_random_by_python(x):
    return 2 * x + 1e-9 * random.random()


def test_a_right_function_earns_all():
    report = check_functions(exercise(), [double])
    assert (report.earned, report.verdict, report.findings) == (2.0, "pass", [])


@pytest.mark.parametrize("function", [stub, calls_stub], ids=lambda f: f.__name__)
def test_a_stub_is_not_written_yet(function):
    report = check_functions(exercise(), [function])
    assert report.verdict == "missing" and report.earned == 0
    assert report.problem.text == "double is not written yet"


def test_an_error_quotes_the_students_own_line():
    problem = check_functions(exercise(), [raises]).problem
    assert problem.kind is Kind.RAISED and problem.case == "first"
    assert problem.text == "double raised ValueError: the sizes differ"
    assert problem.first == f'line {raises.__code__.co_firstlineno + 1}: raise ValueError("the sizes differ")'


def test_an_error_inside_torch_quotes_the_students_line_not_torchs():
    problem = check_functions(exercise(), [raises_deep_in_torch]).problem
    assert problem.first.endswith("return x @ torch.ones(99, 99, dtype=x.dtype)")


def test_not_implemented_with_a_message_is_an_error():
    assert check_functions(exercise(), [own_not_implemented]).verdict == "error"


@pytest.mark.parametrize("error", [MemoryError, RecursionError, SystemExit, StopIteration, AssertionError])
def test_nothing_that_student_code_raises_gets_out(error):
    def fails(x):
        raise error

    report = check_functions(exercise(), [fails])
    assert report.verdict == "error" and report.earned == 0


def test_an_interrupt_gets_out():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_functions(exercise(), [interrupted])


def test_changed_inputs_are_named():
    problem = check_functions(exercise(), [changes_input]).problem
    assert problem.kind is Kind.MUTATED
    assert problem.text == "x changed while the function ran; expected inputs left as they were"


def test_inputs_that_are_put_back_exactly_are_unchanged():
    assert check_functions(exercise(), [changes_and_restores]).verdict == "pass"


def test_a_changed_list_is_noticed():
    sums = exercise(reference=lambda values: float(sum(values)), cases=[Case(values=[1, 2, 3])])

    def pops(values):
        total = float(sum(values))
        values.pop()
        return total

    assert check_functions(sums, [pops]).verdict == "mutated_input"


def test_cases_are_as_they_were_after_student_code_changed_its_inputs():
    case = Case(x=normal(2, 2))
    check_functions(exercise(cases=[case]), [changes_input])
    assert torch.equal(case.build(3)["x"], Case(x=normal(2, 2)).build(3)["x"])


@pytest.mark.parametrize("function", [is_random_by_numpy, is_random_by_python, is_random], ids=lambda f: f.__name__)
def test_a_result_that_depends_on_the_global_random_state_is_named(function):
    problem = check_functions(exercise(), [function]).problem
    assert problem is not None and problem.kind is Kind.RANDOM


def test_random_results_are_fine_where_they_are_asked_for():
    shuffled = exercise(
        reference=lambda x: x * 0 + x.sum(),
        uses_global_random_state=True,
    )
    assert check_functions(shuffled, [lambda x: x * 0 + x.flatten()[torch.randperm(x.numel())].sum()]).earned == 2


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    expected = torch.rand(2), random.random(), np.random.rand()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    check_functions(exercise(), [is_random])
    assert torch.equal(torch.rand(2), expected[0])
    assert (random.random(), np.random.rand()) == expected[1:]


def test_a_later_call_cannot_change_an_earlier_result():
    buffer = torch.zeros(3, 4, dtype=torch.float64)

    def reuses_buffer(x):
        if x.shape != buffer.shape:
            return 2 * x
        torch.mul(x, 2, out=buffer)
        return buffer

    assert check_functions(exercise(), [reuses_buffer]).earned == 2


@pytest.mark.parametrize("value", [None, 3, "double", [double]])
def test_what_is_no_function_is_missing(value):
    report = check_functions(exercise(), [value])
    assert report.verdict == "missing" and report.problem.text.startswith("double is ")


@pytest.mark.parametrize("functions", [[], [double, double]])
def test_another_number_of_functions_is_named(functions):
    report = check_functions(exercise(), functions)
    assert report.verdict == "missing"
    assert report.problem.text == f"t/double takes 1 function (double); got {len(functions)}"


def test_a_reference_that_fails_is_no_fault_of_the_student():
    def broken(x):
        raise RuntimeError("broken reference")

    report = check_functions(exercise(reference=broken), [double])
    assert report.verdict == "could_not_check"


STRANGE = {
    "complex": lambda: torch.zeros(3, 4, dtype=torch.complex128),
    "sparse": lambda: torch.ones(3, 4, dtype=torch.float64).to_sparse(),
    "meta": lambda: torch.ones(3, 4, dtype=torch.float64, device="meta"),
    "empty": lambda: torch.zeros(0),
    "object": object,
    "dict": lambda: {1: 2},
    "nested lists": lambda: [[torch.ones(2)]],
    "nan": lambda: float("nan"),
    "huge integer": lambda: 10**400,
    "nested tensor": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "array": lambda: np.ones((3, 4)),
    "type": lambda: torch.Tensor,
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.filterwarnings("ignore")
def test_a_strange_answer_loses_points_and_is_no_fault_of_the_check(name):
    report = check_functions(exercise(), [lambda x: STRANGE[name]()])
    assert report.earned == 0 and report.verdict in ("wrong", "error")


def test_a_strange_number_is_no_fault_of_the_check_either():
    total = exercise(reference=lambda x: x.sum(), points={"out": 1})
    for answer in (10**400, -(10**30), float("inf"), complex(1, 2), np.float32(1), Fraction(1, 3)):
        report = check_functions(total, [lambda x, answer=answer: answer])
        assert report.earned == 0 and report.verdict == "wrong", answer


def test_the_order_of_findings_puts_the_first_thing_wrong_first():
    wrong_shape_and_values = check_functions(exercise(), [lambda x: (3 * x).sum(0)]).findings[0]
    assert wrong_shape_and_values.kind is Kind.SHAPE
    wrong_dtype_and_shape = check_functions(exercise(), [lambda x: x.sum(0).long()]).findings[0]
    assert wrong_dtype_and_shape.kind is Kind.DTYPE


def test_every_case_counts_and_the_one_that_fails_is_named():
    finding = check_functions(exercise(), [lambda x: 2 * x if len(x) > 1 else x]).findings[0]
    assert finding.case == "second"


def test_the_same_check_shows_the_same_numbers_again():
    texts = {check_functions(exercise(), [lambda x: x.exp()]).findings[0].first for _ in range(2)}
    assert len(texts) == 1


def test_another_seed_gives_other_numbers():
    firsts = {check_functions(exercise(), [lambda x: x.exp()], seed=seed).findings[0].first for seed in (1, 2)}
    assert len(firsts) == 2


def test_quantities_are_graded_one_by_one():
    pair = exercise(
        functions=("pair",), reference=lambda x: (x.sum(), x.amax()), points={"sum": 2, "max": 1}, cases=[
            Case(x=given([1.0, 2.0, 4.0]))
        ],
    )  # fmt: skip
    report = check_functions(pair, [lambda x: (x.sum(), x.amin())])
    assert [q.earned for q in report.quantities] == [2.0, 0.0] and report.earned == 2
    report = check_functions(pair, [lambda x: x.sum()])
    assert report.earned == 0
    assert report.findings[0].text == "pair returned a tensor of shape (); expected a tuple of 2: sum and max"
