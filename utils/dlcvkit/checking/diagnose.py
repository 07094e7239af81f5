"""Guess the mistake behind a wrong answer: first the exercise's known mistakes, then general ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from dlcvkit.checking import messages
from dlcvkit.checking.compare import is_close, tolerance_for
from dlcvkit.checking.values import as_tensor, is_number


@dataclass(frozen=True)
class Diagnosis:
    """A recognised mistake.

    Attributes:
        text: The mistake in a few words; may show values.
        hint: Where to look; never shows values.
        public_text: ``text`` without values, for hidden cases.
    """

    text: str
    hint: str | None
    public_text: str


def diagnose(
    name: str, got: Any, expected: Mapping[str, Any], inputs: Mapping[str, Any], *, tolerance: float | None = None
) -> Diagnosis | None:
    """Return the general mistake that turns the expected value into the answer, or None.

    Args:
        name: The quantity that is wrong.
        got: The answer for it.
        expected: Quantity name to expected value, for all quantities of the case.
        inputs: The case's inputs; their sizes and scalars are candidates for wrong factors.
        tolerance: Allowed scaled error of the exercise.
    """
    have, want = as_tensor(got), as_tensor(expected[name])
    if have is None or want is None or have.numel() == 0 or want.numel() == 0:
        return None
    have, want = have.cpu(), want.cpu()
    allowed = max(tolerance_for(have, want, tolerance), 1e-9)
    have, want = have.double(), want.double()
    others = {other: value for other, value in expected.items() if other != name}
    for search in (_swapped, _unreduced, _rearranged, _scaled, _powered, _offset, _missing_term, _partly_right):
        for found in search(have, want, inputs, others, allowed):
            return found
    return None


def _make(text: str, hint_key: str, *, public: str | None = None, **values: Any) -> Diagnosis:
    return Diagnosis(text, messages.HINTS[hint_key].format(**values), public or text)


def _swapped(got: Tensor, want: Tensor, inputs: Any, others: Mapping[str, Any], tol: float) -> Iterator[Diagnosis]:
    for other, value in others.items():
        tensor = as_tensor(value)
        if tensor is not None and tensor.numel() > 1 and is_close(got, tensor.cpu().double(), tol):
            yield _make(messages.SWAPPED.format(other=other), "swap")


def _unreduced(got: Tensor, want: Tensor, inputs: Any, others: Any, tol: float) -> Iterator[Diagnosis]:
    if got.dim() > 5 or got.dim() <= want.dim():
        return
    if got.numel() == want.numel() and is_close(got.reshape(want.shape), want, tol):
        yield _make(messages.NOT_SQUEEZED, "axes")
    for axes in itertools.combinations(range(got.dim()), got.dim() - want.dim()):
        for how, reduced in (("summed", got.sum(axes)), ("averaged", got.mean(axes))):
            if is_close(reduced, want, tol):
                text = f"axis {axes[0]}" if len(axes) == 1 else f"the axes {messages.listing([str(a) for a in axes])}"
                yield _make(messages.NOT_REDUCED.format(how=how, axes=text), "axes")


def _rearranged(got: Tensor, want: Tensor, inputs: Any, others: Any, tol: float) -> Iterator[Diagnosis]:
    if want.numel() < 2 or bool((want == want.flatten()[0]).all()):
        return
    if 2 <= got.dim() <= 4 and got.dim() == want.dim():
        for order in itertools.permutations(range(got.dim())):
            if order != tuple(range(got.dim())) and is_close(got.permute(order), want, tol):
                text = messages.TRANSPOSED if got.dim() == 2 else messages.PERMUTED.format(order=order)
                yield _make(text, "axes")
    if got.shape != want.shape:
        return
    for axis in range(min(want.dim(), 4)):
        length = want.shape[axis]
        if length < 3:
            continue
        for by in (1, -1):
            here, there = (slice(1, None), slice(None, -1)) if by == 1 else (slice(None, -1), slice(1, None))
            moved = got.movedim(axis, 0)[here], want.movedim(axis, 0)[there]
            if moved[1].unique().numel() > 1 and is_close(*moved, tol):
                yield _make(messages.SHIFTED.format(by=by, axis=axis), "shift")


def _factors(inputs: Mapping[str, Any]) -> Iterator[tuple[float, str, str]]:
    """Yield ``(value, how it is written, what it is)`` for the factors that people forget or repeat."""
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            for axis, size in enumerate(value.shape):
                if size > 1:
                    yield float(size), str(size), f"size {axis} of {name}"
            if value.dim() > 1 and value.numel() > 1:
                yield float(value.numel()), str(value.numel()), f"the number of entries of {name}"
        elif is_number(value) and not isinstance(value, bool) and float(value) not in (0.0, 1.0):
            yield float(value), messages.number(float(value)), name


def _scaled(got: Tensor, want: Tensor, inputs: Any, others: Any, tol: float) -> Iterator[Diagnosis]:
    if got.shape != want.shape:
        return
    power = float((want * want).sum())
    if power == 0 or not math.isfinite(power) or not bool(got.isfinite().all()):
        return
    factor = float((got * want).sum()) / power
    if abs(factor - 1) < 1e-6 or factor == 0 or not is_close(got, want * factor, tol):
        return
    if abs(factor + 1) < 1e-6:
        yield _make(messages.SIGN, "sign")
        return
    sign = "-" if factor < 0 else ""
    size = abs(factor)
    for simple in (2.0, 0.5):
        if abs(size - simple) < 1e-6 * simple:
            text = messages.FACTOR.format(factor=sign + messages.number(simple))
            yield _make(text, "factor")
            return
    for value, written, what in _factors(inputs):
        for number, form, name in ((abs(value), written, what), (1 / abs(value), f"1/{written}", f"1 over {what}")):
            if abs(size - number) < 1e-5 * number:
                text = messages.FACTOR_NAMED.format(factor=sign + form, name=name)
                yield _make(text, "factor", public="off by a constant factor")
                return
    if want.numel() > 2:
        fraction = Fraction(factor).limit_denominator(64)
        is_simple = abs(float(fraction) - factor) < 1e-7 * size
        text = messages.FACTOR.format(factor=fraction if is_simple else messages.number(factor))
        yield _make(text, "factor", public="off by a constant factor")


def _powered(got: Tensor, want: Tensor, inputs: Any, others: Any, tol: float) -> Iterator[Diagnosis]:
    if got.shape != want.shape or not bool((want.abs() > 1e-6).any()):
        return
    candidates = (
        (want.abs().sqrt(), messages.ROOT),
        (want.square(), messages.SQUARE),
        (want.exp(), messages.EXPONENTIAL),
        (want.log(), messages.LOGARITHM),
    )
    for transformed, text in candidates:
        if bool(transformed.isfinite().all()) and is_close(got, transformed, tol):
            yield _make(text, "power")


def _offset(got: Tensor, want: Tensor, inputs: Any, others: Any, tol: float) -> Iterator[Diagnosis]:
    if got.shape != want.shape or want.numel() < 3:
        return
    difference = got - want
    if is_close(difference, difference.mean().expand_as(difference).clone(), tol):
        yield _make(messages.OFFSET, "offset")


def _missing_term(got: Tensor, want: Tensor, inputs: Any, others: Any, tol: float) -> Iterator[Diagnosis]:
    if got.shape != want.shape or want.numel() < 3:
        return
    difference = got - want
    for name, value in inputs.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.shape != want.shape:
            continue
        term = value.detach().cpu().double()
        factor = float((difference * term).sum() / (term * term).sum().clamp_min(1e-30))
        if abs(factor) > 1e-9 and is_close(difference, factor * term, max(tol, 1e-5)):
            public = messages.MULTIPLE_OF_INPUT_HIDDEN.format(name=name)
            yield _make(messages.MULTIPLE_OF_INPUT.format(name=name, factor=factor), "term", public=public, name=name)


def _partly_right(got: Tensor, want: Tensor, inputs: Any, others: Any, tol: float) -> Iterator[Diagnosis]:
    if got.shape != want.shape or want.numel() < 4:
        return
    scale = float(want.abs().max()) or 1.0
    right = (got - want).abs() <= max(tol * scale, 1e-8)
    if bool(right.all()) or not bool(right.any()):
        return
    if want.dim() == 2 and want.shape[0] == want.shape[1]:
        diagonal = torch.eye(want.shape[0], dtype=torch.bool)
        if bool((right == diagonal).all()):
            yield _make(messages.ONLY_DIAGONAL, "part")
        elif bool((right == ~diagonal).all()):
            yield _make(messages.ONLY_OFF_DIAGONAL, "part")
    for axis in range(want.dim()):
        across = right.movedim(axis, 0).flatten(1) if want.dim() > 1 else right[:, None]
        whole, none = across.all(dim=1), ~across.any(dim=1)
        if len(whole) > 2 and int(none.sum()) == 1 and int(whole.sum()) == len(whole) - 1:
            yield _make(messages.ONLY_ONE_INDEX.format(index=int(none.int().argmax()), axis=axis), "part")
        if len(whole) > 2 and int(whole.sum()) == 1 and int(none.sum()) == len(whole) - 1:
            yield _make(messages.ALL_BUT_ONE_INDEX.format(index=int(whole.int().argmax()), axis=axis), "part")
    if want.dim() >= 2 and min(want.shape[-2:]) >= 3:
        inside = torch.zeros_like(right)
        inside[..., 1:-1, 1:-1] = True
        if bool((right == inside).all()):
            yield _make(messages.ONLY_BORDER, "part")
    if want.dim() >= 2:
        rows = right.flatten(1)
        whole = rows.all(dim=1)
        if bool((whole == rows.any(dim=1)).all()):
            text = messages.ONLY_ROWS.format(right=int(whole.sum()), total=len(whole))
            yield _make(text, "part", public="right in some rows only")
