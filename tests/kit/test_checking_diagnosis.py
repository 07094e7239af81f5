"""General mistakes are recognised and named; a wrong answer like no other is not."""

from __future__ import annotations

import pytest
import torch

from dlcvkit.checking import Case, Function, Kind, Mistake, check_functions, given, normal
from dlcvkit.checking.diagnose import diagnose


def tensor(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = tensor(6, 4, seed=1)
WANT = tensor(6, 4, seed=2)
SQUARE = tensor(5, 5, seed=3)


def text_of(got, want=WANT, **inputs):
    found = diagnose("out", got, {"out": want, "dx": tensor(6, 4, seed=9)}, inputs)
    return None if found is None else found.text


def rows_right(count):
    got = WANT.clone()
    got[count:] = tensor(6 - count, 4, seed=7)
    return got


def border_right_inside_only():
    got = tensor(5, 5, seed=8)
    got[1:-1, 1:-1] = SQUARE[1:-1, 1:-1]
    return got


def on_diagonal(inside, outside):
    return torch.where(torch.eye(5, dtype=torch.bool), inside, outside)


OTHER = tensor(5, 5, seed=11)


@pytest.mark.parametrize(
    ("got", "text"),
    [
        (-WANT, "exactly the expected value with the opposite sign"),
        (2 * WANT, "exactly 2 times the expected value"),
        (WANT / 2, "exactly 0.5 times the expected value"),
        (-2 * WANT, "exactly -2 times the expected value"),
        (6 * WANT, "exactly 6 times the expected value; 6 is size 0 of x"),
        (WANT / 6, "exactly 1/6 times the expected value; 1/6 is 1 over size 0 of x"),
        (WANT / 24, "exactly 1/24 times the expected value; 1/24 is 1 over the number of entries of x"),
        (WANT * 0.8, "exactly 0.8 times the expected value; 0.8 is reg"),
        (WANT / 0.8, "exactly 1/0.8 times the expected value; 1/0.8 is 1 over reg"),
        (WANT * 1.5, "exactly 3/2 times the expected value"),
        (WANT.abs().sqrt(), "the square root of the expected value"),
        (WANT**2, "the square of the expected value"),
        (WANT.exp(), "the exponential of the expected value"),
        (WANT + 0.7, "off by the same amount everywhere"),
        (WANT + 0.25 * X, "off by a multiple of x (0.25 times it)"),
        (WANT.T, "right once it is transposed"),
        (tensor(6, 4, seed=9), "what dx should be"),
        (WANT.roll(1, 0), "right once it is shifted by 1 along axis 0"),
        (WANT.roll(-1, 1), "right once it is shifted by -1 along axis 1"),
        (rows_right(2), "right in 2 of 6 rows only"),
    ],
)
def test_general_mistakes_are_named(got, text):
    assert text_of(got, x=X, reg=0.8) == text


@pytest.mark.parametrize(
    ("got", "text"),
    [
        (on_diagonal(SQUARE, OTHER), "right on the diagonal only"),
        (on_diagonal(OTHER, SQUARE), "right everywhere but on the diagonal"),
        (border_right_inside_only(), "right everywhere but on the border"),
        (SQUARE.T, "right once it is transposed"),
    ],
)
def test_mistakes_in_part_of_a_square_are_named(got, text):
    assert text_of(got, SQUARE) == text


def test_the_logarithm_is_named_where_there_is_one():
    want = WANT.abs() + 0.1
    assert text_of(want.log(), want) == "the logarithm of the expected value"


def test_permuted_axes_are_named_with_the_order_that_mends_them():
    want = tensor(2, 3, 4)
    got = want.permute(2, 0, 1)
    assert text_of(got, want) == "right once its axes are put in the order (1, 2, 0)"
    assert torch.equal(got.permute(1, 2, 0), want)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("shape", [(6, 4), (5, 5), (3, 4, 2), (7,)])
def test_a_random_wrong_answer_is_not_named(seed, shape):
    want = tensor(*shape, seed=100 + seed)
    assert text_of(tensor(*shape, seed=200 + seed), want, x=tensor(*shape, seed=300 + seed), reg=0.3) is None


@pytest.mark.parametrize("seed", range(10))
def test_a_random_wrong_number_is_not_called_a_factor(seed):
    want, got = tensor(1, seed=seed)[0], tensor(1, seed=50 + seed)[0]
    assert text_of(got, want, x=X) is None


def test_a_right_answer_with_one_wrong_entry_is_not_named():
    got = WANT.clone()
    got[3, 2] += 1
    assert text_of(got, x=X) is None


def test_hints_and_public_texts_hold_no_values():
    found = diagnose("out", WANT * 0.3141, {"out": WANT}, {"x": X})
    assert "0.3141" in found.text
    assert found.public_text == "off by a constant factor" and "0.3141" not in found.hint


@pytest.mark.parametrize("got", [None, "text", torch.zeros(0), torch.full((6, 4), torch.nan), torch.zeros(6, 4)])
def test_what_cannot_be_diagnosed_is_left_alone(got):
    assert diagnose("out", got, {"out": WANT}, {"x": X}) is None


def exercise(*mistakes):
    return Function(
        functions=("double",),
        reference=lambda x: 2 * x,
        cases=[Case(x=normal(3, 4))],
        points={"out": 1},
        mistakes=mistakes,
        id="t/double",
    )


def test_known_mistakes_come_before_general_ones():
    known = exercise(Mistake("forgets to double", lambda x: x.clone(), hint="read the task"))
    finding = check_functions(known, [lambda x: x.clone()]).findings[0]
    assert (finding.diagnosis, finding.hint) == ("forgets to double", "read the task")
    assert finding.is_named


def test_a_general_mistake_is_told_in_the_text():
    finding = check_functions(exercise(), [lambda x: 6 * x]).findings[0]
    assert finding.text == (
        "differs from the reference in 12 of 12 entries; it is exactly 3 times the expected value; 3 is size 0 of x"
    )
    assert finding.hint == "look at what you divide or multiply by, and how often"
    assert finding.is_named


def test_a_mistake_that_happens_to_be_right_is_not_blamed():
    known = exercise(Mistake("is right after all", lambda x: 2 * x, hint="no hint"))
    finding = check_functions(known, [lambda x: x * x + 1]).findings[0]
    assert finding.diagnosis is None and not finding.is_named


def test_a_mistake_that_is_not_defined_on_a_case_is_passed_over():
    def fails(x):
        raise ValueError("not here")

    known = exercise(Mistake("fails", fails, hint=""), Mistake("forgets to double", lambda x: x * 1, hint="h"))
    assert check_functions(known, [lambda x: x * 1]).findings[0].diagnosis == "forgets to double"


def test_a_mistake_that_gives_nan_is_named():
    exercise = Function(
        functions=("log_ratio",),
        reference=lambda x: torch.zeros_like(x),
        cases=[Case(x=given([1e4, 1.0]))],
        points={"out": 1},
        mistakes=[Mistake("overflows", lambda x: x.exp() / x.exp() - 1, hint="subtract the largest first")],
    )
    (finding,) = check_functions(exercise, [lambda x: torch.expm1(x) / torch.expm1(x) - 1]).findings
    assert finding.kind is Kind.NOT_FINITE
    assert finding.diagnosis == "overflows"


def test_nan_is_no_mistake_that_gives_numbers():
    exercise = Function(
        functions=("same",),
        reference=lambda x: x,
        cases=[Case(x=given([1.0, 2.0]))],
        points={"out": 1},
        mistakes=[Mistake("doubles", lambda x: 2 * x, hint="")],
    )
    (finding,) = check_functions(exercise, [lambda x: x * float("nan")]).findings
    assert finding.diagnosis is None
