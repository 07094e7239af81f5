"""The test by which a transpose is known."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Invariant, normal
from dlcvkit.checking.values import shape_text


def _size(result, x, y, w, conv_param, size):
    shape = (len(y), w.shape[1], *size)
    return None if tuple(result.shape) == shape else f"the result has shape {shape_text(result)}; expected {shape}"


def _adjointness(result, x, y, w, conv_param, size):
    there = (functional.conv2d(x, w, None, conv_param["stride"], conv_param["pad"]) * y).sum()
    back = (x * result).sum()
    scale = 1e-4 if x.dtype == torch.float32 else 1e-9
    if abs(there - back) <= scale * x.norm() * result.norm():
        return None
    return f"<A x, y> is {there:.6g} and <x, A^T y> is {back:.6g} for some x; expected equal numbers"


def _call_adjoint(conv_adjoint, x, y, w, conv_param, size):
    return conv_adjoint(y, w, conv_param, size)


def adjoint_case(name, count, filters, channels, kernel, size, stride, pad):
    """A case of ``conv_adjoint``: ``x`` is what the test multiplies with, the function is not given it."""
    out = [(n + 2 * pad - k) // stride + 1 for n, k in zip(size, kernel, strict=True)]
    return Case(
        name,
        x=normal(count, channels, *size),
        y=normal(count, filters, *out),
        w=normal(filters, channels, *kernel),
        conv_param={"stride": stride, "pad": pad},
        size=tuple(size),
    )


conv_adjoint = Invariant(
    functions=("conv_adjoint",),
    call=_call_adjoint,
    cases=[
        adjoint_case("stride 1", 2, 3, 2, (2, 3), (4, 6), 1, 0),
        adjoint_case("3×3, stride 2, pad 1, 4×4 pixels", 2, 2, 3, (3, 3), (4, 4), 2, 1),
        adjoint_case("stride 3, as many pixels left over as can be", 1, 2, 2, (3, 2), (8, 7), 3, 0),
        adjoint_case("rows left over, columns not", 2, 2, 3, (3, 3), (6, 5), 2, 1),
    ],
    points={"size": 1, "dot products": 1},
    properties={"size": _size, "dot products": _adjointness},
    hints={
        "size": "cut off what is too much, at the bottom and on the right",
        "dot products": "the filters are used as they are, without a bias, and the upper left pixel stays where it is",
    },
    forbidden=TORCH_LAYERS | AUTOGRAD,
)
