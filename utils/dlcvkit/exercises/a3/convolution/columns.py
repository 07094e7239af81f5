"""Windows as columns of a matrix, the way back, and the test that one is the adjoint of the other."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Function, Mistake, normal
from dlcvkit.exercises.a3.convolution.faults import torch_settings, with_few_calls

_CALLS_PER_ENTRY = 30
_MORE_CALLS = 150


def _limit(kernel):
    return _CALLS_PER_ENTRY * kernel[0] * kernel[1] + _MORE_CALLS


# From image to columns.


def _unfold(x, kernel, options):
    return functional.unfold(x, tuple(kernel), **torch_settings(options))


def _call_im2col(im2col, x, kernel, options):
    places = math.prod(_sizes(x.shape[2:], kernel, options)[-1])
    return with_few_calls("im2col", _limit(kernel), places, lambda: im2col(x, tuple(kernel), **options))


def _unfold_with(**changes):
    return lambda x, kernel, options: functional.unfold(x, tuple(kernel), **torch_settings(options, **changes))


def _in_axes(arrange):
    """Columns whose axes (N, C, HH, WW, L) are put in another order."""

    def variant(x, kernel, options):
        columns = _unfold(x, kernel, options)
        return arrange(columns.unflatten(1, (x.shape[1], *kernel)))

    return variant


def _places_column_by_column(x, kernel, options):
    turned = functional.unfold(x.transpose(2, 3), tuple(kernel)[::-1], **torch_settings(options))
    return turned.unflatten(1, (x.shape[1], kernel[1], kernel[0])).transpose(2, 3).flatten(1, 3)


im2col = Function(
    functions=("im2col",),
    reference=_unfold,
    call=_call_im2col,
    cases=[
        Case("two images of 3×5×4, window 3×2", x=normal(2, 3, 5, 4), kernel=(3, 2), options={}),
        Case("stride and padding", x=normal(2, 2, 6, 7), kernel=(2, 3), options={"stride": 2, "pad": 1}),
        Case("dilation", x=normal(1, 2, 7, 6), kernel=(3, 2), options={"dilation": 2}),
        Case("many places", x=normal(2, 2, 26, 30), kernel=(2, 3), options={}),
    ],
    points={"cols": 4},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "ignores the padding", _unfold_with(pad=0), hint="add pad rows and columns of zeros on every side first"
        ),
        Mistake("ignores the stride", _unfold_with(stride=1), hint="neighbouring columns lie stride pixels apart in x"),
        Mistake(
            "ignores the dilation",
            _unfold_with(dilation=1),
            hint="neighbouring rows of a channel lie dilation pixels apart in x",
        ),
        Mistake(
            "puts the channel last in the order of the rows",
            _in_axes(lambda each: each.movedim(1, 3).flatten(1, 3)),
            hint="the rows run through channel 0 first, then channel 1: c changes slowest",
        ),
        Mistake(
            "runs down the columns of the window",
            _in_axes(lambda each: each.transpose(2, 3).flatten(1, 3)),
            hint="within a channel the rows of the window follow each other: q changes fastest",
        ),
        Mistake(
            "turns the window round",
            _in_axes(lambda each: each.flip(2, 3).flatten(1, 3)),
            hint="the first row holds the top left pixel of every window",
        ),
        Mistake(
            "runs down the columns of the image",
            _places_column_by_column,
            hint="place l is row l // W_out and column l % W_out of the output",
        ),
        Mistake(
            "puts the columns of all images side by side",
            _in_axes(lambda each: each.flatten(1, 3).transpose(0, 1).flatten(1)),
            hint="axis 0 still counts the images",
        ),
        Mistake(
            "puts the columns of all images side by side, in turn",
            _in_axes(lambda each: each.flatten(1, 3).permute(1, 2, 0).flatten(1)),
            hint="axis 0 still counts the images",
        ),
        Mistake(
            "makes rows of the windows",
            _in_axes(lambda each: each.flatten(1, 3).transpose(1, 2)),
            hint="every window is a column: the last axis counts the places",
        ),
    ],
)


# From columns to image.


def _fold(cols, shape, kernel, options):
    return functional.fold(cols, tuple(shape), tuple(kernel), **torch_settings(options))


def _call_col2im(col2im, cols, shape, kernel, options):
    def task():
        return col2im(cols, tuple(shape), tuple(kernel), **options)

    return with_few_calls("col2im", _limit(kernel), cols.shape[-1], task)


def _sizes(shape, kernel, options):
    stride, pad, dilation = (
        options.get(name, default) for name, default in (("stride", 1), ("pad", 0), ("dilation", 1))
    )
    places = [
        (size + 2 * pad - dilation * (length - 1) - 1) // stride + 1 for size, length in zip(shape, kernel, strict=True)
    ]
    return stride, pad, dilation, places


def _last_entry_wins(cols, shape, kernel, options):
    """The image if each entry of the window replaces what was there."""
    stride, pad, dilation, (high, wide) = _sizes(shape, kernel, options)
    parts = cols.unflatten(1, (-1, *kernel)).unflatten(-1, (high, wide))
    canvas = cols.new_zeros(*parts.shape[:2], shape[0] + 2 * pad, shape[1] + 2 * pad)
    for p in range(kernel[0]):
        for q in range(kernel[1]):
            place = canvas[:, :, p * dilation :, q * dilation :]
            place[:, :, : stride * high : stride, : stride * wide : stride] = parts[:, :, p, q]
    return canvas[:, :, pad : pad + shape[0], pad : pad + shape[1]]


def _last_window_wins(cols, shape, kernel, options):
    """The image if each window replaces what was there."""
    stride, pad, dilation, (high, wide) = _sizes(shape, kernel, options)
    parts = cols.unflatten(1, (-1, *kernel)).unflatten(-1, (high, wide))
    canvas = cols.new_zeros(*parts.shape[:2], shape[0] + 2 * pad, shape[1] + 2 * pad)
    for i in range(high):
        for j in range(wide):
            place = canvas[:, :, i * stride :, j * stride :]
            place[:, :, : dilation * kernel[0] : dilation, : dilation * kernel[1] : dilation] = parts[..., i, j]
    return canvas[:, :, pad : pad + shape[0], pad : pad + shape[1]]


def _averaged(cols, shape, kernel, options):
    counts = _fold(torch.ones_like(cols), shape, kernel, options)
    return _fold(cols, shape, kernel, options) / counts.clamp(min=1)


def _with_padding(cols, shape, kernel, options):
    pad = options.get("pad", 0)
    return functional.fold(
        cols, (shape[0] + 2 * pad, shape[1] + 2 * pad), tuple(kernel), **torch_settings(options, pad=0)
    )


def _from_the_corner(cols, shape, kernel, options):
    return _with_padding(cols, shape, kernel, options)[:, :, : shape[0], : shape[1]]


def _fold_in_axes(arrange):
    """The image from rows that are read in another order of their axes."""

    def variant(cols, shape, kernel, options):
        return _fold(arrange(cols, tuple(kernel)).flatten(1, 3), shape, kernel, options)

    return variant


col2im = Function(
    functions=("col2im",),
    reference=_fold,
    call=_call_col2im,
    cases=[
        Case("two images of 3×5×4, window 3×2", cols=normal(2, 18, 9), shape=(5, 4), kernel=(3, 2), options={}),
        Case(
            "stride and padding", cols=normal(2, 12, 16), shape=(6, 7), kernel=(2, 3), options={"stride": 2, "pad": 1}
        ),
        Case("dilation", cols=normal(1, 12, 12), shape=(7, 6), kernel=(3, 2), options={"dilation": 2}),
        Case("many places", cols=normal(2, 6, 700), shape=(26, 30), kernel=(2, 3), options={}),
    ],
    points={"x": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "overwrites where windows overlap",
            _last_entry_wins,
            hint="a pixel that several windows share gets the sum of what they bring: look at = and +=",
        ),
        Mistake(
            "lets the last window win where windows overlap",
            _last_window_wins,
            hint="a pixel that several windows share gets the sum of what they bring: look at = and +=",
        ),
        Mistake(
            "averages where windows overlap",
            _averaged,
            hint="a pixel that several windows share gets the sum of what they bring; nothing is divided",
        ),
        Mistake(
            "returns the padding as well", _with_padding, hint="the result has the size asked for: cut the padding off"
        ),
        Mistake(
            "cuts the padding off at the wrong end",
            _from_the_corner,
            hint="there are pad rows above the image as well: where in the padded image does it begin?",
        ),
        Mistake(
            "takes the channel to be last in the order of the rows",
            _fold_in_axes(lambda cols, kernel: cols.unflatten(1, (*kernel, -1)).movedim(3, 1)),
            hint="the rows run through channel 0 first, then channel 1: c changes slowest",
        ),
        Mistake(
            "runs down the columns of the window",
            _fold_in_axes(lambda cols, kernel: cols.unflatten(1, (-1, *kernel[::-1])).transpose(2, 3)),
            hint="within a channel the rows of the window follow each other: q changes fastest",
        ),
        Mistake(
            "turns the window round",
            _fold_in_axes(lambda cols, kernel: cols.unflatten(1, (-1, *kernel)).flip(2, 3)),
            hint="the first row of cols belongs to the top left pixel of every window",
        ),
    ],
)


# The test that needs no reference.


def maps(A, B, x, y):
    """The maps t -> A t and t -> B t between the shapes of x and y."""

    def forward(t):
        return (A @ t.flatten()).reshape(y.shape)

    def adjoint(t):
        return (B @ t.flatten()).reshape(x.shape)

    return forward, adjoint


def _call_gap(adjoint_gap, A, B, x, y):
    adjoint = A.T if B is None else B
    return adjoint_gap(*maps(A, adjoint, x, y), x, y)


def _gap(compare, product=torch.vdot):
    """A gap made of two products by ``compare``; ``product`` is of flat tensors."""

    def variant(A, B, x, y):
        forward, adjoint = maps(A, A.T if B is None else B, x, y)
        left, right = product(forward(x).flatten(), y.flatten()), product(x.flatten(), adjoint(y).flatten())
        return compare(left, right)

    return variant


def _relative(left, right):
    size = left.abs() + right.abs()
    return torch.where(size > 0, (left - right).abs() / size.clamp(min=1e-300), 0.0)


adjoint_gap = Function(
    functions=("adjoint_gap",),
    reference=_gap(_relative),
    call=_call_gap,
    cases=[
        Case(
            "no pair",
            A=normal(6, 8, mean=0.5, std=0.2),
            B=normal(8, 6, mean=2.0, std=0.2),
            x=normal(2, 4, mean=1.0, std=0.2),
            y=normal(3, 2, mean=1.0, std=0.2),
        ),
        Case("another one", A=normal(12, 6), B=normal(6, 12), x=normal(3, 2), y=normal(2, 2, 3)),
        Case("an adjoint pair", A=normal(6, 8), B=None, x=normal(2, 4), y=normal(3, 2)),
    ],
    points={"gap": 2},
    forbidden=AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves the difference as it is",
            _gap(lambda left, right: (left - right).abs()),
            hint="a difference is large or small only by comparison: look at what it is divided by",
        ),
        Mistake(
            "returns the difference",
            _gap(lambda left, right: left - right),
            hint="a difference is large or small only by comparison, and a gap is not negative: look at the formula",
        ),
        Mistake(
            "divides by the sum without absolute values",
            _gap(lambda left, right: (left - right).abs() / (left + right)),
            hint="products of opposite sign must not cancel in the denominator",
        ),
        Mistake(
            "loses the absolute value of the difference",
            _gap(lambda left, right: (left - right) / (left.abs() + right.abs())),
            hint="a gap is not negative",
        ),
        Mistake(
            "divides by the absolute value of the sum",
            _gap(lambda left, right: (left - right).abs() / (left + right).abs()),
            hint="products of opposite sign must not cancel in the denominator",
        ),
        Mistake(
            "divides by one of the two",
            _gap(lambda left, right: (left - right).abs() / right.abs()),
            hint="both products stand in the denominator, so that neither is taken for the truth",
        ),
        Mistake(
            "averages the products of the entries",
            _gap(_relative, product=lambda one, other: (one * other).mean()),
            hint="an inner product is a sum: x and y differ in their number of entries",
        ),
        Mistake(
            "takes the product of the lengths",
            _gap(_relative, product=lambda one, other: one.norm() * other.norm()),
            hint="multiply entry by entry, then add up all of it",
        ),
        Mistake(
            "takes the absolute values of the products first",
            _gap(lambda left, right: _relative(left.abs(), right.abs())),
            hint="two products that differ in sign are far apart",
        ),
        Mistake(
            "divides by the larger of the two",
            _gap(lambda left, right: (left - right).abs() / torch.maximum(left.abs(), right.abs())),
            hint="look at the denominator in the formula",
        ),
    ],
)
