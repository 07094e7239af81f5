"""The one comparison: what passes, what never passes, and what is named first."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlcvkit.checking.compare import compare_leaf, is_close, scaled_error
from dlcvkit.checking.exercise import compare_tree
from dlcvkit.checking.findings import Kind


def finding(got, expected, tolerance=None):
    return compare_leaf("q", got, expected, tolerance)[0]


def kind(got, expected):
    found = finding(got, expected)
    return None if found is None else found.kind


EXPECTED = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, 4.0]], dtype=torch.float64)


def test_equal_values_pass_without_error():
    assert compare_leaf("q", EXPECTED.clone(), EXPECTED) == (None, 0.0)


@pytest.mark.parametrize("scale", [1e-3, 1e-6, 1.0, 1e6])
def test_all_zeros_never_pass_for_a_quantity_that_is_not_zero(scale):
    found = finding(torch.zeros_like(EXPECTED), EXPECTED * scale)
    assert found is not None and found.kind is Kind.VALUE and found.text == "is all zeros; expected other values"


def test_all_zeros_fail_even_within_a_wide_tolerance():
    assert finding(torch.zeros(3, dtype=torch.float64), torch.full((3,), 1e-9, dtype=torch.float64), 10.0) is not None


def test_all_zeros_pass_where_zeros_are_expected():
    assert finding(torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)) is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.sampled_from([1e-6, 1e-3, 1.0, 1e3]))
def test_a_difference_of_1e_minus_8_never_fails(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    expected = scale * torch.randn(3, 4, generator=generator, dtype=torch.float64)
    offset = 0.99e-8 * (2 * torch.rand(3, 4, generator=generator, dtype=torch.float64) - 1)
    assert finding(expected + offset, expected) is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.sampled_from([1e-2, 1.0, 1e3]), st.integers(0, 11))
def test_one_entry_that_is_off_by_a_thousandth_of_the_scale_fails(seed, scale, place):
    expected = scale * torch.randn(12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    got = expected.clone()
    got[place] += 1e-3 * expected.abs().max()
    assert kind(got, expected) is Kind.VALUE


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_named(value):
    got = EXPECTED.clone()
    got[1, 2] = value
    found = finding(got, EXPECTED)
    assert found.kind is Kind.NOT_FINITE
    assert "1 of 6 entries" in found.text and found.first.startswith("q[1, 2] is ")


def test_nan_is_no_wildcard_even_where_nan_is_expected():
    both = torch.tensor([1.0, math.nan], dtype=torch.float64)
    assert finding(both, both.clone()) is not None


def test_infinity_passes_only_where_the_same_infinity_is_expected():
    expected = torch.tensor([1.0, math.inf, -math.inf], dtype=torch.float64)
    assert finding(expected.clone(), expected) is None
    assert finding(torch.tensor([1.0, math.inf, math.inf], dtype=torch.float64), expected) is not None
    assert finding(torch.tensor([1.0, 5.0, -math.inf], dtype=torch.float64), expected) is not None


def test_one_infinite_entry_does_not_hide_errors_in_the_others():
    expected = torch.tensor([1.0, math.inf], dtype=torch.float64)
    assert kind(torch.tensor([1.1, math.inf], dtype=torch.float64), expected) is Kind.VALUE


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bfloat16, torch.bool, torch.complex128])
def test_a_dtype_that_is_not_float_of_enough_bits_is_named(dtype):
    assert kind(EXPECTED.to(dtype), EXPECTED) is Kind.DTYPE


def test_float64_where_the_inputs_are_float32_is_named():
    assert kind(EXPECTED, EXPECTED.float()) is Kind.DTYPE


def test_float32_for_float64_passes_with_the_error_of_float32():
    assert finding((EXPECTED * (1 + 3e-5)).float(), EXPECTED) is None
    assert kind((EXPECTED * (1 + 3e-4)).float(), EXPECTED) is Kind.VALUE
    assert kind(EXPECTED * (1 + 3e-5), EXPECTED) is Kind.VALUE


def test_bool_and_integers_are_told_apart():
    mask, ones = torch.tensor([True, False]), torch.tensor([1, 0])
    assert kind(ones, mask) is Kind.DTYPE
    assert kind(mask, ones) is Kind.DTYPE
    assert kind(mask.clone(), mask) is None
    assert kind(~mask, mask) is Kind.VALUE


def test_any_integer_width_passes_and_no_float_does():
    labels = torch.tensor([3, 1, 2])
    assert kind(labels.int(), labels) is None
    assert kind(labels.double(), labels) is Kind.DTYPE
    assert kind(torch.tensor([3, 1, 1]), labels) is Kind.VALUE


def test_integers_have_no_tolerance():
    assert kind(torch.tensor([1_000_001]), torch.tensor([1_000_000])) is Kind.VALUE


def test_shape_is_named_before_values():
    assert finding(EXPECTED.T, EXPECTED).text == "has shape (3, 2); expected (2, 3)"
    assert kind(EXPECTED[:, :1], EXPECTED) is Kind.SHAPE


def test_shapes_that_would_broadcast_do_not_pass():
    assert kind(torch.ones(1, dtype=torch.float64), torch.ones(3, dtype=torch.float64)) is Kind.SHAPE


@pytest.mark.parametrize("got", [2.5, torch.tensor(2.5), torch.tensor(2.5, dtype=torch.float64)])
def test_a_python_float_and_a_tensor_without_dimensions_are_the_same(got):
    assert finding(got, torch.tensor(2.5, dtype=torch.float64)) is None
    assert finding(got, 2.5) is None


@pytest.mark.parametrize("got", [None, "text", [1.0, 2.0], object(), {"a": 1}, 3.0])
def test_what_is_no_tensor_is_a_structure_finding(got):
    assert kind(got, EXPECTED) is Kind.STRUCTURE


def test_none_says_what_to_add():
    found = finding(None, EXPECTED)
    assert found.text == "returned None; expected a tensor of shape (2, 3)"
    assert found.hint == "end the function with a return statement"


def test_empty_tensors_of_the_right_shape_pass():
    assert kind(torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, 3, dtype=torch.float64)) is None
    assert kind(torch.zeros(3, 0, dtype=torch.float64), torch.zeros(0, 3, dtype=torch.float64)) is Kind.SHAPE


def test_the_first_wrong_entry_is_shown():
    got = EXPECTED.clone()
    got[0, 2], got[1, 0] = 7.0, 8.0
    found = finding(got, EXPECTED)
    assert found.text == "differs from the reference in 2 of 6 entries"
    assert found.first == "q[0, 2] is 7; expected 3"


def test_error_is_scaled_by_the_largest_expected_entry():
    expected = torch.tensor([0.0, 100.0], dtype=torch.float64)
    assert scaled_error(expected + 1, expected).tolist() == pytest.approx([0.01, 0.01])
    assert is_close(expected + 1, expected, 0.011) and not is_close(expected + 1, expected, 0.009)


def test_containers_are_compared_leaf_by_leaf():
    expected = {1: [0.5, 0.25], 3: [1.0, 0.0]}
    assert compare_tree("t", {1: [0.5, 0.25], 3: [1.0, 0.0]}, expected, None)[0] is None
    found = compare_tree("t", {1: [0.5, 0.25], 3: [1.0, 0.1]}, expected, None)[0]
    assert found.first == "t[3][1] is 0.1; expected 0"


@pytest.mark.parametrize(
    "got", [{1: [0.5]}, {1: [0.5], 2: [0.5], 3: [1]}, [[0.5], [1.0]], {1: 0.5, 3: [1.0]}, {1: [0.5, 1], 3: [1.0]}, None]
)
def test_containers_of_another_form_are_structure_findings(got):
    assert compare_tree("t", got, {1: [0.5], 3: [1.0]}, None)[0].kind is Kind.STRUCTURE


def test_longer_inner_lists_do_not_pass():
    assert compare_tree("t", {1: [0.5, 0.7]}, {1: [0.5]}, None)[0] is not None


@pytest.mark.parametrize(("dtype", "passes"), [(torch.float32, True), (torch.float64, False)])
def test_what_cancels_to_little_may_be_off_by_the_rounding_of_its_neighbours_in_float32_alone(dtype, passes):
    expected = {"w": torch.tensor([3.0, -2.0], dtype=dtype), "b": torch.tensor([1e-4], dtype=dtype)}
    got = {"w": expected["w"], "b": expected["b"] + 2e-7}
    assert (compare_tree("gradients", got, expected, None)[0] is None) is passes


def test_more_than_the_rounding_of_its_neighbours_does_not_pass():
    expected = {"w": torch.tensor([3.0, -2.0]), "b": torch.tensor([1e-4])}
    for wrong in (torch.tensor([1.1e-4]), torch.tensor([0.0])):
        found, _ = compare_tree("gradients", {**expected, "b": wrong}, expected, None)
        assert found is not None and found.kind is Kind.VALUE


def test_a_quantity_of_its_own_has_no_neighbours():
    assert kind(torch.tensor([1.002e-4]), torch.tensor([1e-4])) is Kind.VALUE
