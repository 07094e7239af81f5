"""The one comparison: an answer against the reference, in float64, by scaled error."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dlcvkit.checking import messages
from dlcvkit.checking.findings import Finding, Kind
from dlcvkit.checking.values import as_tensor, dtype_text, is_number, kind_of, shape_text

ABSOLUTE_FLOOR = 1e-8
"""Differences up to this size never fail."""

FLOAT32_ROUNDING = 1e-6
"""Share of the largest number of a quantity, such as all gradients of a net, that float32 may add to each."""

ZERO = 1e-12
"""An expected quantity no larger than this counts as zero."""

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Allowed scaled error by the narrower dtype of answer and reference."""


def scaled_error(got: Tensor, expected: Tensor) -> Tensor:
    """Return entrywise ``|got - expected| / max|expected|``.

    Args:
        got: Real tensor of any shape and dtype.
        expected: Tensor of the same shape.

    Returns:
        float64 tensor of the same shape. Equal infinities count as no error; where only one of the two is finite, or
        ``got`` is NaN, the error is infinite. If ``expected`` is zero everywhere, the scale is 1.
    """
    got64, expected64 = got.double(), expected.double()
    finite = expected64[expected64.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    error = (got64 - expected64).abs() / (scale if scale > ZERO else 1.0)
    error = torch.where(got64 == expected64, torch.zeros_like(error), error)
    return torch.where(error.isnan(), torch.full_like(error, math.inf), error)


def is_close(got: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Return whether ``got`` has the shape of ``expected`` and equals it to within the scaled ``tolerance``."""
    if got.shape != expected.shape:
        return False
    if got.numel() == 0:
        return True
    return not is_all_zero_by_mistake(got, expected) and bool((_wrong_entries(got, expected, tolerance) == 0).all())


def is_all_zero_by_mistake(got: Tensor, expected: Tensor, floor: float = 0.0) -> bool:
    """Return whether ``got`` is zero everywhere though ``expected`` is not, to within ``floor``."""
    return bool((got == 0).all()) and bool((expected.double().abs() > max(ZERO, floor)).any())


def rounding_floor(expected: Iterable[Tensor]) -> float:
    """Return what rounding may add to each of some tensors that were computed together.

    A gradient may be a sum of large terms that cancel: what is left of it in float32 is no more exact than the terms.

    Args:
        expected: Tensors of any dtype and shape.

    Returns:
        ``FLOAT32_ROUNDING`` times the largest finite entry if one of them is float32, else 0.
    """
    floats = [tensor.detach() for tensor in expected if tensor.is_floating_point() and tensor.numel()]
    if all(tensor.dtype != torch.float32 for tensor in floats):
        return 0.0
    return FLOAT32_ROUNDING * max(float(tensor.nan_to_num(0, 0, 0).abs().max()) for tensor in floats)


def _wrong_entries(got: Tensor, expected: Tensor, tolerance: float, floor: float = 0.0) -> Tensor:
    error = scaled_error(got, expected)
    near = (got.double() - expected.double()).abs() <= max(ABSOLUTE_FLOOR, floor)
    return (error > tolerance) & ~near


def tolerance_for(got: Tensor, expected: Tensor, requested: float | None = None) -> float:
    """Return the allowed scaled error: ``requested``, but never tighter than the narrower dtype allows."""
    if not expected.is_floating_point():
        return 0.0
    by_dtype = max(TOLERANCES.get(t.dtype, 0.0) for t in (got, expected))
    return max(by_dtype, requested or 0.0)


def compare_leaf(
    where: str, got: Any, expected: Any, tolerance: float | None = None, floor: float = 0.0
) -> tuple[Finding | None, float]:
    """Compare one tensor, number or string with what is expected.

    Args:
        where: How the quantity is written, such as ``dists`` or ``accuracies[3][0]``.
        got: The answer, of any type.
        expected: A tensor, number, string or None.
        tolerance: Allowed scaled error; None takes the one for the dtype.
        floor: Differences up to this size do not fail either; see ``rounding_floor``.

    Returns:
        The first finding in the order structure, dtype, shape, device, finite, values (or None), and the largest
        scaled error (infinite where values could not be compared).
    """
    if expected is None or isinstance(expected, str):
        is_same = got is None if expected is None else isinstance(got, str) and got == expected
        text = messages.WRONG_STRUCTURE.format(
            got=repr(got) if isinstance(got, str) else kind_of(got), expected=repr(expected)
        )
        return (None, 0.0) if is_same else (Finding(Kind.STRUCTURE, text), math.inf)
    want = as_tensor(expected)
    assert want is not None, f"a reference returned {kind_of(expected)}"
    have = as_tensor(got)
    if have is None or (is_number(got) and want.dim() > 0):
        expectation = f"a tensor of shape {shape_text(want)}" if want.dim() else "a number"
        if got is None:
            text = messages.RETURNED_NONE.format(expected=expectation)
            return Finding(Kind.STRUCTURE, text, hint=messages.RETURNED_NONE_HINT), math.inf
        return Finding(
            Kind.STRUCTURE, messages.WRONG_STRUCTURE.format(got=kind_of(got), expected=expectation)
        ), math.inf
    if not _dtype_fits(have, want, is_plain=is_number(got) or is_number(expected)):
        text = messages.WRONG_DTYPE.format(got=dtype_text(have), expected=dtype_text(want))
        return Finding(Kind.DTYPE, text), math.inf
    if have.shape != want.shape:
        text = messages.WRONG_SHAPE.format(got=shape_text(have), expected=shape_text(want))
        return Finding(Kind.SHAPE, text), math.inf
    if isinstance(got, Tensor) and isinstance(expected, Tensor) and have.device.type != want.device.type and want.dim():
        text = messages.WRONG_DEVICE.format(got=have.device.type, expected=want.device.type)
        return Finding(Kind.DEVICE, text, hint=messages.HOMELESS_HINT), math.inf
    have, want = have.cpu(), want.cpu()
    return _compare_values(where, have, want, tolerance_for(have, want, tolerance), floor)


def _dtype_fits(got: Tensor, expected: Tensor, *, is_plain: bool) -> bool:
    if expected.dtype == torch.bool or got.dtype == torch.bool:
        return got.dtype == expected.dtype
    if expected.is_floating_point():
        if is_plain:
            return True
        is_wide_enough = got.is_floating_point() and got.element_size() >= 4
        return is_wide_enough and (got.element_size() <= expected.element_size() or got.dim() == 0)
    return not got.is_floating_point() and not got.is_complex()


def _compare_values(
    where: str, got: Tensor, expected: Tensor, tolerance: float, floor: float
) -> tuple[Finding | None, float]:
    if got.numel() == 0:
        return None, 0.0
    bad = ~got.isfinite() & expected.isfinite() if got.is_floating_point() else torch.zeros_like(got, dtype=torch.bool)
    if bool(bad.any()):
        what = "NaN" if bool(got[bad].isnan().any()) else "infinity"
        text = messages.NOT_FINITE.format(what=what, count=int(bad.sum()), total=got.numel())
        return Finding(Kind.NOT_FINITE, text, first=_first(where, got, expected, bad)), math.inf
    error = float(scaled_error(got, expected).max())
    if is_all_zero_by_mistake(got, expected, floor):
        return Finding(
            Kind.VALUE,
            messages.ALL_ZERO,
            diagnosis=messages.ALL_ZERO,
            first=_first(where, got, expected, got != expected),
            error=error,
        ), error
    wrong = _wrong_entries(got, expected, tolerance, floor)
    if not bool(wrong.any()):
        return None, error
    text = messages.DIFFERS.format(count=int(wrong.sum()), total=wrong.numel())
    return Finding(Kind.VALUE, text, first=_first(where, got, expected, wrong), error=error), error


def _first(where: str, got: Tensor, expected: Tensor, wrong: Tensor) -> str:
    index = tuple(int(i) for i in wrong.nonzero()[0])
    place = f"{where}[{', '.join(map(str, index))}]" if index else where
    have, want = _show(got[index]), _show(expected[index])
    if have == want:
        have, want = _show(got[index], digits=10), _show(expected[index], digits=10)
    return messages.FIRST.format(where=place, got=have, expected=want)


def _show(value: Tensor, digits: int = 4) -> str:
    return f"{float(value):.{digits}g}" if value.is_floating_point() else str(value.item())
